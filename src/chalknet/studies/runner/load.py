"""What every kind of worker does with a load: trains its units, and tells of each how far it is and what it gave."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from chalknet.data.dataset import Dataset
from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.studies.outcome import train_unit
from chalknet.studies.runner.wire import outcome_frame, unit_from

SECONDS_BETWEEN_EPOCHS = 0.1  # that are told; epochs of a small network are shorter

Tell = Callable[[Mapping[str, Any], bytes], None]


def train_load(message: Mapping[str, Any], data: Dataset, tell: Tell) -> None:
    """Trains the units of a `load_message`; tell gets messages as in `wire`, each with the bytes that follow it.

    A unit that fails is told as failed and stops no other; what tell raises goes through.
    """
    for number in range(len(message["units"])):
        tell(*_trained(number, message, data, tell))


def _trained(number: int, message: Mapping[str, Any], data: Dataset, tell: Tell) -> tuple[dict[str, Any], bytes]:
    """One unit's last message."""
    last = time.monotonic()
    told: list[BaseException] = []

    def tell_epoch(record: EpochRecord) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_EPOCHS:
            last = time.monotonic()
            try:
                tell({"say": "epoch", "unit": number, "epoch": record.epoch}, b"")
            except BaseException as error:
                told.append(error)
                raise

    try:
        outcome = train_unit(
            data,
            unit_from(message["units"][number]),
            threads=message["threads"],
            trained=message["trained"],
            with_model=message["with_model"][number],
            observe=tell_epoch,
        )
    except Exception as error:
        if error in told:
            raise
        return {"say": "failed", "unit": number, "error": _in_a_line(error)}, b""
    said, content = outcome_frame(outcome)
    return {**said, "unit": number}, content


def _in_a_line(error: Exception) -> str:
    if isinstance(error, ChalknetError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"needs more memory than there is. {error}".rstrip()
    return f"{type(error).__name__}: {error}"  # a fault of this program's, which must not stop the other units
