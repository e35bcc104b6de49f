"""The configurations of a specification: its grid in the order of `vary`, or a random part of it; and what each
costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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

# Passes over a weight that one sample costs: forward and twice backward when it trains, forward when it is judged.
TRAINING_PASSES, JUDGING_PASSES = 3, 1
UPDATE_PASSES = 5  # and that an update costs, which reads and writes weights, velocities and gradients


def grid_configurations(spec: StudySpec) -> tuple[Configuration, ...]:
    """The configurations in the order of `vary`, the last field fastest; with `sample` a random part of them in that
    order.

    A larger sample holds a smaller one of the same seed.
    """
    names = [name for name, _ in spec.vary]
    lists = [value_list(name, values, spec.recipe) for name, values in spec.vary]
    configs = [make_configuration(spec, dict(zip(names, values, strict=True))) for values in product(*lists)]
    if spec.sample is None or spec.sample >= len(configs):
        return tuple(configs)
    # RandomState's streams are frozen (NEP 19), so the part is the same for ever.
    chosen = np.random.RandomState(spec.sample_seed).permutation(len(configs))[: spec.sample]
    return tuple(configs[i] for i in sorted(chosen.tolist()))


def make_configuration(spec: StudySpec, settings: Mapping[str, Any]) -> Configuration:
    """The configuration of some values of the varied fields."""
    recipe = spec.recipe.with_settings(**settings)
    stored = tuple((name, getattr(getattr(recipe, SECTION_OF_FIELD[name]), name)) for name in settings)
    return Configuration(stored, recipe, spec.recipe.split, spec.seeds_vary)


def check_specification(spec: StudySpec, data: Dataset) -> Splits:
    """Refuses a specification that this data cannot answer, before anything is written; gives the first seed's
    division.

    Raises:
        ConfigError: as `study_splits` and `configuration_splits`, a search without a validation part, or a
            configuration whose network or whose changes of images do not fit the samples.
    """
    base = make_configuration(spec, {})
    division = study_splits(data, base, spec.first_seed)
    if spec.search is not None and not len(division.valid):
        raise ConfigError(
            f"a search goes by {spec.search.objective}, but there are no validation samples. Give valid_size (--valid)."
        )
    for config in (base, *_extreme_configurations(spec)) if spec.search is not None else grid_configurations(spec):
        configuration_splits(data, config, division)
        architecture_for(config.recipe, data.n_inputs, data.n_classes)
        augmenter_for(config.recipe.augmentation, data.inputs.shape[1:] if data.is_images else None)
    return division


def specification_notes(spec: StudySpec, data: Dataset) -> tuple[str, ...]:
    """Return what is unusual about the first seed's division, for all configurations: see `split_notes`.

    Raises:
        DataError: the training samples of a configuration are all of one class.
    """
    base = make_configuration(spec, {})
    division = study_splits(data, base, spec.first_seed)
    configs = [base] if spec.search is not None else grid_configurations(spec)
    kinds = {(config.recipe.split.train_size, config.recipe.stopping.stop_early): config for config in configs}
    notes = [
        split_notes(data, configuration_splits(data, config, division), config.recipe) for config in kinds.values()
    ]
    return tuple(dict.fromkeys(note for some in notes for note in some))


def study_splits(data: Dataset, config: Configuration, seed: int) -> Splits:
    """A study's division of the samples for one seed, the same for all configurations.

    Raises:
        ConfigError: it does not fit the data.
    """
    division = config.split_of(seed)
    return split_dataset(data, division.split, division.train_size, division.valid_size, division.split_seed)


def configuration_splits(data: Dataset, config: Configuration, division: Splits) -> Splits:
    """What a configuration uses of its study's division: all of it, or the first train_size of its training samples.

    Those are in random order, so smaller sets are parts of larger ones, and all configurations are judged on the same
    images.

    Raises:
        ConfigError: train_size is more than the division's or no sample at all, or configurations are to stop early
            without a validation part.
    """
    if config.recipe.stopping.stop_early and not len(division.valid):
        raise ConfigError(
            f"stop_early watches {config.recipe.stopping.monitor}, but there are no validation samples. "
            "Give valid_size (--valid), or stop_early=False (--no-stop-early)."
        )
    asked = config.recipe.split.train_size
    if asked == config.study_split.train_size:
        return division
    n_train = _own_train_size(asked, data, len(division.train))
    return Splits(division.train[:n_train], division.valid, division.test)


def _own_train_size(asked: float, data: Dataset, n_shared: int) -> int:
    """A configuration's train_size in samples, of the n_shared that all configurations share."""
    # As in split_dataset, a fraction is one of the samples that are not the source's own test set.
    n_pool = len(data.pool)
    n_train = round(asked * n_pool) if asked < 1 else int(asked)
    shown = f"train_size {asked}" + (f", which is {n_train} of {n_pool} samples," if asked < 1 else "")
    if n_train < 1:
        raise ConfigError(f"{shown} must be one sample at least. Vary over larger ones.")
    if n_train > n_shared:
        raise ConfigError(
            f"{shown} must be at most {n_shared} samples, the training part that all configurations share. Vary over "
            "smaller ones, or set a larger train_size (--train)."
        )
    return n_train


def data_facts(data: Dataset) -> dict[str, Any]:
    """Return what a store keeps of its data."""
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
    """About how long a run takes, in passes over weights: enough to start the longest first and to foresee the end."""
    training, n_train = config.recipe.training, sizes["train"]
    n_parameters = architecture_for(config.recipe, data.n_inputs, data.n_classes).n_parameters
    batch = n_train if training.batch_size == FULL else min(int(training.batch_size), n_train)
    passes = TRAINING_PASSES * n_train + UPDATE_PASSES * -(-n_train // batch)
    passes += JUDGING_PASSES * (2 * sizes["valid"] + sizes["test"])
    return (2.0 if training.dtype == "float64" else 1.0) * training.epochs * passes * n_parameters


def _extreme_configurations(spec: StudySpec) -> Iterator[Configuration]:
    """Configurations with one field at each of its values, or at the ends of its range, the others as in the base."""
    for name, values in spec.vary:
        if isinstance(values, Range):
            ends = [as_field_value(name, end, values) for end in (values.low, values.high)]
        else:
            ends = list(values)
        for value in ends:
            yield make_configuration(spec, {name: value})
