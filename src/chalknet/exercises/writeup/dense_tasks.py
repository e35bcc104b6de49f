"""The tasks dense_forward and dense_backward."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from chalknet.exercises import reference
from chalknet.exercises.calls import Case
from chalknet.exercises.task import CLEAN, GRADIENT, SHAPE, VALUES, Check, GradientCheck, Mistake, Task
from chalknet.exercises.variants import in_order, scaled, with_output
from chalknet.exercises.writeup.softmax_task import FLOAT32, ONE
from chalknet.network.arrays import FloatArray

_RNG = np.random.default_rng(13)
Gradients = tuple[FloatArray, FloatArray, FloatArray]


def _forward_case(group: str, b: int, i: int, o: int, dtype: str = "float64") -> Case:
    arrays = {"x": _RNG.normal(size=(b, i)), "weight": _RNG.normal(size=(o, i)), "bias": _RNG.normal(size=o)}
    return Case(group, {name: value.astype(dtype) for name, value in arrays.items()})


def _backward_case(group: str, b: int, i: int, o: int, dtype: str = "float64") -> Case:
    arrays = {"grad_h": _RNG.normal(size=(b, o)), "x": _RNG.normal(size=(b, i)), "weight": _RNG.normal(size=(o, i))}
    return Case(group, {name: value.astype(dtype) for name, value in arrays.items()})


DENSE_FORWARD = Task(
    name="dense_forward",
    title="Dense layer, forward",
    outputs=("h",),
    reference=reference.dense_forward,
    solution="dense in chalknet/network/dense.py",
    cases=(
        Case(
            VALUES,
            {
                "x": np.array([[1.0, 2.0]]),
                "weight": np.array([[1.0, 0.0], [0.5, -1.0], [2.0, 1.0]]),
                "bias": np.array([0.0, 1.0, -1.0]),
            },
        ),
        _forward_case(VALUES, 3, 3, 3),
        _forward_case(VALUES, 4, 2, 3),
        _forward_case(ONE, 1, 5, 2),
        _forward_case(FLOAT32, 3, 4, 2, "float32"),
    ),
    checks=(
        Check("shape and type", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values", 5, VALUES, (VALUES, ONE, FLOAT32)),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    mistakes=(
        Mistake(
            "transposed product",
            "The weight is (O, I): one row for each output. A row of x, (I,), has to meet each row of the weight, so "
            "the product needs the weight with its axes exchanged.",
            (lambda x, weight, bias: x @ weight + bias, lambda x, weight, bias: weight @ x + bias),
        ),
        Mistake(
            "transposed result",
            "The result is (O, B). It needs one row for each sample, (B, O).",
            (
                lambda x, weight, bias: weight @ x.T + bias[:, None],
                lambda x, weight, bias: (x @ weight.T + bias).T,
                lambda x, weight, bias: weight @ x.T + bias,
            ),
        ),
        Mistake(
            "missing bias",
            "The product is right, but the bias is not added.",
            (lambda x, weight, bias: x @ weight.T,),
        ),
        Mistake(
            "sign of the bias",
            "The bias is subtracted. Formula A1 adds it.",
            (lambda x, weight, bias: x @ weight.T - bias,),
        ),
        Mistake(
            "bias added to samples instead of outputs",
            "The bias has one number for each output, and so belongs to the columns of h. Its shape (O,) already "
            "fits: NumPy adds it to every row.",
            (
                lambda x, weight, bias: x @ weight.T + bias[:, None],
                lambda x, weight, bias: x @ weight.T + bias.reshape(-1, 1),
            ),
        ),
        Mistake(
            "element-wise product",
            "`*` multiplies element by element. A product of matrices is `@`.",
            (lambda x, weight, bias: x * weight + bias, lambda x, weight, bias: x * weight.T + bias),
        ),
    ),
)


_changed = partial(with_output, reference.dense_backward)
_scaled = partial(scaled, reference.dense_backward)
_in_order = partial(in_order, reference.dense_backward)


def _loss(arguments: Mapping[str, Any]) -> float:
    h = reference.dense_forward(arguments["x"], arguments["weight"], arguments["bias"])
    return float((arguments["grad_h"] * h).sum())


def _own_loss(value: Any, arguments: Mapping[str, Any]) -> float:
    return float((arguments["grad_h"] * value).sum())


DENSE_BACKWARD = Task(
    name="dense_backward",
    title="Dense layer, backward",
    outputs=("grad_x", "grad_weight", "grad_bias"),
    reference=reference.dense_backward,
    solution="dense in chalknet/network/dense.py",
    cases=(
        Case(
            VALUES,
            {
                "grad_h": np.array([[1.0, 0.0], [2.0, -1.0]]),
                "x": np.array([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]]),
                "weight": np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 1.0]]),
            },
        ),
        _backward_case(VALUES, 3, 3, 3),
        _backward_case(VALUES, 4, 2, 3),
        _backward_case(ONE, 1, 5, 2),
        _backward_case(FLOAT32, 3, 4, 2, "float32"),
    ),
    checks=(
        Check("shapes and types", 1, SHAPE, (VALUES, ONE, FLOAT32)),
        Check("values of grad_x", 3, VALUES, (VALUES, ONE, FLOAT32), "grad_x"),
        Check("values of grad_weight", 3, VALUES, (VALUES, ONE, FLOAT32), "grad_weight"),
        Check("values of grad_bias", 3, VALUES, (VALUES, ONE, FLOAT32), "grad_bias"),
        Check("central differences", 2, GRADIENT),
        Check("inputs unchanged, same result twice", 1, CLEAN, (VALUES,)),
    ),
    gradient=GradientCheck(
        VALUES,
        _loss,
        {"grad_x": "x", "grad_weight": "weight", "grad_bias": "bias"},
        extra=lambda arguments: {"bias": np.zeros(len(arguments["weight"]))},
        own_function="dense_forward",
        own_arguments=lambda arguments: {name: arguments[name] for name in ("x", "weight", "bias")},
        own_loss=_own_loss,
    ),
    mistakes=(
        Mistake(
            "divided by the number of samples",
            "The mean over the samples is already a part of grad_h: the gradient of the loss has divided by their "
            "number. The dense layer only adds up.",
            (_scaled(lambda grad_h: 1 / len(grad_h)),),
        ),
        Mistake("sign", "All three gradients have the wrong sign.", (_scaled(lambda _: -1.0),)),
        Mistake(
            "wrong order of the results",
            "The right arrays are returned, in another order. Return grad_x, grad_weight, grad_bias.",
            (_in_order(1, 2, 0), _in_order(1, 0, 2), _in_order(2, 1, 0), _in_order(0, 2, 1), _in_order(2, 0, 1)),
        ),
        Mistake(
            "transposed product in grad_x",
            "grad_x is (B, I), grad_h is (B, O) and the weight is (O, I). Which product of the last two has this "
            "shape without exchanging axes? In a square example the other one has the right shape and wrong numbers.",
            (
                _changed(0, lambda grad_h, x, weight, right: grad_h @ weight.T),
                _changed(0, lambda grad_h, x, weight, right: right[0].T),
                _changed(0, lambda grad_h, x, weight, right: weight @ grad_h),
            ),
            part="grad_x",
        ),
        Mistake(
            "input instead of weight in grad_x",
            "grad_x says how the loss changes with the input. h depends on x through the weight: its derivative with "
            "respect to x holds the weight and not x (formula A2).",
            (_changed(0, lambda grad_h, x, weight, right: grad_h @ x),),
            part="grad_x",
        ),
        Mistake(
            "transposed product in grad_weight",
            "grad_weight needs the shape of the weight, (O, I). Yours is (I, O), or comes from the transposed "
            "product. The sum over the samples is over axis 0 of both factors: which one has to be turned?",
            (
                _changed(1, lambda grad_h, x, weight, right: right[1].T),
                _changed(1, lambda grad_h, x, weight, right: grad_h @ x.T),
                _changed(1, lambda grad_h, x, weight, right: grad_h @ x),
            ),
            part="grad_weight",
        ),
        Mistake(
            "divided by the number of samples in grad_weight",
            "The mean over the samples is already a part of grad_h. grad_weight is a sum over the samples (A3).",
            (_changed(1, lambda grad_h, x, weight, right: right[1] / len(x)),),
            part="grad_weight",
        ),
        Mistake(
            "sign of grad_weight",
            "grad_weight has the wrong sign.",
            (_changed(1, lambda *a: -a[3][1]),),
            part="grad_weight",
        ),
        Mistake("sign of grad_x", "grad_x has the wrong sign.", (_changed(0, lambda *a: -a[3][0]),), part="grad_x"),
        Mistake(
            "sign of grad_bias", "grad_bias has the wrong sign.", (_changed(2, lambda *a: -a[3][2]),), part="grad_bias"
        ),
        Mistake(
            "mean instead of sum in grad_bias",
            "The bias is used once for each sample, so its gradient is a sum over the samples (A4). The mean over the "
            "samples is already a part of grad_h.",
            (_changed(2, lambda grad_h, x, weight, right: grad_h.mean(axis=0)),),
            part="grad_bias",
        ),
        Mistake(
            "missing sum in grad_bias",
            "grad_bias needs the shape of the bias, (O,). The same bias is used in every sample: what happens to the "
            "derivatives of the samples?",
            (_changed(2, lambda grad_h, x, weight, right: grad_h),),
            part="grad_bias",
        ),
        Mistake(
            "sum over the wrong axis in grad_bias",
            "The sum runs over the outputs or over everything. It has to run over the samples, and leave one number "
            "for each output.",
            (
                _changed(2, lambda grad_h, x, weight, right: grad_h.sum(axis=1)),
                _changed(2, lambda grad_h, x, weight, right: grad_h.sum()),
            ),
            part="grad_bias",
        ),
        Mistake(
            "keepdims in grad_bias",
            "grad_bias is (1, O), but the bias is (O,). A gradient has the shape of its parameter.",
            (_changed(2, lambda grad_h, x, weight, right: grad_h.sum(axis=0, keepdims=True)),),
            part="grad_bias",
        ),
        Mistake(
            "ones instead of grad_h in grad_bias",
            "The derivative of h with respect to the bias is 1, but the chain rule multiplies it by grad_h.",
            (
                _changed(2, lambda grad_h, x, weight, right: np.ones(grad_h.shape[1])),
                _changed(2, lambda grad_h, x, weight, right: np.ones(grad_h.shape[1]) * len(grad_h)),
            ),
            part="grad_bias",
        ),
    ),
)
