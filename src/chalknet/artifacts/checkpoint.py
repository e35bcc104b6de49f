"""checkpoint.safetensors: an unfinished training, written beside, synced and renamed, so that the last one is whole."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from chalknet.artifacts.architecture_table import architecture_from_table, architecture_table, current_parameter_name
from chalknet.artifacts.atomic import remove_temporaries, write_files
from chalknet.artifacts.run_folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    MEMBERS,
    MODEL_FILE,
    REPLACEMENT,
    RUN_FILE_NAMES,
    SUMMARY_FILE,
)
from chalknet.artifacts.tensor_file import MIB, read_tensors, tensor_bytes
from chalknet.checked import checked, plain, short, strict_json
from chalknet.config import DataConfig, Recipe, config_tables, read_config
from chalknet.engines.engine import SampleScores
from chalknet.errors import OutputError, StoppedError, StoreError
from chalknet.formatting import listed
from chalknet.network.architecture import Architecture, check_parameters
from chalknet.network.layer import Parameters
from chalknet.records import EpochRecord, checked_history
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.trainer import Checkpoint, Trainer

# 1: velocities by the parameter's name alone. 2: optimizer state by "state/parameter", the scale of batch normalization
# called "gain". 3: with all layers.
FORMAT = 3
HEADER_KEY = "chalknet-checkpoint"
MAX_HEADER = 64 * MIB  # a history of more than a hundred thousand epochs
FIRST_SECONDS, MAX_SECONDS = 0.5, 60.0  # until the first checkpoint, and between two at most
MAX_COST = 0.03  # fraction of the time that checkpoints may take


class CheckpointSchedule:
    """When the next checkpoint is due: soon at first, so that work that is killed often makes progress, then rarely.

    Without seconds, the interval starts at `FIRST_SECONDS` and doubles up to `MAX_SECONDS`. It is longer where the last
    checkpoint took more than `MAX_COST` of it.

    Args:
        seconds: a fixed interval instead; 0 for a checkpoint after every epoch.
        epochs: the largest number of epochs between two checkpoints, or None.
        n_networks: how many are trained at once; each takes its checkpoints by a schedule of its own.
    """

    def __init__(self, seconds: float | None = None, epochs: int | None = None, n_networks: int = 1) -> None:
        self._fixed, self._epochs, self._n_networks = seconds, epochs, n_networks
        self.seconds = FIRST_SECONDS if seconds is None else seconds
        self._last, self._since = time.monotonic(), 0

    def is_due(self) -> bool:
        """Count a finished epoch, and return whether a checkpoint is due after it."""
        self._since += 1
        late = time.monotonic() - self._last >= self.seconds
        return late or (self._epochs is not None and self._since >= self._epochs)

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the checkpoint that is taken meanwhile, and plan the next one."""
        started = time.monotonic()
        yield
        self._last, self._since = time.monotonic(), 0
        if self._fixed is None:
            self.seconds = max(min(2 * self.seconds, MAX_SECONDS), (self._last - started) * self._n_networks / MAX_COST)


