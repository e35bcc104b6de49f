"""Read how far a training is from its run folder; nothing is written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from chalknet.artifacts.atomic import is_locked
from chalknet.artifacts.checkpoint_history import read_checkpoint_history
from chalknet.artifacts.history_file import read_history
from chalknet.artifacts.run_folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    MEMBERS,
    REPLACEMENT,
    SUMMARY_FILE,
)
from chalknet.config import Recipe, read_config
from chalknet.errors import StoreError
from chalknet.records import EpochRecord
from chalknet.reporting.training_progress import NetworkProgress, TrainingState
from chalknet.training.recipes import member_recipes

RECENT_SECONDS = 150.0  # a checkpoint that is younger may be of a training on another machine


class TrainingFolder:
    """Reads the state of a run folder as often as it is asked to.

    Args:
        folder: the folder, which may be that of an ensemble.
    """

    def __init__(self, folder: Path) -> None:
        """Create a reader; nothing is read yet."""
        self.folder = folder
        self._known: Any = None
        self._state: TrainingState | None = None
        self._histories: dict[Path, tuple[Any, tuple[EpochRecord, ...]]] = {}

    def state(self) -> TrainingState:
        """Return the state of the training. If nothing has changed, it is the same object.

        Raises:
            ConfigError, StoreError: a file of the folder is damaged.
        """
        replacement = self.folder / REPLACEMENT
        folder = replacement if (replacement / CONFIG_FILE).is_file() else self.folder
        places = [folder, *sorted((folder / MEMBERS).glob("seed*"))]
        names = (CONFIG_FILE, CHECKPOINT_FILE, HISTORY_FILE, SUMMARY_FILE)
        known = (tuple(_stamp(place / name) for place in places for name in names), is_locked(self.folder))
        if self._state is None or known != self._known:
            self._state, self._known = self._read(folder, known[1]), known
        return self._state

    def _read(self, folder: Path, locked: bool | None) -> TrainingState:
        recipe, data = read_config(folder / CONFIG_FILE)
        is_finished = (folder / SUMMARY_FILE).is_file()
        networks = self._networks(folder, recipe)
        changed = max((stamp[0] for place, (stamp, _) in self._histories.items() if stamp), default=0) / 1e9
        is_running = locked if locked is not None else time.time() - changed < RECENT_SECONDS
        left = None
        if is_running and networks and networks[-1].history:
            times = [record.seconds for record in networks[-1].history]
            rest = recipe.training.ensemble * recipe.training.epochs
            rest -= sum(recipe.training.epochs if one.is_finished else len(one.history) for one in networks)
            left = sum(times) / len(times) * rest
        return TrainingState(
            title=f"Training {self.folder.resolve().name}",
            source=data.source,
            recipe=recipe,
            networks=networks,
            n_networks=recipe.training.ensemble,
            phase="finished" if is_finished else "running" if is_running else "interrupted",
            folder=self.folder,
            seconds_left=left,
            at=changed,
        )

    def _networks(self, folder: Path, recipe: Recipe) -> tuple[NetworkProgress, ...]:
        """Return the networks that have begun."""
        if recipe.training.ensemble == 1:
            return (self._network(folder, recipe.training.seed),)
        places = {one.training.seed: folder / MEMBERS / f"seed{one.training.seed}" for one in member_recipes(recipe)}
        return tuple(self._network(place, seed) for seed, place in places.items() if place.is_dir())

    def _network(self, folder: Path, seed: int) -> NetworkProgress:
        """Return one network from its finished files, or else from its checkpoint."""
        is_finished = (folder / SUMMARY_FILE).is_file()
        path = folder / (HISTORY_FILE if is_finished else CHECKPOINT_FILE)
        stamp = _stamp(path)
        if stamp is None:
            return NetworkProgress(seed)
        if self._histories.get(path, (None,))[0] != stamp:
            try:
                found = read_history(path) if is_finished else read_checkpoint_history(path)
            except StoreError:
                if path.exists():
                    raise
                found = ()  # the training has just ended and removed its checkpoint
            self._histories[path] = (stamp, found)
        return NetworkProgress(seed, self._histories[path][1], is_finished)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return time of the last change and size of a file, or None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
