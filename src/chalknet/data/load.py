"""`load_data` and `load_inputs`: recognize a source by its content, and call the reader for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chalknet.config import COLORS, USUAL_TABLE, DataConfig, TableOptions
from chalknet.data.dataset import (
    ARRAYS,
    Dataset,
    UnlabeledSamples,
    check_labels_present,
    dataset_from_arrays,
    numeric_array,
    with_known,
)
from chalknet.data.readers import idx, npy
from chalknet.data.readers.csv_table import read_csv, read_csv_rows, read_csv_samples
from chalknet.data.readers.folder import read_folder
from chalknet.data.readers.image import DEFAULT_FIT, FITS
from chalknet.data.readers.npz import read_npz, read_npz_inputs
from chalknet.data.readers.source_file import SourceFile, open_source
from chalknet.data.readers.table import dataset_from_frame, rows_of_numbers, samples_from_frame
from chalknet.data.readers.table_file import JSON_SUFFIXES, read_typed_table, typed_format
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.frames import Frame, as_frame, column_labels, columns_of_rows, has_missing, is_frame
from chalknet.errors import ConfigError, DataError
from chalknet.files import reading

# What `load_data` reads: a path or "glyphs", a table in memory, or samples and labels (X, y).
DataSource = str | Path | Frame | Mapping[str, Any] | tuple[Any, Any]

BUILTIN = "glyphs"
FRAME = "the table"  # what messages call a table in memory
EXPECTED = (
    "an .npz file, .npy files of samples and labels, IDX files as MNIST's, a folder of image folders, a table (CSV, "
    "TSV, Parquet, Arrow, Excel, JSON Lines), or the name 'glyphs'"
)

MAX_IMAGE_SIDE = 65_535

# What messages call each kind of source, and the options of `load_data` that apply to it.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "builtin": ("the data set that comes with chalknet", ("color",)),
    "npz": ("an .npz file", ("class_names", "color")),
    "npy": (".npy files", ("class_names", "color")),
    "idx": ("IDX files", ("class_names", "color")),
    "images": ("a folder of images", ("class_names", "image_size", "image_fit", "color", "known_classes")),
    "table": (
        "a table",
        ("class_names", "label_column", "image_size", "color", "known_classes", "options", "encoding"),
    ),
    "typed table": ("a table", ("class_names", "label_column", "known_classes", "options", "encoding")),
    "frame": ("a table in memory", ("class_names", "label_column", "known_classes")),
    "pair": ("samples and labels in memory", ("class_names", "color", "known_classes")),
}
TABLE_KINDS = ("table", "typed table")
NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# Unsupported formats: their first bytes, their name, and what to do.
FOREIGN = (
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle, which chalknet never opens",
        "Save it with numpy.savez",
    ),
    ((b"\x89HDF",), "an HDF5 file", "Save images and labels with numpy.savez"),
    (
        (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
        "one image",
        "Put each class's images into a sub-folder and give the folder",
    ),
    ((b"BZh91AY&SY", b"\xfd7zXZ"), "a packed file", "Unpack it first"),
    ((b"\xff\xfe", b"\xfe\xff"), "UTF-16 text", "Save the table as UTF-8"),
)
TAR_MAGIC_AT = 257
HEAD_BYTES = 512
FIRST_LINE_BYTES = 2**16  # in which the delimiter of a table is looked for


class HasEncoding(Protocol):
    """A `Dataset` or a model."""

    @property
    def encoding(self) -> TableEncoding | None:
        """How the columns of a table become inputs."""


def load_data(
    source: DataSource,
    *,
    class_names: Sequence[str] | None = None,
    label_column: str | int | None = None,
    image_size: tuple[int, int] | None = None,
    image_fit: str | None = None,
    color: str | None = None,
    known_classes: Sequence[str] = (),
    like: HasEncoding | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    missing: Sequence[str] = (),
    decimal: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
) -> Dataset:
    """Read labeled samples from a file, a folder or a table in memory, or load the built-in data set.

    docs/file_formats.md, "What is read", describes the formats.

    Args:
        source: a path, "glyphs", or a table: a pandas or polars frame, or a dict of columns; or a tuple
            (X, y) of samples and labels in memory, of which X is an array or a table. Files:
            .npz, IDX (also gzipped, with its labels file beside it), CSV or TSV (also gzipped),
            Parquet, Arrow, Excel, JSON Lines, or .npy with its labels file beside it; .npy samples
            stay on disk and are read when they are needed. Folders: MNIST's IDX files, .npy files,
            or one sub-folder of images for each class.
        class_names: K names, for sources that do not name their classes, or to change their order.
        label_column: for a table: name or index of the label column.
        image_size: for a folder: (H, W) to which images are resized. None leaves images of one size as they
            are, and resizes others to their median height and width, at most 64 pixels, with a note.
            For a table: (H, W) of the image in a row.
        image_fit: for a folder: how images with other proportions are resized: "stretch", "crop"
            (keep the center) or "pad" (with the brightness of the border). None stretches them,
            with a note.
        color: "rgb" for color images (N, H, W, 3), "gray" for gray ones (N, H, W). By default, folders of
            images are read as gray, and arrays as they are. Gray images have three equal channels in
            "rgb". In a table with image_size and "rgb", a row has the three values of each pixel.
        known_classes: the classes of a model that is evaluated on these samples. A table or folder
            may then have samples of a single class.
        like: a data set or a model whose columns a table must have. They are encoded in the same way.
            The label column, decimal mark and texts for missing values are the same by default. Images
            of a folder are resized to those of a data set, unless image_size is given.
        drop: for a table: columns to leave out.
        keep: for a table: columns to use although they number the rows or hold too many texts.
        categorical: for a table: columns of categories, also if they hold numbers.
        numeric: for a table: columns of numbers, in which a text is an error.
        missing: for a table: texts that mean a missing value, besides an empty cell, nan, NA, N/A, null
            and ?.
        decimal: for a CSV table: the decimal mark, "." or ","; by default ".", or as in like.
        delimiter: for a CSV table: the character between two cells; None to find it.
        header: for a CSV table: whether its first row holds the column names; None to find out.

    Returns:
        The samples as a `Dataset`.

    Raises:
        DataError: the source cannot be read or is invalid; the message begins with the source.
        ConfigError: an argument is invalid, or does not apply to this kind of source.
    """
    names = _checked_names(class_names)
    size = _checked_size(image_size)
    if label_column is not None and (isinstance(label_column, bool) or not isinstance(label_column, str | int)):
        raise ConfigError(f"label_column must be a column's name or index, got {label_column!r}.")
    if image_fit not in (None, *FITS):
        raise ConfigError(f"image_fit must be one of {', '.join(FITS)}, got {image_fit!r}.")
    if color not in (None, *COLORS):
        raise ConfigError(f"color must be one of {', '.join(COLORS)}, got {color!r}.")
    given = {
        "class_names": names,
        "label_column": label_column,
        "image_size": size,
        "image_fit": image_fit,
        "color": color,
    }
    options = TableOptions(drop, keep, categorical, numeric, missing, decimal, delimiter, header)
    encoding = None if like is None else like.encoding
    if encoding is not None:
        reject_column_options(options)
    more: dict[str, Any] = {"known_classes": known_classes, "options": options, "encoding": encoding}
    if isinstance(source, tuple):
        _reject_unused_options("pair", FRAME, given)
        return _read_pair(source, names, more).in_color(color)
    if is_frame(source):
        _reject_unused_options("frame", FRAME, given)
        if label_column in column_labels(source):  # a name, also if it is a number
            label_column = str(label_column)
        frame = as_frame(source, FRAME)
        return dataset_from_frame(frame, FRAME, label_column=label_column, class_names=names, **more)
    if isinstance(source, str) and source == BUILTIN:
        _reject_unused_options("builtin", BUILTIN, given)
        _reject_table_options("builtin", BUILTIN, options)
        from chalknet.data.glyphs import load_glyphs

        data, place = load_glyphs().in_color(color), BUILTIN
    else:
        path = existing_path(source)
        with reading(str(source)):
            kind = kind_of(path, str(source))
            _reject_unused_options(kind, str(source), given)
            _reject_table_options(kind, str(source), options)
            if kind == "images":
                given["image_size"] = size or _image_size_of(like)
                data, size = read_folder(path, str(source), **_used_options(kind, {**given, **more}))
            else:
                data = _read(kind, path, str(source), {**given, **more})
        place = str(path.absolute())  # valid from any working directory; messages show the source as it was given
        if kind == "images" and size is not None:
            image_fit = image_fit or DEFAULT_FIT  # so that a run and its model file say how images were resized
    column = None if label_column is None else str(label_column)
    origin = DataConfig(place, data.sha256, names, column, size, image_fit=image_fit, table=options, color=color)
    return data.with_origin(origin)


def _read_pair(pair: tuple[Any, ...], class_names: tuple[str, ...] | None, more: dict[str, Any]) -> Dataset:
    """Return the samples of (X, y), of which X is a table or an array.

    All columns of numbers of a table are used, because the caller has chosen the columns. Rows with
    missing values are a table with columns x0, x1, ...
    """
    if len(pair) != 2:
        raise ConfigError(f"samples in memory must be (X, y), samples and labels, got a tuple of {len(pair)}.")
    values, labels = pair
    check_labels_present(labels, f"{FRAME if is_frame(values) else ARRAYS}: labels")
    encoding, options = more["encoding"], more["options"]
    if not is_frame(values) and (has_missing(values) or (encoding is not None and np.ndim(values) == 2)):
        values = columns_of_rows(np.asarray(values))
    if not is_frame(values):
        _reject_table_options("pair", ARRAYS, options)
        data = dataset_from_arrays(values, labels, class_names)
        return replace(data, class_names=with_known(data.class_names, more["known_classes"]))
    frame = as_frame(values, FRAME)
    name = str(getattr(labels, "name", None) or "label")
    while name in frame.columns:
        name += "_"
    answers = as_frame({name: labels}, "the labels")
    if len(answers) != len(frame):
        raise DataError(f"{FRAME}: has {len(frame):,} rows, but there are {len(answers):,} labels.")
    numbers = [column for column, dtype in zip(frame.columns, frame.dtypes, strict=True) if dtype.is_numeric()]
    more = {**more, "options": replace(options, keep=(*options.keep, *numbers))}
    labeled = frame.with_columns(answers[name])
    return dataset_from_frame(labeled, FRAME, label_column=name, class_names=class_names, **more)


def _read(kind: str, path: Path, source: str, options: dict[str, Any]) -> Dataset:
    """Call the reader of a kind of file with the options that apply to it."""
    used = _used_options(kind, options)
    if kind in ("npy", "idx", "npz"):
        color = used.pop("color")
        return _read_arrays(kind, path, source, used).in_color(color)
    with open_source(path, source) as file:
        if kind == "typed table":
            frame, digest = read_typed_table(file, typed_format(file)), file.digest().hex()
            return dataset_from_frame(frame, source, sha256=digest, budget=file.budget, **used)
        return read_csv(file, **used).in_color(options["color"])


def _used_options(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that apply to a kind of source."""
    return {name: value for name, value in options.items() if name in KINDS[kind][1]}


