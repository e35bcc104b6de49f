"""A damaged manifest is refused."""

import pytest

from chalknet.data.glyph_builder.manifest import read_manifest
from chalknet.errors import DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no faces are listed"),
        ("file,letters\na,b\n", "column 'face_id' is missing"),
        ("face_id,family_group,family,face,file,sha256,letters\n0,0,f,r,a.ttf,zz,AB\n", "line 2: sha256 must be 64"),
        (
            "face_id,family_group,family,face,file,sha256,letters\nx,0,f,r,a.ttf,,AB\n",
            "line 2: face_id must be an integer",
        ),
        ("face_id,family_group,family,face,file,sha256,letters\n0,0,f,r,a.ttf," + "0" * 64 + ",\n", "letters is empty"),
        ("\x1f\x8b not gzip", "not a readable manifest"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "faces.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_manifest(path)
