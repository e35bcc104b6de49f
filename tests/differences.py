"""Central differences for tests of single functions."""

from __future__ import annotations

import numpy as np

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


def directional_gap(function, x, gradient, seed):
    """|g.u - difference| / (|g||u| + rounding) along a random direction u; float64."""
    direction = np.random.default_rng(seed).normal(size=np.shape(x))
    direction /= np.linalg.norm(direction)
    ahead, behind = function(x + STEP * direction), function(x - STEP * direction)
    numeric = (ahead - behind) / (2 * STEP)
    # The rounding error of the difference: that of the two values, which come from numbers of size 1, over the step.
    floor = 1e1 * np.finfo(np.float64).eps * max(abs(ahead), abs(behind), 1.0) / STEP
    return abs(float((gradient * direction).sum()) - numeric) / (np.linalg.norm(gradient) + floor / 1e-7)
