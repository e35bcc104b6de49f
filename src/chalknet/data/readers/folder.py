"""Folders of images: each sub-folder is a class, and the images in it and its sub-folders are its samples."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median_low

import numpy as np

from chalknet.config import RGB
from chalknet.data.dataset import Dataset, dataset_from_arrays, nfc, with_known
from chalknet.data.readers.image import (
    DEFAULT_FIT,
    MAX_FILE_BYTES,
    SUFFIXES,
    Pixels,
    decode_image,
    fitted,
    is_stretched,
    size_in_header,
)
from chalknet.data.readers.source_file import digest_of_files
from chalknet.errors import DataError
from chalknet.files import Budget, read_bytes, reading
from chalknet.formatting import count_of, is_or_are, quoted

BATCH_FILES = 64
APPLE_FOLDER = "__MACOSX"  # macOS adds it to archives; its files have the names of images, but are none
SPLIT_NAMES = ("train", "training", "val", "valid", "validation", "test", "testing")
MAX_CHOSEN_SIDE = 64  # of images of different sizes, if no size is given
DIM = 16  # of 255: brightest pixel of a 12-bit image that was saved with 16 bits


# The advice about stretched images, which is for training only.
FIT_ADVICE = ", which image_fit='pad' (--image-fit pad) keeps, as does crop"
# Texts of notes on images, by kind.
NOTE_TEXTS = {
    "transparent": "with transparency laid on white",
    "32-bit": "of 32-bit integers, read as 8-bit pixels where none is above 255, else as 16-bit ones",
    "dim": "of 16-bit pixels, none of them above 4,096, read as nearly black; save them with white as 65,535",
    "resized": "resized to {size}",
    "stretched": f"stretched to other proportions{FIT_ADVICE}",
    "colored": "with colors, read as gray; color='rgb' (--color rgb) keeps colors",
}


@dataclass(frozen=True, eq=False)
class _ImageFile:
    """The result of reading one file.

    Attributes:
        name: path relative to the folder, with forward slashes.
        label: the class.
        digest: SHA-256 of the file.
        pixels: the image, or None if it could not be read.
        kinds: keys of `NOTE_TEXTS` that apply to the image.
    """

    name: str  # relative to the folder, with forward slashes
    label: int
    digest: bytes
    pixels: Pixels | None
    kinds: tuple[str, ...] = ()  # of `NOTE_TEXTS`


def read_folder(
    folder: Path,
    source: str,
    *,
    class_names: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    image_fit: str | None = None,
    color: str | None = None,
    known_classes: Sequence[str] = (),
) -> tuple[Dataset, tuple[int, int] | None]:
    """Read the images in the sub-folders of a folder, at any depth, as uint8 images, sorted by path.

    Colors become gray with the ITU-R 601 weights of Pillow, unless color is "rgb". 16-bit values are scaled to 8 bits,
    transparent images are laid on white, as on a web page, EXIF rotation is applied, and the first
    frame of an animation is used. Files that cannot be read are left out and named in the notes.
    Hidden files and folders are ignored. A folder without images is left out and named in the notes.

    Args:
        folder: the folder.
        source: what messages call it.
        class_names: the names of the sub-folders in the order of the labels; sorted by default.
        image_size: (H, W) to which images of other sizes are resized (Lanczos). None keeps the size of images
            that all have the same one, and chooses one for others, with a note (`_chosen_size`).
        image_fit: how images of other proportions are resized: "stretch", "crop" or "pad". None
            stretches them, with a note.
        color: "rgb" to keep colors, as (N, H, W, 3); gray files then have three equal channels. None
            is "gray", with a note if colors are lost.
        known_classes: names of classes that may have no samples here.

    Returns:
        The samples as a `Dataset`, and (H, W) if a size was given or chosen, else None.

    Raises:
        DataError: fewer than two folders have images, a class has no readable image, or the limits on
            memory and time are exceeded.
    """
    names, empty = _class_folders(folder, source, class_names, is_part=bool(known_classes))
    notes = [f"{count_of(len(empty), 'folder')} without images left out: {quoted(empty)}."] * bool(empty)
    listing = list(_list_files(folder, source, names, empty, notes))
    try:
        files = _read_files(folder, source, listing, image_size, image_fit, color)
    except DataError:  # images of several sizes, or more large images than memory holds
        image_size = _chosen_size(folder, source, listing, notes) if image_size is None else None
        if image_size is None:
            raise
        files = _read_files(folder, source, listing, image_size, image_fit, color)
    readable = [file for file in files if file.pixels is not None]
    found = Counter(label for _, label in listing)
    good = Counter(file.label for file in readable)
    for label, name in sorted(enumerate(names), key=lambda item: item[1]):
        if not good[label]:
            problem = f"no readable image among {found[label]} image files" if found[label] else "no image files"
            raise DataError(f"{source}: class {name!r} has {problem}. Expected {', '.join(SUFFIXES)} in that folder.")
    inputs = np.stack([file.pixels for file in readable if file.pixels is not None])
    unread = sorted(file.name for file in files if file.pixels is None)
    image_notes = [
        f"{count_of(len(unread), 'image file')} could not be read and left out: {quoted(unread, 5)}."
    ] * bool(unread)
    for kind, what in NOTE_TEXTS.items():
        of_kind = [file.name for file in files if kind in file.kinds]
        if of_kind:
            what = what.format(size=_high_wide(inputs.shape[1:]))
            which = "" if kind in ("resized", "colored") else f": {quoted(of_kind, 5)}"
            image_notes.append(f"{count_of(len(of_kind), 'image')} {what}{which}.")
    data = dataset_from_arrays(
        inputs,
        np.array([file.label for file in readable], dtype=np.int64),
        with_known(tuple(map(nfc, names)), known_classes),
        source=source,
        sha256=digest_of_files([(file.name, file.digest) for file in files]),
        notes=[*image_notes, *notes],
    )
    return data, image_size


def _chosen_size(
    folder: Path, source: str, listing: Sequence[tuple[str, int]], notes: list[str]
) -> tuple[int, int] | None:
    """Return the size for images of different sizes, and add a note on it; None if all have the same size.

    It is the median height and the median width, reduced so that the longer side has at most
    `MAX_CHOSEN_SIDE` pixels. If more than half of the images have the same size, the medians are this
    size. Only the headers of the files are read.
    """
    budget, sizes = _budget(folder, source, listing), []
    for name, _ in listing:
        with suppress(Exception):  # an image that cannot be read, which is noted later
            sizes.append(size_in_header(read_bytes(folder / name, MAX_FILE_BYTES)))
        budget.check_time()
    if len(set(sizes)) < 2:
        return None
    tall, wide = (median_low(sides) for sides in zip(*sizes, strict=True))
    scale = min(1.0, MAX_CHOSEN_SIDE / max(tall, wide))
    height, width = max(1, round(tall * scale)), max(1, round(wide * scale))
    rule = "the median height and width"
    if scale < 1:
        rule += f", {tall:,} and {wide:,}, reduced to at most {MAX_CHOSEN_SIDE} pixels"
    notes.append(
        f"images differ in size, and all are made {_high_wide((height, width))} ({rule}). To choose the size, give "
        "image_size=(H, W) (--image-size HxW)."
    )
    return height, width


def _class_folders(
    folder: Path, source: str, class_names: Sequence[str] | None, *, is_part: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the class folders in the order of the labels, and of the sub-folders without images.

    A sub-folder without images is a class only if class_names has it, and then it is an error later.

    Args:
        folder: the folder.
        source: what messages call it.
        class_names: the names in their order, or None to sort them.
        is_part: whether a single sub-folder is enough, because other classes are known.
    """
    entries = visible_entries(folder, source)
    found = sorted(entry.name for entry in entries if is_folder(entry) and entry.name != APPLE_FOLDER)
    if not found:
        shown = quoted(entry.name for entry in entries) if entries else "an empty folder"
        raise DataError(
            f"{source}: expected a sub-folder of images for each class, or MNIST's train-images-idx3-ubyte, "
            f"found {shown}. To read a file in it, give that file's path."
        )
    _refuse_splits(folder, source, found)
    wanted = set(map(nfc, class_names or ()))
    empty = [name for name in found if nfc(name) not in wanted and not _has_images(folder / name, source)]
    found = [name for name in found if name not in empty]
    without = f" Without images: {quoted(empty)}." if empty else ""
    if not found:
        raise DataError(f"{source}: no sub-folder has images ({', '.join(SUFFIXES)}).{without}")
    if len(found) == 1 and not is_part:
        raise DataError(
            f"{source}: only one class, sub-folder {found[0]!r}; a classifier needs at least two. "
            f"Give the folder that holds the class folders.{without}"
        )
    for name in found:
        if not name.isprintable():  # also lone surrogates, which stand for bytes that are not UTF-8
            raise DataError(f"{source}: sub-folder {name!r} has a name that cannot be printed. Rename it.")
    by_name = {nfc(name): name for name in found}
    if class_names and sorted(wanted) != sorted(by_name):
        raise DataError(
            f"{source}: class_names must be the names of the sub-folders in any order, {quoted(found)}, "
            f"got {quoted(class_names)}."
        )
    return tuple(by_name[nfc(name)] for name in class_names) if class_names else tuple(found), empty


