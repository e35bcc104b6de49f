"""The configurations of a specification, how they split the samples, and what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from chalknet.config import FULL, SECTION_OF_FIELD
from chalknet.data.augment import augmenter_for
from chalknet.data.dataset import Dataset, arrays_sha256
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import ConfigError
from chalknet.network.architecture import architecture_for
from chalknet.studies.configurations import Configuration
from chalknet.studies.spec import Range, StudySpec, as_field_value, value_list
from chalknet.training.notes import split_notes

# How often a sample uses each weight: forward and twice backward in training, forward in scoring.
TRAINING_PASSES, SCORING_PASSES = 3, 1
# The same for an update, which reads and writes weights, velocities and gradients.
UPDATE_PASSES = 5


def grid_configurations(spec: StudySpec) -> tuple[Configuration, ...]:
    """Return the configurations that are named, or those of the grid, or of its random sample.

    Those of the grid are in the order of `spec.vary`, the last field fastest. With `spec.sample`, they are a
    random subset in that order; a larger sample with the same seed contains the smaller one.
    """
    if spec.configurations:
        return tuple(
            replace(make_configuration(spec, dict(settings)), name=name) for name, settings in spec.configurations
        )
    names = [name for name, _ in spec.vary]
    lists = [value_list(name, values, spec.recipe) for name, values in spec.vary]
    configs = [make_configuration(spec, dict(zip(names, values, strict=True))) for values in product(*lists)]
    if spec.sample is None or spec.sample >= len(configs):
        return tuple(configs)
    # NEP 19 freezes the streams of RandomState, so every version of NumPy draws the same sample.
    chosen = np.random.RandomState(spec.sample_seed).permutation(len(configs))[: spec.sample]
    return tuple(configs[i] for i in sorted(chosen.tolist()))


def make_configuration(spec: StudySpec, settings: Mapping[str, Any]) -> Configuration:
    """Return the configuration with these values of the varied fields, by field."""
    recipe = spec.recipe.with_settings(**settings)
    stored = tuple((name, getattr(getattr(recipe, SECTION_OF_FIELD[name]), name)) for name in settings)
    return Configuration(stored, recipe, spec.recipe.split, spec.seeds_vary)


def check_specification(spec: StudySpec, data: Dataset) -> Splits:
    """Check that a study of this data can be run, before anything is written.

    Returns:
        The split for the first seed.

    Raises:
        ConfigError: the split does not fit the data (`study_splits`, `configuration_splits`), a
            search has no validation samples, or the network or the image transforms of a
            configuration do not fit the samples.
    """
    base = make_configuration(spec, {})
    splits = study_splits(data, base, spec.first_seed)
    if spec.search is not None and not len(splits.valid):
        raise ConfigError(
            f"the search optimizes {spec.search.objective}, but there are no validation samples. "
            "Set valid_size (--valid)."
        )
    for config in (base, *_extreme_configurations(spec)) if spec.search is not None else grid_configurations(spec):
        configuration_splits(data, config, splits)
        architecture_for(config.recipe, data.sample_shape, data.n_classes)
        augmenter_for(config.recipe.augmentation, data.inputs.shape[1:] if data.is_images else None)
    return splits


def specification_notes(spec: StudySpec, data: Dataset) -> tuple[str, ...]:
    """Return what is unusual about the split for the first seed, as sentences (`split_notes`).

    Raises:
        DataError: all training samples of a configuration belong to one class.
    """
    base = make_configuration(spec, {})
    splits = study_splits(data, base, spec.first_seed)
    configs = [base] if spec.search is not None else grid_configurations(spec)
    kinds = {(config.recipe.split.train_size, config.recipe.stopping.stop_early): config for config in configs}
    notes = [split_notes(data, configuration_splits(data, config, splits), config.recipe) for config in kinds.values()]
    return tuple(dict.fromkeys(note for some in notes for note in some))


def study_splits(data: Dataset, config: Configuration, seed: int) -> Splits:
    """Return how the study splits the samples for one seed; it is the same for all configurations.

    Raises:
        ConfigError: the split does not fit the data.
    """
    split = config.split_of(seed)
    return split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)


def configuration_splits(data: Dataset, config: Configuration, splits: Splits) -> Splits:
    """Return the samples that a configuration uses: the study's split, or fewer training samples.

    A smaller train_size takes the first training samples, which are in random order. A smaller
    training set is thus contained in a larger one, and all configurations are scored on the same
    images.

    Args:
        data: the study's samples.
        config: the configuration.
        splits: the study's split of the samples for one seed.

    Raises:
        ConfigError: train_size is 0 samples, or more than the study's split has; or training is to
            stop early and there are no validation samples.
    """
    if config.recipe.stopping.stop_early and not len(splits.valid):
        raise ConfigError(
            f"stop_early needs {config.recipe.stopping.monitor}, but there are no validation samples. "
            "Set valid_size (--valid), or stop_early=False (--no-stop-early)."
        )
    asked = config.recipe.split.train_size
    if asked == config.study_split.train_size:
        return splits
    n_train = _own_train_size(asked, data, len(splits.train))
    return Splits(splits.train[:n_train], splits.valid, splits.test)


def _own_train_size(asked: float, data: Dataset, n_shared: int) -> int:
    """Return a configuration's train_size in samples, at most n_shared."""
    # As in split_dataset, a fraction counts the samples outside the test set that the source provides.
    n_pool = len(data.pool)
    n_train = round(asked * n_pool) if asked < 1 else int(asked)
    shown = f"train_size {asked}" + (f", which is {n_train} of {n_pool} samples," if asked < 1 else "")
    if n_train < 1:
        raise ConfigError(f"{shown} must be at least one sample. Vary train_size over larger values.")
    if n_train > n_shared:
        raise ConfigError(
            f"{shown} must be at most {n_shared} samples, the training samples that all configurations share. "
            "Vary train_size over smaller values, or set a larger train_size (--train) for the study."
        )
    return n_train


