import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from conftest import made_images
from oracles import train_as_in_writeup

from chalknet.artifacts.history_file import history_csv
from chalknet.config import Recipe
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import DivergenceError
from chalknet.training.trainer import Trainer

EXACT = Recipe().with_settings(engine="reference", dtype="float64")
SMALL = Recipe().with_settings(hidden=[7], epochs=6, train_size=160, valid_size=40, learning_rate=1e-3, momentum=0.9)


def trained(data, recipe):
    trainer = Trainer(data, split_dataset(data, "writeup", recipe.split.train_size, recipe.split.valid_size), recipe)
    return list(trainer.epochs()), trainer


def test_writeup_recipe_equals_an_independent_reimplementation(real_letters_file):
    data = load_data(real_letters_file)
    recipe = EXACT.with_settings(hidden=[50], epochs=20, seed=7, train_size=4800, valid_size=600)
    history, _ = trained(data, recipe)
    rows = [line.split(",")[:-1] for line in history_csv(history).splitlines()[1:]]
    want = train_as_in_writeup(data.inputs, data.labels, 50, 20, 7, 4800, 600)
    np.testing.assert_allclose(np.array(rows, dtype=float), want, rtol=0, atol=1e-9)


def test_reimplementation_agrees_on_synthetic_images():
    # Runs where no shared data is at hand; ten classes of 28 x 28, as the retelling expects.
    data = made_images(300, seed=3, shape=(28, 28), n_classes=10)
    recipe = EXACT.with_settings(hidden=[20], epochs=10, seed=1, train_size=200, valid_size=50)
    history, _ = trained(data, recipe)
    rows = [line.split(",")[:-1] for line in history_csv(history).splitlines()[1:]]
    want = train_as_in_writeup(data.inputs, data.labels, 20, 10, 1, 200, 50)
    np.testing.assert_allclose(np.array(rows, dtype=float), want, rtol=0, atol=1e-9)


def test_training_reaches_high_accuracy_on_easy_data(small_images):
    history, _ = trained(small_images, SMALL.with_settings(epochs=60))
    assert history[-1].train.loss < 0.2 * history[0].train.loss
    assert history[-1].test.accuracy > 0.95


