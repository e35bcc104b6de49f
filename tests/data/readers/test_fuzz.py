"""Whatever the bytes, a reader gives a `Dataset` or one `DataError` of one line: never another exception or a warning.

Warnings are errors in all tests, so one that leaks fails here.
"""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from conftest import image_bytes, npy_bytes, npz_bytes, source_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chalknet.data.dataset import Dataset
from chalknet.data.load import load_data
from chalknet.data.readers import folder as folder_reader
from chalknet.data.readers.csv_table import read_csv
from chalknet.data.readers.idx import parse_idx
from chalknet.data.readers.npz import read_npz
from chalknet.errors import DataError

EXAMPLES = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def data_or_error(read, *arguments, **options):
    try:
        result = read(*arguments, **options)
    except DataError as error:
        result = str(error)
    assert isinstance(result, Dataset | np.ndarray) or (result and "\n" not in result), result


@st.composite
def mutations(draw, contents):
    """One of contents after a few flips, cuts, insertions and repeats."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["flip", "set", "cut", "drop", "insert", "repeat"])):
            case "flip" if content:
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                values = draw(st.binary(min_size=1, max_size=8))
                content[at : at + len(values)] = values
            case "cut":
                del content[at:]
            case "drop":
                del content[at : at + draw(st.integers(1, 30))]
            case "insert":
                content[at:at] = draw(st.binary(max_size=30))
            case "repeat":
                content[at:at] = content[at : at + 50]
    return bytes(content)


IMAGES = (np.arange(48) * 5).reshape(3, 4, 4).astype(np.uint8)
LABELS = np.array([0, 1, 2])
NPZ = [
    npz_bytes(images=IMAGES, labels=LABELS),
    npz_bytes(np.savez_compressed, images=IMAGES, labels=LABELS, class_names=np.array(["a", "b", "c"]), family=LABELS),
    npz_bytes(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=LABELS[:, None]),
    npz_bytes(X=IMAGES.reshape(3, 16).astype(np.float16, order="F"), y=LABELS.astype(">i2")),
    npz_bytes(X=IMAGES.astype(np.longdouble), y=LABELS.astype(np.uint8)),
]
NPY = [
    npy_bytes(IMAGES),
    npy_bytes(IMAGES.astype(">f8", order="F")),
    npy_bytes(np.array(["a", "b"])),
    npy_bytes(np.array([{}, 1])),
]


@EXAMPLES
@given(st.binary(max_size=300) | mutations(NPZ))
def test_any_bytes_are_an_npz_or_an_error(content):
    data_or_error(read_npz, source_file(content))


@EXAMPLES
@given(st.dictionaries(st.sampled_from(["images", "labels", "class_names", "groups"]), mutations(NPY), min_size=2))
def test_any_members_of_a_sound_zip_are_arrays_or_an_error(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # checksums and sizes hold, so the .npy headers are what is tried
        for name, content in ({"images": NPY[0], "labels": npy_bytes(LABELS)} | members).items():
            archive.writestr(f"{name}.npy", content)
    data_or_error(read_npz, source_file(file.getvalue()))


@EXAMPLES
@given(st.text("biufcUSOVmM<>|=0123456789[]ns,", max_size=8), st.text("0123456789,() L-", max_size=24))
def test_any_type_and_shape_in_an_npy_header_is_an_array_or_an_error(descr, shape):
    header = f"{{'descr': '{descr}', 'fortran_order': True, 'shape': ({shape}), }}".encode()
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", member)
        archive.writestr("labels.npy", member)
    data_or_error(read_npz, source_file(file.getvalue()))


IDX = [
    bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 4, 4) + IMAGES.tobytes(),
    bytes([0, 0, 13, 2]) + struct.pack(">2I", 3, 16) + IMAGES.astype(">f4").tobytes(),
    bytes([0, 0, 12, 1]) + struct.pack(">I", 3) + LABELS.astype(">i4").tobytes(),
]


@EXAMPLES
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"\0\0" + tail) | mutations(IDX))
def test_any_bytes_are_idx_or_an_error(content):
    file = source_file(content)
    data_or_error(parse_idx, file.file, file.budget)


@EXAMPLES
@given(mutations(IDX + [gzip.compress(content) for content in IDX]), mutations([IDX[2], gzip.compress(IDX[2])]))
def test_any_pair_of_idx_files_is_data_or_an_error(tmp_path, images, labels):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    data_or_error(load_data, tmp_path / "train-images-idx3-ubyte")
    data_or_error(load_data, tmp_path)


CSV = [
    b"label,a,b\n0,1.5,2\n1,3,4\n0,5,6\n",
    b"\xef\xbb\xbfcat;1;2\r\ndog;3;4\r\n",
    b'"x ""y""",1,2\n"a\nb",3,-4e5\n',
    ("label," + ",".join(f"p{at}" for at in range(64)) + "\n0" + ",200" * 64 + "\n1" + ",7" * 64 + "\n").encode(),
]
TABLE_TEXT = st.text("0123456789.,;\t\n\r\"' eE+-_naif٣\0élabel", max_size=60)


@EXAMPLES
@given(
    st.binary(max_size=80) | TABLE_TEXT.map(str.encode) | mutations(CSV),
    st.sampled_from([None, 0, -1, 5, "label", "a", "1"]),
    st.sampled_from([None, (1, 2), (8, 8)]),
    st.sampled_from([None, ("0", "1"), ("cat", "dog", "x")]),
)
def test_any_bytes_are_a_table_or_an_error(content, label_column, image_size, class_names):
    data_or_error(
        read_csv, source_file(content), label_column=label_column, image_size=image_size, class_names=class_names
    )


def picture(kind, mode="L", **options):
    return image_bytes(Image.fromarray(IMAGES[0]).convert(mode), kind, **options)


PICTURES = [
    picture("PNG"),
    picture("PNG", "P", transparency=3),
    picture("PNG", "RGBA"),
    picture("JPEG", "RGB"),
    picture("GIF", "P"),
    picture("BMP", "1"),
    picture("TIFF", "I"),
    picture("TIFF", compression="tiff_deflate"),
    picture("WEBP", "RGBA"),
    picture("PPM", "RGB"),
]


@pytest.fixture
def pictures(tmp_path):
    for name in "AB":
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.png").write_bytes(PICTURES[0])
    return tmp_path


@EXAMPLES
@given(content=st.binary(max_size=200) | mutations(PICTURES), image_size=st.sampled_from([None, (3, 2)]))
def test_any_bytes_are_an_image_or_left_out(pictures, content, image_size):
    (pictures / "A" / "bad.png").write_bytes(content)
    data_or_error(folder_reader.read_folder, pictures, str(pictures), image_size=image_size)


@EXAMPLES
@given(content=st.binary(max_size=300) | mutations(NPZ + IDX + CSV + PICTURES + [gzip.compress(CSV[0])]))
def test_any_file_of_any_name_is_data_or_an_error(tmp_path, content):
    for name in ("x", "x.npz", "x.csv.gz", "train-images-idx3-ubyte"):
        (tmp_path / name).write_bytes(content)
        data_or_error(load_data, tmp_path / name)
