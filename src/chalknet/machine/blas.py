"""The number of threads of the BLAS that NumPy has loaded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from chalknet.machine.shared_setting import SharedSetting


def one_blas_thread() -> AbstractContextManager[None]:
    """Run products on one BLAS thread while the returned context lasts.

    A BLAS divides a product among its threads, and the order of additions depends on where it is
    divided. So its number of threads changes last digits; with one thread they depend on the machine
    alone. The number of threads is a setting of the whole process. It is restored when the last
    thread that is in such a context has left it.
    """
    return _THREADS.set_to([1] * len(_libraries()))


def blas_threads() -> int:
    """Return the largest number of threads of a BLAS, at least 1."""
    return max([1, *_get_threads()])


def _get_threads() -> list[int]:
    """Return the number of threads of each BLAS library."""
    return [library.get_num_threads() for library in _libraries()]


def _set_threads(numbers: list[int]) -> None:
    """Set the number of threads of each BLAS library."""
    for library, number in zip(_libraries(), numbers, strict=True):
        # threadpoolctl lets only the thread that first set a limit change it, until that thread
        # gives up control. Here any thread may be the last to leave.
        give_up = getattr(library, "clear_controlling_thread", lambda **_: None)
        give_up(force=True)
        library.set_num_threads(number)
        give_up(force=True)


_THREADS = SharedSetting(_get_threads, _set_threads)


@cache
def _libraries() -> list[Any]:
    """Return the loaded BLAS libraries. The search takes milliseconds, so the result is cached."""
    import numpy as np  # loads the BLAS
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    del np
    return [one for one in ThreadpoolController().lib_controllers if one.user_api == "blas"]
