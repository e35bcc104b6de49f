"""An ensemble: its networks one by one, and what averaging their probabilities gains."""

from __future__ import annotations

import math

from chalknet.formatting import count_of, duration, fixed, percent, percent_ends, points, points_ends
from chalknet.reporting.document import Block, FigureBlock, Findings, Note, Paragraph, Section, TableBlock
from chalknet.reporting.gathered import CellRuns, Gathered, Together
from chalknet.reporting.sections.choice import epoch_choice
from chalknet.reporting.sections.prose import prose
from chalknet.reporting.study_figures import seed_curves
from chalknet.reporting.study_tables import four, percent2
from chalknet.reporting.tables import PART_NAMES, Table
from chalknet.studies.intervals import Interval, wilson


def members_section(gathered: Gathered, together: Together, number: str, title: str = "The networks") -> Section:
    """Each network's scores and curves on the part that it is judged by; the test figures come with the result."""
    (runs,) = gathered.cells
    parts = tuple(part for part in runs.parts if part != "test")
    text = (
        f"{count_of(len(runs.seeds), 'network')} were trained one after the other, each from a seed of its own, in "
        f"{duration(sum(runs.seconds))}. Their scores are of the epochs whose weights are kept; training scores of a "
        "network are taken before an epoch's updates, and those of the networks together after all of them."
    )
    blocks: list[Block] = [
        Paragraph(text),
        TableBlock("members", _members_table(runs, together, parts), "The networks one by one, and together."),
        FigureBlock(
            "members",
            seed_curves(runs, parts[-1], ("loss", "accuracy")),
            f"Loss and accuracy of {PART_NAMES[parts[-1]]} after each epoch, a curve a network.",
            f"Two panels of {count_of(len(runs.seeds), 'curve')}: cross-entropy loss and accuracy.",
        ),
    ]
    if runs.findings:
        blocks.append(Findings(runs.findings))
    return Section(number, title, tuple(blocks))


def together_section(gathered: Gathered, together: Together, number: str, title: str = "The result") -> Section:
    """What the networks do together, and how much of it averaging gained."""
    (runs,) = gathered.cells
    parts = tuple(part for part in ("valid", "test") if part in together.scores)
    if not parts:
        text = "There is neither a validation nor a test part, so what averaging gains cannot be told."
        return Section(number, title, (Paragraph(text),))
    blocks: list[Block] = [
        *prose("ensemble gain"),
        TableBlock("gain", _gain_table(runs, together, parts), "The networks by themselves, their mean, and together."),
        Findings(tuple(_sentence(part, together.gains[part]) for part in parts)),
        *epoch_choice((runs,)),
    ]
    if "test" in together.scores:
        blocks.append(_test(gathered, together))
    return Section(number, title, tuple(blocks))


def _members_table(runs: CellRuns, together: Together, parts: tuple[str, ...]) -> Table:
    heads = [f"{PART_NAMES[part]} {measure}" for part in parts for measure in ("loss", "accuracy")]
    rows = []
    for k, (seed, kept, history) in enumerate(zip(runs.seeds, runs.kept_epochs, runs.histories, strict=True)):
        epochs = f"{kept}" if kept == len(history) else f"{kept} of {len(history)}"
        cells = [
            write(runs.values(part, measure)[k])
            for part in parts
            for measure, write in (("loss", four), ("accuracy", percent2))
        ]
        rows.append((f"seed {seed}", epochs, *cells))
    own = [(four(together.scores[part].loss), percent2(together.scores[part].accuracy)) for part in parts]
    rows.append(("together", "", *(cell for pair in own for cell in pair)))
    return Table("The networks", ("", "kept epoch", *heads), tuple(rows))


def _gain_table(runs: CellRuns, together: Together, parts: tuple[str, ...]) -> Table:
    rows = []
    for part in parts:
        own, gain = together.scores[part], together.gains[part]
        ends = "" if math.isnan(gain.low) else points_ends(gain.low, gain.high)
        cells = (percent2(runs.mean(part, "accuracy")), percent2(own.accuracy), points(gain.value), ends)
        rows.append((PART_NAMES[part], *cells, four(runs.mean(part, "loss")), four(own.loss)))
    heads = ("mean accuracy", "accuracy together", "gain, points", "95 % interval", "mean loss", "loss together")
    return Table("What averaging gains", ("", *heads), tuple(rows))


def _sentence(part: str, gain: Interval) -> str:
    where = f"on the {PART_NAMES[part]} part"
    if math.isnan(gain.low):
        told = f"Averaging changes accuracy by {points(gain.value)} points {where}"
        return f"{told}; without the samples there is no interval."
    ends = f"95 % interval {points_ends(gain.low, gain.high)}"
    if gain.low > 0:
        return f"Averaging gains {fixed(100 * gain.value, 1)} points {where} ({ends})."
    if gain.high < 0:
        return f"Averaging loses {fixed(-100 * gain.value, 1)} points {where} ({ends})."
    return f"{where[:1].upper()}{where[1:]} no gain can be told from chance: {points(gain.value)} points ({ends})."


def _test(gathered: Gathered, together: Together) -> Note:
    accuracy, n_samples = together.scores["test"].accuracy, gathered.sizes["test"]
    found = wilson(round(accuracy * n_samples), n_samples)
    ends = percent_ends(found.low, found.high)
    who = f"{count_of(gathered.n_seeds, 'network')} together, on {count_of(n_samples, 'test sample')}"
    return Note(f"**Test accuracy: {percent(accuracy)}**, 95 % interval {ends}; {who}.")
