"""Findings about learning curves follow from the rules, per seed, and early oscillation is not instability."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chalknet.errors import ShapeError
from chalknet.studies.curve_findings import Curves, curve_findings, final_gap, jumps, settling_epoch
from chalknet.studies.loss_rise import loss_rise


def curves(n_seeds=3, n_epochs=200, rise=0.0, gap=0.0, jump_at=None, spread=0.0):
    x = np.arange(1, n_epochs + 1)
    train_loss = np.tile(0.2 + 2 * np.exp(-x / 10), (n_seeds, 1))
    valid_loss = train_loss + rise * np.maximum(0, x - 50) / n_epochs
    valid_accuracy = 0.9 - 0.5 * np.exp(-x / 10) + spread * np.arange(n_seeds)[:, None]
    if jump_at:
        train_loss[0, jump_at - 1] *= 1.2
    return Curves(train_loss, valid_accuracy + gap, valid_loss, valid_accuracy)


def with_losses(valid_loss, n_images=200, seed=0, noise=0.03):
    """Return (S, E, M) losses of single images whose means are nearly the given ones."""
    rng = np.random.default_rng(seed)
    return valid_loss[..., None] + noise * rng.standard_normal((*valid_loss.shape, n_images))


def test_quiet_curves_settle_and_nothing_else():
    found = curve_findings(curves())
    assert found.has_settled
    assert (found.overfits, found.is_unstable, found.seeds_disagree) == (False, False, False)
    assert not any(found.jumps)


def test_overfitting_is_a_gap_of_accuracy_or_a_rise_of_the_loss():
    gap = curve_findings(curves(gap=0.05))
    assert (gap.has_accuracy_gap, gap.has_loss_rise) == (True, False)
    assert gap.gap.value == pytest.approx(0.05)
    rise = curve_findings(curves(rise=0.2))
    assert (rise.has_accuracy_gap, rise.has_loss_rise) == (False, True)
    assert rise.loss.epoch == 53
    assert rise.loss.rise.value == pytest.approx(0.643, abs=5e-4)


def test_a_rise_or_gap_below_its_constant_is_no_overfitting():
    assert not curve_findings(curves(rise=0.001, gap=0.005)).overfits


def test_a_gap_that_few_images_do_not_establish_is_no_overfitting():
    valid = np.random.default_rng(0).random((3, 40)) < 0.88
    assert not curve_findings(curves(gap=0.03), valid_correct=valid).overfits


def test_the_rise_of_the_shown_curve_stands_beside_the_corrected_one():
    # Each seed has its own lucky lowest epoch, so the corrected rise is smaller than the rise of the mean curve.
    one = curves(rise=0.2)
    lucky = one.valid_loss.copy()
    for seed in range(3):
        lucky[seed, 60 + seed] -= 0.2
    found = loss_rise(lucky)
    mean = lucky.mean(axis=0)
    assert found.rise_of_mean == pytest.approx(mean[-1] / mean.min() - 1)
    assert found.rise_of_mean != pytest.approx(found.rise.value, rel=0.02)


def test_a_rise_of_both_losses_is_instability_and_not_overfitting():
    x = np.arange(1, 201)
    both = curves(rise=0.2)
    both = replace(both, train_loss=both.train_loss + np.where(x > 150, 1.0, 0.0))
    found = curve_findings(both)
    assert found.is_unstable
    assert not found.overfits


def test_a_loss_near_0_has_settled_although_it_still_halves():
    x = np.arange(1, 201)
    loss = np.tile(2.3 * np.exp(-x / 20), (3, 1))
    found = curve_findings(replace(curves(), train_loss=loss))
    assert loss[0, -1] < 0.5 * loss[0, 180]
    assert found.has_settled
    assert set(found.loss_settled) == {
        int(np.flatnonzero(loss[0] - loss[0, -1] <= 0.01 * (loss[0, 0] - loss[0, -1]))[0]) + 1
    }


def test_a_loss_that_still_falls_steadily_at_the_end_has_not_settled():
    falling = np.tile(np.linspace(2.0, 1.0, 200), (3, 1))
    found = curve_findings(replace(curves(), train_loss=falling))
    assert not found.has_settled
    assert not found.is_unstable


def test_settling_by_hand():
    assert settling_epoch([5.0, 2.0, 1.005, 1.0], 0.04) == 3
    assert settling_epoch([1.0, 2.0, 1.0], 0.01) == 3  # it must stay there
    assert settling_epoch([1.0], 0.0) == 1
    assert settling_epoch([0.5, 0.92, 0.93], 0.01) == 2
    with pytest.raises(ShapeError, match="E >= 1 epochs"):
        settling_epoch([], 0.1)


def test_early_jumps_are_no_instability_and_late_ones_are():
    early, late = curve_findings(curves(jump_at=40)), curve_findings(curves(jump_at=140))
    assert early.jumps == ((40,), (), ())
    assert not early.is_unstable
    assert late.jumps == ((140,), (), ())
    assert late.is_unstable


def test_jumps_are_counted_for_each_seed():
    loss = np.tile(np.linspace(2.0, 1.0, 10), (2, 1))
    loss[0, [3, 6]] += 0.4
    loss[1, 8] += 0.4
    assert jumps(loss) == ((4, 7), (9,))


def test_a_rise_by_5_percent_of_almost_nothing_is_no_jump():
    assert jumps([[2.0, 1.0, 0.0010, 0.0012, 0.0010]]) == ((),)


def test_a_loss_that_is_not_finite_counts_as_a_jump():
    assert jumps([[1.0, 1.04, 1.2, np.nan]]) == ((3, 4),)
    bad = curves()
    bad.train_loss[1, 150:] = np.inf
    bad.valid_loss[1, 150:] = np.nan
    found = curve_findings(bad)
    assert found.loss_settled == ()
    assert found.is_unstable
    assert not found.has_settled


def test_seeds_disagree_by_more_than_2_points():
    found = curve_findings(curves(spread=0.02))
    assert found.seeds_disagree
    assert found.final_accuracies == pytest.approx((0.9, 0.92, 0.94), abs=1e-6)
    assert not curve_findings(curves(spread=0.009)).seeds_disagree


def test_the_gap_covers_seeds_and_images_where_images_are_given():
    rng = np.random.default_rng(0)
    found = final_gap(curves(gap=0.05), rng.random((3, 1_000)) < 0.9)
    assert found.variance_sources == "seeds and images"
    assert found.low < 0.05 < found.high
    alone = final_gap(curves(n_seeds=1, gap=0.05))
    assert alone.variance_sources == "nothing"
    assert math.isnan(alone.low)


def test_a_rise_that_one_seed_of_three_alone_has_is_no_overfitting():
    # The mean rises by a third. One seed does that alone, so Student's t over three seeds does not establish it.
    one = curves(rise=0.002)
    one.valid_loss[0] += np.where(np.arange(200) >= 110, 0.2, 0.0)
    assert one.valid_loss[:, -1].mean() > 1.3 * one.valid_loss.mean(axis=0).min()
    assert loss_rise(one.valid_loss).rise.value > 0.3
    assert not curve_findings(one).overfits
    assert not curve_findings(one, valid_losses=with_losses(one.valid_loss)).overfits


def test_a_rise_of_all_seeds_and_images_is_overfitting():
    one = curves(rise=0.2)
    found = curve_findings(one, valid_losses=with_losses(one.valid_loss))
    assert found.has_loss_rise
    assert found.loss.rise.variance_sources == "seeds and images"
    assert 0.5 < found.loss.rise.low < found.loss.rise.value < found.loss.rise.high < 0.8
    alone = curves(n_seeds=1, rise=0.2)
    found = curve_findings(alone, valid_losses=with_losses(alone.valid_loss))
    assert found.has_loss_rise
    assert found.loss.rise.variance_sources == "images alone"
    assert math.isnan(found.gap.low)


def test_one_seed_without_the_losses_of_images_establishes_no_rise():
    assert not curve_findings(curves(n_seeds=1, rise=0.2)).overfits


def test_training_loss_is_compared_after_the_lowest_epoch():
    # The training loss of the network after epoch 50 is in record 51. It falls by half until then, and rises after.
    x = np.arange(1, 201)
    train = np.tile(np.where(x <= 50, 1.0, 0.5 + 0.001 * (x - 51)), (3, 1))
    valid = np.tile(1.0 + 0.01 * np.abs(x - 50.0), (3, 1))
    both = Curves(train, np.full((3, 200), 0.9), valid, np.full((3, 200), 0.9))
    assert not curve_findings(both).overfits
    falls = replace(both, train_loss=np.tile(np.where(x <= 50, 1.0, 0.5 - 0.001 * (x - 51)), (3, 1)))
    assert curve_findings(falls).overfits


@pytest.mark.parametrize(("at", "overfits"), [(3, False), (2, False), (1, True)])
def test_a_lowest_loss_at_the_end_or_just_before_it_is_no_overfitting(at, overfits):
    valid = np.ones((3, 4))
    valid[:, at] = 0.5
    one = Curves(np.tile([4.0, 3.0, 2.0, 1.0], (3, 1)), np.full((3, 4), 0.9), valid, np.full((3, 4), 0.9))
    assert curve_findings(one).overfits == overfits


def test_a_rise_by_hand():
    losses = [np.array([[2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.5, 1.5], [1.5, 1.5, 1.0, 1.0], [1.75, 2.0, 1.75, 2.0]])]
    losses = [losses[0], losses[0] + np.array([[0.0], [0.0], [0.5], [0.0]])]
    # Seed 0 has seed 1's epochs, which are 2 and 2 for both halves; seed 1 has seed 0's, where epochs 2 and 3 are alike
    # and the first counts: all rise from epoch 2.
    found = loss_rise(np.stack([one.mean(axis=1) for one in losses]), losses)
    assert (found.epoch, found.lowest) == (2, 1.25)
    assert found.rise.value == pytest.approx((1.875 - 1.25) / 1.25)
    by_seeds = loss_rise(np.array([[2.0, 1.0, 1.5], [2.0, 1.0, 2.0]]))
    assert (by_seeds.epoch, by_seeds.lowest) == (2, 1.0)
    assert (by_seeds.rise.value, by_seeds.rise.variance_sources) == (0.75, "seeds alone")
    # Student's t of one degree of freedom at 0.975 is 12.706; the deviation of the mean 0.25
    assert by_seeds.rise.high - by_seeds.rise.low == pytest.approx(2 * 12.706 * 0.25, rel=1e-4)


@pytest.mark.parametrize("n_seeds", [1, 3, 10])
def test_rise_by_luck_is_not_reported(n_seeds):
    # 200 flat configurations; the interval is two-sided, so that above 0 lie 2.5 % of them. 5 % is three standard
    # errors more.
    rng, above = np.random.default_rng(n_seeds), 0
    for _ in range(200):
        moves = 0.2 * rng.standard_normal((n_seeds, 30)) * (n_seeds > 1)
        losses = 1.0 + moves[..., None] + 0.3 * rng.standard_normal((n_seeds, 30, 60))
        above += loss_rise(losses.mean(axis=2), losses).rise.low > 0
    assert above / 200 <= 0.05


def test_no_rise_for_cut_off_or_infinite_losses_or_few_images():
    one = curves(rise=0.2)
    whole = with_losses(one.valid_loss)
    cut = [np.minimum(1e6 * each, 65_504.0).astype(np.float16) for each in whole]
    assert loss_rise(1e6 * one.valid_loss, list(1e6 * whole)).rise.variance_sources == "seeds and images"
    assert loss_rise(1e6 * one.valid_loss, cut).rise.variance_sources == "nothing"
    assert loss_rise(one.valid_loss, whole[..., :3]).rise.variance_sources == "nothing"
    whole[1, -1, 7] = np.inf
    assert math.isnan(loss_rise(one.valid_loss, whole).rise.low)
    assert not curve_findings(one, valid_losses=whole).overfits
    assert math.isnan(loss_rise(np.array([[1.0, 0.5, np.inf], [1.0, 0.5, 0.7]])).rise.low)


def test_losses_of_images_that_do_not_fit_are_refused():
    one = curves()
    shapes = [[(200, 9)] * 2, [(199, 9)] * 3, [(200,)] * 3, [(200, 9), (200, 9), (200, 8)]]
    for losses in ([np.ones(shape) for shape in shapes_of_seeds] for shapes_of_seeds in shapes):
        with pytest.raises(ShapeError, match=r"must be \(200, M\), M alike, for each of 3 seeds"):
            loss_rise(one.valid_loss, list(losses))


def test_curves_of_different_shapes_are_refused():
    with pytest.raises(ShapeError, match="of one shape"):
        Curves(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ShapeError, match="each of 3 seeds, got 2"):
        final_gap(curves(), np.ones((2, 10)))
