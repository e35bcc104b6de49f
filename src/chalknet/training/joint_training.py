"""Joint training: several networks at once in a stack of the torch engine.

Results equal those of `run_epochs` for each network alone, up to rounding.
"""

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
    """Return a key; networks can be trained in one stack if their keys are equal.

    Recipes with equal keys may differ in width, seeds, learning rate, schedule, momentum, weight
    decay, dropout, l2, label smoothing, class weights, clipping, augmentation, mixup, initializer,
    epochs and stopping. Networks of one stack must also have the same splits, which the key does
    not contain.

    Returns:
        The key, or None if the recipe cannot be trained in a stack with this data.
    """
    network, training = recipe.network, recipe.training
    if isinstance(data.inputs, OnDiskSamples) or training.engine != "torch":
        return None
    return (
        training.device,
        training.precision,
        _optimizer_key(optimizer_for(recipe.optimizer)),
        layer_kinds(architecture_for(recipe, data.sample_shape, data.n_classes)),
        network.input_scaling,
        training.batch_size,
        training.shuffle_window,
        training.dtype,
        training.tile_rows,
        recipe.split.train_size,
    )


def _optimizer_key(optimizer: Any) -> Hashable:
    """Return a key of an optimizer without the settings in which stacked networks may differ."""
    own = ("momentum", "epsilon", "weight_decay", "decay")
    values = [getattr(optimizer, field.name) for field in fields(optimizer) if field.name not in own]
    return type(optimizer).__name__, *(_optimizer_key(value) if is_dataclass(value) else value for value in values)


def stack_sort_key(recipe: Recipe) -> tuple[Any, ...]:
    """Return the key that sorts the networks of a stack by width, then by batch order."""
    return recipe.network.hidden, str(batch_order_key(recipe))


def batch_order_key(recipe: Recipe) -> Hashable:
    """Return a key that is equal for recipes of one stack with the same batches in each epoch."""
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
    on_start: Callable[[int, Trainer], Sequence[EpochCallback]] | None = None,
    on_pause: Callable[[], None] | None = None,
    threads: int = 1,
    keep_sample_scores: bool = False,
) -> None:
    """Train networks with equal `stack_key` in one stack.

    The seconds of an epoch are those of the stack divided by the number of its networks.

    Args:
        data: all samples.
        splits: the indices of training, validation and test samples.
        recipes: one recipe per network.
        on_end: called as soon as a network is finished, with its position in `recipes` and its
            `Run`, or the error that ended it. A divergence ends only its own network.
        on_epoch: called with the position and the `EpochRecord` of each finished epoch.
        on_start: called before the first epoch with each position and its trainer. It may load a
            checkpoint into the trainer, and returns more callbacks for this network.
        on_pause: as in `train_epochs`.
        threads: number of threads for torch on a CPU.
        keep_sample_scores: as for `Trainer`.

    Raises:
        ConfigError: the keys of the recipes differ, or early stopping has no validation samples.
    """
    keys = {stack_key(recipe, data) for recipe in recipes}
    if len(keys) != 1 or None in keys:
        raise ConfigError(
            "these networks cannot be trained in one stack; see chalknet.training.joint_training.stack_key."
        )
    order = sorted(range(len(recipes)), key=lambda i: (*stack_sort_key(recipes[i]), i))
    device_of(recipes[0].training)  # raises a clear error if the device or PyTorch is missing
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
    callbacks: dict[Trainer, list[EpochCallback]] = {trainer: [] for trainer in numbers}
    if on_start is not None:
        for trainer, number in numbers.items():
            callbacks[trainer].extend(on_start(number, trainer))
    if on_epoch is not None:
        for trainer, number in numbers.items():
            callbacks[trainer].insert(0, partial(on_epoch, number))
    run_trainers(callbacks, lambda trainer, end: on_end(numbers[trainer], end), stack, on_pause)
