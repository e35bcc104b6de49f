"""Check the links of the built site and of the repository's Markdown, without a network.

    python tools/check_links.py [SITE]

Every link to a file must lead to a file, and every link with `#` to an element with that id. Pages of
the site may load nothing from elsewhere. Links to other websites are not followed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
# Pages that exist on the site only.
GENERATED = {ROOT / "docs" / "reference" / "python.md", ROOT / "docs" / "examples" / "index.md"}
LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src"), ("video", "src")}


class Page(HTMLParser):
    """The links of an HTML page, its ids, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)
                is_page = tag == "link" and ("rel", "canonical") in attrs
                if (tag, name) in LOADED and not is_page:
                    self.loaded.add(value)


def faults_of_site(site: Path) -> list[str]:
    """Return one line for each broken link, and for each thing that is loaded from elsewhere."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    if not pages:
        return [f"{site} has no pages. Run `make site`."]
    faults = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        shown = path.relative_to(site.resolve())
        faults += [f"{shown}: loads {one}" for one in page.loaded if urlsplit(one).netloc]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{shown}: {link} leads to no file")
            elif target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{shown}: {link} leads to no heading or label")
    return sorted(faults)


def faults_of_markdown() -> list[str]:
    """Return one line for each broken link in the tracked Markdown files, as GitHub resolves it."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "*.md"], capture_output=True, text=True, check=True)
    pages = {(ROOT / name).resolve(): _without_code(ROOT / name) for name in listed.stdout.splitlines()}
    faults = []
    for path, text in pages.items():
        for link in re.findall(r'(?<=\]\()[^)\s]+(?=\))|(?<=src=")[^"]+', text):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() and target not in GENERATED:
                faults.append(f"{path.relative_to(ROOT)}: {link} leads to no file")
            elif target in pages and parts.fragment and parts.fragment not in _anchors(pages[target]):
                faults.append(f"{path.relative_to(ROOT)}: {link} leads to no heading")
    return sorted(faults)


def _without_code(path: Path) -> str:
    return re.sub(r"^( *)(```+).*?^ *\2", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    found = faults_of_site(site) + faults_of_markdown()
    print("\n".join(found) or f"No broken link in {sum(1 for _ in site.rglob('*.html'))} pages.")
    sys.exit(bool(found))
