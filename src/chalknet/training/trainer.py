"""`Trainer`: a network, its data and a recipe, as an iterator of epochs."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from chalknet.config import FULL, MAX_WORKERS, SAME_AS_SEED, SECTIONS, Recipe, TrainingConfig, with_former_names
from chalknet.data.augment import augmenter_for
from chalknet.data.dataset import Dataset, arrays_sha256
from chalknet.data.image_facts import ImageFacts, image_facts
from chalknet.data.on_disk import OnDiskSamples, OnDiskSplit
from chalknet.data.preprocess import Scaling, fit_scaling, flatten
from chalknet.data.splits import Splits
from chalknet.engines.engine import (
    Batch,
    Engine,
    EngineFactory,
    EngineSpec,
    SampleScores,
    Snapshot,
    SplitData,
    Update,
)
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.random_transforms import RandomTransforms
from chalknet.engines.reference import ReferenceEngine
from chalknet.engines.sharded import ShardedEngine, Shards, check_shards
from chalknet.errors import ConfigError, DivergenceError, MissingExtraError
from chalknet.formatting import count_of, quoted
from chalknet.network.architecture import Architecture, architecture_for
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer import Parameters
from chalknet.network.model import Ensemble, Network
from chalknet.network.objective import Objective
from chalknet.network.optimizers import AVERAGE, Step, optimizer_for
from chalknet.records import SPLITS, EpochRecord, Scores
from chalknet.training.callbacks import Callback
from chalknet.training.callbacks import EpochCallback as EpochCallback  # an export too
from chalknet.training.divergence import (
    MAX_SAMPLES,
    divergence_error,
    last_finite_update,
    outlying_input,
    outlying_input_error,
)
from chalknet.training.sample_weights import relative_weights, training_weights
from chalknet.training.schedules import learning_rate_multiplier
from chalknet.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from chalknet.engines.torch_engine import StackedEngine, TorchStack

ENGINES: dict[str, EngineFactory] = {"numpy": NumpyEngine, "reference": ReferenceEngine}


def engine_factory(training: TrainingConfig) -> EngineFactory:
    """The engine that a recipe names.

    Raises:
        MissingExtraError: the torch engine without PyTorch.
        ConfigError: a device that is not there.
    """
    if training.engine != "torch":
        return ENGINES[training.engine]
    device_of(training)
    from chalknet.engines.torch_engine import TorchEngine

    return TorchEngine


def device_of(training: TrainingConfig) -> str:
    """Where the engine that a recipe names computes: "cpu" or "cuda"; errors as `engine_factory`."""
    return "cpu" if training.engine != "torch" else str(_torch_device(training)[0].type)


def gpu_bytes(training: TrainingConfig) -> int:
    """Memory that is free where the engine that a recipe names computes, if that is a GPU, or 0; errors as above."""
    if device_of(training) == "cpu":
        return 0
    device, free_bytes = _torch_device(training)
    return int(free_bytes(device))


def _torch_device(training: TrainingConfig) -> tuple[Any, Any]:
    """The torch device that a recipe means, and what says how much memory is free on it."""
    try:
        from chalknet.engines.torch_device import free_bytes, usable_device
    except ImportError as error:
        raise MissingExtraError(f'engine torch needs PyTorch ({error}): pip install "chalknet[torch]".') from error
    return usable_device(training.device, training.precision), free_bytes


def describe_backend(training: TrainingConfig, device: str) -> str:
    """What computes, in words: "numpy engine, float32", "torch engine, float32 with bfloat16 products, on cpu"."""
    short = f" with {training.precision} products" if training.precision != "float32" else ""
    place = f", on {device}" if training.engine == "torch" else ""
    return f"{training.engine} engine, {training.dtype}{short}{place}"


@dataclass(frozen=True, eq=False)
class Run:
    """What training gives: the history, the trained network, and what they were made from.

    Attributes:
        history: one `EpochRecord` an epoch.
        network: parameters after the epoch that is kept: the last, or the best of a run that could stop early.
        kept_epoch: that epoch's number, 0 of a network that was not trained.
        recipe, data, splits: the run's own.
        seconds: wall time of all epochs.
        folder: where it was written, or None.
        valid_sample_scores: one `SampleScores` an epoch, where the trainer kept them.
        members: of an ensemble, the runs of its networks; its history is then the mean of theirs, as far as all go.
        ensemble_scores: of an ensemble, the scores of its averaged probabilities, as a record.
        notes: what the user should know about the data and how the recipe was adapted to them, one sentence each.
    """

    history: tuple[EpochRecord, ...]
    network: Network | Ensemble
    kept_epoch: int
    recipe: Recipe
    data: Dataset
    splits: Splits
    seconds: float
    folder: Path | None = None
    valid_sample_scores: tuple[SampleScores, ...] = ()
    members: tuple[Run, ...] = ()
    ensemble_scores: EpochRecord | None = None
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> EpochRecord:
        """The record of the epoch whose parameters the network has; of an ensemble, its own scores."""
        return self.ensemble_scores or self.history[self.kept_epoch - 1]

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else "not trained"
        return f"<Run {self.network.architecture} on {self.data.source}, {len(self.history)} epochs; last {last}>"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that training needs to go on with the same bits as if it had not stopped.

    Batch orders are drawn anew from the seed and the epoch, so no generator's state is among it.

    Attributes:
        history: the epochs so far, one at least.
        parameters, state: the engine's, by name, after the last of them.
        best: parameters after the best epoch, where early stopping watches and they are not the last; else None.
        valid_sample_scores: one `SampleScores` an epoch, where the trainer keeps them.
        architecture: the network's, or None where a file of an earlier format does not tell it.
        digests: `Trainer.digests`; empty where a file of an earlier version does not tell them.
    """

    history: tuple[EpochRecord, ...]
    parameters: Parameters
    state: Parameters
    best: Parameters | None
    valid_sample_scores: tuple[SampleScores, ...]
    architecture: Architecture | None
    digests: Mapping[str, str] = field(default_factory=dict)


