"""Write the pictures of the README, of the site's home page and of the examples: `make pictures`.

    python tools/write_pictures.py [FOLDER]

The pictures show what `chalknet writeup` and `chalknet export --html` write. What is in FOLDER
already is used again. pdftoppm draws the pages of the PDF, and Chromium the interactive page.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
MAX_BYTES = 300_000
# Headings on the pages that are shown.
PAGES = ("0.2 Helper functions", "1.2 The derivation", "1.4.2 Early stopping")
BORDER = "#c8c8c8"


def main(folder: Path) -> None:
    """Write every picture, and say how large it is."""
    if not (folder / "writeup").exists():
        chalknet("writeup", "--quick", "--out", str(folder / "writeup"))
    if not (folder / "letters.html").exists():
        chalknet("train", "--data", "glyphs", "--hidden", "100", "--epochs", "20", "--out", str(folder / "letters"))
        chalknet("export", str(folder / "letters"), "--html", str(folder / "letters.html"), "--title", "Letters A to J")
    save(document_pages(folder / "writeup" / "writeup.pdf", folder), "writeup.png")
    for name, picture in interactive_page(folder / "letters.html", folder).items():
        save(picture, name)
    save(Image.open(folder / "letters" / "curves.png"), "curves.png")
    write_gallery(folder)


def write_gallery(folder: Path) -> None:
    """Run every example, and save the picture that it writes."""
    (PICTURES / "examples").mkdir(exist_ok=True)
    for script in sorted((ROOT / "examples").glob("*.py")):
        if not (folder / f"{script.stem}.png").exists():
            environment = os.environ | {"MPLBACKEND": "Agg"}
            subprocess.run([sys.executable, str(script)], check=True, cwd=folder, env=environment)
        save(Image.open(folder / f"{script.stem}.png"), f"examples/{script.stem}.png")


def chalknet(*arguments: str) -> None:
    """Run a command of chalknet."""
    subprocess.run([sys.executable, "-m", "chalknet", *arguments], check=True)


def document_pages(pdf: Path, folder: Path) -> Image.Image:
    """Return the pages of a PDF that have the texts of PAGES, side by side."""
    pages = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True)
    texts = pages.stdout.split("\f")
    shown = []
    for text in PAGES:
        number = max(i for i, page in enumerate(texts, start=1) if text in page)
        arguments = ["-r", "75", "-f", str(number), "-l", str(number), "-singlefile", "-png"]
        subprocess.run(["pdftoppm", *arguments, str(pdf), str(folder / "page")], check=True)
        shown.append(framed(Image.open(folder / "page.png").convert("RGB")))
    return side_by_side(shown)


def interactive_page(page: Path, folder: Path) -> dict[str, Image.Image]:
    """Return pictures of three tabs: a drawn letter, its derivatives, and a training."""
    from playwright.sync_api import sync_playwright

    pictures = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1000, "height": 680})
        opened.goto(page.resolve().as_uri())
        for tab in ("Draw", "Backpropagate", "Train"):
            opened.get_by_role("tab", name=tab).click()
            if tab == "Draw":
                draw_letter(opened)
            if tab == "Train":
                train(opened)
            opened.screenshot(path=folder / "tab.png")
            pictures[f"page-{tab.lower()}.png"] = framed(Image.open(folder / "tab.png").convert("RGB"))
        browser.close()
    return pictures


def draw_letter(page: Any) -> None:
    """Draw an A into the drawing area."""
    box = page.locator("canvas.drawing").bounding_box()
    for stroke in (((0.2, 0.9), (0.5, 0.1), (0.8, 0.9)), ((0.32, 0.62), (0.68, 0.62))):
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=12)
        page.mouse.up()


def train(page: Any) -> None:
    """Train in the page for some seconds."""
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_timeout(8_000)


def framed(picture: Image.Image) -> Image.Image:
    """Draw a thin line around a picture."""
    ImageDraw.Draw(picture).rectangle((0, 0, picture.width - 1, picture.height - 1), outline=BORDER)
    return picture


def side_by_side(pictures: list[Image.Image], gap: int = 16) -> Image.Image:
    """Return one picture of several."""
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    return whole


def save(picture: Image.Image, name: str) -> None:
    """Write a picture with a palette, which makes it a third as large."""
    path = PICTURES / name
    path.parent.mkdir(exist_ok=True)
    picture.convert("RGB").quantize(128).save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        sys.exit(f"{path} has {path.stat().st_size} bytes, and may have {MAX_BYTES}.")
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} KB, {picture.width} x {picture.height}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "pictures"))
