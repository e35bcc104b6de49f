"""Sheets of images: samples with their class as title, or a row of samples for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.atomic import write_bytes
from chalknet.data.dataset import Dataset, IntArray
from chalknet.errors import ConfigError, DataError
from chalknet.reporting.drawings.picture import drawing_bytes, drawing_type, file_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MAX_SIDE = 100  # rows or columns; beyond it a sheet is a wall
EMPTY = -1  # a place of the grid without an image

# All lengths are pixels at this resolution, so that every pixel of an image becomes a square of whole pixels.
DPI = 150
MARGIN = 24
LARGE, SMALL = 168, 84  # sides of an image: few columns, many columns
SHEET_WIDTH = 1000  # what images of the large size may fill before they become smaller
FRAME_GRAY = 153  # a solid white glyph needs an edge on white paper

POINT = DPI / 72
WIDE, CAPITAL, OTHER = 1.0, 0.75, 0.64  # widths of characters in font sizes; a little more than DejaVu Sans needs
LARGEST_FONT, SMALLEST_FONT = 11.0, 5.5
MAX_NAME = 16.0  # font sizes


def show_images(
    data: Dataset,
    rows: int | None = None,
    columns: int = 5,
    *,
    seed: int = 0,
    by_class: bool = False,
    titles: bool = True,
    indices: Sequence[int] | IntArray | None = None,
    path: str | Path | None = None,
) -> Drawing:
    """Images drawn at random, in gray, each with its class as title: the write-up's 2 x 5 sheet, or any other.

    Args:
        data: images (N, H, W). uint8 is shown on the scale 0 to 255; other values on 0 to 1 where they lie in there,
            else from the smallest to the largest.
        rows, columns: size of the grid; 2 x 5, or with by_class a row for each class, if rows is not given. Where there
            are fewer images than places, the grid is smaller.
        seed: of the draw; the same seed shows the same images.
        by_class: row r holds images of class r, named at its left.
        titles: whether classes are named.
        indices: the samples to draw from, such as `splits.train`; all of them if not given.
        path: where to write the picture too: .png, .svg or .pdf. Equal sheets are equal bytes.
    Returns:
        a matplotlib Figure, which shows itself in a notebook.
    Raises:
        DataError: data holds rows and not images, or there is none to draw from.
        ConfigError: a grid, seed, index or kind of file that cannot be meant.
        OutputError: path cannot be written.
    """
    kind = file_kind(path) if path is not None else None
    grid = choose_images(data, rows, columns, seed=seed, by_class=by_class, indices=indices)
    names = _class_titles(data, grid) if titles and not by_class else None
    heads = tuple(data.class_names[: len(grid)]) if titles and by_class else None
    drawing = draw_images(data, grid, titles=names, row_titles=heads)
    if path is not None and kind is not None:
        write_bytes(Path(path), drawing_bytes(drawing, kind))
    return drawing


def choose_images(
    data: Dataset,
    rows: int | None = None,
    columns: int = 5,
    *,
    seed: int = 0,
    by_class: bool = False,
    indices: Sequence[int] | IntArray | None = None,
) -> IntArray:
    """(rows, columns) samples drawn without replacement, `EMPTY` where there is none; see `show_images`."""
    if not data.is_images:
        raise DataError(f"{data.source}: holds rows of {data.n_inputs} values, which cannot be shown as images.")
    n_rows = (min(data.n_classes, MAX_SIDE) if by_class else 2) if rows is None else rows
    _check_grid(data, n_rows, columns, seed, by_class)
    pool = _pool(data, indices)
    rng = np.random.default_rng(seed)
    if by_class:
        grid = np.full((n_rows, columns), EMPTY, dtype=np.int64)
        for k in range(n_rows):
            members = rng.permutation(pool[data.labels[pool] == k])[:columns]
            grid[k, : len(members)] = members
        return grid
    return as_grid(rng.permutation(pool)[: n_rows * columns], columns)


def as_grid(samples: Sequence[int] | IntArray, columns: int) -> IntArray:
    """(rows, columns) samples in reading order, `EMPTY` after the last; no more columns than samples."""
    chosen = np.asarray(samples, dtype=np.int64)
    width = min(columns, len(chosen))
    filled = np.full(-(-len(chosen) // width) * width, EMPTY, dtype=np.int64)
    filled[: len(chosen)] = chosen
    return filled.reshape(-1, width)


def draw_images(
    data: Dataset,
    grid: IntArray,
    *,
    titles: Sequence[str] | None = None,
    row_titles: Sequence[str] | None = None,
    group: int | None = None,
) -> Drawing:
    """The sheet of these samples, laid out pixel by pixel.

    Args:
        grid: (rows, columns) samples, `EMPTY` for a free place.
        titles: one above each place, in reading order. row_titles: one at the left of each row.
        group: columns that belong together, such as the 2 of a pair; the groups stand further apart.
    """
    sheet = _Sheet.plan(data, grid, titles, row_titles, group or grid.shape[1])
    drawing = drawing_type()(figsize=(sheet.width / DPI, sheet.height / DPI), dpi=DPI, facecolor="white")
    axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    pixels = sheet.pixels(data, grid)
    extent = (0.0, float(sheet.width), float(sheet.height), 0.0)
    # As RGB, for a gray color map would round some values one down.
    axes.imshow(np.stack([pixels] * 3, axis=-1), interpolation="nearest", extent=extent, aspect="auto")
    # Class names are text: a $ in one begins no formula.
    style: dict[str, Any] = {"fontfamily": "DejaVu Sans", "fontsize": sheet.font, "color": "black", "parse_math": False}
    for at, title in enumerate(titles or ()):
        left, top = sheet.corner(*divmod(at, grid.shape[1]))
        x, y = left + sheet.cell[1] / 2, top - 0.45 * sheet.font * POINT
        axes.text(x, y, fitted(title, sheet.title_width), ha="center", va="baseline", **style)
    for row, title in enumerate(row_titles or ()):
        left, top = sheet.corner(row, 0)
        x, y = left - 0.8 * sheet.font * POINT, top + sheet.cell[0] / 2
        axes.text(x, y, fitted(title, MAX_NAME), ha="right", va="center_baseline", **style)
    return drawing


@dataclass(frozen=True)
class _Sheet:
    """Where everything is, in pixels from the upper left corner.

    Attributes:
        cell: height and width of an image as shown.
        step, zoom: step x step pixels of the image are averaged into one, and that is zoom x zoom pixels of the sheet.
        gap: between columns, and between an image and the title below it.
        font: size in points. title_width: what fits above an image, in font sizes.
        head_height: of a title. head_width: of the row titles. group: columns that belong together.
    """

    shape: tuple[int, int]
    cell: tuple[int, int]
    step: int
    zoom: int
    gap: int
    font: float
    title_width: float
    head_height: int
    head_width: int
    group: int

    @classmethod
    def plan(
        cls, data: Dataset, grid: IntArray, titles: Sequence[str] | None, row_titles: Sequence[str] | None, group: int
    ) -> _Sheet:
        rows, columns = grid.shape
        side = min(max(SHEET_WIDTH // columns, SMALL), LARGE)
        height, width = data.inputs.shape[1:]
        step = -(-max(height, width) // side)
        height, width = max(height // step, 1), max(width // step, 1)
        zoom = max(side // max(height, width), 1)
        cell = (height * zoom, width * zoom)
        gap = max(round(side * 0.12), 8)
        widest = max((min(text_width(name), MAX_NAME) for name in titles or ()), default=1.0)
        fits = (max(cell[1], side // 2) + gap / 2) / POINT  # font sizes of one point
        wanted = LARGEST_FONT if side == LARGE else 7.5
        font = min(wanted, max(fits / max(widest, 1.0), SMALLEST_FONT)) if titles else max(wanted, 9.0)
        name_width = max((min(text_width(name), MAX_NAME) for name in row_titles or ()), default=0.0)
        return cls(
            shape=(rows, columns),
            cell=cell,
            step=step,
            zoom=zoom,
            gap=gap,
            font=font,
            title_width=fits / font,
            head_height=round(1.45 * font * POINT) if titles else 0,
            head_width=round((name_width + 0.8) * font * POINT) if row_titles else 0,
            group=group,
        )

    @property
    def width(self) -> int:
        return self.corner(0, self.shape[1] - 1)[0] + self.cell[1] + MARGIN

    @property
    def height(self) -> int:
        rows = self.shape[0]
        # A title has some air above its letters; the margin there may be that much smaller.
        return 2 * MARGIN + rows * (self.head_height + self.cell[0]) + (rows - 1) * self.gap - self.head_height // 4

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """x and y of an image's upper left corner."""
        x = MARGIN + self.head_width + column * (self.cell[1] + self.gap) + column // self.group * 2 * self.gap
        y = MARGIN - self.head_height // 4 + row * (self.head_height + self.cell[0] + self.gap) + self.head_height
        return x, y

    def pixels(self, data: Dataset, grid: IntArray) -> NDArray[np.uint8]:
        """(height, width) the sheet without its letters."""
        paper = np.full((self.height, self.width), 255, dtype=np.uint8)
        low, high = _shown_range(data)
        for (row, column), sample in np.ndenumerate(grid):
            if sample != EMPTY:
                x, y = self.corner(row, column)
                paper[y - 1 : y + self.cell[0] + 1, x - 1 : x + self.cell[1] + 1] = FRAME_GRAY
                gray = _gray(data.inputs[sample], low, high, self.step)
                paper[y : y + self.cell[0], x : x + self.cell[1]] = gray.repeat(self.zoom, 0).repeat(self.zoom, 1)
        return paper


