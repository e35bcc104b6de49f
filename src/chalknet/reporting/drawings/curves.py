"""Draw figures with matplotlib: panels of curves, matrices and heat maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.artifacts.atomic import write_bytes
from chalknet.formatting import DASH
from chalknet.records import EpochRecord
from chalknet.reporting.drawings.picture import drawing_bytes, drawing_type, file_kind
from chalknet.reporting.drawings.theme import LIGHT, MARK_DASHES, Theme
from chalknet.reporting.figures import Curve, Figure, HeatMap, Mark, Matrix, Panel, learning_curves

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Drawing

    from chalknet.training.trainer import Run

LETTER_WIDTH = 0.6  # width of a letter in font sizes, on average and with room to spare
PANEL_WIDTH, PANEL_HEIGHT = 5.2, 4.0  # inches, of a panel in a picture of its own
MIN_PANEL_HEIGHT, MIN_WIDE_PANEL_HEIGHT = 1.35, 1.7  # inches, with three columns and with fewer
PAGE_FONT_SIZE = 8.0  # points, in a picture that a page shows at its own size
LONG_NAME = 6  # letters from which on the names along an axis are turned by 90 degrees
LONG_WORD = 14  # letters of the longest word up to which names of several words stand one word on a line
MAX_NAMED_TICKS = 8  # values that all have a tick of their own
MIN_TICK_GAP = 0.08  # smallest distance of such ticks, in lengths of the axis
JOINED_SHIFT = 4.0  # points between the error bars of neighboring curves
FEW_VALUES_MARGIN = 0.6  # margin beside points at so many values, in lengths of the axis, times their number
MAX_LINEAR_CLASSES = 3  # classes up to which the shades of a matrix are proportional to its counts


def plot_curves(run: Run | Sequence[EpochRecord], path: str | Path | None = None, title: str = "") -> Drawing:
    """Plot loss and accuracy after each epoch, with one curve per split.

    Args:
        run: a `Run`, or its history.
        path: where to save the picture too; .png, .svg or .pdf.
        title: text above the plots.

    Returns:
        A matplotlib Figure. A notebook shows it.

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
    """Draw all panels of a figure with their legends.

    Args:
        figure: what to draw.
        theme: the colors. A drawing in `DARK` has no background of its own.
        width: width of the whole picture in inches; letters have the size that fits a page. By
            default each panel has its full size, and the picture is as wide as that makes it.
    """
    from matplotlib import rc_context

    columns = figure.columns or len(figure.panels)
    rows = math.ceil(len(figure.panels) / columns)
    with rc_context(_settings(theme, width)):
        drawing = drawing_type()(figsize=_size(figure, rows, columns, width), layout="constrained")
        drawing.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]
        drawing.patch.set_visible(theme.paper is not None)
        grid = drawing.subplots(rows, columns, squeeze=False, sharex=figure.same_x, sharey=figure.same_y).ravel()
        axes = list(grid[: len(figure.panels)])
        for one, panel in zip(axes, figure.panels, strict=True):
            if isinstance(panel, Panel):
                _draw_panel(one, panel, theme, figure)
            else:
                _draw_grid(one, panel, theme)
        for one in grid[len(axes) :]:
            one.set_axis_off()
        _drop_repeated_labels(figure, axes, columns)
        _add_titles_and_legends(drawing, figure, axes, theme.legend)
    return drawing


def _settings(theme: Theme, width: float | None) -> Any:
    """Return the settings for one figure; without a width, the user's font sizes are kept."""
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
        "text.parse_math": False,  # names come from data: a $ in a name must not start a formula
        "text.usetex": False,
    }


def _size(figure: Figure, rows: int, columns: int, width: float | None) -> tuple[float, float]:
    """Return width and height of the whole picture in inches."""
    if width is None:
        return PANEL_WIDTH * columns, PANEL_HEIGHT * rows
    panel_width = width / columns
    if any(isinstance(panel, Matrix) for panel in figure.panels):
        ratio = 0.85
    elif any(isinstance(panel, HeatMap) for panel in figure.panels):
        ratio = 0.5
    else:
        ratio = 0.66 if columns > 1 else 0.5
    least = MIN_PANEL_HEIGHT if columns > 2 else MIN_WIDE_PANEL_HEIGHT
    height = max(panel_width * ratio, least) * rows
    return width, height + 0.3 * bool(figure.title) + 0.25 * (figure.legend == "shared")


