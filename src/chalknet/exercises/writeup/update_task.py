"""The task momentum_update."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.parts import Returned
from chalknet.exercises.reference import Arrays
from chalknet.exercises.task import CLEAN, SHAPE, VALUES, Check, Mistake, Task
from chalknet.network.arrays import FloatArray

STEPS = "several steps"
_RNG = np.random.default_rng(16)
_SHAPES = {"W_h": (3, 2), "b_h": (3,), "W_o": (2, 3), "b_o": (2,)}


def _drawn(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    return {name: _RNG.normal(size=shape) for name, shape in shapes.items()}


def _velocities() -> Arrays:
    return {name: value if name.startswith("W") else np.zeros_like(value) for name, value in _drawn(_SHAPES).items()}


_FIRST = Case(
    VALUES,
    {
        "parameters": {"W_h": np.array([[1.0, 2.0]]), "b_h": np.array([0.5])},
        "gradients": {"W_h": np.array([[10.0, -20.0]]), "b_h": np.array([4.0])},
        "velocities": {"W_h": np.array([[0.1, 0.2]]), "b_h": np.array([0.0])},
        "learning_rate": 0.01,
        "momentum": 0.9,
    },
)
_SECOND = Case(
    VALUES,
    {
        "parameters": _drawn(_SHAPES),
        "gradients": _drawn(_SHAPES),
        "velocities": _velocities(),
        "learning_rate": 0.2,
        "momentum": 0.6,
    },
)
_SMALL = {"W_h": (1, 2), "b_h": (1,)}
_STEPS = Case(
    STEPS,
    {
        "parameters": _drawn(_SMALL),
        "gradients": _drawn(_SMALL),
        "velocities": {name: np.zeros(shape) for name, shape in _SMALL.items()},
        "learning_rate": 0.1,
        "momentum": 0.8,
    },
    then=tuple({"gradients": _drawn(_SMALL)} for _ in range(3)),
    feedback=("parameters", "velocities"),
)

Rule = Callable[[FloatArray, FloatArray, FloatArray, float, float], tuple[FloatArray, FloatArray]]


def _plain(w: FloatArray, grad: FloatArray, v: FloatArray, r: float, m: float) -> tuple[FloatArray, FloatArray]:
    del m
    return w - r * grad, v


def _by(weights: Rule, biases: Rule = _plain) -> Callable[..., tuple[Arrays, Arrays]]:
    """Return momentum_update with other rules for weights and biases."""

    def update(
        parameters: Arrays, gradients: Arrays, velocities: Arrays, learning_rate: float, momentum: float
    ) -> tuple[Arrays, Arrays]:
        pairs = {
            name: (weights if name.startswith("W") else biases)(
                value, gradients[name], velocities[name], learning_rate, momentum
            )
            for name, value in parameters.items()
        }
        return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}

    return update


def _heavy_ball(w: FloatArray, grad: FloatArray, v: FloatArray, r: float, m: float) -> tuple[FloatArray, FloatArray]:
    v = m * v + r * grad
    return w - v, v


def _rule(velocity: Callable[..., Any], step: Callable[..., Any]) -> Rule:
    """Return a rule with the new velocity and the new weight as formulas of (w, grad, v, r, m) and the velocity."""

    def rule(w: FloatArray, grad: FloatArray, v: FloatArray, r: float, m: float) -> tuple[FloatArray, FloatArray]:
        new = velocity(grad, v, r, m)
        return step(w, grad, v, new, r, m), new

    return rule


def _has_no_biases(found: Sequence[Returned]) -> bool:
    """Return whether the velocities of the biases are missing in every call that returned others."""
    names = [name for one in found for name in one.parts]
    return any(name.startswith("velocities[W") for name in names) and not any(
        name.startswith("velocities[b") for name in names
    )


MOMENTUM_UPDATE = Task(
    name="momentum_update",
    title="Update with momentum",
    outputs=("parameters", "velocities"),
    reference=reference.momentum_update,
    solution="Momentum in chalknet/network/optimizers.py",
    cases=(_FIRST, _SECOND, _STEPS),
    optional=("velocities[b*]",),
    checks=(
        Check("two dictionaries with the right names and shapes", 1, SHAPE, (VALUES,)),
        Check("weights after one step", 2, VALUES, (VALUES,), "parameters[W*]"),
        Check("velocities of weights after one step", 1, VALUES, (VALUES,), "velocities[W*]"),
        Check("weights after several steps", 1, VALUES, (STEPS,), "parameters[W*]"),
        Check("biases after several steps", 2, VALUES, (VALUES, STEPS), "parameters[b*]"),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "momentum on biases",
            "The biases move with a velocity too. In this course only weights, whose names begin with W, have "
            "momentum. A bias takes a plain step (formula U2).",
            (_by(_heavy_ball, _heavy_ball),),
            (VALUES, STEPS),
            "parameters[b*]",
        ),
        Mistake(
            "biases not updated",
            "The biases are returned unchanged. They take a plain step along their gradient (formula U2).",
            (_by(_heavy_ball, lambda w, grad, v, r, m: (w, v)),),
            (VALUES, STEPS),
            "parameters[b*]",
        ),
        Mistake(
            "sign of the step of the biases",
            "The biases move along the gradient, so the loss rises. They have to move against it.",
            (_by(_heavy_ball, lambda w, grad, v, r, m: (w + r * grad, v)),),
            (VALUES, STEPS),
            "parameters[b*]",
        ),
        Mistake(
            "learning rate on the velocity",
            "The learning rate multiplies the whole velocity. That is another convention: in formula U1 it "
            "multiplies the gradient, when the velocity is updated.",
            (_by(_rule(lambda grad, v, r, m: m * v + grad, lambda w, grad, v, new, r, m: w - r * new)),),
            part="parameters[W*]",
        ),
        Mistake(
            "sign of the velocity",
            "The velocity has the opposite sign. In formula U1 the gradient is added to the velocity, and the "
            "velocity is subtracted from the weight.",
            (_by(_rule(lambda grad, v, r, m: m * v - r * grad, lambda w, grad, v, new, r, m: w + new)),),
            part="parameters[W*]",
        ),
        Mistake(
            "sign of the step",
            "The weights move along the gradient, so the loss rises. Compare the sign of the step with U1.",
            (_by(_rule(lambda grad, v, r, m: m * v + r * grad, lambda w, grad, v, new, r, m: w + new)),),
            part="parameters[W*]",
        ),
        Mistake(
            "step with the old velocity",
            "The weights move by the velocity from before the update. In U1 the velocity changes first, and the "
            "weight moves by the new one.",
            (_by(_rule(lambda grad, v, r, m: m * v + r * grad, lambda w, grad, v, new, r, m: w - v)),),
            part="parameters[W*]",
        ),
        Mistake(
            "missing momentum",
            "The weights take a plain step, and their velocity has no effect. Use formula U1 for weights.",
            (
                _by(_plain),
                _by(_rule(lambda grad, v, r, m: r * grad, lambda w, grad, v, new, r, m: w - new)),
            ),
            part="parameters[W*]",
        ),
        Mistake(
            "Nesterov momentum",
            "The step is m v + r g with the new velocity: Nesterov momentum (U3). This task asks for U1, where the "
            "weight moves by the new velocity.",
            (_by(_rule(lambda grad, v, r, m: m * v + r * grad, lambda w, grad, v, new, r, m: w - m * new - r * grad)),),
            part="parameters[W*]",
        ),
        Mistake(
            "factor 1 - m on the gradient",
            "The gradient is multiplied by 1 - m, as in a running mean. U1 has no such factor.",
            (_by(_rule(lambda grad, v, r, m: m * v + (1 - m) * r * grad, lambda w, grad, v, new, r, m: w - new)),),
            part="parameters[W*]",
        ),
        Mistake(
            "momentum on the gradient",
            "The momentum multiplies the gradient, or everything. In U1 it multiplies the old velocity alone.",
            (
                _by(_rule(lambda grad, v, r, m: v + m * r * grad, lambda w, grad, v, new, r, m: w - new)),
                _by(_rule(lambda grad, v, r, m: m * (v + r * grad), lambda w, grad, v, new, r, m: w - new)),
            ),
            part="parameters[W*]",
        ),
        Mistake(
            "missing learning rate",
            "The gradient is not multiplied by the learning rate.",
            (_by(_rule(lambda grad, v, r, m: m * v + grad, lambda w, grad, v, new, r, m: w - new)),),
            part="parameters[W*]",
        ),
        Mistake(
            "old velocities returned",
            "The velocities are returned unchanged, so the next step starts again from the old ones.",
            (_by(lambda w, grad, v, r, m: (w - m * v - r * grad, v)),),
            part="velocities[W*]",
        ),
        Mistake(
            "velocities of biases missing",
            "The dictionary has no velocities of the biases. It needs all names of the parameters. Return those of "
            "the biases as they are.",
            (),
            symptom=_has_no_biases,
        ),
    ),
)
