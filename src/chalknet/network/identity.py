"""The identity activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chalknet.network.activation import Activation, Backward, Function
from chalknet.network.arrays import FloatArray


def identity(x: FloatArray) -> tuple[FloatArray, Backward]:
    """Return every element unchanged.

    Dense layers with only the identity between them compute one affine map.

    identity(x) = x,  dL/dx = dL/didentity                           (docs/derivation.md, A1)

    Args:
        x: any shape, float32 or float64.

    Returns:
        value: x itself.
        backward: grad_value -> grad_value.
    """
    return x, lambda grad_value: grad_value


@dataclass(frozen=True)
class Identity(Activation):
    """The identity, x for every element."""

    type = "identity"
    function: ClassVar[Function] = staticmethod(identity)
    onnx_operator = "Identity"
    predictor_source = '''
def identity(x, p):
    """x."""
    return x
'''