def _color_indices(figure: Figure) -> dict[str, int]:
    """Return label -> index in the palette, in the order in which labels first appear."""
    labels = [curve.label for panel in figure.panels if isinstance(panel, Panel) for curve in panel.curves]
    return {label: index for index, label in enumerate(dict.fromkeys(label for label in labels if label))}


def _mark_indices(figure: Figure) -> dict[str, int]:
    """Return label of a mark -> index of its dashes, in the order in which labels first appear."""
    labels = [mark.label for panel in figure.panels if isinstance(panel, Panel) for mark in panel.marks]
    return {label: index for index, label in enumerate(dict.fromkeys(labels))}


def _wrapped_title(axes: Axes, title: str) -> str:
    """Return the title of a panel in as many lines as its column needs."""
    from matplotlib.figure import Figure as Drawing

    place, drawing = axes.get_subplotspec(), axes.get_figure()
    if place is None or not isinstance(drawing, Drawing):
        return title
    points = 72 * drawing.get_figwidth() / place.get_gridspec().ncols
    letters = max(int(points / (LETTER_WIDTH * float(axes.title.get_fontsize()))), 8)
    lines = len(textwrap.wrap(title, letters))
    # The narrowest width with as many lines leaves no single word on the last line.
    while letters > 8 and len(textwrap.wrap(title, letters - 1)) == lines:
        letters -= 1
    return textwrap.fill(title, letters)


def _draw_panel(axes: Axes, panel: Panel, theme: Theme, figure: Figure) -> None:
    colors, dashes = _color_indices(figure), _mark_indices(figure)
    for position, curve in enumerate(panel.curves):
        index = colors.get(curve.label, position) if curve.color is None else curve.color
        if curve.style == "joined":
            _draw_joined(axes, curve, *theme.style(index), JOINED_SHIFT * (position - (len(panel.curves) - 1) / 2))
        else:
            _draw_curve(axes, curve, *theme.style(index))
    for mark in panel.marks:
        _draw_mark(axes, mark, theme, MARK_DASHES[dashes[mark.label] % len(MARK_DASHES)])
    axes.set(title=_wrapped_title(axes, panel.title), xlabel=panel.x_label, ylabel=panel.y_label)
    _set_scales(axes, panel)
    axes.grid(True, color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(axes: Axes, curve: Curve, color: str, dashes: str) -> None:
    label = curve.label or "_none"  # matplotlib leaves labels that begin with an underscore out of legends
    if curve.style == "points":
        _draw_points(axes, curve, label, color)
        return
    marker = "o" if len(curve.x) == 1 else None  # a line through one point would be invisible
    axes.plot(curve.x, curve.y, label=label, color=color, linestyle=dashes, linewidth=1.6, marker=marker)
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.22, linewidth=0)


def _draw_points(axes: Axes, curve: Curve, label: str, color: str) -> None:
    if curve.low is None or curve.high is None:
        axes.plot(
            curve.x, curve.y, "o", label=label, color=color, markersize=3.4, alpha=0.7, markeredgewidth=0, zorder=4
        )
        return
    lengths = _error_lengths(curve, curve.low, curve.high)
    axes.errorbar(curve.x, curve.y, lengths, fmt="s", label=label, color=color, markersize=4.5, capsize=3)


