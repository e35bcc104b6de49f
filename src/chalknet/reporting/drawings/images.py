"""Draw sheets of images: samples with their class as title, or a row of samples for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.atomic import write_bytes
from chalknet.config import RGB
from chalknet.data.color import are_blank, in_color
from chalknet.data.dataset import Dataset, IntArray
from chalknet.errors import ConfigError, DataError
from chalknet.reporting.drawings.picture import drawing_bytes, drawing_type, file_kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MAX_SIDE = 100  # rows or columns of a grid
EMPTY = -1  # marks a cell of the grid without an image

# All lengths are pixels at this resolution, so that every pixel of an image becomes a square of
# whole pixels on the sheet.
DPI = 150
MARGIN = 24
LARGE, SMALL = 168, 84  # sides of an image in a sheet of few columns and of many columns
SHEET_WIDTH = 1000  # width that images of the large size may fill before they become smaller
FRAME_GRAY = 153  # gives a white image an edge on white paper

POINT = DPI / 72
# Widths of characters in font sizes, a little more than DejaVu Sans needs.
WIDE, CAPITAL, OTHER = 1.0, 0.75, 0.64
LARGEST_FONT, SMALLEST_FONT = 11.0, 5.5
MAX_NAME = 16.0  # width of a class name in font sizes, beyond which it is cut
SHEET_COLUMNS = 10  # images in the row of a sample sheet
CANDIDATES = 4  # images that are looked at per place of a sample sheet, to avoid blank ones


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
    """Show images drawn at random, each with its class as title.

    Args:
        data: images (N, H, W), or (N, H, W, 3) in color. uint8 is shown on the scale 0 to 255. Other
            values are shown on 0 to 1 if they lie in this range, else from the smallest to the largest
            value.
        rows: rows of the grid. By default 2, or one per class with `by_class`.
        columns: columns of the grid. With fewer images than cells, the grid is smaller.
        seed: seed of the random choice; the same seed shows the same images.
        by_class: whether row r holds images of class r, with the name of the class at its left.
        titles: whether classes are named.
        indices: positions of the samples to choose from, such as `splits.train`; None for all.
        path: where to save the picture too; .png, .svg or .pdf. Equal sheets are equal bytes.

    Returns:
        A matplotlib Figure. A notebook shows it.

    Raises:
        DataError: data holds table rows, or there is no image to choose from.
        ConfigError: rows, columns, seed, indices or the ending of path is invalid.
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
    """Return positions of samples drawn without replacement, for the arguments of `show_images`.

    Returns:
        (rows, columns) integers in [0, N), or `EMPTY` where there is no image.
    """
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


def sample_sheet(data: Dataset, indices: IntArray, *, seed: int) -> Drawing:
    """Draw a row of images chosen at random, each with its class, without images of one value only.

    A letter such as an I can fill its whole image and then looks like an empty square, which tells
    a reader nothing. Where there are too few other images, such images are shown too.

    Args:
        data: images (N, H, W), or (N, H, W, 3) in color.
        indices: positions of the samples to choose from.
        seed: seed of the random choice.
    """
    pool = choose_images(data, CANDIDATES, SHEET_COLUMNS, seed=seed, indices=indices).ravel()
    pool = pool[pool != EMPTY]
    is_blank = are_blank(data.inputs[pool])
    # A stable sort keeps the random order and moves blank images behind all others.
    chosen = pool[np.argsort(is_blank, kind="stable")][:SHEET_COLUMNS]
    grid = as_grid(chosen, SHEET_COLUMNS)
    return draw_images(data, grid, titles=_class_titles(data, grid))


def as_grid(samples: Sequence[int] | IntArray, columns: int) -> IntArray:
    """Return positions of samples as a grid in reading order, with `EMPTY` after the last.

    Returns:
        (rows, columns) integers; with fewer samples than columns, there are as many columns as
        samples.
    """
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
    """Draw a sheet of the given samples, laid out pixel by pixel.

    Args:
        data: images (N, H, W), or (N, H, W, 3) in color.
        grid: (rows, columns) positions of samples, or `EMPTY` for a free cell.
        titles: one above each cell, in reading order.
        row_titles: one at the left of each row.
        group: number of columns that belong together, such as the 2 of a pair. There is more space
            between groups than within them.
    """
    sheet = _Sheet.plan(data, grid, titles, row_titles, group or grid.shape[1])
    drawing = drawing_type()(figsize=(sheet.width / DPI, sheet.height / DPI), dpi=DPI, facecolor="white")
    axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    pixels = in_color(sheet.pixels(data, grid)[None], RGB)[0]
    extent = (0.0, float(sheet.width), float(sheet.height), 0.0)
    # As RGB: a gray color map would round some values down by one.
    axes.imshow(pixels, interpolation="nearest", extent=extent, aspect="auto")
    # Class names are text: a $ in a name must not start a formula.
    style: dict[str, Any] = {"fontfamily": "DejaVu Sans", "fontsize": sheet.font, "color": "black", "parse_math": False}
    for at, title in enumerate(titles or ()):
        left, top = sheet.corner(*divmod(at, grid.shape[1]))
        x, y = left + sheet.cell[1] / 2, top - 0.45 * sheet.font * POINT
        axes.text(x, y, cut_to_width(title, sheet.title_width), ha="center", va="baseline", **style)
    for row, title in enumerate(row_titles or ()):
        left, top = sheet.corner(row, 0)
        x, y = left - 0.8 * sheet.font * POINT, top + sheet.cell[0] / 2
        axes.text(x, y, cut_to_width(title, MAX_NAME), ha="right", va="center_baseline", **style)
    return drawing


