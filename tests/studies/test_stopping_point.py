import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.artifacts.sample_losses import compact_losses
from chalknet.config import StoppingConfig
from chalknet.errors import ShapeError
from chalknet.records import EpochRecord, Scores
from chalknet.studies.stopping_point import stopping_point
from chalknet.training.stopping import EarlyStopping


def histories_of(losses, correct, test_correct=None):
    """What training would have recorded of (S, E, M) losses and right answers."""
    test_correct = correct if test_correct is None else test_correct

    def record(s, e):
        valid = Scores(float(losses[s, e].mean(dtype=float)), float(correct[s, e].mean()), 0.0)
        return EpochRecord(e + 1, Scores(0.1, 1.0, 0.0), valid, Scores(0.1, float(test_correct[s, e].mean()), 0.0), 0.1)

    return [[record(s, e) for e in range(losses.shape[1])] for s in range(losses.shape[0])]


def made(rng, n_seeds=3, n_epochs=60, n_images=200, best=20.0, seed_spread=0.0, image_spread=0.0):
    """Losses that fall to a minimum, which differs between seeds and between images, and rise again."""
    at = best + seed_spread * rng.normal(size=(n_seeds, 1, 1)) + image_spread * rng.normal(size=(1, 1, n_images))
    losses = 1 + ((np.arange(n_epochs)[None, :, None] - at) / n_epochs) ** 2
    return losses, losses < 1.05


def found(losses, correct, seed=0, **options):
    return stopping_point(histories_of(losses, correct), losses, correct, np.random.default_rng(seed), **options)


def test_a_minimum_that_all_share_is_found_for_sure():
    point = found(*made(np.random.default_rng(0)))
    assert (point.epoch.value, point.epoch.low, point.epoch.high) == (21, 21, 21)  # epochs are counted from 1
    assert point.by_seed == (21, 21, 21)
    assert point.n_epochs == 60


def test_the_first_of_equal_epochs_counts():
    losses = np.ones((1, 5, 4))
    assert found(losses, losses > 0).epoch.value == 1
    assert found(losses, losses > 0, monitor="valid_accuracy").epoch.value == 1


def test_equal_accuracies_are_decided_by_loss():
    """The recorded case: 26 and 38 have the same accuracy, and 38 the smaller loss."""
    accuracy, loss = np.full(50, 0.7), np.linspace(2.0, 1.0, 50)
    accuracy[[25, 37]], loss[37] = 0.9, 0.5
    correct = np.arange(10)[None, None, :] < np.round(10 * accuracy)[None, :, None]
    point = found(np.repeat(loss[None, :, None], 10, axis=2), correct, monitor="valid_accuracy")
    assert (point.epoch.value, point.by_seed) == (38, (38,))
    assert point.epoch.low <= 38 <= point.epoch.high
    rule = EarlyStopping(StoppingConfig(stop_early=True, monitor="valid_accuracy", patience=50), 99)
    kept = [one.epoch for one in histories_of(loss[None, :, None], correct)[0] if rule.update(one)][-1]
    assert kept == point.epoch.value


def test_the_interval_carries_seeds_and_images():
    rng = np.random.default_rng(1)
    # The mean curve's minimum is the mean of the images' minima, so theory gives the interval's half-width.
    point = found(*made(rng, n_seeds=1, image_spread=10.0), resamples=4_000)
    assert point.epoch.high - point.epoch.low == pytest.approx(2 * 1.96 * 10 / np.sqrt(200), abs=1.1)
    with_seeds = found(*made(np.random.default_rng(1), n_seeds=5, seed_spread=6.0, image_spread=10.0))
    assert with_seeds.epoch.high - with_seeds.epoch.low > 1.5 * (point.epoch.high - point.epoch.low)


def test_the_interval_covers_the_true_stopping_point():
    # 200 experiments with images whose own minima are spread around 20; the truth is 20.
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        point = found(*made(rng, n_seeds=1, n_images=100, image_spread=8.0), resamples=400)
        covered += point.epoch.low <= 21 <= point.epoch.high
    assert 0.93 <= covered / 200 <= 1.0  # epochs are whole, which only widens


def test_an_accuracy_is_to_be_large():
    losses, correct = made(np.random.default_rng(0), image_spread=10.0)
    point = found(losses, correct, monitor="valid_accuracy")
    assert point.epoch.value == 1 + int(np.argmax(correct.mean(axis=(0, 2))))


