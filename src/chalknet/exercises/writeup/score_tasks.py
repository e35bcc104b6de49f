"""The tasks accuracy and early_stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.parts import Returned
from chalknet.exercises.task import CLEAN, SHAPE, VALUES, Check, Mistake, Task
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.softmax import softmax

_RNG = np.random.default_rng(17)


def _case(group: str, n_samples: int, n_classes: int) -> Case:
    probabilities = softmax(_RNG.normal(0, 2, (n_samples, n_classes)))[0]
    labels = np.where(
        _RNG.random(n_samples) < 0.6, probabilities.argmax(axis=1), _RNG.integers(0, n_classes, n_samples)
    )
    return Case(group, {"probabilities": probabilities, "labels": labels})


def _correct(probabilities: FloatArray, labels: LabelArray) -> Any:
    return probabilities.argmax(axis=1) == labels


ACCURACY = Task(
    name="accuracy",
    title="Accuracy",
    outputs=("accuracy",),
    reference=reference.accuracy,
    solution="accuracy in chalknet/network/metrics.py",
    cases=(
        Case(
            VALUES,
            {
                "probabilities": np.array([[0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.3, 0.6, 0.1], [0.45, 0.3, 0.25]]),
                "labels": np.array([2, 0, 0, 0]),
            },
        ),
        _case(VALUES, 7, 7),
        _case(VALUES, 30, 10),
        Case(VALUES, {"probabilities": np.array([[0.2, 0.5, 0.3]]), "labels": np.array([1])}),
    ),
    checks=(
        Check("a single number", 1, SHAPE, (VALUES,)),
        Check("values", 2, VALUES, (VALUES,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "count instead of fraction",
            "This is the number of correct samples. Accuracy is their fraction.",
            (lambda probabilities, labels: float(_correct(probabilities, labels).sum()),),
        ),
        Mistake(
            "divided by the number of classes",
            "The number of correct samples is divided by the number of classes. Divide by the number of samples.",
            (lambda probabilities, labels: float(_correct(probabilities, labels).sum() / probabilities.shape[1]),),
        ),
        Mistake(
            "percent instead of fraction",
            "This is the accuracy in percent. Return a number from 0 to 1.",
            (lambda probabilities, labels: 100 * float(_correct(probabilities, labels).mean()),),
        ),
        Mistake(
            "error rate instead of accuracy",
            "This is the fraction of wrong predictions.",
            (lambda probabilities, labels: 1 - float(_correct(probabilities, labels).mean()),),
        ),
        Mistake(
            "argmax over the wrong axis",
            "argmax runs over the samples. Each sample needs its most probable class: over which axis are the classes?",
            (
                lambda probabilities, labels: float(np.mean(probabilities.argmax(axis=0) == labels)),
                lambda probabilities, labels: float(np.mean(probabilities.argmax() == labels)),
            ),
        ),
        Mistake(
            "threshold instead of the largest probability",
            "A class counts as predicted if its probability is above 1/2. With several classes the prediction is the "
            "most probable class, whatever its probability.",
            (
                lambda probabilities, labels: float(np.mean(probabilities[np.arange(len(labels)), labels] > 0.5)),
                lambda probabilities, labels: float(np.mean(probabilities[np.arange(len(labels)), labels] >= 0.5)),
            ),
        ),
        Mistake(
            "smallest instead of largest probability",
            "The least probable class is taken as the prediction.",
            (lambda probabilities, labels: float(np.mean(probabilities.argmin(axis=1) == labels)),),
        ),
        Mistake(
            "probability instead of class",
            "The largest probability itself is compared with the label. Compare the position of the largest "
            "probability with it.",
            (lambda probabilities, labels: float(np.mean(probabilities.max(axis=1) == labels)),),
        ),
        Mistake(
            "mean probability of the true class",
            "This is the mean probability of the true classes. Accuracy counts how often the prediction is right.",
            (lambda probabilities, labels: float(probabilities[np.arange(len(labels)), labels].mean()),),
        ),
        Mistake(
            "rounded",
            "The fraction is rounded or divided as an integer.",
            (
                lambda probabilities, labels: float(round(float(_correct(probabilities, labels).mean()))),
                lambda probabilities, labels: float(_correct(probabilities, labels).sum() // len(labels)),
            ),
        ),
        Mistake(
            "correctness of each sample",
            "One value for each sample is returned. Accuracy is one number.",
            (_correct,),
        ),
    ),
)

TIES, NAN = "ties", "nan"
Curve = FloatArray
Stopping = Callable[[Curve, Curve, int], Any]


def _curves(group: str, valid: list[float], test: list[float], patience: int) -> Case:
    arguments = {"valid_losses": np.array(valid), "test_losses": np.array(test), "patience": patience}
    return Case(group, arguments)


_EARLY_CASES = (
    _curves(VALUES, [0.9, 0.6, 0.5, 0.7, 0.8, 0.9], [0.95, 0.7, 0.65, 0.6, 0.55, 0.8], 3),
    # The first epoch is the best one.
    _curves(VALUES, [0.5, 0.6, 0.7, 0.4], [0.7, 0.6, 0.8, 0.5], 2),
    # The second minimum is lower, and training has stopped before it.
    _curves(VALUES, [1.0, 0.8, 0.9, 0.95, 0.97, 0.5, 0.6], [1.1, 0.9, 0.85, 0.99, 0.98, 0.4, 0.7], 2),
    # The second minimum is reached within the patience.
    _curves(
        VALUES, [1.0, 0.7, 0.8, 0.75, 0.6, 0.9, 0.92, 0.95, 0.99], [1.0, 0.8, 0.5, 0.9, 0.7, 0.6, 0.95, 0.9, 1.0], 3
    ),
    # The improvement comes one epoch too late.
    _curves(VALUES, [1.0, 0.6, 0.7, 0.65, 0.64, 0.5, 0.7], [1.0, 0.7, 0.6, 0.75, 0.85, 0.55, 0.8], 3),
    # The loss rises and falls.
    _curves(VALUES, [1.0, 0.7, 0.8, 0.6, 0.9, 0.95, 0.99], [1.0, 0.9, 0.8, 0.85, 0.7, 0.75, 0.95], 3),
    _curves(VALUES, [1.0, 0.5, 0.7, 0.6, 0.8, 0.55, 0.9, 0.4], [1.0, 0.7, 0.6, 0.65, 0.8, 0.75, 0.9, 0.5], 3),
    _curves(
        VALUES,
        [1.0, 0.8, 0.9, 0.7, 0.75, 0.6, 0.65, 0.5, 0.9, 0.9],
        [1.0, 0.9, 0.8, 0.85, 0.7, 0.75, 0.6, 0.65, 0.55, 0.8],
        3,
    ),
    # The curve ends before the patience does.
    _curves(VALUES, [0.9, 0.8, 0.85], [0.7, 0.9, 0.95], 5),
    _curves(TIES, [1.0, 0.5, 0.5, 0.7, 0.8], [1.2, 0.6, 0.55, 0.65, 0.9], 4),
    _curves(NAN, [1.0, 0.6, math.nan, 0.5, 0.7, 0.8], [1.1, 0.7, 0.72, 0.65, 0.6, 0.9], 3),
    _curves(NAN, [math.nan, 0.8, 0.7, 0.9, 0.9], [0.9, 0.85, 0.75, 0.7, 0.8], 3),
)


def _search(
    improves: Callable[[float, float], bool] = lambda loss, best: loss < best,
    *,
    chosen: str = "valid",
    reported: str = "test",
    too_late: int = 0,
    first: int = 1,
    start: float = math.inf,
) -> Stopping:
    """Return early_stopping with one rule replaced."""

    def stop(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
        curve = valid if chosen == "valid" else test
        best, lowest = 0, start
        for epoch, loss in enumerate(curve, start=1):
            if improves(float(loss), lowest):
                best, lowest = epoch, float(loss)
            elif epoch - best >= patience + too_late:
                break
        report = valid if reported == "valid" else test
        return best - 1 + first, float(report[best - 1])

    return stop


def _minimum(choose: Callable[[Curve], Any]) -> Stopping:
    return lambda valid, test, patience: (int(choose(valid)) + 1, float(test[int(choose(valid))]))


def _minimum_of_seen(choose: Callable[[Curve], Any]) -> Stopping:
    """Stop in the right epoch, and then choose among the epochs before it with a function of NumPy."""

    def stop(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
        last = reference.early_stopping(valid, test, patience)[0] + patience
        best = int(choose(valid[:last]))
        return best + 1, float(test[best])

    return stop


def _nan_first(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Let nan win every comparison, and stop when nothing improves on it."""
    best, lowest = 0, math.inf
    for epoch, loss in enumerate(valid, start=1):
        if loss < lowest or math.isnan(loss):
            best, lowest = epoch, float(loss)
        elif epoch - best >= patience:
            break
    return best, float(test[best - 1])


