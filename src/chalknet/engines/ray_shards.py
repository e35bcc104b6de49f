"""Shard workers as Ray actors, on any node of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chalknet.engines.engine import Update
from chalknet.engines.parameter_layout import NetworkArrays
from chalknet.engines.sharded import ShardSpec, ShardWorker
from chalknet.errors import ChalknetError, ConfigError
from chalknet.machine.ray_cluster import cores_of_nodes, last_line

# Cores that an actor reserves. It is next to nothing, so that actors of a lost node find room on
# the nodes that are left.
RESERVED_CORES = 0.01
# Most shards per core. Each is a process: more would wait for each other and might fill the memory.
MAX_SHARDS_PER_CORE = 16
# Most deaths of an actor during one call. One death can be chance; five in a row are not.
MAX_DEATHS = 5


class RayShards:
    """Shard workers as n Ray actors, spread over the nodes of a cluster.

    The actors are meant to have the cluster for themselves. An actor that dies, alone or with its
    node, is replaced and its call repeated. Workers keep nothing between calls, and parameters
    change only after all actors have answered, so the numbers are those of a run without deaths.

    Args:
        ray: the module `ray`, connected to a cluster.
        n: number of shards, at least 1.

    Raises:
        ConfigError: there are more than `MAX_SHARDS_PER_CORE` shards per core.
    """

    def __init__(self, ray: Any, n: int) -> None:
        """Check the number of shards; no actor is started."""
        cores = sum(cores_of_nodes(ray))
        most = MAX_SHARDS_PER_CORE * max(1, cores)
        if n > most:
            raise ConfigError(
                f"shards: expected at most {most} for the cluster's {cores} cores, got {n}. Each shard is a process. "
                f"Use fewer shards."
            )
        self.n: int = n
        self._ray = ray
        self.threads: int = max(1, cores // n)
        self._actors: list[Any] = []
        self._spec_of: Callable[[int], ShardSpec] | None = None

    def start(self, spec_of: Callable[[int], ShardSpec]) -> None:
        """End all actors and start new ones."""
        self.stop()
        self._spec_of = spec_of
        self._actors = [self._start_actor(shard) for shard in range(self.n)]

    def call(self, method: str, parameters: NetworkArrays, argument: Update | str) -> Sequence[Any]:
        """Call a method of every actor and return the results in the order of the shards."""
        shared = self._ray.put(parameters)  # one copy in shared memory, for all actors
        answers = [getattr(actor, method).remote(shared, argument) for actor in self._actors]
        return [self._result(shard, answer, method, shared, argument) for shard, answer in enumerate(answers)]

    def stop(self) -> None:
        """End all actors and free their memory."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []

    def _start_actor(self, shard: int) -> Any:
        """Start the actor of one shard."""
        assert self._spec_of is not None, "start comes first"
        options = {"num_cpus": RESERVED_CORES, "scheduling_strategy": "SPREAD", "max_concurrency": 1}
        return self._ray.remote(**options)(ShardWorker).remote(self._spec_of(shard))

    def _result(self, shard: int, answer: Any, method: str, shared: Any, argument: Update | str) -> Any:
        """Wait for the result of one actor, and replace the actor if it has died.

        Raises:
            ChalknetError: the actor has died `MAX_DEATHS` times during this call.
        """
        for _ in range(MAX_DEATHS):
            try:
                return self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                reason = last_line(error)
            # The actor may only have been unreachable. It must not compete with its replacement.
            self._ray.kill(self._actors[shard])
            self._actors[shard] = self._start_actor(shard)
            answer = getattr(self._actors[shard], method).remote(shared, argument)
        raise ChalknetError(
            f"the actor of shard {shard} died {MAX_DEATHS} times in a row. The last reason was: {reason}. "
            "To resume from the last checkpoint, run the same command with --resume."
        )
