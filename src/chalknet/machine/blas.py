"""Control over the BLAS that NumPy has loaded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """While it is entered, every product of this process runs on one BLAS thread; after it, on as many as before.

    A BLAS divides a product among its threads and adds in another order where the cuts fall, so its number of threads
    changes the last digits of a result. On one thread they depend on the machine alone.
    """
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


@cache
def _controller() -> Any:
    import numpy as np  # loads the BLAS that is to be controlled
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    del np
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds; hence the cache
