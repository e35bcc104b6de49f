"""The contents of a letter set."""

import numpy as np
from dejavu import drawn

from chalknet.data.glyph_builder.building import build_letters


def test_a_set_holds_what_its_records_say(three_fonts):
    made = build_letters([three_fonts], "AHI", jobs=1, seed=3)
    assert made.images.shape == (9, 28, 28)
    assert made.class_names == ("A", "H", "I")
    assert made.summary.images == {"A": 3, "H": 3, "I": 3}
    for image, label, face, family in zip(made.images, made.labels, made.face, made.family, strict=True):
        record = made.faces[face]
        assert made.class_names[label] in record.letters
        assert family == record.family_group
        assert np.array_equal(image, drawn(three_fonts / record.file, made.class_names[label]))


def test_another_seed_is_another_order_of_the_same_images(three_fonts):
    one, two = (build_letters([three_fonts], "ABCD", jobs=1, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.images, two.images)
    assert sorted(x.tobytes() for x in one.images) == sorted(x.tobytes() for x in two.images)
