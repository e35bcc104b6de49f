"""The groups of layers of the numpy engine, with buffers for some samples, and the passes through them.

`build_groups` is the only step that fuses layers. An activation and the dropout after it become one
kernel: it multiplies its slope by the mask, which saves a pass over the values. The bias of a dense
layer that reads the samples is part of its product, because the samples have a column of ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.kernels import kernel_for
from chalknet.engines.numpy_embedding_kernels import EMBEDDING_KERNELS
from chalknet.engines.numpy_images import ImageSource
from chalknet.engines.numpy_kernels import (
    ALL,
    KERNELS,
    ActivationKernel,
    CopyKernel,
    DenseKernel,
    Group,
    InPlaceKernel,
    OutputKernel,
    ResidualKernel,
    ShortcutKernel,
)
from chalknet.engines.numpy_passes import Passes
from chalknet.engines.parameter_layout import LayerArrays, Matrix, NetworkArrays, ParameterLayout
from chalknet.engines.scores import SoftmaxTerms, Targets
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout


def build_groups(architecture: Architecture, layout: ParameterLayout, rows: int, dtype: Any) -> list[Group]:
    """Return the groups of an architecture, with buffers for up to `rows` samples.

    Dropout in front of all other layers has no kernel, because `BatchBuilder` applies it to the
    samples.
    """
    groups: list[Group] = []
    layers = list(zip(architecture.named_layers, layout.layers, strict=True))
    shortcuts: dict[int, ShortcutKernel] = {}
    start = 0
    if architecture.reads_images:
        images = ImageSource(architecture, layout, rows, dtype)
        groups.append(Group(images))
        start = images.n_layers
    for position, (named, place) in enumerate(layers[start:], start):
        skipping = [one for one, (residual, _) in enumerate(layers) if residual.shortcut == position]
        if not groups and (skipping or not isinstance(named.layer, (Dense, Dropout, *EMBEDDING_KERNELS))):
            groups.append(Group(CopyKernel(architecture.n_inputs, rows, dtype)))
        for one in skipping:
            shortcuts[one] = ShortcutKernel(groups[-1].source.values)
            groups[-1].kernels.append(shortcuts[one])
        _add_layer(groups, named, place, rows, dtype, position == len(layers) - 1)
        if position in shortcuts:
            residual = groups[-1].kernels[-1]
            assert isinstance(residual, ResidualKernel)
            residual.shortcut = shortcuts[position]
    for group, following in pairwise(groups):
        group.next = following
    return groups


def _add_layer(
    groups: list[Group], named: NamedLayer, place: LayerArrays, rows: int, dtype: Any, is_output: bool
) -> None:
    """Add the kernel of a layer of flat samples to the last group, or in a new group."""
    layer = named.layer
    x = groups[-1].source.values if groups else None
    if isinstance(layer, Dense):
        groups.append(Group((OutputKernel if is_output else DenseKernel)(layer, place, rows, dtype, x)))
    elif type(layer) in EMBEDDING_KERNELS:
        groups.append(Group(EMBEDDING_KERNELS[type(layer)](layer, place, named.input_shape, rows, dtype, x)))
    elif not isinstance(layer, Dropout):
        kernel = kernel_for(KERNELS, type(layer), "numpy", "reference")
        groups[-1].kernels.append(kernel(layer, place, groups[-1].source.values))
    elif groups and layer.rate:
        kernels = groups[-1].kernels
        if not (kernels and isinstance(kernels[-1], ActivationKernel) and not kernels[-1].rate):
            kernels.append(KERNELS[Dropout](layer, place, groups[-1].source.values))
        kernels[-1].rate, kernels[-1].stream = layer.rate, named.stream


class Workspace:
    """Buffers for up to `rows` samples of one network, and the passes that use them.

    A workspace belongs to one thread at a time, except that threads may compute different columns
    of the same group.

    Args:
        architecture: the layers.
        layout: where their parameters are stored.
        rows: maximum number of samples at a time. With batch normalization, training needs a whole
            batch at a time.
        dtype: float type of the values.

    Attributes:
        rows: as above.
        samples: (rows, I+1) buffer for samples; the last column is ones.
        groups: the groups of layers, from the input on.
        images: the image part, the source of the first group; None if samples are rows.
        dropout_kernels: the kernels of flat samples that need a dropout mask in training.
        terms: softmax terms of up to `rows` samples.
    """

    def __init__(self, architecture: Architecture, layout: ParameterLayout, rows: int, dtype: Any) -> None:
        """Allocate all buffers."""
        self.rows = rows
        self.samples: Matrix = np.ones((rows, architecture.n_inputs + 1), dtype)
        self.groups: list[Group] = build_groups(architecture, layout, rows, dtype)
        first = self.groups[0].source
        self.images: ImageSource | None = first if isinstance(first, ImageSource) else None
        self.dropout_kernels: list[InPlaceKernel] = [
            kernel for group in self.groups for kernel in group.kernels if kernel.rate
        ]
        self._passes = Passes()
        self._logits = self.groups[-1].source.values
        # Logits with classes along the first axis: NumPy reduces over it by adding whole rows of
        # samples, which is faster than many reductions over a few classes each.
        self._by_class = np.empty(architecture.n_classes * rows, dtype)
        self._largest = np.empty(rows, dtype)
        self._positions = np.arange(rows)
        self._true = np.empty(rows, np.intp)
        self.terms: SoftmaxTerms = SoftmaxTerms(rows, dtype)

    def use_passes(self, passes: Passes) -> None:
        """Make the passes over values in this way from now on."""
        if passes is not self._passes:
            self._passes = passes
            for group in self.groups:
                group.source.passes = passes
                for kernel in group.kernels:
                    kernel.passes = passes

    def set_inputs(self, x: Matrix) -> None:
        """Use these samples, (n, I+1) with a last column of ones, as inputs of the first layer."""
        source = self.groups[0].source
        source.x = x if source.takes_ones else x[:, :-1]

    def forward(self, arrays: NetworkArrays, n: int, training: bool = False) -> None:
        """Compute the logits of the first n samples."""
        if self.images is not None:
            self.images.compute(arrays, n, training, _run_here)
        for group in self.groups:
            group.forward(arrays, n, ALL, training)

    def write_softmax_terms(self, labels: NDArray[np.integer[Any]], terms: SoftmaxTerms, at: slice) -> None:
        """Compute the softmax terms (S3) of the logits, and write them to the rows `at` of terms."""
        n = len(labels)
        flat, largest = self._by_class[: n * self._logits.shape[1]], self._largest[:n]
        shifted = flat.reshape(-1, n)
        np.copyto(shifted, self._logits[:n].T)
        np.equal(shifted.argmax(axis=0), labels, out=terms.correct[at])
        np.maximum.reduce(shifted, axis=0, out=largest)
        np.subtract(shifted, largest, out=shifted)
        flat.take(self._positions_of(labels, self._true[:n]), 0, terms.true[at], "clip")
        np.exp(shifted, out=shifted)
        np.add.reduce(shifted, axis=0, out=terms.total[at])

    def _positions_of(self, labels: NDArray[np.integer[Any]], out: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the positions of these classes in the flat logits by class: class times n plus sample."""
        n = len(labels)
        np.multiply(labels, n, out=out, dtype=np.intp, casting="unsafe")
        np.add(out, self._positions[:n], out=out)
        return out

    def grad_logits(self, targets: Targets, terms: SoftmaxTerms, at: slice, divisor: int) -> None:
        """Replace the logits by their gradient (L6).

        dL/do = weight (p - T) / divisor

        With class labels alone, T is one-hot and the weights are 1, which is L4. Call
        `write_softmax_terms` first: it leaves the exponentials of the logits in a buffer.

        Args:
            targets: labels, weights, smoothing and mixup of the samples.
            terms: the softmax terms, as `write_softmax_terms` has written them.
            at: the rows of terms that belong to these samples.
            divisor: size of the whole batch for a mean loss, 1 for a sum.
        """
        n = len(targets.labels)
        flat = self._by_class[: n * self._logits.shape[1]]
        probabilities = flat.reshape(-1, n)
        np.divide(probabilities, terms.total[at], out=probabilities)
        if targets.smoothing:
            np.subtract(probabilities, targets.smoothing / len(probabilities), out=probabilities)
        unsmoothed = 1 - targets.smoothing
        flat[self._true[:n]] -= unsmoothed * targets.mixup_fraction
        if targets.partners is not None:
            partners = self._positions_of(targets.partners, np.empty(n, np.intp))
            flat[partners] -= unsmoothed * (1 - targets.mixup_fraction)
        if targets.weights is not None:
            np.multiply(probabilities, targets.weights, out=probabilities)
        logits = self._logits[:n]
        np.copyto(logits, probabilities.T)
        if divisor != 1:
            np.divide(logits, logits.dtype.type(divisor), out=logits)

    def backward(self, arrays: NetworkArrays, n: int, out: NetworkArrays) -> None:
        """Write the gradients of all parameters to out; `grad_logits` must come first."""
        for group in reversed(self.groups):
            group.backward(arrays, n, ALL, out)
        if self.images is not None:
            self.images.compute_gradients(arrays, n, out, _run_here)


def _run_here(tasks: Sequence[Callable[[int], Any]]) -> None:
    """Run tasks in the calling thread, which owns the workspace."""
    for task in tasks:
        task(0)
