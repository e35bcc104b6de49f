"""Checkpoints: the state of an unfinished training, from which it resumes with bit-identical results.

`Checkpoint` itself is in `training/trainer.py`. This module turns it into the bytes of a file and
back. `CheckpointSchedule` says when to write one. `chalknet train` writes checkpoint.safetensors
into its run folder (`CheckpointCallback`). A study writes one file for each unfinished run
(`RunCheckpoint` in `studies/study_training.py`).

A checkpoint is written atomically (`atomic`), so a folder holds the previous or the new one. A
killed `chalknet train` leaves in its run folder:

- before the first checkpoint: config.toml only. The training starts again from its seed.
- between two checkpoints: the last one. The updates after it are computed again, with the same
  result, because the random draws of an update depend on its number only.
- while the final files are written: the last checkpoint and some final files. summary.json is
  renamed last, and a run counts as finished only when it exists.
- after summary.json: a finished run. The next resume deletes a checkpoint that is still there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tomli_w

from chalknet.artifacts.architecture_table import architecture_from_table, architecture_table, current_parameter_name
from chalknet.artifacts.atomic import remove_temporaries, write_files
from chalknet.artifacts.checkpoint_history import FORMAT, HEADER_KEY, MAX_HEADER
from chalknet.artifacts.run_folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    MODEL_FILE,
    REPLACEMENT,
    RUN_FILE_NAMES,
    how_to_resume,
    is_unfinished,
    resume_command,
)
from chalknet.artifacts.tensor_file import read_tensors, tensor_bytes
from chalknet.checked import checked, plain, short, strict_json
from chalknet.config import DataConfig, Recipe, config_tables, read_config
from chalknet.engines.engine import SampleScores
from chalknet.engines.parameter_layout import arrays_of_kind
from chalknet.engines.scores import EpochScores, SoftmaxTerms
from chalknet.errors import OutputError, StoppedError, StoreError
from chalknet.formatting import listed
from chalknet.network.architecture import Architecture, check_parameters
from chalknet.network.layer import Parameters
from chalknet.records import EpochRecord, checked_history
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.trainer import Checkpoint, Trainer, UnfinishedEpoch

FIRST_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 0.5, 60.0  # the first interval, and the longest one
MAX_COST = 0.03  # fraction of the time that checkpoints may take
# The arrays of a file have names such as "parameters/output.bias", which begin with their kind.
EPOCH_KINDS = ("epoch-parameters", "epoch-state", "epoch-terms")
KINDS = ("parameters", "state", "best", "valid", *EPOCH_KINDS)
FINITE_KINDS = ("parameters/", "best/", "epoch-parameters/", "epoch-terms/")
TERMS = ("true", "total", "correct")  # the arrays of `SoftmaxTerms`


class CheckpointSchedule:
    """The times at which checkpoints are written: after the first update or epoch after an interval.

    The first interval is short, so that a training that is killed every few seconds still makes
    progress. Without `seconds`, the interval starts at `FIRST_INTERVAL_SECONDS` and doubles up to
    `MAX_INTERVAL_SECONDS`. If writing a checkpoint takes more than the fraction `MAX_COST` of an
    interval, the next interval is lengthened until it takes that fraction.

    Args:
        seconds: a fixed interval instead; 0 for a checkpoint after every epoch, and about every
            `PAUSE_SECONDS` within an epoch.
        epochs: the largest number of epochs between two checkpoints, or None.
        n_networks: number of networks that are trained at once. Each has its own schedule.
    """

    def __init__(self, seconds: float | None = None, epochs: int | None = None, n_networks: int = 1) -> None:
        """Start the first interval now."""
        self._fixed, self._epochs, self._n_networks = seconds, epochs, n_networks
        self.seconds: float = FIRST_INTERVAL_SECONDS if seconds is None else seconds
        self._last, self._since = time.monotonic(), 0

    def is_due(self) -> bool:
        """Count a finished epoch, and return whether a checkpoint is due after it."""
        self._since += 1
        return self.is_due_within_epoch() or (self._epochs is not None and self._since >= self._epochs)

    def is_due_within_epoch(self) -> bool:
        """Return whether a checkpoint is due between two updates."""
        return time.monotonic() - self._last >= self.seconds

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure how long the checkpoint written inside takes, and choose the next interval."""
        started = time.monotonic()
        yield
        self._last, self._since = time.monotonic(), 0
        if self._fixed is None:
            self.seconds = max(
                min(2 * self.seconds, MAX_INTERVAL_SECONDS), (self._last - started) * self._n_networks / MAX_COST
            )


