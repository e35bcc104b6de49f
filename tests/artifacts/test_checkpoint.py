"""Checkpoints: what is written reads back, and training resumes from it with bit-identical results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import made_images, save_images

from chalknet.artifacts.checkpoint import (
    CheckpointCallback,
    CheckpointSchedule,
    checkpoint_bytes,
    read_checkpoint,
    read_unfinished,
)
from chalknet.artifacts.run_folder import run_files
from chalknet.config import DataConfig, Recipe
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, OutputError, StoppedError, StoreError
from chalknet.training.callbacks import RunContext
from chalknet.training.trainer import Trainer, run_epochs
from chalknet.workflows.train import resume, train

GOLDEN = Path(__file__).parent / "golden"
RECIPE = Recipe().with_settings(hidden=[7], epochs=8, train_size=160, valid_size=40, learning_rate=1e-3, momentum=0.9)
EARLY = {"stop_early": True, "patience": 3, "learning_rate": 0.02, "epochs": 40}


def trainer_of(data, recipe, keep_sample_scores=True):
    return Trainer(data, split_dataset(data, "writeup", 160, 40), recipe, keep_sample_scores=keep_sample_scores)


def context_of(data, folder):
    return RunContext(data, split_dataset(data, "writeup", 160, 40), RECIPE, folder=folder)


def files_of(run):
    """Return the files of a run without its times."""
    files = run_files(run, DataConfig("made.npz", "0" * 64))
    rows = [line.rsplit(b",", 1)[0] for line in files["history.csv"].splitlines()]
    return rows, files["model.safetensors"], files.get("valid_samples.npz"), run.kept_epoch


@pytest.mark.parametrize("engine", ["numpy", "reference"])
@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 48, "bias_momentum": True}, EARLY, {**EARLY, "restore_best": False}], ids=str
)
@pytest.mark.parametrize("stop_at", [1, 5])
def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(small_images, tmp_path, engine, settings, stop_at):
    ends_as_if_undisturbed(small_images, RECIPE.with_settings(engine=engine, **settings), tmp_path, stop_at)


def ends_as_if_undisturbed(small_images, recipe, tmp_path, stop_at):
    whole = run_epochs(trainer_of(small_images, recipe))
    taken = []

    stopped = trainer_of(small_images, recipe)

    def keep(_):
        taken.append(stopped.checkpoint())
        if len(taken) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_epochs(stopped, keep)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(checkpoint_bytes(taken[-1]))
    again = run_epochs(trainer_of(small_images, recipe), start=read_checkpoint(path))
    assert files_of(again) == files_of(whole)


def test_a_checkpoint_after_early_stopping_trains_no_further(small_images):
    taken = []
    trainer = trainer_of(small_images, RECIPE.with_settings(**EARLY))
    whole = run_epochs(trainer, lambda _: taken.append(trainer.checkpoint()))
    again = run_epochs(trainer_of(small_images, RECIPE.with_settings(**EARLY)), start=taken[-1])
    assert files_of(again) == files_of(whole)


def test_a_checkpoint_is_a_copy(small_images):
    trainer = trainer_of(small_images, RECIPE)
    epochs = trainer.epochs()
    next(epochs)
    taken = trainer.checkpoint()
    before = {name: value.copy() for name, value in (taken.parameters | taken.state).items()}
    next(epochs)
    assert len(taken.history) == len(taken.valid_sample_scores) == 1
    assert all((value == before[name]).all() for name, value in (taken.parameters | taken.state).items())


def test_resuming_eleven_layers_keeps_their_order(small_images, tmp_path):
    recipe = RECIPE.with_settings(hidden=[6] * 11, epochs=3, engine="reference")
    ends_as_if_undisturbed(small_images, recipe, tmp_path, stop_at=1)


def test_checkpoints_are_written_every_n_epochs_and_at_a_stop(small_images, tmp_path):
    written = []

    class Watching(CheckpointCallback):
        def on_epoch_end(self, record):
            super().on_epoch_end(record)
            path = tmp_path / "checkpoint.safetensors"
            written.append(len(read_checkpoint(path).history) if path.exists() else 0)

    context = context_of(small_images, tmp_path)
    trainer = trainer_of(small_images, RECIPE)
    checkpoint = Watching(trainer, context, seconds=1e9, epochs=3, must_stop=lambda: len(written) == 7)
    checkpoint.on_train_begin(context)
    with pytest.raises(StoppedError, match=r"stopped after epoch 8 of 8\. Resume with: chalknet train --re"):
        run_epochs(trainer, checkpoint)
    assert written == [0, 0, 3, 3, 3, 6, 6]
    assert read_unfinished(tmp_path) == (RECIPE, context.origin)
    assert len(read_checkpoint(tmp_path / "checkpoint.safetensors").history) == 8
    checkpoint.clear()
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_checkpoint_intervals_grow_from_a_half_to_60_seconds(monkeypatch):
    now = 0.0
    monkeypatch.setattr("chalknet.artifacts.checkpoint.time.monotonic", lambda: now)
    schedule, taken = CheckpointSchedule(), []
    while now < 1000:
        now += 0.125  # an epoch
        if schedule.is_due():
            taken.append(now)
            with schedule.measure():
                now += 0.0625 if now < 300 else 4.0  # a slower disk from then on
    waits = np.diff([0.0, *taken])
    assert waits[:4] == pytest.approx([0.5, 2.2, 4.3, 8.4], abs=0.2)
    assert max(waits[np.array(taken) < 300]) == pytest.approx(60, abs=0.3)
    assert waits[-1] == pytest.approx(4 + 4 / 0.03, abs=0.3)


def test_zero_seconds_are_one_after_every_epoch(small_images, tmp_path):
    trainer = trainer_of(small_images, RECIPE)
    run_epochs(trainer, CheckpointCallback(trainer, context_of(small_images, tmp_path), seconds=0))
    assert len(read_checkpoint(tmp_path / "checkpoint.safetensors").history) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a whole checkpoint"),
        (b"\x08\0\0\0\0\0\0\0{}      ", "is not a whole checkpoint"),
        (b"PK\x03\x04", "is not a whole checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_an_error(tmp_path, content, message):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        read_checkpoint(path)


def test_a_truncated_or_newer_checkpoint_is_an_error(small_images, tmp_path, monkeypatch):
    trainer = trainer_of(small_images, RECIPE)
    next(trainer.epochs())
    path = tmp_path / "checkpoint.safetensors"
    content = checkpoint_bytes(trainer.checkpoint())
    path.write_bytes(content[:-1])
    with pytest.raises(StoreError, match="is not a whole checkpoint"):
        read_checkpoint(path)
    monkeypatch.setattr("chalknet.artifacts.checkpoint.FORMAT", 3)
    path.write_bytes(checkpoint_bytes(trainer.checkpoint()))
    monkeypatch.setattr("chalknet.artifacts.checkpoint.FORMAT", 2)
    with pytest.raises(StoreError, match="has format 3, and this chalknet reads up to 2"):
        read_checkpoint(path)


def test_a_full_disk_leaves_the_last_checkpoint_whole(small_images, tmp_path, monkeypatch):
    trainer = trainer_of(small_images, RECIPE)
    checkpoint = CheckpointCallback(trainer, context_of(small_images, tmp_path), seconds=0)
    epochs = trainer.epochs()
    checkpoint(next(epochs))
    record = next(epochs)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chalknet.artifacts.atomic.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        checkpoint(record)
    assert len(read_checkpoint(tmp_path / "checkpoint.safetensors").history) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_python_users_resume_with_resume(tmp_path):
    save_images(tmp_path / "made.npz", class_names=list("ABCD"))
    whole = train(tmp_path / "made.npz", RECIPE, out=tmp_path / "whole")

    def stop(record):
        if record.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "made.npz", RECIPE, out=tmp_path / "run", checkpoint_seconds=0, callbacks=stop)
    assert len(read_checkpoint(tmp_path / "run" / "checkpoint.safetensors").history) == 2
    with pytest.raises(OutputError, match=r"holds an unfinished run\. Resume it with: chalknet\.resume\('.*run'\)\."):
        train(tmp_path / "made.npz", RECIPE, out=tmp_path / "run")
    again = resume(tmp_path / "run")
    assert files_of(again) == files_of(whole)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
    with pytest.raises(StoreError, match="holds a finished run; there is nothing to resume"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("engine", ["numpy", "reference"])
def test_a_format_1_checkpoint_resumes_with_the_same_bits(small_images, tmp_path, monkeypatch, engine):
    recipe = RECIPE.with_settings(engine=engine)
    whole = run_epochs(trainer_of(small_images, recipe))
    begun = trainer_of(small_images, recipe)
    next(begun.epochs())
    kept = begun.checkpoint()
    # As format 1 had it: velocities by their parameter's name, and none of the biases, which had none.
    of_then = {name.removeprefix("velocity/"): value for name, value in kept.state.items() if name.endswith(".weight")}
    monkeypatch.setattr("chalknet.artifacts.checkpoint.FORMAT", 1)
    (tmp_path / "old.safetensors").write_bytes(checkpoint_bytes(replace(kept, state=of_then)))
    monkeypatch.undo()
    run = run_epochs(trainer_of(small_images, recipe), start=read_checkpoint(tmp_path / "old.safetensors"))
    assert files_of(run) == files_of(whole)


def test_a_format_2_checkpoint_resumes_with_the_same_bits():
    """It was written after two of three epochs by version 0.1.0, which then had these losses in the third."""
    data = made_images(60, seed=4, shape=(3, 2))
    recipe = Recipe().with_settings(
        hidden=[5, 4], activation=["gelu", "relu"], batch_norm=True, dropout=0.2, input_dropout=0.1, optimizer="adam",
        learning_rate=0.01, weight_average=0.9, reduction="mean", epochs=3, batch_size=16, dtype="float64",
    )  # fmt: skip
    trainer = Trainer(data, split_dataset(data, "random", 40, 10, 0), recipe)
    trainer.load_checkpoint(read_checkpoint(GOLDEN / "checkpoint-2.safetensors"))
    (record,) = trainer.epochs()
    losses = [record.train.loss, record.valid.loss, record.test.loss]
    assert losses == pytest.approx([1.33360207962642, 1.2981017093508105, 1.3348003869555851], rel=1e-12)


@pytest.mark.parametrize("number", [3, 4])
def test_a_checkpoint_of_this_format_resumes_with_the_same_bits(number):
    """That of format 3 was written after two of three epochs, that of format 4 after two updates more."""
    data = made_images(60, seed=4, shape=(3, 2))
    recipe = Recipe().with_settings(
        hidden=[5, 4], activation=["gelu", "relu"], batch_norm=True, dropout=0.2, input_dropout=0.1, optimizer="adam",
        learning_rate=0.01, weight_average=0.9, reduction="mean", epochs=3, batch_size=16, dtype="float64",
    )  # fmt: skip
    trainer = Trainer(data, split_dataset(data, "random", 40, 10, 0), recipe)
    checkpoint = read_checkpoint(GOLDEN / f"checkpoint-{number}.safetensors", trainer.digests)
    assert (checkpoint.unfinished is None) == (number == 3)
    trainer.load_checkpoint(checkpoint)
    (record,) = trainer.epochs()
    losses = [record.train.loss, record.valid.loss, record.test.loss]
    assert losses == pytest.approx([1.3350839358674458, 1.4455539930189985, 1.3774076439349425], rel=1e-12)


def test_a_checkpoint_is_not_continued_with_other_layers(small_images):
    checkpoint = next_checkpoint(trainer_of(small_images, RECIPE))
    with pytest.raises(ConfigError, match="the checkpoint is from a network with other layers"):
        trainer_of(small_images, RECIPE.with_settings(activation="tanh")).load_checkpoint(checkpoint)


@pytest.mark.parametrize("settings", [{"optimizer": "adam"}, {"epochs": 3}, {"valid_size": 30}])
def test_a_checkpoint_of_another_training_is_refused(small_images, settings):
    trainer = trainer_of(small_images, RECIPE)
    for _ in range(4):
        next(trainer.epochs())
    other = RECIPE.with_settings(**settings)
    splits = split_dataset(small_images, "writeup", 160, other.split.valid_size)
    with pytest.raises(
        ConfigError, match="the checkpoint is from another training: it has 4 epochs and the optimizer state 'velocity'"
    ):
        Trainer(small_images, splits, other, keep_sample_scores=True).load_checkpoint(trainer.checkpoint())


def next_checkpoint(trainer):
    next(trainer.epochs())
    return trainer.checkpoint()