@pytest.mark.parametrize("engine", ["numpy", "reference"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", ["full", 32])
def test_equal_seeds_give_equal_bits(small_images, engine, dtype, batch_size):
    recipe = SMALL.with_settings(engine=engine, dtype=dtype, batch_size=batch_size)
    (first, one), (again, two), (other, _) = (
        trained(small_images, recipe.with_settings(seed=seed)) for seed in (4, 4, 5)
    )
    assert [record.train for record in first] == [record.train for record in again]
    assert all(
        (one.network().parameters[name] == two.network().parameters[name]).all() for name in one.network().parameters
    )
    assert first[-1].train != other[-1].train


def test_epochs_can_be_stopped_and_continued(small_images):
    whole, _ = trained(small_images, SMALL.with_settings(batch_size=32))
    trainer = Trainer(small_images, split_dataset(small_images, "writeup", 160, 40), SMALL.with_settings(batch_size=32))
    first = list(islice(trainer.epochs(), 2))
    rest = list(trainer.epochs())
    assert [record.epoch for record in first + rest] == [1, 2, 3, 4, 5, 6]
    assert [record.train for record in first + rest] == [record.train for record in whole]


def test_validation_scores_per_sample_are_kept_on_request(small_images):
    splits = split_dataset(small_images, "writeup", 160, 40)
    trainer = Trainer(small_images, splits, SMALL, keep_sample_scores=True)
    history = list(trainer.epochs())
    assert [float(each.loss.mean(dtype=float)) for each in trainer.valid_sample_scores] == [
        r.valid.loss for r in history
    ]
    assert [float(each.correct.mean()) for each in trainer.valid_sample_scores] == [r.valid.accuracy for r in history]
    assert Trainer(small_images, splits, SMALL).valid_sample_scores == []


def test_the_batch_order_can_have_its_own_seed(small_images):
    splits = split_dataset(small_images, "writeup", 160, 40)

    def first_batch(**seeds):
        return Trainer(small_images, splits, SMALL.with_settings(batch_size=48, **seeds)).batches(1).__next__().tolist()

    assert first_batch(seed=3) == first_batch(seed=4, batch_seed=3) != first_batch(seed=4)


def test_each_epoch_uses_every_sample_once_in_a_new_order(small_images):
    trainer = Trainer(small_images, split_dataset(small_images, "writeup", 160, 40), SMALL.with_settings(batch_size=48))
    first, second = list(trainer.batches(1)), list(trainer.batches(2))
    assert [len(batch) for batch in first] == [48, 48, 48, 16]
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(160))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_a_batch_as_large_as_the_data_is_a_full_batch(small_images):
    full, _ = trained(small_images, SMALL)
    large, _ = trained(small_images, SMALL.with_settings(batch_size=160))
    assert [record.train for record in full] == [record.train for record in large]


def test_validation_and_test_splits_are_optional(small_images):
    everything = Splits(np.arange(240), np.array([], int), np.array([], int))
    record = next(Trainer(small_images, everything, SMALL).epochs())
    assert record.valid is None
    assert record.test is None
    assert record.train.loss > 0


def test_divergence_error_states_epoch_and_learning_rate(small_images):
    recipe = SMALL.with_settings(learning_rate=1e300, epochs=50)
    with pytest.raises(
        DivergenceError, match=r"loss became \S+ at epoch \d+ \(learning_rate 1e\+300, update .*try learning_rate"
    ):
        trained(small_images, recipe)


def test_a_network_from_the_trainer_does_not_change_later(small_images):
    trainer = Trainer(small_images, split_dataset(small_images, "writeup", 160, 40), SMALL)
    steps = trainer.epochs()
    next(steps)
    network = trainer.network()
    before = {name: value.copy() for name, value in network.parameters.items()}
    next(steps)
    assert all((network.parameters[name] == before[name]).all() for name in before)


def test_the_run_has_recipe_data_and_splits(small_images):
    history, trainer = trained(small_images, SMALL)
    run = trainer.run()
    assert run.history == tuple(history)
    assert run.data is small_images
    assert run.seconds == sum(record.seconds for record in history)
    assert run.network.image_shape == (6, 5)
    assert run.network.scaling.scale == 255.0
    scores = history[-1].test
    index = run.splits.test
    assert np.mean(run.network.predict(small_images.inputs[index]) == small_images.labels[index]) == scores.accuracy


def test_rows_are_not_scaled():
    rng = np.random.default_rng(0)
    data = dataset_from_arrays(rng.normal(size=(100, 4)), rng.integers(0, 2, 100))
    _, trainer = trained(data, SMALL.with_settings(train_size=60, valid_size=20))
    assert trainer.network().scaling.scale == 1.0
    assert trainer.network().image_shape is None


BITS = """
import hashlib, sys, numpy as np
from chalknet import Recipe, Splits, Trainer, dataset_from_arrays
rng = np.random.default_rng(0)
data = dataset_from_arrays(rng.integers(0, 256, (1500, 28, 28)), rng.integers(0, 10, 1500))
engine, dtype, batch_size = sys.argv[1], sys.argv[2], eval(sys.argv[3])
recipe = Recipe().with_settings(hidden=[600], epochs=3, engine=engine, dtype=dtype, batch_size=batch_size)
trainer = Trainer(data, Splits(np.arange(1200), np.arange(1200, 1350), np.arange(1350, 1500)), recipe)
for record in trainer.epochs(): pass
print(hashlib.sha256(b"".join(v.tobytes() for v in trainer.network().parameters.values())).hexdigest())
"""


@pytest.mark.parametrize("batch_size", ["'full'", "128"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ["numpy", "reference"])
def test_results_do_not_depend_on_blas_threads(engine, dtype, batch_size):
    import os

    def digest(threads):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", BITS, engine, dtype, batch_size]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert digest(1) == digest(2)


def test_updates_are_numbered_over_all_epochs(small_images):
    settings = {"train_size": 100, "valid_size": 40, "hidden": [3], "batch_size": 30, "epochs": 3}
    recipe = Recipe().with_settings(**settings, schedule="cosine", learning_rate=0.1)
    trainer = Trainer(small_images, split_dataset(small_images, "random", 100, 40), recipe)
    steps = [update.step for epoch in (1, 2, 3) for update in trainer.updates(epoch)]
    assert [step.number for step in steps] == list(range(1, 13))
    want = [0.1 * (1 + np.cos(np.pi * u / 12)) / 2 for u in range(12)]
    np.testing.assert_allclose([step.learning_rate for step in steps], want)
