import math

import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_periodic_embedding
from strategies import seeds

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer_types import layer_from_table
from chalknet.network.periodic_embedding import PeriodicEmbedding, periodic_embedding


@st.composite
def batches(draw):
    """Draw x, frequency, phase, weight and bias, and a gradient of the value."""
    rng = np.random.default_rng(draw(seeds))
    b, i, j, k = (draw(st.integers(1, high)) for high in (7, 4, 3, 5))
    c = draw(st.integers(1, i))
    arguments = (
        rng.normal(size=(b, i)), rng.normal(0, 0.5, (c, k)), rng.uniform(-3, 3, (c, k)), rng.normal(size=(c, j, k)),
        rng.normal(size=(c, j)),
    )  # fmt: skip
    return arguments, rng.normal(size=(b, i + c * j))


def test_periodic_embedding_by_hand():
    # The first column has a quarter period per unit: cos(pi / 2 x) at x = 2, and with a phase of pi / 2 its -sin.
    x, weight = np.array([[2.0, 7.0]]), np.array([[[3.0, 0.0], [1.0, 1.0]]])
    value, backward = periodic_embedding(
        x, np.array([[0.25, 0.25]]), np.array([[0.0, math.pi / 2]]), weight, np.array([[10.0, 20.0]])
    )
    np.testing.assert_allclose(value, [[2.0, 7.0, 7.0, 19.0]], atol=1e-14)
    gradients = backward(np.array([[0.0, 5.0, 0.0, 1.0]]))
    # d value / dx = -sin(pi) pi / 2 + cos(pi) (-pi / 2) = pi / 2, from the second output alone.
    np.testing.assert_allclose(gradients.grad_x, [[math.pi / 2, 5.0]], atol=1e-14)
    np.testing.assert_allclose(gradients.grad_phase, [[0.0, 1.0]], atol=1e-14)
    np.testing.assert_allclose(gradients.grad_frequency, [[0.0, 4 * math.pi]], atol=1e-14)
    np.testing.assert_allclose(gradients.grad_weight, [[[0.0, 0.0], [-1.0, 0.0]]], atol=1e-14)
    np.testing.assert_allclose(gradients.grad_bias, [[0.0, 1.0]])


@given(batches())
def test_it_equals_the_slow_loops(case):
    arguments, grad_value = case
    value, backward = periodic_embedding(*arguments)
    want, *gradients = loop_periodic_embedding(*arguments, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(backward(grad_value), gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@given(batches(), seeds)
def test_each_gradient_matches_differences(case, seed):
    arguments, grad_value = case
    gradients = periodic_embedding(*arguments)[1](grad_value)
    for number, gradient in enumerate(gradients):

        def loss(changed, number=number):
            given = [*arguments[:number], changed, *arguments[number + 1 :]]
            return float((periodic_embedding(*given)[0] * grad_value).sum())

        assert directional_gap(loss, arguments[number], gradient, seed) < 1e-6


def test_it_keeps_float32_and_its_arguments():
    rng = np.random.default_rng(0)
    shapes = ((5, 3), (2, 4), (2, 4), (2, 6, 4), (2, 6))
    arguments = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    before = [one.copy() for one in arguments]
    value, backward = periodic_embedding(*arguments)
    gradients = backward(np.ones_like(value))
    assert {one.dtype for one in (value, *gradients)} == {np.dtype(np.float32)}
    assert all((one == old).all() for one, old in zip(arguments, before, strict=True))


def test_other_columns_pass_through_unchanged():
    architecture = Architecture(5, layers=[PeriodicEmbedding(columns=2), {"type": "dense", "units": 3}])
    assert architecture.shapes["output.weight"] == (3, 5 + 2 * 3)
    layer = PeriodicEmbedding(columns=2)
    x = np.random.default_rng(0).normal(size=(4, 5))
    local = {name.removeprefix("input."): value for name, value in initial_parameters(architecture, 0).items()}
    value = layer.forward(local, x).value
    np.testing.assert_array_equal(value[:, :5], x)
    changed = layer.forward(local, x + np.array([0, 0, 1, 1, 1])).value
    np.testing.assert_array_equal(changed[:, 5:], value[:, 5:])


def test_initial_values_have_their_distributions():
    architecture = Architecture(400, layers=[PeriodicEmbedding(sigma=0.3), {"type": "dense", "units": 2}])
    parameters = initial_parameters(architecture, 3, "he_normal")
    shapes = {"frequency": (400, 16), "phase": (400, 16), "weight": (400, 3, 16), "bias": (400, 3)}
    assert {name: parameters[f"input.{name}"].shape for name in shapes} == shapes
    assert parameters["input.frequency"].std() == pytest.approx(0.3, rel=0.05)
    for name, bound in (("phase", math.pi), ("weight", 0.25), ("bias", 0.25)):
        values = np.abs(parameters[f"input.{name}"])
        assert 0.99 * bound < values.max() <= bound
        assert values.mean() == pytest.approx(bound / 2, rel=0.06)


def test_errors_name_shapes_and_columns():
    with pytest.raises(ShapeError, match=r"with C <= I, got \(2, 3\), \(4, 5\)"):
        periodic_embedding(np.zeros((2, 3)), *(np.zeros(shape) for shape in ((4, 5), (4, 5), (4, 2, 5), (4, 2))))
    with pytest.raises(ConfigError, match=r"embeds the first 9 inputs, but there are 4\. Set columns to at most 4"):
        Architecture(4, layers=[PeriodicEmbedding(columns=9), {"type": "dense", "units": 2}])
    with pytest.raises(ConfigError, match="layer periodic_embedding: sigma must be a number > 0, got 0"):
        layer_from_table({"type": "periodic_embedding", "sigma": 0})


@pytest.mark.extras
def test_it_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    arguments = [rng.normal(size=shape) for shape in ((7, 4), (3, 5), (3, 5), (3, 2, 5), (3, 2))]
    grad_value = rng.normal(size=(7, 10))
    tensors = [torch.tensor(one, requires_grad=True) for one in arguments]
    x, frequency, phase, weight, bias = tensors
    angle = 2 * torch.pi * x[:, :3, None] * frequency + phase
    embedded = (weight @ torch.cos(angle).unsqueeze(-1)).squeeze(-1) + bias
    value = torch.cat([x, embedded.flatten(1)], 1)
    value.backward(torch.tensor(grad_value))
    ours, backward = periodic_embedding(*arguments)
    np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-12)
    for mine, theirs in zip(backward(grad_value), tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