def _image_size_of(like: HasEncoding | None) -> tuple[int, int] | None:
    """Return (H, W) of the images of a data set, or None."""
    if not isinstance(like, Dataset) or not like.is_images:
        return None
    height, width = like.sample_shape[:2]
    return height, width


def _read_arrays(kind: str, path: Path, source: str, options: dict[str, Any]) -> Dataset:
    """Call the reader of a file that holds arrays."""
    if kind == "npy":
        return npy.read_pairs(npy.pairs_at(path, source), source, **options)
    if kind == "idx":
        return idx.read_idx(path, source, **options)
    with open_source(path, source) as file:
        return read_npz(file, **options)


def load_inputs(
    source: str | Path,
    n_values: int,
    *,
    label_column: str | int | None = None,
    names: Sequence[str] = (),
    encoding: TableEncoding | None = None,
    options: TableOptions = USUAL_TABLE,
    id_column: str | None = None,
) -> UnlabeledSamples:
    """Read samples with or without labels from any source except a folder of images.

    Args:
        source: a path, or "glyphs".
        n_values: I, the number of values of a sample. It determines whether a table has labels.
        label_column: for a table: name or index of the column to leave out.
        names: the expected names of the values, or (); used in messages.
        encoding: how the columns of a table become values, or None.
        options: how a table is written.
        id_column: for a table with an encoding: the column with the names of the samples.

    Raises:
        DataError: the source cannot be read or is invalid; the message begins with the source.
        ConfigError: label_column is given, but the source is not a table; or id_column, but its columns
            are not found by name.
    """
    given, name = {"label_column": label_column}, str(source)
    if source == BUILTIN:
        _reject_unused_options("builtin", BUILTIN, given)
        from chalknet.data.glyphs import load_glyphs

        return UnlabeledSamples(load_glyphs().inputs, BUILTIN)
    path = existing_path(source)
    with reading(name):
        kind = kind_of(path, name)
        _reject_unused_options(kind, name, given)
        _reject_table_options(kind, name, options)
        if id_column is not None and (encoding is None or kind not in TABLE_KINDS):
            raise ConfigError(
                f"id_column (--id) needs a table whose columns the model finds by their names, and {name} is not one. "
                "Leave it out."
            )
        if kind == "images":
            raise DataError(f"{name}: holds neither IDX nor .npy files.")
        if kind == "npy":
            pairs = npy.find_pairs(path) if path.is_dir() else [(path, path)]
            return UnlabeledSamples(npy.open_samples([samples for samples, _ in pairs]), name)
        if kind == "idx":
            arrays = idx.read_idx_images(path, name)
            return UnlabeledSamples(numeric_array(np.concatenate(arrays), "images", name), name)
        with open_source(path, name) as file:
            if encoding is not None and kind == "typed table":
                frame = read_typed_table(file, typed_format(file))
                return samples_from_frame(
                    frame, name, encoding, options=options, id_column=id_column, budget=file.budget
                )
            if kind == "typed table":
                frame = read_typed_table(file, typed_format(file))
                rows, heads = rows_of_numbers(frame, name, n_values, label_column, names, file.budget)
                return UnlabeledSamples(rows, name, (), heads)
            if kind == "npz":
                inputs, notes = read_npz_inputs(file)
                return UnlabeledSamples(inputs, name, tuple(notes))
            return csv_inputs(
                file,
                n_values,
                label_column=label_column,
                names=names,
                encoding=encoding,
                options=options,
                id_column=id_column,
            )


