"""Train several networks at once with the torch engine, each as `run_epochs` would train it alone, to rounding."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from chalknet.config import FULL, SAME_AS_SEED, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.splits import Splits
from chalknet.errors import ChalknetError, ConfigError
from chalknet.network.architecture import architecture_for, layer_kinds
from chalknet.network.optimizers import optimizer_for
from chalknet.records import EpochRecord
from chalknet.training.trainer import EpochCallback, Run, Trainer, device_of, run_trainers

EndCallback = Callable[[int, Run | ChalknetError], None]
StackEpochCallback = Callable[[int, EpochRecord], None]


def stack_key(recipe: Recipe, data: Dataset) -> Hashable | None:
    """Return what recipes that are trained in one stack have in common, or None for one that cannot be stacked.

    Recipes with equal keys may differ in width, seeds, learning rate, schedule, momentum, weight decay, dropout, l2,
    label smoothing, class weights, clipping, augmentation, mixup, initializer, epochs and stopping. They must also have
    the same splits, which recipes alone do not tell.
    """
    network, training = recipe.network, recipe.training
    if isinstance(data.inputs, OnDiskSamples) or training.engine != "torch":
        return None
    return (
        training.device,
        training.precision,
        _optimizer_key(optimizer_for(recipe.optimizer)),
        layer_kinds(architecture_for(recipe, data.n_inputs, data.n_classes)),
        network.input_scaling,
        training.batch_size,
        training.shuffle_window,
        training.dtype,
        training.tile_rows,
        recipe.split.train_size,
    )


def _optimizer_key(optimizer: Any) -> Hashable:
    """Return what the optimizers of stacked networks have in common: everything but these numbers."""
    own = ("momentum", "epsilon", "weight_decay", "decay")
    values = [getattr(optimizer, field.name) for field in fields(optimizer) if field.name not in own]
    return type(optimizer).__name__, *(_optimizer_key(value) if is_dataclass(value) else value for value in values)


def stack_sort_key(recipe: Recipe) -> tuple[Any, ...]:
    """Return the key that sorts the networks of a stack by width, and then by the batches that they are given."""
    return recipe.network.hidden, str(batch_order_key(recipe))


def batch_order_key(recipe: Recipe) -> Hashable:
    """Return what names the batches of a recipe, among those of equal keys."""
    training = recipe.training
    if training.batch_size == FULL:
        return FULL
    return training.seed if training.batch_seed == SAME_AS_SEED else training.batch_seed


def train_jointly(
    data: Dataset,
    splits: Splits,
    recipes: Sequence[Recipe],
    on_end: EndCallback,
    *,
    on_epoch: StackEpochCallback | None = None,
    on_start: Callable[[int, Trainer], Sequence[EpochCallback]] = lambda *_: (),
    threads: int = 1,
    keep_sample_scores: bool = False,
) -> None:
    """Train networks of equal `stack_key`, and hand over each as soon as it is finished.

    Every result equals that of `run_epochs` to rounding. An epoch's seconds are those of the stack, divided by its
    networks.

    Args:
        on_end: called with a network's position among the recipes and its `Run`, or the error that ended it; a
            divergence ends one network alone.
        on_epoch: called with each epoch of each network.
        on_start: called with each position and its trainer before the first epoch. It may bring the trainer to where a
            checkpoint was taken, and returns more callbacks of this network.
        threads: of torch's products on a processor.
        keep_sample_scores: as of `Trainer`.

    Raises:
        ConfigError: recipes that cannot be trained together, or early stopping without validation samples.
    """
    keys = {stack_key(recipe, data) for recipe in recipes}
    if len(keys) != 1 or None in keys:
        raise ConfigError(
            "these networks cannot be trained in one stack; see chalknet.training.joint_training.stack_key."
        )
    order = sorted(range(len(recipes)), key=lambda i: (*stack_sort_key(recipes[i]), i))
    device_of(recipes[0].training)  # raises where the device or PyTorch is missing
    from chalknet.engines.torch_engine import TorchStack

    stack = TorchStack()
    numbers: dict[Trainer, int] = {}
    for number in order:
        first = next(iter(numbers), None)
        trainer = Trainer(
            data,
            splits,
            recipes[number],
            workers=threads,
            keep_sample_scores=keep_sample_scores,
            engine=partial(stack.add, order=batch_order_key(recipes[number])),
            share_data_with=first,
        )
        numbers[trainer] = number
    callbacks = {trainer: list(on_start(number, trainer)) for trainer, number in numbers.items()}
    if on_epoch is not None:
        for trainer, number in numbers.items():
            callbacks[trainer].insert(0, partial(on_epoch, number))
    run_trainers(callbacks, lambda trainer, end: on_end(numbers[trainer], end), stack)
