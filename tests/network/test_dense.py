import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from oracles import loop_ntk_dense
from strategies import networks, seeds

from chalknet.config import Recipe
from chalknet.errors import ShapeError
from chalknet.network.architecture import architecture_for
from chalknet.network.dense import Dense, dense, ntk_dense
from chalknet.network.initializers import initial_parameters


def test_dense_by_hand():
    value, backward = dense(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, -0.5]))
    assert value.tolist() == [[11.5, 16.5]]
    gradients = backward(np.array([[1.0, 10.0]]))
    assert gradients.grad_x.tolist() == [[53.0, 64.0]]
    assert gradients.grad_weight.tolist() == [[1.0, 2.0], [10.0, 20.0]]
    assert gradients.grad_bias.tolist() == [1.0, 10.0]


@given(networks(), seeds)
def test_dense_gradients_match_differences(case, seed):
    weights, biases, x, _ = case
    weight, bias = weights[0], biases[0]
    pull = np.random.default_rng(seed).normal(size=(len(x), len(bias)))
    gradients = dense(x, weight, bias)[1](pull)
    total = {
        "x": lambda v: float((dense(v, weight, bias)[0] * pull).sum()),
        "weight": lambda v: float((dense(x, v, bias)[0] * pull).sum()),
        "bias": lambda v: float((dense(x, weight, v)[0] * pull).sum()),
    }
    assert directional_gap(total["x"], x, gradients.grad_x, seed) < 1e-7
    assert directional_gap(total["weight"], weight, gradients.grad_weight, seed) < 1e-7
    assert directional_gap(total["bias"], bias, gradients.grad_bias, seed) < 1e-7


def test_ntk_dense_by_hand():
    # 4 inputs: products are divided by 2, the bias is not.
    x, weight = np.array([[1.0, 2.0, 0.0, 4.0]]), np.array([[2.0, 0.0, 1.0, 3.0]])
    value, backward = ntk_dense(x, weight, np.array([0.5]))
    assert value.tolist() == [[7.5]]
    gradients = backward(np.array([[10.0]]))
    assert gradients.grad_x.tolist() == [[10.0, 0.0, 5.0, 15.0]]
    assert gradients.grad_weight.tolist() == [[5.0, 10.0, 0.0, 20.0]]
    assert gradients.grad_bias.tolist() == [10.0]


@given(networks(), seeds)
def test_ntk_dense_equals_the_slow_loops(case, seed):
    weights, biases, x, _ = case
    weight, bias = weights[0], biases[0]
    grad_value = np.random.default_rng(seed).normal(size=(len(x), len(bias)))
    value, backward = ntk_dense(x, weight, bias)
    want, *gradients = loop_ntk_dense(x, weight, bias, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(backward(grad_value), gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)


@given(networks(), seeds)
def test_ntk_dense_gradients_match_differences(case, seed):
    weights, biases, x, _ = case
    weight, bias = weights[0], biases[0]
    pull = np.random.default_rng(seed).normal(size=(len(x), len(bias)))
    gradients = ntk_dense(x, weight, bias)[1](pull)

    def loss(*arguments):
        return float((ntk_dense(*arguments)[0] * pull).sum())

    assert directional_gap(lambda v: loss(v, weight, bias), x, gradients.grad_x, seed) < 1e-7
    assert directional_gap(lambda v: loss(x, v, bias), weight, gradients.grad_weight, seed) < 1e-7
    assert directional_gap(lambda v: loss(x, weight, v), bias, gradients.grad_bias, seed) < 1e-7


@pytest.mark.extras
def test_ntk_dense_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    arrays, pull = (rng.normal(size=(6, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)), rng.normal(size=(6, 3))
    x, weight, bias = (torch.tensor(one, requires_grad=True) for one in arrays)
    torch.nn.functional.linear(x, weight / 2, bias).backward(torch.tensor(pull))
    for mine, theirs in zip(ntk_dense(*arrays)[1](pull), (x, weight, bias), strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-12)


def test_dense_does_not_change_its_arguments():
    x, weight, bias = np.ones((2, 3)), np.ones((4, 3)), np.ones(4)
    _, backward = dense(x, weight, bias)
    backward(np.full((2, 4), 7.0))
    assert (x == 1).all()
    assert (weight == 1).all()
    assert (bias == 1).all()


def test_dense_error_for_images_suggests_flatten():
    with pytest.raises(ShapeError, match=r"a dense layer expects x of shape \(B, 784\), got \(32, 28, 28\). Flatten"):
        dense(np.zeros((32, 28, 28)), np.zeros((5, 784)), np.zeros(5))


def test_weight_and_bias_shapes_must_match():
    with pytest.raises(ShapeError, match=r"weight must be \(O, I\) and bias \(O,\), got \(5, 7\) and \(4,\)"):
        dense(np.zeros((1, 7)), np.zeros((5, 7)), np.zeros(4))


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_an_output_layer_with_zero_start_gives_every_class_the_same_probability_at_first(parametrization):
    output = {"type": "dense", "zero_start": True, "parametrization": parametrization}
    recipe = Recipe().with_settings(layers=[{"type": "dense", "units": 5}, "relu", output])
    architecture = architecture_for(recipe, 3, 4)
    parameters = initial_parameters(architecture, 0)
    assert not parameters["output.weight"].any()
    assert not parameters["output.bias"].any()
    assert parameters["hidden1.weight"].any()
    assert Dense(4, zero_start=True, parametrization=parametrization).table()["zero_start"] is True
