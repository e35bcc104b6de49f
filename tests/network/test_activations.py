import math

import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from strategies import dtypes, logits_and_labels, seeds

from chalknet.engines import numpy_kernels
from chalknet.engines.kernels import PIECEWISE_LINEAR
from chalknet.errors import ShapeError
from chalknet.network.gelu import gelu
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.leaky_relu import leaky_relu
from chalknet.network.relu import relu
from chalknet.network.softmax import log_softmax, softmax
from chalknet.network.tanh import tanh

FUNCTIONS = {name: layer.function for name, layer in ACTIVATIONS.items()}


def test_relu_returns_the_positive_part():
    value, _ = relu(np.array([-2.0, 0.0, 3.0]))
    assert value.tolist() == [0.0, 0.0, 3.0]


def test_relu_gradient_at_zero_is_zero():
    _, backward = relu(np.array([[-1.0, 0.0, 1e-300]]))
    assert backward(np.array([[5.0, 5.0, 5.0]])).tolist() == [[0.0, 0.0, 5.0]]


@given(logits_and_labels(), seeds)
def test_relu_gradient_matches_differences(case, seed):
    x, _ = case
    x = x + np.where(x >= 0, 0.1, -0.1)  # away from the kink
    weight = np.random.default_rng(seed).normal(size=x.shape)
    _, backward = relu(x)
    assert directional_gap(lambda z: float((relu(z)[0] * weight).sum()), x, backward(weight), seed) < 1e-7


@given(logits_and_labels())
def test_softmax_rows_are_distributions(case):
    logits, _ = case
    probabilities, _ = softmax(logits)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)


def test_softmax_by_hand():
    probabilities, _ = softmax(np.log(np.array([1.0, 2.0, 5.0])))
    np.testing.assert_allclose(probabilities, [1 / 8, 2 / 8, 5 / 8], rtol=1e-15)


@given(logits_and_labels(), seeds)
def test_softmax_is_invariant_to_a_constant_per_row(case, seed):
    logits, _ = case
    shift = np.random.default_rng(seed).normal(0, 50, (len(logits), 1))
    np.testing.assert_allclose(softmax(logits + shift)[0], softmax(logits)[0], rtol=1e-10)


@given(logits_and_labels())
def test_softmax_of_a_batch_is_softmax_of_its_rows(case):
    logits, _ = case
    np.testing.assert_array_equal(softmax(logits)[0], [softmax(row)[0] for row in logits])


@given(logits_and_labels(), seeds)
def test_softmax_gradient_matches_differences(case, seed):
    logits, _ = case
    weight = np.random.default_rng(seed).normal(size=logits.shape)
    _, backward = softmax(logits)
    assert directional_gap(lambda z: float((softmax(z)[0] * weight).sum()), logits, backward(weight), seed) < 1e-7


@given(dtypes)
def test_softmax_of_huge_logits_is_exact_without_warnings(dtype):
    probabilities, _ = softmax(np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]], dtype=dtype))
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_softmax_of_extreme_logits_is_finite(dtype):
    largest = np.finfo(dtype).max
    assert np.isfinite(log_softmax(np.array([largest, -largest, 0.0], dtype=dtype))).all()


@pytest.mark.parametrize("shape", [(), (2, 3, 4), (3, 0)])
def test_softmax_error_states_the_expected_shape(shape):
    with pytest.raises(ShapeError, match=r"must be \(K,\) or \(B, K\)"):
        softmax(np.zeros(shape))


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(case=logits_and_labels(), seed=seeds)
def test_activation_gradients_match_differences(name, case, seed):
    x, _ = case
    if not ACTIVATIONS[name].is_smooth:
        x = x + np.where(x >= 0, 0.1, -0.1)  # away from the kink
    weight = np.random.default_rng(seed).normal(size=x.shape)
    _, backward = FUNCTIONS[name](x)
    assert directional_gap(lambda z: float((FUNCTIONS[name](z)[0] * weight).sum()), x, backward(weight), seed) < 1e-7


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(dtype=dtypes)
def test_activations_keep_dtype_and_have_no_shared_state(name, dtype):
    x = np.linspace(-3, 3, 7).astype(dtype)
    value, backward = FUNCTIONS[name](x)
    assert value.dtype == dtype
    assert backward(np.ones(7, dtype)).dtype == dtype
    np.testing.assert_array_equal(backward(np.ones(7, dtype)), backward(np.ones(7, dtype)))


def test_leaky_relu_by_hand():
    value, backward = leaky_relu(np.array([-2.0, 0.0, 3.0]))
    assert value.tolist() == [-0.02, 0.0, 3.0]
    assert backward(np.array([5.0, 5.0, 5.0])).tolist() == [0.05, 0.05, 5.0]


