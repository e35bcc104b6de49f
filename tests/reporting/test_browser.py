"""The HTML document in Chromium, without errors on its console; skipped where Chromium is not installed."""

import io
import json
import re
import shutil
import subprocess
from shlex import split

import pytest
from demonstration import demonstration
from PIL import Image

from chalknet.reporting.document import Document, Section, TableBlock
from chalknet.reporting.html import document_html
from chalknet.reporting.tables import Table

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Screenshots under load may otherwise miss a layer that scrolls, so all stages run before the page is drawn.
FLAGS = split(
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars "
    "--run-all-compositor-stages-before-draw --enable-logging=stderr"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here; on Debian: apt install chromium"),
]


@pytest.fixture(scope="module")
def page(pictures):
    return document_html(demonstration(), pictures)


@pytest.fixture
def browse(tmp_path):
    """browse(page, *flags): what Chromium prints."""

    def run(page, *flags):
        (tmp_path / "page.html").write_bytes(page)
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, "page.html"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)

    return run


def corner(tmp_path):
    """Red, green, blue of the page's lower right corner."""
    return Image.open(io.BytesIO((tmp_path / "shot.png").read_bytes())).convert("RGB").getpixel((-1, -1))


def with_choice(page, theme):
    """The page with another of its three themes chosen."""
    old = b'id="theme-system" checked'
    assert old in page
    new = f'id="theme-{theme}"'.encode()
    return page.replace(old, b'id="theme-system"').replace(new, new + b" checked")


LIGHT, DARK = (0xFD, 0xFD, 0xFC), (0x16, 0x18, 0x1C)


@pytest.mark.parametrize(
    ("system", "choice", "expected"),
    [("light", "system", LIGHT), ("dark", "system", DARK), ("light", "dark", DARK), ("dark", "light", LIGHT)],
)
def test_the_theme_follows_the_system_or_the_choice(page, browse, tmp_path, system, choice, expected):
    scheme = f"--blink-settings=preferredColorScheme={0 if system == 'dark' else 1}"
    _, messages = browse(with_choice(page, choice), scheme, "--window-size=800,500", "--screenshot=shot.png")
    assert messages == []
    assert corner(tmp_path) == expected


def test_a_page_that_breaks_its_policy_is_noticed(page, browse):
    """The check above would see a message if there were one."""
    bad = page.replace(b"</main>", b"<script>1</script></main>")
    _, messages = browse(bad, "--window-size=300,300", "--screenshot=shot.png")
    assert any("Content Security Policy" in message for message in messages)


def test_the_browser_shows_mathml_and_every_section(page, browse):
    read, messages = browse(page, "--dump-dom")
    assert messages == []
    assert read.count("<math") >= 30
    assert [number for number in ("0", "1.2", "1.4.1", "A") if f'id="section-{number}"' not in read] == []


def test_print_is_light_on_a_dark_system(page, browse, tmp_path):
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm is not here; on Debian: apt install poppler-utils")
    browse(page, "--blink-settings=preferredColorScheme=0", "--print-to-pdf=page.pdf", "--no-pdf-header-footer")
    subprocess.run(["pdftoppm", "-r", "20", "-l", "1", "-png", "page.pdf", "paper"], cwd=tmp_path, check=True)
    (paper,) = tmp_path.glob("paper-*.png")
    assert Image.open(paper).convert("L").getextrema()[1] == 255
    assert Image.open(paper).convert("L").resize((1, 1)).getpixel((0, 0)) > 200


def with_script(page, script):
    """The page with a script that it would not let run, after everything else."""
    return re.sub(b"<meta http-equiv[^>]*>", b"", page).replace(
        b"</body>", f"<script>{script}</script></body>".encode()
    )


def table_of(name, n_columns, cell="0.123"):
    heads = ("", *(f"class {k}" for k in range(1, n_columns)))
    return TableBlock(name, Table(name, heads, (("100 units", *[cell] * (n_columns - 1)),) * 4), highlight=(1,))


@pytest.fixture(scope="module")
def tables():
    """A page of one table that fits the text, one that fits a window, one that fits none, and one of sentences."""
    blocks = (table_of("narrow", 4), table_of("wide", 12), table_of("widest", 60), table_of("long", 3, "words " * 30))
    return document_html(Document("", sections=(Section("1", "", blocks),)))


MEASURE = """
const box = e => { const {left, right, top, bottom} = e.getBoundingClientRect(); return [left, right, top, bottom] };
const found = {text: box(document.querySelector("h2"))};
for (const e of document.querySelectorAll(".scroll"))
  found[e.parentNode.id] = [...box(e), e.scrollWidth - e.clientWidth];
found.beyond = document.documentElement.scrollWidth - innerWidth;
document.title = JSON.stringify(found);
"""


@pytest.fixture
def measured(browse):
    """measured(page, width): left, right, top and bottom of each table's box and what it has to scroll, in pixels."""

    def run(page, width):
        read, _ = browse(with_script(page, MEASURE), f"--window-size={width},900", "--dump-dom")
        return json.loads(re.search("<title>(.*)</title>", read)[1])

    return run


@pytest.mark.parametrize("width", [520, 800, 1280, 2000])
def test_no_table_makes_the_page_wider_than_the_window(tables, measured, width):
    found = measured(tables, width)
    assert found["beyond"] == 0
    assert found["table-widest"][4] > 0
    assert 0 <= found["table-widest"][0] < found["table-widest"][1] <= width


def test_a_wide_table_uses_the_width_of_the_window(tables, measured):
    found = measured(tables, 1280)
    (left, right, *_), wide, widest = (found[name] for name in ("text", "table-wide", "table-widest"))
    assert found["table-narrow"][:2] == found["table-long"][:2] == [left, right]
    assert wide[0] < left < right < wide[1]
    assert wide[4] == 0
    assert widest[1] - widest[0] > 1230


LIGHT_EDGE, DARK_EDGE = (0x4B, 0x4F, 0x55), (0x9A, 0xA2, 0xAD)


@pytest.mark.parametrize(("system", "edge"), [("light", LIGHT_EDGE), ("dark", DARK_EDGE)])
@pytest.mark.parametrize(("scrolled", "expected"), [(0, [False, True]), (300, [True, True]), (9999, [True, False])])
def test_a_table_has_an_edge_where_it_can_be_scrolled(
    tables, browse, measured, tmp_path, system, edge, scrolled, expected
):
    found = measured(tables, 800)
    page = with_script(tables, f"for (const e of document.querySelectorAll('.scroll')) e.scrollLeft = {scrolled}")
    scheme = f"--blink-settings=preferredColorScheme={0 if system == 'dark' else 1}"
    browse(page, scheme, "--window-size=800,900", "--screenshot=shot.png")
    shot = Image.open(tmp_path / "shot.png").convert("RGB")
    assert sides(shot, found["table-widest"], edge) == expected
    assert sides(shot, found["table-narrow"], edge) == [False, False]


def sides(shot, box, edge):
    """Whether there is a line of this color down the left and the right side; letters and rows may lie over a part."""
    left, right, top, bottom, _ = box
    rows = range(round(top) + 3, round(bottom) - 3)
    columns = (round(left), round(right) - 1)
    return [sum(shot.getpixel((x, y)) == edge for y in rows) > len(rows) / 2 for x in columns]
