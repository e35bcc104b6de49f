"""The stopping points of a run or of a study's cells, found on their full curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.artifacts.run_folder import SUMMARY_FILE, read_run
from chalknet.config import MONITORS, near_match
from chalknet.errors import ConfigError, StoreError
from chalknet.formatting import DASH, points
from chalknet.reporting.tables import MONITOR_NAMES, PART_NAMES, Table
from chalknet.studies.reading import read_results
from chalknet.studies.results import StudyResults, UnitResult
from chalknet.studies.stopping_point import StoppingPoint, stopping_point
from chalknet.studies.store import STORE_FILE

STOPPED_EARLY = "it stopped early, so its curves are not whole. Train it without --stop-early."
RESAMPLING_SEED = 0  # so that the same folder gives the same interval


@dataclass(frozen=True)
class Stopping:
    """A run's or a cell's stopping point, or why there is none."""

    label: str
    point: StoppingPoint | None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; intervals that could not be had are null."""
        point = None if self.point is None else _without_nan(asdict(self.point))
        return {"label": self.label, "point": point, "reason": self.reason}

    def sentences(self) -> str:
        """What was found, in words."""
        point = self.point
        if point is None:
            return f"{self.label}: {self.reason}"
        best = "smallest" if point.monitor == "valid_loss" else "largest"
        text = f"{self.label}: the {MONITOR_NAMES[point.monitor]} is {best} after epoch {point.epoch.value:.0f}"
        if not np.isnan(point.epoch.low):
            text += f" (95 % interval {point.epoch.low:.0f} to {point.epoch.high:.0f})"
        if len(point.by_seed) > 1:
            text += f"; the seeds' own: {', '.join(map(str, point.by_seed))}"
        if point.epoch.value == point.n_epochs:
            return text + ". That is the last epoch: training longer may still improve it."
        text += f". Training on to epoch {point.n_epochs} changed accuracy by "
        return text + f"{', '.join(_gain(point, part) for part in point.accuracy_then)}."


def find_stopping(folder: str | Path, monitor: str = "valid_loss") -> tuple[Stopping, ...]:
    """The stopping point of a run folder, or of each complete cell of a study's folder.

    Args:
        monitor: "valid_loss" or "valid_accuracy".
    Raises:
        ConfigError: an unknown monitor.
        StoreError: the folder is neither, or is damaged.
    """
    if monitor not in MONITORS:
        raise ConfigError(
            f"monitor must be one of {', '.join(MONITORS)}, got {monitor!r}.{near_match(monitor, MONITORS)}"
        )
    if (Path(folder) / SUMMARY_FILE).is_file():
        return (_of_run(Path(folder), monitor),)
    if not (Path(folder) / STORE_FILE).is_file():
        raise StoreError(f"{folder}: holds neither a finished run ({SUMMARY_FILE}) nor a study ({STORE_FILE}).")
    return tuple(_of_study(read_results(folder), monitor))


def stopping_table(found: tuple[Stopping, ...], *, joined: bool = True) -> Table:
    """A row for each stopping point: where it is, and each part's mean accuracy there and at the end.

    Args:
        joined: whether these two share a column, as a terminal wants it, or have one each.
    """
    parts = [
        f"{name}, there / end" if joined else f"{name} {when}" for name in PART_NAMES.values() for when in WHEN[joined]
    ]
    rows = [_row(one.label, one.point, joined) for one in found if one.point is not None]
    return Table(
        f"Stopping point by {_monitor_of(found)}", ("", "best epoch", "95 % interval", "of", *parts), tuple(rows)
    )


WHEN = {True: ("",), False: ("there", "at end")}


def _monitor_of(found: tuple[Stopping, ...]) -> str:
    return next((MONITOR_NAMES[one.point.monitor] for one in found if one.point is not None), "validation")


def _row(label: str, point: StoppingPoint, joined: bool) -> tuple[str, ...]:
    ends = DASH if np.isnan(point.epoch.low) else f"{point.epoch.low:.0f} to {point.epoch.high:.0f}"
    pairs = [
        [_percent(values.get(part)) for values in (point.accuracy_then, point.accuracy_at_end)] for part in PART_NAMES
    ]
    cells = [" / ".join(pair) for pair in pairs] if joined else [cell for pair in pairs for cell in pair]
    return (label, f"{point.epoch.value:.0f}", ends, str(point.n_epochs), *cells)


def _percent(values: tuple[float, ...] | None) -> str:
    return DASH if values is None else f"{100 * float(np.mean(values)):.2f} %"


def _gain(point: StoppingPoint, part: str) -> str:
    text = f"{points(point.gain(part))} points in {PART_NAMES[part]}"
    if part == "valid" and not np.isnan(point.valid_gain.low):
        text += f" (95 % interval {points(point.valid_gain.low)} to {points(point.valid_gain.high)})"
    return text


def _of_run(folder: Path, monitor: str) -> Stopping:
    run = read_run(folder)
    label = folder.name or str(folder)
    if run.history[0].valid is None:
        return Stopping(label, None, "it has no validation samples, by which to tell.")
    if len(run.history) < run.recipe.training.epochs:
        return Stopping(label, None, STOPPED_EARLY)
    losses, right = run.valid_losses, run.valid_right
    if losses is not None and right is not None:
        losses, right = losses[None], right[None]
    return Stopping(label, stopping_point([run.history], losses, right, _rng(), monitor=monitor))


def _of_study(results: StudyResults, monitor: str) -> Iterator[Stopping]:
    for cell in results.cells:
        units = list(results.finished(cell).values())
        if len(units) < len(results.seeds):
            yield Stopping(cell.label, None, f"{len(units)} of its {len(results.seeds)} seeds are done.")
        elif units[0].history[0].valid is None:
            yield Stopping(cell.label, None, "it has no validation samples, by which to tell.")
        elif any(len(unit.history) < cell.recipe.training.epochs for unit in units):
            yield Stopping(cell.label, None, STOPPED_EARLY)
        else:
            yield Stopping(cell.label, _of_units(units, results.has_same_images, monitor))


def _of_units(units: list[UnitResult], same_images: bool, monitor: str) -> StoppingPoint:
    """With seeds that have validation images of their own there is nothing to pair, and so no interval."""
    losses = np.stack([unit.valid_losses for unit in units]) if same_images else None
    right = np.stack([unit.valid_right for unit in units]) if same_images else None
    return stopping_point([unit.history for unit in units], losses, right, _rng(), monitor=monitor)


def _rng() -> np.random.Generator:
    return np.random.default_rng(RESAMPLING_SEED)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
