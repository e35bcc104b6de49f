"""A letter is drawn as docs/glyphs.md describes."""

import numpy as np
import pytest
from dejavu import SANS, SERIF, drawn
from PIL import Image, ImageDraw, ImageFont


@pytest.mark.parametrize("letter", ["A", "G", "W", "j"])
def test_a_letter_is_the_cropped_and_resized_glyph(letter):
    font = ImageFont.truetype(str(SERIF), 128)  # the recipe, step by step, with Pillow's drawing instead of its mask
    canvas = Image.new("L", (300, 300))
    ImageDraw.Draw(canvas).text((60, 60), letter, font=font, fill=255)
    expected = canvas.crop(canvas.getbbox()).resize((28, 28), Image.Resampling.LANCZOS)
    assert np.array_equal(drawn(SERIF, letter), np.asarray(expected))


def test_ink_reaches_all_four_edges():
    for letter in "ABCDEFGHIJ":
        image = drawn(SERIF, letter)
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8
        assert all(edge.max() > 0 for edge in (image[0], image[-1], image[:, 0], image[:, -1]))


def test_a_sans_serif_i_is_a_solid_square_and_other_letters_are_not():
    assert (drawn(SANS, "I") == 255).all()
    assert not (drawn(SANS, "H") == 255).all()
    assert not (drawn(SERIF, "I") == 255).all()


def test_a_letter_without_ink_is_none():
    assert drawn(SANS, "\u2003") is None  # em space


def test_the_size_is_the_one_asked_for():
    assert drawn(SANS, "A", 17).shape == (17, 17)
