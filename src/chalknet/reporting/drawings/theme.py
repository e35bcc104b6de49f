"""Colors and dashes of drawings, on white paper and on a dark page."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """The colors of one kind of page.

    Attributes:
        paper: background of the drawing; None for none, so that the page shows through.
        legend: background of a legend, which lies over curves.
        ink: letters and axes.
        grid: grid lines.
        mark: lines across a panel.
        curves: colors of curves (Okabe and Ito's palette, which color-blind readers can tell
            apart). Those with the most contrast on this page come first.
        shades: colors of the smallest and the largest value of a matrix.
    """

    paper: str | None
    legend: str
    ink: str
    grid: str
    mark: str
    curves: tuple[str, ...]
    shades: tuple[str, str]

    def style(self, index: int) -> tuple[str, str]:
        """Return color and dashes of the curve with this index in the palette."""
        return self.curves[index % len(self.curves)], DASHES[index % len(DASHES)]


# Dashes keep curves apart in black and white. There are 7 colors and 4 kinds of dashes, so the same
# pair returns only after 28 curves.
DASHES = ("-", "--", "-.", ":")
# Lines across a panel, in the order of their labels: the second kind must not look like the first.
MARK_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"

LIGHT = Theme(
    paper="#ffffff",
    legend="#ffffff",
    ink="#000000",
    grid="#dddddd",
    mark="#555555",
    curves=(BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000"),
    shades=("#ffffff", BLUE),
)
DARK = Theme(
    paper=None,
    legend="#16181c",
    ink="#dcdfe4",
    grid="#3a3f47",
    mark="#a9b0ba",
    curves=(SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, "#ffffff"),
    shades=("#1b1e23", SKY),
)


# Placeholder colors, all different, for an SVG that is drawn once and painted for each kind of
# page.
TEMPLATE = Theme(
    paper="#fe0001",
    legend="#fe0002",
    ink="#fe0003",
    grid="#fe0004",
    mark="#fe0005",
    curves=tuple(f"#fe001{index}" for index in range(len(LIGHT.curves))),
    shades=("#fe0006", "#fe0007"),
)


def paint(svg: bytes, theme: Theme) -> bytes:
    """Return an SVG that was drawn with `TEMPLATE`, with the colors of a theme.

    Bitmaps within the SVG keep their colors, so a figure with shaded cells has to be drawn for each
    theme.
    """
    placeholders = (TEMPLATE.paper, TEMPLATE.legend, TEMPLATE.ink, TEMPLATE.grid, TEMPLATE.mark, *TEMPLATE.curves)
    wanted = (theme.paper or "none", theme.legend, theme.ink, theme.grid, theme.mark, *theme.curves)
    colors = {old: new.lower() for old, new in zip(placeholders, wanted, strict=True)}
    return re.sub(rb"#fe00[01][0-9]", lambda found: colors[found[0].decode()].encode(), svg)
