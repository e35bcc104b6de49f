"""`load_inputs` gives the samples of `load_data`, and reads samples without labels."""

import gzip
import struct

import numpy as np
import polars as pl
import pytest

from chalknet.artifacts.dataset_files import WRITERS
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data, load_inputs
from chalknet.errors import ConfigError, DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def write(kind, path):
    """IMAGES with their labels in one of the formats; the file or folder to give."""
    made = path / f"letters.{kind}"
    for name, content in WRITERS[kind](dataset_from_arrays(IMAGES, LABELS, "ABC")):
        file = made / name if name else made
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return made


@pytest.mark.parametrize("kind", ["npz", "csv", "idx", "npy", "shards"])
def test_the_samples_are_those_of_load_data(tmp_path, kind):
    made = write(kind, tmp_path)
    inputs = np.asarray(load_inputs(made, 72).inputs).reshape(6, 72)
    np.testing.assert_array_equal(inputs, np.asarray(load_data(made).inputs).reshape(6, 72))
    np.testing.assert_array_equal(inputs, IMAGES.reshape(6, 72))


@pytest.mark.parametrize("kind", ["npy", "shards", "idx"])
def test_labels_files_are_optional(tmp_path, kind):
    made = write(kind, tmp_path)
    for labels in [path for path in made.iterdir() if "labels" in path.name]:
        labels.unlink()
    np.testing.assert_array_equal(np.asarray(load_inputs(made, 72).inputs), IMAGES)
    assert len(load_inputs(sorted(made.iterdir())[0], 72)) > 0


@pytest.mark.parametrize("key", ["images", "X", "x_test", "anything"])
def test_the_samples_of_an_npz_without_labels(tmp_path, key):
    np.savez(tmp_path / "a.npz", **{key: IMAGES})
    np.testing.assert_array_equal(load_inputs(tmp_path / "a.npz", 72).inputs, IMAGES)


def test_samples_may_have_an_axis_of_one_channel(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES[..., None])
    found = load_inputs(tmp_path / "a.npz", 72)
    np.testing.assert_array_equal(found.inputs, IMAGES)
    assert found.notes == ("images (6, 8, 9, 1) have one channel, so they are read as gray images.",)


def test_training_and_test_samples_of_an_npz_are_concatenated(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES[:4], y_train=LABELS[:4], x_test=IMAGES[4:], y_test=LABELS[4:])
    np.testing.assert_array_equal(load_inputs(tmp_path / "a.npz", 72).inputs, IMAGES)
    np.savez(tmp_path / "b.npz", x_train=IMAGES, x_test=IMAGES[:, :5])
    with pytest.raises(DataError, match="must hold samples of one shape"):
        load_inputs(tmp_path / "b.npz", 72)


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("1,2,3\n4,5,6\n", ()),
        ("a,b,c\n1,2,3\n4,5,6\n", ()),
        ("a;y;c\n1;2;3\n4;5;6\n", ()),  # three values are all wanted, whatever their names
        ("a,b,c,label\n1,2,3,x\n4,5,6,y\n", ("The label, column 'label', is left out.",)),
        ("x,1,2,3\ny,4,5,6\n", ("The label, column 1, is left out.",)),
    ],
)
def test_the_number_of_columns_decides_about_labels(tmp_path, text, notes):
    (tmp_path / "t.csv").write_bytes(gzip.compress(text.encode()))
    found = load_inputs(tmp_path / "t.csv", 3)
    np.testing.assert_array_equal(found.inputs, [[1, 2, 3], [4, 5, 6]])
    assert found.inputs.dtype == np.float64
    assert found.notes == notes


