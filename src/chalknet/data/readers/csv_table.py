"""CSV and TSV tables: one sample per row, one label column, and other columns of numbers or anything else."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import USUAL_TABLE, TableOptions
from chalknet.data.color import N_COLORS
from chalknet.data.dataset import MAX_CLASSES, Dataset, UnlabeledSamples, dataset_from_arrays, with_known
from chalknet.data.readers.labels import (
    GIVE_LABEL,
    INTEGER,
    LABEL_NAMES,
    MISSING,
    NUMBER_PATTERN,
    LabelTexts,
    column_text,
    is_number,
    no_trained_label,
    number_labels,
)
from chalknet.data.readers.source_file import SourceFile
from chalknet.data.readers.table import dataset_from_frame, other_label_notes, samples_from_frame
from chalknet.data.readers.table_file import read_text_table
from chalknet.data.row_numbers import row_numbers
from chalknet.data.tables.columns import ID_NAME, check_unique
from chalknet.data.tables.encoding import TableEncoding, case_advice, category_names
from chalknet.data.tables.texts import are_codes, different_texts
from chalknet.errors import DataError
from chalknet.formatting import capitalized, count_of, quoted

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = ("\t", ";", ",", "|")  # on a tie the first is taken: "1,5;2,5;3" has three columns with decimal commas
EXCEL_DELIMITER = re.compile(r"sep=(.)\s*")  # a first line of Excel that names the delimiter
OTHER_DELIMITER = " If another mark than comma, semicolon, tab or | divides the cells, give delimiter (--delimiter)."
MIN_PIXELS = 64
MAX_NAMES = 2**19  # total length of column names, which are stored in the header of model files
MAX_LINE = 2**24  # characters
MIN_COUNTED = 4  # from so many columns on, a first row 0, 1, 2, ... is a header
ROWS_AT_ONCE = 4_096  # between two checks of the budget
DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]*,[0-9]+\s*")
BYTES_PER_CELL = 64  # of a text in memory


@dataclass(frozen=True)
class _Columns:
    """The meaning of the columns of a table.

    Attributes:
        names: the column names, from the header or "column 1", "column 2", ...
        label: index of the label column, or None.
        has_header: whether the first row is the header.
        is_guess: whether the label column was neither named nor given.
    """

    names: tuple[str, ...]
    label: int | None
    has_header: bool
    is_guess: bool = False

    @property
    def features(self) -> list[str]:
        """Return the names of all columns except the label."""
        return [name for at, name in enumerate(self.names) if at != self.label]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the feature names in the header, or () if there are none that can be stored."""
        names = tuple(self.features)
        is_usable = self.has_header and not _is_counted(self.names) and all(map(str.isprintable, names))
        return names if is_usable and sum(map(len, names)) <= MAX_NAMES else ()

    def notes(self) -> list[str]:
        """Return notes about what was assumed, and how to change it."""
        notes = []
        if self.has_header and _is_counted(self.names):
            notes.append("The first row numbers the columns and is read as their heads.")
        if self.is_guess:
            at = self.label or 0
            where, other = (f"column {at + 1}", "the last") if not at else (f"the last, column {at + 1},", "the first")
            number = -1 if not at else 0
            notes.append(
                f"No header names the label, so {where} is read as it. If it is {other}, give "
                f"label_column={number} (--label-column {number})."
            )
        return notes


@dataclass(frozen=True, eq=False)
class _Table:
    """The values of a table.

    Attributes:
        features: (N, I) numbers.
        labels: the labels as texts.
    """

    features: NDArray[np.float64]
    labels: LabelTexts


