"""A worker as an actor of a Ray cluster: it is given loads, and says what a worker process would say."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import Any

from chalknet.data.dataset import Dataset
from chalknet.studies.runner.load import train_load


class RayWorker:
    """Trains one load at a time, in a thread of its own, with samples that lie in the node's shared memory or on disk.

    Its two methods run at the same time.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._loads: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        self._said: SimpleQueue[tuple[Mapping[str, Any], bytes]] = SimpleQueue()
        self._said.put(({"say": "ready"}, b""))
        threading.Thread(target=self._work, daemon=True).start()

    def give(self, message: Mapping[str, Any]) -> None:
        """A `load_message`."""
        self._loads.put(message)

    def listen(self) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """All that it says, as in `wire`, without an end."""
        while True:
            yield self._said.get()

    def _work(self) -> None:
        while True:
            train_load(self._loads.get(), self._data, lambda message, content: self._said.put((message, content)))
