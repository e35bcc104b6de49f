"""Control over the BLAS that NumPy has loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_LOCK = threading.Lock()
_entered = 0  # times that `one_blas_thread` is entered at present, in all threads
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it is entered, every product of this process runs on one BLAS thread; after it, on as many as before.

    A BLAS divides a product among its threads and adds in another order where the cuts fall, so its number of threads
    changes the last digits of a result. On one thread they depend on the machine alone. The limit is one of the whole
    process, so it is counted: the first thread that enters sets it, and the last one that leaves lifts it.
    """
    global _entered, _limit
    with _LOCK:
        if not _entered:
            _limit = _controller().limit(limits=1, user_api="blas")
        _entered += 1
    try:
        yield
    finally:
        with _LOCK:
            _entered -= 1
            if not _entered:
                _limit.restore_original_limits()


@cache
def _controller() -> Any:
    import numpy as np  # loads the BLAS that is to be controlled
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    del np
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds; hence the cache
