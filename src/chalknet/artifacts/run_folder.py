"""A run on disk: what it was made with, every epoch, the result and the model."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from chalknet.artifacts.history_file import history_csv, read_history
from chalknet.artifacts.model_file import model_bytes
from chalknet.artifacts.sample_losses import LOSS_TYPES, compact_losses
from chalknet.artifacts.training_facts import training_facts
from chalknet.checked import checked, plain, read_json
from chalknet.config import ARRAY_DIGESTS, SECTIONS, DataConfig, Recipe, config_from_tables, config_tables, read_config
from chalknet.data.readers.npz import NpzArchive
from chalknet.data.readers.source_file import open_source
from chalknet.errors import DataError, OutputError, StoreError
from chalknet.formatting import quoted
from chalknet.machine.facts import machine_facts
from chalknet.records import SPLITS, EpochRecord, Scores
from chalknet.version import __version__

if TYPE_CHECKING:
    from chalknet.training.trainer import Run

FORMAT = 1  # of summary.json
MAX_SUMMARY_BYTES = 16 * 2**20  # with the notes of the data and up to a thousand members
MODEL_FILE = "model.safetensors"
SUMMARY_FILE = "summary.json"
CONFIG_FILE, HISTORY_FILE, SAMPLES_FILE = "config.toml", "history.csv", "valid_samples.npz"
CHECKPOINT_FILE = "checkpoint.safetensors"
PICTURES = ("curves.png", "curves.svg")
RUN_FILE_NAMES = (  # all that a training writes into its folder
    *(CHECKPOINT_FILE, CONFIG_FILE, HISTORY_FILE, MODEL_FILE, SAMPLES_FILE, SUMMARY_FILE, *PICTURES, "mlflow.json"),
)
MEMBERS = "members"  # of an ensemble: the folder that holds a run for each network
# A run that is to replace the finished run of its parent folder, until it is finished and while its files are moved.
REPLACEMENT, READY = "replacement", "replacement-ready"


@dataclass(frozen=True)
class RunSummary:
    """What later work needs of a run's summary.json.

    Attributes:
        source, sha256, n_samples: of the data. sizes: samples of each part.
        kept_epoch: whose weights the model has. kept: the model's scores on each part.
        seconds: of training. machine: facts about the machine, by name.
    """

    source: str
    sha256: str
    n_samples: int
    sizes: Mapping[str, int]
    kept_epoch: int
    kept: Mapping[str, Scores | None]
    seconds: float
    machine: Mapping[str, str | int]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run as its folder holds it.

    Attributes:
        history, recipe, summary: the run's own. data: where its samples came from.
        valid_losses: (E, M) float16, or wider where losses need it, each validation sample's loss in nats after each
            epoch; None where they were too many to keep.
        valid_correct: (E, M) bool, whether its most probable class was then the true one; None likewise.
    """

    folder: Path
    history: tuple[EpochRecord, ...]
    recipe: Recipe
    data: DataConfig
    summary: RunSummary
    valid_losses: NDArray[np.floating[Any]] | None
    valid_correct: NDArray[np.bool_] | None


def run_files(run: Run, data: DataConfig) -> dict[str, bytes]:
    """The files of a run but its pictures. summary.json is the last one, which says that the others are there."""
    summary = run_summary(run, data)
    facts = {key: summary[key] for key in ("chalknet", "recipe", "samples", "epochs", "kept")}
    facts["data_sha256"] = run.data.sha256  # and not where it lay: a model travels further than its data
    config = config_tables(run.recipe, data)
    facts["settings"] = {section: config[section] for section in SECTIONS}
    files = {
        CONFIG_FILE: tomli_w.dumps(config).encode(),
        HISTORY_FILE: history_csv(run.history).encode(),
        MODEL_FILE: model_bytes(run.network, facts),
    }
    if run.valid_sample_scores:
        losses = np.stack([each.loss for each in run.valid_sample_scores])
        correct = np.stack([each.correct for each in run.valid_sample_scores])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, losses=compact_losses(losses), right=correct)
        files[SAMPLES_FILE] = buffer.getvalue()
    return files | {SUMMARY_FILE: (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode()}


def read_run(folder: Path) -> FinishedRun:
    """What `run_files` wrote.

    Raises:
        StoreError: the folder holds no finished run, or a file of it is damaged, or config.toml was changed.
        ConfigError: its config.toml is not one.
    """
    if not (folder / SUMMARY_FILE).is_file():
        raise StoreError(f"{folder}: holds no finished run, which would have a {SUMMARY_FILE}.")
    history = read_history(folder / HISTORY_FILE)
    recipe, data = read_config(folder / CONFIG_FILE)
    facts = training_facts(folder / MODEL_FILE)
    if isinstance(facts.get("settings"), dict):  # those of earlier versions have none
        trained = {"recipe": facts.get("recipe"), **facts["settings"]}
        if config_from_tables(trained, str(folder / MODEL_FILE))[0] != recipe:
            raise StoreError(f"{folder}: {CONFIG_FILE} is not what {MODEL_FILE} was trained with. Restore it.")
    samples = folder / SAMPLES_FILE
    losses, correct = _read_samples(samples, len(history)) if samples.is_file() else (None, None)
    return FinishedRun(folder, history, recipe, data, read_summary(folder, len(history)), losses, correct)


def read_summary(folder: Path, n_epochs: int) -> RunSummary:
    """Return what later work needs of a summary.json.

    Args:
        n_epochs: of the run's history, or of the whole ensemble's.
    Raises:
        StoreError: it cannot be read or is not what a run writes.
    """
    path = folder / SUMMARY_FILE
    try:
        found = read_json(path, MAX_SUMMARY_BYTES)
        data, kept = (checked(dict[str, Any], found[name], name) for name in ("data", "kept"))
        kept_epoch = checked(int, kept.pop("epoch"), "the kept epoch")
        if not 1 <= kept_epoch <= n_epochs:
            raise ValueError(f"it keeps epoch {kept_epoch} of {n_epochs}")
        sizes = checked(dict[str, int], found["samples"], "samples")
        return RunSummary(
            source=checked(str, data["source"], "source"),
            sha256=checked(str, data["sha256"], "sha256"),
            n_samples=checked(int, data["samples"], "samples"),
            sizes={part: sizes[part] for part in SPLITS},
            kept_epoch=kept_epoch,
            kept={part: checked(Scores | None, kept[part], part) for part in SPLITS},
            seconds=checked(float, found["seconds"], "seconds"),
            machine=checked(dict[str, str | int], found["machine"], "machine"),
        )
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except KeyError as error:
        raise StoreError(f"{path}: is not what a run writes: {plain(error)} is missing.") from None
    except ValueError as error:
        raise StoreError(f"{path}: is not what a run writes: {plain(error)}.") from None


def _read_samples(path: Path, n_epochs: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_]]:
    try:
        with open_source(path, str(path)) as file:
            archive = NpzArchive(file)
            if archive.keys != {"losses", "right"}:
                raise StoreError(f"{path}: is not what a run writes: it holds {quoted(sorted(archive.keys))}.")
            losses, correct = archive.array("losses"), archive.array("right")
    except DataError as error:
        raise StoreError(str(error)) from error
    fits = losses.shape == correct.shape and losses.ndim == 2 and len(losses) == n_epochs
    if not fits or losses.dtype not in LOSS_TYPES or correct.dtype != np.bool_:
        raise StoreError(
            f"{path}: holds {losses.shape} {losses.dtype} and {correct.shape} {correct.dtype}, which is no run's."
        )
    return losses, correct


