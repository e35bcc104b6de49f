"""A sheet of the mistakes of which a model was most certain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.formatting import percent
from chalknet.reporting.drawings.images import EMPTY, as_grid, draw_images
from chalknet.reporting.drawings.picture import drawing_bytes
from chalknet.studies.results import LabeledPredictions

MISTAKES = 15
COLUMNS = 5


def worst_mistakes(predictions: LabeledPredictions, most: int = MISTAKES) -> NDArray[np.intp]:
    """Places among the answers of the wrong ones, the most confident first; of equals the first."""
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:most]


def mistake_sheet(
    data: Dataset, predictions: LabeledPredictions, worst: NDArray[np.intp], class_names: Sequence[str]
) -> bytes:
    """A PNG of these answers' images, each under its true class, its predicted class and the probability of that.

    Args:
        data: images. worst: places among the answers, at least one. class_names: of the answers' labels.
    """
    grid = as_grid(predictions.index[worst], COLUMNS)
    titles = [
        f"{class_names[predictions.labels[i]]} as {class_names[predictions.predicted[i]]}, "
        f"{percent(float(predictions.confidence[i]), 0)}"
        for i in worst
    ]
    titles += [""] * int((grid == EMPTY).sum())
    return drawing_bytes(draw_images(data, grid, titles=titles), "png")
