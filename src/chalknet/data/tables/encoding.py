"""Encode a table of mixed columns as numbers, the same for training and for prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    KINDS,
    MAX_CATEGORIES,
    NUMBER,
    ROW_FROM_0,
    UNREADABLE,
    Column,
    ColumnFinder,
    category_texts,
    check_dates,
    holds_texts,
    is_unreadable,
)
from chalknet.data.tables.frames import as_frame, is_frame
from chalknet.data.tables.rows import CODE_TYPE, UNKNOWN, InputGroup, TableRows, input_groups
from chalknet.data.tables.texts import (
    DATE_FORMATS,
    DAY,
    MIN_SHARED,
    ColumnTexts,
    PreparedColumns,
    as_numbers,
    as_seconds,
    column_texts,
    means_missing,
    on_threads,
    parsed_numbers,
    with_nulls,
)
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, is_or_are, quoted

if TYPE_CHECKING:
    import polars as pl

# Columns with more categories can be embedded. Source: Holzmueller, Grinsztajn and Steinwart, Better by
# Default (NeurIPS 2024), section 3.1.
MAX_ONE_HOT = 9


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
    def number_names(self) -> tuple[str, ...]:
        """The names of the columns of numbers and dates, in the order of the first inputs."""
        return tuple(column.name for column in self.columns if column.kind != CATEGORY)

    @property
    def n_numbers(self) -> int:
        """How many of the inputs, the first ones, are numbers and days."""
        return len(self.number_names)

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

    @property
    def category_inputs(self) -> tuple[int, ...]:
        """The first input and the number of inputs of each column with more than `MAX_ONE_HOT` categories.

        Missing values of a column count as one more category.
        """
        found, start = list[int](), 0
        for group in self._groups:
            if group.is_coded and len(group.names) > MAX_ONE_HOT:
                found += [start, len(group.names)]
            start += len(group.names)
        return tuple(found)

    @property
    def embedded_names(self) -> tuple[str, ...]:
        """The names of the columns of `category_inputs`."""
        names = category_names(self)
        coded = (group for group in self._groups if group.is_coded)
        return tuple(names[group.at] for group in coded if len(group.names) > MAX_ONE_HOT)

    def for_file(self, options: TableOptions) -> TableEncoding:
        """Return this encoding for a file with another decimal mark, or with further texts for missing values."""
        return replace(self, missing=(*self.missing, *options.missing), decimal=options.decimal or self.decimal)

    def encode(
        self, frame: pl.DataFrame, source: str, budget: Budget | None = None
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return the rows of a table as (N, I) float64 inputs, and notes; see `encode_rows`."""
        rows, notes = self.encode_rows(frame, source, budget)
        return rows[:], notes

    def encode_rows(
        self,
        frame: pl.DataFrame,
        source: str,
        budget: Budget | None = None,
        prepared: PreparedColumns | None = None,
        place: Callable[[int], str] = ROW_FROM_0,
    ) -> tuple[TableRows, tuple[str, ...]]:
        """Return the rows of a table, and notes.

        Columns are found by name, in any order.

        Args:
            frame: the table; with other columns too.
            source: what messages call it.
            budget: the memory and time that reading may take; None for a table in memory.
            prepared: the columns of the table if a `ColumnFinder` has prepared them, or None.
            place: returns what messages call a row, such as "line 3" for row 1.

        Returns:
            (N, I) rows, NaN where a number is missing, and notes on columns that are not used, on
            categories that are not known and on values that are missing.

        Raises:
            DataError: a column is missing, or a value is not of the column's kind.
        """
        there = set(frame.columns)
        lacking = [name for name in self.names if name not in there]
        if lacking:
            raise DataError(
                f"{source}: has no {'column' if len(lacking) == 1 else 'columns'} {quoted(lacking)}; its columns are "
                f"{quoted(frame.columns)}.{case_advice(lacking, frame.columns)} Give a table with all columns of the "
                "training table. Leave cells empty whose values are missing."
            )
        prepared = prepared or PreparedColumns(frame, TableOptions(missing=self.missing, decimal=self.decimal))
        notes = []
        known = {*self.names, *self.ignored, self.label}
        extra = [name for name in frame.columns if name not in known]
        if extra:
            notes.append(
                f"{count_of(len(extra), 'column')} that the model does not know {is_or_are(len(extra))} ignored: "
                f"{quoted(extra)}."
            )
        n_coded = len(self.columns) - self.n_numbers
        if budget is not None:
            budget.take(len(frame) * (8 * self.n_numbers + CODE_TYPE.itemsize * n_coded))
        if budget is not None:
            budget.check_time()

        def values_of(column: Column) -> tuple[NDArray[Any], list[str]]:
            known_numbers = prepared.numbers.get(column.name)
            if known_numbers is not None and column.kind != CATEGORY:
                return known_numbers, []
            return _values(frame[column.name], column, prepared, source)

        numbers, codes = list[NDArray[np.float64]](), list[NDArray[np.int16]]()
        columns = self.columns
        try:
            every = on_threads(values_of, columns, budget) if len(frame) >= MIN_SHARED else map(values_of, columns)
            for column, (values, found) in zip(columns, every, strict=True):
                (codes if column.kind == CATEGORY else numbers).append(values)
                notes += found
        except _BadValueError as error:  # place may read a file, so it is called on one thread
            advice = "" if place is ROW_FROM_0 else error.advice  # only text files are read with a decimal mark
            raise DataError(f"{source}: {place(error.row)}, {error}{advice}") from None
        return TableRows(len(frame), numbers, codes, self._groups), tuple(notes)

    @cached_property
    def _groups(self) -> tuple[InputGroup, ...]:
        return input_groups(self.columns)

    def as_table(self) -> dict[str, Any]:
        """Return the encoding as model files store it."""
        return asdict(self)


