import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.artifacts.sample_losses import LOSS_TYPES, are_clipped, compact_losses


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(0.0, "<f2"), (65_472.0, "<f2"), (65_500.0, "<f4"), (65_504.0, "<f4"), (1e30, "<f4"), (1e39, "<f8")],
)
def test_losses_are_kept_as_wide_as_the_largest_needs(largest, kind):
    kept = compact_losses(np.array([[0.5, 2.0], [1.0, largest]]))
    assert kept.dtype == np.dtype(kind)
    assert kept.dtype.str in LOSS_TYPES
    assert kept[1, 1] == pytest.approx(largest, rel=2**-11)  # the rounding of float16, the narrowest
    assert not are_clipped(kept)


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=20))
def test_no_loss_is_kept_as_another_than_itself_rounded(losses):
    kept = compact_losses(np.array([losses]))
    np.testing.assert_allclose(
        kept.astype(float)[0], losses, rtol=2**-11, atol=2**-25
    )  # float16's rounding, near 0 too


def test_clipped_losses_of_old_files_are_recognized():
    assert are_clipped(np.array([[1.0, 65_504.0]], np.float16))
    assert not are_clipped(np.array([[1.0, 65_504.0]], np.float32))
    assert not are_clipped(np.zeros((3, 0), np.float16))


def test_no_samples_are_no_losses():
    assert compact_losses(np.zeros((3, 0))).shape == (3, 0)
