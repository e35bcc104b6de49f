"""Faces that share a design are grouped."""

import pytest

from chalknet.data.glyph_builder.families import family_groups, family_key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("DejaVu Sans Condensed", "dejavusans"),
        ("RobotoSlab-ExtraBold", "robotoslab"),
        ("Source Serif 4 Display", "sourceserif"),
        ("Bold", "bold"),
        ("明朝", "明朝"),
        ("", "unnamed"),
    ],
)
def test_a_family_key_is_the_name_without_weight_width_and_size(name, key):
    assert family_key(name) == key


def test_families_join_by_key_by_prefix_and_by_likeness():
    names = ["Roboto", "Lato", "Roboto Slab", "Lato Black", "Twin of Lato", "Other"]
    assert family_groups(names).tolist() == [0, 1, 0, 1, 2, 3]
    assert family_groups(names, [(1, 4)]).tolist() == [0, 1, 0, 1, 1, 2]
