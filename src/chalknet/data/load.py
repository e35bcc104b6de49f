"""`load_data`: what the source is, seen from its bytes and not from its name, and the reader that it is handed to."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chalknet.config import DataConfig
from chalknet.data.dataset import Dataset
from chalknet.data.readers import idx, npy
from chalknet.data.readers.csv_table import read_csv
from chalknet.data.readers.file import read_file, reading
from chalknet.data.readers.folder import digest_of_files, read_folder
from chalknet.data.readers.npz import read_npz
from chalknet.errors import ConfigError, DataError

BUILTIN = "glyphs"
EXPECTED = (
    "an .npz file, .npy files of samples and labels, IDX files as MNIST's, a folder of image folders, a CSV or TSV "
    "table, or the name 'glyphs'"
)

MAX_FILE_BYTES = 4 * 2**30
MAX_TEXT_BYTES = 2 * 2**30  # as numbers a table takes up to four times its text
MAX_IMAGE_SIDE = 65_535
CHUNK_BYTES = 2**20

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
GZIP_MAGIC = b"\x1f\x8b"
# what people have at hand, told by its first bytes, and what to do with it
FOREIGN = (
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle, which chalknet never opens",
        "Save it with numpy.savez",
    ),
    ((b"\x89HDF",), "an HDF5 file", "Save images and labels with numpy.savez"),
    ((b"PAR1\x15",), "a Parquet file", "Save the table as CSV"),
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


@dataclass(frozen=True)
class _Options:
    class_names: tuple[str, ...] | None
    label_column: str | int | None
    image_size: tuple[int, int] | None
    known_classes: tuple[str, ...] = ()

    def refuse(self, *fields: str, source: str, kind: str) -> None:
        """A setting that this kind of source has no use for is a mistake, not a thing to pass over."""
        for field in fields:
            if getattr(self, field) is not None:
                raise ConfigError(f"{field} has no meaning for {kind} ({source}). Leave it out.")


def load_data(
    source: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    label_column: str | int | None = None,
    image_size: tuple[int, int] | None = None,
    known_classes: Sequence[str] = (),
) -> Dataset:
    """The samples of a file, a folder, or the data set that comes with chalknet: docs/file_formats.md, "What is read".

    Args:
        source: a path, or "glyphs". Files may be .npz, IDX (also .gz, its labels beside it) and CSV or TSV (also .gz);
            a folder holds MNIST's IDX files, or a sub-folder of images for each class. Samples in .npy files, their
            labels beside them, stay on disk and are read as they are needed.
        class_names: K names, for sources that do not name their classes or to put them in another order.
        label_column: of a table, the label's column: name or index.
        image_size: (H, W): of a folder, what images are resized to; of a table, the shape of a row's pixels.
        known_classes: names of the classes that what is judged by these samples knows. A table or a folder may then
            hold samples of one class alone.

    Raises:
        DataError: nothing readable there, or not what it should be; one line that begins with the source.
        ConfigError: an argument that cannot be meant, or that this kind of source has no use for.
    """
    options = _checked_options(class_names, label_column, image_size, known_classes)
    if source == BUILTIN:
        options.refuse(
            "class_names", "label_column", "image_size", source=BUILTIN, kind="the data set that comes with chalknet"
        )
        from chalknet.data.glyphs import load_glyphs

        data, place = load_glyphs(), BUILTIN
    else:
        path = existing_path(source)
        with reading(str(source)):
            data = (_load_folder if path.is_dir() else _load_file)(path, str(source), options)
        place = str(path.absolute())  # holds from any folder; messages name the source as it was given
    column = None if options.label_column is None else str(options.label_column)
    return replace(data, origin=DataConfig(place, data.sha256, options.class_names, column, options.image_size))


def _checked_options(
    class_names: Sequence[str] | None,
    label_column: str | int | None,
    image_size: tuple[int, int] | None,
    known_classes: Sequence[str],
) -> _Options:
    if isinstance(class_names, str):
        raise ConfigError(f"class_names must be a list of names, got the text {class_names!r}.")
    names = tuple(str(name) for name in class_names) if class_names is not None and len(class_names) else None
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"class_names must differ from each other, got {twice!r} twice.")
    if label_column is not None and (isinstance(label_column, bool) or not isinstance(label_column, str | int)):
        raise ConfigError(f"label_column must be a column's name or index, got {label_column!r}.")
    if image_size is not None:
        sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
        if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MAX_IMAGE_SIDE for side in sides):
            raise ConfigError(
                f"image_size must be (H, W), two whole numbers in 1..{MAX_IMAGE_SIDE}, got {image_size!r}."
            )
        image_size = (sides[0], sides[1])
    return _Options(names, label_column, image_size, tuple(known_classes))


def existing_path(source: str | Path) -> Path:
    """source as a path that is a file or a folder, or a DataError with the nearest name that is there."""
    if not isinstance(source, str | Path) or not str(source):
        raise ConfigError(f"source must be a path or the name {BUILTIN!r}, got {source!r}.")
    path = Path(source)
    try:
        if path.is_dir() or path.is_file():
            return path
        exists = path.exists()
    except OSError as error:  # no permission to look, or too many characters in the name
        raise DataError(f"{str(source)[:200]!r}: not a path that can be opened ({error}).") from error
    if exists:
        raise DataError(f"{source}: neither a file nor a folder. Expected {EXPECTED}.")
    raise DataError(f"{source}: no such file or folder. {_nearest_name(path)}Expected {EXPECTED}.")


def _nearest_name(path: Path) -> str:
    if difflib.get_close_matches(str(path).casefold(), [BUILTIN]):
        return f"Did you mean {BUILTIN!r}, the data set that comes with chalknet? "
    try:
        there = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):  # no such folder either; a zero byte in its name
        return ""
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.75)
    return f"Did you mean {str(path.with_name(near[0]))!r}? " if near else ""


# ---- folders --------------------------------------------------------------------------------------------------------


def _load_folder(folder: Path, source: str, options: _Options) -> Dataset:
    if holds_idx(folder):
        options.refuse("label_column", "image_size", source=source, kind="IDX files")
        has_test = any(first_file(folder, idx.mnist_file_names("t10k", kind)) for kind in ("images", "labels"))
        digests: dict[str, bytes] = {}
        parts = [
            _read_part(
                _needed_file(folder, idx.mnist_file_names(part, "images"), source),
                _needed_file(folder, idx.mnist_file_names(part, "labels"), source),
                digests,
            )
            for part in ("train", "t10k")[: 1 + has_test]
        ]
        return idx.dataset_from_parts(
            parts, source, class_names=options.class_names, sha256=digest_of_files(digests.items())
        )
    if pairs := npy.find_pairs(folder):
        options.refuse("label_column", "image_size", source=source, kind=".npy files")
        return npy.read_pairs(pairs, source, class_names=options.class_names)
    options.refuse("label_column", source=source, kind="a folder of images")
    return read_folder(
        folder,
        source,
        class_names=options.class_names,
        image_size=options.image_size,
        known_classes=options.known_classes,
    )


def holds_idx(folder: Path) -> bool:
    """Whether a folder holds MNIST's files of images."""
    return any(first_file(folder, idx.mnist_file_names(part, "images")) for part in ("train", "t10k"))


