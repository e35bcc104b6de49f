"""Optimizers: how gradients change parameters, as pure steps and as the same steps in place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from chalknet.config import OptimizerConfig
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Parameters

# State name of `ParameterAverage`. Where an optimizer has this state, it is evaluated and kept
# instead of the parameters.
AVERAGE = "average"


class Step(NamedTuple):
    """The number of an update over the whole training, and what changes from update to update.

    Attributes:
        number: starts at 1.
        learning_rate: r of this update.
        weight_decay_multiplier: factor of the weight decay in this update.
        dropout_multiplier: factor of all dropout rates in this update, from 0 to 1.
    """

    number: int
    learning_rate: float
    weight_decay_multiplier: float = 1.0
    dropout_multiplier: float = 1.0

    def multiplied(self, multiplier: float) -> Step:
        """Return the step of parameters whose learning rate has a multiplier.

        r <- multiplier r                                            (docs/derivation.md, U9)
        """
        return self if multiplier == 1 else self._replace(learning_rate=self.learning_rate * multiplier)


class Optimizer:
    """The interface of an optimizer, and an optimizer without state that never steps.

    `step` is the formula as a pure function. `step_in_place` is the same formula in place, for the
    arrays of any library. Subclasses define `step_in_place`; `step` calls it on copies.

    Attributes:
        state_names: names of the arrays kept for each parameter, such as ("velocity",).
            `AVERAGE`, if there is one, comes last.
    """

    state_names: tuple[str, ...] = ()

    def initial_state(self, parameters: Parameters) -> Parameters:
        """Return the optimizer state before the first step.

        Args:
            parameters: learned parameters by name.

        Returns:
            Arrays by "state name/parameter name", each the shape and dtype of its parameter: zeros,
            and for `AVERAGE` a copy of the parameter.
        """
        return {f"{key}/{name}": np.zeros_like(value) for key in self.state_names for name, value in parameters.items()}

    def step(
        self,
        parameters: Parameters,
        gradients: Parameters,
        state: Parameters,
        step: Step,
        multipliers: Mapping[str, float] | None = None,
    ) -> tuple[Parameters, Parameters]:
        """Return parameters and state after one step; the arguments are not changed.

        Args:
            parameters: learned parameters by name.
            gradients: the gradient of each parameter, by the same names.
            state: as `initial_state` or the previous step returned it.
            step: number and learning rate of this step.
            multipliers: multiplier of the learning rate by parameter name; 1 where there is none.
        """
        new_parameters = {name: value.copy() for name, value in parameters.items()}
        new_state = {name: value.copy() for name, value in state.items()}
        for name, value in new_parameters.items():
            scalars = self.step_scalars(step.multiplied((multipliers or {}).get(name, 1.0)))
            arrays = [_as_row(new_state[f"{key}/{name}"]) for key in self.state_names]
            bias_rows = 0 if name.endswith(".weight") else 1
            self.step_in_place(_as_row(value), _as_row(gradients[name]).copy(), arrays, bias_rows, scalars)
        return new_parameters, new_state

    def step_scalars(self, step: Step) -> tuple[float, ...]:
        """Return the numbers that change from step to step, always the same count."""
        return (step.learning_rate,)

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Make one step in place, for some rows of a matrix of weights, biases and scales.

        Args:
            matrix: (R, C) rows of parameters.
            gradient: (R, C) their gradient; it is used as scratch space and is overwritten.
            state: one (R, C) array for each of `state_names`, in that order.
            bias_rows: how many of the rows, the last ones, are not weights.
            scalars: from `step_scalars`, or arrays that hold one number each. With arrays, a
                recorded CUDA graph can be replayed with new numbers in them.
            xp: the library of the arrays: NumPy, or another with functions of the same names.
        """
        raise NotImplementedError

    def ema_decay(self, step_number: int) -> float:
        """Return the decay of the parameter average at a step (docs/derivation.md, U7).

        Args:
            step_number: number of the update over the whole training, starting at 1.

        Returns:
            The fraction of the old average that is kept, in [0, 1); 0 without an average.
        """
        del step_number
        return 0.0


def _as_row(value: FloatArray) -> FloatArray:
    """Return a view of a parameter as a matrix of one row, whose elements are all weights or none."""
    return value.reshape(1, -1)


