"""What a notebook shows of a run."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import count_of, percent
from chalknet.notebook_view import curves, facts, side_by_side, table, view
from chalknet.records import SPLIT_NAMES, SPLITS, EpochRecord

MEASURE_TITLES = {"loss": "loss (nats)", "accuracy": "accuracy"}


def run_html(
    rows: Sequence[tuple[str, str]], history: Sequence[EpochRecord], kept: EpochRecord | None, next_step: str
) -> str:
    """Return the scores and the curves of a run as HTML.

    Args:
        rows: facts about it, as names and values.
        history: one record per epoch.
        kept: the scores of its network; None without an epoch.
        next_step: a line of Python.
    """
    if kept is None:
        return view("Run without an epoch", facts(rows))
    scored = [(split, scores) for split in SPLITS if (scores := kept.scores(split)) is not None]
    cells = [(SPLIT_NAMES[split], f"{scores.loss:.4f}", percent(scores.accuracy, 2)) for split, scores in scored]
    return view(
        f"Run of {count_of(len(history), 'epoch')}",
        facts(rows),
        table(("split", "loss", "accuracy"), cells),
        side_by_side(*(_curves(history, measure) for measure in MEASURE_TITLES)),
        next_step=next_step,
    )


def _curves(history: Sequence[EpochRecord], measure: str) -> str:
    """Return the curves of one measure, with a line for each split that has scores."""
    lines = {}
    for split in SPLITS:
        found = [(float(record.epoch), scores) for record in history if (scores := record.scores(split)) is not None]
        if found:
            values = [float(getattr(scores, measure)) for _, scores in found]
            lines[SPLIT_NAMES[split]] = [epoch for epoch, _ in found], values
    return curves(MEASURE_TITLES[measure], "epoch", lines)
