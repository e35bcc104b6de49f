"""The bytes of an .npz file."""

import io

import numpy as np
import PIL
from PIL import features

from chalknet.data.glyph_builder.archive import npz_bytes
from chalknet.data.glyph_builder.building import build_letters


def test_an_npz_holds_no_pickle_and_no_clock(three_fonts):
    made = build_letters([three_fonts], "AB", jobs=1)
    with np.load(io.BytesIO(npz_bytes(made)), allow_pickle=False) as archive:
        assert {key: archive[key].dtype.kind for key in archive} == {
            "images": "u",
            "labels": "u",
            "face": "u",
            "family": "u",
            "class_names": "U",
            "face_names": "U",
            "family_names": "U",
            "made_with": "U",
        }
        assert {info.date_time for info in archive.zip.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_npz_says_which_libraries_drew_it(three_fonts):
    made = build_letters([three_fonts], "AB", jobs=1)
    with np.load(io.BytesIO(npz_bytes(made)), allow_pickle=False) as archive:
        assert str(archive["made_with"]) == f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"
