"""Threads that share out the tasks of a step; NumPy lets go of the interpreter's lock inside products and ufuncs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any
from weakref import finalize

import numpy as np

Task = Callable[[int], Any]  # gets the number of the worker that runs it, to find that worker's buffers


class ThreadPool:
    """n workers, of which the calling thread is number 0; the others wait for work until the object is gone.

    Which worker runs a task has no influence on what the task computes, so results do not depend on n.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._inboxes: list[SimpleQueue[Sequence[Task] | None]] = [SimpleQueue() for _ in range(n - 1)]
        threads = [
            threading.Thread(target=_work, args=(*told, self._done), name=f"chalknet-worker-{told[0]}", daemon=True)
            for told in enumerate(self._inboxes, start=1)
        ]
        for thread in threads:
            thread.start()
        finalize(self, _dismiss, self._inboxes, threads)

    def run(self, tasks: Sequence[Task], shared: bool = True) -> None:
        """Run all tasks, every n-th by the same worker, and return when the last is done; raise an error of any.

        Args:
            shared: False to run all of them in the calling thread, where they are too little work to share.
        """
        busy = min(self.n, len(tasks)) - 1 if shared else 0
        for number in range(1, busy + 1):
            self._inboxes[number - 1].put(tasks[number :: self.n])
        errors = [_run_all(tasks[0 :: self.n] if shared else tasks, 0)]
        interrupt: BaseException | None = None
        while len(errors) <= busy:
            try:
                errors.append(self._done.get())
            except KeyboardInterrupt as error:  # the others must have ended before the next tasks are handed out
                interrupt = error
        for found in (*errors, interrupt):
            if found is not None:
                raise found


def _work(number: int, inbox: SimpleQueue[Sequence[Task] | None], done: SimpleQueue[BaseException | None]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):  # the caller's own setting does not reach other threads
        while (tasks := inbox.get()) is not None:
            error = _run_all(tasks, number)
            del tasks  # a waiting thread must not keep the engine whose methods they are
            done.put(error)
            del error


def _run_all(tasks: Sequence[Task], number: int) -> BaseException | None:
    try:
        for task in tasks:
            task(number)
    except BaseException as error:  # handed to the caller, whatever it is
        return error
    return None


def _dismiss(inboxes: Sequence[SimpleQueue[Sequence[Task] | None]], threads: Sequence[threading.Thread]) -> None:
    """Ends the threads, and waits for them: one that is still there when the interpreter ends may abort the process,
    where a library in C++ such as torch is loaded."""
    for inbox in inboxes:
        inbox.put(None)
    for thread in threads:
        if thread is not threading.current_thread():  # where the last reference may have been given up
            thread.join()