def test_what_training_on_did_is_the_difference_to_the_end():
    losses, correct = made(np.random.default_rng(3), image_spread=10.0)
    point = found(losses, correct)
    best = int(point.epoch.value) - 1
    want = correct[:, -1].mean() - correct[:, best].mean()
    assert point.gain("valid") == pytest.approx(want)
    assert point.valid_gain.value == pytest.approx(want)
    assert point.valid_gain.low <= want <= point.valid_gain.high < 0
    assert point.accuracy_at_best["test"] == tuple(correct[s, best].mean() for s in range(3))
    assert point.accuracy_at_end["train"] == (1.0, 1.0, 1.0)


@given(seed=st.integers(0, 2**32 - 1), n_seeds=st.integers(1, 4), n_images=st.integers(1, 9))
def test_interval_is_reproducible_and_within_the_epochs(seed, n_seeds, n_images):
    rng = np.random.default_rng(seed)
    losses, correct = rng.random((n_seeds, 6, n_images)), rng.random((n_seeds, 6, n_images)) < 0.5
    point = found(losses, correct, seed, resamples=50)
    assert 1 <= point.epoch.low <= point.epoch.high <= 6
    assert point == found(losses, correct, seed, resamples=50)


def test_without_the_values_of_images_there_is_no_interval():
    losses, correct = made(np.random.default_rng(0))
    point = stopping_point(histories_of(losses, correct), None, None, np.random.default_rng(0))
    assert point.epoch.value == 21
    assert np.isnan([point.epoch.low, point.epoch.high, point.valid_gain.low, point.valid_gain.high]).all()


@pytest.mark.parametrize("scale", [1e6, 1e36, 1e305], ids=["float32", "float32, sums overflow", "float64"])
def test_the_point_of_losses_beyond_float16_lies_in_its_interval(scale):
    losses, correct = made(np.random.default_rng(0), best=5.0, image_spread=10.0)
    point = found(np.stack([compact_losses(scale * one) for one in losses]), correct, resamples=200)
    assert point.epoch.low <= point.epoch.value <= point.epoch.high
    assert point.epoch.low > 1  # losses that are all cut off are equal, and the first of them would be the best


def test_cut_off_losses_of_early_files_give_no_interval():
    losses, correct = made(np.random.default_rng(0), image_spread=10.0)
    cut = np.minimum(1e6 * losses, 65_504.0).astype(np.float16)
    point = stopping_point(histories_of(1e6 * losses, correct), cut, correct, np.random.default_rng(0))
    assert np.isnan([point.epoch.low, point.epoch.high]).all()
    assert np.isfinite([point.valid_gain.low, point.valid_gain.high]).all()
    by_accuracy = stopping_point(
        histories_of(losses, correct), cut, correct, np.random.default_rng(0), monitor="valid_accuracy"
    )
    assert by_accuracy.epoch.low <= by_accuracy.epoch.value <= by_accuracy.epoch.high


def test_write_up_sized_bootstrap_is_fast():
    losses, correct = made(np.random.default_rng(0), n_epochs=200, n_images=1000, image_spread=10.0)
    point = found(losses.astype(np.float16), correct, resamples=500)
    assert point.epoch.low <= 21 <= point.epoch.high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, lo, ri: ([h[0], h[1][:3]], lo, ri), r"same number of epochs, one at least, got \[3, 60\]"),
        (lambda _, lo, ri: ([], lo, ri), "same number of epochs, one at least"),
        (lambda h, lo, ri: (h, lo[:, :3], ri[:, :3]), r"must be \(3, 60, M\)"),
        (lambda h, lo, ri: (h, lo, ri[..., :5]), r"must be \(3, 60, M\)"),
        (lambda h, lo, ri: (h, lo[..., :0], ri[..., :0]), r"must be \(3, 60, M\)"),
        (lambda _, lo, ri: ([[EpochRecord(1, Scores(0, 0, 0), None, None, 0.1)]], lo, ri), "there are none"),
    ],
)
def test_what_does_not_fit_is_told(change, message):
    losses, correct = made(np.random.default_rng(0))
    with pytest.raises(ShapeError, match=message):
        stopping_point(*change(histories_of(losses, correct), losses, correct), np.random.default_rng(0))
