"""Several networks as one model: what each member is, how the whole answers, and going on after a stop."""

import json
import shutil

import numpy as np
import pytest
from conftest import made_images

import chalknet
from chalknet.errors import ConfigError, OutputError, StoreError
from chalknet.studies.spec import StudySpec
from chalknet.workflows.ensemble import member_recipes

SETTINGS = {"hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "stop_early": False, "ensemble": 3}


@pytest.fixture
def letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = made_images(240, seed=0)
    np.savez(tmp_path / "letters.npz", images=data.inputs, labels=data.labels)
    return "letters.npz"


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


def test_a_folder_holds_the_whole_and_a_run_a_member(letters, tmp_path):
    run = chalknet.train(letters, out="run", **SETTINGS)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [member["seed"] for member in summary["members"]] == [0, 1, 2]
    assert summary["kept"]["test"]["accuracy"] == run.kept.test.accuracy
    model = chalknet.load_model("run/model.safetensors")
    images = run.data.inputs[:20]
    np.testing.assert_array_equal(model.predict_proba(images), run.network.predict_proba(images))
    assert (tmp_path / "run" / "members" / "seed2" / "model.safetensors").exists()
    with pytest.raises(OutputError, match="already holds a finished"):
        chalknet.train(letters, out="run", **SETTINGS)


@pytest.mark.parametrize("lost", [["seed1", "seed2"], ["seed2"], []])
def test_stopped_between_members_it_goes_on_and_ends_with_the_same_bytes(letters, tmp_path, lost):
    chalknet.train(letters, out="run", **SETTINGS)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    for member in lost:
        shutil.rmtree(tmp_path / "run" / "members" / member)
    with pytest.raises(OutputError, match="holds an unfinished run"):
        chalknet.train(letters, out="run", **SETTINGS)
    seen = []
    chalknet.resume("run", observe=seen.append)
    assert len(seen) == 3 * len(lost)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


def test_a_member_of_other_settings_is_not_taken_for_this_ensembles(letters, tmp_path):
    chalknet.train(letters, out="run", **SETTINGS)
    (tmp_path / "run" / "summary.json").unlink()
    config = tmp_path / "run" / "members" / "seed1" / "config.toml"
    config.write_text(config.read_text().replace("epochs = 3", "epochs = 4"))
    with pytest.raises(StoreError, match="seed1: holds a run of other settings"):
        chalknet.resume("run")


def test_a_report_names_a_member_and_a_study_takes_none(letters):
    chalknet.train(letters, out="run", **SETTINGS)
    with pytest.raises(StoreError, match=r"holds an ensemble, .* Name a member: run/members/seed0"):
        chalknet.report("run")
    with pytest.raises(ConfigError, match="so ensemble 3 has no place"):
        StudySpec(chalknet.recipe("writeup").with_settings(ensemble=3))


def test_seeds_begin_again_after_the_largest():
    recipe = chalknet.recipe("writeup").with_settings(seed=2**32 - 1, ensemble=2)
    assert [one.training.seed for one in member_recipes(recipe)] == [2**32 - 1, 0]
