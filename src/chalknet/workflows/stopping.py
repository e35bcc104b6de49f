"""Find the early-stopping point of a run, or of each configuration of a study."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chalknet.artifacts.run_folder import SUMMARY_FILE, read_run, unfinished_hint
from chalknet.config import MONITORS, near_match
from chalknet.errors import ConfigError, StoreError
from chalknet.formatting import json_ready, points
from chalknet.reporting.tables import MONITOR_NAMES, SPLIT_NAMES
from chalknet.studies.results_reader import read_results
from chalknet.studies.stopping_point import StoppingPoint, find_configuration_stopping_point, find_stopping_point
from chalknet.studies.store import STORE_FILE, study_hint


@dataclass(frozen=True)
class StoppingResult:
    """The stopping point of a run or a configuration, or why there is none.

    Attributes:
        label: the run or configuration.
        point: the stopping point, or None.
        reason: why there is none, or "".
    """

    label: str
    point: StoppingPoint | None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the result, JSON-ready; intervals that could not be computed are null."""
        point = None if self.point is None else json_ready(asdict(self.point))
        return {"label": self.label, "point": point, "reason": self.reason}

    def sentences(self) -> str:
        """Return the result in words."""
        point = self.point
        if point is None:
            return f"{self.label}: {self.reason}."
        best = "smallest" if point.monitor == "valid_loss" else "largest"
        text = f"{self.label}: the {MONITOR_NAMES[point.monitor]} is {best} after epoch {point.epoch.value:.0f}"
        if not np.isnan(point.epoch.low):
            text += f" (95 % interval {point.epoch.low:.0f} to {point.epoch.high:.0f})"
        if len(point.by_seed) > 1:
            text += f"; by seed: {', '.join(map(str, point.by_seed))}"
        if point.epoch.value == point.n_epochs:
            return text + ". That is the last epoch: training longer may still improve it."
        text += f". Training until epoch {point.n_epochs} changed accuracy by "
        return text + f"{', '.join(_gain(point, split) for split in point.accuracy_at_best)}."


def find_stopping(folder: str | Path, monitor: str = "valid_loss") -> tuple[StoppingResult, ...]:
    """Find the stopping point of a run, or of each finished configuration of a study.

    Args:
        folder: the folder of a run or a study.
        monitor: "valid_loss" or "valid_accuracy".

    Raises:
        ConfigError: an unknown monitor.
        StoreError: the folder holds neither, or is damaged.
    """
    if monitor not in MONITORS:
        raise ConfigError(
            f"monitor must be one of {', '.join(MONITORS)}, got {monitor!r}.{near_match(monitor, MONITORS)}"
        )
    if (Path(folder) / SUMMARY_FILE).is_file():
        return (_of_run(Path(folder), monitor),)
    if not (Path(folder) / STORE_FILE).is_file():
        hint = unfinished_hint(Path(folder)) or study_hint(Path(folder))
        raise StoreError(f"{folder}: holds neither a finished run ({SUMMARY_FILE}) nor a study ({STORE_FILE}).{hint}")
    results = read_results(folder)
    return tuple(
        StoppingResult(
            config.label,
            *find_configuration_stopping_point(results, config, list(results.finished_runs(config).values()), monitor),
        )
        for config in results.configurations
    )


def _gain(point: StoppingPoint, split: str) -> str:
    text = f"{points(point.gain(split))} points in {SPLIT_NAMES[split]}"
    if split == "valid" and not np.isnan(point.valid_gain.low):
        text += f" (95 % interval {points(point.valid_gain.low)} to {points(point.valid_gain.high)})"
    return text


def _of_run(folder: Path, monitor: str) -> StoppingResult:
    run = read_run(folder)
    losses, correct = run.valid_losses, run.valid_correct
    if losses is not None and correct is not None:
        losses, correct = losses[None], correct[None]
    found = find_stopping_point([run.history], run.recipe.training.epochs, losses, correct, monitor)
    return StoppingResult(folder.name or str(folder), *found)
