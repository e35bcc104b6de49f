"""Checkpoints between two updates of an epoch: when they are written, and what resumes from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import made_images, needs
from interruptions import (
    assert_same_end,
    interrupted,
    pause_after_every_update,
    scores_of,
    through_a_file,
)

from chalknet.artifacts.checkpoint import CheckpointCallback, read_checkpoint
from chalknet.config import Recipe
from chalknet.data.splits import split_dataset
from chalknet.engines import numpy_engine
from chalknet.engines.sharded import LocalShards
from chalknet.errors import ConfigError, DivergenceError, StoppedError
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.joint_training import train_jointly
from chalknet.training.trainer import Trainer, run_epochs
from chalknet.workflows.train import resume, train

DATA = made_images(90, seed=4, shape=(6, 5))
SPLITS = split_dataset(DATA, "random", 60, 15, 0)
RECIPE = (
    Recipe()
    .with_settings(hidden=[7], epochs=3, batch_size=16, learning_rate=0.01, momentum=0.9, reduction="mean")
    .with_settings(train_size=60, valid_size=15)
)


@pytest.fixture(autouse=True)
def after_every_update(monkeypatch):
    pause_after_every_update(monkeypatch)


def trainer_of(recipe=RECIPE, data=DATA, **more):
    return Trainer(data, SPLITS, recipe, **more)


def whole_training(recipe=RECIPE, **more):
    trainer = trainer_of(recipe, **more)
    run_epochs(trainer)
    return trainer


def resumed(checkpoint, recipe=RECIPE, **more):
    trainer = trainer_of(recipe, **more)
    run_epochs(trainer, start=checkpoint)
    return trainer


def test_a_training_interrupted_in_every_epoch_ends_alike(tmp_path):
    whole, checkpoint = whole_training(keep_sample_scores=True), None
    for where in ((1, 1), (1, 3), (2, 2), (3, 1)):
        trainer = trainer_of(keep_sample_scores=True)
        if checkpoint is not None:
            trainer.load_checkpoint(checkpoint)
        checkpoint = through_a_file(interrupted(trainer, *where), tmp_path)
    end = resumed(checkpoint, keep_sample_scores=True)
    assert_same_end(end, whole)
    for mine, theirs in zip(end.valid_sample_scores, whole.valid_sample_scores, strict=True):
        assert (mine.loss == theirs.loss).all()


@pytest.mark.parametrize("room", [20, 40])
def test_scores_have_the_same_bits_if_terms_are_summed_within_an_epoch(monkeypatch, tmp_path, room):
    monkeypatch.setattr(numpy_engine, "SMALL_BATCH_TERMS", room)
    recipe = RECIPE.with_settings(tile_rows=16)
    whole = whole_training(recipe)
    for n_updates in (1, 2, 3):
        assert_same_end(resumed(through_a_file(interrupted(trainer_of(recipe), 2, n_updates), tmp_path), recipe), whole)


@pytest.mark.parametrize("settings", [{}, {"restore_best": False}])
def test_early_stopping_is_the_same_within_an_epoch(tmp_path, settings):
    recipe = RECIPE.with_settings(epochs=40, learning_rate=0.1, stop_early=True, patience=3, **settings)
    noise = replace(DATA, labels=np.random.default_rng(0).permutation(DATA.labels))
    run = run_epochs(trainer_of(recipe, noise))
    assert 2 < run.kept_epoch < 40
    assert len(run.history) < 40
    checkpoint = through_a_file(interrupted(trainer_of(recipe, noise), len(run.history), 2), tmp_path)
    again = run_epochs(trainer_of(recipe, noise), start=checkpoint)
    assert scores_of(again.history) == scores_of(run.history)
    assert again.kept_epoch == run.kept_epoch
    assert all((value == again.network.parameters[name]).all() for name, value in run.network.parameters.items())


def test_shards_resume_within_an_epoch(tmp_path):
    whole = whole_training(shards=LocalShards(2))
    checkpoint = through_a_file(interrupted(trainer_of(shards=LocalShards(2)), 2, 3), tmp_path)
    assert_same_end(resumed(checkpoint, shards=LocalShards(2)), whole)


@pytest.mark.extras
def test_captured_updates_resume_within_an_epoch(monkeypatch, tmp_path):
    torch_engine = needs("torch") and __import__("chalknet.engines.torch_engine", fromlist=["torch_engine"])
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", ("cpu",))
    monkeypatch.setattr(torch_engine, "CAPTURED_AT_ONCE", 2)
    recipe = RECIPE.with_settings(engine="torch", device="cpu", optimizer="adam", weight_average=0.9)
    whole = whole_training(recipe)
    assert whole.engine.stack._captures
    # The iterator of updates is asked for two before they are made, so a checkpoint has the updates before these.
    assert_same_end(resumed(through_a_file(interrupted(trainer_of(recipe), 2, 2), tmp_path), recipe), whole)


@pytest.mark.extras
@pytest.mark.parametrize("captures", [False, True])
@pytest.mark.parametrize("n_updates", [1, 2, 3])
def test_random_numbers_of_many_updates_are_the_same_after_resuming(monkeypatch, tmp_path, n_updates, captures):
    """Torch draws the numbers of two updates at once, and after resuming not of the same two."""
    torch_engine = needs("torch") and __import__("chalknet.engines.torch_engine", fromlist=["torch_engine"])
    monkeypatch.setattr(torch_engine, "DRAW_ON", ("cpu",))
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", ("cpu",) if captures else ())
    recipe = RECIPE.with_settings(
        engine="torch", device="cpu", dropout=0.2, dropout_schedule="flat_cos", input_dropout=0.1, mixup=0.3,
        shift_pixels=1.0, erase=0.5, optimizer="adam",
    )  # fmt: skip
    monkeypatch.setattr(torch_engine, "CAPTURED_AT_ONCE", 1)
    checkpoint = through_a_file(interrupted(trainer_of(recipe), 2, n_updates), tmp_path)
    monkeypatch.setattr(torch_engine, "CAPTURED_AT_ONCE", 2)
    whole = whole_training(recipe)
    assert whole.engine.stack._device_draws is not None
    assert whole.engine.stack._captures == captures
    assert_same_end(resumed(checkpoint, recipe), whole)


@pytest.mark.extras
@pytest.mark.parametrize(("first", "second"), [("numpy", "torch"), ("torch", "numpy"), ("reference", "numpy")])
def test_another_engine_resumes_within_an_epoch(first, second):
    needs("torch")
    recipe = RECIPE.with_settings(dtype="float64", dropout=0.2)
    whole = whole_training(recipe.with_settings(engine=second))
    checkpoint = interrupted(trainer_of(recipe.with_settings(engine=first)), 2, 2)
    end = resumed(checkpoint, recipe.with_settings(engine=second))
    for mine, theirs in zip(end.history, whole.history, strict=True):
        assert vars(mine.train) == pytest.approx(vars(theirs.train), rel=1e-9)
        assert vars(mine.valid) == pytest.approx(vars(theirs.valid), rel=1e-9)


def test_a_divergence_after_resuming_within_its_epoch_has_the_same_message(tmp_path):
    recipe = RECIPE.with_settings(learning_rate=1e18, activation="identity", epochs=9)
    whole = trainer_of(recipe)
    with pytest.raises(DivergenceError) as undisturbed:
        run_epochs(whole)
    epoch = len(whole.history) + 1
    checkpoint = through_a_file(interrupted(trainer_of(recipe), epoch, 1), tmp_path)
    again = trainer_of(recipe)
    with pytest.raises(DivergenceError) as error:
        run_epochs(again, start=checkpoint)
    assert str(error.value) == str(undisturbed.value)
    assert_same_end(again, whole)


def test_a_state_that_is_not_finite_is_not_kept():
    trainer, found = trainer_of(RECIPE.with_settings(learning_rate=1e30, activation="identity")), []

    class Looks(Callback):
        def between_updates(self):
            found.append((trainer.checkpoint(within_epoch=True), trainer.engine.parameters()))

    with pytest.raises(DivergenceError):
        run_epochs(trainer, Looks())
    is_finite = [all(np.isfinite(value).all() for value in parameters.values()) for _, parameters in found]
    assert False in is_finite
    assert [checkpoint.unfinished is not None for checkpoint, _ in found] == is_finite
    assert [checkpoint.has_progress for checkpoint, _ in found] == is_finite


def test_the_time_of_an_epoch_includes_that_before_the_interruption(monkeypatch, tmp_path):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr("chalknet.training.trainer.time.perf_counter", clock)
    checkpoint = through_a_file(interrupted(trainer_of(), 1, 3), tmp_path)
    assert checkpoint.unfinished.seconds > 5
    seconds = checkpoint.unfinished.seconds + 1000
    checkpoint = replace(checkpoint, unfinished=replace(checkpoint.unfinished, seconds=seconds))
    first, second, _ = resumed(checkpoint).history
    assert seconds < first.seconds < seconds + 100
    assert second.seconds < 100


def test_a_checkpoint_of_another_epoch_length_is_refused():
    checkpoint = interrupted(trainer_of(RECIPE), 2, 3)
    trainer = trainer_of(RECIPE.with_settings(batch_size=30))
    with pytest.raises(ConfigError, match="is from another training: 3 updates of 2 are made in its epoch"):
        trainer.load_checkpoint(checkpoint)
    assert trainer.history == []


def test_an_interval_that_passes_within_an_epoch_writes_a_checkpoint(tmp_path):
    trainer = trainer_of()
    context, made = RunContext(DATA, SPLITS, RECIPE, folder=tmp_path), []

    class Watching(CheckpointCallback):
        def between_updates(self):
            super().between_updates()
            checkpoint = read_checkpoint(tmp_path / "checkpoint.safetensors")
            made.append((len(checkpoint.history), checkpoint.unfinished.scores.n_updates))

    run_epochs(trainer, Watching(trainer, context, seconds=0))
    assert made == [(epoch, number) for epoch in range(3) for number in (1, 2, 3)]
    last = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert (len(last.history), last.unfinished) == (3, None)


def test_a_stop_request_is_met_between_two_updates(tmp_path):
    trainer, asked = trainer_of(), []
    context = RunContext(DATA, SPLITS, RECIPE, folder=tmp_path)
    checkpoint = CheckpointCallback(
        trainer, context, seconds=1e9, must_stop=lambda: asked.append(0) is not None or len(asked) == 6
    )
    with pytest.raises(StoppedError, match=r"^stopped in epoch 2 of 3, after 2 of 4 updates\. Resume with: chalk"):
        run_epochs(trainer, checkpoint)
    assert_same_end(resumed(read_checkpoint(tmp_path / "checkpoint.safetensors")), whole_training())


def test_python_users_resume_within_an_epoch(tmp_path):
    settings = {"splits": SPLITS, "recipe": RECIPE, "checkpoint_seconds": 0}
    whole = train(DATA, **settings)

    class Stop(Callback):
        n_calls = 0

        def between_updates(self):
            self.n_calls += 1
            if self.n_calls == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(DATA, **settings, out=tmp_path / "run", callbacks=Stop())
    assert read_checkpoint(tmp_path / "run" / "checkpoint.safetensors").unfinished.scores.n_updates == 1
    run = resume(tmp_path / "run", data=DATA, splits=SPLITS)
    assert scores_of(run.history) == scores_of(whole.history)


@pytest.mark.extras
@pytest.mark.parametrize("draw_on", [(), ("cpu",)])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_stack_resumes_within_an_epoch(mixed, draw_on, monkeypatch):
    """If the checkpoints are from different updates, all networks begin the epoch anew."""
    torch_engine = needs("torch") and __import__("chalknet.engines.torch_engine", fromlist=["torch_engine"])
    monkeypatch.setattr(torch_engine, "DRAW_ON", draw_on)
    base = RECIPE.with_settings(engine="torch", device="cpu", dropout=0.2, batch_norm=True, train_size=60)
    recipes = [base.with_settings(seed=seed, learning_rate=0.01 * (seed + 1)) for seed in range(3)]

    def trained(starts=(), stop_at=None):
        ends, trainers, taken = {}, {}, {}

        def begin(number, trainer):
            trainers[number] = trainer
            if starts:
                trainer.load_checkpoint(starts[number])
            return []

        def look():
            found = {number: trainer.checkpoint(within_epoch=True) for number, trainer in trainers.items()}
            unfinished = [one.unfinished for one in found.values()]
            (made,) = {0 if one is None else one.scores.n_updates for one in unfinished}
            if (len(found[0].history), made) == stop_at:
                taken.update(found)
                raise KeyboardInterrupt

        try:
            train_jointly(DATA, SPLITS, recipes, ends.__setitem__, on_start=begin, on_pause=look)
        except KeyboardInterrupt:
            return taken
        return {number: (scores_of(run.history), run.network.parameters) for number, run in ends.items()}

    whole = trained()
    monkeypatch.setattr(torch_engine, "CAPTURED_AT_ONCE", 1)
    starts = trained(stop_at=(1, 2))
    if mixed:
        starts[1] = trained(stop_at=(1, 3))[1]
    again = trained(starts)
    for number, (history, parameters) in whole.items():
        assert again[number][0] == history
        assert all((again[number][1][name] == value).all() for name, value in parameters.items())
