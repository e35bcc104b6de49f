"""Divergence: which update caused it, what the message suggests, and which weights are kept."""

import math

import numpy as np
import pytest

from chalknet.config import Recipe
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import DivergenceError
from chalknet.training.divergence import LastFiniteUpdate, suggestion
from chalknet.training.trainer import Trainer, run_epochs

# Values multiply from layer to layer and weights by gradients, so that float32 overflows within two epochs.
RUNAWAY = Recipe().with_settings(
    hidden=[9, 5], epochs=50, train_size=160, valid_size=40, batch_size=32, learning_rate=0.05, activation="identity"
)


def trainer_of(data, recipe=RUNAWAY, **settings):
    return Trainer(data, split_dataset(data, "writeup", 160, 40), recipe.with_settings(**settings))


def lost(trainer):
    with pytest.raises(DivergenceError) as caught:
        run_epochs(trainer)
    return caught.value


@pytest.mark.parametrize("engine", ["numpy", "reference"])
def test_the_last_update_with_a_finite_loss_is_found(small_images, engine):
    settings = {"engine": engine, "dtype": "float32", "schedule": "cosine"}
    error = lost(trainer_of(small_images, **settings))
    looked = trainer_of(small_images, **settings)
    with np.errstate(all="ignore"):
        losses = [(u.step, looked.engine.train_epoch([u]).loss) for epoch in (1, 2, 3) for u in looked.updates(epoch)]
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    step, loss = finite[-1]
    assert len(finite) < len(losses)
    assert f"epoch {(step.number - 1) // 5 + 1} (learning_rate {step.learning_rate:.4g}, update " in str(error)
    assert f"update {(step.number - 1) % 5 + 1} of 5, last finite loss {loss:.4g};" in str(error)


def test_the_largest_gradient_is_that_of_central_differences(small_images):
    # One full batch at a rate that loses the loss at once, so the gradient is that of the first weights.
    settings = {"hidden": [4], "batch_size": "full", "learning_rate": 1e200, "engine": "reference", "dtype": "float64"}
    error = lost(trainer_of(small_images, Recipe(), **settings, epochs=9, activation="identity"))
    trainer = trainer_of(small_images, Recipe(), **settings, epochs=9, activation="identity")
    start = trainer.engine.parameters()
    gradient_norms = {}
    for name, value in start.items():
        slopes = np.empty(value.size)
        for k in range(value.size):
            found = []
            for way in (1, -1):
                moved = {key: each.copy() for key, each in start.items()}
                moved[name].flat[k] += way * 1e-5
                trainer.engine.restore(moved, {})
                found.append(160 * trainer.engine.evaluate("train").loss)
            slopes[k] = (found[0] - found[1]) / 2e-5
        gradient_norms[name] = np.linalg.norm(slopes)
    largest = max(gradient_norms, key=gradient_norms.get)
    assert f"largest gradient {largest}, norm {gradient_norms[largest]:.3g})" in str(error)


@pytest.mark.parametrize("engine", ["numpy", "reference"])
def test_divergence_keeps_the_best_weights(small_images, engine):
    settings = {"engine": engine, "dtype": "float32", "schedule": "step", "step_epochs": 6, "step_factor": 1e9}
    trainer = trainer_of(small_images, **settings, learning_rate=2e-4, momentum=0.0)
    run = lost(trainer).run
    losses = [record.valid.loss for record in run.history]
    assert len(run.history) >= 6
    assert run.kept_epoch == int(np.argmin(losses)) + 1
    assert run.kept.valid.loss == min(losses)
    again = trainer_of(small_images, **settings, learning_rate=2e-4, momentum=0.0)
    for record in again.epochs():
        if record.epoch == run.kept_epoch:
            break
    want = again.network().parameters
    assert all((value == want[name]).all() for name, value in run.network.parameters.items())


def test_without_validation_the_last_finite_epoch_is_kept(small_images):
    recipe = RUNAWAY.with_settings(schedule="step", step_epochs=3, step_factor=1e9, learning_rate=2e-4, momentum=0.0)
    trainer = Trainer(small_images, Splits(np.arange(240), np.arange(0), np.arange(0)), recipe)
    run = lost(trainer).run
    assert run.kept_epoch == len(run.history) >= 3
    assert all(np.isfinite(value).all() for value in run.network.parameters.values())


