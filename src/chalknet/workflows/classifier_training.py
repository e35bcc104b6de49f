"""A classifier's training: weighted rows in their own units through the trainer, whole or an epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from chalknet.config import Recipe
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import Splits
from chalknet.engines.engine import AVERAGE, SampleScores, Snapshot, Step, Update
from chalknet.errors import ConfigError
from chalknet.network.layer import Parameters
from chalknet.network.model import Network
from chalknet.records import EpochRecord
from chalknet.training.stopping import EarlyStopping
from chalknet.training.trainer import Trainer
from chalknet.workflows.classifier_samples import Samples, everything

Observer = Callable[[EpochRecord], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gives: the kept network, the epochs, and which of them is kept."""

    network: Network
    history: tuple[EpochRecord, ...]
    kept_epoch: int


@dataclass(frozen=True, eq=False)
class Progress:
    """Where training an epoch at a time has come: all that the next call needs to go on.

    Attributes:
        parameters, state: the engine's, by name. n_epochs, n_updates: so far.
        seed: of weights and batch orders.
    """

    parameters: Parameters
    state: Parameters
    n_epochs: int
    n_updates: int
    seed: int


def train_whole(
    samples: Samples,
    splits: Splits,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    *,
    start: Network | None = None,
    workers: int = 1,
    observe: Observer | None = None,
) -> Trained:
    """All epochs of a recipe, or as many as its early stopping lets pass.

    With weights, the validation scores are weighted too, so that stopping watches what training makes small.

    Args:
        start: whose parameters to start from, instead of drawn ones.
    Raises:
        ConfigError: start has another shape than the recipe asks for.
        DivergenceError: a loss is no longer finite.
    """
    trainer = _trainer(samples, splits, recipe, scaling, class_names, workers)
    if start is not None:
        _start_from(trainer, start)
    stopping = EarlyStopping(recipe.stopping) if recipe.stopping.stop_early else None
    history: list[EpochRecord] = []
    best: Snapshot = None
    for plain in trainer.epochs():
        record = _weighed(plain, trainer, samples)
        history.append(record)
        if observe is not None:
            observe(record)
        if stopping is not None and stopping.improves(record) and recipe.stopping.restore_best:
            best = trainer.last
        if stopping is not None and stopping.is_over:
            break
    kept = stopping.best if stopping is not None and recipe.stopping.restore_best else None
    network = trainer.network(None if kept is None else best)
    return Trained(replace(network, scaling=scaling), tuple(history), len(history) if kept is None else kept.epoch)


def train_epoch(
    samples: Samples,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    progress: Progress | None,
    *,
    start: Network | None = None,
    workers: int = 1,
) -> tuple[Network, EpochRecord, Progress]:
    """One epoch over samples at the recipe's learning rate, from progress, or from start, or from drawn parameters.

    Raises:
        ConfigError: start has another shape than the recipe asks for.
        DivergenceError: the loss is not finite.
    """
    trainer = _trainer(samples, everything(len(samples)), recipe, scaling, class_names, workers)
    engine, rate = trainer.engine, recipe.optimizer.learning_rate
    if start is not None:
        _refuse_another(trainer, start)
    if progress is not None:
        engine.restore(progress.parameters, progress.state)
    elif start is not None:
        _start_from(trainer, start)
    epoch, n_updates = (1, 0) if progress is None else (progress.n_epochs + 1, progress.n_updates)
    steps = count(n_updates + 1)
    updates = [Update(batch, Step(next(steps), rate)) for batch in trainer.batches(epoch)]
    before = engine.snapshot()
    started = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that overflows is told below
        scores = engine.train_epoch(updates)
    if not math.isfinite(scores.loss):
        raise trainer.diverged(scores.loss, epoch, updates, before)
    done = Progress(
        engine.parameters(), engine.state(), epoch, n_updates + trainer.updates_an_epoch, recipe.training.seed
    )
    record = EpochRecord(epoch, scores, None, None, time.perf_counter() - started)
    return replace(trainer.network(), scaling=scaling), record, done


def _trainer(
    samples: Samples, splits: Splits, recipe: Recipe, scaling: Scaling, class_names: tuple[str, ...], workers: int
) -> Trainer:
    """A trainer of samples that are scaled already, since it would not weigh them when it learns a scaling."""
    data = samples.as_dataset(scaling, recipe.training.dtype, class_names)
    as_they_are = recipe.with_settings(input_scaling="pixels")
    return Trainer(data, splits, as_they_are, sample_weights=samples.weights, workers=workers)


def _start_from(trainer: Trainer, start: Network) -> None:
    _refuse_another(trainer, start)
    averages = {f"{AVERAGE}/{name}": value for name, value in start.parameters.items()}
    trainer.engine.restore(start.parameters, averages)


def _refuse_another(trainer: Trainer, start: Network) -> None:
    if trainer.architecture.prediction != start.architecture.prediction:  # dropout may change
        asked, had = (
            f"{one} {', '.join(one.activations)}{' with batch_norm' * one.uses_batch_statistics}"
            for one in (trainer.architecture, start.architecture)
        )
        raise ConfigError(
            f"the network so far is {had}, but the parameters now ask for {asked}. Leave them as they were, or start "
            "anew with fit and warm_start=False."
        )


def _weighed(record: EpochRecord, trainer: Trainer, samples: Samples) -> EpochRecord:
    """A record whose validation loss and accuracy count each sample by its weight."""
    valid = trainer.splits.valid
    if record.valid is None or samples.weights is None:
        return record
    each = trainer.engine.evaluate_each("valid")
    assert isinstance(each, SampleScores), "a part that has scores has them of each sample"
    loss, accuracy = (float(np.average(values, weights=samples.weights[valid])) for values in (each.loss, each.right))
    return replace(record, valid=replace(record.valid, loss=loss, accuracy=accuracy))
