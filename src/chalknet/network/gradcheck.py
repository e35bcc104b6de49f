"""Numerical gradient check: derivatives compared with central differences of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ShapeError
from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.layer import Parameters
from chalknet.network.objective import LabeledBatch, Objective, loss_and_gradients

# The cube root of float64's rounding unit. With this step the truncation error and the rounding
# error of a central difference are about equal.
STEP = float(np.finfo(np.float64).eps) ** (1 / 3)
TOLERANCE = 1e-7
# The step is halved at most this often to stay on one side of a kink. Smaller steps have a
# rounding error larger than the error that the kink causes.
MAX_HALVINGS = 10
# A wrong gradient can agree along one direction by chance, but hardly along three.
DIRECTIONS = 3


@dataclass(frozen=True)
class GradientCheck:
    """The check of one parameter, along the direction u with the largest error, |u| = 1.

    Attributes:
        parameter: name of the parameter, such as "hidden1.weight".
        n_elements: number of its elements.
        analytic: sum_i (dL/dw_i) u_i from the backward pass (docs/derivation.md, G1).
        numeric: (L(w + step u) - L(w - step u)) / (2 step) (G2).
        relative_error: |analytic - numeric| / max(|analytic|, |numeric|, floor) (G3).
    """

    parameter: str
    n_elements: int
    analytic: float
    numeric: float
    relative_error: float

    @property
    def ok(self) -> bool:
        """Whether the relative error is at most `TOLERANCE`."""
        return self.relative_error <= TOLERANCE


def relative_error(analytic: float, numeric: float, floor: float = 0.0) -> float:
    """Return the relative error of a derivative.

    |analytic - numeric| / max(|analytic|, |numeric|, floor)         (docs/derivation.md, G3)

    Args:
        analytic: directional derivative from the backward pass.
        numeric: the same derivative by differences.
        floor: smallest denominator. Derivatives below it cannot be measured to within `TOLERANCE`,
            because of the rounding error of the loss.

    Returns:
        A float >= 0: 0 if all three are 0, infinity if a derivative is nan.
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
    """Compare the gradients of the mean cross-entropy with central differences, in float64.

    Args:
        architecture: the layers.
        parameters: arrays by name.
        gradients: the gradients to check, by the same names.
        x: (B, I) scaled inputs.
        labels: (B,) integers in [0, K).
        seed: seed of the random directions.

    Returns:
        One `GradientCheck` per gradient.

    Raises:
        ShapeError: a gradient does not have the shape of its parameter.

    Source: Griewank and Walther, Evaluating Derivatives (2008), chapter 1, on the error of
    differences.
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
    on_check: Callable[[int, int], None] | None = None,
) -> tuple[GradientCheck, ...]:
    """Compare the gradients of a whole objective with central differences, in float64.

    The objective may have penalties, soft targets, fixed dropout masks and batch statistics. It is
    evaluated one step forward and one step back along each of three directions. A direction is the
    normalized gradient plus a random unit vector: with the gradient the derivative is large
    compared to rounding errors, and the random vector reaches every element. Where a step changes
    the side of a kink, such as that of relu at 0, a one-sided difference is used.

    Args:
        architecture: the layers.
        parameters: arrays by name. A parameter without a gradient is not learned and not checked.
        gradients: the gradients to check, by parameter name.
        samples: the batch, in float64.
        objective: the terms of the objective.
        masks: dropout masks by layer position, as for `loss_and_gradients`.
        seed: seed of the random directions.
        on_check: called before each gradient with the number of those that are checked, and of all.

    Returns:
        One `GradientCheck` per gradient, for the direction with the largest error.

    Raises:
        ShapeError: a gradient does not have the shape of its parameter.
    """
    exact: Parameters = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}

    def evaluate(changed: Parameters) -> Evaluation:
        found = loss_and_gradients(architecture, changed, samples, objective, masks)
        size = max(1.0, abs(found.value), float(np.abs(found.logits).max()))
        sides = [named.layer.pieces(x, named.local(changed)) for named, x in found.kinks]
        return Evaluation(found.value, sides, size)

    rng = np.random.default_rng(seed)
    checks: list[GradientCheck] = []
    for name, gradient in gradients.items():
        if on_check is not None:
            on_check(len(checks), len(gradients))
        if gradient.shape != exact[name].shape:
            raise ShapeError(f"the gradient of {name} must be {exact[name].shape}, got {gradient.shape}.")
        tried = [_check_one(exact, name, gradient, evaluate, rng) for _ in range(DIRECTIONS)]
        checks.append(max(tried, key=lambda check: check.relative_error))
    return tuple(checks)


class Evaluation(NamedTuple):
    """The value of the objective at one point.

    Attributes:
        value: the objective.
        sides: for each layer with a kink, which smooth piece each element of its input is on.
        size: the largest of |value|, |logits| and 1, which determines the rounding error.
    """

    value: float
    sides: list[NDArray[Any]]
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
    """Return the vector divided by its norm, or the zero vector unchanged."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def _difference(parameters: Parameters, name: str, direction: FloatArray, evaluate: Evaluate) -> tuple[float, float]:
    """Return the derivative along a direction u by differences, and a bound of its rounding error.

    (L(w + step u) - L(w - step u)) / (2 step)                       (docs/derivation.md, G2)
    (-3 L(w) + 4 L(w + step u) - L(w + 2 step u)) / (2 step)         (G4)

    G2 is valid if no input of a kink changes its side between the points. If one does in one
    direction only, G4 uses the points on the other side; its error has the same order, step^2. If
    inputs change sides in both directions, the step is halved.
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
