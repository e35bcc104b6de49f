"""Scanning: many files drawn in a pool of processes, which a font that crashes FreeType cannot end."""

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
FILES_A_TASK = 8


def scan_fonts(
    fonts: Sequence[FontFile],
    letters: Sequence[str],
    *,
    size: int = 28,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> tuple[list[Face], list[Drop]]:
    """Every face that has all letters, in the order of fonts, and every file or face that has not."""
    results = run_tasks([DrawTask(font, tuple(letters), size) for font in fonts], jobs, on_progress)
    everything = [item for result in results for item in result]
    return [x for x in everything if isinstance(x, Face)], [x for x in everything if isinstance(x, Drop)]


def run_tasks(
    tasks: Sequence[DrawTask], jobs: int | None, on_progress: Progress | None, draw: Draw = draw_file
) -> list[Drawn]:
    """The result of each task, in order, whatever the number of processes."""
    results: dict[int, Drawn] = {}

    def store(numbers: Sequence[int], drawn: Sequence[Drawn]) -> None:
        results.update(zip(numbers, drawn, strict=True))
        if on_progress is not None:
            on_progress(len(results), len(tasks))

    workers = min(jobs or os.cpu_count() or 1, math.ceil(len(tasks) / FILES_A_TASK))
    if workers <= 1:
        for number, task in enumerate(tasks):
            store([number], [draw(task)])
    else:
        _run_in_pool(tasks, workers, draw, store)
        _run_alone([n for n in range(len(tasks)) if n not in results], tasks, draw, store)
    return [results[number] for number in range(len(tasks))]


def _run_in_pool(tasks: Sequence[DrawTask], workers: int, draw: Draw, store: Store) -> None:
    """Draws tasks in a pool until all are done or a font has crashed a process; what is done by then is stored."""
    with _pool(workers) as pool:
        waiting: dict[Future[list[Drawn]], list[int]] = {}
        for first in range(0, len(tasks), FILES_A_TASK):
            numbers = list(range(first, min(first + FILES_A_TASK, len(tasks))))
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
    """Draws each task in one process that is replaced when a font has crashed it: only that font is dropped."""
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
    # spawn: a fork of a process that has BLAS threads can hang, and Python 3.12 warns of it.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    """Leaves Ctrl-C to the parent, which then ends the pool: one message instead of one trace a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_files(draw: Draw, tasks: Sequence[DrawTask]) -> list[Drawn]:
    return [draw(task) for task in tasks]