def csv_inputs(
    file: SourceFile,
    n_values: int,
    *,
    label_column: str | int | None = None,
    names: Sequence[str] = (),
    encoding: TableEncoding | None = None,
    options: TableOptions = USUAL_TABLE,
    id_column: str | None = None,
) -> UnlabeledSamples:
    """Read the samples of a CSV table, with or without labels; the other arguments are those of `load_inputs`.

    Args:
        file: the table.
        n_values: I, the number of values of a sample.
        label_column: name or index of the column to leave out.
        names: the expected names of the values, or ().
        encoding: how the columns of the table become values, or None.
        options: how the table is written.
        id_column: the column with the names of the samples, if there is an encoding.
    """
    if encoding is not None:
        return read_csv_samples(file, encoding, options, id_column)
    rows, notes, heads = read_csv_rows(file, n_values, label_column=label_column, names=names, options=options)
    return UnlabeledSamples(rows, file.name, tuple(notes), heads)


def with_usual_delimiter(source: str | Path, options: TableOptions, usual: str | None) -> TableOptions:
    """Return the options of a table with the usual delimiter, if none is given and its first line has it.

    Raises:
        DataError: the source cannot be opened.
    """
    path = Path(source)
    if options.delimiter is not None or usual is None or source == BUILTIN or not path.is_file():
        return options
    if kind_of(path, str(source)) != "table":
        return options
    with open_source(path, str(source)) as file:
        return with_delimiter_of_head(file, options, usual)