def _draw_joined(axes: Axes, curve: Curve, color: str, dashes: str, shift: float) -> None:
    """Draw points joined by a line, shifted so many points to the side so that error bars lie apart."""
    from matplotlib.transforms import ScaledTranslation

    aside = ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    lengths = None if curve.low is None or curve.high is None else _error_lengths(curve, curve.low, curve.high)
    axes.errorbar(
        curve.x,
        curve.y,
        lengths,
        label=curve.label or "_none",
        color=color,
        linestyle=dashes,
        linewidth=1.2,
        marker="o",
        markersize=4.0,
        capsize=2.5,
        transform=axes.transData + aside,
    )
    # Only artists without a transform of their own count for the limits of the axes.
    low, high = (curve.y if ends is None else ends for ends in (curve.low, curve.high))
    axes.update_datalim([*zip(curve.x, low, strict=True), *zip(curve.x, high, strict=True)])
    axes.autoscale_view()


def _error_lengths(curve: Curve, low: Sequence[float], high: Sequence[float]) -> list[list[float]]:
    below = [max(y - end, 0.0) for y, end in zip(curve.y, low, strict=True)]
    above = [max(end - y, 0.0) for y, end in zip(curve.y, high, strict=True)]
    return [below, above]


def _draw_mark(axes: Axes, mark: Mark, theme: Theme, dashes: Any) -> None:
    line, shade = (axes.axvline, axes.axvspan) if mark.axis == "x" else (axes.axhline, axes.axhspan)
    if mark.low is not None and mark.high is not None:
        shade(mark.low, mark.high, color=theme.mark, alpha=0.16, linewidth=0)
    line(mark.at, color=theme.mark, linewidth=1.1, linestyle=dashes, label=mark.label or "_none")


def _set_scales(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if panel.y_scale == "log":
        axes.set_yscale("log")
        _use_plain_numbers(axes.yaxis)
    if panel.y_limits is not None:
        axes.set_ylim(*panel.y_limits)
    if panel.x_limits is not None:
        axes.set_xlim(*panel.x_limits)
    if panel.shows_accuracy:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    if panel.x_names:
        _set_category_ticks(axes, panel.x_names)
        return
    # With points, the first curve has the places of the others or lies beside them.
    shown = panel.curves[:1] if panel.curves and panel.curves[0].style == "points" else panel.curves
    values = sorted({x for curve in shown for x in curve.x})
    if panel.x_scale == "log":
        axes.set_xscale("log")
        _set_value_ticks(axes, values)
    elif all(curve.style != "line" for curve in panel.curves) and _are_apart(values):
        axes.set_xticks(values, [_number_text(value) for value in values])
        axes.set_xmargin(max(0.05, FEW_VALUES_MARGIN / len(values)))
    elif all(x == round(x) for x in values):
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10]))
    if values == [1.0]:
        axes.set_xlim(0, 2)  # by default the ticks around a single epoch would be fractions of an epoch


def _are_apart(values: Sequence[float]) -> bool:
    """Return whether sorted values are few and far apart, so that each can have a tick."""
    gaps = [after - before for before, after in pairwise(values)]
    return 0 < len(gaps) < MAX_NAMED_TICKS and min(gaps) >= MIN_TICK_GAP * (values[-1] - values[0])


def _number_text(value: float) -> str:
    """Return a tick: small numbers with three digits, others as they are."""
    return f"{value:.3g}" if abs(value) < 1 else f"{value:g}"


def _set_category_ticks(axes: Axes, names: Sequence[str]) -> None:
    words = [word for name in names for word in name.split()]
    if len(names) < len(words) and len(names) <= MAX_NAMED_TICKS and max(map(len, words)) <= LONG_WORD:
        axes.set_xticks(range(len(names)), ["\n".join(name.split()) for name in names])
    else:
        is_turned = max(map(len, names)) > LONG_NAME and len(names) > 2
        axes.set_xticks(range(len(names)), [_shortened(name) for name in names], rotation=90 if is_turned else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)


