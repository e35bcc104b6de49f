"""Update rules as pure steps over named arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chalknet.network.architecture import Parameters


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

    def _has_velocity(self, name: str) -> bool:
        return self.bias_momentum or name.endswith(".weight")