def with_delimiter_of_head(file: SourceFile, options: TableOptions, usual: str | None) -> TableOptions:
    """Return the options of an open table with the usual delimiter, if none is given and its first line has it."""
    if options.delimiter is not None or usual is None:
        return options
    first = file.head(FIRST_LINE_BYTES).lstrip().split(b"\n")[0]
    return replace(options, delimiter=usual) if usual.encode() in first else options


def reject_column_options(options: TableOptions) -> None:
    """Raise ConfigError for an option that a model, or the data set that a table must be like, decides."""
    name = next((one for one in options.changed if one not in options.of_file.changed), None)
    if name is not None:
        raise ConfigError(
            f"{name} has no effect on a table that is read like another one, whose columns are used. Leave it out."
        )


def _reject_unused_options(kind: str, source: str, given: dict[str, Any]) -> None:
    """Raise ConfigError for an option that does not apply to this kind of source."""
    noun, used = KINDS[kind]
    for name, value in given.items():
        if value is not None and name not in used:
            others = [other for other, of_other in KINDS.values() if name in of_other]
            advice = f"Leave it out, or give {' or '.join(others)}." if len(others) < 3 else "Leave it out."
            raise ConfigError(f"{name} has no meaning for {noun} ({source}). {advice}")


def _reject_table_options(kind: str, source: str, options: TableOptions) -> None:
    """Raise ConfigError for an option of tables that does not apply to this kind of source."""
    for name in options.changed:
        if "table" not in kind or (kind == "typed table" and name in ("delimiter", "header", "decimal")):
            noun = KINDS[kind][0]
            raise ConfigError(f"{name} has no meaning for {noun} ({source}). Leave it out, or give a CSV table.")