def _set_value_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Show few values on a logarithmic axis as they are: 100, 500, 1000, 2000 and not 100, 1000."""
    from matplotlib.ticker import NullLocator

    _use_plain_numbers(axes.xaxis)
    if len(values) <= MAX_NAMED_TICKS:
        axes.set_xticks(values, [_number_text(value) for value in values])
        axes.xaxis.set_minor_locator(NullLocator())


def _use_plain_numbers(axis: Axis) -> None:
    """Show 0.01 and 100 on a logarithmic axis in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    # Within one power of ten, some values between get a label too.
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def _draw_grid(axes: Axes, panel: Matrix | HeatMap, theme: Theme) -> None:
    """Draw a matrix or a heat map, with the value written into each cell."""
    from matplotlib.colors import LinearSegmentedColormap

    shades, texts = _count_cells(panel) if isinstance(panel, Matrix) else _fraction_cells(panel)
    colors = LinearSegmentedColormap.from_list("chalknet", theme.shades)
    axes.imshow(shades, cmap=colors, vmin=0, vmax=1, aspect="auto")
    for row, shown in enumerate(texts):
        for column, text in enumerate(shown):
            ink = theme.ink if shades[row][column] < 0.6 else theme.paper or "#000000"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize="small")
    axes.set_xticks(range(len(panel.column_names)), [_shortened(name) for name in panel.column_names])
    if max(map(len, panel.column_names), default=0) > LONG_NAME and len(panel.column_names) > LONG_NAME:
        axes.tick_params(axis="x", rotation=90)
    axes.set_yticks(range(len(panel.row_names)), [_shortened(name) for name in panel.row_names])
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _count_cells(matrix: Matrix) -> tuple[list[list[float]], list[list[str]]]:
    """Return the shade in [0, 1] and the text of each cell."""
    largest = max((count for row in matrix.counts for count in row), default=0) or 1
    # With many classes, square roots make a few mistakes visible beside many correct predictions.
    power = 0.5 if len(matrix.counts) > MAX_LINEAR_CLASSES else 1.0
    shades = [[(count / largest) ** power for count in row] for row in matrix.counts]
    return shades, [[f"{count}" if count else "·" for count in row] for row in matrix.counts]


def _fraction_cells(panel: HeatMap) -> tuple[list[list[float]], list[list[str]]]:
    """Return the shade in [0, 1] and the text of each cell; shades span the known values."""
    known = [value for row in panel.values for value in row if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    span = (high - low) or 1.0
    shades = [[0.0 if value is None else 0.08 + 0.92 * (value - low) / span for value in row] for row in panel.values]
    return shades, [[DASH if value is None else f"{100 * value:.1f}" for value in row] for row in panel.values]


def _drop_repeated_labels(figure: Figure, axes: Sequence[Axes], columns: int) -> None:
    """Remove the axis labels that a neighbor to the left or below repeats.

    matplotlib hides the numbers of such axes, and a label without numbers would be left. The lowest
    panel of each column keeps label and numbers, also where the last row is not full.
    """
    for index, one in enumerate(axes):
        if figure.same_y and index % columns:
            one.set_ylabel("")
        if figure.same_x:
            if index + columns < len(axes):
                one.set_xlabel("")
            else:
                one.tick_params(axis="x", labelbottom=True)


def _add_titles_and_legends(drawing: Drawing, figure: Figure, places: list[Axes], background: str) -> None:
    if figure.title:
        drawing.suptitle(figure.title)
    entries = {axes: _legend_entries(axes, panel) for axes, panel in zip(places, figure.panels, strict=True)}
    if figure.legend == "shared":
        shared = {label: handle for found in entries.values() for label, handle in found.items()}
        if shared:
            drawing.legend(
                shared.values(), shared, loc="outside upper center", ncols=min(len(shared), 5), frameon=False
            )
    elif figure.legend == "panels":
        for axes, found in entries.items():
            if found:
                axes.legend(found.values(), found, facecolor=background, edgecolor="none", framealpha=0.8)


def _legend_entries(axes: Axes, panel: Panel | Matrix | HeatMap) -> dict[str, Artist]:
    """Return label -> drawn object in the order of the panel, which matplotlib does not keep."""
    if not isinstance(panel, Panel):
        return {}
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    wanted = [curve.label for curve in panel.curves] + [mark.label for mark in panel.marks]
    return {label: drawn[label] for label in wanted if label in drawn}


def _shortened(name: str, limit: int = 18) -> str:
    """Return a name on one line, cut with an ellipsis where it is longer than the limit."""
    line = " ".join(name.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
