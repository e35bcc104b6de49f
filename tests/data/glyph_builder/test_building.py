"""Building from any fonts and from a manifest."""

import shutil
from dataclasses import replace

import pytest
from dejavu import FONTS, MONO, SANS, SERIF, SYMBOLS

from chalknet.data.glyph_builder.archive import npz_bytes
from chalknet.data.glyph_builder.building import build_letters, build_pinned
from chalknet.data.glyph_builder.manifest import manifest_csv, read_manifest
from chalknet.data.glyph_builder.scanning import FILES_PER_TASK
from chalknet.errors import ConfigError, DataError


def test_a_second_copy_of_a_font_is_dropped_by_name(three_fonts):
    shutil.copy(SANS, three_fonts / "the same again.ttf")
    summary = build_letters([three_fonts], "AB", jobs=1).summary
    assert summary.drop_counts == {"near-identical face": 1}
    assert summary.drops[0].name == "the same again.ttf"
    assert summary.drops[0].detail == "like sans.ttf"


def test_a_cap_is_kept_and_spread_over_families(three_fonts):
    shutil.copy(FONTS / "DejaVuSans-Bold.ttf", three_fonts)
    made = build_letters([three_fonts], "AB", jobs=1, per_letter=2)
    assert made.summary.images == {"A": 2, "B": 2}
    assert len(set(made.family.tolist())) == 2


def test_the_bytes_do_not_depend_on_the_number_of_processes():
    fonts = [SANS, SERIF, MONO, *sorted(FONTS.glob("DejaVu*Bold*.ttf")), SYMBOLS, *sorted(FONTS.glob("STIXG*"))]
    assert len(fonts) > FILES_PER_TASK  # otherwise no pool would be used
    one, two = (npz_bytes(build_letters(fonts, "AC", jobs=jobs, seed=1)) for jobs in (1, 2))
    assert one == two


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1}, "size must be 2 to 1024"),
        ({"per_letter": 0}, "per_letter must be at least 1"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"seed": -1}, "seed must be 0 to"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_letters([SANS], "AB", **settings)


def test_fonts_without_the_letters_are_refused_with_the_first_reason():
    with pytest.raises(DataError, match=r"1 font files, none with all of AB; the first, STIXSizFourSymReg.ttf: letter"):
        build_letters([SYMBOLS], "AB", jobs=1)


def test_a_pinned_build_repeats_its_build(three_fonts, tmp_path):
    made = build_letters([three_fonts], "ABI", jobs=1, seed=5)
    path = tmp_path / "faces.csv"
    path.write_text(manifest_csv(made.faces), encoding="utf-8")
    again = build_pinned([three_fonts], read_manifest(path), jobs=1, seed=5)
    assert npz_bytes(again) == npz_bytes(made)


def test_a_pinned_build_draws_only_what_is_listed_in_its_order(three_fonts):
    faces = build_letters([three_fonts], "ABI", jobs=1).faces
    listed = [replace(faces[2], letters="IA"), replace(faces[0], letters="B")]
    made = build_pinned([three_fonts], listed, jobs=1)
    pairs = sorted((int(face), made.class_names[label]) for face, label in zip(made.face, made.labels, strict=True))
    assert pairs == [(0, "A"), (0, "I"), (1, "B")]


def test_a_pinned_build_names_fonts_that_are_missing_or_differ(three_fonts):
    records = build_letters([three_fonts], "AB", jobs=1).faces
    (three_fonts / "deep/mono.ttf").unlink()
    (three_fonts / "sans.ttf").write_bytes(SANS.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"list: 2 of 3 fonts .*mono.ttf \(missing\), sans.ttf \(differs\)\."):
        build_pinned([three_fonts], records, jobs=1, source="list")


def test_a_pinned_letter_that_the_font_does_not_draw_is_named(three_fonts):
    record = build_letters([three_fonts], "AB", jobs=1).faces[0]
    with pytest.raises(DataError, match=r"mono.ttf: listed in list but cannot be drawn: letter missing"):
        build_pinned([three_fonts], [replace(record, letters="A\u1234")], jobs=1, source="list")
