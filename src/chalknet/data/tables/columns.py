"""Find what each column of a table holds: numbers, categories, dates, or nothing that a network can use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chalknet.config import USUAL_TABLE, TableOptions
from chalknet.data.tables.texts import (
    DAY,
    ColumnTexts,
    Floats,
    PreparedColumns,
    are_codes,
    as_numbers,
    as_seconds,
    column_texts,
    floats_of,
    means_missing,
    parsed_numbers,
    plain_numbers,
    with_nulls,
)
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, for_reader, quoted

if TYPE_CHECKING:  # takes a third of a second to import
    import polars as pl

NUMBER, CATEGORY, DATE = "number", "category", "date"
KINDS = (NUMBER, CATEGORY, DATE)
MAX_EXACT = 2**53  # float64 rounds larger integers
MAX_CATEGORIES = 256  # rarer ones are encoded as unknown
MAX_CATEGORY_LENGTH = 1_000  # characters of a category, which model files store
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, in days since 1970
MAX_COUNTED = 2**16  # rows of which different numbers are counted at once, because it takes long
MIN_NUMERIC = 0.9  # with this fraction of numbers, the other texts of a column are errors and not categories
MIN_ROWS = 10  # fewer rows can be different, or numbered, by chance
MAX_TEXT_SHARE = 0.5  # with more different texts per row, and more than MIN_TEXTS, a column holds free text
MIN_TEXTS = 20
DECIMAL_COMMA = r"^[^0-9,]{0,5}[0-9]*,[0-9]+[^0-9,]{0,5}$"
ROW_FROM_0 = "row {} (from 0)".format  # what messages call a row of a table without lines
UNREADABLE = "lists, records or bytes"
MAX_DAYS = 999_999_999  # of a duration, in Python
ID_NAME = re.compile(r"(.*[^a-z])?(id|uuid|guid|index|row|rownames|unnamed: \d+)", re.I)


@dataclass(frozen=True)
class Column:
    """One column of a table that is used for training.

    Attributes:
        name: its name.
        kind: "number", "category" or "date".
        categories: the known categories in the order of their encoded values.
        has_missing: whether values were missing in the table from which the column was found.
        date_format: the format of dates that are texts, as in `datetime.strptime`; "" for others.
        has_time: whether the dates have different times of day.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    has_missing: bool = False
    date_format: str = ""
    has_time: bool = False


@dataclass(frozen=True)
class ColumnSummary:
    """What `chalknet data info` shows of one column of a table.

    Attributes:
        name: name of the column.
        kind: "number", "category", "date", "text", "id" or "constant".
        n_missing: number of missing values.
        n_distinct: number of different values; None for numbers and dates of more than `MAX_COUNTED`
            rows, which `column_summaries` counts.
        values: the range of numbers and dates, or the most frequent values.
        use: what is done with the column.
    """

    name: str
    kind: str
    n_missing: int
    n_distinct: int | None
    values: str
    use: str


