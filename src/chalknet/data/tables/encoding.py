"""Encode a table of mixed columns as numbers, the same for training and for prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.checked import checked, short
from chalknet.config import USUAL_TABLE, TableOptions
from chalknet.data.tables.columns import (
    CATEGORY,
    DATE,
    DATE_FORMATS,
    KINDS,
    MAX_CATEGORIES,
    NUMBER,
    UNREADABLE,
    Column,
    ColumnFinder,
    as_dates,
    as_numbers,
    as_seconds,
    category_texts,
    check_dates,
    date_formats,
    is_unreadable,
    means_missing,
    parsed_numbers,
    with_nulls,
)
from chalknet.data.tables.frames import as_frame, is_frame
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, quoted

if TYPE_CHECKING:
    import polars as pl

DAY = 86_400.0
ROWS_AT_ONCE = 512
# Cycles of a date: name, length in days, and the day at which a cycle begins (days since
# 1970-01-01, which was a Thursday). The year is the mean year of the Gregorian calendar.
CYCLES = (("time of year", 365.2425, 0.0), ("day of week", 7.0, 4.0), ("time of day", 1.0, 0.0))


@dataclass(frozen=True)
class TableEncoding:
    """How the columns of a table become the inputs of a network.

    A row of a table becomes a row of I numbers. First come the numbers themselves, then what is
    derived from them:

    - a number: itself, NaN if it is missing. `Scaling` replaces NaN by the median of the training
      samples.
    - a date: days since 1970, then sine and cosine of the time of year, of the day of the week and, if
      the dates have different times, of the time of day.
    - a category: -1 or 1 if there are two categories and none was missing, otherwise one column of 0
      and 1 per category and one for missing values. A category that is not known is 0 in all of
      them.
    - where numbers or dates were missing: a column that is 1 where the value is missing.

    Categories and missing values are those of the whole table. Everything that depends on the values
    of samples (medians, means, deviations) is in `Scaling`, which is computed from the training
    samples alone.

    Attributes:
        columns: the columns, in the order of the table.
        ignored: names of the columns that are left out.
        label: name of the label column, or "".
        missing: texts that mean "missing" besides the usual ones.
        decimal: the decimal mark of numbers in texts, "." or ",".
    """

    columns: tuple[Column, ...]
    ignored: tuple[str, ...] = ()
    label: str = ""
    missing: tuple[str, ...] = ()
    decimal: str = "."

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the I inputs."""
        return tuple(name for group in self._groups for name in group.names)

    @property
    def n_inputs(self) -> int:
        """I, the number of inputs."""
        return len(self.input_names)

    @cached_property
    def n_numbers(self) -> int:
        """How many of the inputs, the first ones, are numbers and days."""
        return sum(column.kind != CATEGORY for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are read."""
        return tuple(column.name for column in self.columns)

    @property
    def training_columns(self) -> frozenset[str]:
        """The names of all columns of the training table."""
        return frozenset((*self.names, *self.ignored, *filter(None, [self.label])))

    @property
    def is_numbered(self) -> bool:
        """Whether the training table had no header, so that its columns are named by their numbers."""
        return self.training_columns == {f"column {at + 1}" for at in range(len(self.training_columns))}

    def for_file(self, options: TableOptions) -> TableEncoding:
        """Return this encoding for a file with another decimal mark, or with further texts for missing values."""
        return replace(self, missing=(*self.missing, *options.missing), decimal=options.decimal or self.decimal)

    def encode(
        self, frame: pl.DataFrame, source: str, budget: Budget | None = None
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return the rows of a table as inputs, and notes.

        Columns are found by name, in any order.

        Args:
            frame: the table; with other columns too.
            source: what messages call it.
            budget: the memory and time that reading may take; None for a table in memory.

        Returns:
            (N, I) float64, NaN where a number is missing, and notes on columns that are not used, on
            categories that are not known and on values that are missing.

        Raises:
            DataError: a column is missing, or a value is not of the column's kind.
        """
        there = set(frame.columns)
        lacking = [name for name in self.names if name not in there]
        if lacking:
            raise DataError(
                f"{source}: has no column {quoted(lacking)}; its columns are {quoted(frame.columns)}. Give a table "
                "with all columns of the training table."
            )
        if budget is not None:
            budget.take(8 * len(frame) * self.n_inputs)
        notes, values = [], np.empty((len(frame), self.n_inputs))
        known = {*self.names, *self.ignored, self.label}
        extra = [name for name in frame.columns if name not in known]
        if extra:
            verb = "is" if len(extra) == 1 else "are"
            notes.append(
                f"{count_of(len(extra), 'column')} that the model does not know {verb} ignored: {quoted(extra)}."
            )
        options = TableOptions(missing=self.missing, decimal=self.decimal)
        series = {}
        for column in self.columns:
            if budget is not None:
                budget.check_time()
            given = frame[column.name]
            if is_unreadable(given.dtype):
                raise DataError(f"{source}: column {column.name!r} holds {UNREADABLE}, not a {column.kind}.")
            check_dates(given, source)
            series[column.name], found = _values(with_nulls(given, options), column, options, source)
            notes += found
        for start in range(0, len(values), ROWS_AT_ONCE):  # so few rows that they stay in the cache
            rows, at = slice(start, start + ROWS_AT_ONCE), 0
            for group in self._groups:
                group.fill(series[group.column][rows], values[rows, at : at + len(group.names)])
                at += len(group.names)
        return values, tuple(notes)

    @cached_property
    def _groups(self) -> tuple[_InputGroup, ...]:
        numbers = [
            _InputGroup(one.name, (_days_name(one),), _fill_values) for one in self.columns if one.kind != CATEGORY
        ]
        return (*numbers, *(group for column in self.columns for group in _derived_groups(column)))

    def as_table(self) -> dict[str, Any]:
        """Return the encoding as model files store it."""
        return asdict(self)


def category_names(encoding: TableEncoding | None) -> list[str]:
    """Return the names of the columns of categories; none without an encoding."""
    return [] if encoding is None else [column.name for column in encoding.columns if column.kind == CATEGORY]


def find_encoding(table: Any, options: TableOptions = USUAL_TABLE) -> tuple[TableEncoding | None, tuple[str, ...]]:
    """Return the encoding of a table in memory without labels, and notes.

    Every column of numbers is used, also one that numbers the rows, because the caller has chosen the
    columns.

    Args:
        table: a frame or a dict of columns; or anything else, which has no encoding.
        options: how columns are read.

    Returns:
        The encoding, None for numbers without missing values; and notes on columns of texts that are
        left out, and on what was assumed.
    """
    import polars as pl

    if not is_frame(table):
        return None, ()
    frame = as_frame(table, "X")
    is_plain = not options.changed and all((dtype.is_numeric() or dtype == pl.Boolean) for dtype in frame.dtypes)
    if is_plain and not any(with_nulls(frame[name], USUAL_TABLE).null_count() for name in frame.columns):
        return None, ()
    numbers = [name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if dtype.is_numeric()]
    finder = ColumnFinder(frame, replace(options, keep=(*options.keep, *numbers)), "X")
    columns = finder.find()
    used = {column.name for column in columns}
    ignored = tuple(name for name in frame.columns if name not in used)
    encoding = TableEncoding(columns, ignored, missing=tuple(options.missing), decimal=options.decimal or ".")
    return encoding, tuple(finder.notes)


@dataclass(frozen=True)
class _InputGroup:
    """Some inputs that are computed from one column.

    Attributes:
        column: name of the column.
        names: names of the inputs.
        fill: writes the inputs (N, n) of the column's values (N,).
    """

    column: str
    names: tuple[str, ...]
    fill: Callable[[NDArray[Any], NDArray[np.float64]], None]


def _days_name(column: Column) -> str:
    return column.name if column.kind == NUMBER else f"{column.name} in days"


def _derived_groups(column: Column) -> list[_InputGroup]:
    """Return the inputs of a column besides its number."""
    name, groups = column.name, []
    if column.kind == DATE:
        cycles = CYCLES if column.has_time else CYCLES[:-1]
        names = tuple(f"{name}: {function} of {cycle}" for cycle, _, _ in cycles for function in ("sine", "cosine"))
        groups.append(_InputGroup(name, names, _fill_cycles))
    if column.kind == CATEGORY:
        n = len(column.categories)
        if n == 2 and not column.has_missing:
            return [_InputGroup(name, (f"{name}: {column.categories[1]}",), _fill_binary)]
        names = (*(f"{name}: {one}" for one in column.categories), *([f"{name}: missing"] * column.has_missing))
        return [_InputGroup(name, names, _fill_one_hot)]
    if column.has_missing:
        groups.append(_InputGroup(name, (f"{name}: missing",), _fill_missing))
    return groups


# The values of numbers and dates are numbers, NaN where one is missing. Those of categories are
# positions in the list of categories: the number of categories for a missing value, -1 for unknown.
UNKNOWN = -1


def _fill_values(values: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = values


def _fill_missing(values: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = np.isnan(values)


def _fill_cycles(days: NDArray[Any], out: NDArray[np.float64]) -> None:
    for at in range(out.shape[1] // 2):
        _, length, start = CYCLES[at]
        angle = 2 * math.pi * np.nan_to_num((days - start) % length) / length
        known = ~np.isnan(days)
        out[:, 2 * at], out[:, 2 * at + 1] = np.sin(angle) * known, np.cos(angle) * known


def _fill_binary(codes: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = np.select([codes == 0, codes == 1], [-1.0, 1.0], 0.0)


def _fill_one_hot(codes: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:] = codes[:, None] == np.arange(out.shape[1])


def _values(values: pl.Series, column: Column, options: TableOptions, source: str) -> tuple[NDArray[Any], list[str]]:
    """Return the values of a column as numbers, and notes."""
    import polars as pl

    if column.kind == NUMBER and values.dtype == pl.String:
        values = values.set(means_missing(values).fill_null(True), None)
    name, n_missing = column.name, values.null_count()
    notes = []
    if n_missing and not column.has_missing:
        then = "are encoded as unknown" if column.kind == CATEGORY else "get the median of the training samples"
        notes.append(f"Column {name!r} has {count_of(n_missing, 'missing value')}, and training had none. They {then}.")
    if column.kind == CATEGORY:
        codes, n_unknown = _codes(category_texts(values), column)
        if n_unknown:
            notes.append(
                f"Column {name!r} has {count_of(n_unknown, 'value')} of categories that training did not have."
            )
        return codes, notes
    if column.kind == DATE:
        dates = values
        if values.dtype == pl.String:  # the format of dates that were no texts in training is found here
            formats = [column.date_format] if column.date_format else date_formats(values.drop_nulls())
            dates = as_dates(values, formats[0]) if formats else values
        if not dates.dtype.is_temporal():
            raise _wrong_kind(values, dates.is_null(), column, source, "a date")
        numbers = as_seconds(dates) / DAY
    else:
        found = parsed_numbers(values, options) if values.dtype == pl.String else as_numbers(values, options)
        numbers = values.cast(pl.Float64, strict=False) if found is None else found
    is_bad = values.is_not_null() & numbers.is_null()
    if is_bad.any():
        raise _wrong_kind(values, is_bad, column, source, "a date" if column.kind == DATE else "a number")
    floats = numbers.cast(pl.Float64).to_numpy().astype(np.float64)
    if np.isinf(floats).any():
        at = int(np.argmax(np.isinf(floats)))
        raise DataError(f"{source}: row {at} (from 0), column {name!r}: {floats[at]} is not a finite number.")
    return floats, notes


def _codes(texts: pl.Series, column: Column) -> tuple[NDArray[np.int64], int]:
    """Return the position of each text in the categories, and how many texts are unknown."""
    import polars as pl

    known = {name: at for at, name in enumerate(column.categories)}
    missing = len(known) if column.has_missing else UNKNOWN
    codes = texts.replace_strict(list(known), list(known.values()), default=UNKNOWN - 1, return_dtype=pl.Int64)
    numbers = pl.select(pl.when(texts.is_null()).then(missing).otherwise(codes)).to_series().to_numpy()
    is_unknown = numbers == UNKNOWN - 1
    return np.where(is_unknown, UNKNOWN, numbers), int(is_unknown.sum())


def _wrong_kind(values: pl.Series, is_bad: pl.Series, column: Column, source: str, kind: str) -> DataError:
    at = int((is_bad & values.is_not_null()).arg_max() or 0)
    expected = f" of the format {column.date_format}" if column.date_format else ""
    return DataError(
        f"{source}: row {at} (from 0), column {column.name!r}: {str(values[at])[:40]!r} is not {kind}{expected}, as "
        "the column was in training. Correct the value, or leave it empty."
    )


def encoding_from_table(table: Any) -> TableEncoding:
    """Return the encoding that a model file stores; the inverse of `TableEncoding.as_table`.

    Raises:
        DataError: a value has another type, or values do not fit together.
    """
    try:
        encoding: TableEncoding = checked(TableEncoding, table, "its encoding")
    except ValueError as error:
        raise DataError(f"{error}.") from None
    names = [column.name for column in encoding.columns]
    texts = [*names, *encoding.ignored, encoding.label]
    texts = [*texts, *(one for column in encoding.columns for one in column.categories)]
    if not names or len(set(names)) < len(names) or not all(map(str.isprintable, texts)):
        raise DataError("its encoding has no columns, two of one name, or texts that cannot be printed.")
    for column in encoding.columns:
        n = len(set(column.categories))
        is_bad_category = column.kind == CATEGORY and not 1 <= n == len(column.categories) <= MAX_CATEGORIES
        if column.kind not in KINDS or is_bad_category or column.date_format not in ("", *DATE_FORMATS):
            raise DataError(f"its encoding of column {short(column.name)} is not one that chalknet writes.")
    if encoding.decimal not in (".", ","):
        raise DataError(f"its decimal mark is {short(encoding.decimal)}.")
    return encoding
