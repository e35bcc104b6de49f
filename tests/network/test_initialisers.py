import numpy as np
import pytest

from chalknet.network.architecture import Architecture
from chalknet.network.initialisers import glorot_deviation, glorot_normal, initial_parameters


def test_parameters_come_from_the_legacy_stream_in_the_write_ups_order():
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


def test_equal_seeds_give_equal_weights_and_others_do_not():
    architecture = Architecture(20, (6, 4), 3)
    first, again, other = (initial_parameters(architecture, seed) for seed in (3, 3, 4))
    assert all((first[name] == again[name]).all() for name in first)
    assert not any((first[name] == other[name]).any() for name in first)
