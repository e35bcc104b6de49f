"""A setting of the whole process that several threads change for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedSetting(Generic[T]):
    """A setting that is changed by the first thread that needs it and restored by the last.

    Without counting, a thread that leaves early would restore the old value under the others.

    Args:
        read: returns the current value.
        write: sets a value.
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], None]) -> None:
        """Create a setting that is not changed yet."""
        self._read, self._write = read, write
        self._lock, self._entered = threading.Lock(), 0

    @contextmanager
    def set_to(self, value: T) -> Iterator[None]:
        """Set a value while the context lasts.

        If several threads set a value, the latest one applies.
        """
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
