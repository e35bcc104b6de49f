"""Control over the BLAS that NumPy has loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_LOCK = threading.Lock()
_entered = 0  # times that `one_blas_thread` is entered at present, in all threads
_threads_before: list[int] = []  # of each library, before the first of these


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While it is entered, every product of this process runs on one BLAS thread; after it, on as many as before.

    A BLAS divides a product among its threads and adds in another order where the cuts fall, so its number of threads
    changes the last digits of a result. On one thread they depend on the machine alone. A BLAS has one number of
    threads for the whole process, so the limit is counted: it is lifted when the last thread has left.
    """
    global _entered, _threads_before
    with _LOCK:
        if not _entered:
            _threads_before = [library.get_num_threads() for library in _libraries()]
        _entered += 1
        _set_threads([1] * len(_libraries()))
    try:
        yield
    finally:
        with _LOCK:
            _entered -= 1
            if not _entered:
                _set_threads(_threads_before)


def _set_threads(numbers: list[int]) -> None:
    for library, number in zip(_libraries(), numbers, strict=True):
        # threadpoolctl ignores every thread but the first one that sets a limit, until that one gives up control.
        give_up = getattr(library, "clear_controlling_thread", lambda **_: None)
        give_up(force=True)
        library.set_num_threads(number)
        give_up(force=True)


@cache
def _libraries() -> list[Any]:
    """Return the loaded libraries, which are looked for once, since that takes milliseconds."""
    import numpy as np  # loads the BLAS that is to be controlled
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    del np
    return [one for one in ThreadpoolController().lib_controllers if one.user_api == "blas"]