@dataclass(frozen=True)
class _Sheet:
    """The layout of a sheet, in pixels from the upper left corner.

    Attributes:
        shape: rows and columns of the grid.
        cell: height and width of an image on the sheet.
        step: step x step pixels of the image are averaged to one.
        zoom: that one becomes zoom x zoom pixels of the sheet.
        gap: space between columns, and between an image and the title below it.
        font: font size in points.
        title_width: width in font sizes that fits above an image.
        head_height: height of a title.
        head_width: width of the row titles.
        group: number of columns that belong together.
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
        """Return the layout for a grid of images with these titles."""
        rows, columns = grid.shape
        side = min(max(SHEET_WIDTH // columns, SMALL), LARGE)
        height, width = data.sample_shape[:2]
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
        """Width of the sheet."""
        return self.corner(0, self.shape[1] - 1)[0] + self.cell[1] + MARGIN

    @property
    def height(self) -> int:
        """Height of the sheet."""
        rows = self.shape[0]
        # A title has some space above its letters, so the upper margin is smaller by that much.
        return 2 * MARGIN + rows * (self.head_height + self.cell[0]) + (rows - 1) * self.gap - self.head_height // 4

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Return x and y of the upper left corner of an image."""
        x = MARGIN + self.head_width + column * (self.cell[1] + self.gap) + column // self.group * 2 * self.gap
        y = MARGIN - self.head_height // 4 + row * (self.head_height + self.cell[0] + self.gap) + self.head_height
        return x, y

    def pixels(self, data: Dataset, grid: IntArray) -> NDArray[np.uint8]:
        """Return the sheet without its letters, (height, width) or (height, width, 3) with 0 black and 255 white."""
        paper = np.full((self.height, self.width, *data.sample_shape[2:]), 255, dtype=np.uint8)
        low, high = _shown_range(data)
        for (row, column), sample in np.ndenumerate(grid):
            if sample != EMPTY:
                x, y = self.corner(row, column)
                paper[y - 1 : y + self.cell[0] + 1, x - 1 : x + self.cell[1] + 1] = FRAME_GRAY
                image = _reduced(data.inputs[sample], low, high, self.step)
                paper[y : y + self.cell[0], x : x + self.cell[1]] = image.repeat(self.zoom, 0).repeat(self.zoom, 1)
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
    """Return the positions of the samples to choose from."""
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
    """Return an upper bound of the width of a line of text, in font sizes."""
    return sum(
        WIDE if c in "WMmw@%" or east_asian_width(c) in "WF" else CAPITAL if c.isupper() else OTHER for c in text
    )


def cut_to_width(name: str, width: float) -> str:
    """Return a name on one line, cut with an ellipsis where it is wider than so many font sizes."""
    line = " ".join(name.split())
    if text_width(line) <= width:
        return line
    while len(line) > 1 and text_width(line) + OTHER > width:
        line = line[:-1]
    return line.rstrip() + "…"


def _shown_range(data: Dataset) -> tuple[float, float]:
    """Return the values that are shown black and white."""
    if data.inputs.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(data.inputs.min()), float(data.inputs.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _reduced(image: NDArray[Any], low: float, high: float, step: int) -> NDArray[np.uint8]:
    """Return (h, w) or (h, w, 3) uint8: step x step pixels averaged to one, low is 0, high is 255."""
    height, width = (max(side // step, 1) for side in image.shape[:2])
    tall, wide = min(step, image.shape[0]), min(step, image.shape[1])
    # Halves: the difference of two float64 can overflow, that of their halves cannot.
    scaled = (image[: height * tall, : width * wide] * 0.5 - low * 0.5) / max(high * 0.5 - low * 0.5, 1e-300)
    means = scaled.reshape(height, tall, width, wide, *image.shape[2:]).mean(axis=(1, 3))
    reduced: NDArray[np.uint8] = np.rint(means * 255).clip(0, 255).astype(np.uint8)
    return reduced
