"""What `read_npz` makes of good archives; the bad ones are in test_bad_input.py."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from conftest import npz_bytes, source_file

from chalknet.data.load import load_data
from chalknet.data.readers.npz import NOTMNIST_LETTERS, read_npz


def images(n=6, side=4, dtype=np.uint8):
    return (np.arange(n * side * side) % 251).reshape(n, side, side).astype(dtype)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_come_back_bit_for_bit_as_notmnists_letters(save):
    labels = np.array([0, 9, 3, 3, 1, 2])
    data = read_npz(source_file(npz_bytes(save, images=images(), labels=labels)))
    np.testing.assert_array_equal(data.inputs, images())
    np.testing.assert_array_equal(data.labels, labels)
    assert data.inputs.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert data.class_names == NOTMNIST_LETTERS
    assert (data.source, data.provided_test, data.groups) == ("f", None, None)
    assert "notMNIST's A..J" in data.notes[0]


def test_the_shared_notmnist_sample_is_read_as_numpy_reads_it(real_letters_file):
    data = load_data(real_letters_file)
    with np.load(real_letters_file) as reference:
        np.testing.assert_array_equal(data.inputs, reference["images"])
        np.testing.assert_array_equal(data.labels, reference["labels"])
    assert data.class_names == NOTMNIST_LETTERS
    assert data.sha256 == hashlib.sha256(real_letters_file.read_bytes()).hexdigest()


def test_samples_can_be_written_to():
    data = read_npz(source_file(npz_bytes(images=images(), labels=np.arange(6))))
    data.inputs[0, 0, 0] = 7  # torch.from_numpy warns about arrays that cannot
    assert data.inputs.flags.c_contiguous


@pytest.mark.parametrize(("inputs", "labels"), [("X", "y"), ("x", "y"), ("data", "target")])
def test_other_usual_array_names_are_read(inputs, labels):
    content = npz_bytes(**{inputs: images().reshape(6, 16), labels: np.array([0, 2, 1, 0, 0, 0])})
    assert read_npz(source_file(content)).class_names == ("0", "1", "2")


def test_given_class_names_replace_those_in_the_file():
    content = npz_bytes(images=images(2), labels=np.array([0, 1]), class_names=np.array(["cat", "Käse"]))
    assert read_npz(source_file(content)).class_names == ("cat", "Käse")
    assert read_npz(source_file(content), class_names=["a", "b", "c"]).class_names == ("a", "b", "c")


@pytest.mark.parametrize("key", ["family", "groups"])
def test_groups_are_numbers_or_sorted_names(key):
    numbers = npz_bytes(images=images(3), labels=np.array([0, 1, 1]), **{key: np.array([5, 5, 2], dtype=np.uint8)})
    names = npz_bytes(images=images(3), labels=np.array([0, 1, 1]), **{key: np.array(["Lato", "Lato", "Arvo"])})
    np.testing.assert_array_equal(read_npz(source_file(numbers)).groups, [5, 5, 2])
    np.testing.assert_array_equal(read_npz(source_file(names)).groups, [1, 1, 0])


def test_the_keras_layout_provides_a_test_split():
    content = npz_bytes(
        x_train=images(4),
        y_train=np.array([0, 1, 2, 1], np.uint8),
        x_test=images(2) + 1,
        y_test=np.array([3, 0], np.int64),
    )
    data = read_npz(source_file(content))
    np.testing.assert_array_equal(data.inputs, np.concatenate([images(4), images(2) + 1]))
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 1, 3, 0])
    np.testing.assert_array_equal(data.provided_test, [4, 5])
    assert data.class_names == ("0", "1", "2", "3")


def test_the_test_split_of_the_keras_layout_is_optional():
    data = read_npz(source_file(npz_bytes(x_train=images(3), y_train=np.array([0, 1, 1]))))
    assert len(data) == 3
    assert data.provided_test is None


@pytest.mark.parametrize("x", ["x", "X"])
@pytest.mark.parametrize("valid", ["valid", "val"])
def test_the_keras_layout_may_provide_a_validation_split(x, valid):
    arrays = {f"{x}_train": images(4), "y_train": np.arange(4) % 2, f"{x}_{valid}": images(2), f"y_{valid}": [0, 1]}
    data = read_npz(source_file(npz_bytes(**arrays, **{f"{x}_test": images(1), "y_test": [1]})))
    np.testing.assert_array_equal(data.provided_valid, [4, 5])
    np.testing.assert_array_equal(data.provided_test, [6])
    np.testing.assert_array_equal(data.labels, [0, 1, 0, 1, 0, 1, 1])


def test_arrays_that_are_not_read_are_named():
    content = npz_bytes(X=images(2), y=np.array([0, 1]), extra=np.ones(3), class_names=np.array(["a", "b"]))
    assert read_npz(source_file(content)).notes == ("1 array of the file not read: 'extra'.",)


def test_labels_in_one_column_are_read_as_a_list_and_noted():
    data = read_npz(source_file(npz_bytes(x_train=images(3), y_train=np.array([[0], [1], [1]]))))
    np.testing.assert_array_equal(data.labels, [0, 1, 1])
    assert data.notes == ("y_train has shape (3, 1) and was read as (3,).",)


@pytest.mark.parametrize("dtype", [">f8", "<f8", ">f4", "<f2", ">f2", "<i8", ">i4", "u2", "b1", "longdouble"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_and_memory_order_keeps_its_values(dtype, order):
    rows = np.array([[0, 1, 100], [1, 0, 1]]).astype(dtype)
    content = npz_bytes(X=np.asarray(rows, order=order), y=np.array([0, 1], ">i2"))
    data = read_npz(source_file(content))
    np.testing.assert_array_equal(data.inputs, rows.astype(np.float64))
    assert data.inputs.dtype == (np.float32 if dtype in (">f4", "<f2", ">f2", "u2", "b1") else np.float64)
    assert data.inputs.dtype.isnative


def test_integer_images_of_any_type_become_uint8():
    data = read_npz(source_file(npz_bytes(images=images(dtype=">i8"), labels=np.arange(6))))
    assert data.inputs.dtype == np.uint8
    np.testing.assert_array_equal(data.inputs, images())


@pytest.mark.parametrize("shape", [(6, 4, 4), (6, 4, 4, 1)])
def test_black_and_white_images_become_0_and_255(shape):
    data = read_npz(source_file(npz_bytes(images=images().reshape(shape) > 100, labels=np.arange(6))))
    np.testing.assert_array_equal(data.inputs, np.where(images() > 100, 255, 0))
    assert "images holds True and False, read as 255 and 0." in data.notes


def test_headers_of_other_writers_are_read():
    plain = npz_bytes(X=np.ones((2, 3)), y=np.array([0, 1]))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }"
    other = b'{"shape": (2L, 3L,), "fortran_order": False, "descr":"<f8"}'  # another key order, other quotes, Python 2
    assert header in plain
    # the checksum is of the old header, so the archive is written again from its members
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(header, other.ljust(len(header))))
    np.testing.assert_array_equal(read_npz(source_file(file.getvalue())).inputs, np.ones((2, 3)))
