"""Predict classes for files, folders and arrays: `chalknet.predict`, which `chalknet predict` calls too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import write_bytes
from chalknet.data.dataset import Dataset, UnlabeledSamples, column_names, numeric_array
from chalknet.errors import ConfigError
from chalknet.network.model import Classifier
from chalknet.serving.inputs import InputOptions
from chalknet.serving.loaded_model import LoadedModel, resolve_model
from chalknet.serving.prediction_tables import predictions_csv, predictions_json, predictions_table
from chalknet.serving.predictions import Predictions, predict_files, predict_samples

KINDS = {".csv": "csv", ".json": "json", ".txt": "table"}


def predict(
    model: Classifier | LoadedModel | str | Path,
    inputs: Any,
    *,
    invert: bool | None = None,
    trim: bool | None = None,
    fit: str | None = None,
    white: float | None = None,
    label_column: str | int | None = None,
) -> Predictions:
    """What a model says of image files, a folder of images, a data file, or samples in memory.

    Args:
        model: a model file, a run's folder, or a `Network` or `Ensemble`.
        inputs: a path or a list of paths: image files of up to 134 million pixels, which are made gray and resized as
            a folder of images is read; folders of them; whatever `load_data` reads, with labels or without. Or a
            `Dataset`, or an array (N, H, W) or (N, I) in the units of the training samples.
        invert: exchange black and white in image files. By default, where the border of an image is plain and its
            brightness not that of the training images' background; a note says so.
        trim: cut off the empty margins of image files. By default, where they are clearly wider than in training.
        fit: how image files of other proportions are resized: "stretch", "crop" (the middle is kept) or "pad" (with the
            border's brightness). By default they are stretched, with a note.
        white: the value of a white pixel in the training samples, for image files and a model that was not trained on
            pixels of 0..255.
        label_column: of a table, the column to leave out.
    Returns:
        the `Predictions`: names, labels, probabilities (N, K), how image files were read, and what could not be read.
    Raises:
        ModelFileError: model is none.
        DataError: nothing of inputs can be read, or what is read does not fit the model.
        ConfigError: a setting that cannot be meant, or that these inputs have no use for.
    """
    loaded = resolve_model(model)
    options = InputOptions(invert, trim, fit, white, label_column)
    if isinstance(inputs, (str, Path)):
        return predict_files(loaded.classifier, [inputs], options)
    if _are_paths(inputs):
        return predict_files(loaded.classifier, inputs, options)
    if options != InputOptions():
        raise ConfigError(
            "invert, trim, fit, white and label_column are for files, and the inputs are samples in memory."
        )
    if isinstance(inputs, Dataset):
        samples = UnlabeledSamples(inputs.inputs, "inputs", input_names=inputs.input_names)
    else:
        samples = UnlabeledSamples(
            numeric_array(inputs, "inputs", "inputs"), "inputs", input_names=column_names(inputs)
        )
    return predict_samples(loaded.classifier, samples)


def format_predictions(predictions: Predictions, model: LoadedModel, kind: str, top: int = 2) -> str:
    """Predictions as "table", "csv" or "json"."""
    if kind == "csv":
        return predictions_csv(predictions)
    return (
        predictions_json(predictions, model.name)
        if kind == "json"
        else f"{predictions_table(predictions, top).text()}\n"
    )


def output_format(path: Path) -> str:
    """The form that a file's name asks for.

    Raises:
        ConfigError: another ending; an image or a data file is not to be replaced by a slip.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"out (--out) must end in {', '.join(KINDS)}, got {str(path)!r}.")
    return kind


def write_predictions(path: Path, text: str) -> None:
    """Raises OutputError where the file cannot be written; it is there whole or not at all."""
    write_bytes(path, text.encode())


def _are_paths(inputs: Any) -> bool:
    return isinstance(inputs, Sequence) and len(inputs) > 0 and all(isinstance(one, (str, Path)) for one in inputs)
