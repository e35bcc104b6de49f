"""A training's samples shared out among actors of a Ray cluster, for as long as it lasts."""

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
PARAMETER_SETS = 4  # of parameters in shared memory, beside a gradient of each shard


@contextmanager
def start_shards(shards: int | None, on: str | None, data: Dataset, recipe: Recipe) -> Iterator[Shards | None]:
    """So many holders of samples, on this machine or in the cluster that on names; None for a training in one place.

    Raises:
        ConfigError: what cannot be trained so.
        MissingExtraError: Ray is not installed. ChalknetError: the cluster cannot be reached or started.
    """
    if shards is None:
        yield None
        return
    architecture = architecture_for(recipe, data.n_inputs, data.n_classes)
    check_shards(recipe, architecture)
    of_network = (shards + PARAMETER_SETS) * architecture.n_parameters * FLOAT_BYTES
    held = of_network if data.is_on_disk else of_network + data.inputs.nbytes
    with ray_cluster(on or "ray", "training over shards", held) as ray:
        connected = RayShards(ray, shards)
        try:
            yield connected
        finally:
            connected.stop()