def _checked_names(class_names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names as a tuple after checking that they are different texts."""
    if isinstance(class_names, str):
        raise ConfigError(f"class_names must be a list of names, got the text {class_names!r}.")
    names = tuple(str(name) for name in class_names) if class_names is not None and len(class_names) else None
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"class_names must differ from each other, got {twice!r} twice.")
    return names


def _checked_size(image_size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return an image size as a tuple after checking it."""
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_IMAGE_SIDE for side in sides):
        raise ConfigError(f"image_size must be (H, W), two integers in 1..{MAX_IMAGE_SIDE}, got {image_size!r}.")
    return sides[0], sides[1]


def existing_path(source: Any) -> Path:
    """Return source as the path of an existing file or folder.

    Raises:
        DataError: nothing is there, or it is neither a file nor a folder; names the nearest file.
        ConfigError: source is not a path.
    """
    if not isinstance(source, str | Path) or not str(source):
        is_table = hasattr(source, "columns") or hasattr(source, "shape")
        given = f"{type(source).__name__} in memory" if is_table else repr(source)
        advice = " Use dataset_from_arrays(inputs, labels) for samples in memory." if is_table else ""
        raise ConfigError(
            "source must be a path, a frame, a dict of columns, a tuple (X, y) of samples and labels or the name "
            f"{BUILTIN!r}, got {given[:100]}.{advice}"
        )
    path = Path(source)
    try:
        if path.is_dir() or path.is_file():
            return path
        exists = path.exists()
    except OSError as error:  # no permission, or a name that is too long
        raise DataError(f"{str(source)[:200]!r}: not a path that can be opened ({error}).") from error
    if exists:
        raise DataError(f"{source}: neither a file nor a folder. Expected {EXPECTED}.")
    raise DataError(f"{source}: no such file or folder. {_nearest_name(path)}Expected {EXPECTED}.")


def _nearest_name(path: Path) -> str:
    """Return a hint with the existing name that is most similar to a path, or ""."""
    if difflib.get_close_matches(str(path).casefold(), [BUILTIN]):
        return f"Did you mean {BUILTIN!r}, the data set that comes with chalknet? "
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):  # there is no such folder, or the name holds a zero byte
        return ""
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.75)
    return f"Did you mean {str(path.with_name(near[0]))!r}? " if near else ""


def kind_of(path: Path, source: str) -> str:
    """Return which of `KINDS` a source is, by the first bytes of a file or the names in a folder.

    Args:
        path: the file or folder.
        source: what messages call it.

    Raises:
        DataError: the format is not supported.
    """
    if path.is_dir():
        return "idx" if holds_idx(path) else "npy" if npy.find_pairs(path) else "images"
    with open_source(path, source) as file:
        start = file.file.read(len(NPY_MAGIC))
        if not start:
            raise DataError(f"{source}: the file is empty. Expected {EXPECTED}.")
        if start == NPY_MAGIC:
            return "npy"
        if typed_format(file):
            return "typed table"
        if start.startswith(ZIP_MAGIC):
            return "npz"
        if path.suffix.casefold() == ".npz":
            raise DataError(
                f"{source}: not an npz file: expected first bytes {ZIP_MAGIC[0].hex(' ')}, got {start[:4].hex(' ')}. "
                "Copy or download it again, or save it with numpy.savez."
            )
        head = file.head(HEAD_BYTES)
    if path.suffix.casefold() in JSON_SUFFIXES:
        return "typed table"
    if idx.looks_like_idx(head) or "-ubyte" in path.name:
        return "idx"
    for magics, kind, advice in FOREIGN:
        if head.startswith(magics):
            raise DataError(f"{source}: is {kind}. {advice}. Expected {EXPECTED}.")
    if head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        raise DataError(f"{source}: is a tar archive. Unpack it and give the folder of image folders in it.")
    if b"\0" in head:
        raise DataError(
            f"{source}: is of no known type (its first bytes are {head[:4].hex(' ')}). Expected {EXPECTED}."
        )
    return "table"


def holds_idx(folder: Path) -> bool:
    """Return whether a folder holds MNIST's files of images."""
    return any(idx.mnist_file(folder, split, "images") for split in ("train", "t10k"))


def is_image_folder(folder: Path) -> bool:
    """Return whether a folder would be read as a folder of images."""
    return not holds_idx(folder) and not npy.find_pairs(folder)
