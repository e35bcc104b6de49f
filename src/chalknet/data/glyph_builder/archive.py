"""Write a letter set as an .npz file that is the same, byte for byte, for the same set."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from chalknet.data.glyph_builder.letter_set import LetterSet

OLDEST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
MADE_WITH = "made_with"  # key of the text with the library versions that drew the images


def npz_bytes(letters: LetterSet) -> bytes:
    """Return a letter set as the bytes of an .npz file, without time stamps or pickle.

    Keys: images, labels, face, family, class_names, face_names, family_names, and the text
        made_with.
    """
    arrays = {
        "images": letters.images,
        "labels": letters.labels,
        "face": letters.face,
        "family": letters.family,
        "class_names": np.array(letters.class_names),
        "face_names": np.array([f"{r.family} {r.face}".strip() for r in letters.faces]),
        "family_names": np.array(letters.family_names),
        MADE_WITH: np.array(letters.made_with),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy", OLDEST_ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # otherwise this byte differs between Windows and other systems
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _npy_bytes(array), compresslevel=zlib.Z_BEST_COMPRESSION)
    return buffer.getvalue()


def _npy_bytes(array: NDArray[np.generic]) -> bytes:
    """Return an array in .npy format."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
