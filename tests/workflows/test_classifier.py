"""`ChalkClassifier` follows scikit-learn's conventions and keeps its own promises."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import chalknet
from chalknet.errors import ConfigError, DataError, DivergenceError, ShapeError

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from chalknet.version import install_command
from chalknet.workflows.classifier_recipe import SMALL_ROWS_SETTINGS, rows_recipe
from chalknet.workflows.classifier_samples import stratified_splits

QUICK = {"hidden": (16,), "epochs": 20, "random_state": 0}


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:400], y[:400]


def quick(**changed):
    return chalknet.ChalkClassifier(**{**QUICK, **changed})


def checks():
    for estimator in (chalknet.ChalkClassifier(), chalknet.ChalkClassifier(hidden=16)):
        for made, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__.removeprefix("check_")
            # The default trains five networks each time, which takes minutes in all.
            marks = pytest.mark.slow if made.hidden is None else ()
            yield pytest.param(made, check, id=f"{made}-{name}", marks=marks)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_its_default_learns_small_tables(wine):
    assert cross_val_score(chalknet.ChalkClassifier(random_state=0), *wine).mean() > 0.95  # 0.98; guessing gives 0.4


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(digits):
    def logits(seed):
        return quick(random_state=seed).fit(*digits).decision_function(digits[0])

    assert np.array_equal(logits(3), logits(3))
    assert np.array_equal(logits(np.random.RandomState(3)), logits(np.random.RandomState(3)))
    assert not np.array_equal(logits(3), logits(4))
    assert not np.array_equal(logits(None), logits(None))


def test_results_do_not_depend_on_threads(digits):
    one, two = (quick(hidden=(600, 20), epochs=2, n_jobs=n).fit(*digits) for n in (1, 2))
    assert np.array_equal(one.decision_function(digits[0]), two.decision_function(digits[0]))


def test_an_int_as_random_state_is_the_recipes_seed(wine):
    # 20 epochs of full batches without noise: the seed decides the initial weights alone.
    x, y = wine
    fitted = quick(random_state=7).fit(x, y)
    data = chalknet.dataset_from_arrays(x, y)
    recipe = (
        chalknet.recipe("strong-rows")
        .with_settings(**SMALL_ROWS_SETTINGS)
        .with_settings(hidden=[16], epochs=20, seed=7, dtype="float64")
    )
    splits = chalknet.Splits(np.arange(len(y)), np.arange(0), np.arange(0))
    network = chalknet.train(data, recipe, splits=splits).network
    np.testing.assert_allclose(fitted.network_.logits(x), network.logits(x), rtol=1e-6)  # the scalings round apart


def test_results_do_not_depend_on_the_layout_of_samples(wine):
    x, y = wine
    turned = np.asfortranarray(x)
    assert np.array_equal(quick().fit(x, y).predict_proba(x), quick().fit(turned, y).predict_proba(turned))
    streamed, streamed_turned = (quick().partial_fit(rows, y, classes=[0, 1, 2]) for rows in (x, turned))
    assert np.array_equal(streamed.predict_proba(x), streamed_turned.predict_proba(x))


@pytest.mark.parametrize("labels", [["red", "green", "blue"], [True, False, True], [10, -3, 7], [2.0, 0.0, 1.0]])
def test_labels_come_back_as_they_were_given(wine, labels):
    x, y = wine
    named = np.array(labels)[y]
    fitted = quick(epochs=60).fit(x, named)
    assert fitted.predict(x).dtype == named.dtype
    assert fitted.score(x, named) > 0.9
    assert list(fitted.classes_) == sorted(set(labels))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_give_their_column_names_and_the_same_network(wine, library):
    frames = pytest.importorskip(library)
    x, y = wine
    names = [f"column {i}" for i in range(x.shape[1])]
    frame = frames.DataFrame({name: x[:, i] for i, name in enumerate(names)})
    fitted = quick().fit(frame, frames.Series(y))
    assert list(fitted.feature_names_in_) == names
    assert np.array_equal(fitted.predict_proba(frame), quick().fit(x, y).predict_proba(x))


def test_lists_whole_numbers_and_booleans_are_samples():
    x, y = [[0, 1], [1, 0], [1, 1], [0, 0]] * 5, [0, 0, 1, 0] * 5
    for rows in (x, np.array(x), np.array(x, bool), np.array(x, np.uint8)):
        assert quick(epochs=300).fit(rows, y).score(rows, y) == 1


def test_sparse_samples_are_refused_in_scikit_learns_words(wine):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed"):
        quick().fit(sparse.csr_array(wine[0]), wine[1])


def test_a_weight_of_two_is_a_sample_given_twice(wine):
    x, y = wine
    rows, labels = x[::3], y[::3]
    weight = np.random.default_rng(0).integers(0, 4, len(labels))
    weighted = quick().fit(rows, labels, sample_weight=weight)
    repeated = quick().fit(np.repeat(rows, weight, axis=0), np.repeat(labels, weight))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-6)
    balanced = quick(class_weight="balanced").fit(rows, labels, sample_weight=weight)
    again = quick(class_weight="balanced").fit(np.repeat(rows, weight, axis=0), np.repeat(labels, weight))
    np.testing.assert_allclose(balanced.predict_proba(x), again.predict_proba(x), rtol=1e-6)


def test_a_weight_of_zero_is_a_sample_left_out_to_the_bit(digits):
    x, y = digits
    weight = np.arange(len(y)) % 5 / 2
    weighted = quick().fit(x, y, sample_weight=weight)
    without = quick().fit(x[weight > 0], y[weight > 0], sample_weight=weight[weight > 0])
    assert np.array_equal(weighted.predict_proba(x), without.predict_proba(x))


def test_class_weights_are_by_label(wine):
    x, y = wine
    names = np.array(["a", "b", "c"])[y]
    fitted = quick(class_weight={"b": 1e6}, epochs=100).fit(x, names)
    assert (fitted.predict(x) == "b").mean() > 0.9
    with pytest.raises(ConfigError, match=r"class_weight holds 'd', which is not a class of y: 'a', 'b', 'c'"):
        quick(class_weight={"d": 1}).fit(x, names)
    with pytest.raises(ConfigError, match='None, "balanced" or a dict by label'):
        quick(class_weight=[1, 2, 3]).fit(x, names)


def test_early_stopping_keeps_the_best_validation_epoch(digits):
    fitted = quick(early_stopping=True, patience=2, epochs=60, validation_fraction=0.25).fit(*digits)
    first = int(np.argmax(fitted.validation_curve_)) + 1
    best = max(fitted.history_, key=lambda record: (record.valid.accuracy, -record.valid.loss)).epoch
    assert first <= fitted.best_epoch_ == best <= fitted.n_iter_
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(fitted.history_) == first + 2 < 60


def test_validation_scores_are_those_of_the_kept_network(digits):
    x, y = digits
    fitted = quick(early_stopping=True).fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])
    assert fitted.score(x[300:], y[300:]) == pytest.approx(fitted.validation_curve_[fitted.best_epoch_ - 1])
    plain = quick(early_stopping=False).fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])
    assert len(plain.validation_curve_) == plain.n_iter_ == plain.best_epoch_ == 20
    # Validation samples teach nothing, not even the scaling.
    alone = quick(early_stopping=False).fit(x[:300], y[:300])
    assert np.array_equal(plain.predict_proba(x), alone.predict_proba(x))


def test_validation_scores_are_weighted_where_training_is(digits):
    x, y = digits
    fitted = quick(class_weight={0: 1000.0}).fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])
    correct = fitted.predict(x[300:]) == y[300:]
    weighted = np.average(correct, weights=np.where(y[300:] == 0, 1000.0, 1.0))
    assert fitted.validation_curve_[-1] == pytest.approx(weighted)
    assert abs(correct.mean() - weighted) > 1e-3


def test_few_validation_samples_all_train_without_early_stopping(digits):
    x, y = digits
    strong = quick(recipe=chalknet.recipe("strong"), validation_fraction=0.5)
    few, enough = (clone(strong).fit(x[:n], y[:n]) for n in (398, 400))
    assert not few.validation_curve_
    assert few.notes_[-1].startswith("199 validation samples are too few to choose an epoch by")
    assert len(enough.validation_curve_) == 20
    assert clone(strong).set_params(early_stopping=True).fit(x[:200], y[:200]).validation_curve_
    watched = (
        clone(strong).set_params(patience=1, learning_rate=0.1).fit(x[:200], y[:200], X_val=x[200:], y_val=y[200:])
    )
    too_few = (
        clone(strong).set_params(patience=1, learning_rate=0.1).fit(x[:200], y[:200], X_val=x[201:], y_val=y[201:])
    )
    assert watched.n_iter_ < too_few.n_iter_ == 20


# A sample of digits is computed in float32, so probabilities have about six digits.
BAG = {"settings": {"ensemble": 4, "folds": 2, "calibrate": True}}


def test_an_ensemble_of_folds_is_scored_out_of_fold(digits):
    x, y = digits
    fitted = quick(**BAG).fit(x, y)
    networks = fitted.network_.members
    assert len(networks) == 4
    assert fitted.temperature_ != 1
    np.testing.assert_allclose(
        fitted.predict_proba(x), np.mean([one.predict_proba(x) for one in networks], axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(x)), fitted.predict_proba(x))
    np.testing.assert_allclose(fitted.decision_function(x), np.log(fitted.predict_proba(x)), atol=1e-5)
    assert fitted.score(x, y) > fitted.validation_score_ > 0.7
    plain = quick(settings={"ensemble": 4, "folds": 2}).fit(x, y)
    assert plain.temperature_ is None
    before = plain.network_.members[0].parameters["output.weight"]
    np.testing.assert_allclose(networks[0].parameters["output.weight"], before / fitted.temperature_, rtol=1e-5)
    assert fitted.n_iter_ == len(fitted.history_) == fitted.best_epoch_ == 20


def by_heart(**parameters):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 20)), rng.integers(0, 2, 300)
    settings = {"ensemble": 2, "folds": 2, "calibrate": True, "input_dropout": 0.0}
    return x, y, quick(hidden=200, epochs=60, settings=settings, **parameters).fit(x, y)


def test_folds_of_the_classifier_hold_samples_out():
    # Labels without any pattern: networks learn them by heart, and only held-out samples show it.
    x, y, fitted = by_heart()
    assert fitted.score(x, y) > 0.75  # each network knows one half
    assert fitted.validation_score_ < 0.65
    assert fitted.temperature_ > 3


def test_few_samples_train_networks_that_differ_in_their_seeds(wine, monkeypatch):
    bag = chalknet.recipe("strong-rows").with_settings(**BAG["settings"])
    monkeypatch.setitem(chalknet.training.recipes.RECIPES, "strong-rows", bag)
    x, y = wine
    fitted = quick().fit(x, y)
    assert len(fitted.network_.members) == 4
    assert fitted.validation_score_ is fitted.temperature_ is None
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    few = np.flatnonzero(np.arange(len(y)) % 3 == 0)
    weighted = quick().fit(x[few], y[few], sample_weight=weight[few])
    repeated = np.repeat(few, weight[few])
    again = quick().fit(x[repeated], y[repeated])
    np.testing.assert_allclose(weighted.predict_proba(x), again.predict_proba(x), rtol=1e-6)
    alone = [quick(random_state=k, settings={"ensemble": 1}).fit(x, y) for k in range(4)]
    np.testing.assert_allclose(
        fitted.predict_proba(x), np.mean([one.predict_proba(x) for one in alone], axis=0), rtol=1e-5
    )
    three = quick(settings={"ensemble": 3}).fit(np.r_[x, x], np.r_[y, y])
    assert len(three.network_.members) == 3
    assert "ensemble 3 is not a multiple of the recipe's 2 folds, so there are no folds." in three.notes_
    watched = quick().fit(np.r_[x, x], np.r_[y, y], X_val=x, y_val=y)
    assert "X_val validates all networks, so there are no folds." in watched.notes_
    assert watched.temperature_ is not None
    one = quick().partial_fit(x, y, classes=[0, 1, 2])
    assert len(one.network_.members) == 1
    assert len(fitted.partial_fit(x, y).network_.members) == 4
    assert fitted.n_iter_ == 21


def test_x_val_and_folds_that_were_asked_for_exclude_each_other(digits):
    x, y = digits
    with pytest.raises(ConfigError, match="X_val has the validation samples, so there is nothing to divide into folds"):
        quick(**BAG).fit(x[:300], y[:300], X_val=x[300:], y_val=y[300:])


def test_weights_go_with_their_samples_into_folds(digits):
    x, y = digits
    weight = np.where(np.arange(len(y)) % 4 == 0, 0.0, 1.0)
    weighted = quick(**BAG).fit(x, y, sample_weight=weight)
    without = quick(**BAG).fit(x[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighted.predict_proba(x), without.predict_proba(x), rtol=1e-5)
    heavy = quick(**BAG).fit(x, y, sample_weight=np.where(y == 3, 50.0, 1.0))
    assert heavy.predict_proba(x)[:, 3].mean() > weighted.predict_proba(x)[:, 3].mean()


def test_warm_start_continues_each_network_on_its_fold():
    x, y, model = by_heart(warm_start=True, random_state=None)
    before = model.loss_curve_
    model.fit(x, y)
    assert model.loss_curve_[0] < before[0] / 1.5
    assert model.validation_score_ < 0.65  # with other folds, the networks would know these samples by heart
    with pytest.raises(ConfigError, match="warm_start continues with 2 networks, but the parameters now describe 4"):
        model.set_params(settings={"ensemble": 4, "folds": 2}).fit(x, y)


def test_an_ensemble_is_cloned_pickled_saved_and_searched(digits, tmp_path):
    x, y = digits
    fitted = clone(quick(**BAG)).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(x), fitted.predict_proba(x))
    chalknet.save_model(fitted.network_, tmp_path / "model.safetensors")
    loaded = chalknet.load_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(loaded.predict_proba(x), fitted.predict_proba(x), rtol=1e-5)
    pipeline = make_pipeline(StandardScaler(), quick(**BAG))
    grid = {"chalkclassifier__settings": [BAG["settings"], {"ensemble": 1}]}
    assert GridSearchCV(pipeline, grid, cv=2).fit(x, y).score(x, y) > 0.8


def test_calibration_sets_samples_aside(digits):
    fitted = quick(settings={"calibrate": True}, validation_fraction=0.25).fit(*digits)
    assert fitted.temperature_ is not None
    assert len(fitted.validation_curve_) == 20
    assert fitted.validation_score_ == pytest.approx(fitted.validation_curve_[-1])


def test_a_frame_gives_every_network_its_encoding(wine):
    frames = pytest.importorskip("polars")
    x, y = wine
    frame = frames.DataFrame({"kind": np.array(["a", "b", "c"])[y], "size": x[:, 0]})
    fitted = quick(epochs=150, **BAG).fit(frame, y)
    assert all(one.encoding == fitted.encoding_ for one in fitted.network_.members)
    assert fitted.score(frame, y) > 0.9


def test_a_budget_changes_a_named_recipe(digits):
    assert quick(epochs=None, budget="fast").fit(*digits).n_iter_ == 20
    best = quick(budget="best").fit(*digits)
    assert (len(best.network_.members), best.n_iter_) == (5, 20)
    assert best.notes_[-1] == "budget best: ensemble=5, folds=5, calibrate=True."
    with pytest.raises(ConfigError, match="budget must be one of fast, default, best, or a number of seconds > 0"):
        quick(budget="slow").fit(*digits)
    with pytest.raises(ConfigError, match="budget changes a recipe given by name"):
        quick(budget="fast", recipe=chalknet.recipe("strong")).fit(*digits)


def test_early_stopping_that_cannot_be_warns_and_trains_all():
    x, y = np.arange(12.0)[:, None], [0] * 11 + [1]
    with pytest.warns(UserWarning, match="two samples of each class"):
        fitted = quick(early_stopping=True).fit(x, y)
    assert fitted.n_iter_ == 20


def test_a_split_takes_no_class_its_last_sample():
    assert all(
        stratified_splits(np.array([0] * n + [1]), 0.1, seed) is None for n in range(20, 40) for seed in range(3)
    )
    rare = np.array([0] * 98 + [1] * 2)
    assert set(rare[stratified_splits(rare, 0.9, 0).train]) == {0, 1}
    assert stratified_splits(np.array([0] * 98 + [1] * 2), 0.99, 0) is None  # one sample trains
    splits = stratified_splits(np.array([0] * 50 + [4] * 50), 0.1, 0)
    assert splits.sizes == {"train": 90, "valid": 10, "test": 0}
    assert sorted(np.concatenate([splits.train, splits.valid])) == list(range(100))
    for fraction in (0, 1, "0.1", float("nan")):
        with pytest.raises(ConfigError, match="validation_fraction must be a number between 0 and 1"):
            stratified_splits(np.array([0, 1]), fraction, 0)


def test_one_class_is_the_answer():
    fitted = quick().fit([[1.0], [2.0]], ["yes", "yes"])
    assert list(fitted.predict([[5.0]])) == ["yes"]
    assert fitted.predict_proba([[5.0]]).tolist() == [[1.0]]
    assert fitted.network_ is None
    assert fitted.n_iter_ == 0


@pytest.mark.parametrize("later", [0.2, -1e6])
def test_a_constant_input_does_no_harm_when_it_varies_later(wine, later):
    # 0.1 forty times has a mean that is not 0.1, and so a deviation that is not 0.
    x, y = wine
    constant = np.c_[x, np.full(len(x), 0.1)]
    fitted = quick(epochs=60).fit(constant, y)
    before = fitted.predict_proba(constant)
    constant[:, -1] = later
    assert (fitted.predict_proba(constant) == before).all()


def test_columns_that_never_varied_are_in_the_notes(wine, capsys):
    x, y = wine
    constant = np.c_[x, np.full(len(x), 0.1)]
    assert quick(verbose=True).fit(constant, y).notes_ == ("1 input that never varied in training is ignored: 14.",)
    assert "never varied in training is ignored: 14." in capsys.readouterr().out
    assert quick().fit(x, y).notes_ == ()


def test_columns_that_vary_after_the_first_partial_fit_count(wine):
    x, y = wine
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    model = quick().partial_fit(scaled[:1], y[:1], classes=[0, 1, 2])
    for _ in range(60):
        model.partial_fit(scaled, y)
    assert model.score(scaled, y) > 0.9
    assert model.notes_ == ()


def test_a_class_without_weight_is_a_warning(wine):
    x, y = wine
    with pytest.warns(UserWarning, match="1 class has no training sample, so the network never learns"):
        quick(class_weight={2: 0.0}).fit(x, y)
    with pytest.raises(DataError, match="all training samples with a weight above 0 are of class 1"):
        quick(class_weight={0: 0.0, 2: 0.0}).fit(x, y)


@pytest.mark.parametrize("factor", [1e-3 / 13, 1000.0])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0}])
def test_only_ratios_of_weights_count(factor, class_weight):
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(2000, 3, 600), rng.normal(size=600)]
    y, weights = (x[:, 0] + 3 * x[:, 1] > 2000).astype(int), rng.random(600)
    found = []
    for w in (weights, factor * weights):
        fitted = quick(early_stopping=True, class_weight=class_weight).fit(x, y, sample_weight=w)
        found.append([fitted.predict_proba(x), fitted.network_.scaling.shift, fitted.validation_curve_])
        if class_weight != "balanced":
            streamed = quick(class_weight=class_weight)
            for start in range(0, 600, 100):
                part = slice(start, start + 100)
                streamed.partial_fit(x[part], y[part], [0, 1], sample_weight=w[part])
            found[-1].append(streamed.predict_proba(x))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)


def test_a_fit_that_fails_leaves_the_estimator_as_it_was(wine):
    x, y = wine
    fitted = quick().fit(x, y)
    before, state = fitted.predict_proba(x), dict(vars(fitted))
    bad = (
        lambda: fitted.fit(x[:, :5], y, X_val=x[:, :4], y_val=y),
        lambda: fitted.fit(np.c_[x, x], y, sample_weight=np.zeros(len(y))),
        lambda: fitted.fit(x[:, :3] * 1e300, np.r_[y[:-1], 9], X_val=x[:, :3], y_val=y[:-1]),
        lambda: fitted.partial_fit(x, y, sample_weight=-np.ones(len(y))),
        lambda: fitted.partial_fit(x, y, classes=[0, 1]),
    )
    for call in bad:
        with pytest.raises(ValueError, match=r"."):
            call()
        assert {name: value is state.get(name) for name, value in vars(fitted).items()} == dict.fromkeys(state, True)
        assert (fitted.predict_proba(x) == before).all()
    unfitted = quick()
    with pytest.raises(ValueError, match=r"."):
        unfitted.fit(x, y, sample_weight=np.zeros(len(y)))
    assert not hasattr(unfitted, "n_features_in_")


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_the_samples_does_not_matter(wine, unit):
    x, y = wine
    np.testing.assert_allclose(quick().fit(unit * x, y).predict_proba(unit * x), quick().fit(x, y).predict_proba(x))


def test_partial_fit_continues_after_pickling(digits):
    x, y = digits
    model = quick()
    for start in range(0, 300, 100):
        model.partial_fit(x[start : start + 100], y[start : start + 100], classes=np.arange(10))
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        for _ in range(20):
            one.partial_fit(x[:300], y[:300])
    assert np.array_equal(model.predict_proba(x), again.predict_proba(x))
    assert model.n_iter_ == 23 == model.history_[-1].epoch
    assert model.score(x[300:], y[300:]) > 0.85
    assert model.loss_curve_[-1] < model.loss_curve_[0] / 5


def test_partial_fit_keeps_the_optimizers_state(digits):
    x, y = digits
    settings = {"input_dropout": 0.0, "dtype": "float64"}
    model = quick(settings=settings, batch_size="full", weight_decay=0.0)
    model.partial_fit(x, y, classes=np.arange(10)).partial_fit(x, y).partial_fit(x, y)
    data = chalknet.dataset_from_arrays(x, y)
    splits = chalknet.Splits(np.arange(len(y)), np.arange(0), np.arange(0))
    recipe = rows_recipe(chalknet.recipe("strong-rows")).with_settings(
        hidden=[16],
        epochs=3,
        batch_size="full",
        weight_decay=0.0,
        input_dropout=0.0,
        schedule="constant",
        dtype="float64",
    )
    network = chalknet.train(data, recipe, splits=splits).network
    np.testing.assert_allclose(model.network_.logits(x), network.logits(x), rtol=1e-6, atol=1e-9)


def test_partial_fit_continues_from_fit(digits):
    x, y = digits
    model = quick().fit(x, y)
    before = model.loss_curve_[-1]
    model.partial_fit(x, y)
    assert model.n_iter_ == 21
    assert model.loss_curve_[-1] < 2 * before


def test_partial_fit_says_what_it_needs(wine):
    x, y = wine
    with pytest.raises(ConfigError, match="classes must list all labels"):
        quick().partial_fit(x, y)
    with pytest.raises(DataError, match=r"y\[130\] is 2, which is not a class: 0, 1"):
        quick().partial_fit(x, y, classes=[0, 1])
    model = quick().partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ConfigError, match="continues with the classes 0, 1, 2, but classes are 0, 1"):
        model.partial_fit(x, y, classes=[0, 1])
    with pytest.raises(
        ConfigError,
        match=r"the current network is 13-16-3 \(dense of 16 units, relu, .*\), but .* describe 13-16-3 \(.*tanh",
    ):
        model.set_params(activation="tanh").partial_fit(x, y)
    with pytest.raises(ConfigError, match="dict by label for partial_fit"):
        quick(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])


def test_warm_start_continues_where_fit_ended(wine):
    x, y = wine
    model = quick(warm_start=True, epochs=60).fit(x, y)
    before = model.loss_curve_
    model.fit(x, y)
    assert model.loss_curve_[0] == pytest.approx(before[-1], rel=0.2)
    assert before[-1] < before[0] / 5
    with pytest.raises(ConfigError, match="warm_start continues with the classes 0, 1, 2, but y has 0, 1"):
        model.fit(x[y < 2], y[y < 2])
    with pytest.raises(
        ConfigError, match=r"the current network is 13-16-3 .*, but the parameters now describe 13-8-3 "
    ):
        model.set_params(hidden=8).fit(x, y)


@pytest.mark.parametrize("given", ["uint8", "float32", "int64", "float64"])
def test_rows_train_in_float32_unless_they_are_few(digits, given):
    x, y = digits[0].astype(given), digits[1]
    assert str(quick(epochs=2).fit(x, y).network_.dtype) == "float32"
    assert str(quick(epochs=2).fit(x[:200], y[:200]).network_.dtype) == "float64"
    assert str(quick(epochs=2).partial_fit(x[:200], y[:200], classes=np.arange(10)).network_.dtype) == "float32"
    for dtype in ("float32", "float64"):
        chosen = quick(epochs=2, settings={"dtype": dtype})
        assert str(chosen.fit(x, y).network_.dtype) == dtype
        assert str(chosen.fit(x[:200], y[:200]).network_.dtype) == dtype


def test_small_differences_of_large_values_are_learned_in_float32():
    # float32 has no value between 1e9 and 1e9 + 64. The values are scaled before they are rounded.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    x = 1e9 + np.column_stack([y + 0.2 * rng.standard_normal(400), rng.standard_normal(400)])
    model = quick(epochs=20).fit(x, y)
    assert str(model.network_.dtype) == "float32"
    assert model.score(x, y) > 0.97
    streamed = quick().partial_fit(x, y, classes=[0, 1])
    for _ in range(20):
        streamed.partial_fit(x, y)
    assert streamed.score(x, y) > 0.97


def test_images_are_scaled_as_pixels_and_can_be_augmented(digits):
    x, y = digits
    moved = {"shift_pixels": 1.0, "rotation_degrees": 10.0}
    model = quick(image_shape=(8, 8), hidden=64, epochs=60, learning_rate=0.01, dropout=0.0, settings=moved).fit(x, y)
    assert model.network_.image_shape == (8, 8)
    assert model.network_.scaling.scale == 16
    assert str(model.network_.dtype) == "float32"
    assert model.score(x, y) > 0.9
    bytes_ = (x * 15).astype(np.uint8)
    assert quick(image_shape=(8, 8)).fit(bytes_, y).network_.scaling.scale == 255
    with pytest.raises(ShapeError, match=r"image_shape must be .* with 64 pixels, one per column of X, got \(28, 28\)"):
        quick(image_shape=(28, 28)).fit(x, y)


def test_rows_do_without_the_augmentation_of_images(wine):
    recipe = chalknet.recipe("strong").with_settings(shift_pixels=2.0, erase=0.5)
    assert quick(recipe=recipe).fit(*wine).score(*wine) > 0.5


def test_parameters_may_be_numpys(wine):
    model = quick(hidden=np.array([8, 4]), epochs=np.int64(3), learning_rate=np.float32(0.01), batch_size=np.int32(50))
    model.fit(*wine)
    assert model.network_.architecture.hidden == (8, 4)
    assert model.n_iter_ == 3


def test_what_a_parameter_cannot_mean_is_said_in_one_line(wine):
    for changed, words in (
        ({"epochs": 0}, "epochs must be an integer >= 1, got 0"),
        ({"recipe": "stron"}, "unknown recipe 'stron'. Did you mean 'strong'"),
        ({"settings": {"epochs": 3}}, "settings must not hold 'epochs', which the parameter epochs sets"),
        ({"settings": {"class_weights": "balanced"}}, "the parameter class_weight sets"),
        ({"settings": {"mixpu": 3}}, "unknown setting 'mixpu'. Did you mean 'mixup'"),
        ({"settings": [3]}, r"settings must be a dict of recipe fields, or None, got \[3\]"),
        ({"settings": {"ensemble": 3, "folds": 2}}, "ensemble must be a multiple of folds 2, got 3"),
        ({"recipe": 3}, "recipe must be a recipe's name or a Recipe, got 3"),
        ({"image_shape": 13}, "image_shape must be .height, width. with 13 pixels, one per column of X, got 13"),
        ({"random_state": -1}, "seed must be an integer from 0"),
    ):
        with pytest.raises((ConfigError, ShapeError), match=words):
            quick(**changed).fit(*wine)
    with pytest.raises(DataError, match="X_val and y_val must be given together"):
        quick().fit(*wine, X_val=wine[0])
    with pytest.raises(DataError, match=r"y_val\[0\] is 9, which is not a class: 0, 1, 2"):
        quick().fit(*wine, X_val=wine[0], y_val=wine[1] + 9)
    with pytest.raises(DivergenceError, match=r"largest gradient .*: try learning_rate"):
        quick(learning_rate=1e30, optimizer="gradient_descent", activation="identity").fit(*wine)
    with pytest.raises(NotFittedError):
        quick().predict(wine[0])


def test_a_fit_that_fails_leaves_what_was_there(wine):
    fitted = quick().fit(*wine)
    before = fitted.predict_proba(wine[0])
    with pytest.raises(DivergenceError):
        fitted.set_params(learning_rate=1e300, optimizer="gradient_descent").fit(*wine)
    assert np.array_equal(fitted.predict_proba(wine[0]), before)
    with pytest.raises(DivergenceError):
        fitted.partial_fit(*wine)
    assert fitted.classes_.tolist() == [0, 1, 2]


def test_it_is_searched_calibrated_and_put_in_pipelines(wine):
    x, y = wine
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick()), {"chalkclassifier__epochs": np.array([1, 40])}, cv=3
    )
    assert search.fit(x, y).best_params_ == {"chalkclassifier__epochs": 40}
    calibrated = CalibratedClassifierCV(quick(), cv=3).fit(x, y)
    np.testing.assert_allclose(calibrated.predict_proba(x).sum(axis=1), 1)
    assert clone(quick(settings={"mixup": 0.2})).get_params()["settings"] == {"mixup": 0.2}


def test_it_survives_joblib(wine, tmp_path):
    joblib = pytest.importorskip("joblib")
    fitted = quick(recipe=chalknet.recipe("strong")).fit(*wine)
    joblib.dump(fitted, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    assert np.array_equal(again.predict_proba(wine[0]), fitted.predict_proba(wine[0]))


def test_its_network_can_be_saved_and_answers_the_same(wine, tmp_path):
    x, y = wine
    fitted = quick().fit(x, np.array(["a", "b\n", "c"])[y])
    chalknet.save_model(fitted.network_, tmp_path / "model.safetensors")
    network = chalknet.load_model(tmp_path / "model.safetensors")
    np.testing.assert_allclose(network.predict_proba(x), fitted.predict_proba(x), rtol=1e-12)
    assert network.class_names == ("a", r"'b\n'", "c")


def test_log_probabilities_are_finite_where_probabilities_are_0():
    x, y = load_iris(return_X_y=True)
    fitted = chalknet.ChalkClassifier(recipe="strong-rows", random_state=0).fit(x, y)  # does not clip inputs
    far = fitted.predict_log_proba(1e6 * x)
    assert np.isfinite(far).all()
    assert far.min() < -1000


def test_verbose_prints_a_line_an_epoch(wine, capsys):
    quick(epochs=2, verbose=True).fit(*wine, X_val=wine[0], y_val=wine[1])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:8] for line in lines] == ["epoch 1:", "epoch 2:"]
    assert "valid loss" in lines[0]


def test_without_scikit_learn_the_rest_works():
    code = (
        "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None; import chalknet; chalknet.train\n"
        "try: chalknet.ChalkClassifier\n"
        "except chalknet.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"ChalkClassifier needs scikit-learn >= 1.6: {install_command('sklearn')}."


def test_scikit_learn_is_loaded_by_its_name_alone():
    code = "import sys, chalknet; chalknet.train; chalknet.study; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_default_for_rows_is_a_calibrated_bag_of_five_folds(digits):
    x, y = digits
    fitted = chalknet.ChalkClassifier(random_state=0, epochs=20).fit(x, y)
    assert len(fitted.network_.members) == 5
    assert fitted.temperature_ > 0
    assert 0.7 < fitted.validation_score_ <= 1  # out of fold
    assert fitted.network_.architecture.layers[0].type == "smooth_clip"
    fast = chalknet.ChalkClassifier(random_state=0, epochs=1, budget="fast").fit(x, y)
    assert any("budget fast: 5 networks with 64 x 64 hidden units" in note for note in fast.notes_)
    one = chalknet.ChalkClassifier(random_state=0, epochs=1, hidden=8).fit(x, y)  # describes one network
    assert one.network_.members == (one.network_,)


def test_few_rows_train_one_network_and_more_a_bag(wine):
    x, y = wine
    some = np.arange(len(y)) % 3 == 0
    assert len(chalknet.ChalkClassifier(epochs=1).fit(x[some], y[some]).network_.members) == 1  # 60 samples
    assert len(chalknet.ChalkClassifier(epochs=1).fit(x, y).network_.members) == 5


def test_a_recipe_with_layers_takes_no_units(wine):
    with pytest.raises(
        ConfigError, match=r"rows has layers of its own, so it takes no hidden\. Use recipe='strong-rows'"
    ):
        chalknet.ChalkClassifier(recipe="rows", hidden=8).fit(*wine)
