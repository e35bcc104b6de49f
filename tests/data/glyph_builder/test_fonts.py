"""Font files are found, each once."""

import pytest

from chalknet.data.glyph_builder.fonts import find_fonts
from chalknet.errors import DataError


def test_fonts_are_found_at_any_depth_in_any_case_of_suffix(three_fonts):
    (three_fonts / "readme.txt").write_text("no font")
    assert [font.name for font in find_fonts([three_fonts])] == ["deep/mono.ttf", "deep/serif.TTF", "sans.ttf"]


def test_a_font_given_twice_is_one(three_fonts):
    assert len(find_fonts([three_fonts, three_fonts / "sans.ttf", three_fonts / "deep"])) == 3


def test_a_place_without_fonts_and_one_that_is_not_there_are_named(tmp_path):
    with pytest.raises(DataError, match="no font files"):
        find_fonts([tmp_path])
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        find_fonts([tmp_path / "nowhere"])
