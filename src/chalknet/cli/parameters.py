"""Types of command-line parameters: what `--help` shows, and what a shell completes."""

from __future__ import annotations

from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

MAX_METAVAR = 44  # Columns up to which `--help` shows the names of a `Choice` instead of NAME.


class Choice(click.Choice[str]):
    """One of a few names.

    `convert` checks nothing: the function that receives the value does, so Python users and command-line users get the
    same message, with the nearest name.
    """

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Return the names in brackets, or NAME where they would fill the line."""
        del param, ctx
        names = f"[{'|'.join(self.choices)}]"
        return names if len(names) <= MAX_METAVAR else "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it is."""
        del param, ctx
        return str(value)


class Words(click.ParamType[str]):
    """Any text, for which a shell completes some words.

    Args:
        words: the words to complete.
        is_list: whether the text is a list with commas, of which the last entry is completed.
    """

    name = "text"

    def __init__(self, words: tuple[str, ...], *, is_list: bool = False) -> None:
        self._words = words
        self._is_list = is_list

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Return the words that begin with what was typed."""
        del ctx, param
        before, comma, last = incomplete.rpartition(",") if self._is_list else ("", "", incomplete)
        return [CompletionItem(f"{before}{comma}{word}") for word in self._words if word.startswith(last)]


class PathText(click.ParamType[str]):
    """The name of a file or a folder, as text.

    Args:
        kind: what a shell completes: names of files and folders, or of folders only.
        words: names with a meaning of their own, such as glyphs.
    """

    name = "path"

    def __init__(self, kind: Literal["file", "dir"], *, words: tuple[str, ...] = ()) -> None:
        self._kind = kind
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name.

        Raises:
            click.BadParameter: the name is empty, as an unset variable of a shell leaves it.
        """
        if not value:
            also = "".join(f", or {word}" for word in self._words)
            self.fail(f"it must be the name of a file or a folder{also}, got ''.", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        """Return a word that begins with what was typed, else the item that makes a shell complete paths."""
        del ctx, param
        words = [CompletionItem(word) for word in self._words if incomplete and word.startswith(incomplete)]
        return words or [CompletionItem(incomplete, type=self._kind)]


FILE = PathText("file")  # also of a file or a folder
FOLDER = PathText("dir")
DATA_SOURCE = PathText("file", words=("glyphs",))
