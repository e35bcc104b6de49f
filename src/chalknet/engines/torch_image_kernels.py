"""The layers for images of the torch engine: convolution, pooling and residual connections.

Images are rows (H, W, C), channels last, in all tensors. A convolution is a product that PyTorch computes,
with one call for each network, and so is max pooling for all networks. Everything else is written out from
the formulas in `network`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chalknet.engines.torch_kernels import Kernel, add_or_copy, column_sums, kernel_of
from chalknet.engines.torch_layout import Copy, Shortcut, StackedArrays
from chalknet.engines.torch_sources import LaterSourceKernel, source_of
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.conv2d import Conv2d
from chalknet.network.global_average_pool import GlobalAveragePool
from chalknet.network.layer import Shape
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.residual import Residual, shortcut_stride


@source_of(Copy)
class CopyKernel(LaterSourceKernel):
    """A copy of the samples, which following layers may overwrite."""

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return a copy for each run."""
        del arrays
        return [self.buffer("value", x.shape[-2], block).copy_(x) for block, x in enumerate(self.inputs)]

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Copy the gradients to out."""
        del arrays
        for grad, one in zip(grads, out, strict=True):
            one.copy_(grad)
        return out


@source_of(Conv2d)
class Conv2dKernel(LaterSourceKernel):
    """A convolution (K1 to K5)."""

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of each run (K1)."""
        conv, values = self._conv, []
        for block, x in enumerate(self.inputs):
            made = []
            for own, matrix in zip(self._networks(x, block), self._matrices(arrays.operands, block), strict=True):
                bias = matrix[-1] if conv.bias else None
                images, weight = _channels_first(own, self.shapes[block]), self._weight(matrix)
                h = functional.conv2d(images, weight, bias, conv.stride, conv.zeros, 1, conv.groups)
                made.append(h.movedim(1, -1).flatten(1))
            values.append(torch.stack(made) if self.layout.is_batch(block) else made[0])
        return values

    def gradients(self, grads: Sequence[Tensor], arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of weights (K3) and biases (K4) to total."""
        for block, grad in enumerate(grads):
            found = self._gradients(grad, arrays, block, of_weight=True)
            for own, matrix in zip(found, self._matrices(total, block), strict=True):
                add_or_copy(self._weight(matrix), own, first)
            if self._conv.bias:
                bias = total.learned[self.index][block][-1]
                pixels = grad.unflatten(-1, (-1, bias.shape[-1])).flatten(-3, -2)
                add_or_copy(bias, column_sums(pixels, bias.dtype), first)

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the gradients of the inputs (K5)."""
        made = []
        for block, grad in enumerate(grads):
            found = [own.movedim(1, -1).flatten(1) for own in self._gradients(grad, arrays, block, of_weight=False)]
            made.append(torch.stack(found, out=out[block]) if self.layout.is_batch(block) else found[0])
        return made

    def _gradients(self, grad: Tensor, arrays: StackedArrays, block: int, of_weight: bool) -> Iterator[Tensor]:
        """Yield the gradient of the weight (O, C / groups, R, S), or of the inputs (n, C, H, W), by network."""
        conv, shape = self._conv, self.shapes[block]
        matrices = self._matrices(arrays.operands, block)
        inputs, grads = self._networks(self.inputs[block], block), self._networks(grad, block)
        for x, own, matrix in zip(inputs, grads, matrices, strict=True):
            out_shape = (*conv.output_shape(shape)[:2], matrix.shape[-1])
            both = torch.ops.aten.convolution_backward(
                _channels_first(own, out_shape), _channels_first(x, shape), self._weight(matrix), None,
                [conv.stride] * 2, conv.zeros, [1, 1], False, [0, 0], conv.groups, [not of_weight, of_weight, False],
            )  # fmt: skip
            yield both[int(of_weight)]

    @property
    def _conv(self) -> Conv2d:
        """The layer of the first network. The others may have another number of filters."""
        assert isinstance(self._layer, Conv2d)
        return self._layer

    def _networks(self, values: Tensor, block: int) -> Sequence[Tensor]:
        """Return the values (n, width) of each network of a run."""
        return values.unbind() if self.layout.is_batch(block) else [values]

    def _matrices(self, arrays: StackedArrays, block: int) -> Sequence[Tensor]:
        """Return the parameters (rows, O) of each network of a run."""
        matrix = arrays.learned[self.index][block]
        return matrix.unbind(1) if self.layout.is_batch(block) else [matrix]

    def _weight(self, matrix: Tensor) -> Tensor:
        """Return the weight (O, C / groups, R, S) of one network as a view."""
        rows = matrix[:-1] if self._conv.bias else matrix
        return rows.unflatten(0, (*self._conv.kernel, -1)).permute(3, 2, 0, 1)


@source_of(MaxPool2d)
class MaxPool2dKernel(LaterSourceKernel):
    """Max pooling (Q1, Q2), by functions of PyTorch that keep the position of the first largest pixel of a window."""

    def __init__(self, *args: Any) -> None:
        """Create the source of a group."""
        super().__init__(*args)
        # For each run the positions, int64.
        self._positions: dict[int, Tensor] = {}

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of each run (Q1)."""
        del arrays
        values = []
        for block, x in enumerate(self.inputs):
            out = self.buffer("value", x.shape[-2], block)
            images, pooled = self._images(x, block), self._images(out, block, is_pooled=True)
            positions = torch.empty_like(pooled, dtype=torch.int64)
            torch.ops.aten.max_pool2d_with_indices.out(images, *self._windows, out=pooled, indices=positions)
            self._positions[block] = positions
            values.append(out)
        return values

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (Q2) to out."""
        del arrays
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            room = one if one.is_contiguous() else torch.empty_like(one, memory_format=torch.contiguous_format)
            torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
                self._images(grad, block, is_pooled=True), self._images(self.inputs[block], block), *self._windows,
                [0, 0], [1, 1], False, self._positions[block], grad_input=self._images(room, block),
            )  # fmt: skip
            if room is not one:
                one.copy_(room)
        return out

    @property
    def _windows(self) -> tuple[list[int], list[int]]:
        """The sizes and the steps of windows."""
        assert isinstance(self._layer, MaxPool2d)
        return [self._layer.size] * 2, [self._layer.stride or self._layer.size] * 2

    def _images(self, x: Tensor, block: int, is_pooled: bool = False) -> Tensor:
        """Return values (..., n, width) of a run before or after the layer as images (networks n, C, H, W)."""
        shape = self.shapes[block]
        return _channels_first(x.flatten(0, -2), self._layer.output_shape(shape) if is_pooled else shape)