def test_a_label_column_is_left_out_wherever_it_is(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,x\n")
    np.testing.assert_array_equal(load_inputs(tmp_path / "t.csv", 2, label_column="kind").inputs, [[1, 2]])
    np.testing.assert_array_equal(load_inputs(tmp_path / "t.csv", 2, label_column=-1).inputs, [[1, 2]])


def test_a_table_of_one_column_is_samples_of_one_value(tmp_path):
    (tmp_path / "t.csv").write_text("size\n1.5\n2\n")
    np.testing.assert_array_equal(load_inputs(tmp_path / "t.csv", 1).inputs, [[1.5], [2.0]])


def test_unexpected_columns_are_named(tmp_path):
    (tmp_path / "t.csv").write_text("id,a,b,c\n9,1,2,3\n")
    with pytest.raises(DataError, match=r"named label, .* The model knows no 'id'\. To leave one out, give label_col"):
        load_inputs(tmp_path / "t.csv", 3, names=["a", "b", "c"])
    (tmp_path / "t.csv").write_text("id,day,a,b,c\n9,8,1,2,3\n")
    with pytest.raises(DataError, match=r"has 5 columns; expected 3.* The model knows no 'id', 'day'\."):
        load_inputs(tmp_path / "t.csv", 3, names=["a", "b", "c"])


def test_a_first_row_that_counts_the_columns_is_the_header(tmp_path):
    (tmp_path / "t.csv").write_text("0,1,2,3\n5,6,7,8\n")
    found = load_inputs(tmp_path / "t.csv", 4)
    np.testing.assert_array_equal(found.inputs, [[5, 6, 7, 8]])
    assert found.notes == ("The first row numbers the columns and is read as their heads.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n", r"has 2 columns; expected 3, or 4 with a label"),
        ("1,2,3\n4,x,6\n", r"line 2, column 2: 'x' is not a number; every column holds numbers\."),
        ("1,2,3\n4,5\n", "line 2 has 2 columns, but the first row has 3"),
        ("1,2,3\n4,nan,6\n", "line 2, column 2: nan is not a finite number"),
        ("a,b,c,d\n1,2,3,x\n", r"4 columns and the model reads 3, and none of them is named label.*give label_column"),
        ("a,b,c\n", "the table has a header and no rows"),
    ],
)
def test_invalid_tables_give_one_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_inputs(tmp_path / "t.csv", 3)


def test_invalid_files_give_one_line(tmp_path):
    (tmp_path / "labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 2) + b"\0\1")
    with pytest.raises(DataError, match=r"holds labels\. Give the images file"):
        load_inputs(tmp_path / "labels-idx1-ubyte", 4)
    np.savez(tmp_path / "a.npz", first=IMAGES, second=IMAGES)
    with pytest.raises(DataError, match=r"expected an array 'images'.* found 'first', 'second'"):
        load_inputs(tmp_path / "a.npz", 72)
    np.savez(tmp_path / "b.npz", images=np.array([[1.0, np.inf]]))
    with pytest.raises(DataError, match="sample 0 holds inf"):
        load_inputs(tmp_path / "b.npz", 2)
    np.savez(tmp_path / "c.npz", images=np.array(["a"]))
    with pytest.raises(DataError, match="must hold numbers"):
        load_inputs(tmp_path / "c.npz", 2)
    (tmp_path / "p").write_bytes(b"\x80\x04pickle")
    with pytest.raises(DataError, match="a pickle, which chalknet never opens"):
        load_inputs(tmp_path / "p", 2)
    with pytest.raises(DataError, match="no such file"):
        load_inputs(tmp_path / "nowhere", 2)
    with pytest.raises(ConfigError, match=r"label_column has no meaning for an \.npz file"):
        load_inputs(tmp_path / "a.npz", 72, label_column="x")


def test_a_parquet_file_is_read_for_a_model_of_plain_rows(tmp_path):
    frame = pl.DataFrame({"b": [1, 2], "a": [0.5, 1.5], "label": ["x", "y"]})
    frame.write_parquet(tmp_path / "t.parquet")
    found = load_inputs(tmp_path / "t.parquet", 2, names=("a", "b"))
    assert found.inputs.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    assert found.input_names == ("a", "b")
    frame.with_columns(pl.lit(None, pl.Float64).alias("a")).write_parquet(tmp_path / "gap.parquet")
    with pytest.raises(DataError, match=r"gap\.parquet: column 'a' has values that are missing or no finite numbers\."):
        load_inputs(tmp_path / "gap.parquet", 2, names=("a", "b"))
    with pytest.raises(DataError, match="has 3 columns; expected 5, or 6 with a label"):
        load_inputs(tmp_path / "t.parquet", 5)