def test_tanh_by_hand():
    value, backward = tanh(np.array([np.log(2.0)]))  # (2 - 1/2) / (2 + 1/2)
    np.testing.assert_allclose(value, [0.6], rtol=1e-15)
    np.testing.assert_allclose(backward(np.array([2.0])), [2 * (1 - 0.36)], rtol=1e-15)


@pytest.mark.parametrize(
    ("name", "at", "value", "slope"),
    [
        ("sigmoid", np.log(3.0), 0.75, 0.75 * 0.25),
        ("silu", np.log(3.0), 0.75 * np.log(3.0), 0.75 + np.log(3.0) * 0.75 * 0.25),
        ("mish", 0.0, 0.0, 0.6),  # tanh(log 2) = (2 - 1/2) / (2 + 1/2)
        ("elu", -np.log(2.0), -0.5, 0.5),
        ("elu", 3.0, 3.0, 1.0),
        ("smooth_clip", 4.0, 12 / 5, 27 / 125),  # 1 + (4/3)^2 = (5/3)^2
        ("selu", -np.log(2.0), -0.5 * 1.7580993408473766, 0.5 * 1.7580993408473766),
        ("selu", 2.0, 2 * 1.0507009873554805, 1.0507009873554805),
    ],
)
def test_values_and_slopes_by_hand(name, at, value, slope):
    got, backward = FUNCTIONS[name](np.array([at]))
    np.testing.assert_allclose([got[0], backward(np.ones(1))[0]], [value, slope], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_huge_values_are_finite_without_warnings(name):
    value, backward = FUNCTIONS[name](np.array([-1e4, 1e4], np.float32))
    assert np.isfinite(value).all()
    assert np.isfinite(backward(np.ones(2, np.float32))).all()


HUGE = np.array([-1e4, -100, -89, 0.5, 89, 100, 1e4], np.float32)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_kernels_and_exports_of_activations_take_huge_values(name):
    value, backward = FUNCTIONS[name](HUGE.astype(np.float64))
    wanted, slopes = value.astype(np.float32), backward(np.ones(len(HUGE))).astype(np.float32)
    h, slope, scratch = HUGE[None].copy(), np.empty((1, len(HUGE)), np.float32), np.empty((1, len(HUGE)), bool)
    with np.errstate(over="ignore"):  # as in the engine
        numpy_kernels.ACTIVATION_FUNCTIONS[name](h, h, slope, scratch)
        apart, x = np.empty_like(h), HUGE[None].copy()
        numpy_kernels.ACTIVATION_FUNCTIONS[name](x, apart, np.empty_like(h), scratch)
    assert np.array_equal(x[0], HUGE)
    if name in PIECEWISE_LINEAR:
        h *= slope
    else:
        assert np.array_equal(apart, h)
    np.testing.assert_allclose(h[0], wanted, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(slope[0], slopes, rtol=1e-5, atol=1e-30)
    code = {"np": np, "DTYPE": np.float32}
    exec(ACTIVATIONS[name].predictor_source, code)
    np.testing.assert_allclose(code[name](HUGE, {}), wanted, rtol=1e-5, atol=1e-30)


@pytest.mark.extras
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_torch_kernels_of_activations_take_huge_values(name):
    torch = needs("torch")
    from chalknet.engines.torch_kernels import ACTIVATION_FUNCTIONS

    value, backward = FUNCTIONS[name](HUGE.astype(np.float64))
    found, slope = ACTIVATION_FUNCTIONS[name](torch.from_numpy(HUGE.copy()))
    np.testing.assert_allclose(found.numpy(), value.astype(np.float32), rtol=1e-5, atol=1e-30)
    slopes = backward(np.ones(len(HUGE))).astype(np.float32)
    np.testing.assert_allclose(slope(torch.ones(len(HUGE))).numpy(), slopes, rtol=1e-5, atol=1e-30)


def test_gelu_is_within_0_0005_of_the_exact_form():
    x = np.linspace(-8, 8, 4001)
    exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])
    gap = np.abs(gelu(x)[0] - exact).max()
    assert 1e-4 < gap < 5e-4


@pytest.mark.extras
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_activations_equal_torch_autograd(name):
    torch = needs("torch")
    x = np.random.default_rng(0).normal(0, 3, 50)
    tensor = torch.tensor(x, requires_grad=True)
    settings = {"approximate": "tanh"} if name == "gelu" else {}
    ours_only = {"smooth_clip": lambda x: x / (1 + (x / 3) ** 2).sqrt()}  # torch has no function for it
    value = ours_only.get(name, getattr(torch.nn.functional, name, None))(tensor, **settings)
    value.backward(torch.arange(50.0, dtype=torch.float64))
    ours, backward = FUNCTIONS[name](x)
    np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(backward(np.arange(50.0)), tensor.grad.numpy(), rtol=1e-10, atol=1e-12)
