"""Draw many font files in a pool of processes.

A font that crashes FreeType ends only a process of the pool.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from chalknet.data.glyph_builder.drawing import Drawn, DrawTask, draw_file
from chalknet.data.glyph_builder.faces import Drop, Face
from chalknet.data.glyph_builder.fonts import FontFile

Progress = Callable[[int, int], None]
Draw = Callable[[DrawTask], Drawn]
Store = Callable[[Sequence[int], Sequence[Drawn]], None]
FILES_PER_TASK = 8


def scan_fonts(
    fonts: Sequence[FontFile],
    letters: Sequence[str],
    *,
    size: int = 28,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> tuple[list[Face], list[Drop]]:
    """Draw all fonts.

    Args:
        fonts: the font files.
        letters: K single characters.
        size: height and width of an image in pixels.
        jobs: number of processes; None for one per core.
        on_progress: called with (files done, files in total).

    Returns:
        The faces that have all letters, in the order of fonts, and a drop for every other file or
        face.
    """
    results = run_tasks([DrawTask(font, tuple(letters), size) for font in fonts], jobs, on_progress)
    everything = [item for result in results for item in result]
    return [x for x in everything if isinstance(x, Face)], [x for x in everything if isinstance(x, Drop)]


def run_tasks(
    tasks: Sequence[DrawTask], jobs: int | None, on_progress: Progress | None, draw: Draw = draw_file
) -> list[Drawn]:
    """Return the result of each task, in order, whatever the number of processes."""
    results: dict[int, Drawn] = {}

    def store(numbers: Sequence[int], drawn: Sequence[Drawn]) -> None:
        results.update(zip(numbers, drawn, strict=True))
        if on_progress is not None:
            on_progress(len(results), len(tasks))

    workers = min(jobs or os.cpu_count() or 1, math.ceil(len(tasks) / FILES_PER_TASK))
    if workers <= 1:
        for number, task in enumerate(tasks):
            store([number], [draw(task)])
    else:
        _run_in_pool(tasks, workers, draw, store)
        _run_alone([n for n in range(len(tasks)) if n not in results], tasks, draw, store)
    return [results[number] for number in range(len(tasks))]


def _run_in_pool(tasks: Sequence[DrawTask], workers: int, draw: Draw, store: Store) -> None:
    """Run tasks in a pool until all are done or a font crashes a process.

    Results that arrive before a crash are stored; the others are left to `_run_alone`.
    """
    with _pool(workers) as pool:
        waiting: dict[Future[list[Drawn]], list[int]] = {}
        for first in range(0, len(tasks), FILES_PER_TASK):
            numbers = list(range(first, min(first + FILES_PER_TASK, len(tasks))))
            waiting[pool.submit(_draw_files, draw, [tasks[n] for n in numbers])] = numbers
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    store(waiting.pop(future), future.result())
        except BrokenProcessPool:
            return
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_alone(numbers: Sequence[int], tasks: Sequence[DrawTask], draw: Draw, store: Store) -> None:
    """Run each task in one process, which is replaced if a font crashes it.

    This identifies the font that crashes, so that only this font is dropped.
    """
    left = list(numbers)
    while left:
        with _pool(1) as pool:
            try:
                while left:
                    store(left[:1], [pool.submit(draw, tasks[left[0]]).result()])
                    left.pop(0)
            except BrokenProcessPool:
                store(left[:1], [[Drop(tasks[left[0]].font.name, "unreadable", "crashed the font library")]])
                left.pop(0)


def _pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of processes that ignore Ctrl-C."""
    # "spawn", because a fork of a process with BLAS threads can hang, and Python 3.12 warns about it.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C in a process of the pool.

    The parent handles it and ends the pool, so that there is one message and not a traceback per
    process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_files(draw: Draw, tasks: Sequence[DrawTask]) -> list[Drawn]:
    """Draw several files in one task."""
    return [draw(task) for task in tasks]
