"""Run folders: settings, scores of every epoch, the result and the model of a finished training.

The files are written in one `write_files` call with summary.json last, so a folder with a
summary.json is a finished run and holds all other files. Two processes cannot write into one
folder, because a training holds its lock (`atomic.locked`) from the first check to the last file.

A training with overwrite never touches the finished run before it has a new one. It runs in the
subfolder replacement/. When that is complete, `finish_replacement` swaps the files.
"""

from __future__ import annotations

import io
import json
import shlex
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
from chalknet.data.dataset import Dataset
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
MAX_SUMMARY_BYTES = 16 * 2**20  # enough for the notes on the data and a thousand members
MODEL_FILE = "model.safetensors"
SUMMARY_FILE = "summary.json"
CONFIG_FILE, HISTORY_FILE, SAMPLES_FILE = "config.toml", "history.csv", "valid_samples.npz"
CHECKPOINT_FILE = "checkpoint.safetensors"
PICTURES = ("curves.png", "curves.svg")
RUN_FILE_NAMES = (  # every file that a training may write into its folder
    *(CHECKPOINT_FILE, CONFIG_FILE, HISTORY_FILE, MODEL_FILE, SAMPLES_FILE, SUMMARY_FILE, *PICTURES, "mlflow.json"),
)
MEMBERS = "members"  # the subfolder of an ensemble with one run folder per network
# Subfolders for a run that replaces the finished run of its parent: while it is trained, and while its
# files are moved. See `finish_replacement`.
SEPARATE_SAMPLES = ("valid_samples", "test_samples")  # of sources of their own
REPLACEMENT, READY = "replacement", "replacement-ready"


def resume_command(folder: Path) -> str:
    """Return the command that resumes a run."""
    return f"chalknet train --resume {shlex.quote(str(folder))}"


def how_to_resume(folder: Path) -> str:
    """Return the call and the command that resume a run."""
    return f"chalknet.resume({str(folder)!r}) ({resume_command(folder)})"


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint, or members of an ensemble but no summary of it."""
    is_ensemble = (folder / MEMBERS).is_dir() and not (folder / SUMMARY_FILE).exists()
    return is_ensemble or (folder / CHECKPOINT_FILE).exists()


def unfinished_hint(folder: Path) -> str:
    """Return a sentence on how to resume the unfinished run of a folder, after a space, or ""."""
    return f" Its run is unfinished. Resume it with: {how_to_resume(folder)}." if is_unfinished(folder) else ""


@dataclass(frozen=True)
class RunSummary:
    """The entries of summary.json that later commands need.

    Attributes:
        source: the data source.
        sha256: digest of the data.
        n_samples: number of samples of the data, with those of separate validation and test sources.
        sizes: number of samples of each split.
        kept_epoch: the epoch whose weights the model has.
        kept: the model's scores on each split, None for an empty split.
        seconds: duration of the training.
        machine: facts about the machine, by name.
        temperature: what the logits were divided by to calibrate them, or None.
    """

    source: str
    sha256: str
    n_samples: int
    sizes: Mapping[str, int]
    kept_epoch: int
    kept: Mapping[str, Scores | None]
    seconds: float
    machine: Mapping[str, str | int]
    temperature: float | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """The contents of a run folder.

    Attributes:
        folder: the folder.
        history: the scores of every epoch.
        recipe: the recipe.
        data: where the samples came from.
        summary: the entries of summary.json.
        valid_losses: (E, M) float16, float32 or float64, the loss of each validation sample in nats
            after each epoch; None if there were too many to store.
        valid_correct: (E, M) bool, whether the most probable class was the true one; None likewise.
    """

    folder: Path
    history: tuple[EpochRecord, ...]
    recipe: Recipe
    data: DataConfig
    summary: RunSummary
    valid_losses: NDArray[np.floating[Any]] | None
    valid_correct: NDArray[np.bool_] | None


def run_files(run: Run, data: DataConfig) -> dict[str, bytes]:
    """Return the files of a run except its pictures, as name -> content.

    summary.json comes last, so that it exists only if all others do (`write_files` keeps the
    order).

    Args:
        run: the finished run.
        data: where its samples came from.
    """
    summary = run_summary(run, data)
    facts = {key: summary[key] for key in ("chalknet", "recipe", "samples", "epochs", "kept")}
    # The digest only, not the path: a model file is shared more widely than its data.
    facts["data_sha256"] = run.data.sha256
    if run.temperature is not None:
        facts["temperature"] = run.temperature
    if data.table.delimiter is not None:  # for predictions from other tables
        facts["delimiter"] = data.table.delimiter
    if data.image_fit is not None:  # for predictions from image files
        facts["image_fit"] = data.image_fit
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
    """Read the files that `run_files` returned.

    Raises:
        StoreError: the folder holds no finished run, a file is damaged, or config.toml was changed.
        ConfigError: config.toml is invalid.
    """
    if not (folder / SUMMARY_FILE).is_file():
        raise StoreError(f"{folder}: holds no finished run (no {SUMMARY_FILE}).")
    history = read_history(folder / HISTORY_FILE)
    recipe, data = read_config(folder / CONFIG_FILE)
    facts = training_facts(folder / MODEL_FILE)
    if isinstance(facts.get("settings"), dict):  # model files of earlier versions have no settings
        trained = {"recipe": facts.get("recipe"), **facts["settings"]}
        if config_from_tables(trained, str(folder / MODEL_FILE))[0] != recipe:
            raise StoreError(
                f"{folder}: {CONFIG_FILE} differs from the settings that {MODEL_FILE} was trained with. Restore it."
            )
    samples = folder / SAMPLES_FILE
    losses, correct = _read_samples(samples, len(history)) if samples.is_file() else (None, None)
    return FinishedRun(folder, history, recipe, data, read_summary(folder, len(history)), losses, correct)


def read_summary(folder: Path, n_epochs: int) -> RunSummary:
    """Read the entries of summary.json that later commands need.

    Args:
        folder: the run folder.
        n_epochs: number of epochs of the run's history.

    Raises:
        StoreError: the file cannot be read, or was not written by a run.
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
            n_samples=sum(checked(int, data.get(name, 0), name) for name in ("samples", *SEPARATE_SAMPLES)),
            sizes={split: sizes[split] for split in SPLITS},
            kept_epoch=kept_epoch,
            kept={split: checked(Scores | None, kept[split], split) for split in SPLITS},
            seconds=checked(float, found["seconds"], "seconds"),
            machine=checked(dict[str, str | int], found["machine"], "machine"),
            temperature=checked(float | None, found.get("temperature"), "temperature"),
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
    """Return the content of summary.json: what a run was and its results.

    Scores of an empty split are null, and so are digests of weights and index arrays that were not
    given.
    """
    last = run.history[-1]
    separate = _separate_samples(run.data, data)
    return {
        "format": FORMAT,
        "chalknet": __version__,
        "recipe": run.recipe.name,
        "network": str(run.network.architecture),
        "parameters": run.network.architecture.n_parameters,
        "data": {
            "source": run.data.source,
            "sha256": run.data.sha256,
            "samples": len(run.data) - sum(separate.values()),
            **separate,
            "notes": [*run.data.notes, *run.notes],
            **{name: getattr(data, name) or None for name in ARRAY_DIGESTS},
        },
        "samples": run.splits.sizes,
        "epochs": len(run.history),
        "seconds": run.seconds,
        "final": {split: _score_fields(last.scores(split)) for split in SPLITS},
        "kept": _kept_fields(run),
        "temperature": run.temperature,
        "smallest_valid_loss": _smallest_valid_loss(run),
        "members": [{"seed": one.recipe.training.seed, **_kept_fields(one)} for one in run.members],
        "machine": machine_facts(),
    }