def is_image_folder(folder: Path) -> bool:
    """Whether what can be read in a folder is images, and not IDX or .npy files."""
    return not holds_idx(folder) and not npy.find_pairs(folder)


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files that a folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _needed_file(folder: Path, names: Sequence[str], source: str) -> Path:
    path = first_file(folder, names)
    if path is None:
        raise DataError(f"{source}: a file is missing: looked for {', '.join(names)} in {folder}. Put it there.")
    return path


def _read_part(images: Path, labels: Path, digests: dict[str, bytes]) -> idx.Part:
    """Images and labels of two IDX files; their digests are added to digests."""
    arrays = []
    for path in (images, labels):
        content = read_bytes(path, str(path))
        digests[path.name] = hashlib.sha256(content).digest()
        arrays.append(idx.parse_idx(unpacked_idx(content, str(path)), str(path)))
    return idx.Part(arrays[0], arrays[1], str(images), str(labels))


# ---- files ----------------------------------------------------------------------------------------------------------


def _load_file(path: Path, source: str, options: _Options) -> Dataset:
    with path.open("rb") as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
            options.refuse("label_column", "image_size", source=source, kind=".npy files")
            labels = npy.labels_beside(path)
            if labels is None or not labels.is_file():
                wanted = ", ".join(f"{one}.npy with {other}.npy" for one, other in npy.PAIRS)
                raise DataError(
                    f"{source}: is one NumPy array, without its labels beside it"
                    f"{f' ({labels.name})' if labels else ''}. Expected {wanted}; "
                    "or save both together with numpy.savez."
                )
            return npy.read_pairs([(path, labels)], source, class_names=options.class_names)
    content = read_bytes(path, source)
    if content.startswith(ZIP_MAGIC):
        options.refuse("label_column", "image_size", source=source, kind="an .npz file")
        sha256 = hashlib.sha256(content).hexdigest()
        return read_npz(content, source, sha256=sha256, class_names=options.class_names)
    if path.suffix.casefold() == ".npz":
        raise DataError(
            f"{source}: not an npz file: expected first bytes {ZIP_MAGIC[0].hex(' ')}, got {content[:4].hex(' ')}. "
            "Copy or download it again, or save it with numpy.savez."
        )
    head = unpacked_head(content, source)
    if idx.looks_like_idx(head) or "-ubyte" in path.name:
        options.refuse("label_column", "image_size", source=source, kind="IDX files")
        return _load_idx(path, content, source, options)
    refuse_foreign(head, source)
    return read_csv(
        unpacked_table(content, source),
        source,
        sha256=hashlib.sha256(content).hexdigest(),
        class_names=options.class_names,
        label_column=options.label_column,
        image_size=options.image_size,
        known_classes=options.known_classes,
    )


