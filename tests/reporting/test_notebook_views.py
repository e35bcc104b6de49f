"""What notebooks show: HTML of results, progress bars, and results as frames."""

from __future__ import annotations

import csv
import io
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from study_factory import make_results

import chalknet
from chalknet.artifacts.history_file import history_csv
from chalknet.cli.study_text import results_csv
from chalknet.errors import MissingExtraError
from chalknet.notebook_view import COLORS, curves, progress_bar, table, view
from chalknet.studies.progress import NotebookStudyProgress
from chalknet.training.progress import NotebookProgress

HOSTILE = '<script>alert("1")</script>'


class Texts(HTMLParser):
    """Collects tags and attributes, and fails on tags that are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.values = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]
        if tag not in ("img", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "polyline"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]


@pytest.fixture(scope="module")
def run(small_images):
    return chalknet.train(small_images, hidden=[4], epochs=3, recipe="writeup", train_size=120, valid_size=60)


@pytest.fixture(scope="module")
def shown(run, small_images):
    """One object of each class that notebooks show."""
    table = {"city": ["Oslo", HOSTILE] * 60, "age": [*range(120)], "member": ["yes", "no"] * 60}
    results = make_results("hidden=5,9", seeds=2)
    return {
        "Dataset of images": small_images,
        "Dataset of a table": chalknet.load_data(table, label_column="member"),
        "Run": run,
        "Network": run.network,
        "Ensemble": chalknet.Ensemble((run.network, run.network)),
        "Evaluation": chalknet.evaluate(run.network, small_images),
        "StudyResults": results,
        "StudyResults without runs": make_results("hidden=5", statuses={(0, 0): "todo"}, seeds=1),
        "ModelComparison": chalknet.compare({HOSTILE: [1, 0, 1], "b": [1, 1, 1]}),
    }


KINDS = ("Dataset of images", "Dataset of a table", "Run", "Network", "Ensemble", "Evaluation", "StudyResults")
KINDS += ("StudyResults without runs", "ModelComparison")


@pytest.mark.parametrize("kind", KINDS)
def test_the_html_is_whole_and_needs_nothing_else(shown, kind):
    page = shown[kind]._repr_html_()
    found = Texts(page)
    assert "script" not in found.tags
    assert not [value for value in found.values if re.match(r"(https?:)?//", value)]
    assert "Next: <code" in page


def test_names_from_data_are_escaped(shown):
    for kind in ("Dataset of a table", "ModelComparison"):
        page = shown[kind]._repr_html_()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
    assert "<b>" not in curves("<b>", "<b>", {"<b>": ([1.0, 2.0], [1.0, 2.0])})
    assert "<b>" not in view("<b>", table(("<b>",), [("<b>",)]), progress_bar(0.5, "<b>"), next_step="<b>")


def test_a_run_shows_its_scores_and_curves(run):
    page = run._repr_html_()
    assert f"{100 * run.kept.valid.accuracy:.2f} %" in page
    assert page.count("<polyline") == 6


def test_a_data_set_of_images_shows_one_of_each_class(small_images):
    page = small_images._repr_html_()
    assert page.count("<img") == small_images.n_classes
    assert "data:image/png;base64," in page


def test_long_tables_are_cut_and_counted():
    page = table(("name",), [(str(n),) for n in range(30)], "column")
    assert page.count("<td") == 12
    assert "and 18 more columns" in page


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_colors_can_be_seen_on_light_and_dark(color, background):
    def luminance(text):
        parts = np.array([int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        return np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(color), luminance(background)))
    assert (high + 0.05) / (low + 0.05) >= 3  # WCAG 2, graphical objects


def test_values_that_are_not_finite_are_left_out_of_curves():
    page = curves("loss", "epoch", {"a": ([1.0, 2.0, 3.0], [1.0, float("nan"), 2.0])})
    assert len(re.search('points="([^"]*)"', page)[1].split()) == 2
    assert curves("loss", "epoch", {"a": ([1.0], [float("nan")])}) == ""


def test_a_history_is_a_frame_with_the_columns_of_its_file(run):
    frame = run.to_polars()
    assert frame.write_csv(float_precision=None).splitlines()[0] == history_csv(run.history).splitlines()[0]
    assert frame["valid_accuracy"].to_list() == [record.valid.accuracy for record in run.history]


def test_a_study_is_a_frame_with_a_row_per_run():
    results = make_results("hidden=5,9", "dropout=0.0,0.5", seeds=2, statuses={(3, 1): "failed"})
    frame = results.to_polars()
    rows = list(csv.DictReader(io.StringIO(results_csv(results))))
    assert frame.columns == list(rows[0])
    assert frame["hidden"].to_list() == [5] * 4 + [9] * 4
    assert [float(row["valid_loss"] or "nan") for row in rows] == pytest.approx(
        [value if value is not None else float("nan") for value in frame["valid_loss"]], nan_ok=True
    )
    assert frame.filter(pl.col("status") == "failed")["valid_loss"].to_list() == [None]


def test_pandas_frames_hold_the_same(run):
    pytest.importorskip("pandas")
    assert run.to_pandas().to_dict("list") == run.to_polars().to_dict(as_series=False)


def test_without_pandas_the_message_names_the_other_way(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="to_polars needs no package"):
        run.to_pandas()


def test_the_progress_of_a_training_is_a_bar(small_images, monkeypatch):
    shown = []
    line = SimpleNamespace(update=lambda content, raw: shown.append((content, raw)))
    display = SimpleNamespace(display=lambda content, raw, **_: shown.append((content, raw)) or line)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    chalknet.train(small_images, hidden=[4], epochs=2, callbacks=[NotebookProgress()])
    content, is_raw = shown[-1]
    assert is_raw
    assert content["text/plain"].startswith("epoch 2/2  loss ")
    assert 'aria-valuenow="100"' in content["text/html"]


def test_the_progress_of_a_study_is_a_bar_with_its_failures(monkeypatch):
    shown = []
    line = SimpleNamespace(update=lambda content, raw: shown.append((content, raw)))
    display = SimpleNamespace(display=lambda content, raw, **_: shown.append((content, raw)) or line)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    failed = SimpleNamespace(run="hidden=5, seed 0", error="<b>", will_retry=False)
    show = NotebookStudyProgress()
    for done, ended in ((0, failed), (1, None)):
        show(
            SimpleNamespace(done=done, failed=1, total=2, running=0, seconds_left=0.0, active_runs=(), ended=ended),
        )
    content, _ = shown[-1]
    assert content["text/plain"].splitlines()[0] == "hidden=5, seed 0 failed: <b>"
    assert 'aria-valuenow="100"' in content["text/html"]
    assert "&lt;b&gt;" in content["text/html"]
