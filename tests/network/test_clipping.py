import numpy as np
import pytest

from chalknet.network.clipping import clip_factor, squared_norm


def test_a_long_gradient_is_shortened_to_the_bound():
    parts = [np.array([[3.0]]), np.array([4.0])]  # length 5
    factor = clip_factor(map(squared_norm, parts), 2.0)
    assert factor == pytest.approx(0.4)


def test_a_short_gradient_and_none_at_all_stay_as_they_are():
    assert clip_factor([1.0, 3.0], 2.0) == 1.0
    assert clip_factor([0.0], 2.0) == 1.0


def test_a_gradient_of_float32_is_added_up_in_float64():
    assert squared_norm(np.full(10**6, 1e25, np.float32)) == pytest.approx(1e56, rel=1e-5)
