"""`Trainer`, the training loop as an iterator of epochs, and `run_epochs`, which runs it."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from chalknet.config import FULL, MAX_WORKERS, SAME_AS_SEED, SECTIONS, Recipe, TrainingConfig, with_former_names
from chalknet.data.augment import augmenter_for
from chalknet.data.dataset import Dataset, arrays_sha256
from chalknet.data.image_facts import ImageFacts, image_facts
from chalknet.data.on_disk import OnDiskSamples, OnDiskSplit
from chalknet.data.preprocess import MAX_QUANTILE_SAMPLES, Scaling, fit_scaling, flatten
from chalknet.data.splits import Splits
from chalknet.data.tables.frames import pandas_frame, polars_frame
from chalknet.data.tables.rows import TableRows
from chalknet.engines.batches import batch_size
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
from chalknet.engines.scores import EpochScores
from chalknet.engines.sharded import ShardedEngine, Shards, check_shards
from chalknet.errors import ConfigError, DivergenceError, MissingExtraError
from chalknet.formatting import count_of, duration, quoted
from chalknet.network.architecture import Architecture, architecture_for
from chalknet.network.initializers import fit_parameters, initial_parameters
from chalknet.network.layer import Parameters
from chalknet.network.model import Ensemble, Network
from chalknet.network.objective import Objective
from chalknet.network.optimizers import AVERAGE, Step, optimizer_for
from chalknet.records import SPLITS, EpochRecord, Scores, history_columns
from chalknet.training.callbacks import AllCallbacks, Callback
from chalknet.training.callbacks import EpochCallback as EpochCallback  # an export too
from chalknet.training.divergence import (
    MAX_SAMPLES,
    divergence_error,
    last_finite_update,
    outlying_input,
    outlying_input_error,
)
from chalknet.training.run_view import run_html
from chalknet.training.sample_weights import relative_weights, training_weights
from chalknet.training.schedules import learning_rate_multiplier, regularization_multiplier
from chalknet.training.stopping import EarlyStopping
from chalknet.version import install_command

if TYPE_CHECKING:
    from chalknet.data.tables.frames import PandasFrame, PolarsFrame
    from chalknet.engines.torch_engine import StackedEngine, TorchStack

REPORT_SECONDS = 1.0  # between two reports of the progress within an epoch
PAUSE_SECONDS = 0.1  # between two calls of `Callback.between_updates`
MAX_FITTED_VALUES = 2**24  # of the samples from which layers compute parameters, such as edges of bins

ENGINES: dict[str, EngineFactory] = {"numpy": NumpyEngine, "reference": ReferenceEngine}


def engine_factory(training: TrainingConfig) -> EngineFactory:
    """Return the engine class that a recipe names.

    Raises:
        MissingExtraError: the recipe uses the torch engine, and PyTorch is not installed.
        ConfigError: the device is not available.
    """
    if training.engine != "torch":
        return ENGINES[training.engine]
    device_of(training)
    from chalknet.engines.torch_engine import TorchEngine

    return TorchEngine


def device_of(training: TrainingConfig) -> str:
    """Return the device of a recipe's engine, "cpu" or "cuda"; errors as for `engine_factory`."""
    return "cpu" if training.engine != "torch" else str(_torch_device(training)[0].type)


def gpu_bytes(training: TrainingConfig) -> int:
    """Return the free memory of the GPU of a recipe's engine in bytes, or 0 for a CPU."""
    if device_of(training) == "cpu":
        return 0
    device, free_bytes = _torch_device(training)
    return int(free_bytes(device))


def _torch_device(training: TrainingConfig) -> tuple[Any, Any]:
    """Return the torch device of a recipe, and a function that returns its free memory."""
    try:
        from chalknet.engines.torch_device import free_bytes, usable_device
    except ImportError as error:
        raise MissingExtraError(f"engine torch needs PyTorch ({error}): {install_command('torch')}.") from error
    return usable_device(training.device, training.precision), free_bytes


def describe_backend(training: TrainingConfig, device: str) -> str:
    """Return a description such as "torch engine, float32 with bfloat16 products, on cpu"."""
    short = f" with {training.precision} products" if training.precision != "float32" else ""
    place = f", on {device}" if training.engine == "torch" else ""
    return f"{training.engine} engine, {training.dtype}{short}{place}"


