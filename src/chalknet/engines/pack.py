"""Several networks that are trained together in plain NumPy, each with the bits that it would have alone.

What gains time: networks that are given the same batches share each batch's samples and one product for all first
layers, and everything else is done for all networks in one call each. One pack computes on one thread; whoever has more
makes more packs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import AVERAGE, Batch, Engine, Part, SampleScores, Snapshot, Step, Update, UpdateRule
from chalknet.engines.layers import Layers, start_of
from chalknet.engines.lessons import even_cuts, part_of_batch
from chalknet.engines.noise import Noise
from chalknet.engines.numpy_engine import LANES, SMALL_OUTCOMES, TILE_ROWS, resident_floats, values_at_once
from chalknet.engines.pack_layout import Layout, Stacked
from chalknet.engines.pack_tile import Goals, PackTile, is_same_side_by_side
from chalknet.engines.tile import Matrix, Outcome, Tally, Weights
from chalknet.errors import ConfigError
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import Parameters
from chalknet.network.clipping import clip_factor, squared_length
from chalknet.network.objective import Objective
from chalknet.records import Scores

Sums = list[tuple[float, float, float]]


class OfPack:
    """What a network of a pack leaves to its pack, in arrays of whichever library."""

    pack: Any
    weights: Any

    @property
    def hidden(self) -> tuple[int, ...]:
        return tuple(matrix.shape[1] for matrix in self.weights.matrices[:-1])

    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        scores: Scores = self.pack.train_epoch([updates])[0]
        return scores

    def evaluate(self, part: str) -> Scores | None:
        scores: Scores | None = self.pack.scores(self, part)
        return scores

    def evaluate_each(self, part: str) -> SampleScores | None:
        scores: SampleScores | None = self.pack.each(self, part)
        return scores


@dataclass(eq=False)
class Packed(OfPack):
    """One network of a pack, as an `Engine`; made by `Pack.join`.

    `Pack.train_epoch` trains it with the others; when it is alone in its pack, its own `train_epoch` does.
    """

    device: ClassVar[str] = "cpu"

    pack: Pack
    order: Hashable
    parts: Mapping[str, Part]
    rule: UpdateRule
    objective: Objective
    noise: Noise
    clip_norm: float
    layers: Layers
    weights: Weights
    memory: dict[str, Weights]
    gradients: Weights

    def parameters(self) -> Parameters:
        return self.layers.named(self.weights)

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
        weights, memory = (self.weights, self.memory) if of is None else of
        return self.layers.named(memory.get(AVERAGE, weights))

    def state(self) -> Parameters:
        return self.layers.state(self.memory)

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        dtype = self.weights.matrices[0].dtype
        self.go_back((self.layers.weights(parameters, dtype), self.layers.memory(self.rule, state, dtype)))

    def snapshot(self) -> Snapshot:
        return self.weights.copy(), {slot: memory.copy() for slot, memory in self.memory.items()}

    def go_back(self, snapshot: Snapshot) -> None:
        weights, memory = snapshot
        self.weights.put(weights)
        for slot, values in memory.items():
            self.memory[slot].put(values)
        self.pack.forget()

    def move(self, step: Step, n_batch: int) -> None:
        """The penalty, clipping and the update, from the gradients that lie ready."""
        if self.objective.l2:
            times = n_batch if self.objective.reduction == "sum" else 1
            for matrix, gradient in zip(self.weights.matrices, self.gradients.matrices, strict=True):
                gradient[:-1] += self.objective.l2 * times * matrix[:-1]
        if self.clip_norm:
            self._clip()
        for layer, (matrix, gradient) in enumerate(zip(self.weights.matrices, self.gradients.matrices, strict=True)):
            memory = [self.memory[slot].matrices[layer] for slot in self.rule.slots]
            for band, has_bias in self._bands(matrix):
                parts = [values[band] for values in memory]
                self.rule.update(matrix[band], gradient[band], parts, has_bias, step)

    def _bands(self, matrix: Matrix) -> list[tuple[tuple[slice, slice], bool]]:
        """What an update goes over before the next, lying together in memory, and whether it holds biases."""
        most, every = values_at_once(self.rule), slice(None)
        if matrix.size <= most:
            return [((every, every), True)]
        n_rows, n_units = matrix.shape
        if matrix.flags.c_contiguous:
            rows = even_cuts(n_rows, max(1, most // n_units))
            return [((band, every), band.stop == n_rows) for band in rows]
        return [((every, band), True) for band in even_cuts(n_units, max(1, most // n_rows))]

    def _clip(self) -> None:
        """U8, its length added up in the order that the network alone has."""
        at_once, lengths = values_at_once(self.rule), []
        for gradient in map(np.ascontiguousarray, self.gradients.matrices):
            bands = even_cuts(len(gradient), max(1, at_once // gradient.shape[1]))
            lengths += [squared_length(gradient[band]) for band in bands]
        factor = clip_factor(lengths, self.clip_norm)
        if factor < 1:
            for gradient in self.gradients.matrices:
                np.multiply(gradient, factor, out=gradient)


class Member(Engine, Protocol):
    """One network of a pack, as an engine."""

    @property
    def pack(self) -> AnyPack:
        """Whose it is; one that has left is alone in a pack of its own."""


class AnyPack(Protocol):
    """What trains several networks together, in NumPy or in torch; `Pack` says more of each."""

    def join(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        scaling: Scaling = ...,
        objective: Objective = ...,
        activations: Sequence[str] = ...,
        noise: Noise = ...,
        clip_norm: float = ...,
        dtype: DTypeLike = ...,
        workers: int | None = ...,
        tile_rows: int = ...,
    ) -> Member: ...

    def leave(self, leaving: Iterable[Any]) -> None: ...

    def train_epoch(self, updates: Sequence[Iterable[Update]]) -> list[Scores]: ...


def refuse_unpackable(noise: Noise, parameters: Mapping[str, NDArray[Any]]) -> None:
    """Raises ConfigError for a network that no pack can train."""
    if (
        noise.augmenter is not None
        or noise.mixup
        or noise.input_dropout
        or any(name.endswith(".gain") for name in parameters)
    ):
        raise ConfigError("a pack takes no networks with batch norm or with inputs that are changed or mixed.")


class Pack:
    """Networks that are trained together; every `join` adds one, before the first is trained.

    All have the same samples, scaling, depth, activations, classes, tile_rows and float type, their rules remember the
    same, and nothing changes their inputs: `training.together.pack_key` says which recipes are so.

    Args:
        orders: of each network that will join what names its batches; those with equal ones are handed the same
            batches, and gain by it where they are neighbours.
    """

    def __init__(self, orders: Sequence[Hashable]) -> None:
        self._orders = list(orders)
        self._members: list[Packed] = []
        self._judged: dict[str, Outcome] = {}
        self._is_laid_out = False

    def join(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        scaling: Scaling = Scaling(),
        objective: Objective = Objective(),
        activations: Sequence[str] = (),
        noise: Noise = Noise(),
        clip_norm: float = 0.0,
        dtype: DTypeLike = np.float32,
        workers: int | None = None,
        tile_rows: int = TILE_ROWS,
    ) -> Packed:
        """An `EngineMaker`: one more network. workers is of no meaning here.

        Raises:
            ConfigError: the network has what a pack cannot train.
        """
        del workers
        refuse_unpackable(noise, parameters)
        if not self._members:
            self._parts = {name: part for name, part in parts.items() if len(part.labels)}
            self._dtype: np.dtype[Any] = np.dtype(dtype)
            self._scaling, self._tile_rows = scaling, tile_rows
            self._floats = resident_floats(self._parts, scaling, self._dtype)
        layers = Layers(parameters)
        self._activations = tuple(activations) or ("relu",) * (len(layers.shapes) - 1)
        weights = layers.weights(parameters, self._dtype)
        memory = layers.memory(rule, start_of(rule, parameters), self._dtype)
        order = self._orders[len(self._members)]
        gradients = Weights([])  # laid out with all others'
        member = Packed(self, order, parts, rule, objective, noise, clip_norm, layers, weights, memory, gradients)
        self._members.append(member)
        self.forget()
        return member

    def leave(self, leaving: Iterable[Packed]) -> None:
        """Takes networks out, each into a pack of its own; the others lie together anew."""
        gone = list(leaving)
        if not gone:
            return
        self._members = [member for member in self._members if member not in gone]
        self._is_laid_out = False
        self.forget()
        for member in gone:
            member.pack = copy(self)
            member.pack._members = [member]
            member.weights, member.memory = member.snapshot()

    def forget(self) -> None:
        """What was judged is no longer so."""
        self._judged = {}

    def train_epoch(self, updates: Sequence[Iterable[Update]]) -> list[Scores]:
        """All updates of every network, in the order of joining; scores as `Engine.train_epoch`.

        All have the same number of updates, of batches of the same sizes.
        """
        with one_blas_thread():
            return self._train(zip(*updates, strict=True))

    def scores(self, member: Packed, part: str) -> Scores | None:
        """`Engine.evaluate` of one network; all are judged when the first is asked for."""
        if part not in self._parts:
            return None
        outcome, n = self._judge(part), len(self._parts[part].labels)
        number, tally = self._members.index(member), Tally()
        tally.add(n, [outcome.of(number, rows).sums(length(rows)) for rows in even_cuts(n, self._tile_rows)])
        return tally.scores()

    def each(self, member: Packed, part: str) -> SampleScores | None:
        """`Engine.evaluate_each` of one network."""
        if part not in self._parts:
            return None
        n = len(self._parts[part].labels)
        own = self._judge(part).of(self._members.index(member), slice(0, n))
        return SampleScores(own.losses(n), own.right.copy())

    def _train(self, lessons: Iterable[tuple[Update, ...]]) -> list[Scores]:
        self.forget()
        tallies = [Tally() for _ in self._members]
        n_kept = max(self._tile_rows, SMALL_OUTCOMES)  # of small batches, added up as the network alone does
        small = Outcome((len(self._members), n_kept), self._dtype)
        filled = 0

        def add_up() -> None:
            for number, tally in enumerate(tallies):
                if tally.is_finite:  # a network alone would stop here, and its scores stay what they are
                    tally.add(filled, [small.of(number, slice(0, filled)).sums(filled)])

        for lesson in lessons:
            n = length(lesson[0].batch)
            self._lay_out(n)
            is_large = n > self._tile_rows
            if filled + n > n_kept or is_large:
                add_up()
                filled = 0
            if is_large:
                for tally, sums in zip(tallies, self._large_step(lesson, n), strict=True):
                    if tally.is_finite:
                        tally.add(n, sums)
            else:
                self._gradients_of(lesson, slice(0, n), n, small, slice(filled, filled + n), self._gradients)
                self._move(lesson, n)
                filled += n
        add_up()
        return [tally.scores() for tally in tallies]

    def _large_step(self, lesson: tuple[Update, ...], n_batch: int) -> list[Sums]:
        """One update from a batch that is cut into tiles of rows, added up in lanes; every tile's sums, by network."""
        tiles = even_cuts(n_batch, self._tile_rows)
        n_lanes = min(LANES, len(tiles))
        sums: list[Sums] = [[] for _ in tiles]
        for lane in range(n_lanes):
            total = self._gradients if lane == 0 else self._room_for("lane")
            for number in range(lane, len(tiles), n_lanes):
                rows, tile_n = tiles[number], length(tiles[number])
                outcome = Outcome((len(self._members), tile_n), self._dtype)
                out = total if number == lane else self._room_for("tile")
                self._gradients_of(lesson, rows, n_batch, outcome, slice(0, tile_n), out)
                sums[number] = [outcome.of(one, slice(0, tile_n)).sums(tile_n) for one in range(len(self._members))]
                if number > lane:
                    total.add(out)
            if lane:
                self._gradients.add(total)
        self._move(lesson, n_batch)
        return [[of_tile[number] for of_tile in sums] for number in range(len(self._members))]

    def _gradients_of(
        self, lesson: tuple[Update, ...], rows: slice, n_batch: int, outcome: Outcome, at: slice, out: Stacked
    ) -> None:
        """The gradients of every network from some rows of its batch, and what the scores need."""
        tile = self._tile(length(rows), False)
        labels = np.empty((len(self._members), tile.n), np.int64)
        for bunch, networks in enumerate(tile.bunches):
            where = part_of_batch(lesson[networks.start].batch, rows)
            self._put(tile, bunch, "train", where)
            labels[networks] = self._parts["train"].labels[where]
        self._drop(tile, lesson, rows)
        tile.forward(self._weights, True)
        tile.judge(labels, outcome, at)
        tile.grad_logits(self._goals(lesson, labels, rows))
        for number, member in enumerate(self._members):
            if member.objective.reduction == "mean":
                np.divide(tile.logits[number], self._dtype.type(n_batch), out=tile.logits[number])
        tile.backward(self._weights, out)

    def _goals(self, lesson: tuple[Update, ...], labels: NDArray[np.int64], rows: slice) -> Goals:
        weights: list[Matrix | None] = []
        for member, update in zip(self._members, lesson, strict=True):
            own = member.parts["train"].weights
            weights.append(None if own is None else own[part_of_batch(update.batch, rows)].astype(self._dtype))
        return Goals(labels, [member.objective.label_smoothing for member in self._members], weights)

    def _drop(self, tile: PackTile, lesson: tuple[Update, ...], rows: slice) -> None:
        """Dropout's factors of every network that has some, each drawn as it draws them alone."""
        for number, (member, update) in enumerate(zip(self._members, lesson, strict=True)):
            for layer, width in enumerate(member.hidden):
                keep = member.noise.keep(layer + 1, update.step.number, rows, width, self._dtype)
                if keep is not None:
                    np.copyto(tile.of_network(layer, tile.factors(layer), number), keep)

    def _move(self, lesson: tuple[Update, ...], n_batch: int) -> None:
        for member, update in zip(self._members, lesson, strict=True):
            member.move(update.step, n_batch)

    def _judge(self, part: str) -> Outcome:
        """What every network makes of a part."""
        if part not in self._judged:
            labels = self._parts[part].labels
            n_networks, tiles = len(self._members), even_cuts(len(labels), self._tile_rows)
            self._lay_out(length(tiles[0]))
            outcome = Outcome((n_networks, len(labels)), self._dtype)
            with one_blas_thread():
                for rows in tiles:
                    tile = self._tile(length(rows), True)
                    self._put(tile, 0, part, rows)
                    tile.forward(self._shown)
                    tile.judge(np.broadcast_to(labels[rows], (n_networks, length(rows))), outcome, rows)
            self._judged[part] = outcome
        return self._judged[part]

    def _put(self, tile: PackTile, bunch: int, part: str, where: Batch) -> None:
        """Some samples of a part as what a bunch's networks read; without a copy where they lie ready in a run."""
        floats = self._floats.get(part)
        if floats is None:
            tile.x[bunch] = room = tile.samples(bunch)
            self._scaling.put(self._parts[part].inputs[where], room[:, :-1])
        elif isinstance(where, slice):
            tile.x[bunch] = floats[where]
        else:
            tile.x[bunch] = room = tile.samples(bunch)
            np.take(floats, where, axis=0, out=room, mode="clip")  # as in the numpy engine

    def _lay_out(self, n_batch: int) -> None:
        """Puts all networks where they lie while batches of that size train them, if that is not done."""
        if self._is_laid_out:
            return
        self._is_laid_out = True
        self._layout = self._layout_for(length(even_cuts(n_batch, self._tile_rows)[0]))
        self._tiles: dict[tuple[int, bool], PackTile] = {}
        self._rooms: dict[str, Stacked] = {}
        self._weights = self._stacked([member.weights for member in self._members])
        slots = self._members[0].rule.slots
        memory = {slot: self._stacked([member.memory[slot] for member in self._members]) for slot in slots}
        self._shown = memory.get(AVERAGE, self._weights)
        self._gradients = Stacked(self._layout, self._dtype)
        for number, member in enumerate(self._members):
            member.weights = Weights(self._weights.network(number))
            member.gradients = Weights(self._gradients.network(number))
            member.memory = {slot: Weights(memory[slot].network(number)) for slot in slots}

    def _layout_for(self, n: int) -> Layout:
        """Side by side where networks share batches and one product for them has the bits of single ones."""
        members = self._members
        first, last = members[0].weights.matrices[0], members[0].weights.matrices[-1]
        n_rows, n_classes = len(first), last.shape[1]
        hidden, orders = tuple(one.hidden for one in members), tuple(one.order for one in members)
        layout = Layout(n_rows - 1, n_classes, hidden, orders, is_wide=True)
        bunches = [tuple(widths[0] for widths in hidden[bunch]) for bunch in layout.bunches]
        shares = max(map(len, bunches)) > 1
        is_wide = shares and all(is_same_side_by_side(n, n_rows, one, self._dtype) for one in bunches)
        return layout if is_wide else replace(layout, is_wide=False)

    def _stacked(self, networks: Sequence[Weights]) -> Stacked:
        stacked = Stacked(self._layout, self._dtype)
        for number, weights in enumerate(networks):
            Weights(stacked.network(number)).put(weights)
        return stacked

    def _room_for(self, what: str) -> Stacked:
        """Room for gradients, made once."""
        if what not in self._rooms:
            self._rooms[what] = Stacked(self._layout, self._dtype)
        return self._rooms[what]

    def _tile(self, n: int, is_shared: bool) -> PackTile:
        """The buffers for n samples, of all networks the same ones or of each bunch its own."""
        if (n, is_shared) not in self._tiles:
            bunches = [slice(0, len(self._members))] if is_shared else self._layout.bunches
            self._tiles[n, is_shared] = PackTile(self._layout, n, bunches, self._dtype, self._activations)
        return self._tiles[n, is_shared]


def length(batch: Batch) -> int:
    """How many samples a batch has."""
    return batch.stop - (batch.start or 0) if isinstance(batch, slice) else len(batch)
