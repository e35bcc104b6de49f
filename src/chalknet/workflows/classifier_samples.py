"""The samples of a `ChalkClassifier`: their weights, splits and scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, check_labels_present
from chalknet.data.preprocess import Scaling, fit_scaling
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import quoted
from chalknet.training.sample_weights import relative_weights

Weights = NDArray[np.float64]
NO_DIGEST = "none"  # a digest is not computed, because it takes time and nothing needs it


@dataclass(frozen=True, eq=False)
class NamedColumns:
    """A frame with the two methods by which scikit-learn before 1.9 finds the names of columns.

    Attributes:
        frame: the frame.
        names: the names of its columns.
    """

    frame: Any
    names: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, number of columns)."""
        return tuple(self.frame.shape)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.frame)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values as an array."""
        del copy
        return np.asarray(self.frame, dtype=dtype)

    def __dataframe__(self) -> NamedColumns:
        """Return itself, which has `column_names`."""
        return self

    def column_names(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return self.names


@dataclass(frozen=True, eq=False)
class WeightedSamples:
    """Samples with weights.

    Attributes:
        rows: (N, I) uint8, float32 or float64; images row of pixels by row of pixels.
        labels: (N,) int64 in [0, K).
        sample_weights: (N,) float64 > 0, relative sample weights, or None for equal ones.
        weights: (N,) float64 > 0, sample_weights times the class weights, relative, or None for equal
            ones.
        image_shape: (H, W) or (H, W, 3), or None.
    """

    rows: NDArray[Any]
    labels: NDArray[np.int64]
    sample_weights: Weights | None
    weights: Weights | None
    image_shape: tuple[int, ...] | None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    def subset(self, index: NDArray[np.int64]) -> WeightedSamples:
        """Return the samples at these positions."""
        sample_weights, weights = (
            None if each is None else each[index] for each in (self.sample_weights, self.weights)
        )
        return WeightedSamples(self.rows[index], self.labels[index], sample_weights, weights, self.image_shape)

    def concatenate(self, other: WeightedSamples) -> WeightedSamples:
        """Return these samples followed by others of the same kind."""
        return WeightedSamples(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.labels, other.labels]),
            _joined_weights([self.sample_weights, other.sample_weights], [len(self), len(other)]),
            _joined_weights([self.weights, other.weights], [len(self), len(other)]),
            self.image_shape,
        )

    def as_dataset(self, scaling: Scaling, dtype: str, class_names: tuple[str, ...]) -> Dataset:
        """Return the samples, scaled, as a `Dataset`."""
        inputs = scaling(self.rows, dtype)
        if self.image_shape is not None:
            inputs = inputs.reshape(len(inputs), *self.image_shape)
        return Dataset(inputs, self.labels, class_names, sha256=NO_DIGEST)


def weighted_samples(
    rows: NDArray[Any],
    labels: NDArray[np.integer[Any]],
    sample_weights: Weights | None,
    class_weights: Weights | None,
    image_shape: tuple[int, ...] | None,
) -> WeightedSamples:
    """Return the samples with a weight above 0.

    Args:
        rows: (N, I) samples.
        labels: (N,) class indices.
        sample_weights: (N,) >= 0, or None.
        class_weights: (K,) >= 0, or None.
        image_shape: (H, W) or (H, W, 3) of images, or None.

    Raises:
        DataError: all weights are 0.
    """
    whole: NDArray[np.int64] = labels.astype(np.int64)
    if sample_weights is None and class_weights is None:
        return WeightedSamples(rows, whole, None, None, image_shape)
    of_each = np.ones(len(whole)) if sample_weights is None else sample_weights
    weights = of_each if class_weights is None else of_each * class_weights[whole]
    kept = weights > 0
    if not kept.any():
        raise DataError("the weights of all samples are zero. Give at least one sample a weight above 0.")
    weights = relative_weights(weights[kept])
    return WeightedSamples(
        rows[kept], whole[kept], None if sample_weights is None else sample_weights[kept], weights, image_shape
    )


def resolve_class_weights(
    class_weight: Any, classes: NDArray[Any], labels: NDArray[np.integer[Any]], sample_weights: Weights | None
) -> Weights | None:
    """Return the (K,) weight of each class, or None if all are 1.

    Args:
        class_weight: None, "balanced" (N / (K N_k), with samples counted by their weights), or numbers
            by label, 1 if left out.
        classes: (K,) labels.
        labels: (N,) class indices.
        sample_weights: (N,) weights, or None.

    Raises:
        ConfigError: another class_weight, a label that is no class, or a number that is not finite and
            >= 0.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        of_class = np.bincount(labels, weights=sample_weights, minlength=len(classes)).astype(np.float64)
        balanced: Weights = of_class.sum() / (len(classes) * np.where(of_class > 0, of_class, 1.0))
        return balanced
    if not isinstance(class_weight, Mapping):
        raise ConfigError(f'class_weight must be None, "balanced" or a dict by label, got {class_weight!r}.')
    named = classes.tolist()
    for label, number in class_weight.items():
        if label not in named:
            raise ConfigError(f"class_weight holds {label!r}, which is not a class of y: {quoted(classes.tolist())}.")
        if not (np.isreal(number) and math.isfinite(number) and number >= 0):
            raise ConfigError(f"class_weight of {label!r} must be a number >= 0, got {number!r}.")
    return np.array([class_weight.get(label, 1.0) for label in named], dtype=np.float64)


