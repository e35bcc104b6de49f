"""Ensembles: what each member is, what the whole predicts, and resuming after a stop."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import save_images
from scipy import stats

import chalknet
from chalknet.errors import ConfigError, OutputError, StoppedError, StoreError
from chalknet.reporting.document import FigureBlock, TableBlock
from chalknet.studies.spec import StudySpec
from chalknet.training.recipes import member_recipes
from chalknet.workflows.single_run import curves_title
from chalknet.workflows.train import run_training
from chalknet.workflows.train_options import TrainOptions

SETTINGS = {"hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "stop_early": False, "ensemble": 3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with letters.npz and a finished ensemble in `run`, and the `Run`."""
    folder = tmp_path_factory.mktemp("trained")
    save_images(folder / "letters.npz")
    with contextlib.chdir(folder):
        return folder, chalknet.train("letters.npz", out="run", **SETTINGS)


@pytest.fixture
def finished(trained, tmp_path, monkeypatch):
    """Return the `Run` of a copy of that folder, which is the working directory."""
    folder, run = trained
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return run


def test_a_member_is_the_network_that_its_seed_alone_gives(small_images):
    run = chalknet.train(small_images, seed=5, **SETTINGS)
    assert len(run.members) == len(run.network.networks) == 3
    for k, network in enumerate(run.network.networks):
        alone = chalknet.train(small_images, **{**SETTINGS, "ensemble": 1, "seed": 5 + k}).network
        assert all((network.parameters[name] == value).all() for name, value in alone.parameters.items())


def test_the_scores_are_those_of_the_averaged_probabilities(small_images):
    run = chalknet.train(small_images, **SETTINGS)
    test = run.splits.test
    probabilities = np.mean([n.predict_proba(small_images.inputs[test]) for n in run.network.networks], axis=0)
    labels = small_images.labels[test]
    assert run.kept.test.accuracy == (probabilities.argmax(axis=1) == labels).mean()
    want = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    assert run.kept.test.loss == pytest.approx(want, rel=1e-5)  # float32
    means = np.mean([[record.valid.loss for record in member.history] for member in run.members], axis=0)
    np.testing.assert_allclose([record.valid.loss for record in run.history], means, rtol=1e-12)


def test_a_folder_holds_the_whole_and_a_run_a_member(finished, tmp_path):
    run = finished
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [member["seed"] for member in summary["members"]] == [0, 1, 2]
    assert summary["kept"]["test"]["accuracy"] == run.kept.test.accuracy
    assert curves_title(run).endswith("strong-dense recipe, mean of 3 networks, seeds from 0 on")
    assert curves_title(run.members[2]).endswith("strong-dense recipe, seed 2")
    model = chalknet.load_model("run/model.safetensors")
    images = run.data.inputs[:20]
    np.testing.assert_array_equal(model.predict_proba(images), run.network.predict_proba(images))
    assert (tmp_path / "run" / "members" / "seed2" / "model.safetensors").exists()
    with pytest.raises(OutputError, match="already holds a finished"):
        chalknet.train("letters.npz", out="run", **SETTINGS)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("lost", [["seed1", "seed2"], ["seed2"], []])
@pytest.mark.slow
def test_an_ensemble_resumes_between_members_with_the_same_bytes(tmp_path, lost):
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    for member in lost:
        shutil.rmtree(tmp_path / "run" / "members" / member)
    with pytest.raises(OutputError, match="holds an unfinished run"):
        chalknet.train("letters.npz", out="run", **SETTINGS)
    seen = []
    chalknet.resume("run", callbacks=seen.append)
    assert len(seen) == 3 * len(lost)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


@pytest.mark.usefixtures("finished")
def test_a_member_with_other_settings_is_refused(tmp_path):
    (tmp_path / "run" / "summary.json").unlink()
    config = tmp_path / "run" / "members" / "seed1" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 3", "epochs = 4"))
    with pytest.raises(StoreError, match=r"seed1: config.toml differs from the settings that model.safetensors"):
        chalknet.resume("run")


