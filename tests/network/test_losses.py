import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_cross_entropy
from strategies import logits_and_labels, seeds

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.losses import l2_penalty, mixup, smoothed_targets, soft_cross_entropy, softmax_cross_entropy


@given(logits_and_labels())
def test_cross_entropy_equals_the_slow_loop(case):
    logits, labels = case
    assert softmax_cross_entropy(logits, labels)[0] == pytest.approx(loop_cross_entropy(logits, labels), rel=1e-12)


def test_cross_entropy_of_equal_logits_is_log_k():
    assert softmax_cross_entropy(np.zeros((3, 10)), np.array([0, 4, 9]))[0] == pytest.approx(np.log(10), rel=1e-15)


@given(logits_and_labels(), seeds)
def test_cross_entropy_gradient_matches_differences(case, seed):
    logits, labels = case
    _, backward = softmax_cross_entropy(logits, labels)
    # Right code stays near 1e-9; a 0.1 % scale error gives 1e-4, a flipped sign or a forgotten 1/B far more.
    assert directional_gap(lambda z: softmax_cross_entropy(z, labels)[0], logits, backward(), seed) < 1e-7


@given(logits_and_labels())
def test_a_batch_is_the_mean_of_its_samples(case):
    logits, labels = case
    alone = [softmax_cross_entropy(logits[i : i + 1], labels[i : i + 1]) for i in range(len(labels))]
    loss, backward = softmax_cross_entropy(logits, labels)
    assert loss == pytest.approx(np.mean([one[0] for one in alone]), rel=1e-12)
    np.testing.assert_allclose(
        backward(), np.concatenate([one[1]() for one in alone]) / len(labels), rtol=1e-12, atol=1e-16
    )


@given(logits_and_labels())
def test_the_sum_is_the_mean_times_the_batch_size(case):
    logits, labels = case
    mean, mean_backward = softmax_cross_entropy(logits, labels, "mean")
    total, total_backward = softmax_cross_entropy(logits, labels, "sum")
    assert total == pytest.approx(mean * len(labels), rel=1e-12)
    np.testing.assert_allclose(total_backward(), mean_backward() * len(labels), rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand_give_a_finite_loss_and_gradient(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype)
    loss, backward = softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == pytest.approx(1e4)
    np.testing.assert_allclose(backward(), [[0, 0], [-0.5, 0.5]])
    assert backward().dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_finite_logits_give_a_finite_loss(dtype):
    largest = np.finfo(dtype).max
    logits = np.array([[largest, -largest]] * 4, dtype=dtype)
    loss, backward = softmax_cross_entropy(logits, np.array([1, 1, 1, 1]))
    assert np.isfinite(loss)
    assert np.isfinite(backward()).all()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros(3), np.zeros(3, int), r"logits must be \(B, K\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least one row"),
        (np.zeros((2, 3)), np.zeros(3, int), r"labels must be \(2,\), one per row of logits \(2, 3\), got \(3,\)"),
        (np.zeros((2, 3)), np.zeros(2), "class indices, not one-hot rows"),
        (np.zeros((2, 3)), np.array([0, 3]), r"labels must lie in 0..2, got 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 0]), r"labels must lie in 0..2, got -1 to 0"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits, labels, message):
    with pytest.raises(ShapeError, match=message):
        softmax_cross_entropy(logits, labels)


def test_an_unknown_reduction_is_named():
    with pytest.raises(ConfigError, match="reduction must be one of mean, sum, got 'max'"):
        softmax_cross_entropy(np.zeros((1, 2)), np.array([0]), "max")


@st.composite
def soft_cases(draw):
    """logits, target distributions and weights of one batch, float64."""
    logits, labels = draw(logits_and_labels())
    rng = np.random.default_rng(draw(seeds))
    targets = rng.dirichlet(np.ones(logits.shape[1]), len(logits))
    return logits, labels, targets, rng.uniform(0, 3, len(logits))


@given(soft_cases(), seeds, st.sampled_from(["mean", "sum"]))
def test_soft_cross_entropy_gradient_matches_differences(case, seed, reduction):
    logits, _, targets, weights = case
    _, backward = soft_cross_entropy(logits, targets, weights, reduction)
    gap = directional_gap(lambda z: soft_cross_entropy(z, targets, weights, reduction)[0], logits, backward(), seed)
    assert gap < 1e-7


@given(soft_cases())
def test_one_hot_targets_give_the_plain_cross_entropy(case):
    logits, labels, _, _ = case
    loss, backward = soft_cross_entropy(logits, smoothed_targets(labels, logits.shape[1]))
    want, want_backward = softmax_cross_entropy(logits, labels)
    assert loss == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(backward(), want_backward(), rtol=1e-10, atol=1e-14)


@given(soft_cases())
def test_weight_2_equals_two_copies_of_the_sample(case):
    logits, _, targets, _ = case
    weights = np.ones(len(logits))
    weights[0] = 2.0
    once, _ = soft_cross_entropy(logits, targets, weights, "sum")
    twice, _ = soft_cross_entropy(np.vstack([logits, logits[:1]]), np.vstack([targets, targets[:1]]), None, "sum")
    assert once == pytest.approx(twice, rel=1e-12)


@given(soft_cases(), st.floats(0.5, 1))
def test_mixing_targets_mixes_losses(case, fraction):
    logits, labels, targets, _ = case
    other = smoothed_targets(labels, logits.shape[1], 0.2)
    loss = soft_cross_entropy(logits, mixup(targets, other, fraction))[0]
    want = fraction * soft_cross_entropy(logits, targets)[0] + (1 - fraction) * soft_cross_entropy(logits, other)[0]
    assert loss == pytest.approx(want, rel=1e-9)


def test_smoothed_targets_by_hand():
    np.testing.assert_allclose(smoothed_targets(np.array([1]), 4, 0.2), [[0.05, 0.85, 0.05, 0.05]])


@pytest.mark.extras
def test_soft_cross_entropy_equals_torch_with_smoothing():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (6, 4)), rng.integers(0, 4, 6)
    x = torch.tensor(logits, requires_grad=True)
    want = torch.nn.functional.cross_entropy(x, torch.tensor(labels), label_smoothing=0.1)
    want.backward()
    loss, backward = soft_cross_entropy(logits, smoothed_targets(labels, 4, 0.1))
    assert loss == pytest.approx(want.item(), rel=1e-12)
    np.testing.assert_allclose(backward(), x.grad.numpy(), rtol=1e-10, atol=1e-14)


@given(seeds)
def test_the_penalty_is_on_weights_only_with_its_gradient(seed):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=3)
    penalty, backward = l2_penalty({"output.weight": weight, "output.bias": bias}, 0.3)
    assert penalty == pytest.approx(0.15 * (weight**2).sum())
    gradients = backward()
    assert set(gradients) == {"output.weight"}
    gap = directional_gap(lambda w: l2_penalty({"output.weight": w}, 0.3)[0], weight, gradients["output.weight"], seed)
    assert gap < 1e-7


def test_soft_targets_and_weights_must_have_matching_shapes():
    with pytest.raises(ShapeError, match=r"logits and targets must both be"):
        soft_cross_entropy(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"weights must be \(2,\), one per row of logits, got \(3,\)"):
        soft_cross_entropy(np.zeros((2, 3)), np.zeros((2, 3)), np.ones(3))
