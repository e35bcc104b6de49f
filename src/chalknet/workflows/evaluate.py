"""Evaluate a model on labeled data: `chalknet.evaluate`, which `chalknet evaluate` calls too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.artifacts.run_folder import CONFIG_FILE, SUMMARY_FILE, refuse_finished
from chalknet.config import CUSTOM_SPLIT, GRAY, RGB, DataConfig, Recipe, read_config
from chalknet.data.color import is_color
from chalknet.data.dataset import ARRAYS, Dataset, IntArray
from chalknet.data.folds import without_test
from chalknet.data.load import (
    FRAME,
    TABLE_KINDS,
    existing_path,
    is_image_folder,
    kind_of,
    load_data,
    reject_column_options,
    with_usual_delimiter,
)
from chalknet.data.open_data import open_data
from chalknet.data.readers.folder import FIT_ADVICE
from chalknet.data.readers.table import dataset_from_frame, find_label
from chalknet.data.splits import split_by_recipe
from chalknet.data.tables.columns import NUMBER, Column
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.frames import as_frame, column_labels, is_frame
from chalknet.errors import ConfigError, DataError
from chalknet.formatting import for_reader
from chalknet.network.model import Classifier
from chalknet.serving.evaluation import Evaluation, evaluate_samples
from chalknet.serving.evaluation_tables import (
    class_score_table,
    confusion_table,
    reliability_figure,
    reliability_table,
)
from chalknet.serving.inputs import color_note, color_to_read
from chalknet.serving.loaded_model import LoadedModel, resolve_model

ALL = "all"
EVALUATION_SPLITS = (ALL, "test", "valid", "train")
EVALUATION_FILE, MISTAKES_FILE = "evaluation.json", "mistakes.png"
UNKNOWN_FIT = " (how the training images were resized is not known)"
RunConfig = tuple[Recipe, DataConfig]  # what a run's config.toml says


def evaluate(
    model: Classifier | LoadedModel | str | Path,
    data: Any = None,
    *,
    split: str = ALL,
    label_column: str | int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Evaluate a model on labeled data: accuracy with its interval, loss, mistakes, calibration.

    Args:
        model: a model file, a run folder, or a `Network` or `Ensemble`.
        data: a `Dataset`, what `load_data` takes (a path, a table, or samples and labels (X, y)),
            or a `DataConfig` that also says how to read it. Images in a folder are resized as the
            training images were. Columns of a table are found by name. Classes are matched by name,
            or by position if the data's are numbers. If model is a run folder, the default is the data
            that the run was trained on.
        split: "all", or, if model is a run folder, "test", "valid" or "train" of its data.
        label_column: name or index of the label column of a table. The default is the label column of
            the training table, else the column named label, class, target or y.
        out: folder for evaluation.json, classes.csv, confusion.csv, reliability.csv, reliability.png
            and, for images, mistakes.png. It is created.
        overwrite: whether out may hold an earlier evaluation.

    Returns:
        The `Evaluation`.

    Raises:
        ModelFileError: model is not a model.
        DataError: data cannot be read, does not fit the model, has a class that the model does not
            know, or has no such split.
        ConfigError: an invalid split, or no data.
        OutputError: out cannot be written, or holds an evaluation.
    """
    loaded = resolve_model(model)
    run = None if loaded.run is None else read_config(loaded.run / CONFIG_FILE)
    source = _source(data, label_column, loaded)
    if isinstance(source, DataConfig) and not source.source:
        if run is None:
            raise ConfigError(
                f"{loaded.name}: does not say what data it was trained on. Give the data, or a run folder."
            )
        if run[1].source == ARRAYS:
            raise ConfigError(
                f"{loaded.name}: was trained on arrays in memory, which no file holds. Pass them in Python: "
                f"chalknet.evaluate({loaded.name!r}, data, split={split!r})."
            )
        # Without the digest here: _split_index refuses other data with a message that says what to do.
        source = replace(run[1].updated(source), sha256="")
    _check_split(loaded, split)
    if out is not None:
        refuse_finished(Path(out), overwrite, EVALUATION_FILE)
    known = loaded.classifier.class_names
    samples = source if isinstance(source, Dataset) else _open(_resolve_data(source, split, loaded, run), known, loaded)
    index, notes = _split_index(split, samples, loaded, run)
    color = color_to_read(samples.inputs, loaded.classifier)
    if color is not None:
        samples = samples.in_color(color)
        notes = [*notes, color_note(color)]
    found = evaluate_samples(loaded.classifier, samples, index, name=loaded.name, split=split)
    found = replace(found, notes=(*found.notes, *notes))
    if out is not None:
        with new_folder(Path(out)) as folder:
            _write(found, samples, folder)
    return found