class CheckpointCallback(Callback):
    """Takes a checkpoint of a training into its folder from time to time, and when the training must stop.

    Args:
        trainer: whose state is kept.
        context: the training, with its folder.
        seconds, epochs: as `CheckpointSchedule`.
        must_stop: asked after each epoch; True takes a checkpoint and raises `StoppedError`.
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
        assert context.folder is not None, "a training without a folder takes no checkpoints"
        self._trainer, self._context, self._folder = trainer, context, context.folder
        self._schedule = CheckpointSchedule(seconds, epochs)
        self._config = tomli_w.dumps(config_tables(context.recipe, context.origin)).encode()
        self._must_stop = must_stop or (lambda: False)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Take a checkpoint if one is due.

        Raises:
            StoppedError: the training must stop; a checkpoint is in the folder.
            OutputError: as `write`.
        """
        due, stop = self._schedule.is_due(), self._must_stop()
        if due or stop:
            with self._schedule.measure():
                self.write({CHECKPOINT_FILE: checkpoint_bytes(self._trainer.checkpoint())})
        if stop:
            raise StoppedError(
                f"stopped after epoch {record.epoch} of {self._context.recipe.training.epochs}, which is "
                f"kept. Go on with: {_resume_command(self._whole_folder)}"
            )

    def write(self, files: Mapping[str, bytes]) -> None:
        """`write_files` into the run's folder.

        Raises:
            OutputError: also with how to resume, where there is a checkpoint to resume from.
        """
        try:
            write_files(self._folder, files)
        except OutputError as error:
            if not (self._folder / CHECKPOINT_FILE).is_file():
                raise
            raise OutputError(
                f"{error} The last checkpoint is whole; once this is mended, go on with: "
                f"{_how_to_resume(self._whole_folder)}"
            ) from error

    @property
    def _whole_folder(self) -> Path:
        whole = self._folder.parent.parent if self._context.n_networks > 1 else self._folder
        return whole.parent if whole.name == REPLACEMENT else whole

    def on_train_begin(self, context: RunContext) -> None:
        """Write config.toml, from which a training that is killed before its first checkpoint starts again.

        Temporary files of a process that was killed in this folder are removed, and so is the checkpoint of an
        unfinished run that is started anew.
        """
        remove_temporaries(self._folder, RUN_FILE_NAMES)
        if not context.is_resumed:
            self.clear()
        write_files(self._folder, {CONFIG_FILE: self._config})

    def on_train_end(self, error: BaseException | None) -> None:
        """Remove config.toml again if nothing can be resumed: after an error, or before the end of the first epoch."""
        is_over = isinstance(error, Exception) or (error is not None and not self._trainer.history)
        if is_over and not any((self._folder / name).exists() for name in (CHECKPOINT_FILE, MODEL_FILE)):
            (self._folder / CONFIG_FILE).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the checkpoint of a training that has finished."""
        (self._folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _resume_command(folder: Path) -> str:
    return f"chalknet train --resume {shlex.quote(str(folder))}"


def _how_to_resume(folder: Path) -> str:
    return f"{_resume_command(folder)} (in Python: chalknet.resume({str(folder)!r}))"


def is_unfinished_ensemble(folder: Path) -> bool:
    """Return whether a folder holds an ensemble's networks, but not the whole yet."""
    return (folder / MEMBERS).is_dir() and not (folder / SUMMARY_FILE).exists()


