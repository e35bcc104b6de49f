import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_parametric
from strategies import seeds

from chalknet.errors import ConfigError, ShapeError
from chalknet.network.layer_types import ACTIVATIONS, layer_from_table
from chalknet.network.parametric_activation import ParametricActivation, parametric_activation
from chalknet.network.relu import relu

FUNCTIONS = {name: layer.function for name, layer in ACTIVATIONS.items()}


@st.composite
def batches(draw):
    """Draw x (B, F) away from the kink at 0, alpha (F,) and a gradient of the value (B, F)."""
    rng = np.random.default_rng(draw(seeds))
    b, f = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    x = rng.normal(0, 2, (b, f))
    return x + np.where(x >= 0, 0.1, -0.1), rng.normal(0.5, 1, f), rng.normal(size=(b, f))


def test_parametric_relu_by_hand():
    value, backward = parametric_activation(np.array([[-4.0, 2.0], [-2.0, -6.0]]), np.array([0.25, 1.0]), relu)
    assert value.tolist() == [[-3.0, 2.0], [-1.5, 0.0]]
    gradients = backward(np.array([[1.0, 1.0], [10.0, 1.0]]))
    assert gradients.grad_x.tolist() == [[0.75, 1.0], [7.5, 0.0]]
    assert gradients.grad_alpha.tolist() == [24.0, 6.0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_alpha_of_1_is_the_activation_and_0_the_identity(name):
    x = np.random.default_rng(0).normal(size=(5, 3))
    value, backward = parametric_activation(x, np.ones(3), FUNCTIONS[name])
    want, through = FUNCTIONS[name](x)
    np.testing.assert_allclose(value, want, atol=1e-15)
    np.testing.assert_allclose(backward(x).grad_x, through(x), rtol=1e-14)
    value, backward = parametric_activation(x, np.zeros(3), FUNCTIONS[name])
    np.testing.assert_array_equal(value, x)
    np.testing.assert_array_equal(backward(x).grad_x, x)


@pytest.mark.parametrize("name", ["relu", "selu", "mish"])
@given(case=batches())
def test_it_equals_the_slow_loops(name, case):
    x, alpha, grad_value = case
    value, backward = parametric_activation(x, alpha, FUNCTIONS[name])
    want, want_x, want_alpha = loop_parametric(name, x, alpha, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)
    gradients = backward(grad_value)
    np.testing.assert_allclose(gradients.grad_x, want_x, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(gradients.grad_alpha, want_alpha, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(case=batches(), seed=seeds)
def test_both_gradients_match_differences(name, case, seed):
    x, alpha, grad_value = case
    gradients = parametric_activation(x, alpha, FUNCTIONS[name])[1](grad_value)

    def loss(x, alpha):
        return float((parametric_activation(x, alpha, FUNCTIONS[name])[0] * grad_value).sum())

    assert directional_gap(lambda v: loss(v, alpha), x, gradients.grad_x, seed) < 1e-7
    assert directional_gap(lambda v: loss(x, v), alpha, gradients.grad_alpha, seed) < 1e-7


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(2,\)"):
        parametric_activation(np.zeros((2, 3)), np.ones(2), relu)


def test_the_activation_must_be_named():
    with pytest.raises(ConfigError, match="activation is missing, the activation that alpha weights"):
        layer_from_table("parametric_activation")
    with pytest.raises(ConfigError, match=r"activation must be one of relu, .* got 'dense'"):
        layer_from_table({"type": "parametric_activation", "activation": "dense"})
    assert ParametricActivation("mish").is_smooth
    assert not ParametricActivation("selu").is_smooth
    assert str(ParametricActivation("leaky_relu")) == "parametric leaky relu"


@pytest.mark.extras
@pytest.mark.parametrize("name", ["relu", "selu", "mish", "silu"])
def test_it_equals_torch_autograd(name):
    torch = needs("torch")
    rng = np.random.default_rng(0)
    x, alpha, grad_value = rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=(6, 4))
    tensors = [torch.tensor(one, requires_grad=True) for one in (x, alpha)]
    value = tensors[0] + tensors[1] * (getattr(torch.nn.functional, name)(tensors[0]) - tensors[0])
    value.backward(torch.tensor(grad_value))
    gradients = parametric_activation(x, alpha, FUNCTIONS[name])[1](grad_value)
    for mine, theirs in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.extras
def test_parametric_leaky_slopes_equal_torchs_prelu():
    """With relu, the slope of negative values is 1 - alpha, as in PReLU."""
    torch = needs("torch")
    rng = np.random.default_rng(0)
    x, alpha = rng.normal(size=(6, 4)), rng.uniform(size=4)
    want = torch.nn.functional.prelu(torch.tensor(x), torch.tensor(1 - alpha)).numpy()
    np.testing.assert_allclose(parametric_activation(x, alpha, relu)[0], want, rtol=1e-12)
