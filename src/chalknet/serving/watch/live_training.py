"""A callback that keeps the epochs of a training in this process for its page."""

from __future__ import annotations

import time

from chalknet.errors import ChalknetError
from chalknet.records import EpochRecord
from chalknet.reporting.live_document import LivePage
from chalknet.reporting.training_progress import NetworkProgress, TrainingState, training_page
from chalknet.training.callbacks import Callback, RunContext


class LiveTraining(Callback):
    """The page of a training that runs in this process. The training calls it, and the server reads it.

    The training only appends to lists, which no other thread changes. The page is made in the thread
    of the server, and only when a browser asks for it.
    """

    def __init__(self) -> None:
        """Create a page of a training that has not begun."""
        self._contexts: list[RunContext] = []
        self._histories: list[list[EpochRecord]] = []
        self._phase, self._error, self._started, self._known = "running", "", time.time(), 0
        self._page_of: object = None
        self._page: LivePage | None = None

    def on_train_begin(self, context: RunContext) -> None:
        """Begin with a network."""
        self._known += len(context.history)
        self._histories.append(list(context.history))
        self._contexts.append(context)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Keep the record of an epoch."""
        self._histories[-1].append(record)

    def on_train_end(self, error: BaseException | None) -> None:
        """Note that the training has ended early, and why."""
        if error is not None:
            self._phase = "interrupted"
            self._error = str(error) if isinstance(error, ChalknetError) else "It was stopped."

    def finish(self) -> None:
        """Note that the training is finished and its folder is written."""
        self._phase = "finished"

    def page(self) -> LivePage:
        """Return the page of this moment."""
        contexts = list(self._contexts)
        if not contexts:
            text = "The training reads its data. This page shows the epochs as soon as they end."
            return LivePage("Waiting for the first epoch", "", "waiting", text)
        histories = [tuple(history) for history in self._histories[: len(contexts)]]
        known = (len(contexts), len(histories[-1]), self._phase)
        if self._page is None or known != self._page_of:
            self._page, self._page_of = training_page(self._state(contexts, histories)), known
        return self._page

    def _state(self, contexts: list[RunContext], histories: list[tuple[EpochRecord, ...]]) -> TrainingState:
        context, now = contexts[-1], time.time()
        recipe, folder = context.recipe, context.folder
        if folder is not None and context.n_networks > 1:
            folder = folder.parent.parent
        networks = tuple(
            NetworkProgress(one.recipe.training.seed, history, at < len(contexts) - 1 or self._phase == "finished")
            for at, (one, history) in enumerate(zip(contexts, histories, strict=True))
        )
        n_epochs, n_networks = recipe.training.epochs, context.n_networks
        done = sum(map(len, histories)) - self._known
        rest = n_epochs - len(histories[-1]) + n_epochs * (n_networks - context.number)
        return TrainingState(
            title="Training" if folder is None else f"Training {folder.resolve().name}",
            source=context.data.source,
            recipe=recipe,
            networks=networks,
            n_networks=n_networks,
            phase=self._phase,
            folder=folder,
            seconds_left=(now - self._started) / done * rest if done > 0 else None,
            at=now,
            is_live=True,
            error=self._error,
            notes=(*context.data.notes, *context.notes),
        )
