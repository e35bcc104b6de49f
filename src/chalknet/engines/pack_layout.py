"""Where the networks of a pack lie: the first layers side by side, the others in stacks of equal widths."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from chalknet.engines.tile import Matrix


@dataclass(frozen=True)
class Layout:
    """The networks of a pack in their order, all of the same depth.

    Attributes:
        n_inputs, n_classes: the same for all.
        hidden: the widths of each network. orders: what names the batches that each of them is given: those with equal
            ones, if they are neighbours, are a bunch, whose first layers read the same samples.
        is_wide: whether the first layers lie side by side.
    """

    n_inputs: int
    n_classes: int
    hidden: tuple[tuple[int, ...], ...]
    orders: tuple[Hashable, ...]
    is_wide: bool

    @cached_property
    def columns(self) -> list[slice]:
        """Each network's among the units of all first layers."""
        ends = np.cumsum([0, *(widths[0] for widths in self.hidden)]).tolist()
        return [slice(a, b) for a, b in pairwise(ends)]

    @cached_property
    def bunches(self) -> list[slice]:
        """Neighbours that are given the same batches."""
        return runs_of(self.orders)

    @cached_property
    def runs(self) -> list[slice]:
        """Neighbours of equal widths."""
        return runs_of(self.hidden)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """For each network its run and its place in it."""
        return [(run, i) for run, networks in enumerate(self.runs) for i in range(networks.stop - networks.start)]

    def columns_of(self, networks: slice) -> slice:
        """Those of several neighbours."""
        return slice(self.columns[networks.start].start, self.columns[networks.stop - 1].stop)

    def widths(self, run: int) -> tuple[int, ...]:
        """The hidden widths of a run's networks, and the classes."""
        return (*self.hidden[self.runs[run].start], self.n_classes)

    def by_run(self, values: Matrix) -> list[Matrix]:
        """Values (n, units of all first layers) as views (networks, n, units), one a run."""
        views = []
        for run, networks in enumerate(self.runs):
            shape = (len(values), networks.stop - networks.start, self.widths(run)[0])
            views.append(values[:, self.columns_of(networks)].reshape(shape).transpose(1, 0, 2))
        return views


class Stacked:
    """The matrices of all networks of a pack, weights or what is shaped as they are; `network` gives one's as views.

    Side by side, a network's first layer is some rows of one matrix (units of all, I+1), so that one product serves all
    and each network's part is still contiguous. Where they do not lie so it is a matrix (I+1, F) of its own. Of the
    other layers there is, for each run, one array (networks, F+1, O).
    """

    def __init__(self, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._layout = layout
        n_rows = layout.n_inputs + 1
        widths = [widths[0] for widths in layout.hidden]
        self.wide = np.zeros((sum(widths), n_rows), dtype) if layout.is_wide else None
        self.apart = [np.zeros((n_rows, width), dtype) for width in widths] if self.wide is None else []
        self.later: list[list[Matrix]] = [[] for _ in layout.hidden[0]]
        for run, networks in enumerate(layout.runs):
            widths_of_run = layout.widths(run)
            for layer, stacks in enumerate(self.later):
                shape = (networks.stop - networks.start, widths_of_run[layer] + 1, widths_of_run[layer + 1])
                stacks.append(np.zeros(shape, dtype))

    def first(self, number: int) -> Matrix:
        """(I+1, F): the first layer of a network."""
        return self.apart[number] if self.wide is None else self.wide[self._layout.columns[number]].T

    def network(self, number: int) -> list[Matrix]:
        """(I+1, O) each: the matrices of one network."""
        run, place = self._layout.places[number]
        return [self.first(number), *(stacks[run][place] for stacks in self.later)]

    def add(self, other: Stacked) -> None:
        """Adds what lies in another, element by element."""
        for total, part in zip(self._arrays, other._arrays, strict=True):
            np.add(total, part, out=total)

    @property
    def _arrays(self) -> list[Matrix]:
        first = self.apart if self.wide is None else [self.wide]
        return [*first, *(stack for stacks in self.later for stack in stacks)]


def runs_of(values: Sequence[Hashable]) -> list[slice]:
    """The stretches of equal neighbours."""
    runs, start = [], 0
    for _, equal in groupby(values):
        stop = start + len(list(equal))
        runs.append(slice(start, stop))
        start = stop
    return runs
