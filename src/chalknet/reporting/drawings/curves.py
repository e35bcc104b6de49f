"""Figures as pictures: curves with bands and points, small multiples, matrices, on white paper or for a dark page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.artifacts.atomic import write_bytes
from chalknet.records import EpochRecord
from chalknet.reporting.drawings.picture import drawing_bytes, drawing_type, file_kind
from chalknet.reporting.drawings.theme import LIGHT, Theme
from chalknet.reporting.figures import Curve, Figure, Mark, Matrix, Panel, learning_curves

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Drawing

    from chalknet.training.trainer import Run

LETTER_WIDTH = 0.6  # of a letter, in its height, on average and with room to spare
PANEL_WIDTH, PANEL_HEIGHT = 5.2, 4.0  # inches, of a picture that stands by itself
PAGE_FONT_SIZE = 8.0  # of a picture that is shown at its own size within a page
LONG_NAME = 6  # names along an axis that are longer stand upright


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
    history = run if isinstance(run, Sequence) else run.history
    kind = None if path is None else file_kind(path)
    drawing = draw(learning_curves(history, title))
    if path is not None and kind is not None:
        write_bytes(Path(path), drawing_bytes(drawing, kind))
    return drawing


def draw(figure: Figure, theme: Theme = LIGHT, width: float | None = None) -> Drawing:
    """A figure's panels in their grid, each with its lines and names.

    Args:
        theme: the colors; a drawing in `DARK` has no background of its own.
        width: of the whole picture in inches, with letters for being shown at that size; by default each panel has its
            full size and the picture is as wide as it gets.
    """
    from matplotlib import rc_context

    columns = figure.columns or len(figure.panels)
    rows = math.ceil(len(figure.panels) / columns)
    with rc_context(_settings(theme, width)):
        drawing = drawing_type()(figsize=_size(figure, rows, columns, width), layout="constrained")
        drawing.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
        drawing.patch.set_visible(theme.paper is not None)
        places = drawing.subplots(rows, columns, squeeze=False, sharex=figure.same_x, sharey=figure.same_y).ravel()
        for axes, panel in zip(places, figure.panels, strict=False):
            if isinstance(panel, Matrix):
                _draw_matrix(axes, panel, theme)
            else:
                _draw_panel(axes, panel, theme, _palette(figure))
        for axes in places[len(figure.panels) :]:
            axes.set_axis_off()
        if figure.same_y:
            for axes in [axes for at, axes in enumerate(places) if at % columns]:
                axes.set_ylabel("")  # it says what the first of its row says
        _name(drawing, figure, list(places[: len(figure.panels)]), theme.back)
    return drawing


def _settings(theme: Theme, width: float | None) -> Any:
    """matplotlib's settings while one figure is drawn; a picture by itself keeps the sizes that its reader has set."""
    sizes = {
        "font.size": PAGE_FONT_SIZE,
        "axes.titlesize": PAGE_FONT_SIZE * 1.1,
        "axes.labelsize": PAGE_FONT_SIZE,
        "axes.linewidth": 0.65,
        "figure.titlesize": PAGE_FONT_SIZE * 1.2,
        "legend.fontsize": PAGE_FONT_SIZE * 0.95,
        "xtick.labelsize": PAGE_FONT_SIZE * 0.95,
        "ytick.labelsize": PAGE_FONT_SIZE * 0.95,
    }
    return {
        **(sizes if width is not None else {}),
        "figure.facecolor": theme.paper or "none",
        "axes.facecolor": theme.paper or "none",
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), theme.ink),
        "axes.titlecolor": theme.ink,
        "text.parse_math": False,  # names come from data: a $ in one begins no formula
        "text.usetex": False,
    }


def _size(figure: Figure, rows: int, columns: int, width: float | None) -> tuple[float, float]:
    if width is None:
        return PANEL_WIDTH * columns, PANEL_HEIGHT * rows
    panel = width / columns
    matrix = any(isinstance(panel, Matrix) for panel in figure.panels)
    height = panel * (0.85 if matrix else 0.75 if columns > 1 else 0.56)
    return width, max(height, 1.7) * rows + 0.3 * bool(figure.title) + 0.25 * (figure.legend == "shared")


def _palette(figure: Figure) -> dict[str, int]:
    """Label -> its place in the palette, in the order in which labels first appear."""
    labels = [curve.label for panel in figure.panels if isinstance(panel, Panel) for curve in panel.curves]
    return {label: place for place, label in enumerate(dict.fromkeys(label for label in labels if label))}


def _fitting(axes: Axes, title: str) -> str:
    """A panel's title in as many lines as its column needs: long ones would run into those beside them."""
    from matplotlib.figure import Figure as Drawing

    place, drawing = axes.get_subplotspec(), axes.get_figure()
    if place is None or not isinstance(drawing, Drawing):
        return title
    points = 72 * drawing.get_figwidth() / place.get_gridspec().ncols
    letters = int(points / (LETTER_WIDTH * float(axes.title.get_fontsize())))
    return textwrap.fill(title, max(letters, 8))


