"""How far a study is: blocks that the live page and the report of an unfinished study share."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.formatting import DASH, capitalized, count_of, duration, fixed, is_or_are, listed, percent
from chalknet.records import EpochRecord
from chalknet.reporting.configuration_text import configuration_words, join_configurations
from chalknet.reporting.document import Block, Code, FigureBlock, Findings, Note, Paragraph, TableBlock
from chalknet.reporting.figures import AXES, Figure, Panel, growing_axis, split_curves
from chalknet.reporting.live_document import LivePage, LiveSection
from chalknet.reporting.markup import escape
from chalknet.reporting.next_steps import (
    KeptScores,
    best_configuration,
    report_command,
    resume_command,
    train_command,
    watch_command,
)
from chalknet.reporting.ranking import Ranking, findings_remark, ranked_table, ranking_caption
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.study_figures import MAX_PANELS, accuracy_figures, curves_of, value_limits, value_scale
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.studies.configurations import Configuration
from chalknet.studies.results import StudyResults
from chalknet.studies.study_observer import StudyState, UnfinishedRun

MAX_UNFINISHED = 50  # rows of the table of unfinished runs
MAX_FAILURES = 10  # kinds of failure that are shown
MAX_FAILED_RUNS = 6  # runs that are named for each of them
SHOWN_SPLITS = ("train", "valid")  # test scores are for the end
PART_NAMES = {"done": "done", "failed": "failed", "running": "running", "todo": "waiting"}
RETRY = (
    "If a setting of the study is the cause, leave these configurations out of a new study. Otherwise remove the "
    "cause, and train the failed runs again with this command:"
)


def state_parts(state: StudyState) -> tuple[tuple[str, int], ...]:
    """Return the number of runs that are done, failed, running and waiting."""
    counts = state.results.counts
    waiting = state.n_total - counts["done"] - counts["failed"] - counts["running"]
    parts = {name: counts.get(status, 0) for status, name in PART_NAMES.items()}
    return tuple((parts | {"waiting": waiting}).items())


def state_sentence(state: StudyState) -> str:
    """Return one sentence that says how far a study is: "12 of 40 runs are done, 2 are running, 1 failed"."""
    parts = dict(state_parts(state))
    said = [f"{parts['done']:,} of {count_of(state.n_total, 'run')} {is_or_are(state.n_total)} done"]
    if parts["done"] == state.n_total > 1:
        said = [f"all {count_of(state.n_total, 'run')} are done"]
    stopped = len(state.unfinished) if state.phase == "interrupted" else 0
    counts = {"running": parts["running"], "interrupted": stopped, "waiting": parts["waiting"] - stopped}
    for word, n in counts.items():
        if n > 0:
            said.append(f"{n:,} {is_or_are(n)} {word}")
    if parts["failed"]:
        said.append(f"{parts['failed']:,} failed")
    begin = {"interrupted": "Interrupted. ", "finished": "Finished. ", "running": ""}[state.phase]
    return f"{begin}{capitalized(', '.join(said))}."


def basis_sentence(state: StudyState) -> str:
    """Return how the time left was estimated; "" without an estimate."""
    left = state.time_left
    if left is None:
        return ""
    ended = f"the {count_of(left.n_runs, 'finished run')}" if left.n_runs else "the epochs so far"
    return f"Estimated from {ended} ({duration(left.measured_seconds)})."


def work_blocks(state: StudyState) -> list[Block]:
    """Say what to do about a study that nobody works on, or what a study that runs is waiting for."""
    if state.phase == "interrupted":
        text = (
            "**The process of this study has stopped,** or its computer is off. Finished runs are kept, and "
            "unfinished runs continue from their last checkpoint. Resume it with this command:"
        )
        return [Note(text, "warning"), Code(resume_command(state.folder))]
    if state.phase == "running" and not dict(state_parts(state))["running"]:
        return [Paragraph("The study prepares its next runs.")]
    return []


def failure_blocks(results: StudyResults) -> list[Block]:
    """Show the failed runs with their errors, equal errors once, and the command that trains them again."""
    by_error: dict[str, list[str]] = {}
    for run, error in results.failed.items():
        by_error.setdefault(error, []).append(f"{configuration_words(run.configuration)}, seed {run.seed}")
    blocks: list[Block] = []
    for error, runs in list(by_error.items())[:MAX_FAILURES]:
        rest = len(runs) - MAX_FAILED_RUNS
        more = f" and {count_of(rest, 'other run')}" if rest > 0 else ""
        named = escape("; ".join(runs[:MAX_FAILED_RUNS]))
        blocks.append(Note(f"*Failed:* {named}{more}. {escape(capitalized(error))}", "warning"))
    if len(by_error) > MAX_FAILURES:
        others = count_of(len(by_error) - MAX_FAILURES, "other error")
        blocks.append(Paragraph(f"There are {others}. `chalknet study show --csv` lists the errors of all runs."))
    if blocks and results.folder is not None:
        blocks += [Paragraph(RETRY), Code(resume_command(results.folder, "--retry-failed"))]
    return blocks


def duration_sentence(seconds: Sequence[float]) -> str:
    """Return how long finished runs took in all; "" without one."""
    if not seconds:
        return ""
    return f"The {count_of(len(seconds), 'finished run')} took {duration(sum(seconds))} of training in all."


def ranking_blocks(ranking: Ranking, state: StudyState) -> list[Block]:
    """Show the configurations by accuracy, with intervals."""
    if not ranking.configurations:
        return [Paragraph("No run is finished yet.")]
    best = best_configuration(state.results, _kept_of(state))
    highlight = [at for at, one in enumerate(ranking.configurations) if best is not None and one.configuration == best]
    caption = ranking_caption(ranking, state)
    if highlight:
        caption += " The best complete configuration is in bold."
    table = ranked_table(ranking, state)
    return [TableBlock("ranking", table, caption, tuple(at for at in highlight if at < len(table.rows)))]


def findings_blocks(ranking: Ranking, state: StudyState) -> list[Block]:
    """State which differences are significant so far."""
    remark = findings_remark(ranking, state)
    blocks: list[Block] = [Paragraph(remark)] if remark else []
    return [*blocks, Findings(ranking.findings)] if ranking.findings else blocks


def next_blocks(ranking: Ranking, state: StudyState) -> list[Block]:
    """Name the best complete configuration, and the commands that come next."""
    results = state.results
    best = best_configuration(results, _kept_of(state))
    blocks: list[Block] = []
    if best is not None:
        found = next(one for one in ranking.configurations if one.configuration == best)
        limits = found.interval
        interval = "" if limits is None else f" (95 % interval {percent(limits.low)} to {percent(limits.high)})"
        name = escape(join_configurations([configuration_words(best)]))
        text = f"The best complete configuration has **{name}**. Its mean validation accuracy is "
        text += f"{percent(found.accuracy)}{interval}."
        blocks.append(Paragraph(text))
    if not state.is_over:
        return blocks
    if took := duration_sentence([run.seconds for run in state.finished.values()]):
        blocks.append(Paragraph(took))
    commands = [report_command(state.folder)]
    train = None if best is None else train_command(results, best)
    if train is not None:
        commands.append(train)
    what = "The first command writes a report. The second one trains the best configuration again." if train else ""
    return [*blocks, Paragraph(what or "This command writes a report:"), Code("\n".join(commands))]


def unfinished_table(runs: Sequence[UnfinishedRun]) -> Table:
    """Return a row for each run that is being trained or was interrupted, with its last known epoch."""
    head = ("run", "state", "epoch", "training loss", "validation accuracy")
    return Table("Unfinished runs", head, tuple(map(_unfinished_row, runs[:MAX_UNFINISHED])))


def unfinished_blocks(state: StudyState) -> list[Block]:
    """Show the runs that are being trained, and those that were interrupted, with their curves so far."""
    runs = state.unfinished
    if not runs:
        return []
    caption = (
        "Runs that are not finished, with the scores at their last checkpoint. The time between two checkpoints grows "
        "from half a second to a minute, so a run may be ahead of what is shown."
    )
    if len(runs) > MAX_UNFINISHED:
        caption += f" These are {MAX_UNFINISHED} of {len(runs)}."
    blocks: list[Block] = [TableBlock("unfinished", unfinished_table(runs), caption)]
    shown = [one for one in runs if len(one.history) > 1][:MAX_PANELS]
    if shown:
        which = "" if len(shown) == len(runs) else f" {len(shown)} of {len(runs)} runs are shown."
        for measure in ("loss", "accuracy"):
            text = f"{capitalized(measure)} of unfinished runs after each epoch, up to the last checkpoint.{which}"
            alt = f"A panel for each of {count_of(len(shown), 'run')}: {measure} against the epoch."
            blocks.append(FigureBlock(f"unfinished-{measure}", _unfinished_curves(shown, measure), text, alt))
    return blocks


def finished_blocks(shown: Sequence[ConfigurationRuns], n_ranked: int) -> list[Block]:
    """Show the learning curves of configurations with finished runs.

    Args:
        shown: the configurations, with the histories of their finished runs.
        n_ranked: number of configurations that have finished runs.
    """
    if not shown or max(len(history) for runs in shown for history in runs.histories) < 2:
        return []
    splits = tuple(split for split in SHOWN_SPLITS if all(split in runs.splits for runs in shown))
    names = listed([SPLIT_NAMES[split] for split in splits])
    band = "mean over the finished seeds, with a band from the lowest to the highest"
    seeds = band if any(len(runs.seeds) > 1 for runs in shown) else "one seed"
    which = "" if len(shown) == n_ranked else f" The {len(shown)} configurations with the highest accuracy are shown."
    return [
        FigureBlock(
            f"finished-{measure}",
            curves_of(shown, measure, splits),
            f"{capitalized(measure)} of the {names} samples after each epoch, {seeds}. All panels have the same "
            f"axes.{which}",
            f"A panel for each of {count_of(len(shown), 'configuration')}: {measure} of {names} against the epoch.",
        )
        for measure in ("loss", "accuracy")
    ]


def accuracy_blocks(state: StudyState, ranking: Ranking) -> list[Block]:
    """Show accuracy against what varies, for the complete configurations."""
    n_seeds = len(state.results.seeds)
    complete = tuple(one.as_runs() for one in ranking.configurations if len(one.runs) == n_seeds)
    data = ReportData(
        results=state.results,
        recipe=state.results.spec.recipe,
        is_run=False,
        name="",
        configurations=complete,
        comparison_split=state.split,
        comparison=ranking.comparison,
        chosen=complete[0] if complete else None,
        optimism=None,
        test=None,
        machine={},
    )
    split = SPLIT_NAMES[state.split or "train"]
    text = f"{capitalized(split)} accuracy of the complete configurations against what varies."
    return [
        FigureBlock(name, figure, text, f"{text} The ranked table has the numbers.")
        for name, figure in accuracy_figures(data).items()
    ]


def study_page(state: StudyState, ranking: Ranking, shown: Sequence[ConfigurationRuns]) -> LivePage:
    """Return the page that follows a study.

    Args:
        state: the study.
        ranking: its ranking, updated with this state.
        shown: the configurations whose curves are shown, with the histories of their finished runs.
    """
    results, left = state.results, state.time_left
    sections = [
        LiveSection("work", "What happens now", tuple(work_blocks(state))),
        LiveSection("failures", "Failed runs", tuple(failure_blocks(results))),
        LiveSection("next", "Result" if state.is_over else "Best so far", tuple(next_blocks(ranking, state))),
        LiveSection(
            "findings", "Findings" if state.is_over else "Findings so far", tuple(findings_blocks(ranking, state))
        ),
        LiveSection("ranking", "Configurations", tuple(ranking_blocks(ranking, state))),
        LiveSection("factors", "Accuracy by setting", tuple(accuracy_blocks(state, ranking))),
        LiveSection("unfinished", "Runs that are not finished", tuple(unfinished_blocks(state))),
        LiveSection("curves", "Learning curves", tuple(finished_blocks(shown, len(ranking.configurations)))),
    ]
    counts = results.counts
    partial = sum(min(len(one.history) / one.n_epochs, 1.0) for one in state.unfinished)
    ended = counts["done"] + counts["failed"]
    return LivePage(
        title=f"Study {state.folder.resolve().name}",
        subtitle=f"On the data set {results.data.source}, in {state.folder}",
        phase=state.phase,
        headline=state_sentence(state),
        parts=state_parts(state),
        progress=min((ended + partial) / max(state.n_total, 1), 1.0),
        progress_text=f"{ended:,} of {count_of(state.n_total, 'run')} ended",
        seconds_left=None if left is None or state.phase != "running" else left.seconds,
        estimated_at=0.0 if left is None else left.at,
        basis=basis_sentence(state),
        again=watch_command(state.folder),
        sections=tuple(section for section in sections if section.blocks),
    )


def _kept_of(state: StudyState) -> KeptScores:
    def kept_of(config: Configuration, seed: int) -> EpochRecord | None:
        run = state.finished.get((config.key, seed))
        return None if run is None else run.kept

    return kept_of


def _unfinished_row(one: UnfinishedRun) -> tuple[str, ...]:
    last: EpochRecord | None = one.history[-1] if one.history else None
    return (
        f"{configuration_words(one.run.configuration)}, seed {one.run.seed}",
        "running" if one.is_running else "interrupted",
        f"{len(one.history):,} of {one.n_epochs:,}",
        DASH if last is None else fixed(last.train.loss, 4),
        DASH if last is None or last.valid is None else percent(last.valid.accuracy),
    )


def _unfinished_curves(runs: Sequence[UnfinishedRun], measure: str) -> Figure:
    """Return a panel for each run, up to its last planned epoch."""
    histories = [one.history for one in runs]
    splits = tuple(
        split for split in SHOWN_SPLITS if all(history[0].scores(split) is not None for history in histories)
    )
    panels = tuple(
        Panel(
            capitalized(f"{configuration_words(one.run.configuration)}, seed {one.run.seed}"),
            "epoch",
            AXES[measure],
            split_curves([one.history], splits, measure),
            y_scale=value_scale(histories, splits, measure),
            y_limits=value_limits(histories, splits, measure),
            x_limits=growing_axis(max(map(len, histories)), one.n_epochs),
        )
        for one in runs
    )
    return Figure("", panels, columns=min(len(panels), 3), legend="shared", same_y=True)
