import numpy as np
import pytest
from conftest import needs
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import loop_residual
from strategies import seeds

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.architecture import Architecture, forward
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.initializers import initial_parameters
from chalknet.network.residual import Residual, residual


@st.composite
def cases(draw):
    """Draw x, a shortcut, a gradient of their sum, and the stride of the shortcut."""
    rng = np.random.default_rng(draw(seeds))
    stride, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    high, wide = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    shortcut = rng.normal(size=(2, high, wide, channels))
    shape = 2, -(-high // stride), -(-wide // stride), channels + draw(st.integers(0, 2))
    # A larger stride that gives the same height and width would read other pixels.
    return rng.normal(size=shape), shortcut, rng.normal(size=shape), -(-high // shape[1])


def test_a_residual_connection_by_hand():
    shortcut = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    value, backward = residual(np.full((1, 2, 2, 2), 10.0), shortcut)
    assert value[0, :, :, 0].tolist() == [[11.0, 13.0], [17.0, 19.0]]  # the corners of the shortcut
    assert value[0, :, :, 1].tolist() == [[10.0, 10.0], [10.0, 10.0]]  # a channel that the shortcut lacks
    grad = np.array([[[1.0, 5.0], [2.0, 5.0]], [[3.0, 5.0], [4.0, 5.0]]])[None]
    grad_x, grad_shortcut = backward(grad)
    assert grad_x is grad
    assert grad_shortcut[0, :, :, 0].tolist() == [[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 4.0]]


@settings(max_examples=40)
@given(cases())
def test_a_residual_connection_equals_the_slow_loops(case):
    x, shortcut, grad_value, stride = case
    if -(-shortcut.shape[2] // stride) != x.shape[2]:
        with pytest.raises(ShapeError, match="cannot be added"):
            residual(x, shortcut)
        return
    value, backward = residual(x, shortcut)
    want, want_shortcut = loop_residual(x, shortcut, grad_value, stride)
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(backward(grad_value)[1], want_shortcut)


def test_rows_are_added_to_rows():
    value, backward = residual(np.ones((2, 3)), np.full((2, 3), 2.0))
    assert value.tolist() == [[3.0] * 3] * 2
    grad = np.ones((2, 3))
    assert all(one is grad for one in backward(grad))


@pytest.mark.parametrize(
    ("x", "shortcut"),
    [((2, 3), (2, 4)), ((2, 2, 2, 1), (2, 2, 2, 2)), ((2, 2, 2, 1), (3, 2, 2, 1)), ((2, 4, 4, 1), (2, 2, 2, 1))],
)
def test_shapes_that_do_not_fit_a_residual_connection_are_named(x, shortcut):
    with pytest.raises(ShapeError) as error:
        residual(np.zeros(x), np.zeros(shortcut))
    assert str(x) in str(error.value)
    assert str(shortcut) in str(error.value)


def test_two_shortcuts_from_one_place_are_both_added():
    architecture = Architecture(3, layers=[Dense(3), Residual(1), Residual(2), Dense(2)])
    parameters, x = initial_parameters(architecture, 0), np.random.default_rng(0).normal(size=(4, 3))
    hidden = x @ parameters["hidden1.weight"].T + parameters["hidden1.bias"]
    want = (hidden + 2 * x) @ parameters["output.weight"].T + parameters["output.bias"]
    np.testing.assert_allclose(forward(architecture, parameters, x).logits, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense(3), Residual(2), Dense(2)], "entry 2: layer residual skips the 2 layers before it, and only 1 come"),
        ([Dense(5), Residual(1), Dense(2)], "the input (3,) of the first of 1 skipped layers cannot be added to (5,)"),
    ],
)
def test_a_residual_connection_that_does_not_fit_the_layers_is_refused(layers, message):
    with pytest.raises(ConfigError) as error:
        Architecture(3, layers=layers)
    assert message in str(error.value)


def test_prediction_counts_only_the_layers_that_act_in_it():
    layers = [Conv2d(1), "dropout", "relu", Residual(3), "flatten", Dense(2)]
    assert Architecture((4, 4, 1), layers=layers).prediction.layers[2] == Residual(2)


def test_a_residual_connection_around_dropout_alone_keeps_it():
    layers = [Dense(3), "dropout", "dropout", Residual(2), Dense(2)]
    assert [layer.type for layer in Architecture(3, layers=layers).prediction.layers[1:3]] == ["dropout", "residual"]


@pytest.mark.extras
def test_a_residual_connection_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    x, shortcut, grad_value = (rng.normal(size=shape) for shape in ((2, 3, 4, 5), (2, 5, 7, 3), (2, 3, 4, 5)))
    tensors = [torch.tensor(one, requires_grad=True) for one in (x, shortcut)]
    theirs = tensors[0] + torch.nn.functional.pad(tensors[1][:, ::2, ::2], (0, 2))
    theirs.backward(torch.tensor(grad_value))
    value, backward = residual(x, shortcut)
    np.testing.assert_array_equal(value, theirs.detach().numpy())
    for mine, tensor in zip(backward(grad_value), tensors, strict=True):
        np.testing.assert_array_equal(mine, tensor.grad.numpy())
