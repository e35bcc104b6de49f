"""Read the files of tables with polars."""

from __future__ import annotations

import io
import json
import math
import os
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chalknet.checked import is_number, plain, short, strict_json
from chalknet.data.readers.source_file import SourceFile
from chalknet.data.tables.columns import check_unique
from chalknet.data.tables.texts import NULL_TEXTS, may_be_codes, on_threads
from chalknet.errors import DataError, MissingExtraError
from chalknet.files import Budget
from chalknet.version import install_command

if TYPE_CHECKING:
    import polars as pl

INFERRED_ROWS = 10_000  # from which the types of the columns of a text table are found
# Formats of table files besides CSV: by which bytes a file begins with, and what messages call it.
PARQUET, ARROW, EXCEL, JSON_LINES = "Parquet", "Arrow", "Excel", "JSON Lines"
JSON_SUFFIXES, EXCEL_SUFFIXES = (".jsonl", ".ndjson"), (".xlsx", ".xlsm")
MEMORY_PER_CELL = 64  # bytes of a cell of a sheet, read or empty, with its copy in a column
EXCEL_ANY_CELL = re.compile(rb"<c[ />]")
EXCEL_ROW = re.compile(rb'<row\b[^<>]*?\br=["\']([0-9]{1,7})["\']')
EXCEL_CELL = re.compile(rb'\br=["\']([A-Z]{1,3})([0-9]{1,7})["\']')
MAX_LINE = 2**24  # bytes of a line of JSON
STDERR = 2
FIRST_BYTES = 2**22  # of a text table that are examined before it is read
COUNTED_BYTES = 2**19  # at a time, which stay in the cache
MEMORY_PER_VALUE = 16  # bytes that are counted for a value of a table before it is read

_STDERR_LOCK = threading.Lock()


def typed_format(file: SourceFile) -> str:
    """Return the format of a table file that is not text, or of JSON Lines by its name; "" for other files."""
    file.file.seek(0)
    start = file.file.read(8)
    file.file.seek(0)
    if start.startswith(b"PAR1"):
        return PARQUET
    if start.startswith(b"ARROW1"):
        return ARROW
    if start.startswith(b"PK\x03\x04") and file.name.casefold().endswith(EXCEL_SUFFIXES):
        return EXCEL
    return JSON_LINES if file.name.casefold().endswith(JSON_SUFFIXES) else ""


def read_text_table(
    file: SourceFile, delimiter: str, skip_rows: int, n_columns: int, texts: Collection[int]
) -> pl.DataFrame | None:
    """Read a CSV or TSV table.

    Args:
        file: the table.
        delimiter: the character between two cells.
        skip_rows: number of rows at the beginning that are skipped.
        n_columns: number of columns.
        texts: positions of the columns that are read as texts, as they are. Others are numbers if all
            values are, and their empty cells are null.

    Returns:
        The table, with columns "column_1", "column_2", ... None if a row may be blank, shorter or
        longer than the others, or is no CSV.
    """
    import polars as pl

    content = file.content()
    n_delimiters, n_lines = on_threads(partial(_count, content), (delimiter, "\n"), file.budget)
    file.budget.take((n_delimiters + n_lines) * MEMORY_PER_VALUE)
    if content.find(b"\0") >= 0:
        return None
    usual: dict[str, Any] = {"has_header": False, "separator": delimiter, "skip_rows": skip_rows}
    start, n_skipped = 0, 0
    for _ in range(skip_rows):
        end = content.find(b"\n", start) + 1
        n_skipped, start = n_skipped + content.count(delimiter.encode(), start, end), end
    first = _first_rows(content, start, delimiter)
    if first is None or first.width != n_columns:
        return None
    known = [one.filter(~one.is_in(NULL_TEXTS)) for one in first]  # without marks of missing values
    as_texts = {one.name for at, one in enumerate(known) if at in texts or may_be_codes(one)}
    marks = any(_has_marks(first[one.name], one) for one in known if one.name not in as_texts)
    frame = None
    # Marks of missing values take time, so they are looked for if the first rows have some, or a column of numbers
    # turns out to hold a text after the rows from which its type is inferred.
    for typed, null_values in dict.fromkeys([(True, marks), (True, True), (False, False)]):
        with suppress(pl.exceptions.PolarsError, ValueError):
            frame = pl.read_csv(
                content,
                infer_schema=typed,
                infer_schema_length=INFERRED_ROWS,
                schema_overrides=dict.fromkeys(as_texts, pl.String) if typed else None,
                null_values=list(NULL_TEXTS) if null_values else None,
                **usual,
            )
            if null_values and as_texts:
                plain = pl.read_csv(content, columns=sorted(as_texts), infer_schema=False, **usual)
                frame = frame.with_columns(plain)
            break
    if frame is None or frame.width != n_columns:
        return None
    # polars refuses longer rows, and fills up shorter ones. So all rows are whole if the delimiters between cells,
    # which are those that are not within a text, have the expected number.
    within = 0 if content.find(b'"') < 0 else _n_within_texts(frame, delimiter)
    return frame if n_delimiters - n_skipped - within == len(frame) * (n_columns - 1) else None


