"""The one place where commands write to a terminal: what files of strangers bring cannot steer it."""

from __future__ import annotations

import click

from chalknet.formatting import printable


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write lines to standard output or standard error, with escapes for all but printable characters and tabs."""
    lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    click.echo("\n".join(lines), err=err, nl=nl)
