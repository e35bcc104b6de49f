"""Compiled loops: the same bits as NumPy, for every optimizer."""

import numpy as np
import pytest
from conftest import needs

import chalknet
from chalknet.engines.compiled import CompiledPasses, OptimizerSteps, compiled_step
from chalknet.engines.numpy_passes import Passes
from chalknet.network.optimizers import Adam, DecoupledWeightDecay, Momentum, Nesterov, ParameterAverage, Step

OPTIMIZERS = {
    "gradient descent": Momentum(0.0),
    "momentum": Momentum(0.9),
    "momentum of biases": Momentum(0.9, bias_momentum=True),
    "nesterov": Nesterov(0.9),
    "adam": Adam(),
    "adamw": DecoupledWeightDecay(Adam(0.8, 0.95), 0.3),
    "averaged": ParameterAverage(DecoupledWeightDecay(Nesterov(0.5), 0.1), 0.99),
    "averaged adam": ParameterAverage(Adam(), 0.9),
}


def after_steps(optimizer, in_place, dtype, bias_rows):
    """Return parameters and state after three steps of 12 rows, of which the last ones are biases."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 37)).astype(dtype)
    state = [np.abs(rng.normal(size=matrix.shape)).astype(dtype) for _ in optimizer.state_names]
    for number in range(1, 4):
        gradient = (rng.normal(size=matrix.shape) * 10.0 ** rng.integers(-30, 3, matrix.shape)).astype(dtype)
        scalars = [np.array(value, dtype) for value in optimizer.step_scalars(Step(number, 0.01 * number))]
        in_place(matrix, gradient, state, bias_rows, scalars)
    return [matrix, *state]


@pytest.mark.extras
@pytest.mark.parametrize("bias_rows", [0, 2, 12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_compiled_step_has_the_bits_of_numpy(optimizer, dtype, bias_rows):
    needs("numba")
    want = after_steps(optimizer, optimizer.step_in_place, dtype, bias_rows)
    found = after_steps(optimizer, compiled_step(optimizer), dtype, bias_rows)
    for mine, theirs in zip(found, want, strict=True):
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.extras
def test_loops_are_compiled_only_after_many_updates():
    needs("numba")
    adam, chosen = Adam(), []
    steps = OptimizerSteps(adam, 1_000, values_before_loading=2_500)
    for _ in range(4):
        steps.count_update()
        chosen.append(steps.in_place == adam.step_in_place)
    assert chosen == [True, True, False, False]


def test_steps_are_those_of_numpy_without_numba(monkeypatch):
    monkeypatch.setattr("chalknet.engines.compiled.find_spec", lambda _: None)
    adam = Adam()
    steps = OptimizerSteps(adam, 1_000, values_before_loading=1)
    steps.count_update()
    assert steps.in_place == adam.step_in_place


def test_training_goes_on_if_numba_cannot_be_loaded(monkeypatch):
    def broken(_):
        raise ImportError("built for another NumPy")

    monkeypatch.setattr("chalknet.engines.compiled.find_spec", lambda _: "numba")
    monkeypatch.setattr("chalknet.engines.compiled.compiled_step", broken)
    adam = Adam()
    steps = OptimizerSteps(adam, 1_000, values_before_loading=1)
    with pytest.warns(UserWarning, match="built for another NumPy"):
        steps.count_update()
    assert steps.in_place == adam.step_in_place


@pytest.mark.extras
def test_a_training_that_changes_to_compiled_loops_has_the_same_parameters(monkeypatch):
    needs("numba")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    settings = {"hidden": [600], "optimizer": "adamw", "weight_decay": 0.1, "weight_average": 0.9, "batch_size": 20}
    found = []
    for values in (10**12, 10_000):
        monkeypatch.setattr("chalknet.engines.compiled.OptimizerSteps.__init__.__defaults__", (values,))
        found.append(chalknet.train(data, recipe="strong-rows", epochs=3, workers=2, **settings).network.parameters)
    assert all(found[0][name].tobytes() == value.tobytes() for name, value in found[1].items())


def test_a_matrix_that_is_not_contiguous_is_refused_instead_of_copied():
    from chalknet.engines.compiled import _flat

    with pytest.raises(AssertionError):
        _flat(np.zeros((4, 6))[:, :3])


def passes_of(passes, dtype, channels):
    """Return what all passes write for maps of 6 x 4 positions, with equal values among the pixels."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(-3, 4, (6, 4, 3, channels)).astype(dtype) / 7
    x, grad, out = (
        pixels.reshape(24, -1).copy(),
        rng.normal(size=(24, 3 * channels)).astype(dtype),
        np.empty_like(pixels),
    )
    first, second, third = rng.normal(size=(3, 3 * channels)).astype(dtype)
    found = [out.reshape(24, -1), np.empty_like(x), np.empty_like(x), x, pixels]
    sums = np.empty((3, 3 * channels), dtype)
    passes.center(x, first, sums[0], found[1])
    passes.gradient_sums(x, grad, None, sums[1:], found[1])
    sums_of_slopes, slopes = np.empty((2, 3 * channels), dtype), (x > 0).astype(dtype)
    passes.gradient_sums(x, grad, slopes, sums_of_slopes, found[1])
    rectified, slopes = np.empty((2, *x.shape), dtype)
    positive = np.empty_like(x)
    passes.normalize_positive(x, second, third, positive)
    passes.normalize_relu(x, second, third, rectified, slopes, np.empty(x.shape, bool))
    passes.normalize(x, second, third, found[0])
    passes.normalize_gradient(x, grad, first, second, third)
    passes.relu(found[0], found[2], np.empty(x.shape, bool))
    largest, overlapping = np.empty((3, 2, 3, channels), dtype), np.empty((5, 3, 3, channels), dtype)
    passes.largest(pixels, 2, 2, largest)
    passes.largest(pixels, 2, 1, overlapping)
    passes.route(pixels, 2, 2, rng.normal(size=largest.shape).astype(dtype), np.empty_like(largest))
    return [*found[:1], *found[2:], largest, overlapping, sums, sums_of_slopes, rectified, slopes, positive]


