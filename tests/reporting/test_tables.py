import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from chalknet.config import Recipe
from chalknet.data.splits import Splits
from chalknet.network.gradcheck import GradientCheck
from chalknet.records import EpochRecord, Scores
from chalknet.reporting.tables import Table, data_table, gradient_table, statistics_table
from chalknet.training.recipes import recipe as recipe_named
from chalknet.training.trainer import Run, Trainer


def test_names_are_left_and_numbers_right():
    table = Table("Title", ("", "loss"), (("training", "1.5"), ("test", "12.25")))
    assert table.text() == "Title\n           loss\ntraining    1.5\ntest      12.25"


def test_a_table_as_csv_reads_back():
    table = Table("t", ("", "a, b"), (("x", '"1"'),))
    assert list(csv.reader(io.StringIO(table.csv()))) == [["", "a, b"], ["x", '"1"']]


def run_of(records, kept_epoch, data):
    splits = Splits(np.arange(3), np.array([], int), np.arange(3, 6))
    network = Trainer(data, splits, Recipe().with_settings(hidden=[2])).network()
    return Run(tuple(records), network, kept_epoch, Recipe(), data, splits, 372.058)


def test_statistics_have_a_dash_for_a_missing_split(small_images):
    last = EpochRecord(1, Scores(0.01234, 0.9973, 0.2957), None, Scores(0.5, 0.9174, 3.9853), 0.7)
    table = statistics_table(run_of([last], 1, small_images))
    assert table.title == "After 1 epoch, 372.1 s"
    assert table.rows == (
        ("training", "0.0123", "99.73 %", "0.2957"),
        ("validation", "–", "–", "–"),
        ("test", "0.5000", "91.74 %", "3.9853"),
    )


def test_only_the_writeup_shows_the_loss_that_it_printed(small_images):
    record = EpochRecord(1, Scores(0.5, 0.9, 0.2), None, None, 0.7)
    run = run_of([record], 1, small_images)
    assert statistics_table(run).columns == ("", "loss", "accuracy", "printed loss")
    for recipe in (recipe_named("strong"), recipe_named("part2")):
        table = statistics_table(replace(run, recipe=recipe))
        assert table.columns == ("", "loss", "accuracy")
        assert table.rows[0] == ("training", "0.5000", "90.00 %")


def test_statistics_are_those_of_the_kept_epoch(small_images):
    records = [EpochRecord(n, Scores(0.1 * n, 0.9, 0.2), None, None, 0.7) for n in (1, 2, 3)]
    table = statistics_table(run_of(records, 2, small_images))
    assert table.title == "After 2 epochs, the best of 3 by validation loss, 372.1 s"
    assert table.rows[0] == ("training", "0.2000", "90.00 %", "0.2000")


def test_the_gradient_table_has_both_derivatives_and_the_error():
    table = gradient_table([GradientCheck("output.bias", 10, 0.125, 0.1250000001, 8e-10)])
    assert table.rows == (("output.bias", "10", "+1.250000000000e-01", "+1.250000001000e-01", "8.0e-10"),)


def test_the_data_table_counts_classes_per_split(small_images):
    splits = Splits(np.arange(200), np.arange(200, 240), np.array([], int))
    table = data_table(small_images, splits)
    assert table.title == "Data: made.npz, 240 images of 6 x 5 uint8 values"
    assert table.columns == ("", "samples", "A", "B", "C", "D")
    assert [row[:2] for row in table.rows] == [("training", "200"), ("validation", "40"), ("test", "0")]
    assert sum(int(count) for count in table.rows[0][2:]) == 200


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="zip"):
        Table("t", ("a",), (("1", "2"),)).text()
