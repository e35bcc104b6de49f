import numpy as np
import pytest

from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture, forward
from chalknet.network.dense import Dense
from chalknet.network.initializers import glorot_deviation, glorot_normal, initial_parameters


def test_parameters_are_drawn_in_the_order_of_the_writeup():
    got = initial_parameters(Architecture(784, (50,), 10), seed=7)
    np.random.seed(7)
    want = [
        np.random.normal(0, np.sqrt(2 / (784 + 50)), (50, 784)),
        np.random.normal(0, np.sqrt(2 / (784 + 50)), (50,)),
        np.random.normal(0, np.sqrt(2 / (50 + 10)), (10, 50)),
        np.random.normal(0, np.sqrt(2 / (50 + 10)), (10,)),
    ]
    assert list(got) == ["hidden1.weight", "hidden1.bias", "output.weight", "output.bias"]
    for mine, theirs in zip(got.values(), want, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(784, 1000), (1000, 10), (3, 5)])
def test_glorot_normal_has_the_stated_mean_and_variance(fan_in, fan_out):
    n = 400_000
    values = glorot_normal(np.random.RandomState(1), (n,), fan_in, fan_out)
    variance = 2 / (fan_in + fan_out)
    # Five standard errors: of the mean sd/sqrt(n), of the variance variance*sqrt(2/n).
    assert abs(values.mean()) < 5 * np.sqrt(variance / n)
    assert abs(values.var() - variance) < 5 * variance * np.sqrt(2 / n)
    assert glorot_deviation(fan_in, fan_out) == pytest.approx(np.sqrt(variance))


def test_equal_seeds_give_equal_weights():
    architecture = Architecture(20, (6, 4), 3)
    first, again, other = (initial_parameters(architecture, seed) for seed in (3, 3, 4))
    assert all((first[name] == again[name]).all() for name in first)
    assert not any((first[name] == other[name]).any() for name in first)


BOUNDS = {"glorot_uniform": np.sqrt(6 / (300 + 200)), "he_uniform": np.sqrt(6 / 300)}


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [("writeup", 2 / 500), ("glorot_normal", 2 / 500), ("glorot_uniform", 2 / 500), ("he_normal", 2 / 300),
     ("he_uniform", 2 / 300)],
)  # fmt: skip
def test_every_initializer_has_its_mean_variance_and_bounds(initializer, variance):
    parameters = initial_parameters(Architecture(300, (200,), 3), 1, initializer)
    weight, bias = parameters["hidden1.weight"], parameters["hidden1.bias"]
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert abs(weight.var() - variance) < 5 * variance * np.sqrt(2 / weight.size)
    assert (bias == 0).all() == (initializer != "writeup")
    if initializer in BOUNDS:
        assert 0.99 * BOUNDS[initializer] < np.abs(weight).max() <= BOUNDS[initializer]


@pytest.mark.parametrize("initializer", ["writeup", "he_uniform"])
def test_ntk_parameters_are_drawn_with_variance_1(initializer):
    architecture = Architecture(300, layers=[Dense(200, parametrization="ntk"), Dense(3)])
    parameters = initial_parameters(architecture, 1, initializer)
    weight, bias = parameters["hidden1.weight"], parameters["hidden1.bias"]
    assert abs(weight.var() - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(bias.var() - 1) < 5 * np.sqrt(2 / bias.size)
    x = np.random.default_rng(0).normal(size=(50, 300))
    plain = Architecture(300, layers=[Dense(200), Dense(3)])
    same = {**parameters, "hidden1.weight": weight / np.sqrt(300)}
    np.testing.assert_allclose(forward(architecture, parameters, x).logits, forward(plain, same, x).logits)


def test_batch_norm_starts_with_scale_1_and_bias_0():
    parameters = initial_parameters(Architecture(3, (4,), 2, batch_norm=True), 0)
    assert list(parameters) == ["hidden1.weight", "hidden1.gamma", "hidden1.bias", "hidden1.mean", "hidden1.variance",
                                "output.weight", "output.bias"]  # fmt: skip
    assert (parameters["hidden1.gamma"] == 1).all()
    assert (parameters["hidden1.mean"] == 0).all()
    assert (parameters["hidden1.variance"] == 1).all()


def test_an_unknown_initializer_is_named():
    with pytest.raises(ConfigError, match="initializer must be one of writeup, glorot_normal"):
        initial_parameters(Architecture(3, (4,), 2), 0, "xavier")