def data_facts(data: Dataset) -> dict[str, Any]:
    """Return the JSON-ready facts by which a store recognizes its data."""
    digest = hashlib.sha256(arrays_sha256(data.labels).encode())
    digest.update(repr((data.class_names, data.inputs.shape, str(data.inputs.dtype))).encode())
    return {
        "source": data.source,
        "sha256": data.sha256,
        "digest": digest.hexdigest(),
        "samples": len(data),
        "class_names": list(data.class_names),
        "sample_shape": [int(n) for n in data.inputs.shape[1:]],
    }


def cost(config: Configuration, data: Dataset, sizes: Mapping[str, int]) -> float:
    """Return roughly how long a run takes, in multiplications.

    It is good enough to start the longest runs first and to estimate the time left.
    """
    training, n_train = config.recipe.training, sizes["train"]
    architecture = architecture_for(config.recipe, data.sample_shape, data.n_classes)
    batch = n_train if training.batch_size == FULL else min(int(training.batch_size), n_train)
    passes = TRAINING_PASSES * n_train + SCORING_PASSES * (2 * sizes["valid"] + sizes["test"])
    # A convolution uses each of its weights many times for a sample, but updates it once.
    in_epoch = passes * architecture.work + UPDATE_PASSES * -(-n_train // batch) * architecture.n_parameters
    return (2.0 if training.dtype == "float64" else 1.0) * training.epochs * in_epoch


def _extreme_configurations(spec: StudySpec) -> Iterator[Configuration]:
    """Yield configurations with one field at each of its values, or at the ends of its range."""
    for name, values in spec.vary:
        if isinstance(values, Range):
            ends = [as_field_value(name, end, values) for end in (values.low, values.high)]
        else:
            ends = list(values)
        for value in ends:
            yield make_configuration(spec, {name: value})