@dataclass(frozen=True, eq=False)
class Run:
    """The result of a training: the history, the trained network, and what they were made from.

    Attributes:
        history: one `EpochRecord` per epoch.
        network: the network with the weights of the kept epoch.
        kept_epoch: number of the epoch whose weights are kept: the last one, or with early stopping
            the best one. 0 if the network was not trained.
        recipe: the complete recipe.
        data: all samples.
        splits: the indices of training, validation and test samples. For an ensemble of folds, all
            samples that are not test samples are both training and validation samples.
        seconds: wall time of all epochs.
        folder: the run's folder, or None if nothing was written.
        valid_sample_scores: the validation scores per sample after each epoch; empty if they were
            not kept.
        members: for an ensemble, the runs of its networks. The history is then the mean over these
            runs, up to the shortest.
        model_scores: the scores of `network` where they are not those of the kept epoch: for an
            ensemble those of its averaged probabilities, and for a calibrated network its validation
            and test scores. Validation scores of an ensemble of folds are out of fold: each sample
            is predicted by the networks that did not train on it.
        temperature: what the logits were divided by to calibrate them; None without `calibrate`.
        notes: what the user should know about the data and the recipe, one sentence each.
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
    model_scores: EpochRecord | None = None
    temperature: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> EpochRecord:
        """The scores of `network`: `model_scores`, or else the record of the kept epoch."""
        return self.model_scores or self.history[self.kept_epoch - 1]

    @property
    def ensemble_scores(self) -> EpochRecord | None:
        """The scores of the averaged probabilities of an ensemble; None for one network."""
        return self.model_scores if self.members else None

    def __repr__(self) -> str:
        """Return layer sizes, data source, number of epochs and last scores."""
        last = self.history[-1] if self.history else "not trained"
        return f"<Run {self.network.architecture} on {self.data.source}, {len(self.history)} epochs; last {last}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: scores, curves and the next step."""
        members = f"{count_of(len(self.members), 'network')}, each " if self.members else ""
        rows = [
            ("data", self.data.source),
            ("network", f"{members}{self.network.architecture}"),
            ("time", duration(self.seconds)),
        ]
        if 0 < self.kept_epoch < len(self.history):
            rows.append(("kept epoch", f"{self.kept_epoch} of {len(self.history)}"))
        next_step = 'chalknet.save_model(run.network, "model.safetensors")'
        if self.folder is not None:
            next_step = f"chalknet.report({str(self.folder)!r})"
        return run_html(rows, self.history, self.kept if self.history else None, next_step)

    def to_polars(self) -> PolarsFrame:
        """Return the history as a polars frame: a row per epoch, with the columns of history.csv."""
        return polars_frame(history_columns(self.history))

    def to_pandas(self) -> PandasFrame:
        """Return the history as a pandas frame: a row per epoch, with the columns of history.csv.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return pandas_frame(history_columns(self.history))


@dataclass(frozen=True, eq=False)
class UnfinishedEpoch:
    """The state of a training within the epoch after the last finished one.

    Attributes:
        scores: of the epoch's updates so far, with their number.
        parameters: arrays by name after these updates.
        state: optimizer state by "state name/parameter name" after these updates.
        seconds: wall time of these updates.
    """

    scores: EpochScores
    parameters: Parameters
    state: Parameters
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training, from which it resumes with bit-identical results.

    The order of batches follows from seed and epoch, so there is no state of a random generator.

    Attributes:
        history: the finished epochs. There is at least one, or an unfinished epoch.
        parameters: arrays by name after the last epoch.
        state: optimizer state by "state name/parameter name" after the last epoch.
        best: parameters after the best epoch, or None if the best epoch is the last one or there
            are no validation samples.
        valid_sample_scores: the validation scores per sample after each epoch, if they are kept.
        architecture: the layers, or None if an old file does not have them.
        digests: as `Trainer.digests`; empty if an old file does not have them.
        unfinished: the state within the next epoch, or None at its beginning.
    """

    history: tuple[EpochRecord, ...]
    parameters: Parameters
    state: Parameters
    best: Parameters | None
    valid_sample_scores: tuple[SampleScores, ...]
    architecture: Architecture | None
    digests: Mapping[str, str] = field(default_factory=dict)
    unfinished: UnfinishedEpoch | None = None

    @property
    def has_progress(self) -> bool:
        """Whether there is something to resume: a finished epoch or an update."""
        return bool(self.history) or self.unfinished is not None


