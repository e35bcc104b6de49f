"""Predict classes for files and arrays: `chalknet.predict`, which `chalknet predict` calls too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import write_bytes
from chalknet.config import TableOptions
from chalknet.data.dataset import Dataset, UnlabeledSamples, column_names, numeric_array
from chalknet.data.readers.table import samples_from_frame
from chalknet.data.tables.frames import as_frame, table_like
from chalknet.errors import ConfigError
from chalknet.formatting import listed
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
    image_fit: str | None = None,
    white: float | None = None,
    label_column: str | int | None = None,
    missing: Sequence[str] = (),
    decimal: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    id_column: str | None = None,
) -> Predictions:
    """Predict the classes of image files, a folder of images, a data file, or samples in memory.

    Args:
        model: a model file, a run folder, or a `Network` or `Ensemble`.
        inputs: a path or a list of paths: image files of up to 134 million pixels, which are converted
            to the color and the size of the training images; folders, with the images in all their
            subfolders, each named by its path; whatever `load_data` reads, with or without labels.
            Or a `Dataset`, a table as a frame or a dict of columns, or an array (N, H, W),
            (N, H, W, 3) or (N, I) in the units of the training samples. The columns of a table
            are found by name.
        invert: whether to invert the brightness of image files. By default an image is inverted, with a
            note, if its border is plain and clearly of another brightness than the background of
            the training images.
        trim: whether to cut off empty margins of image files. By default they are cut off if they are
            clearly wider than in the training images.
        image_fit: how image files with other proportions are resized: "stretch", "crop" (keeps the
            middle) or "pad" (with the brightness of the border). By default they are resized as the
            training images were, if the model file or the run folder says how, else stretched. A
            note says what is done.
        white: the value of a white pixel in the training samples, for image files and a model that was
            not trained on pixels of 0..255.
        label_column: the column of a table to ignore.
        missing: further texts that mean a missing value.
        decimal: the decimal mark of a CSV table; by default that of the training table.
        delimiter: the character between two cells of a CSV table; None to find it.
        header: whether the first row of a CSV table has the column names; None to find out.
        id_column: the column of a table with the names of its rows, which are in `Predictions.names`. By
            default rows are numbered.

    Returns:
        The `Predictions`: names, labels, probabilities (N, K), how image files were read, and which
            inputs could not be read.

    Raises:
        ModelFileError: model is not a model.
        DataError: no input can be read, or the samples do not fit the model.
        ConfigError: an invalid option, or one that these inputs cannot use.
    """
    loaded = resolve_model(model)
    table = TableOptions(missing=missing, decimal=decimal, delimiter=delimiter, header=header)
    options = InputOptions(invert, trim, image_fit, white, label_column, table, id_column)
    if isinstance(inputs, (str, Path)):
        return predict_files(loaded.classifier, [inputs], options, loaded.image_fit, loaded.delimiter)
    if _are_paths(inputs):
        return predict_files(loaded.classifier, inputs, options, loaded.image_fit, loaded.delimiter)
    encoding = loaded.classifier.encoding
    table_inputs = None if encoding is None or isinstance(inputs, Dataset) else table_like(inputs, encoding.names)
    is_table = table_inputs is not None
    given = {name: value for name, value in vars(options).items() if value is not None and name != "table"}
    unused = [name for name in (*given, *table.changed) if not is_table or name not in ("missing", "id_column")]
    if unused:
        raise ConfigError(
            f"{listed(unused)} says how files are read, but the inputs are samples in memory. Leave it out."
        )
    if isinstance(inputs, Dataset):
        samples = UnlabeledSamples(inputs.inputs, "inputs", input_names=inputs.input_names, encoding=inputs.encoding)
    elif encoding is not None and is_table:
        samples = samples_from_frame(
            as_frame(table_inputs, "inputs"), "inputs", encoding, options=table, id_column=id_column
        )
    else:
        samples = UnlabeledSamples(
            numeric_array(inputs, "inputs", "inputs"), "inputs", input_names=column_names(inputs)
        )
    return predict_samples(loaded.classifier, samples)


def format_predictions(predictions: Predictions, model: LoadedModel, kind: str, top: int = 2) -> str:
    """Return predictions as text.

    Args:
        predictions: the predictions.
        model: the model, whose name is in the JSON.
        kind: "table", "csv" or "json".
        top: number of classes per sample in a table.
    """
    if kind == "csv":
        return predictions_csv(predictions)
    return (
        predictions_json(predictions, model.name)
        if kind == "json"
        else f"{predictions_table(predictions, top).text()}\n"
    )


def output_format(path: Path) -> str:
    """Return the format that the suffix of a path stands for.

    Raises:
        ConfigError: another suffix, so that a typing error cannot replace an image or a data file.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(f"out (--out) must end in {', '.join(KINDS)}, got {str(path)!r}.")
    return kind


def write_predictions(path: Path, text: str) -> None:
    """Write formatted predictions to a file, atomically."""
    write_bytes(path, text.encode())


def _are_paths(inputs: Any) -> bool:
    return isinstance(inputs, Sequence) and len(inputs) > 0 and all(isinstance(one, (str, Path)) for one in inputs)
