"""`CsvWriter`: an observer that writes history.csv's table while a training runs."""

from __future__ import annotations

import os
from pathlib import Path

from chalknet.artifacts.history_file import COLUMNS, history_csv
from chalknet.errors import OutputError
from chalknet.records import EpochRecord

HEAD = ",".join(COLUMNS)


class CsvWriter:
    """A row an epoch as soon as it is finished, in the columns of history.csv; `train(..., observe=CsvWriter(path))`.

    Where the file is there already, as after a kill, its whole rows stay, and epochs that it has must be the same,
    times apart, and are not written again; a row that was cut off is written anew. Others can read along.

    Args:
        path: the file; its folder must be there.
    Raises:
        OutputError: the file cannot be written, or holds another table or another training.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        try:
            self._rows = self._mended()
        except (OSError, UnicodeDecodeError) as error:
            raise self._refused(error) from error

    def __call__(self, record: EpochRecord) -> None:
        row = history_csv([record]).splitlines()[1]
        if record.epoch <= len(self._rows):
            if _without_seconds(row) != _without_seconds(self._rows[record.epoch - 1]):
                raise OutputError(
                    f"{self._path}: holds another training: its row of epoch {record.epoch} differs. Name another file."
                )
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:  # each time, so that nothing stays open
                file.write(row + "\n")
        except OSError as error:
            raise self._refused(error) from error
        self._rows.append(row)

    def _mended(self) -> list[str]:
        """The rows that the file has, after its head is written or its last row, if cut off, is taken away."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        lines = whole.splitlines()
        if lines[:1] not in ([], [HEAD]) or not (HEAD + "\n").startswith(text[: len(HEAD) + 1]):
            raise OutputError(f"{self._path}: holds another table than a history. Name another file.")
        with self._path.open("r+" if self._path.exists() else "w", encoding="utf-8", newline="") as file:
            if lines:
                file.truncate(len(whole.encode()))
            else:
                file.truncate(0)
                file.write(HEAD + "\n")
            file.flush()
            os.fsync(file.fileno())
        return lines[1:]

    def _refused(self, error: Exception) -> OutputError:
        return OutputError(f"{self._path}: cannot be written: {getattr(error, 'strerror', None) or error}.")


def _without_seconds(row: str) -> str:
    """A row without its last cell, which is the time that an epoch took."""
    return row.rpartition(",")[0]