def _constants(xp: Any, dtype: Any, *values: float) -> Sequence[Any]:
    """Return constants in the form that is fast in a library.

    NumPy takes half a microsecond less per operation for an array without axes than for a Python float, which counts in
    small networks.
    """
    return _arrays_of(dtype, values) if xp is np else values


@lru_cache(maxsize=64)
def _arrays_of(dtype: Any, values: tuple[float, ...]) -> tuple[FloatArray, ...]:
    return tuple(np.array(value, dtype) for value in values)


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with momentum (the heavy-ball method).

    v <- m v + r dL/dW,  W <- W - v                                  (docs/derivation.md, U1)
    b <- b - r dL/db                                                 (U2)

    Biases and batch norm scales take plain steps (U2), as in the write-up, unless `bias_momentum`
    is set.

    Attributes:
        momentum: m in [0, 1); 0 is plain gradient descent.
        bias_momentum: whether biases and scales have momentum too.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964).
    """

    momentum: float
    bias_momentum: bool = False
    state_names: tuple[str, ...] = ("velocity",)

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Make one step in place by U1 and U2; see `Optimizer.step_in_place`."""
        (velocity,), (rate,), (momentum,) = state, scalars, _constants(xp, matrix.dtype, self.momentum)
        xp.multiply(velocity, momentum, out=velocity)
        xp.multiply(gradient, rate, out=gradient)
        xp.add(velocity, gradient, out=velocity)
        xp.subtract(matrix, velocity, out=matrix)
        if bias_rows and not self.bias_momentum:
            velocity[-bias_rows:] = 0  # the next step of a bias starts without velocity, so it is a plain step


