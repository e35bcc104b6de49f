"""Optimizer steps and passes of the numpy engine, by NumPy or by compiled loops; both give the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.numpy_passes import Passes
from chalknet.engines.parameter_layout import Matrix
from chalknet.network.optimizers import Adam, DecoupledWeightDecay, Momentum, Nesterov, Optimizer, ParameterAverage

StepInPlace = Callable[[Matrix, Matrix, Sequence[Matrix], int, Sequence[Any]], None]
# Values that NumPy updates before Numba is loaded, about a second of work. Loading takes about half a
# second, and several seconds if the loops are not in Numba's cache yet, so short trainings do without.
VALUES_BEFORE_LOADING = 500_000_000


class OptimizerSteps:
    """The steps of an optimizer: by NumPy at first, and by compiled loops in long trainings.

    Args:
        optimizer: whose steps they are.
        n_values: number of values that one update changes.
        values_before_loading: values to update before Numba is loaded, if it is installed.

    Attributes:
        in_place: makes one step, as `Optimizer.step_in_place`. It may be called in several threads.
        passes: the passes over feature maps and flat samples.
    """

    def __init__(self, optimizer: Optimizer, n_values: int, values_before_loading: int = VALUES_BEFORE_LOADING) -> None:
        """Start with NumPy."""
        self._optimizer, self._n_values, self._left = optimizer, n_values, values_before_loading
        self.in_place: StepInPlace = optimizer.step_in_place
        self.passes: Passes = Passes()

    def count_update(self, n_map_values: int = 0) -> None:
        """Note that an update begins; call it before the steps of the update.

        Args:
            n_map_values: values of all feature maps of the batch. A pass over maps and back takes about
                as long as the step of as many values.
        """
        if self._left > 0:
            self._left -= self._n_values + n_map_values
            if self._left <= 0 and find_spec("numba") is not None:
                self._load()

    def _load(self) -> None:
        """Change to compiled loops, unless Numba cannot be loaded."""
        try:
            self.in_place = compiled_step(self._optimizer)
            self.passes = CompiledPasses()
        except Exception as error:  # of an installation that does not fit NumPy or this processor
            warnings.warn(
                f"Numba is installed but cannot be loaded ({error}). Training goes on without it, and is slower.",
                stacklevel=2,
            )


def compiled_step(optimizer: Optimizer) -> StepInPlace:
    """Return a function that makes the same steps as an optimizer, with the same bits.

    Numba must be installed. An optimizer without a loop keeps its own function.
    """
    from chalknet.engines import compiled_loops as loops

    if isinstance(optimizer, DecoupledWeightDecay):
        inner, decay = compiled_step(optimizer.optimizer), optimizer

        def step(
            matrix: Matrix, gradient: Matrix, state: Sequence[Matrix], bias_rows: int, scalars: Sequence[Any]
        ) -> None:
            decay.shrink(matrix, bias_rows, scalars[-1])
            inner(matrix, gradient, state, bias_rows, scalars[:-1])

    elif isinstance(optimizer, ParameterAverage):
        inner = compiled_step(optimizer.optimizer)

        def step(
            matrix: Matrix, gradient: Matrix, state: Sequence[Matrix], bias_rows: int, scalars: Sequence[Any]
        ) -> None:
            inner(matrix, gradient, state[:-1], bias_rows, scalars[:-1])
            loops.average_loop(*_flat(matrix, state[-1]), scalars[-1][()])

    elif isinstance(optimizer, Adam):
        constants = (optimizer.beta1, 1 - optimizer.beta1, optimizer.beta2, 1 - optimizer.beta2)

        def step(
            matrix: Matrix, gradient: Matrix, state: Sequence[Matrix], bias_rows: int, scalars: Sequence[Any]
        ) -> None:
            del bias_rows
            numbers = [matrix.dtype.type(one) for one in constants]
            loops.adam_loop(*_flat(matrix, gradient, *state), *numbers, *(one[()] for one in scalars))

    elif isinstance(optimizer, (Momentum, Nesterov)):
        loop = loops.momentum_loop if isinstance(optimizer, Momentum) else loops.nesterov_loop
        momentum = optimizer.momentum
        plain_biases = isinstance(optimizer, Momentum) and not optimizer.bias_momentum

        def step(
            matrix: Matrix, gradient: Matrix, state: Sequence[Matrix], bias_rows: int, scalars: Sequence[Any]
        ) -> None:
            loop(*_flat(matrix, gradient, *state), matrix.dtype.type(momentum), scalars[0][()])
            if bias_rows and plain_biases:
                state[0][-bias_rows:] = 0  # see `Momentum.step_in_place`

    else:
        return optimizer.step_in_place
    return step


class CompiledPasses(Passes):
    """The passes over feature maps and flat samples by compiled loops. Numba must be installed."""

    def __init__(self) -> None:
        """Import the loops."""
        from chalknet.engines import compiled_loops

        self._loops = compiled_loops

    def center(self, x: Matrix, mean: Matrix, sums: Matrix, scratch: Matrix) -> None:
        """See `Passes.center`; NumPy adds up a single column in another order than many columns."""
        if sums.size == 1:
            super().center(x, mean, sums, scratch)
        else:
            self._loops.center_loop(x, mean, sums)

    def normalize(self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix) -> None:
        """See `Passes.normalize`."""
        self._loops.normalize_loop(x, factor, shift, out)

    def normalize_relu(
        self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix, slope: Matrix, scratch: NDArray[Any]
    ) -> None:
        """See `Passes.normalize_relu`."""
        del scratch
        self._loops.normalize_relu_loop(x, factor, shift, out, slope)

    def normalize_positive(self, x: Matrix, factor: Matrix, shift: Matrix, out: Matrix) -> None:
        """See `Passes.normalize_positive`."""
        self._loops.normalize_positive_loop(x, factor, shift, out)

    def gradient_sums(self, x: Matrix, grad: Matrix, slope: Matrix | None, sums: Matrix, scratch: Matrix) -> None:
        """See `Passes.gradient_sums`; NumPy adds up a single column in another order than many columns."""
        if sums.shape[1] == 1:
            super().gradient_sums(x, grad, slope, sums, scratch)
        elif slope is None:
            self._loops.gradient_sums_loop(x, grad, sums[0], sums[1])
        else:
            self._loops.relu_gradient_sums_loop(x, grad, slope, sums[0], sums[1])

    def normalize_gradient(self, x: Matrix, grad: Matrix, of_x: Matrix, of_grad: Matrix, shift: Matrix) -> None:
        """See `Passes.normalize_gradient`."""
        self._loops.normalize_gradient_loop(x, grad, of_x, of_grad, shift)

    def relu(self, x: Matrix, slope: Matrix, scratch: NDArray[Any]) -> None:
        """See `Passes.relu`."""
        if x.flags.c_contiguous:
            self._loops.relu_loop(*_flat(x, slope))
        else:
            super().relu(x, slope, scratch)

    # Threads that share the columns of flat samples have rows that are not contiguous. NumPy is used for these.

    def scale_and_add(self, x: Matrix, scale: Matrix, bias: Matrix) -> None:
        """See `Passes.scale_and_add`."""
        if x.flags.c_contiguous:
            self._loops.scale_and_add_loop(x, scale[()], bias)
        else:
            super().scale_and_add(x, scale, bias)

    def parametric(self, x: Matrix, difference: Matrix, slope: Matrix, alpha: Matrix) -> None:
        """See `Passes.parametric`."""
        if x.flags.c_contiguous:
            self._loops.parametric_loop(x, difference, slope, alpha)
        else:
            super().parametric(x, difference, slope, alpha)

    def parametric_lines(self, x: Matrix, difference: Matrix, slope: Matrix, alpha: Matrix) -> None:
        """See `Passes.parametric_lines`."""
        if x.flags.c_contiguous:
            self._loops.parametric_lines_loop(x, difference, slope, alpha)
        else:
            super().parametric_lines(x, difference, slope, alpha)

    def largest(self, pixels: Matrix, size: int, stride: int, out: Matrix) -> None:
        """See `Passes.largest`; windows of other sizes than 2 x 2 are left to NumPy."""
        if size == 2:
            self._loops.largest_loop(_long_rows(pixels), stride, _long_rows(out))
        else:
            super().largest(pixels, size, stride, out)

    def route(self, pixels: Matrix, size: int, stride: int, grad: Matrix, scratch: Matrix) -> None:
        """See `Passes.route`; windows of other sizes than 2 x 2 are left to NumPy."""
        if size == 2:
            self._loops.route_loop(_long_rows(pixels), stride, _long_rows(grad))
        else:
            super().route(pixels, size, stride, grad, scratch)


def _long_rows(values: Matrix) -> Matrix:
    """Return a contiguous map (H, W, n, C) as an array (H, W, n C)."""
    assert values.flags.c_contiguous  # otherwise reshape would copy, and Numba make no vector instructions
    return values.reshape(*values.shape[:2], -1)


def _flat(*matrices: Matrix) -> list[Matrix]:
    """Return views of contiguous matrices as vectors."""
    assert all(one.flags.c_contiguous for one in matrices)  # otherwise reshape would copy, and the step be lost
    return [np.reshape(one, -1) for one in matrices]
