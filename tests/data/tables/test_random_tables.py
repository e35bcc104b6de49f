"""Random tables of mixed columns: the reader against a slow one that looks at one cell after the other."""

from __future__ import annotations

import csv
import datetime
import io
import math
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import source_file
from hypothesis import HealthCheck, given, settings
from strategies import seeds

from chalknet.data.readers import table, table_file
from chalknet.data.readers.csv_table import read_csv, read_csv_samples
from chalknet.data.tables import encoding, texts
from chalknet.errors import DataError

MISSING = ("", " ", "NA", "nan", "?", "Null", "n/a")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?( ?%)?")
FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y")
CYCLES = ((365.2425, 0), (7, 4), (1, 0))
EPOCH = datetime.datetime(1970, 1, 1)


@dataclass
class Found:
    """A column as the slow reader finds it; categories are None for numbers and dates."""

    name: str
    values: list
    categories: tuple | None = None
    date_format: str = ""
    has_time: bool = False

    @property
    def has_missing(self):
        return None in self.values

    @property
    def numbers(self):
        return np.array([math.nan if one is None else one for one in self.values])

    def inputs(self):
        """Return the inputs that are derived from the column besides its numbers."""
        if self.categories is not None:
            if len(self.categories) == 2 and not self.has_missing:
                return [[-1.0 + 2 * self.categories.index(one) for one in self.values]]
            names = (*self.categories, *([None] if self.has_missing else []))
            return [[float(one == name) for one in self.values] for name in names]
        made = []
        for length, start in CYCLES[: 2 + self.has_time] if self.date_format else ():
            angle = 2 * np.pi * ((self.numbers - start) % length) / length
            made += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]
        return [*made, *([np.isnan(self.numbers)] if self.has_missing else [])]


def date_of(text, date_format):
    try:
        return datetime.datetime.strptime(text, date_format)
    except ValueError:
        return None


def found_column(name, cells):
    """Return a column of texts, or None if it is left out."""
    cells = [None if cell.strip().lower() in ("", "na", "nan", "?", "null", "n/a") else cell.strip() for cell in cells]
    present = [cell for cell in cells if cell is not None]
    if not present:
        return None
    for one in FORMATS:
        if all(date_of(cell, one) for cell in present):
            dates = [cell if cell is None else date_of(cell, one) - EPOCH for cell in cells]
            days = [date if date is None else date.total_seconds() / 86_400 for date in dates]
            return Found(name, days, None, one, len({date.seconds for date in dates if date is not None}) > 1)
    are_digits = all(re.fullmatch("[0-9]{2,}", cell) for cell in present)
    are_codes = are_digits and len({len(cell) for cell in present}) == 1 and any(cell[0] == "0" for cell in present)
    n_numbers = sum(NUMBER.fullmatch(cell) is not None for cell in present)
    others = {cell for cell in present if not NUMBER.fullmatch(cell)}
    if n_numbers and not are_codes and (others <= {"none", "-"} or n_numbers >= 0.9 * len(present)):
        if others - {"none", "-"}:
            raise DataError("a text among numbers")
        values = [float(cell.rstrip(" %")) if cell is not None and cell not in others else None for cell in cells]
        if None not in values and len(set(values)) == len(values) == max(values) - min(values) + 1 >= 10:
            return None
        return Found(name, values)
    cells = [cell.lower() if cell is not None and cell.lower() in ("true", "false") else cell for cell in cells]
    counts = Counter(cell for cell in cells if cell is not None)
    if len(counts) == len(present) >= 10 or len(counts) > max(20, 0.5 * len(present)):
        return None
    names = sorted(counts, key=lambda one: (-counts[one], one))[:256]
    return Found(name, cells, tuple(sorted(names)))


def slow_reader(text):
    """Return the columns of a table with labels, and its inputs."""
    head, *rows = csv.reader(io.StringIO(text))
    columns = [found_column(name, [row[at] for row in rows]) for at, name in enumerate(head) if name != "label"]
    columns = [column for column in columns if column is not None]
    inputs = [column.numbers for column in columns if column.categories is None]
    inputs += [one for column in columns for one in column.inputs()]
    return columns, np.array(inputs, float).T


def some_words(rng, n, words):
    return [words[at] for at in rng.integers(0, len(words), n)]


