"""Write a data set as files: .npz, .npy, MNIST's IDX, a folder of PNG images, or a CSV table."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, IntArray
from chalknet.errors import DataError
from chalknet.formatting import csv_text

# A relative name, "" where the data set is one file, and that file's bytes.
Files = Iterator[tuple[str, bytes]]

IDX_TYPES = {"uint8": (0x08, ">u1"), "int32": (0x0C, ">i4"), "float32": (0x0D, ">f4"), "float64": (0x0E, ">f8")}
NPY_NAMES = {True: ("images", "labels"), False: ("x", "y")}  # by whether the samples are images
SHARD_SAMPLES = 65_536
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def npz_files(data: Dataset) -> Files:
    """Yield one .npz with images or x, labels or y, class_names, and family if there are groups.

    A data set with its own test split has x_train, y_train, x_test and y_test instead.
    """
    arrays: dict[str, NDArray[Any]] = {"class_names": np.array(data.class_names, dtype=np.str_)}
    labels = data.labels.astype(np.min_scalar_type(data.n_classes - 1))
    if data.provided_test is None:
        arrays |= {"images" if data.is_images else "x": data.inputs, "labels" if data.is_images else "y": labels}
    else:
        for part, at in zip(("train", "test"), _train_and_test(data), strict=True):
            arrays |= {f"x_{part}": data.inputs[at], f"y_{part}": labels[at]}
    if data.groups is not None:
        arrays["family"] = data.groups[np.concatenate(_train_and_test(data))]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    yield "", buffer.getvalue()


def idx_files(data: Dataset) -> Files:
    """Yield two IDX files of the training split, and two of the test split if the data has its own."""
    names = iter(IDX_NAMES)
    labels = data.labels.astype(np.uint8 if data.n_classes <= 256 else np.int32)
    for at in _train_and_test(data):
        if len(at):
            yield next(names), _idx(data.inputs[at])
            yield next(names), _idx(labels[at])


def folder_files(data: Dataset) -> Files:
    """Yield CLASS/NUMBER.png for each image, where NUMBER is the position of the sample.

    Raises:
        DataError: the data is not uint8 images, a class name cannot name a folder, or a class has no
            samples.
    """
    from PIL import Image

    if not data.is_images or data.inputs.dtype != np.uint8:
        raise DataError(f"{data.source}: PNG files hold uint8 images, got {_kind(data)}. Use .npz instead.")
    for name, count in zip(data.class_names, data.class_counts, strict=True):
        if not name or name.startswith(".") or not name.isprintable() or any(mark in name for mark in '/\\:*?"<>|'):
            raise DataError(f"{data.source}: class name {name!r} cannot name a folder. Use .npz instead.")
        if not count:
            raise DataError(
                f"{data.source}: class {name!r} has no samples, and a folder cannot hold it. Use .npz instead."
            )
    digits = len(str(len(data) - 1))
    for i, (image, label) in enumerate(zip(data.inputs, data.labels, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        yield f"{data.class_names[label]}/{i:0{digits}}.png", buffer.getvalue()


def csv_files(data: Dataset) -> Files:
    """Yield a CSV table with a header; each row is a class name and the values with all digits."""
    samples = zip(data.inputs.reshape(len(data), -1), data.labels, strict=True)
    rows = ([data.class_names[label], *row.tolist()] for row, label in samples)
    head = ["label", *(f"value{i}" for i in range(data.n_inputs))]
    yield "", csv_text(chain([head], rows), is_data=True).encode()


def npy_files(data: Dataset) -> Files:
    """Yield images.npy or x.npy, and labels.npy or y.npy, which can be read from disk as needed."""
    yield from _npy_pair(data, slice(None), "")


def shard_files(data: Dataset) -> Files:
    """Yield pairs of files as `npy_files`, with `SHARD_SAMPLES` samples in each."""
    for number, start in enumerate(range(0, len(data), SHARD_SAMPLES)):
        yield from _npy_pair(data, slice(start, start + SHARD_SAMPLES), f"-{number:05}")


def _npy_pair(data: Dataset, at: slice, suffix: str) -> Files:
    samples, labels = NPY_NAMES[data.is_images]
    yield f"{samples}{suffix}.npy", _npy(data.inputs[at])
    yield f"{labels}{suffix}.npy", _npy(data.labels[at].astype(np.min_scalar_type(data.n_classes - 1)))


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


WRITERS: dict[str, Callable[[Dataset], Files]] = {
    "npz": npz_files,
    "idx": idx_files,
    "folder": folder_files,
    "csv": csv_files,
    "npy": npy_files,
    "shards": shard_files,
}
FOLDER_KINDS = ("idx", "folder", "npy", "shards")  # the others are one file


def _train_and_test(data: Dataset) -> tuple[IntArray, IntArray]:
    """Return the positions outside the data set's own test split, and those inside it."""
    provided_test = np.empty(0, dtype=np.int64) if data.provided_test is None else data.provided_test
    return np.setdiff1d(np.arange(len(data)), provided_test), provided_test


def _idx(array: NDArray[Any]) -> bytes:
    """Return the bytes of an IDX file: two zeros, a type, the number of dimensions, sizes, values."""
    code, big_endian = IDX_TYPES[array.dtype.name]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(big_endian).tobytes()


def _kind(data: Dataset) -> str:
    return f"{data.inputs.dtype} {'images' if data.is_images else 'rows'}"
