"""What `make site` adds to MkDocs: formulas as MathML, Markdown as GitHub reads it, pages from outside docs/.

MkDocs calls the functions whose names begin with `on_`. Pandoc converts all formulas of a page at once.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
# Files outside docs/ that are pages of the site, and the names of these pages.
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmark_scripts.md",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FORMULA = re.compile(
    r'<(?P<tag>div|span) class="arithmatex">(?:\\\[(?P<block>.*?)\\\]|\\\((?P<inline>.*?)\\\))</(?P=tag)>', re.DOTALL
)
LABEL = re.compile(r"\\tag\{(\w+)\}")
DESCRIBED_NAME = re.compile(r"`(\w+)(?:\([^`]*)?`(?=\s+[(|])")
SPACED = r'\g<0><mspace width="0.17em"></mspace>'
LIST_ITEM = re.compile(r"( *)([-*] +|\d+\. +)(?=\S)")
FENCE = re.compile(r" *(```+|~~~+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages whose source is outside docs/."""
    from mkdocs.structure.files import File

    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference/python.md", content=python_reference()))
    return files


def python_reference() -> str:
    """Return a page with every public name, in the groups and in the order of docs/guide/python.md."""
    import chalknet

    guide = (ROOT / "docs" / "guide" / "python.md").read_text(encoding="utf-8")
    groups = guide.partition("## Public names")[2].split("\n### ")[1:]
    left = {name for name in dir(chalknet) if not name.startswith("_")}
    names: list[list[str]] = [[] for _ in groups]
    for pattern in (DESCRIBED_NAME, r"`(\w+)"):  # names that a group describes, and then names that it mentions
        for group, own in zip(groups, names, strict=True):
            own += [name for name in dict.fromkeys(re.findall(pattern, group)) if name in left]
            left -= set(own)
    lines = ["# Python API", "", "The [guide](../guide/python.md) shows how these names are used together.", ""]
    for group, own in zip(groups, names, strict=True):
        lines += [f"## {group.splitlines()[0]}", "", *(f"::: chalknet.{name}\n" for name in own)]
    if left:
        raise ValueError(f"docs/guide/python.md does not describe {sorted(left)}.")
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with links that are valid in the site, and with lists that Python-Markdown reads."""
    return reindented(_with_site_links(markdown, page.file.src_uri))


def on_page_content(content: str, **_: Any) -> str:
    """Return the page with its formulas as MathML."""
    found = list(FORMULA.finditer(content))
    if not found:
        return content
    sources = [html.unescape(one["block"] or one["inline"]).strip() for one in found]
    converted = iter(mathml_of([LABEL.sub("", latex) for latex in sources], [bool(one["block"]) for one in found]))
    labels = iter([LABEL.search(latex) for latex in sources])

    def formula(match: re.Match[str]) -> str:
        mathml, label = next(converted), next(labels)
        if not match["block"]:
            return mathml
        tag = f'<a class="label" id="{label[1]}" href="#{label[1]}">({label[1]})</a>' if label else ""
        return f'<div class="formula"><div class="scroll" tabindex="0">{mathml}</div>{tag}</div>'

    return FORMULA.sub(formula, content)


def mathml_of(sources: list[str], is_block: list[bool]) -> list[str]:
    """Return the MathML of LaTeX formulas, displayed or in a line.

    Raises:
        ValueError: Pandoc cannot convert a formula.
    """
    import pypandoc

    marks = ["$$" if block else "$" for block in is_block]
    text = "\n\n".join(f"{mark}{' '.join(latex.split())}{mark}" for latex, mark in zip(sources, marks, strict=True))
    page = pypandoc.convert_text(text, "html", format="markdown", extra_args=["--mathml", "--wrap=none"])
    found = [
        re.sub(r"</?semantics>|<annotation.*?</annotation>", "", one)
        for one in re.findall(r"<math .*?</math>", page, re.DOTALL)
    ]
    found = [re.sub(r"<mo>&#8289;</mo></mrow>(?!<mo)|</munder>(?=<m[si])", SPACED, one) for one in found]
    if len(found) != len(sources):
        raise ValueError(f"Pandoc converted {len(found)} of {len(sources)} formulas: {page[:2000]}")
    return found


def _with_site_links(markdown: str, page: str) -> str:
    """Return a page whose links to files outside docs/ lead to pages of the site."""
    source = {site: outside for outside, site in OUTSIDE.items()}.get(page, f"docs/{page}")
    folder = posixpath.dirname(source)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        target = OUTSIDE.get(target, target.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(page) or ".") + (match[2] or "")

    return LINK.sub(link, markdown)


def reindented(markdown: str) -> str:
    """Return Markdown whose lists have a blank line before them, and four spaces for each level.

    GitHub needs only as many spaces as the marker of an item has characters, and no blank line.
    """
    lines: list[str] = []
    levels: list[tuple[int, int]] = []  # of the open items: columns of the marker and of the text
    fence, fence_indent = "", 0
    own_paragraph = False  # whether the line before is in a paragraph of its own within an item
    for line in markdown.splitlines():
        indent = len(line) - len(line.lstrip(" "))
        follows_text = bool(lines and lines[-1].strip())
        item = None if fence else LIST_ITEM.match(line)
        if item and not levels and follows_text and item[2][0] in "023456789":
            item = None  # a line of a paragraph that begins with a number
        if item and indent >= 4 + (levels[-1][1] if levels else 0):
            item = None  # a line of an indented block of code
        if item:
            while levels and indent < levels[-1][0]:
                levels.pop()
            is_sibling = bool(levels) and indent < levels[-1][1]
            if is_sibling:
                levels.pop()
            if follows_text and (own_paragraph or (not levels and not is_sibling)):
                lines.append("")
            own_paragraph = False
            lines.append("    " * len(levels) + item[2].strip() + " " + line[item.end() :])
            levels.append((indent, item.end()))
            continue
        own_paragraph = bool(line.strip()) and (own_paragraph or not follows_text)
        while levels and line.strip() and not fence and not follows_text and indent < levels[-1][1]:
            levels.pop()
        mark = FENCE.match(line)
        if mark and not fence:
            fence, fence_indent = mark[1], indent
        elif mark and mark[1] == fence:
            fence = ""
        removed = fence_indent if fence or mark else levels[-1][1] if levels else 0
        lines.append("    " * len(levels) + line[min(indent, removed) :] if line.strip() else "")
    return "\n".join(lines) + "\n"
