"""Notes about the data that are shown to the user before training, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.folds import without_test
from chalknet.data.preprocess import MAX_SCALED_PIXEL, PIXEL_SCALE, Scaling, input_scale
from chalknet.data.splits import Splits
from chalknet.errors import DataError
from chalknet.formatting import count_of, for_reader, is_or_are, quoted
from chalknet.training.recipes import MIN_VALID, chooses_by_folds


def split_notes(
    data: Dataset, splits: Splits, recipe: Recipe, sample_weights: NDArray[np.float64] | None = None
) -> tuple[str, ...]:
    """Return notes about a split: classes without training samples, and too few validation samples.

    Args:
        data: all samples.
        splits: the training, validation and test split.
        recipe: the recipe that will be trained.
        sample_weights: (N,) weight of each sample, or None. A training sample of weight 0 counts as
            absent.

    Raises:
        DataError: all training samples have the same class.
    """
    if recipe.training.folds:  # each fold trains some of the networks
        splits = replace(splits, train=without_test(splits), valid=without_test(splits))
    trained = splits.train if sample_weights is None else splits.train[sample_weights[splits.train] > 0]
    counts = np.bincount(data.labels[trained], minlength=data.n_classes)
    present = np.flatnonzero(counts)
    if len(present) == 1:
        n = len(trained)
        samples = "the only training sample is" if n == 1 else f"all {n:,} training samples are"
        raise DataError(
            f"{data.source}: {samples} of class {quoted([data.class_names[present[0]]])}, and a classifier needs "
            "samples of two or more classes. Check the labels, or use another split method (split, --split)."
        )
    notes = []
    lacking = np.flatnonzero((counts == 0) & (data.class_counts > 0))
    if len(lacking):
        note = untrained_class_note([data.class_names[k] for k in lacking])
        notes.append(f'{note} Add samples, or use split "stratified".')
    n_valid = len(splits.valid)
    if recipe.stopping.stop_early and 0 < n_valid < MIN_VALID and not chooses_by_folds(recipe):
        notes.append(
            f"early stopping chooses the epoch by only {count_of(n_valid, 'validation sample')}, too few for a "
            "reliable choice. Use stop_early=False (--no-stop-early), or a larger valid_size (--valid)."
        )
    return tuple(map(for_reader, notes))


def scaling_notes(scaling: Scaling, data: Dataset) -> tuple[str, ...]:
    """Return notes about the scaling of inputs where it may surprise the user."""
    notes = []
    if data.is_images and scaling.shift is None and scaling.scale != input_scale(data.inputs.dtype):
        kind = "of 0..255" if scaling.scale == PIXEL_SCALE else f"up to {scaling.scale:g}"
        notes.append(f"images have {data.inputs.dtype} values {kind}, so they are divided by {scaling.scale:g}.")
    if data.is_images and scaling.shift is None and data.inputs.dtype == np.uint8 and not data.is_on_disk:
        largest = int(data.inputs.max())
        if 0 < largest <= MAX_SCALED_PIXEL:
            notes.append(
                f"no pixel is larger than {largest}, but all are divided by 255, because they are uint8. Use "
                "input_scaling=standard, or multiply the pixels first."
            )
    return (*notes, *ignored_input_notes(scaling, data.input_names))


def untrained_class_note(names: Sequence[object]) -> str:
    """Return a note on classes without training samples."""
    noun = "class has" if len(names) == 1 else "classes have"
    return f"{len(names)} {noun} no training sample, so the network never learns to predict it: {quoted(names)}."


def ignored_input_notes(scaling: Scaling, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on inputs that were constant in training, or no note if there are none.

    Args:
        scaling: the fitted scaling, which has the constant inputs in `ignored`.
        names: names of all inputs; if empty, inputs are listed by number, starting at 1.
    """
    found = scaling.ignored
    if not found:
        return ()
    columns = quoted(names[one] for one in found) if len(names) else quoted(one + 1 for one in found)
    return (
        f"{count_of(len(found), 'input')} that never varied in training {is_or_are(len(found))} ignored: {columns}.",
    )
