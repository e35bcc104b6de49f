"""The tasks relu_forward and relu_backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.exercises.writeup.softmax_task import FLOAT32, ONE
from chalknet.network.arrays import FloatArray

AT_ZERO = "h = 0"
_RNG = np.random.default_rng(14)


def _values(*shape: int) -> FloatArray:
    """Return numbers of both signs that are not near the kink at 0."""
    drawn = _RNG.normal(size=shape)
    return drawn + 0.1 * np.sign(drawn)


RELU_FORWARD = Task(
    name="relu_forward",
    title="Relu, forward",
    outputs=("g",),
    reference=reference.relu_forward,
    solution="relu in chalknet/network/relu.py",
    cases=(
        Case(VALUES, {"h": np.array([[1.5, -2.0, 0.0], [-0.5, 3.0, 0.25]])}),
        Case(VALUES, {"h": _values(4, 3)}),
        Case(ONE, {"h": _values(1, 5)}),
        Case(FLOAT32, {"h": _values(3, 2).astype(np.float32)}),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 2, VALUES, (VALUES, ONE, FLOAT32)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake("absolute value", "Negative values change their sign. Relu sets them to 0.", (np.abs,)),
        Mistake(
            "sign",
            "The positive values became 0 and the negative ones stayed. Relu does the opposite.",
            (lambda h: np.minimum(h, 0), lambda h: np.maximum(-h, 0), lambda h: -np.maximum(h, 0)),
        ),
        Mistake(
            "step instead of relu",
            "This is 1 for positive values: the slope of relu. Relu itself keeps the positive values.",
            (lambda h: (h > 0).astype(float), lambda h: (h >= 0).astype(float)),
        ),
        Mistake(
            "leaky relu",
            "Negative values are multiplied by a small number. Relu sets them to 0.",
            (lambda h: np.where(h > 0, h, 0.01 * h), lambda h: np.where(h > 0, h, 0.1 * h)),
        ),
        Mistake("no relu", "The values are returned unchanged.", (lambda h: h,)),
        Mistake(
            "one maximum instead of one for each element",
            "np.max returns the largest element of an array. A maximum of two arrays, or of an array and a number, "
            "element by element, is another function of NumPy.",
            (
                lambda h: h.max(),
                lambda h: max(0.0, h.max()),
                lambda h: np.max(h, 0),
                lambda h: h.max(axis=1),
            ),
        ),
    ),
)


def _loss(arguments: Mapping[str, Any]) -> float:
    return float((arguments["grad_g"] * reference.relu_forward(arguments["h"])).sum())


RELU_BACKWARD = Task(
    name="relu_backward",
    title="Relu, backward",
    outputs=("grad_h",),
    reference=reference.relu_backward,
    solution="relu in chalknet/network/relu.py",
    cases=(
        Case(VALUES, {"grad_g": np.array([[2.0, 3.0], [-1.0, 0.5]]), "h": np.array([[1.5, -2.0], [0.25, -0.5]])}),
        Case(VALUES, {"grad_g": _RNG.normal(size=(4, 3)), "h": _values(4, 3)}),
        Case(ONE, {"grad_g": _RNG.normal(size=(1, 5)), "h": _values(1, 5)}),
        Case(
            FLOAT32,
            {"grad_g": _RNG.normal(size=(3, 2)).astype(np.float32), "h": _values(3, 2).astype(np.float32)},
        ),
        Case(AT_ZERO, {"grad_g": np.array([[2.0, 3.0, 4.0]]), "h": np.array([[0.0, 1.0, -1.0]])}),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 2, VALUES, (VALUES, ONE, FLOAT32)),
        Check("central differences", 2, GRADIENT),
        Check("slope 0 where h = 0", 1, VALUES, (AT_ZERO,)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {"grad_h": "h"},
        own_function="relu_forward",
        own_arguments=lambda arguments: {"h": arguments["h"]},
        own_loss=lambda value, arguments: float((arguments["grad_g"] * value).sum()),
    ),
    mistakes=(
        Mistake(
            "gradient not masked",
            "The gradient passes everywhere. Where h is negative, relu is constant, so nothing passes there.",
            (lambda grad_g, h: grad_g,),
        ),
        Mistake(
            "elements selected instead of masked",
            "a[mask] keeps only these elements. Multiply by the mask to keep the shape.",
            (lambda grad_g, h: grad_g[h > 0],),
        ),
        Mistake(
            "missing chain rule",
            "This is the slope of relu. The chain rule multiplies it by the gradient that arrives, grad_g.",
            (lambda grad_g, h: (h > 0).astype(float),),
        ),
        Mistake(
            "mask from the gradient",
            "The gradient passes where grad_g is positive. The mask has to come from h, the input of relu.",
            (lambda grad_g, h: np.where(grad_g > 0, grad_g, 0.0),),
        ),
        Mistake(
            "multiplied by the value",
            "The gradient is multiplied by relu(h). It has to be multiplied by the slope of relu, which is 0 or 1.",
            (lambda grad_g, h: grad_g * np.maximum(h, 0), lambda grad_g, h: grad_g * h),
        ),
        Mistake(
            "inverted mask",
            "The gradient passes where h is negative. It has to pass where h is positive.",
            (lambda grad_g, h: np.where(h < 0, grad_g, 0.0),),
        ),
        Mistake("sign", "The gradient has the wrong sign.", (lambda grad_g, h: -np.where(h > 0, grad_g, 0.0),)),
        Mistake(
            "relu of the gradient or of the input",
            "The values of relu are returned, not its derivative.",
            (lambda grad_g, h: np.maximum(h, 0.0),),
        ),
        Mistake(
            "slope 1 where h = 0",
            "At h = 0 relu has no derivative. This course takes 0 there, so the comparison has to be strict.",
            (lambda grad_g, h: np.where(h >= 0, grad_g, 0.0),),
            (AT_ZERO,),
        ),
        Mistake(
            "slope 1/2 where h = 0",
            "At h = 0 relu has no derivative. This course takes 0 there, not 1/2.",
            (lambda grad_g, h: grad_g * np.heaviside(h, 0.5),),
            (AT_ZERO,),
        ),
    ),
)
