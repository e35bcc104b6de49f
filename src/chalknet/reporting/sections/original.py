"""What the original write-up reported, next to the results of this document, and what its losses are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalknet.config import Recipe
from chalknet.formatting import DASH, count_of, fixed, listed, percent_interval
from chalknet.reporting.document import Block, FigureBlock, Note, Section, TableBlock
from chalknet.reporting.figures import Mark, Panel
from chalknet.reporting.markup import code
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.learning import learning_configuration
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_figures import history_curves
from chalknet.reporting.study_tables import four, percent2, seconds_text
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.studies.intervals import wilson

SPLITS = ("train", "valid", "test")
SIZES = {"train": 15_000, "valid": 1_000, "test": 2_724}
SAMPLES, SHAPE, CLASSES = 18_724, (28, 28), tuple("ABCDEFGHIJ")
BUILTIN = "glyphs"
LEVEL = 0.95


@dataclass(frozen=True)
class Printed:
    """A row of the original's results: printed loss and accuracy of each split, and the seconds."""

    losses: tuple[float, float, float]
    accuracies: tuple[float, float, float]
    seconds: float


# Printed on Google Colab in February 2020, one unseeded run each.
ORIGINAL = {
    100: Printed((4.6824, 5.5578, 5.7423), (0.9231, 0.898, 0.8946), 42.705),
    500: Printed((0.7009, 3.894, 4.1808), (0.9936, 0.919, 0.9119), 176.361),
    1000: Printed((0.2957, 3.6131, 3.9853), (0.9973, 0.926, 0.9174), 372.058),
    2000: Printed((0.2303, 3.3766, 3.8814), (0.9982, 0.930, 0.9185), 645.494),
}


def original_section(report_data: ReportData, number: str, title: str = "What the original reported") -> Section:
    """Compare the original's results with these, list what differs, and explain the printed losses."""
    intervals = (
        "95 % intervals (Wilson) of the original's accuracies, each from one run; half-widths in percentage points."
    )
    blocks = (
        *_differences(report_data),
        *standard_text("original"),
        TableBlock("original", comparison_table(report_data), _caption(report_data)),
        *standard_text("original losses"),
        *_losses(report_data),
        *standard_text("original uncertainty"),
        TableBlock("original_intervals", intervals_table(), intervals),
        *standard_text("original softmax"),
        *_times(report_data),
    )
    return Section(number, title, blocks)


def differences(report_data: ReportData) -> tuple[str, ...]:
    """Return what differs from the original, in words; the data first."""
    facts, recipe = report_data.results.data, report_data.recipe
    found = []
    if facts.source == BUILTIN:
        found.append("the data are the built-in letters, rendered from other fonts than notMNIST")
    elif (facts.samples, facts.sample_shape, facts.class_names) != (SAMPLES, SHAPE, CLASSES):
        shape = " × ".join(map(str, facts.sample_shape))
        found.append(
            f"the data are {code(facts.source)}, {facts.samples:,} samples of {shape} values, instead of the "
            "original's 18,724 images"
        )
    if dict(facts.split_sizes) != SIZES:
        sizes = listed([f"{facts.split_sizes[split]:,}" for split in SPLITS])
        found.append(f"{sizes} training, validation and test samples instead of 15,000, 1,000 and 2,724")
    found += _recipe_differences(recipe)
    return tuple(found)


def comparison_table(report_data: ReportData) -> Table:
    """Return every result that the original printed, and the same of this document, as means over the seeds."""
    by_width = _by_width(report_data)
    rows = []
    for width in _shown_widths(report_data):
        runs, printed = by_width.get(width), ORIGINAL.get(width)
        for i, split in enumerate(SPLITS):
            here = [DASH] * 3
            if runs is not None and split in runs.splits:
                here = [
                    four(runs.mean(split, "printed_loss")),
                    percent2(runs.mean(split, "accuracy")),
                    four(runs.mean(split, "loss")),
                ]
            rows.append(
                (
                    f"{width:,}, {SPLIT_NAMES[split]}",
                    DASH if printed is None else four(printed.losses[i]),
                    here[0],
                    DASH if printed is None else percent2(printed.accuracies[i]),
                    *here[1:],
                )
            )
    columns = (
        "hidden units, split",
        "printed loss, original",
        "printed loss, here",
        "accuracy, original",
        "accuracy, here",
        "cross-entropy, here",
    )
    return Table("The original and this", columns, tuple(rows))


def intervals_table() -> Table:
    """Return Wilson's interval of each validation and test accuracy that the original printed."""
    rows = []
    for width, printed in ORIGINAL.items():
        cells = []
        for split, accuracy in zip(SPLITS[1:], printed.accuracies[1:], strict=True):
            found = wilson(round(accuracy * SIZES[split]), SIZES[split], LEVEL)
            half = 100 * (found.high - found.low) / 2
            cells += [percent2(accuracy), percent_interval(found.low, found.high), fixed(half, 1)]
        rows.append((f"{width:,}", *cells))
    heads = ("accuracy", "95 % interval", "half-width")
    columns = (
        "hidden units",
        *(f"{SPLIT_NAMES[split]} {head}" if not i else head for split in SPLITS[1:] for i, head in enumerate(heads)),
    )
    return Table("Uncertainty of the original's accuracies", columns, tuple(rows))


