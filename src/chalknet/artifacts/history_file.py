"""history.csv: one row an epoch, every number with all its digits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from chalknet.errors import StoreError
from chalknet.records import MEASURES, PARTS, EpochRecord, Scores

COLUMNS = (
    "epoch",
    *(f"{part}_{measure}" for part in PARTS for measure in ("loss", "accuracy")),
    *(f"{part}_printed_loss" for part in PARTS),
    "seconds",
)


def history_csv(history: Sequence[EpochRecord]) -> str:
    """The table as text; a set that is absent has empty cells. Floats are written so that they read back the same."""
    lines = [",".join(COLUMNS)]
    lines += [",".join(_cell(record, column) for column in COLUMNS) for record in history]
    return "\n".join(lines) + "\n"


def _cell(record: EpochRecord, column: str) -> str:
    if column in ("epoch", "seconds"):
        return repr(getattr(record, column))
    part, measure = column.split("_", 1)
    scores = record.part(part)
    return "" if scores is None else repr(getattr(scores, measure))


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """The records that `history_csv` wrote.

    Raises:
        StoreError: the file cannot be read or is not such a table; the message names the row.
    """
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read: {error}.") from error
    history = []
    for number, row in enumerate(rows, start=1):
        try:
            scores = {part: _scores(row, part) for part in PARTS}
            if int(row["epoch"]) != number or scores["train"] is None:
                raise ValueError
            history.append(EpochRecord(number, scores["train"], scores["valid"], scores["test"], float(row["seconds"])))
        except (KeyError, ValueError, TypeError):
            raise StoreError(f"{path}: row {number} is not one of a chalknet history.") from None
    if not history:
        raise StoreError(f"{path}: holds no epochs.")
    return tuple(history)


def _scores(row: dict[str, str], part: str) -> Scores | None:
    cells = {measure: row[f"{part}_{measure}"] for measure in MEASURES}
    return None if not cells["loss"] else Scores(**{measure: float(cell) for measure, cell in cells.items()})