def _source(data: Any, label_column: str | int | None, loaded: LoadedModel) -> Dataset | DataConfig:
    """Return data as a `Dataset`, or as what says how to read it."""
    if isinstance(data, tuple):
        return load_data(
            data, label_column=label_column, like=loaded.classifier, known_classes=loaded.classifier.class_names
        )
    if is_frame(data):
        return _read_frame(data, label_column, loaded.classifier)
    if isinstance(data, Dataset) and label_column is not None:
        raise ConfigError("label_column names a column of a table, but data is a Dataset. Leave it out.")
    if isinstance(data, Dataset):
        return data
    if data is not None and not isinstance(data, (DataConfig, str, Path)):
        existing_path(data)  # raises the error that says what data can be
    if isinstance(data, DataConfig) and loaded.classifier.encoding is not None:
        reject_column_options(data.table)
    config = data if isinstance(data, DataConfig) else DataConfig("" if data is None else str(data))
    return config if label_column is None else replace(config, label_column=str(label_column))


def _read_frame(table: Any, label_column: str | int | None, model: Classifier) -> Dataset:
    """Return the samples of a table in memory as a model reads them."""
    if model.encoding is not None:
        return load_data(table, label_column=label_column, like=model, known_classes=model.class_names)
    # A model of plain rows has no encoding: its inputs are columns of numbers.
    frame = as_frame(table, FRAME)
    label_column = str(label_column) if label_column in column_labels(table) else label_column
    label = find_label(frame.columns, label_column, FRAME)
    names = model.input_names or tuple(name for name in frame.columns if name != label)
    rows = TableEncoding(tuple(Column(name, NUMBER) for name in names), label=label)
    found = dataset_from_frame(frame, FRAME, label_column=label, known_classes=model.class_names, encoding=rows)
    return replace(found, encoding=None)


def _open(config: DataConfig, known: Sequence[str], loaded: LoadedModel) -> Dataset:
    """Read the samples; the columns of a table are encoded as in training.

    A note on stretched images gives no advice, which would be for training.
    """
    data = open_data(config, known, like=loaded.classifier if loaded.classifier.encoding is not None else None)
    return replace(data, notes=tuple(note.replace(for_reader(FIT_ADVICE), UNKNOWN_FIT) for note in data.notes))


def _check_split(loaded: LoadedModel, split: str) -> None:
    if split not in EVALUATION_SPLITS:
        raise ConfigError(f"split must be one of {', '.join(EVALUATION_SPLITS)}, got {split!r}.")
    if split != ALL and loaded.run is None:
        raise ConfigError(
            f"split {split!r} needs the splits of a run, which {loaded.name} does not have. Give the run folder, "
            "or split='all' (--split all)."
        )


def _resolve_data(source: DataConfig, split: str, loaded: LoadedModel, run: RunConfig | None) -> DataConfig:
    """Return how to read data: options that are not given are those of the run on the same file.

    Images of a folder are resized as the training images were. A split is one of everything that the run was given,
    including provided validation and test samples.
    """
    path = Path(source.source)
    if run is not None and split != ALL:
        own = {
            f"{of}_{key}": getattr(run[1], f"{of}_{key}") for of in ("valid", "test") for key in ("source", "sha256")
        }
        source = replace(source, **own)
    if run is not None and run[1].source in (source.source, str(path.absolute())):
        trained = run[1]
        source = replace(
            source,
            class_names=source.class_names or trained.class_names,
            label_column=source.label_column or trained.label_column,
            image_size=source.image_size or trained.image_size,
            image_fit=source.image_fit or trained.image_fit,
            color=source.color or trained.color,
            table=source.table if source.table.changed else trained.table,
        )
    elif path.is_file() and kind_of(path, source.source) in TABLE_KINDS:
        # The encoding of a model has its label; for a model of plain rows the run knows it.
        label = None if run is None or loaded.classifier.encoding is not None else run[1].label_column
        table = with_usual_delimiter(path, source.table, loaded.delimiter)
        source = replace(source, label_column=source.label_column or label, table=table)
    shape = loaded.classifier.image_shape
    with suppress(OSError):  # the reader reports a folder that cannot be opened
        if shape is not None and path.is_dir() and is_image_folder(path):
            return replace(
                source,
                image_size=source.image_size or (shape[0], shape[1]),
                color=source.color or (RGB if is_color(shape) else GRAY),
                image_fit=source.image_fit or loaded.image_fit,
            )
    return source


