"""`CsvWriter`: a callback that writes the table of history.csv while a training runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from chalknet.artifacts.history_file import history_csv
from chalknet.artifacts.log_writer import LogWriter, error_reason, warn
from chalknet.errors import OutputError
from chalknet.files import open_regular
from chalknet.records import HISTORY_COLUMNS, EpochRecord
from chalknet.training.callbacks import RunContext

HEADER = ",".join(HISTORY_COLUMNS)


class CsvWriter(LogWriter):
    """A log that appends one row per epoch to a CSV file with the columns of history.csv.

    Use it as `train(..., callbacks=CsvWriter(path))`. If the file exists, for example after a kill,
    its complete rows are kept. An epoch that it already has must have the same scores (times may
    differ) and is not written again; an incomplete last row is replaced. Other programs can read
    the file meanwhile. For an ensemble, each network has a file NAME-seedN.csv.

    Args:
        path: the file, in an existing folder.
        on_failure: called with one line when the file can no longer be written; by default it warns.

    Raises:
        OutputError: the file cannot be written, or holds another table or another training.
    """

    def __init__(self, path: str | Path, *, on_failure: Callable[[str], None] = warn) -> None:
        """Check that the file can be written and holds nothing else."""
        super().__init__(str(path), on_failure)
        self._path = Path(path)
        self._rows: dict[int, str] = {}
        self._is_repaired = False
        self._check()

    def for_member(self, context: RunContext) -> Self:
        """Return a writer to NAME-seedN.csv."""
        name = f"{self._path.stem}-seed{context.recipe.training.seed}{self._path.suffix}"
        return type(self)(self._path.with_name(name), on_failure=self.on_failure)

    def write(self, record: EpochRecord) -> None:
        """Append the row of an epoch, or check that it equals the one that the file has.

        Raises:
            OutputError: the file's row of this epoch has other scores.
        """
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
                os.truncate(self._path, size)  # remove a partly written row
            raise
        self._rows[record.epoch] = row

    def _check(self) -> None:
        """Raise OutputError, before any training, for a file with other content or a bad location."""
        try:
            self._rows_by_epoch(self._lines())
            is_there, folder = self._path.exists(), self._path.parent
            if not (os.access(self._path, os.W_OK) if is_there else folder.is_dir() and os.access(folder, os.W_OK)):
                self._path.open("a").close()  # raises the error of the operating system
        except (OSError, UnicodeDecodeError) as error:
            raise OutputError(f"{self._path}: cannot be written: {error_reason(error)}.") from error

    def _lines(self) -> list[str]:
        """Return the complete lines of the file, or none if it does not exist."""
        text = ""
        if self._path.exists():
            with open_regular(self._path) as file:
                text = file.read().decode()
        lines = text[: text.rfind("\n") + 1].splitlines()
        if lines[:1] not in ([], [HEADER]) or not (HEADER + "\n").startswith(text[: len(HEADER) + 1]):
            raise self._wrong_table_error()
        return lines

    def _rows_by_epoch(self, lines: list[str]) -> dict[int, str]:
        """Return the file's rows by their epoch."""
        try:
            return {int(row.partition(",")[0]): row for row in lines[1:]}
        except ValueError:
            raise self._wrong_table_error() from None

    def _repair(self) -> None:
        """Write the header, or cut off an incomplete last row, and remember the rows of the file."""
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
        return OutputError(f"{self._path}: holds a table that is not a history. Name another file.")


def _without_seconds(row: str) -> str:
    """Return a row without its last value, the duration of the epoch."""
    return row.rpartition(",")[0]
