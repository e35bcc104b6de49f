"""CSV and TSV tables: one row a sample, one column the label, every other column a number."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import MAX_CLASSES, Dataset, IntArray, dataset_from_arrays, with_known
from chalknet.errors import DataError
from chalknet.formatting import quoted

LABEL_NAMES = ("label", "class", "target", "y")
DELIMITERS = ("\t", ";", ",")  # on a tie the first wins: "1,5;2,5;3" is three columns of decimal commas
MIN_PIXELS = 64
MAX_NAMES = 2**19  # characters of all names of columns, which go into the model file's header
LEAST_COUNTED = 4  # columns, from which a first row of 0, 1, 2, ... is no sample
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(
    r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*|\s*[+-]?(?:nan|inf|infinity)\s*", re.I | re.A
)


@dataclass(frozen=True)
class _Columns:
    """Which column is what.

    Attributes:
        names: a name a column, from the header or "column 1", "column 2", ...
        label: index of the label's column; None where there is none.
        has_header: whether the first row is the header.
    """

    names: tuple[str, ...]
    label: int | None
    has_header: bool

    @property
    def label_name(self) -> str:
        return "" if self.label is None else self.names[self.label]

    @property
    def features(self) -> list[str]:
        return [name for at, name in enumerate(self.names) if at != self.label]

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the header calls the features; () where there is none, or none that can be printed and kept."""
        names = tuple(self.features)
        is_usable = self.has_header and all(map(str.isprintable, names)) and sum(map(len, names)) <= MAX_NAMES
        return names if is_usable else ()


@dataclass(frozen=True, eq=False)
class _Table:
    features: NDArray[np.float64]  # (N, I)
    labels: list[str]  # N texts, without outer blanks; none where there is no label column
    lines: array[int]  # N line numbers


def read_csv(
    content: bytes,
    source: str,
    *,
    sha256: str = "",
    class_names: Sequence[str] | None = None,
    label_column: str | int | None = None,
    image_size: tuple[int, int] | None = None,
    known_classes: Sequence[str] = (),
) -> Dataset:
    """The samples in the bytes of a CSV or TSV table.

    Rows are float64, the table's own numbers, and nothing scales them. They become images where image_size says so, or
    where they can only be pixels: whole numbers in 0..255, one of them above 127, and a square number of at least 64
    feature columns, as in the MNIST tables. Pixels in 0..255 are uint8.

    Args:
        content: the file's bytes, UTF-8, delimited by comma, semicolon or tab, quoted as CSV quotes.
        source: what messages call the file.
        class_names: K names. Where every label is one of them they give the order, else labels must be 0..K-1.
        label_column: name or index (from 0, negative from the end). Without it, the header's label, class, target or
            y, or the first column where there is no header.
        image_size: (H, W) with H·W feature columns.
        known_classes: classes without samples here, beside one class alone.

    Raises:
        DataError: rows of different lengths, a feature that is no finite number, no label column; with the line.
    """
    rows = _Rows(_decode(content, source), source)
    columns = _find_columns(rows, label_column, source)
    table = _read_table(rows, columns, source)
    notes: list[str] = []
    labels, names = _number_labels(table, class_names, columns.label_name, source, notes)
    inputs = _as_images(table.features, image_size, source, notes)
    names = with_known(names, known_classes)
    data = dataset_from_arrays(inputs, labels, names, source=source, sha256=sha256, notes=notes)
    return data if data.is_images else replace(data, input_names=columns.input_names)


