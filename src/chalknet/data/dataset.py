"""`Dataset`: samples with labels, checked once when it is created."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import RGB, DataConfig
from chalknet.data.color import N_COLORS, in_color, is_color, with_usual_channels
from chalknet.data.dataset_view import dataset_html
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.tables.columns import ColumnSummary
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.rows import TableRows
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import count_of, for_reader

IntArray = NDArray[np.int64]

ARRAYS = "arrays"  # the source of samples that did not come from a file
# Labels that are more different numbers than this, with fewer samples of each on average, may be amounts.
MANY_NUMBERS, FEW_SAMPLES = 50, 20
MAX_CLASSES = 10_000  # a larger label means a broken file, not a classification problem


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labeled samples with consistent shapes, valid labels and finite values.

    Attributes:
        inputs: (N, H, W) gray images, (N, H, W, 3) color images or (N, I) rows; uint8, float32 or
            float64, not scaled. A NumPy array, `OnDiskSamples` that are read when they are indexed, or
            the `TableRows` of a large table, which are computed when they are indexed.
        labels: (N,) int64 in [0, K).
        class_names: K names, at least two.
        groups: (N,) int64 or None. Samples of one group (a font family, a patient) should not be in
            two splits.
        provided_test: (M,) int64 or None; indices of the test samples that the source provides.
        provided_valid: (V,) int64 or None; indices of provided validation samples, see
            `provided_splits.with_provided_splits`.
        source: the file, folder or name that the samples came from, for messages.
        sha256: hexadecimal digest of the source.
        notes: what a reader skipped or converted, one sentence each.
        origin: how to read the same samples again, or None if they came from arrays.
        input_names: names of the I columns of a table; () if there are none.
        encoding: how the rows were made of the columns of a table, or None if the columns are the
            inputs. With an encoding, inputs that are missing in the table are NaN.
        columns: what each column of a table holds and what is done with it; () if it was not examined.

    Raises:
        DataError: a condition above does not hold; the message names the source, the field and the
            first bad index.
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
    encoding: TableEncoding | None = None
    columns: tuple[ColumnSummary, ...] = ()

    def __repr__(self) -> str:
        """Return the source, the number and shape of samples, and the number of classes."""
        kind = "images" if self.is_images else "rows"
        return f"<Dataset {self.source}: {len(self):,} {kind} {self.inputs.shape[1:]}, {self.n_classes} classes>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the size, the classes, and the columns or the first images."""
        kind = "images" if self.is_images else "rows"
        rows = [("source", self.source), (kind, f"{len(self):,} of {' x '.join(map(str, self.sample_shape))}")]
        rows += [] if self.groups is None else [("groups", f"{len(np.unique(self.groups)):,}")]
        return dataset_html(rows, self.inputs, self.labels, self.class_names, self.columns)

    def __post_init__(self) -> None:
        """Check all fields, convert labels and groups to int64, and name in the notes what their reader can give."""
        object.__setattr__(self, "notes", tuple(map(for_reader, self.notes)))
        check_inputs(self.inputs, self.source, may_be_missing=self.encoding is not None)
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
            object.__setattr__(self, "sha256", arrays_sha256(self.inputs, labels))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs)

    def with_origin(self, origin: DataConfig) -> Dataset:
        """Return the same data set with its origin; the samples are not checked again."""
        made = copy(self)
        object.__setattr__(made, "origin", origin)
        return made

    @property
    def n_classes(self) -> int:
        """Return the number of classes, K."""
        return len(self.class_names)

    @property
    def n_inputs(self) -> int:
        """Return the number of values of a sample: H·W of a gray image, I of a row."""
        return int(np.prod(self.inputs.shape[1:]))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Return the shape of one sample: (H, W) or (H, W, 3) of an image, (I,) of a row."""
        return tuple(map(int, self.inputs.shape[1:]))

    @property
    def is_images(self) -> bool:
        """Return whether the samples are images and not rows."""
        return len(self.inputs.shape) > 2

    @property
    def is_color(self) -> bool:
        """Return whether the samples are color images."""
        return is_color(self.sample_shape)

    def in_color(self, color: str | None) -> Dataset:
        """Return the data set with images in gray or color; it keeps its digest.

        Args:
            color: "gray" or "rgb"; None to leave the images as they are.

        Raises:
            ConfigError: the samples are rows, or stay on disk with other channels.
        """
        if color is None or (self.is_images and self.is_color == (color == RGB)):
            return self
        if not self.is_images:
            raise ConfigError(f"color (--color) has no meaning for rows of numbers ({self.source}). Leave it out.")
        if self.is_on_disk:
            stored = "color" if self.is_color else "gray"
            raise ConfigError(
                f"{self.source}: holds {stored} images that stay on disk, so color={color!r} (--color {color}) cannot "
                "change them. Leave it out, or save the images in the other form."
            )
        return replace(self, inputs=in_color(self.inputs, color))

    @property
    def pool(self) -> IntArray:
        """Return the indices of the samples that are in no provided split, in ascending order."""
        apart = [index for index in (self.provided_test, self.provided_valid) if index is not None]
        every = np.arange(len(self))
        return np.setdiff1d(every, np.concatenate(apart)) if apart else every

    @property
    def is_on_disk(self) -> bool:
        """Return whether the samples stay on disk."""
        return isinstance(self.inputs, OnDiskSamples)

    def in_memory(self) -> Dataset:
        """Return the same data set with its samples as one array in memory."""
        return self if isinstance(self.inputs, np.ndarray) else replace(self, inputs=np.asarray(self.inputs))

    def without_missing(self) -> Dataset:
        """Return the data set with missing values replaced by the median of their column, to compare samples."""
        if self.encoding is None:
            return self
        if isinstance(self.inputs, TableRows):
            return replace(self, inputs=self.inputs.with_medians(), encoding=None)
        rows = np.array(self.inputs, np.float64)
        for column in rows.T:
            gone = np.isnan(column)
            column[gone] = 0.0 if gone.all() else np.median(column[~gone])
        return replace(self, inputs=rows, encoding=None)

    @property
    def class_counts(self) -> IntArray:
        """Return (K,) the number of samples of each class."""
        return np.bincount(self.labels, minlength=self.n_classes).astype(np.int64)


@dataclass(frozen=True, eq=False)
class UnlabeledSamples:
    """N samples without labels, checked like those of a `Dataset`.

    Attributes:
        inputs: (N, H, W) or (N, H, W, 3) images or (N, I) rows; uint8, float32 or float64; a NumPy array,
            `OnDiskSamples` or `TableRows`.
        source: what messages call the source.
        notes: what a reader converted or left out, one sentence each.
        input_names: names of the columns, as in `Dataset`.
        encoding: how the rows were made of the columns of a table, as in `Dataset`.
        names: names of the samples, from a column of the table; () if they have none.

    Raises:
        DataError: wrong shape or type, no samples, or a value that is not finite.
    """

    inputs: Any
    source: str
    notes: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    encoding: TableEncoding | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Bring the channels of images into the usual order, and check the samples."""
        if not isinstance(self.inputs, OnDiskSamples | TableRows):
            inputs, dropped = with_usual_channels(self.inputs)
            object.__setattr__(self, "inputs", inputs)
            object.__setattr__(self, "notes", (*self.notes, *dropped))
        check_inputs(self.inputs, self.source, may_be_missing=self.encoding is not None)

    def __len__(self) -> int:
        """Return the number of samples."""
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
    input_names: Sequence[str] | None = None,
) -> Dataset:
    """Create a `Dataset` from arrays, lists or frames in memory.

    The channel axis of gray images (N, H, W, 1) or (N, 1, H, W) is removed, color images (N, 3,
    H, W) become (N, H, W, 3), and those with opacity are laid on white, with a note. Integer
    images with all values in 0..255 become uint8. Other types become float32 if it represents
    all their values, and float64 otherwise. A frame of pandas or Polars also provides the names
    of its columns.

    Args:
        inputs: (N, H, W) or (N, H, W, 3) images, or (N, I) rows of numbers.
        labels: (N,) integers in [0, K), or texts.
        class_names: K names; by default the different texts in order, or "0", "1", ... up to the largest
            label.
        groups: (N,) integers, see `Dataset`, or None.
        provided_test: (M,) indices of test samples, or None.
        source: what messages call the samples.
        sha256: digest of the source; computed from the arrays by default.
        notes: notes of the reader.
        input_names: names of the columns of rows; by default those of a frame.

    Raises:
        DataError: as `Dataset`, or an array holds objects or text.
    """
    numeric, dropped = with_usual_channels(numeric_array(inputs, "inputs", source))
    check_labels_present(labels, f"{source}: labels")
    label_array = np.asarray(labels)
    if label_array.dtype.kind in "OUST" and label_array.ndim == 1:
        label_array, class_names = _numbered_texts(label_array, class_names, source)
    if class_names is None:
        class_names = numbered_class_names(label_array, source)
        if numeric.ndim == 2 and label_array.shape == (len(numeric),):
            dropped += amounts_notes("The labels are", len(np.unique(label_array)), len(numeric))
    return Dataset(
        inputs=numeric,
        labels=label_array,
        class_names=tuple(str(name) for name in class_names),
        groups=None if groups is None else np.asarray(groups),
        provided_test=provided_test,
        source=source,
        sha256=sha256,
        notes=(*notes, *dropped),
        input_names=tuple(column_names(inputs) if input_names is None else input_names) if numeric.ndim == 2 else (),
    )


