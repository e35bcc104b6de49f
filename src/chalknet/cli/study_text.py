"""A study's results as the terminal, a CSV and JSON show them. No average hides its seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from chalknet.cli.progress import clock
from chalknet.formatting import DASH, csv_text
from chalknet.records import Scores
from chalknet.reporting.tables import Table
from chalknet.studies.cells import Cell, value_text
from chalknet.studies.results import StudyResults, UnitRecord
from chalknet.studies.spec import spec_tables

if TYPE_CHECKING:  # to read results needs no training stack
    from chalknet.studies.plan import Plan

FORMAT = 1  # of the JSON
SEEDS_A_LINE = 10
MOST_ERRORS = 10  # that are shown below the table
UNIT_FIELDS = ("loss", "accuracy", "printed_loss")
Records = dict[int, UnitRecord | None]


def results_text(results: StudyResults, *, with_test: bool = False) -> str:
    """The table of the cells, and below it what failed and how far the study is."""
    rows = [row for cell in results.cells for row in _cell_rows(results, cell, with_test)]
    test = ("test %, not for choosing", "each seed") if with_test else ()
    columns = ("cell", "done", "valid %", "each seed", *test, "kept epoch", "seconds")
    lines = [Table(_title(results), columns, tuple(rows)).text()]
    failed = [f"failed: {unit}: {error}" for unit, error in results.failed.items()]
    lines += failed[:MOST_ERRORS]
    if len(failed) > MOST_ERRORS:
        lines.append(f"failed: {len(failed) - MOST_ERRORS} more; --csv lists all")
    lines.append(_state(results))
    return "\n".join(lines)


def plan_text(plan: Plan) -> str:
    """The table of a plan, and below it the time and memory that it takes."""
    rows = [
        (
            f"{group.widths[0]} to {group.widths[-1]}" if len(group.widths) > 1 else group.widths[0],
            str(group.n_runs),
            "one by one" if group.size == 1 else f"stacks of {group.size}",
            DASH if group.run_seconds is None else f"{group.run_seconds:.3g}",
            _gigabytes(group.job_bytes),
        )
        for group in plan.groups
    ]
    heads = ("hidden", "runs", "trained", "seconds a run", "memory a process")
    if not rows:
        return "plan: nothing is left to do"
    left = "an unknown time" if plan.seconds is None else f"about {clock(plan.seconds)} if none stops early"
    end = f"{plan.n_runs} runs take {left}, and up to {_gigabytes(plan.memory_bytes)}; nothing was run"
    return "\n".join([Table(f"plan: {plan.how}", heads, tuple(rows)).text(), end])


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def results_csv(results: StudyResults) -> str:
    """One row a unit, in the order of the cells, with all digits; empty where it is not done."""
    fields = list(dict.fromkeys(name for cell in results.cells for name, _ in cell.settings))
    scores = [f"{part}_{name}" for part in ("train", "valid", "test") for name in UNIT_FIELDS]
    rows: list[list[Any]] = [["cell", *fields, "seed", "status", *scores, "kept_epoch", "epochs", "seconds", "error"]]
    for unit in results.units:
        record = results.record(unit.cell, unit.seed)
        settings = dict(unit.cell.settings)
        texts = [value_text(settings[name]) if name in settings else "" for name in fields]
        error = results.errors.get(unit.key, "")
        status = results.status(unit.cell, unit.seed)
        rows.append([unit.cell.label, *texts, unit.seed, status, *_figures(record), error])
    return csv_text(rows)


def results_json(results: StudyResults) -> dict[str, Any]:
    """Everything but what units say of single images, JSON-ready."""
    return {
        "format": FORMAT,
        "question": spec_tables(results.spec),
        "data": {**asdict(results.data), "split_sizes": dict(results.data.split_sizes)},
        "units": results.counts,
        "cells": [_cell_json(results, cell) for cell in results.cells],
    }


def _cell_rows(results: StudyResults, cell: Cell, with_test: bool) -> Iterator[tuple[str, ...]]:
    """A cell's row, and more where it has many seeds."""
    records = {seed: results.record(cell, seed) for seed in results.seeds}
    done = [record for record in records.values() if record is not None]
    parts = ("valid", "test") if with_test else ("valid",)
    lists = {part: _lines([_seed_text(results, cell, seed, records, part) for seed in records]) for part in parts}
    epochs = _lines([str(record.kept_epoch) for record in done])
    if len({record.kept_epoch for record in done}) == 1:
        epochs = epochs[0].split()[:1]
    seconds = f"{mean(record.seconds for record in done):.1f}" if done else DASH
    summary = {part: _mean_text([_accuracy(record, part) for record in done]) for part in parts}
    for i in range(max(len(lines) for lines in (*lists.values(), epochs))):
        first = i == 0
        figures = [
            cell_text
            for part in parts
            for cell_text in (summary[part] if first else "", lists[part][i] if i < len(lists[part]) else "")
        ]
        label, share = (cell.label, f"{len(done)}/{len(records)}") if first else ("", "")
        epoch = epochs[i] if i < len(epochs) else ""
        yield (label, share, *figures, epoch or (DASH if first else ""), seconds if first else "")


