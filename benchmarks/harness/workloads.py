"""The workloads of the comparison, with the data and hyperparameters that all baselines use.

full F      one epoch of the write-up with F hidden units: an update from 15,000 samples, and the
            scores of the validation and test split
step B F    updates with momentum from mini-batches of B of the 15,000 samples, with F hidden units
predict N   the probabilities of N images, with 1,000 hidden units
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from chalknet.data.glyphs import load_glyphs
from chalknet.data.splits import shuffled_index
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer import Parameters

N_TRAIN, N_VALID, N_TEST = 15_000, 1_000, 2_724
N_IMAGES = N_TRAIN + N_VALID + N_TEST
SPLITS = {
    "train": slice(0, N_TRAIN),
    "valid": slice(N_TRAIN, N_TRAIN + N_VALID),
    "test": slice(N_TRAIN + N_VALID, None),
}
PREDICT_UNITS = 1_000
FULL_WORKLOADS = tuple(f"full {units}" for units in (100, 500, 1000, 2000))
STEP_WORKLOADS = tuple(f"step {batch} {units}" for batch in (32, 128) for units in (16, 100, 1000))
WORKLOADS = (*FULL_WORKLOADS, *STEP_WORKLOADS, "predict 1", "predict 10000")
MAX_SIZES = {"full": (20_000,), "step": (N_TRAIN, 20_000), "predict": (N_IMAGES,)}
FULL_RATE, FULL_MOMENTUM, STEP_RATE, STEP_MOMENTUM = 1e-5, 0.99, 1e-3, 0.9
# A run consists of this many mini-batch updates, or predictions of a single image.
STEPS, CALLS = 100, 200

# Does the work. If it returns a float, that is the measured time; otherwise it is timed.
Run = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """A kind of work with its sizes, written as in "step 128 1000".

    Attributes:
        kind: "full", "step" or "predict".
        sizes: the numbers after the kind.
    """

    kind: str
    sizes: tuple[int, ...]

    @property
    def units(self) -> int:
        """The number of hidden units."""
        return PREDICT_UNITS if self.kind == "predict" else self.sizes[-1]

    @property
    def n(self) -> int:
        """The number of samples of an update or of a prediction."""
        return N_TRAIN if self.kind == "full" else self.sizes[0]

    @property
    def repetitions_per_run(self) -> int:
        """The number of epochs, updates or predictions in one run."""
        return STEPS if self.kind == "step" else CALLS if str(self) == "predict 1" else 1

    def __str__(self) -> str:
        """Return the text that `parse_workload` reads."""
        return " ".join([self.kind, *map(str, self.sizes)])

    def title(self) -> str:
        """Return a phrase that states what is timed."""
        if self.kind == "full":
            return f"one epoch of the write-up, {self.units:,} units"
        if self.kind == "step":
            return f"one update, batch {self.n:,}, {self.units:,} units"
        return f"probabilities for {self.n:,} image{'s' * (self.n != 1)} through {self.units:,} units"


def parse_workload(text: str) -> Workload:
    """Return the workload that a text such as "step 128 1000" names.

    Raises:
        ValueError: the kind is unknown, or its sizes are missing or out of range.
    """
    kind, *sizes = text.split() or [""]
    if kind not in MAX_SIZES:
        raise ValueError(f"unknown workload {text!r}; known kinds: {', '.join(MAX_SIZES)}")
    limits = MAX_SIZES[kind]
    if len(sizes) != len(limits) or not all(
        size.isascii() and size.isdigit() and 1 <= int(size[:9]) <= most
        for size, most in zip(sizes, limits, strict=True)
    ):
        form = " and ".join(f"an integer from 1 to {most}" for most in limits)
        raise ValueError(f"workload {kind!r} takes {form}, got {text!r}")
    return Workload(kind, tuple(int(size) for size in sizes))


@cache
def letters() -> tuple[Any, Any]:
    """Return 18,724 raw images as rows and their labels, in the write-up's order."""
    data = load_glyphs()
    order = shuffled_index(len(data))
    return np.ascontiguousarray(data.inputs.reshape(len(data), -1)[order]), data.labels[order]


def scaled_splits(dtype: Any) -> list[tuple[Any, Any]]:
    """Return scaled samples and labels of the training, validation and test split."""
    x, y = letters()
    scaled = (x / 255.0).astype(dtype)
    return [(scaled[split], y[split]) for split in SPLITS.values()]


def architecture(workload: Workload) -> Architecture:
    """Return the write-up's network with as many hidden units as the workload says."""
    return Architecture(784, (workload.units,), 10)


def start_parameters(workload: Workload) -> Parameters:
    """Return the write-up's initial W_h (F, 784), b_h, W_o (10, F) and b_o by name, float64."""
    return initial_parameters(architecture(workload), 0)


def start_weights(workload: Workload) -> list[Any]:
    """Return the initial W_h, b_h, W_o and b_o in this order."""
    return list(start_parameters(workload).values())


def batches(size: int) -> list[Any]:
    """Return the positions of each mini-batch of a run: a permutation, repeated and cut."""
    return list(np.resize(np.random.default_rng(0).permutation(N_TRAIN), (STEPS, size)))


def repeated_calls(run: Run, workload: Workload) -> Run:
    """Return a run of many calls if a single call is too short to be timed."""
    return run if workload.n > 1 else lambda: [run() for _ in range(CALLS)] and None
