"""Train the runs of a study: one with checkpoints in the study's folder, or several in a stack on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.atomic import write_bytes
from chalknet.artifacts.checkpoint import CheckpointSchedule, checkpoint_bytes, read_checkpoint
from chalknet.artifacts.model_file import model_bytes
from chalknet.artifacts.sample_losses import compact_losses
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.errors import ChalknetError, ConfigError, OutputError, StoppedError, StoreError
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.facts import machine_facts
from chalknet.records import EpochRecord
from chalknet.studies.configurations import RunKey
from chalknet.studies.run_checkpoints import StopRequest, checkpoint_path, run_lock
from chalknet.studies.run_output import SCORED, RunOutput, epoch_list
from chalknet.studies.search_space import configuration_splits, study_splits
from chalknet.training.callbacks import Callback, EpochCallback
from chalknet.training.joint_training import StackEpochCallback, train_jointly
from chalknet.training.trainer import Checkpoint, Run, Trainer, describe_backend, device_of, run_epochs
from chalknet.version import __version__

ROWS_AT_ONCE = 4096  # number of samples to predict at a time


class RunCheckpoint(Callback):
    """Writes the checkpoint of an unfinished run, from which any worker can resume it.

    A worker keeps checkpoints if it sees the study's folder, on this machine or on another that
    shares it. A checkpoint that cannot be written or read, or that belongs to another recipe, split
    or data, costs time and nothing else.

    Args:
        folder: the folder for checkpoints. If it does not exist, none are written.
        run_key: the run.
        trainer: trains the run.
        must_stop: called after each epoch and between updates. If it returns True, a checkpoint is
            written and StoppedError is raised.
        n_networks: how many networks are trained at the same time.
    """

    def __init__(
        self,
        folder: Path,
        run_key: RunKey,
        trainer: Trainer,
        must_stop: StopRequest | None = None,
        n_networks: int = 1,
    ) -> None:
        """Create a callback for one run; see the class for the arguments."""
        self._path = checkpoint_path(folder, run_key)
        self._trainer, self._must_stop, self._is_kept = trainer, must_stop or StopRequest(), folder.is_dir()
        self._schedule = CheckpointSchedule(n_networks=n_networks)

    def read(self) -> Checkpoint | None:
        """Return where to resume, or None if there is no usable checkpoint of this training."""
        with suppress(StoreError):
            if self._is_kept and self._path.is_file():
                return read_checkpoint(self._path, self._trainer.digests)
        return None

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Write a checkpoint if one is due.

        Raises:
            StoppedError: training must stop.
        """
        must_stop = self._must_stop()
        self.keep(at_once=must_stop)
        if must_stop:
            raise StoppedError(f"stopped after epoch {record.epoch}")

    def between_updates(self) -> None:
        """Write a checkpoint if one is due; raises as `on_epoch_end`."""
        must_stop = self._must_stop()
        if must_stop or self.is_due_within_epoch():
            self.write(within_epoch=True)
        if must_stop:
            raise StoppedError("stopped between two updates")

    def is_due_within_epoch(self) -> bool:
        """Return whether a checkpoint is due between two updates."""
        return self._is_kept and self._schedule.is_due_within_epoch()

    def keep(self, *, at_once: bool = False) -> None:
        """Count an epoch, and write a checkpoint if one is due or must be written now.

        If a stop was requested, a checkpoint is also written after the last epoch, because there may
        be no scheduler left to receive the output.
        """
        if self._schedule.is_due() or at_once or (self._must_stop.is_made and self._trainer.is_finished):
            self.write()

    def write(self, *, within_epoch: bool = False) -> None:
        """Write a checkpoint; within_epoch as for `Trainer.checkpoint`."""
        checkpoint = self._trainer.checkpoint(within_epoch=within_epoch) if self._is_kept else None
        if checkpoint is not None and checkpoint.has_progress:
            with self._schedule.measure(), suppress(OutputError):
                write_bytes(self._path, checkpoint_bytes(checkpoint))


