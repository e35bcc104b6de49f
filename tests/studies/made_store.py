"""Make a store of any number of runs without training."""

from __future__ import annotations

import json
import sqlite3

import numpy as np

from chalknet.config import Recipe
from chalknet.records import EpochRecord, Scores
from chalknet.studies.configurations import RunKey
from chalknet.studies.run_output import array_bytes, epoch_list
from chalknet.studies.search_space import grid_configurations
from chalknet.studies.spec import StudySpec, parse_vary, spec_tables
from chalknet.studies.store import STORE_FILE, Store, split_key

SIZES = {"train": 160, "valid": 40, "test": 40}
RECIPE = Recipe().with_settings(train_size=160, valid_size=40, epochs=6)


def made_store(folder, *vary, seeds=3, n_done=None, n_failed=0, error="it diverged", source="made.npz", **changes):
    """Write a store; of its runs the first are done, the next have failed, and the others are "todo".

    Args:
        folder: the study's folder.
        *vary: what varies, as on the command line.
        seeds: seeds per configuration.
        n_done: number of finished runs; None for all.
        n_failed: number of failed runs.
        error: their error.
        source: the data that the study is about.
        **changes: other fields of the specification.
    """
    spec = StudySpec(RECIPE, tuple(map(parse_vary, vary)), seeds=seeds, **changes)
    runs = [RunKey(config, seed) for config in grid_configurations(spec) for seed in spec.seed_numbers]
    names = list("ABCD")
    facts = {"source": source, "sha256": "0" * 64, "digest": "1", "samples": 240, "class_names": names}
    folder.mkdir(parents=True, exist_ok=True)
    with Store.open_or_create(folder) as store:
        store.set_data({**facts, "sample_shape": [6, 5]})
        store.set_specification({"spec": spec_tables(spec), "split_sizes": SIZES})
        store.add_runs(runs, {run.configuration.key: 1.0 for run in runs})
    n_done = len(runs) if n_done is None else n_done
    with sqlite3.connect(folder / STORE_FILE) as db:
        for place, run in enumerate(runs[:n_done]):
            finish(db, run, place)
        for run in runs[n_done : n_done + n_failed]:
            db.execute("UPDATE units SET status = 'failed', error = ? WHERE cell = ? AND seed = ?", [error, *run.key])
    db.close()
    return spec, runs


def finish(db, run, place):
    """Mark a run as done, with scores that differ from run to run."""
    rng = np.random.default_rng(place)
    labels = np.random.default_rng(7).integers(0, 4, 40)
    predicted = np.where(rng.random(40) < 0.2 + 0.001 * (place % 100), (labels + 1) % 4, labels)
    accuracy = float((predicted == labels).mean())
    n_epochs = RECIPE.training.epochs
    history = [
        EpochRecord(
            n,
            Scores(2 / n, n / n_epochs, 3.0),
            Scores(2 / n, accuracy if n == n_epochs else n / n_epochs, 3.0),
            None,
            0.1,
        )
        for n in range(1, n_epochs + 1)
    ]
    record = {"history": [epoch_list(one) for one in history], "kept_epoch": n_epochs, "seconds": 0.5 + place / 1000}
    record |= {"trained": "numpy engine", "machine": {}}
    split = split_key(run)
    for name in ("valid", "test"):
        arrays = {f"{name}_labels": labels, f"{name}_index": np.arange(40)}
        for key, array in arrays.items():
            row = [split, key, array_bytes(array.astype("<i8"))]
            db.execute("INSERT OR IGNORE INTO division_arrays VALUES (?, ?, ?)", row)
    arrays = {
        **{f"{name}_predicted": predicted.astype("<i4") for name in ("valid", "test")},
        **{f"{name}_confidence": np.full(40, 0.5, "<f4") for name in ("valid", "test")},
        **{f"{name}_true_probability": np.full(40, 0.5, "<f4") for name in ("valid", "test")},
        "valid_losses": np.ones((n_epochs, 40), "<f2"),
        "valid_right_bits": np.packbits(np.tile(predicted == labels, (n_epochs, 1)), axis=1),
    }
    for name, array in arrays.items():
        db.execute("INSERT INTO unit_arrays VALUES (?, ?, ?, ?)", [*run.key, name, array_bytes(array)])
    db.execute(
        "UPDATE units SET status = 'done', division = ?, record = ?, finished = 1.0, error = NULL, owner = NULL "
        "WHERE cell = ? AND seed = ?",
        [split, json.dumps(record), *run.key],
    )
    db.execute("INSERT INTO events (at, cell, seed, event) VALUES (1.0, ?, ?, 'done')", run.key)