def amounts_notes(subject: str, n_different: int, n_samples: int) -> tuple[str, ...]:
    """Return a note that asks whether labels that are numbers are amounts and not classes; () if they are few.

    Args:
        subject: the labels and a verb, the beginning of the note.
        n_different: number of different labels.
        n_samples: number of samples.
    """
    if n_different <= MANY_NUMBERS or n_samples >= FEW_SAMPLES * n_different:
        return ()
    return (
        f"{subject} {n_different:,} different numbers in {count_of(n_samples, 'row')}, fewer than {FEW_SAMPLES} rows "
        "for each. Is the label a number to be predicted (regression)? chalknet predicts classes: each number is a "
        "class of its own, without an order. If so, use ranges of the number as labels, or choose another label.",
    )


def check_labels_present(labels: Any, name: str) -> None:
    """Raise DataError if a label is missing: None, NaN, or what pandas and polars use.

    Args:
        labels: an array, a list, or a series of pandas or polars.
        name: what messages call the labels, such as "y".
    """
    if hasattr(labels, "isna"):
        is_missing = np.asarray(labels.isna())
    elif hasattr(labels, "is_null"):
        is_missing = np.asarray((labels.fill_nan(None) if labels.dtype.is_float() else labels).is_null())
    else:
        # NumPy would make the text "nan" of a missing label in a list of texts.
        array = np.array(labels, object) if isinstance(labels, list | tuple) else np.asarray(labels)
        if array.dtype.kind not in "OfcMm":
            return
        is_missing = np.frompyfunc(_is_missing, 1, 1)(array).astype(bool) if array.dtype == object else array != array
    if is_missing.ndim and (missing := np.unique(np.nonzero(is_missing)[0])).size:
        raise _missing_labels(missing.tolist(), len(is_missing), name)


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN, or pandas' NA or NaT."""
    try:
        return label is None or bool(label != label)
    except TypeError:  # the truth of pandas' NA
        return True
    except ValueError:  # an array
        return False