def train_run(
    data: Dataset,
    run_key: RunKey,
    *,
    threads: int,
    concurrency: str,
    keep_model: bool = False,
    on_epoch: EpochCallback | None = None,
    checkpoints: Path | None = None,
    must_stop: StopRequest | None = None,
) -> RunOutput:
    """Train one run, and predict all validation and test samples with the kept network.

    Results do not depend on threads, since each matrix product runs on one BLAS thread.

    Args:
        data: the study's samples.
        run_key: the run.
        threads: number of threads of the engine.
        concurrency: the number of worker processes in words, for the record.
        keep_model: whether the output contains the model file.
        on_epoch: called with the record of each epoch.
        checkpoints: the folder for the run's checkpoint, from which it resumes. If it does not
            exist, no checkpoints are written. The checkpoint stays until the output is stored
            (`clear_checkpoint`).
        must_stop: as in `RunCheckpoint`.

    Raises:
        StoppedError: training must stop.
        ChalknetError: the run cannot be trained, or its loss became infinite or nan.
    """
    splits = configuration_splits(data, run_key.configuration, study_splits(data, run_key.configuration, run_key.seed))
    trainer = Trainer(
        data, splits, run_key.configuration.recipe_of(run_key.seed), workers=threads, keep_sample_scores=True
    )
    callbacks: list[EpochCallback] = [] if on_epoch is None else [on_epoch]
    if checkpoints is None:
        run = run_epochs(trainer, *callbacks)
    else:
        must_stop = must_stop or StopRequest()
        checkpoint = RunCheckpoint(checkpoints, run_key, trainer, must_stop)
        with run_lock(checkpoint_path(checkpoints, run_key), must_stop):
            run = run_epochs(trainer, *callbacks, checkpoint, start=checkpoint.read())
    return _output(run, run_key, f"{trainer.backend_description}, {concurrency}", keep_model)


class _StackCheckpoints:
    """The checkpoints of the runs in one stack.

    In each epoch, the callbacks of the runs are called one after another. After a stop request, each
    run writes one more checkpoint. Training stops when the callback of the first saved run is called
    again, because all runs are then saved. Between two updates, all runs write their checkpoints at
    once, because a stack resumes within an epoch only if all its runs have made the same updates.
    """

    def __init__(self, folder: Path, run_keys: Sequence[RunKey], must_stop: StopRequest) -> None:
        """Create the checkpoints of some runs in a folder."""
        self._folder, self._run_keys, self._must_stop = folder, run_keys, must_stop
        self._saved: set[int] = set()  # positions of runs that were saved after the stop request
        self._active: dict[Trainer, RunCheckpoint] = {}

    def resume(self, number: int, trainer: Trainer) -> list[EpochCallback]:
        """Load the checkpoint of a run, if there is one, and return the callback that writes the next."""
        checkpoint = RunCheckpoint(
            self._folder, self._run_keys[number], trainer, self._must_stop, n_networks=len(self._run_keys)
        )
        if (start := checkpoint.read()) is not None:
            trainer.load_checkpoint(start)
        self._active[trainer] = checkpoint

        def keep(record: EpochRecord) -> None:
            if not self._must_stop():
                checkpoint.keep()
            elif number in self._saved:
                raise StoppedError(f"stopped before epoch {record.epoch}")
            else:
                self._saved.add(number)
                checkpoint.keep(at_once=True)

        return [keep]

    def between_updates(self) -> None:
        """Write the checkpoints of all runs that are not finished, if they are due or training must stop.

        Raises:
            StoppedError: training must stop.
        """
        self._active = {trainer: one for trainer, one in self._active.items() if not trainer.is_finished}
        must_stop = self._must_stop()
        if must_stop or any(one.is_due_within_epoch() for one in self._active.values()):
            for checkpoint in self._active.values():
                checkpoint.write(within_epoch=True)
        if must_stop:
            raise StoppedError("stopped between two updates")


def _common_splits(data: Dataset, run_keys: Sequence[RunKey]) -> Splits:
    """Return the splits that runs have in common.

    Raises:
        ConfigError: the runs have different splits.
    """
    splits_of_runs = {
        (run_key.configuration.split_of(run_key.seed), run_key.configuration.recipe.split.train_size)
        for run_key in run_keys
    }
    if len(splits_of_runs) > 1:
        raise ConfigError("runs with different splits cannot be trained in one stack.")
    first = run_keys[0]
    return configuration_splits(data, first.configuration, study_splits(data, first.configuration, first.seed))


