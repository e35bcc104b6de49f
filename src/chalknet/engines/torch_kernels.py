"""The layers of the torch engine: one kernel class per layer type, for all networks of a stack.

Values are (n, units) or (networks, n, units), as `torch_layout` stores them, so samples are the
second axis from the end. The operands of products, and with them the values of layers, may have a
shorter dtype than weights, sums and statistics. Kernels overwrite their arguments where that saves a
pass over memory. The derivatives are those of `network`; autograd is not used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.engines.kernels import PIECEWISE_LINEAR, T, function_for, registered
from chalknet.engines.scores import Targets
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_layout import StackedArrays, StackedLayer
from chalknet.network.activation import Activation
from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY, BatchNorm
from chalknet.network.dropout import Dropout
from chalknet.network.gelu import GELU_CUBE, GELU_SCALE
from chalknet.network.layer import Layer
from chalknet.network.leaky_relu import NEGATIVE_SLOPE
from chalknet.network.parametric_activation import ParametricActivation
from chalknet.network.scale import Scale
from chalknet.network.selu import SELU_ALPHA, SELU_SCALE
from chalknet.network.smooth_clip import CLIP_BOUND

# Most columns of a product that counts as narrow and is computed transposed.
NARROW = 64
# From the gradient of the value to that of x; it may overwrite its argument.
Backward = Callable[[Tensor], Tensor]


class Kernel:
    """A layer after the source of its group, for the networks of one block.

    Args:
        layer: the layer, of all networks.
        block: index of the block in its group.
        types: dtypes and device.
    """

    def __init__(self, layer: StackedLayer, block: int, types: TensorTypes) -> None:
        """Create a kernel for one block."""
        self.layer: StackedLayer = layer
        self.block: int = block
        self.types: TensorTypes = types

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Return the value of the layer; x may be overwritten."""
        raise NotImplementedError

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient of x, and add those of the parameters to total.

        Args:
            grad: gradient of the value; it may be overwritten.
            arrays: the parameters.
            total: gradients of the parameters, summed over the tiles of a batch.
            first: whether this is the first tile, which replaces what total holds.
        """
        raise NotImplementedError


def row_of(kernel: Kernel, arrays: StackedArrays) -> Tensor:
    """Return the only learned row of a layer's block, (..., 1, units)."""
    assert kernel.layer.place.learned is not None
    return arrays.learned[kernel.layer.place.learned][kernel.block][0].unsqueeze(-2)


KERNELS: dict[type[Layer], type[Kernel]] = {}


def kernel_of(layer: type[Layer]) -> Callable[[T], T]:
    """Return a decorator that registers a kernel for a layer type."""
    return registered(KERNELS, layer)


@kernel_of(Dropout)
class DropoutKernel(Kernel):
    """Dropout (D1, D2).

    Attributes:
        mask: the masks of the current samples, in the shape of the values.
    """

    mask: Tensor

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Multiply by the mask in training."""
        return x.mul_(self.mask) if training else x

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Multiply by the mask."""
        return grad.mul_(self.mask)


