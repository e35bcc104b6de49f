""".npz files: arrays that `numpy.savez` wrote, read without pickle and never larger than they say they are."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, checked_labels, dataset_from_arrays, numeric_array
from chalknet.data.readers.idx import Part, dataset_from_parts
from chalknet.data.readers.npy_header import read_npy_header
from chalknet.errors import DataError
from chalknet.formatting import quoted

NOTMNIST_LETTERS = tuple("ABCDEFGHIJ")
PAIRS = (("images", "labels"), ("X", "y"), ("x", "y"), ("data", "target"))

MAX_BYTES = 4 * 2**30  # of all arrays together; ten times what notMNIST's large set takes
CHUNK_BYTES = 2**20
DEFLATE_RATIO = (
    1_032  # deflate cannot expand a byte to more than this: zlib.net/zlib_tech.html, "maximum compression factor"
)


def read_npz(content: bytes, source: str, *, sha256: str = "", class_names: Sequence[str] | None = None) -> Dataset:
    """The samples in the bytes of an .npz file.

    Three layouts are known: `images` and `labels` as in notMNIST.npz (also X and y, x and y, data and target), and
    `x_train`, `y_train`, `x_test`, `y_test` as in Keras's mnist.npz. `class_names` (K,) and `family` or `groups` (N,)
    may stand beside them. `images` and `labels` without class names are taken for notMNIST's ten letters.

    Args:
        content: the file's bytes.
        source: what messages call the file.
        class_names: K names, in place of those in the file.

    Raises:
        DataError: the archive is damaged, an array is missing or is not what `Dataset` needs.
    """
    archive = NpzArchive(content, source)
    # casting a long double to float64 may overflow; the infinity is then found and named by the check of the values
    with np.errstate(over="ignore", invalid="ignore"):
        if "x_train" in archive.keys:
            return _read_train_and_test(archive, class_names, sha256)
        inputs_key, labels_key = _find_pair(archive)
        notes: list[str] = []
        inputs = _bool_to_grey(archive.array(inputs_key), inputs_key, notes)
        labels = _column(archive.array(labels_key), labels_key, notes)
        names = class_names or _stored_class_names(archive)
        if names is None and inputs_key == "images":
            names = _notmnist_letters(labels, source, notes)
        groups = _stored_groups(archive)
        return dataset_from_arrays(inputs, labels, names, groups, source=source, sha256=sha256, notes=notes)


def read_npz_inputs(content: bytes, source: str) -> tuple[NDArray[Any], list[str]]:
    """The samples in the bytes of an .npz file without their labels, and notes; labels need not be there.

    Of the layouts of `read_npz`, or the only array of the file, under any name.

    Raises:
        DataError: the archive is damaged, or which array holds the samples cannot be told.
    """
    archive, notes = NpzArchive(content, source), list[str]()
    keys = _inputs_keys(archive)
    with np.errstate(over="ignore", invalid="ignore"):  # as above
        arrays = [numeric_array(_bool_to_grey(archive.array(key), key, notes), key, source) for key in keys]
    if any(array.shape[1:] != arrays[0].shape[1:] or array.ndim < 2 for array in arrays[1:]):
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise DataError(f"{source}: {quoted(keys)} must hold samples of one shape, got {shapes}.")
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0], notes


def _inputs_keys(archive: NpzArchive) -> list[str]:
    if "x_train" in archive.keys:
        return [key for key in ("x_train", "x_test") if key in archive.keys]
    known = [key for key in (*(inputs for inputs, _ in PAIRS), "x_test") if key in archive.keys]
    if known or len(archive.keys) == 1:
        return known[:1] or list(archive.keys)
    raise DataError(
        f"{archive.source}: expected an array 'images' (or X, x, data), or one array alone, found "
        f"{quoted(sorted(archive.keys))}. Save the samples under one of these names with numpy.savez."
    )


def _find_pair(archive: NpzArchive) -> tuple[str, str]:
    for pair in PAIRS:
        if archive.keys.issuperset(pair):
            return pair
    raise DataError(
        f"{archive.source}: expected arrays 'images' and 'labels' (or x_train and y_train, X and y, data and target), "
        f"found {quoted(sorted(archive.keys))}. Save them under these names with numpy.savez."
    )


def _read_train_and_test(archive: NpzArchive, class_names: Sequence[str] | None, sha256: str) -> Dataset:
    needed = {"x_train", "y_train"} | ({"x_test", "y_test"} if archive.keys & {"x_test", "y_test"} else set())
    if needed - archive.keys:
        raise DataError(
            f"{archive.source}: expected arrays {quoted(sorted(needed))}, found {quoted(sorted(archive.keys))}; "
            "each x needs its y, and each y its x."
        )
    notes: list[str] = []
    return dataset_from_parts(
        [_part(archive, name, notes) for name in ("train", "test")[: len(needed) // 2]],
        archive.source,
        class_names=class_names or _stored_class_names(archive),
        groups=_stored_groups(archive),
        sha256=sha256,
        notes=notes,
    )


def _part(archive: NpzArchive, name: str, notes: list[str]) -> Part:
    inputs = _bool_to_grey(archive.array(f"x_{name}"), f"x_{name}", notes)
    labels = _column(archive.array(f"y_{name}"), f"y_{name}", notes)
    return Part(inputs, labels, f"{archive.source}: x_{name}", f"{archive.source}: y_{name}")


def _column(labels: NDArray[Any], key: str, notes: list[str]) -> NDArray[Any]:
    """(N, 1), as the CIFAR files hold their labels, to (N,)."""
    if labels.ndim != 2 or labels.shape[1] != 1:
        return labels
    notes.append(f"{key} has shape {labels.shape} and was read as ({len(labels)},).")
    return labels[:, 0]


def _bool_to_grey(inputs: NDArray[Any], key: str, notes: list[str]) -> NDArray[Any]:
    """Black-and-white images to the range that grey images have; anything else as it is."""
    if inputs.dtype != np.bool_ or inputs.ndim != 3:
        return inputs
    notes.append(f"{key} holds True and False, read as 255 and 0.")
    return inputs.astype(np.uint8) * np.uint8(255)


def _notmnist_letters(labels: NDArray[Any], source: str, notes: list[str]) -> tuple[str, ...]:
    """A to J, or a DataError that says how to name other classes."""
    if labels.dtype.kind in "ui" and labels.ndim == 1:  # any other trouble is told by the check of the whole
        try:
            checked_labels(labels, len(labels), NOTMNIST_LETTERS, source)
        except DataError as error:
            raise DataError(
                f"{error} The file names no classes, so notMNIST's A..J were assumed: "
                "give the names with class_names (--class-names)."
            ) from None
    notes.append("The file names no classes: labels 0..9 are read as notMNIST's A..J.")
    return NOTMNIST_LETTERS


def _stored_class_names(archive: NpzArchive) -> tuple[str, ...] | None:
    if "class_names" not in archive.keys:
        return None
    names = archive.array("class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{archive.source}: class_names must be (K,) text, got {names.shape} of {names.dtype}. "
            "Save it as numpy.array(names, dtype=str)."
        )
    return tuple(_texts(names, "class_names", archive.source))


def _stored_groups(archive: NpzArchive) -> NDArray[Any] | None:
    """`family` or `groups` as numbers; names are numbered in sorted order."""
    key = next((key for key in ("family", "groups") if key in archive.keys), None)
    if key is None:
        return None
    groups = archive.array(key)
    if groups.dtype.kind != "U" or groups.ndim != 1:
        return groups
    return np.unique(np.array(_texts(groups, key, archive.source), dtype=str), return_inverse=True)[1]


def _texts(array: NDArray[Any], key: str, source: str) -> list[str]:
    """The strings of a text array; their code points are checked first, for NumPy hands out any 32 bits."""
    codes = np.ascontiguousarray(array).view(np.uint32)
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
        raise DataError(f"{source}: {key} holds text that is not Unicode. Save the file again.")
    return [str(text) for text in array]


class NpzArchive:
    """The arrays in the bytes of an .npz file.

    No memory is taken on the word of a header: what the .npy header promises must agree with the size in the zip's
    directory, and that with what the compressed bytes can expand to and with `MAX_BYTES` for all arrays together.
    """

    def __init__(self, content: bytes, source: str) -> None:
        self.source = source
        self._bytes_left = MAX_BYTES
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except (
            Exception
        ) as error:  # zipfile does not say which exceptions a damaged directory may raise; this is all of it
            raise DataError(
                f"{source}: not a readable .npz file ({error}). Copy or download it again, or save it with numpy.savez."
            ) from error
        self._members = {info.filename.removesuffix(".npy"): info for info in members if info.filename.endswith(".npy")}
        self.keys = frozenset(self._members)
        if not self.keys:
            raise DataError(
                f"{source}: a zip archive without arrays; it holds {quoted(info.filename for info in members)}. "
                "Expected .npz as numpy.savez writes it; unpack images into a folder, save a spreadsheet as CSV."
            )

    def array(self, key: str) -> NDArray[Any]:
        """The array under key, in C order and the machine's byte order.

        Raises:
            DataError: the array is damaged, too large, or holds Python objects.
        """
        info = self._members[key]
        if info.flag_bits & 1:
            raise DataError(f"{self.source}: {key} is encrypted. Save the file without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{self.source}: {key} is compressed in a way that NumPy does not write (method {info.compress_type}). "
                "Save the file with numpy.savez_compressed."
            )
        if info.file_size > self._bytes_left:
            raise DataError(
                f"{self.source}: {key} says it has {info.file_size} bytes, more than the {self._bytes_left} that are "
                f"left of {MAX_BYTES} for all arrays of a file. Give a part of the samples."
            )
        if info.file_size > DEFLATE_RATIO * info.compress_size:
            raise DataError(
                f"{self.source}: {key} says it has {info.file_size} bytes, which its {info.compress_size} compressed "
                "bytes cannot hold. Copy or download the file again."
            )
        self._bytes_left -= info.file_size
        try:
            with self._zip.open(info) as member:
                header = read_npy_header(member, self.source, key)
                if header.n_bytes + header.array_bytes != info.file_size:
                    raise DataError(
                        f"{self.source}: the header of {key} says {header.shape} of {header.dtype}, "
                        f"{header.n_bytes + header.array_bytes} bytes in all, but the archive says {info.file_size}. "
                        "Save the file again."
                    )
                body = _read_exactly(member, header.array_bytes).view(header.dtype)
                array = body.reshape(header.shape, order="F" if header.fortran_order else "C")
                # ascontiguousarray would make (1,) of ()
                return np.asarray(array, header.dtype.newbyteorder("="), order="C")
        except (DataError, MemoryError):
            raise
        except Exception as error:  # as above: bad checksums, cut streams, wrong local headers
            raise DataError(f"{self.source}: {key} is damaged ({error}). Copy or download the file again.") from error


def _read_exactly(member: IO[bytes], n_bytes: int) -> NDArray[np.uint8]:
    """The next n_bytes of member.

    Raises:
        EOFError: it ends before.
    """
    body = np.empty(n_bytes, np.uint8)
    at = 0
    while at < n_bytes:
        chunk = member.read(min(CHUNK_BYTES, n_bytes - at))
        if not chunk:
            raise EOFError(f"{n_bytes - at} bytes are missing at its end")
        body[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    return body
