"""Hypothesis strategies for arrays with matching shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])


@st.composite
def logits_and_labels(draw, dtype=np.float64, spread=5.0):
    """(B, K) logits and (B,) labels of a random batch; some classes may be missing."""
    b, k, seed = draw(st.integers(1, 12)), draw(st.integers(2, 9)), draw(seeds)
    rng = np.random.default_rng(seed)
    return (rng.normal(0, spread, (b, k))).astype(dtype), rng.integers(0, k, b)


@st.composite
def networks(draw, max_depth=3):
    """Weights, biases, inputs and labels of a random network of one to four layers, float64."""
    widths = draw(st.lists(st.integers(1, 7), min_size=2, max_size=max_depth + 1))
    k, b, seed = draw(st.integers(2, 5)), draw(st.integers(1, 9)), draw(seeds)
    rng = np.random.default_rng(seed)
    sizes = [*widths, k]
    weights = [rng.normal(0, 0.8, (n_out, n_in)) for n_in, n_out in pairwise(sizes)]
    biases = [rng.normal(0, 0.5, n_out) for n_out in sizes[1:]]
    return weights, biases, rng.normal(0, 1, (b, sizes[0])), rng.integers(0, k, b)


def named(weights, biases):
    """Lists of weights and biases as parameters by name."""
    layers = [f"hidden{i}" for i in range(1, len(weights))] + ["output"]
    parameters = {}
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        parameters[f"{layer}.weight"], parameters[f"{layer}.bias"] = weight, bias
    return parameters


def updates(batches, learning_rate, first=1):
    """Batches as the updates of an epoch, all at one rate, numbered from first on."""
    from chalknet.engines.engine import Update
    from chalknet.network.optimizers import Step

    return [Update(batch, Step(number, learning_rate)) for number, batch in enumerate(batches, start=first)]
