"""Letters that are drawn with the mouse, and read by a network that was trained on the built-in letters."""

from __future__ import annotations

import pytest
from drawn_letters import drawings

import chalknet

pytestmark = [pytest.mark.extras, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """The page of a network as `make page` trains it, with fewer units and epochs."""
    folder = tmp_path_factory.mktemp("letters")
    chalknet.train("glyphs", recipe="strong", hidden=[256], epochs=3, out=folder / "run")
    made = chalknet.export_model(folder / "run", folder / "page.html", "html")
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    opened.goto(made.path.as_uri())
    opened.wait_for_selector("html[data-ready]")
    yield opened
    opened.close()


def draw(page, pen, strokes):
    """Draw strokes with the mouse, and return the class that the page says."""
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Width of the pen").fill(str(pen))
    box = page.locator("canvas.drawing").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()
    page.wait_for_timeout(50)  # the page computes with the next frame
    return page.locator(".says strong").inner_text()


def test_nine_of_ten_drawn_letters_are_read_right(page):
    read = [(letter, pen, draw(page, pen, strokes)) for letter, pen, strokes in drawings()]
    wrong = [one for one in read if one[0] != one[2]]
    assert len(read) == 30
    assert len(wrong) <= 3, wrong