def _seed_text(results: StudyResults, cell: Cell, seed: int, records: Records, part: str) -> str:
    record = records[seed]
    if record is None:
        status = results.status(cell, seed)
        return status if status in ("failed", "running") else DASH
    accuracy = _accuracy(record, part)
    return DASH if accuracy is None else f"{100 * accuracy:5.2f}"


def _accuracy(record: UnitRecord, part: str) -> float | None:
    scores = record.kept.part(part)
    return None if scores is None else scores.accuracy


def _mean_text(accuracies: Sequence[float | None]) -> str:
    """Mean and standard deviation over the seeds, in per cent; one seed has no deviation."""
    known = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    if not known:
        return DASH
    return f"{mean(known):.2f} ± {stdev(known):.2f}" if len(known) > 1 else f"{known[0]:.2f}"


def _lines(texts: Sequence[str]) -> list[str]:
    """Texts side by side, some in a line."""
    lines = ["  ".join(texts[i : i + SEEDS_A_LINE]) for i in range(0, len(texts), SEEDS_A_LINE)]
    return lines or [""]


def _title(results: StudyResults) -> str:
    seeds = results.seeds
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        shown = f"seeds {seeds[0]} to {seeds[-1]}"
    varies = " and ".join(results.spec.seeds_vary)
    return f"Validation accuracy at the kept epoch, mean ± standard deviation over {shown} ({varies} vary)"


def _state(results: StudyResults) -> str:
    counts = results.counts
    others = [f"{counts[status]} {status}" for status in ("running", "failed", "todo") if counts[status]]
    return ", ".join([f"{counts['done']} of {len(results.units)} units done", *others])


def _figures(record: UnitRecord | None) -> list[Any]:
    n_scores = 3 * len(UNIT_FIELDS)
    if record is None:
        return [""] * (n_scores + 3)
    found: list[Any] = []
    for part in ("train", "valid", "test"):
        scores = record.kept.part(part)
        found += [""] * len(UNIT_FIELDS) if scores is None else [repr(getattr(scores, name)) for name in UNIT_FIELDS]
    return [*found, record.kept_epoch, len(record.history), repr(record.seconds)]


def _cell_json(results: StudyResults, cell: Cell) -> dict[str, Any]:
    units = [_unit_json(results, cell, seed) for seed in results.seeds]
    return {"label": cell.label, "key": cell.key, "settings": dict(cell.settings), "units": units}


def _unit_json(results: StudyResults, cell: Cell, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": seed, "status": results.status(cell, seed)}
    record = results.record(cell, seed)
    if record is None:
        error = results.errors.get((cell.key, seed))
        return found if error is None else {**found, "error": error}
    kept = {part: _scores_json(record.kept.part(part)) for part in ("train", "valid", "test")}
    return {
        **found,
        "kept_epoch": record.kept_epoch,
        "epochs": len(record.history),
        "seconds": record.seconds,
        "trained": record.trained,
        "kept": kept,
    }


def _scores_json(scores: Scores | None) -> dict[str, float] | None:
    return None if scores is None else asdict(scores)
