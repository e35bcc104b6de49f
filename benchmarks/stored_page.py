"""Pages of the documentation with tables that are written from stored results."""

from __future__ import annotations

from pathlib import Path


def replaced(text: str, begin: str, end: str, inner: str) -> str:
    """Return a page in which the text between two markers is replaced."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{inner}\n\n{end}{after}"


def show_or_write(page: Path, begin: str, end: str, inner: str, *, only_show: bool) -> None:
    """Print a page with new tables, or write it."""
    text = replaced(page.read_text(encoding="utf-8"), begin, end, inner)
    if only_show:
        print(text, end="")
    else:
        page.write_text(text, encoding="utf-8")
