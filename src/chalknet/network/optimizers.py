"""Update rules as pure steps over named arrays, and the same steps in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalknet.config import OptimizerConfig
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Parameters

AVERAGE = "average"  # optimizer state that, where there is one, is evaluated in place of the weights


@dataclass(frozen=True)
class Step:
    """Number of an update over the whole training, starting at 1, and its learning rate."""

    number: int
    learning_rate: float


class UpdateRule:
    """An optimizer: a pure step over named arrays, and the same step in place. This one keeps no state.

    Attributes:
        slots: names of the state kept for every parameter; `AVERAGE`, if there is one, comes last.
    """

    slots: tuple[str, ...] = ()

    def start(self, parameters: Parameters) -> Parameters:
        """Return the state before the first step, by "slot/parameter": zeros."""
        return {f"{slot}/{name}": np.zeros_like(value) for slot in self.slots for name, value in parameters.items()}

    def step(
        self, parameters: Parameters, gradients: Parameters, state: Parameters, step: Step
    ) -> tuple[Parameters, Parameters]:
        """Return parameters and state after one step, without changing the arguments."""
        moved = {name: value.copy() for name, value in parameters.items()}
        remembered = {name: value.copy() for name, value in state.items()}
        for name, value in moved.items():
            memory = [_rows(remembered[f"{slot}/{name}"]) for slot in self.slots]
            bias_rows = 0 if name.endswith(".weight") else 1
            self.update(_rows(value), _rows(gradients[name]).copy(), memory, bias_rows, step)
        return moved, remembered

    def update(
        self, matrix: FloatArray, gradient: FloatArray, memory: Sequence[FloatArray], bias_rows: int, step: Step
    ) -> None:
        """Make the same step in place, for some rows of a matrix of weights, biases and scales.

        Args:
            gradient: may be overwritten.
            memory: the state, one matrix per slot.
            bias_rows: how many of these rows, the last ones, are not weights.
        """
        self.move(matrix, gradient, memory, bias_rows, self.numbers(step), np)

    def numbers(self, step: Step) -> tuple[float, ...]:
        """Return the scalars of a step, the same count at every step."""
        raise NotImplementedError

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        """Do what `update` does, for arrays of another library.

        Args:
            numbers: as returned by `numbers`, or arrays of one number each, so that a recorded step can be run again
                with other numbers in them.
            xp: the library, with functions under NumPy's names.
        """
        raise NotImplementedError

    def kept_of_average(self, number: int) -> float:
        """Return the fraction of the average that the update of this number keeps (docs/derivation.md, U7)."""
        del number
        return 0.0


def _rows(value: FloatArray) -> FloatArray:
    """A weight as it is, a bias or a gain as a matrix of one row; a view."""
    return value if value.ndim == 2 else value[None]


@dataclass(frozen=True)
class Momentum(UpdateRule):
    """Heavy-ball gradient descent, with the biases at plain steps unless bias_momentum is set: the write-up's rule.

    v <- m v + r dL/dW,  W <- W - v                                  (docs/derivation.md, U1)
    b <- b - r dL/db                                                 (U2)

    Attributes:
        momentum: m in [0, 1); 0 is gradient descent.
        bias_momentum: whether biases (and gains) follow U1 too.
    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964).
    """

    momentum: float
    bias_momentum: bool = False
    slots = ("velocity",)

    def numbers(self, step: Step) -> tuple[float, ...]:
        return (step.learning_rate,)

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        (velocity,), (rate,) = memory, numbers
        xp.multiply(velocity, self.momentum, out=velocity)
        xp.multiply(gradient, rate, out=gradient)
        xp.add(velocity, gradient, out=velocity)
        xp.subtract(matrix, velocity, out=matrix)
        if bias_rows and not self.bias_momentum:
            velocity[-bias_rows:] = 0  # the next step starts from no velocity, which makes it a plain one


@dataclass(frozen=True)
class Nesterov(UpdateRule):
    """Momentum whose gradient counts where the velocity is about to lead.

    v <- m v + r dL/dw,  w <- w - (m v + r dL/dw)                    (docs/derivation.md, U3)

    Attributes:
        momentum: m in [0, 1).
    Source: Nesterov (1983), in the form of Sutskever, Martens, Dahl and Hinton (ICML 2013), section 2.
    """

    momentum: float
    slots = ("velocity",)

    def numbers(self, step: Step) -> tuple[float, ...]:
        return (step.learning_rate,)

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        del bias_rows
        (velocity,), (rate,) = memory, numbers
        xp.multiply(gradient, rate, out=gradient)
        xp.multiply(velocity, self.momentum, out=velocity)
        xp.add(velocity, gradient, out=velocity)
        xp.subtract(matrix, gradient, out=matrix)
        xp.multiply(velocity, self.momentum, out=gradient)
        xp.subtract(matrix, gradient, out=matrix)


@dataclass(frozen=True)
class Adam(UpdateRule):
    """Steps of about the same length for every parameter: the mean gradient over the root of its mean square.

    m <- beta1 m + (1 - beta1) g,  s <- beta2 s + (1 - beta2) g^2                    (docs/derivation.md, U4)
    w <- w - r (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + epsilon)             (U5)

    Attributes:
        beta1, beta2: in [0, 1). epsilon: > 0.
    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (ICLR 2015), algorithm 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    slots = ("mean", "square")

    def numbers(self, step: Step) -> tuple[float, ...]:
        root2 = math.sqrt(1 - self.beta2**step.number)  # Python numbers keep a float32 array what it is
        return step.learning_rate * root2 / (1 - self.beta1**step.number), self.epsilon * root2

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        del bias_rows
        (mean, square), (rate, epsilon) = memory, numbers
        xp.multiply(mean, self.beta1, out=mean)
        xp.multiply(square, self.beta2, out=square)
        scratch = gradient * (1 - self.beta1)
        xp.add(mean, scratch, out=mean)
        xp.multiply(gradient, gradient, out=gradient)
        xp.multiply(gradient, 1 - self.beta2, out=gradient)
        xp.add(square, gradient, out=square)
        # U5 with both corrections drawn into the rate and epsilon, so that no array has to be divided by them.
        xp.sqrt(square, out=gradient)
        xp.add(gradient, epsilon, out=gradient)
        xp.divide(mean, gradient, out=gradient)
        xp.multiply(gradient, rate, out=gradient)
        xp.subtract(matrix, gradient, out=matrix)


