"""Invalid input gives one line that begins with the source and names the fault."""

import gzip
import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from conftest import npy_bytes, npz_bytes, source_file
from PIL import Image

from chalknet import files
from chalknet.data.load import load_data
from chalknet.data.readers.npz import read_npz
from chalknet.errors import ConfigError, DataError

IMAGES = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def with_bad(array, at, value):
    array = array.astype(np.result_type(array, value)) if isinstance(value, float) else array.copy()
    array[at] = value
    return array


def npz(**arrays):
    """The bytes of an .npz file of images and labels, changed by arrays; None leaves one out."""
    arrays = {"images": IMAGES, "labels": LABELS} | arrays
    return npz_bytes(np.savez_compressed, **{key: array for key, array in arrays.items() if array is not None})


def zipped(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def with_header(old, new):
    """An .npz whose images have one piece of their .npy header replaced by another of the same length."""
    content = npy_bytes(IMAGES)
    assert old in content
    return zipped({"images.npy": content.replace(old, new.ljust(len(old))), "labels.npy": npy_bytes(LABELS)})


def encrypted():
    """The flag that says "encrypted" set in every header of the archive."""
    content = bytearray(npz())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(magic), bytes(content)):
            content[found.start() + at] |= 1
    return bytes(content)


def lying_directory(size, content=None):
    """The archive's directory says that images.npy unpacks to size bytes."""
    content = bytearray(content or npz())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(content)


def wrong_checksum():
    content = bytearray(npz())
    at = content.index(b"PK\x01\x02")
    content[at + 16] ^= 0xFF
    return bytes(content)


