"""Types of command-line parameters: what `--help` shows, and what a shell completes."""

from __future__ import annotations

from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

# Choices that are longer than this stand in the help text and not beside the flag.
MAX_METAVAR = 44


class Choice(click.Choice[str]):
    """One of a few names.

    The name is not checked here. The function that receives it does so, and its message is the same
    for users of Python and of the command line.
    """

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the names in brackets, or NAME if they are longer than `MAX_METAVAR`."""
        del param, ctx
        names = f"[{'|'.join(self.choices)}]"
        return names if len(names) <= MAX_METAVAR else "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name without a check."""
        del param, ctx
        return str(value)


class Count(click.ParamType[int]):
    """An integer >= 1, which `--help` shows without its range."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number.

        Raises:
            click.BadParameter: it is not an integer >= 1.
        """
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"it must be an integer >= 1, got {value!r}.", param, ctx)
        return number


class Words(click.ParamType[str]):
    """Any text. A shell completes some words."""

    name = "text"

    def __init__(self, words: tuple[str, ...], *, is_list: bool = False) -> None:
        """Create the type.

        Args:
            words: words to complete.
            is_list: whether the text is a list with commas. Its last entry is then completed.
        """
        self._words = words
        self._is_list = is_list

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Return the words that begin with `incomplete`."""
        del ctx, param
        before, comma, last = incomplete.rpartition(",") if self._is_list else ("", "", incomplete)
        return [CompletionItem(f"{before}{comma}{word}") for word in self._words if word.startswith(last)]


class PathText(click.ParamType[str]):
    """The name of a file or a folder."""

    name = "path"

    def __init__(self, kind: Literal["file", "dir"], *, words: tuple[str, ...] = ()) -> None:
        """Create the type.

        Args:
            kind: what a shell completes: "file" for files and folders, "dir" for folders only.
            words: words that are accepted in place of a path, such as glyphs.
        """
        self._kind = kind
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name.

        Raises:
            click.BadParameter: the name is empty, for example because a shell variable is not set.
        """
        if not value:
            also = "".join(f", or {word}" for word in self._words)
            self.fail(f"it must be the name of a file or a folder{also}, got ''.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Return words that begin with `incomplete`, else an item that makes a shell complete paths."""
        del ctx, param
        words = [CompletionItem(word) for word in self._words if incomplete and word.startswith(incomplete)]
        return words or [CompletionItem(incomplete, type=self._kind)]


COUNT = Count()
FILE = PathText("file")
FOLDER = PathText("dir")
DATA_SOURCE = PathText("file", words=("glyphs",))
