"""What an update of the torch engine does at random: changed samples, mixup and dropout masks.

On a CPU, NumPy draws the numbers of each update (`NumpyDraws`). On a GPU, torch draws those of many
updates at once (`DeviceDraws`), so that no update waits for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from chalknet.data.augment import PARAMETERS_PER_IMAGE
from chalknet.engines.batches import BatchBuilder, TrainingBatch, even_slices
from chalknet.engines.engine import EngineSpec, Update
from chalknet.engines.random_transforms import IMAGES, Mixup
from chalknet.engines.thread_pool import ThreadPool
from chalknet.engines.torch_augment import TorchAugmenter
from chalknet.engines.torch_device import TensorTypes
from chalknet.engines.torch_kernels import DropoutKernel
from chalknet.engines.torch_layout import SIDE_BY_SIDE, Dropouts, StackLayout, length
from chalknet.engines.torch_random import RandomStreams
from chalknet.engines.torch_samples import DeviceSamples, Positions, SampleRows
from chalknet.network.random_numbers import RATE_STEPS

# Samples whose masks or transformed inputs are one task of a thread.
ROWS_DRAWN_AT_ONCE = 32
# Numbers that torch draws at once.
NUMBERS_AT_ONCE = 2**24


class DrawContext(NamedTuple):
    """What random numbers are drawn for: the networks of a stack.

    Attributes:
        specs: what each network is constructed from.
        builders: builds the training batches of each network.
        layout: where everything is.
        types: dtypes and device.
        dtype: NumPy's dtype of the weights.
        samples: the training samples.
        kernels: for each dropout layer, its kernels, one per block.
    """

    specs: Sequence[EngineSpec]
    builders: Sequence[BatchBuilder]
    layout: StackLayout
    types: TensorTypes
    dtype: np.dtype[Any]
    samples: DeviceSamples
    kernels: Sequence[Sequence[DropoutKernel]]


class BatchMixup(NamedTuple):
    """What mixup (docs/derivation.md, L8) needs for some rows of a batch of each network.

    Attributes:
        partners: (M, rows) position in the batch of the sample that is added to each sample.
        fraction: weight of the samples themselves, a list with one number per network or a tensor (M,).
    """

    partners: Tensor
    fraction: Any


class UpdateDraws(Protocol):
    """The random numbers of one update."""

    def changed_samples(self, where: Positions, rows: slice) -> SampleRows:
        """Return some rows of the batch after the random transforms of each network.

        Args:
            where: positions of the batch in the training split.
            rows: which samples of the batch.
        """

    def set_masks(self, rows: slice) -> None:
        """Give all dropout kernels their masks for some rows of the batch."""

    def mixup(self, rows: slice) -> BatchMixup | None:
        """Return partners and fractions for some rows of the batch; None without mixup."""


class NumpyDraws:
    """The random numbers of one update as NumPy draws them, for each network as if it were trained alone.

    Args:
        context: what they are drawn for.
        workers: the threads that draw.
        batches: the training batch of each network.
    """

    def __init__(self, context: DrawContext, workers: ThreadPool, batches: Sequence[TrainingBatch]) -> None:
        """Draw nothing yet."""
        self._context, self._workers, self._batches = context, workers, batches

    def changed_samples(self, where: Positions, rows: slice) -> SampleRows:
        """Return some rows of the batch after the random transforms of each network."""
        del where
        context, samples = self._context, self._context.samples
        made = np.empty((len(self._batches), rows.stop - rows.start, samples.n_inputs), context.dtype)

        def fill(number: int, some: slice) -> None:
            out = made[number, some.start - rows.start : some.stop - rows.start]
            context.builders[number].fill(out, self._batches[number], some)

        self._run_on_threads(rows, fill)
        return _rows_of(samples, torch.from_numpy(made).to(context.types.device))

    def set_masks(self, rows: slice) -> None:
        """Give all dropout kernels their masks for some rows of the batch."""
        for kernels in self._context.kernels:
            self._draw_masks(kernels, rows)

    def mixup(self, rows: slice) -> BatchMixup | None:
        """Return partners and fractions for some rows of the batch; None without mixup."""
        found = [batch.mixup for batch in self._batches]
        if all(one is None for one in found):
            return None
        partners = [np.arange(rows.start, rows.stop) if one is None else one.partners[rows] for one in found]
        tensor = torch.from_numpy(np.array(partners, np.int64)).to(self._context.types.device)
        return BatchMixup(tensor, [1.0 if one is None else one.fraction for one in found])

    def _draw_masks(self, kernels: Sequence[DropoutKernel], rows: slice) -> None:
        """Draw the masks of a dropout layer."""
        context, layer, n = self._context, kernels[0].layer, rows.stop - rows.start
        layout = context.layout
        drawn = [
            np.ones(_mask_shape(layout, layer.group, block, n), context.dtype) for block in layout.blocks(layer.group)
        ]

        def draw(number: int, some: slice) -> None:
            mask = layout.network_view(drawn, layer.group, number, 0)[some.start - rows.start : some.stop - rows.start]
            step, transforms = self._batches[number].step, context.specs[number].transforms
            for of_layer, stream in layer.masks[number]:
                rate = of_layer * step.dropout_multiplier
                mask *= transforms.dropout_mask(stream, rate, step.number, some, mask.shape[1], context.dtype)

        self._run_on_threads(rows, draw)
        for kernel, values in zip(kernels, drawn, strict=True):
            kernel.mask = torch.from_numpy(values).to(context.types.device, context.types.operands)

    def _run_on_threads(self, rows: slice, work: Callable[[int, slice], None]) -> None:
        """Call work(network, rows) for pieces of the rows of every network, on all threads.

        Pieces do not depend on the number of threads.
        """

        def task(number: int, cut: slice, _: int) -> None:
            work(number, slice(rows.start + cut.start, rows.start + cut.stop))

        cuts = even_slices(rows.stop - rows.start, ROWS_DRAWN_AT_ONCE)
        self._workers.run([partial(task, number, cut) for number in range(len(self._batches)) for cut in cuts])


class MaskStreams(NamedTuple):
    """The dropout layers at one place of each network of a run.

    Attributes:
        networks: the networks.
        width: number of columns of a mask.
        rates: for each layer, the dropout rate in each network; 0 in a network without this layer.
        streams: for each layer, the random stream of each network.
    """

    networks: slice
    width: int
    rates: list[list[float]]
    streams: list[RandomStreams]

    @property
    def numbers(self) -> int:
        """The random numbers of one sample."""
        return len(self.rates) * length(self.networks) * self.width


class DeviceDraws:
    """The random numbers of several updates as torch draws them on the device.

    Mixup is an exception: NumPy draws a fraction and an order of the batch for each update, and all
    are copied to the device together.

    Args:
        context: what they are drawn for.
    """

    def __init__(self, context: DrawContext) -> None:
        """Prepare the random streams of all networks."""
        self._context, specs, layout = context, context.specs, context.layout
        self._device = context.types.device
        seeds = [spec.transforms.seed for spec in specs]
        self._of_images = RandomStreams(seeds, [IMAGES] * len(specs), self._device)
        augmenters = [spec.transforms.augmenter for spec in specs]
        self._augmenter = TorchAugmenter(augmenters, self._device) if any(augmenters) else None
        # Dropout of the samples has stream 0.
        of_inputs = [[(one.input_dropout.rate, 0)] if one.input_dropout else [] for one in context.builders]
        self._of_inputs = self._mask_streams(slice(0, len(specs)), layout.n_inputs, of_inputs)
        # For each dropout layer, the streams of each run.
        self._of_layers: list[list[MaskStreams]] = []
        for kernels in context.kernels:
            layer = kernels[0].layer
            widths = [layout.widths[run.start][layer.group] for run in layout.runs]
            runs = zip(layout.runs, widths, strict=True)
            self._of_layers.append([self._mask_streams(run, width, layer.masks) for run, width in runs])

    def updates_at_once(self, n: int) -> int:
        """Return of how many updates with batches of n samples the numbers are drawn at once."""
        numbers = sum(one.numbers for runs in ([self._of_inputs], *self._of_layers) for one in runs)
        numbers += len(self._context.specs) * PARAMETERS_PER_IMAGE
        return max(1, NUMBERS_AT_ONCE // (numbers * n))

    def draw(self, updates: Sequence[Sequence[Update]], n: int) -> dict[Any, Tensor]:
        """Return tensors with the random numbers of some updates; the first axis is the update.

        Args:
            updates: for each update, that of each network.
            n: size of the batches.
        """
        layout, types = self._context.layout, self._context.types
        made: dict[Any, Tensor] = {}
        if self._augmenter is not None:
            numbers = self._tensor([[one.step.number for one in own] for own in updates])
            made["augmentation"] = self._of_images.uniforms(numbers, slice(0, n), PARAMETERS_PER_IMAGE)
        if self._of_inputs.rates:
            made["inputs"] = self._masks(self._of_inputs, updates, n, types.values)
        for index, (kernels, runs) in enumerate(zip(self._context.kernels, self._of_layers, strict=True)):
            masks = [self._masks(one, updates, n, types.operands) for one in runs]
            for block, run in enumerate(layout.blocks(kernels[0].layer.group)):
                if run == SIDE_BY_SIDE:
                    made[index, block] = torch.cat([one.transpose(1, 2).flatten(2) for one in masks], -1)
                else:
                    made[index, block] = masks[run] if layout.is_batch(run) else masks[run].squeeze(1)
        if any(spec.transforms.mixup for spec in self._context.specs):
            made["partners"], made["fractions"] = self._mixup(updates, n)
        return made

    def of_update(self, tensors: Mapping[Any, Tensor]) -> TensorDraws:
        """Return the draws of one update, given its part of the tensors of `draw`."""
        return TensorDraws(self._context, self._augmenter, tensors)

    def _mask_streams(self, run: slice, width: int, dropouts: Sequence[Dropouts]) -> MaskStreams:
        """Return the streams of the dropout layers of each network at one place, for a run."""
        seeds = [spec.transforms.seed for spec in self._context.specs[run]]
        # A network with fewer layers than others gets some that drop nothing.
        layers = list(zip_longest(*dropouts[run], fillvalue=(0.0, 0)))
        rates = [[rate for rate, _ in own] for own in layers]
        streams = [RandomStreams(seeds, [stream for _, stream in own], self._device) for own in layers]
        return MaskStreams(run, width, rates, streams)

    def _masks(self, place: MaskStreams, updates: Sequence[Sequence[Update]], n: int, dtype: Any) -> Tensor:
        """Return the products of the masks of a place, (U, networks, n, width)."""
        steps = [[one.step for one in own[place.networks]] for own in updates]
        numbers, values = self._tensor([[step.number for step in own] for own in steps]), self._context.types.values
        shape = *numbers.shape, n, place.width
        made = torch.ones(shape, dtype=dtype, device=self._device)
        # The thresholds of each layer, (layers, U, networks, 1, 1).
        dropped = [
            [[rate * step.dropout_multiplier for rate, step in zip(rates, own, strict=True)] for own in steps]
            for rates in place.rates
        ]
        thresholds = self._tensor(np.round(np.array(dropped) * RATE_STEPS).astype(np.int32))[..., None, None]
        at_once = max(1, NUMBERS_AT_ONCE // (numbers.numel() * place.width))
        for rows in even_slices(n, at_once):
            product = torch.ones(1, dtype=values, device=self._device)
            for streams, threshold in zip(place.streams, thresholds, strict=True):
                product = streams.dropout_masks(numbers, rows, place.width, threshold, values).mul_(product)
            made[:, :, rows] = product
        return made

    def _mixup(self, updates: Sequence[Sequence[Update]], n: int) -> tuple[Tensor, Tensor]:
        """Return the partners (U, M, n) and the fractions (U, M) of mixup."""
        specs, themselves = self._context.specs, Mixup(np.arange(n), 1.0)
        found = [
            [spec.transforms.draw_mixup(one.step.number, n) or themselves for spec, one in zip(specs, own, strict=True)]
            for own in updates
        ]
        partners = self._tensor(np.array([[one.partners for one in own] for own in found], np.int64))
        fractions = self._tensor([[one.fraction for one in own] for own in found])
        return partners, fractions.to(self._context.types.values)

    def _tensor(self, values: Any) -> Tensor:
        """Return numbers as a tensor on the device."""
        return torch.from_numpy(np.asarray(values)).to(self._device)


class TensorDraws:
    """The random numbers of one update that torch has drawn.

    Args:
        context: what they were drawn for.
        augmenter: changes images; None if there is no augmentation.
        tensors: the numbers of `DeviceDraws.draw` for this update.
    """

    def __init__(self, context: DrawContext, augmenter: TorchAugmenter | None, tensors: Mapping[Any, Tensor]) -> None:
        """Keep the numbers."""
        self._context, self._augmenter, self._tensors = context, augmenter, tensors

    def changed_samples(self, where: Positions, rows: slice) -> SampleRows:
        """Return some rows of the batch after the random transforms of each network."""
        n_networks, samples = len(self._context.specs), self._context.samples
        if isinstance(where, slice):
            where = torch.arange(where.start or 0, where.stop, device=self._context.types.device)
        where = where.expand(n_networks, -1)
        own = torch.arange(rows.start, rows.stop, device=where.device).expand(n_networks, -1)
        x = self._augmented(where, own)
        found = self.mixup(rows)
        if found is not None:
            fraction = found.fraction[:, None, None]
            x = x.mul_(fraction).add_(self._augmented(where, found.partners).mul_(1 - fraction))
        if "inputs" in self._tensors:
            x = x.mul_(self._tensors["inputs"][:, rows])
        return _rows_of(samples, x)

    def set_masks(self, rows: slice) -> None:
        """Give all dropout kernels their masks for some rows of the batch."""
        for index, kernels in enumerate(self._context.kernels):
            for block, kernel in enumerate(kernels):
                kernel.mask = self._tensors[index, block][..., rows, :]

    def mixup(self, rows: slice) -> BatchMixup | None:
        """Return partners and fractions for some rows of the batch; None without mixup."""
        if "partners" not in self._tensors:
            return None
        return BatchMixup(self._tensors["partners"][:, rows], self._tensors["fractions"])

    def _augmented(self, where: Tensor, positions: Tensor) -> Tensor:
        """Return the samples at some positions of the batch, augmented and scaled, (M, rows, I)."""
        samples = self._context.samples
        chosen = where.gather(1, positions)
        raw = samples.raw(chosen.flatten()).unflatten(0, chosen.shape)
        if self._augmenter is not None:
            index = positions.unsqueeze(-1).expand(-1, -1, PARAMETERS_PER_IMAGE)
            raw = self._augmenter(raw, self._tensors["augmentation"].gather(1, index))
        return samples.scaled(raw).to(self._context.types.values)


def _rows_of(samples: DeviceSamples, x: Tensor) -> SampleRows:
    """Return scaled samples of all networks, (M, n, I), as operands."""
    rows = samples.operands_of(x.flatten(0, 1))
    return rows if len(x) == 1 else SampleRows(rows.x.unflatten(0, x.shape[:2]))


def _mask_shape(layout: StackLayout, group: int, block: int, n: int) -> tuple[int, ...]:
    """Return the shape of the mask of a block, which is given by its run."""
    networks = layout.networks(block)
    width = layout.n_units if block == SIDE_BY_SIDE else layout.widths[networks.start][group]
    return (*([length(networks)] if layout.is_batch(block) else []), n, width)