def _refuse_splits(folder: Path, source: str, names: Sequence[str]) -> None:
    """Refuse a folder whose sub-folders are splits, such as "train" and "test", that contain the class folders.

    Raises:
        DataError: all sub-folders have the names of splits, and hold images only in folders of their own.
    """
    if len(names) < 2 or not all(name.lower() in SPLIT_NAMES for name in names):
        return
    entries = [entry for name in names for entry in visible_entries(folder / name, source)]
    if any(map(is_folder, entries)) and not any(is_image(Path(entry.path)) for entry in entries):
        raise DataError(
            f"{source}: the sub-folders {quoted(names)} are splits, and no classes. Give each of them, as in "
            "`chalknet train --data train --valid val --test test`, or rename one that is a class."
        )


def _has_images(folder: Path, source: str) -> bool:
    """Return whether a folder or a folder in it holds an image file."""
    return any(map(is_image, files_below(folder, source, [])))


def is_image(path: Path) -> bool:
    """Return whether a path is a file with the name of an image."""
    return path.name.lower().endswith(SUFFIXES) and _holds(path.is_file)


def files_below(folder: Path, source: str, unreadable: list[str], *, follow_links: bool = False) -> list[Path]:
    """Return the files in a folder and its subfolders, without hidden files and folders.

    The paths start with the folder, and are sorted by their parts. Links that are not followed count as files.

    Args:
        folder: the folder.
        source: what messages call the data.
        unreadable: a message is added for each subfolder that cannot be listed; the others are searched.
        follow_links: whether links to folders are followed directly in the folder. Deeper ones are not, so
            that a circle of links ends.

    Raises:
        DataError: the folder itself cannot be listed.
    """
    found: list[Path] = []
    pending = [folder]
    while pending:
        at = pending.pop()
        try:
            entries = visible_entries(at, source)
        except DataError as error:
            if at == folder:
                raise
            unreadable.append(str(error))
            continue
        for entry in entries:
            if is_folder(entry, follow_links=follow_links and at == folder):
                pending += [Path(entry.path)] * (entry.name != APPLE_FOLDER)
            else:
                found.append(Path(entry.path))
    return sorted(found, key=lambda path: path.parts)


