"""`Dataset`, the samples every other room is handed, checked once when it is made."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import DataConfig
from chalknet.data.on_disk import OnDiskSamples
from chalknet.errors import DataError

IntArray = NDArray[np.int64]

ARRAYS = "arrays"  # the source of samples that came from no file
MAX_CLASSES = 10_000  # a larger label is a broken file, not a classification problem


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labeled samples, all checked: shapes agree, labels name a class, every value is finite.

    Attributes:
        inputs: (N, H, W) gray images or (N, I) rows; uint8, float32 or float64. uint8 stays uint8 until it is used.
            A NumPy array, or `OnDiskSamples` that are read as they are needed.
        labels: (N,) int64 in [0, K).
        class_names: K names, at least two.
        groups: (N,) int64 or None; a group (a font family, a patient) should not be on both sides of a split.
        provided_test: (M,) int64 or None; the samples that the source itself sets apart as its test set.
        provided_valid: (V,) int64 or None; validation samples of one's own, see `provided_splits.with_provided_splits`.
        source: the file, folder or name that the samples came from, for messages.
        sha256: hexadecimal digest of the source's bytes.
        notes: what a reader skipped or turned, one sentence each.
        origin: how to read the same samples again, or None where they came from arrays.
        input_names: of rows, what a table's header calls the I values; () where there is none.

    Raises:
        DataError: anything of the above does not hold; the message names the source, the field and the first bad index.
    """

    inputs: Any
    labels: IntArray
    class_names: tuple[str, ...]
    groups: IntArray | None = None
    provided_test: IntArray | None = None
    provided_valid: IntArray | None = None
    source: str = ARRAYS
    sha256: str = ""
    notes: tuple[str, ...] = ()
    origin: DataConfig | None = None
    input_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        kind = "images" if self.is_images else "rows"
        return f"<Dataset {self.source}: {len(self):,} {kind} {self.inputs.shape[1:]}, {self.n_classes} classes>"

    def __post_init__(self) -> None:
        check_inputs(self.inputs, self.source)
        check_class_names(self.class_names, self.source)
        labels = checked_labels(self.labels, len(self.inputs), self.class_names, self.source)
        object.__setattr__(self, "labels", labels)
        if self.groups is not None:
            groups = self.groups
            if groups.shape != labels.shape or groups.dtype.kind not in "ui":
                raise DataError(
                    f"{self.source}: groups must be {labels.shape} integers, got {groups.shape} {groups.dtype}."
                )
            object.__setattr__(self, "groups", groups.astype(np.int64))
        if not self.sha256:
            object.__setattr__(self, "sha256", arrays_sha256(np.asarray(self.inputs), labels))

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def n_inputs(self) -> int:
        """Values a sample: H·W of an image, I of a row."""
        return int(np.prod(self.inputs.shape[1:]))

    @property
    def is_images(self) -> bool:
        return len(self.inputs.shape) == 3

    @property
    def pool(self) -> IntArray:
        """The samples that are not set apart already, in their order: those that a division is made of."""
        apart = [index for index in (self.provided_test, self.provided_valid) if index is not None]
        every = np.arange(len(self))
        return np.setdiff1d(every, np.concatenate(apart)) if apart else every

    @property
    def is_on_disk(self) -> bool:
        """Whether the samples stay on disk."""
        return isinstance(self.inputs, OnDiskSamples)

    def in_memory(self) -> Dataset:
        """The same samples as one array in memory, for work that compares them all with each other."""
        return replace(self, inputs=np.asarray(self.inputs)) if self.is_on_disk else self

    @property
    def class_counts(self) -> IntArray:
        """(K,) samples a class."""
        return np.bincount(self.labels, minlength=self.n_classes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class UnlabeledSamples:
    """N samples without labels, checked as those of a `Dataset` are.

    Attributes:
        inputs: (N, H, W) images or (N, I) rows; uint8, float32 or float64; a NumPy array, or `OnDiskSamples`.
        source: what messages call where they came from.
        notes: what a reader turned or left out, one sentence each.
        input_names: as of a `Dataset`.

    Raises:
        DataError: another shape or type, no samples, or a value that is not finite.
    """

    inputs: Any
    source: str
    notes: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, OnDiskSamples):
            inputs, dropped = without_channel(self.inputs)
            object.__setattr__(self, "inputs", inputs)
            object.__setattr__(self, "notes", (*self.notes, *dropped))
        check_inputs(self.inputs, self.source)

    def __len__(self) -> int:
        return len(self.inputs)


