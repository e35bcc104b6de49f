"""The formulas of `network/` in torch tensors, for some rows of samples at a time, each with its derivative beside it.

Operands of products, and with them the values of hidden layers, may be of a shorter type than weights, sums and
statistics. Functions write over what they are handed where that saves a pass. Torch's autograd has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chalknet.network.batch_norm import EPSILON, RUNNING_DECAY
from chalknet.network.gelu import GELU_CUBE, GELU_SCALE
from chalknet.network.leaky_relu import NEGATIVE_SLOPE

FEW = 64  # columns of a product
GPU_FORMS_ON = ("cuda",)  # kinds of device that are given products in the forms that suit a GPU
ALIGNED = 8  # values, of which a GPU's products want sizes to be a multiple: others take several times as long
Tensors = Any  # `Weights` of tensors
Backward = Callable[[Tensor], Tensor]  # grad_value -> grad_x; may write over what it is handed


class Types(NamedTuple):
    """Of what: values of weights, sums and statistics; operands of products; where all of it lies."""

    values: Any
    operands: Any
    device: Any

    @property
    def differ(self) -> bool:
        return bool(self.values != self.operands)

    @property
    def gpu_forms(self) -> bool:
        """Whether sizes are filled up, bias and relu are part of a product where possible, and classes come first."""
        return self.device.type in GPU_FORMS_ON

    def aligned(self, n: int) -> int:
        """The size that products are given where n is needed: what lies beyond n is 0."""
        return -(-n // ALIGNED) * ALIGNED if self.gpu_forms else n


def _bits(x: Tensor) -> Tensor:
    """bfloat16 numbers on the processor as whole numbers of the same signs and, where positive, of the same order.

    Comparisons of these with 0 take a third of the time.
    """
    return x.view(torch.int16) if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


def relu(x: Tensor) -> tuple[Tensor, Backward]:
    """R1 and R2 (docs/derivation.md), both in place."""
    _bits(x).clamp_(min=0)
    return x, relu_backward(x)


def relu_backward(x: Tensor) -> Backward:
    """R2, in place, by the values of R1."""
    value = _bits(x)

    def backward(grad: Tensor) -> Tensor:
        bits = _bits(grad)
        torch.ops.aten.threshold_backward.grad_input(bits, value, 0, grad_input=bits)
        return grad

    return backward


def relu_layer(x: Tensor, matrix: Tensor, bias: Tensor, out: Tensor) -> tuple[Tensor, Backward]:
    """A1 and R1 in one pass: relu of x @ matrix + bias, into out; and R2.

    PyTorch has no public function for it, and a product with relu after it goes over all values once more.
    """
    torch._addmm_activation(bias, x, matrix, out=out)
    return out, relu_backward(out)


def leaky_relu(x: Tensor) -> tuple[Tensor, Backward]:
    """R3 and R4, both in place."""
    slope = torch.full_like(x, NEGATIVE_SLOPE).masked_fill_(x > 0, 1)
    return x.mul_(slope), lambda grad: grad.mul_(slope)


def tanh(x: Tensor) -> tuple[Tensor, Backward]:
    """R5 and R6, both in place."""
    x.tanh_()
    slope = 1 - x * x
    return x, lambda grad: grad.mul_(slope)


def gelu(x: Tensor) -> tuple[Tensor, Backward]:
    """R7 and R8, both in place."""
    squared = x * x
    t = (GELU_SCALE * x * (1 + GELU_CUBE * squared)).tanh_()
    share = (1 + t) / 2
    slope = share + x * (1 - t * t) * (GELU_SCALE / 2 * (1 + 3 * GELU_CUBE * squared))
    return x.mul_(share), lambda grad: grad.mul_(slope)


def identity(x: Tensor) -> tuple[Tensor, Backward]:
    """Every element as it is."""
    return x, lambda grad: grad


ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Backward]]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "tanh": tanh,
    "identity": identity,
}


def activated(name: str, x: Tensor, types: Types) -> tuple[Tensor, Backward]:
    """An activation by name; smooth ones are computed in the type of weights, whose steps are fine enough for them."""
    if name in ("relu", "leaky_relu", "identity") or not types.differ:
        return ACTIVATIONS[name](x)
    value, backward = ACTIVATIONS[name](x.to(types.values))
    return value.to(types.operands), lambda grad: backward(grad.to(types.values)).to(types.operands)


def normalised(
    x: Tensor, gain: Tensor, bias: Tensor, running: Tensor, learns: bool
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]]:
    """B2 and B3 by the batch's statistics (B1), which move the running ones (B6), or by the running ones; B4 and B5.

    Args:
        x: (n, F). gain, bias: (F,). running: (2, F), mean and variance. learns: whether by the batch's.
    Returns:
        value; backward: grad_value -> grad_x, grad_gain, grad_bias.
    """
    wide, n = x.to(gain.dtype), len(x)
    mean, variance = running
    if learns:
        mean = wide.mean(0)
        variance = (wide - mean).square_().mean(0)
        running.mul_(RUNNING_DECAY).add_(torch.stack([mean, variance * (n / max(n - 1, 1))]), alpha=1 - RUNNING_DECAY)
    root = torch.sqrt(variance + EPSILON)
    z = (wide - mean).div_(root)

    def backward(grad_value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad = grad_value.to(gain.dtype)
        grad_bias, grad_gain = grad.sum(0), (grad * z).sum(0)
        grad_x = (grad - grad_bias / n - z * (grad_gain / n)).mul_(gain / root)
        return grad_x.to(x.dtype), grad_gain, grad_bias

    return (z * gain + bias).to(x.dtype), backward


class Judged(NamedTuple):
    """What logits say of some samples, perhaps for several networks.

    true, total, right: as of `Outcome`, (..., n). powers: exp(logit less the largest), (..., K, n).
    """

    true: Tensor
    total: Tensor
    right: Tensor
    powers: Tensor

    @property
    def losses(self) -> Tensor:
        """(..., n) cross-entropies, the terms of L2."""
        return torch.log(self.total) - self.true

    def sums(self) -> Tensor:
        """(..., 3) float64, over the samples: of L2's terms, of right answers, of the true classes' probabilities.

        One sum of all three takes a third of the operations, each of which a GPU has to begin.
        """
        *networks, n = self.true.shape
        values = self.true.new_empty(*networks, 3, n, dtype=torch.float64)
        torch.sub(torch.log(self.total), self.true, out=values[..., 0, :])
        values[..., 1, :] = self.right
        torch.div(torch.exp(self.true), self.total, out=values[..., 2, :])
        return values.sum(-1)


def judge(logits: Tensor, labels: Tensor, dtype: Any) -> Judged:
    """S3 of logits (..., K, n), which it may write over; reductions over classes run along the samples."""
    if logits.is_contiguous():
        shifted = logits.to(dtype)
        largest, found = shifted.max(-2)
    else:  # along rows: across them finding takes a processor five times as long
        shifted = logits.to(dtype, memory_format=torch.contiguous_format, copy=True)
        largest, found = shifted.amax(-2), logits.transpose(-1, -2).argmax(-1)
    right = found == labels
    shifted.sub_(largest.unsqueeze(-2))
    true = shifted.gather(-2, labels.unsqueeze(-2)).squeeze(-2)
    shifted.exp_()
    return Judged(true, shifted.sum(-2), right, shifted)


class Aims(NamedTuple):
    """What some samples should be: `Targets` in tensors."""

    labels: Tensor
    partners: Tensor | None = None
    share: float = 1.0
    weights: Tensor | None = None
    smoothing: float = 0.0


def grad_logits(judged: Judged, aims: Aims, divisor: int) -> Tensor:
    """(K, n) L6, w (p - T) over the divisor, in place of what was judged."""
    grad = judged.powers.div_(judged.total)
    if aims.smoothing:
        grad.sub_(aims.smoothing / len(grad))
    whole = 1 - aims.smoothing
    _add_at(grad, aims.labels, -whole * aims.share)
    if aims.partners is not None:
        _add_at(grad, aims.partners, -whole * (1 - aims.share))
    if aims.weights is not None:
        grad.mul_(aims.weights)
    return grad.div_(divisor) if divisor > 1 else grad


def _add_at(grad: Tensor, labels: Tensor, value: float) -> None:
    """Adds a number to each sample's label."""
    number = torch.full((1, 1), value, dtype=grad.dtype, device=grad.device)
    grad.scatter_add_(0, labels[None], number.expand(1, len(labels)))


