"""Update rules as pure steps over named arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chalknet.network.architecture import Parameters
from chalknet.network.arrays import FloatArray


@dataclass(frozen=True)
class Momentum:
    """Heavy-ball gradient descent, with the biases at plain steps unless bias_momentum is set: the write-up's rule.

    v <- m v + r dL/dW,  W <- W - v                                  (docs/derivation.md, U1)
    b <- b - r dL/db                                                 (U2)

    Attributes:
        learning_rate: r > 0.
        momentum: m in [0, 1).
        bias_momentum: whether biases follow U1 too.
    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964).
    """

    learning_rate: float
    momentum: float
    bias_momentum: bool = False

    def start(self, parameters: Parameters) -> Parameters:
        """Zero velocities, by the name of the parameter that has one."""
        return {name: np.zeros_like(value) for name, value in parameters.items() if self._has_velocity(name)}

    def step(self, parameters: Parameters, gradients: Parameters, state: Parameters) -> tuple[Parameters, Parameters]:
        """Parameters and velocities after one step; nothing handed in is changed."""
        moved: Parameters = {}
        velocities: Parameters = {}
        for name, value in parameters.items():
            if self._has_velocity(name):
                velocities[name] = self.momentum * state[name] + self.learning_rate * gradients[name]
                moved[name] = value - velocities[name]
            else:
                moved[name] = value - self.learning_rate * gradients[name]
        return moved, velocities

    def update(self, matrix: FloatArray, gradient: FloatArray, memory: FloatArray, has_bias: bool) -> None:
        """`step` in place for rows of a layer's (I+1, O) matrix, the last of them the bias if has_bias.

        The operations and their order are those of `step`, and so are the digits. gradient is written over.
        """
        np.multiply(memory, self.momentum, out=memory)
        np.multiply(gradient, self.learning_rate, out=gradient)
        np.add(memory, gradient, out=memory)
        np.subtract(matrix, memory, out=matrix)
        if has_bias and not self.bias_momentum:
            memory[-1] = 0  # the next step starts from no velocity, which makes it a plain one

    def _has_velocity(self, name: str) -> bool:
        return self.bias_momentum or name.endswith(".weight")