def _count(content: bytes, character: str) -> int:
    """Return how often a character stands in a text; four times as fast as `bytes.count` for one byte."""
    mark = character.encode()
    if len(mark) > 1:
        return content.count(mark)
    values = np.frombuffer(content, np.uint8)
    blocks = range(0, len(values), COUNTED_BYTES)
    return sum(int(np.count_nonzero(values[start : start + COUNTED_BYTES] == mark[0])) for start in blocks)


def _first_rows(content: bytes, start: int, delimiter: str) -> pl.DataFrame | None:
    """Return the first rows of a table as texts, None if it is no CSV."""
    import polars as pl

    cut = content.rfind(b"\n", start, start + FIRST_BYTES) + 1 if start + FIRST_BYTES < len(content) else len(content)
    for end in dict.fromkeys((cut, len(content))):  # a text with a line break may be cut
        with suppress(pl.exceptions.PolarsError, ValueError):
            usual: dict[str, Any] = {"has_header": False, "separator": delimiter, "infer_schema": False}
            return pl.read_csv(content[start:end], n_rows=INFERRED_ROWS, **usual)
    return None


def _has_marks(first: pl.Series, known: pl.Series) -> bool:
    """Return whether some of the first texts of a column are marks of missing values, and the others may be numbers.

    Args:
        first: the first texts.
        known: those that are no marks.
    """
    import polars as pl

    has_marks = len(known) + first.null_count() < len(first)
    return has_marks and known.head(1).cast(pl.Float64, strict=False).is_not_null().any()


def _n_within_texts(frame: pl.DataFrame, delimiter: str) -> int:
    """Return how often the delimiter stands within a text."""
    import polars as pl

    texts = frame.select(pl.col(pl.String).str.count_matches(delimiter, literal=True).sum())
    return sum(int(one or 0) for one in texts.row(0)) if texts.width else 0