@source_of(AveragePool2d)
class AveragePool2dKernel(LaterSourceKernel):
    """Average pooling (Q3, Q4).

    Windows are read and written as one view (..., n, H', W', C) for each pixel of a window.
    """

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the values of each run (Q3)."""
        del arrays
        values = []
        for block, x in enumerate(self.inputs):
            out = self.buffer("value", x.shape[-2], block)
            first, *pixels = self._pixels(x, block)
            total = first.to(self.buffers.types.values, copy=True)
            for one in pixels:
                total.add_(one)
            torch.div(total, self._size**2, out=total)
            out.unflatten(-1, self._pooled(block)).copy_(total)
            values.append(out)
        return values

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (Q4) to out."""
        del arrays
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            (height, width, _), (rows, columns, _) = self.shapes[block], self._pooled(block)
            covers = self._step == self._size and (height, width) == (rows * self._step, columns * self._step)
            if not covers:
                one.zero_()
            share = grad.unflatten(-1, self._pooled(block)) / self._size**2
            for pixels in self._pixels(one, block):
                add_or_copy(pixels, share, covers)
        return out

    @property
    def _size(self) -> int:
        assert isinstance(self._layer, AveragePool2d)
        return self._layer.size

    @property
    def _step(self) -> int:
        assert isinstance(self._layer, AveragePool2d)
        return self._layer.stride or self._size

    def _pooled(self, block: int) -> Shape:
        """Return the shape of a sample after the layer."""
        return self._layer.output_shape(self.shapes[block])

    def _pixels(self, x: Tensor, block: int) -> list[Tensor]:
        """Return the values of each pixel of all windows, from the top left in rows."""
        (rows, columns, _), step = self._pooled(block), self._step
        images = x.unflatten(-1, self.shapes[block])
        return [
            images[..., i : i + step * (rows - 1) + 1 : step, j : j + step * (columns - 1) + 1 : step, :]
            for i in range(self._size)
            for j in range(self._size)
        ]


