"""Lower bounds of an epoch's time: the time of its matrix products, in float32 and in bfloat16."""

from __future__ import annotations

import time
from typing import Any

from chalknet.machine.processor import available_cores
from chalknet.machine.product_rate import product_rate
from harness.workloads import N_IMAGES, N_TRAIN, Run, Workload

TILE = 5_000  # samples of a tile of the torch engine, of 15,000
RATE_SECONDS = 0.3


def epoch_flop(units: int) -> int:
    """Return the FLOP of one epoch's products: three forward passes and one backward.

    A bias is a column of 1.
    """
    return 2 * 785 * units * (N_IMAGES + N_TRAIN) + 2 * (units + 1) * 10 * (N_IMAGES + 2 * N_TRAIN)


def roofline(workload: Workload, threads: int) -> Run | None:
    """Prepare the time of an epoch's products at the float32 rate, measured at each call."""
    if workload.kind != "full":
        return None
    return lambda: epoch_flop(workload.units) / product_rate("float32", threads or available_cores(), RATE_SECONDS)


def roofline_bfloat16(workload: Workload, threads: int) -> Run | None:
    """Prepare the time of an epoch's products at the rate of the first layer's products."""
    if workload.kind != "full":
        return None
    forward, back = _first_layer(workload.units, threads)
    flop = 2 * 2 * TILE * 785 * workload.units

    def run() -> float:
        rounds, started = 0, time.perf_counter()
        while time.perf_counter() - started < RATE_SECONDS:
            forward(), back()
            rounds += 1
        return epoch_flop(workload.units) / (flop * rounds) * (time.perf_counter() - started)

    return run


def products_bfloat16(workload: Workload, threads: int) -> Run | None:
    """Prepare all products of a full epoch, each in the shape that the engine gives it."""
    if workload.kind != "full":
        return None
    import torch

    forward, back = _first_layer(workload.units, threads)
    hidden, logits = torch.rand(TILE, workload.units).bfloat16(), torch.rand(TILE, 10).bfloat16()
    matrix, grad_hidden = torch.rand(workload.units, 10).bfloat16(), torch.empty(TILE, workload.units).bfloat16()

    def run() -> None:
        for _ in range(N_TRAIN // TILE):
            forward(), torch.mm(hidden, matrix)
            torch.mm(logits, matrix.t(), out=grad_hidden), torch.mm(logits.t(), hidden), back()
        forward(N_IMAGES - N_TRAIN)
        torch.mm(hidden[: N_IMAGES - N_TRAIN], matrix)

    return run


def _first_layer(units: int, threads: int) -> tuple[Any, Any]:
    """Return the forward product, of a tile or of fewer samples, and the backward product."""
    import torch

    torch.set_num_threads(threads or available_cores())
    x, w = torch.rand(TILE, 800).bfloat16(), torch.rand(785, units).bfloat16()
    across, h, g = x.t().contiguous(), torch.empty(TILE, units).bfloat16(), torch.empty(800, units).bfloat16()
    return (lambda n=TILE: torch.mm(x[:n, :785], w, out=h[:n])), (lambda: torch.mm(across, h, out=g))