def times_table(report_data: ReportData) -> Table:
    """Return the seconds per run of the original and of this document."""
    by_width = _by_width(report_data)
    rows = []
    for width in _shown_widths(report_data):
        runs, printed = by_width.get(width), ORIGINAL.get(width)
        here = DASH if runs is None else seconds_text(sum(runs.seconds) / len(runs.seconds))
        how = DASH if runs is None else f"{runs.trained[0]}, {count_of(len(runs.histories[0]), 'epoch')}"
        rows.append((f"{width:,}", DASH if printed is None else seconds_text(printed.seconds), here, how))
    return Table("Time", ("hidden units", "original, 200 epochs", "here, mean", "how trained here"), tuple(rows))


def _times(report_data: ReportData) -> tuple[Block, ...]:
    if not set(ORIGINAL) & set(_by_width(report_data)):
        return ()
    caption = "Time per run. The machines differ, so this does not compare the programs."
    return (TableBlock("original_times", times_table(report_data), caption),)


def _differences(report_data: ReportData) -> tuple[Block, ...]:
    found = differences(report_data)
    if not found:
        text = (
            "The data has the number, size and classes of the original's images, and the split and the recipe are "
            "those "
            "of the original. Whether it is the same file cannot be checked, because the original states no digest."
        )
        return (Note(text),)
    other_data = found[0].startswith("the data")
    text = f"**What differs from the original:** {'; '.join(found)}."
    if other_data:
        text += (
            " **Because the data differ, the results below are not a repetition:** they belong to different "
            "problems, so "
            "a higher or lower value says nothing about the method."
        )
    return (Note(text, "warning"),)


def _recipe_differences(recipe: Recipe) -> list[str]:
    default = Recipe()
    found = []
    if recipe.training.epochs != default.training.epochs:
        found.append(f"{count_of(recipe.training.epochs, 'epoch')} instead of {default.training.epochs}")
    if recipe.optimizer != default.optimizer:
        found.append("another optimizer, learning rate, momentum or reduction")
    if recipe.training.batch_size != default.training.batch_size:
        found.append(f"mini-batches of {recipe.training.batch_size} samples instead of full batches")
    if (recipe.split.split, recipe.split.split_seed) != (default.split.split, default.split.split_seed):
        found.append("another split")
    if recipe.stopping.stop_early:
        found.append("training stops early")
    if recipe.training.dtype != "float64":
        found.append(f"{recipe.training.dtype} arithmetic instead of float64, which changes last digits")
    return found


def _caption(report_data: ReportData) -> str:
    several = report_data.n_seeds > 1
    seeds = f"means over {count_of(report_data.n_seeds, 'seed')}" if several else "one seed"
    same = "Both printed losses are the same quantity; the cross-entropy is another one."
    return f"The original's results and those of this document ({seeds}). {same}{_dashes(report_data)}"


def _dashes(report_data: ReportData) -> str:
    """Return what a dash means, if there is one, and which widths of the original are left out."""
    here = set(_by_width(report_data))
    if not here & set(ORIGINAL):
        return " A dash marks a width that this document does not have."
    text = " A dash marks a width that the original does not have." if here - set(ORIGINAL) else ""
    missing = [f"{width:,}" for width in ORIGINAL if width not in here]
    return text + (f" The original also has {listed(missing)} hidden units." if missing else "")


def _losses(report_data: ReportData) -> tuple[Block, ...]:
    """Show both losses of one run side by side."""
    runs = learning_configuration(report_data)
    if runs is None or "valid" not in runs.splits or len(runs.histories[0]) < 2:
        return ()
    figure = history_curves(runs.histories[0], ("valid",), ("loss", "printed_loss"))
    lowest = _lowest_epochs(runs)
    panels = tuple(
        replace(panel, marks=(Mark(float(epoch), "lowest value"),))
        for panel, epoch in zip(figure.panels, lowest, strict=True)
        if isinstance(panel, Panel)
    )
    figure = replace(figure, panels=panels, legend="shared")
    caption = f"The two validation losses of one run (seed {runs.seeds[0]}): {_shapes(lowest, len(runs.histories[0]))}"
    alt = "Cross-entropy and printed loss against the epoch, side by side."
    return (FigureBlock("two_losses", figure, caption, alt),)


def _lowest_epochs(runs: ConfigurationRuns) -> tuple[int, int]:
    """Return the epochs of the lowest cross-entropy and of the lowest printed loss of the first seed."""
    epochs = []
    for measure in ("loss", "printed_loss"):
        values = [getattr(record.valid, measure) for record in runs.histories[0]]
        epochs.append(values.index(min(values)) + 1)
    return epochs[0], epochs[1]


def _shapes(lowest: tuple[int, int], n_epochs: int) -> str:
    """Return where each of the two losses is lowest, and whether the printed loss falls for longer."""
    loss, printed = lowest
    text = f"the cross-entropy is lowest after epoch {loss}, the printed loss after epoch {printed} of {n_epochs}."
    if printed > loss:
        return f"{text} The printed loss still falls after the cross-entropy has begun to rise."
    return f"{text} In this run the printed loss does not fall for longer than the cross-entropy."


def _shown_widths(report_data: ReportData) -> list[int]:
    """Return the widths of this document, or those of the original where none is in both."""
    here = set(_by_width(report_data))
    return sorted(here) if here & set(ORIGINAL) else list(ORIGINAL)


def _by_width(report_data: ReportData) -> dict[int, ConfigurationRuns]:
    """Return the complete configurations by their number of hidden units, if that alone varies."""
    if any(name != "hidden" for runs in report_data.configurations for name, _ in runs.configuration.settings):
        return {}
    return {
        runs.configuration.recipe.network.hidden[0]: runs
        for runs in report_data.complete
        if len(runs.configuration.recipe.network.hidden) == 1
    }
