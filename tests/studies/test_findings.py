"""Sentences say what the numbers carry: wording, corrections, plans, and curves by rules with constants."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chalknet.errors import ShapeError
from chalknet.studies.compare import compare_configurations, difference
from chalknet.studies.curve_findings import Curves, curve_findings, epochs_to_final, final_gap, jumps
from chalknet.studies.findings import comparison_findings, points, required_sample_size, rounded
from chalknet.studies.loss_rise import loss_rise
from chalknet.studies.simulation import population, simulate


def configurations(accuracies, n_seeds=5, n_images=2_724, seed=3, spread=0.6):
    of = population(0.91, spread, "graded", n_images)
    drawn = simulate(accuracies, of, n_seeds, n_images, np.random.default_rng(seed))
    return dict(zip((f"hidden {n}" for n in (100, 500, 1_000, 2_000)), drawn, strict=False))


def sentences(comparison):
    return [finding.sentence for finding in comparison_findings(comparison)]


def test_a_clear_difference_is_said_with_its_interval_and_correction():
    comparison = compare_configurations(configurations((0.85, 0.91)))
    (finding,) = comparison_findings(comparison)
    one = comparison.pairs[0].difference
    limits = f"{points(one.low)} to {points(one.high)}"
    assert (
        finding.sentence == f"hidden 500 beats hidden 100 by {points(one.difference)} points (95 % interval {limits})."
    )
    assert finding.figures["difference"] == one.difference


def test_many_pairs_name_holm_and_how_many():
    said = sentences(compare_configurations(configurations((0.80, 0.91, 0.91))))
    assert any("; Holm over 3 pairs)." in one for one in said)
    assert any(" cannot be told apart: difference " in one and "Holm over 3 pairs" in one for one in said)


def test_more_than_six_pairs_say_only_those_of_the_best():
    of = population(0.91, 0.5, "graded", 2_724)
    accuracies = (0.93, 0.85, 0.8, 0.75, 0.7)
    drawn = simulate(accuracies, of, 5, 2_724, np.random.default_rng(0))
    found = comparison_findings(compare_configurations(dict(zip("abcde", drawn, strict=True))))
    assert [finding.labels for finding in found if finding.kind == "significant_difference"] == [
        ("a", x) for x in "bcde"
    ]


def test_one_seed_is_said_to_carry_no_seeds():
    (said,) = sentences(compare_configurations(configurations((0.85, 0.91), n_seeds=1)))
    assert "the interval carries images alone, not the seeds" in said


def test_nothing_is_said_to_beat_that_is_not_told_apart():
    comparison = compare_configurations(configurations((0.91, 0.911)))
    assert not comparison.pairs[0].significantly_different
    (said,) = sentences(comparison)
    assert "beats" not in said


def test_a_pair_that_only_the_correction_keeps_together_says_both_p_values():
    comparison = compare_configurations(configurations((0.90, 0.91, 0.91, 0.91)))
    for group in comparison_findings(comparison):
        p, corrected = group.figures["p_value"], group.figures["holm_p"]
        if group.kind == "no_significant_difference" and p < 0.05:
            assert f"p = {p:.2g} alone, {corrected:.2g} by Holm over 6 pairs" in group.sentence


def planned(**parts):
    first, second = configurations((0.90, 0.91), n_seeds=3).values()
    return replace(difference(first, second), difference=0.01, n_seeds=(3, 3), n_images=1_000, **parts)


def test_needed_seeds_are_the_fewest_that_solve_the_formula():
    one = planned(seed_variance=1e-4, image_variance=1e-3, rest_variance=0.01)

    def is_enough(n_seeds):
        of_seeds, of_images = 1e-4 / n_seeds + 0.01 / (n_seeds * 1_000), 1e-6
        variance = of_seeds + of_images
        df = max(variance**2 / (of_seeds**2 / (n_seeds - 1) + of_images**2 / 999), n_seeds - 1)
        return (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * variance**0.5 <= 0.01

    seeds = required_sample_size(one, alpha=0.05).seeds
    assert is_enough(seeds)
    assert not is_enough(seeds - 1)
    # by normal quantiles 10 would do: (z_0.975 + z_0.8)^2 = 7.849, 1.1e-4 / (1e-4 / 7.849 - 1e-6) = 9.4
    assert 10 < seeds < 15


def test_where_images_forbid_it_images_are_asked_for():
    one = planned(seed_variance=0.0, image_variance=0.05, rest_variance=0.0)
    required = required_sample_size(one, alpha=0.05)
    assert required.seeds is None
    assert required.images == math.ceil(0.05 / (1e-4 / 7.8489)) or required.images == pytest.approx(3925, abs=1)


def test_where_both_forbid_it_both_are_asked_for():
    required = required_sample_size(planned(seed_variance=1e-3, image_variance=0.05, rest_variance=0.0), alpha=0.05)
    assert required.seeds > 3
    assert required.images > 1_000


def test_one_seed_or_no_difference_gives_no_plan():
    assert required_sample_size(planned(seed_variance=float("nan")), alpha=0.05) is None
    assert required_sample_size(replace(planned(), difference=0.0001), alpha=0.05) is None


@given(st.floats(0, 1e-3), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_plan_reaches_what_it_was_made_for(seed, image, rest):
    required = required_sample_size(planned(seed_variance=seed, image_variance=image, rest_variance=rest), alpha=0.05)
    n_seeds, n_images = required.seeds or 3, required.images or 1_000
    variance = seed / n_seeds + image / n_images + rest / (n_seeds * n_images)
    assert variance <= (0.01**2 / 7.8488) * (1 + 1e-9)


def test_words_and_figures():
    assert points(0.024) == "2.4"
    assert points(-0.0001) == "0.0"
    assert [rounded(n) for n in (3, 20, 37, 137, 4_321)] == ["3", "20", "37", "140", "4,400"]


def curves(n_seeds=3, n_epochs=200, rise=0.0, gap=0.0, jump=False, spread=0.0):
    x = np.arange(1, n_epochs + 1)
    train_loss = np.tile(0.2 + 2 * np.exp(-x / 10), (n_seeds, 1))
    valid_loss = train_loss + rise * np.maximum(0, x - 50) / n_epochs
    valid_accuracy = 0.9 - 0.5 * np.exp(-x / 10) + spread * np.arange(n_seeds)[:, None]
    if jump:
        train_loss[0, 99] *= 1.2
    return Curves(train_loss, valid_accuracy + gap, valid_loss, valid_accuracy)


def kinds(found):
    return [finding.kind for finding in found]


def test_quiet_curves_only_converge():
    (finding,) = curve_findings("hidden 100", curves())
    assert finding.kind == "convergence"
    assert finding.sentence.startswith("hidden 100: its training loss comes to within 1 % of its final value by epoch ")


def test_over_fitting_is_a_gap_or_a_rise():
    (gap, _) = curve_findings("a", curves(gap=0.05))
    assert "training accuracy ends 5.0 points above the validation accuracy" in gap.sentence
    (rise, _) = curve_findings("a", curves(rise=0.2))
    assert "its validation loss is lowest at epoch 53 of 200 and rises by 64.3 % from there (95 %" in rise.sentence
    assert "interval 64.3 to 64.3 %, of seeds alone)" in rise.sentence
    assert "above the validation accuracy" not in rise.sentence


def test_a_rise_of_both_losses_is_instability_and_not_over_fitting():
    x = np.arange(1, 201)
    both = curves(rise=0.2)
    both = replace(both, train_loss=both.train_loss + np.where(x > 100, 1.0, 0.0))
    assert kinds(curve_findings("a", both)) == ["convergence", "instability"]


def test_images_are_called_by_the_part_that_was_compared():
    noisy = compare_configurations(configurations((0.90, 0.905), n_seeds=3))
    said = [one.sentence for one in comparison_findings(noisy, images="validation images")]
    assert any(
        "validation images would be needed" in one or "seeds a configuration would be needed" in one for one in said
    )
    assert not any("test images" in one for one in said)


def test_a_rise_or_gap_below_its_constant_is_not_said():
    assert kinds(curve_findings("a", curves(rise=0.001, gap=0.005))) == ["convergence"]


def test_a_gap_that_few_images_cannot_carry_is_not_said():
    valid = np.random.default_rng(0).random((3, 40)) < 0.88
    assert kinds(curve_findings("a", curves(gap=0.03), valid_correct=valid)) == ["convergence"]


def test_the_gap_carries_seeds_and_images_where_images_are_given():
    rng = np.random.default_rng(0)
    found = final_gap(curves(gap=0.05), rng.random((3, 1_000)) < 0.9)
    assert found.variance_sources == "seeds and images"
    assert found.low < 0.05 < found.high
    alone = final_gap(curves(n_seeds=1, gap=0.05))
    assert alone.variance_sources == "nothing"
    assert math.isnan(alone.low)


def test_instability_is_a_jump_or_seeds_that_disagree():
    found = {finding.kind: finding.sentence for finding in curve_findings("a", curves(jump=True))}
    assert "rises by more than 5 % in an epoch once, first in epoch 100 (1 of 3 seeds)" in found["instability"]
    found = {finding.kind: finding.sentence for finding in curve_findings("a", curves(spread=0.02))}
    assert "its seeds disagree: final validation accuracies from 90.0 % to 94.0 %" in found["instability"]
    assert jumps([[1.0, 1.04, 1.2, np.nan]]) == [[3, 4]]


def test_divergence_is_unstable_and_does_not_converge():
    bad = curves()
    bad.train_loss[1, 150:] = np.inf
    bad.valid_loss[1, 150:] = np.nan
    found = curve_findings("a", bad)
    assert "convergence" not in kinds(found)
    assert "instability" in kinds(found)


def test_convergence_by_hand():
    assert epochs_to_final([5.0, 2.0, 1.005, 1.0]) == 3
    assert epochs_to_final([1.0, 2.0, 1.0]) == 3  # it must stay there
    assert epochs_to_final([1.0]) == 1
    assert epochs_to_final([1.0, 0.0, 0.0]) == 2


def test_what_was_still_moving_is_said_in_whole_sentences():
    sentence = curve_findings("a", curves(n_epochs=8))[-1].sentence
    assert (
        "was still moving when training stopped (3 of 3 seeds), and its validation accuracy came to within" in sentence
    )
    assert sentence.endswith(" of 8.")


def with_losses(valid_loss, n_images=200, seed=0, noise=0.03):
    """(S, E, M) losses of single images whose means are nearly the given ones."""
    rng = np.random.default_rng(seed)
    return valid_loss[..., None] + noise * rng.standard_normal((*valid_loss.shape, n_images))


def test_a_rise_that_one_seed_of_three_alone_has_is_not_said():
    # The mean rises by a third; that is one seed's, and Student's t over three seeds does not carry it.
    one = curves(rise=0.002)
    one.valid_loss[0] += np.where(np.arange(200) >= 110, 0.2, 0.0)
    assert one.valid_loss[:, -1].mean() > 1.3 * one.valid_loss.mean(axis=0).min()
    assert loss_rise(one.valid_loss).rise.value > 0.3
    assert kinds(curve_findings("a", one)) == ["convergence"]
    assert kinds(curve_findings("a", one, valid_losses=with_losses(one.valid_loss))) == ["convergence"]


def test_a_rise_of_all_seeds_and_images_is_said_with_what_it_carries():
    one = curves(rise=0.2)
    (rise, _) = curve_findings("a", one, valid_losses=with_losses(one.valid_loss))
    assert rise.sentence.endswith(" %, of seeds and images).")
    assert 0.5 < rise.figures["loss_rise_low"] < rise.figures["loss_rise"] < rise.figures["loss_rise_high"] < 0.8
    alone = curves(n_seeds=1, rise=0.2)
    (rise, _) = curve_findings("a", alone, valid_losses=with_losses(alone.valid_loss))
    assert rise.sentence.endswith(" %, of images alone).")
    assert rise.figures["gap_low"] is None


def test_one_seed_without_the_losses_of_images_says_nothing_of_a_rise():
    assert kinds(curve_findings("a", curves(n_seeds=1, rise=0.2))) == ["convergence"]


def test_training_is_compared_where_the_lowest_validation_loss_belongs():
    # The training loss of the network after epoch 50 stands in record 51. It falls by half until then, and rises after.
    x = np.arange(1, 201)
    train = np.tile(np.where(x <= 50, 1.0, 0.5 + 0.001 * (x - 51)), (3, 1))
    valid = np.tile(1.0 + 0.01 * np.abs(x - 50.0), (3, 1))
    both = Curves(train, np.full((3, 200), 0.9), valid, np.full((3, 200), 0.9))
    assert "over_fitting" not in kinds(curve_findings("a", both))
    falls = replace(both, train_loss=np.tile(np.where(x <= 50, 1.0, 0.5 - 0.001 * (x - 51)), (3, 1)))
    assert "over_fitting" in kinds(curve_findings("a", falls))


@pytest.mark.parametrize(("at", "said"), [(3, False), (2, False), (1, True)])
def test_a_lowest_loss_at_the_end_or_just_before_it_leaves_nothing_to_say(at, said):
    valid = np.ones((3, 4))
    valid[:, at] = 0.5
    one = Curves(np.tile([4.0, 3.0, 2.0, 1.0], (3, 1)), np.full((3, 4), 0.9), valid, np.full((3, 4), 0.9))
    assert ("over_fitting" in kinds(curve_findings("a", one))) == said


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
def test_no_rise_is_said_where_only_luck_makes_one(n_seeds):
    # 200 flat configurations; the interval is two-sided, so that above 0 lie 2.5 % of them. 5 % is three standard
    # errors more.
    rng, above = np.random.default_rng(n_seeds), 0
    for _ in range(200):
        moves = 0.2 * rng.standard_normal((n_seeds, 30)) * (n_seeds > 1)
        losses = 1.0 + moves[..., None] + 0.3 * rng.standard_normal((n_seeds, 30, 60))
        above += loss_rise(losses.mean(axis=2), losses).rise.low > 0
    assert above / 200 <= 0.05


def test_losses_that_are_cut_off_or_not_finite_or_of_few_images_give_no_rise():
    one = curves(rise=0.2)
    whole = with_losses(one.valid_loss)
    cut = [np.minimum(1e6 * each, 65_504.0).astype(np.float16) for each in whole]
    assert loss_rise(1e6 * one.valid_loss, list(1e6 * whole)).rise.variance_sources == "seeds and images"
    assert loss_rise(1e6 * one.valid_loss, cut).rise.variance_sources == "nothing"
    assert loss_rise(one.valid_loss, whole[..., :3]).rise.variance_sources == "nothing"
    whole[1, -1, 7] = np.inf
    assert math.isnan(loss_rise(one.valid_loss, whole).rise.low)
    assert kinds(curve_findings("a", one, valid_losses=whole)) == ["convergence"]
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
