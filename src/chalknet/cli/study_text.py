"""The results of a study as text for a terminal, as CSV and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from chalknet.cli.progress import format_clock
from chalknet.formatting import DASH, csv_text, for_reader, printable
from chalknet.records import SPLITS, Scores
from chalknet.reporting.next_steps import best_configuration, report_command, resume_command, train_command
from chalknet.reporting.tables import Table
from chalknet.studies.configurations import Configuration, value_text
from chalknet.studies.results import RunRecord, StudyResults
from chalknet.studies.spec import spec_tables

if TYPE_CHECKING:  # Showing results does not import the modules that train.
    from chalknet.studies.execution_plan import Plan

FORMAT = 1  # Format version of the JSON.
MAX_SEEDS = 5  # Up to 5 seeds, all values are shown. Of more, only the lowest and highest.
MAX_ERRORS = 10  # The number of errors that are shown below the table.


def results_text(results: StudyResults, *, with_test: bool = False, width: int | None = None) -> str:
    """Return a table of the configurations and, below it, errors, progress and next steps.

    Args:
        results: the study.
        with_test: whether to include test accuracies.
        width: columns of the terminal, or None if the output is no terminal.
    """
    per_seed = "each seed" if len(results.seeds) <= MAX_SEEDS else "lowest to highest"
    seeds = (per_seed,) if len(results.seeds) > 1 else ()
    test = ("test %, not for choosing", *seeds) if with_test else ()
    columns = ("configuration", "done", "valid %", *seeds, *test, "kept epoch", "seconds")
    rows = tuple(_configuration_row(results, config, with_test) for config in results.configurations)
    lines = [Table(_title(results), columns, rows).text(width)]
    failed = [f"failed: {run}: {printable(for_reader(error))}" for run, error in results.failed.items()]
    lines += failed[:MAX_ERRORS]
    if len(failed) > MAX_ERRORS:
        lines.append(f"failed: {len(failed) - MAX_ERRORS} more runs, which --csv lists")
    return "\n".join([*lines, _state(results), *_next_steps(results)])


def plan_text(plan: Plan) -> str:
    """Return a table of the planned runs and, below it, the time and memory that they take."""
    rows = [
        (
            f"{group.widths[0]} to {group.widths[-1]}" if len(group.widths) > 1 else group.widths[0],
            str(group.n_runs),
            "one at a time" if group.size == 1 else f"stacks of {group.size}",
            DASH if group.run_seconds is None else f"{group.run_seconds:.3g}",
            _gigabytes(group.job_bytes),
        )
        for group in plan.groups
    ]
    has_names = any(name[:1].isalpha() for group in plan.groups for name in group.widths)
    heads = ("network" if has_names else "hidden", "runs", "trained", "seconds per run", "memory per process")
    if not rows:
        return "plan: all runs are done"
    left = "an unknown time" if plan.seconds is None else f"about {format_clock(plan.seconds)} if none stops early"
    end = f"{plan.n_runs} runs take {left}, and up to {_gigabytes(plan.memory_bytes)}. Nothing was trained."
    return "\n".join([Table(f"plan: {plan.description}", heads, tuple(rows)).text(), end])


def _gigabytes(size: int) -> str:
    """Return a number of bytes in GB."""
    return f"{size / 1e9:.2f} GB"


def results_csv(results: StudyResults) -> str:
    """Return CSV with a row for each run and all digits of its scores.

    Runs that are not done have empty fields.
    """
    columns = results.run_columns()
    rows = zip(*columns.values(), strict=True)
    return csv_text([list(columns), *([_csv_cell(value) for value in row] for row in rows)])


def _csv_cell(value: Any) -> Any:
    """Return a value with all its digits, or an empty text for None."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else value_text(value)


def results_json(results: StudyResults) -> dict[str, Any]:
    """Return all results except predictions for single samples, as data that JSON can hold."""
    return {
        "format": FORMAT,
        "specification": spec_tables(results.spec),
        "data": {**asdict(results.data), "split_sizes": dict(results.data.split_sizes)},
        "runs": results.counts,
        "configurations": [_configuration_json(results, config) for config in results.configurations],
    }