class Trainer:
    """Trains one network; `epochs()` is the loop, and whoever iterates it may stop whenever they like.

    for record in trainer.epochs():
        if record.valid.loss > 2: break

    Args:
        data, splits, recipe: what is learned, from which samples, and how.
        sample_weights: (N,) what each sample counts in training, or None; scores count every sample alike.
        workers: as the engine takes them.
        keep_sample_scores: whether `valid_sample_scores` gets the validation scores of each sample after every epoch.
        shards: who holds the samples and gives their gradients, or None for one engine here; the numbers are the same
            to rounding. workers are then the threads of each.
        engine: what makes the engine, by default the one that the recipe names.
        weigh_scores: whether validation scores weigh samples as sample_weights does.
        share_data_with: a trainer of the same data, splits and input scaling, whose samples in memory this one shares.

    Attributes:
        history: the epochs so far.
        earlier_epochs, earlier_updates: of a training that this one continues with other samples. Batch orders and the
            numbers of updates count from there, learning rate schedules do not.
        valid_sample_scores: one `SampleScores` an epoch, where they are kept.
        last: the engine's snapshot after the last finished epoch, from when `epochs` is first asked for one.
        best: number and snapshot of the best epoch, where `BestWeights` watches. should_stop: set by a callback.
        engine: what computes; scaling: from raw samples to what the network reads.
    """

    def __init__(
        self,
        data: Dataset,
        splits: Splits,
        recipe: Recipe,
        *,
        sample_weights: NDArray[Any] | None = None,
        workers: int | None = None,
        keep_sample_scores: bool = False,
        shards: Shards | None = None,
        engine: EngineFactory | None = None,
        share_data_with: Trainer | None = None,
        weigh_scores: bool = False,
    ) -> None:
        if workers is not None and not 1 <= workers <= MAX_WORKERS:
            raise ConfigError(f"workers must be an integer from 1 to {MAX_WORKERS}, got {workers}.")
        self.data, self.splits, self.recipe = data, splits, recipe
        self.architecture = architecture_for(recipe, data.n_inputs, data.n_classes)
        self.scaling: Scaling = (
            fit_scaling(recipe.network.input_scaling, data.inputs, splits.train, data.is_images)
            if share_data_with is None
            else share_data_with.scaling
        )
        self.history: list[EpochRecord] = []
        self.valid_sample_scores: list[SampleScores] = []
        self._workers, self._keep_samples = workers, keep_sample_scores and len(splits.valid) > 0
        self._shards = shards
        has_weights = weigh_scores and sample_weights is not None and len(splits.valid) > 0
        self._valid_weights = relative_weights(np.asarray(sample_weights)[splits.valid]) if has_weights else None
        self._weights = training_weights(
            data.labels[splits.train],
            data.class_names,
            recipe.regularization.class_weights,
            None if sample_weights is None else np.asarray(sample_weights)[splits.train],
        )
        named = splits.named().items()
        self._parts: dict[str, SplitData] = (
            {name: self._part(index) for name, index in named} if share_data_with is None else share_data_with._parts
        )
        parts = {**self._parts, "train": replace(self._parts["train"], weights=self._weights)}
        self.engine = self._make_engine(engine or self._engine_factory(), recipe.training.dtype, parts)
        self.last: Snapshot = None
        self.best: tuple[int, Snapshot] | None = None
        self.should_stop = False
        self.earlier_epochs = self.earlier_updates = 0

    def epochs(self) -> Iterator[EpochRecord]:
        """One epoch after the other, up to the recipe's number; each is finished when it is handed out.

        Raises:
            DivergenceError: a loss is no longer finite; the trainer is then where it was after the epoch before.
        """
        for _, record in train_epochs([self]):
            if isinstance(record, DivergenceError):
                raise record
            yield record

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are trained, or a callback has asked to stop."""
        return self.should_stop or len(self.history) >= self.recipe.training.epochs

    def scores(self) -> tuple[Scores | None, Scores | None]:
        """Return the validation and test scores of the present parameters."""
        valid = self.engine.evaluate("valid")
        if valid is not None and self._valid_weights is not None:
            each = self.engine.evaluate_samples("valid")
            assert each is not None, "a split that has scores has them of each sample"
            loss, accuracy = (float(np.average(one, weights=self._valid_weights)) for one in (each.loss, each.correct))
            valid = replace(valid, loss=loss, accuracy=accuracy)
        return valid, self.engine.evaluate("test")

    def finish_epoch(self, record: EpochRecord) -> None:
        """Takes note of an epoch that the engine has behind it.

        Raises:
            DivergenceError: as `epochs`.
        """
        part, loss = non_finite_loss(record) or ("", 0.0)
        if part in ("valid", "test"):
            far = outlying_input(self.data, self.splits.named()[part], part, self.scaling)
            if far is not None:
                self.engine.restore_snapshot(self.last)
                raise outlying_input_error(loss, record.epoch, far, self.data)
        if part:
            raise self._explain_divergence(loss, record.epoch, self.updates(record.epoch), self.last)
        each = self.engine.evaluate_samples("valid") if self._keep_samples else None
        self.last = self.engine.snapshot()
        self.history.append(record)
        if each is not None:
            self.valid_sample_scores.append(each)

    def updates(self, epoch: int) -> Iterator[Update]:
        """The updates of an epoch: its batches, each with its number in the whole training and its learning rate."""
        training, rate = self.recipe.training, self.recipe.optimizer.learning_rate
        a_epoch = self.updates_per_epoch
        for number, batch in enumerate(self.batches(epoch), start=(epoch - self.earlier_epochs - 1) * a_epoch):
            factor = learning_rate_multiplier(self.recipe.schedule, number, training.epochs * a_epoch, a_epoch)
            yield Update(batch, Step(self.earlier_updates + number + 1, rate * factor))

    @property
    def next_epoch(self) -> int:
        """The number of the epoch after the last finished one."""
        return self.earlier_epochs + len(self.history) + 1

    @property
    def updates_per_epoch(self) -> int:
        """How many batches there are."""
        n_train, size = len(self.splits.train), self.recipe.training.batch_size
        return 1 if size == FULL else -(-n_train // int(size))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The positions in the training part that each update of this epoch uses.

        A full batch keeps the samples' own order. Mini-batches are cut from an order that depends on the seed and the
        epoch alone, so that it can be made again without the epochs before it: a permutation of windows of
        `shuffle_window` consecutive samples, and within each window a permutation of its samples.
        """
        training = self.recipe.training
        n_train, size = len(self.splits.train), training.batch_size
        if size == FULL or int(size) >= n_train:
            yield slice(0, n_train)
            return
        seed = self._batch_seed
        left = np.empty(0, np.int64)
        for window in shuffled_windows(n_train, training.shuffle_window, np.random.default_rng([seed, epoch])):
            order = np.concatenate([left, window])
            whole = len(order) // int(size) * int(size)
            yield from (order[start : start + int(size)] for start in range(0, whole, int(size)))
            left = order[whole:]
        if len(left):
            yield left

    @property
    def backend_description(self) -> str:
        """What computes, in words."""
        return describe_backend(self.recipe.training, self.engine.device)

    def _explain_divergence(
        self, loss: float, epoch: int, updates: Iterable[Update], before: Snapshot
    ) -> DivergenceError:
        """The error of an epoch whose loss is not finite; brings the engine back to where it was before it.

        Args:
            updates: of that epoch. before: the engine's snapshot at its start.
        """
        last = self.history[-1].train.loss if self.history else None
        try:
            with np.errstate(all="ignore"):
                step = last_finite_update(
                    self.engine, before, updates, self._reference_engine, self._objective, self.architecture
                )
        finally:
            self.engine.restore_snapshot(before)
        return divergence_error(loss, epoch, last, step, self.recipe)

    def network(self, of: Snapshot | None = None) -> Network:
        """The network as it is now, or as a snapshot of the engine has it; later epochs do not change it."""
        return Network(
            architecture=self.architecture,
            parameters=self.engine.evaluation_parameters(of),
            class_names=self.data.class_names,
            scaling=self.scaling,
            image_shape=image_shape(self.data),
            input_names=self.data.input_names,
            image_facts=self._image_facts,
        )

    @cached_property
    def _image_facts(self) -> ImageFacts | None:
        return image_facts(self.data.inputs, self.splits.train) if self.data.is_images else None

    def checkpoint(self) -> Checkpoint:
        """Return what `load_checkpoint` takes."""
        engine, best = self.engine, None
        if self.best is not None and self.best[0] != len(self.history):
            best = engine.evaluation_parameters(self.best[1])
        return Checkpoint(
            tuple(self.history),
            engine.parameters(),
            engine.state(),
            best,
            tuple(self.valid_sample_scores),
            self.architecture,
            self.digests,
        )

    @cached_property
    def digests(self) -> dict[str, str]:
        """What is trained, as a digest for each part of it. A run that is resumed must have the same.

        Fields of the recipe that have their default are left out, so that a new field changes no digest.
        """
        fields = with_former_names(dict(flat_fields(self.recipe)))
        defaults = with_former_names(dict(flat_fields(Recipe())))
        changed = [(name, value) for name, value in fields.items() if value != defaults[name]]
        found = {
            "recipe": hashlib.sha256(repr(changed).encode()).hexdigest(),
            "splits": arrays_sha256(*self.splits.named().values()),
            # The same file read in another way has other labels.
            "data": f"{self.data.sha256} {arrays_sha256(self.data.labels)}",
        }
        return found if self._weights is None else found | {"sample weights": arrays_sha256(self._weights)}

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Brings this trainer to where one of the same data, splits and recipe was when the checkpoint was taken.

        Raises:
            ConfigError: the checkpoint is of a network with other layers, or of another training.
        """
        if checkpoint.architecture not in (None, self.architecture):
            raise ConfigError(
                f"the checkpoint is of a network with other layers ({checkpoint.architecture}) than the recipe "
                f"({self.architecture}). Resume it with the recipe that it was made with."
            )
        n_epochs, n_valid = len(checkpoint.history), len(self.splits.valid)
        has_others = any(each.loss.shape != (n_valid,) for each in checkpoint.valid_sample_scores)
        if (
            n_epochs > self.recipe.training.epochs
            or has_others
            or checkpoint.state.keys() != self.engine.state().keys()
        ):
            raise ConfigError(
                f"the checkpoint is of another training: it has {count_of(n_epochs, 'epoch')} and keeps "
                f"{quoted(sorted({name.partition('/')[0] for name in checkpoint.state}))} of each parameter. "
                "Resume it with the recipe and the data that it was made with."
            )
        best, before = None, self.engine.snapshot()
        try:
            if checkpoint.best is not None:
                averages = {f"{AVERAGE}/{name}": one for name, one in checkpoint.best.items()}
                self.engine.restore(checkpoint.best, averages)
                best = 0, self.engine.snapshot()  # `BestWeights` finds the number of its epoch
            self.engine.restore(checkpoint.parameters, checkpoint.state)
        except BaseException:
            self.engine.restore_snapshot(before)
            raise
        self.best = best
        self.last = self.engine.snapshot()
        self.history = list(checkpoint.history)
        self.valid_sample_scores = list(checkpoint.valid_sample_scores)
        self._keep_samples = self._keep_samples and len(self.valid_sample_scores) == len(self.history)

    def run(self) -> Run:
        """What has been trained so far, with the parameters as they are now."""
        seconds = sum(record.seconds for record in self.history)
        history = tuple(self.history)
        return Run(
            history,
            self.network(),
            len(history),
            self.recipe,
            self.data,
            self.splits,
            seconds,
            valid_sample_scores=tuple(self.valid_sample_scores),
        )

    @property
    def _batch_seed(self) -> int:
        training = self.recipe.training
        return training.seed if training.batch_seed == SAME_AS_SEED else int(training.batch_seed)

    @property
    def _objective(self) -> Objective:
        kept_out = self.recipe.regularization
        return Objective(self.recipe.optimizer.reduction, kept_out.label_smoothing, kept_out.l2)

    def _make_engine(self, factory: EngineFactory, dtype: str, splits: Mapping[str, SplitData]) -> Engine:
        recipe, training = self.recipe, self.recipe.training
        spec = EngineSpec(
            architecture=self.architecture,
            parameters=initial_parameters(self.architecture, training.seed, recipe.network.initializer),
            optimizer=optimizer_for(recipe.optimizer),
            splits=splits,
            scaling=self.scaling,
            objective=self._objective,
            transforms=RandomTransforms(
                self._batch_seed,
                recipe.augmentation.mixup,
                augmenter_for(recipe.augmentation, image_shape(self.data)),
            ),
            clip_norm=recipe.optimizer.clip_norm,
            dtype=dtype,
            threads=self._workers,
            tile_rows=training.tile_rows,
            device=training.device,
            precision=training.precision,
        )
        return factory(spec)

    def _engine_factory(self) -> EngineFactory:
        if self._shards is None:
            return engine_factory(self.recipe.training)
        check_shards(self.recipe, self.architecture)
        return partial(ShardedEngine, shards=self._shards, window=self.recipe.training.shuffle_window)

    def _part(self, index: NDArray[np.int64]) -> SplitData:
        inputs, labels = self.data.inputs, self.data.labels[index]
        if isinstance(inputs, OnDiskSamples):
            small = np.min_scalar_type(self.data.n_classes - 1)  # labels are held whatever the number of samples
            return SplitData(OnDiskSplit(inputs, index, self.recipe.training.shuffle_window), labels.astype(small))
        return SplitData(flatten(inputs)[index], labels)

    def _reference_engine(self, update: Update) -> ReferenceEngine:
        """An engine of the formulas in float64 that holds an update's samples, at most `MAX_SAMPLES` of them."""
        batch = update.batch if isinstance(update.batch, slice) else np.asarray(update.batch)
        index = self.splits.train[batch][:MAX_SAMPLES]
        weights = None if self._weights is None else self._weights[batch][:MAX_SAMPLES]
        part = SplitData(flatten(self.data.inputs[index]), self.data.labels[index], weights)
        engine = self._make_engine(ReferenceEngine, "float64", {"train": part})
        assert isinstance(engine, ReferenceEngine)
        return engine


