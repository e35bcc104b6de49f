"""Follow a study or a training in the browser."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chalknet.errors import ChalknetError, ConfigError, StoreError
from chalknet.serving.server.access import Access, resolve_access
from chalknet.serving.server.guard import Guard, Limits
from chalknet.serving.server.running import Server, address_of, bind_socket, import_extra
from chalknet.serving.watch.app import PAGE_FILES, WatchApp
from chalknet.serving.watch.sources import FolderSource, Source, is_training
from chalknet.studies.study_observer import is_study

PORT = 8001  # unless another program uses it
LIMITS = Limits(body_bytes=2**16, stop_seconds=1.0, connections=64)
FINAL_SECONDS = 4.0  # for which a browser may take to ask for the final state


def watch(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    token_file: str | Path | None = None,
    allow_hosts: Sequence[str] = (),
    on_start: Callable[[str, Sequence[str]], None] | None = None,
) -> None:
    """Serve a page that follows the study or the training in a folder, until Ctrl-C.

    Nothing in the folder is written or locked. The folder may be that of a study or a training that
    has not begun, is running, was interrupted or is finished.

    Args:
        folder: the folder of a study or a run. If it does not exist yet, the page waits for it.
        host: the name or address to listen on. Others than those of this machine need a token.
        port: the port; 0 for a free one; None for 8001, or a free one if it is in use.
        token_file: a file with the token that browsers must give; by default the environment variable
            CHALKNET_TOKEN, if it is set.
        allow_hosts: further names of this machine that browsers may have in the address.
        on_start: called with the address of the page and with notes on the settings when the server
            answers.

    Raises:
        ConfigError: the port is in use, another machine could reach the server and there is no token,
            or a setting is invalid.
        StoreError: the folder holds something else.
        MissingExtraError: the extra `serve` is not installed.
        KeyboardInterrupt: Ctrl-C has stopped the server.
    """
    place = Path(folder)
    check_folder(place)
    access = resolve_access(host, token_file=token_file, host_names=allow_hosts)
    server, address, _ = _server(FolderSource(place), access, port)
    server.run(lambda: on_start(address, access.notes) if on_start is not None else None)


@contextmanager
def watching(source: Source, *, port: int | None = None) -> Iterator[str]:
    """Serve a page in a thread of this process while a block runs, and yield its address.

    At the end, also after an error of chalknet, a browser that follows the page gets a few seconds to
    ask for the final state.

    Args:
        source: what the page shows.
        port: as in `watch`. Only this machine can open the page.

    Raises:
        ConfigError, MissingExtraError: as in `watch`.
    """
    server, address, app = _server(source, Access(), port)
    with server:
        try:
            yield address
        except ChalknetError:
            app.wait_for_browsers(FINAL_SECONDS)
            raise
        app.wait_for_browsers(FINAL_SECONDS)


def check_folder(folder: Path) -> None:
    """Raise StoreError if a folder is a file, or holds something else than a study or a training."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is not a folder. Give the folder of a study or of a training.")
    if folder.is_dir() and any(folder.iterdir()) and not (is_study(folder) or is_training(folder)):
        raise StoreError(f"{folder}: holds neither a study nor a training. Give the folder of one.")


def _server(source: Source, access: Access, port: int | None) -> tuple[Server, str, WatchApp]:
    """Return a server that does not run yet, its address and its application."""
    if isinstance(port, bool) or not isinstance(port, int | None):
        raise ConfigError(f"port (--port) must be an integer in 0..65535, got {port!r}.")
    app = WatchApp(source)
    import_extra("uvicorn", "httptools")
    bound = _bound(access.host, port)
    try:
        server = Server(Guard(app, access, LIMITS, open_paths=PAGE_FILES), bound, LIMITS)
    except BaseException:
        bound.close()
        raise
    return server, address_of(bound), app


def _bound(host: str, port: int | None) -> socket.socket:
    """Return a listening socket; without a port, it has `PORT` or a free one."""
    try:
        return bind_socket(host, PORT if port is None else port)
    except ConfigError:
        if port is not None:
            raise
        return bind_socket(host, 0)
