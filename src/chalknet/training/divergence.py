"""Divergence: find the update that made the loss non-finite, and suggest what to change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.preprocess import SAMPLES_AT_ONCE, Scaling, flatten
from chalknet.engines.batches import batch_size
from chalknet.engines.engine import Engine, Snapshot, Update
from chalknet.engines.reference import ReferenceEngine
from chalknet.errors import DivergenceError
from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray
from chalknet.network.objective import Objective, loss_and_gradients

# If a scaled validation or test input is larger, it is the cause of a non-finite loss, and not the
# training.
MAX_INPUT = 1e6
SPLIT_NAMES = {"valid": "validation", "test": "test"}
LARGE_INPUT = 30.0  # scaled training inputs should be of the order of 1; beyond this, scaling is suggested
# Typical learning rates for mean gradients. Without momentum or Adam, TYPICAL_RATE.
TYPICAL_RATES = {"adam": 1e-3, "adamw": 1e-3}
TYPICAL_RATE = 0.1
MAX_SAMPLES = 4_096  # samples of the batch for which gradients are computed again


@dataclass(frozen=True)
class LastFiniteUpdate:
    """The last update of an epoch before which the loss was finite.

    The update itself may have made the network useless.

    Attributes:
        number: number of the update in its epoch, starting at 1.
        n_updates: number of updates of the epoch.
        learning_rate: learning rate of the update.
        n_samples: number of samples of its batch.
        loss: loss of its batch before the update, nats per sample; nan if the loss was not finite
            before any update.
        gradient_norms: norm of the gradient of each parameter, in float64, before clipping, for at
            most `MAX_SAMPLES` samples; inf or nan if it overflows.
        largest_input: largest absolute value of the scaled inputs of these samples.
    """

    number: int
    n_updates: int
    learning_rate: float
    n_samples: int
    loss: float
    gradient_norms: dict[str, float]
    largest_input: float


def divergence_error(
    loss: float, epoch: int, last_loss: float | None, step: LastFiniteUpdate, recipe: Recipe
) -> DivergenceError:
    """Return the error for an epoch whose loss is not finite.

    Args:
        loss: the loss that is not finite.
        epoch: number of the epoch.
        last_loss: the training loss of the epoch before, or None in the first epoch.
        step: the last update with a finite loss.
        recipe: the recipe that was trained.
    """
    known = step.loss if math.isfinite(step.loss) else last_loss
    last = "no finite loss before" if known is None else f"last finite loss {known:.4g}"
    name = max(step.gradient_norms, key=lambda one: _rank(step.gradient_norms[one]))
    return DivergenceError(
        f"loss became {loss} at epoch {epoch} (learning_rate {step.learning_rate:.4g}, update {step.number} of "
        f"{step.n_updates}, {last}; largest gradient {name}, norm {step.gradient_norms[name]:.3g}). "
        f"{suggestion(step, recipe)}"
    )


def suggestion(step: LastFiniteUpdate, recipe: Recipe) -> str:
    """Return what to change: input scaling, then weight decay, then the learning rate."""
    optimizer, rate = recipe.optimizer, step.learning_rate
    if not step.largest_input <= LARGE_INPUT and recipe.network.input_scaling in ("pixels", "auto"):
        return f"Inputs are as large as {step.largest_input:.3g}: try input_scaling standard."
    slow = _slower(step, recipe)
    slower = f"learning_rate {slow:.1g}"
    for name, strength in (("weight_decay", optimizer.weight_decay), ("l2", recipe.regularization.l2)):
        if strength * rate >= 1:
            less = slower if strength * slow < 1 else f"{name} 1e-4"
            return f"learning_rate times {name} is {strength * rate:.3g}, and must be below 1: try {less}."
    if optimizer.reduction == "sum" and step.n_samples > 1:
        of_mean = f"reduction mean with learning_rate {slow * step.n_samples:.1g}"
        return f"Gradients are sums over {step.n_samples} samples: try {slower}, or {of_mean}."
    if not optimizer.clip_norm and optimizer.optimizer not in TYPICAL_RATES:
        return f"Gradients are not clipped: try {slower} with clip_norm 1."
    return f"Try {slower}."


@dataclass(frozen=True)
class OutlyingInput:
    """The largest input of a split whose loss is not finite.

    Attributes:
        split: "valid" or "test".
        sample: index of the sample in the data, starting at 0.
        column: index of the value in the sample, starting at 0.
        value: the value as it was read.
        scaled: absolute value of the scaled input.
    """

    split: str
    sample: int
    column: int
    value: float
    scaled: float


def outlying_input(data: Dataset, index: NDArray[np.int64], split: str, scaling: Scaling) -> OutlyingInput | None:
    """Return the largest scaled input of a split, or None if it is at most `MAX_INPUT`.

    Args:
        data: all samples.
        index: (n,) indices of the samples of the split.
        split: "valid" or "test".
        scaling: from raw values to the inputs of the network.
    """
    found = None
    for start in range(0, len(index), SAMPLES_AT_ONCE):
        raw = flatten(data.inputs[index[start : start + SAMPLES_AT_ONCE]])
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.abs(scaling(raw, np.float64))
        row, column = divmod(int(np.nan_to_num(scaled, nan=np.inf).argmax()), scaled.shape[1])
        if not (found is not None and scaled[row, column] <= found.scaled):
            sample = int(index[start + row])
            found = OutlyingInput(split, sample, column, float(raw[row, column]), float(scaled[row, column]))
    return None if found is None or found.scaled <= MAX_INPUT else found


def outlying_input_error(loss: float, epoch: int, found: OutlyingInput, data: Dataset) -> DivergenceError:
    """Return the error for a split whose loss is not finite because of one input.

    Args:
        loss: the loss that is not finite.
        epoch: number of the epoch.
        found: the input.
        data: all samples, for the source and the column names.
    """
    name = f" ({data.input_names[found.column]!r})" if data.input_names else ""
    where = f"{data.source}, sample {found.sample}, column {found.column + 1}{name}"
    return DivergenceError(
        f"the {SPLIT_NAMES[found.split]} loss became {loss} at epoch {epoch}: {where} is {found.value:.4g}, far "
        "outside the range of the training samples. Correct the value, or leave the sample out."
    )


def _slower(step: LastFiniteUpdate, recipe: Recipe) -> float:
    """Return a tenth of the recipe's learning rate or the typical one, whichever is smaller."""
    optimizer = recipe.optimizer
    usual = TYPICAL_RATES.get(optimizer.optimizer, TYPICAL_RATE)
    if optimizer.optimizer in ("momentum", "nesterov"):
        usual *= 1 - optimizer.momentum
    if optimizer.reduction == "sum":
        usual /= step.n_samples
    return min(optimizer.learning_rate / 10, usual)


