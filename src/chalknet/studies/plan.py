"""How a study's units are shared out: which are trained together in packs, in how many processes, and what that costs.

A plan changes no result: a unit has the same bits alone and in a pack, or with the torch engine the same numbers to
rounding. What it goes by is measured when it is made, on a few made-up samples of the data's sizes, in some tenths of a
second a width. On a GPU nothing is measured first: as many units as its memory holds are trained in one pack. Only who
asks for the plan's time, and runs nothing, waits for some seconds there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chalknet.config import FULL, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.stored import StoredSamples
from chalknet.engines.numpy_engine import RESIDENT_BYTES
from chalknet.errors import ChalknetError, ConfigError
from chalknet.machine.processor import available_cores, this_processor
from chalknet.network.architecture import Architecture
from chalknet.records import EpochRecord
from chalknet.studies.cells import Unit
from chalknet.studies.space import divide, own_splits
from chalknet.training.optimizers import rule_of
from chalknet.training.together import neighbours, order_of, pack_key, run_together
from chalknet.training.trainer import Trainer, gpu_bytes, run_epochs

AUTO, OFF = "auto", "off"
MOST_TOGETHER = 32  # of a planned pack: more gain nothing, and would be lost together
CACHE_BYTES = 32 * 2**20  # of a last-level cache that is counted on: clouds tell of caches that others share
LOAD_SECONDS = 600.0  # that a planned pack takes at most: what a killed process was at is lost
LEAST_GAIN = 1.1  # by which a pack must be faster than its networks one by one, so that no noise decides for it
MEASURED_SAMPLES = 2_048  # made up and trained on, at most: more than the inner caches hold as floats
MEASURED_EPOCHS = 3  # the first of which does not count
# On a GPU, which takes as long for a few samples as for many, and records updates and scores in its first epochs.
MEASURED_SAMPLES_ON_GPU, MEASURED_EPOCHS_ON_GPU = 65_536, 8
MEASURED_BYTES = 2**28  # of these samples, at most
MOST_ON_GPU = 512  # of a pack there: as many keep it busy whatever their widths, and more would be lost together
GPU_SHARE = 2  # one part in so many of a GPU's free memory is for what is each network's own
PROCESS_BYTES = 120 * 2**20  # of a worker process before it has read anything, about
TORCH_BYTES = 250 * 2**20  # that torch adds to it

Load = tuple[Unit, ...]  # what one worker is given at a time


@dataclass(frozen=True)
class Share:
    """Units that are trained in the same way.

    Attributes:
        loads: what is handed out at a time.
        unit_seconds: of one core for one unit with all of its epochs, as measured; None where that was not done.
        alone_seconds: the same for a unit trained alone.
        load_bytes: memory of a worker while it trains one of these loads.
        device: where it trains them.
    """

    loads: tuple[Load, ...]
    unit_seconds: float | None
    alone_seconds: float | None
    load_bytes: int
    device: str = "cpu"

    @property
    def n_units(self) -> int:
        return sum(len(load) for load in self.loads)

    @property
    def size(self) -> int:
        """Units in the largest load."""
        return max(len(load) for load in self.loads)

    @property
    def widths(self) -> tuple[str, ...]:
        """The hidden widths there are, narrowest first."""
        found = {unit.cell.recipe.network.hidden for load in self.loads for unit in load}
        return tuple("x".join(map(str, hidden)) for hidden in sorted(found))


@dataclass(frozen=True)
class Plan:
    """How units are shared out.

    Attributes:
        jobs: processes. threads: of each.
    """

    shares: tuple[Share, ...]
    jobs: int
    threads: int

    @property
    def n_units(self) -> int:
        return sum(share.n_units for share in self.shares)

    @property
    def seconds(self) -> float | None:
        """Until the last unit is through, about, if none stops early; None where something was not measured."""
        known = [(share.unit_seconds, share.n_units) for share in self.shares]
        if any(seconds is None for seconds, _ in known):
            return None
        busy = max(1, min(self.jobs * self.threads, available_cores()))
        return sum((seconds or 0.0) * n for seconds, n in known) / busy

    @property
    def memory_bytes(self) -> int:
        """Of all processes together, about, at most."""
        return self.jobs * max((share.load_bytes for share in self.shares), default=0)

    @property
    def how(self) -> str:
        """ "2 processes, 48 units in packs of up to 16, 16 one by one"."""
        packed = [share for share in self.shares if share.size > 1]
        n_packed = sum(share.n_units for share in packed)
        place = " on a GPU" if any(share.device == "cuda" for share in self.shares) else ""
        parts = [f"{self.jobs} {'process' if self.jobs == 1 else 'processes'}{place}"]
        if packed:
            parts.append(f"{n_packed} units in packs of up to {max(share.size for share in packed)}")
        if self.n_units > n_packed:
            parts.append(f"{self.n_units - n_packed} {'one by one' if packed else 'units one by one'}")
        return ", ".join(parts)

    @cached_property
    def load_of(self) -> dict[tuple[str, int], Load]:
        """Unit key -> the load that it is in."""
        return {unit.key: load for share in self.shares for load in share.loads for unit in load}


class Planner:
    """Makes plans for the units of one study.

    Args:
        data: the study's samples.
        jobs: processes. threads: of each.
        pack: "auto" to go by what is measured, "off" for no packs, or the most units of a pack, wherever they fit.
    Raises:
        ConfigError: pack is none of these.
    """

    def __init__(self, data: Dataset, *, jobs: int, threads: int = 1, pack: str | int = AUTO) -> None:
        check_pack(pack)
        self._data, self._jobs, self._threads, self._pack = data, jobs, threads, pack
        self._measured: dict[Hashable, float] = {}
        self._free: dict[Hashable, int] = {}

    def plan(self, units: Sequence[Unit], *, timed: bool = False) -> Plan:
        """The plan for some units.

        Args:
            timed: whether to measure also what is trained alone whatever comes out.
        """
        groups: dict[Hashable, list[Unit]] = {}
        for unit in units:
            groups.setdefault(self._group_key(unit), []).append(unit)
        shares = tuple(self._share(key, group, timed) for key, group in groups.items())
        return Plan(shares, self._jobs, self._threads)

    def _group_key(self, unit: Unit) -> Hashable:
        """Units of equal keys may be in one pack, and cost about the same; a first None says that they may not."""
        recipe = unit.cell.recipe_of(unit.seed)
        key = None if self._pack == OFF else pack_key(recipe, self._data)
        # A GPU has room for all widths in one pack.
        on_gpu = key is not None and self._gpu_bytes(recipe) > 0
        size = () if on_gpu else tuple(round(math.log2(width)) for width in recipe.network.hidden)
        if key is None:
            return None, size, recipe.training.batch_size, recipe.training.epochs, recipe.training.engine
        return key, size, recipe.training.epochs, unit.cell.division_of(unit.seed)

    def _share(self, key: Hashable, units: list[Unit], timed: bool) -> Share:
        ordered = sorted(units, key=_neighbours)
        may_pack = isinstance(key, tuple) and key[0] is not None
        splits = self._splits(ordered[0])
        most = self._most_together(ordered, splits) if may_pack else 1
        loads = _cut(ordered, most, self._jobs)
        if most == 1 or len(loads) == len(ordered):
            seconds = self._seconds(ordered[len(ordered) // 2 :][:1], splits) if timed else None
            return self._of_loads(tuple((unit,) for unit in units), splits, seconds, seconds)
        is_open = self._pack == AUTO and not self._gpu_bytes(ordered[0].cell.recipe)  # what is measured decides
        if not is_open and not timed:
            return self._of_loads(loads, splits, None, None)
        shown = max(loads, key=len)
        if is_open and not _share_batches(shown):
            alone = self._seconds(shown[:1], splits) if timed else None
            return self._of_loads(tuple((unit,) for unit in units), splits, alone, alone)
        one = shown[len(shown) // 2 :][:1]
        alone, packed = self._seconds(one, splits), self._seconds(shown, splits)
        if is_open and alone > LEAST_GAIN * packed:  # times vary, so a gain must be seen twice
            alone, packed = self._seconds(one, splits, min), self._seconds(shown, splits, max)
        if is_open:
            fitting = int(LOAD_SECONDS / packed)
            if alone < LEAST_GAIN * packed or fitting < 2:
                return self._of_loads(tuple((unit,) for unit in units), splits, alone, alone)
            loads = _cut(ordered, min(most, fitting), self._jobs)
        return self._of_loads(loads, splits, packed, alone)

    def _most_together(self, units: Sequence[Unit], splits: Splits) -> int:
        """Units of a pack whose weights, and what is remembered and made of them, stay in the cache, or on the GPU."""
        if self._pack != AUTO:
            return int(self._pack)
        room = self._gpu_bytes(units[0].cell.recipe) // GPU_SHARE
        if room:
            return max(1, min(MOST_ON_GPU, room // max(self._own_bytes(unit.cell.recipe, splits) for unit in units)))
        most = max(self._network_bytes(unit.cell.recipe, splits) for unit in units)
        cache = min(this_processor().cache_bytes.get("L3", CACHE_BYTES) or CACHE_BYTES, CACHE_BYTES)
        return max(1, min(MOST_TOGETHER, cache // available_cores() // most))

    def _network_bytes(self, recipe: Recipe, splits: Splits) -> int:
        """What the updates of one network go over: weights, gradients and slots, and a batch with its values."""
        size = 8 if recipe.training.dtype == "float64" else 4
        network = Architecture(self._data.n_inputs, recipe.network.hidden, self._data.n_classes)
        rows = min(_batch_size(recipe, splits), recipe.training.tile_rows)
        return size * ((2 + len(rule_of(recipe.optimizer).slots)) * network.n_parameters + 3 * rows * network.hidden[0])

    def _own_bytes(self, recipe: Recipe, splits: Splits) -> int:
        """What is one network's own on a GPU: weights, gradients, operands and slots, snapshots of the last two epochs
        and of the best, and what it made of each sample."""
        size = 8 if recipe.training.dtype == "float64" else 4
        network = Architecture(self._data.n_inputs, recipe.network.hidden, self._data.n_classes)
        copies = 6 + 4 * len(rule_of(recipe.optimizer).slots)
        return size * (copies * network.n_parameters + 2 * sum(splits.sizes.values()))

    def _gpu_bytes(self, recipe: Recipe) -> int:
        """Memory that is free on the GPU that a recipe is trained on; 0 where it is none of this machine's."""
        training = recipe.training
        key = (training.engine, training.device, training.precision)
        if key not in self._free:
            try:
                self._free[key] = gpu_bytes(training)
            except ChalknetError:  # it is told where it is needed: a study on Ray leaves the engine to the cluster
                self._free[key] = 0
        return self._free[key]

    def _of_loads(self, loads: tuple[Load, ...], splits: Splits, seconds: float | None, alone: float | None) -> Share:
        together = max(loads, key=len)
        n_values = sum(splits.sizes.values()) * self._data.n_inputs
        floats = 8 if together[0].cell.recipe.training.dtype == "float64" else 4
        held = 0 if isinstance(self._data.inputs, StoredSamples) else n_values * self._data.inputs.dtype.itemsize
        resident = n_values * floats if n_values * floats <= RESIDENT_BYTES else 0
        networks = sum(2 * self._network_bytes(unit.cell.recipe, splits) for unit in together)
        recipe = together[0].cell.recipe
        base = PROCESS_BYTES + (TORCH_BYTES if recipe.training.engine == "torch" else 0)
        device = "cuda" if self._gpu_bytes(recipe) else "cpu"
        return Share(loads, seconds, alone, base + held + resident + networks, device)

    def _splits(self, unit: Unit) -> Splits:
        return own_splits(self._data, unit.cell, divide(self._data, unit.cell, unit.seed))

    def _seconds(
        self, load: Sequence[Unit], splits: Splits, again: Callable[[float, float], float] | None = None
    ) -> float:
        """Of a core for one unit of a load, with all of its epochs.

        Args:
            again: what makes one figure of the one that is known and another, measured now.
        """
        recipes = [unit.cell.recipe_of(unit.seed) for unit in load]
        key = tuple(
            (order_of(recipe), recipe.network, recipe.optimizer, recipe.training.batch_size) for recipe in recipes
        )
        training = recipes[0].training
        computes = training.engine, training.device, training.precision, training.dtype, training.epochs
        known = (key, recipes[0].regularisation, tuple(splits.sizes.values()), computes)
        if known not in self._measured:
            on_gpu = self._gpu_bytes(recipes[0]) > 0
            self._measured[known] = measured_seconds(self._data, splits.sizes, recipes, on_gpu=on_gpu)
        elif again is not None:
            another = measured_seconds(self._data, splits.sizes, recipes)
            self._measured[known] = again(self._measured[known], another)
        return self._measured[known]