def read_csv(
    file: SourceFile,
    *,
    class_names: Sequence[str] | None = None,
    label_column: str | int | None = None,
    image_size: tuple[int, int] | None = None,
    color: str | None = None,
    known_classes: Sequence[str] = (),
    options: TableOptions = USUAL_TABLE,
    encoding: TableEncoding | None = None,
) -> Dataset:
    """Read labeled samples from a CSV or TSV table.

    A table of numbers gives rows of float64 that are not scaled. They become images if image_size is
    given, or if they can only be pixels: integers in 0..255, at least one above 127, and a square
    number of at least 64 feature columns, as in the MNIST tables. Pixels in 0..255 are uint8. Any
    other table is encoded by a `TableEncoding`.

    Args:
        file: UTF-8 text, gzipped or not, delimited by comma, semicolon or tab, with CSV quoting.
        class_names: K names. If every label is one of them, they set the order; otherwise labels
            must be 0..K-1.
        label_column: name or index (from 0, negative from the end). By default the column that the
            header names label, class, target or y, or the first column if there is no header.
        image_size: (H, W) with H·W feature columns.
        color: with "gray" or "rgb" there may also be H·W·3 feature columns, three for each pixel.
        known_classes: names of classes that may have no samples here.
        options: how columns are read.
        encoding: the encoding of another table whose columns this one must have; None to find the
            columns here.

    Returns:
        The samples as a `Dataset`.

    Raises:
        DataError: rows have different lengths, a number is not finite, or there is no label column;
            the message names the line.
    """
    rows = _Rows(file, delimiter=options.delimiter)
    columns = _find_columns(rows, label_column, options.header, encoding)
    notes = columns.notes()
    assert columns.label is not None, "it has been found"
    notes += other_label_notes(columns.names[columns.label], label_column, encoding)
    texts = {columns.names[columns.label], *options.categorical, *category_names(encoding)}
    frame, table = _read_frame(rows, columns, texts), None
    if encoding is None and not options.concern_columns:
        table = _read_numbers(rows, columns, image_size, frame)
    if table is None:
        if image_size is not None:
            raise DataError(f"{file.name}: images of image_size (--image-size) need a table of numbers alone.")
        return dataset_from_frame(
            _named(frame, rows, columns),
            file.name,
            label_column=columns.label,
            class_names=class_names,
            known_classes=known_classes,
            options=options,
            encoding=encoding,
            sha256=file.digest().hex(),
            place=lambda at: f"line {rows.line_of(at + columns.has_header)}",
            notes=notes,
            budget=rows.file.budget,
        )
    frame = None  # its memory is needed
    labels, names = number_labels(table.labels, class_names, f"{file.name}", columns.names[columns.label or 0], notes)
    shape: tuple[int, ...] | None = image_size
    if image_size is not None and color is not None and N_COLORS * math.prod(image_size) == table.features.shape[1]:
        shape = (*image_size, N_COLORS)
    inputs = _as_images(table.features, shape, file.name, notes)
    if inputs.ndim == 2:
        notes += _rounded_columns(inputs, columns)
    return dataset_from_arrays(
        inputs,
        labels,
        with_known(names, known_classes),
        source=file.name,
        sha256=file.digest().hex(),
        notes=notes,
        input_names=columns.input_names,
    )


def read_csv_samples(
    file: SourceFile, encoding: TableEncoding, options: TableOptions = USUAL_TABLE, id_column: str | None = None
) -> UnlabeledSamples:
    """Read the samples of a table whose columns are encoded, with or without its label.

    Columns are found by the names in the header.

    Raises:
        DataError: as `read_csv`, or the table has no header.
    """
    rows = _Rows(file, delimiter=options.delimiter, min_columns=1)
    rows.keeps_blank = len(rows.first_two[0]) == 1  # polars reads such a table in the same way
    header = tuple(cell.strip() for cell in rows.first_two[0])
    is_headed = _has_names(header, encoding) if options.header is None else options.header
    names = header if is_headed else _numbered_for(encoding, header, file.name)
    columns = _Columns(names, None, has_header=is_headed)
    texts = {*category_names(encoding), *filter(None, [id_column])}
    frame = _named(_read_frame(rows, columns, texts), rows, columns)
    return samples_from_frame(
        frame,
        file.name,
        encoding,
        options=options,
        id_column=id_column,
        budget=file.budget,
        place=lambda at: f"line {rows.line_of(at + is_headed)}",
    )


def _has_names(header: Sequence[str], encoding: TableEncoding) -> bool:
    """Return whether a first row has names of columns that a model knows."""
    return bool(encoding.training_columns & set(header))


