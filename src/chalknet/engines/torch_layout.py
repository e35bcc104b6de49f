"""Where stacked networks lie: the first layers side by side, the others in stacks of equal widths."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise


@dataclass(frozen=True)
class Layout:
    """The order of stacked networks, all of the same depth.

    Attributes:
        n_inputs: inputs of every network.
        n_classes: classes of every network.
        hidden: the hidden widths of each network.
    """

    n_inputs: int
    n_classes: int
    hidden: tuple[tuple[int, ...], ...]

    @cached_property
    def columns(self) -> list[slice]:
        """The columns of each network among the units of all first layers."""
        ends = accumulate((widths[0] for widths in self.hidden), initial=0)
        return [slice(a, b) for a, b in pairwise(ends)]

    @cached_property
    def runs(self) -> list[slice]:
        """Neighboring networks of equal widths."""
        return runs_of(self.hidden)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """For each network its run and its place in it."""
        return [(run, i) for run, networks in enumerate(self.runs) for i in range(networks.stop - networks.start)]

    def columns_of(self, networks: slice) -> slice:
        """Return the columns of several neighbors."""
        return slice(self.columns[networks.start].start, self.columns[networks.stop - 1].stop)

    def widths(self, run: int) -> tuple[int, ...]:
        """Return the hidden widths of a run's networks, followed by the number of classes."""
        return (*self.hidden[self.runs[run].start], self.n_classes)


def runs_of(values: Sequence[Hashable]) -> list[slice]:
    """Return the stretches of equal neighbors."""
    runs, start = [], 0
    for _, equal in groupby(values):
        stop = start + len(list(equal))
        runs.append(slice(start, stop))
        start = stop
    return runs