def check_pack(pack: str | int) -> None:
    """Raises ConfigError unless it is "auto", "off" or a whole number >= 1."""
    is_number = isinstance(pack, int) and not isinstance(pack, bool) and pack >= 1
    if pack not in (AUTO, OFF) and not is_number:
        raise ConfigError(f"pack must be auto, off or a whole number >= 1, got {pack!r}.")


def measured_seconds(
    data: Dataset,
    sizes: Mapping[str, int],
    recipes: Sequence[Recipe],
    *,
    on_gpu: bool = False,
) -> float:
    """Of one core for one of some networks trained together, or of a single one: made ready, and all of its epochs.

    Measured on few made-up samples, in the thread's own time, so that what else the machine does hardly shows; on a
    GPU, which is waited for, by the clock and on more samples.

    Args:
        sizes: of the parts "train", "valid", "test" that will be trained on.
    """
    clock, most, epochs = time.thread_time, MEASURED_SAMPLES, MEASURED_EPOCHS
    if on_gpu:
        clock, most, epochs = time.perf_counter, MEASURED_SAMPLES_ON_GPU, MEASURED_EPOCHS_ON_GPU
    a_sample = int(data.n_inputs * data.inputs.dtype.itemsize)
    n_train = min(sizes["train"], most, max(1, MEASURED_BYTES // a_sample))
    judged = [-(-sizes[part] * n_train // sizes["train"]) for part in ("valid", "test")]
    made, splits = _made_up(data, n_train, *judged)
    # So small a rate moves nothing, and nothing diverges.
    tried = [
        recipe.with_settings(epochs=epochs, stop_early=False, learning_rate=1e-12, class_weights="equal")
        for recipe in recipes
    ]
    times: list[float] = []
    started = clock()

    def look(_: int, record: EpochRecord) -> None:
        if len(times) < record.epoch:
            times.append(clock())

    if len(tried) == 1:
        run_epochs(Trainer(made, splits, tried[0], workers=1, keep_samples=True), lambda record: look(0, record))
    else:
        run_together(made, splits, tried, lambda *_: None, observe=look, keep_samples=True)
    an_epoch = float(np.diff(times).min())
    before = max(0.0, times[0] - started - an_epoch)  # making networks and samples ready
    n_epochs = max(recipe.training.epochs for recipe in recipes)
    return (before + an_epoch * n_epochs) / len(tried) * sizes["train"] / n_train


def _made_up(data: Dataset, n_train: int, n_valid: int, n_test: int) -> tuple[Dataset, Splits]:
    """Random samples of a data set's shape and type, and their division."""
    n, rng = n_train + n_valid + n_test, np.random.default_rng(0)
    shape = (n, *data.inputs.shape[1:])
    kind = data.inputs.dtype
    inputs = rng.integers(0, 200, shape, kind) if kind == np.uint8 else rng.random(shape, kind)
    made = Dataset(inputs, rng.integers(0, data.n_classes, n), data.class_names)
    index = np.arange(n)
    return made, Splits(index[:n_train], index[n_train : n_train + n_valid], index[n_train + n_valid :])


def _batch_size(recipe: Recipe, splits: Splits) -> int:
    n_train, size = len(splits.train), recipe.training.batch_size
    return n_train if size == FULL else min(int(size), n_train)


def _share_batches(load: Load) -> bool:
    """Whether networks of a load are given the same batches; without that each one's samples are in the others' way."""
    orders = [order_of(unit.cell.recipe_of(unit.seed)) for unit in load]
    return 2 * len(set(orders)) <= len(orders)


def _neighbours(unit: Unit) -> tuple[Any, ...]:
    """Units that gain by it stand beside each other."""
    return *neighbours(unit.cell.recipe_of(unit.seed)), unit.seed


def _cut(units: Sequence[Unit], most: int, jobs: int) -> tuple[Load, ...]:
    """Loads of at most so many units, as even as there are processes to share them out to."""
    n_loads = jobs * -(-len(units) // (most * jobs))
    size = -(-len(units) // n_loads)
    return tuple(tuple(units[start : start + size]) for start in range(0, len(units), size))
