from itertools import product

import numpy as np
import pytest

from chalknet.config import MONITORS, Recipe
from chalknet.data.splits import Splits, split_dataset
from chalknet.errors import ConfigError
from chalknet.records import EpochRecord, Scores
from chalknet.training.stopping import EarlyStopping, is_improvement
from chalknet.training.trainer import Trainer, run_epochs

RECIPE = Recipe().with_settings(hidden=[7], epochs=40, train_size=160, valid_size=40, stop_early=True)
FAST = {"learning_rate": 0.02, "momentum": 0.9}  # with which the validation loss rises again


def watched(values, losses=None, **settings):
    """Return the best epochs so far, and the epoch at which training stops or None."""
    stopping = EarlyStopping(RECIPE.with_settings(**settings).stopping, 1)
    improving = []
    for epoch, (value, loss) in enumerate(zip(values, losses or values, strict=True), start=1):
        record = EpochRecord(epoch, Scores(0, 0, 0), Scores(loss, value, 0), None, 0.1)
        if stopping.update(record):
            improving.append(epoch)
        if stopping.should_stop:
            return improving, epoch
    return improving, None


@pytest.mark.parametrize(("best", "delta"), list(product([-2.0, 0.0, 0.5, 3.0], [0.0, 0.25])))
def test_improvement_must_exceed_min_delta(best, delta):
    assert not is_improvement(best, best, delta, "valid_loss")
    assert not is_improvement(best, best, delta, "valid_accuracy")
    assert is_improvement(best - delta - 0.125, best, delta, "valid_loss")
    assert is_improvement(best + delta + 0.125, best, delta, "valid_accuracy")
    assert not is_improvement(best - delta, best, delta, "valid_loss")  # exactly by min_delta is not more than it
    assert not is_improvement(best + delta, best, delta, "valid_accuracy")


def test_patience_counts_epochs_since_the_best():
    assert watched([5, 4, 4, 4, 3, 3, 3], patience=3) == ([1, 2, 5], None)
    assert watched([5, 4, 4, 4, 4, 3, 3], patience=3) == ([1, 2], 5)
    assert watched([1, 2], patience=1) == ([1], 2)


def test_training_never_stops_in_its_first_half():
    rule = RECIPE.with_settings(patience=2).stopping
    for n_epochs, want in ((1, 3), (6, 3), (7, 4), (8, 4), (40, 20)):
        stopping = EarlyStopping(rule, n_epochs)
        for epoch in range(1, 41):
            stopping.update(EpochRecord(epoch, Scores(0, 0, 0), Scores(1 + epoch, 0, 0), None, 0.1))
            if stopping.should_stop:
                break
        assert epoch == want
        assert stopping.best.epoch == 1


def test_small_improvements_add_up():
    # Each is compared with the best, not with the epoch before it.
    assert watched([1.0, 0.95, 0.9, 0.85], min_delta=0.12, patience=9) == ([1, 4], None)


def test_higher_accuracy_is_an_improvement():
    assert watched([0.5, 0.6, 0.6, 0.7], monitor="valid_accuracy", patience=9) == ([1, 2, 4], None)


def test_equal_accuracies_are_ranked_by_loss():
    accuracies, losses = [0.5, 0.9, 0.9, 0.9, 0.8, 0.9], [9.0, 3.0, 4.0, 2.0, 1.0, 1.0]
    assert watched(accuracies, losses, monitor="valid_accuracy", patience=9) == ([1, 2, 4, 6], None)
    assert watched(accuracies, losses, monitor="valid_accuracy", patience=3) == ([1, 2, 4], 5)
    assert watched([3.0, 3.0], [3.0, 3.0], monitor="valid_loss") == ([1], None)


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_best_epochs_weights_are_kept(small_images, monitor):
    recipe = RECIPE.with_settings(monitor=monitor, patience=4, **FAST)
    splits = split_dataset(small_images, "writeup", 160, 40)
    run = run_epochs(Trainer(small_images, splits, recipe))
    assert run.kept_epoch < len(run.history) - 4
    assert len(run.history) == 20
    whole = Trainer(small_images, splits, recipe)
    for record in whole.epochs():
        if record.epoch == run.kept_epoch:
            break
    want = whole.network().parameters
    assert all((value == want[name]).all() for name, value in run.network.parameters.items())
    assert run.kept.valid == record.valid


def test_the_last_weights_are_kept_on_request(small_images):
    splits = split_dataset(small_images, "writeup", 160, 40)
    run = run_epochs(Trainer(small_images, splits, RECIPE.with_settings(patience=4, restore_best=False, **FAST)))
    assert run.kept_epoch == len(run.history) < 40


def test_best_weights_are_kept_if_patience_never_ends(small_images):
    splits = split_dataset(small_images, "writeup", 160, 40)
    run = run_epochs(Trainer(small_images, splits, RECIPE.with_settings(patience=40, **FAST)))
    losses = [record.valid.loss for record in run.history]
    assert len(losses) == 40
    assert run.kept_epoch == int(np.argmin(losses)) + 1 < 40


def test_early_stopping_needs_validation_samples(small_images):
    splits = Splits(np.arange(200), np.array([], int), np.arange(200, 240))
    with pytest.raises(ConfigError, match=r"no validation samples\. Give valid_size, or stop_early=False"):
        run_epochs(Trainer(small_images, splits, RECIPE))