@source_of(GlobalAveragePool)
class GlobalAveragePoolKernel(LaterSourceKernel):
    """Global average pooling (Q3, Q4 with one window)."""

    def forward(self, arrays: StackedArrays) -> list[Tensor]:
        """Return the means of each run (Q3)."""
        del arrays
        values = []
        for block, x in enumerate(self.inputs):
            out = self.buffer("value", x.shape[-2], block)
            values.append(torch.mean(self._pixels(x, block), -2, out=out))
        return values

    def propagate(self, grads: Sequence[Tensor], arrays: StackedArrays, out: Sequence[Tensor]) -> Sequence[Tensor]:
        """Write the gradients of the inputs (Q4) to out."""
        del arrays
        for block, (grad, one) in enumerate(zip(grads, out, strict=True)):
            pixels = self._pixels(one, block)
            pixels.copy_((grad / pixels.shape[-2]).unsqueeze(-2))
        return out

    def _pixels(self, x: Tensor, block: int) -> Tensor:
        """Return a view (..., n, H W, C) of rows."""
        return x.unflatten(-1, (-1, self.shapes[block][2]))


@kernel_of(Shortcut)
class ShortcutKernel(Kernel):
    """The place where a shortcut begins.

    Attributes:
        value: the values here, until the next forward pass.
        grad: the sum of the gradients of the shortcut (Y3) in this backward pass, or None.
    """

    value: Tensor
    grad: Tensor | None

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Keep the values for residual connections.

        Following layers of the group overwrite a copy. An activation before may have kept the values
        too, and needs them as they are: the shortcut has a gradient where dropout sets a value to 0.
        """
        assert isinstance(self.layer.layer, Shortcut)
        self.value, self.grad = x, None
        return x if self.layer.layer.is_last else x.clone()

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Add the gradients of the shortcut."""
        return grad if self.grad is None else grad.add_(self.grad)

    def room(self) -> Tensor:
        """Return the tensor to which gradients of the shortcut are added."""
        if self.grad is None:
            self.grad = torch.zeros_like(self.value)
        return self.grad


@kernel_of(Residual)
class ResidualKernel(Kernel):
    """A residual connection (Y1 to Y3).

    Attributes:
        origin: the kernel where its shortcut begins; `StackWorkspace` sets it.
        view: from the values of that kernel to those of the networks of this block.
    """

    origin: ShortcutKernel
    view: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Add the shortcut (Y1)."""
        # Not in place: an activation before may have kept x for its own derivative.
        value = x.clone()
        here, shortcut = self._overlap(value, self.view(self.origin.value))
        here.add_(shortcut)
        return value

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient (Y2), and add that of the shortcut (Y3)."""
        here, shortcut = self._overlap(grad, self.view(self.origin.room()))
        shortcut.add_(here)
        return grad

    def _overlap(self, x: Tensor, shortcut: Tensor) -> tuple[Tensor, Tensor]:
        """Return views of the values of both that belong together."""
        shape, other = self.layer.shapes[self.block], self.origin.layer.shapes[self.block]
        if shape == other:
            return x, shortcut
        step = shortcut_stride(shape, other)
        return x.unflatten(-1, shape)[..., : other[2]], shortcut.unflatten(-1, other)[..., ::step, ::step, :]


def _channels_first(rows: Tensor, shape: Shape) -> Tensor:
    """Return a view (n, C, H, W) of rows (H, W, C)."""
    return rows.unflatten(-1, shape).movedim(-1, 1)
