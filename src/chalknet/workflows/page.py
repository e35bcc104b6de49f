"""Collect what the interactive page of a model shows: `chalknet export --html`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.run_folder import CONFIG_FILE
from chalknet.config import CUSTOM_SPLIT, Recipe, read_config
from chalknet.data.dataset import ARRAYS, Dataset, IntArray
from chalknet.data.folds import without_test
from chalknet.data.open_data import open_data
from chalknet.data.preprocess import flatten
from chalknet.data.splits import split_by_recipe
from chalknet.errors import ChalknetError, ConfigError
from chalknet.formatting import count_of, percent
from chalknet.network.model import Classifier
from chalknet.serving.loaded_model import LoadedModel
from chalknet.serving.page.drawing_facts import drawing_facts
from chalknet.serving.page.embedded_model import FLOAT16, INT8, EmbeddedModel, embed_model
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.serving.page.page import PageContent, PageExtras, page_html

SMALL_PAGE_BYTES = 3_000_000  # a page that is larger with 16 bits has weights of 8 bits
MAX_PAGE_BYTES = 32_000_000  # what a browser on a phone still opens
N_TRAIN, N_HELD_OUT, N_MISTAKES = 1_500, 500, 12
MAX_SAMPLE_BYTES = 8_000_000  # of raw values, before compression
MAX_JUDGED = 10_000  # held-out samples that the accuracy is computed on
BITS = {FLOAT16: 16, INT8: 8}


@dataclass(frozen=True, eq=False)
class _RunSamples:
    """The samples of a run with their splits."""

    data: Dataset
    train: IntArray
    held_out: IntArray
    split: str


def page_of_model(
    loaded: LoadedModel, *, title: str | None = None, data: str | None = None, extras: PageExtras | None = None
) -> tuple[bytes, PageContent]:
    """Return the page of a model, and what it shows.

    Weights have 16 bits, or 8 if the page is larger than `SMALL_PAGE_BYTES` with 16. If the model is in
    the folder of a run whose data can be read again, the page holds some of its samples and states its
    accuracy on the test samples, or else on the validation samples.

    Args:
        loaded: the model.
        title: title of the page; the name of the model by default.
        data: where the samples of the run are now, if they have moved.
        extras: what a server adds to the page.

    Raises:
        ConfigError: the model has a layer that the page cannot compute, or the page would be too large.
        DataError: data is given, and is not the data of the run.
    """
    model = loaded.classifier
    samples, notes = _run_samples(loaded, data)
    page, content = b"", None
    for precision in (FLOAT16, INT8):
        embedded = embed_model(model, precision)
        content = _content(loaded, embedded, samples, notes, title or _title(loaded))
        page = page_html(content, extras)
        if len(page) <= SMALL_PAGE_BYTES:
            break
    assert content is not None, "there are two precisions"
    if len(page) > MAX_PAGE_BYTES:
        raise ConfigError(
            f"{loaded.name}: the page would have {len(page) / 1e6:.0f} MB, because the model has "
            f"{count_of(model.architecture.n_parameters * len(model.members), 'parameter')}. A page can have at most "
            f"{MAX_PAGE_BYTES / 1e6:.0f} MB. Train a narrower network, or use chalknet serve."
        )
    return page, content


def _title(loaded: LoadedModel) -> str:
    path = Path(loaded.name)
    return path.resolve().name if path.is_dir() else path.stem


def _run_samples(loaded: LoadedModel, source: str | None) -> tuple[_RunSamples | None, tuple[str, ...]]:
    """Return the samples of the run, or None and a note that says why there are none."""
    if loaded.run is None:
        return None, ("This page was made from a model file, so it holds no samples and states no accuracy.",)
    recipe, config = read_config(loaded.run / CONFIG_FILE)
    if config.source == ARRAYS and source is None:
        return None, ("The network was trained on arrays in memory, so this page holds no samples.",)
    if recipe.split.split == CUSTOM_SPLIT:
        return None, ("The network was trained with splits that its folder does not hold, so there are no samples.",)
    try:
        model = loaded.classifier
        like = model if model.encoding is not None else None
        data = open_data(config if source is None else replace(config, source=source), model.class_names, like=like)
    except (ChalknetError, OSError) as error:
        if source is not None:
            raise
        return None, (f"The samples could not be read again, so this page holds none: {error}",)
    return _split(data, recipe), ()


def _split(data: Dataset, recipe: Recipe) -> _RunSamples:
    splits = split_by_recipe(recipe, data)
    if recipe.training.folds:
        splits = replace(splits, train=without_test(splits), valid=splits.valid[:0])
    split = "test" if len(splits.test) else "valid"
    return _RunSamples(data, splits.train, splits.named()[split], split)


def _content(
    loaded: LoadedModel,
    embedded: EmbeddedModel,
    samples: _RunSamples | None,
    notes: tuple[str, ...],
    title: str,
) -> PageContent:
    model, images = loaded.classifier, None
    chosen = None
    if samples is not None:
        notes = (*notes, *_accuracy_notes(model, embedded, samples))
        chosen = _embedded_samples(embedded.classifier, samples)
        if samples.data.is_images:
            images = samples.data.inputs[samples.train[: 2 * N_TRAIN]]
    return PageContent(title, embedded, chosen, notes, drawing_facts(model, images), _recipe(loaded))


def _accuracy_notes(model: Classifier, embedded: EmbeddedModel, samples: _RunSamples) -> list[str]:
    """Return sentences on the accuracy with original and rounded weights."""
    judged = samples.held_out[:MAX_JUDGED]
    name, bits = {"test": "test", "valid": "validation"}[samples.split], BITS[embedded.precision]
    if not len(judged):
        return [
            f"The weights are rounded to {bits} bits. The run has no test or validation samples to measure the loss."
        ]
    inputs, labels = samples.data.inputs[judged], samples.data.labels[judged]
    before, after = (float((one.predict(inputs) == labels).mean()) for one in (model, embedded.classifier))
    original = "the same accuracy" if before == after else f"an accuracy of {percent(before, 2)}"
    return [
        f"Accuracy on {count_of(len(judged), f'{name} sample')}: {percent(after, 2)}. The weights in this page are "
        f"rounded to {bits} bits. The original weights have {original}."
    ]


def _embedded_samples(model: Classifier, samples: _RunSamples) -> EmbeddedSamples:
    """Return training samples, held-out samples and mistakes; fewer if the samples are large."""
    data = samples.data
    # Timestamps in rows need more than the seven digits of float32.
    dtype = np.dtype(np.float64 if not data.is_images else np.uint8 if data.inputs.dtype == np.uint8 else np.float32)
    part = min(1.0, MAX_SAMPLE_BYTES / (data.n_inputs * dtype.itemsize * (N_TRAIN + N_HELD_OUT)))
    train, held_out = (
        _spread(index, int(part * n)) for index, n in ((samples.train, N_TRAIN), (samples.held_out, N_HELD_OUT))
    )
    mistakes = _worst_mistakes(model, data, samples.held_out[:MAX_JUDGED], max(1, int(part * N_MISTAKES)))
    index = np.concatenate([train, held_out, mistakes])
    inputs = flatten(np.asarray(data.inputs[index])).astype(dtype)
    return EmbeddedSamples(inputs, data.labels[index], len(train), len(held_out), samples.split)


def _spread(index: IntArray, n: int) -> IntArray:
    """Return n of the indices at equal distances, or all if there are fewer."""
    return index if len(index) <= n else index[np.linspace(0, len(index) - 1, n).astype(int)]


def _worst_mistakes(model: Classifier, data: Dataset, index: IntArray, n: int) -> IntArray:
    """Return the indices of the n wrong predictions with the highest probability, highest first."""
    if not len(index):
        return index
    probabilities: NDArray[Any] = model.predict_proba(data.inputs[index])
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != data.labels[index])
    worst: IntArray = index[wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:n]]
    return worst


def _recipe(loaded: LoadedModel) -> dict[str, Any]:
    """Return the settings of the training that the page shows, JSON-ready; {} without a run."""
    if loaded.run is None:
        return {}
    recipe = read_config(loaded.run / CONFIG_FILE)[0]
    optimizer = recipe.optimizer
    names = ("optimizer", "learning_rate", "momentum", "bias_momentum", "beta1", "beta2", "epsilon", "weight_decay")
    return {
        "name": recipe.name,
        **{name: getattr(optimizer, name) for name in names},
        "reduction": optimizer.reduction,
        "batch_size": recipe.training.batch_size,
        "epochs": recipe.training.epochs,
        "label_smoothing": recipe.regularization.label_smoothing,
    }
