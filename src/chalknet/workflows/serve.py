"""Answer predictions over HTTP: `chalknet.serve`, which `chalknet serve` calls too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chalknet.errors import ConfigError
from chalknet.formatting import printable
from chalknet.serving.page.page import PageExtras
from chalknet.serving.server.access import Access, resolve_access
from chalknet.serving.server.guard import Guard
from chalknet.serving.server.limits import ServeLimits
from chalknet.serving.server.registry import Registry, ServedModel
from chalknet.serving.server.running import Server, address_of, bind_socket, import_extra
from chalknet.workflows.page import page_of_model

EXTRA = ("orjson", "prometheus_client", "python_multipart", "swagger_ui_bundle", "uvicorn", "httptools")


@dataclass(frozen=True)
class ServerFacts:
    """What a server that has started tells.

    Attributes:
        address: the address for a browser on this machine, such as "http://127.0.0.1:8000".
        models: one line for each model: its name, what it reads and what it predicts.
        notes: what is unusual about the settings, one sentence each.
        needs_token: whether requests must have a token.
    """

    address: str
    models: tuple[str, ...]
    notes: tuple[str, ...]
    needs_token: bool


def serve(
    models: str | Path | Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | Path | None = None,
    allow_hosts: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    max_body: float = ServeLimits.max_body,
    max_rows: int = ServeLimits.max_rows,
    max_pixels: int = ServeLimits.max_pixels,
    max_seconds: float = ServeLimits.max_seconds,
    on_start: Callable[[ServerFacts], None] = lambda _: None,
) -> None:
    """Answer predictions of models over HTTP until Ctrl-C or SIGTERM.

    docs/guide/serve.md describes the addresses and what they answer. A model is loaded again when its file
    changes. After a signal, requests that have begun are answered before this function returns.

    Args:
        models: model files or run folders, each with "NAME=" in front of it or not.
        host: the name or address to listen on. Another one than that of this machine alone needs a token.
        port: the port; 0 for a free one.
        token_file: a file with the token that requests must have; by default the environment variable
            CHALKNET_TOKEN, if it is set.
        allow_hosts: further names that requests may have in their Host header.
        cors_origins: origins such as https://example.org whose pages may ask.
        max_body: size of a request in MiB.
        max_rows: rows of a table, or images, in a request.
        max_pixels: pixels of an image.
        max_seconds: time from the whole request to its answer, in seconds.
        on_start: called when the server answers.

    Raises:
        ConfigError: a setting is invalid, the port is in use, or a token is needed.
        ModelFileError: a model cannot be read.
        MissingExtraError: a package of the extra `serve` is not installed.
        KeyboardInterrupt: Ctrl-C has stopped the server.
    """
    import_extra(*EXTRA)
    limits = ServeLimits(max_body=max_body, max_rows=max_rows, max_pixels=max_pixels, max_seconds=max_seconds)
    access = resolve_access(host, token_file=token_file, host_names=allow_hosts, cors_origins=cors_origins)
    bound = bind_socket(host, port)
    try:
        registry = Registry([models] if isinstance(models, str | Path) else models)
        app = create_app(registry, access, limits)
        server = Server(app, bound, limits.of_requests)
    except BaseException:
        bound.close()
        raise
    from chalknet.serving.server.application import describe_models

    lines = tuple(map(printable, describe_models(registry)))
    facts = ServerFacts(address_of(bound), lines, access.notes, access.token is not None)
    server.run(lambda: on_start(facts))


def create_app(registry: Registry, access: Access, limits: ServeLimits) -> Guard:
    """Return the ASGI application of a server, with all its checks.

    Args:
        registry: the models.
        access: who may ask.
        limits: what a request may cost.
    """
    from chalknet.serving.server.application import OPEN_PATHS, OPEN_PREFIXES, Application

    app = Application(registry, limits, interactive_page, access.token is not None)
    return Guard(app, access, limits.of_requests, OPEN_PATHS, OPEN_PREFIXES)


def interactive_page(model: ServedModel, base: str) -> bytes | None:
    """Return the interactive page of a model with a tab for uploads, or None if the model has none.

    It has no samples of the training, because who may ask for predictions may not see them.

    Args:
        model: the model.
        base: the path from the page to the root of the server.
    """
    from chalknet.serving.server.web import upload_tab

    scripts, style = upload_tab()
    extras = PageExtras(scripts, (style,), connects=True, data={"base": base, "models": [model.facts]})
    try:
        return page_of_model(replace(model.loaded, run=None), title=model.name, extras=extras)[0]
    except ConfigError:  # a layer that the page cannot compute, or too many weights
        return None
