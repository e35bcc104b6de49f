"""The texts of a column: each different text once, so that most columns are examined in a moment."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chalknet.config import TableOptions
from chalknet.files import Budget

if TYPE_CHECKING:  # takes a third of a second to import
    import polars as pl

T = TypeVar("T")
R = TypeVar("R")

N_THREADS = 4  # that share the columns of a large table
# Texts that mean "missing" in any column, in any case, and those that do so among numbers only.
MISSING_TEXTS = ("", "nan", "na", "n/a", "#n/a", "null", "?")
# The same with capital letters as they are usual, so that texts need not be changed to compare them.
NULL_TEXTS = tuple(sorted({form for text in MISSING_TEXTS for form in (text, text.upper(), text.title(), "NaN")}))
MISSING_AMONG_NUMBERS = ("none", "nil", "missing", "-", ".", "nat")
# A number with a decimal comma. A point in it separates groups of three digits, and nothing else.
COMMA_NUMBER = r"^[+-]?([1-9][0-9]{0,2}(\.[0-9]{3})+|[0-9]*)(,[0-9]*)?([eE][+-]?[0-9]+)?$"
CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|JPY|CHF|INR|CNY)"
# 1,234 can be a number with a decimal comma.
AMBIGUOUS_NUMBER = r"^[+-]?[0-9]{1,3},[0-9]{3}$"
TIME_OF_DAY = r"^([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]+)?))?(?:\s?([AaPp])\.?[Mm]\.?)?$"
DIGITS = r"^[0-9]+$"
# Dates that are texts have the years 1000 to 9999; the times are microseconds since 1970.
FIRST_MICROSECOND, LAST_MICROSECOND = -30_610_224_000_000_000, 253_402_300_799_999_999
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%d-%b-%Y",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
)
DATE_START = re.compile(r"(?=.{0,40}[0-9]).{1,10}[-/.]")  # how all of DATE_FORMATS begin
DATE_FIELD = re.compile(r"%\.?[A-Za-z]| ")  # of a format; a blank in it stands for any number of blanks
FIRST_TEXTS = 100  # that a format of dates must fit before it is tried on all
SAMPLED_ROWS = 10_000  # in which different texts are counted first
MIN_SHARED = 2**16  # rows from which threads share the columns
DAY = 86_400.0
MAX_DIFFERENT = 2**16  # different texts up to which each is held once


@dataclass(frozen=True, eq=False)
class ColumnTexts:
    """The texts of a column.

    Attributes:
        texts: (M,) the different texts in the order of their first rows, and null for missing values. With
            blanks around some of them, a text can occur twice.
        index: (N,) the position in texts of each row's text; None if texts has the text of every row.
        decimal: the decimal mark of numbers.
    """

    texts: pl.Series
    index: NDArray[np.uint32] | None
    decimal: str = "."
    _dates: dict[str, pl.Series] = field(default_factory=dict)
    _days: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self.texts) if self.index is None else len(self.index)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Return (M,) the number of rows with each text."""
        n = len(self.texts)
        return np.ones(n, np.int64) if self.index is None else np.bincount(self.index, minlength=n)

    @cached_property
    def n_missing(self) -> int:
        """Return the number of rows without a value."""
        return self.n_rows(self.texts.is_null()) if self.texts.null_count() else 0

    def n_rows(self, selected: pl.Series) -> int:
        """Return the number of rows whose text is selected by (M,) truth values."""
        return int(self.counts[selected.to_numpy()].sum())

    def first_row(self, selected: pl.Series) -> int:
        """Return the first row whose text is selected by (M,) truth values; at least one must be."""
        if self.index is None:
            return int(selected.arg_max() or 0)
        return int(np.argmax(selected.to_numpy()[self.index]))

    def of_rows(self, values: pl.Series) -> NDArray[Any]:
        """Return (N,) the value of each row, NaN where it is null, from the (M,) values of the texts."""
        return values.to_numpy() if self.index is None else values.to_numpy().take(self.index)

    def changed(self, texts: pl.Series) -> ColumnTexts:
        """Return the column with (M,) other texts."""
        return ColumnTexts(texts, self.index, self.decimal)

    @cached_property
    def numbers(self) -> pl.Series:
        """Return (M,) the texts as float64, null where a text is no number."""
        return parsed_numbers(self.texts, self.decimal)

    def dates(self, date_format: str) -> pl.Series:
        """Return (M,) the texts as dates with times, null where a text has another format."""
        if date_format not in self._dates:
            self._dates[date_format] = as_dates(self.texts, date_format)
        return self._dates[date_format]

    def days(self, date_format: str) -> NDArray[np.float64]:
        """Return (N,) the dates in days since 1970, NaN where a value is missing."""
        if date_format not in self._days:
            self._days[date_format] = self.of_rows(as_seconds(self.dates(date_format)) / DAY)
        return self._days[date_format]

    @cached_property
    def date_formats(self) -> list[str]:
        """Return the format of dates that all texts have; a second one if days and months can be exchanged."""
        n_missing, found = self.texts.null_count(), list[str]()
        for one in possible_formats(self.texts):
            is_other_order = bool(found) and {found[0][:5], one[:5]} == {"%m/%d", "%d/%m"}
            if (not found or is_other_order) and self.dates(one).null_count() == n_missing:
                found.append(one)
        return found


