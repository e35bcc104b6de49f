"""A study's results as the terminal, a CSV and JSON show them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from chalknet.cli.progress import format_clock
from chalknet.config import SECTION_OF_FIELD
from chalknet.data.dataset import ARRAYS
from chalknet.formatting import DASH, csv_text, printable
from chalknet.records import Scores
from chalknet.reporting.tables import Table
from chalknet.studies.configurations import Configuration, value_text
from chalknet.studies.results import RunRecord, StudyResults
from chalknet.studies.spec import spec_tables
from chalknet.training.recipes import RECIPES

if TYPE_CHECKING:  # to read results needs no training stack
    from chalknet.studies.execution_plan import Plan

FORMAT = 1  # of the JSON
MAX_SEEDS = 5  # whose values stand side by side; of more, the least and the largest
MAX_ERRORS = 10  # that are shown below the table
SCORE_FIELDS = ("loss", "accuracy", "printed_loss")


def results_text(results: StudyResults, *, with_test: bool = False, width: int | None = None) -> str:
    """The table of the configurations, and below it what failed, how far the study is, the best configuration and what
    to do next.

    Args:
        width: columns of the terminal; None where there is none.
    """
    several, test = len(results.seeds) > 1, ("test %, not for choosing",) if with_test else ()
    seeds = (("each seed" if len(results.seeds) <= MAX_SEEDS else "least to largest"),) if several else ()
    columns = (
        "configuration",
        "done",
        "valid %",
        *seeds,
        *test,
        *(seeds if with_test else ()),
        "kept epoch",
        "seconds",
    )
    rows = tuple(_configuration_row(results, config, with_test) for config in results.configurations)
    lines = [Table(_title(results), columns, rows).text(width)]
    failed = [f"failed: {run}: {printable(error)}" for run, error in results.failed.items()]
    lines += failed[:MAX_ERRORS]
    if len(failed) > MAX_ERRORS:
        lines.append(f"failed: {len(failed) - MAX_ERRORS} more; --csv lists all")
    return "\n".join([*lines, _state(results), *_next_steps(results)])


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
    left = "an unknown time" if plan.seconds is None else f"about {format_clock(plan.seconds)} if none stops early"
    end = f"{plan.n_runs} runs take {left}, and up to {_gigabytes(plan.memory_bytes)}; nothing was run"
    return "\n".join([Table(f"plan: {plan.description}", heads, tuple(rows)).text(), end])


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def results_csv(results: StudyResults) -> str:
    """One row a run, in the order of the configurations, with all digits; empty where it is not done."""
    fields = list(dict.fromkeys(name for config in results.configurations for name, _ in config.settings))
    scores = [f"{part}_{name}" for part in ("train", "valid", "test") for name in SCORE_FIELDS]
    rows: list[list[Any]] = [
        ["configuration", *fields, "seed", "status", *scores, "kept_epoch", "epochs", "seconds", "error"]
    ]
    for run in results.runs:
        record = results.record(run.configuration, run.seed)
        settings = dict(run.configuration.settings)
        texts = [value_text(settings[name]) if name in settings else "" for name in fields]
        error = results.errors.get(run.key, "")
        status = results.status(run.configuration, run.seed)
        rows.append([run.configuration.label, *texts, run.seed, status, *_figures(record), error])
    return csv_text(rows)


def results_json(results: StudyResults) -> dict[str, Any]:
    """Everything but what runs say of single images, JSON-ready."""
    return {
        "format": FORMAT,
        "specification": spec_tables(results.spec),
        "data": {**asdict(results.data), "split_sizes": dict(results.data.split_sizes)},
        "runs": results.counts,
        "configurations": [_configuration_json(results, config) for config in results.configurations],
    }


def _configuration_row(results: StudyResults, config: Configuration, with_test: bool) -> tuple[str, ...]:
    records = {seed: results.record(config, seed) for seed in results.seeds}
    done = [record for record in records.values() if record is not None]
    figures: list[str] = []
    for part in ("valid", "test") if with_test else ("valid",):
        accuracies = [_accuracy(record, part) for record in done]
        figures.append(_mean_text(accuracies))
        if len(records) > 1:
            each = [_seed_text(results, config, seed, record, part) for seed, record in records.items()]
            figures.append(_each_or_ends([each, [f"{100 * one:.2f}" for one in _sorted(accuracies)]]))
    epochs = [str(epoch) for epoch in _sorted([record.kept_epoch for record in done])]
    kept = epochs[0] if len(set(epochs)) == 1 else _each_or_ends([[str(one.kept_epoch) for one in done], epochs])
    seconds = f"{mean(record.seconds for record in done):.1f}" if done else DASH
    return (printable(config.label), f"{len(done)}/{len(records)}", *figures, kept, seconds)


def _each_or_ends(texts: Sequence[Sequence[str]]) -> str:
    """A few values as they come, or the first and the last of many values in order."""
    each, ordered = texts
    if len(each) <= MAX_SEEDS:
        return "  ".join(each) or DASH
    return f"{ordered[0]} to {ordered[-1]}" if ordered else DASH


def _sorted(values: Sequence[float | None]) -> list[float]:
    return sorted(value for value in values if value is not None)


def _seed_text(results: StudyResults, config: Configuration, seed: int, record: RunRecord | None, part: str) -> str:
    if record is None:
        status = results.status(config, seed)
        return status if status in ("failed", "running") else DASH
    accuracy = _accuracy(record, part)
    return DASH if accuracy is None else f"{100 * accuracy:5.2f}"


def _accuracy(record: RunRecord, part: str) -> float | None:
    scores = record.kept.scores(part)
    return None if scores is None else scores.accuracy


def _mean_text(accuracies: Sequence[float | None]) -> str:
    """Mean and standard deviation over the seeds, in per cent; one seed has no deviation."""
    known = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    if not known:
        return DASH
    return f"{mean(known):.2f} ± {stdev(known):.2f}" if len(known) > 1 else f"{known[0]:.2f}"


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
    return ", ".join([f"{counts['done']} of {len(results.runs)} runs done", *others])


def _next_steps(results: StudyResults) -> list[str]:
    """The best configuration, and the commands that a reader may want next; each of them works as it stands."""
    counts, folder = results.counts, results.folder
    if folder is None or counts["running"]:
        return []
    if counts["todo"]:
        return [f"go on: {shlex.join(['chalknet', 'study', '--config', str(folder / 'study.toml')])}"]
    best = best_configuration(results)
    lines = [] if best is None else [f"best on the validation part: {printable(best.label)}"]
    if best is not None and (path := results.model_path(best)) is not None:
        lines.append(f"its model, of seed {results.spec.first_seed}: {path}")
    lines.append(
        f"next: {shlex.join(['chalknet', 'report', str(folder)])}   says which differences are more than chance"
    )
    command = None if best is None else train_command(results, best)
    return lines if command is None else [*lines, f"next: {command}   trains the best one anew"]


def best_configuration(results: StudyResults) -> Configuration | None:
    """The complete configuration with the best mean validation accuracy, or loss if a search goes by it; the first of
    equals.

    None where there is no choice, or nothing to choose by.
    """
    by_loss = results.spec.search is not None and results.spec.search.objective == "valid_loss"

    def mean_of(config: Configuration) -> float:
        records = [results.record(config, seed) for seed in results.seeds]
        scores = [record.kept.valid for record in records if record is not None]
        return mean(-math.inf if one is None else -one.loss if by_loss else one.accuracy for one in scores)

    means = [(mean_of(config), config) for config in results.complete_configurations]
    if len(means) < 2 or math.isinf(means[0][0]):
        return None
    return max(means, key=lambda pair: pair[0])[1]


def train_command(results: StudyResults, config: Configuration) -> str | None:
    """The command that trains a configuration's network from the first seed; None where no command has its data or
    layers.
    """
    data, recipe = results.spec.data, config.recipe_of(results.spec.first_seed)
    if data.source in ("", ARRAYS) or recipe.network.layers or recipe.name not in RECIPES:
        return None
    words = ["chalknet", "train", "--data", data.source, "--recipe", recipe.name]
    for flag, value in (("class-names", data.class_names), ("image-size", data.image_size)):
        words += [f"--{flag}", ("," if flag == "class-names" else "x").join(map(str, value))] if value else []
    words += ["--label-column", str(data.label_column)] if data.label_column is not None else []
    for name, section in SECTION_OF_FIELD.items():
        value, usual = (getattr(getattr(one, section), name) for one in (recipe, RECIPES[recipe.name]))
        if value != usual:
            words += ["--set", f"{name}={'x'.join(map(str, value)) if name == 'hidden' else _set_text(value)}"]
    return shlex.join(words)


def _set_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value_text(value)


def _figures(record: RunRecord | None) -> list[Any]:
    n_scores = 3 * len(SCORE_FIELDS)
    if record is None:
        return [""] * (n_scores + 3)
    found: list[Any] = []
    for part in ("train", "valid", "test"):
        scores = record.kept.scores(part)
        found += [""] * len(SCORE_FIELDS) if scores is None else [repr(getattr(scores, name)) for name in SCORE_FIELDS]
    return [*found, record.kept_epoch, len(record.history), repr(record.seconds)]


def _configuration_json(results: StudyResults, config: Configuration) -> dict[str, Any]:
    runs = [_run_json(results, config, seed) for seed in results.seeds]
    return {"label": config.label, "key": config.key, "settings": dict(config.settings), "runs": runs}


def _run_json(results: StudyResults, config: Configuration, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": seed, "status": results.status(config, seed)}
    record = results.record(config, seed)
    if record is None:
        error = results.errors.get((config.key, seed))
        return found if error is None else {**found, "error": error}
    kept = {part: _scores_json(record.kept.scores(part)) for part in ("train", "valid", "test")}
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
