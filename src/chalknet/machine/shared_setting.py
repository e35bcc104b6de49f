"""A setting of the whole process that several threads may want for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedSetting(Generic[T]):
    """Sets a value while any thread is in `of`, and restores the value before the first one when the last has left.

    Args:
        read: returns the present value.
        write: sets one.
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], None]) -> None:
        self._read, self._write = read, write
        self._lock, self._entered = threading.Lock(), 0

    @contextmanager
    def of(self, value: T) -> Iterator[None]:
        """Set a value for the time that this context lasts; of threads at the same time, the last one's holds."""
        with self._lock:
            if not self._entered:
                self._before = self._read()
            self._entered += 1
            self._write(value)
        try:
            yield
        finally:
            with self._lock:
                self._entered -= 1
                if not self._entered:
                    self._write(self._before)
