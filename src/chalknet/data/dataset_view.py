"""What a notebook shows of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.tables.columns import ColumnSummary
from chalknet.formatting import count_of, percent
from chalknet.notebook_view import MAX_ROWS, facts, pictures, table, view


def dataset_html(
    rows: Sequence[tuple[str, str]],
    inputs: Any,
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    columns: Sequence[ColumnSummary],
) -> str:
    """Return the size of a data set, its classes and its columns or first images as HTML.

    Args:
        rows: facts about it, as names and values.
        inputs: (N, H, W) or (N, H, W, 3) images, or (N, I) rows.
        labels: (N,) class indices.
        class_names: K names.
        columns: what the columns of a table hold; () for images.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    classes = [
        (name, f"{count:,}", percent(count / max(len(labels), 1)))
        for name, count in zip(class_names, counts.tolist(), strict=True)
    ]
    parts = [facts(rows), table(("class", "samples", "fraction"), classes, "class")]
    if len(inputs.shape) > 2:
        parts.append(pictures(_first_images(inputs, labels, class_names)))
    if columns:
        cells = [(one.name, one.kind, f"{one.n_missing:,}", one.values) for one in columns]
        parts.append(table(("column", "kind", "missing", "values"), cells, "column"))
    title = f"Data set with {count_of(len(class_names), 'class', 'classes')}"
    return view(title, *parts, next_step="run = chalknet.train(data)")


def _first_images(
    inputs: Any, labels: NDArray[np.int64], class_names: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the first image of each class with its name."""
    for k, name in enumerate(class_names[:MAX_ROWS]):
        found = np.flatnonzero(labels == k)
        if not len(found):
            continue
        image = np.asarray(inputs[found[:1]])[0]
        if image.dtype != np.uint8:
            low, high = float(image.min()), float(image.max())
            image = ((image - low) * (255.0 / (high - low or 1.0))).astype(np.uint8)
        yield name, image
