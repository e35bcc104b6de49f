"""A run on disk: what it was made with, every epoch, the result and the model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

import chalknet
from chalknet.artifacts.history_file import history_csv
from chalknet.artifacts.model_file import model_bytes
from chalknet.config import DataConfig, config_tables
from chalknet.errors import OutputError
from chalknet.machine.facts import machine_facts
from chalknet.records import PARTS, Scores
from chalknet.training.trainer import Run

FORMAT = 1  # of summary.json
MODEL_FILE = "model.safetensors"
SUMMARY_FILE = "summary.json"


def run_files(run: Run, data: DataConfig) -> dict[str, bytes]:
    """The files of a run but its pictures: config.toml, history.csv, summary.json, model.safetensors."""
    summary = run_summary(run)
    facts = {key: summary[key] for key in ("chalknet", "recipe", "samples", "epochs", "kept")}
    facts["data_sha256"] = run.data.sha256  # and not where it lay: a model travels further than its data
    return {
        "config.toml": tomli_w.dumps(config_tables(run.recipe, data)).encode(),
        "history.csv": history_csv(run.history).encode(),
        SUMMARY_FILE: (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode(),
        MODEL_FILE: model_bytes(run.network, facts),
    }


def run_summary(run: Run) -> dict[str, Any]:
    """What a run was and what came of it, JSON-ready; an absent set is null."""
    last = run.history[-1]
    return {
        "format": FORMAT,
        "chalknet": chalknet.__version__,
        "recipe": run.recipe.name,
        "network": str(run.network.architecture),
        "parameters": run.network.architecture.n_parameters,
        "data": {
            "source": run.data.source,
            "sha256": run.data.sha256,
            "samples": len(run.data),
            "notes": list(run.data.notes),
        },
        "samples": run.splits.sizes,
        "epochs": len(run.history),
        "seconds": run.seconds,
        "final": {part: _score_fields(last.part(part)) for part in PARTS},
        "kept": {"epoch": run.kept_epoch, **{part: _score_fields(run.kept.part(part)) for part in PARTS}},
        "smallest_valid_loss": _smallest_valid_loss(run),
        "machine": machine_facts(),
    }


def _smallest_valid_loss(run: Run) -> dict[str, Any] | None:
    """The epoch at which the validation loss was smallest (the first of equals), with its scores."""
    judged = [record for record in run.history if record.valid is not None]
    if not judged:
        return None
    best = min(judged, key=lambda record: record.valid.loss if record.valid else 0.0)
    return {"epoch": best.epoch, **(_score_fields(best.valid) or {})}


def _score_fields(scores: Scores | None) -> dict[str, float] | None:
    return None if scores is None else asdict(scores)


def refuse_finished(folder: Path, overwrite: bool, last_file: str = SUMMARY_FILE) -> None:
    """Raises OutputError where folder holds finished work, told by its last file, and overwriting was not asked for."""
    if not overwrite and (folder / last_file).exists():
        raise OutputError(f"{folder}: already holds a finished {last_file}. Choose another --out, or add --overwrite.")