def _missing_labels(missing: Sequence[int], n_labels: int, name: str) -> DataError:
    """Return the error for labels that are missing at these positions."""
    return DataError(
        f"{name}[{missing[0]}] is missing ({count_of(len(missing), 'label')} of {n_labels:,}). Leave these samples out."
    )


def _numbered_texts(
    labels: NDArray[Any], class_names: Sequence[str] | None, source: str
) -> tuple[NDArray[np.int64], Sequence[str]]:
    """Return texts as class indices, and the names of the classes."""
    texts = [nfc(str(label)) for label in labels]
    missing = [at for at, text in enumerate(texts) if not text.strip()]
    if missing:
        raise _missing_labels(missing, len(labels), f"{source}: labels")
    names = sorted(set(texts)) if class_names is None else list(map(nfc, class_names))
    number = {name: k for k, name in enumerate(names)}
    unknown = next((at for at, text in enumerate(texts) if text not in number), None)
    if unknown is not None:
        raise DataError(f"{source}: labels[{unknown}] is {texts[unknown]!r}, which is none of the class names {names}.")
    return np.array([number[text] for text in texts], np.int64), names


def column_names(values: Any) -> tuple[str, ...]:
    """Return the column names of a frame; () for arrays and for names that cannot be printed."""
    if not hasattr(values, "columns"):
        return ()
    names = tuple(values.columns)
    return names if all(isinstance(name, str) and name.isprintable() for name in names) else ()


