import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_scale
from strategies import seeds

from chalknet.errors import ShapeError
from chalknet.network.scale import scale


@st.composite
def batches(draw):
    """Draw x (B, I), gamma (I,) and a gradient of the value (B, I)."""
    rng = np.random.default_rng(draw(seeds))
    b, i = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    return rng.normal(size=(b, i)), rng.normal(1, 1, i), rng.normal(size=(b, i))


def test_scale_by_hand():
    value, backward = scale(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([10.0, -1.0]))
    assert value.tolist() == [[10.0, -2.0], [30.0, -4.0]]
    gradients = backward(np.array([[1.0, 1.0], [2.0, 0.5]]))
    assert gradients.grad_x.tolist() == [[10.0, -1.0], [20.0, -0.5]]
    assert gradients.grad_gamma.tolist() == [7.0, 4.0]


@given(batches())
def test_scale_equals_the_slow_loops(case):
    x, gamma, grad_value = case
    value, backward = scale(x, gamma)
    want, want_x, want_gamma = loop_scale(x, gamma, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-14)
    gradients = backward(grad_value)
    np.testing.assert_allclose(gradients.grad_x, want_x, rtol=1e-14)
    np.testing.assert_allclose(gradients.grad_gamma, want_gamma, rtol=1e-12, atol=1e-12)


@given(batches(), seeds)
def test_scale_gradients_match_differences(case, seed):
    x, gamma, grad_value = case
    gradients = scale(x, gamma)[1](grad_value)
    total = {
        "x": lambda v: float((scale(v, gamma)[0] * grad_value).sum()),
        "gamma": lambda v: float((scale(x, v)[0] * grad_value).sum()),
    }
    assert directional_gap(total["x"], x, gradients.grad_x, seed) < 1e-7
    assert directional_gap(total["gamma"], gamma, gradients.grad_gamma, seed) < 1e-7


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(2,\)"):
        scale(np.zeros((2, 3)), np.ones(2))


@pytest.mark.extras
def test_scale_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    x, gamma, grad_value = rng.normal(size=(6, 4)), rng.normal(size=4), rng.normal(size=(6, 4))
    tensors = [torch.tensor(one, requires_grad=True) for one in (x, gamma)]
    torch.mul(*tensors).backward(torch.tensor(grad_value))
    gradients = scale(x, gamma)[1](grad_value)
    for mine, theirs in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-12)