def last_finite_update(
    engine: Engine,
    before: Snapshot,
    updates: Iterable[Update],
    alone: Callable[[Update], ReferenceEngine],
    objective: Objective,
    architecture: Architecture,
) -> LastFiniteUpdate:
    """Repeat the updates of an epoch one by one, to find the last one with a finite loss.

    Afterwards the engine is in the state `before`.

    Args:
        engine: the engine whose epoch diverged.
        before: its snapshot from the start of that epoch.
        updates: the updates of the epoch.
        alone: a function from an update to a float64 reference engine that has only the samples of
            its batch, at most `MAX_SAMPLES`.
        objective: the training objective.
        architecture: the layers.
    """
    engine.restore_snapshot(before)
    planned = list(updates)
    found, loss, here = 0, math.nan, before
    for number, update in enumerate(planned):
        state = engine.snapshot()
        of_batch = engine.train_epoch([update]).loss
        if not math.isfinite(of_batch):
            break
        found, loss, here = number, of_batch, state
    engine.restore_snapshot(here)
    parameters: dict[str, FloatArray] = {name: value.astype(float) for name, value in engine.parameters().items()}
    engine.restore_snapshot(before)
    update = planned[found]
    n_samples = batch_size(update.batch)
    samples, masks = alone(update).training_batch(Update(slice(0, min(n_samples, MAX_SAMPLES)), update.step))
    gradients = loss_and_gradients(architecture, parameters, samples, objective, masks).gradients
    return LastFiniteUpdate(
        number=found + 1,
        n_updates=len(planned),
        learning_rate=update.step.learning_rate,
        n_samples=n_samples,
        loss=loss,
        gradient_norms={name: float(np.linalg.norm(gradient)) for name, gradient in gradients.items()},
        largest_input=float(np.abs(samples.x).max(initial=0.0)),
    )


def _rank(length: float) -> float:
    """Return a norm as a sort key, in which nan is the largest."""
    return length if math.isfinite(length) else math.inf
