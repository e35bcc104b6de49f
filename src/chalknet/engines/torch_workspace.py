"""The passes of a tile of samples through all networks of a stack.

A network is a sequence of groups (`torch_layout`). The source kernel of a group writes its values,
and the kernels of the layers after it change them. `StackWorkspace` builds the groups and is the only
step that fuses layers: on a GPU, the relu after a dense layer is part of its product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from chalknet.engines.kernels import kernel_for
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_image_kernels import ResidualKernel, ShortcutKernel
from chalknet.engines.torch_kernels import KERNELS, DropoutKernel, FusedReluKernel, Kernel
from chalknet.engines.torch_layout import SOURCES, Shortcut, StackedArrays, StackedLayer, StackLayout
from chalknet.engines.torch_samples import SampleRows
from chalknet.engines.torch_sources import (
    SOURCE_KERNELS,
    Buffers,
    DenseKernel,
    InputDenseKernel,
    InputProduct,
    LaterSourceKernel,
    OutputKernel,
    SourceKernel,
)
from chalknet.network.dense import Dense
from chalknet.network.relu import Relu


class Group:
    """A source kernel and the layers that follow it.

    Attributes:
        source: the kernel that writes the group's values.
        kernels: for each layer that follows, its kernels, one per block.
    """

    def __init__(self, source: SourceKernel) -> None:
        """Create a group without further layers."""
        self.source = source
        self.kernels: list[list[Kernel]] = []


class StackWorkspace:
    """The groups of all networks, buffers for a tile of samples, and the passes through them.

    Args:
        layout: where everything is.
        rows: the most samples at a time. With batch normalization, training needs a whole batch at a
            time.
        types: dtypes and device.

    Attributes:
        buffers: the buffers of all groups.
        dropout_kernels: for each dropout layer, its kernels, one per block.
    """

    def __init__(self, layout: StackLayout, rows: int, types: TensorTypes) -> None:
        """Build the groups."""
        self._layout, self._types = layout, types
        self.buffers: Buffers = Buffers(rows, types)
        self._groups: list[Group] = []
        self._shortcuts: dict[int, list[ShortcutKernel]] = {}  # the kernels of each block, by number
        for layer in layout.layers:
            if not self._groups and (layer.group or not isinstance(layer.layer, Dense)):
                self._groups.append(Group(SourceKernel(layer._replace(group=0), layout, self.buffers)))
            if isinstance(layer.layer, SOURCES):
                self._groups.append(Group(self._source(layer)))
            else:
                self._groups[-1].kernels.append(self._kernels(layer, self._groups[-1]))
        made = [kernels for group in self._groups for kernels in group.kernels]
        found = [[one for one in kernels if isinstance(one, DropoutKernel)] for kernels in made]
        self.dropout_kernels: list[list[DropoutKernel]] = [kernels for kernels in found if kernels]

    def _source(self, layer: StackedLayer) -> SourceKernel:
        """Return the kernel of a layer that begins a group."""
        if isinstance(layer.layer, Dense) and not layer.group:
            return InputDenseKernel(layer, self._layout, self.buffers)
        if isinstance(layer.layer, Dense) and layer.group == self._layout.n_groups - 1:
            return OutputKernel(layer, self._layout, self.buffers)
        return kernel_for(SOURCE_KERNELS, type(layer.layer), "torch", "numpy")(layer, self._layout, self.buffers)

    def _kernels(self, layer: StackedLayer, group: Group) -> list[Kernel]:
        """Return the kernels of a layer; on a GPU, fuse a relu with the dense layer before it."""
        blocks = range(len(self._layout.blocks(layer.group)))
        if isinstance(layer.layer, Relu) and self._types.gpu_forms and not group.kernels:
            group.source.applies_relu = isinstance(group.source, (InputDenseKernel, DenseKernel))
            if group.source.applies_relu:
                return [FusedReluKernel(layer, block, self._types) for block in blocks]
        kernel = kernel_for(KERNELS, type(layer.layer), "torch", "numpy")
        kernels = [kernel(layer, block, self._types) for block in blocks]
        for block, one in enumerate(kernels):
            if isinstance(one, ShortcutKernel) and isinstance(layer.layer, Shortcut):
                self._shortcuts.setdefault(layer.layer.number, []).append(one)
            elif isinstance(one, ResidualKernel) and layer.shortcut is not None:
                self._connect(one, self._shortcuts[layer.shortcut], block)
        return kernels

    def _connect(self, kernel: ResidualKernel, origins: Sequence[ShortcutKernel], block: int) -> None:
        """Let a residual connection read the shortcut of its block."""
        from_first = kernel.layer.group and not origins[0].layer.group
        kernel.origin = origins[0 if from_first else block]
        kernel.view = partial(self._layout.run_view, run=block) if from_first else lambda values: values

    def forward(
        self, rows: SampleRows, input_products: Sequence[InputProduct], arrays: StackedArrays, *, training: bool
    ) -> Tensor:
        """Return the logits (M, K, n) of some samples.

        Args:
            rows: the samples, of one batch or of those of all orders.
            input_products: the products by which the first layers read them.
            arrays: the parameters.
            training: whether dropout and batch normalization act as in training.
        """
        values: list[Tensor] = []
        self._groups[0].source.rows, self._groups[0].source.input_products = rows, input_products
        for group in self._groups:
            source = group.source
            if isinstance(source, LaterSourceKernel):
                source.inputs = values if source.group > 1 else self._by_run(values[0])
            if isinstance(source, OutputKernel):
                return source.logits(arrays)
            values = source.forward(arrays)
            for kernels in group.kernels:
                values = [one.forward(x, arrays, training) for one, x in zip(kernels, values, strict=True)]
        layout = self._layout  # the only dense layer reads the samples
        return values[0].unflatten(1, (layout.n_networks, layout.n_classes)).permute(1, 2, 0)

    def backward(self, grad_logits: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> None:
        """Add the gradients of all parameters to total; `forward` must come first.

        Args:
            grad_logits: (M, K, n).
            arrays: the parameters.
            total: gradients, summed over the tiles of a batch.
            first: whether this is the first tile, which replaces total.
        """
        n = grad_logits.shape[2]
        last = self._groups[-1].source
        if isinstance(last, OutputKernel):
            grads = last.operand_gradients(grad_logits)
        else:
            grads = [grad_logits.permute(2, 0, 1).reshape(n, -1).to(self._types.operands)]
        for group in reversed(self._groups):
            for kernels in reversed(group.kernels):
                grads = [one.backward(grad, arrays, total, first) for one, grad in zip(kernels, grads, strict=True)]
            source = group.source
            source.gradients(grads, arrays, total, first)
            if isinstance(source, LaterSourceKernel):
                before = self._groups[source.group - 1].source
                if type(before) is SourceKernel and not self._groups[0].kernels:
                    break  # nobody needs the gradient of the samples
                blocks = range(len(self._layout.blocks(before.group)))
                rooms = [before.buffer("grad", n, block) for block in blocks]
                if before.group:
                    grads = list(source.propagate(grads, arrays, rooms))
                else:
                    views = self._by_run(rooms[0])
                    for room, grad in zip(views, source.propagate(grads, arrays, views), strict=True):
                        if grad is not room:
                            room.copy_(grad)
                    grads = rooms

    def _by_run(self, values: Tensor) -> list[Tensor]:
        """Return views of the values of the first group, one per run."""
        return [self._layout.run_view(values, run) for run in range(len(self._layout.runs))]
