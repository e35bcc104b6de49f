import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import loop_pool
from strategies import seeds

from chalknet.errors import ShapeError
from chalknet.network.average_pool2d import average_pool2d
from chalknet.network.global_average_pool import global_average_pool
from chalknet.network.max_pool2d import max_pool2d

KINDS = {"max": max_pool2d, "average": average_pool2d}


@st.composite
def cases(draw):
    """Draw x, whole numbers or not, size and stride of pooling, and a random generator."""
    rng = np.random.default_rng(draw(seeds))
    size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    shape = draw(st.integers(1, 3)), draw(st.integers(size, 7)), draw(st.integers(size, 7)), draw(st.integers(1, 3))
    # Whole numbers have equal values in a window.
    x = rng.integers(0, 3, shape).astype(float) if draw(st.booleans()) else rng.normal(size=shape)
    return x, size, stride, rng


def test_pooling_by_hand():
    x = np.array([[1.0, 5.0, 2.0], [5.0, 4.0, 0.0], [9.0, 9.0, 9.0]]).reshape(1, 3, 3, 1)
    value, backward = max_pool2d(x, 2)
    assert value.ravel().tolist() == [5.0]  # the third row and column fill no window
    assert backward(np.array([7.0]).reshape(1, 1, 1, 1)).ravel().tolist() == [0, 7, 0, 0, 0, 0, 0, 0, 0]
    value, backward = average_pool2d(x, 2, 1)
    assert value.ravel().tolist() == [3.75, 2.75, 6.75, 5.5]
    assert backward(np.array([4.0, 0.0, 0.0, 8.0]).reshape(1, 2, 2, 1)).ravel().tolist() == [1, 1, 0, 1, 3, 2, 0, 2, 2]
    value, backward = global_average_pool(x)
    assert value.tolist() == [[44 / 9]]
    assert backward(np.array([[18.0]])).ravel().tolist() == [2.0] * 9


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(case=cases())
def test_pooling_equals_the_slow_loops(kind, case):
    x, size, stride, rng = case
    value, backward = KINDS[kind](x, size, stride)
    grad_value = rng.normal(size=value.shape)
    want, want_gradient = loop_pool(x, grad_value, size, stride, kind)
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(backward(grad_value), want_gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", [*KINDS.values(), lambda x, *_: global_average_pool(x)])
def test_pooling_gradients_match_differences(function):
    rng = np.random.default_rng(3)
    x = rng.permutation(3 * 6 * 7 * 2).reshape(3, 6, 7, 2) / 10.0  # no two values are so close that a step crosses
    value, backward = function(x, 3, 2)
    grad_value = rng.normal(size=value.shape)
    gap = directional_gap(lambda v: float((function(v, 3, 2)[0] * grad_value).sum()), x, backward(grad_value), 0)
    assert gap < 1e-7


def test_pooling_keeps_float32():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    for function in (max_pool2d, average_pool2d, global_average_pool):
        value, backward = function(x)
        assert value.dtype == backward(value).dtype == np.float32


def test_shapes_that_do_not_fit_pooling_are_named():
    for function in (max_pool2d, average_pool2d, global_average_pool):
        with pytest.raises(ShapeError, match=r"with the channels last, got \(2, 4, 4\)"):
            function(np.zeros((2, 4, 4)))
    with pytest.raises(ShapeError, match="a window of 3 x 3 pixels does not fit in an image of 2 x 4"):
        max_pool2d(np.zeros((1, 2, 4, 1)), 3)
    with pytest.raises(ShapeError, match="stride must be at least 1"):
        average_pool2d(np.zeros((1, 4, 4, 1)), 2, 0)


@pytest.mark.extras
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3)])
def test_pooling_equals_torch_autograd(size, stride):
    torch = needs("torch")
    x = np.random.default_rng(0).integers(0, 4, (2, 7, 8, 3)).astype(float)  # with equal values in windows
    functions = {"max": torch.nn.functional.max_pool2d, "average": torch.nn.functional.avg_pool2d}
    for kind, function in functions.items():
        tensor = torch.tensor(x, requires_grad=True)
        theirs = function(tensor.permute(0, 3, 1, 2), size, stride)
        value, backward = KINDS[kind](x, size, stride)
        np.testing.assert_allclose(value, theirs.detach().permute(0, 2, 3, 1).numpy(), rtol=1e-12)
        grad_value = np.random.default_rng(1).normal(size=value.shape)
        theirs.backward(torch.tensor(grad_value).permute(0, 3, 1, 2))
        np.testing.assert_allclose(backward(grad_value), tensor.grad.numpy(), rtol=1e-12)
