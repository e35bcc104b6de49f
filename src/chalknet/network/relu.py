"""The rectified linear unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Buffers


def relu(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return the positive part of every element.

    relu(x) = max(x, 0)                                              (docs/derivation.md, R1)
    dL/dx   = dL/drelu where x > 0, else 0                           (R2)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: shape and dtype of x.
        backward: grad_value -> grad_x, both the shape of x.

    Source: Nair and Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines (ICML 2010).
    """
    # At exactly 0 relu has no derivative. The gradient there is 0; a test pins it.
    positive = x > 0

    def backward(grad_value: FloatArray) -> FloatArray:
        grad_x: FloatArray = np.where(positive, grad_value, grad_value.dtype.type(0))
        return grad_x

    return np.maximum(x, x.dtype.type(0)), backward


@dataclass(frozen=True)
class Relu(Activation):
    """max(x, 0) of every element."""

    type = "relu"
    is_smooth = False
    function: ClassVar[Function] = staticmethod(relu)
    onnx_operator = "Relu"

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Replace negative values of x by 0; see `Layer.predict`."""
        del parameters, buffers, shortcut
        # NumPy compares faster with an array of zeros than with a number, and the faster the longer its rows are.
        in_order = x.transpose(1, 2, 0, 3) if x.ndim == 4 and x.strides[0] < x.strides[1] else x
        np.maximum(in_order, np.zeros(in_order.shape[max(1, x.ndim - 2) :], x.dtype), out=in_order)
        return x

    predictor_source = '''
def relu(x, p):
    """max(x, 0)."""
    return np.maximum(x, 0)
'''