def refuse_unfinished(folder: Path) -> None:
    """Raise OutputError where a folder holds an unfinished run or ensemble."""
    if (folder / CHECKPOINT_FILE).exists() or is_unfinished_ensemble(folder):
        raise OutputError(
            f"{folder}: holds an unfinished run. Go on with: {_how_to_resume(folder)}. "
            "overwrite=True (--overwrite) begins anew."
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
    header["digests"] = dict(checkpoint.digests)
    assert checkpoint.architecture is not None, "a trainer knows its architecture"
    header |= architecture_table(checkpoint.architecture)
    return tensor_bytes(tensors, HEADER_KEY, json.dumps(header), MAX_HEADER)


def read_unfinished(folder: Path) -> tuple[Recipe, DataConfig]:
    """Return what an unfinished run or ensemble was started with.

    Raises:
        StoreError: no run was started there.
        ConfigError: its config.toml is not one.
    """
    if not any((folder / name).is_file() for name in (CHECKPOINT_FILE, CONFIG_FILE)):
        raise StoreError(
            f"{folder}: holds no {CHECKPOINT_FILE} to go on from. Start it with chalknet train --out "
            "(in Python: chalknet.train with out)."
        )
    return read_config(folder / CONFIG_FILE)


def read_checkpoint(path: Path, digests: Mapping[str, str] | None = None) -> Checkpoint:
    """Read what `checkpoint_bytes` returned. The file is data and is never executed.

    Args:
        digests: of the training that is to be resumed; see `Trainer.digests`.
    Raises:
        StoreError: it is not a whole checkpoint, one of a newer format, or one of another training.
    """
    checkpoint = _read(path)
    other = [name for name, digest in checkpoint.digests.items() if digests and digests.get(name) != digest]
    if other:
        raise StoreError(
            f"{path}: is of a training with another {listed(other)}. Restore {CONFIG_FILE} and the data as they were, "
            "or train anew with another out (--out)."
        )
    return checkpoint


def _read(path: Path) -> Checkpoint:
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
    """Return the checkpoint of a header and arrays.

    Raises:
        StoreError: of a newer format.
        ValueError, TypeError, KeyError, AttributeError, OverflowError: of something that is no checkpoint.
    """
    if checked(int, header["format"], "its format") > FORMAT:
        raise StoreError(f"has format {short(header['format'])}, and this chalknet reads {FORMAT}. Install a newer.")
    history = checked_history(checked(list[EpochRecord], header["history"], "its history"))
    _check_tensors(tensors, len(history))
    if header["format"] < 3:
        tensors = {current_parameter_name(name): value for name, value in tensors.items()}
    parts = {kind: _select_kind(tensors, kind) for kind in ("parameters", "state", "best", "valid")}
    valid = parts["valid"]
    samples = [SampleScores(*pair) for pair in zip(valid["loss"], valid["right"], strict=True)] if valid else []
    if not history or not parts["parameters"] or sum(map(len, parts.values())) != len(tensors):
        raise ValueError("parts of it are missing, or it has others")
    is_old = header["format"] < 3
    architecture = _architecture_from_shapes(parts["parameters"]) if is_old else architecture_from_table(header)
    parameters, best = (_in_layer_order(architecture, parts[kind]) for kind in ("parameters", "best"))
    state = _upgrade_state(parts["state"], parameters) if header["format"] == 1 else parts["state"]
    _check_state(architecture, state)
    digests = checked(dict[str, str], header.get("digests", {}), "its digests")
    return Checkpoint(
        history, parameters, state, best or None, tuple(samples), None if is_old else architecture, digests
    )


def _upgrade_state(velocities: Parameters, parameters: Parameters) -> Parameters:
    """Return the state of a file of format 1, which has no velocities of biases, as the present format names it."""
    unknown = next((name for name in velocities if name not in parameters), None)
    if unknown is not None:
        raise ValueError(f"state/{short(unknown)} is of no parameter")
    return {f"velocity/{name}": velocities.get(name, np.zeros_like(value)) for name, value in parameters.items()}


def _check_tensors(tensors: Parameters, n_epochs: int) -> None:
    """Raise ValueError unless arrays have the types that training writes, and weights are finite."""
    for name, value in tensors.items():
        kinds = "b" if name == "valid/right" else "f"
        if value.dtype.kind not in kinds or (name.startswith("valid/") and value.shape[:1] != (n_epochs,)):
            raise ValueError(f"{short(name)} is {value.shape} {value.dtype}, which training does not keep")
        if name.startswith(("parameters/", "best/")) and value.dtype.itemsize < 4:
            raise ValueError(f"{short(name)} is {value.dtype}, and weights are float32 or float64")
        if name.startswith(("parameters/", "best/")) and not np.isfinite(value).all():
            raise ValueError(f"{short(name)} holds values that are not finite")


def _architecture_from_shapes(parameters: Parameters) -> Architecture:
    """Return an architecture of formats 1 and 2, except for its activations, which are in config.toml only.

    Raises:
        ValueError, KeyError: they are no network's.
    """
    depth = sum(name.endswith(".weight") for name in parameters) - 1
    hidden = tuple(parameters[f"hidden{number}.bias"].size for number in range(1, depth + 1))
    n_inputs = parameters["hidden1.weight" if depth else "output.weight"].shape[-1:]
    if not n_inputs:
        raise ValueError("a weight of it is a lone number")
    n_classes = parameters["output.bias"].size
    return Architecture(n_inputs[0], hidden, n_classes, batch_norm="hidden1.gamma" in parameters)


def _in_layer_order(architecture: Architecture, parameters: Parameters) -> Parameters:
    """Return parameters in the order of the layers; a file has hidden10 before hidden2."""
    if not parameters:
        return {}
    check_parameters(architecture, parameters)
    return {name: parameters[name] for name in architecture.shapes}


def _check_state(architecture: Architecture, state: Parameters) -> None:
    for name, value in state.items():
        if value.shape != architecture.shapes[name.partition("/")[2]]:
            raise ValueError(f"{short(f'state/{name}')} is {value.shape}, which is not its parameter's shape")


def _select_kind(tensors: Parameters, kind: str) -> Parameters:
    return {name.removeprefix(f"{kind}/"): value for name, value in tensors.items() if name.startswith(f"{kind}/")}
