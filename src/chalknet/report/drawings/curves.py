"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chalknet.artifacts.atomic import write_bytes
from chalknet.records import EpochRecord
from chalknet.report.drawings.picture import drawing_bytes, file_kind
from chalknet.report.figures import Figure, Panel, learning_curves
from chalknet.training.trainer import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Okabe and Ito's colours, told apart by colour-blind readers; the dashes keep them apart in black and white too.
STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."))


def plot_curves(run: Run | Sequence[EpochRecord], path: str | Path | None = None, title: str = "") -> Drawing:
    """Loss and accuracy side by side, a curve each for training, validation and test.

    Args:
        run: a `Run`, or its history.
        path: where to write the picture too: .png, .svg or .pdf.
    Returns:
        a matplotlib Figure, which shows itself in a notebook.
    Raises:
        ConfigError: path has another ending.
        OutputError: path cannot be written.
    """
    history = run.history if isinstance(run, Run) else run
    kind = None if path is None else file_kind(path)
    drawing = draw(learning_curves(history, title))
    if path is not None and kind is not None:
        write_bytes(Path(path), drawing_bytes(drawing, kind))
    return drawing


def draw(figure: Figure) -> Drawing:
    """A figure's panels beside each other, each with grid and legend."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(5.2 * len(figure.panels), 4.0), layout="constrained")
    drawing.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
    if figure.title:
        drawing.suptitle(figure.title)
    for axes, panel in zip(drawing.subplots(1, len(figure.panels), squeeze=False)[0], figure.panels, strict=True):
        _draw_panel(axes, panel)
    return drawing


def _draw_panel(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve, (colour, dashes) in zip(panel.curves, STYLES, strict=False):
        marker = "o" if len(curve.x) == 1 else None  # a single epoch is a point, which a line would not show
        axes.plot(curve.x, curve.y, label=curve.label, color=colour, linestyle=dashes, linewidth=1.6, marker=marker)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    last = max(max(curve.x) for curve in panel.curves)
    if last == 1:
        axes.set_xlim(0, 2)  # around a single point the axis would be cut finer than epochs are
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(facecolor="white", edgecolor="none", framealpha=0.8)
    axes.spines[["top", "right"]].set_visible(False)
