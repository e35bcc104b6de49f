"""A pool of workers as actors of a Ray cluster, each with its own cores and GPU."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.errors import StoppedError
from chalknet.machine.ray_cluster import cores_of_nodes, first_sentence, ray_cluster
from chalknet.studies.run_checkpoints import StopRequest
from chalknet.studies.runner.processes import EXIT_SECONDS
from chalknet.studies.runner.protocol import Message
from chalknet.studies.runner.scheduler import Received, WorkQueue
from chalknet.studies.runner.worker import train_job

JOIN_SECONDS = 10.0  # how long to wait for the threads that receive the messages of stopped actors


class RayWorker:
    """The actor: trains one job at a time in a thread, while Ray calls `submit` and `listen`.

    Args:
        data: the study's samples.
    """

    def __init__(self, data: Dataset) -> None:
        """Create the actor and start its training thread."""
        self._data = data
        self._jobs: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._stop = StopRequest()
        self._outbox: queue.SimpleQueue[tuple[Message, bytes]] = queue.SimpleQueue()
        self._outbox.put(({"event": "ready"}, b""))
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, message: Message) -> None:
        """Add a `job_message`."""
        self._jobs.put(message)

    def end(self) -> None:
        """Ask the actor to finish its update, to write a checkpoint and to train no more."""
        self._stop.end = time.monotonic()
        self._jobs.put(None)

    def listen(self) -> Iterator[tuple[Message, bytes]]:
        """Yield all messages of the worker; the last one is that it has stopped."""
        while True:
            message, content = self._outbox.get()
            yield message, content
            if message["event"] == "stopped":
                return

    def _work(self) -> None:
        """Train job after job until the actor is asked to end; runs in a thread."""
        while (job := self._jobs.get()) is not None:
            with suppress(StoppedError):
                train_job(job, self._data, lambda message, content: self._outbox.put((message, content)), self._stop)
        self._outbox.put(({"event": "stopped"}, b""))


@dataclass(eq=False)
class RayHandle:
    """A `Worker`: an actor, whether it has started, and how it ended."""

    ray: Any
    actor: Any
    has_started: bool = False
    reason: str = ""

    def submit(self, message: Message) -> None:
        """Send a message to the actor."""
        self.actor.submit.remote(message)

    def exit_reason(self) -> str:
        """Return why the actor ended, in words."""
        return self.reason

    def stop(self) -> None:
        """Kill the actor."""
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(self.actor)


@dataclass(eq=False)
class RayPool:
    """A `WorkerPool` of actors.

    Attributes:
        ray: the module.
        data: the samples in the cluster's shared memory, or the path of their file.
        size: the most workers at a time.
        threads: number of cores and threads of each actor.
        gpus: number of GPUs of each actor.
        inbox: the messages of all workers.
        workers: the actors, each with the thread that receives its messages.
    """

    ray: Any
    data: Any
    size: int
    threads: int
    gpus: int
    inbox: queue.Queue[Received] = field(default_factory=queue.Queue)
    workers: list[tuple[RayHandle, threading.Thread]] = field(default_factory=list)

    def start_worker(self) -> RayHandle:
        """Create an actor and the thread that receives its messages."""
        remote = self.ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_concurrency=2)(RayWorker)
        worker = RayHandle(self.ray, remote.remote(self.data))
        reader = threading.Thread(target=self._receive, args=(worker,), daemon=True)
        self.workers.append((worker, reader))
        reader.start()
        return worker

    def _receive(self, worker: RayHandle) -> None:
        """Put an actor's messages into the inbox, and finally that it has exited; runs in a thread."""
        try:
            for sent in worker.actor.listen.options(num_returns="streaming").remote():
                worker.has_started = True
                self.inbox.put((worker, *self.ray.get(sent)))
        except self.ray.exceptions.RayError as error:
            is_lost = isinstance(error, self.ray.exceptions.ActorUnavailableError)
            worker.reason = "the loss of its worker or node" if is_lost else first_sentence(error)
        self.inbox.put((worker, None, b""))

    def end(self) -> None:
        """Ask all actors to end, and kill those that are still running after `EXIT_SECONDS`."""
        try:
            started = [(worker, reader) for worker, reader in self.workers if worker.has_started]
            for worker, _ in started:
                worker.actor.end.remote()
            end = time.monotonic() + EXIT_SECONDS
            for _, reader in started:
                reader.join(max(0.0, end - time.monotonic()))
        finally:  # also if a second Ctrl-C interrupts the wait
            for worker, _ in self.workers:
                worker.stop()
            for _, reader in self.workers:
                reader.join(JOIN_SECONDS)


@contextmanager
def ray_pool(queue: WorkQueue, data: Dataset, recipe: Recipe, on: str, size: int | None = None) -> Iterator[RayPool]:
    """Provide a pool of Ray actors. At its end they save checkpoints and are stopped.

    Samples in memory are put into the cluster's shared memory once. Samples on disk are read from
    their path, which must be the same on every node. Only this process writes the store.

    Args:
        queue: the runs of the study, which bound the number of workers.
        data: the study's samples.
        recipe: what the runs share, which says whether they need a GPU.
        on: the cluster, as in `ray_cluster`.
        size: the most workers at a time; by default one per core, or per GPU, of the cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ChalknetError: the cluster cannot be reached.
    """
    with ray_cluster(on, "a study on Ray", 0 if data.is_on_disk else data.inputs.nbytes) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        gpus_of_run = 1 if wants_gpu(recipe, gpus) else 0
        nodes = cores_of_nodes(ray)
        most = max(1, gpus if gpus_of_run else sum(nodes))
        size = max(1, min(size or most, most, queue.n_claimable()))
        pool = RayPool(ray, ray.put(data), size, threads_of(nodes, size), gpus_of_run)
        try:
            yield pool
        finally:
            pool.end()


def wants_gpu(recipe: Recipe, gpus: int) -> bool:
    """Return whether each run should have a GPU, in a cluster with this number of them."""
    training = recipe.training
    return training.engine == "torch" and (training.device == "cuda" or (training.device == "auto" and gpus > 0))


def threads_of(nodes: list[int], size: int) -> int:
    """Return how many threads, at least one, each worker can have.

    Args:
        nodes: the cores of each node.
        size: the number of workers.
    """
    fitting = (n for n in range(max(nodes, default=1), 1, -1) if sum(cores // n for cores in nodes) >= size)
    return next(fitting, 1)