def read_csv_rows(
    content: bytes, source: str, n_values: int, *, label_column: str | int | None = None
) -> tuple[NDArray[np.float64], list[str], tuple[str, ...]]:
    """The rows in the bytes of a table, of which the labels need not be there, and notes.

    Its width tells: n_values columns are all features; of one more, one is the label, found as `read_csv` finds it,
    and left out.

    Args:
        n_values: I, features of a row.
        label_column: name or index of the column to leave out.
    Returns:
        (N, I) float64, what was left out, and what the header calls the features.
    Raises:
        DataError: as `read_csv`, and where the width is another.
    """
    rows = _Rows(_decode(content, source), source, min_columns=1)
    width = len(rows.first_two()[0])
    has_label = label_column is not None or width == n_values + 1
    if width - has_label != n_values:
        expected = f"{n_values + 1} with the label" if has_label else f"{n_values}, or {n_values + 1} with a label"
        raise DataError(f"{source}: has {width} columns; expected {expected}, divided by comma, semicolon or tab.")
    notes = []
    if has_label:
        columns = _find_columns(rows, label_column, source)
        notes.append(f"The label, {_column(columns.label_name)}, is left out.")
    else:
        # The first row is a header if half of its fields or more are not numbers, or if it counts the columns.
        header = tuple(field.strip() for field in rows.first_two()[0])
        has_header = 2 * sum(not rows.is_number(field) for field in header) >= len(header) or _is_counted(header)
        columns = _Columns(header if has_header else _numbered_columns(width), None, has_header)
    if columns.has_header and _is_counted(columns.names):
        notes.append("The first row numbers the columns and is read as their heads.")
    return _read_table(rows, columns, source).features, notes, columns.input_names


# ---- text to rows ---------------------------------------------------------------------------------------------------


def _decode(content: bytes, source: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{source}: line {line} is not UTF-8 text (byte {content[error.start]:02x}). Save the table as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{source}: line {line} holds a zero byte, so this is no text table. Expected CSV or TSV in UTF-8."
        )
    return text


class _Rows:
    """The rows of a table with their line numbers; blank lines are passed over."""

    def __init__(self, text: str, source: str, min_columns: int = 2) -> None:
        self.source = source
        # Python's float also reads 1_000 and digits of other scripts; only texts that have them pay for the check
        self.to_number: Callable[[str], float] = float if text.isascii() and "_" not in text else _strict_number
        self._text = text
        first = next((line for line in io.StringIO(text) if line.strip()), "")
        if not first:
            raise DataError(f"{source}: no samples; the file holds no text.")
        self.delimiter = max(DELIMITERS, key=lambda mark: _n_columns(first, mark))
        if _n_columns(first, self.delimiter) < min_columns:
            raise DataError(
                f"{source}: expected a label column and at least one number column, "
                f"divided by comma, semicolon or tab, got one column: {first.strip()[:40]!r}."
            )

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            for row in reader:
                if row and (len(row) > 1 or row[0].strip()):
                    yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{self.source}: line {reader.line_num}: the quoting is broken ({error}).") from error

    def first_two(self) -> list[list[str]]:
        rows = iter(self)
        return [row for _, row in zip(range(2), (row for _, row in rows), strict=False)]

    def is_number(self, field: str) -> bool:
        try:
            self.to_number(field)
        except ValueError:
            return False
        return True


def _n_columns(line: str, delimiter: str) -> int:
    try:
        return max((len(row) for row in csv.reader([line], delimiter=delimiter)), default=0)
    except csv.Error:  # a field longer than the reader allows; reading the table will say so
        return line.count(delimiter) + 1


def _strict_number(field: str) -> float:
    if NUMBER.fullmatch(field) is None:
        raise ValueError
    return float(field)


# ---- which column is the label, and is there a header ---------------------------------------------------------------


def _find_columns(rows: _Rows, label_column: str | int | None, source: str) -> _Columns:
    first, *rest = rows.first_two()
    header = [field.strip() for field in first]
    if label_column is None:
        folded = [name.casefold() for name in header]
        label = next((folded.index(name) for name in LABEL_NAMES if name in folded), None)
    else:
        label = _given_column(header, label_column, source)
    has_header = _is_header(header, rest, label, label_column, rows)
    if label is None and has_header:
        raise DataError(
            f"{source}: no column is named label, class, target or y; the columns are {quoted(header)}. "
            "Give label_column (--label-column)."
        )
    names = tuple(header) if has_header else _numbered_columns(len(header))
    return _Columns(names, label or 0, has_header)