def case_advice(lacking: Sequence[str], names: Sequence[str]) -> str:
    """Return, after a space, which columns of a table differ from lacking ones only in case; "" if none does."""
    folded = {name.casefold() for name in lacking}
    found = [name for name in names if name.casefold() in folded and name not in lacking]
    if not found:
        return ""
    return f" Only upper and lower case differ for {quoted(found)}. Write these names as in the training table."


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


def _values(given: pl.Series, column: Column, table: PreparedColumns, source: str) -> tuple[NDArray[Any], list[str]]:
    """Return the values of a column as numbers, or as positions of categories; and notes."""
    if is_unreadable(given.dtype):
        raise DataError(f"{source}: column {column.name!r} holds {UNREADABLE}, not a {column.kind}.")
    check_dates(given, source)
    texts = _texts_of(given, column, table)
    if texts is not None and column.kind == NUMBER and texts.numbers.null_count() > texts.texts.null_count():
        texts = texts.changed(texts.texts.set(means_missing(texts.texts).fill_null(True), None))
    values = with_nulls(given, table.options) if texts is None else texts.texts
    n_missing = values.null_count() if texts is None else texts.n_missing
    notes = []
    if n_missing and not column.has_missing:
        then = "are encoded as unknown" if column.kind == CATEGORY else "get the median of the training samples"
        name = column.name
        notes.append(f"Column {name!r} has {count_of(n_missing, 'missing value')}, and training had none. They {then}.")
    if column.kind == CATEGORY:
        assert texts is not None, "categories are texts"
        codes, n_unknown = _codes(texts, column)
        if n_unknown:
            notes.append(
                f"Column {column.name!r} has {count_of(n_unknown, 'value')} of categories that training did not have."
            )
        return codes, notes
    found = _dates(values, texts, column) if column.kind == DATE else _numbers(values, texts)
    is_bad = values.is_not_null() & found.is_null()
    if is_bad.any():
        at = int(is_bad.arg_max() or 0) if texts is None else texts.first_row(is_bad)
        raise _wrong_kind(values.filter(is_bad)[0], at, column, table.options.decimal or ".")
    floats = found.to_numpy() if texts is None else texts.of_rows(found)  # a missing value is NaN
    if np.isinf(floats).any():
        at = int(np.argmax(np.isinf(floats)))
        raise _BadValueError(at, f"column {column.name!r}: {floats[at]} is not a finite number.")
    return floats, notes


