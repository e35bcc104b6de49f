"""Read the files of tables with polars."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chalknet.data.readers.source_file import SourceFile
from chalknet.data.tables.columns import check_unique
from chalknet.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import polars as pl

CHUNK_BYTES = 2**24
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


def read_text_table(file: SourceFile, delimiter: str, skip_lines: int) -> pl.DataFrame:
    """Read a CSV or TSV table as columns of texts.

    Args:
        file: the table.
        delimiter: the character between two cells.
        skip_lines: number of lines at the beginning that are skipped.

    Returns:
        Columns of texts named column_1, column_2, ...; null in cells that a row does not have.

    Raises:
        DataError: the file is not a table that polars can read.
    """
    import polars as pl

    content = _content(file)
    try:
        return pl.read_csv(
            content,
            has_header=False,
            separator=delimiter,
            infer_schema=False,
            empty_string_is_null=False,
            skip_lines=skip_lines,
        )
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise DataError(f"{file.name}: cannot be read as a table ({first_line(error)}).") from error


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
