"""The comparison with peers as a command asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chalknet.bench.catalogue import EVERY_WORK, PEERS, QUICK_WORK, Peer, Work, parse_work, peer_named
from chalknet.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from chalknet.bench.comparison import Comparison, Observer

QUICK_ROUNDS, FULL_ROUNDS = 3, 7


@dataclass(frozen=True)
class BenchPlan:
    """What is to be compared; chalknet and its ceiling are always among the peers."""

    peers: tuple[Peer, ...]
    works: tuple[Work, ...]
    rounds: int
    threads: int  # 0 for all cores


def settle_bench(
    works: Sequence[str] = (),
    peers: Sequence[str] = (),
    *,
    full: bool = False,
    rounds: int | None = None,
    threads: int | None = None,
) -> BenchPlan:
    """The plan of the quick form, or of the full one, changed by what was asked for.

    Raises:
        ConfigError: an unknown work or peer, with the nearest known one; no rounds or threads.
    """
    for name, value in (("rounds", rounds), ("threads", threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be a whole number > 0, got {value}.")
    asked = {peer_named(name) for name in peers} or {
        peer for peer in PEERS.values() if (peer.full if full else peer.quick)
    }
    chosen = tuple(peer for peer in PEERS.values() if peer in asked or peer.own)
    texts = works or (EVERY_WORK if full else QUICK_WORK)
    unique = tuple(dict.fromkeys(parse_work(text) for text in texts))
    return BenchPlan(chosen, unique, rounds or (FULL_ROUNDS if full else QUICK_ROUNDS), threads or 0)


def run_bench(
    plan: BenchPlan,
    *,
    installed: Mapping[str, str] | None = None,
    forced_kernels: str = "",
    out: Path | None = None,
    observe: Observer | None = None,
) -> Comparison:
    """Measures, and writes the result as JSON where told.

    Args:
        installed, forced_kernels, observe: as `chalknet.bench.comparison.compare`.
    Raises:
        OutputError: out cannot be written; its folder is tried before anything is measured.
    """
    from chalknet.artifacts.atomic import new_folder, write_bytes
    from chalknet.bench.comparison import compare

    if out is not None and out.is_dir():
        raise OutputError(f"{out}: is a folder; name a file for the result.")
    with nullcontext() if out is None else new_folder(out.parent):
        result = compare(
            plan.peers,
            plan.works,
            plan.rounds,
            threads=plan.threads,
            installed=installed,
            forced_kernels=forced_kernels,
            observe=observe,
        )
        if out is not None:
            write_bytes(out, result_text(result).encode())
    return result


def result_text(result: Comparison) -> str:
    """The result as JSON."""
    return json.dumps(result.as_dict(), indent=1) + "\n"
