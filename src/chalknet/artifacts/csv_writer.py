"""`CsvWriter`: a callback that writes history.csv's table while a training runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from chalknet.artifacts.history_file import COLUMNS, history_csv
from chalknet.artifacts.log_writer import LogWriter, error_reason, warn
from chalknet.errors import OutputError
from chalknet.records import EpochRecord
from chalknet.training.callbacks import RunContext

HEADER = ",".join(COLUMNS)


class CsvWriter(LogWriter):
    """A row an epoch as soon as it is finished, in the columns of history.csv; `train(..., callbacks=CsvWriter(path))`.

    Where the file is there already, as after a kill, its whole rows stay, and epochs that it has must be the same,
    times apart, and are not written again; a row that was cut off is written anew. Others can read along. Of an
    ensemble, each network has a file NAME-seedN.csv.

    Args:
        path: the file; its folder must be there.
        on_failure: gets the line that says that the file can no longer be written; by default it is a warning.
    Raises:
        OutputError: the file cannot be written, or holds another table or another training.
    """

    def __init__(self, path: str | Path, *, on_failure: Callable[[str], None] = warn) -> None:
        super().__init__(str(path), on_failure)
        self._path = Path(path)
        self._rows: dict[int, str] = {}
        self._is_repaired = False
        self._check()

    def for_member(self, context: RunContext) -> Self:
        name = f"{self._path.stem}-seed{context.recipe.training.seed}{self._path.suffix}"
        return type(self)(self._path.with_name(name), on_failure=self.on_failure)

    def write(self, record: EpochRecord) -> None:
        if not self._is_repaired:
            self._repair()
        row = history_csv([record]).splitlines()[1]
        known = self._rows.get(record.epoch)
        if known is not None:
            if _without_seconds(row) != _without_seconds(known):
                raise OutputError(
                    f"{self._path}: holds another training: its row of epoch {record.epoch} differs. Name another file."
                )
            return
        size = self._path.stat().st_size
        try:
            with self._path.open("ab") as file:
                file.write(f"{row}\n".encode())
        except OSError:
            with suppress(OSError):
                os.truncate(self._path, size)  # the whole row or nothing of it
            raise
        self._rows[record.epoch] = row

    def _check(self) -> None:
        """Refuses, before any training, a place that holds something else or where nothing can be written."""
        try:
            self._rows_by_epoch(self._lines())
            is_there, folder = self._path.exists(), self._path.parent
            if not (os.access(self._path, os.W_OK) if is_there else folder.is_dir() and os.access(folder, os.W_OK)):
                self._path.open("a").close()  # so that the system says what is wrong
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{self._path}: cannot be written: {error_reason(error)}.") from error

    def _lines(self) -> list[str]:
        """The whole lines that the file has; none where it is not there."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        if lines[:1] not in ([], [HEADER]) or not (HEADER + "\n").startswith(text[: len(HEADER) + 1]):
            raise self._wrong_table_error()
        return lines

    def _rows_by_epoch(self, lines: list[str]) -> dict[int, str]:
        """Rows by their epoch."""
        try:
            return {int(row.partition(",")[0]): row for row in lines[1:]}
        except ValueError:
            raise self._wrong_table_error() from None

    def _repair(self) -> None:
        """Writes the head, or takes away a last row that was cut off; notes the rows that the file has."""
        lines = self._lines()
        with self._path.open("r+" if self._path.exists() else "w", encoding="utf-8", newline="") as file:
            if lines:
                file.truncate(len("".join(line + "\n" for line in lines).encode()))
            else:
                file.truncate(0)
                file.write(HEADER + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows, self._is_repaired = self._rows_by_epoch(lines), True

    def _wrong_table_error(self) -> OutputError:
        return OutputError(f"{self._path}: holds another table than a history. Name another file.")


def _without_seconds(row: str) -> str:
    """A row without its last cell, which is the time that an epoch took."""
    return row.rpartition(",")[0]