def _configuration_row(results: StudyResults, config: Configuration, with_test: bool) -> tuple[str, ...]:
    """Return a row of the table: the accuracies of one configuration."""
    records = {seed: results.record(config, seed) for seed in results.seeds}
    done = [record for record in records.values() if record is not None]
    columns: list[str] = []
    for split in ("valid", "test") if with_test else ("valid",):
        accuracies = [_accuracy(record, split) for record in done]
        columns.append(_mean_text(accuracies))
        if len(records) > 1:
            each = [_seed_text(results, config, seed, record, split) for seed, record in records.items()]
            columns.append(_all_or_range(each, [f"{100 * one:.2f}" for one in _sorted(accuracies)]))
    epochs = [str(epoch) for epoch in _sorted([record.kept_epoch for record in done])]
    kept = epochs[0] if len(set(epochs)) == 1 else _all_or_range([str(one.kept_epoch) for one in done], epochs)
    seconds = f"{mean(record.seconds for record in done):.1f}" if done else DASH
    return (printable(config.label), f"{len(done)}/{len(records)}", *columns, kept, seconds)


def _all_or_range(values: Sequence[str], ordered: Sequence[str]) -> str:
    """Return all values if they are at most `MAX_SEEDS`, else the lowest and highest."""
    if len(values) <= MAX_SEEDS:
        return "  ".join(values) or DASH
    return f"{ordered[0]} to {ordered[-1]}" if ordered else DASH


def _sorted(values: Sequence[float | None]) -> list[float]:
    """Return the known values in ascending order."""
    return sorted(value for value in values if value is not None)


def _seed_text(results: StudyResults, config: Configuration, seed: int, record: RunRecord | None, split: str) -> str:
    """Return the accuracy of a run in percent, or its status if it is not done."""
    if record is None:
        status = results.status(config, seed)
        return status if status in ("failed", "running") else DASH
    accuracy = _accuracy(record, split)
    return DASH if accuracy is None else f"{100 * accuracy:5.2f}"


def _accuracy(record: RunRecord, split: str) -> float | None:
    """Return the accuracy at the kept epoch, in [0, 1], or None if the split has no samples."""
    scores = record.kept.scores(split)
    return None if scores is None else scores.accuracy


def _mean_text(accuracies: Sequence[float | None]) -> str:
    """Return mean ± standard deviation over the seeds, in percent, or the value of a single seed."""
    known = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    if not known:
        return DASH
    return f"{mean(known):.2f} ± {stdev(known):.2f}" if len(known) > 1 else f"{known[0]:.2f}"


def _title(results: StudyResults) -> str:
    """Return the title of the table."""
    seeds = results.seeds
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    if len(seeds) > 3 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        shown = f"seeds {seeds[0]} to {seeds[-1]}"
    varies = " and ".join(results.spec.seeds_vary)
    return f"Validation accuracy at the kept epoch, mean ± standard deviation over {shown} ({varies} vary)"


def _state(results: StudyResults) -> str:
    """Return how many runs are done, running, failed and left."""
    counts = results.counts
    names = {"running": "running", "failed": "failed", "todo": "to do"}
    others = [f"{counts[status]} {name}" for status, name in names.items() if counts[status]]
    return ", ".join([f"{counts['done']} of {len(results.runs)} runs done", *others])


def _next_steps(results: StudyResults) -> list[str]:
    """Return lines with the best configuration and with commands that can be run as they are."""
    counts, folder = results.counts, results.folder
    if folder is None or counts["running"]:
        return []
    if counts["todo"]:
        return [f"resume: {resume_command(folder)}"]
    best = best_configuration(results)
    lines = [] if best is None else [f"best on the validation split: {printable(best.label)}"]
    if best is not None and (path := results.model_path(best)) is not None:
        lines.append(f"its model with seed {results.spec.first_seed}: {path}")
    lines.append(f"next: {report_command(folder)}   shows which differences are significant")
    command = None if best is None else train_command(results, best)
    return lines if command is None else [*lines, f"next: {command}   trains the best configuration again"]


def _configuration_json(results: StudyResults, config: Configuration) -> dict[str, Any]:
    """Return a configuration and its runs."""
    runs = [_run_json(results, config, seed) for seed in results.seeds]
    return {"label": config.label, "key": config.key, "settings": dict(config.settings), "runs": runs}


def _run_json(results: StudyResults, config: Configuration, seed: int) -> dict[str, Any]:
    """Return the status of a run, and its scores or its error."""
    found: dict[str, Any] = {"seed": seed, "status": results.status(config, seed)}
    record = results.record(config, seed)
    if record is None:
        error = results.errors.get((config.key, seed))
        return found if error is None else {**found, "error": error}
    kept = {split: _scores_json(record.kept.scores(split)) for split in SPLITS}
    return {
        **found,
        "kept_epoch": record.kept_epoch,
        "epochs": len(record.history),
        "seconds": record.seconds,
        "trained": record.trained,
        "kept": kept,
    }


def _scores_json(scores: Scores | None) -> dict[str, float] | None:
    """Return the scores of a split, or None if it has no samples."""
    return None if scores is None else asdict(scores)
