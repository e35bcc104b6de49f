"""Train a classifier on weighted samples: all epochs, or one epoch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.folds import member_splits
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError
from chalknet.network.layer import Parameters
from chalknet.network.model import Ensemble, Network
from chalknet.network.optimizers import AVERAGE
from chalknet.records import EpochRecord
from chalknet.training.callbacks import EpochCallback
from chalknet.training.recipes import member_recipes
from chalknet.training.trainer import Trainer, run_epochs
from chalknet.workflows.classifier_samples import WeightedSamples, train_on_all
from chalknet.workflows.ensemble import mean_history
from chalknet.workflows.model_scores import held_out

# A context around the training of one network, which gets its trainer, whose samples are scaled already, and its
# validation samples, which are not. It yields callbacks of the epochs.
Watch = Callable[[Trainer, WeightedSamples], AbstractContextManager[Sequence[EpochCallback]]]


@dataclass(frozen=True, eq=False)
class PartialFitState:
    """The state of training one epoch at a time, from which the next call continues.

    Attributes:
        parameters: the engine's parameters by name.
        state: the engine's optimizer state by name.
        n_epochs: number of epochs so far.
        n_updates: number of updates so far.
        seed: seed of the weights and batch orders.
    """

    parameters: Parameters
    state: Parameters
    n_epochs: int
    n_updates: int
    seed: int


@dataclass(frozen=True, eq=False)
class FitResult:
    """What one fit has trained.

    Attributes:
        network: the network, or the ensemble.
        history: one record per epoch; of an ensemble the mean over its networks, up to the shortest.
        best_epoch: the epoch whose weights are kept; of an ensemble the rounded mean over its
            networks, at most the length of the history.
        validation_score: accuracy on the validation samples, each predicted by the networks that
            did not train on it; None without validation samples.
        temperature: what the logits were divided by to calibrate them; None if they were not.
        notes: what the user should know.
        scoring_curve: another score after each epoch, which early stopping has watched.
    """

    network: Network | Ensemble
    history: tuple[EpochRecord, ...]
    best_epoch: int
    validation_score: float | None = None
    temperature: float | None = None
    notes: tuple[str, ...] = ()
    scoring_curve: tuple[float, ...] = ()


def train_all_epochs(
    samples: WeightedSamples,
    splits: Splits,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    *,
    start: Sequence[Network] = (),
    workers: int = 1,
    watch: Watch | None = None,
) -> FitResult:
    """Train all epochs of a recipe, or until early stopping ends the training, for each network.

    Validation scores are weighted as the training loss is, so that early stopping watches the
    quantity that training minimizes. So is the loss by which the temperature is chosen.

    Args:
        samples: the samples.
        splits: which samples train and validate; with folds, all that are divided into folds.
        recipe: the recipe.
        scaling: the input scaling.
        class_names: the K classes.
        start: the networks to take the initial parameters from, or () for random ones.
        workers: number of threads.
        watch: opened for each network, one after the other, before it is trained.

    Raises:
        ConfigError: start has another shape than the recipe specifies, or there are fewer samples
            than folds.
        DivergenceError: the loss is no longer finite.
    """
    data = samples.as_dataset(scaling, recipe.training.dtype, class_names)
    runs = []
    for k, (one, own) in enumerate(zip(member_recipes(recipe), member_splits(data, splits, recipe), strict=True)):
        trainer = _trainer(samples, data, own, one, workers)
        if start:
            _load_parameters(trainer, start[k])
        with nullcontext(()) if watch is None else watch(trainer, samples.subset(own.valid)) as callbacks:
            runs.append(run_epochs(trainer, *callbacks))
    trained = [network for run in runs for network in run.network.members]
    found = held_out(trained, data, [run.splits.valid for run in runs], recipe.training.folds)
    weights = None if samples.weights is None else samples.weights[found.index]
    temperature, notes = found.temperature(weights) if recipe.training.calibrate else (None, ())
    networks = tuple(replace(one, scaling=scaling).with_temperature(temperature or 1.0) for one in trained)
    correct = found.probabilities(temperature or 1.0).argmax(axis=1) == found.labels
    history = mean_history(runs)
    return FitResult(
        network=networks[0] if len(networks) == 1 else Ensemble(networks),
        history=history,
        best_epoch=min(len(history), round(fmean(run.kept_epoch for run in runs))),
        validation_score=float(np.average(correct, weights=weights)) if len(correct) else None,
        temperature=temperature,
        notes=notes,
    )


def train_single_epoch(
    samples: WeightedSamples,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    progress: PartialFitState | None,
    *,
    start: Network | None = None,
    workers: int = 1,
) -> tuple[Network, EpochRecord, PartialFitState]:
    """Train one epoch at the recipe's learning rate, from progress, start, or random parameters.

    Raises:
        ConfigError: start has another shape than the recipe specifies.
        DivergenceError: the loss is no longer finite.
    """
    schedules = dict.fromkeys(("schedule", "weight_decay_schedule", "dropout_schedule"), "constant")
    once = recipe.with_settings(epochs=1, warmup_epochs=0, stop_early=False, **schedules)
    data = samples.as_dataset(scaling, recipe.training.dtype, class_names)
    trainer = _trainer(samples, data, train_on_all(len(samples)), once, workers)
    if start is not None:
        _check_same_network(trainer, start)
    if progress is not None:
        trainer.engine.restore(progress.parameters, progress.state)
        trainer.earlier_epochs, trainer.earlier_updates = progress.n_epochs, progress.n_updates
    elif start is not None:
        _load_parameters(trainer, start)
    (record,) = trainer.epochs()
    engine, n_updates = trainer.engine, trainer.earlier_updates + trainer.updates_per_epoch
    done = PartialFitState(engine.parameters(), engine.state(), record.epoch, n_updates, recipe.training.seed)
    return replace(trainer.network(), scaling=scaling), record, done


def _trainer(samples: WeightedSamples, data: Dataset, splits: Splits, recipe: Recipe, workers: int) -> Trainer:
    """Return a trainer of samples that are already scaled in `data`.

    A trainer that fitted the scaling itself would not weigh the samples.
    """
    as_they_are = recipe.with_settings(input_scaling="pixels")
    return Trainer(data, splits, as_they_are, sample_weights=samples.weights, workers=workers, weigh_scores=True)


def _load_parameters(trainer: Trainer, start: Network) -> None:
    _check_same_network(trainer, start)
    averages = {f"{AVERAGE}/{name}": value for name, value in start.parameters.items()}
    trainer.engine.restore(start.parameters, averages)


def _check_same_network(trainer: Trainer, start: Network) -> None:
    if trainer.architecture.prediction != start.architecture.prediction:  # dropout may change
        asked, had = (
            f"{one} ({', '.join(map(str, one.prediction.layers))})"
            for one in (trainer.architecture, start.architecture)
        )
        raise ConfigError(
            f"the current network is {had}, but the parameters now describe {asked}. Leave them unchanged, or start "
            "again with fit and warm_start=False."
        )