def _texts_of(given: pl.Series, column: Column, table: PreparedColumns) -> ColumnTexts | None:
    """Return a column as texts if it holds texts, or is one of categories; None for others."""
    import polars as pl

    if holds_texts(given.dtype) and (given.dtype != pl.Boolean or column.kind != NUMBER):
        return table.texts(column.name, may_be_dates=column.kind != CATEGORY)
    if column.kind == CATEGORY:
        return column_texts(category_texts(with_nulls(given, table.options)), USUAL_TABLE)
    return None


def _dates(values: pl.Series, texts: ColumnTexts | None, column: Column) -> pl.Series:
    """Return dates as days since 1970, null where a value is no date."""
    import polars as pl

    if values.null_count() == len(values):
        return values.cast(pl.String).cast(pl.Float64)
    if texts is not None:  # the format of dates that were no texts in training is found here
        formats = [column.date_format] if column.date_format else texts.date_formats
        values = texts.dates(formats[0]) if formats else values
    if not values.dtype.is_temporal():
        is_bad = values.is_not_null()
        at = int(is_bad.arg_max() or 0) if texts is None else texts.first_row(is_bad)
        raise _wrong_kind(values.filter(is_bad)[0], at, column)
    return as_seconds(values) / DAY


def _numbers(values: pl.Series, texts: ColumnTexts | None) -> pl.Series:
    """Return values as float64, null where a value is no number."""
    import polars as pl

    if texts is not None:
        return texts.numbers
    found = as_numbers(values)
    return values.cast(pl.Float64, strict=False) if found is None else found


def _codes(texts: ColumnTexts, column: Column) -> tuple[NDArray[np.int16], int]:
    """Return the position of each row's text in the categories, and how many rows have an unknown one."""
    import polars as pl

    known = {name: at for at, name in enumerate(column.categories)}
    missing = len(known) if column.has_missing else UNKNOWN
    named = category_texts(texts.texts)
    codes = named.replace_strict(list(known), list(known.values()), default=UNKNOWN, return_dtype=pl.Int16)
    n_unknown = texts.n_rows((codes == UNKNOWN) & named.is_not_null())
    codes = codes.set(named.is_null(), missing)
    of_texts = codes.to_numpy()
    return of_texts if texts.index is None else of_texts.take(texts.index), n_unknown


class _BadValueError(Exception):
    """Raised when a value of a row is not of its column's kind; the message begins with the column.

    Attributes:
        row: the row.
        advice: a sentence on the decimal mark, after a space, or "".
    """

    def __init__(self, row: int, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.row, self.advice = row, advice


def _wrong_kind(value: Any, at: int, column: Column, decimal: str = ".") -> _BadValueError:
    """Return the error for a value that is not of its column's kind.

    Args:
        value: the value.
        at: its row.
        column: the column.
        decimal: the decimal mark of the table that is read.
    """
    kind = "a date" if column.kind == DATE else "a number"
    expected = f" of the format {column.date_format}" if column.date_format else ""
    text, advice, of_mark = str(value)[:40], "", ""
    if column.kind == NUMBER and ":" in text:
        kind = "a time of day such as 13:45 or 1:45 pm"
    elif column.kind == NUMBER:
        of_mark = _decimal_advice(text, decimal)
        if "," in text and decimal == ".":
            advice = " Leave out the comma if it separates thousands."
    return _BadValueError(
        at,
        f"column {column.name!r}: {text!r} is not {kind}{expected}, as the column was in training. Correct the value, "
        f"or leave it empty.{advice}",
        of_mark,
    )


def _decimal_advice(text: str, decimal: str) -> str:
    """Return, after a space, how to read a text that is a number with the other decimal mark; "" for other texts."""
    import polars as pl

    other, name = (",", "comma") if decimal == "." else (".", "point")
    if other not in text or parsed_numbers(pl.Series([text]), other).null_count():
        return ""
    return f' If its {name} is a decimal {name}, give decimal={other!r} (--decimal "{other}").'


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
