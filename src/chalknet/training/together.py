"""Train several networks at once with the torch engine, each as `run_epochs` would train it alone, to rounding."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from chalknet.config import FULL, SAME, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.stored import StoredSamples
from chalknet.errors import ChalknetError, ConfigError
from chalknet.network.architecture import architecture_for, layer_kinds
from chalknet.network.optimizers import rule_of
from chalknet.records import EpochRecord
from chalknet.training.trainer import Observer, Run, Trainer, device_of, train_jointly

Ended = Callable[[int, Run | ChalknetError], None]
StackObserver = Callable[[int, EpochRecord], None]


def stack_key(recipe: Recipe, data: Dataset) -> Hashable | None:
    """Return what recipes that are trained in one stack have in common, or None for one that cannot be stacked.

    Recipes with equal keys may differ in width, seeds, learning rate, schedule, momentum, weight decay, dropout, l2,
    label smoothing, class weights, clipping, augmentation, mixup, initializer, epochs and stopping. They must also have
    the same splits, which recipes alone do not tell.
    """
    network, training = recipe.network, recipe.training
    if isinstance(data.inputs, StoredSamples) or training.engine != "torch":
        return None
    return (
        training.device,
        training.precision,
        _rule_key(rule_of(recipe.optimizer)),
        layer_kinds(architecture_for(recipe, data.n_inputs, data.n_classes)),
        network.input_scaling,
        training.batch_size,
        training.shuffle_window,
        training.dtype,
        training.tile_rows,
        recipe.split.train_size,
    )


def _rule_key(rule: Any) -> Hashable:
    """Return what the update rules of stacked networks have in common: everything but these numbers."""
    own = ("momentum", "epsilon", "decay", "share")
    values = [getattr(rule, field.name) for field in fields(rule) if field.name not in own]
    return type(rule).__name__, *(_rule_key(value) if is_dataclass(value) else value for value in values)


def stack_order(recipe: Recipe) -> tuple[Any, ...]:
    """Return the key that sorts the networks of a stack by width, and then by the batches that they are given."""
    return recipe.network.hidden, str(order_of(recipe))


def order_of(recipe: Recipe) -> Hashable:
    """Return what names the batches of a recipe, among those of equal keys."""
    training = recipe.training
    if training.batch_size == FULL:
        return FULL
    return training.seed if training.batch_seed == SAME else training.batch_seed


def run_together(
    data: Dataset,
    splits: Splits,
    recipes: Sequence[Recipe],
    ended: Ended,
    *,
    observe: StackObserver | None = None,
    begin: Callable[[int, Trainer], Sequence[Observer]] = lambda *_: (),
    threads: int = 1,
    keep_samples: bool = False,
) -> None:
    """Train networks of equal `stack_key`, and hand over each as soon as it is finished.

    Every result equals that of `run_epochs` to rounding. An epoch's seconds are those of the stack, divided by its
    networks.

    Args:
        ended: called with a network's position among the recipes and its `Run`, or the error that ended it; a
            divergence ends one network alone.
        observe: called with each epoch of each network.
        begin: called with each position and its trainer before the first epoch. It may bring the trainer to where a
            checkpoint was taken, and returns more callbacks of this network.
        threads: of torch's products on a processor.
        keep_samples: as of `Trainer`.
    Raises:
        ConfigError: recipes that cannot be trained together, or early stopping without validation samples.
    """
    keys = {stack_key(recipe, data) for recipe in recipes}
    if len(keys) != 1 or None in keys:
        raise ConfigError("these networks cannot be trained in one stack; see chalknet.training.together.stack_key.")
    order = sorted(range(len(recipes)), key=lambda i: (*stack_order(recipes[i]), i))
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
            keep_samples=keep_samples,
            engine=partial(stack.add, order=order_of(recipes[number])),
            beside=first,
        )
        numbers[trainer] = number
    callbacks = {trainer: list(begin(number, trainer)) for trainer, number in numbers.items()}
    if observe is not None:
        for trainer, number in numbers.items():
            callbacks[trainer].insert(0, partial(observe, number))
    train_jointly(callbacks, lambda trainer, end: ended(numbers[trainer], end), stack)
