"""The comparison: every peer in a process of its own that waits for its turn.

Rounds go round the peers, so that a busy moment of the machine hits all alike, and a ratio is one of medians of the
same rounds. Peers whose products are NumPy's run as they are installed, and, where their BLAS takes other kernels than
chalknet's, a second time with chalknet's.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chalknet.bench.catalogue import Peer, Work
from chalknet.bench.peer_process import PeerError, PeerProcess
from chalknet.machine.facts import machine_facts
from chalknet.machine.kernels import VARIABLE
from chalknet.version import __version__

PAUSE_SECONDS = 0.1  # before each turn: some peers' threads go on spinning for a while after their work
SAME_KERNELS = " (same kernels)"  # after the name of a peer that runs with chalknet's
PACKAGES = ("numpy", "scikit-learn", "torch", "jax", "onnx", "onnxruntime")

Observer = Callable[[str, int, int], None]  # gets what was done, how many turns of this comparison, and of how many


@dataclass(frozen=True)
class Comparison:
    """What was measured; JSON-ready by `as_dict`.

    Attributes:
        threads: of each peer, or "all cores".
        processes: of each row, whether its products are NumPy's, and the BLAS that its NumPy has loaded.
        absent: peers that are not installed. failed: what ended a row, its last line on standard error.
        environment: the variables of OpenBLAS and OpenMP as they were found. forced_kernels: what peers on NumPy were
            made to use in place of what is installed, or "".
        seconds: work -> row -> one unit's, a round each.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int | str
    rounds: int
    environment: dict[str, str]
    forced_kernels: str
    absent: list[str]
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def medians(self, work: str) -> dict[str, float]:
        """Seconds of one unit by row."""
        return {name: statistics.median(found) for name, found in self.seconds[work].items()}


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a peer in the process that does its work."""

    name: str
    peer: Peer
    process: PeerProcess


def compare(
    peers: Sequence[Peer],
    works: Sequence[Work],
    rounds: int,
    *,
    threads: int = 0,
    installed: Mapping[str, str] | None = None,
    forced_kernels: str = "",
    observe: Observer | None = None,
) -> Comparison:
    """Measures every work by every peer that is installed and does it.

    Args:
        threads: of each peer, 0 for its own choice on all cores.
        installed: the environment of peers as installed; by default this process's, in which chalknet's own run.
        forced_kernels: a kernel set of OpenBLAS for the peers on NumPy, in place of what is installed.
        observe: called after each turn. Every process is ended when it, or anything else, raises.
    """
    installed = os.environ if installed is None else installed
    present = [peer for peer in peers if peer.is_present()]
    result = Comparison(
        machine=machine_facts(),
        versions=versions(),
        threads=threads or "all cores",
        rounds=rounds,
        environment={key: value for key, value in sorted(installed.items()) if key.startswith(("OPENBLAS_", "OMP_"))},
        forced_kernels=forced_kernels,
        absent=[peer.name for peer in peers if peer not in present],
    )
    with ExitStack() as stack:
        rows = _start(stack, present, threads, installed, result)
        done = _Turns(len(rows) * len(works) * (rounds + 1), observe)
        for work in works:
            _measure(work, rows, rounds, result, done)
    return result


def versions() -> dict[str, str]:
    """Of chalknet and of every peer that is installed."""
    found = {"chalknet": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class _Turns:
    """Counts turns and shows them."""

    def __init__(self, total: int, observe: Observer | None) -> None:
        self._total, self._done, self._observe = total, 0, observe

    def __call__(self, what: str, n: int = 1) -> None:
        self._done += n
        if self._observe is not None:
            self._observe(what, self._done, self._total)


def _start(
    stack: ExitStack, peers: Sequence[Peer], threads: int, installed: Mapping[str, str], result: Comparison
) -> list[Row]:
    """A process for every peer, and a second one for each on NumPy whose kernels are not chalknet's."""
    forced = {VARIABLE: result.forced_kernels} if result.forced_kernels else {}
    rows: list[Row] = []

    def start(name: str, peer: Peer, environment: Mapping[str, str]) -> None:
        process = stack.enter_context(PeerProcess(peer, environment, threads))
        try:
            process.greet()
        except PeerError as error:
            result.failed[name] = str(error)
            return
        result.processes[name] = {"on_numpy": peer.on_numpy, **process.facts}
        rows.append(Row(name, peer, process))

    for peer in peers:
        start(peer.name, peer, os.environ if peer.own else {**installed, **(forced if peer.on_numpy else {})})
    own = next((row.process.facts["blas_kernels"] for row in rows if row.peer.own), None)
    others = [row for row in rows if row.peer.on_numpy and row.process.facts["blas_kernels"] != own]
    for row in others if own is not None else ():
        start(row.name + SAME_KERNELS, row.peer, os.environ)
    return rows


def _measure(work: Work, rows: list[Row], rounds: int, result: Comparison, done: _Turns) -> None:
    """One kind of work: all rows made ready, then the rounds; a row that fails is dropped from all that follows."""
    seconds = result.seconds[str(work)] = {}
    takers: list[Row] = []

    def ask(row: Row, line: str) -> str | None:
        try:
            return row.process.ask(line)
        except PeerError as error:
            result.failed[row.name] = str(error)
            rows.remove(row)
            seconds.pop(row.name, None)
            return None

    for row in list(rows):
        ready = ask(row, f"prepare {work}") == "ready"
        takers += [row] if ready else []
        done(f"{work}: {row.name} ready", 1 if ready else rounds + 1)
    for _ in range(rounds):
        for row in takers:
            time.sleep(PAUSE_SECONDS)
            answer = None if row.name in result.failed else ask(row, "go")
            if answer is not None:
                seconds.setdefault(row.name, []).append(float(answer))
            done(f"{work}: {row.name}")