NPZ_CASES = {
    "not an npz": (b"images,labels\n", r"not an npz file: expected first bytes 50 4b 03 04, got 69 6d 61 67"),
    "cut short": (npz()[:-30], r"not a readable \.npz file \(File is not a zip file\)"),
    "cut in the middle": (npz()[:200] + npz()[300:], r"damaged|not a readable"),
    "wrong checksum": (wrong_checksum(), r"images does not begin as .* \(Bad CRC-32"),
    "encrypted": (encrypted(), r"images is encrypted"),
    "a spreadsheet": (
        zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}),
        r"a zip archive without arrays; it holds '\[Content_Types\].xml', 'xl/workbook.xml'",
    ),
    "an empty zip": (zipped({}), r"a zip archive without arrays; it holds none"),
    "objects as images": (
        npz(images=np.array([[1, 2], [3]], dtype=object)),
        r"images is an object array: it holds pickles, which chalknet never opens",
    ),
    "objects as labels": (npz(labels=np.array([0, "a"], dtype=object)), r"labels is an object array"),
    "objects as class names": (npz(class_names=np.array(["a", 1], dtype=object)), r"class_names is an object array"),
    "missing key": (npz(labels=None, extra=LABELS), r"expected arrays 'images' and 'labels' .*found 'extra', 'images'"),
    "Keras without labels": (
        npz(x_train=IMAGES),
        r"expected arrays 'x_train', 'y_train', found 'images', 'labels', 'x_train'",
    ),
    "Keras with half a test part": (
        npz(x_train=IMAGES, y_train=LABELS, y_test=LABELS),
        r"expected arrays 'x_test', 'x_train', 'y_test', 'y_train', found",
    ),
    "Keras parts of other shapes": (
        npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:, :3], y_test=LABELS),
        r"x_test: test samples must be like the training samples, \(4, 4\) of uint8, got \(3, 4\) of uint8",
    ),
    "Keras test label negative": (
        npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES, y_test=with_bad(LABELS, 2, -1)),
        r"y_test: labels\[2\] is -1",
    ),
    "label out of range": (
        npz(labels=with_bad(LABELS, 4, 12)),
        r"labels\[4\] is 12, but only 10 class names are given \(0\.\.9\).*give the names with class_names",
    ),
    "negative label": (npz(labels=with_bad(LABELS, 3, -1)), r"labels\[3\] is -1, but only 10 class names"),
    "huge label": (
        npz(labels=None, images=None, X=IMAGES, y=with_bad(LABELS, 1, 2**40)),
        r"labels\[1\] is 1099511627776; more than 10000 classes",
    ),
    "float labels": (npz(labels=LABELS.astype(float)), r"labels must be integers, got dtype float64"),
    "text labels": (npz(labels=LABELS.astype(str)), r"labels must be integers, got dtype <U21"),
    "one-hot labels": (npz(labels=np.eye(6, dtype=int)), r"labels must be \(N,\), got \(6, 6\)"),
    "one label": (npz(labels=np.array(3)), r"labels must be \(N,\), got \(\)"),
    "too few labels": (npz(labels=LABELS[:5]), r"5 labels for 6 samples"),
    "images of 1 dimension": (npz(images=np.arange(6)), r"or rows \(N, I\), got shape \(6,\)"),
    "images of 4 dimensions": (npz(images=np.stack([IMAGES] * 2, axis=3)), r"got 4 dimensions \(6, 4, 4, 2\)"),
    "images of 0 dimensions": (npz(images=np.array(5)), r"or rows \(N, I\), got"),
    "Keras images of 0 dimensions": (
        npz(x_train=np.array(5), y_train=LABELS),
        r"x_train: .*got shape \(\)",
    ),
    "nan": (npz(images=with_bad(IMAGES, (3, 1, 2), float("nan"))), r"sample 3 holds nan; every value must be finite"),
    "infinity": (npz(images=with_bad(IMAGES, (0, 1, 2), float("-inf"))), r"sample 0 holds -inf"),
    "long doubles too large for a float": (
        npz(images=with_bad(IMAGES.astype(np.longdouble), (1, 0, 0), np.longdouble("1e4000"))),
        r"sample 1 holds inf",
    ),
    "no samples": (npz(images=IMAGES[:0], labels=LABELS[:0]), r"no samples"),
    "samples without values": (npz(images=IMAGES[:, :0]), r"samples have no values, shape \(6, 0, 4\)"),
    "complex pixels": (npz(images=IMAGES.astype(complex)), r"inputs must hold numbers, got dtype complex128"),
    "text pixels": (npz(images=IMAGES.astype(str)), r"inputs must hold numbers, got dtype <U3"),
    "dates as pixels": (npz(images=IMAGES.astype("M8[D]")), r"inputs must hold numbers, got dtype datetime64"),
    "records": (npz(images=np.zeros(6, [("a", "i4")])), r"images is no plain array, but \(6,\) of \[\('a'"),
    "one class name": (npz(class_names=np.array(["a"])), r"at least two classes, got \['a'\]"),
    "a class name twice": (npz(class_names=np.array(["a", "b", "a"])), r"class name 'a' is given twice"),
    "class names as numbers": (npz(class_names=np.arange(3)), r"class_names must be \(K,\) text, got \(3,\) of int64"),
    "class names that are no text": (
        npz(class_names=np.array([0x110000, 0x41], np.uint32).view("U1")),
        r"class_names holds text that is not Unicode",
    ),
    "groups of another length": (npz(family=LABELS[:3]), r"groups must be \(6,\) integers, got \(3,\)"),
    "float groups": (npz(groups=LABELS * 0.5), r"groups must be \(6,\) integers, got \(6,\) float64"),
    "a header that lies about the shape": (
        with_header(b"(6, 4, 4)", b"(9, 4, 4)"),
        r"header of images says \(9, 4, 4\) of uint8, 144 bytes of values, but there are 96\. Copy",
    ),
    "a header that lies about the type": (with_header(b"'|u1'", b"'<f8'"), r"of float64, 768 bytes of values"),
    "a shape that no memory holds": (with_header(b"(6, 4, 4)", b"(9999999,)"), r"9999999 bytes of values, but there"),
    "a shape beyond all memory": (
        with_header(b"(6, 4, 4), }     ", b"(99999999999999,)}"),
        r"99999999999999 bytes of values, but there are 97",
    ),
    "fewer values than there are": (
        with_header(b"(6, 4, 4), }        ", b"(1,1,1,1,1,1,1,1,1)}"),
        r"1 bytes of values, but there are more",
    ),
    "a negative shape": (with_header(b"(6, 4, 4)", b"(-6, 4,4)"), r"images is no plain array, but \(-6, 4, 4\) of"),
    "an unknown type": (with_header(b"'|u1'", b"'|u3'"), r"not a valid dtype descriptor: '\|u3'"),
    "no header": (
        zipped({"images.npy": b"x", "labels.npy": npy_bytes(LABELS)}),
        r"images does not begin as an array that NumPy wrote",
    ),
    "an endless header": (
        zipped({"images.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "labels.npy": npy_bytes(LABELS)}),
        r"images .*its header says that it has 4294967295 bytes",
    ),
    "nested brackets": (  # NumPy's ast.literal_eval runs out of stack
        zipped(
            {
                "images.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9_000) + b"[" * 9_000,
                "labels.npy": npy_bytes(LABELS),
            }
        ),
        r"images does not begin as an array that NumPy wrote",
    ),
    "values that end early": (
        lying_directory(224, zipped({"images.npy": npy_bytes(IMAGES)[:-6], "labels.npy": npy_bytes(LABELS)})),
        r"96 bytes of values, but there are 90",
    ),
}


@pytest.mark.parametrize("case", NPZ_CASES)
def test_invalid_npz_files_give_one_line(case, tmp_path):
    content, message = NPZ_CASES[case]
    check_message(write(tmp_path / "f.npz", content), message)


def idx(*dims, code=8, values=b""):
    return bytes([0, 0, code, len(dims)]) + struct.pack(f">{len(dims)}I", *dims) + values


GOOD_IMAGES, GOOD_LABELS = idx(2, 2, 2, values=b"12345678"), idx(2, values=b"\0\1")
IDX_CASES = {
    "cut short": (
        GOOD_IMAGES[:-1],
        GOOD_LABELS,
        r"says 2 × 2 × 2 values of uint8, 24 bytes in all, but there are only 23",
    ),
    "bytes after the end": (GOOD_IMAGES + b"x", GOOD_LABELS, r"24 bytes in all, but there are more"),
    "cut in the header": (GOOD_IMAGES[:9], GOOD_LABELS, r"header of 3 dimensions has 16 bytes, got 9"),
    "cut in the magic": (b"\0\0\x08", GOOD_LABELS, r"header of at least 4 bytes, got 3"),
    "a lying header": (idx(60_000, 28, 28), GOOD_LABELS, r"47040016 bytes in all, but there are only 16"),
    "a header beyond all memory": (
        idx(*[2**32 - 1] * 3, code=14),
        GOOD_LABELS,
        r"633825299671392843082401579016 bytes in all, but there are only 16",
    ),
    "no dimensions": (b"\0\0\x08\0", GOOD_LABELS, r"1 to 4 dimensions, got 0"),
    "five dimensions": (idx(1, 1, 1, 1, 1, values=b"1"), GOOD_LABELS, r"1 to 4 dimensions, got 5"),
    "an unknown type": (idx(2, 2, 2, code=10), GOOD_LABELS, r"begins with bytes 00 00, then a type .* got 00 00 0a 03"),
    "no samples": (idx(0, 2, 2), idx(0), r"no samples"),
    "labels cut short": (GOOD_IMAGES, GOOD_LABELS[:-1], r"labels-idx1-ubyte: the IDX header says 2 values"),
    "labels too few": (GOOD_IMAGES, idx(1, values=b"\0"), r"train-labels-idx1-ubyte: 1 labels for 2 samples"),
    "float labels": (
        GOOD_IMAGES,
        idx(2, code=13, values=struct.pack(">2f", 0, 1)),
        r"labels must be integers, got dtype float32",
    ),
    "negative label": (GOOD_IMAGES, idx(2, code=9, values=b"\1\xff"), r"labels\[1\] is -1, but only 2 class names"),
    "images as labels": (GOOD_IMAGES, GOOD_IMAGES, r"labels must be \(N,\), got \(2, 2, 2\)"),
    "labels as images": (GOOD_LABELS, GOOD_LABELS, r"holds labels. Give the images file"),
    "nan": (idx(2, 1, code=13, values=struct.pack(">2f", 1, float("nan"))), GOOD_LABELS, r"sample 1 holds nan"),
    "no labels file": (GOOD_IMAGES, None, r"looked for train-labels-idx1-ubyte, train-labels-idx1-ubyte\.gz in"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", IDX_CASES)
def test_invalid_idx_files_give_one_line(case, packed, tmp_path):
    images, labels, message = IDX_CASES[case]
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' * packed}"
    path.write_bytes(gzip.compress(images) if packed else images)
    if labels is not None:
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    check_message(path, message)


GZIP_CASES = {
    "cut short": (gzip.compress(GOOD_IMAGES)[:-9], r"damaged gzip data \(Compressed file ended"),
    "wrong checksum": (gzip.compress(GOOD_IMAGES)[:-8] + bytes(8), r"damaged gzip data \(CRC check failed"),
    "cut in the magic": (b"\x1f\x8b", r"damaged gzip data"),
    "bytes after the end": (gzip.compress(GOOD_IMAGES) + b"xx", r"damaged gzip data \(Not a gzipped file"),
    "wrong codes": (gzip.compress(GOOD_IMAGES)[:10] + b"\xff" * 20, r"damaged gzip data \(Error -3"),
}


@pytest.mark.parametrize("case", GZIP_CASES)
def test_damaged_gzip_data_give_one_line(case, tmp_path):
    content, message = GZIP_CASES[case]
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(GOOD_LABELS)
    check_message(write(tmp_path / "train-images-idx3-ubyte.gz", content), message)


NUMBERS = "".join(f"{at % 2},1,{at * at}\n" for at in range(20))
WIDER = NUMBERS.replace("\n", ",4,5\n")
CSV_CASES = {
    "ragged row": ("a,b,label\n1,2,0\n1,2\n", {}, r"line 3 has 2 columns, but the first row has 3"),
    "longer row": ("0,1\n1,2,3\n", {}, r"line 2 has 3 columns, but the first row has 2"),
    "ragged after a quoted line break": ('label,a\n"x\ny",1\n0\n', {}, r"line 4 has 1 columns"),
    "text among numbers": (
        "label,p1,p2\n" + NUMBERS + "1,x,2\n",
        {},
        r"line 22, column 'p1': 'x' is not a number, but",
    ),
    "text among numbers, no header": (NUMBERS + "1,2,x\n", {}, r"line 21, column 'column 3': 'x' is not a number, but"),
    "text in the first row": ("0,1,2,3,x\n" + WIDER, {}, r"line 1, column 'column 5': 'x' is not a number, but"),
    "infinity": ("0,1\n1,-inf\n", {}, r"line 2, column 'column 2': -inf is not a finite number"),
    "a number beyond all floats": ("0,1\n\n1,1e999\n", {}, r"line 3, column 'column 2': inf is not a finite number"),
    "an unknown column": (
        "a,label\n1,0\n2,1\n",
        {"drop": ["b"]},
        r"drop names 'b', but the columns besides",
    ),
    "a short row of texts": ('label,a,b\nyes,"x,y",u\nno,z\n', {}, r"line 3 has 2 columns, but the first row has 3"),
    "a short row of numbers": ("label,a,b\nyes,x,1\nno,y\n", {}, r"line 3 has 2 columns, but the first row has 3"),
    "two columns of one name": ("a,a,label\n1,x,0\n2,y,1\n", {}, r"two columns are named 'a'. Rename one"),
    "no column that can be used": ("a,label\n,0\nNA,1\n", {}, r"no column can be used for training: 'a'"),
    "only a label": ("label,\n", {}, r"the table has a header and no rows"),
    "empty label": ("a,label\n1,x\n2, \n", {}, r"line 3, column 'label': the label is empty"),
    "fractional label": (
        "label,a\n0,1\n0.5,1\n",
        {},
        r"line 3, column 'label': label '0\.5' is a number but not an integer",
    ),
    "float labels": ("label,a\n0.0,1\n1.0,1\n", {}, r"label '0\.0' is a number but not an integer"),
    "one class": ("label,a\n3,1\n3,2\n", {}, r"at least two classes, got \['3'\]"),
    "too many classes": ("".join(f"{at},1\n" for at in range(10_001)), {}, r"column 1 holds 10001 different labels"),
    "label outside the class names": (
        "0,1\n2,1\n",
        {"class_names": ["a", "b"]},
        r"labels\[1\] is 2, but only 2 class names",
    ),
    "label not among the class names": (
        "a,1\nb,1\nc,1\n",
        {"class_names": ["a", "b"]},
        r"line 3, column 1: label 'c' is none of the class names given, 'a', 'b'",
    ),
    "header without a label": (
        "a,b,c\n1,2,3\n",
        {},
        r"no column is named label, class, target or y; the columns are 'a', 'b'",
    ),
    "unknown label column": (
        "a,b\n1,2\n",
        {"label_column": "kind"},
        r"no column is named 'kind'; the columns are 'a', 'b'",
    ),
    "label column twice": ("a,a,b\n1,2,3\n", {"label_column": "a"}, r"2 columns are named 'a'; give the index"),
    "label index too large": (
        "a,b\n1,2\n",
        {"label_column": 2},
        r"label_column is 2, but there are 2 columns \(0\.\.1\)",
    ),
    "header only": ("label,a,b\n", {}, r"no samples; the table has a header and no rows"),
    "blank lines only": ("\n \n\n", {}, r"no samples; the file holds no text"),
    "one column": ("hello world\n", {}, r"divided by comma, semicolon or tab, got one column: 'hello world'"),
    "broken quotes": ('label,a\n"x"y,1\n', {}, r"line 2: the quoting is broken"),
    "open quotes": ('label,a\n0,"1\n', {}, r"line 2: the quoting is broken"),
    "image size of another area": (
        "0,1,2,3\n1,1,2,3\n",
        {"image_size": (2, 2)},
        r"\(2, 2\) needs 4 feature columns, but there are 3",
    ),
    "no UTF-8": (b"label,a\n0,1\n\xe9,2\n", {}, r"line 3 is not UTF-8 text \(byte e9\)"),
    "zero bytes far down": ("0,1\n" * 200 + "1,\0\n", {}, r"line 201 holds a zero byte"),
    "UTF-16": ("label,a\n0,1\n".encode("utf-16"), {}, r"is UTF-16 text. Save the table as UTF-8"),
}


@pytest.mark.parametrize("case", CSV_CASES)
def test_invalid_tables_give_one_line(case, tmp_path):
    content, options, message = CSV_CASES[case]
    check_message(
        write(tmp_path / "t.csv", content if isinstance(content, bytes) else content.encode()), message, **options
    )


# The files of a folder: their content, the side of a gray image, or None for a folder without files.
FOLDER_CASES = {
    "nothing in it": ({}, r"expected a sub-folder of images for each class, .*found an empty folder"),
    "one class": ({"A/x.png": 4}, r"only one class, sub-folder 'A'; a classifier needs at least two"),
    "one class and an empty folder": (
        {"A/x.png": 4, "B": None},
        r"only one class, sub-folder 'A'; .* Without images: 'B'\.",
    ),
    "empty folders": ({"A": None, "B/list.txt": b"x"}, r"no sub-folder has images .* Without images: 'A', 'B'\."),
    "a broken class": (
        {"A/x.png": 4, "B/y.png": b"no image"},
        r"class 'B' has no readable image among 1 image files",
    ),
    "no classes": ({"x.png": 4}, r"expected a sub-folder of images for each class, .*found 'x\.png'"),
    "a name that is no text": (
        {"A/x.png": 4, os.fsdecode(b"\xff/y.png"): 4},
        r"sub-folder '\\udcff' has a name that cannot be printed",
    ),
    "MNIST without labels": (
        {"train-images.idx3-ubyte": GOOD_IMAGES},
        r"a file is missing: looked for train-labels-idx1-ubyte, ",
    ),
    "MNIST without its training part": (
        {"t10k-images-idx3-ubyte": GOOD_IMAGES, "t10k-labels-idx1-ubyte": GOOD_LABELS},
        r"a file is missing: looked for train-images-idx3-ubyte, ",
    ),
}


@pytest.mark.parametrize("case", FOLDER_CASES)
def test_invalid_folders_give_one_line(case, tmp_path):
    files, message = FOLDER_CASES[case]
    for name, content in files.items():
        path = tmp_path / name
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if isinstance(content, int):
            Image.new("L", (content, content), 9).save(path)
        elif content is not None:
            path.write_bytes(content)
    check_message(tmp_path, message)


FOREIGN_CASES = {
    "empty": (b"", r"the file is empty. Expected an \.npz file, .*IDX files"),
    "npy": (
        npy_bytes(IMAGES),
        r"is one NumPy array, without its labels beside it.*or save both together with numpy\.savez",
    ),
    "pickle": (pickle.dumps([1, 2]), r"is a pickle, which chalknet never opens"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(99), r"is an HDF5 file"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(99), r"is one image. Put each class's images into a sub-folder"),
    "tar.gz": (gzip.compress(b"a" * 257 + b"ustar" + bytes(250)), r"is a tar archive. Unpack it"),
    "unknown": (bytes(range(99, -1, -1)), r"is of no known type \(its first bytes are 63 62 61 60\)"),
}


@pytest.mark.parametrize("case", FOREIGN_CASES)
def test_unsupported_formats_give_one_line(case, tmp_path):
    content, message = FOREIGN_CASES[case]
    check_message(write(tmp_path / "data.bin", content), message)


def test_sizes_in_a_zip_directory_cost_no_memory():
    for size in (1_000, 2**31):
        np.testing.assert_array_equal(read_npz(source_file(lying_directory(size))).inputs, IMAGES)


def zeros_npz(n_bytes):
    """An .npz of labels and n_bytes of zeros, in a thousandth of them."""
    return npz_bytes(np.savez_compressed, images=np.zeros((2, n_bytes // 2, 1), np.uint8), labels=np.array([0, 1]))


WITHIN = r"needs more than the 1,\d{3},\d{3} bytes of memory that reading it may take\. Give a part of it; if"
BOMBS = {
    "f.npz": zeros_npz(2**22),
    "t.csv": b"0,1\n1,2\n" * 200_000,
    "t.csv.gz": gzip.compress(b"0,1\n1,2\n" * 200_000),
    "train-images-idx3-ubyte": idx(2, 2**10, 2**11, values=bytes(2**22)),
    "train-images-idx3-ubyte.gz": gzip.compress(idx(2, 2**10, 2**11, values=bytes(2**22))),
    "endless-line.csv": b"0," * 2**23,
}


@pytest.mark.parametrize("name", BOMBS)
def test_every_reader_keeps_its_budget(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BASE_BYTES", 2**20)
    monkeypatch.setattr(files, "BYTES_PER_BYTE", 0)
    message = WITHIN if "line" not in name else r"line 1 has more than 16,777,216 characters"
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(GOOD_LABELS)
    tracemalloc.start()
    check_message(write(tmp_path / name, BOMBS[name]), message)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["f.npz", "t.csv", "blank.csv.gz"])
def test_every_reader_keeps_its_time(name, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BASE_SECONDS", -1e9)
    check_message(
        write(tmp_path / name, BOMBS.get(name, gzip.compress(b"\n" * 10_000))),
        r"takes more than the -\d+ seconds that reading it may take\. Give",
    )


def write(path, content):
    path.write_bytes(content)
    return path


def check_message(source, message, **options):
    with pytest.raises(DataError, match=message) as caught:
        load_data(source, **options)
    text = str(caught.value)
    # a fault in the labels file beside an images file is told of the labels file
    assert text.startswith((f"{source}: ", f"{source}/", f"{source.parent}/train-labels")), text
    assert "\n" not in text
    assert text.endswith("."), text
    assert not isinstance(caught.value, ConfigError)