def train_epochs(
    trainers: Sequence[Trainer], stack: TorchStack | None = None
) -> Iterator[tuple[Trainer, EpochRecord | DivergenceError]]:
    """Train epoch after epoch of one network, or of several in a stack, and yield each finished epoch.

    A network that is over leaves the loop and its stack. A divergence is yielded instead of raised, since it ends one
    network alone; its trainer is then where it was after the epoch before. So is every trainer if an epoch is
    interrupted by another exception.

    Args:
        trainers: one; or, with a stack, those whose engines are in it.
    """
    for trainer in trainers:
        trainer.last = trainer.engine.snapshot()
    active = [trainer for trainer in trainers if not trainer.is_finished]
    while active:
        started = time.perf_counter()
        updates = [trainer.updates(trainer.next_epoch) for trainer in active]
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # Trainer.finish_epoch reports a loss that overflows
                trained = [active[0].engine.train_epoch(updates[0])] if stack is None else stack.train_epoch(updates)
                scores = [trainer.scores() for trainer in active]
        except BaseException:  # Ctrl-C, for one
            for trainer in active:
                trainer.engine.restore_snapshot(trainer.last)
            raise
        seconds = (time.perf_counter() - started) / len(active)
        records = [
            EpochRecord(one.next_epoch, train, *rest, seconds)
            for one, train, rest in zip(active, trained, scores, strict=True)
        ]
        lost = [one for one, record in zip(active, records, strict=True) if non_finite_loss(record) is not None]
        _remove_from_stack(stack, lost)  # a diverged network is examined alone, from where it was before this epoch
        for trainer, record in zip(active, records, strict=True):
            try:
                trainer.finish_epoch(record)
            except DivergenceError as error:
                trainer.should_stop = True
                yield trainer, error
            else:
                yield trainer, record
        _remove_from_stack(stack, [trainer for trainer in active if trainer.is_finished and trainer not in lost])
        active = [trainer for trainer in active if not trainer.is_finished]


