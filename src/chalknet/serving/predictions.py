"""Predict classes for files, folders and arrays."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chalknet.data.dataset import UnlabeledSamples, check_input_names
from chalknet.data.readers.source_file import SourceFile
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import for_reader
from chalknet.machine.blas import one_blas_thread
from chalknet.network.arrays import FloatArray
from chalknet.network.model import Classifier
from chalknet.serving.inputs import (
    InputBatch,
    InputOptions,
    InputReader,
    check_encoding,
    check_sample_shape,
    value_notes,
    with_channels_of,
)

MAX_LISTED = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a model for N samples.

    Attributes:
        class_names: the model's K classes.
        names: N names: the file, or FILE[number].
        probabilities: (N, K) with the dtype of the model; rows sum to 1.
        read_as: N texts, how each image file was converted, such as "640x480 RGB -> 28x28 gray"; "" for
            other samples.
        unreadable: one message per input that could not be read.
        notes: what was changed or looks unusual, one sentence each.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: FloatArray
    read_as: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a line with the number of samples and the classes."""
        return f"<Predictions for {len(self)} samples, classes {', '.join(self.class_names)}>"

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.names)

    @property
    def labels(self) -> list[str]:
        """The name of the most probable class of each sample."""
        return [self.class_names[k] for k in self.probabilities.argmax(axis=1)]

    def best(self, n: int) -> list[list[tuple[str, float]]]:
        """Return the n most probable classes of each sample with their probabilities, best first."""
        # A stable sort puts the first of equal classes first, as argmax does.
        order = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :n]
        return [
            [(self.class_names[k], float(row[k])) for k in best]
            for row, best in zip(self.probabilities, order, strict=True)
        ]


def predict_files(
    model: Classifier,
    sources: Sequence[str | Path],
    options: InputOptions,
    trained_fit: str | None = None,
    trained_delimiter: str | None = None,
) -> Predictions:
    """Predict the classes of image files, folders of images and data files.

    Args:
        model: the network or ensemble.
        sources: the paths.
        options: how to read them.
        trained_fit: how the training images were resized, or None if unknown.
        trained_delimiter: the delimiter that was given for the training table, or None.

    Raises:
        DataError: no input can be read, or an image is given to a model of rows.
        ConfigError: see `InputReader.batches`.
    """
    reader = InputReader(model, options, trained_fit, trained_delimiter)
    predictions = _predict_batches(model, reader, reader.batches(sources))
    if reader.unreadable and not len(predictions):
        raise DataError(_nothing_readable(reader.unreadable))
    return predictions


def predict_images(
    model: Classifier,
    files: Iterable[tuple[str, bytes]],
    options: InputOptions,
    max_pixels: int,
    budget: Budget,
    trained_fit: str | None = None,
) -> Predictions:
    """Predict the classes of image files whose content is in memory.

    Args:
        model: the network or ensemble.
        files: name and content of each file.
        options: how to read them.
        max_pixels: the largest number of pixels of an image.
        budget: the time that decoding them may take in all; it does not count the time of this thread.
        trained_fit: how the training images were resized, or None if unknown.

    Raises:
        DataError: no image can be read, or the model was trained on rows.
        ConfigError: see `InputReader.image_batches`.
    """
    reader = InputReader(model, options, trained_fit)
    predictions = _predict_batches(model, reader, reader.image_batches(files, max_pixels, budget))
    if reader.unreadable and not len(predictions):
        raise DataError(_nothing_readable(reader.unreadable))
    return predictions


def predict_table(
    model: Classifier, file: SourceFile, options: InputOptions, trained_delimiter: str | None = None
) -> Predictions:
    """Predict the classes of the rows of a CSV table whose content is in memory.

    Args:
        model: the network or ensemble.
        file: the table.
        options: how to read it.
        trained_delimiter: the delimiter that was given for the training table, or None.

    Raises:
        DataError: the table is invalid, or does not fit the model.
    """
    reader = InputReader(model, options, trained_delimiter=trained_delimiter)
    return _predict_batches(model, reader, reader.table_batches(file))


def predict_samples(model: Classifier, samples: UnlabeledSamples) -> Predictions:
    """Predict the classes of samples in memory.

    Args:
        model: the network or ensemble.
        samples: the samples, which are called 0, 1, ... if their table has no names for them.

    Raises:
        DataError: the samples have another size, or columns with other names, than the model reads.
    """
    check_encoding(samples.encoding, model, samples.source)
    samples = with_channels_of(samples, model)
    check_sample_shape(samples.inputs, model, samples.source)
    check_input_names(samples.input_names, model.input_names, samples.source, "the model")
    reader = InputReader(model, notes=[*samples.notes, *value_notes(samples.inputs, model)])
    return _predict_batches(model, reader, reader.sample_batches(samples))


def _predict_batches(model: Classifier, reader: InputReader, batches: Iterable[InputBatch]) -> Predictions:
    names, read_as, parts = list[str](), list[str](), list[FloatArray]()
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # value_notes reports values of another scale, once
        for batch in batches:
            parts.append(model.predict_proba(batch.inputs))
            names += batch.names
            read_as += batch.read_as
    probabilities = np.concatenate(parts) if parts else np.empty((0, len(model.class_names)))
    return Predictions(
        model.class_names,
        tuple(names),
        probabilities,
        tuple(read_as),
        tuple(reader.unreadable),
        tuple(map(for_reader, reader.notes)),
    )


def _nothing_readable(unreadable: Sequence[str]) -> str:
    if len(unreadable) == 1:
        return unreadable[0]
    more = f" ... and {len(unreadable) - MAX_LISTED} more" if len(unreadable) > MAX_LISTED else ""
    return f"none of {len(unreadable)} inputs can be read: {' '.join(unreadable[:MAX_LISTED])}{more}"