def _draw_panel(axes: Axes, panel: Panel, theme: Theme, palette: dict[str, int]) -> None:
    for place, curve in enumerate(panel.curves):
        chosen = palette.get(curve.label, place) if curve.color is None else curve.color
        _draw_curve(axes, curve, *theme.style(chosen))
    for mark in panel.marks:
        _draw_mark(axes, mark, theme)
    axes.set(title=_fitting(axes, panel.title), xlabel=panel.x_label, ylabel=panel.y_label)
    _scale(axes, panel)
    axes.grid(True, color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, curve: Curve, color: str, dashes: str) -> None:
    label = curve.label or "_none"  # matplotlib leaves names with an underscore out of legends
    if curve.style == "points":
        _draw_points(axes, curve, label, color)
        return
    marker = "o" if len(curve.x) == 1 else None  # a single epoch is a point, which a line would not show
    axes.plot(curve.x, curve.y, label=label, color=color, linestyle=dashes, linewidth=1.6, marker=marker)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.22, linewidth=0)


def _draw_points(axes: Axes, curve: Curve, label: str, color: str) -> None:
    if curve.low is None or curve.high is None:
        axes.plot(
            curve.x, curve.y, "o", label=label, color=color, markersize=3.4, alpha=0.7, markeredgewidth=0, zorder=4
        )
        return
    below = [y - low for y, low in zip(curve.y, curve.low, strict=True)]
    above = [high - y for y, high in zip(curve.y, curve.high, strict=True)]
    lengths = [[max(length, 0.0) for length in lengths] for lengths in (below, above)]
    axes.errorbar(curve.x, curve.y, lengths, fmt="s", label=label, color=color, markersize=4.5, capsize=3)


def _draw_mark(axes: Axes, mark: Mark, theme: Theme) -> None:
    line, shade = (axes.axvline, axes.axvspan) if mark.axis == "x" else (axes.axhline, axes.axhspan)
    if mark.low is not None and mark.high is not None:
        shade(mark.low, mark.high, color=theme.mark, alpha=0.16, linewidth=0)
    line(mark.at, color=theme.mark, linewidth=1.1, linestyle=(0, (4, 2)), label=mark.label or "_none")


def _scale(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    if panel.y_scale == "log":
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    if panel.x_names:
        _name_places(axes, panel.x_names)
        return
    values = sorted({x for curve in panel.curves for x in curve.x})
    if panel.x_scale == "log":
        axes.set_xscale("log")
        _ticks_at_values(axes, values)
    elif all(x == round(x) for x in values):
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10]))
    if values == [1.0]:
        axes.set_xlim(0, 2)  # around a single point the axis would be cut finer than epochs are


def _name_places(axes: Axes, names: Sequence[str]) -> None:
    upright = max(map(len, names)) > LONG_NAME
    axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90 if upright else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _ticks_at_values(axes: Axes, values: Sequence[float]) -> None:
    """Few values on a logarithmic axis are named themselves: 100, 500, 1000, 2000 and not 100, 1000."""
    from matplotlib.ticker import NullLocator

    _plain_numbers(axes.xaxis)
    if len(values) <= 8:
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())


def _plain_numbers(axis: Axis) -> None:
    """0.01 and 100 on a logarithmic axis, not powers of ten; within one power of ten, some values between too."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def _draw_matrix(axes: Axes, matrix: Matrix, theme: Theme) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    most = max((count for row in matrix.counts for count in row), default=0) or 1
    # By square roots, so that a few mistakes are seen beside many right answers.
    shares = [[math.sqrt(count / most) for count in row] for row in matrix.counts]
    colors = LinearSegmentedColormap.from_list("chalknet", theme.shades)
    axes.imshow(shares, cmap=colors, vmin=0, vmax=1, aspect="auto")
    for row, counts in enumerate(matrix.counts):
        for column, count in enumerate(counts):
            ink = theme.ink if shares[row][column] < 0.6 else theme.paper or "#000000"
            shown = f"{count}" if count else "·"
            axes.text(column, row, shown, ha="center", va="center", color=ink, fontsize="small")
    axes.set_xticks(range(len(matrix.column_names)), [_short(name) for name in matrix.column_names])
    if max(map(len, matrix.column_names), default=0) > LONG_NAME:
        axes.tick_params(axis="x", rotation=90)
    axes.set_yticks(range(len(matrix.row_names)), [_short(name) for name in matrix.row_names])
    axes.set(title=matrix.title, xlabel=matrix.x_label, ylabel=matrix.y_label)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _name(drawing: Drawing, figure: Figure, places: list[Axes], back: str) -> None:
    """Title and legends."""
    if figure.title:
        drawing.suptitle(figure.title)
    entries = {axes: _entries(axes, panel) for axes, panel in zip(places, figure.panels, strict=True)}
    if figure.legend == "shared":
        together = {label: handle for found in entries.values() for label, handle in found.items()}
        if together:
            drawing.legend(
                together.values(), together, loc="outside upper center", ncols=min(len(together), 5), frameon=False
            )
    elif figure.legend == "panels":
        for axes, found in entries.items():
            if found:
                axes.legend(found.values(), found, facecolor=back, edgecolor="none", framealpha=0.8)


def _entries(axes: Axes, panel: Panel | Matrix) -> dict[str, Artist]:
    """Legend of a panel: label -> what is drawn, in the panel's own order, which matplotlib's is not."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    if isinstance(panel, Matrix):
        return {}
    wanted = [curve.label for curve in panel.curves] + [mark.label for mark in panel.marks]
    return {label: drawn[label] for label in wanted if label in drawn}


def _short(name: str, longest: int = 18) -> str:
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
