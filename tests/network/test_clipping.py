import numpy as np
import pytest

from chalknet.network.clipping import clip_factor, squared_norm


def test_a_large_gradient_is_clipped_to_the_norm():
    parts = [np.array([[3.0]]), np.array([4.0])]  # length 5
    factor = clip_factor(map(squared_norm, parts), 2.0)
    assert factor == pytest.approx(0.4)


def test_small_and_zero_gradients_are_not_clipped():
    assert clip_factor([1.0, 3.0], 2.0) == 1.0
    assert clip_factor([0.0], 2.0) == 1.0


def test_the_norm_of_a_float32_gradient_uses_float64():
    assert squared_norm(np.full(10**6, 1e25, np.float32)) == pytest.approx(1e56, rel=1e-5)
