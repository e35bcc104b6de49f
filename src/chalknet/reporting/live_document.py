"""A page that follows a study or a training: its sections as plain data, which a page in a browser and a report show.

The sections have the blocks of a document. What a browser updates all the time, such as the bar of the
progress, is in the other fields of `LivePage`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chalknet.formatting import json_ready
from chalknet.reporting.document import Block, Document, FigureBlock, Section
from chalknet.reporting.document_view import ViewBuilder
from chalknet.reporting.figures import Curve, Figure, Panel

FORMAT = 1  # of the JSON
MAX_POINTS = 240  # of a curve in a browser; a panel is about so many pixels wide
DIGITS = 5  # of a value of a curve, which is more than can be seen


@dataclass(frozen=True)
class LiveSection:
    """Blocks under a heading.

    Attributes:
        name: in lower case; it stays the same while the page is updated.
        title: plain text.
        blocks: in their order.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class LivePage:
    """What a page shows at one moment.

    Attributes:
        title: plain text.
        subtitle: plain text below the title.
        phase: "waiting" before there is anything to show, "running", "interrupted" if nobody works on
            it, or "finished".
        headline: one sentence about the state, which a screen reader is told when it changes.
        parts: the parts of the progress bar with their sizes, such as ("done", 12).
        progress: what is done, in [0, 1], with the parts of runs that are not finished.
        progress_text: the same in words, such as "12 of 40 runs".
        seconds_left: an estimate; None if nothing is known.
        estimated_at: when it was made, in seconds since 1970.
        basis: how it was made, one sentence.
        again: the command that shows the page again when its server has ended; "" for none.
        sections: in their order.
    """

    title: str
    subtitle: str
    phase: str
    headline: str
    parts: tuple[tuple[str, int], ...] = ()
    progress: float | None = None
    progress_text: str = ""
    seconds_left: float | None = None
    estimated_at: float = 0.0
    basis: str = ""
    again: str = ""
    sections: tuple[LiveSection, ...] = ()

    def json(self) -> str:
        """Return the page as JSON. Texts with markup are lists of spans."""
        document = Document(
            self.title,
            sections=tuple(Section(str(at), one.title, one.blocks) for at, one in enumerate(self.sections, 1)),
        )
        builder = _LiveBuilder(document, {})
        views = [
            {"name": one.name, "title": one.title, "blocks": [builder.block(block) for block in one.blocks]}
            for one in self.sections
        ]
        plain = {name: value for name, value in vars(self).items() if name != "sections"}
        return json.dumps(
            json_ready({"format": FORMAT, **plain, "sections": views}),
            ensure_ascii=False,
            separators=(",", ":"),
            allow_nan=False,
        )


class _LiveBuilder(ViewBuilder):
    """Builds the view of a page: a figure is its data, which the browser draws."""

    def figure(self, block: Any) -> dict[str, Any]:
        """Return a figure with its data."""
        assert isinstance(block, FigureBlock), "a live page has no bitmaps"
        return {**self.named("figure", block), "alt": block.alt, "figure": figure_data(block.figure)}


def figure_data(figure: Figure) -> dict[str, Any]:
    """Return a figure as dictionaries for a browser: at most `MAX_POINTS` points per curve, rounded."""
    plain: dict[str, Any] = {"same_x": figure.same_x, "same_y": figure.same_y, "panels": []}
    for panel in figure.panels:
        if isinstance(panel, Panel):
            curves = tuple(_rounded(_thinned(curve)) for curve in panel.curves)
            data = {**asdict(replace(panel, curves=curves)), "kind": "panel", "is_accuracy": panel.shows_accuracy}
        else:
            data = {**asdict(panel), "kind": type(panel).__name__.lower()}
        plain["panels"].append(data)
    return plain


def _thinned(curve: Curve) -> Curve:
    """Return a line with at most `MAX_POINTS` points: of each stretch the lowest and the highest, and both ends."""
    n = len(curve.x)
    if curve.style != "line" or n <= MAX_POINTS:
        return curve
    kept = {0, n - 1}
    n_stretches = (MAX_POINTS - 2) // 2
    for stretch in range(n_stretches):
        places = range(stretch * n // n_stretches, (stretch + 1) * n // n_stretches)
        kept |= {min(places, key=curve.y.__getitem__), max(places, key=curve.y.__getitem__)}
    order = sorted(kept)

    def at_these(values: Sequence[float] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(values[place] for place in order)

    x, y = at_these(curve.x), at_these(curve.y)
    assert x is not None, "a curve has points"
    assert y is not None, "a curve has values"
    return replace(curve, x=x, y=y, low=at_these(curve.low), high=at_these(curve.high))


def _rounded(curve: Curve) -> Curve:
    def short(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(float(f"{value:.{DIGITS}g}") for value in values)

    low, high = (None if values is None else short(values) for values in (curve.low, curve.high))
    return replace(curve, y=short(curve.y), low=low, high=high)
