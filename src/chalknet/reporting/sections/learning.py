"""Learning: one training run in full, with its scores, its curves and its time."""

from __future__ import annotations

from collections.abc import Sequence

from chalknet.config import FULL, Recipe
from chalknet.formatting import capitalized, count_of, duration, listed, percent
from chalknet.network.architecture import architecture_for
from chalknet.records import EpochRecord
from chalknet.reporting.document import Block, FigureBlock, Paragraph, Section, TableBlock
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.comparison import cut_off
from chalknet.reporting.sections.curves import curve_blocks
from chalknet.reporting.sections.phrases import network_phrase
from chalknet.reporting.study_figures import epoch_marks, history_curves, marks_text
from chalknet.reporting.tables import MONITOR_NAMES, SCORE_HEADS, SPLIT_NAMES, Table, score_cells

ORIGINAL_WIDTH = (1_000,)


def learning_section(
    report_data: ReportData,
    number: str,
    title: str = "Learning",
    *,
    with_test: bool = True,
    with_printed_loss: bool = True,
) -> Section:
    """Show the first seed's run of the configuration that `learning_configuration` chooses.

    Args:
        report_data: the study.
        number: number of the section.
        title: its title.
        with_test: whether to show test scores.
        with_printed_loss: whether to show the loss that the original write-up printed, if test scores are
            shown.
    """
    runs = learning_configuration(report_data)
    if runs is None:
        return Section(number, title, (Paragraph("No run is finished, so there is nothing to show."),))
    splits = tuple(split for split in runs.splits if with_test or split != "test")
    history = runs.histories[0]
    shown = listed([SPLIT_NAMES[split] for split in splits])
    figure = history_curves(history, splits, ("loss", "accuracy"), epoch_marks(runs, 0))
    best_by = "" if runs.stopping is None else MONITOR_NAMES[runs.stopping.monitor]
    blocks: list[Block] = [
        Paragraph(_introduction(report_data, runs, splits)),
        TableBlock(
            "statistics", statistics(runs, splits, with_printed_loss=with_test and with_printed_loss), _caption(runs)
        ),
        FigureBlock(
            "learning",
            figure,
            f"Loss and accuracy of the {shown} samples after each epoch, for {_run(runs)}."
            f"{marks_text(figure, best_by)}{cut_off(figure)}",
            f"Two panels of curves over {count_of(len(history), 'epoch')}: cross-entropy loss and accuracy of {shown}.",
        ),
    ]
    said = describe_run(history)
    if said:
        blocks.append(Paragraph(said))
    if len(report_data.results.configurations) == 1:
        if report_data.n_seeds > 1:
            blocks.append(Paragraph(f"[table:curve_findings] is about all {report_data.n_seeds} runs."))
        blocks += curve_blocks(report_data, report_data.complete)
    return Section(number, title, tuple(blocks))


def learning_configuration(report_data: ReportData) -> ConfigurationRuns | None:
    """Return the configuration with 1,000 hidden units, else the chosen one, else any; of named ones the first."""
    if report_data.is_named:
        return next(iter(report_data.configurations), None)
    same = [runs for runs in report_data.configurations if runs.configuration.recipe.network.hidden == ORIGINAL_WIDTH]
    if same and report_data.varied == ("hidden",):
        return same[0]
    return report_data.chosen or next(iter(report_data.configurations), None)


def statistics(runs: ConfigurationRuns, splits: tuple[str, ...], *, with_printed_loss: bool = True) -> Table:
    """Return the scores of the first seed at the epoch whose weights are kept.

    Args:
        runs: the runs of a configuration.
        splits: the splits to show.
        with_printed_loss: whether to show the loss that the original write-up printed.
    """
    n = len(SCORE_HEADS) if with_printed_loss else len(SCORE_HEADS) - 1
    rows = tuple((SPLIT_NAMES[split], *score_cells(runs.scores(split)[0]))[:n] for split in splits)
    return Table("Statistics", SCORE_HEADS[:n], rows)


