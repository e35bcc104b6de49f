"""What the page of a study or a training shows, without a server."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import made_images
from studies.made_store import made_store

import chalknet
from chalknet.artifacts.atomic import is_locked, locked
from chalknet.cli.main import main
from chalknet.cli.watch_page import parse_port
from chalknet.errors import ChalknetError, ConfigError, DivergenceError, StoreError
from chalknet.reporting.document import TableBlock
from chalknet.reporting.figures import Curve, Figure, Panel, growing_axis
from chalknet.reporting.live_document import MAX_POINTS, figure_data
from chalknet.serving.watch.live_training import LiveTraining
from chalknet.serving.watch.sources import FolderSource, TrainingSource
from chalknet.workflows.watch import check_folder

DATA = made_images(240, seed=0)
ASKED = {"hidden": [4], "epochs": 5, "train_size": 160, "valid_size": 40, "learning_rate": 1e-4}


def sections(page):
    return [section.name for section in page.sections]


def test_a_folder_is_followed_from_before_it_exists(tmp_path):
    folder = tmp_path / "later"
    source = FolderSource(folder)
    assert source.page().phase == "waiting"
    made_store(folder, "hidden=3,4,5", n_done=7, n_failed=1)
    page = source.page()
    assert (page.phase, dict(page.parts)) == ("interrupted", {"done": 7, "failed": 1, "running": 0, "waiting": 1})
    assert sections(page) == ["work", "failures", "next", "findings", "ranking", "factors", "curves"]
    assert source.page() is page
    json.loads(page.json())


def test_findings_of_an_unfinished_study_say_that_they_may_change(tmp_path):
    made_store(tmp_path / "a", "hidden=3,4,5", n_done=7)
    made_store(tmp_path / "b", "hidden=3,4,5")
    texts = [FolderSource(tmp_path / name).page().json() for name in "ab"]
    assert ["may change" in text for text in texts] == [True, False]
    assert ["Best so far" in text for text in texts] == [True, False]
    assert "chalknet report" in texts[1]


def test_only_validation_scores_are_shown_while_choices_are_open(tmp_path):
    made_store(tmp_path, "hidden=3,4", n_done=5)
    found = json.loads(FolderSource(tmp_path).page().json())
    names = {
        curve["label"]
        for section in found["sections"]
        for block in section["blocks"]
        if block["type"] == "figure" and section["name"] == "curves"
        for panel in block["figure"]["panels"]
        for curve in panel["curves"]
    }
    assert names == {"training", "validation"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return chalknet.train(DATA, "writeup", out=folder, **ASKED)


def test_a_finished_run_is_shown(run):
    page = FolderSource(run.folder).page()
    assert (page.phase, page.progress) == ("finished", 1.0)
    assert "Finished after 5 epochs" in page.headline
    assert f"chalknet report {run.folder}" in page.json()


def test_an_interrupted_run_is_shown_with_its_command(tmp_path):
    def stop(record):
        if record.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chalknet.train(DATA, "writeup", out=tmp_path / "run", callbacks=stop, checkpoint_epochs=1, **ASKED)
    source = TrainingSource(tmp_path / "run")
    page = source.page()
    assert (page.phase, page.progress_text) == ("interrupted", "epoch 2 of 5")
    assert f"chalknet train --resume {tmp_path / 'run'}" in page.json()
    if is_locked(tmp_path) is not None:
        with locked(tmp_path / "run"):
            assert source.page().phase == "running"
        assert source.page().phase == "interrupted"


def test_a_lock_is_seen_without_taking_it(tmp_path):
    if is_locked(tmp_path) is None:
        pytest.skip("this system does not list locks")
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_members_of_an_ensemble_are_followed(tmp_path):
    page = LiveTraining()
    chalknet.train(DATA, "writeup", out=tmp_path / "run", callbacks=page, ensemble=2, **ASKED)
    assert page.page().progress_text == "network 2 of 2, epoch 5 of 5"
    page.finish()
    assert page.page().phase == FolderSource(tmp_path / "run").page().phase == "finished"
    assert "seed 1" in page.page().json()


def test_a_watched_training_has_the_same_bits(run):
    page, seen = LiveTraining(), []
    assert page.page().phase == "waiting"
    watched = chalknet.train(DATA, "writeup", callbacks=[page, lambda _: seen.append(page.page().headline)], **ASKED)
    for name, value in run.network.parameters.items():
        assert np.array_equal(value, watched.network.parameters[name])
    assert seen == [f"Epoch {n} of 5." for n in range(1, 6)]
    assert page.page().seconds_left == 0


def test_a_training_that_fails_says_why():
    page = LiveTraining()
    with pytest.raises(DivergenceError) as error:
        chalknet.train(DATA, "writeup", callbacks=page, **{**ASKED, "learning_rate": 1e30})
    found = page.page()
    assert found.phase == "interrupted"
    assert str(error.value)[:40] in found.json()


def test_long_curves_keep_their_peaks_and_ends():
    y = [float(n % 7) for n in range(5_000)]
    y[2_345] = 99.0
    curve = Curve("training", tuple(map(float, range(5_000))), tuple(y), tuple(y), tuple(y))
    (panel,) = figure_data(Figure("", (Panel("", "epoch", "loss", (curve,)),)))["panels"]
    (thin,) = panel["curves"]
    assert len(thin["x"]) == len(thin["y"]) == len(thin["low"]) <= MAX_POINTS
    assert {(thin["x"][0], thin["y"][0]), (2_345.0, 99.0), (4_999.0, y[-1])} <= {
        *zip(thin["x"], thin["y"], strict=True)
    }


def test_the_axis_of_a_growing_curve_doubles():
    ends = [growing_axis(n_done, 200)[1] for n_done in (1, 4, 7, 8, 25, 26, 100, 101, 200)]
    assert ends == [7, 7, 13, 13, 25, 50, 100, 200, 200]
    assert growing_axis(1, 1) == (1, 2)


def test_folders_of_other_things_are_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StoreError, match="holds neither a study nor a training"):
        check_folder(tmp_path)
    with pytest.raises(StoreError, match="is not a folder"):
        check_folder(tmp_path / "notes.txt")
    check_folder(tmp_path / "later")
    assert main(["study", "watch", str(tmp_path)]) == 1
    assert "holds neither a study nor a training" in capsys.readouterr().err


def test_ports_are_numbers():
    assert (parse_port(None), parse_port("0")) == (None, 0)
    with pytest.raises(ConfigError, match="must be an integer"):
        parse_port("eighty")


def test_names_of_strangers_stay_text(tmp_path):
    made_store(tmp_path, "hidden=3,4", n_done=2, n_failed=1, error="</script><img src=x>", source="<b>`*x*`</b>.npz")
    found = json.loads(FolderSource(tmp_path).page().json())
    assert "<b>`*x*`</b>.npz" in found["subtitle"]
    (warning,) = (
        block for section in found["sections"] if section["name"] == "failures" for block in section["blocks"][:1]
    )
    assert any("</script><img src=x>" in span["text"] for span in warning["spans"] if span["kind"] == "text")


def test_a_source_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "study.sqlite").write_bytes(b"SQLite format 3\0" + b"\1" * 5000)
    with pytest.raises(ChalknetError):
        FolderSource(tmp_path).page()


def test_the_report_of_an_unfinished_study_has_what_the_page_has(tmp_path):
    made_store(tmp_path, "hidden=3,4,5", n_done=7, n_failed=1, error="it diverged")
    page = FolderSource(tmp_path).page()
    tables = {
        block.name: block.table.rows
        for section in page.sections
        for block in section.blocks
        if isinstance(block, TableBlock)
    }
    document = chalknet.report(tmp_path, out=tmp_path / "report").document
    found = {block.name: block.table.rows for block in document.blocks() if isinstance(block, TableBlock)}
    assert found["ranking"] == tables["ranking"]
    text = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    for said in ("It diverged", "--retry-failed", "7 finished runs took"):
        assert said in text
