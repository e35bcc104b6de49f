"""Parts of the HTML by which notebooks show results: tables, small curves, pictures, bars, the next step.

Everything is self-contained. Text has the color of the notebook, and other colors have enough contrast on white and on
black, so that one form suits light and dark notebooks. All texts are escaped.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from chalknet.formatting import count_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROWS = 12  # of a table; more rows are counted
MAX_POINTS = 200  # of a curve
COLORS = ("#3b7dd8", "#d0671f", "#2f9e6e", "#a05bc4")  # a contrast of at least 3 to white and to #111
WIDTH, HEIGHT, MARGIN = 260, 130, 34  # of a panel of curves, in pixels
CELL = "padding:.15em .7em;border:0;border-bottom:1px solid #8886;background:none"


def view(title: str, *parts: str, next_step: str = "") -> str:
    """Return the whole HTML of a result.

    Args:
        title: what it is, such as "Run 784-32-10".
        *parts: the results of other functions of this module.
        next_step: a line of Python that a reader may want to run next; "" for none.
    """
    after = f'<div style="margin-top:.5em">Next: {code(next_step)}</div>' if next_step else ""
    head = f'<div style="font-weight:600;margin-bottom:.4em">{escape(title)}</div>'
    return f'<div class="chalknet-view" style="color:inherit;font-size:13px">{head}{"".join(parts)}{after}</div>'


def code(line: str) -> str:
    """Return a line of Python."""
    return f'<code style="background:#8882;color:inherit;padding:.1em .3em">{escape(line)}</code>'


def text(sentence: str) -> str:
    """Return a sentence."""
    return f'<div style="max-width:46em">{escape(sentence)}</div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values, one pair per line."""
    cells = "".join(
        f'<tr style="background:none"><th scope="row" style="{CELL};text-align:left;font-weight:normal;opacity:.75">'
        f'{escape(name)}</th><td style="{CELL};text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table style="border-collapse:collapse;margin:0 0 .6em 0;color:inherit"><tbody>{cells}</tbody></table>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], noun: str = "row") -> str:
    """Return a table whose first column is aligned left; of more than `MAX_ROWS` rows the others are counted."""
    every = list(rows)
    aligned = ["left", *["right"] * (len(columns) - 1)]
    heads = "".join(
        f'<th scope="col" style="{CELL};text-align:{side}">{escape(name)}</th>'
        for name, side in zip(columns, aligned, strict=True)
    )
    lines = "".join(
        '<tr style="background:none">'
        + "".join(
            f'<td style="{CELL};text-align:{side}">{escape(cell)}</td>' for cell, side in zip(row, aligned, strict=True)
        )
        + "</tr>"
        for row in every[:MAX_ROWS]
    )
    rest = len(every) - MAX_ROWS
    more = f'<div style="opacity:.75">and {count_of(rest, f"more {noun}")}</div>' if rest > 0 else ""
    return (
        '<div style="overflow-x:auto;margin:0 0 .6em 0"><table style="border-collapse:collapse;color:inherit">'
        f'<thead><tr style="background:none">{heads}</tr></thead><tbody>{lines}</tbody></table>{more}</div>'
    )


def side_by_side(*parts: str) -> str:
    """Return parts in one line, or in several where the notebook is narrow."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(parts)}</div>'


def curves(title: str, x_label: str, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Return a panel of curves as SVG, with the ends of both axes and a legend.

    Args:
        title: text above the panel.
        x_label: name of the horizontal axis.
        lines: label -> (x, y). Points that are not finite are left out.
    """
    points = {
        label: [pair for pair in zip(x, y, strict=True) if all(map(math.isfinite, pair))]
        for label, (x, y) in lines.items()
    }
    every = [pair for found in points.values() for pair in found]
    if not every:
        return ""
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*every, strict=True))
    across, up = right - left or 1.0, high - low or 1.0
    drawn = []
    for (label, found), color in zip(points.items(), COLORS * len(points), strict=False):
        thinned = found[:: max(1, len(found) // MAX_POINTS)]
        path = " ".join(
            f"{MARGIN + (x - left) / across * WIDTH:.1f},{14 + (1 - (y - low) / up) * HEIGHT:.1f}" for x, y in thinned
        )
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"><title>{escape(label)}</title>'
            "</polyline>"
        )
    bottom = HEIGHT + 14
    texts = [
        (MARGIN - 4, 20, "end", _short(high)),
        (MARGIN - 4, bottom, "end", _short(low)),
        (MARGIN, bottom + 14, "start", _short(left)),
        (MARGIN + WIDTH, bottom + 14, "end", _short(right)),
        (MARGIN + WIDTH / 2, bottom + 14, "middle", escape(x_label)),
    ]
    labels = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="11" fill="currentColor">{label}</text>'
        for x, y, anchor, label in texts
    )
    axes = f'<path d="M{MARGIN} 14V{bottom}H{MARGIN + WIDTH}" fill="none" stroke="currentColor" opacity=".5"/>'
    size = f'width="{WIDTH + MARGIN + 8}" height="{bottom + 20}"'
    alt = escape(f"{title}: {', '.join(lines)} by {x_label}")
    legend = " ".join(
        f'<span style="color:{color}">&#9644;</span> {escape(label)}'
        for label, color in zip(lines, COLORS * len(lines), strict=False)
    )
    picture = f'<svg {size} role="img" aria-label="{alt}" style="color:inherit">{axes}{"".join(drawn)}{labels}</svg>'
    return f'<div><div>{escape(title)}</div>{picture}<div style="font-size:12px">{legend}</div></div>'


def pictures(images: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Return small images, each with a title.

    Args:
        images: title and (H, W) or (H, W, 3) uint8 pixels.
    """
    from PIL import Image

    parts = []
    for title, pixels in images:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        parts.append(
            '<figure style="margin:0;text-align:center">'
            f'<img src="{address}" alt="" width="44" style="image-rendering:pixelated;border:1px solid #8886">'
            f'<figcaption style="font-size:12px">{escape(title)}</figcaption></figure>'
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.5em;margin:0 0 .6em 0">{"".join(parts)}</div>'


def progress_bar(fraction: float, label: str) -> str:
    """Return a bar that is filled up to a fraction in [0, 1], and a text below it."""
    percent = 100 * min(max(fraction, 0.0), 1.0)
    return (
        f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent:.0f}" '
        'style="max-width:46em;color:inherit"><div style="height:8px;border-radius:4px;background:#8884">'
        f'<div style="height:8px;border-radius:4px;width:{percent:.1f}%;background:{COLORS[0]}"></div></div>'
        f'<div style="font-size:12px;white-space:pre-wrap">{escape(label)}</div></div>'
    )


def _short(value: float) -> str:
    """Return a number with three digits, or all of a whole number."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"
