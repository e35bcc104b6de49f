"""IDX files, the format of MNIST: a header with type and dimensions, then the values."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.data.readers.source_file import digest_of_files, open_source
from chalknet.data.readers.source_splits import SourceSplit, dataset_from_splits
from chalknet.errors import DataError
from chalknet.files import Budget

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 4
KINDS = ("images", "labels")


def looks_like_idx(head: bytes) -> bool:
    """Return whether these first bytes of a file can be those of an IDX file."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in TYPES


def read_idx(path: Path, source: str, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read labeled samples from a folder of MNIST's files, or from one images file.

    Args:
        path: the folder, or the images file with its labels file beside it.
        source: what messages call it.
        class_names: K names; "0" up to the largest label by default.

    Returns:
        The samples as a `Dataset`; MNIST's t10k files become the provided test split.

    Raises:
        DataError: a file is missing, damaged, or does not hold what a `Dataset` needs.
    """
    if path.is_dir():
        has_test = any(mnist_file(path, "t10k", kind) for kind in ("images", "labels"))
        found = [
            [mnist_file(path, split, kind) or _missing(path, source, mnist_names(split, kind)) for kind in KINDS]
            for split in ("train", "t10k")[: 1 + has_test]
        ]
    else:
        if read_idx_array(path, source)[0].ndim == 1:
            raise DataError(f"{source}: holds labels. Give the images file; its labels are found beside it.")
        names = labels_file_names(path.name)
        if not names:
            raise DataError(
                f"{source}: no labels file: its name is made from the images file's by putting 'labels' for 'images' "
                "and 'idx1' for 'idx3' or 'idx4'. Rename the two, such as train-images-idx3-ubyte and "
                "train-labels-idx1-ubyte."
            )
        found = [[path, first_file(path.parent, names) or _missing(path.parent, source, names)]]
    splits, digests = [], []
    for name, files in zip(("train", "test"), found, strict=False):
        arrays = [read_idx_array(file, str(file)) for file in files]
        digests += [(file.name, digest) for file, (_, digest) in zip(files, arrays, strict=True)]
        splits.append(SourceSplit(name, arrays[0][0], arrays[1][0], str(files[0]), str(files[1])))
    return dataset_from_splits(splits, source, class_names=class_names, sha256=digest_of_files(digests))


def read_idx_images(path: Path, source: str) -> list[NDArray[Any]]:
    """Read the images of a folder of MNIST's files, or of one file.

    Raises:
        DataError: a file is damaged or holds labels, or two files hold images of different shapes.
    """
    files = [path]
    if path.is_dir():
        files = [file for split in ("train", "t10k") if (file := mnist_file(path, split, "images"))]
    arrays = [read_idx_array(file, source if file is path else str(file))[0] for file in files]
    if arrays[0].ndim == 1:
        raise DataError(f"{source}: holds labels. Give the images file.")
    if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        raise DataError(f"{source}: its files hold samples of different shapes. Give one of them.")
    return arrays


def read_idx_array(path: Path, name: str) -> tuple[NDArray[Any], bytes]:
    """Return the array in an IDX file, gzipped or not, and the digest of the file.

    Raises:
        DataError: as `parse_idx`, or the file cannot be read.
    """
    with open_source(path, name) as file, file.unpacked() as stream:
        return parse_idx(stream, file.budget), file.digest()


def parse_idx(stream: IO[bytes], budget: Budget) -> NDArray[Any]:
    """Return the array in an IDX stream, writable and in native byte order.

    Memory grows with the data that arrive, so a header that promises too much costs nothing.

    Raises:
        DataError: the header is wrong, or promises more or fewer bytes than there are.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database, "the IDX file format".
    """
    head = stream.read(4)
    head += stream.read(4 * head[3]) if looks_like_idx(head) and head[3] <= MAX_DIMENSIONS else b""
    dtype, shape = _parse_header(head, budget.source)
    n_bytes = math.prod(shape) * dtype.itemsize
    body = budget.read(stream, n_bytes + 1)
    if len(body) != n_bytes:
        sizes = " × ".join(str(size) for size in shape)
        came = f"only {len(head) + len(body)}; the file is cut short" if len(body) < n_bytes else "more"
        raise DataError(
            f"{budget.source}: the IDX header says {sizes} values of {dtype.name}, {len(head) + n_bytes} bytes in all, "
            f"but there are {came}. Copy or download it again."
        )
    if not dtype.isnative:
        budget.take(n_bytes)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _parse_header(head: bytes, source: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and shape in the header of an IDX file."""
    if len(head) < 4:
        raise DataError(f"{source}: an IDX file begins with a header of at least 4 bytes, got {len(head)}.")
    if not looks_like_idx(head):
        raise DataError(
            f"{source}: an IDX file begins with bytes 00 00, then a type (08, 09, 0b, 0c, 0d or 0e), "
            f"got {head[:4].hex(' ')}. Download it again."
        )
    n_dimensions = head[3]
    if not 1 <= n_dimensions <= MAX_DIMENSIONS:
        raise DataError(f"{source}: IDX images and labels have 1 to {MAX_DIMENSIONS} dimensions, got {n_dimensions}.")
    if len(head) < 4 + 4 * n_dimensions:
        raise DataError(
            f"{source}: an IDX header of {n_dimensions} dimensions has {4 + 4 * n_dimensions} bytes, got {len(head)}. "
            "The file is cut short; copy or download it again."
        )
    return np.dtype(TYPES[head[2]]), struct.unpack_from(f">{n_dimensions}I", head, 4)


def labels_file_names(images_name: str) -> tuple[str, ...]:
    """Return the possible names of the labels file of an images file, or ()."""
    plain = images_name.removesuffix(".gz")
    renamed = plain.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    return () if renamed == plain or "images" not in plain else (renamed, f"{renamed}.gz")


def mnist_names(split: str, kind: str) -> tuple[str, ...]:
    """Return the possible names of one of MNIST's four files.

    Args:
        split: "train" or "t10k".
        kind: "images" or "labels".
    """
    plain = [f"{split}-{kind}{mark}idx{3 if kind == 'images' else 1}-ubyte" for mark in "-."]
    return (*plain, *(f"{name}.gz" for name in plain))


def mnist_file(folder: Path, split: str, kind: str) -> Path | None:
    """Return one of MNIST's four files in a folder, or None."""
    return first_file(folder, mnist_names(split, kind))


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of these names that is a file in a folder, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _missing(folder: Path, source: str, names: Sequence[str]) -> NoReturn:
    """Raise DataError for a missing file."""
    raise DataError(f"{source}: a file is missing: looked for {', '.join(names)} in {folder}. Put it there.")
