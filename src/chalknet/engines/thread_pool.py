"""A pool of threads for the tasks of one update.

NumPy releases the interpreter lock inside products and ufuncs, so threads run them in parallel.
Unlike an executor of `concurrent.futures`, the pool tells each task the number of its thread, by
which the task finds buffers that no other thread uses at the same time, and the calling thread
takes part in the work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any
from weakref import finalize

import numpy as np

# A task is called with the number of the thread that runs it, to find that thread's buffers.
Task = Callable[[int], Any]


class ThreadPool:
    """n threads that share the tasks of a call of `run`.

    The calling thread is number 0. The n - 1 others are daemon threads that wait for work; they end
    when the pool is freed. What a task computes must not depend on the number of its thread, so
    results do not depend on n.

    Args:
        n: number of threads, at least 1.
    """

    def __init__(self, n: int) -> None:
        """Start the threads."""
        self.n = n
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._inboxes: list[SimpleQueue[Sequence[Task] | None]] = [SimpleQueue() for _ in range(n - 1)]
        threads = [
            threading.Thread(
                target=_work, args=(number, inbox, self._done), name=f"chalknet-worker-{number}", daemon=True
            )
            for number, inbox in enumerate(self._inboxes, start=1)
        ]
        for thread in threads:
            thread.start()
        # The threads hold the queues and not the pool, so that the pool can be freed while they
        # wait.
        finalize(self, _stop, self._inboxes, threads)

    def run(self, tasks: Sequence[Task], shared: bool = True) -> None:
        """Run all tasks and return when the last has ended.

        Thread k runs tasks k, k + n, k + 2 n, ... in this order.

        Args:
            tasks: functions of the number of the thread.
            shared: False to run all tasks in the calling thread, for work that is too little to
                be worth waking other threads.

        Raises:
            BaseException: the error of a task, if one failed. All threads have then stopped.
        """
        busy = min(self.n, len(tasks)) - 1 if shared else 0
        for number in range(1, busy + 1):
            self._inboxes[number - 1].put(tasks[number :: self.n])
        errors = [_run_all(tasks[0 :: self.n] if shared else tasks, 0)]
        interrupt: BaseException | None = None
        while len(errors) <= busy:
            try:
                errors.append(self._done.get())
            except KeyboardInterrupt as error:
                # Keep waiting. A thread that still runs would write to buffers that the caller may
                # use next, and its answer would be taken for that of a later call.
                interrupt = error
        for found in (*errors, interrupt):
            if found is not None:
                raise found


def _work(number: int, inbox: SimpleQueue[Sequence[Task] | None], done: SimpleQueue[BaseException | None]) -> None:
    """Run tasks from the inbox until it holds None."""
    # NumPy keeps error settings per thread, so those of the calling thread do not apply here.
    with np.errstate(over="ignore", invalid="ignore"):
        while (tasks := inbox.get()) is not None:
            error = _run_all(tasks, number)
            # Tasks are methods of an engine, and errors hold frames. A waiting thread must not
            # keep either alive, or the engine and its memory would never be freed.
            del tasks
            done.put(error)
            del error


def _run_all(tasks: Sequence[Task], number: int) -> BaseException | None:
    """Run tasks in order; return the error of the first that fails, or None."""
    try:
        for task in tasks:
            task(number)
    except BaseException as error:  # the calling thread raises it, whatever it is
        return error
    return None


def _stop(inboxes: Sequence[SimpleQueue[Sequence[Task] | None]], threads: Sequence[threading.Thread]) -> None:
    """End the threads and wait for them.

    A daemon thread that still exists when the interpreter exits may abort the process if a C++
    library such as torch is loaded.
    """
    for inbox in inboxes:
        inbox.put(None)
    for thread in threads:
        # The pool may be freed by one of its own threads, which cannot wait for itself.
        if thread is not threading.current_thread():
            thread.join()