def dataset_from_arrays(
    inputs: Any,
    labels: Any,
    class_names: Sequence[str] | None = None,
    groups: Any = None,
    *,
    provided_test: IntArray | None = None,
    source: str = ARRAYS,
    sha256: str = "",
    notes: Sequence[str] = (),
) -> Dataset:
    """A `Dataset` from anything NumPy can read, each array brought to the type that `Dataset` states.

    The axis of the one channel of gray images (N, H, W, 1) or (N, 1, H, W) is dropped, with a note. A frame of rows, of
    pandas or Polars, gives its columns' names too, which later samples are held against.

    Integer images (N, H, W) whose values all lie in 0..255 become uint8; other types become float32
    where it holds all their values, and float64 where it does not.
    Without class_names the classes are "0", "1", ... up to the largest label.

    Raises:
        DataError: as `Dataset`, and for object or text arrays.
    """
    numeric, dropped = without_channel(numeric_array(inputs, "inputs", source))
    label_array = np.asarray(labels)
    if class_names is None:
        class_names = numbered_class_names(label_array, source)
    return Dataset(
        inputs=numeric,
        labels=label_array,
        class_names=tuple(str(name) for name in class_names),
        groups=None if groups is None else np.asarray(groups),
        provided_test=provided_test,
        source=source,
        sha256=sha256,
        notes=(*notes, *dropped),
        input_names=column_names(inputs) if numeric.ndim == 2 else (),
    )


def column_names(values: Any) -> tuple[str, ...]:
    """Return the names of a frame's columns; () for an array, and where one of them is no printable text."""
    names = tuple(getattr(values, "columns", ()))
    return names if all(isinstance(name, str) and name.isprintable() for name in names) else ()