def _check_grid(data: Dataset, rows: int, columns: int, seed: int, by_class: bool) -> None:
    for name, value in (("rows", rows), ("columns", columns)):
        if not 1 <= value <= MAX_SIDE:
            raise ConfigError(f"{name} must be an integer from 1 to {MAX_SIDE}, got {value}.")
    if seed < 0:
        raise ConfigError(f"seed must be an integer >= 0, got {seed}.")
    if by_class and rows > data.n_classes:
        raise ConfigError(f"rows must be at most {data.n_classes}, one for each class, got {rows}.")


def _pool(data: Dataset, indices: Sequence[int] | IntArray | None) -> IntArray:
    """The samples to draw from."""
    pool = np.arange(len(data)) if indices is None else np.asarray(indices, dtype=np.int64)
    outside = pool[(pool < 0) | (pool >= len(data))]
    if outside.size:
        raise ConfigError(f"indices name sample {outside[0]}, but {data.source} has samples 0 to {len(data) - 1}.")
    if not pool.size:
        raise DataError(f"{data.source}: no images to show; the part of the data to draw from is empty.")
    return pool


def _class_titles(data: Dataset, grid: IntArray) -> list[str]:
    return ["" if sample == EMPTY else data.class_names[data.labels[sample]] for sample in grid.ravel()]