def _last_epoch(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    best = reference.early_stopping(valid, test, patience)[0]
    last = min(best + patience, len(valid))
    return last, float(test[last - 1])


def _against_previous(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Count epochs in a row in which the loss rose."""
    best, lowest, rises, previous = 0, math.inf, 0, math.inf
    for epoch, loss in enumerate(valid, start=1):
        rises = 0 if loss < previous else rises + 1
        previous = loss
        if loss < lowest:
            best, lowest = epoch, loss
        if rises >= patience:
            break
    return best, float(test[best - 1])


def _first_rise(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Stop at the first epoch that is not better than the one before."""
    del patience
    best = next((k for k in range(1, len(valid)) if valid[k] >= valid[k - 1]), len(valid))
    return best, float(test[best - 1])


def _count_in_total(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Never set the count of epochs without an improvement back to 0."""
    best, lowest, count = 0, math.inf, 0
    for epoch, loss in enumerate(valid, start=1):
        if loss < lowest:
            best, lowest = epoch, loss
        else:
            count += 1
            if count >= patience:
                break
    return best, float(test[best - 1])


def _count_in_total_from_first(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Count the first epoch too, because it is not lower than itself."""
    best, count = 0, 0
    for position in range(len(valid)):
        if valid[position] < valid[best]:
            best = position
        else:
            count += 1
        if count >= patience:
            break
    return best + 1, float(test[best])


def _by_test(rule: Stopping, first: int) -> Stopping:
    """Return a rule that chooses by the test loss, with epochs from 0 or 1."""

    def stop(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
        del valid
        epoch, loss = rule(test, test, patience)
        return epoch - 1 + first, loss

    return stop


def _lowest_test_loss(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    return reference.early_stopping(valid, test, patience)[0], float(test.min())


def _unfiltered(valid: Curve, test: Curve, patience: int) -> tuple[int, float]:
    """Keep the first epoch as the best one, although its loss is nan."""
    best = 0
    for epoch in range(1, len(valid)):
        if valid[epoch] < valid[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best + 1, float(test[best])


def _has_epoch_0(found: Sequence[Returned]) -> bool:
    """Return whether a call returned epoch 0, where the first epoch is the best one."""
    epochs = [one.parts["epoch"].value for one in found if "epoch" in one.parts]
    return any(epoch is not None and epoch.shape == () and epoch == 0 for epoch in epochs)


EARLY_STOPPING = Task(
    name="early_stopping",
    title="Early stopping",
    outputs=("epoch", "test_loss"),
    reference=reference.early_stopping,
    solution="early_stopping in chalknet/exercises/reference.py",
    cases=_EARLY_CASES,
    checks=(
        Check("an epoch and a loss", 1, SHAPE, (VALUES,)),
        Check("epoch", 3, VALUES, (VALUES,), "epoch"),
        Check("test loss of this epoch", 2, VALUES, (VALUES,), "test_loss"),
        Check("equal losses", 1, VALUES, (TIES,)),
        Check("losses that are nan", 2, VALUES, (NAN,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "test set used for choosing",
            "The epoch is chosen by the test loss. The test set may only be used to report a result. A result that "
            "was also used for the choice is too good: choose by the validation loss.",
            (
                _search(chosen="test"),
                lambda valid, test, patience: (int(np.argmin(test)) + 1, float(test.min())),
                _search(chosen="test", first=0),
                lambda valid, test, patience: (int(np.argmin(test)), float(test.min())),
                *(_search(chosen="test", first=first, too_late=late) for first in (0, 1) for late in (-1, 1)),
                *(_search(chosen="test", first=first, reported="valid") for first in (0, 1)),
                *(_by_test(rule, first) for first in (0, 1) for rule in (_count_in_total, _count_in_total_from_first)),
                *(_by_test(rule, first) for first in (0, 1) for rule in (_first_rise, _against_previous, _last_epoch)),
            ),
        ),
        Mistake(
            "test set used for reporting the lowest loss",
            "The epoch is right, but the lowest test loss of all epochs is reported. That chooses an epoch by the "
            "test set. Report the test loss of the epoch that the validation loss has chosen.",
            (
                _lowest_test_loss,
                lambda *arguments: (_lowest_test_loss(*arguments)[0] - 1, _lowest_test_loss(*arguments)[1]),
            ),
        ),
        Mistake(
            "epochs counted from 0",
            "Positions in an array start at 0, and epochs at 1.",
            (_search(first=0),),
            symptom=_has_epoch_0,
        ),
        Mistake(
            "patience ignored",
            "This is the lowest validation loss of all epochs. Training stops once `patience` epochs in a row have "
            "brought no improvement, so later epochs are never seen.",
            (_minimum(np.nanargmin), _minimum(np.argmin)),
        ),
        Mistake(
            "stops one epoch too late",
            "Training goes on for one epoch too many. It stops after `patience` epochs without an improvement.",
            (_search(too_late=1),),
        ),
        Mistake(
            "stops one epoch too early",
            "Training stops before `patience` epochs without an improvement have passed.",
            (_search(too_late=-1),),
        ),
        Mistake(
            "stops at the first rise",
            "Training stops as soon as the loss rises. It has to wait for `patience` epochs, because the loss may "
            "fall again.",
            (_first_rise,),
        ),
        Mistake(
            "compared with the epoch before",
            "An epoch counts as an improvement if it is better than the epoch before. It has to be better than the "
            "best epoch so far.",
            (_against_previous,),
        ),
        Mistake(
            "count not set back",
            "The epochs without an improvement are counted over the whole training. An improvement has to set the "
            "count back to 0.",
            (_count_in_total, _count_in_total_from_first),
        ),
        Mistake(
            "last epoch instead of the best",
            "This is the epoch at which training stops. Early stopping keeps the best epoch before it.",
            (_last_epoch,),
        ),
        Mistake(
            "validation loss reported",
            "The validation loss of the chosen epoch is returned. It is too good, because it was used for the choice. "
            "Return the test loss of this epoch.",
            (_search(reported="valid"), _search(reported="valid", first=0)),
        ),
        Mistake(
            "highest instead of lowest loss",
            "The epoch with the highest loss is chosen. A loss is better if it is lower.",
            (_search(lambda loss, best: loss > best, start=-math.inf), _minimum(np.argmax)),
        ),
        Mistake(
            "last of equal epochs",
            "Two epochs have the same loss. An epoch is an improvement only if its loss is lower, so the first one "
            "stays the best.",
            (_search(lambda loss, best: loss <= best),),
            (TIES,),
        ),
        Mistake(
            "nan taken for the lowest loss",
            "np.argmin and np.min treat nan as the smallest number. A loss that is nan is never an improvement.",
            (_minimum_of_seen(np.argmin), _minimum(np.argmin), _nan_first),
            (NAN,),
        ),
        Mistake(
            "nan kept as the first best loss",
            "The loss of the first epoch is nan, and no number is smaller than nan. Start with a best loss that "
            "every number improves on.",
            (_unfiltered,),
            (NAN,),
        ),
    ),
)
