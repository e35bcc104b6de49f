import numpy as np
import pytest
from conftest import needs
from differences import directional_gap
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_piecewise_linear_embedding
from strategies import seeds

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, ShapeError
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import fit_parameters, initial_parameters
from chalknet.network.layer_types import layer_from_table
from chalknet.network.piecewise_linear_embedding import (
    MAX_BINS,
    PiecewiseLinearEmbedding,
    bin_edges,
    encode,
    piecewise_linear_embedding,
)
from chalknet.training.trainer import Trainer


@st.composite
def batches(draw):
    """Draw x, edges, weight and bias, and a gradient of the value."""
    rng = np.random.default_rng(draw(seeds))
    b, i, j, t = (draw(st.integers(1, high)) for high in (7, 4, 3, 6))
    c = draw(st.integers(1, i))
    edges = np.cumsum(rng.uniform(0.1, 1, (c, t + 1)), axis=1) - 0.3 * t
    arguments = rng.normal(size=(b, i)), edges, rng.normal(size=(c, j, t)), rng.normal(size=(c, j))
    return arguments, rng.normal(size=(b, i + c * j))


def test_piecewise_linear_embedding_by_hand():
    # Bins 0 to 1, 1 to 3 and 3 to 4. The number 2 is in the middle of the second.
    x, edges = np.array([[2.0, 7.0]]), np.array([[0.0, 1.0, 3.0, 4.0]])
    np.testing.assert_array_equal(encode(x[:, :1], edges), [[[1.0, 0.5, 0.0]]])
    weight = np.array([[[3.0, 8.0, 5.0], [1.0, 2.0, 4.0]]])
    value, backward = piecewise_linear_embedding(x, edges, weight, np.array([[10.0, 20.0]]))
    np.testing.assert_array_equal(value, [[2.0, 7.0, 17.0, 22.0]])
    gradients = backward(np.array([[0.0, 5.0, 1.0, 10.0]]))
    # The slopes of the two outputs in the second bin are 8 / 2 and 2 / 2.
    np.testing.assert_array_equal(gradients.grad_x, [[4.0 + 10.0, 5.0]])
    np.testing.assert_array_equal(gradients.grad_weight, [[[1.0, 0.5, 0.0], [10.0, 5.0, 0.0]]])
    np.testing.assert_array_equal(gradients.grad_bias, [[1.0, 10.0]])


def test_the_outer_bins_have_no_end():
    edges = np.array([[0.0, 1.0, 3.0, 4.0]])
    encoded = encode(np.array([[-2.0], [0.0], [1.0], [4.0], [6.0]]), edges)[:, 0]
    np.testing.assert_array_equal(encoded, [[-2, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1], [1, 1, 3]])
    np.testing.assert_array_equal(encode(np.array([[-1.0], [5.0]]), np.array([[0.0, 2.0]])), [[[-0.5]], [[2.5]]])


@given(batches())
def test_it_equals_the_slow_loops(case):
    arguments, grad_value = case
    value, backward = piecewise_linear_embedding(*arguments)
    want, *gradients = loop_piecewise_linear_embedding(*arguments, grad_value)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(backward(grad_value), gradients, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


def test_an_edge_has_the_slope_of_the_bin_on_its_right():
    x, edges, weight = np.array([[1.0]]), np.array([[0.0, 1.0, 3.0]]), np.array([[[7.0, 4.0]]])
    arguments = x, edges, weight, np.zeros((1, 1))
    grad_x = piecewise_linear_embedding(*arguments)[1](np.array([[0.0, 1.0]])).grad_x
    np.testing.assert_array_equal(grad_x, [[4.0 / 2.0]])
    np.testing.assert_array_equal(loop_piecewise_linear_embedding(*arguments, np.array([[0.0, 1.0]]))[1], grad_x)


@given(batches(), seeds)
def test_each_gradient_matches_differences(case, seed):
    (x, edges, *linear), grad_value = case
    # Differences must not cross an edge, and the step is 1e-6.
    x[:, : len(edges)] += 1e-3 * (np.abs(x[:, : len(edges), None] - edges).min(axis=2) < 1e-4)
    gradients = piecewise_linear_embedding(x, edges, *linear)[1](grad_value)
    for number, gradient in zip((0, 2, 3), gradients, strict=True):

        def loss(changed, number=number):
            given = [x, edges, *linear]
            given[number] = changed
            return float((piecewise_linear_embedding(*given)[0] * grad_value).sum())

        assert directional_gap(loss, [x, edges, *linear][number], gradient, seed) < 1e-6


def test_it_keeps_float32_and_its_arguments():
    rng = np.random.default_rng(0)
    edges = np.sort(rng.normal(size=(2, 5)), axis=1)
    arguments = [rng.normal(size=(5, 3)), edges, rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 6))]
    arguments = [one.astype(np.float32) for one in arguments]
    before = [one.copy() for one in arguments]
    value, backward = piecewise_linear_embedding(*arguments)
    gradients = backward(np.ones_like(value))
    assert {one.dtype for one in (value, *gradients)} == {np.dtype(np.float32)}
    assert all((one == old).all() for one, old in zip(arguments, before, strict=True))


def test_edges_are_quantiles():
    values = np.random.default_rng(0).permutation(np.arange(101.0))
    np.testing.assert_allclose(bin_edges(values, 4), [0, 25, 50, 75, 100])
    np.testing.assert_allclose(bin_edges(np.append(values, [np.nan, np.inf]), 2), [0, 50, 100])