def texts(document):
    """Its paragraphs, notes and findings."""
    found = [note.text for note in document.notes]
    for block in document.blocks():
        found += [getattr(block, "text", ""), *getattr(block, "items", ())]
    return found


def test_a_report_of_an_ensemble_shows_the_gain_of_averaging(finished):
    run = finished
    made = chalknet.report("run")
    assert made.document.title == "An ensemble of 3 networks"
    words = "\n".join(texts(made.document))
    assert f"**Test accuracy: {100 * run.ensemble_scores.test.accuracy:.1f} %**" in words
    tables = {block.name: block.table for block in made.document.blocks() if isinstance(block, TableBlock)}
    index = run.splits.test
    inputs, labels = run.data.inputs[index], run.data.labels[index]
    each = np.array([member.network.predict(inputs) == labels for member in run.members])
    gaps = (run.network.predict(inputs) == labels) - each.mean(axis=0)
    row = dict(zip(tables["gain"].columns, tables["gain"].rows[-1], strict=True))
    assert row["accuracy of the ensemble"] == f"{100 * run.ensemble_scores.test.accuracy:.2f} %"
    assert row["mean accuracy"] == f"{100 * each.mean():.2f} %"
    assert float(row["gain (points)"]) == pytest.approx(100 * gaps.mean(), abs=0.051)
    low, high = (float(end) for end in row["95 % interval"].split(" to "))
    want = stats.ttest_1samp(gaps, 0.0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((100 * want.low, 100 * want.high), abs=0.051)
    assert [one[0] for one in tables["members"].rows] == ["seed 0", "seed 1", "seed 2", "ensemble"]
    figures = {block.name: block.figure for block in made.document.blocks() if isinstance(block, FigureBlock)}
    for panel, measure in zip(figures["members"].panels, ("loss", "accuracy"), strict=True):
        want = [[getattr(record.valid, measure) for record in member.history] for member in run.members]
        assert [list(curve.y) for curve in panel.curves] == want


@pytest.mark.usefixtures("finished")
@pytest.mark.slow
def test_a_report_of_an_ensemble_whose_samples_are_gone_says_so(tmp_path):
    chalknet.train("letters.npz", out="own", **SETTINGS)  # the copied run knows the first folder's samples
    (tmp_path / "letters.npz").unlink()
    words = "\n".join(texts(chalknet.report("own").document))
    assert "There is no interval, because the samples could not be read." in words
    assert "**Test accuracy: " in words


@pytest.mark.usefixtures("finished")
def test_a_report_of_an_ensemble_whose_member_is_gone_names_it(tmp_path):
    (tmp_path / "run" / "members" / "seed1" / "summary.json").unlink()
    with pytest.raises(StoreError, match=r"members/seed1: holds no finished run"):
        chalknet.report("run")


def test_a_study_takes_no_ensemble():
    with pytest.raises(ConfigError, match="so ensemble must be 1, got 3"):
        StudySpec(chalknet.recipe("writeup").with_settings(ensemble=3))


def test_seeds_wrap_around_after_the_largest():
    recipe = chalknet.recipe("writeup").with_settings(seed=2**32 - 1, ensemble=2)
    assert [one.training.seed for one in member_recipes(recipe)] == [2**32 - 1, 0]


@pytest.mark.slow
def test_a_stopped_member_says_how_to_resume_the_ensemble(finished):
    with pytest.raises(StoppedError, match=r"Resume with: chalknet train --resume 'the whole'$"):
        run_training(TrainOptions(finished.data, recipe=finished.recipe, out="the whole", must_stop=lambda: True))
    run = chalknet.resume("the whole")
    assert len(run.members) == 3
    assert Path("the whole/model.safetensors").read_bytes() == Path("run/model.safetensors").read_bytes()
