"""The choice of images for each letter."""

import numpy as np

from chalknet.data.glyph_builder.choice import choose_images, copies_across_letters, round_robin


def squares(*values: int):
    """Images of one gray level each, (1, 2, 2) a value."""
    return np.array(values, np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)


def test_solid_squares_stay_as_often_as_the_faces_have_them():
    first = squares(255, 255, 255, 0)
    images = np.stack([first, squares(10, 90, 170, 250)], axis=1)
    chosen = choose_images(images, np.arange(4))
    assert chosen.faces[0].tolist() == [0, 1, 2, 3]


def test_near_identical_images_of_a_letter_are_one():
    images = np.stack([squares(0, 3, 200), squares(100, 120, 140)], axis=1)
    chosen = choose_images(images, np.arange(3))
    assert chosen.faces[0].tolist() == [0, 2]
    assert chosen.near_identical == (1, 0)


def test_a_copy_of_another_letter_goes_to_the_letter_that_has_it_more_often():
    images = np.stack([squares(255, 255, 7), squares(255, 9, 7)], axis=1)  # face 2 has one drawing for both letters
    assert copies_across_letters(images).tolist() == [[False, True], [False, False], [True, True]]


def test_a_cap_counts_what_it_leaves_out_and_keeps_the_order():
    images = np.stack([squares(0, 60, 120), squares(30, 90, 150)], axis=1)
    chosen = choose_images(images, np.array([2, 0, 1]), 2)
    assert [kept.tolist() for kept in chosen.faces] == [[2, 0], [2, 0]]
    assert chosen.capped == (1, 1)


def test_round_robin_takes_one_of_each_family_before_a_second():
    assert round_robin(np.array([0, 0, 0, 1, 1, 2])).tolist() == [0, 3, 5, 1, 4, 2]
