"""The task l2_penalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.parts import Returned
from chalknet.exercises.reference import Arrays
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task

_RNG = np.random.default_rng(25)
_SHAPES = {"W_c": (2, 2, 2, 1), "b_c": (2,), "W_o": (3, 4), "b_o": (3,)}
Parameters = Mapping[str, Any]


def _drawn() -> Arrays:
    return {name: _RNG.normal(size=shape) for name, shape in _SHAPES.items()}


def _penalty(
    value: Callable[[Any], float] = lambda w: float((w * w).sum()) / 2,
    gradient: Callable[[Any], Any] = lambda w: w,
    is_chosen: Callable[[str], bool] = lambda name: name.startswith("W"),
    power: float = 1.0,
) -> Callable[..., Any]:
    """Return l2_penalty with other formulas of one array.

    Args:
        value: penalty of one array.
        gradient: its gradient.
        is_chosen: whether a parameter has a penalty.
        power: power of the strength.
    """

    def compute(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
        factor = strength**power
        return (
            factor * sum(value(one) for name, one in parameters.items() if is_chosen(name)),
            {
                name: factor * gradient(one) if is_chosen(name) else np.zeros_like(one)
                for name, one in parameters.items()
            },
        )

    return compute


def _unsquared(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
    norm = sum(float(np.sqrt((one * one).sum())) for name, one in parameters.items() if name.startswith("W"))
    return strength / 2 * norm, reference.l2_penalty(parameters, strength)[1]


def _whole_norm(factor: float) -> Callable[..., Any]:
    def compute(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
        penalty, gradients = reference.l2_penalty(parameters, 1.0)
        return strength * factor * float(np.sqrt(2 * penalty)), {
            name: strength * value for name, value in gradients.items()
        }

    return compute


def _square_of_sum(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
    sums = sum(float(one.sum()) ** 2 for name, one in parameters.items() if name.startswith("W"))
    return strength / 2 * sums, reference.l2_penalty(parameters, strength)[1]


def _last_only(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
    """Forget the penalties of all weights but the last one."""
    last = [one for name, one in parameters.items() if name.startswith("W")][-1]
    return strength / 2 * float((last * last).sum()), reference.l2_penalty(parameters, strength)[1]


def _has_no_biases(found: Sequence[Returned]) -> bool:
    """Return whether the gradients of the biases are missing in every call that returned others."""
    names = [name for one in found for name in one.parts]
    return any(name.startswith("gradients[W") for name in names) and not any(
        name.startswith("gradients[b") for name in names
    )


def _negative(parameters: Parameters, strength: float) -> tuple[float, Arrays]:
    penalty, gradients = reference.l2_penalty(parameters, strength)
    return penalty, {name: -value for name, value in gradients.items()}


L2_PENALTY = Task(
    name="l2_penalty",
    title="L2 penalty and its gradient",
    outputs=("penalty", "gradients"),
    reference=reference.l2_penalty,
    solution="l2_penalty in chalknet/network/losses.py",
    cases=(
        Case(
            VALUES,
            {
                "parameters": {"W_o": np.array([[1.0, -2.0], [3.0, 0.0]]), "b_o": np.array([5.0, 1.0])},
                "strength": 0.1,
            },
        ),
        Case(VALUES, {"parameters": _drawn(), "strength": 0.3}),
        Case(VALUES, {"parameters": _drawn(), "strength": 2.5}),
    ),
    checks=(
        Check("a number, and gradients with the right names and shapes", 1, SHAPE, (VALUES,)),
        Check("penalty", 1, VALUES, (VALUES,), "penalty"),
        Check("gradients of the weights", 1, VALUES, (VALUES,), "gradients[W*]"),
        Check("gradients of the biases", 1, VALUES, (VALUES,), "gradients[b*]"),
        Check("central differences", 1, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        lambda arguments: reference.l2_penalty(arguments["parameters"], arguments["strength"])[0],
        {"gradients[W_o]": "parameters[W_o]", "gradients[b_o]": "parameters[b_o]"},
        own_function="l2_penalty",
        own_loss=lambda value, _: float(value[0]),
    ),
    mistakes=(
        Mistake(
            "penalty on biases",
            "The biases have a penalty too. In this course only weights, whose names begin with W, have one (P1).",
            (
                _penalty(is_chosen=lambda _: True),
                _penalty(is_chosen=lambda _: True, value=lambda w: float((w * w).sum())),
                _penalty(is_chosen=lambda _: True, value=lambda w: float((w * w).sum()), gradient=lambda w: 2 * w),
            ),
        ),
        Mistake(
            "missing 1/2",
            "The penalty is the strength times the sum of squares, and the gradient is its derivative. This course has "
            "a factor 1/2 in the penalty (P1).",
            (_penalty(value=lambda w: float((w * w).sum()), gradient=lambda w: 2 * w),),
        ),
        Mistake(
            "mean instead of sum",
            "The squares are averaged. P1 is a sum over all weights.",
            (
                _penalty(value=lambda w: float((w * w).mean()) / 2, gradient=lambda w: w / w.size),
                _penalty(value=lambda w: float((w * w).mean()) / 2),
            ),
        ),
        Mistake(
            "missing strength",
            "The strength has no effect. It multiplies the penalty, and so the gradients.",
            (_penalty(power=0.0),),
        ),
        Mistake(
            "strength squared",
            "The strength is multiplied twice.",
            (_penalty(power=2.0),),
        ),
        Mistake(
            "L1 instead of L2",
            "This is the sum of absolute values. The L2 penalty is a sum of squares.",
            (
                _penalty(value=lambda w: float(np.abs(w).sum()), gradient=np.sign),
                _penalty(value=lambda w: float(np.abs(w).sum()) / 2, gradient=lambda w: np.sign(w) / 2),
                _penalty(value=lambda w: float(np.abs(w).sum()) / 2),
                _penalty(value=lambda w: float(np.abs(w).sum())),
            ),
        ),
        Mistake(
            "missing 1/2 in the penalty",
            "The gradients are right, but the penalty is twice as large as P1 says. Derive your penalty: it does not "
            "give your gradients.",
            (_penalty(value=lambda w: float((w * w).sum())),),
            part="penalty",
        ),
        Mistake(
            "penalty of the last weight only",
            "The penalty is that of the last array of weights only. Add up those of all weights, with `+=` in place of "
            "`=`.",
            (_last_only,),
            part="penalty",
        ),
        Mistake(
            "square root in the penalty",
            "The square root of the sum of squares is the norm. P1 has no square root. np.linalg.norm takes one.",
            (_unsquared, _whole_norm(0.5), _whole_norm(1.0)),
            part="penalty",
        ),
        Mistake(
            "sum of the weights instead of their squares",
            "The weights are added without squares.",
            (_penalty(value=lambda w: float(w.sum()) / 2), _penalty(value=lambda w: float(w.sum()))),
            part="penalty",
        ),
        Mistake(
            "square of the sum",
            "The weights are added first, and the sum is squared. P1 squares each weight, and adds the squares.",
            (_square_of_sum,),
            part="penalty",
        ),
        Mistake(
            "biases in the penalty",
            "The gradients of the biases do not fit: the penalty contains the biases. Only weights belong there (P1).",
            (
                lambda parameters, strength: (
                    _penalty(is_chosen=lambda _: True)(parameters, strength)[0],
                    reference.l2_penalty(parameters, strength)[1],
                ),
            ),
            part="penalty",
        ),
        Mistake(
            "factor 2 in the gradients",
            "The gradients are twice as large as P2 says. The 2 of the derivative of a square and the 1/2 of P1 "
            "cancel.",
            (_penalty(gradient=lambda w: 2 * w),),
            part="gradients*",
        ),
        Mistake(
            "factor 1/2 in the gradients",
            "The gradients are half of what P2 says. The derivative of a square has a factor 2.",
            (_penalty(gradient=lambda w: w / 2),),
            part="gradients*",
        ),
        Mistake(
            "squares in the gradients",
            "The gradients hold the squares. What is the derivative of a square?",
            (_penalty(gradient=lambda w: w * w), _penalty(gradient=lambda w: w * w / 2)),
            part="gradients*",
        ),
        Mistake("sign of the gradients", "The gradients have the wrong sign.", (_negative,), part="gradients*"),
        Mistake(
            "gradients of biases missing",
            "The dictionary has no gradients of the biases. It needs all names of the parameters, with zeros for "
            "biases.",
            (),
            symptom=_has_no_biases,
        ),
        Mistake(
            "gradients of biases",
            "The biases have a gradient, but no penalty. Their gradient is 0.",
            (
                lambda parameters, strength: (
                    reference.l2_penalty(parameters, strength)[0],
                    _penalty(is_chosen=lambda _: True)(parameters, strength)[1],
                ),
            ),
            part="gradients[b*]",
        ),
    ),
)
