"""The page in Chromium: no message on its console, light and dark by the system and by choice; skipped without it."""

import io
import re
import shutil
import subprocess

import pytest
from demonstration import demonstration
from PIL import Image

from chalknet.reporting.html import document_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here; on Debian: apt install chromium")


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
def test_the_page_is_light_or_dark_by_the_system_and_by_choice_without_a_message(
    page, browse, tmp_path, system, choice, expected
):
    scheme = f"--blink-settings=preferredColorScheme={0 if system == 'dark' else 1}"
    _, messages = browse(with_choice(page, choice), scheme, "--window-size=800,500", "--screenshot=shot.png")
    assert messages == []
    assert corner(tmp_path) == expected


def test_a_page_that_breaks_its_policy_is_noticed(page, browse):
    """The check above would see a message if there were one."""
    bad = page.replace(b"</main>", b"<script>1</script></main>")
    _, messages = browse(bad, "--window-size=300,300", "--screenshot=shot.png")
    assert any("Content Security Policy" in message for message in messages)


def test_the_browser_reads_the_formulas_as_mathml_and_keeps_every_section(page, browse):
    read, messages = browse(page, "--dump-dom")
    assert messages == []
    assert read.count("<math") >= 30
    assert [number for number in ("0", "1.2", "1.4.1", "A") if f'id="section-{number}"' not in read] == []


def test_paper_is_light_on_a_dark_system(page, browse, tmp_path):
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm is not here; on Debian: apt install poppler-utils")
    browse(page, "--blink-settings=preferredColorScheme=0", "--print-to-pdf=page.pdf", "--no-pdf-header-footer")
    subprocess.run(["pdftoppm", "-r", "20", "-l", "1", "-png", "page.pdf", "paper"], cwd=tmp_path, check=True)
    (paper,) = tmp_path.glob("paper-*.png")
    assert Image.open(paper).convert("L").getextrema()[1] == 255
    assert Image.open(paper).convert("L").resize((1, 1)).getpixel((0, 0)) > 200
