import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import loop_conv2d
from strategies import seeds

from chalknet.errors import ShapeError
from chalknet.network.conv2d import conv2d


@st.composite
def cases(draw):
    """Draw x, W, b, the settings of a convolution, and a gradient of its value."""
    rng = np.random.default_rng(draw(seeds))
    groups, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows, columns = draw(st.integers(height, 6)), draw(st.integers(width, 6))
    x = rng.normal(size=(draw(st.integers(1, 3)), rows, columns, groups * draw(st.integers(1, 2))))
    weight = rng.normal(size=(groups * draw(st.integers(1, 2)), height, width, x.shape[3] // groups))
    bias = rng.normal(size=len(weight))
    value, _ = conv2d(x, weight, bias, stride, padding, groups)
    return x, weight, bias, {"stride": stride, "padding": padding, "groups": groups}, rng.normal(size=value.shape)


def test_a_convolution_by_hand():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    weight = np.array([[1.0, 0.0], [0.0, -1.0]]).reshape(1, 2, 2, 1)
    value, backward = conv2d(x, weight, np.array([10.0]))
    assert value[0, :, :, 0].tolist() == [[6.0, 6.0], [6.0, 6.0]]  # x - (the value down and to the right) + 10
    gradients = backward(np.ones((1, 2, 2, 1)))
    assert gradients.grad_x[0, :, :, 0].tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, -1.0, -1.0]]
    assert gradients.grad_weight[0, :, :, 0].tolist() == [[8.0, 12.0], [20.0, 24.0]]
    assert gradients.grad_bias.tolist() == [4.0]


@settings(max_examples=40)
@given(cases())
def test_a_convolution_equals_the_slow_loops(case):
    x, weight, bias, options, grad_value = case
    value, backward = conv2d(x, weight, bias, **options)
    want, *want_gradients = loop_conv2d(x, weight, bias, grad_value, **options)
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
    for mine, retold in zip(backward(grad_value), want_gradients, strict=True):
        np.testing.assert_allclose(mine, retold, rtol=1e-12, atol=1e-12)


@settings(max_examples=40)
@given(cases(), seeds)
def test_convolution_gradients_match_differences(case, seed):
    x, weight, bias, options, grad_value = case
    gradients = conv2d(x, weight, bias, **options)[1](grad_value)
    total = {
        "x": lambda v: float((conv2d(v, weight, bias, **options)[0] * grad_value).sum()),
        "weight": lambda v: float((conv2d(x, v, bias, **options)[0] * grad_value).sum()),
        "bias": lambda v: float((conv2d(x, weight, v, **options)[0] * grad_value).sum()),
    }
    for (name, function), at, gradient in zip(total.items(), (x, weight, bias), gradients, strict=True):
        assert directional_gap(function, at, gradient, seed) < 1e-6, name


def test_a_kernel_of_one_pixel_is_a_dense_layer_of_the_channels():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(6, 5)), rng.normal(size=6)
    np.testing.assert_allclose(conv2d(x, weight[:, None, None], bias)[0], x @ weight.T + bias, rtol=1e-12)


def test_a_convolution_keeps_float32():
    x, weight = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 3, 2), np.float32)
    value, backward = conv2d(x, weight, np.zeros(3, np.float32), padding=1)
    assert value.dtype == np.float32
    assert {gradient.dtype for gradient in backward(value)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "message"),
    [
        ((2, 4, 4), (1, 3, 3, 1), 1, {}, "with the channels last, got (2, 4, 4)"),
        ((2, 4, 4, 1), (1, 3, 3), 1, {}, "weight must be (O, R, S, C / groups) and bias (O,)"),
        ((2, 4, 4, 1), (2, 3, 3, 1), 1, {}, "got (2, 3, 3, 1) and (1,)"),
        ((2, 4, 4, 3), (1, 3, 3, 2), 1, {}, "x has 3 channels, but weight (1, 3, 3, 2) with 1 groups needs 2"),
        ((2, 4, 4, 3), (2, 3, 3, 1), 2, {"groups": 2}, "groups must divide the 3 channels of x and the 2 of weight"),
        ((2, 4, 4, 1), (1, 5, 5, 1), 1, {}, "a window of 5 x 5 pixels does not fit in an image of 4 x 4 with 0 pixels"),
        ((2, 4, 4, 1), (1, 3, 3, 1), 1, {"stride": 0}, "stride must be at least 1 and padding at least 0, got 0 and 0"),
        ((2, 4, 4, 1), (1, 3, 3, 1), 1, {"padding": -1}, "got 1 and -1"),
    ],
)
def test_shapes_that_do_not_fit_a_convolution_are_named(x, weight, bias, options, message):
    with pytest.raises(ShapeError) as error:
        conv2d(np.zeros(x), np.zeros(weight), np.zeros(bias), **options)
    assert message in str(error.value)


@pytest.mark.extras
@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 4)])
def test_a_convolution_equals_torch_autograd(stride, padding, groups):
    torch = needs("torch")
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 7, 8, 4)), rng.normal(size=(8, 3, 2, 4 // groups)), rng.normal(size=8)
    tensors = [torch.tensor(one, requires_grad=True) for one in (x, weight, bias)]
    images, kernels = (one.permute(0, 3, 1, 2) for one in tensors[:2])
    theirs = torch.nn.functional.conv2d(images, kernels, tensors[2], stride, padding, groups=groups)
    value, backward = conv2d(x, weight, bias, stride, padding, groups)
    np.testing.assert_allclose(value, theirs.detach().permute(0, 2, 3, 1).numpy(), rtol=1e-10, atol=1e-12)
    grad_value = rng.normal(size=value.shape)
    theirs.backward(torch.tensor(grad_value).permute(0, 3, 1, 2))
    for mine, tensor in zip(backward(grad_value), tensors, strict=True):
        np.testing.assert_allclose(mine, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)
