"""Read the files of tables with polars."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from chalknet.data.readers.source_file import SourceFile
from chalknet.data.tables.columns import NULL_TEXTS, check_unique
from chalknet.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import polars as pl

CHUNK_BYTES = 2**24
INFERRED_ROWS = 10_000  # from which the types of the columns of a text table are found
# Formats of table files besides CSV: by which bytes a file begins with, and what messages call it.
PARQUET, ARROW, EXCEL, JSON_LINES = "Parquet", "Arrow", "Excel", "JSON Lines"
JSON_SUFFIXES, EXCEL_SUFFIXES = (".jsonl", ".ndjson"), (".xlsx", ".xlsm")
MEMORY_PER_VALUE = 16  # bytes that are counted for a value of a table before it is read


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
    file: SourceFile, delimiter: str, skip_rows: int, names: Sequence[str], texts: Collection[str]
) -> pl.DataFrame | None:
    """Read a CSV or TSV table.

    Args:
        file: the table.
        delimiter: the character between two cells.
        skip_rows: number of rows at the beginning that are skipped.
        names: the names of the columns.
        texts: names of the columns that are read as texts. Others are numbers if all values are.

    Returns:
        The table. None if a row may be blank, shorter or longer than the others, or is no CSV.
    """
    import polars as pl

    content = _content(file).getvalue()
    usual: dict[str, Any] = {"has_header": False, "separator": delimiter, "skip_rows": skip_rows}
    frame = None
    for is_typed in (True, False):  # a column of numbers may hold a text after the rows that are inferred from
        with suppress(pl.exceptions.PolarsError, ValueError):
            found = pl.read_csv(content, n_rows=1, infer_schema=False, **usual).columns  # named by number
            texts_only = {column: pl.String for column, name in zip(found, names, strict=False) if name in texts}
            frame = pl.read_csv(
                content,
                infer_schema=is_typed,
                infer_schema_length=INFERRED_ROWS,
                schema_overrides=texts_only if is_typed else None,
                null_values=list(NULL_TEXTS) if is_typed else None,
                **usual,
            )
            break
    if frame is None or frame.width != len(names) or not _has_equal_rows(content, frame, delimiter, skip_rows):
        return None
    frame.columns = list(names)
    return frame


def _has_equal_rows(content: bytes, frame: pl.DataFrame, delimiter: str, skip_rows: int) -> bool:
    """Return whether every row of a table has all cells.

    polars refuses longer rows, and fills up shorter ones. So all rows are whole if the delimiters
    between cells, which are those that are not within a text, have the expected number.
    """
    import polars as pl

    texts = frame.select(pl.col(pl.String).str.count_matches(delimiter, literal=True).sum())
    within = sum(int(one or 0) for one in texts.row(0)) if texts.width else 0
    skipped, start = 0, 0
    for _ in range(skip_rows):
        end = content.find(b"\n", start) + 1
        skipped, start = skipped + content.count(delimiter.encode(), start, end), end
    return content.count(delimiter.encode()) - skipped - within == len(frame) * (frame.width - 1)


def read_typed_table(file: SourceFile, kind: str) -> pl.DataFrame:
    """Read a Parquet, Arrow, Excel or JSON Lines file.

    Raises:
        DataError: the file is damaged, or larger than the budget of reading it.
        MissingExtraError: Excel files need another package.
    """
    import polars as pl

    content = _content(file)
    readers: dict[str, Callable[[Any], pl.DataFrame]] = {
        PARQUET: pl.read_parquet,
        ARROW: pl.read_ipc,
        JSON_LINES: lambda content: pl.read_ndjson(content, infer_schema_length=None),
        EXCEL: pl.read_excel,
    }
    try:
        if kind == PARQUET:
            n_rows = pl.scan_parquet(content).select(pl.len()).collect().item()
            file.budget.take(n_rows * len(pl.read_parquet_schema(content)) * MEMORY_PER_VALUE)
            content.seek(0)
        frame = readers[kind](content)
    except (pl.exceptions.ModuleUpgradeRequiredError, ModuleNotFoundError) as error:
        raise MissingExtraError(f'{file.name}: Excel files need fastexcel: pip install "chalknet[excel]".') from error
    except DataError:
        raise
    except Exception as error:  # polars and the readers below it raise many types for damaged files
        raise DataError(f"{file.name}: cannot be read as {kind} ({first_line(error)}).") from error
    file.budget.take(int(frame.estimated_size()))
    check_unique(frame.columns, file.name)
    if not len(frame):
        raise DataError(f"{file.name}: no samples; the table has no rows.")
    return frame


def _content(file: SourceFile) -> io.BytesIO:
    """Return the bytes of a file, decompressed, within the budget of reading it."""
    content = io.BytesIO()
    with file.unpacked() as stream:
        while chunk := stream.read(CHUNK_BYTES):
            file.budget.take(len(chunk))
            content.write(chunk)
    content.seek(0)
    return content


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