@kernel_of(BatchNorm)
class BatchNormKernel(Kernel):
    """Batch normalization (B1 to B6) of units, or of the channels of images over all pixels.

    In training the samples are the whole batch.
    """

    _x: Tensor
    _mean: Tensor
    _inverse_root: Tensor

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Normalize by the batch in training, and by the running statistics otherwise."""
        gamma, bias = self._learned(arrays)
        running, rows = arrays.statistics[self._statistics][self.block], self._rows(x)
        n, self._x = rows.shape[-2], rows
        if _is_one_network(rows):
            # One call for the values of one network, which passes over them twice.
            value, self._mean, self._inverse_root = torch.native_batch_norm(
                _as_image(rows), gamma, bias, *running, training, 1 - RUNNING_DECAY, EPSILON
            )
            return value.permute(0, 2, 3, 1).reshape(x.shape)
        wide = rows.to(self.types.values)
        mean = wide.mean(-2) if training else running[0]
        centered = wide - mean.unsqueeze(-2)
        if training:
            variance = centered.square().mean(-2)
            new = torch.stack([mean, variance * (n / max(n - 1, 1))])
            running.mul_(RUNNING_DECAY).add_(new, alpha=1 - RUNNING_DECAY)
        else:
            variance = running[1]
        self._mean, self._inverse_root = mean, 1 / torch.sqrt(variance + EPSILON)
        scale = (gamma * self._inverse_root).unsqueeze(-2)
        return torch.addcmul(bias.unsqueeze(-2), centered, scale).to(x.dtype).view(x.shape)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient of the inputs, and add those of scale and bias to total."""
        values, rows, n = self.types.values, self._rows(grad), self._x.shape[-2]
        if _is_one_network(rows):
            # B3 to B5 in one call, with two passes. The formulas below take eight.
            grad_image, *found = torch.ops.aten.native_batch_norm_backward(
                _as_image(rows), _as_image(self._x), self._learned(arrays)[0], None, None, self._mean,
                self._inverse_root, True, EPSILON, [True, True, True],
            )  # fmt: skip
            for out, value in zip(self._learned(total), found, strict=True):
                add_or_copy(out, value, first)
            made: Tensor = grad_image.permute(0, 2, 3, 1).reshape(grad.shape)
            return made
        # The mean is rounded to the dtype of x, because a difference of two dtypes would have the
        # wider one. The sums below are those for the mean as it is.
        rounded = self._mean.to(self._x.dtype)
        rest = (rounded.to(values) - self._mean).unsqueeze(-2)
        centered = self._x - rounded.unsqueeze(-2)
        grad_bias = column_sums(rows, values)
        grad_gamma = (column_sums(rows * centered, values) + rest.squeeze(-2) * grad_bias) * self._inverse_root
        for out, value in zip(self._learned(total), (grad_gamma, grad_bias), strict=True):
            add_or_copy(out, value, first)
        # B5 is a dL/dvalue + b (h - mu) + c for each column.
        a = self._learned(arrays)[0] * self._inverse_root
        b = -a * self._inverse_root * grad_gamma / n
        c = b * rest.squeeze(-2) - a * grad_bias / n
        a, b, c = (one.unsqueeze(-2).to(grad.dtype) for one in (a, b, c))
        grad_h = torch.addcmul(c, centered, b, out=centered)
        return torch.addcmul(grad_h, rows, a, out=grad_h).view(grad.shape)

    def _rows(self, x: Tensor) -> Tensor:
        """Return a view (..., n, units) of values; every pixel of an image is a row."""
        shape = self.layer.shapes[self.block]
        return x.unflatten(-1, (-1, shape[2])).flatten(-3, -2) if len(shape) == 3 else x

    @property
    def _statistics(self) -> int:
        assert self.layer.place.statistics is not None
        return self.layer.place.statistics

    def _learned(self, arrays: StackedArrays) -> Tensor:
        """Return scale and bias of the block, (2, ..., units)."""
        assert self.layer.place.learned is not None
        return arrays.learned[self.layer.place.learned][self.block]


def _is_one_network(rows: Tensor) -> bool:
    """Return whether values (..., n, units) are those of one network, with a variance over several samples."""
    return rows.dim() == 2 and len(rows) > 1


def _as_image(rows: Tensor) -> Tensor:
    """Return a view of values (n, units) as one image (1, units, n, 1), whose channels are last in memory."""
    return rows[None, :, None].permute(0, 3, 1, 2)


@kernel_of(Scale)
class ScaleKernel(Kernel):
    """A learned factor for each column (C1 to C3)."""

    _x: Tensor

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Multiply by the factors."""
        self._x = x
        return (x * row_of(self, arrays)).to(x.dtype)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Multiply by the factors, and add their gradient to total."""
        wide = grad.to(self.types.values)
        add_or_copy(row_of(self, total), (wide * self._x).sum(-2, keepdim=True), first)
        return (wide * row_of(self, arrays)).to(grad.dtype)


