"""A unit whose worker dies goes on from its checkpoint, and has the bits of one that nothing disturbed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from conftest import made_images
from studies.small_studies import RECIPE, spec_of, units_of

from chalknet.artifacts.checkpoint import CheckpointSchedule
from chalknet.errors import DivergenceError
from chalknet.studies import run_training
from chalknet.studies.run_output import output_from
from chalknet.studies.run_training import checkpoint_folder, train_run
from chalknet.studies.runner.protocol import job_message
from chalknet.studies.runner.worker import train_job

DATA = made_images(240, seed=0)
HOW = {"threads": 1, "how": "one at a time"}


@pytest.fixture(autouse=True)
def after_every_epoch(monkeypatch):
    monkeypatch.setattr(run_training, "CheckpointSchedule", partial(CheckpointSchedule, 0.0))


@pytest.fixture
def unit():
    recipe = RECIPE.with_settings(epochs=8, batch_size=32, dropout=0.2, stop_early=True, patience=5)
    return units_of(spec_of("hidden=4", recipe=recipe, seeds=1))[0]


def dies_at(epoch):
    def observe(record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return observe


def history(outcome):
    return [values[1:] for values in outcome.record["history"]], outcome.record["kept_epoch"]


def test_a_unit_goes_on_where_it_was_and_ends_with_the_same_bits(tmp_path, unit):
    whole = train_run(DATA, unit, **HOW)
    with pytest.raises(KeyboardInterrupt):
        train_run(DATA, unit, **HOW, checkpoints=tmp_path, observe=dies_at(5))
    assert len(list(tmp_path.iterdir())) == 1
    told = []
    message = job_message((unit,), 1, "one at a time", [False], tmp_path)
    train_job(message, DATA, lambda said, content: told.append((said, content)))
    outcome = output_from(told[-1][0]["record"], told[-1][1])
    assert history(outcome) == history(whole)
    for name, value in whole.arrays.items():
        np.testing.assert_array_equal(outcome.arrays[name], value)
    assert not list(tmp_path.iterdir())


def test_epochs_before_the_checkpoint_are_not_trained_again(tmp_path, unit):
    with pytest.raises(KeyboardInterrupt):
        train_run(DATA, unit, **HOW, checkpoints=tmp_path, observe=dies_at(5))
    seen = []
    train_run(DATA, unit, **HOW, checkpoints=tmp_path, observe=lambda record: seen.append(record.epoch))
    assert seen == [5, 6, 7, 8]


def test_a_damaged_checkpoint_costs_time_and_nothing_else(tmp_path, unit):
    with pytest.raises(KeyboardInterrupt):
        train_run(DATA, unit, **HOW, checkpoints=tmp_path, observe=dies_at(5))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert history(train_run(DATA, unit, **HOW, checkpoints=tmp_path)) == history(train_run(DATA, unit, **HOW))


def test_where_the_studys_folder_is_not_there_nothing_is_kept(tmp_path, unit):
    train_run(DATA, unit, **HOW, checkpoints=tmp_path / "elsewhere")
    assert not list(tmp_path.iterdir())


def test_a_unit_that_fails_leaves_nothing_to_fail_from(tmp_path):
    recipe = RECIPE.with_settings(epochs=20, learning_rate=1.0, reduction="sum", momentum=0.9, activation="identity")
    (unit,) = units_of(spec_of("hidden=4", recipe=recipe, seeds=1))
    found = []
    with pytest.raises(DivergenceError):
        train_run(
            DATA, unit, **HOW, checkpoints=tmp_path, observe=lambda _: found.append(len(list(tmp_path.iterdir())))
        )
    assert 1 in found
    assert not list(tmp_path.iterdir())


def test_the_folder_goes_with_the_study_where_nothing_is_in_it(tmp_path):
    with checkpoint_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert not folder.exists()
    with checkpoint_folder(tmp_path) as folder:
        (folder / "unit").touch()
    assert folder.exists()
