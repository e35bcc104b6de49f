import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from chalknet.errors import ShapeError
from chalknet.network.batch_norm import EPSILON, batch_norm, normalize, update_running_statistics


@st.composite
def batches(draw):
    """Draw h (B, F), gamma and bias (F,), and weights of the outputs."""
    rng = np.random.default_rng(draw(seeds))
    b, f = draw(st.integers(2, 9)), draw(st.integers(1, 5))
    return rng.normal(2, 3, (b, f)), rng.normal(1, 1, f), rng.normal(size=f), rng.normal(size=(b, f))


def test_batch_norm_by_hand():
    # mean 2, variance 1: z = -1, 1 but for epsilon; n = 3 z + 5.
    n, backward = batch_norm(np.array([[1.0], [3.0]]), np.array([3.0]), np.array([5.0]))
    z = 1 / np.sqrt(1 + EPSILON)
    np.testing.assert_allclose(n, [[5 - 3 * z], [5 + 3 * z]], rtol=1e-14)
    gradients = backward(np.array([[1.0], [0.0]]))
    np.testing.assert_allclose(gradients.grad_gamma, [-z])
    np.testing.assert_allclose(gradients.grad_bias, [1.0])
    np.testing.assert_allclose(gradients.grad_h, 3 * z * np.array([[1 - 0.5 - z * z / 2], [0 - 0.5 + z * z / 2]]))


@given(batches())
def test_outputs_have_the_learned_mean_and_scale(case):
    h, gamma, bias, _ = case
    n, _ = batch_norm(h, gamma, bias)
    np.testing.assert_allclose(n.mean(axis=0), bias, atol=1e-9)
    np.testing.assert_allclose(
        n.std(axis=0), np.abs(gamma) * np.sqrt(h.var(axis=0) / (h.var(axis=0) + EPSILON)), atol=1e-9
    )


@given(batches(), seeds)
def test_adding_a_constant_to_a_unit_changes_nothing(case, seed):
    h, gamma, bias, weight = case
    shift = np.random.default_rng(seed).normal(0, 10, h.shape[1])
    first, second = batch_norm(h, gamma, bias), batch_norm(h + shift, gamma, bias)
    np.testing.assert_allclose(second[0], first[0], atol=1e-7)
    np.testing.assert_allclose(
        first[1](weight).grad_h.sum(axis=0), 0, atol=1e-6 * (1 + np.abs(gamma / h.std(axis=0)).max())
    )


@given(batches(), seeds)
def test_each_gradient_matches_differences(case, seed):
    h, gamma, bias, weight = case
    gradients = batch_norm(h, gamma, bias)[1](weight)

    def loss(*arguments):
        return float((batch_norm(*arguments)[0] * weight).sum())

    assert directional_gap(lambda v: loss(v, gamma, bias), h, gradients.grad_h, seed) < 1e-6
    assert directional_gap(lambda v: loss(h, v, bias), gamma, gradients.grad_gamma, seed) < 1e-7
    assert directional_gap(lambda v: loss(h, gamma, v), bias, gradients.grad_bias, seed) < 1e-7


@given(batches(), seeds)
def test_gradients_with_running_statistics_match_differences(case, seed):
    h, gamma, bias, weight = case
    mean, variance = np.full(h.shape[1], 0.3), np.full(h.shape[1], 2.0)
    gradients = normalize(h, mean, variance, gamma, bias)[1](weight)

    def loss(*arguments):
        return float((normalize(*arguments)[0] * weight).sum())

    assert directional_gap(lambda v: loss(v, mean, variance, gamma, bias), h, gradients.grad_h, seed) < 1e-7
    assert directional_gap(lambda v: loss(h, mean, variance, v, bias), gamma, gradients.grad_gamma, seed) < 1e-7


def test_running_statistics_converge_to_batch_statistics():
    h = np.random.default_rng(0).normal(5, 2, (40, 3))
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(200):
        mean, variance = update_running_statistics(mean, variance, h)
    np.testing.assert_allclose(mean, h.mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(variance, h.var(axis=0, ddof=1), rtol=1e-8)


def test_a_constant_unit_is_finite_and_has_gradient_zero():
    n, backward = batch_norm(np.full((4, 1), 7.0), np.ones(1), np.zeros(1))
    assert (n == 0).all()
    np.testing.assert_allclose(backward(np.ones((4, 1))).grad_h, 0)


def test_a_batch_of_one_sample_returns_the_bias():
    n, _ = batch_norm(np.array([[3.0, -2.0]]), np.ones(2), np.array([0.5, 1.5]))
    assert n.tolist() == [[0.5, 1.5]]


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \[\(2,\), \(3,\)\]"):
        batch_norm(np.zeros((2, 3)), np.ones(2), np.zeros(3))


@pytest.mark.extras
def test_batch_norm_equals_torch_in_training_and_prediction():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    h, gamma, bias, weight = rng.normal(2, 3, (6, 4)), rng.normal(size=4), rng.normal(size=4), rng.normal(size=(6, 4))
    layer = torch.nn.BatchNorm1d(4, eps=EPSILON, dtype=torch.float64)
    layer.weight.data, layer.bias.data = torch.tensor(gamma), torch.tensor(bias)
    x = torch.tensor(h, requires_grad=True)
    value = layer(x)
    (value * torch.tensor(weight)).sum().backward()
    ours, backward = batch_norm(h, gamma, bias)
    gradients = backward(weight)
    np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(gradients.grad_h, x.grad.numpy(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(gradients.grad_gamma, layer.weight.grad.numpy(), rtol=1e-10)
    mean, variance = update_running_statistics(np.zeros(4), np.ones(4), h)
    np.testing.assert_allclose(mean, layer.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(variance, layer.running_var.numpy(), rtol=1e-12)
    layer.eval()
    np.testing.assert_allclose(normalize(h, mean, variance, gamma, bias)[0], layer(x).detach().numpy(), rtol=1e-10)