def _separate_samples(data: Dataset, config: DataConfig) -> dict[str, int]:
    """Return how many validation and test samples came from sources of their own."""
    given = {"valid_samples": (config.valid_source, data.provided_valid)}
    given["test_samples"] = (config.test_source, data.provided_test)
    return {name: len(index) for name, (source, index) in given.items() if source and index is not None}


def _kept_fields(run: Run) -> dict[str, Any]:
    return {"epoch": run.kept_epoch, **{split: _score_fields(run.kept.scores(split)) for split in SPLITS}}


def _smallest_valid_loss(run: Run) -> dict[str, Any] | None:
    """Return the first epoch with the smallest validation loss, and its validation scores."""
    judged = [record for record in run.history if record.valid is not None]
    if not judged:
        return None
    best = min(judged, key=lambda record: record.valid.loss if record.valid else 0.0)
    return {"epoch": best.epoch, **(_score_fields(best.valid) or {})}


def _score_fields(scores: Scores | None) -> dict[str, float] | None:
    return None if scores is None else asdict(scores)


def is_complete(folder: Path) -> bool:
    """Return whether a run is finished and has its pictures, and so do an ensemble's members."""
    has_all = all((folder / name).exists() for name in (SUMMARY_FILE, *PICTURES))
    return has_all and not (folder / CHECKPOINT_FILE).exists() and all(map(is_complete, folder.glob(f"{MEMBERS}/*")))


def finish_replacement(folder: Path) -> bool:
    """Move a finished replacement/ into the run's place, and return whether there was one.

    The steps are ordered so that a kill at any point loses nothing, and the call can be repeated:

    1. Delete the old run, its summary.json first. From here on, the folder holds no finished run of
       its own, but replacement/ is complete.
    2. Rename replacement/ to replacement-ready/. This marks that the old run is deleted. Without
       it, a repeated call could not tell old files from new ones that were already moved.
    3. Move the files, summary.json last, and remove the empty folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    beside, ready = folder / REPLACEMENT, folder / READY
    try:
        if (beside / SUMMARY_FILE).exists():
            # The summary goes first: a folder with a summary must never hold files of two runs.
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
    """Raise an error if a folder holds finished work and overwriting was not requested.

    Args:
        folder: the folder.
        overwrite: whether finished work may be replaced.
        last_file: the file that is written last, whose existence means "finished".

    Raises:
        OutputError: the folder holds finished work.
    """
    if not overwrite and (folder / last_file).exists():
        raise OutputError(
            f"{folder}: already holds a finished {last_file}. Choose another out (--out), or give "
            "overwrite=True (--overwrite)."
        )
