"""How fast this machine multiplies matrices: `python -m chalknet.machine.product_rate`.

The products are those of training: tiles of 750 samples with 784 inputs, forward through 1,000 units
and back. Each thread multiplies its own matrices with one BLAS thread, as the numpy engine does. No
training can multiply faster, so this rate is the roofline of benchmarks.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

SAMPLES, INPUTS, UNITS = 750, 785, 1000
FLOP = 2 * 2 * SAMPLES * INPUTS * UNITS  # of one round: a product forward and one back


def product_rate(dtype: str, workers: int, seconds: float) -> float:
    """Return the product rate of all threads together, in FLOP per second.

    Args:
        dtype: "float32" or "float64".
        workers: number of threads.
        seconds: how long to measure; the result is the best of five parts.
    """
    import numpy as np

    from chalknet.machine.blas import one_blas_thread

    rng = np.random.default_rng(0)
    sets = []
    for _ in range(workers):
        x, w = rng.random((SAMPLES, INPUTS)).astype(dtype), rng.random((INPUTS, UNITS)).astype(dtype)
        sets.append((x, w, np.empty((SAMPLES, UNITS), dtype), np.empty((INPUTS, UNITS), dtype)))

    def work(x: Any, w: Any, h: Any, g: Any, rounds: int) -> None:
        for _ in range(rounds):
            np.matmul(x, w, out=h)
            np.matmul(x.T, h, out=g)

    def timed(rounds: int) -> float:
        threads = [threading.Thread(target=work, args=(*arrays, rounds)) for arrays in sets]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.perf_counter() - started) / rounds

    with one_blas_thread():
        once = min(timed(1), timed(1))  # also loads and warms what products need
        rounds = max(1, round(seconds / 5 / once))
        best = min(timed(rounds) for _ in range(5))
    return workers * FLOP / best


def products_are_correct() -> bool:
    """Return whether a float32 and a float64 product agree with sums that do not use the BLAS."""
    import numpy as np

    rng = np.random.default_rng(1)
    x, w = rng.random((37, 101)), rng.random((101, 29))
    want = (x[:, :, None] * w[None]).sum(axis=1)
    exact = np.abs(x @ w - want).max() < 1e-12
    return bool(exact and np.abs(x.astype("f4") @ w.astype("f4") - want).max() < 1e-4)


def main() -> None:
    """Measure and print.

    The arguments are the number of threads and the seconds per measurement.
    """
    from chalknet.machine.facts import blas_facts

    workers, seconds = int(sys.argv[1]), float(sys.argv[2])
    rates = {dtype: product_rate(dtype, workers, seconds) for dtype in ("float32", "float64")}
    print(json.dumps({"correct": products_are_correct(), "rates": rates, **blas_facts()}))


if __name__ == "__main__":
    main()
