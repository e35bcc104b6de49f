"""The class of all commands, which keeps the lines of examples in `--help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import cloup


class Command(cloup.Command):
    """A command whose help does not wrap indented lines, such as the examples in its docstring."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create the command with the arguments of `cloup.Command`."""
        super().__init__(*args, **kwargs)
        self.help = keep_indented_lines(self.help or "")


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a `Command` of a function, named after it by default."""
    return cloup.command(name, cls=Command)


def keep_indented_lines(text: str) -> str:
    """Mark the paragraphs of a help text that have indented lines, so that click does not wrap them."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"\b\n{one}" if "\n    " in one else one for one in paragraphs)