@pytest.mark.extras
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 5, 32])
def test_compiled_passes_over_maps_have_the_numbers_of_numpy(dtype, channels):
    needs("numba")
    for mine, theirs in zip(
        passes_of(CompiledPasses(), dtype, channels), passes_of(Passes(), dtype, channels), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def rows_of_passes(passes, dtype, columns):
    """Return what the passes over flat samples write, for some of 40 columns."""
    rng = np.random.default_rng(3)
    x, difference, slope = rng.normal(size=(3, 17, 40)).astype(dtype)
    bias = rng.normal(size=40).astype(dtype)
    views = [one[:, columns] for one in (x, difference, slope, bias[None])]
    passes.scale_and_add(views[0], np.array(0.3, dtype), views[3][0])
    passes.parametric(*views[:3], views[3][0])
    passes.parametric_lines(*views[:3], views[3][0])
    passes.relu(views[0], views[2], np.empty(views[0].shape, bool))
    return x, difference, slope


@pytest.mark.extras
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [slice(None), slice(8, 31)])
def test_compiled_passes_over_rows_have_the_bits_of_numpy(dtype, columns):
    needs("numba")
    found, want = (rows_of_passes(passes, dtype, columns) for passes in (CompiledPasses(), Passes()))
    for mine, theirs in zip(found, want, strict=True):
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.extras
@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_rows_trained_by_compiled_passes_have_the_same_parameters(monkeypatch, activation):
    needs("numba")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    dense, output = ({"type": "dense", "parametrization": "ntk", **more} for more in ({"units": 16}, {}))
    block = [dense, {"type": "parametric_activation", "activation": activation}]
    layers = ["scale", *block, {"type": "dense", "units": 9}, "relu", *block, {"type": "dropout", "rate": 0.2}, output]
    found = []
    for values in (10**12, 1_000):
        monkeypatch.setattr("chalknet.engines.compiled.OptimizerSteps.__init__.__defaults__", (values,))
        found.append(chalknet.train(data, layers=layers, epochs=3, batch_size=20, workers=1).network.parameters)
    assert all(found[0][name].tobytes() == value.tobytes() for name, value in found[1].items())


@pytest.mark.extras
def test_images_trained_by_compiled_loops_have_the_same_parameters(monkeypatch):
    needs("numba")
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (60, 9, 8)).astype(np.uint8), rng.integers(0, 3, 60)
    conv, pool = {"type": "conv2d", "filters": 8}, {"type": "max_pool2d", "size": 2}
    layers = [conv, "batch_norm", "relu", pool, conv, "relu", {**pool, "size": 3, "stride": 1}, "flatten"]
    found = []
    for values in (10**12, 10_000):
        monkeypatch.setattr("chalknet.engines.compiled.OptimizerSteps.__init__.__defaults__", (values,))
        found.append(chalknet.train(data, layers=layers, epochs=3, batch_size=20, workers=2).network.parameters)
    assert all((found[0][name] == value).all() for name, value in found[1].items())
