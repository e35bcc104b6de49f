"""The tasks cross_entropy and cross_entropy_gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.exercises.writeup.softmax_task import (
    EXTREME,
    FLOAT32,
    ONE,
    ONE_SHIFT,
    ONE_SHIFT_HINT,
    UNSHIFTED,
    unshifted,
)
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.softmax import log_softmax, softmax

_RNG = np.random.default_rng(12)
_FAR_ROWS = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]])


def _batch(group: str, n_samples: int, n_classes: int, dtype: str = "float64") -> Case:
    labels = _RNG.permutation(np.arange(n_samples) % n_classes)
    return Case(group, {"logits": _RNG.normal(0.0, 2.0, (n_samples, n_classes)).astype(dtype), "labels": labels})


_CASES = (
    Case(VALUES, {"logits": np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), "labels": np.array([1, 0])}),
    _batch(VALUES, 4, 4),
    _batch(VALUES, 5, 3),
    _batch(ONE, 1, 4),
    _batch(FLOAT32, 3, 5, "float32"),
    Case(EXTREME, {"logits": np.array([[1000.0, 1001.0, 999.0]]), "labels": np.array([0])}),
    Case(EXTREME, {"logits": np.array([[1000.0, 0.0, -1000.0]]), "labels": np.array([2])}),
    Case(EXTREME, {"logits": _FAR_ROWS, "labels": np.array([0, 2])}),
)


def _one_hot(logits: FloatArray, labels: LabelArray) -> FloatArray:
    return np.eye(logits.shape[1])[labels]


def _true_log(logits: FloatArray, labels: LabelArray) -> FloatArray:
    chosen: FloatArray = log_softmax(logits)[np.arange(len(labels)), labels]
    return chosen


def _probability_of_truth(logits: FloatArray, labels: LabelArray) -> FloatArray:
    chosen: FloatArray = softmax(logits)[0][np.arange(len(labels)), labels]
    return chosen


def _unshifted_loss(logits: FloatArray, labels: LabelArray) -> float:
    return -float(np.log(unshifted(logits)[np.arange(len(labels)), labels]).mean())


def _unshifted_one_hot(logits: FloatArray, labels: LabelArray) -> float:
    return -float((_one_hot(logits, labels) * np.log(unshifted(logits))).sum(axis=1).mean())


def _unshifted_log_sum(logits: FloatArray, labels: LabelArray) -> float:
    return float((np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]).mean())


def _one_shift_loss(logits: FloatArray, labels: LabelArray) -> float:
    return _unshifted_loss(logits - logits.max(), labels)


def _one_shift_log_sum(logits: FloatArray, labels: LabelArray) -> float:
    return _unshifted_log_sum(logits - logits.max(), labels)


def _rounded_log(logits: FloatArray, labels: LabelArray) -> float:
    return -float(np.log(_probability_of_truth(logits, labels)).mean())


def _rounded_log_one_hot(logits: FloatArray, labels: LabelArray) -> float:
    return -float((_one_hot(logits, labels) * np.log(softmax(logits)[0])).sum(axis=1).mean())


def _with_constant(tiny: float, softmax_of: Callable[[FloatArray], FloatArray]) -> Callable[..., Any]:
    def loss(logits: FloatArray, labels: LabelArray) -> float:
        return -float(np.log(softmax_of(logits)[np.arange(len(labels)), labels] + tiny).mean())

    return loss


def _swapped(tiny: float) -> Callable[..., Any]:
    def loss(logits: FloatArray, labels: LabelArray) -> float:
        return -float((_stable(logits) * np.log(_one_hot(logits, labels) + tiny)).sum(axis=1).mean())

    return loss


def _stable(logits: FloatArray) -> FloatArray:
    return softmax(logits)[0]


_TINY = (1e-20, 1e-30, 1e-300, 1e-16, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, float(np.finfo(float).eps))
_CONSTANT_HINT = (
    "A small number is added inside the logarithm, or probabilities are clipped. The loss of a very wrong prediction "
    "is then a constant. For the logits 1000, 0 and -1000 and the last class the loss is 2000. Formula S3 gives the "
    "logarithm of softmax without computing softmax first, so it needs no such number."
)
_ROUNDED_HINT = (
    "The probability of the true class has rounded to 0, and log(0) is -inf. Simplify log softmax on paper before "
    "you compute it: the logarithm of a quotient is a difference, and log(exp(z)) is z (formula S3)."
)
_LOSS_UNSHIFTED_HINT = (
    "exp(1000) is larger than any float, so the loss is inf or nan. Subtract the largest logit of each sample from "
    "its logits before you take exponentials. The loss does not change, because the shift cancels."
)


def _scaled(factor: Callable[[FloatArray], float]) -> Callable[[FloatArray, LabelArray], float]:
    return lambda logits, labels: factor(logits) * reference.cross_entropy(logits, labels)


CROSS_ENTROPY = Task(
    name="cross_entropy",
    title="Cross-entropy",
    outputs=("loss",),
    reference=reference.cross_entropy,
    solution="softmax_cross_entropy in chalknet/network/losses.py",
    helpers=("softmax",),
    cases=_CASES,
    checks=(
        Check("a single number", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 5, VALUES, (VALUES, ONE, FLOAT32)),
        Check("logits of 1000 and -1000", 3, VALUES, (EXTREME,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "sign",
            "The loss has the wrong sign. The logarithm of a probability is negative, and a loss is positive.",
            (_scaled(lambda _: -1.0),),
        ),
        Mistake(
            "missing mean",
            "This is the sum over the samples. The loss of a batch is the mean, so that it does not depend on the "
            "size of the batch (formula L2).",
            (_scaled(len),),
        ),
        Mistake(
            "mean over samples and classes",
            "The sum over the classes became a mean. Only the true class of each sample has a term in the loss, so "
            "divide by the number of samples alone.",
            (_scaled(lambda logits: 1 / logits.shape[1]),),
        ),
        Mistake(
            "swapped arguments",
            "The roles of prediction and truth are swapped: the logarithm has to be taken of the predicted "
            "probabilities, and not of the one-hot rows. The course write-up made this mistake.",
            (*(_swapped(tiny) for tiny in _TINY),),
        ),
        Mistake(
            "missing logarithm",
            "The probability of the true class is averaged itself. The loss is the negative of its logarithm (L1).",
            (
                lambda logits, labels: float(-_probability_of_truth(logits, labels).mean()),
                lambda logits, labels: float(1 - _probability_of_truth(logits, labels).mean()),
                lambda logits, labels: float(_probability_of_truth(logits, labels).mean()),
            ),
        ),
        Mistake(
            "logarithm of the mean",
            "The mean of the probabilities is taken before the logarithm. Take the logarithm of each sample first.",
            (lambda logits, labels: -float(np.log(_probability_of_truth(logits, labels).mean())),),
        ),
        Mistake(
            "logarithm to another base",
            "The loss is in bits or bans. Use the natural logarithm, np.log.",
            (_scaled(lambda _: 1 / np.log(2)), _scaled(lambda _: 1 / np.log(10))),
        ),
        Mistake(
            "all classes instead of the true one",
            "All logarithms of a row are added. Only the logarithm of the true class counts: for sample n, the one at "
            "position labels[n]. An index array for the rows and one for the columns select one number per row.",
            (
                lambda logits, _: -float(log_softmax(logits).sum(axis=1).mean()),
                lambda logits, _: -float(log_softmax(logits).mean()),
                lambda logits, labels: -float(log_softmax(logits)[:, labels].mean()),
                lambda logits, labels: -float(log_softmax(logits)[:, labels].sum() / len(labels)),
            ),
        ),
        Mistake(
            "rows instead of elements",
            "p[labels] selects whole rows of p, and not one element of each row. An index array for the rows and one "
            "for the columns select one number per row.",
            (
                lambda logits, labels: -float(log_softmax(logits)[labels].mean()),
                lambda logits, labels: -float(log_softmax(logits)[labels].sum() / len(labels)),
            ),
        ),
        Mistake(
            "missing softmax",
            "The logits of the true classes are averaged, or their logarithms are. Logits are no probabilities: "
            "they can be negative. Use the logarithm of softmax.",
            (
                lambda logits, labels: -float(logits[np.arange(len(labels)), labels].mean()),
                lambda logits, labels: -float(np.log(logits[np.arange(len(labels)), labels]).mean()),
                lambda logits, labels: -float((_one_hot(logits, labels) * np.log(logits)).sum(axis=1).mean()),
            ),
        ),
        Mistake(
            "loss of each sample",
            "One loss for each sample is returned. The loss of the batch is one number, their mean.",
            (lambda logits, labels: -_true_log(logits, labels),),
        ),
        Mistake(
            UNSHIFTED,
            _LOSS_UNSHIFTED_HINT,
            (_unshifted_loss, _unshifted_one_hot, _unshifted_log_sum, *(_with_constant(t, unshifted) for t in _TINY)),
            (EXTREME,),
        ),
        Mistake(ONE_SHIFT, ONE_SHIFT_HINT, (_one_shift_loss, _one_shift_log_sum), (EXTREME,)),
        Mistake(
            "logarithm of a probability that rounds to 0",
            _ROUNDED_HINT,
            (_rounded_log, _rounded_log_one_hot),
            (EXTREME,),
        ),
        Mistake(
            "a small constant in the logarithm",
            _CONSTANT_HINT,
            tuple(_with_constant(tiny, _stable) for tiny in _TINY),
            (EXTREME,),
        ),
    ),
)


def _gradient_scaled(factor: Callable[[FloatArray], float]) -> Callable[[FloatArray, LabelArray], FloatArray]:
    return lambda logits, labels: factor(logits) * reference.cross_entropy_gradient(logits, labels)


def _all_rows(logits: FloatArray, labels: LabelArray) -> FloatArray:
    gradient = _stable(logits).copy()
    gradient[:, labels] -= 1
    return gradient / len(labels)


def _whole_rows(logits: FloatArray, labels: LabelArray) -> Any:
    ones = np.zeros_like(logits)
    ones[labels] = 1
    return (_stable(logits) - ones) / len(labels)


def _unshifted_gradient(logits: FloatArray, labels: LabelArray) -> Any:
    return (unshifted(logits) - _one_hot(logits, labels)) / len(labels)


def _loss_of(arguments: Mapping[str, Any]) -> float:
    return reference.cross_entropy(arguments["logits"], arguments["labels"])


CROSS_ENTROPY_GRADIENT = Task(
    name="cross_entropy_gradient",
    title="Gradient of the cross-entropy",
    outputs=("grad_logits",),
    reference=reference.cross_entropy_gradient,
    solution="softmax_cross_entropy in chalknet/network/losses.py",
    helpers=("softmax",),
    cases=_CASES,
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 4, VALUES, (VALUES, ONE, FLOAT32)),
        Check("central differences", 2, GRADIENT),
        Check("logits of 1000 and -1000", 2, VALUES, (EXTREME,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(VALUES, _loss_of, {"grad_logits": "logits"}, own_function="cross_entropy"),
    mistakes=(
        Mistake(
            "sign",
            "The gradient has the wrong sign. Where the probability of the true class is too small, a larger logit "
            "makes the loss smaller, so this element of the gradient is negative.",
            (_gradient_scaled(lambda _: -1.0),),
        ),
        Mistake(
            "missing mean",
            "This is the gradient of the sum over the samples. The loss is their mean, so its gradient has the same "
            "factor (formula L4).",
            (_gradient_scaled(len),),
        ),
        Mistake(
            "divided by the number of samples twice",
            "The gradient is too small by the number of samples. The factor of the mean belongs there once.",
            (_gradient_scaled(lambda logits: 1 / len(logits)),),
        ),
        Mistake(
            "divided by the number of classes",
            "The loss is a mean over samples, not over classes. logits.shape[0] is the number of samples.",
            (
                _gradient_scaled(lambda logits: len(logits) / logits.shape[1]),
                _gradient_scaled(lambda logits: 1 / logits.shape[1]),
            ),
        ),
        Mistake(
            "missing one-hot rows",
            "These are the probabilities. The gradient is their difference to the truth: what has to be subtracted "
            "at the position of the true class? `p[...] - 1` alone computes a number and forgets it. `p[...] -= 1` "
            "changes p.",
            (lambda logits, labels: _stable(logits) / len(labels), lambda logits, _: _stable(logits)),
        ),
        Mistake(
            "missing parentheses",
            "Only Y is divided by B, because a division comes before a subtraction. Parentheses: (p - Y) / B.",
            (lambda logits, labels: _stable(logits) - _one_hot(logits, labels) / len(labels),),
        ),
        Mistake(
            "labels instead of one-hot rows",
            "The class numbers themselves are subtracted. A class is a position and not a number: each sample needs a "
            "row that is 1 at its class and 0 elsewhere.",
            (
                lambda logits, labels: (_stable(logits) - labels[:, None]) / len(labels),
                lambda logits, labels: (_stable(logits) - labels) / len(labels),
            ),
        ),
        Mistake(
            "one-hot rows with several ones",
            "Y[labels] selects rows of Y, and not one element of each row. Each sample needs one 1, in its own row "
            "and in the column of its class: Y has two indices there.",
            (_whole_rows,),
        ),
        Mistake(
            "all rows instead of the row of the sample",
            "gradient[:, labels] selects these columns in every row. Use an index array for the rows too, so that "
            "sample n changes at column labels[n] only.",
            (_all_rows, lambda logits, labels: _all_rows(logits, labels) * len(labels)),
        ),
        Mistake(
            "gradient with respect to the probabilities",
            "This is the derivative of -log p with respect to p. The gradient with respect to the logits also goes "
            "through softmax. The two simplify to a difference (formula L3).",
            (lambda logits, labels: -_one_hot(logits, labels) / _stable(logits) / len(labels),),
        ),
        Mistake(
            "missing softmax",
            "The logits are compared with the truth. Compare the probabilities with it.",
            (lambda logits, labels: (logits - _one_hot(logits, labels)) / len(labels),),
        ),
        Mistake(UNSHIFTED, _LOSS_UNSHIFTED_HINT, (_unshifted_gradient,), (EXTREME,)),
        Mistake(
            ONE_SHIFT,
            ONE_SHIFT_HINT,
            (lambda logits, labels: _unshifted_gradient(logits - logits.max(), labels),),
            (EXTREME,),
        ),
    ),
)
