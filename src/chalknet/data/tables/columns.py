"""Find what each column of a table holds: numbers, categories, dates, or nothing that a network can use."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chalknet.config import TableOptions
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, quoted

if TYPE_CHECKING:  # takes a third of a second to import
    import polars as pl

NUMBER, CATEGORY, DATE = "number", "category", "date"
KINDS = (NUMBER, CATEGORY, DATE)
MAX_EXACT = 2**53  # float64 rounds larger integers
MAX_CATEGORIES = 256  # rarer ones are encoded as unknown
MAX_CATEGORY_LENGTH = 1_000  # characters of a category, which model files store
# Texts that mean "missing" in any column, in any case, and those that do so among numbers only.
MISSING_TEXTS = ("", "nan", "na", "n/a", "#n/a", "null", "?")
# The same with capital letters as they are usual, so that texts need not be changed to compare them.
NULL_TEXTS = tuple(sorted({form for text in MISSING_TEXTS for form in (text, text.upper(), text.title(), "NaN")}))
MISSING_AMONG_NUMBERS = ("none", "nil", "missing", "-", ".", "nat")
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, in days since 1970
MIN_NUMERIC = 0.9  # with this fraction of numbers, the other texts of a column are errors and not categories
MIN_ROWS = 10  # fewer rows can be different, or numbered, by chance
MAX_TEXT_SHARE = 0.5  # with more different texts per row, and more than MIN_TEXTS, a column holds free text
MIN_TEXTS = 20
YEARS = (1000, 9999)  # that a date which is a text can have
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
# A number with a decimal comma. A point in it separates groups of three digits, and nothing else.
COMMA_NUMBER = r"^[+-]?([1-9][0-9]{0,2}(\.[0-9]{3})+|[0-9]*)(,[0-9]*)?([eE][+-]?[0-9]+)?$"
DECIMAL_COMMA = r"^[+-]?[0-9]*,[0-9]+$"
DATE_START = re.compile(r"(?=.{0,40}[0-9]).{1,10}[-/. ]")  # how all of DATE_FORMATS begin
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
        n_distinct: number of different values.
        values: the range of numbers and dates, or the most frequent values.
        use: what is done with the column.
    """

    name: str
    kind: str
    n_missing: int
    n_distinct: int
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
        notes: what was assumed, one sentence each.
        summaries: one summary per column.
    """

    frame: pl.DataFrame
    options: TableOptions
    source: str
    place: Callable[[int], str] = "row {}".format
    budget: Budget | None = None
    notes: list[str] = field(default_factory=list)
    summaries: list[ColumnSummary] = field(default_factory=list)

    def find(self) -> tuple[Column, ...]:
        """Return the columns that are used for training, in the order of the table.

        Raises:
            DataError: an option names no column, a column of numbers holds other texts, or no
                column can be used.
        """
        self._check_names()
        found = [self._column(self.frame[name]) for name in self.frame.columns]
        columns = tuple(column for column in found if column is not None)
        if not columns:
            raise DataError(
                f"{self.source}: no column can be used for training: {quoted(self.frame.columns)}. To use one all the "
                "same, give keep (--keep NAME)."
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
                _About(name, series.null_count(), 0), "column", "", "left out, because drop (--drop) names it"
            )
            return None
        if is_unreadable(series.dtype):
            self._leave_out(series)
            return None
        check_text(name, f"{self.source}: the column name {name[:40]!r}")
        check_dates(series, self.source)
        values = with_nulls(series, options)
        n_missing, present = values.null_count(), values.drop_nulls()
        n_distinct = present.n_unique()
        about = _About(name, n_missing, n_distinct)
        if not len(present):
            self._summarize(about, "constant", "every value is missing", "left out")
            return None
        is_text = values.dtype == pl.String
        is_category = name in options.categorical or series.dtype in (pl.Categorical, pl.Enum)
        numbers = None if is_category else as_numbers(values, options)
        if is_text and not is_category:
            self._check_decimal_mark(values)
        if is_text and numbers is not None:
            numbers = self._checked_numbers(values, numbers)
        if values.dtype.is_temporal() and numbers is None and not is_category:
            return self._date(about, values, "")
        if numbers is not None:
            return self._number(replace(about, n_missing=numbers.null_count()), numbers)
        if name in options.numeric:
            raise DataError(
                f"{self.source}: column {name!r} holds no numbers, but values such as {str(present[0])[:40]!r}. Take "
                "it out of numeric (--numeric)."
            )
        formats = date_formats(present) if is_text and not is_category else []
        if formats:
            if {"%m/%d", "%d/%m"} <= {one[:5] for one in formats}:
                self.notes.append(
                    f"Column {name!r}: dates such as {present[0]} are read as month/day/year. If they are "
                    "day/month/year, write them as year-month-day."
                )
            return self._date(about, as_dates(values, formats[0]), formats[0])
        return self._category(about, category_texts(values), is_category)

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

    def _check_decimal_mark(self, values: pl.Series) -> None:
        """Raise DataError if a column holds numbers with decimal commas, and points are expected."""
        present = values.drop_nulls()
        has_comma = present.str.contains(DECIMAL_COMMA)
        if self.options.decimal == "," or not has_comma.any():
            return
        n_numbers = as_numbers(present.str.replace(",", ".", literal=True), self.options)
        if n_numbers is not None and len(n_numbers) - n_numbers.null_count() >= MIN_NUMERIC * len(present):
            at = int((values.str.contains(DECIMAL_COMMA)).fill_null(False).arg_max() or 0)
            thousands = present.filter(has_comma).str.contains(r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$").all()
            advice = " If it separates thousands, remove it." if thousands else ""
            raise DataError(
                f"{self.source}: {self.place(at)}, column {values.name!r}: {values[at][:40]!r} is not a number. If its "
                f"comma is a decimal comma, give decimal=',' (--decimal ,).{advice}"
            )

    def _checked_numbers(self, values: pl.Series, numbers: pl.Series) -> pl.Series | None:
        """Return the numbers of a column of texts, or None if it is no column of numbers.

        Raises:
            DataError: most values are numbers and some are not, or a number is not finite.
        """
        is_bad = values.is_not_null() & numbers.is_null()
        n_bad, n_numbers = int(is_bad.sum()), len(numbers) - numbers.null_count()
        if n_bad:
            bad = values.filter(is_bad).str.strip_chars()
            if means_missing(bad).all() and n_numbers:
                self.notes.append(
                    f"Column {values.name!r}: {quoted(sorted(bad.unique().to_list()))} "
                    f"({count_of(n_bad, 'value')}) among numbers is read as missing."
                )
                return numbers
            if values.name not in self.options.numeric and n_numbers < MIN_NUMERIC * (n_bad + n_numbers):
                return None
            raise DataError(self._bad_number(values, is_bad, n_numbers))
        return numbers

    def _bad_number(self, values: pl.Series, is_bad: pl.Series, n_numbers: int) -> str:
        at = int(is_bad.arg_max() or 0)
        text = values[at]
        return (
            f"{self.source}: {self.place(at)}, column {values.name!r}: {text[:40]!r} is not a number, but "
            f"{count_of(n_numbers, 'other value')} of the column {'is' if n_numbers == 1 else 'are'}. Correct it. If "
            f"it marks missing values, give missing (--missing {text[:40]!r}); if the column holds categories, give "
            f"categorical (--categorical {values.name})."
        )

    def _number(self, about: _About, numbers: pl.Series) -> Column | None:
        """Return a column of numbers, or None if it numbers the rows."""
        finite = numbers.drop_nulls()
        if not finite.is_finite().all():
            at = int((numbers.is_not_null() & ~numbers.is_finite()).arg_max() or 0)
            raise DataError(
                f"{self.source}: {self.place(at)}, column {about.name!r}: {numbers[at]} is not a finite number. "
                "Correct it, or leave the row out."
            )
        low, high = float(finite.min()), float(finite.max())  # type: ignore[arg-type]
        values = f"{low:g} to {high:g}"
        is_wanted = about.name in (*self.options.keep, *self.options.numeric)
        if not is_wanted and len(finite) >= MIN_ROWS and _numbers_rows(finite, low, high, about):
            self.notes.append(f"Column {about.name!r} numbers the rows and is left out. To use it, give keep (--keep).")
            self._summarize(about, "id", values, "left out: it numbers the rows")
            return None
        if max(high, -low) > MAX_EXACT:
            self.notes.append(
                f"Column {about.name!r} holds numbers beyond 2^53, which are rounded. If it is an identity, "
                "leave it out with drop (--drop)."
            )
        if about.n_distinct < 2 and not about.n_missing:
            self._summarize(about, "constant", values, "ignored: it has one value")
            return Column(about.name, NUMBER)
        text = "as it is" if not about.n_missing else "median where missing, and a column of whether it is missing"
        self._summarize(about, NUMBER, values, text)
        return Column(about.name, NUMBER, has_missing=about.n_missing > 0)

    def _date(self, about: _About, dates: pl.Series, date_format: str) -> Column:
        """Return a column of dates."""
        seconds = as_seconds(dates).drop_nulls()
        has_time = bool((seconds % 86_400).n_unique() > 1)
        self._summarize(
            about,
            DATE,
            " to ".join(str(end) if has_time else str(end)[:10] for end in (dates.min(), dates.max())),
            f"days, time of year, day of week{', time of day' if has_time else ''}",
        )
        return Column(about.name, DATE, (), about.n_missing > 0, date_format, has_time)

    def _category(self, about: _About, texts: pl.Series, is_given: bool) -> Column | None:
        """Return a column of categories, or None if it holds identities or free text."""
        present = texts.drop_nulls()
        counts = present.value_counts(sort=True)
        # Ties in the counts are ordered by name, so that equal tables give equal columns.
        counts = counts.sort(["count", about.name], descending=[True, False])
        names, numbers = counts[about.name].to_list(), counts["count"].to_list()
        top = ", ".join(f"{name[:20]} ({n:,})" for name, n in zip(names[:3], numbers, strict=False))
        top += ", ..." if len(names) > 3 else ""
        is_wanted = is_given or about.name in self.options.keep
        if not is_wanted and len(present) >= MIN_ROWS and len(names) == len(present):
            self.notes.append(
                f"Column {about.name!r} has another text in every row and is left out. To use it, give keep (--keep)."
            )
            self._summarize(about, "id", top, "left out: another text in every row")
            return None
        if not is_wanted and len(names) > max(MIN_TEXTS, MAX_TEXT_SHARE * len(present)):
            self.notes.append(
                f"Column {about.name!r} has {len(names):,} different texts in {count_of(len(present), 'row')} and is "
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
    n_distinct: int


def encoding_text(n_categories: int, has_missing: bool) -> str:
    """Return in words how a column of categories is encoded."""
    if n_categories == 2 and not has_missing:
        return "-1 or 1, and 0 if unknown"
    return f"{n_categories + has_missing} columns of 0 and 1" + (", one for missing" if has_missing else "")


def with_nulls(series: pl.Series, options: TableOptions) -> pl.Series:
    """Return a column with null in place of every missing value, and texts without blanks around them."""
    import polars as pl

    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        given = (text.strip() for text in options.missing)
        missing = [*NULL_TEXTS, *(form for text in given for form in (text, text.upper(), text.lower()))]
        cell = pl.col(series.name).str.strip_chars()
        return (
            series.to_frame()
            .select(pl.when(cell.is_in(missing)).then(None).otherwise(cell))
            .to_series()
            .alias(series.name)
        )
    if series.dtype.is_float():
        return series.fill_nan(None)
    if series.dtype == pl.Null:
        return series.cast(pl.String)
    return series


def means_missing(texts: pl.Series) -> pl.Series:
    """Return which texts mean a missing value among numbers."""
    return texts.str.to_lowercase().is_in(MISSING_AMONG_NUMBERS)


def as_numbers(values: pl.Series, options: TableOptions) -> pl.Series | None:
    """Return a column as float64, null where a text is no number; None if it holds no number."""
    import polars as pl

    if values.dtype == pl.String:
        numbers = parsed_numbers(values, options)
        return numbers if len(numbers) > numbers.null_count() else None
    if values.dtype in (pl.Duration, pl.Time):
        return as_seconds(values)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64)
    return None


def parsed_numbers(texts: pl.Series, options: TableOptions) -> pl.Series:
    """Return texts as float64, null where a text is no number."""
    import polars as pl

    if options.decimal == ",":
        texts = texts.set(~texts.str.contains(COMMA_NUMBER).fill_null(False), None)
        texts = texts.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    return texts.cast(pl.Float64, strict=False).fill_nan(None)


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


def as_dates(values: pl.Series, date_format: str) -> pl.Series:
    """Return texts as dates with times, null where a text has another format."""
    import polars as pl

    dates = values.str.strptime(pl.Datetime("us"), date_format, strict=False, exact=True)
    return dates.set(~dates.dt.year().is_between(*YEARS).fill_null(False), None)  # 1.3.7 is a version


def as_seconds(dates: pl.Series) -> pl.Series:
    """Return dates or times of day as seconds since 1970, or since midnight."""
    import polars as pl

    if dates.dtype == pl.Date:
        return dates.cast(pl.Int64).cast(pl.Float64) * 86_400.0
    if dates.dtype == pl.Time:
        return dates.cast(pl.Int64).cast(pl.Float64) / 1e9
    if dates.dtype == pl.Duration:
        return dates.dt.total_microseconds().cast(pl.Float64) / 1e6
    return dates.dt.replace_time_zone(None).dt.timestamp("us").cast(pl.Float64) / 1e6


def date_formats(present: pl.Series) -> list[str]:
    """Return the formats that all texts of a column have; none if these are no dates."""
    if not len(present) or DATE_START.match(present[0]) is None:  # spares most columns a dozen calls of polars
        return []
    first = present.head(100)
    fitting = [one for one in DATE_FORMATS if not as_dates(first, one).null_count()]
    return [one for one in fitting if not as_dates(present, one).null_count()]


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


def _numbers_rows(numbers: pl.Series, low: float, high: float, about: _About) -> bool:
    """Return whether a column holds different integers that number the rows, or identities by its name."""
    n = len(numbers)
    if about.n_missing or about.n_distinct != n or not (numbers == numbers.floor()).all():
        return False
    is_nameless = not about.name or about.name.startswith("Unnamed: ")
    counts = math.isclose(high - low, n - 1) or (is_nameless and high - low >= n)
    return bool(counts or ID_NAME.fullmatch(about.name))


def check_unique(names: Sequence[Any], source: str) -> None:
    """Raise DataError if two columns have the same name."""
    seen: set[Any] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{source}: two columns are named {name!r}. Rename one of them.")
        seen.add(name)
