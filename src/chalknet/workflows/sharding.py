"""Start the Ray actors over which one training distributes its samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.engines.ray_shards import RayShards
from chalknet.engines.sharded import Shards, check_shards
from chalknet.machine.ray_cluster import ray_cluster
from chalknet.network.architecture import architecture_for

FLOAT_BYTES = 8
PARAMETER_SETS = 4  # copies of all parameters in shared memory, in addition to one gradient per shard


@contextmanager
def start_shards(shards: int | None, on: str | None, data: Dataset, recipe: Recipe) -> Iterator[Shards | None]:
    """Start shard workers, each with a shard of the samples; yield None to train in one process.

    Args:
        shards: number of workers, or None.
        on: the cluster, "ray://HOST:PORT"; None starts one on this machine.
        data: the samples.
        recipe: the recipe.

    Yields:
        The shard workers, which are stopped afterwards.

    Raises:
        ConfigError: the recipe cannot be trained over shards.
        MissingExtraError: Ray is not installed.
        ChalknetError: the cluster cannot be reached or started.
    """
    if shards is None:
        yield None
        return
    architecture = architecture_for(recipe, data.sample_shape, data.n_classes)
    check_shards(recipe, architecture)
    of_network = (shards + PARAMETER_SETS) * architecture.n_parameters * FLOAT_BYTES
    held = of_network if data.is_on_disk else of_network + data.inputs.nbytes
    with ray_cluster(on or "ray", "training over shards", held) as ray:
        connected = RayShards(ray, shards)
        try:
            yield connected
        finally:
            connected.stop()