def random_cells(rng, n):
    """Return n cells of a column of a random kind."""
    late = rng.random(n) < 0.3
    late[: n // 2] = False
    days = [EPOCH + datetime.timedelta(days=int(at)) for at in rng.integers(4_000, 4_000 + rng.integers(1, 9_000), n)]
    makers = (
        lambda: [f"{one:.3f}" for one in rng.normal(0, 50, n)],
        lambda: some_words(rng, n, [f"{one:g}" for one in rng.normal(0, 50, 9).round(2)]),
        lambda: [str(one) for one in rng.integers(-40, 40, n)],
        lambda: [str(one) for one in rng.permutation(n) + rng.integers(0, 2)],
        lambda: [f"{one:03d}" for one in rng.integers(rng.integers(0, 200), 999, n)],
        lambda: some_words(rng, n, [f"k{at}" for at in range(rng.integers(1, 8))]),
        lambda: some_words(rng, n, [f" k{at}" if at % 3 else f"k{at} " for at in range(rng.integers(1, 400))]),
        lambda: some_words(rng, n, ["a, b", 'the "c"', "d e", "é" * 20, "F"]),
        lambda: [f'text "{one}",\nand more' for one in rng.permutation(n)],
        lambda: some_words(rng, n, ["true", "false"]),
        lambda: some_words(rng, n, ["True", "FALSE", "false", "true"]),
        lambda: [f"{one:%Y-%m-%d}" for one in days],
        lambda: [f"{one:%d.%m.%Y}" for one in days],
        lambda: [
            f"{one + datetime.timedelta(seconds=int(s)):%Y-%m-%d %H:%M:%S}"
            for one, s in zip(days, rng.integers(0, 86_400, n), strict=True)
        ],
        lambda: [f"{one:%Y-%m-%d}" if not is_late else "some day" for one, is_late in zip(days, late, strict=True)],
        lambda: [f"{one} %" for one in rng.integers(0, 100, n)],
        lambda: [
            rng.choice(["none", "-", "word"]) if is_late else str(one)
            for one, is_late in zip(rng.integers(0, 60, n), late, strict=True)
        ],
        lambda: ["-" if is_late else f"{one:.2f}" for one, is_late in zip(rng.normal(0, 60, n), late, strict=True)],
    )
    cells = makers[rng.integers(0, len(makers))]()
    if rng.random() < 0.4:
        marks = rng.choice(MISSING, 2)
        cells = [
            str(rng.choice(marks)) if gone else cell for cell, gone in zip(cells, rng.random(n) < 0.1, strict=True)
        ]
    return cells


def random_table(seed):
    """Return the text of a table; its first column is one of categories, so that no table is plain numbers."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 400))
    columns = [["one", "two"] * (n // 2) + ["one"] * (n % 2)]
    columns += [random_cells(rng, n) for _ in range(rng.integers(1, 7))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if rng.random() < 0.2 else csv.QUOTE_MINIMAL)
    writer.writerow([*(f"c{at}" for at in range(len(columns))), "label"])
    writer.writerows(zip(*columns, some_words(rng, n, ["yes", "no"]), strict=True))
    return text.getvalue()


def both_readers(text):
    """Compare the columns and inputs of a table as both readers find them, and return the encoding."""
    try:
        columns, inputs = slow_reader(text)
    except DataError:
        with pytest.raises(DataError, match="is not a number"):
            read_csv(source_file(text.encode(), "t.csv"))
        return
    data = read_csv(source_file(text.encode(), "t.csv"))
    assert [one.name for one in data.encoding.columns] == [one.name for one in columns]
    for ours, slow in zip(data.encoding.columns, columns, strict=True):
        assert (ours.categories, ours.has_missing) == (slow.categories or (), slow.has_missing)
        assert (ours.date_format, ours.has_time) == (slow.date_format, slow.has_time)
    n_numbers, found = data.encoding.n_numbers, data.inputs[:]
    # polars multiplies by the reciprocal where Python divides, and angles of dates are rounded.
    np.testing.assert_allclose(found[:, :n_numbers], inputs[:, :n_numbers], rtol=1e-15)
    np.testing.assert_allclose(found[:, n_numbers:], inputs[:, n_numbers:], rtol=0, atol=1e-9)
    again = read_csv_samples(source_file(text.encode(), "t.csv"), data.encoding)
    np.testing.assert_array_equal(again.inputs[:], found)


@given(seeds)
@settings(max_examples=20)
def test_a_slow_reader_finds_the_same_columns_and_inputs(seed):
    both_readers(random_table(seed))


@given(seeds)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_slow_reader_finds_the_same_in_large_tables(monkeypatch, seed):
    monkeypatch.setattr(texts, "MIN_SHARED", 0)
    monkeypatch.setattr(encoding, "MIN_SHARED", 0)
    monkeypatch.setattr(texts, "SAMPLED_ROWS", 60)
    monkeypatch.setattr(texts, "MAX_DIFFERENT", 40)
    monkeypatch.setattr(table_file, "INFERRED_ROWS", 60)
    monkeypatch.setattr(table, "MAX_DENSE_BYTES", 0)
    both_readers(random_table(seed))