@dataclass
class ColumnFinder:
    """Finds the columns of one table.

    Attributes:
        frame: the table, without its label.
        options: what the user said about its columns.
        source: what messages call the table.
        place: returns what messages call a row, such as "line 3" for row 1.
        budget: the time that reading may take; None for a table in memory.
        prepared: the columns of the table as they are examined.
        notes: what was assumed, one sentence each.
        summaries: one summary per column.
    """

    frame: pl.DataFrame
    options: TableOptions
    source: str
    place: Callable[[int], str] = ROW_FROM_0
    budget: Budget | None = None
    prepared: PreparedColumns = field(init=False)
    notes: list[str] = field(default_factory=list)
    summaries: list[ColumnSummary] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the prepared columns."""
        self.prepared = PreparedColumns(self.frame, self.options)

    def find(self) -> tuple[Column, ...]:
        """Return the columns that are used for training, in the order of the table.

        Raises:
            DataError: an option names no column, a column of numbers holds other texts, or no
                column can be used.
        """
        self._check_names()
        self.prepared.prepare(self.budget)
        found = [self._column(self.frame[name]) for name in self.frame.columns]
        columns = tuple(column for column in found if column is not None)
        if not columns:
            raise DataError(
                f"{self.source}: no column can be used for training: {quoted(self.frame.columns)}. To use one all the "
                "same, give keep=[NAME] (--keep NAME)."
            )
        return columns

    def _check_names(self) -> None:
        names = set(self.frame.columns)
        for option in ("drop", "categorical", "numeric", "keep"):
            for name in getattr(self.options, option):
                if name not in names:
                    raise DataError(
                        f"{self.source}: {option} (--{option}) names {name!r}, but the columns besides the label are "
                        f"{quoted(self.frame.columns)}."
                    )
        both = sorted(set(self.options.categorical) & set(self.options.numeric))
        if both:
            raise DataError(f"{self.source}: column {both[0]!r} cannot be both categorical and numeric. Choose one.")

    def _column(self, series: pl.Series) -> Column | None:
        """Return a column, or None if it is left out; add its summary and notes."""
        import polars as pl

        name, options = series.name, self.options
        if self.budget is not None:
            self.budget.check_time()
        if name in options.drop:
            self._summarize(
                _About(name, series.null_count(), 0),
                "column",
                "",
                for_reader("left out, because drop (--drop) names it"),
            )
            return None
        if is_unreadable(series.dtype):
            self._leave_out(series)
            return None
        check_text(name, f"{self.source}: the column name {name[:40]!r}")
        check_dates(series, self.source)
        is_category = name in options.categorical or series.dtype in (pl.Categorical, pl.Enum)
        if holds_texts(series.dtype):
            return self._of_texts(self.prepared.texts(name, may_be_dates=not is_category), is_category)
        floats = self.prepared.floats(name) if series.dtype.is_numeric() else None
        values = with_nulls(series, options) if floats is None else floats.values
        about = _About(name, values.null_count(), 0)
        if about.n_missing == len(values):
            self._summarize(replace(about, n_distinct=0), "constant", "every value is missing", "left out")
            return None
        if floats is None and not is_category and (numbers := as_numbers(values)) is not None:
            floats = floats_of(values, numbers)
        if floats is not None and not is_category:
            return self._number(about, floats)
        if values.dtype.is_temporal() and not is_category:
            self.prepared.numbers[name] = (as_seconds(values) / DAY).to_numpy()
            return self._date(replace(about, n_distinct=n_different(values)), values, "")
        return self._of_texts(column_texts(category_texts(values), USUAL_TABLE), is_category)

    def _of_texts(self, texts: ColumnTexts, is_category: bool) -> Column | None:
        """Return a column of texts, or None if it is left out."""
        name, present = texts.texts.name, texts.texts.drop_nulls()
        about = _About(name, texts.n_missing, n_different(present))
        if about.n_missing == len(texts):
            self._summarize(replace(about, n_distinct=0), "constant", "every value is missing", "left out")
            return None
        if is_category:
            return self._category(about, texts, True)
        is_numeric = name in self.options.numeric
        # No text of a date is a number, so the order of the two questions does not matter.
        formats = [] if is_numeric else texts.date_formats
        if formats:
            if {"%m/%d", "%d/%m"} <= {one[:5] for one in formats}:
                self.notes.append(
                    f"Column {name!r}: dates such as {present[0]} are read as month/day/year. If they are "
                    "day/month/year, write them as year-month-day."
                )
            self.prepared.numbers[name] = texts.days(formats[0])
            return self._date(about, texts.dates(formats[0]), formats[0])
        if not is_numeric and are_codes(present):
            self.notes.append(
                f"Column {name!r} holds codes such as {present[0]}, of which some begin with 0, so it is read as "
                f"categories. If they are numbers, give numeric=[{name!r}] (--numeric {name})."
            )
            return self._category(about, texts, False)
        self._check_decimal_mark(texts)
        if texts.numbers.null_count() < len(texts.numbers) and self._are_numbers(texts):
            self._note_marks(texts)
            numbers = texts.numbers
            floats = Floats(texts.texts, texts.of_rows(numbers), numbers.min(), numbers.max())
            return self._number(_About(name, texts.n_rows(numbers.is_null()), None), floats)
        if is_numeric:
            raise DataError(
                f"{self.source}: column {name!r} holds no numbers, but values such as {str(present[0])[:40]!r}. Take "
                "it out of numeric (--numeric)."
            )
        return self._category(about, texts, False)

    def _leave_out(self, series: pl.Series) -> None:
        """Add the summary and the note of a column that cannot be read.

        Raises:
            DataError: an option asks for the column.
        """
        name, options = series.name, self.options
        if name in (*options.keep, *options.categorical, *options.numeric):
            raise DataError(f"{self.source}: column {name!r} holds {UNREADABLE}, which cannot be used. Do not name it.")
        about = _About(name, series.null_count(), 0)
        self.notes.append(f"Column {name!r} holds {UNREADABLE} and is left out.")
        self._summarize(about, "other", "", f"left out: it holds {UNREADABLE}")

    def _check_decimal_mark(self, texts: ColumnTexts) -> None:
        """Raise DataError if a column holds numbers with decimal commas, and points are expected."""
        values = texts.texts
        if self.options.decimal == "," or not values.str.contains(DECIMAL_COMMA).any():
            return
        has_comma = (values.str.contains(DECIMAL_COMMA) & texts.numbers.is_null()).fill_null(False)
        if not has_comma.any():
            return
        with_points = parsed_numbers(values.str.replace(",", ".", literal=True), ".")
        if texts.n_rows(with_points.is_not_null()) >= MIN_NUMERIC * (len(texts) - texts.n_missing):
            at = texts.first_row(has_comma)
            text = values.filter(has_comma)[0]
            thousands = values.filter(has_comma).str.contains(r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$").all()
            advice = " If it separates thousands, remove it." if thousands else ""
            raise DataError(
                f"{self.source}: {self.place(at)}, column {values.name!r}: {text[:40]!r} is not a number. If its "
                f"comma is a decimal comma, give decimal=',' (--decimal \",\").{advice}"
            )

    def _are_numbers(self, texts: ColumnTexts) -> bool:
        """Return whether a column of texts, of which some are numbers, is a column of numbers.

        Raises:
            DataError: most values are numbers and some are not.
        """
        values = texts.texts
        is_bad = values.is_not_null() & texts.numbers.is_null()
        n_bad, n_numbers = texts.n_rows(is_bad), texts.n_rows(texts.numbers.is_not_null())
        if n_bad:
            bad = values.filter(is_bad)
            if means_missing(bad).all():
                self.notes.append(
                    f"Column {values.name!r}: {quoted(sorted(bad.unique().to_list()))} "
                    f"({count_of(n_bad, 'value')}) among numbers is read as missing."
                )
                return True
            if values.name not in self.options.numeric and n_numbers < MIN_NUMERIC * (n_bad + n_numbers):
                return False
            raise DataError(self._bad_number(texts, is_bad, n_numbers))
        return True

    def _note_marks(self, texts: ColumnTexts) -> None:
        """Add a note if numbers have marks that are left out, or are times of day."""
        has_marks = texts.numbers.is_not_null() & plain_numbers(texts.texts, texts.decimal).is_null()
        if has_marks.any():
            text, number = texts.texts.filter(has_marks)[0], texts.numbers.filter(has_marks)[0]
            value = f"{number:g} seconds after midnight" if ":" in text else f"the number {number:g}"
            self.notes.append(
                f"Column {texts.texts.name!r}: {text!r} is read as {value}, and its other values likewise. If these "
                f"are categories, give categorical=[{texts.texts.name!r}] (--categorical {texts.texts.name})."
            )

    def _bad_number(self, texts: ColumnTexts, is_bad: pl.Series, n_numbers: int) -> str:
        name, text = texts.texts.name, texts.texts.filter(is_bad)[0]
        others = f"{count_of(n_numbers, 'other value')} of the column {'is' if n_numbers == 1 else 'are'}"
        return (
            f"{self.source}: {self.place(texts.first_row(is_bad))}, column {name!r}: {text[:40]!r} is not a number, "
            f"but {others}. Correct it. If it marks missing values, give missing=[{text[:40]!r}] "
            f"(--missing {text[:40]!r}); if the column holds categories, give "
            f"categorical=[{name!r}] (--categorical {name})."
        )

    def _number(self, about: _About, floats: Floats) -> Column | None:
        """Return a column of numbers, or None if it numbers the rows; its values can be the different ones alone."""
        numbers, low, high = floats.numbers, float(floats.low), float(floats.high)
        if math.isinf(low) or math.isinf(high):
            at = int(np.argmax(np.isinf(numbers)))
            raise DataError(
                f"{self.source}: {self.place(at)}, column {about.name!r}: {numbers[at]} is not a finite number. "
                "Correct it, or leave the row out."
            )
        self.prepared.numbers[about.name] = numbers
        values = f"{low:g} to {high:g}"
        is_wanted = about.name in (*self.options.keep, *self.options.numeric)
        if not is_wanted and len(numbers) - about.n_missing >= MIN_ROWS and _numbers_rows(floats, about):
            self.notes.append(f"Column {about.name!r} numbers the rows and is left out. To use it, give keep (--keep).")
            about = replace(about, n_distinct=len(numbers))
            self._summarize(about, "id", values, "left out: it numbers the rows")
            return None
        if max(high, -low) > MAX_EXACT:
            self.notes.append(
                f"Column {about.name!r} holds numbers beyond 2^53, which are rounded. If it is an identity, "
                "leave it out with drop (--drop)."
            )
        if low == high and not about.n_missing:
            self._summarize(replace(about, n_distinct=1), "constant", values, "ignored: it has one value")
            return Column(about.name, NUMBER)
        text = "as it is" if not about.n_missing else "median where missing, and a column of whether it is missing"
        known = numbers[~np.isnan(numbers)] if len(numbers) <= MAX_COUNTED else None
        n_distinct = None if known is None else len(np.unique(known))
        self._summarize(replace(about, n_distinct=n_distinct), NUMBER, values, text)
        return Column(about.name, NUMBER, has_missing=about.n_missing > 0)

    def _date(self, about: _About, dates: pl.Series, date_format: str) -> Column:
        """Return a column of dates.

        Args:
            about: name and number of missing values.
            dates: the different values, or all, as dates.
            date_format: how they are written, or "".
        """
        of_day = as_seconds(dates) % DAY
        has_time = of_day.min() != of_day.max()
        self._summarize(
            about,
            DATE,
            " to ".join(str(end) if has_time else str(end)[:10] for end in (dates.min(), dates.max())),
            f"days, time of year, day of week{', time of day' if has_time else ''}",
        )
        return Column(about.name, DATE, (), about.n_missing > 0, date_format, has_time)

    def _category(self, about: _About, texts: ColumnTexts, is_given: bool) -> Column | None:
        """Return a column of categories, or None if it holds identities or free text."""
        import polars as pl

        # A list, because polars imports a module of NumPy for arrays.
        each = pl.DataFrame({"name": category_texts(texts.texts), "times": texts.counts.tolist()}).drop_nulls()
        counts = each.group_by("name").agg(pl.col("times").sum()).filter(pl.col("times") > 0)
        # Ties in the counts are ordered by name, so that equal tables give equal columns.
        counts = counts.sort(["times", "name"], descending=[True, False])
        names, numbers = counts["name"].to_list(), counts["times"].to_list()
        about, n_present = replace(about, n_distinct=len(names)), len(texts) - texts.n_missing
        top = ", ".join(f"{name[:20]} ({n:,})" for name, n in zip(names[:3], numbers, strict=False))
        top += ", ..." if len(names) > 3 else ""
        is_wanted = is_given or about.name in self.options.keep
        if not is_wanted and n_present >= MIN_ROWS and len(names) == n_present:
            self.notes.append(
                f"Column {about.name!r} has another text in every row and is left out. To use it, give keep (--keep)."
            )
            self._summarize(about, "id", top, "left out: another text in every row")
            return None
        if not is_wanted and len(names) > max(MIN_TEXTS, MAX_TEXT_SHARE * n_present):
            self.notes.append(
                f"Column {about.name!r} has {len(names):,} different texts in {count_of(n_present, 'row')} and is "
                "left out. To use it as categories, give keep (--keep)."
            )
            self._summarize(about, "text", top, "left out: too many different texts")
            return None
        if len(names) > MAX_CATEGORIES:
            self.notes.append(
                f"Column {about.name!r} has {len(names):,} categories. The {MAX_CATEGORIES} most frequent ones are "
                "used, and the others are encoded as unknown."
            )
            names = names[:MAX_CATEGORIES]
        long = next((name for name in names if len(name) > MAX_CATEGORY_LENGTH), None)
        if long is not None:
            raise DataError(
                f"{self.source}: column {about.name!r} holds a text of {len(long):,} characters, more than "
                f"{MAX_CATEGORY_LENGTH:,}. Leave the column out with drop (--drop)."
            )
        for name in names:
            check_text(name, f"{self.source}: column {about.name!r}: the text {name[:40]!r}")
        if len(names) < 2 and not about.n_missing:
            self._summarize(about, "constant", top, "ignored: it has one value")
        else:
            self._summarize(about, CATEGORY, top, encoding_text(len(names), about.n_missing > 0))
        return Column(about.name, CATEGORY, tuple(sorted(names)), about.n_missing > 0)

    def _summarize(self, about: _About, kind: str, values: str, use: str) -> None:
        """Add the summary of a column."""
        self.summaries.append(ColumnSummary(about.name, kind, about.n_missing, about.n_distinct, values, use))


@dataclass(frozen=True)
class _About:
    name: str
    n_missing: int
    n_distinct: int | None


def encoding_text(n_categories: int, has_missing: bool) -> str:
    """Return in words how a column of categories is encoded."""
    if n_categories == 2 and not has_missing:
        return "-1 or 1, and 0 if unknown"
    return f"{n_categories + has_missing} columns of 0 and 1" + (", one for missing" if has_missing else "")


def n_different(values: pl.Series) -> int | None:
    """Return the number of different values that are not missing; None if there are too many values to count."""
    return values.drop_nulls().n_unique() if len(values) <= MAX_COUNTED else None


def holds_texts(dtype: Any) -> bool:
    """Return whether a column of a type is examined as texts."""
    import polars as pl

    return dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def as_texts(values: pl.Series) -> pl.Series:
    """Return a column as composed Unicode texts; whole numbers have no decimal point."""
    import polars as pl

    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        if whole.null_count() == values.null_count() and (whole == values).all():
            values = whole
    return values.str.normalize("NFC") if values.dtype == pl.String else values.cast(pl.String)


def category_texts(values: pl.Series) -> pl.Series:
    """Return a column of categories as texts; True, TRUE and true are one category."""
    import polars as pl

    texts = as_texts(values)
    cell = pl.col(texts.name)
    folded = cell.str.to_lowercase()
    kept = pl.when(folded.is_in(["true", "false"])).then(folded).otherwise(cell)
    return texts.to_frame().select(kept.alias(texts.name)).to_series()


def is_unreadable(dtype: Any) -> bool:
    """Return whether values of a type can be neither numbers, categories nor dates."""
    import polars as pl

    return bool(dtype.is_nested() or dtype in (pl.Object, pl.Binary))


def check_text(text: str, what: str) -> None:
    """Raise DataError for a column name or category that a model file cannot store.

    Args:
        text: the name or category.
        what: what messages call it.
    """
    if not text.isprintable():
        raise DataError(f"{what} holds characters that cannot be printed. Correct it, or leave the column out.")
    if len(text) > MAX_CATEGORY_LENGTH:
        raise DataError(f"{what} has {len(text):,} characters, more than {MAX_CATEGORY_LENGTH:,}. Shorten it.")


def check_dates(series: pl.Series, source: str) -> None:
    """Raise DataError for a date that is not in the years 1 to 9999, which Python cannot represent."""
    import polars as pl

    if not series.dtype.is_temporal() or series.dtype == pl.Time or series.null_count() == len(series):
        return
    unit = getattr(series.dtype, "time_unit", None)
    per_day = 1 if unit is None else 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    low, high = (FIRST_DAY, LAST_DAY) if series.dtype != pl.Duration else (-MAX_DAYS, MAX_DAYS)
    numbers = series.to_physical().cast(pl.Int64)
    # A day less on each side, so that a time zone does not lead out of the range.
    if numbers.min() < (low + 1) * per_day or numbers.max() >= high * per_day:  # type: ignore[operator]
        raise DataError(f"{source}: column {series.name!r} holds a date outside of the years 1 to 9999. Correct it.")


def _numbers_rows(floats: Floats, about: _About) -> bool:
    """Return whether a column holds different integers that number the rows, or identities by its name."""
    numbers, span = floats.numbers, float(floats.high) - float(floats.low)
    n = len(numbers)
    is_nameless = not about.name or about.name.startswith("Unnamed: ")
    counts = math.isclose(span, n - 1) or (is_nameless and span >= n)
    if about.n_missing or not (counts or ID_NAME.fullmatch(about.name)):
        return False
    # Numbers beyond 2^53 can be equal as float64 and different before.
    return bool((numbers == np.floor(numbers)).all() and floats.values.n_unique() == n)


def check_unique(names: Sequence[Any], source: str) -> None:
    """Raise DataError if two columns have the same name."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{source}: two columns are named {name!r}. Rename one of them.")
        seen.add(name)
