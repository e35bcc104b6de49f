"""Samples in .npy files with labels files beside them; the samples stay on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.color import N_COLORS
from chalknet.data.dataset import Dataset, checked_labels, numbered_class_names
from chalknet.data.on_disk import OnDiskArray, OnDiskSamples
from chalknet.data.readers.npy_array import read_npy, read_npy_header
from chalknet.data.readers.source_file import digest_of_files, open_source
from chalknet.errors import DataError
from chalknet.files import open_regular

SUFFIX = ".npy"
PAIRS = (("images", "labels"), ("inputs", "labels"), ("X", "y"), ("x", "y"), ("data", "target"))
SORTED_BELOW = 0.5  # fraction of the changes of class that a shuffled order would have
INPUT_TYPES = ("uint8", "float32", "float64")

FilePair = tuple[Path, Path]


def find_pairs(folder: Path) -> list[FilePair]:
    """Return the files of samples in a folder with their labels files, sorted by name.

    A pair is images.npy and labels.npy (or other names in `PAIRS`), or images-SHARD.npy and
    labels-SHARD.npy. The labels file of a pair may be missing.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
    for samples, labels in PAIRS:
        stems = [name.removesuffix(SUFFIX) for name in names]
        shards = [stem for stem in stems if stem == samples or stem.startswith(f"{samples}-")]
        if shards:
            return [
                (folder / f"{stem}{SUFFIX}", folder / f"{labels}{stem.removeprefix(samples)}{SUFFIX}")
                for stem in shards
            ]
    return []


def pairs_at(path: Path, source: str) -> list[FilePair]:
    """Return the pairs of files in a folder, or the file of samples at path with its labels file.

    Raises:
        DataError: the labels file is missing, or the name of the file does not determine its name.
    """
    if path.is_dir():
        return find_pairs(path)
    labels = None
    for known, its_labels in PAIRS:
        if path.stem == known or path.stem.startswith(f"{known}-"):
            labels = path.with_name(f"{its_labels}{path.stem.removeprefix(known)}{SUFFIX}")
    if labels is None or not labels.is_file():
        wanted = ", ".join(f"{one}.npy with {other}.npy" for one, other in PAIRS)
        raise DataError(
            f"{source}: is one NumPy array, without its labels beside it{f' ({labels.name})' if labels else ''}. "
            f"Expected {wanted}; or save both together with numpy.savez."
        )
    return [(path, labels)]


def read_pairs(pairs: Sequence[FilePair], source: str, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read a data set whose samples stay in their files.

    Everything is read once, to compute the digest and to find values that are not finite. Only the
    labels are kept in memory.

    Args:
        pairs: files of samples and labels, at least one pair; all samples have one type and shape.
        source: what messages call them.
        class_names: K names; "0" up to the largest label by default.

    Returns:
        The samples as a `Dataset`.

    Raises:
        DataError: a file is missing or invalid.
    """
    arrays: list[OnDiskArray] = []
    labels, digests = [], []
    for samples_path, labels_path in pairs:
        for path in (samples_path, labels_path):
            if not path.is_file():
                raise DataError(
                    f"{source}: a file is missing: {path.name}. Each samples file needs its labels beside it."
                )
        arrays.append(_opened(samples_path, arrays[0] if arrays else None))
        with open_source(labels_path, str(labels_path)) as file:
            of_file = read_npy(file.file, "the array of labels", file.budget)
        if of_file.ndim != 1 or of_file.dtype.kind not in "ui":
            raise DataError(f"{labels_path}: labels must be (N,) integers, got {of_file.shape} of {of_file.dtype}.")
        n_samples = arrays[-1].shape[0]
        if len(of_file) != n_samples:
            raise DataError(f"{labels_path}: {len(of_file)} labels for the {n_samples} samples of {samples_path.name}.")
        labels.append(of_file)
        digests += [(path.name, _digest(path)) for path in (samples_path, labels_path)]
    samples, all_labels = OnDiskSamples(arrays), np.concatenate(labels)
    names = tuple(class_names) if class_names else numbered_class_names(all_labels, source)
    checked_labels(all_labels, len(samples), names, source)  # before the check of all values, which takes long
    notes = _note_of_order(all_labels)
    return Dataset(samples, all_labels, names, source=source, sha256=digest_of_files(digests), notes=notes)


def _note_of_order(labels: NDArray[Any]) -> tuple[str, ...]:
    """Return a note if neighboring samples share their class far more often than by chance."""
    fractions = np.bincount(labels) / max(1, len(labels))
    by_chance = (len(labels) - 1) * (1 - float(np.square(fractions).sum()))
    changes = int(np.count_nonzero(np.diff(labels)))
    if changes >= SORTED_BELOW * by_chance:
        return ()
    return (
        f"The samples lie in runs of one class ({changes} changes in {len(labels)} samples; {by_chance:.0f} by chance)."
        " Mini-batches are shuffled within windows only (shuffle_window): shuffle the files once.",
    )


def open_samples(paths: Sequence[Path]) -> OnDiskSamples:
    """Return the samples of one or more files without labels; they stay in the files.

    Raises:
        DataError: a file is invalid, or files differ in type or shape of their samples.
    """
    arrays: list[OnDiskArray] = []
    for path in paths:
        arrays.append(_opened(path, arrays[0] if arrays else None))
    return OnDiskSamples(arrays)


def _opened(path: Path, first: OnDiskArray | None) -> OnDiskArray:
    """Return the array in a file after checking its header and size."""
    with open_regular(path) as file:
        header = read_npy_header(file, str(path), "the array")
    if header.dtype.name not in INPUT_TYPES or not header.dtype.isnative or header.fortran_order:
        order = ", in Fortran order" if header.fortran_order else ""
        dtype = header.dtype.name if header.dtype.name in INPUT_TYPES else "float32"
        raise DataError(
            f"{path}: samples that stay on disk must be {', '.join(INPUT_TYPES)} of this machine's byte order, in C "
            f"order; got {header.dtype.str}{order}. Write them again with "
            f"numpy.save(..., numpy.ascontiguousarray(..., {dtype!r}))."
        )
    size, promised = path.stat().st_size, header.n_bytes + header.array_bytes
    if size != promised:
        raise DataError(f"{path}: its header promises {promised} bytes, and there are {size}. Copy the file again.")
    shape = header.shape
    if len(shape) == 4 and 1 in (shape[1], shape[3]):  # gray images with an axis of one channel
        shape = shape[:3] if shape[3] == 1 else (shape[0], *shape[2:])
    found = OnDiskArray(path, header.n_bytes, shape, header.dtype)
    if len(found.shape) not in (2, 3) and not (len(found.shape) == 4 and found.shape[3] == N_COLORS):
        raise DataError(
            f"{path}: samples that stay on disk must be (N, H, W) images, (N, H, W, 3) color images with the channels "
            f"last, or (N, I) rows, got shape {found.shape}."
        )
    if first is not None and (found.shape[1:], found.dtype) != (first.shape[1:], first.dtype):
        raise DataError(
            f"{path}: samples must be like those of {first.path.name}, {first.shape[1:]} of {first.dtype}, got "
            f"{found.shape[1:]} of {found.dtype}."
        )
    return found


def _digest(path: Path) -> bytes:
    """Return the SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
