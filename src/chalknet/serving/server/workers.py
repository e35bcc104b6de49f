"""A few threads that work at requests, and that do not keep the program from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    """Threads that call functions in the order in which they were submitted.

    Unlike the threads of `concurrent.futures`, these end with the program, even if one is still at work: a server stops
    in a bounded time, whatever it was asked for.

    Args:
        n_threads: how many.
    """

    def __init__(self, n_threads: int) -> None:
        """Start the threads."""
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"chalknet-worker-{number}", daemon=True)
            for number in range(n_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Return the future result of a function."""
        future: Future[T] = Future()
        self._jobs.put((future, function))
        return future

    def stop(self) -> None:
        """Tell the threads to end after the jobs that they have; do not wait for it."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:  # the caller gets it
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, function, job  # which may hold a large body