def visible_entries(folder: Path, source: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{source}: cannot list {str(folder)!r}: {error.strerror}. Check its permissions.") from error


def is_folder(entry: os.DirEntry[str], *, follow_links: bool = True) -> bool:
    """Return whether an entry is a folder or, if links are followed, a link to one."""
    return _holds(partial(entry.is_dir, follow_symlinks=follow_links))


def _holds(question: Callable[[], bool]) -> bool:
    """Return the answer of is_file or is_dir; False for links in a circle."""
    try:
        return question()
    except OSError:
        return False


def _list_files(
    folder: Path, source: str, names: Sequence[str], empty: Sequence[str], notes: list[str]
) -> Iterator[tuple[str, int]]:
    """Yield (relative name, label) of all image files, sorted; add notes on what else the folders hold."""
    others = [entry.name for entry in visible_entries(folder, source) if _holds(entry.is_file)]
    if others:
        notes.append(f"{count_of(len(others), 'file')} outside the class folders left out: {quoted(sorted(others))}.")
    strange: list[str] = []
    unreadable: list[str] = []
    nested: list[str] = []
    n_images = 0
    for name in sorted((*names, *empty)):
        for path in files_below(folder / name, source, unreadable):
            relative = path.relative_to(folder).as_posix()
            if not is_image(path):
                strange.append(relative)
                continue
            n_images += 1
            nested += [path.parent.relative_to(folder).as_posix()] * (path.parent != folder / name)
            yield relative, names.index(name)
    if nested:
        notes.append(
            f"{len(nested):,} of {count_of(n_images, 'image')} {is_or_are(len(nested))} in subfolders of the class "
            f"folders, such as {nested[0]!r}, and read with the class of the outer folder, here "
            f"{nested[0].split('/')[0]!r}. If the subfolders are the classes, give the folder that holds them."
        )
    if unreadable:
        notes.append(f"{count_of(len(unreadable), 'subfolder')} left out. {unreadable[0]}")
    if strange:
        what = count_of(len(strange), "entry that is no image file", "entries that are no image files")
        notes.append(f"{what} left out: {quoted(sorted(strange))}.")


def _read_files(
    folder: Path,
    source: str,
    listing: Sequence[tuple[str, int]],
    image_size: tuple[int, int] | None,
    image_fit: str | None,
    color: str | None,
) -> list[_ImageFile]:
    """Read all files, in order, with a few threads.

    Each task of a thread is a batch of files, because starting a task costs more than decoding a
    small image.
    """
    budget = _budget(folder, source, listing)
    shapes: set[tuple[int, ...]] = set()
    files: list[_ImageFile] = []
    # The warnings filter is shared by all threads. Setting it in each of them would be a race.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        batches = [listing[at : at + BATCH_FILES] for at in range(0, len(listing), BATCH_FILES)]

        def read_batch(batch: Sequence[tuple[str, int]]) -> list[_ImageFile]:
            found = []
            for name, label in batch:
                found.append(_read_file(folder, name, label, image_size, image_fit, color, budget))
                shapes.update(file.pixels.shape for file in found[-1:] if file.pixels is not None)
                if len(shapes) > 1:
                    one, other = sorted(shapes)[:2]
                    raise DataError(
                        f"{source}: images differ in size, such as {_high_wide(one)} and {_high_wide(other)}. Choose a "
                        "size for all, such as image_size=(32, 32) (--image-size 32x32)."
                    )
            return found

        try:
            for found in pool.map(read_batch, batches):
                files += found
        except DataError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return files


def _budget(folder: Path, source: str, listing: Sequence[tuple[str, int]]) -> Budget:
    """Return the memory and the time that the images of a folder may take."""
    with reading(source):
        n_bytes = sum((folder / name).stat().st_size for name, _ in listing)
    return Budget(source, n_bytes, "Give a smaller image_size (--image-size), or fewer images.")


def _read_file(
    folder: Path,
    name: str,
    label: int,
    image_size: tuple[int, int] | None,
    image_fit: str | None,
    color: str | None,
    budget: Budget,
) -> _ImageFile:
    """Read, decode and resize one image file."""
    try:
        content = read_bytes(folder / name, MAX_FILE_BYTES)
    except OSError:
        return _ImageFile(name, label, b"", None)
    digest = hashlib.sha256(content).digest()
    start = time.thread_time()
    try:
        image = decode_image(content, color=color == RGB)
        pixels = fitted(image.pixels, image_size, image_fit or DEFAULT_FIT)
    except Exception:  # Pillow's decoders can raise anything; the file is named in the notes
        return _ImageFile(name, label, digest, None)
    finally:
        budget.spend(time.thread_time() - start)
    budget.take(pixels.nbytes)
    is_kind = {
        "transparent": image.was_transparent,
        "32-bit": image.mode == "32-bit gray",
        "dim": image.mode == "16-bit gray" and 0 < image.pixels.max() <= DIM,
        "resized": pixels.shape != image.pixels.shape,
        "stretched": image_fit is None and is_stretched(image.pixels.shape, image_size),
        "colored": image.lost_color and color is None,
    }
    return _ImageFile(name, label, digest, pixels, tuple(kind for kind, does in is_kind.items() if does))


def _high_wide(shape: tuple[int, ...]) -> str:
    """Return a size in words."""
    return f"{shape[0]} high and {shape[1]} wide"