def _is_counted(header: Sequence[str]) -> bool:
    """Whether a first row is 0, 1, 2, ...: what some programs write above columns without names."""
    return len(header) >= LEAST_COUNTED and list(header) == [str(at) for at in range(len(header))]


def _numbered_columns(n: int) -> tuple[str, ...]:
    return tuple(f"column {at + 1}" for at in range(n))


def _given_column(header: Sequence[str], label_column: str | int, source: str) -> int:
    """Index of the column that label_column says, by its exact name, its name in other case, or its index."""
    folded = [name.casefold() for name in header]
    if isinstance(label_column, str):
        for names, wanted in ((list(header), label_column), (folded, label_column.casefold())):
            if names.count(wanted) > 1:
                raise DataError(
                    f"{source}: {names.count(wanted)} columns are named {label_column!r}; give the index of one."
                )
            if wanted in names:
                return names.index(wanted)
        if WHOLE_NUMBER.fullmatch(label_column) is None:
            raise DataError(f"{source}: no column is named {label_column!r}; the columns are {quoted(header)}.")
    index = int(label_column)
    if not -len(header) <= index < len(header):
        raise DataError(
            f"{source}: label_column is {index}, but there are {len(header)} columns (0..{len(header) - 1})."
        )
    return index % len(header)


def _is_header(
    header: Sequence[str], rest: list[list[str]], label: int | None, label_column: str | int | None, rows: _Rows
) -> bool:
    """Whether the first row names the columns.

    Features that are no numbers say so, if they are half of the row or more: one bad cell in the first sample is no
    header. The label's name alone says so too (some headers number the pixels), unless it may be a class, the letter y.
    """
    if isinstance(label_column, str) and label is not None and WHOLE_NUMBER.fullmatch(label_column) is None:
        return True
    features = [field for at, field in enumerate(header) if at != (label or 0)]
    n_texts = sum(not rows.is_number(field) for field in features)
    if features and 2 * n_texts >= len(features):
        return True
    if label is None or header[label].casefold() not in LABEL_NAMES:
        return False
    next_label = rest[0][label] if rest and label < len(rest[0]) else "0"
    return header[label].casefold() != "y" or rows.is_number(next_label)


# ---- rows to numbers ------------------------------------------------------------------------------------------------


def _read_table(rows: _Rows, columns: _Columns, source: str) -> _Table:
    width, at = len(columns.names), columns.label
    values, labels, lines = array("d"), list[str](), array("q")
    numbered = iter(rows)
    if columns.has_header:
        next(numbered)
    for line, row in numbered:
        if len(row) != width:
            raise DataError(f"{source}: line {line} has {len(row)} columns, but the first row has {width}.")
        if at is not None:
            labels.append(row.pop(at).strip())
        try:
            values.extend(map(rows.to_number, row))
        except ValueError:
            raise _bad_cell(row, line, columns, rows, source) from None
        lines.append(line)
    if not lines:
        raise DataError(f"{source}: no samples; the table has a header and no rows.")
    features = np.frombuffer(values, np.float64).reshape(len(lines), len(columns.features))
    _check_finite(features, lines, columns, source)
    return _Table(features, labels, lines)


def _bad_cell(row: Sequence[str], line: int, columns: _Columns, rows: _Rows, source: str) -> DataError:
    at = next(at for at, field in enumerate(row) if not rows.is_number(field))
    told = f"{row[at][:40]!r} is not a number" if row[at].strip() else "the cell is empty"
    but = "" if columns.label is None else " but the label"
    return DataError(
        f"{source}: line {line}, {_column(columns.features[at])}: {told}; every column{but} holds numbers."
    )


def _check_finite(features: NDArray[np.float64], lines: array[int], columns: _Columns, source: str) -> None:
    if math.isfinite(features.max()) and math.isfinite(features.min()):  # nan passes through both: no copy of the table
        return
    row, at = divmod(int(np.argmin(np.isfinite(features))), features.shape[1])
    raise DataError(
        f"{source}: line {lines[row]}, {_column(columns.features[at])}: {features[row, at]} is not a finite number. "
        "Fill the gap or leave the row out."
    )


