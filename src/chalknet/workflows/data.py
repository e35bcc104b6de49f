"""What `chalknet data` does: describe, show, audit, split and convert data sets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.artifacts.atomic import refuse_existing
from chalknet.artifacts.dataset_files import FOLDER_KINDS, IDX_NAMES, WRITERS
from chalknet.config import RGB, Recipe
from chalknet.data.audit import Audit, WorstPair
from chalknet.data.dataset import Dataset, IntArray, sample_digests
from chalknet.data.load import BUILTIN, load_data
from chalknet.data.readers.table import column_summaries
from chalknet.data.splits import Splits, split_by_recipe
from chalknet.data.tables.columns import ColumnSummary
from chalknet.errors import ConfigError, DataError, OutputError
from chalknet.formatting import count_of
from chalknet.training.recipes import DEFAULT_RECIPE, adapt_to_data, recipe

MAX_SHEET_PAIRS = 16
OLD_SUFFIX = ".replaced-by-chalknet"


@dataclass(frozen=True)
class DataInfo:
    """Facts about a data set, JSON-ready.

    Attributes:
        source: the name of the data.
        sha256: digest of the data.
        n_samples: number of samples.
        is_images: whether samples are images, not rows.
        shape: shape of one sample.
        dtype: dtype of the values.
        value_range: smallest and largest value.
        class_counts: number of samples per class.
        columns: for a table: what each column holds and what is done with it.
        n_groups: number of groups, or None if samples have none.
        n_provided_test: number of samples that the source sets apart as its test split.
        notes: what the user should know about the data, one sentence each.
        licenses: for the built-in letters, number of images per license.
        license_texts: folder with the texts of the licenses.
    """

    source: str
    sha256: str
    n_samples: int
    is_images: bool
    shape: tuple[int, ...]
    dtype: str
    value_range: tuple[float, float]
    class_counts: dict[str, int]
    columns: tuple[ColumnSummary, ...]
    n_groups: int | None
    n_provided_test: int
    notes: tuple[str, ...]
    licenses: dict[str, int]
    license_texts: str

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as a dict."""
        return asdict(self)


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`.

    Attributes:
        path: the file or folder that was written.
        kind: its format.
        n_samples: number of samples.
        size_bytes: size of all files.
        lost: what the format cannot hold, of "order", "groups", "provided_test" and "dtype".
        read_with: arguments that `load_data` needs to read the same data.
    """

    path: str
    kind: str
    n_samples: int
    size_bytes: int
    lost: tuple[str, ...]
    read_with: dict[str, Any]


def describe(data: Dataset) -> DataInfo:
    """Return facts about a data set."""
    licenses, texts = _licenses(data)
    return DataInfo(
        source=data.source,
        sha256=data.sha256,
        n_samples=len(data),
        is_images=data.is_images,
        shape=tuple(data.inputs.shape[1:]),
        dtype=str(data.inputs.dtype),
        value_range=_value_range(data),
        class_counts={name: int(n) for name, n in zip(data.class_names, data.class_counts, strict=True)},
        columns=column_summaries(data),
        n_groups=None if data.groups is None else len(np.unique(data.groups)),
        n_provided_test=0 if data.provided_test is None else len(data.provided_test),
        notes=data.notes,
        licenses=licenses,
        license_texts=texts,
    )


def _value_range(data: Dataset) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    inputs = data.without_missing().inputs
    return float(inputs.min()), float(inputs.max())


def split_like_training(data: Dataset, recipe_name: str = DEFAULT_RECIPE, **settings: Any) -> tuple[Recipe, Splits]:
    """Split data as training with a recipe does.

    Args:
        data: the data set.
        recipe_name: the recipe.
        **settings: fields of the recipe's split, such as split="group" or train_size=0.7.

    Returns:
        The recipe, adapted to the data, and the splits.

    Raises:
        ConfigError, DataError: see `split_dataset`.
    """
    adapted, _ = adapt_to_data(recipe(recipe_name), settings, data)
    return adapted, split_by_recipe(adapted, data)


def write_pair_sheet(data: Dataset, result: Audit, path: Path) -> int:
    """Write a picture of the worst pairs and return how many it shows; without pairs, no file.

    Args:
        data: a data set of images.
        result: its audit.
        path: the picture file.

    Raises:
        DataError: data holds rows, which cannot be shown.
        ConfigError, OutputError: path does not name a picture, or cannot be written.
    """
    from chalknet.artifacts.atomic import write_bytes
    from chalknet.reporting.drawings.images import draw_images
    from chalknet.reporting.drawings.picture import drawing_bytes, file_kind

    kind = file_kind(path)
    if not data.is_images:
        raise DataError(f"{data.source}: holds rows of {data.n_inputs} values, which cannot be shown as images.")
    pairs = _distinct_pairs(result.worst)[:MAX_SHEET_PAIRS]
    if pairs:
        grid, titles = _pair_grid(pairs)
        write_bytes(path, drawing_bytes(draw_images(data, grid, titles=titles, group=2), kind))
    return len(pairs)


def infer_kind(path: Path) -> str:
    """Return the format that a path's suffix stands for: .npz, .csv, or a folder of images.

    Raises:
        ConfigError: another suffix.
    """
    kind = {".npz": "npz", ".csv": "csv", "": "folder"}.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"{path}: unknown suffix {path.suffix!r}. Use .npz or .csv, or give kind (--format).")
    return kind


def convert(data: Dataset, path: Path, kind: str | None = None, *, overwrite: bool = False) -> Conversion:
    """Write data in another format, read it back, and check that the samples are the same.

    The files are written to a temporary folder and moved to their place only after the check.

    Args:
        data: the data set.
        path: a file for npz and csv, a folder for idx, folder, npy and shards.
        kind: npz, idx, folder, csv, npy or shards; by default from the suffix of path.
        overwrite: whether to replace an existing file, or a folder that holds only what this function
            writes.

    Raises:
        ConfigError: an unknown format.
        DataError: the format cannot hold this data; nothing is written.
        OutputError: path exists and may not be replaced, or cannot be written.
    """
    chosen = infer_kind(path) if kind is None else kind
    if chosen not in WRITERS:
        raise ConfigError(f"format must be one of {', '.join(WRITERS)}, got {chosen!r}.")
    _check_complete(data, path)
    _restore_old_folder(path)
    _refuse_existing(path, overwrite, is_folder=chosen in FOLDER_KINDS)
    with _temporary_folder(path) as folder:
        made = folder / path.name
        for name, content in WRITERS[chosen](data.in_memory()):
            file = made / name if name else made
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        back, read_with = _read_back(data, made, path)
        lost = _lost_properties(data, back, path)
        size = sum(file.stat().st_size for file in [made, *made.rglob("*")] if file.is_file())
        _move_into_place(made, path)
    return Conversion(str(path), chosen, len(data), size, lost, read_with)


def _check_complete(data: Dataset, path: Path) -> None:
    """Raise DataError for a table with missing values, which the files that are written cannot hold."""
    if data.encoding is None:
        return
    n_missing = int(np.isnan(data.in_memory().inputs).sum())
    if n_missing:
        raise DataError(
            f"{path}: cannot be written, because {data.source} has {count_of(n_missing, 'missing value')}, and every "
            "sample needs numbers. Use the table itself, which all commands read, or fill the gaps first."
        )


def _licenses(data: Dataset) -> tuple[dict[str, int], str]:
    """Return the number of built-in letters per license, and the folder of the license texts."""
    if data.source != BUILTIN:
        return {}, ""
    from chalknet.data.glyphs import glyph_licenses, manifest_path

    return {share.license: share.images for share in glyph_licenses()}, str(manifest_path().parent / "licenses")


def _distinct_pairs(pairs: tuple[WorstPair, ...]) -> list[WorstPair]:
    """Return pairs in their order, without those with a sample that an earlier pair has shown."""
    seen: set[int] = set()
    chosen = []
    for pair in pairs:
        if seen.isdisjoint(pair.samples):
            chosen.append(pair)
        seen.update(pair.samples)
    return chosen


def _pair_grid(pairs: list[WorstPair]) -> tuple[IntArray, list[str]]:
    """Return a grid with two pairs per row, and a title for each image."""
    from chalknet.reporting.drawings.images import as_grid

    grid = as_grid([sample for pair in pairs for sample in pair.samples], columns=4)
    titles = [f"{pair.labels[k]}, {pair.splits[k]} {pair.samples[k]}" for pair in pairs for k in range(2)]
    return grid, titles


def _refuse_existing(path: Path, overwrite: bool, *, is_folder: bool) -> None:
    refuse_existing(path, overwrite, is_folder=is_folder)
    if is_folder and path.is_dir() and (foreign := _foreign_file(path)) is not None:
        raise OutputError(f"{path}: is not replaced, because it holds {foreign}, which this command does not write.")


def _foreign_file(folder: Path) -> str | None:
    """Return the first file in a folder that no conversion writes, since the folder is deleted."""
    for entry in sorted(folder.rglob("*")):
        inside = entry.relative_to(folder)
        depth = len(inside.parts)
        ours = (
            (depth == 1 and (entry.name in IDX_NAMES or entry.suffix == ".npy"))
            or (depth == 1 and entry.is_dir() and not entry.is_symlink())
            or (depth == 2 and entry.suffix == ".png" and entry.stem.isdigit())
        )
        if not ours:
            return str(inside)
    return None


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder beside path, and delete it afterwards.

    It is on the same file system as path, so that files can be renamed into place.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}.") from error


def _read_back(data: Dataset, made: Path, path: Path) -> tuple[Dataset, dict[str, Any]]:
    """Read what was written, with class names or image size if the format does not hold them."""
    read_with: dict[str, Any] = {}
    try:
        back = load_data(made)
        if back.class_names != data.class_names:
            read_with["class_names"] = list(data.class_names)
        if data.is_images and back.sample_shape[:2] != data.sample_shape[:2]:
            read_with["image_size"] = data.sample_shape[:2]
        if data.is_color and not back.is_color:
            read_with["color"] = RGB
        return (load_data(made, **read_with) if read_with else back), read_with
    except (DataError, ConfigError) as error:
        reason = str(error).replace(str(made), str(path)).removeprefix(f"{path}: ")
        raise DataError(f"{path}: the format cannot hold this data: {reason}") from error


def _lost_properties(data: Dataset, back: Dataset, path: Path) -> tuple[str, ...]:
    """Return the properties that the copy lacks; raise DataError if its samples differ."""
    ours, theirs = _digests(data), _digests(back)
    if sorted(ours) != sorted(theirs) or back.inputs.shape != data.inputs.shape:
        raise DataError(
            f"{path}: the format cannot hold this data: the samples that were read back differ. Use .npz instead."
        )
    # A provided test split is written after the other samples, which is where it usually is in the source.
    has_test = (data.provided_test is not None, back.provided_test is not None)
    differs = {
        "order": ours != theirs,
        "groups": data.groups is not None and back.groups is None,
        "provided_test": has_test == (True, False),
        "dtype": data.inputs.dtype != back.inputs.dtype,
    }
    return tuple(name for name, does in differs.items() if does)


def _digests(data: Dataset) -> list[bytes]:
    """Return for each sample a digest of its values, whatever their dtype, and its class name."""
    names = [name.encode() for name in data.class_names]
    return [digest + names[label] for digest, label in zip(sample_digests(data.inputs), data.labels, strict=True)]


def _move_into_place(made: Path, path: Path) -> None:
    """Sync what was written and rename it to path.

    An existing folder cannot be replaced in one step. It is renamed to a backup first, and deleted
    after the new one is in place. A process killed between the two renames leaves the backup, and
    the next conversion restores it (`_restore_old_folder`).
    """
    _sync(made)
    old = path.with_name(f".{path.name}{OLD_SUFFIX}")
    if not path.is_dir():
        made.replace(path)
        return
    path.rename(old)
    try:
        made.rename(path)
    finally:  # also for Ctrl-C between the renames
        if path.exists():
            shutil.rmtree(old)
        else:
            old.rename(path)


def _restore_old_folder(path: Path) -> None:
    """Restore the backup of a folder that a killed conversion had moved aside."""
    old = path.with_name(f".{path.name}{OLD_SUFFIX}")
    if not old.is_dir():
        return
    if path.exists():
        shutil.rmtree(old)
    else:
        old.rename(path)


def _sync(made: Path) -> None:
    """Sync one file by fsync, or a folder of thousands of files by one system-wide sync."""
    if made.is_file():
        with made.open("rb+") as file:
            os.fsync(file.fileno())
    elif hasattr(os, "sync"):
        os.sync()
