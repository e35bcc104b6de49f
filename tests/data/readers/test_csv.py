"""CSV and TSV tables."""

import gzip
import re

import numpy as np
import pytest
from conftest import source_file

from chalknet.config import TABLE_FIELDS, TableOptions
from chalknet.data.load import load_data
from chalknet.data.readers.csv_table import read_csv
from chalknet.errors import DataError


def read(text, **options):
    table = {name: options.pop(name) for name in TABLE_FIELDS if name in options}
    return read_csv(source_file(text.encode(), "t.csv"), options=TableOptions(**table), **options)


def mnist_text(header=True, side=8, top=255):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, top + 1, (5, side * side))
    pixels[0, 0] = top
    lines = [",".join(map(str, [label, *row])) for label, row in zip([0, 1, 2, 1, 0], pixels.tolist(), strict=True)]
    head = [",".join(["label", *(f"p{at}" for at in range(side * side))])] if header else []
    return "\n".join(head + lines) + "\n", pixels.reshape(5, side, side)


IRIS = "length,width,species\n5.1,3.5,setosa\n7,3.2,versicolor\n6.3,3.3,setosa\n"


def test_rows_keep_every_digit_and_text_labels_are_sorted():
    data = read(IRIS, label_column="species")
    np.testing.assert_array_equal(data.inputs, [[5.1, 3.5], [7, 3.2], [6.3, 3.3]])
    assert data.inputs.dtype == np.float64
    assert data.class_names == ("setosa", "versicolor")
    np.testing.assert_array_equal(data.labels, [0, 1, 0])


@pytest.mark.parametrize("column", ["species", "SPECIES", 2, -1, "2", "-1"])
def test_the_label_column_is_found_by_name_in_any_case_or_by_index(column):
    assert read(IRIS, label_column=column).class_names == ("setosa", "versicolor")


@pytest.mark.parametrize("name", ["label", "Class", "TARGET", "y", " y "])
def test_a_header_that_names_the_label_needs_no_flag(name):
    data = read(f"a,{name},b\n1,0,2\n3,1,4\n")
    np.testing.assert_array_equal(data.inputs, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(data.labels, [0, 1])


def test_without_a_header_the_first_column_is_the_label():
    data = read("0,1.5,2\n1,3,4\n")
    np.testing.assert_array_equal(data.labels, [0, 1])
    np.testing.assert_array_equal(data.inputs, [[1.5, 2], [3, 4]])


def test_a_header_of_numbered_columns_with_a_label_is_a_header():
    assert len(read("label,0,1,2\n0,5,6,7\n1,5,6,7\n")) == 2
    assert len(read("y,0,1,2\n0,5,6,7\n1,5,6,7\n")) == 2


def test_the_letter_y_as_the_first_label_is_no_header():
    data = read("y,0,1,2\nz,5,6,7\ny,5,6,7\n")
    assert len(data) == 3
    assert data.class_names == ("y", "z")


@pytest.mark.parametrize(("mark", "name"), [(",", "t.csv"), (";", "t.csv"), ("\t", "t.tsv")])
def test_comma_semicolon_and_tab_are_recognized(mark, name, tmp_path):
    (tmp_path / name).write_text(
        mark.join(["label", "a", "b"]) + "\n" + mark.join("012") + "\n" + mark.join("134") + "\n"
    )
    np.testing.assert_array_equal(load_data(tmp_path / name).inputs, [[1, 2], [3, 4]])


def test_quotes_blank_lines_and_byte_order_marks_are_read():
    text = '\ufefflabel,"width, \n""mm""",b\r\n\r\n"cat",1, 2\r\n  \r\n"a,b","3",4'
    data = read(text)
    assert data.class_names == ("a,b", "cat")
    np.testing.assert_array_equal(data.inputs, [[1, 2], [3, 4]])


def test_packed_tables_are_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(IRIS.encode()))
    assert len(load_data(tmp_path / "t.csv.gz", label_column="species")) == 3


@pytest.mark.parametrize("header", [True, False])
def test_an_mnist_table_becomes_images(header):
    text, pixels = mnist_text(header)
    data = read(text)
    np.testing.assert_array_equal(data.inputs, pixels)
    assert data.inputs.dtype == np.uint8
    assert data.notes[-1] == "The 64 columns of integers in 0..255 are read as images of 8 × 8 pixels."


@pytest.mark.parametrize(("side", "top"), [(8, 127), (8, 256), (7, 255)])
def test_rows_that_may_not_be_pixels_stay_rows(side, top):
    text, pixels = mnist_text(side=side, top=top)
    data = read(text)
    np.testing.assert_array_equal(data.inputs, pixels.reshape(5, -1))
    assert data.inputs.dtype == np.float64


