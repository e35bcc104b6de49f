"""The first of several similar rows is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.data.glyph_builder import deduplication
from chalknet.data.glyph_builder.deduplication import distinct_rows


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.0, 0.1, 0.3]))
def test_deduplication_equals_a_slow_loop(seed, n, threshold):
    rows = np.random.RandomState(seed).randint(0, 3, (n, 4)).astype(np.uint8) * 100
    kept = []
    for i in range(n):
        gaps = [np.sqrt(((rows[i].astype(float) - rows[j]) ** 2).mean()) / 255 for j in kept]
        if not any(gap <= threshold for gap in gaps):
            kept.append(i)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deduplication, "BLOCK_ROWS", 7)  # so that these few rows fill several blocks
        keep, links = distinct_rows(rows, threshold)
    assert np.flatnonzero(keep).tolist() == kept
    assert {second for _, second in links} == set(range(n)) - set(kept)
