"""The runs of a study as columns of a table: a row per run, with all digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalknet.records import MEASURES, SPLITS, EpochRecord
from chalknet.studies.configurations import Configuration, RunKey, value_text


def run_columns(
    runs: Sequence[RunKey],
    status: Callable[[Configuration, int], str],
    record: Callable[[Configuration, int], Any],
    errors: Mapping[tuple[str, int], str],
) -> dict[str, list[Any]]:
    """Return a column for each varied field, for seed and status, and for each score of a run.

    Runs that are not done have None in the columns of results. The columns are those of `chalknet study show --csv`.

    Args:
        runs: the runs.
        status: returns the status of a configuration with a seed.
        record: returns the `RunRecord` of a configuration with a seed, or None.
        errors: key of a run -> its error.
    """
    fields = list(dict.fromkeys(name for run in runs for name, _ in run.configuration.settings))
    scores = [(split, measure) for split in SPLITS for measure in MEASURES]
    results = ("kept_epoch", "epochs", "seconds")
    heads = ["configuration", *fields, "seed", "status", *(f"{s}_{m}" for s, m in scores), *results, "error"]
    columns: dict[str, list[Any]] = {name: [] for name in heads}
    for run in runs:
        settings = dict(run.configuration.settings)
        found = record(run.configuration, run.seed)
        row: dict[str, Any] = dict.fromkeys(heads)
        row |= {"configuration": run.configuration.label, "seed": run.seed}
        row |= {name: _plain(settings[name]) for name in fields if name in settings}
        row |= {"status": status(run.configuration, run.seed), "error": errors.get(run.key)}
        if found is not None:
            row |= {f"{split}_{measure}": _score(found.kept, split, measure) for split, measure in scores}
            row |= {"kept_epoch": found.kept_epoch, "epochs": len(found.history), "seconds": found.seconds}
        for name, value in row.items():
            columns[name].append(value)
    return columns | {name: _of_one_type(columns[name]) for name in fields}


def _of_one_type(values: list[Any]) -> list[Any]:
    """Return values as they are if a column of a frame can hold them, else as texts."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return values
    return [None if value is None else value_text(value) for value in values]


def _score(record: EpochRecord, split: str, measure: str) -> float | None:
    scores = record.scores(split)
    return None if scores is None else float(getattr(scores, measure))


def _plain(value: Any) -> Any:
    """Return a setting as a number, a text or a truth value; a lone width is a number."""
    flat = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return flat if isinstance(flat, bool | int | float | str) else value_text(value)
