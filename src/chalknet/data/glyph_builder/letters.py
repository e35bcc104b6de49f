"""Parse a text such as 'A-Ja-z0-9' into letters, each of which is a class."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from chalknet.data.dataset import MAX_CLASSES
from chalknet.errors import ConfigError


def expand_letters(text: str) -> tuple[str, ...]:
    """Return the characters that a text stands for: "A-J", "A-Ja-z0-9", "ÄÖÜ", "А-Я", "A,B,C".

    A range covers code points, without unassigned ones (U+03A2 in "Α-Ω"). Commas and spaces
    separate. A hyphen at the beginning or end is a letter. Decomposed letters are composed first.

    Raises:
        ConfigError: a range is reversed, a letter appears twice, fonts do not draw a character
            alone, or there are fewer than two or more than MAX_CLASSES letters.
    """
    parts = [part for part in re.split(r"[,\s]+", unicodedata.normalize("NFC", text)) if part]
    letters = tuple(letter for part in parts for letter in _expand_part(part, text))
    check_letters(letters, text)
    return letters


def _expand_part(part: str, text: str) -> Iterator[str]:
    """Yield the characters of a part between separators."""
    at = 0
    while at < len(part):
        if part[at + 1 : at + 2] == "-" and at + 2 < len(part):
            yield from _expand_range(part[at], part[at + 2], text)
            at += 3
        else:
            yield part[at]
            at += 1


def _expand_range(first: str, last: str, text: str) -> list[str]:
    """Return the drawable characters of a range."""
    if first > last:
        raise ConfigError(f"letters: range {first}-{last} of {text!r} runs backwards. Did you mean {last}-{first}?")
    if ord(last) - ord(first) >= 2 * MAX_CLASSES:
        raise ConfigError(f"letters: range {first}-{last} of {text!r} has more than {MAX_CLASSES} letters.")
    return [chr(code) for code in range(ord(first), ord(last) + 1) if _is_drawable(chr(code))]


def _is_drawable(letter: str) -> bool:
    """Return whether fonts draw a character alone.

    Control, surrogate, unassigned and private characters, spaces and combining marks are excluded.
    """
    return unicodedata.category(letter)[0] not in "CZM"


def check_letters(letters: Sequence[str], text: str) -> None:
    """Check the letters of a set.

    Args:
        letters: the single characters.
        text: the text that they come from, for messages.

    Raises:
        ConfigError: letters are not 2 to MAX_CLASSES different drawable characters.
    """
    for letter in letters:
        if len(letter) != 1 or not _is_drawable(letter):
            raise ConfigError(f"letters: {letter!r} is not a single character that a font draws alone.")
    twice = [letter for letter, count in Counter(letters).items() if count > 1]
    if twice:
        raise ConfigError(f"letters: {twice[0]!r} comes twice in {text!r}; every letter is one class.")
    if not 2 <= len(letters) <= MAX_CLASSES:
        raise ConfigError(f"letters must be 2 to {MAX_CLASSES} characters, got {len(letters)} from {text!r}.")
