"""What every peer works on: the letters in the write-up's order, its start, and the batches of a round."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chalknet.bench.catalogue import N_TRAIN, N_VALID, Work
from chalknet.data.glyphs import load_glyphs
from chalknet.data.splits import shuffled_index
from chalknet.network.architecture import Architecture, Parameters
from chalknet.network.initialisers import initial_parameters

STEPS, CALLS = 100, 200  # a run, of mini-batch updates and of predictions of one image
FULL_RATE, FULL_MOMENTUM, STEP_RATE, STEP_MOMENTUM = 1e-5, 0.99, 1e-3, 0.9
CUTS = {
    "train": slice(0, N_TRAIN),
    "valid": slice(N_TRAIN, N_TRAIN + N_VALID),
    "test": slice(N_TRAIN + N_VALID, None),
}

Run = Callable[[], Any]  # does the work; a float that it returns is the time, instead of the one that passed
Prepare = Callable[[Work, int], Run | None]  # gets threads, 0 for the peer's own choice; None for work it does not do


@cache
def letters() -> tuple[Any, Any]:
    """18,724 raw images as rows and their labels, in the write-up's order."""
    data = load_glyphs()
    order = shuffled_index(len(data))
    return np.ascontiguousarray(data.inputs.reshape(len(data), -1)[order]), data.labels[order]


def scaled_parts(dtype: Any) -> list[tuple[Any, Any]]:
    """Training, validation and test samples, scaled, and labels."""
    x, y = letters()
    scaled = (x / 255.0).astype(dtype)
    return [(scaled[cut], y[cut]) for cut in CUTS.values()]


def architecture(work: Work) -> Architecture:
    """784-F-10."""
    return Architecture(784, (work.units,), 10)


def start_parameters(work: Work) -> Parameters:
    """The write-up's start: W_h (F, 784), b_h, W_o (10, F), b_o; float64, by name."""
    return initial_parameters(architecture(work), 0)


def start_weights(work: Work) -> list[Any]:
    """`start_parameters` in their order."""
    return list(start_parameters(work).values())


def batches(size: int) -> list[Any]:
    """Positions of the mini-batches of a run: a permutation, repeated and cut."""
    return list(np.resize(np.random.default_rng(0).permutation(N_TRAIN), (STEPS, size)))


def calls(run: Run, work: Work) -> Run:
    """Many calls where one is too short to time."""
    return run if work.n > 1 else lambda: [run() for _ in range(CALLS)] and None


def units_in_a_run(work: Work) -> int:
    """How many updates or predictions one run is."""
    return STEPS if work.kind == "step" else CALLS if str(work) == "predict 1" else 1
