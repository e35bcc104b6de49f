"""Where a training is logged as it goes: what --log names, and the writers of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chalknet.config import Recipe, near_match
from chalknet.errors import ConfigError
from chalknet.training.trainer import Observer

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


@contextmanager
def opened_logs(logs: Sequence[Log], recipe: Recipe, seed: int | None) -> Iterator[list[Observer]]:
    """The writers of some logs, closed at the end; of a member of an ensemble, told by its seed, each has its own."""
    with ExitStack() as stack:
        yield [_opened(log, recipe, seed, stack) for log in logs]


def _opened(log: Log, recipe: Recipe, seed: int | None, stack: ExitStack) -> Observer:
    from chalknet.artifacts.csv_writer import CsvWriter
    from chalknet.artifacts.mlflow_writer import MlflowWriter
    from chalknet.artifacts.tensorboard_writer import TensorBoardWriter

    place = Path(log.place)
    if log.kind == "csv":
        return CsvWriter(place if seed is None else place.with_name(f"{place.stem}-seed{seed}{place.suffix}"))
    if log.kind == "tensorboard":
        return stack.enter_context(TensorBoardWriter(place if seed is None else place / f"seed{seed}"))
    name = f"{recipe.name}-seed{recipe.training.seed if seed is None else seed}"
    return stack.enter_context(MlflowWriter(log.place or None, run_name=name, recipe=recipe))