def _remove_from_stack(stack: TorchStack | None, trainers: Sequence[Trainer]) -> None:
    if stack is not None:
        stack.remove([cast("StackedEngine", trainer.engine) for trainer in trainers])


def run_trainers(
    trainings: Mapping[Trainer, Sequence[EpochCallback]],
    on_end: Callable[[Trainer, Run | DivergenceError], None],
    stack: TorchStack | None = None,
) -> None:
    """Train until every network is finished, and hand over each as soon as it is.

    Args:
        trainings: each trainer with its callbacks. Early stopping and the best weights are callbacks too, called first.
        on_end: called with a trainer and its run. A divergence has the run with the best weights before it, or the last
            ones without validation samples.

    Raises:
        ConfigError: early stopping without validation samples.
    """
    best = {trainer: BestWeights(trainer) for trainer in trainings}
    for trainer in trainings:
        if trainer.is_finished:
            on_end(trainer, best[trainer].run())
    for trainer, record in train_epochs(list(trainings), stack):
        if isinstance(record, DivergenceError):
            record.run = best[trainer].best_run() if trainer.history else None
            on_end(trainer, record)
            continue
        best[trainer](record)
        for callback in trainings[trainer]:
            callback(record)
        if trainer.is_finished:
            on_end(trainer, best[trainer].run())