def test_one_fraction_makes_pixels_rows():
    text, _ = mnist_text()
    assert not read(text.replace(",255,", ",255.5,", 1).replace("255.5", "200.5")).is_images


def test_image_size_makes_images_of_any_values():
    assert read("0,1,2,3,4,5,9\n1,1,2,3,4,5,6\n", image_size=(2, 3)).inputs.dtype == np.uint8
    fractions = read("0,.1,2,3,4,5,6\n1,1,2,3,4,5,6\n", image_size=(2, 3))
    np.testing.assert_array_equal(fractions.inputs[0], [[0.1, 2, 3], [4, 5, 6]])


def test_integer_labels_from_0_are_class_indices():
    assert read("0,5\n2,5\n1,5\n").class_names == ("0", "1", "2")
    data = read("10,5\n-3,5\n9,5\n10,6\n")
    assert data.class_names == ("-3", "9", "10")
    np.testing.assert_array_equal(data.labels, [2, 0, 1, 2])
    assert data.notes[-1] == "Labels -3, 9, 10 are numbered 0..2 in this order."


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["002", "001", "1"], ("001", "002", "1")),
        (["+1", "1"], ("+1", "1")),
        (["1000000000000000000", "1000000000000000001"], ("1000000000000000000", "1000000000000000001")),
        (["9" * 5_000, "1"], ("1", "9" * 5_000)),  # more digits than Python turns into a number
        (["cafe\u0301", "caf\u00e9", "the"], ("caf\u00e9", "the")),  # two ways to write é
    ],
)
def test_labels_that_look_equal_are_one_class(labels, names):
    data = read("label,a\n" + "".join(f"{label},{at}\n" for at, label in enumerate(labels)))
    assert data.class_names == names
    assert ("read as names" in "".join(data.notes)) == (names in [("001", "002", "1"), ("+1", "1")])


@pytest.mark.parametrize("mark", ["nan", "NA", "?", "None", "n/a"])
def test_labels_that_mean_missing_are_refused_with_their_number(mark):
    text = "label,a\nyes,1\nno,2\nyes,3\n" + f"{mark},4\n{mark},5\n"
    said = rf"line 5, column 'label': the label is '{re.escape(mark)}' \(2 labels of 5 are\)\. Fill it in"
    for labels in (text, text.replace("yes", "1").replace("no", "0")):
        with pytest.raises(DataError, match=said):
            read(labels)
    assert read(text, class_names=["yes", "no", mark]).class_names == ("yes", "no", mark)


def test_signs_are_labels():
    assert read("label,a\n+,1\n-,2\n").class_names == ("+", "-")


COUNTED = "0,1,2,3,4\n7,5,6,7,0\n8,5,6,7,1\n7,4,4,4,2\n"


@pytest.mark.parametrize(("column", "names"), [(None, ("7", "8")), (0, ("7", "8")), ("-1", ("0", "1", "2"))])
def test_a_first_row_that_counts_the_columns_is_a_header(column, names):
    data = read(COUNTED, label_column=column)
    assert (len(data), data.class_names, data.input_names) == (3, names, ())
    assert data.notes[0] == "The first row numbers the columns and is read as their heads."


def test_a_counting_first_row_behind_an_index_needs_the_labels_name():
    text = ",0,1,2,3\n0,7,5,6,9\n1,8,5,6,8\n"
    assert read(text, label_column=1).class_names == ("7", "8")
    with pytest.raises(DataError, match=r"no column is named label.*Give label_column"):
        read(text)


def test_a_guessed_label_column_is_noted():
    note = "No header names the label, so column 1 is read as it. If it is the last, give label_column=-1"
    assert read("0,1.5\n1,3\n").notes[0].startswith(note)
    rows = "5.1,3.5,1.4,setosa\n7.0,3.2,4.7,versicolor\n"
    data = read(rows)
    assert data.class_names == ("setosa", "versicolor")
    note = "No header names the label, so the last, column 4, is read as it. If it is the first, give label_column=0"
    assert data.notes[0].startswith(note)
    assert read(rows, label_column=-1).notes == ()


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "row"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_numbers_the_rows_is_left_out(name, start):
    order = np.random.default_rng(0).permutation(12) + start
    text = f"{name},a,label\n" + "".join(f"{row},{row % 5},{row % 2}\n" for row in order)
    data = read(text)
    assert data.notes == (f"Column '{name}' numbers the rows and is left out. To use it, give keep.",)
    assert data.input_names == ("a",)
    assert read(text, keep=[name]).input_names == (name, "a")
    assert read(text.replace("\n11,", "\n99,")).input_names == ("a",)  # rows were removed later
    assert read(text.replace("\n3,", "\n4,")).input_names == (name, "a")


