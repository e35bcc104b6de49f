""".npz files: arrays that `numpy.savez` wrote, read without pickle and within a budget."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, checked_labels, nfc, numeric_array
from chalknet.data.readers.npy_array import read_npy
from chalknet.data.readers.source_file import SourceFile
from chalknet.data.readers.source_splits import SourceSplit, dataset_from_splits
from chalknet.errors import DataError
from chalknet.formatting import count_of, quoted

NOTMNIST_LETTERS = tuple("ABCDEFGHIJ")
PAIRS = (("images", "labels"), ("X", "y"), ("x", "y"), ("data", "target"))
SPLIT_SUFFIXES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "val", "validation"),
    "test": ("test",),
}
KNOWN_ARRAYS = ("class_names", "family", "groups", "face", "made_with")  # `data build` writes the last two


def read_npz(file: SourceFile, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read labeled samples from an .npz file.

    Layouts: `images` and `labels` as in notMNIST.npz (or X and y, x and y, data and target), and
    `x_train`, `y_train` as in Keras's mnist.npz, with optional `x_test`, `y_test` and `x_valid`,
    `y_valid` (or val). `class_names` (K,) and `family` or `groups` (N,) are optional. `images` and
    `labels` without class names are taken for the ten letters of notMNIST.

    Args:
        file: the .npz file.
        class_names: K names, instead of those in the file.

    Returns:
        The samples as a `Dataset`.

    Raises:
        DataError: the archive is damaged, or an array is missing or invalid.
    """
    archive, notes = NpzArchive(file), list[str]()
    layout = _layout(archive)
    with np.errstate(over="ignore", invalid="ignore"):
        # Casting long double to float64 can overflow; the check of the values reports infinity.
        splits = [
            SourceSplit(
                split,
                _bool_to_gray(archive.array(inputs), inputs, notes),
                _column(archive.array(labels), labels, notes),
                f"{file.name}: {inputs}",
                f"{file.name}: {labels}",
            )
            for split, (inputs, labels) in layout.items()
        ]
        names = class_names or _stored_class_names(archive)
        if names is None and layout["train"][0] == "images":
            names = _notmnist_letters(splits[0].labels, file.name, notes)
        groups = _stored_groups(archive)
        unread = archive.keys - {*KNOWN_ARRAYS, *(key for keys in layout.values() for key in keys)}
        if unread:
            notes.append(f"{count_of(len(unread), 'array')} of the file not read: {quoted(sorted(unread))}.")
        sha256 = file.digest().hex()
        return dataset_from_splits(splits, file.name, class_names=names, groups=groups, sha256=sha256, notes=notes)


def read_npz_inputs(file: SourceFile) -> tuple[NDArray[Any], list[str]]:
    """Read the samples of an .npz file that may or may not have labels.

    The arrays are those of `read_npz`, or the only array in the file, whatever its name.

    Returns:
        The samples, and notes.

    Raises:
        DataError: the archive is damaged, or it is unclear which array holds the samples.
    """
    archive, notes = NpzArchive(file), list[str]()
    keys = _inputs_keys(archive)
    with np.errstate(over="ignore", invalid="ignore"):  # as above
        arrays = [numeric_array(_bool_to_gray(archive.array(key), key, notes), key, file.name) for key in keys]
    if any(array.shape[1:] != arrays[0].shape[1:] or array.ndim < 2 for array in arrays[1:]):
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise DataError(f"{file.name}: {quoted(keys)} must hold samples of one shape, got {shapes}.")
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0], notes


def _inputs_keys(archive: NpzArchive) -> list[str]:
    """Return the names of the arrays of samples."""
    for x in "xX":
        if f"{x}_train" in archive.keys:
            named = (f"{x}_{name}" for names in SPLIT_SUFFIXES.values() for name in names)
            return [key for key in named if key in archive.keys]
    known = [key for key in (*(inputs for inputs, _ in PAIRS), "x_test") if key in archive.keys]
    if known or len(archive.keys) == 1:
        return known[:1] or list(archive.keys)
    raise DataError(
        f"{archive.source}: expected an array 'images' (or X, x, data), or one array alone, found "
        f"{quoted(sorted(archive.keys))}. Save the samples under one of these names with numpy.savez."
    )


def _layout(archive: NpzArchive) -> dict[str, tuple[str, str]]:
    """Return the names of the arrays of samples and labels of each split, training first."""
    for x in "xX":
        if f"{x}_train" in archive.keys:
            named = {split: [(f"{x}_{name}", f"y_{name}") for name in names] for split, names in SPLIT_SUFFIXES.items()}
            layout = {
                split: next(pair for pair in pairs if archive.keys & set(pair))
                for split, pairs in named.items()
                if any(archive.keys & set(pair) for pair in pairs)
            }
            needed = {key for pair in layout.values() for key in pair}
            if needed - archive.keys:
                raise DataError(
                    f"{archive.source}: expected arrays {quoted(sorted(needed))}, found "
                    f"{quoted(sorted(archive.keys))}; each x needs its y, and each y its x."
                )
            return layout
    for pair in PAIRS:
        if archive.keys.issuperset(pair):
            return {"train": pair}
    raise DataError(
        f"{archive.source}: expected arrays 'images' and 'labels' (or x_train and y_train, X and y, data and target), "
        f"found {quoted(sorted(archive.keys))}. Save them under these names with numpy.savez."
    )


