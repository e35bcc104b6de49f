"""What a training tells its user about the data before it begins: notes, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.preprocess import MAX_SCALED_PIXEL, PIXEL_SCALE, Scaling, input_scale
from chalknet.data.splits import Splits
from chalknet.errors import DataError
from chalknet.formatting import count_of, quoted
from chalknet.training.recipes import MIN_VALID


def split_notes(
    data: Dataset, splits: Splits, recipe: Recipe, sample_weights: NDArray[np.float64] | None = None
) -> tuple[str, ...]:
    """Return what is unusual about a division: classes that are never trained, and too few samples to choose by.

    Raises:
        DataError: all training samples are of one class.
    """
    trained = splits.train if sample_weights is None else splits.train[sample_weights[splits.train] > 0]
    counts = np.bincount(data.labels[trained], minlength=data.n_classes)
    present = np.flatnonzero(counts)
    if len(present) == 1:
        raise DataError(
            f"{data.source}: all {count_of(len(trained), 'training sample')} are of class "
            f"{quoted([data.class_names[present[0]]])}, and a classifier needs samples of two classes. "
            "Check the labels, or divide the samples in another way (split)."
        )
    notes = []
    lacking = np.flatnonzero((counts == 0) & (data.class_counts > 0))
    if len(lacking):
        note = untrained_class_note([data.class_names[k] for k in lacking])
        notes.append(f'{note} Add samples, or use split "stratified".')
    n_valid = len(splits.valid)
    if recipe.stopping.stop_early and 0 < n_valid < MIN_VALID:
        notes.append(
            f"early stopping chooses the epoch by {count_of(n_valid, 'validation sample')}, which are too few to tell "
            "epochs apart. Use stop_early=False (--no-stop-early), or a larger valid_size (--valid)."
        )
    return tuple(notes)


def scaling_notes(scaling: Scaling, data: Dataset) -> tuple[str, ...]:
    """Return what was learned about the inputs' scale that a user may not expect."""
    notes = []
    if data.is_images and scaling.shift is None and scaling.scale != input_scale(data.inputs.dtype):
        kind = "of 0..255" if scaling.scale == PIXEL_SCALE else f"up to {scaling.scale:g}"
        notes.append(f"images hold {data.inputs.dtype} values {kind}, so they are divided by {scaling.scale:g}.")
    if data.is_images and scaling.shift is None and data.inputs.dtype == np.uint8 and not data.is_on_disk:
        largest = int(data.inputs.max())
        if 0 < largest <= MAX_SCALED_PIXEL:
            notes.append(
                f"no pixel is larger than {largest}, and all are divided by 255, as pixels of 0..255 are. Use "
                "input_scaling=standard, or multiply them."
            )
    return (*notes, *ignored_input_notes(scaling, data.input_names))


def untrained_class_note(names: Sequence[object]) -> str:
    """Return a note on classes without training samples."""
    noun = "class has" if len(names) == 1 else "classes have"
    return f"{len(names)} {noun} no training sample, so the network never learns to predict it: {quoted(names)}."


def ignored_input_notes(scaling: Scaling, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on inputs that never varied, by name, or by number from 1 on; nothing if all did."""
    found = scaling.ignored
    if not found:
        return ()
    columns = quoted(names[one] for one in found) if len(names) else quoted(one + 1 for one in found)
    verb = "is" if len(found) == 1 else "are"
    return (f"{count_of(len(found), 'input')} that never varied in training {verb} ignored: {columns}.",)
