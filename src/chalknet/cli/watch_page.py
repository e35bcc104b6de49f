"""The page that `--watch` shows in the browser while a command works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cloup

from chalknet.cli.output import echo
from chalknet.config import number_or_text
from chalknet.errors import ConfigError

if TYPE_CHECKING:
    from chalknet.serving.watch.sources import Source

ANY_PORT = "any"


def watch_option(text: str) -> Any:
    """Return a decorator that adds --watch, whose value may be left out."""
    return cloup.option(
        "--watch",
        is_flag=False,
        flag_value=ANY_PORT,
        metavar="[PORT]",
        help=f"{text} Needs the extra serve.  [default of PORT: 8001, or a free one]",
    )


@contextmanager
def page_of(source: Source | None, port: str | None) -> Iterator[None]:
    """Show a page while a block runs, and print its address, and in the end how to see it again.

    Args:
        source: what the page shows; None to do nothing.
        port: the value of --watch.
    """
    if source is None:
        yield
        return
    from chalknet.workflows.watch import watching

    with watching(source, port=parse_port(None if port == ANY_PORT else port)) as address:
        echo(f"watch: {address}", err=True)
        yield
    if again := source.page().again:
        echo(f"watch: to see the page again: {again}", err=True)


def parse_port(port: str | None) -> int | None:
    """Return a port as a number, or None if none is given.

    Raises:
        ConfigError: it is not a number.
    """
    if port is None:
        return None
    number = number_or_text(port)
    if not isinstance(number, int):
        raise ConfigError(f"port (--port, --watch) must be an integer in 0..65535, got {port!r}.")
    return number
