"""history.csv: one row an epoch, every number with all its digits."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.records import PARTS, EpochRecord

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
