"""The layers of the torch engine, for all networks of a stack: one kernel class per layer type.

Values are (n, units) or (networks, n, units), as `torch_layout` stores them, so a kernel treats samples as the second
axis from the end. The operands of products, and with them the values of layers, may have a shorter dtype than weights,
sums and statistics. Kernels write over their arguments where that saves a pass. Autograd is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.kernels import PIECEWISE_LINEAR, registered
from chalknet.engines.scores import Targets
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_layout import StackedArrays, StackedLayer
from chalknet.network.activation import Activation
from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY, BatchNorm
from chalknet.network.dropout import Dropout
from chalknet.network.gelu import GELU_CUBE, GELU_SCALE
from chalknet.network.layer import Layer
from chalknet.network.leaky_relu import NEGATIVE_SLOPE
from chalknet.network.selu import SELU_ALPHA, SELU_SCALE

FEW = 64  # columns of a product
Backward = Callable[[Tensor], Tensor]  # grad_value -> grad_x; may write over its argument


class Kernel:
    """A layer that follows the head of its group, for the networks of one block.

    Args:
        layer: of all networks.
        block: index of the block in its group.
    """

    def __init__(self, layer: StackedLayer, block: int, types: TensorTypes) -> None:
        self.layer, self.block, self.types = layer, block, types

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Return the value of the layer; it may write over x."""
        raise NotImplementedError

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient of x, and add those of the parameters to total; the first of several replaces it."""
        raise NotImplementedError


KERNELS: dict[type[Layer], type[Kernel]] = {}
kernel_of = partial(registered, KERNELS)


@kernel_of(Dropout)
class DropoutKernel(Kernel):
    """D1 and D2.

    Attributes:
        mask: of the present samples, as their values lie.
    """

    mask: Tensor

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        return x.mul_(self.mask) if training else x

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        return grad.mul_(self.mask)


@kernel_of(BatchNorm)
class BatchNormKernel(Kernel):
    """B1 to B6. In training the samples are the whole batch."""

    _z: Tensor
    _root: Tensor

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        gamma, bias = self._learned(arrays)
        running, n = arrays.statistics[self._statistics][self.block], x.shape[-2]
        wide = x.to(self.types.values)
        mean = wide.mean(-2) if training else running[0]
        z = wide - mean.unsqueeze(-2)
        if training:
            variance = z.square().mean(-2)
            new = torch.stack([mean, variance * (n / max(n - 1, 1))])
            running.mul_(RUNNING_DECAY).add_(new, alpha=1 - RUNNING_DECAY)
        else:
            variance = running[1]
        self._root = torch.sqrt(variance + EPSILON).unsqueeze(-2)
        self._z = z.div_(self._root)
        return (self._z * gamma.unsqueeze(-2) + bias.unsqueeze(-2)).to(x.dtype)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        wide, z, n = grad.to(self.types.values), self._z, grad.shape[-2]
        grad_bias, grad_gamma = wide.sum(-2), (wide * z).sum(-2)
        for out, value in zip(self._learned(total), (grad_gamma, grad_bias), strict=True):
            put(out, value, first)
        grad_x = wide - grad_bias.unsqueeze(-2) / n - z * (grad_gamma.unsqueeze(-2) / n)
        return grad_x.mul_(self._learned(arrays)[0].unsqueeze(-2) / self._root).to(grad.dtype)

    @property
    def _statistics(self) -> int:
        assert self.layer.place.statistics is not None
        return self.layer.place.statistics

    def _learned(self, arrays: StackedArrays) -> Tensor:
        assert self.layer.place.learned is not None
        return arrays.learned[self.layer.place.learned][self.block]


@kernel_of(Activation)
class ActivationKernel(Kernel):
    """An activation."""

    _backward: Backward

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        name = self.layer.layer.type
        function = ACTIVATION_FUNCTIONS[name]
        if name in PIECEWISE_LINEAR or not self.types.differ:
            value, self._backward = function(x)
            return value
        # The steps between numbers of the shorter dtype are too coarse for these functions.
        value, backward = function(x.to(self.types.values))
        self._backward = lambda grad: backward(grad.to(self.types.values)).to(self.types.operands)
        return value.to(self.types.operands)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        return self._backward(grad)


class FusedReluKernel(ActivationKernel):
    """R2 where the head has computed R1 as part of its product."""

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        self._backward = relu_backward(x)
        return x


# Each returns value and backward, and may write over x as long as positive values stay positive and 0 stays 0: an
# activation before it may have kept x.
ActivationFunction = Callable[[Tensor], tuple[Tensor, Backward]]
ACTIVATION_FUNCTIONS: dict[str, ActivationFunction] = {}
activation_of = partial(registered, ACTIVATION_FUNCTIONS)


def _bits(x: Tensor) -> Tensor:
    """Return bfloat16 numbers on the processor as integers of the same signs and, where positive, the same order.

    Comparisons of these with 0 take a third of the time.
    """
    return x.view(torch.int16) if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


@activation_of("relu")
def _relu(x: Tensor) -> tuple[Tensor, Backward]:
    _bits(x).clamp_(min=0)
    return x, relu_backward(x)


def relu_backward(value: Tensor) -> Backward:
    """Return R2, in place, from the values of R1."""
    bits_of_value = _bits(value)

    def backward(grad: Tensor) -> Tensor:
        bits = _bits(grad)
        torch.ops.aten.threshold_backward.grad_input(bits, bits_of_value, 0, grad_input=bits)
        return grad

    return backward


@activation_of("leaky_relu")
def _leaky_relu(x: Tensor) -> tuple[Tensor, Backward]:
    slope = torch.full_like(x, NEGATIVE_SLOPE).masked_fill_(x > 0, 1)
    return x.mul_(slope), lambda grad: grad.mul_(slope)


@activation_of("identity")
def _identity(x: Tensor) -> tuple[Tensor, Backward]:
    return x, lambda grad: grad


@activation_of("tanh")
def _tanh(x: Tensor) -> tuple[Tensor, Backward]:
    x.tanh_()
    slope = 1 - x * x
    return x, lambda grad: grad.mul_(slope)


@activation_of("gelu")
def _gelu(x: Tensor) -> tuple[Tensor, Backward]:
    squared = x * x
    t = (GELU_SCALE * x * (1 + GELU_CUBE * squared)).tanh_()
    fraction = (1 + t) / 2
    slope = fraction + x * (1 - t * t) * (GELU_SCALE / 2 * (1 + 3 * GELU_CUBE * squared))
    return x.mul_(fraction), lambda grad: grad.mul_(slope)


@activation_of("sigmoid")
def _sigmoid(x: Tensor) -> tuple[Tensor, Backward]:
    s = torch.sigmoid(x)
    slope = s * (1 - s)
    return s, lambda grad: grad.mul_(slope)


@activation_of("silu")
def _silu(x: Tensor) -> tuple[Tensor, Backward]:
    s = torch.sigmoid(x)
    slope = s + x * (s * (1 - s))
    return x.mul_(s), lambda grad: grad.mul_(slope)


@activation_of("mish")
def _mish(x: Tensor) -> tuple[Tensor, Backward]:
    t, s = torch.logaddexp(x, x.new_zeros(())).tanh_(), torch.sigmoid(x)
    slope = t + x * (s * (1 - t * t))
    return x.mul_(t), lambda grad: grad.mul_(slope)


@activation_of("elu")
def _elu(x: Tensor) -> tuple[Tensor, Backward]:
    negative = x.clamp(max=0).expm1_()
    return x.clamp_(min=0).add_(negative), lambda grad: grad.mul_(negative.add_(1))


@activation_of("selu")
def _selu(x: Tensor) -> tuple[Tensor, Backward]:
    negative = x.clamp(max=0).expm1_().mul_(SELU_SCALE * SELU_ALPHA)
    slope = (negative + SELU_SCALE * SELU_ALPHA).masked_fill_(x > 0, SELU_SCALE)
    return x.clamp_(min=0).mul_(SELU_SCALE).add_(negative), lambda grad: grad.mul_(slope)


class SoftmaxTensors(NamedTuple):
    """The terms of `SoftmaxTerms` of some samples of all networks, (M, n), and their numerators.

    Attributes:
        true, total, correct: as of `SoftmaxTerms`.
        powers: exp(logit minus the largest logit), (M, K, n).
    """

    true: Tensor
    total: Tensor
    correct: Tensor
    powers: Tensor

    @property
    def losses(self) -> Tensor:
        """(M, n) cross-entropies, the terms of L2."""
        return torch.log(self.total) - self.true

    def sums(self) -> Tensor:
        """Return the sums over the samples, (M, 3) float64, in the order of `scores.Sums`.

        One sum of all three takes a third of the operations, each of which a GPU has to begin.
        """
        values = self.true.new_empty(len(self.true), 3, self.true.shape[1], dtype=torch.float64)
        torch.sub(torch.log(self.total), self.true, out=values[:, 0])
        values[:, 1] = self.correct
        torch.div(torch.exp(self.true), self.total, out=values[:, 2])
        return values.sum(-1)


def softmax_terms(logits: Tensor, labels: Tensor, dtype: Any) -> SoftmaxTensors:
    """Return the terms of S3 of logits (M, K, n), which it may write over; reductions over classes run along n."""
    if logits.is_contiguous():
        shifted = logits.to(dtype)
        largest, found = shifted.max(1)
    else:  # (M, n, K) in memory: finding the largest across n takes a processor five times as long
        shifted = logits.to(dtype, memory_format=torch.contiguous_format, copy=True)
        largest, found = shifted.amax(1), logits.transpose(1, 2).argmax(-1)
    correct = found == labels
    shifted.sub_(largest.unsqueeze(1))
    true = shifted.gather(1, labels.unsqueeze(1)).squeeze(1)
    shifted.exp_()
    return SoftmaxTensors(true, shifted.sum(1), correct, shifted)


def grad_logits(terms: SoftmaxTensors, targets: Targets, divisor: Any) -> Tensor:
    """Return L6, w (p - T) / divisor, (M, K, n), in place of the numerators of the terms.

    Args:
        divisor: a number, or (M,).
    """
    grad = terms.powers.div_(terms.total.unsqueeze(1))
    smoothing, mixup_fraction, divisor = (
        _over_logits(one) for one in (targets.smoothing, targets.mixup_fraction, divisor)
    )
    if isinstance(smoothing, Tensor) or smoothing:
        grad.sub_(smoothing / grad.shape[1])
    _add_at(grad, targets.labels, (smoothing - 1) * mixup_fraction)
    if targets.partners is not None:
        _add_at(grad, targets.partners, (smoothing - 1) * (1 - mixup_fraction))
    if targets.weights is not None:
        grad.mul_(targets.weights.unsqueeze(1))
    return grad.div_(divisor) if isinstance(divisor, Tensor) or divisor != 1 else grad


def _over_logits(value: Any) -> Any:
    """Return numbers (M,) as they go with logits (M, K, n); a number as it is."""
    return value[:, None, None] if isinstance(value, Tensor) else value


def _add_at(grad: Tensor, labels: Tensor, value: Any) -> None:
    """Add a number, or one for each network, at each sample's label."""
    added = value if isinstance(value, Tensor) else grad.new_full((1, 1, 1), value)
    grad.scatter_add_(1, labels.unsqueeze(1), added.expand(len(grad), 1, grad.shape[2]))


def product(left: Tensor, right: Tensor, dtype: Any) -> Tensor:
    """Return left @ right, of matrices or of batches of them; on a GPU in dtype, which it adds up in."""
    work, overloads = (torch.bmm, torch.ops.aten.bmm) if left.dim() == 3 else (torch.mm, torch.ops.aten.mm)
    if left.dtype == dtype or left.device.type != "cuda" or not hasattr(overloads, "dtype"):
        return work(left, right)
    wide: Tensor = work(left, right, out_dtype=dtype)
    return wide


def put(total: Tensor, value: Tensor, first: bool) -> None:
    """Add a value to a total; the first of several replaces it."""
    if first:
        total.copy_(value)
    else:
        total.add_(value)
