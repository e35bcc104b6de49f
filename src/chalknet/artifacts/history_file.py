"""history.csv: the scores of a run, one row per epoch, every number with all its digits."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from chalknet.checked import plain
from chalknet.errors import StoreError
from chalknet.files import read_bytes
from chalknet.records import HISTORY_COLUMNS, MEASURES, SPLITS, EpochRecord, Scores, checked_history, history_value

MAX_BYTES = 32 * 2**20


def history_csv(history: Sequence[EpochRecord]) -> str:
    """Return the history as CSV text; scores of a split without samples are empty.

    Floats are written with repr, so that they read back exactly.
    """
    lines = [",".join(HISTORY_COLUMNS)]
    lines += [",".join(_cell(record, column) for column in HISTORY_COLUMNS) for record in history]
    return "\n".join(lines) + "\n"


def _cell(record: EpochRecord, column: str) -> str:
    value = history_value(record, column)
    return "" if value is None else repr(value)


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """Read a table that `history_csv` wrote.

    Raises:
        StoreError: the file cannot be read or is not such a table; the message names the epoch.
    """
    try:
        text = io.StringIO(read_bytes(path, MAX_BYTES).decode())
        return checked_history(_record(row) for row in csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read: {error}.") from error
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: is not a chalknet history ({plain(error)}).") from None


def _record(row: dict[str, str]) -> EpochRecord:
    train, valid, test = (_scores(row, split) for split in SPLITS)
    if train is None:
        raise ValueError(f"its epoch {row['epoch']} has no training scores")
    return EpochRecord(int(row["epoch"]), train, valid, test, float(row["seconds"]))


def _scores(row: dict[str, str], split: str) -> Scores | None:
    cells = {measure: row[f"{split}_{measure}"] for measure in MEASURES}
    return None if not cells["loss"] else Scores(**{measure: float(cell) for measure, cell in cells.items()})