def train_stack(
    data: Dataset,
    run_keys: Sequence[RunKey],
    on_end: Callable[[int, RunOutput | ChalknetError], None],
    *,
    threads: int,
    concurrency: str,
    keep_model: Sequence[bool],
    on_epoch: StackEpochCallback | None = None,
    checkpoints: Path | None = None,
    must_stop: StopRequest | None = None,
) -> None:
    """Train several runs in one stack, and hand over each as soon as it is finished.

    The output of a run equals that of `train_run` to rounding, except its seconds: they are those
    of the stack divided by the number of runs.

    Args:
        data: the study's samples.
        run_keys: the runs, which have the same split.
        on_end: called with the position of a run and its output, or the error that ended it.
        threads: as in `train_run`.
        concurrency: as in `train_run`.
        keep_model: for each run, whether its output contains the model file.
        on_epoch: called with the position of a run and the record of an epoch. Calls of this and of
            `on_end` never overlap.
        checkpoints: as in `train_run`.
        must_stop: as in `train_run`.

    Raises:
        StoppedError: training must stop; every run has its checkpoint.
        ConfigError: the runs cannot be trained in one stack.
    """
    splits = _common_splits(data, run_keys)
    recipes = [run_key.configuration.recipe_of(run_key.seed) for run_key in run_keys]
    training = recipes[0].training
    description = f"{describe_backend(training, device_of(training))}, in a stack of {len(run_keys)}, {concurrency}"
    # Serializes the calls of `on_end` and `on_epoch`: this thread trains, those of the pool hand over
    # finished runs.
    lock = threading.Lock()
    pending: list[Future[None]] = []
    stop = must_stop or StopRequest()
    checkpoint = None if checkpoints is None else _StackCheckpoints(checkpoints, run_keys, stop)

    def hand_over(number: int, end: Run | ChalknetError) -> None:
        result = _output(end, run_keys[number], description, keep_model[number]) if isinstance(end, Run) else end
        with lock:
            on_end(number, result)

    def observe_epoch(number: int, record: EpochRecord) -> None:
        for one in [one for one in pending if one.done()]:
            pending.remove(one)
            one.result()  # raises an error of `on_end`
        if on_epoch is not None:
            with lock:
                on_epoch(number, record)

    # While the GPU trains, the CPU cores of this process are idle, so they predict the samples of
    # finished runs in threads. The limit of one BLAS thread is for the whole process. It is set once
    # around the pool, because the first thread to finish would otherwise lift it for the others.
    with ExitStack() as alone, one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        if checkpoints is not None:
            for run_key in run_keys:
                alone.enter_context(run_lock(checkpoint_path(checkpoints, run_key), stop))
        try:
            train_jointly(
                data,
                splits,
                recipes,
                lambda number, end: pending.append(pool.submit(hand_over, number, end)),
                on_epoch=observe_epoch,
                on_start=None if checkpoint is None else checkpoint.resume,
                on_pause=None if checkpoint is None else checkpoint.between_updates,
                threads=threads,
                keep_sample_scores=True,
            )
            for one in pending:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _output(run: Run, run_key: RunKey, trained: str, keep_model: bool) -> RunOutput:
    """Return the output of a finished training."""
    arrays: dict[str, NDArray[Any]] = {}
    split_arrays: dict[str, NDArray[Any]] = {}
    with one_blas_thread():
        for split in SCORED:
            index = run.splits.named()[split]
            split_arrays |= {
                f"{split}_index": index.astype("<i8"),
                f"{split}_labels": run.data.labels[index].astype("<i8"),
            }
            arrays |= _predictions(run, split, index)
    n_epochs, has_samples = len(run.history), len(run.splits.valid) > 0
    losses = np.stack([each.loss for each in run.valid_sample_scores]) if has_samples else np.zeros((n_epochs, 0))
    correct = (
        np.stack([each.correct for each in run.valid_sample_scores]) if has_samples else np.zeros((n_epochs, 0), bool)
    )
    arrays |= {"valid_losses": compact_losses(losses), "valid_right_bits": np.packbits(correct, axis=1)}
    record = {
        "history": [epoch_list(one) for one in run.history],
        "kept_epoch": run.kept_epoch,
        "seconds": run.seconds,
        "trained": trained,
        "machine": machine_facts(),
    }
    return RunOutput(record, arrays, split_arrays, _model_file(run, run_key) if keep_model else b"")


def _predictions(run: Run, split: str, index: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return what the kept network predicts for the samples of a split."""
    # Samples may be larger than memory. The block is a multiple of the network's own batch.
    blocks = [index[start : start + ROWS_AT_ONCE] for start in range(0, max(len(index), 1), ROWS_AT_ONCE)]
    probabilities = np.concatenate([run.network.predict_proba(run.data.inputs[block]) for block in blocks])
    rows, predicted = np.arange(len(index)), probabilities.argmax(axis=1)
    return {
        f"{split}_predicted": predicted.astype("<i4"),
        f"{split}_confidence": probabilities[rows, predicted].astype("<f4"),
        f"{split}_true_probability": probabilities[rows, run.data.labels[index]].astype("<f4"),
    }


def _model_file(run: Run, run_key: RunKey) -> bytes:
    """Return the model file of the kept network, with the facts of its training."""
    facts = {
        "chalknet": __version__,
        "recipe": run.recipe.name,
        "configuration": run_key.configuration.label,
        "seed": run_key.seed,
        "samples": run.splits.sizes,
        "epochs": len(run.history),
        "kept": run.kept_epoch,
        "data_sha256": run.data.sha256,
    }
    return model_bytes(run.network, facts)
