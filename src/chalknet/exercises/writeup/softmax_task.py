"""The task softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.task import CLEAN, SHAPE, VALUES, Check, Mistake, Task
from chalknet.network.arrays import FloatArray
from chalknet.network.softmax import log_softmax

ONE, FLOAT32, EXTREME = "one sample", "float32", "large logits"
_RNG = np.random.default_rng(11)


def _logits(*shape: int) -> Any:
    return _RNG.normal(0.0, 2.0, shape)


def unshifted(logits: FloatArray) -> Any:
    """Return the softmax without a shift, which overflows."""
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _shifted_by_one_maximum(logits: FloatArray) -> Any:
    return unshifted(logits - logits.max())


def _whole_batch(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def _whole_batch_with_row_shifts(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum()


def _over_samples(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def _over_samples_with_row_shifts(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=0)


def _no_keepdims(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1)


def _no_keepdims_in_shift(logits: FloatArray) -> Any:
    exponentials = np.exp(logits - logits.max(axis=1))
    return exponentials / exponentials.sum(axis=1)


def _no_keepdims_in_shift_alone(logits: FloatArray) -> Any:
    return unshifted(logits - logits.max(axis=1))


def _no_exponential(logits: FloatArray) -> Any:
    return logits / logits.sum(axis=1, keepdims=True)


def _not_normalized(logits: FloatArray) -> Any:
    return np.exp(logits - logits.max(axis=1, keepdims=True))


def _sigmoid(logits: FloatArray) -> Any:
    return 1 / (1 + np.exp(-logits))


def _negated(logits: FloatArray) -> Any:
    return np.exp(log_softmax(-logits))


def _exponentials(logits: FloatArray) -> Any:
    return np.exp(logits)


UNSHIFTED = "unshifted exponentials"
UNSHIFTED_HINT = (
    "exp(1000) is larger than any float, so the quotient is inf / inf = nan. Softmax does not change if the same "
    "number is subtracted from all logits of a sample. Which number makes every exponent at most 0?"
)
ONE_SHIFT = "one shift for the whole batch"
ONE_SHIFT_HINT = (
    "The largest logit of the whole batch is subtracted. If another sample has much smaller logits, all of its "
    "exponentials round to 0, and 0 / 0 is nan. Every sample needs a shift of its own."
)

SOFTMAX = Task(
    name="softmax",
    title="Softmax",
    outputs=("probabilities",),
    reference=reference.softmax,
    solution="softmax in chalknet/network/softmax.py",
    cases=(
        Case(VALUES, {"logits": np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])}),
        Case(VALUES, {"logits": _logits(4, 4)}),
        Case(VALUES, {"logits": _logits(5, 3)}),
        Case(ONE, {"logits": _logits(1, 4)}),
        Case(FLOAT32, {"logits": _logits(3, 5).astype(np.float32)}),
        Case(EXTREME, {"logits": np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]])}),
        Case(EXTREME, {"logits": np.array([[1000.0, -1000.0, 0.0]])}),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 4, VALUES, (VALUES, ONE, FLOAT32)),
        Check("logits of 1000 and -1000", 3, VALUES, (EXTREME,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "missing keepdims",
            "A sum or maximum over axis 1 has shape (B,). NumPy then pairs it with the classes and not with the "
            "samples. The option keepdims=True keeps its shape (B, 1), one number for each row.",
            (
                _no_keepdims,
                _no_keepdims_in_shift,
                _no_keepdims_in_shift_alone,
                lambda logits: np.exp(logits) / np.exp(logits).sum(axis=1),
                lambda logits: np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum(axis=1),
            ),
        ),
        Mistake(
            "normalized over the whole batch",
            "All numbers together have the sum 1. Each sample needs probabilities with the sum 1: over which axis "
            "does the sum of one sample go?",
            (_whole_batch, _whole_batch_with_row_shifts),
        ),
        Mistake(
            "normalized over the wrong axis",
            "The columns have the sum 1, but a sample is a row. Axis 0 runs over samples. Which axis runs over the "
            "classes?",
            (_over_samples, _over_samples_with_row_shifts),
        ),
        Mistake(
            "missing exponential",
            "The logits themselves are divided by their sum. A logit can be negative, and a probability cannot: "
            "formula S1 takes the exponential of each logit first.",
            (_no_exponential,),
        ),
        Mistake(
            "missing normalization",
            "The exponentials are right, but the rows do not have the sum 1. Compare with the denominator of S1.",
            (_not_normalized, _exponentials, lambda logits: np.exp(logits - logits.max())),
        ),
        Mistake(
            "logarithm of softmax",
            "These are the logarithms of the probabilities. This task asks for the probabilities.",
            (log_softmax,),
        ),
        Mistake(
            "sign",
            "The smallest logit gets the largest probability. Check the sign in the exponent.",
            (_negated,),
        ),
        Mistake(
            "sigmoid instead of softmax",
            "Each logit is mapped on its own, so the rows do not have the sum 1. Softmax compares the classes.",
            (_sigmoid,),
        ),
        Mistake(UNSHIFTED, UNSHIFTED_HINT, (unshifted,), (EXTREME,)),
        Mistake(ONE_SHIFT, ONE_SHIFT_HINT, (_shifted_by_one_maximum,), (EXTREME,)),
    ),
)
