"""Units as actors of a Ray cluster: each has cores and a GPU of its own, and is replaced when it or its node dies."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.machine.ray_cluster import cores_of_nodes, first_sentence, ray_cluster
from chalknet.studies.assignments import Assignments
from chalknet.studies.runner.foreman import Foreman, Message, Observer, Said
from chalknet.studies.runner.ray_worker import RayWorker

END_SECONDS = 10.0  # for readers to notice that their actors were stopped


def run_on_ray(
    assignments: Assignments,
    data: Dataset,
    recipe: Recipe,
    on: str,
    *,
    jobs: int | None = None,
    observe: Observer | None = None,
) -> None:
    """`run_local` on a Ray cluster; results do not depend on where a unit is trained.

    Samples in memory are put into the cluster's shared memory once; those on disk are read where they are, by a path
    that must be the same on every node. The store is written by this process alone.

    Args:
        recipe: what units share, which says whether they need a GPU.
        on: the cluster, as in `ray_cluster`.
        jobs: units at a time, by default one a core, or a GPU, of the cluster.
    Raises:
        MissingExtraError: Ray is not installed.
        OutputError: the store cannot be written. ChalknetError: the cluster cannot be reached, or actors not started.
    """
    held = 0 if data.is_stored else data.inputs.nbytes
    with ray_cluster(on, "study --on ray", held) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        a_unit = 1 if wants_gpu(recipe, gpus) else 0
        nodes = cores_of_nodes(ray)
        most = max(1, gpus if a_unit else sum(nodes))
        jobs = max(1, min(jobs or most, most, assignments.n_free()))
        with _Crew(ray, ray.put(data), jobs, threads_of(nodes, jobs), a_unit) as crew:
            Foreman(assignments, crew, observe).work()


def wants_gpu(recipe: Recipe, gpus: int) -> bool:
    """Whether a unit should have a GPU of its own, in a cluster that has so many."""
    training = recipe.training
    return training.engine == "torch" and (training.device == "cuda" or (training.device == "auto" and gpus > 0))


def threads_of(nodes: list[int], jobs: int) -> int:
    """The most threads that each of so many jobs can have on nodes of so many cores, one at least."""
    fitting = (n for n in range(max(nodes, default=1), 1, -1) if sum(cores // n for cores in nodes) >= jobs)
    return next(fitting, 1)


@dataclass(eq=False)
class _Actor:
    """A `Hand`: one actor, and how it ended."""

    ray: Any
    actor: Any
    how: str = ""

    def give(self, message: Message) -> None:
        self.actor.give.remote(message)

    def ending(self) -> str:
        return self.how

    def stop(self) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)


@dataclass(eq=False)
class _Crew:
    """A `Crew` of actors. All are stopped when the context ends.

    Attributes:
        data: the samples, in the cluster's shared memory or as where they are.
        gpus: of each actor.
    """

    ray: Any
    data: Any
    jobs: int
    threads: int
    gpus: int
    inbox: queue.Queue[Said] = field(default_factory=queue.Queue)
    _actors: list[tuple[_Actor, threading.Thread]] = field(default_factory=list)

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for hand, _thread in self._actors:
            hand.stop()
        for _hand, reader in self._actors:
            reader.join(END_SECONDS)

    def hire(self) -> _Actor:
        remote = self.ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_concurrency=2)(RayWorker)
        hand = _Actor(self.ray, remote.remote(self.data))
        reader = threading.Thread(target=self._read, args=(hand,), daemon=True)
        self._actors.append((hand, reader))
        reader.start()
        return hand

    def _read(self, hand: _Actor) -> None:
        """A thread that hands on what an actor says, and at last that it has ended."""
        try:
            for said in hand.actor.listen.options(num_returns="streaming").remote():
                self.inbox.put((hand, *self.ray.get(said)))
        except self.ray.exceptions.RayError as error:
            is_lost = isinstance(error, self.ray.exceptions.ActorUnavailableError)
            hand.how = "the loss of its worker or node" if is_lost else first_sentence(error)
        self.inbox.put((hand, None, b""))