def _column(name: str) -> str:
    return name if re.fullmatch(r"column \d+", name) else f"column {name[:40]!r}"


# ---- labels ---------------------------------------------------------------------------------------------------------


def _number_labels(
    table: _Table, class_names: Sequence[str] | None, column: str, source: str, notes: list[str]
) -> tuple[IntArray, tuple[str, ...]]:
    """Label texts to (N,) numbers and the classes' names."""
    distinct = sorted(set(table.labels))

    def where(text: str) -> str:
        return f"{source}: line {table.lines[table.labels.index(text)]}, {_column(column)}"

    if distinct[0] == "":
        raise DataError(f"{where('')}: the label is empty. Fill it in or leave the row out.")
    if len(distinct) > MAX_CLASSES:
        raise DataError(
            f"{source}: {_column(column)} holds {len(distinct)} different labels, more than {MAX_CLASSES}. "
            "Is another column the label? Give label_column (--label-column)."
        )
    fractions = [text for text in distinct if WHOLE_NUMBER.fullmatch(text) is None]
    if fractions and all(NUMBER.fullmatch(text) for text in distinct):
        raise DataError(
            f"{where(fractions[0])}: label {fractions[0][:40]!r} is a number but not a whole one; labels are whole "
            "numbers or names. Is another column the label? Give label_column (--label-column)."
        )
    are_whole = all(WHOLE_NUMBER.fullmatch(text) for text in distinct)
    if class_names is not None and set(distinct) <= set(class_names):
        return _indexed(table.labels, {name: k for k, name in enumerate(class_names)}), tuple(class_names)
    if class_names is not None and not are_whole:
        text = next(text for text in table.labels if text not in class_names)
        raise DataError(
            f"{source}: line {table.lines[table.labels.index(text)]}: label {text[:40]!r} is none of the class names "
            f"given, {quoted(class_names)}."
        )
    if class_names is not None:
        return _indexed(table.labels, {text: int(text) for text in distinct}), tuple(class_names)
    if not are_whole:
        return _indexed(table.labels, {text: k for k, text in enumerate(distinct)}), tuple(distinct)
    values = sorted({int(text) for text in distinct})
    if values != list(range(len(values))):
        notes.append(f"Labels {quoted(values)} are numbered 0..{len(values) - 1} in this order.")
    number = {value: k for k, value in enumerate(values)}
    return _indexed(table.labels, {text: number[int(text)] for text in set(table.labels)}), tuple(map(str, values))


def _indexed(labels: Sequence[str], number: dict[str, int]) -> IntArray:
    return np.array([number[text] for text in labels], dtype=np.int64)


# ---- pixels ---------------------------------------------------------------------------------------------------------


def _as_images(
    features: NDArray[np.float64], image_size: tuple[int, int] | None, source: str, notes: list[str]
) -> NDArray[Any]:
    """(N, H, W) where the rows are images, else (N, I) as they are."""
    n_columns = features.shape[1]
    if image_size is not None:
        if math.prod(image_size) != n_columns:
            raise DataError(
                f"{source}: image_size {image_size} needs {math.prod(image_size)} feature columns, "
                f"but there are {n_columns}."
            )
        return _pixels(features).reshape(-1, *image_size)
    side = math.isqrt(n_columns)
    if n_columns < MIN_PIXELS or side * side != n_columns or features.max() <= 127:
        return features
    pixels = _pixels(features)
    if pixels.dtype != np.uint8:
        return features
    notes.append(f"The {n_columns} columns of whole numbers in 0..255 are read as images of {side} × {side} pixels.")
    return pixels.reshape(-1, side, side)


def _pixels(features: NDArray[np.float64]) -> NDArray[Any]:
    """uint8 where every value is a whole number in 0..255, else as they are."""
    if features.min() < 0 or features.max() > 255:
        return features
    pixels = features.astype(np.uint8)
    return pixels if np.array_equal(pixels, features) else features
