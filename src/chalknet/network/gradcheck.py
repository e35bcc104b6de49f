"""The derivatives of a network against central differences of its loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ShapeError
from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.layer import Parameters
from chalknet.network.objective import LabeledBatch, Objective, loss_and_gradients

# Cube root of float64's rounding unit: truncation and rounding errors of a central difference balance.
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
TOLERANCE = 1e-7
MAX_HALVINGS = 10  # of the step; beyond, rounding outweighs what a kink does
DIRECTIONS = 3  # a wrong gradient can be right along one direction by chance, hardly along three


@dataclass(frozen=True)
class GradientCheck:
    """One parameter group along its worst direction u, |u| = 1.

    Attributes:
        parameter: the parameter's name.
        n_elements: its number of elements.
        analytic: sum_i (dL/dw_i) u_i from the backward pass (docs/derivation.md, G1).
        numeric: (L(w + e u) - L(w - e u)) / (2 e) (G2).
        relative_error: |analytic - numeric| / max(|analytic|, |numeric|, floor) (G3).
    """

    parameter: str
    n_elements: int
    analytic: float
    numeric: float
    relative_error: float

    @property
    def ok(self) -> bool:
        return self.relative_error <= TOLERANCE


def relative_error(analytic: float, numeric: float, floor: float = 0.0) -> float:
    """|a - n| / max(|a|, |n|, floor), and 0 where all are 0; a nan is an infinite error.

    Args:
        floor: the size below which a difference of losses can no longer tell a derivative to within `TOLERANCE`.
    """
    if math.isnan(analytic) or math.isnan(numeric):
        return math.inf
    largest = max(abs(analytic), abs(numeric), floor)
    return abs(analytic - numeric) / largest if largest else 0.0


def check_gradients(
    architecture: Architecture,
    parameters: Mapping[str, FloatArray],
    gradients: Mapping[str, FloatArray],
    x: FloatArray,
    labels: LabelArray,
    seed: int = 0,
) -> tuple[GradientCheck, ...]:
    """Compare the gradients of the mean cross-entropy, group by group, with central differences.

    Args:
        parameters, gradients: by name, of equal shapes; checked in float64.
        x: (B, I).
        labels: (B,) integers in [0, K).
        seed: of the random directions.
    Returns:
        one `GradientCheck` per group, with the direction that agreed worst.
    Raises:
        ShapeError: a gradient does not have the shape of its parameter.
    Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 1, on the error of differences.
    """
    samples = LabeledBatch(np.asarray(x, np.float64), labels)
    return check_objective(architecture, parameters, gradients, samples, Objective(), seed=seed)


def check_objective(
    architecture: Architecture,
    parameters: Mapping[str, FloatArray],
    gradients: Mapping[str, FloatArray],
    samples: LabeledBatch,
    objective: Objective,
    masks: Mapping[int, FloatArray] | None = None,
    *,
    seed: int = 0,
) -> tuple[GradientCheck, ...]:
    """Compare the gradients of a whole objective: penalties, soft targets, fixed dropout masks, batch statistics.

    Along each of three directions the objective is evaluated a step ahead and a step behind. A direction is the
    gradient's own plus a random one of the same length: the first keeps the derivative large against rounding, the
    second reaches every element. Where a step carries an input of a layer that is not smooth across 0, the other side
    is used.

    Args:
        parameters, gradients: by name. A parameter without a gradient is not learned and is not checked.
        samples, objective, masks: as `loss_and_gradients` takes them, in float64.
    Raises:
        ShapeError: a gradient does not have the shape of its parameter.
    """
    exact: Parameters = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}

    def evaluate(changed: Parameters) -> Evaluation:
        found = loss_and_gradients(architecture, changed, samples, objective, masks)
        size = max(1.0, abs(found.value), float(np.abs(found.logits).max()))
        return Evaluation(found.value, [h > 0 for h in found.kink_inputs], size)

    rng = np.random.default_rng(seed)
    checks = []
    for name, gradient in gradients.items():
        if gradient.shape != exact[name].shape:
            raise ShapeError(f"the gradient of {name} must be {exact[name].shape}, got {gradient.shape}.")
        tried = [_check_one(exact, name, gradient, evaluate, rng) for _ in range(DIRECTIONS)]
        checks.append(max(tried, key=lambda check: check.relative_error))
    return tuple(checks)


class Evaluation(NamedTuple):
    """The objective at one point.

    Attributes:
        value: of the objective.
        sides: where the input of each layer that is not smooth is above 0.
        size: of the largest number involved.
    """

    value: float
    sides: list[NDArray[np.bool_]]
    size: float


Evaluate = Callable[[Parameters], Evaluation]


def _check_one(
    parameters: Parameters, name: str, gradient: FloatArray, evaluate: Evaluate, rng: np.random.Generator
) -> GradientCheck:
    gradient = np.asarray(gradient, dtype=np.float64)
    direction = _unit(_unit(gradient) + _unit(rng.normal(size=gradient.shape)))
    analytic = float((gradient * direction).sum())
    numeric, rounding = _difference(parameters, name, direction, evaluate)
    error = relative_error(analytic, numeric, floor=rounding / TOLERANCE)
    return GradientCheck(name, gradient.size, analytic, numeric, error)


def _unit(vector: FloatArray) -> FloatArray:
    """vector / |vector|, and the zero vector as it is."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _difference(parameters: Parameters, name: str, direction: FloatArray, evaluate: Evaluate) -> tuple[float, float]:
    """The change of the objective along a direction by differences, and the rounding error that this carries.

    (L(w + e u) - L(w - e u)) / (2 e) where no unit changes sides between the three points (docs/derivation.md, G2).
    Where one does on one side, the other side alone tells as much, (-3 L(w) + 4 L(w + e u) - L(w + 2 e u)) / (2 e), of
    the same order e^2 (G4); where on both, e is halved.
    """

    def at(distance: float) -> Evaluation:
        return evaluate({**parameters, name: parameters[name] + distance * direction})

    here = at(0.0)

    def same(other: Evaluation) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(here.sides, other.sides, strict=True))

    for step in (STEP / 2**k for k in range(MAX_HALVINGS)):
        rounding = 2 * float(np.finfo(np.float64).eps) * here.size / step
        ahead, behind = at(step), at(-step)
        if same(ahead) and same(behind):
            break
        for sign, near in ((1, ahead), (-1, behind)):
            far = at(2 * sign * step)
            if same(near) and same(far):
                return sign * (-3 * here.value + 4 * near.value - far.value) / (2 * step), 4 * rounding
    return (ahead.value - behind.value) / (2 * step), rounding