def text_width(text: str) -> float:
    """How wide a line of text is at most, in font sizes, near enough to lay out a sheet."""
    return sum(
        WIDE if c in "WMmw@%" or east_asian_width(c) in "WF" else CAPITAL if c.isupper() else OTHER for c in text
    )


def fitted(name: str, width: float) -> str:
    """name on one line, cut with an ellipsis where it is wider than that many font sizes."""
    line = " ".join(name.split())
    if text_width(line) <= width:
        return line
    while len(line) > 1 and text_width(line) + OTHER > width:
        line = line[:-1]
    return line.rstrip() + "…"


def _shown_range(data: Dataset) -> tuple[float, float]:
    """The values that are shown black and white."""
    if data.inputs.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(data.inputs.min()), float(data.inputs.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _gray(image: NDArray[Any], low: float, high: float, step: int) -> NDArray[np.uint8]:
    """(h, w) uint8: step x step pixels averaged into one, low black and high white."""
    height, width = (max(side // step, 1) for side in image.shape)
    tall, wide = min(step, image.shape[0]), min(step, image.shape[1])
    # Halves, as the difference of two float64 can overflow and that of their halves cannot.
    scaled = (image[: height * tall, : width * wide] * 0.5 - low * 0.5) / max(high * 0.5 - low * 0.5, 1e-300)
    means = scaled.reshape(height, tall, width, wide).mean(axis=(1, 3))
    gray: NDArray[np.uint8] = np.rint(means * 255).clip(0, 255).astype(np.uint8)
    return gray
