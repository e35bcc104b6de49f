"""The tasks dropout_forward and dropout_backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.part2 import reference
from chalknet.exercises.part2.window_tasks import FLOAT32, ONE
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.network.arrays import FloatArray

NONE = "rate 0"
_RNG = np.random.default_rng(24)
_SMALL = np.array([[1.0, -2.0, 3.0, 4.0]])


def _case(group: str, b: int, f: int, rate: float, dtype: str = "float64") -> Case:
    g = _RNG.normal(size=(b, f)).astype(dtype)
    return Case(group, {"g": g, "uniforms": _RNG.random((b, f)).astype(dtype), "rate": rate})


def _mask(of: Callable[[FloatArray, float], Any]) -> Callable[..., Any]:
    """Return dropout_forward with another mask, of (uniforms, rate)."""

    def forward(g: FloatArray, uniforms: FloatArray, rate: float) -> tuple[Any, Any]:
        mask = of(uniforms, rate)
        return g * mask, mask

    return forward


def _unscaled_mask(g: FloatArray, uniforms: FloatArray, rate: float) -> tuple[Any, Any]:
    return reference.dropout_forward(g, uniforms, rate)[0], (uniforms >= rate).astype(float)


def _unscaled_value(g: FloatArray, uniforms: FloatArray, rate: float) -> tuple[Any, Any]:
    mask = reference.dropout_forward(g, uniforms, rate)[1]
    return g * (mask > 0), mask


DROPOUT_FORWARD = Task(
    name="dropout_forward",
    title="Dropout, forward",
    outputs=("value", "mask"),
    reference=reference.dropout_forward,
    solution="dropout in chalknet/network/dropout.py",
    cases=(
        Case(VALUES, {"g": _SMALL, "uniforms": np.array([[0.1, 0.5, 0.9, 0.3]]), "rate": 0.2}),
        _case(VALUES, 3, 6, 0.4),
        _case(VALUES, 4, 5, 0.7),
        _case(ONE, 1, 5, 0.25),
        _case(FLOAT32, 3, 4, 0.5, "float32"),
        _case(NONE, 2, 3, 0.0),
    ),
    checks=(
        Check("shapes and types", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("value", 3, VALUES, (VALUES, ONE, FLOAT32, NONE), "value"),
        Check("mask", 2, VALUES, (VALUES, ONE, FLOAT32, NONE), "mask"),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "missing scale",
            "The values that are kept are unchanged, so the sum becomes smaller on average. They have to be scaled so "
            "that the average over many masks is g (D1).",
            (_mask(lambda u, q: (u >= q).astype(float)),),
        ),
        Mistake(
            "rate taken for the probability to keep",
            "rate is the probability that a value is dropped. You keep a value with this probability.",
            (
                _mask(lambda u, q: (u < q) / q if q else np.zeros_like(u)),
                _mask(lambda u, q: (u < q).astype(float)),
                lambda g, u, q: (g * (u < q) / max(q, 1e-300), u < q),
                _mask(lambda u, q: (u >= 1 - q) / q if q else np.zeros_like(u)),
            ),
        ),
        Mistake(
            "scaled by 1 / rate",
            "The right values are dropped, but the others are divided by the probability to be dropped. Which "
            "probability keeps the average?",
            (_mask(lambda u, q: (u >= q) / q if q else np.ones_like(u)),),
        ),
        Mistake(
            "multiplied instead of divided",
            "The values that are kept are multiplied by 1 - rate, so they become even smaller. The scale has to make "
            "up for the values that are missing.",
            (_mask(lambda u, q: (u >= q) * (1 - q)),),
        ),
        Mistake(
            "inverted mask",
            "A value is kept where its number in uniforms is below rate. It has to be dropped there.",
            (_mask(lambda u, q: (u < q) / (1 - q)),),
        ),
        Mistake(
            "mask without the scale",
            "The value is right, but the mask holds 0 and 1, or False and True. The backward pass needs the same "
            "factors as the forward pass, so the mask holds 0 and 1 / (1 - rate).",
            (_unscaled_mask,),
            part="mask",
        ),
        Mistake(
            "value without the scale",
            "The mask is right, but the value was multiplied by 0 and 1 only. It has to be multiplied by the mask.",
            (_unscaled_value,),
            part="value",
        ),
        Mistake(
            "wrong order of the results",
            "The right arrays are returned in another order. Return value, mask.",
            (lambda g, uniforms, rate: reference.dropout_forward(g, uniforms, rate)[::-1],),
        ),
    ),
)


def _backward_case(group: str, b: int, f: int, rate: float, dtype: str = "float64") -> Case:
    mask = np.where(_RNG.permutation(b * f).reshape(b, f) < rate * b * f, 0.0, 1 / (1 - rate))
    return Case(group, {"grad_value": _RNG.normal(size=(b, f)).astype(dtype), "mask": mask.astype(dtype)})


def _loss(arguments: Mapping[str, Any]) -> float:
    return float((arguments["grad_value"] * arguments["g"] * arguments["mask"]).sum())


DROPOUT_BACKWARD = Task(
    name="dropout_backward",
    title="Dropout, backward",
    outputs=("grad_g",),
    reference=reference.dropout_backward,
    solution="dropout in chalknet/network/dropout.py",
    cases=(
        Case(VALUES, {"grad_value": _SMALL, "mask": np.array([[0.0, 1.25, 1.25, 1.25]])}),
        _backward_case(VALUES, 3, 6, 0.4),
        _backward_case(ONE, 1, 5, 0.2),
        _backward_case(FLOAT32, 3, 4, 0.5, "float32"),
    ),
    checks=(
        Check("values", 2, VALUES, (VALUES, ONE, FLOAT32)),
        Check("central differences", 1, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES, _loss, {"grad_g": "g"}, extra=lambda arguments: {"g": np.ones_like(arguments["mask"])}
    ),
    mistakes=(
        Mistake(
            "mask not used",
            "The gradient passes unchanged. A value that was dropped has no effect on the loss, and the others were "
            "scaled.",
            (lambda grad_value, mask: grad_value,),
        ),
        Mistake(
            "missing scale",
            "The gradient is 0 at the right places, but the values that were kept were scaled by the mask: their "
            "derivative is this factor.",
            (lambda grad_value, mask: grad_value * (mask > 0),),
        ),
        Mistake(
            "divided by the mask",
            "The gradient is divided by the mask. The forward pass multiplies by it: what is the derivative of a "
            "product with a constant?",
            (lambda grad_value, mask: grad_value / mask,),
        ),
        Mistake(
            "scaled twice",
            "The scale is already in the mask, and the gradient is scaled once more.",
            (lambda grad_value, mask: grad_value * mask * mask,),
        ),
        Mistake(
            "inverted mask",
            "The gradient passes where values were dropped.",
            (lambda grad_value, mask: grad_value * (mask == 0),),
        ),
        Mistake(
            "missing chain rule",
            "This is the derivative of dropout. The chain rule multiplies it by the gradient that arrives, grad_value.",
            (lambda grad_value, mask: mask,),
        ),
    ),
)