def numeric_array(values: Any, field: str, source: str) -> NDArray[Any]:
    """Return values as a uint8, float32 or float64 array.

    Args:
        values: an array, list or frame.
        field: what messages call the values.
        source: what messages call their source.

    Raises:
        DataError: the values are not numbers.
    """
    array = np.asarray(values)
    if array.dtype == object and hasattr(values, "columns"):  # a frame with column types that NumPy lacks
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: {field} must hold numbers, and none missing ({error}).") from error
    if array.dtype == np.uint8 or array.dtype in (np.float32, np.float64):
        return np.asarray(array, order="C")  # not ascontiguousarray, which would give a scalar a dimension
    if array.dtype.kind not in "buif":
        raise DataError(f"{source}: {field} must hold numbers, got dtype {array.dtype}.")
    if array.dtype.kind in "bui" and array.ndim in (3, 4) and array.size and array.min() >= 0 and array.max() <= 255:
        return np.asarray(array, dtype=np.uint8, order="C")
    return np.asarray(array, dtype=np.float32 if np.can_cast(array.dtype, np.float32) else np.float64, order="C")


def numbered_class_names(labels: NDArray[Any], source: str) -> tuple[str, ...]:
    """Return the names "0", "1", ... up to the largest label, at least two."""
    if labels.dtype.kind not in "ui" or labels.ndim != 1 or not labels.size:
        return ("0", "1")  # `checked_labels` reports what is wrong with them
    largest = int(labels.max())
    if largest >= MAX_CLASSES:
        first = int(np.argmax(labels == labels.max()))
        raise DataError(f"{source}: labels[{first}] is {largest}; more than {MAX_CLASSES} classes are not supported.")
    return tuple(str(k) for k in range(max(largest + 1, 2)))


def nfc(name: str) -> str:
    """Return a name in composed Unicode form; macOS stores file names decomposed."""
    return unicodedata.normalize("NFC", name)