def without_channel(images: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return gray images (N, H, W, 1) or (N, 1, H, W) without the axis of their channel, and a note that says so."""
    axis = next((axis for axis in (3, 1) if images.ndim == 4 and images.shape[axis] == 1), None)
    if axis is None:
        return images, ()
    return images.squeeze(axis), (f"images {images.shape} have one channel, so they are read as gray images.",)


def numeric_array(values: Any, field: str, source: str) -> NDArray[Any]:
    """values as uint8, float32 or float64; what cannot be a number is a DataError."""
    array = np.asarray(values)
    if array.dtype == object and hasattr(values, "columns"):  # a frame with columns of types that NumPy lacks
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: {field} must hold numbers, and none missing ({error}).") from error
    if array.dtype == np.uint8 or array.dtype in (np.float32, np.float64):
        return np.asarray(array, order="C")  # and not ascontiguousarray, which gives a lone number a dimension
    if array.dtype.kind not in "buif":
        raise DataError(f"{source}: {field} must hold numbers, got dtype {array.dtype}.")
    if array.dtype.kind in "bui" and array.ndim in (3, 4) and array.size and array.min() >= 0 and array.max() <= 255:
        return np.asarray(array, dtype=np.uint8, order="C")
    return np.asarray(array, dtype=np.float32 if np.can_cast(array.dtype, np.float32) else np.float64, order="C")


def numbered_class_names(labels: NDArray[Any], source: str) -> tuple[str, ...]:
    """ "0", "1", ... up to the largest label, and at least two classes."""
    if labels.dtype.kind not in "ui" or labels.ndim != 1 or not labels.size:
        return ("0", "1")  # the label check that follows says what is wrong with them
    largest = int(labels.max())
    if largest >= MAX_CLASSES:
        first = int(np.argmax(labels == labels.max()))
        raise DataError(f"{source}: labels[{first}] is {largest}; more than {MAX_CLASSES} classes are not supported.")
    return tuple(str(k) for k in range(max(largest + 1, 2)))


def nfc(name: str) -> str:
    """Return a name in Unicode's composed form: macOS writes names of files in the decomposed one."""
    return unicodedata.normalize("NFC", name)


def with_known(found: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes that samples are of and, behind one alone, of the others that are known."""
    return tuple(found) if len(found) > 1 else (*found, *(name for name in map(nfc, known) if name not in found))


def checked_labels(labels: NDArray[Any], n_samples: int, class_names: Sequence[str], source: str) -> IntArray:
    """labels as (N,) int64 in [0, K), or a DataError that names the first bad one."""
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise DataError(f"{source}: labels must be (N,), got {labels.shape}.")
    if len(labels) != n_samples:
        raise DataError(f"{source}: {len(labels)} labels for {n_samples} samples; each sample needs one.")
    if labels.dtype.kind not in "ui":
        raise DataError(f"{source}: labels must be integers, got dtype {labels.dtype}. Save class indices as integers.")
    bad = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if bad.size:
        k = len(class_names)
        raise DataError(
            f"{source}: labels[{bad[0]}] is {labels[bad[0]]}, but only {k} class names are given (0..{k - 1})."
        )
    return labels.astype(np.int64)


def arrays_sha256(*arrays: NDArray[Any]) -> str:
    """Digest of the arrays' types, shapes and bytes: the identity of samples that came from no file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def sample_digests(inputs: Any) -> Iterator[bytes]:
    """Yield a digest of each sample's values, whatever their type: equal samples have equal digests."""
    for row in np.asarray(inputs).reshape(len(inputs), -1):
        values = row.astype(np.float64) + 0.0  # -0.0 is the value 0.0
        yield hashlib.sha256(values.tobytes()).digest()


def check_inputs(inputs: Any, source: str) -> None:
    """Raises DataError where samples are not (N, H, W) or (N, I), N >= 1, of a type `Dataset` states, all finite."""
    if inputs.ndim not in (2, 3):
        raise DataError(
            f"{source}: images must be (N, H, W) or rows (N, I), got {inputs.ndim} dimension{'s' * (inputs.ndim != 1)} "
            f"{inputs.shape}.{' Turn color images to gray first.' if inputs.ndim == 4 else ''}"
        )
    if not len(inputs):
        raise DataError(f"{source}: no samples.")
    if 0 in inputs.shape:
        raise DataError(f"{source}: samples have no values, shape {inputs.shape}.")
    if inputs.dtype not in (np.uint8, np.float32, np.float64):
        raise DataError(f"{source}: inputs must be uint8, float32 or float64, got {inputs.dtype}.")
    if inputs.dtype.kind == "f":
        for start, block in inputs.blocks() if isinstance(inputs, OnDiskSamples) else [(0, inputs)]:
            bad = np.flatnonzero(~np.isfinite(block).reshape(len(block), -1).all(axis=1))
            if bad.size:
                values = block[bad[0]].ravel()
                value = values[~np.isfinite(values)][0]
                count = f"{bad.size} of {len(inputs)} samples hold others"
                raise DataError(
                    f"{source}: sample {start + bad[0]} holds {value}; every value must be finite ({count})."
                )


def check_input_names(names: Sequence[str], expected: Sequence[str], source: str, whose: str) -> None:
    """Raises DataError where the values of rows have other names, or another order, than whose values are expected."""
    if not names or len(names) != len(expected) or tuple(names) == tuple(expected):
        return
    for at, (name, wanted) in enumerate(zip(names, expected, strict=True), start=1):
        if name != wanted:
            raise DataError(
                f"{source}: value {at} of its rows is {short(name)}, but that of {whose}'s is {short(wanted)}. "
                "Bring the columns into the same order, under the same names."
            )


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Raises DataError unless there are at least two names, each printable and no two the same."""
    if len(class_names) < 2:
        raise DataError(f"{source}: a classifier needs at least two classes, got {list(class_names)}.")
    unprintable = next((name for name in class_names if not name.isprintable()), None)
    if unprintable is not None:  # it would reach terminals and pictures as it is
        raise DataError(f"{source}: class name {short(unprintable)} holds characters that cannot be printed.")
    if len(set(class_names)) < len(class_names):
        twice = Counter(class_names).most_common(1)[0][0]
        raise DataError(f"{source}: class name {short(twice)} is given twice.")
