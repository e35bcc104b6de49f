"""Connect to a Ray cluster, or start one on this machine for as long as it is needed."""

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
from chalknet.machine.kernels import CORETYPE
from chalknet.machine.processor import available_cores, this_processor
from chalknet.version import install_command

# Shared memory to ask Ray for in addition to the data; more than the least that Ray accepts.
STORE_BYTES = 128 * 2**20
# The most of this machine's memory that Ray uses as shared memory.
MAX_STORE_FRACTION = 0.3
# Folder for Ray's files. The path of a socket may have 107 bytes, and TMPDIR often names a deeper
# folder.
TEMP_FOLDER = "/tmp"
CONNECT_SECONDS = 5.0
MAX_PORT = 65_535
MAX_CHARACTERS = 200  # of a message from Ray

# Token of the clusters that this process starts. Ray reads it once per process, so all have the
# same.
_token = secrets.token_hex(32)


def parse_cluster_address(on: str) -> str:
    """Return HOST:PORT of "ray://HOST:PORT", or "" for "ray", which means this machine.

    Raises:
        ConfigError: `on` is neither, or the port is not from 1 to 65535.
    """
    found = re.fullmatch(r"ray(?:://([^/\s:]+:(\d+)))?", on)
    if found is None:
        raise ConfigError(f"on must be ray (this machine) or ray://HOST:PORT, got {on!r}.")
    if not 0 < int(found[2] or 1) <= MAX_PORT:
        raise ConfigError(f"on must name a port from 1 to {MAX_PORT}, got {on!r}.")
    return found[1] or ""


def check_reachable(on: str) -> None:
    """Check that something listens at HOST:PORT of "ray://HOST:PORT"; "ray" needs no check.

    Raises:
        ChalknetError: no connection within `CONNECT_SECONDS`.
    """
    address = parse_cluster_address(on)
    if address:
        host, _, port = address.rpartition(":")
        try:
            # Ray itself would try for minutes.
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            raise _unreachable(address, error) from error


def require_ray(what: str) -> None:
    """Check that Ray is installed.

    Args:
        what: what needs Ray, for the message.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    _import_ray(what)


@contextmanager
def ray_cluster(on: str, what: str, data_bytes: int = 0) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster while the context lasts.

    If this process is already connected to a cluster, that connection is used and left open.

    Args:
        on: "ray" starts a cluster that only this machine can reach and that ends with this process.
            "ray://HOST:PORT" connects to a running cluster, of which this machine must be a node.
        what: what needs Ray, for messages.
        data_bytes: size of the data that will be in shared memory.

    Raises:
        ConfigError: `on` is neither of these.
        MissingExtraError: Ray is not installed.
        ChalknetError: the cluster cannot be reached or started.
    """
    address = parse_cluster_address(on)
    ray = _import_ray(what)
    if ray.is_initialized():
        yield ray
    elif address:
        with _connect(ray, address):
            yield ray
    else:
        with _start(ray, data_bytes):
            yield ray


def cores_of_nodes(ray: Any) -> list[int]:
    """Return the number of cores of each node that is alive, as the nodes were started."""
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def last_line(error: Exception) -> str:
    """Return the last line of a message from Ray, without the advice after it."""
    lines = str(error).partition(" Some common causes")[0].strip().splitlines()
    return lines[-1].strip()[:MAX_CHARACTERS].rstrip(".") if lines else type(error).__name__


def first_sentence(error: Exception) -> str:
    """Return the first sentence of `last_line`, to be used as part of a sentence."""
    sentence = last_line(error).partition(". ")[0]
    return sentence[:1].lower() + sentence[1:]


def _import_ray(what: str) -> Any:
    """Import Ray with its usage statistics turned off."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{what} needs Ray: {install_command('ray')}.") from error
    return ray


@contextmanager
def _connect(ray: Any, address: str) -> Iterator[None]:
    """Connect to a running cluster while the context lasts."""
    check_reachable(f"ray://{address}")
    # Workers use the same BLAS kernels as this process, so that they compute the same bits.
    kernels = {"env_vars": {CORETYPE: os.environ[CORETYPE]}} if CORETYPE in os.environ else None
    try:
        _silence(ray)
        with _keep_sigterm_handler(), _remove_new_variables():
            # Make one attempt, which takes half a minute, and not several.
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, runtime_env=kernels)
    except Exception as error:
        raise _unreachable(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _start(ray: Any, data_bytes: int) -> Iterator[None]:
    """Start a cluster on this machine while the context lasts."""
    needed = data_bytes + STORE_BYTES
    folder = Path(tempfile.mkdtemp(prefix="chalknet-ray-", dir=TEMP_FOLDER))
    _silence(ray)
    try:
        with _keep_sigterm_handler(), _local_only(ray):
            ray.init(
                "local",  # and not a cluster that another program has started here
                num_cpus=available_cores(),
                object_store_memory=needed if needed < MAX_STORE_FRACTION * this_processor().memory_bytes else None,
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
    """Start Ray's servers on the loopback address, protected by this process's token."""
    constants = ray._private.ray_constants
    # Without this setting Ray uses 127.0.0.1, as it does on a Mac.
    spans_machines = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with _remove_new_variables():
            # Without a token in the environment, Ray would write one to the home folder.
            os.environ.setdefault("RAY_AUTH_TOKEN", _token)
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = spans_machines


@contextmanager
def _remove_new_variables() -> Iterator[None]:
    """Remove the RAY_ variables that were set while the context lasted; Ray sets some itself."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_") and name not in before]:
            del os.environ[name]


@contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore this process's SIGTERM handler, which Ray replaces by its own."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _silence(ray: Any) -> None:
    """Turn off Ray's lines on standard output about processes that die.

    chalknet reports them itself.
    """
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _unreachable(address: str, error: Exception) -> ChalknetError:
    """Return the error for a cluster that cannot be reached."""
    return ChalknetError(
        f"ray://{address}: expected a Ray cluster with this machine as a node, got: {_first_line(error)}. Start the "
        "cluster with `ray start`, and use the port of `ray start --head` (by default 6379), not that of Ray's client "
        "(by default 10001)."
    )


def _first_line(error: Exception) -> str:
    """Return the first line of a message, without its period."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
