"""Drawing many files: faces, drops, and crashes."""

import hashlib
import os

import numpy as np
from dejavu import FONTS, SANS, SERIF, drawn
from fontTools.ttLib import TTCollection, TTFont

from chalknet.data.glyph_builder.archive import npz_bytes
from chalknet.data.glyph_builder.building import build_letters, build_pinned
from chalknet.data.glyph_builder.drawing import DrawTask, draw_file
from chalknet.data.glyph_builder.faces import Drop
from chalknet.data.glyph_builder.fonts import find_fonts
from chalknet.data.glyph_builder.scanning import FILES_PER_TASK, run_tasks, scan_fonts


def test_a_broken_font_is_a_named_drop(three_fonts):
    (three_fonts / "broken.ttf").write_bytes(SANS.read_bytes()[:2000])
    (three_fonts / "empty.otf").write_bytes(b"")
    (three_fonts / "claims.ttc").write_bytes(b"ttcf\0\1\0\0\0\0\0\1" + b"\0" * 50)
    faces, drops = scan_fonts(find_fonts([three_fonts]), "AB", jobs=1)
    assert len(faces) == 3
    assert {drop.name: drop.kind for drop in drops} == dict.fromkeys(
        ("broken.ttf", "empty.otf", "claims.ttc"), "unreadable"
    )


def test_a_face_that_lacks_a_letter_is_dropped_with_the_letter():
    faces, drops = scan_fonts(find_fonts([SANS]), "AB\u1234", jobs=1)  # an Ethiopic syllable: DejaVu draws its box
    assert not faces
    assert (drops[0].kind, drops[0].detail) == ("letter missing", "\u1234")


def test_a_face_whose_letters_repeat_is_dropped():
    latin_greek_cyrillic_a = "AΑА"
    faces, drops = scan_fonts(find_fonts([SANS]), latin_greek_cyrillic_a, jobs=1)
    assert not faces
    assert (drops[0].kind, drops[0].detail) == ("repeated glyphs", "1 distinct of 3")


def test_names_come_from_the_font(three_fonts):
    faces, _ = scan_fonts(find_fonts([three_fonts / "sans.ttf"]), "AB", jobs=1)
    assert (faces[0].family, faces[0].style) == ("DejaVu Sans", "Book")
    assert faces[0].sha256 == hashlib.sha256(SANS.read_bytes()).hexdigest()


def test_every_face_of_a_collection_is_read(tmp_path):
    collection = TTCollection()
    collection.fonts = [TTFont(SANS), TTFont(SERIF)]
    collection.save(tmp_path / "both.ttc")
    faces, drops = scan_fonts(find_fonts([tmp_path]), "AB", jobs=1)
    assert [(face.name, face.index) for face in faces] == [("DejaVu Sans Book", 0), ("DejaVu Serif Book", 1)]
    assert not drops
    made = build_letters([tmp_path], "AB", jobs=1)
    assert npz_bytes(build_pinned([tmp_path], made.faces, jobs=1)) == npz_bytes(made)


def test_a_web_font_is_drawn_as_the_font_it_was_made_from(tmp_path):
    font = TTFont(SERIF)
    font.flavor = "woff"
    font.save(tmp_path / "serif.woff")
    faces, _ = scan_fonts(find_fonts([tmp_path]), "AB", jobs=1)
    assert np.array_equal(faces[0].images, np.stack([drawn(SERIF, "A"), drawn(SERIF, "B")]))


def test_progress_counts_every_file_once(three_fonts):
    calls = []
    scan_fonts(find_fonts([three_fonts]), "AB", jobs=1, on_progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def draw_or_crash(task):
    """Stands in for a font that takes the font library and its process down."""
    if task.font.name == "DejaVuSansMono.ttf":
        os._exit(11)
    return draw_file(task)


def test_a_font_that_crashes_its_process_costs_only_itself():
    fonts = find_fonts(sorted(FONTS.glob("DejaVu*.ttf")))
    assert len(fonts) > FILES_PER_TASK  # otherwise no pool would be used
    tasks = [DrawTask(font, ("A", "B"), 28) for font in fonts]
    results = run_tasks(tasks, 2, None, draw_or_crash)
    drops = {drop.name: drop.detail for (drop,) in results if isinstance(drop, Drop)}
    assert drops["DejaVuSansMono.ttf"] == "crashed the font library"
    assert set(drops) == {
        "DejaVuSansMono.ttf",
        "DejaVuSansDisplay.ttf",
        "DejaVuSerifDisplay.ttf",
    }  # the last two lack A
