"""Train a classifier on weighted samples: all epochs, or one epoch at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalknet.config import Recipe
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError
from chalknet.network.layer import Parameters
from chalknet.network.model import Network
from chalknet.network.optimizers import AVERAGE
from chalknet.records import EpochRecord
from chalknet.training.callbacks import EpochCallback
from chalknet.training.trainer import Run, Trainer, run_epochs
from chalknet.workflows.classifier_samples import WeightedSamples, train_on_all


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


def train_all_epochs(
    samples: WeightedSamples,
    splits: Splits,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    *,
    start: Network | None = None,
    workers: int = 1,
    on_epoch: EpochCallback | None = None,
) -> tuple[Network, Run]:
    """Train all epochs of a recipe, or until early stopping ends the training.

    Validation scores are weighted as the training loss is, so that early stopping watches the
    quantity that training minimizes.

    Args:
        samples: the samples.
        splits: which samples train and validate.
        recipe: the recipe.
        scaling: the input scaling.
        class_names: the K classes.
        start: a network to take the initial parameters from, or None for random ones.
        workers: number of threads.
        on_epoch: called with the record of each epoch.

    Raises:
        ConfigError: start has another shape than the recipe specifies.
        DivergenceError: the loss is no longer finite.
    """
    trainer = _trainer(samples, splits, recipe, scaling, class_names, workers)
    if start is not None:
        _load_parameters(trainer, start)
    run = run_epochs(trainer, *([] if on_epoch is None else [on_epoch]))
    (network,) = run.network.members
    return replace(network, scaling=scaling), run


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
    trainer = _trainer(samples, train_on_all(len(samples)), once, scaling, class_names, workers)
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


def _trainer(
    samples: WeightedSamples,
    splits: Splits,
    recipe: Recipe,
    scaling: Scaling,
    class_names: tuple[str, ...],
    workers: int,
) -> Trainer:
    """Return a trainer of samples that are already scaled.

    A trainer that fitted the scaling itself would not weigh the samples.
    """
    data = samples.as_dataset(scaling, recipe.training.dtype, class_names)
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