def class_weights_by_label(
    class_weights: str | tuple[float, ...], classes: NDArray[Any]
) -> str | dict[Any, float] | None:
    """Return a recipe's class weights, which are in class order, as scikit-learn's class_weight."""
    if isinstance(class_weights, str):
        return "balanced" if class_weights == "balanced" else None
    if len(class_weights) != len(classes):
        raise ConfigError(
            f"class_weights of the recipe must be a number for each of {len(classes)} classes "
            f"({quoted(classes.tolist())}), got {len(class_weights)}. Give class_weight by label."
        )
    return dict(zip(classes.tolist(), class_weights, strict=True))


def exact_labels(y: Any, name: str = "y") -> Any:
    """Return integer labels of pandas' nullable types as NumPy integers.

    scikit-learn would convert them to float64, which rounds large integers.

    Args:
        y: the labels.
        name: the name of the labels in messages.

    Raises:
        DataError: a label is missing.
    """
    check_labels_present(y, name)
    kind = getattr(getattr(y, "dtype", None), "kind", "")
    if kind not in ("i", "u") or isinstance(y, np.ndarray):
        return y
    return np.asarray(y, dtype=np.int64 if kind == "i" else np.uint64)


def printable_class_names(classes: NDArray[Any]) -> tuple[str, ...]:
    """Return labels as class names that can be printed."""
    return tuple(str(label) if str(label).isprintable() else repr(label) for label in classes.tolist())


def class_indices(labels: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return the (N,) position of each label in the sorted classes.

    Args:
        labels: (N,) labels.
        classes: (K,) labels, sorted.
        name: the name of the labels in the message.

    Raises:
        DataError: a label is not a class.
    """
    known = np.isin(labels, classes)
    if not known.all():
        first = int(np.argmin(known))
        raise DataError(
            f"{name}[{first}] is {labels.tolist()[first]!r}, which is not a class: {quoted(classes.tolist())}."
        )
    return np.searchsorted(classes, labels).astype(np.int64)


def fit_weighted_scaling(kind: str, samples: WeightedSamples, may_be_missing: bool = False) -> Scaling:
    """Fit an input scaling to weighted samples: a sample of weight 2 is the same as two samples.

    Pixels that are not uint8 have no known scale and are divided by the largest value.
    """
    are_images = samples.image_shape is not None
    if are_images and kind in ("pixels", "auto") and samples.rows.dtype != np.uint8:
        return Scaling(float(np.abs(samples.rows).max()) or 1.0)
    every = np.arange(len(samples))
    return fit_scaling(kind, samples.rows, every, are_images, samples.sample_weights, may_be_missing)


def train_on_all(n_train: int, n_valid: int = 0) -> Splits:
    """Return splits of which the first n_train samples train and the next n_valid validate."""
    return Splits(np.arange(n_train), np.arange(n_train, n_train + n_valid), np.arange(0))


def count_of_fraction(fraction: float, n_samples: int) -> int:
    """Return validation_fraction as a number of samples.

    Raises:
        ConfigError: fraction is not between 0 and 1.
    """
    if not (isinstance(fraction, (int, float, np.number)) and 0 < fraction < 1):
        raise ConfigError(f"validation_fraction must be a number between 0 and 1, got {fraction!r}.")
    return math.ceil(fraction * n_samples)


def stratified_splits(labels: NDArray[np.int64], fraction: float, seed: int) -> Splits | None:
    """Return stratified training and validation splits, or None if a class has too few samples.

    Args:
        labels: (N,) class indices.
        fraction: fraction of the samples that validate.
        seed: seed of the split.

    Raises:
        ConfigError: fraction is not between 0 and 1.
    """
    n_valid = count_of_fraction(fraction, len(labels))
    present, dense = np.unique(labels, return_inverse=True)
    if len(present) < 2 or np.bincount(dense).min() < 2 or n_valid >= len(labels):
        return None
    names = tuple(map(str, range(len(present))))
    bare = Dataset(np.zeros((len(labels), 1), np.uint8), dense, names, sha256=NO_DIGEST)
    splits = split_dataset(bare, "stratified", len(labels) - n_valid, n_valid, seed)
    return splits if len(np.unique(dense[splits.train])) == len(present) else None


def _joined_weights(parts: Sequence[Weights | None], lengths: Sequence[int]) -> Weights | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate([np.ones(n) if part is None else part for part, n in zip(parts, lengths, strict=True)])
