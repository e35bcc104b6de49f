"""The letters A to J as a person draws them with a mouse: 30 drawings, three of each letter.

The paths were written down from how printed capitals are drawn by hand, before any network read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Path = list[tuple[float, float]]


@dataclass(frozen=True)
class Writer:
    """How one person draws: place and size on the canvas, slant, width of the pen and shaking."""

    left: float
    top: float
    width: float
    height: float
    slant: float
    pen: int
    shake: float


# Fractions of the canvas; the pen in units of 256.
WRITERS = (
    Writer(0.22, 0.15, 0.55, 0.68, 0.0, 18, 0.006),  # large, in the middle
    Writer(0.08, 0.10, 0.33, 0.42, 0.10, 9, 0.010),  # small and slanted, in the upper left, with a thin pen
    Writer(0.40, 0.30, 0.46, 0.62, -0.04, 30, 0.008),  # in the lower right, with a thick pen
)


def line(*points: tuple[float, float]) -> Path:
    """A line with corners, as points at equal distances."""
    found: Path = [points[0]]
    for a, b in pairwise(points):
        n = max(2, int(np.hypot(b[0] - a[0], b[1] - a[1]) * 9))
        found += [(a[0] + (b[0] - a[0]) * k / n, a[1] + (b[1] - a[1]) * k / n) for k in range(1, n + 1)]
    return found


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Path:
    """A part of an ellipse; angles in degrees, 0 to the right and 90 downward."""
    n = max(6, int(abs(stop - start) / 15))
    angles = np.deg2rad(np.linspace(start, stop, n))
    return [(float(x + rx * np.cos(angle)), float(y + ry * np.sin(angle))) for angle in angles]


STEM = line((0.08, 0), (0.08, 1))

# Strokes in a unit square, x to the right and y downward. Three ways to draw each letter.
LETTERS: dict[str, tuple[list[Path], list[Path], list[Path]]] = {
    "A": (
        [line((0.0, 1), (0.5, 0), (1.0, 1)), line((0.2, 0.62), (0.8, 0.62))],
        [line((0.5, 0), (0.05, 1)), line((0.5, 0), (0.95, 1)), line((0.18, 0.68), (0.84, 0.65))],
        [line((0.0, 1), (0.42, 0.02), (0.58, 0.02), (1.0, 1)), line((0.15, 0.58), (0.85, 0.6))],
    ),
    "B": (
        [
            STEM,
            line((0.08, 0), (0.5, 0)) + arc(0.5, 0.24, 0.32, 0.24, -90, 90) + line((0.5, 0.48), (0.08, 0.48)),
            line((0.08, 0.48), (0.55, 0.48)) + arc(0.55, 0.74, 0.38, 0.26, -90, 90) + line((0.55, 1), (0.08, 1)),
        ],
        [
            line((0.1, 1), (0.1, 0)) + arc(0.3, 0.25, 0.5, 0.25, -90, 90) + line((0.3, 0.5), (0.15, 0.5)),
            line((0.15, 0.5), (0.3, 0.5)) + arc(0.3, 0.75, 0.6, 0.25, -90, 90) + line((0.3, 1), (0.1, 1)),
        ],
        [
            STEM,
            line((0.0, 0), (0.45, 0)) + arc(0.45, 0.22, 0.38, 0.22, -90, 90) + line((0.45, 0.44), (0.1, 0.46)),
            line((0.1, 0.46), (0.5, 0.46)) + arc(0.5, 0.73, 0.45, 0.27, -90, 90) + line((0.5, 1), (0.0, 1)),
        ],
    ),
    "C": (
        [arc(0.55, 0.5, 0.5, 0.5, -50, -310)],
        [arc(0.6, 0.5, 0.6, 0.5, -65, -295)],
        [arc(0.52, 0.5, 0.5, 0.5, -35, -325)],
    ),
    "D": (
        [STEM, line((0.08, 0), (0.35, 0)) + arc(0.35, 0.5, 0.6, 0.5, -90, 90) + line((0.35, 1), (0.08, 1))],
        [line((0.1, 0), (0.1, 1)), arc(0.1, 0.5, 0.85, 0.5, -90, 90)],
        [line((0.08, 1), (0.08, 0), (0.45, 0)) + arc(0.45, 0.5, 0.52, 0.5, -90, 90) + line((0.45, 1), (0.0, 1))],
    ),
    "E": (
        [STEM, line((0.08, 0), (0.9, 0)), line((0.08, 0.5), (0.75, 0.5)), line((0.08, 1), (0.9, 1))],
        [line((0.9, 0.02), (0.1, 0), (0.1, 1), (0.95, 0.98)), line((0.1, 0.48), (0.7, 0.5))],
        [STEM, line((0.08, 0), (1.0, 0)), line((0.08, 0.46), (0.85, 0.46)), line((0.08, 1), (1.0, 1))],
    ),
    "F": (
        [STEM, line((0.08, 0), (0.9, 0)), line((0.08, 0.48), (0.75, 0.48))],
        [line((0.9, 0.02), (0.1, 0), (0.1, 1)), line((0.1, 0.45), (0.7, 0.47))],
        [STEM, line((0.0, 0), (1.0, 0)), line((0.08, 0.5), (0.8, 0.5))],
    ),
    "G": (
        [arc(0.52, 0.5, 0.5, 0.5, -50, -360) + line((1.02, 0.52), (0.6, 0.52))],
        [arc(0.55, 0.5, 0.52, 0.5, -55, -315) + line((0.92, 0.85), (0.92, 0.55), (0.55, 0.55))],
        [
            arc(0.5, 0.5, 0.5, 0.5, -40, -350) + line((0.99, 0.58), (0.99, 0.55), (0.55, 0.55)),
            line((0.99, 0.55), (0.99, 1)),
        ],
    ),
    "H": (
        [STEM, line((0.92, 0), (0.92, 1)), line((0.08, 0.5), (0.92, 0.5))],
        [line((0.1, 0), (0.06, 1)), line((0.95, 0.02), (0.92, 1)), line((0.08, 0.55), (0.93, 0.5))],
        [STEM, line((0.08, 0.47), (0.95, 0.47)), line((0.95, 0), (0.95, 1))],
    ),
    "I": (
        [line((0.5, 0), (0.5, 1))],
        [line((0.5, 0), (0.5, 1)), line((0.2, 0), (0.8, 0)), line((0.2, 1), (0.8, 1))],
        [line((0.52, 0), (0.49, 1))],
    ),
    "J": (
        [line((0.75, 0), (0.75, 0.7)) + arc(0.4, 0.7, 0.35, 0.3, 0, 170)],
        [line((0.35, 0), (1.0, 0)), line((0.72, 0), (0.72, 0.72)) + arc(0.38, 0.72, 0.34, 0.28, 0, 165)],
        [line((0.8, 0), (0.8, 0.65)) + arc(0.45, 0.65, 0.35, 0.35, 0, 150)],
    ),
}


def drawings() -> list[tuple[str, int, list[Path]]]:
    """Return each drawing as the letter, the width of the pen, and strokes in fractions of the canvas."""
    rng = np.random.default_rng(2)
    found = []
    for letter, ways in LETTERS.items():
        for strokes, writer in zip(ways, WRITERS, strict=True):
            found.append((letter, writer.pen, [_drawn(stroke, writer, rng) for stroke in strokes]))
    return found


def _drawn(stroke: Path, writer: Writer, rng: np.random.Generator) -> Path:
    """Return a stroke on the canvas, drawn with a slow shaking."""
    points = np.array(stroke)
    shaking = np.cumsum(rng.normal(0, 1, points.shape), axis=0)
    shaking = writer.shake * (shaking - shaking.mean(axis=0)) / max(1.0, np.abs(shaking).max() / 2)
    x = writer.left + writer.width * (points[:, 0] + writer.slant * (1 - points[:, 1])) + shaking[:, 0]
    y = writer.top + writer.height * points[:, 1] + shaking[:, 1]
    return [(float(a), float(b)) for a, b in np.clip(np.stack([x, y], axis=1), 0.01, 0.99)]
