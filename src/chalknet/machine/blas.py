"""Control over the BLAS that NumPy has loaded."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from chalknet.machine.shared_setting import SharedSetting


def one_blas_thread() -> AbstractContextManager[None]:
    """While it is entered, every product of this process runs on one BLAS thread; after it, on as many as before.

    A BLAS divides a product among its threads and adds in another order where the cuts fall, so its number of threads
    changes the last digits of a result. On one thread they depend on the machine alone. A BLAS has one number of
    threads for the whole process, so the limit is lifted when the last thread has left.
    """
    return _THREADS.of([1] * len(_libraries()))


def _get_threads() -> list[int]:
    return [library.get_num_threads() for library in _libraries()]


def _set_threads(numbers: list[int]) -> None:
    for library, number in zip(_libraries(), numbers, strict=True):
        # threadpoolctl ignores every thread but the first one that sets a limit, until that one gives up control.
        give_up = getattr(library, "clear_controlling_thread", lambda **_: None)
        give_up(force=True)
        library.set_num_threads(number)
        give_up(force=True)


_THREADS = SharedSetting(_get_threads, _set_threads)


@cache
def _libraries() -> list[Any]:
    """Return the loaded libraries, which are looked for once, since that takes milliseconds."""
    import numpy as np  # loads the BLAS that is to be controlled
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    del np
    return [one for one in ThreadpoolController().lib_controllers if one.user_api == "blas"]
