"""IDX, the format of MNIST: two zero bytes, a type, the number of dimensions, the dimensions, then the values."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, checked_labels, dataset_from_arrays, numbered_class_names
from chalknet.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 3
HEADER_BYTES = 4 + 4 * MAX_DIMENSIONS  # the longest header that is read


@dataclass(frozen=True, eq=False)
class Part:
    """The train or the test half of a source that divides itself.

    Attributes:
        inputs: (n, H, W) or (n, I).
        labels: (n,).
        inputs_source, labels_source: what messages call the files, or the arrays in a file, that they came from.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any]
    inputs_source: str
    labels_source: str


def looks_like_idx(head: bytes) -> bool:
    """Whether the first bytes of a file can be the head of an IDX file."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in TYPES


def expected_bytes(head: bytes, source: str) -> int:
    """The size in bytes that the header promises for the whole file.

    Args:
        head: the first `HEADER_BYTES` of the file, or all of it.

    Raises:
        DataError: the header is damaged, cut short, or of a kind that holds no samples.
    """
    dtype, shape = _parse_header(head, source)
    return 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize


def parse_idx(content: bytes, source: str) -> NDArray[Any]:
    """The array that the bytes of an IDX file hold, in the machine's byte order.

    The header's promise is compared with the number of bytes before memory is taken, so a lying header costs nothing.

    Raises:
        DataError: the header is wrong, or promises more or fewer bytes than there are.
    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database, "the IDX file format".
    """
    dtype, shape = _parse_header(content[:HEADER_BYTES], source)
    expected = expected_bytes(content[:HEADER_BYTES], source)
    if len(content) != expected:
        sizes = " × ".join(str(size) for size in shape)
        came = f"only {len(content)}; the file is cut short" if len(content) < expected else "more"
        raise DataError(
            f"{source}: the IDX header says {sizes} values of {dtype.name}, {expected} bytes in all, "
            f"but there are {came}. Copy or download it again."
        )
    values = np.frombuffer(content, dtype, offset=4 + 4 * len(shape)).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: writable, and free of the file's bytes


def _parse_header(head: bytes, source: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
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
    """The names under which the labels of an images file are looked for; none where the name does not say "images"."""
    plain = images_name.removesuffix(".gz")
    renamed = plain.replace("images", "labels").replace("idx3", "idx1")
    return () if renamed == plain or "images" not in plain else (renamed, f"{renamed}.gz")


def mnist_file_names(part: str, kind: str) -> tuple[str, ...]:
    """The names that one of MNIST's four files goes by.

    Args:
        part: "train" or "t10k".
        kind: "images" or "labels".
    """
    dimensions = {"images": 3, "labels": 1}[kind]
    plain = [f"{part}-{kind}{mark}idx{dimensions}-ubyte" for mark in "-."]
    return (*plain, *(f"{name}.gz" for name in plain))


def dataset_from_parts(
    parts: Sequence[Part],
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    groups: NDArray[Any] | None = None,
    sha256: str = "",
    notes: Sequence[str] = (),
) -> Dataset:
    """Return one `Dataset` of a training part and, behind it, a test part, which is marked as `own_test`.

    Classes are "0" to the largest label unless class_names names them.

    Raises:
        DataError: as `Dataset`, each part named in the message; or the parts' samples differ in shape or type.
    """
    train = parts[0]
    parts = [train, *(part for part in parts[1:] if part.inputs.size)]
    names = class_names or max((numbered_class_names(part.labels, part.labels_source) for part in parts), key=len)
    for part in parts:
        if part.inputs.ndim not in (2, 3):
            raise DataError(
                f"{part.inputs_source}: images must be (N, H, W) or rows (N, I), got shape {part.inputs.shape}. "
                "Turn colour images to grey first."
            )
        if part.inputs.shape[1:] != train.inputs.shape[1:] or part.inputs.dtype != train.inputs.dtype:
            raise DataError(
                f"{part.inputs_source}: test samples must be like the training samples, {train.inputs.shape[1:]} of "
                f"{train.inputs.dtype}, got {part.inputs.shape[1:]} of {part.inputs.dtype}."
            )
        checked_labels(part.labels, len(part.inputs), names, part.labels_source)
    n_train, n_all = len(train.inputs), sum(len(part.inputs) for part in parts)
    return dataset_from_arrays(
        np.concatenate([part.inputs for part in parts]) if len(parts) == 2 else train.inputs,
        np.concatenate([part.labels.astype(np.int64) for part in parts]),
        names,
        groups,
        own_test=np.arange(n_train, n_all, dtype=np.int64) if len(parts) == 2 else None,
        source=source,
        sha256=sha256,
        notes=notes,
    )
