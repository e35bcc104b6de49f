"""A document with every kind of block, and with names that some format could take for markup."""

import math

import numpy as np

from chalknet.data.dataset import dataset_from_arrays
from chalknet.reporting.document import (
    Code,
    Document,
    FigureBlock,
    Findings,
    FormulaBlock,
    ImageBlock,
    Note,
    Paragraph,
    Section,
    TableBlock,
)
from chalknet.reporting.drawings.images import show_images
from chalknet.reporting.drawings.picture import drawing_bytes
from chalknet.reporting.figures import Curve, Figure, HeatMap, Mark, Matrix, Panel
from chalknet.reporting.formulas import FORMULAS
from chalknet.reporting.markup import code, escape
from chalknet.reporting.tables import Table

NASTY = r"#let x = 1; $a_b$ *b* _c_ `d` <e> & @f \g [h] 'i' \"j\" {k} // ~l~ </script>"
WIDTHS = (100, 500, 1000, 2000)
LETTERS = tuple("ABCDEFGHIJ")
MAP_VALUES = ((0.91, 0.935), (None, 0.96))
BY_CLASS = ((0.9, 0.01), (0.88, 0.01), (0.91, 0.01))  # accuracy, low and high of class 0, and the step to the next


def demonstration() -> Document:
    return Document(
        "Ten letters, one hidden layer",
        "Hidden units and early stopping on the built-in letters",
        (
            Note("All figures are means over 3 seeds, with 95 % intervals, unless something else is said."),
            Note("Choices were made on *validation* figures only; see [section:1.4.1].", "warning"),
        ),
        (
            Section("0", "Set-up", (Paragraph("Python 3.11, NumPy 2.4, one machine."), Code(COMMANDS))),
            Section("0.1", "The data", data_blocks()),
            Section("1", "The network"),
            Section("1.2", "The derivation", derivation_blocks()),
            Section("1.4", "Hyperparameters"),
            Section("1.4.1", "Hidden units", hidden_blocks()),
            Section("1.4.2", "Early stopping", stopping_blocks()),
            Section("A", f"Names that are markup elsewhere: {NASTY}", nasty_blocks()),
        ),
        banner="Quick form: 2 seeds, 30 epochs; figures here are not the write-up's.",
    )


COMMANDS = """
chalknet writeup --data glyphs --seeds 3 --out runs/writeup
chalknet report runs/study   # the same document from a study that is there already
"""


