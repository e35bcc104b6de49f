"""Predict the single rows of several requests together."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from chalknet.network.arrays import FloatArray
from chalknet.serving.inputs import value_notes
from chalknet.serving.server.guard import BUSY, LOGGER, RequestError
from chalknet.serving.server.registry import ServedModel

MAX_BATCH = 256  # rows that are predicted together


class RowPrediction(NamedTuple):
    """The prediction of a row.

    Attributes:
        label: index of the most probable class.
        probabilities: (K,).
        notes: what looks unusual, one sentence each.
    """

    label: int
    probabilities: FloatArray
    notes: list[str]


class _Waiting(NamedTuple):
    """A row that waits for its prediction: its model, its float64 values as bytes, who waits, and since when."""

    model: ServedModel
    values: bytes
    future: asyncio.Future[RowPrediction]
    since: float


class RowBatcher:
    """Collects rows while others are predicted, and predicts those together that have come meanwhile.

    A row that comes alone does not wait for others. The predictions run in a thread, so that the event loop goes on
    reading and answering requests.

    Args:
        max_waiting: rows that may wait.
        observe: called in the event loop with the number of rows of each batch.
    """

    def __init__(self, max_waiting: int, observe: Callable[[int], None] = lambda _: None) -> None:
        """Start the thread."""
        self._max_waiting, self._observe = max_waiting, observe
        self._rows, self._in_work = list[_Waiting](), list[_Waiting]()
        self._is_busy = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batches: SimpleQueue[list[_Waiting] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="chalknet-rows", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """The number of rows that wait."""
        return len(self._rows)

    def submit(self, model: ServedModel, values: bytes) -> asyncio.Future[RowPrediction]:
        """Return the future prediction of a row.

        Args:
            model: the model.
            values: its I float64 values, finite.

        Raises:
            RequestError: too many rows wait (503).
        """
        if len(self._rows) >= self._max_waiting:
            raise RequestError(503, "too many requests wait for a prediction. Ask again in a second.", BUSY)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[RowPrediction] = self._loop.create_future()
        self._rows.append(_Waiting(model, values, future, self._loop.time()))
        if not self._is_busy:
            self._is_busy = True
            # Requests that the event loop reads in the same round join the batch.
            self._loop.call_soon(self._dispatch)
        return future

    def expire(self, seconds: float) -> None:
        """Answer rows that have waited for longer than some seconds with an error (504).

        This is called about once a second, which costs less than a timer for each row.
        """
        if self._loop is None:
            return
        limit = self._loop.time() - seconds
        for one in (*self._in_work, *self._rows):
            if one.since < limit and not one.future.done():
                one.future.set_exception(too_slow(seconds))

    def stop(self) -> None:
        """Tell the thread to end after the batch that it is predicting; do not wait for it."""
        self._batches.put(None)

    def _dispatch(self) -> None:
        batch, self._rows = self._rows[:MAX_BATCH], self._rows[MAX_BATCH:]
        batch = [one for one in batch if not one.future.done()]  # such as one whose time is over
        self._in_work = batch
        self._observe(len(batch))
        self._batches.put(batch)

    def _work(self) -> None:
        """Predict batches until there is None in place of one."""
        while (batch := self._batches.get()) is not None:
            results = list[Any]()
            try:
                results = _predict(batch)
            except Exception as error:  # an error of the program, which must not end the thread
                LOGGER.exception("a batch failed")
                results = [error] * len(batch)
            assert self._loop is not None
            with suppress(RuntimeError):  # the server has stopped meanwhile
                self._loop.call_soon_threadsafe(self._deliver, batch, results)

    def _deliver(self, batch: list[_Waiting], results: list[Any]) -> None:
        for one, result in zip(batch, results, strict=True):
            if one.future.done():
                continue
            if isinstance(result, BaseException):
                one.future.set_exception(result)
            else:
                one.future.set_result(result)
        if self._rows:
            self._dispatch()
        else:
            self._is_busy = False


def too_slow(seconds: float) -> RequestError:
    """Return the error of a request that took longer than some seconds."""
    return RequestError(504, f"the prediction took more than {seconds:g} seconds. Send less at once.")


def _predict(batch: list[_Waiting]) -> list[Any]:
    """Return the prediction or the error of each row, in order."""
    by_model = defaultdict[ServedModel, list[int]](list)
    for at, one in enumerate(batch):
        by_model[one.model].append(at)
    results: list[Any] = [None] * len(batch)
    for model, places in by_model.items():
        rows = np.frombuffer(b"".join(batch[at].values for at in places)).reshape(len(places), -1)
        probabilities, is_valid = model.rowwise.predict(rows)
        labels = probabilities.argmax(axis=1).tolist()
        for at, row, label, values, valid in zip(places, probabilities, labels, rows, is_valid, strict=True):
            if valid:
                results[at] = RowPrediction(label, row, value_notes(values[None], model.classifier))
            else:
                results[at] = RequestError(422, "sample 0 has values so large that the network's values overflow.")
    return results
