"""`load_inputs`: the samples of any source that `load_data` reads, whether or not they have labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.data import load
from chalknet.data.dataset import check_inputs, numeric_array
from chalknet.data.readers import idx, npy
from chalknet.data.readers.csv_table import read_csv_rows
from chalknet.data.readers.file import reading
from chalknet.data.readers.npz import read_npz_inputs
from chalknet.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Samples:
    """N samples without labels, checked as those of a `Dataset` are.

    Attributes:
        inputs: (N, H, W) images or (N, I) rows; uint8, float32 or float64; a NumPy array, or `StoredSamples`.
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
        check_inputs(self.inputs, self.source)

    def __len__(self) -> int:
        return len(self.inputs)


def load_inputs(source: str | Path, n_values: int, *, label_column: str | int | None = None) -> Samples:
    """The samples of a file, of a folder of IDX or .npy files, or of the data set that comes with chalknet.

    Args:
        source: a path, or "glyphs".
        n_values: I, values of a sample; tells whether a table has a label column.
        label_column: of a table, the column to leave out: name or index.
    Raises:
        DataError: nothing readable there, or not what it should be; one line that begins with the source.
        ConfigError: label_column for what is no table.
    """
    if source == load.BUILTIN:
        _refuse_label_column(label_column, load.BUILTIN)
        from chalknet.data.glyphs import load_glyphs

        return Samples(load_glyphs().inputs, load.BUILTIN)
    path, name = load.existing_path(source), str(source)
    with reading(name):
        if not path.is_dir():
            return _from_file(path, name, n_values, label_column)
        _refuse_label_column(label_column, name)
        if load.holds_idx(path):
            files = [load.first_file(path, idx.mnist_file_names(part, "images")) for part in ("train", "t10k")]
            arrays = [_idx_images(file) for file in files if file is not None]
            if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
                raise DataError(f"{name}: its files hold samples of different shapes. Give one of them.")
            return Samples(np.concatenate(arrays) if len(arrays) > 1 else arrays[0], name)
        pairs = npy.find_pairs(path)
        if not pairs:
            raise DataError(f"{name}: holds neither IDX nor .npy files.")
        return Samples(npy.open_samples([samples for samples, _ in pairs]), name)


def _refuse_label_column(label_column: str | int | None, source: str) -> None:
    if label_column is not None:
        raise ConfigError(f"label_column has a meaning for tables only, and {source} is none. Leave it out.")


def _from_file(path: Path, source: str, n_values: int, label_column: str | int | None) -> Samples:
    with path.open("rb") as file:
        if file.read(len(load.NPY_MAGIC)) == load.NPY_MAGIC:
            _refuse_label_column(label_column, source)
            return Samples(npy.open_samples([path]), source)
    content = load.read_bytes(path, source)
    if content.startswith(load.ZIP_MAGIC):
        _refuse_label_column(label_column, source)
        inputs, notes = read_npz_inputs(content, source)
        return Samples(inputs, source, tuple(notes))
    head = load.unpacked_head(content, source)
    if idx.looks_like_idx(head):
        _refuse_label_column(label_column, source)
        return Samples(_idx_images(path, source), source)
    load.refuse_foreign(head, source)
    text = load.unpacked_table(content, source)
    rows, notes, names = read_csv_rows(text, source, n_values, label_column=label_column)
    return Samples(rows, source, tuple(notes), names)


def _idx_images(path: Path, source: str | None = None) -> Any:
    name = source or str(path)
    array = idx.parse_idx(load.unpacked_idx(load.read_bytes(path, name), name), name)
    if array.ndim == 1:
        raise DataError(f"{name}: holds labels. Give the images file.")
    return numeric_array(array, "images", name)
