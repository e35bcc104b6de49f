"""The only place where commands write to standard output and standard error.

Names and texts from files of strangers may hold escape sequences. Nothing that is printed here can
control a terminal.
"""

from __future__ import annotations

import click

from chalknet.formatting import printable


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write text, with escapes in place of everything but printable characters, tabs and line ends.

    Args:
        text: one or several lines.
        err: whether to write to standard error instead of standard output.
        nl: whether to end with a new line.
    """
    lines = ("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    click.echo("\n".join(lines), err=err, nl=nl)
