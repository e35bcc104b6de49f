"""Training samples with separately provided validation and test samples, as one `Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import ARRAYS, Dataset, IntArray, check_input_names, nfc, sample_digests
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.tables.rows import TableRows, joined_rows
from chalknet.errors import ConfigError, DataError


def with_provided_splits(train: Dataset, valid: Dataset | None = None, test: Dataset | None = None) -> Dataset:
    """Combine training samples with provided validation and test samples.

    Classes are matched by name; the training set determines names and order. All samples of valid
    and test are used, also those in splits that they provide themselves. A note reports splits that
    share samples.

    Args:
        train: the training samples.
        valid: validation samples of the same shape and type, in memory or on disk like train, or
            None.
        test: test samples, likewise, or None.

    Returns:
        The combined data set. Its summaries of columns are those of train. If valid and test are None, train itself.

    Raises:
        DataError: shapes, types or column names differ, or a class is not in train.
        ConfigError: both train and test provide a test split.
    """
    if valid is None and test is None:
        return train
    if test is not None and train.provided_test is not None:
        raise ConfigError(f"{train.source}: has a test set, and {test.source} is another one. Leave one out.")
    sets = {name: one for name, one in (("training", train), ("validation", valid), ("test", test)) if one is not None}
    others = list(sets.values())[1:]
    for one in others:
        if one.encoding != train.encoding:
            raise DataError(
                f"{one.source}: its columns are encoded in another way than those of {train.source}. Read it with "
                "load_data(..., like=the training data)."
            )
        if one.inputs.shape[1:] != train.inputs.shape[1:]:
            is_same_size = one.is_images and one.sample_shape[:2] == train.sample_shape[:2]
            hint = " Read both with the same color (--color): gray or rgb." if is_same_size else ""
            raise DataError(
                f"{one.source}: samples are {one.inputs.shape[1:]}, but those of {train.source} are "
                f"{train.inputs.shape[1:]}.{hint}"
            )
        check_input_names(one.input_names, train.input_names, one.source, train.source)
        if one.inputs.dtype != train.inputs.dtype and np.uint8 in (one.inputs.dtype, train.inputs.dtype):
            raise DataError(
                f"{one.source}: values are {one.inputs.dtype}, but those of {train.source} are {train.inputs.dtype}; "
                "bytes are scaled differently from other numbers. Save both with the same type."
            )
        if one.is_on_disk != train.is_on_disk:
            raise DataError(f"{one.source} and {train.source} must both be in memory or both be .npy files on disk.")
    n_train, n_valid = len(train), 0 if valid is None else len(valid)
    n_test = 0 if test is None else len(test)
    ends = np.arange(n_train + n_valid + n_test, dtype=np.int64)
    origin = None if any(one.origin is None for one in others) else train.origin
    if origin is not None and valid is not None and valid.origin is not None:
        origin = replace(origin, valid_source=valid.origin.source, valid_sha256=valid.sha256)
    if origin is not None and test is not None and test.origin is not None:
        origin = replace(origin, test_source=test.origin.source, test_sha256=test.sha256)
    return Dataset(
        inputs=_joined([train.inputs, *(one.inputs for one in others)]),
        labels=np.concatenate([train.labels, *(_labels_in(train, one) for one in others)]),
        class_names=train.class_names,
        groups=_joined_groups([train, *others]),
        provided_test=train.provided_test if test is None else ends[n_train + n_valid :],
        provided_valid=None if valid is None else ends[n_train : n_train + n_valid],
        source=train.source if origin is not None else ARRAYS,
        sha256=hashlib.sha256("".join(one.sha256 for one in sets.values()).encode()).hexdigest(),
        notes=(*train.notes, *(f"{one.source}: {note}" for one in others for note in one.notes), *_leaks(sets)),
        origin=origin,
        input_names=train.input_names,
        encoding=train.encoding,
        columns=train.columns,
    )


def _leaks(sets: Mapping[str, Dataset]) -> list[str]:
    """Return a note for any two splits that are identical or share samples, whatever their labels.

    Samples on disk are only compared by the digest of the whole source.
    """
    found: dict[str, set[bytes]] = {}
    notes = []
    for (first, one), (second, other) in combinations(sets.items(), 2):
        then = "They were used for training" if first == "training" else "They are used to choose the model"
        if one.sha256 == other.sha256:
            notes.append(f"{other.source}: the {second} samples are the {first} samples. {then}: a leak.")
            continue
        if one.is_on_disk or other.is_on_disk:
            continue
        for split, samples in ((first, one), (second, other)):
            if split not in found:
                found[split] = set(sample_digests(samples.inputs))
        n_shared = len(found[first] & found[second])
        if n_shared:
            which = "1 sample is" if n_shared == 1 else f"{n_shared:,} different samples are"
            notes.append(f"{other.source}: {which} both in the {second} and in the {first} set. {then}: a leak.")
    return notes


def _labels_in(train: Dataset, other: Dataset) -> IntArray:
    """Return the labels of another data set as indices of the training set's class names."""
    index = {nfc(name): k for k, name in enumerate(train.class_names)}
    places = np.array([index.get(nfc(name), -1) for name in other.class_names], dtype=np.int64)
    unknown = next((other.class_names[k] for k in np.unique(other.labels) if places[k] < 0), None)
    if unknown is not None:
        raise DataError(
            f"{other.source}: class {unknown!r} is not in {train.source}, which has {', '.join(train.class_names)}."
        )
    return places[other.labels]


def _joined(inputs: list[Any]) -> Any:
    """Concatenate samples, in memory or on disk."""
    if isinstance(inputs[0], OnDiskSamples):
        return OnDiskSamples([array for one in inputs for array in one.arrays])
    if any(isinstance(one, TableRows) for one in inputs):
        return joined_rows(inputs)
    joined: NDArray[Any] = np.concatenate(inputs)
    return joined


def _joined_groups(sets: list[Dataset]) -> IntArray | None:
    """Return the groups of train, followed by new group numbers for all other samples."""
    if sets[0].groups is None:
        return None
    above = int(sets[0].groups.max(initial=0)) + 1
    n_others = sum(len(one) for one in sets[1:])
    return np.concatenate([sets[0].groups, np.arange(above, above + n_others, dtype=np.int64)])
