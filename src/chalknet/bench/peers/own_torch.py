"""chalknet's torch engine with bfloat16 products, and two bounds: its products alone, and their number at the rate."""

from __future__ import annotations

import time
from typing import Any

from chalknet.bench.catalogue import N_IMAGES, N_TRAIN, Work
from chalknet.bench.peers.own import epoch_flop, training
from chalknet.bench.workload import Run
from chalknet.machine.processor import available_cores

TILE = 5_000  # samples that the engine takes at a time, of 15,000
RATE_SECONDS = 0.3


def chalknet_bfloat16(work: Work, threads: int) -> Run | None:
    """The torch engine."""
    if work.kind == "predict":
        return None
    from chalknet.engines.torch_engine import TorchEngine

    return training(work, TorchEngine, workers=threads or None, device="cpu", precision="bfloat16")


def ceiling(work: Work, threads: int) -> Run | None:
    """What the products of a full epoch take at the rate of the first layer's, forward and back, measured now."""
    if work.kind != "full":
        return None
    forward, back = _first_layer(work.units, threads)
    flop = 2 * 2 * TILE * 785 * work.units

    def run() -> float:
        rounds, started = 0, time.perf_counter()
        while time.perf_counter() - started < RATE_SECONDS:
            forward(), back()
            rounds += 1
        return epoch_flop(work.units) / (flop * rounds) * (time.perf_counter() - started)

    return run


def products(work: Work, threads: int) -> Run | None:
    """All products of a full epoch, each in the shape that the engine gives it."""
    if work.kind != "full":
        return None
    import torch

    forward, back = _first_layer(work.units, threads)
    hidden, logits = torch.rand(TILE, work.units).bfloat16(), torch.rand(TILE, 10).bfloat16()
    matrix, room = torch.rand(work.units, 10).bfloat16(), torch.empty(TILE, work.units).bfloat16()

    def run() -> None:
        for _ in range(N_TRAIN // TILE):
            forward(), torch.mm(hidden, matrix)
            torch.mm(logits, matrix.t(), out=room), torch.mm(logits.t(), hidden), back()
        forward(N_IMAGES - N_TRAIN)
        torch.mm(hidden[: N_IMAGES - N_TRAIN], matrix)

    return run


def _first_layer(units: int, threads: int) -> tuple[Any, Any]:
    """The product forward, of a tile or of fewer samples, and the one back."""
    import torch

    torch.set_num_threads(threads or available_cores())
    x, w = torch.rand(TILE, 800).bfloat16(), torch.rand(785, units).bfloat16()
    across, h, g = x.t().contiguous(), torch.empty(TILE, units).bfloat16(), torch.empty(800, units).bfloat16()
    return (lambda n=TILE: torch.mm(x[:n, :785], w, out=h[:n])), (lambda: torch.mm(across, h, out=g))
