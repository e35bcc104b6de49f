"""checkpoint.safetensors: an unfinished training, written beside, synced and renamed, so that the last one is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from chalknet.artifacts.atomic import write_files
from chalknet.artifacts.run_folder import CONFIG_FILE, SUMMARY_FILE
from chalknet.config import DataConfig, Recipe, config_tables, read_config
from chalknet.engines.engine import SampleScores
from chalknet.errors import OutputError, StoppedError, StoreError
from chalknet.records import PARTS, EpochRecord, Scores
from chalknet.training.trainer import Checkpoint

CHECKPOINT_FILE = "checkpoint.safetensors"
FORMAT = 1
HEADER_KEY = "chalknet-checkpoint"
SECONDS = 60.0  # between two checkpoints, if nothing else is asked for


class CheckpointWriter:
    """Takes a checkpoint of a training into its folder from time to time, and when it is to stop.

    Args:
        folder: the run's. Its config.toml is written with the first checkpoint.
        recipe, data: what config.toml says.
        seconds: between two checkpoints; 0 for one after every epoch.
        epochs: between two checkpoints, or None for the seconds alone.
        must_stop: asked after each epoch; where it says yes, a checkpoint is taken and `StoppedError` raised.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        data: DataConfig,
        *,
        seconds: float = SECONDS,
        epochs: int | None = None,
        must_stop: Callable[[], bool] | None = None,
    ) -> None:
        self._folder, self._seconds, self._epochs = folder, seconds, epochs
        self._config = tomli_w.dumps(config_tables(recipe, data)).encode()
        self._n_epochs = recipe.training.epochs
        self._must_stop = must_stop or (lambda: False)
        self._last, self._since = time.monotonic(), 0

    def __call__(self, take: Callable[[], Checkpoint]) -> None:
        self._since += 1
        stop = self._must_stop()
        late = time.monotonic() - self._last >= self._seconds
        if not (stop or late or (self._epochs is not None and self._since >= self._epochs)):
            return
        checkpoint = take()
        files = {CHECKPOINT_FILE: checkpoint_bytes(checkpoint), CONFIG_FILE: self._config}
        write_files(self._folder, files)
        self._last, self._since = time.monotonic(), 0
        if stop:
            raise StoppedError(
                f"stopped after epoch {len(checkpoint.history)} of {self._n_epochs}, which is kept. "
                f"Go on with: chalknet train --resume {self._folder}"
            )

    def clear(self) -> None:
        """Removes the checkpoint of a training that has finished."""
        (self._folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def refuse_unfinished(folder: Path, overwrite: bool) -> None:
    """Raises OutputError where folder holds a checkpoint, which is removed instead if overwriting was asked for."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return
    if not overwrite:
        raise OutputError(
            f"{folder}: holds an unfinished run. chalknet train --resume {folder} goes on with it; --overwrite begins "
            "anew."
        )
    path.unlink()


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the bytes of a safetensors file."""
    from safetensors.numpy import save

    tensors = {f"parameters/{name}": value for name, value in checkpoint.parameters.items()}
    tensors |= {f"state/{name}": value for name, value in checkpoint.state.items()}
    tensors |= {f"best/{name}": value for name, value in (checkpoint.best or {}).items()}
    if checkpoint.valid_samples:
        tensors["valid/loss"] = np.stack([each.loss for each in checkpoint.valid_samples])
        tensors["valid/right"] = np.stack([each.right for each in checkpoint.valid_samples])
    header = {"format": FORMAT, "history": [asdict(record) for record in checkpoint.history]}
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return save(arrays, {HEADER_KEY: json.dumps(header)})


def read_unfinished(folder: Path) -> tuple[Recipe, DataConfig, Checkpoint]:
    """What a folder's config.toml and checkpoint say.

    Raises:
        StoreError: the run is finished, or has no whole checkpoint.
        ConfigError: its config.toml is not one.
    """
    if (folder / SUMMARY_FILE).exists():
        raise StoreError(f"{folder}: holds a finished run; there is nothing to go on with.")
    if not (folder / CHECKPOINT_FILE).is_file():
        raise StoreError(f"{folder}: holds no {CHECKPOINT_FILE} to go on from. Start it with chalknet train --out.")
    recipe, data = read_config(folder / CONFIG_FILE)
    return recipe, data, read_checkpoint(folder / CHECKPOINT_FILE)


def read_checkpoint(path: Path) -> Checkpoint:
    """The inverse of `checkpoint_bytes`; the file is data and is never executed.

    Raises:
        StoreError: it is not a whole checkpoint, or one of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {})[HEADER_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] > FORMAT:
            raise StoreError(
                f"{path}: has format {header['format']}, and this chalknet reads {FORMAT}. Install a newer."
            )
        history = tuple(_record(values) for values in header["history"])
        parts = {kind: _of_kind(tensors, kind) for kind in ("parameters", "state", "best", "valid")}
        valid = parts["valid"]
        samples = [SampleScores(*pair) for pair in zip(valid["loss"], valid["right"], strict=True)] if valid else []
        if not history or not parts["parameters"] or len(samples) not in (0, len(history)):
            raise ValueError("parts of it are missing")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: is not a whole checkpoint ({error}).") from error
    return Checkpoint(history, parts["parameters"], parts["state"], parts["best"] or None, tuple(samples))


def _of_kind(tensors: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name.removeprefix(f"{kind}/"): value for name, value in tensors.items() if name.startswith(f"{kind}/")}


def _record(values: dict[str, Any]) -> EpochRecord:
    scores = {part: None if values[part] is None else Scores(**values[part]) for part in PARTS}
    if scores["train"] is None:
        raise ValueError("an epoch has no training scores")
    return EpochRecord(values["epoch"], scores["train"], scores["valid"], scores["test"], values["seconds"])
