"""What drawings look like on white paper and on a dark page: colors and dashes."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colors of one kind of page.

    Attributes:
        paper: behind everything; None leaves it to the page. back: behind a legend, which lies over curves.
        ink: letters and axes. faint: lines of the grid. mark: lines across a panel.
        curves: Okabe and Ito's colors, told apart by color-blind readers, those that stand out on this page first.
        shades: from few to many of a matrix's counts.
    """

    paper: str | None
    back: str
    ink: str
    faint: str
    mark: str
    curves: tuple[str, ...]
    shades: tuple[str, str]

    def style(self, place: int) -> tuple[str, str]:
        """Color and dashes of the curve at that place of the palette."""
        return self.curves[place % len(self.curves)], DASHES[place % len(DASHES)]


# They keep curves apart in black and white too; 7 colors and 4 kinds of dashes repeat together only after 28 curves.
DASHES = ("-", "--", "-.", ":")

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"

LIGHT = Theme(
    paper="#ffffff",
    back="#ffffff",
    ink="#000000",
    faint="#dddddd",
    mark="#555555",
    curves=(BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000"),
    shades=("#ffffff", BLUE),
)
DARK = Theme(
    paper=None,
    back="#16181c",
    ink="#dcdfe4",
    faint="#3a3f47",
    mark="#a9b0ba",
    curves=(SKY, ORANGE, GREEN, PURPLE, YELLOW, VERMILION, "#ffffff"),
    shades=("#1b1e23", SKY),
)


# Distinct colors in place of a theme's, for an SVG that is drawn once and painted for each kind of page.
TEMPLATE = Theme(
    paper="#fe0001",
    back="#fe0002",
    ink="#fe0003",
    faint="#fe0004",
    mark="#fe0005",
    curves=tuple(f"#fe001{place}" for place in range(len(LIGHT.curves))),
    shades=("#fe0006", "#fe0007"),
)


def paint(svg: bytes, theme: Theme) -> bytes:
    """Return an SVG that was drawn with `TEMPLATE`, with the colors of a theme.

    Bitmaps within the SVG keep their colors, so a figure with shaded cells has to be drawn for each theme.
    """
    placeholders = (TEMPLATE.paper, TEMPLATE.back, TEMPLATE.ink, TEMPLATE.faint, TEMPLATE.mark, *TEMPLATE.curves)
    wanted = (theme.paper or "none", theme.back, theme.ink, theme.faint, theme.mark, *theme.curves)
    colors = {old: new.lower() for old, new in zip(placeholders, wanted, strict=True)}
    return re.sub(rb"#fe00[01][0-9]", lambda found: colors[found[0].decode()].encode(), svg)
