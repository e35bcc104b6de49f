"""A page of the docs whose tables are written from a stored result: shown, or written anew."""

from __future__ import annotations

from pathlib import Path


def replaced(text: str, begin: str, end: str, inner: str) -> str:
    """The page with what stands between two markers replaced."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{inner}\n\n{end}{after}"


def show_or_write(page: Path, begin: str, end: str, inner: str, *, only_show: bool) -> None:
    """Prints the page with its tables, or writes it."""
    text = replaced(page.read_text(encoding="utf-8"), begin, end, inner)
    if only_show:
        print(text, end="")
    else:
        page.write_text(text, encoding="utf-8")
