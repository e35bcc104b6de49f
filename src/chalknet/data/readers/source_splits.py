"""Sources that divide their samples themselves: training, validation and test parts in one data set."""

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
    """One part of a source.

    Attributes:
        name: "train", "valid" or "test".
        inputs: (n, H, W) or (n, I).
        labels: (n,).
        inputs_source, labels_source: what messages call the files, or the arrays in a file, that they came from.
    """

    name: str
    inputs: NDArray[Any]
    labels: NDArray[Any]
    inputs_source: str
    labels_source: str


def dataset_from_splits(
    parts: Sequence[SourceSplit],
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    groups: NDArray[Any] | None = None,
    sha256: str = "",
    notes: Sequence[str] = (),
) -> Dataset:
    """Return one `Dataset` of all splits, training first, with `provided_valid` and `provided_test` set.

    Classes are "0" to the largest label unless class_names names them.

    Raises:
        DataError: as `Dataset`, each part named in the message; or the parts' samples differ in shape or type.
    """
    train = parts[0]
    parts = [train, *(part for part in parts[1:] if part.inputs.size)]
    names = class_names or max((numbered_class_names(part.labels, part.labels_source) for part in parts), key=len)
    check_class_names(names, source)
    for part in parts:
        if part.inputs.ndim < 2:
            raise DataError(
                f"{part.inputs_source}: images must be (N, H, W) or rows (N, I), got shape {part.inputs.shape}."
            )
        if part.inputs.shape[1:] != train.inputs.shape[1:] or part.inputs.dtype != train.inputs.dtype:
            raise DataError(
                f"{part.inputs_source}: {part.name} samples must be like the training samples, "
                f"{train.inputs.shape[1:]} of {train.inputs.dtype}, got {part.inputs.shape[1:]} of {part.inputs.dtype}."
            )
        checked_labels(part.labels, len(part.inputs), names, part.labels_source)
    ends = np.cumsum([len(part.inputs) for part in parts])
    own = {
        part.name: np.arange(end - len(part.inputs), end, dtype=np.int64)
        for part, end in zip(parts, ends.tolist(), strict=True)
    }
    joined = dataset_from_arrays(
        np.concatenate([part.inputs for part in parts]) if len(parts) > 1 else train.inputs,
        np.concatenate([part.labels.astype(np.int64) for part in parts]),
        names,
        groups,
        source=source,
        sha256=sha256,
        notes=notes,
    )
    return replace(joined, provided_valid=own.get("valid"), provided_test=own.get("test"))