@dataclass(frozen=True, eq=False)
class Floats:
    """A column of numbers.

    Attributes:
        values: (N,) the values as they are given, null where one is missing.
        numbers: (N,) the same as float64, NaN where one is missing.
        low: the smallest number, or None if all are missing.
        high: the largest number, likewise.
    """

    values: pl.Series
    numbers: NDArray[np.float64]
    low: Any
    high: Any


@dataclass(frozen=True, eq=False)
class PreparedColumns:
    """The columns of a table, each prepared once for all who examine and encode it.

    Attributes:
        frame: the table.
        options: the texts for missing values, and the decimal mark.
        numbers: (N,) finite float64 by name, NaN where one is missing: columns that were found to be
            numbers, and dates in days.
    """

    frame: pl.DataFrame
    options: TableOptions
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _texts: dict[str, ColumnTexts] = field(default_factory=dict)
    _floats: dict[str, Floats] = field(default_factory=dict)

    def prepare(self, budget: Budget | None) -> None:
        """Prepare all columns of a large table on several threads, whose time the budget counts."""
        import polars as pl

        def look_at(name: str) -> None:
            dtype = self.frame.schema[name]
            if dtype in (pl.String, pl.Boolean):
                is_category = name in self.options.categorical
                texts = self.texts(name, may_be_dates=not is_category)
                _ = texts.counts
                if not is_category:
                    _ = texts.days(texts.date_formats[0]) if texts.date_formats else texts.numbers
            elif dtype.is_numeric():
                self.floats(name)

        if len(self.frame) >= MIN_SHARED:
            on_threads(look_at, [name for name in self.frame.columns if name not in self.options.drop], budget)

    def texts(self, name: str, *, may_be_dates: bool) -> ColumnTexts:
        """Return the texts of a column; the arguments are those of `column_texts`."""
        if name not in self._texts:
            self._texts[name] = column_texts(self.frame[name], self.options, may_be_dates=may_be_dates)
        return self._texts[name]

    def floats(self, name: str) -> Floats:
        """Return a column of numbers."""
        if name not in self._floats:
            values = with_nulls(self.frame[name], self.options)
            numbers = as_numbers(values)
            assert numbers is not None, "its type is that of numbers"
            self._floats[name] = floats_of(values, numbers)
        return self._floats[name]


def floats_of(values: pl.Series, numbers: pl.Series) -> Floats:
    """Return a column of numbers from its values and the same as float64, null where one is missing."""
    return Floats(values, numbers.to_numpy(), numbers.min(), numbers.max())


def on_threads(function: Callable[[T], R], items: Iterable[T], budget: Budget | None) -> list[R]:
    """Return the results of a function that polars or NumPy compute, one for each item.

    Most of what they do to a column uses one thread, and lets others run in the meantime.

    Args:
        function: the function.
        items: its arguments.
        budget: counts the processor time of the threads, or None.
    """

    def timed(item: T) -> tuple[R, float]:
        start = time.thread_time()
        return function(item), time.thread_time() - start

    results = []
    with ThreadPoolExecutor(N_THREADS) as pool:
        for result, seconds in pool.map(timed, items):
            results.append(result)
            if budget is not None:
                budget.spend(seconds)
                budget.check_time()
    return results


