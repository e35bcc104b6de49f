"""What a page that follows a study or a training shows: read from a folder, or from a training in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from chalknet.artifacts.run_folder import CHECKPOINT_FILE, CONFIG_FILE
from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.reporting.live_document import LivePage
from chalknet.reporting.ranking import Ranking
from chalknet.reporting.report_data import ConfigurationRuns
from chalknet.reporting.study_figures import MAX_PANELS
from chalknet.reporting.study_progress import study_page
from chalknet.reporting.training_progress import training_page
from chalknet.serving.watch.training_folder import TrainingFolder
from chalknet.studies.configurations import RunKey
from chalknet.studies.study_observer import StudyObserver, StudyState, is_study


class Source(Protocol):
    """What a page is made of; called in one thread at a time."""

    def page(self) -> LivePage:
        """Return the page of this moment; the same object if nothing has changed.

        Raises:
            ChalknetError: what is watched is damaged or cannot be read.
        """


class StudySource:
    """The page of a study's folder.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Create a source; nothing is read yet."""
        self._observer, self._ranking = StudyObserver(folder), Ranking()
        self._state: StudyState | None = None
        self._page: LivePage | None = None
        self._histories: dict[tuple[str, int], tuple[EpochRecord, ...]] = {}

    def page(self) -> LivePage:
        """Return the page of this moment."""
        state = self._observer.state()
        if state is None:
            self._state, self._page = None, None
            return waiting_page(self._observer.folder)
        if self._page is None or state is not self._state:
            self._ranking.update(state)
            self._page = study_page(state, self._ranking, self._shown())
            self._state = state
        return self._page

    def _shown(self) -> list[ConfigurationRuns]:
        """Return the configurations whose curves are shown, with histories, which are read once."""
        best = self._ranking.configurations[:MAX_PANELS]
        runs = [RunKey(one.configuration, seed) for one in best for seed in one.runs]
        self._histories = {run.key: self._histories.get(run.key) or self._observer.history(run) for run in runs}
        return [one.as_runs(tuple(self._histories[one.configuration.key, seed] for seed in one.runs)) for one in best]


class TrainingSource:
    """The page of the folder of a single training, running or finished.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Create a source; nothing is read yet."""
        self._folder = TrainingFolder(folder)
        self._state: object = None
        self._page: LivePage | None = None

    def page(self) -> LivePage:
        """Return the page of this moment."""
        state = self._folder.state()
        if self._page is None or state is not self._state:
            self._page, self._state = training_page(state), state
        return self._page


class FolderSource:
    """The page of a folder that holds a study or a training, now or later.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Create a source; nothing is read yet."""
        self._folder = folder
        self._source: Source | None = None
        self._waiting = waiting_page(folder)

    def page(self) -> LivePage:
        """Return the page of this moment."""
        if self._source is None or not (is_study(self._folder) or is_training(self._folder)):
            self._source = None
            if is_study(self._folder):
                self._source = StudySource(self._folder)
            elif is_training(self._folder):
                self._source = TrainingSource(self._folder)
        return self._waiting if self._source is None else self._source.page()


def is_training(folder: Path) -> bool:
    """Return whether a folder is that of a single training: it has its settings."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, CHECKPOINT_FILE))


def waiting_page(folder: Path) -> LivePage:
    """Return the page of a folder that holds nothing yet."""
    text = f"{folder} holds no study and no training yet. This page shows it as soon as it begins."
    return LivePage(f"Waiting for {folder.name or folder}", str(folder), "waiting", text)


def error_page(error: ChalknetError) -> LivePage:
    """Return the page that says why nothing can be shown."""
    return LivePage("Cannot be shown", "", "error", str(error))