@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Gradient descent with Nesterov momentum.

    v <- m v + r dL/dw,  w <- w - (m v + r dL/dw)                    (docs/derivation.md, U3)

    Attributes:
        momentum: m in [0, 1).

    Source: Nesterov (1983), in the form of Sutskever, Martens, Dahl and Hinton (ICML 2013),
        section 2.
    """

    momentum: float
    state_names: tuple[str, ...] = ("velocity",)

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Make one step in place by U3; see `Optimizer.step_in_place`."""
        del bias_rows
        (velocity,), (rate,), (momentum,) = state, scalars, _constants(xp, matrix.dtype, self.momentum)
        xp.multiply(gradient, rate, out=gradient)
        xp.multiply(velocity, momentum, out=velocity)
        xp.add(velocity, gradient, out=velocity)
        xp.subtract(matrix, gradient, out=matrix)
        xp.multiply(velocity, momentum, out=gradient)
        xp.subtract(matrix, gradient, out=matrix)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps along the running mean of the gradient, divided by its root mean square.

    mean   <- beta1 mean + (1 - beta1) G                             (docs/derivation.md, U4)
    square <- beta2 square + (1 - beta2) G^2
    w      <- w - r (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + epsilon)  (U5)

    Attributes:
        beta1: decay of the running mean of G, in [0, 1).
        beta2: decay of the running mean of G^2, in [0, 1).
        epsilon: added to the denominator, > 0.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (ICLR 2015), algorithm 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    state_names: tuple[str, ...] = ("mean", "square")

    def step_scalars(self, step: Step) -> tuple[float, ...]:
        """Return the learning rate and epsilon, both with the bias corrections of U5 applied."""
        root2 = math.sqrt(1 - self.beta2**step.number)  # a Python float does not turn float32 arrays into float64
        return step.learning_rate * root2 / (1 - self.beta1**step.number), self.epsilon * root2

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Make one step in place by U4 and U5; see `Optimizer.step_in_place`."""
        del bias_rows
        (mean, square), (rate, epsilon) = state, scalars
        beta1, rest1, beta2, rest2 = _constants(
            xp, matrix.dtype, self.beta1, 1 - self.beta1, self.beta2, 1 - self.beta2
        )
        xp.multiply(mean, beta1, out=mean)
        xp.add(mean, gradient * rest1, out=mean)
        xp.multiply(square, beta2, out=square)
        xp.multiply(gradient, gradient, out=gradient)
        xp.multiply(gradient, rest2, out=gradient)
        xp.add(square, gradient, out=square)
        # The bias corrections are part of rate and epsilon, so no array is divided by them.
        xp.sqrt(square, out=gradient)
        xp.add(gradient, epsilon, out=gradient)
        xp.divide(mean, gradient, out=gradient)
        xp.multiply(gradient, rate, out=gradient)
        xp.subtract(matrix, gradient, out=matrix)


@dataclass(frozen=True)
class DecoupledWeightDecay(Optimizer):
    """Another optimizer with decoupled weight decay; with `Adam` this is AdamW.

    W <- W - r lambda W, then the optimizer's step                   (docs/derivation.md, U6)

    Biases and batch norm scales do not decay. r is the current learning rate, so the decay follows
    the schedule.

    Attributes:
        optimizer: makes the step after the decay.
        weight_decay: lambda >= 0.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019), algorithm 2.
    """

    optimizer: Optimizer
    weight_decay: float

    @property
    def state_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The state names of the inner optimizer."""
        return self.optimizer.state_names

    def step_scalars(self, step: Step) -> tuple[float, ...]:
        """Return the scalars of the inner optimizer, and the factor by which weights shrink."""
        weight_decay = self.weight_decay * step.weight_decay_multiplier
        return (*self.optimizer.step_scalars(step), 1 - step.learning_rate * weight_decay)

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Shrink the weights by U6, then make the inner step; see `Optimizer.step_in_place`."""
        self.shrink(matrix, bias_rows, scalars[-1], xp)
        self.optimizer.step_in_place(matrix, gradient, state, bias_rows, scalars[:-1], xp)

    @staticmethod
    def shrink(matrix: Any, bias_rows: int, factor: Any, xp: Any = np) -> None:
        """Multiply the weights among some rows of a matrix by a factor (U6)."""
        if bias_rows < len(matrix):
            weights = matrix[: len(matrix) - bias_rows]
            xp.multiply(weights, factor, out=weights)


@dataclass(frozen=True)
class ParameterAverage(Optimizer):
    """Another optimizer with an exponential moving average (EMA) of the parameters.

    average <- d_t average + (1 - d_t) w                             (docs/derivation.md, U7)
    d_t     = min(d, (1 + t) / (10 + t))

    The average is evaluated and saved in place of the parameters. d_t is smaller than d in the
    first updates, so that the average soon forgets the initial parameters.

    Attributes:
        optimizer: makes the step before the average is updated.
        decay: d in [0, 1), the fraction of the average that a late update keeps.

    Source: Polyak and Juditsky, Acceleration of stochastic approximation by averaging (1992), with
        exponential weights.
    """

    optimizer: Optimizer
    decay: float

    @property
    def state_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The state names of the inner optimizer, and `AVERAGE`."""
        return (*self.optimizer.state_names, AVERAGE)

    def initial_state(self, parameters: Parameters) -> Parameters:
        """Return the state of the inner optimizer, and the parameters as their own average."""
        averages = {f"{AVERAGE}/{name}": value.copy() for name, value in parameters.items()}
        return self.optimizer.initial_state(parameters) | averages

    def step_scalars(self, step: Step) -> tuple[float, ...]:
        """Return the scalars of the inner optimizer, and the weight 1 - d_t of new parameters."""
        return (*self.optimizer.step_scalars(step), 1 - self.ema_decay(step.number))

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = np
    ) -> None:
        """Make the inner step, then update the average by U7; see `Optimizer.step_in_place`."""
        self.optimizer.step_in_place(matrix, gradient, state[:-1], bias_rows, scalars[:-1], xp)
        average = state[-1]
        xp.subtract(matrix, average, out=gradient)
        xp.multiply(gradient, scalars[-1], out=gradient)
        xp.add(average, gradient, out=average)

    def ema_decay(self, step_number: int) -> float:
        """Return d_t of U7 for update t = step_number."""
        return min(self.decay, (1 + step_number) / (10 + step_number))


def optimizer_for(config: OptimizerConfig) -> Optimizer:
    """Return the optimizer that a recipe describes, with its weight decay and parameter average."""
    optimizers: dict[str, Optimizer] = {
        "gradient_descent": Momentum(0.0),
        "momentum": Momentum(config.momentum, config.bias_momentum),
        "nesterov": Nesterov(config.momentum),
        "adam": Adam(config.beta1, config.beta2, config.epsilon),
    }
    optimizer = optimizers["adam" if config.optimizer == "adamw" else config.optimizer]
    if config.weight_decay:
        optimizer = DecoupledWeightDecay(optimizer, config.weight_decay)
    return ParameterAverage(optimizer, config.weight_average) if config.weight_average else optimizer