def column_texts(series: pl.Series, options: TableOptions, *, may_be_dates: bool = False) -> ColumnTexts:
    """Return a column of texts or truth values, with null in place of missing values and without blanks around.

    Args:
        series: the column.
        options: the texts for missing values, and the decimal mark.
        may_be_dates: whether blanks around texts may stay if all texts are dates.
    """
    import polars as pl

    decimal = options.decimal or "."
    if series.dtype == pl.Boolean and series.any() and not series.all():
        index = series.cast(pl.UInt32).fill_null(2).to_numpy()
        return ColumnTexts(pl.Series(series.name, ["false", "true", None]), index, decimal)
    texts = series if series.dtype == pl.String else series.cast(pl.String)
    each = different_texts(texts)
    if each.index is not None:
        return ColumnTexts(without_marks(each.texts, options), each.index, decimal)
    as_they_are = ColumnTexts(texts, None, decimal)
    if may_be_dates and not options.missing and as_they_are.date_formats:  # spares columns of times two passes
        return as_they_are
    return ColumnTexts(without_marks(texts, options), None, decimal)


def different_texts(texts: pl.Series) -> ColumnTexts:
    """Return a column of texts as they are, each once if there are few different ones."""
    import polars as pl

    sample = texts.head(SAMPLED_ROWS)
    known = sample.unique(maintain_order=True)
    if len(known) > len(sample) // 2:
        return ColumnTexts(texts, None)
    known = known.drop_nulls()
    codes = texts.cast(pl.Enum(known), strict=False)
    if codes.null_count() > texts.null_count():  # the sample does not have all texts
        others = texts.filter(codes.is_null()).unique(maintain_order=True).drop_nulls()
        if len(known) + len(others) > MAX_DIFFERENT:
            return ColumnTexts(texts, None)
        known = known.append(others)
        codes = texts.cast(pl.Enum(known))
    index = codes.to_physical().cast(pl.UInt32)
    if index.null_count():
        index = index.fill_null(len(known))
        known = known.append(pl.Series([None], dtype=pl.String))
    return ColumnTexts(known.alias(texts.name), index.to_numpy())


def without_marks(texts: pl.Series, options: TableOptions) -> pl.Series:
    """Return texts without blanks around, with null in place of every text that means a missing value."""
    import polars as pl

    given = (text.strip() for text in options.missing)
    missing = [*NULL_TEXTS, *(form for text in given for form in (text, text.upper(), text.lower()))]
    cell = pl.col(texts.name).str.strip_chars()
    return (
        texts.to_frame().select(pl.when(cell.is_in(missing)).then(None).otherwise(cell)).to_series().alias(texts.name)
    )


def means_missing(texts: pl.Series) -> pl.Series:
    """Return which texts mean a missing value among numbers."""
    return texts.str.to_lowercase().is_in(MISSING_AMONG_NUMBERS)


def parsed_numbers(texts: pl.Series, decimal: str) -> pl.Series:
    """Return texts as float64, null where a text is no number.

    A number may have a currency or a percent sign, which is left out: 12.5 % is 12.5. A time of day
    is a number of seconds.
    """
    plain = plain_numbers(texts, decimal)
    others = texts.is_not_null() & plain.is_null()
    if not others.any():
        return plain
    left = texts.filter(others)
    found = _marked_numbers(left, decimal)
    found = found.zip_with(found.is_not_null(), _seconds_of_day(left))
    return plain.scatter(others.arg_true(), found) if found.null_count() < len(found) else plain


def plain_numbers(texts: pl.Series, decimal: str) -> pl.Series:
    """Return texts as float64, null where a text is no number without marks."""
    import polars as pl

    if decimal == ",":
        texts = texts.set(~texts.str.contains(COMMA_NUMBER).fill_null(False), None)
        texts = texts.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return texts.cast(pl.Float64, strict=False).fill_nan(None)


def marked_number_pattern(decimal: str) -> str:
    """Return the pattern of numbers with a currency or a percent sign, or with marks between groups of three digits."""
    group, point = (",", r"\.") if decimal == "." else (r"\.", ",")
    number = rf"(?:(?:[0-9]+|[1-9][0-9]?[0-9]?(?:{group}[0-9]{{3}})+)(?:{point}[0-9]*)?|{point}[0-9]+)"
    return rf"^(?:[+-]?\s?(?:{CURRENCY}\s?)?|{CURRENCY}\s?[+-]){number}\s?(?:%|{CURRENCY})?$"


def _marked_numbers(texts: pl.Series, decimal: str) -> pl.Series:
    """Return numbers with marks as float64, null where a text is none."""
    import polars as pl

    is_number = texts.str.contains(marked_number_pattern(decimal))
    if not is_number.any():
        return texts.clear(len(texts)).cast(pl.Float64)
    if decimal == ".":
        is_number &= ~texts.str.contains(AMBIGUOUS_NUMBER)
    signs = r"[^0-9+.-]" if decimal == "." else r"[^0-9+,-]"
    digits = texts.set(~is_number, None).str.replace_all(signs, "").str.replace(",", ".", literal=True)
    return digits.cast(pl.Float64, strict=False)


