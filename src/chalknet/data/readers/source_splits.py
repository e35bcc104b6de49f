"""Sources that are divided already: training, validation and test samples as one data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, check_class_names, checked_labels, dataset_from_arrays, numbered_class_names
from chalknet.errors import DataError


@dataclass(frozen=True, eq=False)
class SourceSplit:
    """The samples of one split of a source.

    Attributes:
        name: "train", "valid" or "test".
        inputs: (n, H, W), (n, H, W, 3) or (n, I).
        labels: (n,).
        inputs_source: what messages call the file or array of the samples.
        labels_source: what messages call the file or array of the labels.
    """

    name: str
    inputs: NDArray[Any]
    labels: NDArray[Any]
    inputs_source: str
    labels_source: str


def dataset_from_splits(
    splits: Sequence[SourceSplit],
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    groups: NDArray[Any] | None = None,
    sha256: str = "",
    notes: Sequence[str] = (),
) -> Dataset:
    """Concatenate splits to one `Dataset` with `provided_valid` and `provided_test`.

    Args:
        splits: the training split first, then the others. Empty splits are left out.
        source: what messages call the source.
        class_names: K names; "0" up to the largest label by default.
        groups: (N,) integers for the samples of all splits, or None.
        sha256: digest of the source.
        notes: notes of the reader.

    Raises:
        DataError: as `Dataset`, with the split in the message, or splits differ in the shape or
            type of their samples.
    """
    train = splits[0]
    splits = [train, *(split for split in splits[1:] if split.inputs.size)]
    names = class_names or max((numbered_class_names(split.labels, split.labels_source) for split in splits), key=len)
    check_class_names(names, source)
    for split in splits:
        if split.inputs.ndim < 2:
            raise DataError(
                f"{split.inputs_source}: images must be (N, H, W) or (N, H, W, 3), or rows (N, I), got shape "
                f"{split.inputs.shape}."
            )
        if split.inputs.shape[1:] != train.inputs.shape[1:] or split.inputs.dtype != train.inputs.dtype:
            raise DataError(
                f"{split.inputs_source}: {split.name} samples must be like the training samples, "
                f"{train.inputs.shape[1:]} of {train.inputs.dtype}, "
                f"got {split.inputs.shape[1:]} of {split.inputs.dtype}."
            )
        checked_labels(split.labels, len(split.inputs), names, split.labels_source)
    ends = np.cumsum([len(split.inputs) for split in splits])
    provided = {
        split.name: np.arange(end - len(split.inputs), end, dtype=np.int64)
        for split, end in zip(splits, ends.tolist(), strict=True)
    }
    joined = dataset_from_arrays(
        np.concatenate([split.inputs for split in splits]) if len(splits) > 1 else train.inputs,
        np.concatenate([split.labels.astype(np.int64) for split in splits]),
        names,
        groups,
        source=source,
        sha256=sha256,
        notes=notes,
    )
    return replace(joined, provided_valid=provided.get("valid"), provided_test=provided.get("test"))