def with_known(found: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return class names, completed by known classes if the samples have only one class."""
    return tuple(found) if len(found) > 1 else (*found, *(name for name in map(nfc, known) if name not in found))


def checked_labels(labels: NDArray[Any], n_samples: int, class_names: Sequence[str], source: str) -> IntArray:
    """Return labels as (N,) int64 after checking them.

    Args:
        labels: the labels.
        n_samples: N.
        class_names: K names.
        source: what messages call the labels.

    Raises:
        DataError: labels are not (N,) integers in [0, K); the message names the first bad one.
    """
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


def arrays_sha256(*arrays: Any) -> str:
    """Return a digest of types, shapes and bytes, which identifies samples without a file."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        for _, block in _blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def sample_digests(inputs: Any) -> Iterator[bytes]:
    """Yield a digest of the values of each sample; equal values of any type give equal digests."""
    for _, block in _blocks(inputs):
        for row in block.reshape(len(block), -1):
            values = row.astype(np.float64) + 0.0  # so that -0.0 equals 0.0
            yield hashlib.sha256(values.tobytes()).digest()


def _blocks(inputs: Any) -> Iterable[tuple[int, NDArray[Any]]]:
    """Yield samples in blocks, each with the position of its first sample; an array is one block."""
    return inputs.blocks() if isinstance(inputs, OnDiskSamples | TableRows) else [(0, inputs)]


def check_inputs(inputs: Any, source: str, *, may_be_missing: bool = False) -> None:
    """Check shape, type and values of samples.

    Args:
        inputs: the samples.
        source: what messages call them.
        may_be_missing: whether values may be NaN.

    Raises:
        DataError: inputs are not (N, H, W), (N, H, W, 3) or (N, I) with N >= 1, have a type other than uint8,
            float32 and float64, or hold a value that is not finite.
    """
    if inputs.ndim not in (2, 3) and not (inputs.ndim == 4 and inputs.shape[3] == N_COLORS):
        raise DataError(
            f"{source}: images must be (N, H, W), or (N, H, W, 3) in color, or rows (N, I), got {inputs.ndim} "
            f"dimension{'s' * (inputs.ndim != 1)} {inputs.shape}."
        )
    if not len(inputs):
        raise DataError(f"{source}: no samples.")
    if 0 in inputs.shape:
        raise DataError(f"{source}: samples have no values, shape {inputs.shape}.")
    if inputs.dtype not in (np.uint8, np.float32, np.float64):
        raise DataError(f"{source}: inputs must be uint8, float32 or float64, got {inputs.dtype}.")
    if inputs.dtype.kind == "f":
        for start, block in () if isinstance(inputs, TableRows) else _blocks(inputs):  # those are finite or missing
            is_good = ~np.isinf(block) if may_be_missing else np.isfinite(block)
            bad = np.flatnonzero(~is_good.reshape(len(block), -1).all(axis=1))
            if bad.size:
                values = block[bad[0]].ravel()
                value = values[np.isinf(values) if may_be_missing else ~np.isfinite(values)][0]
                count = f"{bad.size} of {len(inputs)} samples hold others"
                raise DataError(
                    f"{source}: sample {start + bad[0]} holds {value}; every value must be finite ({count})."
                )


def check_input_names(names: Sequence[str], expected: Sequence[str], source: str, whose: str) -> None:
    """Check that rows have the expected columns in the expected order.

    Args:
        names: the column names of the rows; () if unknown, which is accepted.
        expected: the names to compare with.
        source: what messages call the rows.
        whose: what messages call the owner of the expected names.

    Raises:
        DataError: a name differs.
    """
    if not names or len(names) != len(expected) or tuple(names) == tuple(expected):
        return
    for at, (name, wanted) in enumerate(zip(names, expected, strict=True), start=1):
        if name != wanted:
            raise DataError(
                f"{source}: value {at} of its rows is {short(name)}, but that of {whose}'s is {short(wanted)}. "
                "Bring the columns into the same order, under the same names."
            )


def check_class_names(class_names: Sequence[str], source: str) -> None:
    """Check the names of classes.

    Raises:
        DataError: there are fewer than two names, a name appears twice, or one cannot be printed.
    """
    if len(class_names) < 2:
        raise DataError(f"{source}: a classifier needs at least two classes, got {list(class_names)}.")
    unprintable = next((name for name in class_names if not name.isprintable()), None)
    if unprintable is not None:  # it would be printed in terminals and figures
        raise DataError(f"{source}: class name {short(unprintable)} holds characters that cannot be printed.")
    if len(set(class_names)) < len(class_names):
        twice = Counter(class_names).most_common(1)[0][0]
        raise DataError(f"{source}: class name {short(twice)} is given twice.")
