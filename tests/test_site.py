"""The documentation site: pages as GitHub shows them, formulas as MathML, no broken links, no network."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import check_links  # tools/ is on the path
import pytest
import site_hooks

import chalknet

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("github", "python_markdown"),
    [
        ("text\n- a\n- b\n", "text\n\n- a\n- b\n"),
        ("- a\n  - b\n    - c\n- d\n", "- a\n    - b\n        - c\n- d\n"),
        ("1. a\n\n   ```\n   - code\n   ```\n2. b\n", "1. a\n\n    ```\n    - code\n    ```\n\n2. b\n"),
        ("- a\n\n  own:\n  - b\n", "- a\n\n    own:\n\n    - b\n"),
        ("1. a\n\n   own\n2. b\n", "1. a\n\n    own\n\n2. b\n"),
        ("- a\n\ntext\n", "- a\n\ntext\n"),
        ("text of\n2. part\n", "text of\n2. part\n"),
        ("    - code\n", "    - code\n"),
    ],
    ids=["blank line", "levels", "fence", "paragraph", "sibling", "end", "number", "code"],
)
def test_lists_of_github_become_lists_of_python_markdown(github, python_markdown):
    assert site_hooks.reindented(github) == python_markdown


def test_formulas_become_mathml_with_their_labels():
    content = r'<p>so <span class="arithmatex">\(a &lt; b\)</span></p><div class="arithmatex">\[p_k \tag{S1}\]</div>'
    page = site_hooks.on_page_content(content)
    assert page.count("<math ") == 2
    assert '<a class="label" id="S1" href="#S1">(S1)</a>' in page
    assert "tag" not in re.sub(r"<[^>]*>", "", page)


def test_a_formula_that_pandoc_cannot_convert_is_an_error():
    with pytest.raises(ValueError, match="0 of 1 formulas"):
        site_hooks.mathml_of([r"\unknown{x}"], [True])


def test_the_reference_has_every_public_name_once():
    names = re.findall(r"^::: chalknet\.(\w+)$", site_hooks.python_reference(), re.MULTILINE)
    assert sorted(names) == sorted(name for name in dir(chalknet) if not name.startswith("_"))


def test_links_out_of_docs_lead_to_pages_of_the_site():
    page = type("Page", (), {"file": type("File", (), {"src_uri": "recipes/rows.md"})})
    text = (
        "[a](../../benchmarks/README.md#b) [c](strong.md) [d](#e) [f](../../examples/g.py) [h](../../examples/i.ipynb)"
    )
    shown = site_hooks.on_page_markdown(text, page)
    assert (
        shown == "[a](../benchmark_scripts.md#b) [c](strong.md) [d](#e) [f](../examples/g.md) [h](../notebooks/i.md)\n"
    )


def test_a_notebook_page_has_texts_code_and_stored_outputs(tmp_path):
    outputs = [
        {"output_type": "stream", "text": ["epoch 1\n"]},
        {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": ["<Figure>"]}},
        {"output_type": "execute_result", "data": {"text/html": ["<b>x</b>"], "text/plain": ["x"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": outputs},
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    page = site_hooks.notebook_page(tmp_path / "n.ipynb")
    places = [
        page.index(one) for one in ("# Title", "```python\n1 + 1", "```\nepoch 1\n```", "base64,AAAA", "<b>x</b>")
    ]
    assert places == sorted(places)
    assert "<Figure>" not in page


def test_a_broken_link_of_the_site_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">x</a><a href="b.html#gone">x</a><a href="c.html">x</a>')
    (tmp_path / "b.html").write_text('<h1 id="there">x</h1><img src="https://example.org/x.png">')
    assert check_links.faults_of_site(tmp_path) == [
        "a.html: b.html#gone leads to no heading or label",
        "a.html: c.html leads to no file",
        "b.html: loads https://example.org/x.png",
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the list of pages comes from git")
def test_no_link_of_the_markdown_is_broken():
    assert check_links.faults_of_markdown() == []


def test_a_page_of_an_example_has_its_docstring_as_text():
    page = site_hooks.example_page(ROOT / "examples" / "train_by_hand.py")
    assert page.startswith("# The write-up's network trained in thirty lines")
    assert "```python\nimport sys\n" in page


def test_pictures_are_at_most_300_kilobytes():
    pictures = list((ROOT / "docs" / "pictures").rglob("*.png"))
    assert pictures
    assert max(picture.stat().st_size for picture in pictures) <= 300_000


@pytest.mark.extras
def test_every_page_opens_from_a_file_and_the_search_finds(open_page, tmp_path):
    subprocess.run(["make", "site", f"SITE={tmp_path}"], cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": ""})
    pages = sorted(path for path in tmp_path.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 25
    for width in (390, 1280):
        page = open_page(pages[0], width=width)
        for path in pages:
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto((tmp_path / "index.html").as_uri())
    page.locator(".md-search__input").click()
    page.keyboard.type("momentum", delay=50)
    page.locator(".md-search-result__link").first.wait_for()
