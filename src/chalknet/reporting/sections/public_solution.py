"""What a public solution of part 2 reported, next to the results of this document, and what its losses are."""

from __future__ import annotations

from chalknet.formatting import DASH, count_of, fixed, listed, percent_interval
from chalknet.network.metrics import double_softmax_floor
from chalknet.reporting.document import Block, Note, Paragraph, Section, TableBlock
from chalknet.reporting.markup import code
from chalknet.reporting.report_data import ConfigurationRuns, ReportData
from chalknet.reporting.sections.data import training_samples
from chalknet.reporting.sections.original import BUILTIN, CLASSES, LEVEL, SAMPLES, SHAPE, SIZES, SPLITS
from chalknet.reporting.sections.standard_text import standard_text
from chalknet.reporting.study_tables import four
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.studies.intervals import wilson

# Training, validation and test accuracy that a public solution of the assignment reports, from one run each, on
# 15,000 training images of notMNIST (docs/guide/part2.md).
EPOCHS = 50
REPORTED = {
    "no regularization": (0.980, 0.935, 0.931),
    "L2 0.01": (0.968, 0.942, 0.934),
    "L2 0.1": (0.928, 0.926, 0.924),
    "L2 0.5": (0.901, 0.903, 0.898),
    "keep probability 0.9": (0.978, 0.937, 0.940),
    "keep probability 0.75": (0.982, 0.944, 0.934),
    "keep probability 0.5": (0.981, 0.940, 0.937),
}


def public_solution_section(report_data: ReportData, number: str, title: str = "A public solution") -> Section:
    """Compare the reported accuracies with these, list what differs, and explain the printed losses."""
    blocks: list[Block] = [
        *standard_text("part2 reported"),
        *_differences(report_data),
        TableBlock("reported", reported_table(report_data), _caption(report_data)),
        *standard_text("part2 reported uncertainty"),
        *standard_text("part2 softmax twice"),
    ]
    if report_data.double_softmax:
        n_classes = len(report_data.results.data.class_names)
        blocks += [
            Paragraph(_figures_text(report_data, n_classes)),
            TableBlock("softmax_twice", softmax_twice_table(report_data), _twice_caption(report_data, n_classes)),
        ]
    return Section(number, title, tuple(blocks))


def reported_table(report_data: ReportData) -> Table:
    """Return every reported accuracy with its interval, and the same of this document as means over the seeds."""
    here = {runs.name: runs for runs in report_data.complete}
    rows = []
    for name in dict.fromkeys([*here, *REPORTED]):
        for i, split in enumerate(SPLITS):
            reported = REPORTED.get(name)
            cells = (DASH, DASH)
            if reported is not None:
                found = wilson(round(reported[i] * SIZES[split]), SIZES[split], LEVEL)
                cells = (f"{fixed(100 * reported[i], 1)} %", percent_interval(found.low, found.high))
            rows.append((f"{name}, {SPLIT_NAMES[split]}", *cells, *_cells(here.get(name), split)))
    columns = ("configuration, split", "reported", "95 % interval", "here", "cross-entropy, here")
    return Table("A public solution and this", columns, tuple(rows))


def softmax_twice_table(report_data: ReportData) -> Table:
    """Return cross-entropy, loss with softmax twice and accuracy of the first seed's network, by configuration."""
    floor = double_softmax_floor(len(report_data.results.data.class_names))
    rows = [
        (
            f"{name}, {SPLIT_NAMES[split]}",
            four(scores.loss),
            four(scores.twice),
            four(scores.twice - floor),
            f"{fixed(100 * scores.accuracy, 1)} %",
        )
        for name, by_split in report_data.double_softmax.items()
        for split, scores in by_split.items()
    ]
    columns = ("configuration, split", "cross-entropy", "softmax twice", "above the floor", "accuracy")
    return Table("Softmax once and twice", columns, tuple(rows))


def _cells(runs: ConfigurationRuns | None, split: str) -> tuple[str, str]:
    if runs is None or split not in runs.splits:
        return (DASH, DASH)
    return (f"{fixed(100 * runs.mean(split, 'accuracy'), 1)} %", four(runs.mean(split, "loss")))


def _differences(report_data: ReportData) -> tuple[Block, ...]:
    """Return a note on what differs from the public solution, besides its loss."""
    facts, recipe = report_data.results.data, report_data.recipe
    found = []
    other_data = facts.source == BUILTIN or (facts.samples, facts.sample_shape, facts.class_names) != (
        SAMPLES,
        SHAPE,
        CLASSES,
    )
    if facts.source == BUILTIN:
        found.append("the data are the built-in letters, rendered from other fonts than notMNIST")
    elif other_data:
        found.append(
            f"the data are {code(facts.source)}, {facts.samples:,} samples, instead of 18,724 images of notMNIST"
        )
    used = training_samples(report_data)
    if used != SIZES["train"]:
        found.append(f"{used:,} training samples instead of 15,000")
    others = {split: facts.split_sizes[split] for split in SPLITS[1:]}
    if others != {split: SIZES[split] for split in SPLITS[1:]}:
        sizes = listed([f"{size:,} {SPLIT_NAMES[split]}" for split, size in others.items()])
        found.append(f"{sizes} samples instead of 1,000 and 2,724")
    if recipe.training.epochs != EPOCHS:
        found.append(f"{count_of(recipe.training.epochs, 'epoch')} instead of {EPOCHS}")
    if (recipe.optimizer.learning_rate, recipe.training.batch_size) != (1e-4, 32):
        found.append("another learning rate or batch size")
    found.append(
        "training minimizes the cross-entropy and not a loss with softmax twice, as that solution probably did"
    )
    text = f"**What differs from the public solution:** {'; '.join(found)}."
    if other_data:
        text += (
            " **Because the data differ, the results below are not a repetition:** a higher or lower value says "
            "nothing about the method."
        )
    return (Note(text, "warning"),)


def _caption(report_data: ReportData) -> str:
    seeds = f"means over {count_of(report_data.n_seeds, 'seed')}" if report_data.n_seeds > 1 else "one seed"
    text = (
        f"Accuracies that the public solution reports, with their 95 % intervals (Wilson), and those of this document "
        f"({seeds}). Training accuracies of this document are means over the batches of the last epoch, with dropout "
        "if the configuration has it."
    )
    names = {runs.name for runs in report_data.complete}
    if set(REPORTED) - names:
        text += " A dash marks what this document does not have."
    return text


def _figures_text(report_data: ReportData, n_classes: int) -> str:
    every = [scores for by_split in report_data.double_softmax.values() for scores in by_split.values()]
    once, twice = [scores.loss for scores in every], [scores.twice for scores in every]
    floor = double_softmax_floor(n_classes)
    return (
        "[table:softmax_twice] shows the cross-entropy and this loss for networks of this document, which were trained "
        f"with the cross-entropy. Their cross-entropies are between {four(min(once))} and {four(max(once))}. With "
        f"softmax twice, the losses of the same networks are between {four(min(twice))} and {four(max(twice))}. The "
        f"floor for {n_classes} classes is {four(floor)}."
    )


def _twice_caption(report_data: ReportData, n_classes: int) -> str:
    return (
        f"Losses and accuracies of the networks with seed {report_data.results.seeds[0]} after training, without "
        "dropout and without the penalty. *Softmax twice*: the loss $M9$. *Above the floor*: this loss minus its "
        f"floor, {four(double_softmax_floor(n_classes))}."
    )
