"""What to say when a loss stops being finite: which update did it, with which rate, and what would help."""

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

MAX_INPUT = 1e6  # scaled; a validation sample beyond it is to blame for a loss that is not finite, not the training
SPLIT_NAMES = {"valid": "validation", "test": "test"}
LARGE_INPUT = 30.0  # deviations; what the initializers expect is about 1
TYPICAL_RATES = {"adam": 1e-3, "adamw": 1e-3}  # of a mean; of the others 0.1, less where momentum adds steps up
TYPICAL_RATE = 0.1
MAX_SAMPLES = 4_096  # of a batch, by which the gradient is looked at


@dataclass(frozen=True)
class LastFiniteUpdate:
    """The last update whose loss was finite, whatever became of the network by it.

    Attributes:
        number: of the epoch's updates, from 1 on. n_updates: of the epoch.
        learning_rate: of this update. n_samples: of its batch.
        loss: of its batch before it, nats a sample; nan where not even this one was finite.
        gradient_norms: of its gradient, by parameter, in float64, before any clipping, over at most `MAX_SAMPLES`;
            inf or nan where it overflows.
        largest_input: absolute value among these samples as the network reads them.
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
    """The error of an epoch whose loss is not finite.

    Args:
        loss: that is not finite. last_loss: of training, in the epoch before; None of the first.
    """
    known = step.loss if math.isfinite(step.loss) else last_loss
    last = "no finite loss before it" if known is None else f"last finite loss {known:.4g}"
    name = max(step.gradient_norms, key=lambda one: _rank(step.gradient_norms[one]))
    return DivergenceError(
        f"loss became {loss} at epoch {epoch} (learning_rate {step.learning_rate:.4g} at its update {step.number} of "
        f"{step.n_updates}, {last}; largest gradient {name}, of length {step.gradient_norms[name]:.3g}). "
        f"{suggestion(step, recipe)}"
    )


def suggestion(step: LastFiniteUpdate, recipe: Recipe) -> str:
    """What to change, by what was seen: inputs, then decay, then how long steps are."""
    optimizer, rate = recipe.optimizer, step.learning_rate
    if not step.largest_input <= LARGE_INPUT and recipe.network.input_scaling != "standard":
        return f"Inputs reach {step.largest_input:.3g}: try input_scaling standard."
    slow = _slower(step, recipe)
    slower = f"learning_rate {slow:.1g}"
    for name, strength in (("weight_decay", optimizer.weight_decay), ("l2", recipe.regularization.l2)):
        if strength * rate >= 1:
            less = slower if strength * slow < 1 else f"{name} 1e-4"
            return f"learning_rate times {name} is {strength * rate:.3g}, which takes all of a weight: try {less}."
    if optimizer.reduction == "sum" and step.n_samples > 1:
        of_mean = f"reduction mean with learning_rate {slow * step.n_samples:.1g}"
        return f"Gradients are sums over {step.n_samples} samples: try {slower}, or {of_mean}."
    if not optimizer.clip_norm and optimizer.optimizer not in TYPICAL_RATES:
        return f"Gradients are not clipped: try {slower} with clip_norm 1."
    return f"Try {slower}."


@dataclass(frozen=True)
class OutlyingInput:
    """The input that is farthest from what the network learned from, in a part whose loss is not finite.

    Attributes:
        part: "valid" or "test".
        sample, column: its place in the data, from 0 on.
        value: as it was read.
        scaled: as the network reads it.
    """

    part: str
    sample: int
    column: int
    value: float
    scaled: float


def outlying_input(data: Dataset, index: NDArray[np.int64], part: str, scaling: Scaling) -> OutlyingInput | None:
    """Return the largest scaled input of some samples, or None where it is no larger than inputs usually are."""
    found = None
    for start in range(0, len(index), SAMPLES_AT_ONCE):
        raw = flatten(data.inputs[index[start : start + SAMPLES_AT_ONCE]])
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.abs(scaling(raw, np.float64))
        row, column = divmod(int(np.nan_to_num(scaled, nan=np.inf).argmax()), scaled.shape[1])
        if not (found is not None and scaled[row, column] <= found.scaled):
            sample = int(index[start + row])
            found = OutlyingInput(part, sample, column, float(raw[row, column]), float(scaled[row, column]))
    return None if found is None or found.scaled <= MAX_INPUT else found


def outlying_input_error(loss: float, epoch: int, found: OutlyingInput, data: Dataset) -> DivergenceError:
    """Return the error of a part whose loss is not finite because of one of its inputs."""
    name = f" ({data.input_names[found.column]!r})" if data.input_names else ""
    where = f"{data.source}, sample {found.sample}, column {found.column + 1}{name}"
    return DivergenceError(
        f"the {SPLIT_NAMES[found.part]} loss became {loss} at epoch {epoch}: {where} holds {found.value:.4g}, far "
        "outside the training samples. Correct it, or leave the sample out."
    )


def _slower(step: LastFiniteUpdate, recipe: Recipe) -> float:
    """A tenth of the recipe's rate, or what is usual for its optimizer, whichever is less."""
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
    """Makes an epoch's updates again, one by one, up to the one before the loss was lost; the engine is at before then.

    Args:
        before: the engine at the start of that epoch.
        alone: an update -> a float64 engine that holds its samples alone, at most `MAX_SAMPLES` of them.
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
    """A length that has overflowed is the largest."""
    return length if math.isfinite(length) else math.inf
