"""What every kind of worker does with a load: trains its units, and tells of each how far it is and what it gave."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.studies.outcome import Outcome, train_unit, train_units
from chalknet.studies.runner.wire import outcome_frame, unit_from
from chalknet.studies.unfinished import UnitCheckpoint

SECONDS_BETWEEN_EPOCHS = 0.1  # that are told; epochs of a small network are shorter

Tell = Callable[[Mapping[str, Any], bytes], None]


def train_load(message: Mapping[str, Any], data: Dataset, tell: Tell) -> None:
    """Trains the units of a `load_message`, several in one stack; tell gets messages as in `wire`, with their bytes.

    A unit that fails is told as failed and stops no other; where a stack fails as a whole, those of its units that are
    not finished are trained one by one. What tell raises goes through.
    """
    _Load(message, data, tell).train()


class _Load:
    """One load, and which of its units have ended."""

    def __init__(self, message: Mapping[str, Any], data: Dataset, tell: Tell) -> None:
        self._message, self._data, self._tell = message, data, tell
        self._left = dict.fromkeys(range(len(message["units"])))
        self._told_at = dict.fromkeys(self._left, time.monotonic())
        self._raised: list[BaseException] = []  # by tell

    def train(self) -> None:
        if len(self._left) > 1:
            self._guarded(self._train_together)
        for number in list(self._left):
            error = self._guarded(partial(self._train_alone, number))
            if error is not None:
                self._end(number, {"say": "failed", "error": _in_a_line(error)})

    def _guarded(self, work: Callable[[], None]) -> Exception | None:
        """What work fails with; what telling fails with is raised."""
        try:
            work()
        except Exception as error:
            if error in self._raised:
                raise
            return error
        return None

    def _train_together(self) -> None:
        units = [unit_from(unit) for unit in self._message["units"]]
        folder = Path(self._message["unfinished"])
        fresh = [n for n, unit in enumerate(units) if not UnitCheckpoint(folder, unit).is_there]  # others go on alone
        if len(fresh) < 2:
            return
        train_units(
            self._data,
            [units[n] for n in fresh],
            lambda i, end: self._hand_over(fresh[i], end),
            threads=self._message["threads"],
            trained=self._message["trained"],
            with_model=[self._message["with_model"][n] for n in fresh],
            observe=lambda i, record: self._tell_epoch(fresh[i], record),
        )

    def _train_alone(self, number: int) -> None:
        outcome = train_unit(
            self._data,
            unit_from(self._message["units"][number]),
            threads=self._message["threads"],
            trained=self._message["trained"],
            with_model=self._message["with_model"][number],
            observe=lambda record: self._tell_epoch(number, record),
            unfinished=Path(self._message["unfinished"]),
        )
        self._hand_over(number, outcome)

    def _hand_over(self, number: int, end: Outcome | ChalknetError) -> None:
        if isinstance(end, Outcome):
            self._end(number, *outcome_frame(end))
        else:
            self._end(number, {"say": "failed", "error": _in_a_line(end)})

    def _tell_epoch(self, number: int, record: EpochRecord) -> None:
        # All units of a stack together tell no more than one alone.
        if time.monotonic() - self._told_at[number] >= SECONDS_BETWEEN_EPOCHS * len(self._left):
            self._told_at[number] = time.monotonic()
            self._say({"say": "epoch", "unit": number, "epoch": record.epoch}, b"")

    def _end(self, number: int, said: Mapping[str, Any], content: bytes = b"") -> None:
        """A unit's last message."""
        del self._left[number]
        self._say({**said, "unit": number}, content)

    def _say(self, said: Mapping[str, Any], content: bytes) -> None:
        try:
            self._tell(said, content)
        except BaseException as error:
            self._raised.append(error)
            raise


def _in_a_line(error: Exception) -> str:
    if isinstance(error, ChalknetError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"needs more memory than there is. {error}".rstrip()
    return f"{type(error).__name__}: {error}"  # a fault of this program's, which must not stop the other units
