"""Train several networks at once with the torch engine, each as `run_epochs` would train it alone, to rounding."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from chalknet.config import FULL, SAME, Recipe, TrainingConfig
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.stored import StoredSamples
from chalknet.errors import ChalknetError, ConfigError, DivergenceError
from chalknet.records import EpochRecord
from chalknet.training.optimizers import rule_of
from chalknet.training.trainer import Run, Trainer, Watch, device_of, lost_loss

if TYPE_CHECKING:
    from chalknet.engines.torch_pack import TorchPack, TorchPacked

Ended = Callable[[int, Run | ChalknetError], None]
StackObserver = Callable[[int, EpochRecord], None]


def stack_key(recipe: Recipe, data: Dataset) -> Hashable | None:
    """Return what recipes that are trained in one stack have in common, or None for one that cannot be stacked.

    Recipes with equal keys may differ in width, seeds, learning rate, schedule, momentum, weight decay, dropout, l2,
    label smoothing, class weights, clipping, initializer, epochs and stopping. They must also have the same splits,
    which recipes alone do not tell.
    """
    network, augmentation, training = recipe.network, recipe.augmentation, recipe.training
    changes_inputs = augmentation != type(augmentation)() or recipe.regularisation.input_dropout > 0
    is_stored = isinstance(data.inputs, StoredSamples)
    if network.batch_norm or changes_inputs or is_stored or training.engine != "torch":
        return None
    return (
        training.device,
        training.precision,
        _rule_key(rule_of(recipe.optimizer)),
        network.activations(),
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


def new_pack(training: TrainingConfig, orders: Sequence[Hashable]) -> TorchPack:
    """Return an empty stack of the engine that recipes of one `stack_key` name; raises as `engine_maker`."""
    device_of(training)
    from chalknet.engines.torch_pack import TorchPack

    return TorchPack(orders, device=training.device, precision=training.precision)


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
        threads: of torch's products on a processor.
        keep_samples: as of `Trainer`.
    Raises:
        ConfigError: recipes that cannot be trained together, or early stopping without validation samples.
    """
    keys = {stack_key(recipe, data) for recipe in recipes}
    if len(keys) != 1 or None in keys:
        raise ConfigError("these networks cannot be trained in one stack; see chalknet.training.together.stack_key.")
    order = sorted(range(len(recipes)), key=lambda i: (*stack_order(recipes[i]), i))
    _Lockstep(data, splits, {i: recipes[i] for i in order}, keep_samples, threads).work(ended, observe)
    gc.collect()  # a stack and its networks refer to each other, and a GPU's memory should not wait


@dataclass(eq=False)
class _Network:
    """One network of a stack, and where its training stands."""

    number: int
    trainer: Trainer
    watch: Watch
    engine: TorchPacked

    @property
    def is_over(self) -> bool:
        return self.watch.is_over or len(self.trainer.history) >= self.trainer.recipe.training.epochs


class _Lockstep:
    """The epochs of one stack."""

    def __init__(
        self, data: Dataset, splits: Splits, recipes: dict[int, Recipe], keep_samples: bool, threads: int
    ) -> None:
        training = next(iter(recipes.values())).training
        self._pack = new_pack(training, [order_of(recipe) for recipe in recipes.values()])
        self._networks: list[_Network] = []
        first: Trainer | None = None
        for number, recipe in recipes.items():
            trainer = Trainer(
                data,
                splits,
                recipe,
                workers=threads,
                keep_samples=keep_samples,
                engine=self._pack.join,
                beside=first,
            )
            first = first or trainer
            self._networks.append(_Network(number, trainer, Watch(trainer), cast("TorchPacked", trainer.engine)))

    def work(self, ended: Ended, observe: StackObserver | None) -> None:
        """Train until the last network is finished."""
        epoch = 0
        for network in self._networks:
            network.trainer.last = network.engine.snapshot()
        while self._networks:
            epoch += 1
            trained = self._train(epoch)
            # A diverged network is looked at alone, from where it was before this epoch.
            self._pack.leave([network.engine for network, record in trained if lost_loss(record) is not None])
            over = [network for network, record in trained if self._finish(network, record, ended, observe)]
            self._pack.leave([network.engine for network in over if network.engine.pack is self._pack])
            self._networks = [network for network in self._networks if network not in over]

    def _train(self, epoch: int) -> list[tuple[_Network, EpochRecord]]:
        """Train one epoch of every network."""
        started = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # Trainer.finish reports a loss that overflows
            trained = self._pack.train_epoch([network.trainer.updates(epoch) for network in self._networks])
            scores = [(one.engine.evaluate("valid"), one.engine.evaluate("test")) for one in self._networks]
        seconds = (time.perf_counter() - started) / len(self._networks)
        records = [EpochRecord(epoch, one, *judged, seconds) for one, judged in zip(trained, scores, strict=True)]
        return list(zip(self._networks, records, strict=True))

    def _finish(self, network: _Network, record: EpochRecord, ended: Ended, observe: StackObserver | None) -> bool:
        """Take note of a network's epoch; return whether it was its last, which is then handed over."""
        try:
            network.trainer.finish(record)
        except DivergenceError as error:
            error.run = network.watch.best_run() if network.trainer.history else None
            ended(network.number, error)
            return True
        if observe is not None:
            observe(network.number, record)
        network.watch.see(record)
        if not network.is_over:
            return False
        ended(network.number, network.watch.run())
        return True