def _numbered_for(encoding: TableEncoding, first: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the names of the columns of a table without header, of which the label may be left out.

    Args:
        encoding: that of the training table.
        first: the first row.
        source: what messages call the table.

    Raises:
        DataError: the model knows its columns by names, or has another number of columns.
    """
    trained, n = encoding.training_columns, len(first)
    numbered = _numbered_columns(len(trained))
    if not encoding.is_numbered:
        case = case_advice(encoding.names, first)
        advice = case or f" Write their names into the first row.{OTHER_DELIMITER * (n == 1)}"
        raise DataError(
            f"{source}: has no header with the columns of the training table, {quoted(encoding.names)}.{advice}"
        )
    if n == len(trained):
        return numbered
    if n == len(trained) - 1 and encoding.label:
        return tuple(name for name in numbered if name != encoding.label)
    expected = f"{len(trained)}, or {len(trained) - 1} without {encoding.label}, the label" if encoding.label else n
    raise DataError(
        f"{source}: has {count_of(n, 'column')}, but the training table, which had no header, had {expected}. "
        f"Columns without names are found by their position.{OTHER_DELIMITER * (n == 1)}"
    )


def read_csv_rows(
    file: SourceFile,
    n_values: int,
    *,
    label_column: str | int | None = None,
    names: Sequence[str] = (),
    options: TableOptions = USUAL_TABLE,
) -> tuple[NDArray[np.float64], list[str], tuple[str, ...]]:
    """Read the rows of a table that may or may not have labels.

    The number of columns decides: n_values columns are all features. With one more column, one is
    the label, found as in `read_csv`, and is left out.

    Args:
        file: as in `read_csv`.
        n_values: I, the number of features of a row.
        label_column: name or index of a column to leave out.
        names: the expected names of the features, or (); used in messages.
        options: its delimiter and header are used.

    Returns:
        (N, I) float64 rows, notes about what was left out, and the names of the features in the
        header.

    Raises:
        DataError: as `read_csv`, or the table has another number of columns.
    """
    rows = _Rows(file, min_columns=1, delimiter=options.delimiter)
    header = tuple(cell.strip() for cell in rows.first_two[0])
    has_label = label_column is not None or len(header) == n_values + 1
    if len(header) - has_label != n_values:
        expected = f"{n_values + 1} with the label" if has_label else f"{n_values}, or {n_values + 1} with a label"
        raise DataError(
            f"{file.name}: has {len(header)} columns; expected {expected}."
            f"{_surplus(header, names)}{OTHER_DELIMITER * (len(header) == 1)}"
        )
    if has_label:
        try:
            columns = _find_columns(rows, label_column, options.header)
        except NoLabelError as error:
            raise DataError(
                f"{file.name}: has {len(header)} columns and the model reads {n_values}, and none of them is named "
                f"label, class, target or y.{_surplus(header, names)} To leave one out, give label_column "
                "(--label-column)."
            ) from error
        assert columns.label is not None, "it has been found"
        notes = [*replace(columns, is_guess=False).notes()]
        notes.append(f"The label, {column_text(columns.names[columns.label])}, is left out.")
    else:
        # The first row is a header if at least half of its cells are not numbers, or if it counts columns.
        has_header = 2 * sum(not is_number(cell) for cell in header) >= len(header) or _is_counted(header)
        has_header = has_header or (bool(names) and set(names) <= set(header))
        has_header = has_header if options.header is None else options.header
        columns = _Columns(header if has_header else _numbered_columns(len(header)), None, has_header)
        notes = columns.notes()
    frame = _read_frame(rows, columns, set())
    table = None if frame is None else _numbers_of(frame, rows, columns, may_be_codes=False)
    return (table or _read_table(rows, columns)).features, notes, columns.input_names


def _surplus(header: Sequence[str], names: Sequence[str]) -> str:
    """Return a sentence that names unexpected columns, if the header has all expected ones."""
    surplus = [name for name in header if name not in names]
    return f" The model knows no {quoted(surplus)}." if names and set(names) <= set(header) and surplus else ""


class _NotANumberError(DataError):
    """Raised when a cell is no finite number, in a table that is read as numbers."""


class NoLabelError(DataError):
    """Raised when no column of a header is named as a label."""


# ---- text to rows ---------------------------------------------------------------------------------------------------


@dataclass
class _Rows:
    """The rows of a table with their line numbers.

    Each iteration reads the file again. Blank lines are skipped, unless keeps_blank is set.

    Attributes:
        file: the table.
        min_columns: the smallest number of columns that is accepted.
        first_two: the first two rows, without line numbers.
        first_line: the line on which the first row ends.
        delimiter: the character between two cells; None to find it.
        names_delimiter: whether the first line only names the delimiter, as Excel writes it.
        keeps_blank: whether a blank line after the first row is a row with one empty cell.
        to_number: parses the cells of the row that was yielded last. Python's float also accepts
            1_000 and digits of other scripts, so rows that contain such characters get a strict
            parser.
    """

    file: SourceFile
    min_columns: int = 2
    first_two: list[list[str]] = field(init=False)
    first_line: int = field(init=False)
    names_delimiter: bool = field(init=False, default=False)
    keeps_blank: bool = field(init=False, default=False)
    to_number: Callable[[str], float] = float
    delimiter: str | None = None

    def __post_init__(self) -> None:
        """Find the delimiter, and read the first two rows."""
        first = next((line for line in self._lines() if line.strip()), "")
        if not first:
            raise DataError(f"{self.file.name}: no samples; the file holds no text.")
        self.names_delimiter = EXCEL_DELIMITER.fullmatch(first) is not None
        if self.delimiter is None:
            named = EXCEL_DELIMITER.fullmatch(first)
            self.delimiter = named[1] if named else max(DELIMITERS, key=lambda mark: _n_columns(first, mark))
        numbered = list(islice(self, 2))
        self.first_line, self.first_two = numbered[0][0] if numbered else 0, [row for _, row in numbered]
        if not self.first_two or len(self.first_two[0]) < self.min_columns:
            raise DataError(
                f"{self.file.name}: expected a label column and at least one number column, "
                f"divided by comma, semicolon or tab, got one column: {first.strip()[:40]!r}.{OTHER_DELIMITER}"
            )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the cells of each row."""
        reader, keeps = csv.reader(self._lines(), delimiter=self.delimiter or ",", strict=True), False
        try:
            for row in reader:
                if keeps or (row and (len(row) > 1 or row[0].strip())):
                    yield reader.line_num, row or [""]
                    self.to_number, keeps = float, self.keeps_blank
        except csv.Error as error:
            raise DataError(f"{self.file.name}: line {reader.line_num}: the quoting is broken ({error}).") from error

    def line_of(self, row: int) -> int:
        """Return the line on which a row ends."""
        return next(islice(self, row, None))[0]

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the file, checked, with the line that names the delimiter blanked."""
        with self.file.unpacked() as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
            try:
                number = 0
                while line := text.readline(MAX_LINE):
                    number += 1
                    if not number % ROWS_AT_ONCE:
                        self.file.budget.check_time()
                    self._check(line, f"{self.file.name}: line {number}")
                    if number > 1 or not EXCEL_DELIMITER.fullmatch(line) or not self.delimiter:
                        yield line
                    else:
                        yield "\n"  # keeps the line numbers, and is skipped as blank
            finally:
                with suppress(ValueError):  # the file is closed
                    text.detach()

    def _check(self, line: str, where: str) -> None:
        """Raise DataError for a line that is too long or not text, and choose the number parser."""
        if len(line) == MAX_LINE:
            raise DataError(f"{where} has more than {MAX_LINE:,} characters. Expected one line for each sample.")
        if "\0" in line:
            raise DataError(f"{where} holds a zero byte, so this is no text table. Expected CSV or TSV in UTF-8.")
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError as error:  # a byte that is not UTF-8
                byte = ord(line[error.start]) & 0xFF
                raise DataError(f"{where} is not UTF-8 text (byte {byte:02x}). Save the table as UTF-8.") from error
            self.to_number = _strict_number
        elif "_" in line:
            self.to_number = _strict_number


def _n_columns(line: str, delimiter: str) -> int:
    """Return the number of columns that a delimiter gives in a line."""
    try:
        return max((len(row) for row in csv.reader([line], delimiter=delimiter)), default=0)
    except csv.Error:  # a field is too long; reading the table reports it
        return line.count(delimiter) + 1


def _strict_number(cell: str) -> float:
    """Return a cell as a number; raise ValueError for what only Python accepts as one."""
    if not is_number(cell):
        raise ValueError
    return float(cell)


# ---- which column is the label, and is there a header ---------------------------------------------------------------


def _find_columns(
    rows: _Rows,
    label_column: str | int | None,
    header_given: bool | None = None,
    encoding: TableEncoding | None = None,
) -> _Columns:
    """Return the meaning of the columns, from the first two rows and what the user said of the header.

    The columns of a model that reads the table, which is given by its encoding, are looked for first.
    """
    first, *rest = rows.first_two
    header = [cell.strip() for cell in first]
    if encoding is not None:
        header_given = _has_names(header, encoding) if header_given is None else header_given
        if label_column is None and encoding.label:
            label_column = _trained_label(header, header_given, encoding, rows.file.name)
    if label_column is None:
        folded = [name.casefold() for name in header]
        label = next((folded.index(name) for name in LABEL_NAMES if name in folded), None)
    else:
        label = _given_column(header, label_column, rows.file.name)
    has_header = _is_header(header, rest, label, label_column) if header_given is None else header_given
    if not has_header and label_column is None:
        label = None  # the first row holds values, and one of them is y or class
    if label is None and has_header and not (_is_counted(header) and header[0]):
        raise NoLabelError(
            f"{rows.file.name}: no column is named label, class, target or y; the columns are {quoted(header)}. "
            f"{GIVE_LABEL}."
        )
    names = tuple(header) if has_header else _numbered_columns(len(header))
    if label is None and not has_header and _label_is_last(rows.first_two):
        return _Columns(names, len(names) - 1, has_header, is_guess=True)
    return _Columns(names, label or 0, has_header, is_guess=label is None)


def _trained_label(header: Sequence[str], has_header: bool, encoding: TableEncoding, source: str) -> str | int | None:
    """Return the label column of a model in a table that it reads; None if one of the usual names is there.

    Raises:
        DataError: the table has no label column.
    """
    if has_header:
        if encoding.label in header:
            return header.index(encoding.label)
        if any(name.casefold() in LABEL_NAMES for name in header):
            return None
        raise DataError(no_trained_label(encoding.label, header, source))
    names = _numbered_for(encoding, header, source)
    if encoding.label not in names:
        raise DataError(no_trained_label(encoding.label, names, source))
    return names.index(encoding.label)


def _label_is_last(first_two: Sequence[Sequence[str]]) -> bool:
    """Return whether the first column of a table without header has numbers and the last one has texts."""
    return all(is_number(row[0]) and not is_number(row[-1]) for row in first_two)


def _is_counted(header: Sequence[str]) -> bool:
    """Return whether a first row is 0, 1, 2, ..., possibly after an empty cell.

    pandas writes such a row above columns without names.
    """
    cells = header[1:] if header[0] == "" else header
    return len(cells) >= MIN_COUNTED and list(cells) == [str(at) for at in range(len(cells))]


def _numbered_columns(n: int) -> tuple[str, ...]:
    """Return the names "column 1", "column 2", ..."""
    return tuple(f"column {at + 1}" for at in range(n))


def _given_column(header: Sequence[str], label_column: str | int, source: str) -> int:
    """Return the index of the column with this exact name, name in other case, or index."""
    folded = [name.casefold() for name in header]
    if isinstance(label_column, str):
        for names, wanted in ((list(header), label_column), (folded, label_column.casefold())):
            if names.count(wanted) > 1:
                raise DataError(
                    f"{source}: {names.count(wanted)} columns are named {label_column!r}; give the index of one."
                )
            if wanted in names:
                return names.index(wanted)
        if INTEGER.fullmatch(label_column) is None:
            raise DataError(f"{source}: no column is named {label_column!r}; the columns are {quoted(header)}.")
    index = int(label_column[:20]) if isinstance(label_column, str) else label_column
    if not -len(header) <= index < len(header):
        raise DataError(
            f"{source}: label_column is {index}, but there are {len(header)} columns (0..{len(header) - 1})."
        )
    return index % len(header)


def _is_header(header: Sequence[str], rest: list[list[str]], label: int | None, label_column: str | int | None) -> bool:
    """Return whether the first row holds column names.

    It does if at least half of its features are not numbers; a single bad cell in the first sample
    does not make it a header. It does not if a column has numbers in the first two rows, and none has
    a text above a number: then the texts are categories. It also does if it counts the columns, or if
    the label column has one of the usual names. The name y is ambiguous, because it can be a class;
    the next row then decides.
    """
    if isinstance(label_column, str) and label is not None and INTEGER.fullmatch(label_column) is None:
        return True
    features = [cell for at, cell in enumerate(header) if at != (label or 0)]
    n_texts = sum(not is_number(cell) for cell in features)
    if _is_counted(header):
        return True
    if features and 2 * n_texts >= len(features) and not _begins_with_sample(header, rest):
        return True
    if label is None or header[label].casefold() not in LABEL_NAMES:
        return False
    next_label = rest[0][label] if rest and label < len(rest[0]) else "0"
    return header[label].casefold() != "y" or is_number(next_label)


def _begins_with_sample(first: Sequence[str], rest: list[list[str]]) -> bool:
    """Return whether a column has numbers in the first two rows, and no column a text above a number."""
    pairs = [(is_number(above), is_number(below)) for above, below in zip(first, rest[0] if rest else (), strict=False)]
    return (True, True) in pairs and (False, True) not in pairs


# ---- rows to numbers ------------------------------------------------------------------------------------------------


def _read_table(rows: _Rows, columns: _Columns) -> _Table:
    """Read all rows into arrays."""
    width, at, source = len(columns.names), columns.label, rows.file.name
    values, labels, numbers, lines = array("d"), array("i"), dict[str, int](), list[str]()
    n_rows = 0
    for line, row in islice(rows, int(columns.has_header), None):
        if not n_rows % ROWS_AT_ONCE:
            rows.file.budget.take(8 * width * ROWS_AT_ONCE if n_rows else 0)
        n_rows += 1
        if len(row) != width:
            raise DataError(f"{source}: line {line} has {len(row)} columns, but the first row has {width}.")
        if at is not None:
            text = row.pop(at).strip()
            if text not in numbers:
                numbers[text] = len(lines)
                lines.append(f"line {line}")
            labels.append(numbers[text])
        try:
            values.extend(map(rows.to_number, row))
        except ValueError:
            raise _bad_cell(row, f"{source}: line {line}", columns) from None
        if len(lines) > MAX_CLASSES:
            raise _too_many_labels(rows, columns, len(lines))
    if not n_rows:
        raise DataError(f"{source}: no samples; the table has a header and no rows.")
    features = np.frombuffer(values, np.float64).reshape(n_rows, len(columns.features))
    _check_finite(features, rows, columns)
    indices = np.frombuffer(labels, np.int32).astype(np.int64)
    return _Table(features, LabelTexts(indices, tuple(numbers), lines.__getitem__))


def _bad_cell(row: Sequence[str], where: str, columns: _Columns) -> _NotANumberError:
    """Return the error for the first cell of a row that is not a number."""
    at, cell = next((at, cell) for at, cell in enumerate(row) if not is_number(cell))
    but = "" if columns.label is None else " but the label"
    if not cell.strip():
        problem = f"the cell is empty; every column{but} holds numbers. Fill the gap, or leave the row out."
    elif cell.strip().casefold() in MISSING:
        problem = f"{cell[:40]!r} is not a number. Fill the gap, or leave the row out."
    elif DECIMAL_COMMA.fullmatch(cell):
        plain = cell.strip().replace(",", ".")[:40]
        problem = (
            f"{cell[:40]!r} is not a number. If its comma is a decimal comma, save the table with points: {plain}."
        )
    else:
        problem = (
            f"{cell[:40]!r} is not a number; every column{but} holds numbers. Write numbers for its values, or leave "
            "the column out."
        )
    is_last = at == len(row) - 1 and columns.is_guess
    hint = " If this column is the label, give label_column=-1 (--label-column -1)." if is_last else ""
    return _NotANumberError(f"{where}, {column_text(columns.features[at])}: {problem}{hint}")


def _check_finite(features: NDArray[np.float64], rows: _Rows, columns: _Columns) -> None:
    """Raise _NotANumberError for the first value that is not finite."""
    # nan propagates through max and min, so that no copy of the table is needed.
    if math.isfinite(features.max()) and math.isfinite(features.min()):
        return
    row, at = divmod(int(np.argmin(np.isfinite(features))), features.shape[1])
    line = rows.line_of(row + columns.has_header)
    raise _NotANumberError(
        f"{rows.file.name}: line {line}, {column_text(columns.features[at])}: {features[row, at]} is not a finite "
        "number. Fill the gap or leave the row out."
    )


def _rounded_columns(features: NDArray[np.float64], columns: _Columns) -> list[str]:
    """Return a note on the first column of numbers that float64 rounds."""
    rounded = np.flatnonzero(np.maximum(features.max(axis=0), -features.min(axis=0)) > 2**53)
    return [
        f"{capitalized(column_text(columns.features[at]))} holds numbers beyond 2^53, which are rounded. Leave it out "
        "of the table if it is an identity."
        for at in rounded[:1]
    ]


def _read_numbers(
    rows: _Rows, columns: _Columns, image_size: tuple[int, int] | None, frame: pl.DataFrame | None
) -> _Table | None:
    """Return the values of a table of numbers; None if another cell is in it, or a column numbers the rows.

    Args:
        rows: the table.
        columns: the meaning of its columns.
        image_size: (H, W) of the images in the rows, or None.
        frame: the table as `_read_frame` returns it.
    """
    can_have_ids = image_size is None and columns.has_header and not _is_counted(columns.names)
    if can_have_ids and (any(map(ID_NAME.fullmatch, columns.features)) or "" in columns.features):
        return None
    if frame is not None:
        table = _numbers_of(frame, rows, columns, may_be_codes=image_size is None)
    else:
        try:
            table = _read_table(rows, columns)
        except _NotANumberError:
            return None
    return None if table is None or (can_have_ids and row_numbers(table.features, columns.features)) else table


def _numbers_of(frame: pl.DataFrame, rows: _Rows, columns: _Columns, *, may_be_codes: bool) -> _Table | None:
    """Return the values of a frame of numbers and a label; None if another cell is in it.

    Args:
        frame: the table as `_read_frame` returns it.
        rows: its rows, for the lines of labels.
        columns: the meaning of its columns.
        may_be_codes: whether a column of codes such as 01234 holds no numbers.

    Raises:
        DataError: there are too many different labels.
    """
    import polars as pl

    numbers = []
    for at, series in enumerate(frame.get_columns()):
        if at != columns.label:
            found = _plain_numbers(series, may_be_codes=may_be_codes)
            if found is None:
                return None
            numbers.append(found)
    rows.file.budget.take(8 * len(frame) * len(numbers))
    features = pl.DataFrame(numbers).to_numpy(order="c").reshape(len(frame), len(numbers))
    if columns.label is None:
        return _Table(features, LabelTexts(np.zeros(0, np.int64), (), str))
    each = different_texts(frame.to_series(columns.label).fill_null(""))
    texts = each.texts.map_elements(str.strip, return_dtype=pl.String)
    distinct = texts.unique(maintain_order=True).to_list()
    if len(distinct) > MAX_CLASSES:
        raise _too_many_labels(rows, columns, len(distinct))
    codes = texts.replace_strict(distinct, list(range(len(distinct))), return_dtype=pl.Int64)
    indices = each.of_rows(codes)

    def place(label: int) -> str:
        return f"line {rows.line_of(int(np.argmax(indices == label)) + columns.has_header)}"

    return _Table(features, LabelTexts(indices, tuple(distinct), place))


def _plain_numbers(series: pl.Series, *, may_be_codes: bool) -> pl.Series | None:
    """Return a column as float64; None if a cell is no number, or missing, or not finite."""
    import polars as pl

    if series.null_count():
        return None
    if series.dtype == pl.String:
        if not is_number(series[0]) or (may_be_codes and are_codes(series)):
            return None
        texts = series.str.strip_chars()
        if not texts.str.contains(f"^(?:{NUMBER_PATTERN})$").all():  # polars reads 1_000 and others too
            return None
        series = texts
    elif not series.dtype.is_numeric():
        return None
    numbers = series.cast(pl.Float64, strict=False)
    return None if numbers.null_count() or not numbers.is_finite().all() else numbers


def _too_many_labels(rows: _Rows, columns: _Columns, n: int) -> DataError:
    return DataError(
        f"{rows.file.name}: {column_text(columns.names[columns.label or 0])} holds {n} different labels, more than "
        f"{MAX_CLASSES}. Is another column the label? {GIVE_LABEL}."
    )


def _read_frame(rows: _Rows, columns: _Columns, texts: Collection[str]) -> pl.DataFrame | None:
    """Return a table as columns of texts and numbers without names; None if it must be read row by row.

    Args:
        rows: the table.
        columns: the meaning of its columns.
        texts: names of columns that are read as texts.
    """
    skipped = int(rows.names_delimiter) + columns.has_header
    if rows.first_line != 1 + rows.names_delimiter:  # blank lines before the header, or line breaks in it
        return None
    as_texts = {at for at, name in enumerate(columns.names) if name in texts}
    frame = read_text_table(rows.file, rows.delimiter or ",", skipped, len(columns.names), as_texts)
    return None if frame is None or not len(frame) else frame


def _named(frame: pl.DataFrame | None, rows: _Rows, columns: _Columns) -> pl.DataFrame:
    """Return a frame of `_read_frame` with the names of its columns.

    Raises:
        DataError: two columns have one name; or rows have different lengths, and the message names the
            line.
    """
    check_unique(columns.names, rows.file.name)
    if frame is None:
        return _texts_by_row(rows, columns)
    return frame.rename(dict(zip(frame.columns, columns.names, strict=True)))


def _texts_by_row(rows: _Rows, columns: _Columns) -> pl.DataFrame:
    """Return a table as columns of texts, read row by row, which finds the line of an error."""
    import polars as pl

    width, cells = len(columns.names), list[list[str]]()
    for line, row in islice(rows, int(columns.has_header), None):
        if len(row) != width:
            raise DataError(f"{rows.file.name}: line {line} has {len(row)} columns, but the first row has {width}.")
        if not len(cells) % ROWS_AT_ONCE:
            rows.file.budget.take(BYTES_PER_CELL * width * ROWS_AT_ONCE if cells else 0)
        cells.append(row)
    if not cells:
        raise DataError(f"{rows.file.name}: no samples; the table has a header and no rows.")
    return pl.DataFrame(cells, schema=dict.fromkeys(columns.names, pl.String), orient="row")


# ---- pixels ---------------------------------------------------------------------------------------------------------


def _as_images(
    features: NDArray[np.float64], image_size: tuple[int, ...] | None, source: str, notes: list[str]
) -> NDArray[Any]:
    """Return features as (N, H, W) or (N, H, W, 3) if the rows are images, and as (N, I) otherwise."""
    n_columns = features.shape[1]
    if image_size is not None and math.prod(image_size) != n_columns:
        is_color = N_COLORS * math.prod(image_size) == n_columns
        hint = " If they are three for each pixel, give color='rgb' (--color rgb)." if is_color else ""
        raise DataError(
            f"{source}: image_size {image_size} needs {math.prod(image_size)} feature columns, but there are "
            f"{n_columns}.{hint}"
        )
    side = math.isqrt(n_columns)
    is_guess = n_columns >= MIN_PIXELS and side * side == n_columns and features.max() > 127
    if image_size is None and not is_guess:
        return features
    if features.min() >= 0 and features.max() <= 255:
        pixels = features.astype(np.uint8)
        if np.array_equal(pixels, features):
            if image_size is None:
                notes.append(
                    f"The {n_columns} columns of integers in 0..255 are read as images of {side} × {side} pixels."
                )
            return pixels.reshape(-1, *(image_size or (side, side)))
    return features if image_size is None else features.reshape(-1, *image_size)