class CheckpointCallback(Callback):
    """A callback that writes checkpoints of a training into its run folder.

    Args:
        trainer: the trainer whose state is written.
        context: the training and its run folder.
        seconds: see `CheckpointSchedule`.
        epochs: see `CheckpointSchedule`.
        must_stop: called after each epoch and between updates. If it returns True, a checkpoint is
            written and `StoppedError` is raised.
    """

    def __init__(
        self,
        trainer: Trainer,
        context: RunContext,
        *,
        seconds: float | None = None,
        epochs: int | None = None,
        must_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Create the callback; nothing is written yet."""
        assert context.folder is not None, "a training without a folder writes no checkpoints"
        self._trainer, self._context, self._folder = trainer, context, context.folder
        self._schedule = CheckpointSchedule(seconds, epochs)
        self._config = tomli_w.dumps(config_tables(context.recipe, context.origin)).encode()
        self._must_stop = must_stop or (lambda: False)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Write a checkpoint if one is due.

        Raises:
            StoppedError: must_stop returned True; a checkpoint is in the folder.
            OutputError: as `write`.
        """
        due, stop = self._schedule.is_due(), self._must_stop()
        if due or stop:
            self._write(self._trainer.checkpoint())
        if stop:
            self._stop(f"after epoch {record.epoch} of {self._context.recipe.training.epochs}")

    def between_updates(self) -> None:
        """Write a checkpoint if one is due; raises as `on_epoch_end`."""
        stop = self._must_stop()
        if not (stop or self._schedule.is_due_within_epoch()):
            return
        checkpoint = self._trainer.checkpoint(within_epoch=True)
        if checkpoint.has_progress:
            self._write(checkpoint)
        if stop:
            epoch, n_epochs = len(checkpoint.history) + 1, self._context.recipe.training.epochs
            made = 0 if checkpoint.unfinished is None else checkpoint.unfinished.scores.n_updates
            self._stop(f"in epoch {epoch} of {n_epochs}, after {made} of {self._trainer.updates_per_epoch} updates")

    def _write(self, checkpoint: Checkpoint) -> None:
        with self._schedule.measure():
            self.write({CHECKPOINT_FILE: checkpoint_bytes(checkpoint)})

    def _stop(self, where: str) -> NoReturn:
        raise StoppedError(f"stopped {where}. Resume with: {resume_command(self._whole_folder)}")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files into the run folder.

        Raises:
            OutputError: the folder cannot be written. If there is a checkpoint, the message says how to
                resume.
        """
        try:
            write_files(self._folder, files)
        except OutputError as error:
            if not (self._folder / CHECKPOINT_FILE).is_file():
                raise
            raise OutputError(
                f"{error} The last checkpoint is intact. When the problem is solved, resume with: "
                f"{how_to_resume(self._whole_folder)}"
            ) from error

    @property
    def _whole_folder(self) -> Path:
        """The folder to resume: that of the ensemble for a member, and the parent of a replacement."""
        whole = self._folder.parent.parent if self._context.n_networks > 1 else self._folder
        return whole.parent if whole.name == REPLACEMENT else whole

    def on_train_begin(self, context: RunContext) -> None:
        """Write config.toml, from which a training killed before its first checkpoint restarts.

        Temporary files of a process that was killed in this folder are removed. If the training is
        not resumed, so is the checkpoint of an earlier run.
        """
        remove_temporaries(self._folder, RUN_FILE_NAMES)
        if not context.is_resumed:
            self.clear()
        write_files(self._folder, {CONFIG_FILE: self._config})

    def on_train_end(self, error: BaseException | None) -> None:
        """Remove config.toml if nothing can be resumed: after an error, or before the first checkpoint."""
        is_over = isinstance(error, Exception) or (error is not None and not self._trainer.history)
        if is_over and not any((self._folder / name).exists() for name in (CHECKPOINT_FILE, MODEL_FILE)):
            (self._folder / CONFIG_FILE).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the checkpoint of a finished training."""
        (self._folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def refuse_unfinished(folder: Path) -> None:
    """Raise an error if a folder holds an unfinished run or ensemble.

    Raises:
        OutputError: it does; the message says how to resume it.
    """
    if is_unfinished(folder):
        raise OutputError(
            f"{folder}: holds an unfinished run. Resume it with: {how_to_resume(folder)}. To start "
            "again, give overwrite=True (--overwrite)."
        )


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of a safetensors file."""
    tensors = {f"parameters/{name}": value for name, value in checkpoint.parameters.items()}
    tensors |= {f"state/{name}": value for name, value in checkpoint.state.items()}
    tensors |= {f"best/{name}": value for name, value in (checkpoint.best or {}).items()}
    if checkpoint.valid_sample_scores:
        tensors["valid/loss"] = np.stack([each.loss for each in checkpoint.valid_sample_scores])
        tensors["valid/right"] = np.stack([each.correct for each in checkpoint.valid_sample_scores])
    header: dict[str, Any] = {"format": FORMAT, "history": [asdict(record) for record in checkpoint.history]}
    if checkpoint.unfinished is not None:
        header["epoch"], of_epoch = _unfinished_table(checkpoint.unfinished)
        tensors |= of_epoch
    header["digests"] = dict(checkpoint.digests)
    assert checkpoint.architecture is not None, "a trainer knows its architecture"
    header |= architecture_table(checkpoint.architecture)
    return tensor_bytes(tensors, HEADER_KEY, json.dumps(header), MAX_HEADER)


def _unfinished_table(unfinished: UnfinishedEpoch) -> tuple[dict[str, Any], Parameters]:
    """Return the entry of the header and the tensors for the state within an epoch."""
    scores = unfinished.scores
    entry = {
        "updates": scores.n_updates,
        "samples": scores.n,
        "sums": [float(one) for one in scores.sums],
        "seconds": unfinished.seconds,
    }
    tensors = {f"epoch-parameters/{name}": value for name, value in unfinished.parameters.items()}
    tensors |= {f"epoch-state/{name}": value for name, value in unfinished.state.items()}
    if scores.terms is not None:
        tensors |= {f"epoch-terms/{name}": getattr(scores.terms, name) for name in TERMS}
    return entry, tensors


def read_unfinished(folder: Path) -> tuple[Recipe, DataConfig]:
    """Return the recipe and the data source of an unfinished run or ensemble.

    Raises:
        StoreError: no run was started in the folder.
        ConfigError: its config.toml is invalid.
    """
    if not any((folder / name).is_file() for name in (CHECKPOINT_FILE, CONFIG_FILE)):
        raise StoreError(
            f"{folder}: holds no {CHECKPOINT_FILE} to resume from. Start a training with "
            "chalknet.train(..., out=...) (chalknet train --out)."
        )
    return read_config(folder / CONFIG_FILE)


def read_checkpoint(path: Path, digests: Mapping[str, str] | None = None) -> Checkpoint:
    """Read a checkpoint. The file is data and is never executed.

    Args:
        path: the file.
        digests: digests of the training that is to be resumed; see `Trainer.digests`. None accepts any.

    Raises:
        StoreError: the file is damaged, has a newer format, or belongs to another training.
    """
    checkpoint = _read(path)
    other = [name for name, digest in checkpoint.digests.items() if digests and digests.get(name) != digest]
    if other:
        raise StoreError(
            f"{path}: belongs to a training with another {listed(other)}. Restore {CONFIG_FILE} and the "
            "data as they were, or start a new training with another out (--out)."
        )
    return checkpoint


def _read(path: Path) -> Checkpoint:
    """Read and check a checkpoint file, with one form of message for everything that can be wrong."""
    try:
        entry, tensors = read_tensors(path, HEADER_KEY, MAX_HEADER)
        if entry is None:
            raise ValueError(f"its header has no {HEADER_KEY!r}; it was written by another program")
        return _checkpoint_from(strict_json(entry), tensors)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, StoreError):
            raise StoreError(f"{path}: {plain(error)}") from None
        reason = f"{short(error.args[0])} is missing" if isinstance(error, KeyError) and error.args else error
        raise StoreError(f"{path}: is not a whole checkpoint ({plain(reason)}).") from error


def _checkpoint_from(header: Any, tensors: Parameters) -> Checkpoint:
    """Build a checkpoint from a header and arrays.

    Raises:
        StoreError: the format is newer than this version reads.
        ValueError, TypeError, KeyError, AttributeError, OverflowError: the content is not a checkpoint.
    """
    if checked(int, header["format"], "its format") > FORMAT:
        raise StoreError(
            f"has format {short(header['format'])}, and this chalknet reads up to {FORMAT}. Install a newer chalknet."
        )
    has_epoch = "epoch" in header
    history = checked_history(checked(list[EpochRecord], header["history"], "its history"), may_be_empty=has_epoch)
    _check_tensors(tensors, len(history))
    if header["format"] < 3:
        tensors = {current_parameter_name(name): value for name, value in tensors.items()}
    parts = {kind: arrays_of_kind(tensors, kind) for kind in KINDS}
    valid = parts["valid"]
    samples = [SampleScores(*pair) for pair in zip(valid["loss"], valid["right"], strict=True)] if valid else []
    if not parts["parameters"] or sum(map(len, parts.values())) != len(tensors):
        raise ValueError("tensors are missing or unknown")
    is_old = header["format"] < 3
    architecture = _architecture_from_shapes(parts["parameters"]) if is_old else architecture_from_table(header)
    parameters, best = (_in_layer_order(architecture, parts[kind]) for kind in ("parameters", "best"))
    state = _upgrade_state(parts["state"], parameters) if header["format"] == 1 else parts["state"]
    _check_state(architecture, state)
    digests = checked(dict[str, str], header.get("digests", {}), "its digests")
    unfinished = _unfinished_from(header["epoch"], parts, architecture) if has_epoch else None
    if not has_epoch and any(parts[kind] for kind in EPOCH_KINDS):
        raise ValueError("it has arrays of an epoch that its header does not name")
    known = None if is_old else architecture
    return Checkpoint(history, parameters, state, best or None, tuple(samples), known, digests, unfinished)


@dataclass(frozen=True)
class _EpochEntry:
    """The entry "epoch" of a header; `EpochScores` and `UnfinishedEpoch` say what the values are."""

    updates: int
    samples: int
    sums: list[float]
    seconds: float


def _unfinished_from(entry: Any, parts: Mapping[str, Parameters], architecture: Architecture) -> UnfinishedEpoch:
    """Return the state within an epoch; raises as `_checkpoint_from`."""
    found = checked(_EpochEntry, entry, "its epoch")
    parameters, state, terms = (parts[kind] for kind in EPOCH_KINDS)
    if found.updates < 1 or found.samples < 0 or not 0 <= found.seconds < math.inf or len(found.sums) != 3:
        raise ValueError(f"its epoch has {found.updates} updates, {found.samples} samples and {found.seconds} seconds")
    if not parameters:
        raise ValueError("its epoch has no parameters")
    _check_state(architecture, state)
    scores = EpochScores(found.updates, found.samples, (found.sums[0], found.sums[1], found.sums[2]), _terms_of(terms))
    if not scores.n_samples or not scores.is_finite:
        raise ValueError("the scores of its epoch are not finite")
    return UnfinishedEpoch(scores, _in_layer_order(architecture, parameters), state, found.seconds)


def _terms_of(arrays: Parameters) -> SoftmaxTerms | None:
    """Return the arrays of the kind "epoch-terms" as softmax terms, or None if there are none."""
    if not arrays:
        return None
    n = len(arrays["true"])
    if arrays.keys() != set(TERMS) or any(value.shape != (n,) for value in arrays.values()):
        raise ValueError("the scores of its epoch have different lengths")
    terms = SoftmaxTerms(n, arrays["true"].dtype)
    for name in TERMS:
        getattr(terms, name)[:] = arrays[name]
    return terms


def _upgrade_state(velocities: Parameters, parameters: Parameters) -> Parameters:
    """Return the optimizer state of a format 1 file under its current names.

    Format 1 has no velocities for biases, which had no momentum.
    """
    unknown = next((name for name in velocities if name not in parameters), None)
    if unknown is not None:
        raise ValueError(f"state/{short(unknown)} is of no parameter")
    return {f"velocity/{name}": velocities.get(name, np.zeros_like(value)) for name, value in parameters.items()}


def _check_tensors(tensors: Parameters, n_epochs: int) -> None:
    """Raise ValueError unless arrays have the dtypes that training writes, and weights are finite."""
    for name, value in tensors.items():
        kinds = "b" if name in ("valid/right", "epoch-terms/correct") else "f"
        if value.dtype.kind not in kinds or (name.startswith("valid/") and value.shape[:1] != (n_epochs,)):
            raise ValueError(f"{short(name)} is {value.shape} {value.dtype}, which training does not keep")
        if name.startswith(FINITE_KINDS) and kinds == "f" and value.dtype.itemsize < 4:
            raise ValueError(f"{short(name)} is {value.dtype}, and weights are float32 or float64")
        if name.startswith(FINITE_KINDS) and not np.isfinite(value).all():
            raise ValueError(f"{short(name)} holds values that are not finite")


def _architecture_from_shapes(parameters: Parameters) -> Architecture:
    """Return the architecture of a format 1 or 2 file from the shapes of its parameters.

    Its activations are only in config.toml.

    Raises:
        ValueError, KeyError: the parameters do not belong to a network.
    """
    depth = sum(name.endswith(".weight") for name in parameters) - 1
    hidden = tuple(parameters[f"hidden{number}.bias"].size for number in range(1, depth + 1))
    n_inputs = parameters["hidden1.weight" if depth else "output.weight"].shape[-1:]
    if not n_inputs:
        raise ValueError("a weight is a single number")
    n_classes = parameters["output.bias"].size
    return Architecture(n_inputs[0], hidden, n_classes, batch_norm="hidden1.gamma" in parameters)


def _in_layer_order(architecture: Architecture, parameters: Parameters) -> Parameters:
    """Return parameters in the order of the layers. A file sorts names: hidden10 before hidden2."""
    if not parameters:
        return {}
    check_parameters(architecture, parameters)
    return {name: parameters[name] for name in architecture.shapes}


def _check_state(architecture: Architecture, state: Parameters) -> None:
    """Raise ValueError unless each state array has the shape of its parameter."""
    for name, value in state.items():
        if value.shape != architecture.shapes[name.partition("/")[2]]:
            raise ValueError(f"{short(f'state/{name}')} is {value.shape}, which is not its parameter's shape")