def describe_run(history: tuple[EpochRecord, ...]) -> str:
    """Describe the two curves of one run, without a claim about other runs; "" where there is nothing to describe."""
    losses = [record.valid.loss for record in history if record.valid is not None]
    last = history[-1]
    if last.valid is None or len(history) < 2:
        return ""
    best = losses.index(min(losses))
    gap = (
        f"Training accuracy ends at {percent(last.train.accuracy)}, validation accuracy at "
        f"{percent(last.valid.accuracy)}."
    )
    if best == len(history) - 1:
        return f"In this run the validation loss is lowest after the last epoch ({losses[best]:.3f}). {gap}"
    lowest = (
        f"In this run the validation loss is lowest after epoch {best + 1} ({losses[best]:.3f}) and ends at "
        f"{losses[-1]:.3f}"
    )
    # The scores of the network after an epoch are in the next record, where there is one.
    before = history[min(best + 1, len(history) - 1)].train.loss
    falls = "while the training loss falls" if last.train.loss < before else "and the training loss rises as well,"
    return f"{lowest}, {falls} from {before:.4f} to {last.train.loss:.4f}. {gap}"


def training_scores_text(recipe: Recipe, splits: Sequence[str] = ("valid", "test")) -> str:
    """Say when training scores are computed: before the one update of an epoch, or batch by batch.

    Args:
        recipe: the recipe.
        splits: the other splits whose scores are shown.
    """
    others = listed([SPLIT_NAMES[split] for split in ("valid", "test") if split in splits])
    if recipe.training.batch_size == FULL:
        text, rest = "Training scores are those before an epoch's update", "those after it"
    else:
        text = "Training scores are means over the batches of an epoch, each computed before the update with that batch"
        rest = "those after the epoch"
    return f"{text}; {others} scores are {rest}." if others else f"{text}."


def _introduction(report_data: ReportData, runs: ConfigurationRuns, splits: tuple[str, ...]) -> str:
    recipe, facts = runs.configuration.recipe, report_data.results.data
    shape = architecture_for(recipe, facts.sample_shape, len(facts.class_names))
    text = (
        f"This section shows one run: {_run(runs)}. The network has {count_of(shape.n_parameters, 'parameter')}. "
        f"{count_of(len(runs.histories[0]), 'epoch')} took {duration(runs.seconds[0])} ({escape(runs.trained[0])})"
        f"{_evaluation(runs)}. {training_scores_text(recipe, splits)}"
    )
    if report_data.n_seeds > 1 or len(report_data.configurations) > 1:
        text += f" The run is that of {_first_seed(report_data, runs)}, whatever its result."
    return text


def _evaluation(runs: ConfigurationRuns) -> str:
    """Return which samples are evaluated in the time of an epoch, after a comma; "" if none are."""
    splits = [SPLIT_NAMES[split] for split in ("valid", "test") if split in runs.splits]
    return f", including the evaluation of the {listed(splits)} samples after every epoch" if splits else ""


def _first_seed(report_data: ReportData, runs: ConfigurationRuns) -> str:
    """Return which run the first seed is, and whether its configuration was chosen."""
    if len(report_data.configurations) == 1:
        return "the first seed"
    noun = "width" if report_data.varied == ("hidden",) else "configuration"
    return f"the first seed of {'the chosen' if runs is report_data.chosen else 'this'} {noun}"


def _run(runs: ConfigurationRuns) -> str:
    whose = f"{network_phrase(runs)}, " if runs.configuration.is_labeled else ""
    return f"{whose}seed {runs.seeds[0]}"


def _caption(runs: ConfigurationRuns) -> str:
    kept, history, recipe = runs.kept_epochs[0], runs.histories[0], runs.configuration.recipe
    text = f"Scores after epoch {kept}, seed {runs.seeds[0]}."
    if kept == len(history) == recipe.training.epochs:
        return text
    best = f" {capitalized(MONITOR_NAMES[recipe.stopping.monitor])} was best there, so its weights are kept."
    if len(history) < recipe.training.epochs:
        text += f" Training stopped early, after epoch {len(history)}."
    return text + (best if kept != len(history) else "")