def data_blocks():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 28, 28)).astype(np.uint8)
    data = dataset_from_arrays(images, np.arange(40) % 10, LETTERS)
    rows = tuple(
        (part, str(n), *(str(n // 10 + k) for k in range(10)))
        for part, n in (("training", 15_000), ("validation", 1_000), ("test", 2_724))
    )
    return (
        Paragraph(
            "The set is `glyphs`: 18,724 images of 28 x 28 pixels, drawn as in [figure:samples]; [table:data] counts."
        ),
        TableBlock("data", Table("Samples of each class in each part", ("", "samples", *LETTERS), rows)),
        ImageBlock(
            "samples",
            drawing_bytes(show_images(data), "png"),
            "Ten training images with their letters.",
            "Two rows of five gray images, each under its letter.",
        ),
    )


def derivation_blocks():
    text = "A batch $x$ meets $W_h$ and $b_h$; the loss $L$ is $L2$, and $dL/dW_h$ follows from $N3$ by *a rule*."
    note = "gradient check: relative gap 1.2e-10"
    return (Paragraph(text), *(FormulaBlock(label, note if label in ("N2", "N3") else "") for label in FORMULAS))


def epochs_of(units: int, seed: int) -> tuple[float, ...]:
    rate = 0.02 + units / 40_000
    noise = np.random.default_rng([units, seed]).normal(0, 0.03, 60)
    return tuple(2.3 * math.exp(-rate * e) + 0.3 + 0.001 * e * rate * 20 + float(noise[e]) for e in range(60))


def hidden_blocks():
    epochs = tuple(float(e) for e in range(1, 61))
    panels, means, finals = [], [], []
    for units in WIDTHS:
        curves = []
        for at, part in enumerate(("training", "validation", "test")):
            seeds = np.array([epochs_of(units, seed + 10 * at) for seed in range(3)]) + 0.12 * at
            mean, low, high = (tuple(map(float, f(axis=0))) for f in (seeds.mean, seeds.min, seeds.max))
            curves.append(Curve(part, epochs, mean, low, high))
            if part == "test":
                means.append(mean[-1])
                finals.append(tuple(map(float, seeds[:, -1])))
        panels.append(
            Panel(f"{units} units", "epoch", "cross-entropy (nats)", tuple(curves), marks=(Mark(42, "stop", 38, 47),))
        )
    x = tuple(map(float, WIDTHS))
    seeds = Curve("a seed", tuple(u for u in x for _ in range(3)), tuple(v for f in finals for v in f), style="points")
    mean = Curve(
        "mean, 95 % interval", x, tuple(means), tuple(m - 0.05 for m in means), tuple(m + 0.05 for m in means), "points"
    )
    widths = Panel(
        "", "hidden units", "test loss (nats)", (seeds, mean), x_scale="log", marks=(Mark(0.62, "original", axis="y"),)
    )
    by_class = [tuple(start + step * k for k in range(10)) for start, step in ((0.0, 1.0), *BY_CLASS)]
    counts = tuple(tuple(250 + 3 * r if r == c else (r * c) % 7 for c in range(10)) for r in range(10))
    return (
        Paragraph("The original's table first, then a comparison with intervals."),
        TableBlock(
            "configurations",
            Table(
                "Four widths after 60 epochs",
                ("hidden units", "train loss", "valid loss", "test loss", "test accuracy", "seconds"),
                tuple(
                    (f"{u}", "0.0182", "0.3018", f"{m:.4f}", "95.70 ± 0.31 %", "52.2")
                    for u, m in zip(WIDTHS, means, strict=True)
                ),
            ),
            "Means over three seeds; the chosen row is marked. The loss is $L2$.",
            highlight=(3,),
        ),
        FigureBlock(
            "curves",
            Figure("", tuple(panels), columns=2, legend="shared", same_y=True),
            "Loss by epoch, a panel for each width: mean of three seeds, with the least and the largest.",
            "Four panels. In each the three curves fall steeply for 40 epochs and then hardly any more.",
        ),
        FigureBlock("widths", Figure("", (widths,)), "Test loss by width.", "Loss falls from 100 to 1000 units."),
        Findings(
            (
                "2000 units beat 100 by **2.4 points** (95 % interval 1.6 to 3.2).",
                "500, 1000 and 2000 units *do not differ significantly*: at most by 0.5 points, interval -0.4 to 1.3.",
            )
        ),
        FigureBlock(
            "confusion",
            Figure("", (Matrix("", "predicted letter", "true letter", LETTERS, LETTERS, counts),)),
            "Test images by true and predicted letter; shades go by square roots.",
            "A matrix with nearly all counts on its diagonal.",
        ),
        FigureBlock(
            "map",
            Figure("", (HeatMap("", "learning rate", "hidden units", ("100", "500"), ("0.01", "0.1"), MAP_VALUES),)),
            "Mean accuracy in percent by hidden units and learning rate.",
            "Accuracy rises with the hidden units; one combination is missing.",
        ),
        FigureBlock(
            "classes",
            Figure("", (Panel("", "", "accuracy", (Curve("", *by_class, "points"),), x_names=LETTERS),)),
            "Accuracy of each class with Wilson's interval.",
            "From 90 % for A to 99 % for J.",
        ),
    )


OVER_FITTING = "the validation loss rises after its minimum by more than its interval, while training goes on"


def stopping_blocks():
    rows = tuple((f"{e}", f"{2.3 / e:.4f}", f"{2.4 / e:.4f}", f"{1 - 0.8 / e:.2%}") for e in range(1, 61))
    many = tuple((f"{u} units", *(f"{(u * k) % 97 / 97:.3f}" for k in range(1, 27))) for u in WIDTHS)
    return (
        TableBlock(
            "epochs",
            Table("Every epoch of the chosen configuration", ("epoch", "train loss", "valid loss", "accuracy"), rows),
        ),
        TableBlock(
            "classes",
            Table("Accuracy of 26 classes", ("", *(f"class {k}" for k in range(1, 27))), many),
            "A table that is too wide for a page.",
        ),
        TableBlock(
            "rules",
            Table(
                "", ("rule", "what it says", "here"), (("over-fitting", OVER_FITTING, "yes"), ("convergence", "", "44"))
            ),
            "Rules in words.",
        ),
    )


def nasty_blocks():
    foreign = "日本語, עברית, العربية, ไทย, Ελληνικά, Кириллица, 𝒜, 😀"
    longest = "x" * 150
    curves = (Curve("$\\frac", (1.0, 2.0), (3.0, 1e-3)), Curve("_b", (1.0, 2.0), (2.0, 1.0)))
    points = Curve("a", (0.0, 1.0), (1.0, 2.0), style="points")
    panels = (
        Panel(NASTY[:30], "$x", "50 %", curves, y_scale="log"),
        Panel("日本語", "class", "", (points,), x_names=("$\\x", "a very long name of a class")),
    )
    return (
        Paragraph(f"As text: {escape(NASTY)}. As code: {code(NASTY)}. As it is: {NASTY}"),
        Paragraph(f"Foreign: {escape(foreign)}. Long: {longest} and {code(longest)}."),
        Paragraph("References that lead nowhere stay as typed: [figure:nowhere], $nothing$, 5 * 3 * 2, $5 and $6."),
        Note(escape(NASTY)),
        Code(NASTY + "\n    indented\n" + longest),
        Findings((escape(NASTY), escape(foreign))),
        TableBlock(
            "nasty", Table(NASTY, ("", NASTY), ((NASTY, "1"), (foreign, "2"), (longest, longest))), escape(NASTY)
        ),
        FigureBlock("nasty", Figure(NASTY, panels), escape(NASTY), NASTY),
    )
