"""Many trainings in one process: at the same time, and one after the other."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import chalknet
from chalknet.config import Recipe
from chalknet.data.splits import split_dataset
from chalknet.training.trainer import Trainer

DATA = chalknet.dataset_from_arrays(
    np.random.default_rng(0).integers(0, 255, (1500, 28, 28), dtype=np.uint8), np.arange(1500) % 10
)
SIZES = {"train_size": 1200, "valid_size": 150}
TRAININGS = [
    {"hidden": [33], "epochs": 8},
    {"hidden": [50], "epochs": 6, "dtype": "float64"},
    {"hidden": [300, 50], "epochs": 4},
    {"hidden": [64, 32], "epochs": 3, "batch_size": 300},
    {"hidden": [50], "epochs": 3, "batch_size": 128},
    {"hidden": [300, 50], "epochs": 2, "dtype": "float64", "batch_size": 500},
    {"hidden": [10], "epochs": 9},
    {"hidden": [33], "epochs": 4, "engine": "reference"},
]


def parameters_of(number):
    network = chalknet.train(DATA, "writeup", seed=number, **SIZES, **TRAININGS[number]).network
    return {name: value.tobytes() for name, value in network.parameters.items()}


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_trainings_in_threads_have_the_bits_of_each_alone(rounds):
    alone = [parameters_of(number) for number in range(8)]
    for _ in range(rounds):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(parameters_of, range(8))) == alone


def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_training_that_is_over_leaves_no_threads():
    before = set(threading.enumerate())  # threads of earlier tests may end meanwhile
    for _ in range(3):
        chalknet.train(DATA, "writeup", hidden=[300], epochs=1, workers=3, **SIZES)
    gc.collect()
    assert not set(threading.enumerate()) - before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("settings", [{}, {"batch_size": 128, "dropout": 0.1}], ids=["full batch", "mini-batches"])
def test_memory_does_not_grow_from_training_to_training(settings):
    for number in range(200):
        chalknet.train(DATA, "writeup", hidden=[100], epochs=1, workers=2, **SIZES, **settings)
        if number == 9:
            gc.collect()
            after_ten = memory()
    gc.collect()
    assert memory() - after_ten < 20 * 2**20


@pytest.mark.parametrize("engine", ["numpy", "reference"])
@pytest.mark.parametrize("batch_size", ["full", 64])
def test_an_interrupted_epoch_leaves_the_trainer_where_it_was(engine, batch_size):
    recipe = Recipe().with_settings(hidden=[20], epochs=3, engine=engine, batch_size=batch_size, learning_rate=1e-3)
    splits = split_dataset(DATA, "random", 1200, 150)
    trainer, whole = (Trainer(DATA, splits, recipe, workers=2) for _ in range(2))
    next(trainer.epochs())
    plain = trainer.updates

    def interrupted(epoch):
        yield next(plain(epoch))
        raise KeyboardInterrupt

    trainer.updates = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(trainer.epochs())
    trainer.updates = plain
    assert len(trainer.history) == 1
    list(trainer.epochs())
    list(whole.epochs())
    assert [(r.train, r.valid) for r in trainer.history] == [(r.train, r.valid) for r in whole.history]


def test_a_checkpoint_that_does_not_fit_changes_nothing():
    splits = split_dataset(DATA, "random", 1200, 150)
    recipe = Recipe().with_settings(hidden=[20], epochs=2)
    trainer = Trainer(DATA, splits, recipe)
    start = trainer.engine.parameters()
    other = Trainer(DATA, splits, recipe)
    list(other.epochs())
    checkpoint = replace(other.checkpoint(), best=other.engine.parameters())
    checkpoint.state["velocity/output.weight"] = np.zeros((3, 3))  # of another shape
    with pytest.raises(ValueError, match="broadcast"):
        trainer.load_checkpoint(checkpoint)
    assert trainer.history == []
    assert all((value == start[name]).all() for name, value in trainer.engine.parameters().items())
