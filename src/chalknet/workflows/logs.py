"""Where a training is logged as it goes: what --log names, and the writers of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalknet.config import near_match
from chalknet.errors import ConfigError

if TYPE_CHECKING:
    from chalknet.artifacts.log_writer import LogWriter

KINDS = ("csv", "tensorboard", "mlflow")


@dataclass(frozen=True)
class Log:
    """kind: one of `KINDS`. place: a file, a folder or the store's address; "" for MLflow's own."""

    kind: str
    place: str


def parsed_log(text: str) -> Log:
    """ "csv:FILE", "tensorboard:FOLDER", "mlflow" or "mlflow:URI".

    Raises:
        ConfigError: another kind, with the nearest, or no place.
    """
    kind, _, place = text.partition(":")
    if kind not in KINDS:
        raise ConfigError(f"--log {text} names no kind of log.{near_match(kind, KINDS)}")
    if not place and kind != "mlflow":
        raise ConfigError(f"--log {kind} needs a place, such as {kind}:{'log.csv' if kind == 'csv' else 'runs/board'}.")
    return Log(kind, place)


def log_writer(log: Log, tell: Callable[[str], None]) -> LogWriter:
    """The writer of a log; tell gets the line that says that its place failed.

    Raises:
        MissingExtraError: what it writes with is not there. OutputError: its place cannot be written.
    """
    from chalknet.artifacts.csv_writer import CsvWriter
    from chalknet.artifacts.mlflow_writer import MlflowWriter
    from chalknet.artifacts.tensorboard_writer import TensorBoardWriter

    if log.kind == "csv":
        return CsvWriter(log.place, tell=tell)
    if log.kind == "tensorboard":
        return TensorBoardWriter(log.place, tell=tell)
    return MlflowWriter(log.place or None, tell=tell)