def _column(labels: NDArray[Any], key: str, notes: list[str]) -> NDArray[Any]:
    """Return labels of shape (N, 1), as in the CIFAR files, as (N,)."""
    if labels.ndim != 2 or labels.shape[1] != 1:
        return labels
    notes.append(f"{key} has shape {labels.shape} and was read as ({len(labels)},).")
    return labels[:, 0]


def _bool_to_gray(inputs: NDArray[Any], key: str, notes: list[str]) -> NDArray[Any]:
    """Return black-and-white images in the range of gray images, others unchanged."""
    if inputs.dtype != np.bool_ or inputs.ndim < 3:
        return inputs
    notes.append(f"{key} holds True and False, read as 255 and 0.")
    return inputs.astype(np.uint8) * np.uint8(255)


def _notmnist_letters(labels: NDArray[Any], source: str, notes: list[str]) -> tuple[str, ...]:
    """Return the names A to J; raise DataError if the labels do not fit them."""
    if labels.dtype.kind in "ui" and labels.ndim == 1:  # other problems are reported by the check of the data set
        try:
            checked_labels(labels, len(labels), NOTMNIST_LETTERS, source)
        except DataError as error:
            raise DataError(
                f"{error} The file names no classes, so notMNIST's A..J were assumed: "
                "give the names with class_names=[...] (--class-names A,B,...)."
            ) from None
    notes.append("The file names no classes: labels 0..9 are read as notMNIST's A..J.")
    return NOTMNIST_LETTERS


def _stored_class_names(archive: NpzArchive) -> tuple[str, ...] | None:
    """Return the class names in the file, or None."""
    if "class_names" not in archive.keys:
        return None
    names = archive.array("class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{archive.source}: class_names must be (K,) text, got {names.shape} of {names.dtype}. "
            "Save it as numpy.array(names, dtype=str)."
        )
    return tuple(nfc(name) for name in _texts(names, "class_names", archive.source))


def _stored_groups(archive: NpzArchive) -> NDArray[Any] | None:
    """Return the groups in the file as integers, or None; names are numbered in sorted order."""
    key = next((key for key in ("family", "groups") if key in archive.keys), None)
    if key is None:
        return None
    groups = archive.array(key)
    if groups.dtype.kind != "U" or groups.ndim != 1:
        return groups
    return np.unique(np.array(_texts(groups, key, archive.source), dtype=str), return_inverse=True)[1]


def _texts(array: NDArray[Any], key: str, source: str) -> list[str]:
    """Return the strings of a text array; NumPy does not check their code points."""
    codes = np.ascontiguousarray(array).view(np.uint32)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise DataError(f"{source}: {key} holds text that is not Unicode. Save the file again.")
    return [str(text) for text in array]


class NpzArchive:
    """The arrays in an .npz file, read without pickle and within the budget of the file.

    Memory grows with the data that arrive, whatever a header promises.

    Args:
        file: the .npz file.

    Raises:
        DataError: the file is not a zip archive, or holds no arrays.
    """

    def __init__(self, file: SourceFile) -> None:
        """Open the archive, and list its arrays."""
        self.source: str = file.name
        self._budget = file.budget
        try:
            self._zip = zipfile.ZipFile(file.file)
            members = self._zip.infolist()
        except Exception as error:  # zipfile does not document its exceptions for damaged archives
            raise DataError(
                f"{self.source}: not a readable .npz file ({error}). Copy or download it again, or save it with "
                "numpy.savez."
            ) from error
        self._members = {info.filename.removesuffix(".npy"): info for info in members if info.filename.endswith(".npy")}
        self.keys: frozenset[str] = frozenset(self._members)
        if not self.keys:
            raise DataError(
                f"{self.source}: a zip archive without arrays; it holds {quoted(info.filename for info in members)}. "
                "Expected .npz as numpy.savez writes it; unpack images into a folder, save a spreadsheet as CSV."
            )

    def array(self, key: str) -> NDArray[Any]:
        """Return an array in C order and native byte order.

        Raises:
            DataError: the array is damaged, too large, or holds Python objects.
        """
        try:
            with self._zip.open(self._members[key]) as member:
                return read_npy(member, key, self._budget)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # as above: bad checksums, truncated streams, wrong headers, passwords
            if self._members[key].flag_bits & 1:
                raise DataError(f"{self.source}: {key} is encrypted. Save the file without a password.") from error
            raise DataError(f"{self.source}: {key} is damaged ({error}). Copy or download the file again.") from error
