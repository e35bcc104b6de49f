"""Tables of correct predictions: what cells mean, how rows are matched, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from chalknet.errors import DataError
from chalknet.studies.correctness_files import read_correctness_files


@pytest.fixture
def files(tmp_path, monkeypatch):
    """files("a.csv", text, ...) writes files into the working directory and reads them."""
    monkeypatch.chdir(tmp_path)

    def written(*texts, **columns):
        names = [f"{name}.csv" for name in "abc"[: len(texts)]]
        for name, text in zip(names, texts, strict=True):
            (tmp_path / name).write_text(text, encoding="utf-8")
        return read_correctness_files(names, **columns)

    return written


@pytest.mark.parametrize(
    "text",
    [
        "seed 0,seed 1\n1,0\n1,1\n0,1\n",
        "seed 0;seed 1\n1;0\n1;1\n0;1\n",
        "seed 0\tseed 1\r\nTrue\tFalse\r\ntrue\ttrue\r\nfalse\tTRUE\r\n",
        "0,1\n1.0,0.0\n1,1\n0,1\n",
        ",0,1\nx,1,0\ny,1,1\nz,0,1\n",
        "y,first,second\ncat,cat,dog\ndog,dog,dog\n3,4,3.0\n",
        "\ufeffsample,label,first,second\nx,1,1,2\n\ny,2,2,2\nz,3,1,3\n",
    ],
    ids=["numbers", "semicolons", "words", "counted", "pandas index", "labels", "mark and blank line"],
)
def test_layouts_that_say_the_same(files, text):
    (found,) = files(text)
    np.testing.assert_array_equal(found.correct, [[1, 1, 0], [0, 1, 1]])


def test_scores_between_0_and_1_are_kept(files):
    (found,) = files("run\n0.25\n1\n")
    np.testing.assert_array_equal(found.correct, [[0.25, 1.0]])


def test_rows_are_matched_by_the_names_of_samples(files):
    first, second = files("sample,run\nx,1\ny,0\nz,0\n", "id,run\nz,0.5\nx,0\ny,1\n")
    assert second.samples == first.samples
    np.testing.assert_array_equal(second.correct, [[0, 1, 0.5]])


def test_columns_can_be_named(files):
    (found,) = files("name,truth,run\nx,1,1\ny,1,2\n", id_column="name", label_column="truth")
    assert found.samples == ("x", "y")
    np.testing.assert_array_equal(found.correct, [[1, 0]])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["run\n"], "expected a line of column names and a line for each sample"),
        (["1,0\n1,1\n"], "the first line must name the columns"),
        (["sample,label\nx,1\n"], "expected a column for each run"),
        (
            ["run\n1\n2\n"],
            "column 'run', line 3: expected 1 .correct., 0 .wrong. or a score .*, got '2'.*column 'label'",
        ),
        (["run\n1\n1,1\n"], "line 3 has 2 columns, but the first line has 1"),
        (["run\n1\nnan\n"], "line 3: expected 1"),
        (["sample,run\nx,1\nx,0\n"], "sample 'x' is there twice"),
        (['run\n1\n"1\n'], "is not a CSV file"),
        (["run\n1\n0\n", "run\n1\n0\n1\n"], "must have the same samples, got 2 and 3 samples"),
        (["sample,run\nx,1\ny,0\n", "run\n1\n0\n"], "a.csv names its samples, but b.csv does not"),
        (["sample,run\nx,1\ny,0\n", "sample,run\nx,1\nz,0\n"], "b.csv: has no sample 'y', which a.csv has"),
        (["label,run\n1,1\n2,2\n", "label,run\n1,1\n3,2\n"], "the label of line 3 is '2' in one and '3' in the other"),
    ],
)
def test_what_cannot_be_compared_is_refused(files, texts, said):
    with pytest.raises(DataError, match=said):
        files(*texts)


def test_an_unknown_column_is_refused(files):
    with pytest.raises(DataError, match="no column is named 'truth'; the columns are 'run'"):
        files("run\n1\n0\n", label_column="truth")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: it is a folder"):
        read_correctness_files([tmp_path])
