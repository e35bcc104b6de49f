"""Texts are expanded to letters, or refused."""

import pytest

from chalknet.data.glyph_builder.letters import expand_letters
from chalknet.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("A-J", "ABCDEFGHIJ"),
        ("A-Ca-c0-2", "ABCabc012"),
        ("A,B,C", "ABC"),
        ("A-C, x", "ABCx"),
        ("ÄÖÜ", "ÄÖÜ"),
        ("A\u0308B", "ÄB"),  # decomposed, as some keyboards and file systems give it
        ("А-Г", "АБВГ"),  # Cyrillic
        ("Ρ-Τ", "ΡΣΤ"),  # U+03A2, between Rho and Sigma, is unassigned
        ("-+", "-+"),
        ("+-", "+-"),
        ("山川", "山川"),
    ],
)
def test_letters_expand_to_the_characters_they_stand_for(text, letters):
    assert expand_letters(text) == tuple(letters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("J-A", "runs backwards. Did you mean A-J"),
        ("A-CB", "'B' comes twice"),
        ("A", "2 to 10000 characters, got 1"),
        ("", "2 to 10000 characters, got 0"),
        ("A\x07B", "not a single character that a font draws"),
        ("\u0308A", "not a single character that a font draws"),
        ("\u0000-\U0010ffff", "more than 10000"),
    ],
)
def test_invalid_letters_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        expand_letters(text)
