"""A Ray cluster to work on: one that runs already, or one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalknet.errors import ChalknetError, ConfigError, MissingExtraError
from chalknet.machine.processor import available_cores, this_processor

STORE_BYTES = 128 * 2**20  # of shared memory beside the data, and the least that Ray takes with a margin
STORE_SHARE = 0.3  # of this machine's memory, that Ray takes at most
PLACE = "/tmp"  # of its files: a socket's path may have 107 bytes, and folders that TMPDIR names are often deeper
REACHED_SECONDS = 5.0
LAST_PORT = 65_535
MAX_CHARACTERS = 200  # of an error of Ray's
KERNELS = "OPENBLAS_CORETYPE"  # this process's, so that others compute the same bits

_token = secrets.token_hex(32)  # of clusters that this process starts: Ray reads it once, so all have the same


def parse_cluster_address(on: str) -> str:
    """The HOST:PORT of "ray://HOST:PORT", "" for "ray".

    Raises:
        ConfigError: it is neither.
    """
    found = re.fullmatch(r"ray(?:://([^/\s:]+:(\d+)))?", on)
    if found is None:
        raise ConfigError(f"on must be ray, for this machine, or ray://HOST:PORT, got {on!r}.")
    if not 0 < int(found[2] or 1) <= LAST_PORT:
        raise ConfigError(f"on must name a port from 1 to {LAST_PORT}, got {on!r}.")
    return found[1] or ""


def check_reachable(on: str) -> None:
    """Raises ChalknetError where nothing listens at HOST:PORT of "ray://HOST:PORT"."""
    address = parse_cluster_address(on)
    if address:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), REACHED_SECONDS).close()  # Ray itself would try for minutes
        except OSError as error:
            raise _no_cluster(address, error) from error


def require_ray(what: str) -> None:
    """Raises MissingExtraError unless Ray is installed."""
    _imported(what)


@contextmanager
def ray_cluster(on: str, what: str, data_bytes: int = 0) -> Iterator[Any]:
    """The module `ray`, connected while the context lasts.

    A cluster that this process has connected to before is taken as it is, and left so.

    Args:
        on: "ray" starts one on this machine, reached from this machine alone and gone with this process;
            "ray://HOST:PORT" is one that runs, of which this machine is a node.
        what: needs it, for the message.
        data_bytes: that will be in its shared memory.
    Raises:
        ConfigError: an illegal place. MissingExtraError: Ray is not installed.
        ChalknetError: the cluster cannot be reached or started.
    """
    address = parse_cluster_address(on)
    ray = _imported(what)
    if ray.is_initialized():
        yield ray
    elif address:
        with _joined(ray, address):
            yield ray
    else:
        with _started(ray, data_bytes):
            yield ray


def cores_of_nodes(ray: Any) -> list[int]:
    """Whole cores of each node that is alive, as Ray was told."""
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def last_line(error: Exception) -> str:
    """What an error of Ray's comes to: the last of its lines, without the advice that follows."""
    lines = str(error).partition(" Some common causes")[0].strip().splitlines()
    return lines[-1].strip()[:MAX_CHARACTERS].rstrip(".") if lines else type(error).__name__


def first_sentence(error: Exception) -> str:
    """The first sentence of `last_line`, as part of another."""
    sentence = last_line(error).partition(". ")[0]
    return sentence[:1].lower() + sentence[1:]


def _imported(what: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'{what} needs Ray: pip install "chalknet[ray]".') from error
    return ray


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[None]:
    check_reachable(f"ray://{address}")
    kernels = {"env_vars": {KERNELS: os.environ[KERNELS]}} if KERNELS in os.environ else None
    try:
        _say_nothing(ray)
        with _signals_kept(), _environment_kept():
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one attempt, which takes half a minute
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=kernels)
    except Exception as error:
        raise _no_cluster(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started(ray: Any, data_bytes: int) -> Iterator[None]:
    needed = data_bytes + STORE_BYTES
    folder = Path(tempfile.mkdtemp(prefix="chalknet-ray-", dir=PLACE))
    _say_nothing(ray)
    try:
        with _signals_kept(), _local_only(ray):
            ray.init(
                "local",  # and not one that somebody has started here
                num_cpus=available_cores(),
                object_store_memory=needed if needed < STORE_SHARE * this_processor().memory_bytes else None,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                _temp_dir=str(folder),
            )
    except Exception as error:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        raise ChalknetError(f"Ray cannot be started on this machine: {_first_line(error)}.") from error
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _local_only(ray: Any) -> Iterator[None]:
    """While Ray starts: its servers listen on the loopback address, and to who knows a token of this process's."""
    constants = ray._private.ray_constants
    spans_machines = constants.ENABLE_RAY_CLUSTER  # without it Ray takes 127.0.0.1, as it does on a Mac
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with _environment_kept():
            os.environ.setdefault("RAY_AUTH_TOKEN", _token)  # Ray would write one into the home folder
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = spans_machines


@contextmanager
def _environment_kept() -> Iterator[None]:
    """What is set in the environment meanwhile is gone after it; Ray sets some too."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") and name not in before]:
            del os.environ[name]


@contextmanager
def _signals_kept() -> Iterator[None]:
    """What this process does at a signal to end stays as it was; Ray would set its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _say_nothing(ray: Any) -> None:
    """Ray prints of each process that dies, on standard output; whoever uses a cluster here says it better."""
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _no_cluster(address: str, error: Exception) -> ChalknetError:
    return ChalknetError(
        f"ray://{address}: there is no Ray cluster that this machine is a node of: {_first_line(error)}. Start it with "
        "`ray start`, and give the port that `ray start --head` was given, by default 6379, and not that of Ray's "
        "client, by default 10001."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
