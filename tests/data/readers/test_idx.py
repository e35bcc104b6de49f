"""IDX files: single files, pairs, and the four files of MNIST."""

import gzip
import struct

import numpy as np
import pytest
from conftest import source_file

from chalknet.data.load import load_data
from chalknet.data.readers.idx import labels_file_names, parse_idx
from chalknet.errors import DataError

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array, code="u1"):
    return (
        struct.pack(f">HBB{array.ndim}I", 0, CODES[code], array.ndim, *array.shape) + array.astype(f">{code}").tobytes()
    )


def images(n, start=0):
    return ((np.arange(n * 12) + start) % 256).reshape(n, 3, 4).astype(np.uint8)


def parse(content):
    file = source_file(content)
    return parse_idx(file.file, file.budget)


def write_pair(folder, part, n, *, mark="-", packed=False, labels=None):
    pack, end = (gzip.compress, ".gz") if packed else (bytes, "")
    folder.mkdir(exist_ok=True)
    labels = np.arange(n) % 3 if labels is None else labels
    (folder / f"{part}-images{mark}idx3-ubyte{end}").write_bytes(pack(idx_bytes(images(n, ord(part[0])))))
    (folder / f"{part}-labels{mark}idx1-ubyte{end}").write_bytes(pack(idx_bytes(labels)))
    return folder / f"{part}-images{mark}idx3-ubyte{end}"


def test_the_example_of_the_format_is_read_by_hand():
    # 2 x 2 of int16, most significant byte first: 1, -2, 256, 32767
    content = bytes.fromhex("00000b02 00000002 00000002 0001 fffe 0100 7fff")
    np.testing.assert_array_equal(parse(content), [[1, -2], [256, 32767]])


@pytest.mark.parametrize("code", CODES)
def test_all_six_types_come_back_in_the_machines_byte_order(code):
    array = np.array([[0, 1, 2], [100, 3, 127]]).astype(code)
    read = parse(idx_bytes(array, code))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(code)
    assert read.dtype.isnative
    assert read.flags.writeable


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", ["-", "."])
def test_mnists_t10k_files_are_the_provided_test_split(tmp_path, mark, packed):
    write_pair(tmp_path, "train", 5, mark=mark, packed=packed)
    write_pair(tmp_path, "t10k", 2, mark=mark, packed=packed)
    data = load_data(tmp_path)
    np.testing.assert_array_equal(data.inputs, np.concatenate([images(5, ord("t")), images(2, ord("t"))]))
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 0, 1, 0, 1])
    np.testing.assert_array_equal(data.provided_test, [5, 6])
    assert data.class_names == ("0", "1", "2")
    assert data.source == str(tmp_path)


def test_the_training_pair_alone_is_enough(tmp_path):
    write_pair(tmp_path, "train", 5)
    data = load_data(tmp_path, class_names=["Top", "Trouser", "Pullover"])
    assert len(data) == 5
    assert data.provided_test is None
    assert data.class_names == ("Top", "Trouser", "Pullover")


@pytest.mark.parametrize("packed", [False, True])
def test_an_images_file_finds_the_labels_beside_it(tmp_path, packed):
    path = write_pair(tmp_path, "t10k", 4, packed=packed)
    data = load_data(path)
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 0])
    assert data.source == str(path)


def test_labels_may_be_gzipped_and_images_not(tmp_path):
    path = write_pair(tmp_path, "train", 4)
    labels = tmp_path / "train-labels-idx1-ubyte"
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert len(load_data(path)) == 4


@pytest.mark.parametrize(
    ("images_name", "labels_name"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images.idx3-ubyte.gz", "t10k-labels.idx1-ubyte"),
        ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
    ],
)
def test_the_labels_file_is_named_after_the_images_file(images_name, labels_name):
    assert labels_file_names(images_name) == (labels_name, f"{labels_name}.gz")


def test_a_name_without_images_has_no_labels_name():
    assert labels_file_names("digits.idx3") == ()


def test_the_digest_covers_labels_but_not_the_folder_name(tmp_path):
    write_pair(tmp_path / "a", "train", 4)
    write_pair(tmp_path / "b", "train", 4)
    write_pair(tmp_path / "c", "train", 4, labels=np.array([1, 1, 1, 0]))
    a, b, c = (load_data(tmp_path / name).sha256 for name in "abc")
    assert a == b != c


def test_a_wrong_size_in_a_gzipped_header_costs_no_memory(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes.fromhex("00000803 0000ffff 00000100 00000080") + b"1234"))  # says 2 GiB
    with pytest.raises(DataError, match="2147450896 bytes in all, but there are only 20"):
        load_data(path)