def test_few_different_values_have_bins_of_half_the_width():
    np.testing.assert_array_equal(bin_edges(np.array([0.0, 0.0, 1.0, 1.0]), 4), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(bin_edges(np.array([5.0, 5.0]), 2), [0, 5, 10])
    np.testing.assert_array_equal(bin_edges(np.zeros(0), 4), [-2, -1, 0, 1, 2])


@given(st.lists(st.sampled_from([-1e30, -3.0, 0.0, 1e-30, 1.0, 1.0 + 1e-9, 2.0, 1e6]), min_size=1), st.integers(1, 9))
def test_edges_increase_also_in_float32(values, n_bins):
    for bins in (n_bins, MAX_BINS):
        edges = bin_edges(np.array(values), bins).astype(np.float32)
        assert edges.shape == (bins + 1,)
        assert (np.diff(edges) > 0).all()


def test_other_columns_pass_through_unchanged():
    layer = PiecewiseLinearEmbedding(columns=2)
    architecture = Architecture(5, layers=[layer, {"type": "dense", "units": 3}])
    assert architecture.shapes["output.weight"] == (3, 5 + 2 * 3)
    assert architecture.statistics == {"input.edges"}
    x = np.random.default_rng(0).normal(size=(4, 5))
    local = {name.removeprefix("input."): value for name, value in initial_parameters(architecture, 0).items()}
    value = layer.forward(local, x).value
    np.testing.assert_array_equal(value[:, :5], x)
    changed = layer.forward(local, x + np.array([0, 0, 1, 1, 1])).value
    np.testing.assert_array_equal(changed[:, 5:], value[:, 5:])


def test_initial_values_have_their_distributions():
    architecture = Architecture(400, layers=[PiecewiseLinearEmbedding(bins=25), {"type": "dense", "units": 2}])
    parameters = initial_parameters(architecture, 3, "he_normal")
    for name in ("weight", "bias"):
        values = np.abs(parameters[f"input.{name}"])
        assert 0.99 * 0.2 < values.max() <= 0.2
        assert values.mean() == pytest.approx(0.1, rel=0.06)
    np.testing.assert_allclose(parameters["input.edges"], np.tile(np.linspace(-2, 2, 26), (400, 1)))


def test_fitted_edges_are_those_of_the_layers_own_input():
    layers = ["smooth_clip", PiecewiseLinearEmbedding(bins=2), {"type": "dense", "units": 2}]
    architecture = Architecture(1, layers=layers)
    x = np.array([[0.0], [3.0], [4.0]])
    fitted = fit_parameters(architecture, initial_parameters(architecture, 0), x)
    np.testing.assert_allclose(fitted["input.edges"], (x / np.sqrt(1 + (x / 3) ** 2)).T)


def test_edges_come_from_the_training_samples_alone_and_stay():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 2)) * [1, 100]
    inputs[40:] = 1e6
    data = Dataset(inputs, rng.integers(0, 2, 60), ("a", "b"), source="test")
    splits = Splits(np.arange(40), np.arange(40, 50), np.arange(50, 60))
    layers = [PiecewiseLinearEmbedding(bins=4), {"type": "dense", "units": 3}, "relu"]
    settings = {"layers": layers, "epochs": 2, "dtype": "float64", "input_scaling": "standard", "weight_average": 0.9}
    trainer = Trainer(data, splits, Recipe().with_settings(**settings))
    list(trainer.epochs())
    train = inputs[:40]
    scaled = (train - train.mean(axis=0)) / train.std(axis=0)
    want = np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1], axis=0).T
    np.testing.assert_allclose(trainer.network().parameters["input.edges"], want, rtol=1e-12)


def test_errors_name_shapes_and_columns():
    with pytest.raises(ShapeError, match=r"with C <= I, got \(2, 3\), \(4, 6\)"):
        piecewise_linear_embedding(np.zeros((2, 3)), *(np.zeros(shape) for shape in ((4, 6), (4, 2, 5), (4, 2))))
    with pytest.raises(ConfigError, match=r"embeds the first 9 inputs, but there are 4\. Set columns to at most 4"):
        Architecture(4, layers=[PiecewiseLinearEmbedding(columns=9), {"type": "dense", "units": 2}])
    with pytest.raises(ConfigError, match="layer piecewise_linear_embedding: bins must be an integer from 1 to 256"):
        layer_from_table({"type": "piecewise_linear_embedding", "bins": 1_000})


@pytest.mark.extras
def test_it_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(0)
    edges = np.sort(rng.normal(size=(3, 6)), axis=1)
    x, weight, bias = rng.normal(size=(7, 4)), rng.normal(size=(3, 2, 5)), rng.normal(size=(3, 2))
    grad_value = rng.normal(size=(7, 10))
    tensors = [torch.tensor(one, requires_grad=True) for one in (x, weight, bias)]
    low, high = torch.tensor(edges[:, :-1]), torch.tensor(edges[:, 1:])
    ratio = (tensors[0][:, :3, None] - low) / (high - low)
    encoded = torch.cat([ratio[..., :1].clamp(max=1), ratio[..., 1:-1].clamp(0, 1), ratio[..., -1:].clamp(min=0)], -1)
    embedded = torch.einsum("nit,ijt->nij", encoded, tensors[1]) + tensors[2]
    value = torch.cat([tensors[0], embedded.flatten(1)], 1)
    value.backward(torch.tensor(grad_value))
    ours, backward = piecewise_linear_embedding(x, edges, weight, bias)
    np.testing.assert_allclose(ours, value.detach().numpy(), rtol=1e-12)
    for mine, theirs in zip(backward(grad_value), tensors, strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)
