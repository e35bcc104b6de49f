"""The class of all commands, and how `--help` is laid out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import cloup

# Placeholders for spaces and hyphens at which a line of the help does not end. They are private
# characters of Unicode, and the help that is printed has the plain characters again.
SPACE, HYPHEN = "\ue000", "\ue001"
# A part of "[default: ...]" that is longer may be broken. This is cloup's smallest width of a column.
MAX_UNBROKEN = 35


class HelpFormatter(cloup.HelpFormatter):
    """Lays out help without breaking words at hyphens, nor "[default: X]" before X."""

    def write_text(self, text: str, style: Callable[[str], str] = lambda text: text) -> None:
        """Write paragraphs, wrapped between words."""
        super().write_text(text.replace("-", HYPHEN), style)

    def write_dl(self, rows: Iterable[Any], *args: Any, **kwargs: Any) -> None:
        """Write terms and their explanations in two columns, wrapped between words."""
        super().write_dl([(term, _unbroken(text)) for term, text in rows], *args, **kwargs)

    def getvalue(self) -> str:
        """Return the help with plain spaces and hyphens."""
        return super().getvalue().replace(SPACE, " ").replace(HYPHEN, "-")


def _unbroken(text: Any) -> Any:
    """Return an explanation with placeholders where it shall not be broken.

    Summaries of commands are functions of the width, which are returned as they are.
    """
    if not isinstance(text, str):
        return text
    shown, bracket, defaults = text.replace("-", HYPHEN).partition("  [")
    parts = [
        part.replace(" ", SPACE) if len(part) <= MAX_UNBROKEN else part.replace(": ", f":{SPACE}", 1)
        for part in re.split("(?<=;) ", defaults)
    ]
    return f"{shown}{bracket}{' '.join(parts)}"


class HelpContext(cloup.Context):
    """The context of all commands, which makes their help with `HelpFormatter`."""

    formatter_class: type[cloup.HelpFormatter] = HelpFormatter


class Command(cloup.Command):
    """A command whose help does not wrap indented lines, such as the examples in its docstring."""

    context_class: type[cloup.Context] = HelpContext

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Create the command with the arguments of `cloup.Command`."""
        super().__init__(*args, **kwargs)
        self.help: str | None = keep_indented_lines(self.help or "")


def command(name: str | None = None) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator that makes a `Command` of a function, named after it by default."""
    return cloup.command(name, cls=Command)


def keep_indented_lines(text: str) -> str:
    """Mark the paragraphs of a help text that have indented lines, so that click does not wrap them."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(f"\b\n{one}" if "\n    " in one else one for one in paragraphs)