class Rows(NamedTuple):
    """Samples that go through together.

    x: (n, >= I+1) operands, column I ones, zeros beyond. across: (>= I+1, n), the same with samples along the second
    axis, where they lie ready so, as the product back reads them; else None.
    """

    x: Tensor
    across: Tensor | None = None


class TorchTile:
    """Buffers for rows of samples of one network, and the passes that use them.

    Args:
        widths: I, hidden widths, K. rows: the most samples at a time. activations: one a hidden layer.
    """

    def __init__(
        self, widths: Sequence[int], rows: int, activations: Sequence[str], batch_norm: bool, types: Types
    ) -> None:
        self._rows = rows
        self._widths, self._activations = tuple(widths), tuple(activations) or ("relu",) * (len(widths) - 2)
        self._batch_norm, self._types = batch_norm, types
        # Of a first layer in `relu_layer`, whose samples have a column of ones.
        self._no_bias = torch.zeros(self._widths[1], dtype=types.operands, device=types.device)
        self._buffers: dict[tuple[str, int], Tensor] = {}
        self._values: list[Tensor] = []
        self._through: list[Any] = []

    def forward(
        self,
        x: Tensor,
        weights: Tensors,
        operands: Sequence[Tensor],
        keep: Sequence[Tensor | None] = (),
        *,
        learns: bool,
    ) -> Tensor:
        """The logits (K, n) of samples (n, >= I+1), with dropout's factors where there are any."""
        self._values, self._through = [x], []
        for layer, name in enumerate(self._activations):
            if name == "relu" and self._types.gpu_forms and not self._batch_norm:
                through_norm = None
                g, through_activation = self._relu_layer(layer, operands[layer])
            else:
                h, through_norm = self._hidden(layer, weights, operands[layer], learns)
                g, through_activation = activated(name, h, self._types)
            factors = keep[layer] if keep else None
            if factors is not None:
                g.mul_(factors)
            self._values.append(g)
            self._through.append((factors, through_activation, through_norm))
        last = operands[-1]
        if self._types.gpu_forms:
            logits = product(last[:-1].t(), self._values[-1].t(), self._types.values)
            return logits.add_(last[-1][:, None])
        out = self._buffer("logits", len(self._activations), len(x), self._widths[-1])
        return torch.addmm(last[-1], self._values[-1], last[:-1], out=out).t()

    def backward(self, grad: Tensor, operands: Sequence[Tensor], total: Tensors, rows: Rows, first: bool) -> None:
        """N1 to N4 after `forward`, from dL/do (K, n), into the sums of gradients: added, or if first put there."""
        output = len(self._activations)
        if self._types.gpu_forms:
            grad_next = grad.to(self._types.operands).t()
        else:
            grad_next = grad.t().to(self._types.operands, memory_format=torch.contiguous_format)
        self._add_product(output, self._values[-1].t(), grad_next, total.matrices[-1][:-1], first)
        put(total.matrices[-1][-1], grad.sum(1), first)
        for layer in reversed(range(output)):
            factors, through_activation, through_norm = self._through[layer]
            room = self._buffer("grad", layer, len(grad_next), self._widths[layer + 1])
            grad_g = torch.mm(grad_next, operands[layer + 1][:-1].t(), out=room)
            if factors is not None:
                grad_g.mul_(factors)
            grad_h = through_activation(grad_g)
            if through_norm is not None:
                grad_h, grad_gain, grad_bias = through_norm(grad_h)
                put(total.gains[layer][0], grad_gain, first)
                put(total.matrices[layer][self._widths[layer]], grad_bias, first)
            self._add_layer(layer, grad_h, total.matrices[layer], rows, first)
            grad_next = grad_h

    def _hidden(self, layer: int, weights: Tensors, matrix: Tensor, learns: bool) -> tuple[Tensor, Any]:
        """A1 and B1 to B3 of a hidden layer."""
        before = self._values[layer]
        out = self._buffer("value", layer, len(before), self._widths[layer + 1])
        if self._batch_norm:
            h = torch.mm(before[:, : self._widths[layer]], matrix[: self._widths[layer]], out=out)
            present = weights.matrices[layer][-1], weights.statistics[layer]
            return normalised(h, weights.gains[layer][0], *present, learns)
        if layer == 0:
            return torch.mm(before, matrix, out=out), None
        return torch.addmm(matrix[-1], before, matrix[:-1], out=out), None

    def _relu_layer(self, layer: int, matrix: Tensor) -> tuple[Tensor, Backward]:
        """A1 and R1 of a hidden layer at once."""
        before = self._values[layer]
        out = self._buffer("value", layer, len(before), self._widths[layer + 1])
        if layer == 0:
            return relu_layer(before, matrix, self._no_bias, out)
        return relu_layer(before, matrix[:-1], matrix[-1], out)

    def _add_layer(self, layer: int, grad: Tensor, total: Tensor, rows: Rows, first: bool) -> None:
        """A3 and A4 of a hidden layer."""
        if layer == 0 and not self._batch_norm:
            self._add_product(layer, rows.x.t() if rows.across is None else rows.across, grad, total, first)
            return
        n_in = self._widths[layer]
        self._add_product(layer, self._values[layer][:, :n_in].t(), grad, total[:n_in], first)
        if not self._batch_norm:
            ones = torch.ones(1, len(grad), dtype=grad.dtype, device=grad.device)
            put(total[n_in : n_in + 1], torch.mm(ones, grad), first)  # a product is the fastest sum over rows

    def _add_product(self, layer: int, left: Tensor, right: Tensor, total: Tensor, first: bool) -> None:
        """left @ right into total, its first rows where it has fewer than left."""
        if not self._types.differ:
            torch.addmm(total, left[: len(total)], right, beta=0 if first else 1, out=total)
        elif right.shape[1] <= FEW:  # the product is faster the other way round
            put(total, product(right.t(), left.t(), total.dtype).t()[: len(total)], first)
        elif self._types.gpu_forms:
            put(total, product(left[: len(total)], right, total.dtype), first)
        else:
            room = self._buffer("product", layer, len(left), right.shape[1], -(-len(left) // 16) * 16)
            put(total, torch.mm(left, right, out=room)[: len(total)], first)

    def _buffer(self, kind: str, layer: int, n: int, width: int, rows: int = 0) -> Tensor:
        """Room for n rows of operands, made once, for the most there can be: what is recorded must find it there."""
        present = self._buffers.get((kind, layer))
        if present is None or len(present) < n:
            shape = (max(n, rows or self._rows), width)
            present = torch.empty(shape, dtype=self._types.operands, device=self._types.device)
            self._buffers[kind, layer] = present
        return present[:n]


def product(left: Tensor, right: Tensor, dtype: Any) -> Tensor:
    """left @ right, of matrices or of batches of them; a GPU gives it in the type that it adds up in."""
    work, overloads = (torch.bmm, torch.ops.aten.bmm) if left.dim() == 3 else (torch.mm, torch.ops.aten.mm)
    if left.dtype == dtype or left.device.type != "cuda" or not hasattr(overloads, "dtype"):
        return work(left, right)
    wide: Tensor = work(left, right, out_dtype=dtype)
    return wide


def put(total: Tensor, value: Tensor, first: bool) -> None:
    """The first of several sums put there, later ones added."""
    if first:
        total.copy_(value)
    else:
        total.add_(value)
