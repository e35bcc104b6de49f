"""Draw the mistakes of which a model was most confident."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.formatting import percent
from chalknet.reporting.drawings.images import EMPTY, as_grid, draw_images
from chalknet.reporting.drawings.picture import drawing_bytes
from chalknet.studies.results import LabeledPredictions

MAX_MISTAKES = 15
COLUMNS = 5


def worst_mistakes(predictions: LabeledPredictions) -> NDArray[np.intp]:
    """Return the positions of the wrong predictions with the highest confidence, highest first.

    Args:
        predictions: of M samples.

    Returns:
        At most `MAX_MISTAKES` positions in [0, M). Of equal confidences the earlier position comes first.
    """
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MAX_MISTAKES]


def mistake_sheet(
    data: Dataset, predictions: LabeledPredictions, worst: NDArray[np.intp], class_names: Sequence[str]
) -> bytes:
    """Return a PNG of images with their true class, their predicted class and its probability.

    Args:
        data: images that `predictions.index` refers to.
        predictions: of M samples.
        worst: positions in [0, M) of the predictions to show, at least one.
        class_names: names of the labels in `predictions`.
    """
    grid = as_grid(predictions.index[worst], COLUMNS)
    titles = [
        f"{class_names[predictions.labels[i]]} as {class_names[predictions.predicted[i]]}, "
        f"{percent(float(predictions.confidence[i]), 0)}"
        for i in worst
    ]
    titles += [""] * int((grid == EMPTY).sum())
    return drawing_bytes(draw_images(data, grid, titles=titles), "png")