def test_divergence_in_the_first_epoch_keeps_nothing(small_images):
    error = lost(trainer_of(small_images, learning_rate=1e6))
    assert error.run is None
    assert "at epoch 1 " in str(error)


def test_an_epoch_ends_as_soon_as_its_loss_is_not_finite(small_images, monkeypatch):
    trainer = trainer_of(small_images, learning_rate=1e6, engine="reference")
    made = []
    monkeypatch.setattr(type(trainer.engine), "_update_parameters", lambda *_: made.append(1))
    inputs = trainer.engine._inputs["train"]
    inputs[:] = np.nan
    trainer.engine.train_epoch(trainer.updates(1))
    assert len(made) == 1


def step(**changed):
    known = {"number": 1, "n_updates": 5, "learning_rate": 1.0, "n_samples": 32, "loss": 2.0, "largest_input": 1.0}
    return LastFiniteUpdate(**known | {"gradient_norms": {"output.weight": 3.0}} | changed)


@pytest.mark.parametrize(
    ("seen", "settings", "words"),
    [
        ({"largest_input": 4e6}, {}, "Inputs are as large as 4e+06: try input_scaling standard."),
        ({"largest_input": float("nan")}, {}, "Inputs are as large as nan: try input_scaling standard."),
        ({"largest_input": 4e6}, {"input_scaling": "standard"}, "Gradients are sums"),
        ({"learning_rate": 0.5}, {"weight_decay": 3.0}, "learning_rate times weight_decay is 1.5, and must be below 1"),
        ({"learning_rate": 0.5}, {"l2": 4.0}, "learning_rate times l2 is 2, and must be below 1"),
        (
            {"learning_rate": 0.5},
            {"l2": 1e308},
            "learning_rate times l2 is 5e+307, and must be below 1: try l2",
        ),
        (
            {},
            {},
            "Gradients are sums over 32 samples: try learning_rate 3e-05, or reduction mean with learning_rate 0.001.",
        ),
        ({}, {"reduction": "mean"}, "Gradients are not clipped: try learning_rate 0.001 with clip_norm 1."),
        ({}, {"reduction": "mean", "clip_norm": 1.0}, "Try learning_rate 0.001."),
        ({}, {"reduction": "mean", "optimizer": "adamw"}, "Try learning_rate 0.001."),
        ({}, {"reduction": "mean", "optimizer": "adam", "learning_rate": 0.002}, "Try learning_rate 0.0002."),
    ],
)
def test_the_suggestion_depends_on_the_cause(seen, settings, words):
    recipe = Recipe().with_settings(**{"learning_rate": 1.0} | settings)
    assert suggestion(step(**seen), recipe).startswith(words)


def test_following_the_suggestions_gives_a_finite_loss(small_images):
    rows = dataset_from_arrays(1e6 * np.random.default_rng(0).normal(size=(240, 8)), np.arange(240) % 3)
    for data, settings in (
        (small_images, {"learning_rate": 0.001, "reduction": "mean"}),
        (small_images, {"learning_rate": 3e-5}),
        (rows, {"learning_rate": 1e-4, "input_scaling": "standard"}),
    ):
        assert len(run_epochs(trainer_of(data, **settings)).history) == 50


@pytest.mark.parametrize("engine", ["numpy", "reference"])
@pytest.mark.parametrize("column", [2, 5], ids=["varies", "never varies in training"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_an_outlying_validation_or_test_input_is_named(split, column, engine):
    rows = np.random.default_rng(0).normal(size=(240, 6))
    rows[:, 5] = 1.0
    sample = {"valid": 170, "test": 220}[split]
    rows[sample, column] = 1e300
    data = dataset_from_arrays(rows, np.arange(240) % 3)
    splits = Splits(np.arange(160), np.arange(160, 200), np.arange(200, 240))
    recipe = RUNAWAY.with_settings(engine=engine, input_scaling="standard", learning_rate=1e-5, activation="relu")
    trainer = Trainer(data, splits, recipe)
    start = trainer.checkpoint().parameters
    said = str(lost(trainer))
    assert f"sample {sample}, column {column + 1} is 1e+300" in said
    assert said.startswith(f"the {'validation' if split == 'valid' else 'test'} loss became ")
    assert "learning_rate" not in said
    assert all((value == start[name]).all() for name, value in trainer.engine.parameters().items())
