"""What drawings look like on white paper and on a dark page: colors and dashes."""

from __future__ import annotations

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
THEMES = {"light": LIGHT, "dark": DARK}
