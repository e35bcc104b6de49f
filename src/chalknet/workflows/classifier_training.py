"""A classifier's training: weighted rows in their own units through the trainer, whole or an epoch at a time."""

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
    """One epoch over samples at the recipe's learning rate, from progress, or from start, or from drawn parameters.

    Raises:
        ConfigError: start has another shape than the recipe asks for.
        DivergenceError: the loss is not finite.
    """
    once = recipe.with_settings(epochs=1, schedule="constant", warmup_epochs=0, stop_early=False)
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
    """A trainer of samples that are scaled already, since it would not weigh them when it learns a scaling."""
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
            f"the network so far is {had}, but the parameters now ask for {asked}. Leave them as they were, or start "
            "anew with fit and warm_start=False."
        )