def run_epochs(trainer: Trainer, *callbacks: EpochCallback, start: Checkpoint | None = None) -> Run:
    """Train one network to its end, or until early stopping ends it.

    Args:
        callbacks: called with each epoch's record, in their order; one may raise to stop.
        start: the checkpoint to resume from, of the same data, splits and recipe.

    Raises:
        ConfigError: early stopping without validation samples.
        DivergenceError: a loss is no longer finite; see `run_trainers` for its `run`.
    """
    if start is not None:
        trainer.load_checkpoint(start)
    ends: list[Run | DivergenceError] = []
    run_trainers({trainer: callbacks}, lambda _, end: ends.append(end))
    if isinstance(ends[0], DivergenceError):
        raise ends[0]
    return ends[0]


class BestWeights(Callback):
    """Remembers the best epoch by the recipe's monitor, and stops the training when patience ends.

    It starts from the trainer's history, which a checkpoint may have brought.
    """

    def __init__(self, trainer: Trainer) -> None:
        config = trainer.recipe.stopping
        has_valid = len(trainer.splits.valid) > 0
        if config.stop_early and not has_valid:
            raise ConfigError(
                f"stop_early watches {config.monitor}, but there are no validation samples. Give valid_size "
                "(--valid), or stop_early=False (--no-stop-early)."
            )
        self._trainer, self._config = trainer, config
        self._stopping = EarlyStopping(config) if has_valid else None
        if self._stopping is not None and trainer.history:
            best = [record.epoch for record in trainer.history if self._stopping.update(record)]
            if trainer.best is None:  # the last epoch is the best, or no better one was kept
                trainer.best = len(trainer.history), trainer.last
            else:
                trainer.best = best[-1], trainer.best[1]
            self._stop()

    def on_epoch_end(self, record: EpochRecord) -> None:
        if self._stopping is not None:
            if self._stopping.update(record):
                self._trainer.best = record.epoch, self._trainer.last
            self._stop()

    def _stop(self) -> None:
        if self._config.stop_early and self._stopping is not None and self._stopping.should_stop:
            self._trainer.should_stop = True

    def best_run(self) -> Run:
        """Return the run with the best epoch's weights, or the last's where no epoch has validation scores."""
        run, best = self._trainer.run(), self._trainer.best
        return run if best is None else replace(run, network=self._trainer.network(best[1]), kept_epoch=best[0])

    def run(self) -> Run:
        """Return the run with the weights that the recipe keeps."""
        return self.best_run() if self._config.stop_early and self._config.restore_best else self._trainer.run()


def flat_fields(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return the name and value of each field of a recipe, in the order of its sections."""
    return [item for section in SECTIONS for item in vars(getattr(recipe, section)).items()]


def non_finite_loss(record: EpochRecord) -> tuple[str, float] | None:
    """Return the first part of an epoch whose loss is not finite, and that loss; or None."""
    losses = ((split, scores.loss) for split in SPLITS if (scores := record.scores(split)) is not None)
    return next(((split, loss) for split, loss in losses if not math.isfinite(loss)), None)


def shuffled_windows(n: int, window: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """0..n in windows of consecutive numbers, the windows in random order and each shuffled."""
    if n <= window:
        yield rng.permutation(n)
        return
    for start in window * rng.permutation(-(-n // window)):
        yield start + rng.permutation(min(window, n - start))


def image_shape(data: Dataset) -> tuple[int, int] | None:
    """(H, W) of a data set of images, None of one of rows."""
    shape: tuple[Any, ...] = data.inputs.shape[1:]
    return (int(shape[0]), int(shape[1])) if data.is_images else None
