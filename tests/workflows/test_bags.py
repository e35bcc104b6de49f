"""Ensembles of cross-validation folds, and calibration by a temperature."""

import json
import shutil

import numpy as np
import pytest
from conftest import save_images

import chalknet
from chalknet.artifacts.training_facts import training_facts
from chalknet.config import read_config
from chalknet.errors import ConfigError
from chalknet.reporting.document import TableBlock
from chalknet.reporting.tables import statistics_table
from chalknet.training import rows_recipe
from chalknet.training.budgets import BUDGETS, estimated_seconds, settings_for_budget
from chalknet.workflows.model_scores import MIN_CALIBRATION

SETTINGS = {"hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40, "stop_early": False}
BAG = {**SETTINGS, "ensemble": 4, "folds": 2}


def rows_of(labels, seed=0):
    """Return rows from which classes can be told."""
    labels = np.asarray(labels)
    rng = np.random.default_rng(seed)
    return chalknet.dataset_from_arrays(labels[:, None] + rng.normal(size=(len(labels), 3)), labels)


def scores_of(probabilities, labels):
    """Return loss and accuracy."""
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean(), (probabilities.argmax(1) == labels).mean()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with letters.npz and a calibrated bag in `run`, and the `Run`."""
    folder = tmp_path_factory.mktemp("trained")
    save_images(folder / "letters.npz")
    return folder, chalknet.train(folder / "letters.npz", out=folder / "run", calibrate=True, **BAG)


def test_each_network_validates_its_own_fold(small_images):
    run = chalknet.train(small_images, seed=5, **BAG)
    plain = chalknet.train(small_images, **SETTINGS)
    first, second, third, fourth = (one.splits for one in run.members)
    whole = sorted(np.concatenate([plain.splits.train, plain.splits.valid]))
    assert sorted(np.concatenate([first.valid, second.valid])) == whole
    assert np.array_equal(first.train, second.valid)
    assert np.array_equal(first.valid, third.valid)
    assert np.array_equal(second.valid, fourth.valid)
    assert all(np.array_equal(one.splits.test, plain.splits.test) for one in (run, *run.members))
    assert [one.recipe.training.seed for one in run.members] == [5, 6, 7, 8]
    assert run.splits.sizes == {"train": 200, "valid": 200, "test": 40}


def test_validation_scores_are_out_of_fold(small_images):
    run = chalknet.train(small_images, **BAG)
    labels, found = small_images.labels, np.zeros((len(small_images), small_images.n_classes))
    for one in run.members:
        found[one.splits.valid] += one.network.predict_proba(small_images.inputs[one.splits.valid]) / 2
    loss, accuracy = scores_of(found[run.splits.valid], labels[run.splits.valid])
    assert run.kept.valid.accuracy == accuracy
    assert run.kept.valid.loss == pytest.approx(loss, rel=1e-5)  # float32
    test = run.splits.test
    assert run.kept.test.loss == pytest.approx(
        scores_of(run.network.predict_proba(small_images.inputs[test]), labels[test])[0], rel=1e-5
    )


def test_all_networks_share_the_scaling_of_all_folds():
    data = rows_of(np.arange(90) % 3)
    run = chalknet.train(data, epochs=1, hidden=[4], ensemble=3, folds=3)
    pool = run.splits.train
    for one in run.members:
        np.testing.assert_allclose(one.network.scaling.shift, data.inputs[pool].mean(axis=0))


def test_a_rare_class_is_spread_and_may_be_lacking():
    data = rows_of(np.r_[np.arange(90) % 2, [2, 2, 3]])
    run = chalknet.train(data, "writeup", epochs=1, hidden=[4], train_size=93, valid_size=0, ensemble=3, folds=3)
    rare = [np.bincount(data.labels[one.splits.valid], minlength=4)[2:] for one in run.members]
    assert np.sum(rare, axis=0).tolist() == [2, 1]
    assert np.max(rare) == 1
    balanced = chalknet.train(data, epochs=1, hidden=[4], ensemble=3, folds=3, class_weights="balanced")
    assert not [note for note in balanced.notes if "no training sample" in note]


def test_the_number_of_networks_must_fit_the_folds(small_images):
    with pytest.raises(ConfigError, match=r"multiple of folds 5, got 1\. Set ensemble=5, or folds=0"):
        chalknet.train(small_images, folds=5)
    with pytest.raises(ConfigError, match="folds must be 0, or an integer from 2 to 1000, got 1"):
        chalknet.train(small_images, folds=1)
    with pytest.raises(ConfigError, match="300 folds need at least 300 samples"):
        chalknet.train(small_images, folds=300, ensemble=300)


def test_folds_and_validation_samples_exclude_each_other(small_images):
    splits = chalknet.Splits(np.arange(200), np.arange(200, 220), np.arange(220, 240))
    message = "has validation samples of its own, so there is nothing to divide into folds. Leave out"
    with pytest.raises(ConfigError, match=message):
        chalknet.train(small_images, splits=splits, **BAG)
    with pytest.raises(ConfigError, match=message):
        chalknet.train(small_images, valid=small_images, **{**BAG, "train_size": 200})
    only = chalknet.Splits(np.arange(200), np.arange(0), np.arange(200, 240))
    assert chalknet.train(small_images, splits=only, **BAG).splits.sizes == {"train": 200, "valid": 200, "test": 40}


@pytest.fixture
def bag_recipe(monkeypatch):
    """Make `strong-dense` a recipe with folds."""
    recipe = chalknet.recipe("strong-dense").with_settings(ensemble=4, folds=2, calibrate=True, hidden=[6], epochs=2)
    monkeypatch.setitem(chalknet.training.recipes.RECIPES, "strong-dense", recipe)


@pytest.mark.usefixtures("bag_recipe")
def test_folds_of_a_named_recipe_give_way_with_a_note(small_images):
    splits = chalknet.Splits(np.arange(200), np.arange(200, 220), np.arange(220, 240))
    run = chalknet.train(small_images, splits=splits, recipe="strong-dense")
    assert (run.recipe.training.folds, run.recipe.training.ensemble) == (0, 4)
    assert "the validation samples that were given validate all networks, so there are no folds." in run.notes
    assert run.splits is splits
    three = chalknet.train(small_images, ensemble=3, recipe="strong-dense")
    assert (three.recipe.training.folds, len(three.members)) == (0, 3)
    assert "ensemble 3 is not a multiple of the recipe's 2 folds, so there are no folds." in three.notes
    assert len(chalknet.train(small_images, ensemble=2, recipe="strong-dense").members) == 2
    assert chalknet.train(small_images, ensemble=1, recipe="strong-dense").members == ()


@pytest.mark.usefixtures("bag_recipe")
def test_a_study_with_a_recipe_of_folds_trains_single_networks(small_images, tmp_path):
    results = chalknet.study(
        small_images, recipe="strong-dense", vary={"hidden": [4, 5]}, seeds=1, out=tmp_path / "study", jobs=1
    )
    assert results.spec.recipe.training.folds == 0
    assert results.counts["done"] == 2
    with pytest.raises(ConfigError, match="so calibrate must be false"):
        chalknet.study(
            small_images, recipe="strong-dense", vary={"hidden": [4, 5]}, calibrate=True, out=tmp_path / "other"
        )
    with pytest.raises(ConfigError, match="so ensemble must be 1, got 2"):
        chalknet.study(
            small_images, recipe="strong-dense", vary={"hidden": [4, 5]}, ensemble=2, folds=2, out=tmp_path / "other"
        )


def test_calibration_lowers_the_validation_loss(small_images):
    for settings in (SETTINGS, BAG, {**SETTINGS, "ensemble": 2}):
        plain = chalknet.train(small_images, **settings)
        run = chalknet.train(small_images, calibrate=True, **settings)
        assert run.temperature != 1
        assert run.kept.valid.loss < plain.kept.valid.loss - 1e-4
        test = run.splits.test
        loss, accuracy = scores_of(
            run.network.predict_proba(small_images.inputs[test]).astype(float), small_images.labels[test]
        )
        assert run.kept.test.loss == pytest.approx(loss, rel=1e-5)
        assert run.kept.test.accuracy == accuracy
        assert run.history[-1].valid == plain.history[-1].valid
        weight, before = (one.network.members[0].parameters["output.weight"] for one in (run, plain))
        np.testing.assert_allclose(weight, before / run.temperature, rtol=1e-6)


def test_few_validation_samples_calibrate_nothing(small_images):
    few = {**SETTINGS, "valid_size": MIN_CALIBRATION - 1}
    run = chalknet.train(small_images, calibrate=True, **few)
    assert run.temperature == 1
    assert run.notes[-1].startswith("with only 19 validation samples the probabilities are not calibrated. At least 20")
    same = chalknet.train(small_images, **few).network.parameters
    assert all((value == same[name]).all() for name, value in run.network.parameters.items())
    assert chalknet.train(small_images, calibrate=True, **{**few, "valid_size": MIN_CALIBRATION}).temperature != 1
    assert chalknet.train(small_images, calibrate=True, **{**few, "valid_size": 0}).temperature == 1


def test_the_temperature_is_stored_and_shown(trained):
    folder, run = trained
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["temperature"] == run.temperature
    assert summary["kept"]["valid"]["loss"] == run.kept.valid.loss
    assert summary["samples"] == {"train": 200, "valid": 200, "test": 40}
    assert training_facts(folder / "run" / "model.safetensors")["temperature"] == run.temperature
    assert (
        f"4 networks together, validation scores out of 2 folds, calibrated with temperature {run.temperature:.3g}"[:60]
        in statistics_table(run).text()
    )
    model = chalknet.load_model(folder / "run" / "model.safetensors")
    images = run.data.inputs[:20]
    np.testing.assert_array_equal(model.predict_proba(images), run.network.predict_proba(images))


def test_config_toml_repeats_a_bag(trained):
    folder, run = trained
    recipe, _ = read_config(folder / "run" / "config.toml")
    again = chalknet.train(folder / "letters.npz", recipe)
    assert again.temperature == run.temperature
    assert again.kept.valid == run.kept.valid
    member, data = read_config(folder / "run" / "members" / "seed1" / "config.toml")
    assert (member.training.folds, member.training.calibrate, member.split.split) == (0, False, "custom")
    assert len(data.splits_sha256) == 64


@pytest.mark.parametrize("lost", [["seed1", "seed2", "seed3"], ["seed3"], []])
def test_a_bag_resumes_with_the_same_bytes(trained, tmp_path, lost):
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    for member in lost:
        shutil.rmtree(tmp_path / "run" / "members" / member)
    run = chalknet.resume(tmp_path / "run", data=tmp_path / "letters.npz")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole
    assert run.kept.valid == trained[1].kept.valid
    assert run.temperature == trained[1].temperature


def test_a_calibrated_run_without_curves_is_finished_by_resume(tmp_path):
    save_images(tmp_path / "letters.npz")
    run = chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", calibrate=True, **SETTINGS)
    (tmp_path / "run" / "curves.png").unlink()
    again = chalknet.resume(tmp_path / "run")
    assert again.kept == run.kept
    assert again.temperature == run.temperature


@pytest.mark.parametrize("ensemble", [1, 2])
def test_a_run_with_given_splits_without_curves_is_finished_by_resume(tmp_path, ensemble):
    for name in ("letters", "valid", "test"):
        save_images(tmp_path / f"{name}.npz")
    given = {name: tmp_path / f"{name}.npz" for name in ("valid", "test")}
    settings = SETTINGS | {"ensemble": ensemble, "folds": 0}
    run = chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", **given, **settings)
    (tmp_path / "run" / "curves.png").unlink()
    assert chalknet.resume(tmp_path / "run").kept == run.kept
    assert (tmp_path / "run" / "curves.png").exists()


def test_an_evaluation_knows_that_folds_were_trained_on(trained):
    folder, run = trained
    with pytest.raises(ConfigError, match="there is no validation split to evaluate"):
        chalknet.evaluate(folder / "run", split="valid")
    assert chalknet.evaluate(folder / "run", split="test").loss == pytest.approx(run.kept.test.loss, rel=1e-5)
    assert len(chalknet.evaluate(folder / "run", split="train").predictions.labels) == 200
    with pytest.raises(ConfigError, match="was trained with index arrays as splits"):
        chalknet.evaluate(folder / "run" / "members" / "seed1", split="valid")


def test_a_report_of_a_bag_shows_scores_out_of_fold(trained, tmp_path):
    folder, run = trained
    made = chalknet.report(folder / "run", out=tmp_path / "report")
    words = "\n".join(getattr(block, "text", "") for block in made.document.blocks())
    assert "200 samples are divided at random with seed 0 into 2 folds with the same class proportions" in words
    assert f"The logits are divided by the temperature {run.temperature:.3g}" in words
    assert "for 200 validation samples" in words
    tables = {block.name: block.table for block in made.document.blocks() if isinstance(block, TableBlock)}
    assert tables["members"].rows[-1][-1] == f"{100 * run.kept.valid.accuracy:.2f} %"
    gain = dict(zip(tables["gain"].columns, tables["gain"].rows[0], strict=True))
    assert gain["accuracy of the ensemble"] == f"{100 * run.kept.valid.accuracy:.2f} %"
    assert gain["loss of the ensemble"] == f"{run.kept.valid.loss:.4f}"


def test_one_network_per_fold_has_no_gain_on_its_folds(tmp_path):
    save_images(tmp_path / "letters.npz")
    chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", **{**BAG, "ensemble": 2})
    made = chalknet.report(tmp_path / "run")
    tables = {block.name: block.table for block in made.document.blocks() if isinstance(block, TableBlock)}
    assert [row[0] for row in tables["gain"].rows] == ["test"]


def test_a_report_of_a_calibrated_network_shows_its_loss(tmp_path):
    save_images(tmp_path / "letters.npz")
    run = chalknet.train(tmp_path / "letters.npz", out=tmp_path / "run", calibrate=True, **SETTINGS)
    made = chalknet.report(tmp_path / "run")
    words = "\n".join(getattr(block, "text", "") for block in made.document.blocks())
    assert f"The logits are divided by the temperature {run.temperature:.3g}" in words


def test_a_budget_is_written_as_plain_fields(tmp_path):
    save_images(tmp_path / "letters.npz")
    run = chalknet.train(tmp_path / "letters.npz", budget="best", hidden=[6], epochs=2, out=tmp_path / "run")
    assert "budget best: ensemble=3." in run.notes
    recipe, _ = read_config(tmp_path / "run" / "config.toml")
    assert (recipe.training.ensemble, recipe.training.epochs) == (3, 2)
    assert "budget = " not in (tmp_path / "run" / "config.toml").read_text()
    fast = chalknet.train(tmp_path / "letters.npz", budget="fast", hidden=[6])
    assert (len(fast.history), fast.members) == (10, ())
    one = chalknet.train(rows_of(np.arange(90) % 3), budget="best", ensemble=1, epochs=1)
    assert one.members == ()


def test_seconds_choose_the_longest_plan_that_fits():
    size = (10_000, (20,), 3)
    for recipe in ("strong-dense", "strong-rows", "rows"):
        plans = [settings_for_budget(name, *size, recipe) for name in BUDGETS]
        seconds = (
            [rows_recipe.estimated_seconds(rows_recipe.PLANS[name], 10_000, 20, 20, 3) for name in BUDGETS]
            if recipe == "rows"
            else [estimated_seconds(one, 10_000, 20, 3, recipe) for one in plans]
        )
        assert seconds == sorted(seconds)
        for plan, needed in zip(plans, seconds, strict=True):
            assert settings_for_budget(needed, *size, recipe) == plan
            assert settings_for_budget(needed * 1.01, *size, recipe) == plan
        assert settings_for_budget(1e-9, *size, recipe) == plans[0]


def test_a_budget_needs_a_recipe_with_plans(small_images):
    for wrong in ("slow", 0, -3.0, float("nan")):
        with pytest.raises(ConfigError, match=r"budget must be one of fast, default, best, or a number of seconds > 0"):
            chalknet.train(small_images, budget=wrong)
    for recipe in ("writeup", chalknet.recipe("strong")):
        with pytest.raises(
            ConfigError,
            match=r"budget changes one of the recipes strong, rows, images, strong-dense or strong-rows",
        ):
            chalknet.train(small_images, recipe, budget="fast")


def test_the_note_of_a_budget_shows_the_settings_of_the_user():
    run = chalknet.train(rows_of(np.arange(90) % 3), epochs=1, batch_size="full")
    assert "5 networks with 128 x 128 hidden units, 1 epoch each, full batches." in run.notes
