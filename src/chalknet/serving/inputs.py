"""Read what a model shall predict: image files, folders, data files and arrays, in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import GRAY, RGB, USUAL_TABLE, TableOptions
from chalknet.data.color import images_text, in_color, is_color
from chalknet.data.dataset import UnlabeledSamples, check_input_names
from chalknet.data.image_facts import ImageFacts, image_facts
from chalknet.data.load import (
    BUILTIN,
    csv_inputs,
    is_image_folder,
    load_inputs,
    with_delimiter_of_head,
    with_usual_delimiter,
)
from chalknet.data.preprocess import PIXEL_SCALE
from chalknet.data.readers.folder import files_below
from chalknet.data.readers.image import SUFFIXES, Pixels, ReadImage, image_of_bytes, looks_like_image, read_image
from chalknet.data.readers.source_file import SourceFile
from chalknet.data.tables.encoding import TableEncoding
from chalknet.errors import ConfigError, DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, quoted
from chalknet.network.architecture import CHUNK_ROWS
from chalknet.network.model import Classifier
from chalknet.serving.image_preparation import CLEARLY_EMPTY, ImagePreparation

BATCH_BYTES = 32 * 2**20  # size of the samples of a batch as float64
HEAD_BYTES = 16
MAX_CHECKED_IMAGES = 100  # images of an array or a data file whose appearance is checked


@dataclass(frozen=True)
class InputOptions:
    """Options for reading the inputs of a prediction.

    Attributes:
        invert: whether to invert the brightness of image files; None to do so if it is clear.
        trim: whether to cut off empty margins of image files; None to do so if it is clear.
        image_fit: how image files with other proportions are resized: "stretch", "crop" or "pad"; None
            to resize them as the training images were, with a note.
        white: value of a white pixel in the training samples; None if the model was trained on pixels
            of 0..255.
        label_column: column of a table to ignore, by name or index.
        table: how a table is written: missing, decimal, delimiter and header.
        id_column: column of a table whose values become the names of the predictions.
    """

    invert: bool | None = None
    trim: bool | None = None
    image_fit: str | None = None
    white: float | None = None
    label_column: str | int | None = None
    table: TableOptions = USUAL_TABLE
    id_column: str | None = None

    def __post_init__(self) -> None:
        """Check white."""
        if self.white is not None and not (np.isfinite(self.white) and self.white > 0):
            raise ConfigError(f"white must be a number > 0, such as 1 or 255, got {self.white}.")


@dataclass(frozen=True, eq=False)
class InputBatch:
    """Some samples in the units of the training samples.

    Attributes:
        inputs: (n, H, W), (n, H, W, 3) or (n, I).
        names: n names.
        read_as: n texts about how each image was converted; "" for other samples.
    """

    inputs: NDArray[Any]
    names: tuple[str, ...]
    read_as: tuple[str, ...]


@dataclass(eq=False)
class InputReader:
    """Reads the inputs of one model. Inputs that cannot be read are skipped and listed.

    Attributes:
        model: the model.
        options: how to read.
        trained_fit: how the training images were resized, or None if unknown.
        trained_delimiter: the delimiter that was given for the training table, or None.
        unreadable: one message per file that could not be read.
        notes: what was changed or looks unusual, one sentence each.
    """

    model: Classifier
    options: InputOptions = InputOptions()
    trained_fit: str | None = None
    trained_delimiter: str | None = None
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _images: list[tuple[str, Pixels, str]] = field(default_factory=list)
    _prepare: ImagePreparation | None = field(init=False)

    def __post_init__(self) -> None:
        """Create the preparation of image files, if the model reads images."""
        how, shape = self.options, self.model.image_shape
        self._prepare = (
            None
            if shape is None
            else ImagePreparation(
                (shape[0], shape[1]),
                self.model.image_facts,
                how.invert,
                how.trim,
                how.image_fit,
                trained_fit=self.trained_fit,
            )
        )

    @property
    def _is_color(self) -> bool:
        """Whether the model reads color images."""
        return self.model.image_shape is not None and is_color(self.model.image_shape)

    def batches(self, sources: Sequence[str | Path]) -> Iterator[InputBatch]:
        """Yield the samples of files and folders, in their order.

        Args:
            sources: paths of image files, folders and data files, or "glyphs".

        Raises:
            DataError: an image, but the model was trained on rows.
            ConfigError: an option that these sources cannot use, or the value of white is unknown.
        """
        if "" in sources:
            raise ConfigError("inputs must be files, folders or glyphs, got ''.")
        for source in sources:
            try:
                images = self._image_files(source)
                samples = None if images is not None else self._samples(source)
            except DataError as error:
                self.unreadable.append(str(error))
                continue
            budget = self._budget_of(images or (), str(source))
            for path, name in images or ():
                self._add_image(name, partial(read_image, path, name, color=self._is_color), budget)
                if len(self._images) == CHUNK_ROWS:
                    yield self._image_batch()
            if samples is not None:
                if self._images:
                    yield self._image_batch()
                yield from self.sample_batches(samples, str(source))
        if self._images:
            yield self._image_batch()
        if self._prepare is not None:
            self.notes += self._prepare.notes()

    def image_batches(
        self, files: Iterable[tuple[str, bytes]], max_pixels: int, budget: Budget
    ) -> Iterator[InputBatch]:
        """Yield image files whose content is in memory, in their order.

        Args:
            files: name and content of each file.
            max_pixels: the largest number of pixels of an image.
            budget: the time that decoding them may take in all; it does not count the time of this thread.

        Raises:
            DataError: the model was trained on rows.
            ConfigError: the value of white is unknown.
        """
        for name, content in files:
            self._add_image(name, partial(image_of_bytes, content, name, max_pixels, color=self._is_color), budget)
            if len(self._images) == CHUNK_ROWS:
                yield self._image_batch()
        if self._images:
            yield self._image_batch()
        if self._prepare is not None:
            self.notes += self._prepare.notes()

    def table_batches(self, file: SourceFile) -> Iterator[InputBatch]:
        """Yield the rows of a CSV table whose content is in memory, named by `id_column`, else 0, 1, ...

        Args:
            file: the table.

        Raises:
            DataError: the table is invalid, or does not fit the model.
        """
        how = self.options
        samples = csv_inputs(
            file,
            self.model.architecture.n_inputs,
            label_column=how.label_column,
            names=self.model.input_names,
            encoding=self.model.encoding,
            options=with_delimiter_of_head(file, how.table, self.trained_delimiter),
            id_column=how.id_column,
        )
        self._check(samples)
        self.notes += [*samples.notes, *value_notes(samples.inputs, self.model)]
        yield from self.sample_batches(samples)

    def sample_batches(self, samples: UnlabeledSamples, named: str | None = None) -> Iterator[InputBatch]:
        """Yield samples that are already read, named by their table, else PREFIX[0], PREFIX[1], ..., or 0, 1, ...

        Args:
            samples: the samples.
            named: the prefix, or None.
        """
        rows = prediction_batch_size(self.model)
        for start in range(0, len(samples), rows):
            inputs = samples.inputs[start : start + rows]
            numbers = range(start, start + len(inputs))
            names = samples.names[start : start + rows] or tuple(
                str(at) if named is None else f"{named}[{at}]" for at in numbers
            )
            yield InputBatch(inputs, names, ("",) * len(inputs))

    def _samples(self, source: str | Path) -> UnlabeledSamples:
        for name in ("invert", "trim", "image_fit"):
            if getattr(self.options, name):
                raise ConfigError(f"{name} is for image files, and {source} is a data file. Leave it out.")
        n_inputs = self.model.architecture.n_inputs
        samples = load_inputs(
            source,
            n_inputs,
            label_column=self.options.label_column,
            names=self.model.input_names,
            encoding=self.model.encoding,
            id_column=self.options.id_column,
            options=with_usual_delimiter(source, self.options.table, self.trained_delimiter),
        )
        samples = with_channels_of(samples, self.model)
        self._check(samples)
        self.notes += [
            f"{samples.source}: {note}" for note in (*samples.notes, *value_notes(samples.inputs, self.model))
        ]
        return samples

    def _check(self, samples: UnlabeledSamples) -> None:
        """Raise DataError unless samples have the size and the columns that the model reads."""
        check_sample_shape(samples.inputs, self.model, samples.source)
        check_input_names(samples.input_names, self.model.input_names, samples.source, "the model")

    def _image_files(self, source: str | Path) -> list[tuple[Path, str]] | None:
        """Return the image files that a source names, or None if it is a data file."""
        path = Path(source)
        if source == BUILTIN:
            return None
        try:
            if path.is_dir():
                return self._images_in(path, str(source)) if is_image_folder(path) else None
            if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
                raise DataError(f"{source}: is neither a file nor a folder.")
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except DataError:
            raise
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{source}: cannot be read: {reason}.") from error
        return [(path, str(source))] if looks_like_image(head, path.name) else None

    def _images_in(self, folder: Path, source: str) -> list[tuple[Path, str]]:
        """Return the images in a folder and its subfolders, sorted by path, without hidden files and folders.

        Links to folders are followed only directly in the folder, so that a circle of links ends.
        A subfolder that cannot be listed is unreadable, and the others are read.
        """
        found = files_below(folder, source, self.unreadable, follow_links=True)
        shown = [path.relative_to(folder) for path in found]
        images = [path for path in shown if path.name.lower().endswith(SUFFIXES)]
        others = [path.as_posix() for path in shown if not path.name.lower().endswith(SUFFIXES)]
        if not images:
            raise DataError(
                f"{source}: holds no images ({', '.join(SUFFIXES)}), also in its subfolders, "
                f"found {quoted(others) if others else 'nothing'}."
            )
        if others:
            self.notes.append(
                f"{source}: {count_of(len(others), 'file')} other than images left out: {quoted(others)}."
            )
        return [(folder / path, str(Path(source) / path)) for path in images]

    def _budget_of(self, images: Sequence[tuple[Path, str]], source: str) -> Budget:
        """Return the time that decoding the images of a source may take in all."""
        size = 0
        for path, _ in images:
            with suppress(OSError):  # such as a broken link, which is listed as unreadable later
                size += path.stat().st_size
        return Budget(source, size, "Give fewer images at once.", counts_thread=False)

    def _add_image(self, name: str, read: Callable[[], ReadImage], budget: Budget) -> None:
        if self._prepare is None:
            raise DataError(
                f"{name}: is an image, but the model was trained on rows of {self.model.architecture.n_inputs} values. "
                "Give rows: a table, an .npz or a .npy file."
            )
        start = time.thread_time()
        try:
            image = read()
        except DataError as error:
            self.unreadable.append(str(error))
            return
        finally:
            budget.spend(time.thread_time() - start)
            budget.check_time()
        pixels, done = self._prepare(image.pixels, name)
        self._images.append((name, pixels, self._how(image, pixels, done)))

    def _white(self, name: str) -> float:
        """Return the value of a white pixel in the training samples."""
        scaling = self.model.scaling
        reads_bytes = scaling.shift is None and np.ndim(scaling.scale) == 0 and scaling.scale == PIXEL_SCALE
        if self.options.white is not None:
            return self.options.white
        if not reads_bytes:
            raise ConfigError(
                f"{name}: the model was not trained on pixels of 0..255, so the value of a white pixel in its "
                "training samples is unknown. Give white (--white): 1 if they were divided by 255, else 255."
            )
        return PIXEL_SCALE

    def _image_batch(self) -> InputBatch:
        """Return the images collected so far as a batch, and forget them."""
        names, images, read_as = zip(*self._images, strict=True)
        pixels, white = np.stack(images), self._white(names[0])
        self._images.clear()
        # Divide first, as training samples of 0..1 were: x / 255 and x * (1 / 255) can differ in the last bit.
        inputs = pixels if white == PIXEL_SCALE else pixels / PIXEL_SCALE * white
        return InputBatch(inputs, names, read_as)

    def _how(self, image: ReadImage, pixels: Pixels, done: str) -> str:
        """Return the conversion of an image, such as "640x480 RGB -> 28x28 gray" (width x height)."""
        height, width = pixels.shape[:2]
        kind = "RGB" if self._is_color else "gray"
        before, after = f"{image.size[0]}x{image.size[1]} {image.mode}", f"{width}x{height} {kind}"
        more = ", transparency on white" * image.was_transparent + done
        return f"{before} -> {after}{more}" if before != after else f"{after}{more or ', as it is'}"


def prediction_batch_size(model: Classifier) -> int:
    """Return the number of samples per batch.

    It is a multiple of the rows that a network computes at once. Batches therefore give the same
    bits as all samples at once.
    """
    in_bytes = BATCH_BYTES // (8 * model.architecture.n_inputs)
    return max(1, in_bytes // CHUNK_ROWS) * CHUNK_ROWS


def check_sample_shape(inputs: Any, model: Classifier, source: str) -> None:
    """Raise DataError unless samples have the size that a model reads."""
    shape, n_inputs = tuple(inputs.shape[1:]), model.architecture.n_inputs
    fits = shape in ((n_inputs,), model.image_shape) or (
        model.image_shape is None and len(shape) in (2, 3) and math.prod(shape) == n_inputs
    )
    if fits:
        return
    came = images_text(shape) if len(shape) > 1 else f"rows of {shape[0]} values"
    wanted = "" if model.image_shape is None else f"{images_text(model.image_shape)} or "
    raise DataError(f"{source}: holds {came}, but the model reads {wanted}rows of {n_inputs} values.")


def color_to_read(inputs: Any, model: Classifier) -> str | None:
    """Return "gray" or "rgb" if images must be converted to it for a model, else None.

    None is also returned for images of another size, and for samples that stay on disk.
    """
    wanted, shape = model.image_shape, tuple(inputs.shape[1:])
    if not isinstance(inputs, np.ndarray) or wanted is None or len(shape) == len(wanted) or shape[:2] != wanted[:2]:
        return None
    return RGB if is_color(wanted) else GRAY


def color_note(color: str) -> str:
    """Return the note that images are converted to "gray" or "rgb" for a model."""
    return f"the images are read in {'gray' if color == GRAY else 'color'}, as the training images were."


def with_channels_of(samples: UnlabeledSamples, model: Classifier) -> UnlabeledSamples:
    """Return images in gray or color, whichever the model reads, with a note if they are converted."""
    color = color_to_read(samples.inputs, model)
    if color is None:
        return samples
    return replace(samples, inputs=in_color(samples.inputs, color), notes=(*samples.notes, color_note(color)))


def check_encoding(encoding: TableEncoding | None, model: Classifier, source: str) -> None:
    """Raise DataError if samples were encoded in another way than those that a model was trained on."""
    if encoding is not None and encoding != model.encoding:
        raise DataError(
            f"{source}: its columns are encoded in another way than those of the model's training table. Read it with "
            "load_data(..., like=model), or give the file itself."
        )


def value_notes(inputs: Any, model: Classifier) -> list[str]:
    """Return notes on sample values that do not fit the training samples and their scaling."""
    scaling = model.scaling
    if not len(inputs):
        return []
    notes = [] if model.image_facts is None or inputs.ndim < 3 else _appearance_notes(inputs, model.image_facts)
    if scaling.shift is not None or np.ndim(scaling.scale):
        return notes
    is_bytes = inputs.dtype == np.uint8
    if scaling.scale != PIXEL_SCALE and is_bytes:
        notes.append(
            "holds pixels of 0..255, but the model was trained on other values, perhaps on pixels divided by 255."
        )
    if scaling.scale == PIXEL_SCALE and not is_bytes and 0 < inputs.max() <= 1:
        notes.append(
            "holds values up to 1, but the model was trained on pixels of 0..255, so the images are nearly black to it."
        )
    return notes


def _appearance_notes(images: Any, facts: ImageFacts) -> list[str]:
    """Return notes on images that look different from the training images as a whole."""
    found, notes = image_facts(images, np.arange(len(images)), MAX_CHECKED_IMAGES), []
    if found.background and facts.background and found.background != facts.background:
        notes.append(
            f"most images have a {found.background} background, but the training images have a {facts.background} "
            "one. Invert them: 255 - pixels."
        )
    if found.usual_fill < CLEARLY_EMPTY * facts.fill:
        notes.append("most images have wide margins, unlike the training images. Cut the margins off.")
    return notes
