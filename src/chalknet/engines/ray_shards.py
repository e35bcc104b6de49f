"""Holders of samples as Ray actors: each keeps its own in memory, or reads them where they are, on any node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chalknet.engines.engine import Update
from chalknet.engines.parameter_layout import NetworkArrays
from chalknet.engines.sharded import ShardSpec, ShardWorker
from chalknet.errors import ChalknetError, ConfigError
from chalknet.machine.ray_cluster import cores_of_nodes, last_line

CORES = 0.01  # that an actor reserves: one whose node has gone must find room on those that are left
MAX_A_CORE = 16  # shards, which are processes that share it: more only wait for each other, and may fill the memory
MAX_DEATHS = 5  # of one holder while it was asked one thing: it is not chance


class RayShards:
    """`Shards` as n actors, spread over the nodes of a cluster, which they take to be theirs alone.

    An actor that dies, with its process or with its node, is replaced and asked again: it remembers nothing but its
    samples, and the parameters have not moved until all have answered, so the numbers are what they would have been.

    Args:
        ray: the module, connected.
        n: how many, at least one.
    Raises:
        ConfigError: more than MAX_A_CORE of them would share a core; each is a process.
    """

    def __init__(self, ray: Any, n: int) -> None:
        cores = sum(cores_of_nodes(ray))
        most = MAX_A_CORE * max(1, cores)
        if n > most:
            raise ConfigError(f"shards are processes, of which {cores} cores take at most {most}, got {n}.")
        self.n, self._ray = n, ray
        self.threads = max(1, cores // n)
        self._actors: list[Any] = []
        self._work_of: Callable[[int], ShardSpec] | None = None

    def fill(self, work_of: Callable[[int], ShardSpec]) -> None:
        self.stop()
        self._work_of = work_of
        self._actors = [self._actor(number) for number in range(self.n)]

    def ask(self, what: str, weights: NetworkArrays, about: Update | str) -> Sequence[Any]:
        shared = self._ray.put(weights)  # once, for all
        answers = [getattr(actor, what).remote(shared, about) for actor in self._actors]
        return [self._answer(number, answer, what, shared, about) for number, answer in enumerate(answers)]

    def stop(self) -> None:
        """Ends the actors; what they held is let go."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []

    def _actor(self, number: int) -> Any:
        assert self._work_of is not None, "fill comes first"
        options = {"num_cpus": CORES, "scheduling_strategy": "SPREAD", "max_concurrency": 1}
        return self._ray.remote(**options)(ShardWorker).remote(self._work_of(number))

    def _answer(self, number: int, answer: Any, what: str, shared: Any, about: Update | str) -> Any:
        """What an actor answers; another in its place, if need be."""
        for _ in range(MAX_DEATHS):
            try:
                return self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                reason = last_line(error)
            self._ray.kill(self._actors[number])  # should it only have been out of reach
            self._actors[number] = self._actor(number)
            answer = getattr(self._actors[number], what).remote(shared, about)
        raise ChalknetError(f"the actor of shard {number} ended {MAX_DEATHS} times in a row, last by: {reason}")
