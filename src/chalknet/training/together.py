"""Several networks trained together, epoch by epoch, each as `run_epochs` would train it alone."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from chalknet.config import FULL, SAME, Recipe, TrainingConfig
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.stored import StoredSamples
from chalknet.engines.numpy_engine import BLOCK_UNITS
from chalknet.engines.pack import AnyPack, Member, Pack
from chalknet.errors import ChalknetError, ConfigError, DivergenceError
from chalknet.machine.blas import one_blas_thread
from chalknet.records import EpochRecord
from chalknet.training.optimizers import rule_of
from chalknet.training.trainer import Run, Trainer, Watch, device_of, lost_loss

Ended = Callable[[int, Run | ChalknetError], None]
PackObserver = Callable[[int, EpochRecord], None]


def pack_key(recipe: Recipe, data: Dataset) -> Hashable | None:
    """What the recipes of a pack have in common: equal keys can be trained together; None for one that can't.

    Width, seeds, learning rate, schedule, momentum, weight decay, dropout, l2, label smoothing, class weights,
    clipping, initialiser, epochs and stopping are each network's own; with the numpy engine all numbers of an
    optimiser are. The division of the samples must be the same too, which recipes do not say.
    """
    network, changes, training = recipe.network, recipe.augmentation, recipe.training
    is_changed = changes != type(changes)() or recipe.regularisation.input_dropout > 0
    is_stored = isinstance(data.inputs, StoredSamples)
    if network.batch_norm or is_changed or is_stored or training.engine not in ("numpy", "torch"):
        return None
    rule = rule_of(recipe.optimizer)
    engine: Hashable = ("torch", training.device, training.precision, _kind(rule))
    if training.engine == "numpy":
        # A layer wider than a block of the numpy engine is computed in blocks, and gains nothing beside others; for one
        # of a single unit a BLAS has routines of its own, whose bits depend on how a column lies.
        if max(network.hidden) > BLOCK_UNITS or min(network.hidden) < 2:
            return None
        engine = "numpy"
    return (
        engine,
        network.activations(),
        network.input_scaling,
        rule.slots,
        training.batch_size,
        training.shuffle_window,
        training.dtype,
        training.tile_rows,
        recipe.split.train_size,
    )


def _kind(rule: Any) -> Hashable:
    """What the rules of networks that torch moves at once have in common: all but these numbers."""
    own = ("momentum", "epsilon", "decay", "share")
    values = [getattr(rule, field.name) for field in fields(rule) if field.name not in own]
    return type(rule).__name__, *(_kind(value) if is_dataclass(value) else value for value in values)


def neighbours(recipe: Recipe) -> tuple[Any, ...]:
    """By which the networks of a pack are sorted: those that gain most by it stand together.

    In NumPy, networks that share batches, and then those of equal widths; in torch the other way round.
    """
    order, hidden = str(order_of(recipe)), recipe.network.hidden
    return (hidden, order) if recipe.training.engine == "torch" else (order, hidden)


def new_pack(training: TrainingConfig, orders: Sequence[Hashable]) -> AnyPack:
    """A pack of the engine that recipes of one `pack_key` name; errors as `engine_maker`."""
    if training.engine == "numpy":
        return Pack(orders)
    device_of(training)
    from chalknet.engines.torch_pack import TorchPack

    return TorchPack(orders, device=training.device, precision=training.precision)


def order_of(recipe: Recipe) -> Hashable:
    """What names the batches of a recipe, among those of equal keys."""
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
    observe: PackObserver | None = None,
    threads: int = 1,
    keep_samples: bool = False,
) -> None:
    """Trains networks of equal `pack_key`, and tells each as soon as it is finished.

    Every result is what `run_epochs` gives, but for its seconds: with the numpy engine bit for bit, with torch to
    rounding. An epoch's seconds are those of the pack, divided by its networks.

    Args:
        ended: gets a network's position among the recipes and its `Run`, or the error that ended it; a divergence
            ends one network alone.
        observe: shown each epoch of each network. Neither is called by two threads at a time.
        threads: that share out the networks; torch has them all in one pack, whose products have so many threads.
        keep_samples: as of `Trainer`.
    Raises:
        ConfigError: recipes that cannot be trained together, or early stopping without validation samples.
    """
    keys = {pack_key(recipe, data) for recipe in recipes}
    if len(keys) != 1 or None in keys:
        raise ConfigError("these networks cannot be trained in one pack; see chalknet.training.together.pack_key.")
    is_torch = recipes[0].training.engine == "torch"
    order = sorted(range(len(recipes)), key=lambda i: (*neighbours(recipes[i]), i))
    n_packs = 1 if is_torch else min(threads, len(order))
    shares = [part.tolist() for part in np.array_split(order, n_packs)]
    lock = threading.Lock()

    def tell(number: int, result: Run | ChalknetError) -> None:
        with lock:
            ended(number, result)

    def show(number: int, record: EpochRecord) -> None:
        if observe is not None:
            with lock:
                observe(number, record)

    def train(share: Sequence[int]) -> None:
        _Lockstep(data, splits, {i: recipes[i] for i in share}, keep_samples, threads).work(tell, show)

    with nullcontext() if is_torch else one_blas_thread():
        _in_threads([partial(train, share) for share in shares])
    if is_torch:
        gc.collect()  # a pack and its networks refer to each other, and a GPU's memory should not wait


@dataclass(eq=False)
class _Network:
    """One network of a pack, and where its training stands."""

    number: int
    trainer: Trainer
    watch: Watch
    engine: Member

    @property
    def is_over(self) -> bool:
        return self.watch.is_over or len(self.trainer.history) >= self.trainer.recipe.training.epochs


class _Lockstep:
    """The epochs of one pack."""

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
            self._networks.append(_Network(number, trainer, Watch(trainer), cast(Member, trainer.engine)))

    def work(self, ended: Ended, observe: PackObserver) -> None:
        """Trains until the last network is through."""
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
        """One epoch of every network."""
        started = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # a loss that overflows is told by Trainer.finish
            trained = self._pack.train_epoch([network.trainer.updates(epoch) for network in self._networks])
            scores = [(one.engine.evaluate("valid"), one.engine.evaluate("test")) for one in self._networks]
        seconds = (time.perf_counter() - started) / len(self._networks)
        records = [EpochRecord(epoch, one, *judged, seconds) for one, judged in zip(trained, scores, strict=True)]
        return list(zip(self._networks, records, strict=True))

    def _finish(self, network: _Network, record: EpochRecord, ended: Ended, observe: PackObserver) -> bool:
        """Takes note of a network's epoch; whether it was its last, which is then told."""
        try:
            network.trainer.finish(record)
        except DivergenceError as error:
            error.run = network.watch.best_run() if network.trainer.history else None
            ended(network.number, error)
            return True
        observe(network.number, record)
        network.watch.see(record)
        if not network.is_over:
            return False
        ended(network.number, network.watch.run())
        return True


def _in_threads(tasks: Sequence[Callable[[], None]]) -> None:
    """Runs tasks at the same time, the first in this thread; raises an error of any."""
    errors: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # raised below, whatever it is
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks[1:]]
    for thread in threads:
        thread.start()
    run(tasks[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
