"""Decide which runs of a study are trained at the same time, and estimate time and memory.

On processors each worker process trains one run at a time. On a GPU a worker trains as many runs at
once as the GPU's memory holds. Nothing is measured unless the time is asked for. A plan changes no
result: a run in a stack equals a run trained alone, to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from chalknet.config import FULL, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.splits import Splits
from chalknet.engines.numpy_engine import MAX_IMAGE_ROWS, RESIDENT_BYTES
from chalknet.errors import ChalknetError
from chalknet.network.architecture import architecture_for
from chalknet.network.optimizers import optimizer_for
from chalknet.records import EpochRecord
from chalknet.studies.configurations import RunKey
from chalknet.studies.execution_plan import Job, Plan, RunGroup
from chalknet.studies.search_space import configuration_splits, study_splits
from chalknet.training.joint_training import stack_key, stack_sort_key, train_jointly
from chalknet.training.trainer import Trainer, gpu_bytes, run_epochs

# The time of a run is measured on at most so many random samples: more than the inner caches hold.
MEASURED_SAMPLES = 2_048
MEASURED_EPOCHS = 3  # the first one is not counted
# A GPU takes as long for a few samples as for many, and captures its graphs in the first epochs.
MEASURED_SAMPLES_ON_GPU, MEASURED_EPOCHS_ON_GPU = 65_536, 8
MEASURED_BYTES = 2**28  # maximum size of the random samples
# So many networks keep a GPU busy whatever their widths. A crash loses the runs of one stack at most.
MAX_STACK = 512
GPU_FRACTION = 2  # 1/GPU_FRACTION of a GPU's free memory is for what each network has for itself
# With batch normalization, a layer's values are held this often: input, output, gradients and sums.
VALUE_COPIES = 8
PROCESS_BYTES = 120 * 2**20  # approximate size of a worker process before it has read anything
TORCH_BYTES = 250 * 2**20  # what torch adds to it


class Planner:
    """Makes plans for the runs of one study.

    Args:
        data: the study's samples.
        processes: worker processes at a time.
        threads: threads of each process.
        stack: the most runs to train at once on a GPU, or None for as many as fit.
        is_remote: whether workers run on other machines. Their GPUs cannot be asked for their
            memory from here, so None as stack then means 1.
    """

    def __init__(
        self, data: Dataset, *, processes: int, threads: int = 1, stack: int | None = None, is_remote: bool = False
    ) -> None:
        """Create a planner; see the class for the arguments."""
        self._data, self._processes, self._threads = data, processes, threads
        self._stack, self._is_remote = stack, is_remote
        self._free: dict[Hashable, int] = {}

    def plan(self, runs: Sequence[RunKey], *, timed: bool = False) -> Plan:
        """Return the plan for these runs.

        Args:
            runs: the runs to train.
            timed: whether to measure how long a run of each group takes, which itself takes some
                seconds.
        """
        groups: dict[Hashable, list[RunKey]] = {}
        for run in runs:
            groups.setdefault(self._group_key(run), []).append(run)
        return Plan(tuple(self._group(group, timed) for group in groups.values()), self._processes, self._threads)

    def _group_key(self, run: RunKey) -> Hashable:
        """Return a key that is equal for runs of one group.

        On a GPU these are runs that can be stacked; on processors, runs that cost about the same.
        """
        recipe = run.configuration.recipe_of(run.seed)
        if self._max_stack(recipe) > 1:
            return stack_key(recipe, self._data), recipe.training.epochs, run.configuration.split_of(run.seed)
        training, size = recipe.training, [round(math.log2(width)) for width in recipe.network.hidden]
        architecture = architecture_for(recipe, self._data.sample_shape, self._data.n_classes)
        if architecture.reads_images:
            size = [round(math.log2(architecture.work))]
        return tuple(size), training.batch_size, training.epochs, training.engine, training.device

    def _max_stack(self, recipe: Recipe) -> int:
        """Return how many runs of a recipe a worker may train at once, before memory is considered."""
        training = recipe.training
        is_remote_gpu = self._is_remote and training.engine == "torch" and training.device != "cpu"
        if stack_key(recipe, self._data) is None or not (is_remote_gpu or self._gpu_bytes(recipe)):
            return 1
        return self._stack or (1 if self._is_remote else MAX_STACK)

    def _group(self, runs: list[RunKey], timed: bool) -> RunGroup:
        """Return the group of these runs, which share a `_group_key`."""
        first = runs[0]
        recipe, splits = (
            first.configuration.recipe,
            configuration_splits(
                self._data, first.configuration, study_splits(self._data, first.configuration, first.seed)
            ),
        )
        gpu_bytes, most = self._gpu_bytes(recipe), self._max_stack(first.configuration.recipe_of(first.seed))
        if gpu_bytes and self._stack is None:
            largest = max(self._gpu_bytes_of_run(run.configuration.recipe, splits) for run in runs)
            most = max(1, min(most, gpu_bytes // GPU_FRACTION // largest))
        jobs: tuple[Job, ...] = tuple((run,) for run in runs)
        if most > 1:
            jobs = cut(
                sorted(runs, key=lambda run: stack_sort_key(run.configuration.recipe_of(run.seed))),
                most,
                self._processes,
            )
        seconds = None
        if timed:
            measured = max(jobs, key=len) if most > 1 else (runs[len(runs) // 2],)
            recipes = [run.configuration.recipe_of(run.seed) for run in measured]
            seconds = measured_seconds(self._data, splits.sizes, recipes, on_gpu=gpu_bytes > 0)
        return RunGroup(jobs, seconds, self._job_bytes(max(jobs, key=len), splits), "cuda" if gpu_bytes else "cpu")

    def _gpu_bytes_of_run(self, recipe: Recipe, splits: Splits) -> int:
        """Return the GPU memory that one network needs for itself.

        It holds weights, gradients, operands and optimizer state, snapshots of the last two epochs
        and of the best one, and the score of each sample. With batch normalization it also holds
        the values of a whole batch, and what their derivative needs.
        """
        architecture = architecture_for(recipe, self._data.sample_shape, self._data.n_classes)
        copies = 6 + 4 * len(optimizer_for(recipe.optimizer).state_names)
        n_values = copies * architecture.n_parameters + 2 * sum(splits.sizes.values())
        if architecture.uses_batch_statistics:
            n_values += VALUE_COPIES * max(splits.sizes.values()) * sum(architecture.dense_units)
        return _float_bytes(recipe) * n_values

    def _gpu_bytes(self, recipe: Recipe) -> int:
        """Return the free memory of the GPU that trains this recipe, or 0 if there is none here."""
        training = recipe.training
        key = (training.engine, training.device, training.precision)
        if key not in self._free:
            try:
                self._free[key] = 0 if self._is_remote else gpu_bytes(training)
            except ChalknetError:  # the worker that trains reports that the engine is missing
                self._free[key] = 0
        return self._free[key]

    def _job_bytes(self, job: Job, splits: Splits) -> int:
        """Return the memory of a worker process that trains this job."""
        recipe = job[0].configuration.recipe
        n_values = sum(splits.sizes.values()) * self._data.n_inputs
        held = 0 if isinstance(self._data.inputs, OnDiskSamples) else n_values * self._data.inputs.dtype.itemsize
        resident = n_values * _float_bytes(recipe) if n_values * _float_bytes(recipe) <= RESIDENT_BYTES else 0
        base = PROCESS_BYTES + (TORCH_BYTES if recipe.training.engine == "torch" else 0)
        return base + held + resident + sum(self._network_bytes(run.configuration.recipe, splits) for run in job)

    def _network_bytes(self, recipe: Recipe, splits: Splits) -> int:
        """Return the memory of one network on a processor: weights, gradients, state and a tile."""
        n_train, batch = len(splits.train), recipe.training.batch_size
        rows = min(n_train if batch == FULL else min(int(batch), n_train), recipe.training.tile_rows)
        architecture = architecture_for(recipe, self._data.sample_shape, self._data.n_classes)
        n_weights = (2 + len(optimizer_for(recipe.optimizer).state_names)) * architecture.n_parameters
        n_values = 3 * recipe.network.hidden[0] if recipe.network.hidden else 0
        if architecture.reads_images:
            rows = rows if architecture.uses_batch_statistics else min(rows, MAX_IMAGE_ROWS)
            n_values = sum(math.prod(named.input_shape) for named in architecture.named_layers)
        return 2 * _float_bytes(recipe) * (n_weights + rows * n_values)


def measured_seconds(
    data: Dataset, sizes: Mapping[str, int], recipes: Sequence[Recipe], *, on_gpu: bool = False
) -> float:
    """Measure the time of one run with all of its epochs, in seconds.

    It is measured on few random samples and scaled up. On a processor it is the CPU time of one
    thread, so other work on the machine hardly matters. On a GPU it is wall time, and more samples
    are used.

    Args:
        data: the study's samples; only their shape and type are used.
        sizes: number of "train", "valid" and "test" samples of the runs.
        recipes: the recipes of runs that are trained at once; the time is that of one of them.
        on_gpu: whether they are trained on a GPU.
    """
    clock, most, epochs = time.thread_time, MEASURED_SAMPLES, MEASURED_EPOCHS
    if on_gpu:
        clock, most, epochs = time.perf_counter, MEASURED_SAMPLES_ON_GPU, MEASURED_EPOCHS_ON_GPU
    sample_bytes = int(data.n_inputs * data.inputs.dtype.itemsize)
    n_train = min(sizes["train"], most, max(1, MEASURED_BYTES // sample_bytes))
    scored = [-(-sizes[split] * n_train // sizes["train"]) for split in ("valid", "test")]
    samples, splits = _random_samples(data, n_train, *scored)
    # With such a small learning rate, weights hardly change and no network diverges.
    tried = [
        recipe.with_settings(epochs=epochs, stop_early=False, learning_rate=1e-12, class_weights="equal")
        for recipe in recipes
    ]
    times: list[float] = []
    started = clock()

    def on_epoch(record: EpochRecord) -> None:
        if len(times) < record.epoch:
            times.append(clock())

    if len(tried) == 1:
        run_epochs(Trainer(samples, splits, tried[0], workers=1, keep_sample_scores=True), on_epoch)
    else:
        train_jointly(
            samples,
            splits,
            tried,
            lambda *_: None,
            on_epoch=lambda _, record: on_epoch(record),
            keep_sample_scores=True,
        )
    an_epoch = float(np.diff(times).min())
    before = max(0.0, times[0] - started - an_epoch)  # to create networks and samples
    n_epochs = max(recipe.training.epochs for recipe in recipes)
    return (before + an_epoch * n_epochs) / len(tried) * sizes["train"] / n_train


def cut(runs: Sequence[RunKey], most: int, processes: int) -> tuple[Job, ...]:
    """Return jobs of at most `most` runs, distributed evenly over the processes."""
    n_jobs = processes * -(-len(runs) // (most * processes))
    size = -(-len(runs) // n_jobs)
    return tuple(tuple(runs[start : start + size]) for start in range(0, len(runs), size))


def _random_samples(data: Dataset, n_train: int, n_valid: int, n_test: int) -> tuple[Dataset, Splits]:
    """Return random samples with the shape and type of a data set's, and their splits."""
    n, rng = n_train + n_valid + n_test, np.random.default_rng(0)
    shape, kind = (n, *data.inputs.shape[1:]), data.inputs.dtype
    inputs = rng.integers(0, 200, shape, kind) if kind == np.uint8 else rng.random(shape, kind)
    index = np.arange(n)
    splits = Splits(index[:n_train], index[n_train : n_train + n_valid], index[n_train + n_valid :])
    return Dataset(inputs, rng.integers(0, data.n_classes, n), data.class_names), splits


def _float_bytes(recipe: Recipe) -> int:
    """Return the bytes of a recipe's floating-point type."""
    return 8 if recipe.training.dtype == "float64" else 4