class Trainer:
    """The training of one network; `epochs()` is the loop, and leaving it stops the training.

    for record in trainer.epochs():
        if record.valid.loss > 2: break

    Attributes:
        data: all samples.
        splits: the indices of training, validation and test samples.
        recipe: the complete recipe.
        architecture: the layers.
        scaling: from raw values to the inputs of the network, by default fitted to the training
            samples.
        engine: the engine that trains and evaluates.
        history: the finished epochs.
        valid_sample_scores: the validation scores per sample after each epoch, if they are kept.
        last: the engine's snapshot after the last finished epoch; None before `epochs` is called.
        best: number and snapshot of the best epoch, set by `BestWeights`; None without it.
        should_stop: set to True by a callback to end the training.
        on_update: called about every `REPORT_SECONDS` with the number of samples of the current epoch that
            have been trained on; or None.
        score_network: returns a score of the current network after each epoch, where greater is better;
            early stopping watches it instead of the recipe's monitor. None for the monitor.
        earlier_epochs: number of epochs of a training that this one continues with other samples.
            Batch orders continue from there; learning rate schedules start anew.
        earlier_updates: number of updates of that training. Update numbers continue from there.
        unfinished: where to continue within the next epoch, as `load_checkpoint` found it; or None.
        clock: the time of the current epoch; None before the first one.
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
        scaling: Scaling | None = None,
    ) -> None:
        """Create a trainer with initial weights.

        Args:
            data: all samples.
            splits: the indices of training, validation and test samples.
            recipe: the complete recipe.
            sample_weights: (N,) weight of each sample in the training loss, or None. Scores weigh
                samples equally.
            workers: number of threads of the engine, or None for one per core.
            keep_sample_scores: whether to keep the validation scores of each sample.
            shards: workers that hold the training samples and return gradients, or None to compute
                in this process. Results are equal up to rounding. `workers` is then the number of
                threads of each of them.
            engine: constructor of the engine; by default the engine that the recipe names.
            share_data_with: a trainer with the same data, splits and input scaling, whose samples in
                memory this one uses too.
            weigh_scores: whether validation scores weigh samples by sample_weights.
            scaling: the input scaling; None to fit it to the training samples.

        Raises:
            ConfigError: workers is out of range, or the recipe does not fit the data or the engine.
        """
        if workers is not None and not 1 <= workers <= MAX_WORKERS:
            raise ConfigError(f"workers (--workers) must be an integer from 1 to {MAX_WORKERS}, got {workers}.")
        self.data: Dataset = data
        self.splits: Splits = splits
        self.recipe: Recipe = recipe
        self.architecture: Architecture = architecture_for(recipe, data.sample_shape, data.n_classes)
        if share_data_with is not None:
            scaling = share_data_with.scaling
        self.scaling: Scaling = input_scaling(data, splits.train, recipe) if scaling is None else scaling
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
        self._split_data: dict[str, SplitData] = (
            {name: self._data_of(index) for name, index in named}
            if share_data_with is None
            else share_data_with._split_data
        )
        split_data = {**self._split_data, "train": replace(self._split_data["train"], weights=self._weights)}
        self.engine: Engine = self._make_engine(engine or self._engine_factory(), recipe.training.dtype, split_data)
        self.last: Snapshot = None
        self.best: tuple[int, Snapshot] | None = None
        self.should_stop = False
        self.on_update: Callable[[int], None] | None = None
        self.score_network: Callable[[], float] | None = None
        self.earlier_epochs = self.earlier_updates = 0
        self.unfinished: UnfinishedEpoch | None = None
        self.clock: EpochClock | None = None
        self.earlier_seconds: float = 0.0  # of this epoch, before an interruption

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch, up to the recipe's number, and yield the record of each.

        Raises:
            DivergenceError: a loss is not finite. The trainer then has the state after the epoch
                before.
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
        """Return the validation and test scores of the current weights, None for an empty split."""
        valid = self.engine.evaluate("valid")
        if valid is not None and self._valid_weights is not None:
            each = self.engine.evaluate_samples("valid")
            assert each is not None, "a split with scores has scores of each sample"
            loss, accuracy = (float(np.average(one, weights=self._valid_weights)) for one in (each.loss, each.correct))
            valid = replace(valid, loss=loss, accuracy=accuracy)
        return valid, self.engine.evaluate("test")

    def finish_epoch(self, record: EpochRecord) -> None:
        """Add an epoch that the engine has trained, if its losses are finite.

        Raises:
            DivergenceError: a loss is not finite; see `epochs`.
        """
        split, loss = non_finite_loss(record) or ("", 0.0)
        if split in ("valid", "test"):
            outlier = outlying_input(self.data, self.splits.named()[split], split, self.scaling)
            if outlier is not None:
                self.engine.restore_snapshot(self.last)
                raise outlying_input_error(loss, record.epoch, outlier, self.data)
        if split:
            raise self._explain_divergence(loss, record.epoch, self.updates(record.epoch), self.last)
        each = self.engine.evaluate_samples("valid") if self._keep_samples else None
        self.last = self.engine.snapshot()
        self.history.append(record)
        if each is not None:
            self.valid_sample_scores.append(each)

    def updates(self, epoch: int) -> Iterator[Update]:
        """Yield the updates of an epoch: each batch with its update number, learning rate and multipliers."""
        recipe, rate, per_epoch = self.recipe, self.recipe.optimizer.learning_rate, self.updates_per_epoch
        n_updates, schedule = recipe.training.epochs * per_epoch, recipe.schedule
        schedules = recipe.optimizer.weight_decay_schedule, recipe.regularization.dropout_schedule
        # What does not change is not computed for each update, because microseconds count in small networks.
        changes_rate = schedule.schedule != "constant" or schedule.warmup_epochs > 0
        changes_regularization = schedules != ("constant", "constant")
        factor, multipliers = 1.0, (1.0, 1.0)
        first = (epoch - self.earlier_epochs - 1) * per_epoch
        for number, batch in enumerate(self.batches(epoch), start=first):
            if changes_rate:
                factor = learning_rate_multiplier(schedule, number, n_updates, per_epoch)
            if changes_regularization:
                decay, dropout = (regularization_multiplier(one, number, n_updates) for one in schedules)
                multipliers = decay, dropout
            yield Update(batch, Step(self.earlier_updates + number + 1, rate * factor, *multipliers))

    def observed_updates(
        self, epoch: int, start: EpochScores | None = None, on_pause: Callable[[], None] | None = None
    ) -> Iterator[Update]:
        """Yield the updates of an epoch, and call functions between two of them.

        `on_update` is called about every `REPORT_SECONDS`.

        Args:
            epoch: number of the epoch.
            start: the scores of the epoch's earlier updates, which are left out; None for a whole epoch.
            on_pause: called about every `PAUSE_SECONDS`, or None.
        """
        updates, n_samples = self.updates(epoch), 0
        if start is not None:
            updates, n_samples = islice(updates, start.n_updates, None), start.n_samples
        report = self.on_update
        if report is None and on_pause is None:
            yield from updates
            return
        now, is_first = time.perf_counter(), True
        next_report, next_pause = now + REPORT_SECONDS, now + PAUSE_SECONDS
        for update in updates:
            now = time.perf_counter()
            if report is not None and now >= next_report and not is_first:
                report(n_samples)
                next_report = time.perf_counter() + REPORT_SECONDS
            if on_pause is not None and now >= next_pause and not is_first:
                on_pause()
                next_pause = time.perf_counter() + PAUSE_SECONDS
            is_first = False
            yield update
            n_samples += batch_size(update.batch)

    @property
    def next_epoch(self) -> int:
        """The number of the epoch after the last finished one."""
        return self.earlier_epochs + len(self.history) + 1

    @property
    def updates_per_epoch(self) -> int:
        """The number of batches per epoch."""
        n_train, size = len(self.splits.train), self.recipe.training.batch_size
        return 1 if size == FULL else -(-n_train // int(size))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the positions in the training split of each batch of an epoch.

        A full batch has the samples in their own order. Mini-batches are consecutive parts of an
        order that depends only on seed and epoch, so a resumed training has the same batches. The
        order is a permutation of windows of `shuffle_window` consecutive samples, with the samples
        of each window permuted; this keeps reads from disk local.
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
        """A description of engine, float type and device."""
        return describe_backend(self.recipe.training, self.engine.device)

    def _explain_divergence(
        self, loss: float, epoch: int, updates: Iterable[Update], before: Snapshot
    ) -> DivergenceError:
        """Return the error for an epoch whose loss is not finite, and restore the engine's state.

        Args:
            loss: the loss that is not finite.
            epoch: number of the epoch.
            updates: the updates of the epoch.
            before: the engine's snapshot from the start of the epoch.
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
        """Return the network with its current weights; later epochs do not change it.

        Args:
            of: a snapshot of the engine whose weights are used instead.
        """
        return Network(
            architecture=self.architecture,
            parameters=self.engine.evaluation_parameters(of),
            class_names=self.data.class_names,
            scaling=self.scaling,
            image_shape=image_shape(self.data),
            input_names=self.data.input_names,
            encoding=self.data.encoding,
            image_facts=self._image_facts,
        )

    @cached_property
    def _image_facts(self) -> ImageFacts | None:
        return image_facts(self.data.inputs, self.splits.train) if self.data.is_images else None

    def checkpoint(self, *, within_epoch: bool = False) -> Checkpoint:
        """Return the state after the last finished epoch, for `load_checkpoint`.

        Args:
            within_epoch: whether to add the state after the updates of the current epoch, which is
                known in `Callback.between_updates` only. It is left out if it is not finite.
        """
        engine, best = self.engine, None
        if self.best is not None and self.best[0] != len(self.history):
            best = engine.evaluation_parameters(self.best[1])
        return Checkpoint(
            tuple(self.history),
            engine.parameters(self.last),
            engine.state(self.last),
            best,
            tuple(self.valid_sample_scores),
            self.architecture,
            self.digests,
            self._unfinished_epoch() if within_epoch else None,
        )

    def _unfinished_epoch(self) -> UnfinishedEpoch | None:
        """Return the state within the current epoch; None if it is not finite or the epoch has no update yet."""
        scores, parameters = self.engine.epoch_scores(), self.engine.parameters()
        arrays_are_finite = all(np.isfinite(value).all() for value in parameters.values())
        if not (scores.n_updates and scores.is_finite and arrays_are_finite):
            return None
        return UnfinishedEpoch(scores, parameters, self.engine.state(), self.epoch_seconds())

    def epoch_seconds(self) -> float:
        """Return the time of the current epoch so far, with its time before an interruption."""
        return self.earlier_seconds + (0.0 if self.clock is None else self.clock.seconds())

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digests of the recipe, the splits, the data and the weights.

        A training can only be resumed with equal digests. Fields with default values are left out,
        so that adding a field to recipes changes no digest.
        """
        fields = with_former_names(dict(flat_fields(self.recipe)))
        defaults = with_former_names(dict(flat_fields(Recipe())))
        changed = [(name, value) for name, value in fields.items() if value != defaults[name]]
        found = {
            "recipe": hashlib.sha256(repr(changed).encode()).hexdigest(),
            "splits": arrays_sha256(*self.splits.named().values()),
            # With the labels, because the same file can be read with another label column.
            "data": f"{self.data.sha256} {arrays_sha256(self.data.labels)}",
        }
        return found if self._weights is None else found | {"sample weights": arrays_sha256(self._weights)}

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Restore the state of a trainer with the same data, splits and recipe.

        Raises:
            ConfigError: the checkpoint is from a network with other layers, or from another training.
                The trainer is then unchanged.
        """
        if checkpoint.architecture not in (None, self.architecture):
            raise ConfigError(
                f"the checkpoint is from a network with other layers ({checkpoint.architecture}) than the recipe's "
                f"({self.architecture}). Resume with the recipe that it was trained with."
            )
        n_epochs, n_valid = len(checkpoint.history), len(self.splits.valid)
        has_others = any(each.loss.shape != (n_valid,) for each in checkpoint.valid_sample_scores)
        if (
            n_epochs > self.recipe.training.epochs
            or has_others
            or checkpoint.state.keys() != self.engine.state().keys()
        ):
            raise ConfigError(
                f"the checkpoint is from another training: it has {count_of(n_epochs, 'epoch')} and the "
                f"optimizer state {quoted(sorted({name.partition('/')[0] for name in checkpoint.state}))}. "
                "Resume with the recipe and the data that it was trained with."
            )
        unfinished = checkpoint.unfinished
        if unfinished is not None and not (
            unfinished.scores.n_updates < self.updates_per_epoch
            and unfinished.scores.n_samples < len(self.splits.train)
            and unfinished.state.keys() == checkpoint.state.keys()
        ):
            raise ConfigError(
                f"the checkpoint is from another training: {count_of(unfinished.scores.n_updates, 'update')} of "
                f"{self.updates_per_epoch} are made in its epoch. Resume with the recipe and the data that it was "
                "trained with."
            )
        best, before = None, self.engine.snapshot()
        try:
            if checkpoint.best is not None:
                averages = {f"{AVERAGE}/{name}": one for name, one in checkpoint.best.items()}
                self.engine.restore(checkpoint.best, averages)
                best = 0, self.engine.snapshot()  # `BestWeights` finds the epoch number in the history
            self.engine.restore(checkpoint.parameters, checkpoint.state)
        except BaseException:
            self.engine.restore_snapshot(before)
            raise
        self.best = best
        self.last = self.engine.snapshot()
        self.unfinished = unfinished
        self.history = list(checkpoint.history)
        self.valid_sample_scores = list(checkpoint.valid_sample_scores)
        self._keep_samples = self._keep_samples and len(self.valid_sample_scores) == len(self.history)

    def run(self) -> Run:
        """Return the result so far, with the current weights."""
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
        regularization = self.recipe.regularization
        return Objective(self.recipe.optimizer.reduction, regularization.label_smoothing, regularization.l2)

    @cached_property
    def _initial_parameters(self) -> Parameters:
        found = initial_parameters(self.architecture, self.recipe.training.seed, self.recipe.network.initializer)
        if not any(layer.is_fitted for layer in self.architecture.layers):
            return found
        train = self.splits.train
        n_most = max(1, min(MAX_QUANTILE_SAMPLES, MAX_FITTED_VALUES // self.architecture.n_inputs))
        some = train[:: max(1, -(-len(train) // n_most))]
        return fit_parameters(self.architecture, found, self.scaling(flatten(self.data.inputs[some]), np.float64))

    def _make_engine(self, factory: EngineFactory, dtype: str, splits: Mapping[str, SplitData]) -> Engine:
        recipe, training = self.recipe, self.recipe.training
        spec = EngineSpec(
            architecture=self.architecture,
            parameters=self._initial_parameters,
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

    def _data_of(self, index: NDArray[np.int64]) -> SplitData:
        inputs, labels = self.data.inputs, self.data.labels[index]
        if isinstance(inputs, OnDiskSamples):
            small = np.min_scalar_type(self.data.n_classes - 1)  # labels are held whatever the number of samples
            return SplitData(OnDiskSplit(inputs, index, self.recipe.training.shuffle_window), labels.astype(small))
        return SplitData(inputs.take(index) if isinstance(inputs, TableRows) else flatten(inputs)[index], labels)

    def _reference_engine(self, update: Update) -> ReferenceEngine:
        """Return a float64 reference engine with at most `MAX_SAMPLES` samples of an update."""
        batch = update.batch if isinstance(update.batch, slice) else np.asarray(update.batch)
        index = self.splits.train[batch][:MAX_SAMPLES]
        weights = None if self._weights is None else self._weights[batch][:MAX_SAMPLES]
        train = SplitData(flatten(self.data.inputs[index]), self.data.labels[index], weights)
        engine = self._make_engine(ReferenceEngine, "float64", {"train": train})
        assert isinstance(engine, ReferenceEngine)
        return engine


class EpochClock:
    """The wall time of an epoch without its pauses, divided by the number of networks.

    The trainers of a stack share a clock. It has no reference to them, so that their memory is freed
    as soon as they are no longer used.
    """

    def __init__(self, n_networks: int) -> None:
        """Start the clock."""
        self._n_networks, self._started = n_networks, time.perf_counter()

    def pause(self, work: Callable[[], None]) -> None:
        """Call a function, whose time does not count."""
        begun = time.perf_counter()
        work()
        self._started += time.perf_counter() - begun

    def seconds(self) -> float:
        """Return the time since the clock was started."""
        return (time.perf_counter() - self._started) / self._n_networks


def train_epochs(
    trainers: Sequence[Trainer], stack: TorchStack | None = None, on_pause: Callable[[], None] | None = None
) -> Iterator[tuple[Trainer, EpochRecord | DivergenceError]]:
    """Train one network, or several in a stack, epoch by epoch, and yield each finished epoch.

    A finished network leaves the loop and its stack. A divergence is yielded instead of raised,
    because it ends only its own network; the trainer then has the state after the epoch before.
    If another exception interrupts an epoch, all trainers have the state after the epoch before.

    Args:
        trainers: one trainer, or with a stack those whose engines are in it.
        stack: the stack of the engines, or None for a single network.
        on_pause: called between two updates, about every `PAUSE_SECONDS`. All networks have then made
            the same updates of their epochs.
    """
    for trainer in trainers:
        trainer.last = trainer.engine.snapshot()
    active = [trainer for trainer in trainers if not trainer.is_finished]
    while active:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # Trainer.finish_epoch reports a loss that overflows
                trained = _train_epoch(active, stack, on_pause)
                scores = [trainer.scores() for trainer in active]
        except BaseException:  # Ctrl-C too
            for trainer in active:
                trainer.engine.restore_snapshot(trainer.last)
            raise
        seconds = [one.epoch_seconds() for one in active]
        records = [
            EpochRecord(one.next_epoch, train, *rest, of_one)
            for one, train, rest, of_one in zip(active, trained, scores, seconds, strict=True)
        ]
        lost = [one for one, record in zip(active, records, strict=True) if non_finite_loss(record) is not None]
        # `finish_epoch` repeats the updates of a diverged network to explain the divergence. The
        # others must not take part in that, so the network leaves the stack first.
        _remove_from_stack(stack, lost)
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


def _train_epoch(
    active: Sequence[Trainer], stack: TorchStack | None, on_pause: Callable[[], None] | None
) -> list[Scores]:
    """Make all updates of the next epoch of each network, or those that a checkpoint left, and return the scores."""
    starts = _take_unfinished(active)
    clock = EpochClock(len(active))
    for trainer, start in starts.items():
        trainer.clock, trainer.earlier_seconds = clock, 0.0 if start is None else start.seconds
    first = active[0]
    found = [None if start is None else start.scores for start in starts.values()]
    # The first network's iterator is asked first for the next update, when no network has made it yet.
    pauses = [None if on_pause is None else partial(clock.pause, on_pause), *[None] * (len(active) - 1)]
    updates = [
        one.observed_updates(one.next_epoch, start, pause)
        for one, start, pause in zip(active, found, pauses, strict=True)
    ]
    if stack is None:
        return [first.engine.train_epoch(updates[0], found[0])]
    before = [start for start in found if start is not None]
    return stack.train_epoch(updates, before or None)


def _take_unfinished(active: Sequence[Trainer]) -> dict[Trainer, UnfinishedEpoch | None]:
    """Restore the state within the epoch that checkpoints have, and return it for each network.

    The networks of a stack make the same updates. If their checkpoints are from different updates,
    because the process was killed while it wrote them, all networks begin their epochs anew.
    """
    starts = {trainer: trainer.unfinished for trainer in active}
    for trainer in active:
        trainer.unfinished = None
    if len({0 if start is None else start.scores.n_updates for start in starts.values()}) > 1:
        return dict.fromkeys(active)
    for trainer, start in starts.items():
        if start is not None:
            trainer.engine.restore(start.parameters, start.state)
    return starts


def _remove_from_stack(stack: TorchStack | None, trainers: Sequence[Trainer]) -> None:
    if stack is not None:
        stack.remove([cast("StackedEngine", trainer.engine) for trainer in trainers])


def run_trainers(
    trainings: Mapping[Trainer, Sequence[EpochCallback]],
    on_end: Callable[[Trainer, Run | DivergenceError], None],
    stack: TorchStack | None = None,
    on_pause: Callable[[], None] | None = None,
) -> None:
    """Train until every network is finished.

    Args:
        trainings: each trainer with its callbacks. `BestWeights` is called before them.
        on_end: called with a trainer and its run as soon as it is finished. A `DivergenceError` has
            the run with the best weights before it, or without validation samples the last ones.
        stack: the stack of the trainers' engines, or None for a single network.
        on_pause: as in `train_epochs`. Without a stack, `Callback.between_updates` of the callbacks is
            called instead.

    Raises:
        ConfigError: early stopping is on, and there are no validation samples.
    """
    best = {trainer: BestWeights(trainer) for trainer in trainings}
    for trainer, callbacks in trainings.items():
        receivers = [one for one in callbacks if isinstance(one, Callback)]
        if stack is None and receivers:
            trainer.on_update = AllCallbacks(receivers).on_update
            on_pause = AllCallbacks(receivers).between_updates
        if trainer.is_finished:
            on_end(trainer, best[trainer].run())
    for trainer, record in train_epochs(list(trainings), stack, on_pause):
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
    """Train one network for all epochs of the recipe, or until it stops early.

    Args:
        trainer: the trainer of the network.
        *callbacks: called with the record of each epoch, in their order. An exception from a
            callback stops the training and is passed on.
        start: the checkpoint to resume from, of the same data, splits and recipe; or None.

    Raises:
        ConfigError: early stopping is on, and there are no validation samples.
        DivergenceError: a loss is not finite. Its `run` is described in `run_trainers`.
    """
    if start is not None:
        trainer.load_checkpoint(start)
    ends: list[Run | DivergenceError] = []
    run_trainers({trainer: callbacks}, lambda _, end: ends.append(end))
    if isinstance(ends[0], DivergenceError):
        raise ends[0]
    return ends[0]


class BestWeights(Callback):
    """A callback that keeps the best weights by the recipe's monitor, and stops training early.

    It starts from the history of the trainer, which is not empty after `load_checkpoint`.
    """

    def __init__(self, trainer: Trainer) -> None:
        """Create the callback of a trainer.

        Raises:
            ConfigError: early stopping is on, and there are no validation samples.
        """
        config = trainer.recipe.stopping
        has_valid = len(trainer.splits.valid) > 0
        if config.stop_early and not has_valid:
            raise ConfigError(
                f"stop_early watches {config.monitor}, but there are no validation samples. Give valid_size "
                "(--valid), or stop_early=False (--no-stop-early)."
            )
        self._trainer, self._config = trainer, config
        self._stopping = EarlyStopping(config, trainer.recipe.training.epochs) if has_valid else None
        if self._stopping is not None and trainer.history:
            best = [record.epoch for record in trainer.history if self._stopping.update(record)]
            if trainer.best is None:  # the checkpoint has no separate best weights: the last are the best
                trainer.best = len(trainer.history), trainer.last
            else:
                trainer.best = best[-1], trainer.best[1]
            self._stop()

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Keep the weights of an epoch that is the best so far."""
        if self._stopping is not None:
            score = None if self._trainer.score_network is None else self._trainer.score_network()
            if self._stopping.update(record, score):
                self._trainer.best = record.epoch, self._trainer.last
            self._stop()

    def _stop(self) -> None:
        if self._config.stop_early and self._stopping is not None and self._stopping.should_stop:
            self._trainer.should_stop = True

    def best_run(self) -> Run:
        """Return the run with the best weights, or without validation samples the last weights."""
        run, best = self._trainer.run(), self._trainer.best
        return run if best is None else replace(run, network=self._trainer.network(best[1]), kept_epoch=best[0])

    def run(self) -> Run:
        """Return the run with the best or the last weights, as the recipe says."""
        return self.best_run() if self._config.stop_early and self._config.restore_best else self._trainer.run()


def input_scaling(data: Dataset, index: NDArray[np.int64], recipe: Recipe) -> Scaling:
    """Return the input scaling of a recipe, fitted to the samples at these positions."""
    found = fit_scaling(
        recipe.network.input_scaling, data.inputs, index, data.is_images, may_be_missing=data.encoding is not None
    )
    return found.without_groups(recipe.network.category_inputs, data.n_inputs)


def flat_fields(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return the name and value of each field of a recipe, in the order of its sections."""
    return [item for section in SECTIONS for item in vars(getattr(recipe, section)).items()]


def non_finite_loss(record: EpochRecord) -> tuple[str, float] | None:
    """Return the first split of an epoch whose loss is not finite, with that loss; or None."""
    losses = ((split, scores.loss) for split in SPLITS if (scores := record.scores(split)) is not None)
    return next(((split, loss) for split, loss in losses if not math.isfinite(loss)), None)


def shuffled_windows(n: int, window: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield 0..n - 1 in windows of consecutive numbers: windows in random order, each shuffled."""
    if n <= window:
        yield rng.permutation(n)
        return
    for start in window * rng.permutation(-(-n // window)):
        yield start + rng.permutation(min(window, n - start))


def image_shape(data: Dataset) -> tuple[int, ...] | None:
    """Return (H, W) or (H, W, 3) of images, or None for table rows."""
    return data.sample_shape if data.is_images else None