def run_summary(run: Run, data: DataConfig) -> dict[str, Any]:
    """What a run was and what came of it, JSON-ready; an absent set is null, and so are weights and index arrays."""
    last = run.history[-1]
    return {
        "format": FORMAT,
        "chalknet": __version__,
        "recipe": run.recipe.name,
        "network": str(run.network.architecture),
        "parameters": run.network.architecture.n_parameters,
        "data": {
            "source": run.data.source,
            "sha256": run.data.sha256,
            "samples": len(run.data),
            "notes": [*run.data.notes, *run.notes],
            **{name: getattr(data, name) or None for name in ARRAY_DIGESTS},
        },
        "samples": run.splits.sizes,
        "epochs": len(run.history),
        "seconds": run.seconds,
        "final": {part: _score_fields(last.scores(part)) for part in SPLITS},
        "kept": _kept_fields(run),
        "smallest_valid_loss": _smallest_valid_loss(run),
        "members": [{"seed": one.recipe.training.seed, **_kept_fields(one)} for one in run.members],
        "machine": machine_facts(),
    }


def _kept_fields(run: Run) -> dict[str, Any]:
    return {"epoch": run.kept_epoch, **{part: _score_fields(run.kept.scores(part)) for part in SPLITS}}


def _smallest_valid_loss(run: Run) -> dict[str, Any] | None:
    """The epoch at which the validation loss was smallest (the first of equals), with its scores."""
    judged = [record for record in run.history if record.valid is not None]
    if not judged:
        return None
    best = min(judged, key=lambda record: record.valid.loss if record.valid else 0.0)
    return {"epoch": best.epoch, **(_score_fields(best.valid) or {})}


def _score_fields(scores: Scores | None) -> dict[str, float] | None:
    return None if scores is None else asdict(scores)


def is_complete(folder: Path) -> bool:
    """Return whether a run or an ensemble lacks nothing: it is finished, and so are its pictures and its members'."""
    has_all = all((folder / name).exists() for name in (SUMMARY_FILE, *PICTURES))
    return has_all and not (folder / CHECKPOINT_FILE).exists() and all(map(is_complete, folder.glob(f"{MEMBERS}/*")))


def finish_replacement(folder: Path) -> bool:
    """Put a finished replacement in the place of a folder's run, and return whether there was one.

    A folder with a summary holds one run's files at any moment. If this is interrupted, it can be called again: the
    old run is removed while the new one is whole in its own folder, and then the new files are moved, summary last.

    Raises:
        OutputError: the folder cannot be written.
    """
    beside, ready = folder / REPLACEMENT, folder / READY
    try:
        if (beside / SUMMARY_FILE).exists():
            for name in (SUMMARY_FILE, *RUN_FILE_NAMES):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / MEMBERS, ignore_errors=True)
            beside.rename(ready)
        if not ready.is_dir():
            return False
        for path in sorted(ready.iterdir(), key=lambda path: path.name == SUMMARY_FILE):
            path.rename(folder / path.name)
        ready.rmdir()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    return True


def refuse_finished(folder: Path, overwrite: bool, last_file: str = SUMMARY_FILE) -> None:
    """Raises OutputError where folder holds finished work, told by its last file, and overwriting was not asked for."""
    if not overwrite and (folder / last_file).exists():
        raise OutputError(
            f"{folder}: already holds a finished {last_file}. Choose another out (--out), or give overwrite=True "
            "(--overwrite)."
        )