def read_typed_table(file: SourceFile, kind: str) -> pl.DataFrame:
    """Read a Parquet, Arrow, Excel or JSON Lines file.

    Raises:
        DataError: the file is damaged, or larger than the budget of reading it.
        MissingExtraError: Excel files need another package.
    """
    import polars as pl

    if kind == JSON_LINES:
        frame = _read_json_lines(file)
    else:
        readers = {PARQUET: _read_parquet, ARROW: _read_arrow, EXCEL: _read_excel}
        try:
            with _quiet_panics():
                frame = readers[kind](file)
        except (pl.exceptions.ModuleUpgradeRequiredError, ModuleNotFoundError) as error:
            raise MissingExtraError(f"{file.name}: Excel files need fastexcel: {install_command('excel')}.") from error
        except (DataError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # many types for damaged files; a panic of Rust is no Exception
            raise DataError(f"{file.name}: cannot be read as {kind} ({first_line(error)}).") from error
    file.budget.take(int(frame.estimated_size()))
    check_unique(frame.columns, file.name)
    if not len(frame):
        raise DataError(f"{file.name}: no samples; the table has no rows.")
    return frame


def _read_parquet(file: SourceFile) -> pl.DataFrame:
    """Return a Parquet file as a table, after its size is counted."""
    import polars as pl

    content = io.BytesIO(file.content())
    n_rows = pl.scan_parquet(content).select(pl.len()).collect().item()
    return _read_columns(file, pl.read_parquet, content, dict(pl.read_parquet_schema(content)), n_rows)


def _read_arrow(file: SourceFile) -> pl.DataFrame:
    """Return an Arrow IPC file as a table, after its size is counted."""
    import polars as pl

    content = io.BytesIO(file.content())
    n_rows = pl.scan_ipc(content).select(pl.len()).collect().item()
    return _read_columns(file, pl.read_ipc, content, dict(pl.read_ipc_schema(content)), n_rows)


def _read_columns(
    file: SourceFile, read: Callable[..., pl.DataFrame], content: io.BytesIO, schema: dict[str, Any], n_rows: int
) -> pl.DataFrame:
    """Read a table; lists, records and bytes are not read, and their columns become empty lists."""
    import polars as pl

    file.budget.take(n_rows * len(schema) * MEMORY_PER_VALUE)
    plain = [name for name, kind in schema.items() if not kind.is_nested() and kind != pl.Binary]
    content.seek(0)
    frame = read(content, columns=plain) if plain else pl.DataFrame(height=n_rows)
    if len(plain) == len(schema):
        return frame
    empty = pl.lit(None, dtype=pl.List(pl.Null))
    return frame.select(pl.col(name) if name in frame.columns else empty.alias(name) for name in schema)


def _read_excel(file: SourceFile) -> pl.DataFrame:
    """Return the first sheet of an Excel file, after the size of all sheets is counted.

    The reader allocates all cells between the first and the last one of a sheet, so a file of one
    kilobyte can ask for the memory of 17 billion cells. It also gives columns with one name different
    ones, in time that grows with the cube of their number, so names are compared before.
    """
    import fastexcel
    import polars as pl

    content = io.BytesIO(file.content())
    with zipfile.ZipFile(content) as archive:
        for info in archive.infolist():
            with archive.open(info) as member:
                text = file.budget.read(member)
            if info.filename.startswith("xl/worksheets/"):
                file.budget.take(len(text))  # its rows are copies
                width, height = _sheet_size(text)
                file.budget.take(width * height * MEMORY_PER_CELL)
    heads = fastexcel.read_excel(content.getvalue()).load_sheet(0, header_row=None, n_rows=1, dtypes="string")
    check_unique([name for name in heads.to_polars().row(0) if name] if heads.height else [], file.name)
    content.seek(0)
    return pl.read_excel(content)


def _sheet_size(text: bytearray) -> tuple[int, int]:
    """Return the numbers of columns and rows of a sheet (XML), whether or not its cells name their places."""
    rows = text.split(b"<row")[1:]
    cells = [(_column_number(one[1]), int(one[2])) for one in EXCEL_CELL.finditer(text)]
    columns = [*(column for column, _ in cells), *(len(EXCEL_ANY_CELL.findall(row)) for row in rows)]
    last = [*(row for _, row in cells), *(int(one[1]) for one in EXCEL_ROW.finditer(text)), len(rows)]
    return max(columns, default=0), max(last)


def _column_number(letters: bytes) -> int:
    """Return the number of a column of a sheet: A is 1, Z is 26, AA is 27."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def _read_json_lines(file: SourceFile) -> pl.DataFrame:
    """Return a JSON Lines file as a table; see `frame_of_objects`.

    Raises:
        DataError: a line is no JSON object, or has a key twice; the message names it.
    """

    def rows() -> Iterator[dict[str, Any]]:
        with file.unpacked() as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), start=1):
                if line.strip():
                    row = _json_object(line, f"{file.name}: line {number}")
                    file.budget.take(len(line))
                    yield row

    return frame_of_objects(rows(), file.budget)


def frame_of_objects(rows: Iterable[dict[str, Any]], budget: Budget) -> pl.DataFrame:
    """Return JSON objects, one for each row, as a table.

    Columns are the keys in order of appearance. A column of numbers, texts or truth values has that
    type. Other mixtures become texts, as in a CSV table. A column with lists or objects becomes
    one of empty lists.

    Args:
        rows: the objects.
        budget: the memory and time that this may take.
    """
    columns = dict[str, list[Any]]()
    for n_rows, row in enumerate(rows):
        new = [key for key in row if key not in columns]
        # A new column has a missing value in every earlier row.
        budget.take(MEMORY_PER_VALUE * (len(columns) + len(new) * (n_rows + 1)))
        columns.update({key: [None] * n_rows for key in new})
        for key, values in columns.items():
            values.append(row.get(key))
    return _json_frame(columns, budget)


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    """Return a line of a JSON Lines file."""
    if len(line) == MAX_LINE:
        raise DataError(f"{where} has more than {MAX_LINE:,} bytes. Expected one line for each sample.")
    try:
        row = strict_json(line)
        if b"\\u" in line:  # escapes can make surrogates, which are no text
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} is not JSON ({plain(error)}). Expected one object per line.") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object, but {short(row)}. Expected one object per line.")
    return row


def _json_frame(columns: dict[str, list[Any]], budget: Budget) -> pl.DataFrame:
    """Return columns of JSON values as a table."""
    import polars as pl

    series = []
    for name, values in columns.items():
        budget.check_time()
        kinds = {type(value) for value in values} - {type(None)}
        if kinds & {list, dict}:
            series.append(pl.Series(name, [None] * len(values), pl.List(pl.Null)))
        elif kinds == {bool}:
            series.append(pl.Series(name, values, pl.Boolean))
        elif kinds == {int} and all(abs(value) < 2**63 for value in values if value is not None):
            series.append(pl.Series(name, values, pl.Int64))
        elif kinds and kinds <= {int, float}:
            floats = [None if value is None or value != value else _float(value) for value in values]
            series.append(pl.Series(name, floats, pl.Float64))
        else:
            texts = [None if value is None else _json_text(value) for value in values]
            series.append(pl.Series(name, texts, pl.String))
    return pl.DataFrame(series)


def _float(value: float) -> float:
    """Return a number as a float; infinity for a larger integer, which is reported with its row."""
    return float(value) if is_number(value) else math.inf


def _json_text(value: Any) -> str:
    """Return a value that stands among texts as a text."""
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _quiet_panics() -> Iterator[None]:
    """Keep the report that Rust writes to the standard error stream when polars panics off the terminal.

    Whatever else is written there in the meantime is written again at the end, unless polars
    panicked. The stream belongs to the process, so only one thread at a time may redirect it.
    """
    with _STDERR_LOCK, _redirected_stderr():
        yield


@contextmanager
def _redirected_stderr() -> Iterator[None]:
    try:
        kept = os.dup(STDERR)
    except OSError:  # the stream is closed
        yield
        return
    with tempfile.TemporaryFile() as aside:
        panicked = False
        os.dup2(aside.fileno(), STDERR)
        try:
            yield
        except Exception:
            raise
        except BaseException:
            panicked = True
            raise
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            aside.seek(0)
            text = aside.read()
            if text and not panicked and b"panicked at" not in text:
                os.write(STDERR, text)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