def _load_idx(images: Path, content: bytes, source: str, options: _Options) -> Dataset:
    """One file of images with its labels beside it."""
    if idx.parse_idx(unpacked_idx(content, source), source).ndim == 1:
        raise DataError(f"{source}: holds labels. Give the images file; its labels are found beside it.")
    names = idx.labels_file_names(images.name)
    if not names:
        raise DataError(
            f"{source}: no labels file: its name is made from the images file's by putting 'labels' for 'images' and "
            "'idx1' for 'idx3'. Rename the two, such as train-images-idx3-ubyte and train-labels-idx1-ubyte."
        )
    digests: dict[str, bytes] = {}
    part = _read_part(images, _needed_file(images.parent, names, source), digests)
    sha256 = digest_of_files(digests.items())
    return idx.dataset_from_parts([part], source, class_names=options.class_names, sha256=sha256)


def unpacked_table(content: bytes, source: str) -> bytes:
    """The text of a table, gunzipped where need be."""
    text = _unpack(content, MAX_TEXT_BYTES + 1, source) if content.startswith(GZIP_MAGIC) else content
    if len(text) > MAX_TEXT_BYTES:
        raise DataError(
            f"{source}: the table's text has more than {MAX_TEXT_BYTES} bytes. Give a part of it, or an .npz file."
        )
    return text


def unpacked_head(content: bytes, source: str) -> bytes:
    """The first bytes of a file, of one that gzip packed those of what is in it."""
    return _unpack(content, HEAD_BYTES, source) if content.startswith(GZIP_MAGIC) else content[:HEAD_BYTES]


def refuse_foreign(head: bytes, source: str) -> None:
    """Raises DataError for what is known and not read, such as pickles, with what to do; and for other binary files."""
    for magics, kind, advice in FOREIGN:
        if head.startswith(magics):
            raise DataError(f"{source}: is {kind}. {advice}. Expected {EXPECTED}.")
    if head[TAR_MAGIC_AT : TAR_MAGIC_AT + 5] == b"ustar":
        raise DataError(f"{source}: is a tar archive. Unpack it and give the folder of image folders in it.")
    if b"\0" in head:
        raise DataError(
            f"{source}: is of no known type (its first bytes are {head[:4].hex(' ')}). Expected {EXPECTED}."
        )


def read_bytes(path: Path, source: str) -> bytes:
    """All of a file, which is not empty and within the bounds."""
    content = read_file(path, source, MAX_FILE_BYTES, "Give a part of it.")
    if not content:
        raise DataError(f"{source}: the file is empty. Expected {EXPECTED}.")
    return content


def unpacked_idx(content: bytes, source: str) -> bytes:
    """The bytes of an IDX file, gunzipped where need be, and then no more of them than its header promises and one."""
    if not content.startswith(GZIP_MAGIC):
        return content
    promised = idx.expected_bytes(_unpack(content, idx.HEADER_BYTES, source), source)
    if promised > MAX_FILE_BYTES:
        raise DataError(f"{source}: the IDX header says {promised} bytes; more than {MAX_FILE_BYTES} are not read.")
    return _unpack(content, promised + 1, source)


def _unpack(content: bytes, n_bytes: int, source: str) -> bytes:
    """The first n_bytes of what gzip packed, fewer where it ends before; memory grows only with what is there."""
    unpacked = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            while chunk := stream.read(min(CHUNK_BYTES, n_bytes - len(unpacked))):
                unpacked += chunk
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source}: damaged gzip data ({error}). Copy or download the file again.") from error
    return bytes(unpacked)
