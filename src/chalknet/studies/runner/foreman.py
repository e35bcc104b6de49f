"""The loop of every runner: loads of units for whoever is idle, and what comes back told to the assignments.

A runner is a `Crew` of `Hand`s: processes of this machine in `local`, actors of a Ray cluster in `ray_crew`. All that
they hear and say is in `wire`.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chalknet.errors import ChalknetError
from chalknet.studies.assignments import Assignments, StudyProgress, UnitEnd
from chalknet.studies.cells import Unit
from chalknet.studies.plan import Job
from chalknet.studies.runner.wire import load_message, outcome_from
from chalknet.studies.unfinished import unfinished_folder

LOOK_SECONDS = 0.5  # between two looks for units that another process has given up or finished
MOST_FALSE_STARTS = 3  # hands in a row that ended before they were ready: it is not chance

Observer = Callable[[StudyProgress], None]
Message = Mapping[str, Any]


class Hand(Protocol):
    """Whoever trains one load at a time."""

    def give(self, message: Message) -> None:
        """Hands a load over; one that has ended is noticed by what its inbox says."""

    def ending(self) -> str:
        """How it ended, in words."""

    def stop(self) -> None:
        """Ends it at once; what it was at is lost, and it holds nothing else."""


Said = tuple[Hand, Message | None, bytes]  # a hand's message and the bytes with it; None says that it has ended


class Crew(Protocol):
    """Where hands come from.

    Attributes:
        jobs: the most hands at a time.
        threads: of each.
        inbox: what all of them say, in the order in which it came.
    """

    jobs: int
    threads: int
    inbox: queue.Queue[Said]

    def hire(self) -> Hand:
        """A new hand; it says when it is ready."""


@dataclass(eq=False)
class _Post:
    """One hand, and what it is at: a load, the epochs behind each of its units, and those of them that have ended."""

    hand: Hand
    is_ready: bool = False
    load: Job = ()
    epochs: dict[Unit, int] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        return not self.epochs


class Foreman:
    """Gives loads to idle hands until no unit is left anywhere."""

    def __init__(self, assignments: Assignments, crew: Crew, observe: Observer | None = None) -> None:
        self._assignments, self._crew, self._observe = assignments, crew, observe
        self._trained = "one at a time" if crew.jobs == 1 else f"{crew.jobs} at a time"
        self._posts: list[_Post] = []
        self._waiting: list[Job] = []  # for a hand that is ready
        self._false_starts = 0

    def work(self) -> None:
        """Returns when every unit is done or has failed, by whomever.

        Raises:
            OutputError: the store cannot be written.
            ChalknetError: hands cannot be started.
        """
        with unfinished_folder(self._assignments.folder) as self._unfinished:
            self._work()

    def _work(self) -> None:
        self._hand_out()
        while any(not post.is_idle for post in self._posts) or not self._assignments.is_over():
            self._assignments.beat()
            try:
                hand, message, content = self._crew.inbox.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._hand_out()  # what another process has given up
                self._show()
                continue
            post = next(post for post in self._posts if post.hand is hand)
            ends = self._take(post, message, content)
            if post.is_idle or message is None:
                self._hand_out()
            for end in ends:
                self._show(end)
            if not ends and not post.is_idle:
                self._show()
        self._show()

    def _hand_out(self) -> None:
        """Loads to whoever is ready and has none; for what is left, hands are hired.

        A hand is given nothing before it is ready: where it waits for room on some machine, others do not wait for it.
        """
        while self._n_out() < self._crew.jobs and (load := self._assignments.ask()):
            self._waiting.append(load)
        for post in self._posts:
            if self._waiting and post.is_ready and post.is_idle:
                self._give(post, self._waiting.pop(0))
        coming = sum(not post.is_ready for post in self._posts)
        self._posts += [_Post(self._crew.hire()) for _ in range(len(self._waiting) - coming)]

    def _give(self, post: _Post, load: Job) -> None:
        post.load, post.epochs = load, dict.fromkeys(load, 0)
        with_model = [self._assignments.wants_model(unit) for unit in load]
        post.hand.give(load_message(load, self._crew.threads, self._trained, with_model, self._unfinished))

    def _n_out(self) -> int:
        """Loads that are trained or wait for that."""
        return len(self._waiting) + sum(not post.is_idle for post in self._posts)

    def _take(self, post: _Post, message: Message | None, content: bytes) -> list[UnitEnd]:
        """What a hand said; how units of its load ended, if they did."""
        if message is None:
            return self._bury(post)
        if message["say"] == "ready":
            post.is_ready, self._false_starts = True, 0
            return []
        unit = post.load[message["unit"]]
        if message["say"] == "epoch":
            post.epochs[unit] = message["epoch"]
            return []
        del post.epochs[unit]
        if message["say"] == "failed":
            return [self._assignments.tell_failed(unit, message["error"])]
        return [self._assignments.tell_done(unit, outcome_from(message, content))]

    def _bury(self, post: _Post) -> list[UnitEnd]:
        """A hand has ended: what it was at is told, and another takes its place when there is work."""
        reason = post.hand.ending()
        self._posts.remove(post)
        post.hand.stop()
        if not post.is_ready:
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS:
                raise ChalknetError(f"worker processes cannot be started: {reason}.")
        return [self._assignments.tell_died(unit, reason) for unit in post.epochs]

    def _show(self, end: UnitEnd | None = None) -> None:
        if self._observe is not None:
            at_work = {unit: epoch for post in self._posts for unit, epoch in post.epochs.items()}
            self._observe(self._assignments.progress(at_work, end))