@kernel_of(Activation)
class ActivationKernel(Kernel):
    """An activation. Its backward function comes from the forward pass."""

    _backward: Backward

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Return the value of the activation."""
        name = self.layer.layer.type
        function = function_for(ACTIVATION_FUNCTIONS, name, "torch", "numpy")
        if name in PIECEWISE_LINEAR or not self.types.differ:
            value, self._backward = function(x)
            return value
        # The shorter dtype is too coarse for curved functions: compute in that of the weights.
        value, backward = function(x.to(self.types.values))
        self._backward = lambda grad: backward(grad.to(self.types.values)).to(self.types.operands)
        return value.to(self.types.operands)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient of x."""
        return self._backward(grad)


@kernel_of(ParametricActivation)
class ParametricActivationKernel(Kernel):
    """A parametric activation (R19 to R21)."""

    _difference: Tensor
    _backward: Backward

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Return x + alpha (f(x) - x), and keep the difference."""
        assert isinstance(self.layer.layer, ParametricActivation)
        function = function_for(ACTIVATION_FUNCTIONS, self.layer.layer.activation, "torch", "numpy")
        wide = x.to(self.types.values)
        value, self._backward = function(wide.clone())
        self._difference = value - wide
        return torch.addcmul(wide, self._difference, row_of(self, arrays)).to(x.dtype)

    def backward(self, grad: Tensor, arrays: StackedArrays, total: StackedArrays, first: bool) -> Tensor:
        """Return the gradient of x, and add that of alpha to total."""
        wide = grad.to(self.types.values)
        add_or_copy(row_of(self, total), (wide * self._difference).sum(-2, keepdim=True), first)
        weighted = wide * row_of(self, arrays)
        rest = wide - weighted
        return rest.add_(self._backward(weighted)).to(grad.dtype)


class FusedReluKernel(ActivationKernel):
    """A relu whose value (R1) the source kernel has computed in its product.

    This kernel computes only the derivative, R2.
    """

    def forward(self, x: Tensor, arrays: StackedArrays, training: bool) -> Tensor:
        """Return x, which is the value already."""
        self._backward = relu_backward(x)
        return x


# A function of x that returns the value and its backward function. It may overwrite x as long as
# positive values stay positive and 0 stays 0, because an activation before it may have kept x for
# its own derivative.
ActivationFunction = Callable[[Tensor], tuple[Tensor, Backward]]
ACTIVATION_FUNCTIONS: dict[str, ActivationFunction] = {}


def activation_of(name: str) -> Callable[[T], T]:
    """Return a decorator that registers the function of an activation."""
    return registered(ACTIVATION_FUNCTIONS, name)


def _bits(x: Tensor) -> Tensor:
    """Return a view of x that is fast to compare with 0.

    On a CPU, bfloat16 numbers are viewed as integers, which have the same signs and, where positive,
    the same order. Comparisons of them take a third of the time.
    """
    return x.view(torch.int16) if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


@activation_of("relu")
def _relu(x: Tensor) -> tuple[Tensor, Backward]:
    _bits(x).clamp_(min=0)
    return x, relu_backward(x)


def relu_backward(value: Tensor) -> Backward:
    """Return a function that computes R2 in place, given the values of R1."""
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


@activation_of("smooth_clip")
def _smooth_clip(x: Tensor) -> tuple[Tensor, Backward]:
    ratio = (x / CLIP_BOUND).square_().add_(1).rsqrt_()
    slope = ratio * ratio * ratio
    return x.mul_(ratio), lambda grad: grad.mul_(slope)


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


class TorchSoftmaxTerms(NamedTuple):
    """The `SoftmaxTerms` of some samples as tensors, for all networks of a stack.

    Attributes:
        true: (M, n) logit of the true class minus the largest logit.
        total: (M, n) sum over the classes of exp(logit minus the largest logit).
        correct: (M, n) bool, whether the largest logit is that of the true class.
        exponentials: (M, K, n) exp(logit minus the largest logit).
    """

    true: Tensor
    total: Tensor
    correct: Tensor
    exponentials: Tensor

    @property
    def losses(self) -> Tensor:
        """The cross-entropies in nats, (M, n), the terms of L2."""
        return torch.log(self.total) - self.true

    def sums(self) -> Tensor:
        """Return the sums over the samples, (M, 3) float64, in the order of `scores.ScoreSums`.

        The three are written to one tensor and summed together: each operation takes a GPU some time
        to start.
        """
        values = self.true.new_empty(len(self.true), 3, self.true.shape[1], dtype=torch.float64)
        torch.sub(torch.log(self.total), self.true, out=values[:, 0])
        values[:, 1] = self.correct
        torch.div(torch.exp(self.true), self.total, out=values[:, 2])
        return values.sum(-1)


def softmax_terms(logits: Tensor, labels: Tensor, dtype: Any) -> TorchSoftmaxTerms:
    """Return the softmax terms (S3) of some samples.

    Args:
        logits: (M, K, n); they may be overwritten.
        labels: (M, n) integers in [0, K).
        dtype: float type of the terms.
    """
    if logits.is_contiguous():
        shifted = logits.to(dtype)
        largest, found = shifted.max(1)
    else:
        # The logits are (M, n, K) in memory. A CPU finds the largest of K in this layout; across n
        # it would take five times as long.
        shifted = logits.to(dtype, memory_format=torch.contiguous_format, copy=True)
        largest, found = shifted.amax(1), logits.transpose(1, 2).argmax(-1)
    correct = found == labels
    shifted.sub_(largest.unsqueeze(1))
    true = shifted.gather(1, labels.unsqueeze(1)).squeeze(1)
    shifted.exp_()
    return TorchSoftmaxTerms(true, shifted.sum(1), correct, shifted)


def grad_logits(terms: TorchSoftmaxTerms, targets: Targets, divisor: Any) -> Tensor:
    """Return the gradient of the logits (L6), (M, K, n).

    dL/do = weight (p - T) / divisor

    With class labels alone, T is one-hot and the weights are 1, which is L4. The gradient is
    written over `terms.exponentials`.

    Args:
        terms: softmax terms of the samples.
        targets: their labels, weights, smoothing and mixup.
        divisor: size of the batch for a mean loss, 1 for a sum: a number, or (M,).
    """
    grad = terms.exponentials.div_(terms.total.unsqueeze(1))
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
    """Return a tensor (M,) in a shape that broadcasts over (M, K, n); a number as it is."""
    return value[:, None, None] if isinstance(value, Tensor) else value


def _add_at(grad: Tensor, labels: Tensor, value: Any) -> None:
    """Add a number, or one per network, to the entry of each sample's label."""
    added = value if isinstance(value, Tensor) else grad.new_full((1, 1, 1), value)
    grad.scatter_add_(1, labels.unsqueeze(1), added.expand(len(grad), 1, grad.shape[2]))


def product(left: Tensor, right: Tensor, dtype: Any) -> Tensor:
    """Return left @ right, for matrices or batches of matrices.

    On a GPU the result has this dtype, and so have the sums.
    """
    work, overloads = (torch.bmm, torch.ops.aten.bmm) if left.dim() == 3 else (torch.mm, torch.ops.aten.mm)
    if left.dtype == dtype or left.device.type != "cuda" or not hasattr(overloads, "dtype"):
        return work(left, right)
    wide: Tensor = work(left, right, out_dtype=dtype)
    return wide


def column_sums(x: Tensor, dtype: Any) -> Tensor:
    """Return the sums (..., columns) over the rows of matrices (..., n, columns), summed in this dtype."""
    if x.dtype == dtype:
        return x.sum(-2)
    # A product with ones is the fastest sum of short numbers.
    return product(x.new_ones(*x.shape[:-2], 1, x.shape[-2]), x, dtype).squeeze(-2).to(dtype)


def add_or_copy(total: Tensor, value: Tensor, first: bool) -> None:
    """Add value to total; the first value replaces it."""
    if first:
        total.copy_(value)
    else:
        total.add_(value)