def _split_index(split: str, data: Dataset, loaded: LoadedModel, run: RunConfig | None) -> tuple[IntArray, list[str]]:
    """Return the positions of a split's samples, and notes on them."""
    is_same = data.sha256 == loaded.data_sha256
    if split == ALL:
        # The run may have had other files too, for validation and test; then only the training file is compared.
        is_same = is_same or (run is not None and data.sha256 == run[1].sha256)
        hint = (
            "Use split='test' (--split test) to leave them out."
            if loaded.run
            else "Give the run folder and split='test' (--split test) to leave them out."
        )
        note = f"The scores include samples that the model was trained on. {hint}"
        return np.arange(len(data)), [for_reader(note)] if is_same else []
    assert run is not None, "checked with the split"
    recipe = run[0]
    if not is_same:
        raise DataError(
            f"{data.source}: is not the data that the run was trained on (sha256 {data.sha256}, expected "
            f"{loaded.data_sha256 or 'unknown'}), so it has no {split} split. Give split='all' (--split all)."
        )
    if recipe.split.split == CUSTOM_SPLIT:
        raise ConfigError(f"{loaded.name}: was trained with index arrays as splits, which its config.toml cannot hold.")
    splits = split_by_recipe(recipe, data)
    if recipe.training.folds:
        if split == "valid":
            raise ConfigError(
                f"{loaded.name}: every sample outside the test split has trained some of its networks, so there is no "
                f"validation split to evaluate. {SUMMARY_FILE} holds the out-of-fold scores. Give "
                "split='test' (--split test)."
            )
        splits = replace(splits, train=without_test(splits))
    index = splits.named()[split]
    if not len(index):
        raise DataError(f"{data.source}: the {split} split of the run is empty.")
    return index, _split_notes(split, recipe)


def _split_notes(split: str, recipe: Recipe) -> list[str]:
    if split == "train":
        return ["The model was trained on these samples. Its accuracy on other samples is lower."]
    notes = []
    if split == "valid" and recipe.stopping.stop_early:
        notes.append("Early stopping chose the epoch on these samples, so the scores are optimistic.")
    if split == "valid" and recipe.training.calibrate:
        notes.append("The temperature was chosen on these samples, so the loss is optimistic.")
    return notes


def _write(found: Evaluation, data: Dataset, folder: Path) -> None:
    """Write the files of an evaluation into a folder, evaluation.json last."""
    from chalknet.reporting.drawings.curves import draw
    from chalknet.reporting.drawings.mistakes import mistake_sheet, worst_mistakes
    from chalknet.reporting.drawings.picture import drawing_bytes

    files = {
        "classes.csv": class_score_table(found).csv().encode(),
        "confusion.csv": confusion_table(found).csv().encode(),
        "reliability.csv": reliability_table(found).csv().encode(),
        "reliability.png": drawing_bytes(draw(reliability_figure(found)), "png"),
    }
    worst = worst_mistakes(found.predictions)
    if data.is_images and len(worst):
        files[MISTAKES_FILE] = mistake_sheet(data, found.predictions, worst, found.class_names)
    else:
        (folder / MISTAKES_FILE).unlink(missing_ok=True)  # an earlier evaluation's
    write_files(folder, {**files, EVALUATION_FILE: evaluation_json(found).encode()})


def evaluation_json(found: Evaluation) -> str:
    """Return the content of evaluation.json, with one key and one row of a matrix per line."""
    lines = []
    for key, value in found.as_dict().items():
        if key in ("classes", "confusion"):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in value)
            lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
