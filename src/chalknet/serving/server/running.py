"""Run an ASGI application with uvicorn: bind a socket, start, and stop in a bounded time."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from chalknet.errors import ConfigError, MissingExtraError
from chalknet.serving.server.guard import App, Limits
from chalknet.version import install_command

CHECK_SECONDS = 1.0  # between two looks for slow clients
START_SECONDS = 20.0


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free port.

    Raises:
        ConfigError: the port is in use or may not be used, or the host is not one of this machine.
    """
    if not 0 <= port <= 65_535:
        raise ConfigError(f"port (--port) must be an integer in 0..65535, got {port}.")
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2_048)
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        raise ConfigError(_cannot_bind(error, host, port)) from error
    return bound


def _cannot_bind(error: Exception, host: str, port: int) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use by another program. Give another port (--port), or port 0 for a free one."
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} needs more rights than this program has. Give a port (--port) from 1024 on."
    if isinstance(error, socket.gaierror | UnicodeError) or number == errno.EADDRNOTAVAIL:
        return f"host (--host) {host} is not an address of this machine. Give 127.0.0.1, or 0.0.0.0 for all addresses."
    return f"port {port} of {host} cannot be opened: {getattr(error, 'strerror', None) or error}."


def address_of(bound: socket.socket) -> str:
    """Return the address that a browser on this machine opens, such as "http://127.0.0.1:8000"."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # what listens on all addresses, listens there
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """Runs an application on a socket until it is stopped.

    Stopping closes the socket and idle connections at once. Requests that have begun get `stop_seconds` to finish;
    then they are cancelled.

    Args:
        app: the ASGI application.
        bound: the socket, which is closed in the end.
        limits: what a request may cost.

    Raises:
        MissingExtraError: uvicorn or httptools is not installed.
    """

    def __init__(self, app: App, bound: socket.socket, limits: Limits) -> None:
        """Create a server that does not run yet."""
        import_extra("uvicorn", "httptools")
        import uvicorn

        from chalknet.serving.server.protocol import limited_protocol

        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # `Guard` logs errors of the application
        self._limits, self._socket = limits, bound
        config = uvicorn.Config(
            app,
            http=limited_protocol(limits),
            ws="none",
            lifespan="auto",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def run(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Run until a signal or `stop` ends the server. Only the main thread handles signals.

        Args:
            on_start: called when the server answers.

        Raises:
            KeyboardInterrupt: Ctrl-C has stopped the server.
            SystemExit: SIGTERM or SIGHUP has, and the program handles them in this way.
        """
        hang_up = getattr(signal, "SIGHUP", None)
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(hang_up) if hang_up is not None and is_main else signal.SIG_IGN
        if hang_up is not None and before not in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(hang_up, self._server.handle_exit)
        # A shell ignores Ctrl-C in a command with "&". A server that stops because of this signal still says so.
        ignores = is_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignores:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
                runner.run(self._serve(on_start))
        finally:
            self._socket.close()
            if ignores:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            if hang_up is not None and before not in (signal.SIG_IGN, signal.SIG_DFL):
                signal.signal(hang_up, before)

    def stop(self) -> None:
        """Tell the server to stop, from any thread; `run` returns when it has."""
        self._server.should_exit = True

    def __enter__(self) -> Server:
        """Run the server in a thread of its own, and return when it answers."""
        started = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(started.set,), name="chalknet-server", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not started.wait(0.05):
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the server, and wait until it has stopped."""
        del kind, error, at
        self.stop()
        if self._thread is not None:
            self._thread.join(self._limits.stop_seconds + START_SECONDS)

    async def _serve(self, on_start: Callable[[], None]) -> None:
        watch = asyncio.create_task(self._watch(on_start))
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            watch.cancel()

    async def _watch(self, on_start: Callable[[], None]) -> None:
        """Call on_start, then look for slow clients."""
        while not self._server.started:
            await asyncio.sleep(0.01)
        on_start()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for connection in list(self._server.server_state.connections):
                connection.check_time(now)


def import_extra(*names: str) -> list[Any]:
    """Return packages of the extra `serve`.

    Raises:
        MissingExtraError: one is not installed.
    """
    from importlib import import_module

    try:
        return [import_module(name) for name in names]
    except ImportError as error:
        raise MissingExtraError(f'a server needs the extra "serve" ({error}): {install_command("serve")}.') from error