def test_texts_may_hold_the_delimiter_and_lines_may_be_blank():
    data = read('label,a,b\nyes,"x,y",1\n\nno,"z, ""q""",2\n')
    assert data.encoding.columns[0].categories == ("x,y", 'z, "q"')
    assert data.inputs[:, 0].tolist() == [1, 2]


def test_the_digits_of_categories_and_labels_are_kept():
    rows = "".join(f"{at % 2:03d},{at % 3:05d},x\n" for at in range(12))
    data = read("label,zip,kind\n" + rows, categorical=["zip"])
    assert data.class_names == ("000", "001")
    assert data.encoding.columns[0].categories == ("00000", "00001", "00002")


def test_a_text_far_down_makes_categories_of_a_column_of_numbers():
    rows = "".join(f"{at % 2},{at % 5},x\n" for at in range(12_000))
    data = read("label,a,kind\n" + rows + "0,many,x\n", categorical=["a"])
    assert "many" in data.encoding.columns[0].categories
    with pytest.raises(DataError, match=r"line 12002, column 'a': 'many' is not a number, but 12,000 other values"):
        read("label,a,kind\n" + rows + "0,many,x\n")


@pytest.mark.parametrize("options", [{}, {"header": False}])
def test_a_value_y_in_the_first_row_is_no_name_of_a_label(options):
    rows = "p,x,y,n,92\ne,x,s,t,46\np,b,y,n,13\n"
    data = read(rows, **options)
    assert data.class_names == ("e", "p")
    assert data.notes[0].startswith("No header names the label, so column 1 is read as it.")


def test_numbers_that_float64_rounds_are_noted():
    assert (
        read(f"id,label\n{2**53 + 1},0\n{2**53 + 3},1\n").notes[0].startswith("Column 'id' holds numbers beyond 2^53")
    )


def test_excels_first_line_names_the_delimiter():
    data = read("sep=|\na|b|label\n1|2|0\n3|4|1\n")
    np.testing.assert_array_equal(data.inputs, [[1, 2], [3, 4]])
    assert read("sep=;\na;b;label\n1;2;0\n3;;1\n").input_names == ("a", "b", "b: missing")


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("42,0", r"'42,0' is not a number\. If its comma is a decimal comma, give decimal=','\."),
        (
            "red",
            r"'red' is not a number, but 20 other values of the column are\. Correct it\. If it marks missing values, "
            r"give missing=\['red'\]; if the column holds categories, give categorical=\['a'\]\.",
        ),
    ],
)
def test_a_text_in_a_column_of_numbers_gets_advice_that_works(cell, advice):
    text = "a;label\n" + "".join(f"{at};{at % 2}\n" for at in range(20)) + f"{cell};1\n"
    with pytest.raises(DataError, match=rf"line 22, column 'a': {advice}$"):
        read(text)
    assert read(text, missing=[cell], keep=["a"]).input_names == ("a", "a: missing")
    assert len(read(text, categorical=["a"]).input_names) == 21
    assert read(text.replace("red", "4,5"), decimal=",").inputs[-1] in (42.0, 4.5)


def test_class_names_order_text_labels_and_name_numbered_ones():
    np.testing.assert_array_equal(read("b,1\na,2\n", class_names=["b", "a", "c"]).labels, [0, 1])
    data = read("0,1\n1,2\n", class_names=["zero", "one"])
    assert data.class_names == ("zero", "one")
    np.testing.assert_array_equal(data.labels, [0, 1])


@pytest.mark.parametrize("cell", ["1_000", "٣", "0x10", "1,5", "one"])
def test_only_plain_numbers_are_numbers_in_a_table(cell):
    if cell == "1,5":
        with pytest.raises(DataError, match="decimal comma"):
            read(f'0;1;2;9\n1;2;"{cell}";3\n')
        return
    assert read(f'0;1;2;9\n1;2;"{cell}";3\n').encoding.columns[1].categories == tuple(sorted(["2", cell]))


@pytest.mark.parametrize("cell", ["1_0", "1"])
def test_numbers_are_still_numbers_in_a_text_that_has_underscores(cell):
    data = read(f"first_one,my_label,c\n 1e3 ,{cell},-.5\n+2.,b,7\n", label_column="my_label")
    np.testing.assert_array_equal(data.inputs, [[1000, -0.5], [2, 7]])