def _seconds_of_day(texts: pl.Series) -> pl.Series:
    """Return times of day such as 14:30, 14:30:05 or 2:30 pm as seconds since midnight, null for other texts."""
    import polars as pl

    if not texts.str.contains(TIME_OF_DAY).any():
        return texts.clear(len(texts)).cast(pl.Float64)
    hours, minutes, seconds, half = (texts.str.extract(TIME_OF_DAY, group) for group in (1, 2, 3, 4))
    hour = hours.cast(pl.Float64)
    is_pm = half.str.to_lowercase() == "p"
    of_half = (hour % 12 + 12 * is_pm.cast(pl.Float64)).set(((hour < 1) | (hour > 12)).fill_null(True), None)
    hour = hour.zip_with(half.is_null(), of_half)
    return 3_600 * hour + 60 * minutes.cast(pl.Float64) + seconds.cast(pl.Float64).fill_null(0.0)


def as_dates(values: pl.Series, date_format: str) -> pl.Series:
    """Return texts as dates with times, null where a text has another format."""
    import polars as pl

    # Without a cache, which costs more than it saves: equal texts are held once.
    dates = values.str.strptime(pl.Datetime("us"), date_format, strict=False, exact=True, cache=False)
    numbers = dates.to_physical()
    low, high = numbers.min(), numbers.max()
    if low is None or (low >= FIRST_MICROSECOND and high <= LAST_MICROSECOND):  # type: ignore[operator]
        return dates
    is_outside = (numbers < FIRST_MICROSECOND) | (numbers > LAST_MICROSECOND)  # 1.3.7 is a version
    return dates.set(is_outside.fill_null(False), None)


def possible_formats(texts: pl.Series) -> list[str]:
    """Return the formats of dates that the first texts have."""
    first = texts.drop_nulls().head(FIRST_TEXTS)
    if not len(first) or DATE_START.match(first[0]) is None:
        return []
    # A look at one text spares most columns a dozen calls of polars, of which each takes a millisecond.
    likely = (one for one in DATE_FORMATS if _has_marks_of(first[0], one))
    return [one for one in likely if not as_dates(first, one).null_count()]


def _has_marks_of(text: str, date_format: str) -> bool:
    """Return whether the marks between the fields of a format stand in a text, in this order."""
    at = 0
    for mark in DATE_FIELD.sub("", date_format):
        at = text.find(mark, at) + 1
        if not at:
            return False
    return True


def may_be_codes(texts: pl.Series) -> bool:
    """Return whether texts can be codes of digits, such as 01234: all have the same number of two or more digits."""
    present = texts.drop_nulls()
    if not len(present) or re.fullmatch(DIGITS, present[0]) is None or len(present[0]) < 2:
        return False
    return bool((present.str.len_bytes() == len(present[0])).all() and present.str.contains(DIGITS).all())


def are_codes(texts: pl.Series) -> bool:
    """Return whether texts are codes of digits: they may be, and some begin with 0."""
    return may_be_codes(texts) and bool(texts.str.starts_with("0").any())


def with_nulls(series: pl.Series, options: TableOptions) -> pl.Series:
    """Return a column with null in place of every missing value, and texts without blanks around them."""
    import polars as pl

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return without_marks(series, options)
    if series.dtype.is_float():
        return series.fill_nan(None) if series.is_nan().any() else series
    if series.dtype == pl.Null:
        return series.cast(pl.String)
    return series


def as_numbers(values: pl.Series) -> pl.Series | None:
    """Return a column of numbers, durations or times of day as float64; None for other types."""
    import polars as pl

    if values.dtype in (pl.Duration, pl.Time):
        return as_seconds(values)
    return values.cast(pl.Float64) if values.dtype.is_numeric() else None


def as_seconds(dates: pl.Series) -> pl.Series:
    """Return dates or times of day as seconds since 1970, or since midnight."""
    import polars as pl

    if dates.dtype == pl.Date:
        return dates.cast(pl.Int64).cast(pl.Float64) * DAY
    if dates.dtype == pl.Time:
        return dates.cast(pl.Int64).cast(pl.Float64) / 1e9
    if dates.dtype == pl.Duration:
        return dates.dt.total_microseconds().cast(pl.Float64) / 1e6
    return dates.dt.replace_time_zone(None).dt.timestamp("us").cast(pl.Float64) / 1e6
