"""What `make site` adds to MkDocs: formulas as MathML, Markdown as GitHub reads it, pages from outside docs/.

MkDocs calls the functions whose names begin with `on_`. Pandoc converts all formulas of a page at once.
"""

from __future__ import annotations

import ast
import html
import json
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
EXAMPLES = ROOT / "examples"
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
FORMULA = re.compile(
    r'<(?P<tag>div|span) class="arithmatex">(?:\\\[(?P<block>.*?)\\\]|\\\((?P<inline>.*?)\\\))</(?P=tag)>', re.DOTALL
)
EXAMPLE = re.compile(r"^examples/(\w+)\.(py|ipynb)$")
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
    for source in sorted(EXAMPLES.glob("*.py")):
        files.append(File.generated(config, f"examples/{source.stem}.md", content=example_page(source)))
    for source in sorted(EXAMPLES.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{source.stem}.md", content=notebook_page(source)))
    files.append(File.generated(config, "examples/index.md", content=gallery()))
    return files


def gallery() -> str:
    """Return the page that lists all examples with their pictures, and all notebooks."""
    lines = ["# Examples", "", "Short scripts, each for one task. Tests run all of them.", ""]
    lines += ['<div class="gallery" markdown>', ""]
    for source in sorted(EXAMPLES.glob("*.py"), key=lambda path: (not _picture(path).exists(), path.stem)):
        lines += [f"-   [{_picture_markdown(source)}{_docstring(source)[0]}]({source.stem}.md)", ""]
    lines += ["</div>", "", "## Notebooks", ""]
    lines += [f"- [{_title(path)}](../notebooks/{path.stem}.md)" for path in sorted(EXAMPLES.glob("*.ipynb"))]
    return "\n".join(lines) + "\n"


def example_page(source: Path) -> str:
    """Return the page of a script: its docstring, its picture and its code."""
    title, text = _docstring(source)
    script = source.read_text(encoding="utf-8")
    code = "\n".join(script.splitlines()[ast.parse(script).body[0].end_lineno :])
    command = f"```\npython examples/{source.name}\n```"
    return "\n\n".join([f"# {title}", command, text, _picture_markdown(source), f"```python\n{code.strip()}\n```\n"])


def notebook_page(source: Path) -> str:
    """Return the page of a notebook: texts, code and stored outputs."""
    parts = []
    for cell in json.loads(source.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        parts += [_output(one) for one in cell.get("outputs", ())]
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any]) -> str:
    """Return a stored output of a notebook as Markdown: a picture, a table, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return f'<div class="output">{" ".join("".join(data["text/html"]).split())}</div>'
    return "```\n" + "".join(data["text/plain"]).rstrip() + "\n```" if data.get("text/plain") else ""


def _docstring(source: Path) -> tuple[str, str]:
    """Return the title and the text of a script's docstring."""
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or source.stem
    first, _, rest = text.partition("\n")
    return first.partition(": `python")[0].rstrip("."), rest.strip()


def _title(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")


def _picture(source: Path) -> Path:
    return ROOT / "docs" / "pictures" / "examples" / f"{source.stem}.png"


def _picture_markdown(source: Path) -> str:
    picture = _picture(source)
    return f"![{_docstring(source)[0]}](../pictures/examples/{picture.name})" if picture.exists() else ""


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
    if page.startswith("notebooks/"):
        source = page.replace("notebooks/", "examples/")
    folder = posixpath.dirname(source)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[1]))
        target = OUTSIDE.get(target, EXAMPLE.sub(_example_page, target.removeprefix("docs/")))
        return posixpath.relpath(target, posixpath.dirname(page) or ".") + (match[2] or "")

    return LINK.sub(link, markdown)


def _example_page(match: re.Match[str]) -> str:
    return f"{'examples' if match[2] == 'py' else 'notebooks'}/{match[1]}.md"


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