@dataclass(frozen=True)
class Decayed(UpdateRule):
    """Another rule after weights have shrunk by a share of themselves, biases and gains excepted.

    W <- W - r lambda W, then the rule's step                        (docs/derivation.md, U6)

    With Adam this is AdamW. r is the present learning rate, so the decay follows the schedule.

    Attributes:
        rule: what is stepped. decay: lambda >= 0.
    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019), algorithm 2.
    """

    rule: UpdateRule
    decay: float

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.rule.slots

    def numbers(self, step: Step) -> tuple[float, ...]:
        return (*self.rule.numbers(step), 1 - step.learning_rate * self.decay)

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        weights = matrix[: len(matrix) - bias_rows]
        xp.multiply(weights, numbers[-1], out=weights)
        self.rule.move(matrix, gradient, memory, bias_rows, numbers[:-1], xp)


@dataclass(frozen=True)
class Averaged(UpdateRule):
    """Another rule, and beside it an average of where it has been, which is what is evaluated and kept.

    a <- d_t a + (1 - d_t) w,  d_t = min(d, (1 + t) / (10 + t))      (docs/derivation.md, U7)

    Attributes:
        rule: what is stepped. share: d in [0, 1), of the average that an update keeps; smaller in the first updates,
            so that the initial weights are soon forgotten.
    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging (1992), with exponential weights.
    """

    rule: UpdateRule
    share: float

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.rule.slots, AVERAGE)

    def start(self, parameters: Parameters) -> Parameters:
        return self.rule.start(parameters) | {f"{AVERAGE}/{name}": value.copy() for name, value in parameters.items()}

    def numbers(self, step: Step) -> tuple[float, ...]:
        return (*self.rule.numbers(step), 1 - self.kept_of_average(step.number))

    def move(
        self, matrix: Any, gradient: Any, memory: Sequence[Any], bias_rows: int, numbers: Sequence[Any], xp: Any
    ) -> None:
        self.rule.move(matrix, gradient, memory[:-1], bias_rows, numbers[:-1], xp)
        average = memory[-1]
        xp.subtract(matrix, average, out=gradient)
        xp.multiply(gradient, numbers[-1], out=gradient)
        xp.add(average, gradient, out=average)

    def kept_of_average(self, number: int) -> float:
        return min(self.share, (1 + number) / (10 + number))


def rule_of(config: OptimizerConfig) -> UpdateRule:
    """The update rule that a recipe names."""
    rules: dict[str, UpdateRule] = {
        "gradient_descent": Momentum(0.0),
        "momentum": Momentum(config.momentum, config.bias_momentum),
        "nesterov": Nesterov(config.momentum),
        "adam": Adam(config.beta1, config.beta2, config.epsilon),
    }
    rule = rules["adam" if config.optimizer == "adamw" else config.optimizer]
    if config.weight_decay:
        rule = Decayed(rule, config.weight_decay)
    return Averaged(rule, config.weight_average) if config.weight_average else rule
