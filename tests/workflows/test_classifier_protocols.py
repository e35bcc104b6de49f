"""`ChalkClassifier` in scikit-learn's protocols: scorers, callbacks, metadata routing, the link of its HTML."""

from __future__ import annotations

import inspect
from email.message import Message

import numpy as np
import polars as pl
import pytest

import chalknet
from chalknet.errors import ConfigError

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:400], y[:400]


@pytest.fixture(scope="module")
def halves(digits):
    """Training samples and labels, and those of validation as keywords of fit."""
    x, y = digits
    return (x[:200], y[:200]), {"X_val": x[200:], "y_val": y[200:]}


def quick(**changed):
    return chalknet.ChalkClassifier(
        **{"hidden": (16,), "epochs": 8, "random_state": 0, "early_stopping": True, **changed}
    )


# ---- scorers as monitors


@pytest.mark.parametrize("scoring", ["balanced_accuracy", "neg_log_loss", "roc_auc_ovr"])
def test_early_stopping_watches_a_scorer_by_name(halves, scoring):
    train, valid = halves
    fitted = quick(scoring=scoring).fit(*train, **valid)
    assert len(fitted.scoring_curve_) == fitted.n_iter_
    assert fitted.scoring_curve_[fitted.best_epoch_ - 1] == max(fitted.scoring_curve_)
    score = sklearn.metrics.get_scorer(scoring)(fitted, valid["X_val"], valid["y_val"])
    assert score == pytest.approx(max(fitted.scoring_curve_), rel=1e-5)


def test_a_function_can_be_the_monitor(halves):
    train, valid = halves
    wanted = iter([0.1, 0.5, 0.3, 0.2, 0.4, 0.1, 0.2, 0.3])
    seen = []

    def scoring(classifier, x, y):
        seen.append(balanced_accuracy_score(y, classifier.predict(x)))
        return next(wanted)

    fitted = quick(scoring=scoring, patience=100).fit(*train, **valid)
    assert fitted.best_epoch_ == 2
    assert seen[1] == pytest.approx(balanced_accuracy_score(valid["y_val"], fitted.predict(valid["X_val"])))


def test_patience_counts_epochs_without_a_better_score(halves):
    train, valid = halves
    fitted = quick(scoring=lambda *_: 1.0, patience=2).fit(*train, **valid)
    assert fitted.n_iter_ == 4  # half of the epochs, which early stopping never cuts


def test_a_scorer_gets_weights_where_training_has_them(digits):
    x, y = digits
    weights = {label: 1.0 + 10 * (label == 0) for label in range(10)}
    fitted = quick(scoring="neg_log_loss", class_weight=weights).fit(x[:200], y[:200], X_val=x[200:], y_val=y[200:])
    kept = fitted.predict_proba(x[200:])
    expected = -log_loss(y[200:], kept, sample_weight=[weights[label] for label in y[200:]])
    assert max(fitted.scoring_curve_) == pytest.approx(expected, rel=1e-5)


def test_a_scorer_watches_every_network_of_a_bag(digits):
    fitted = quick(settings={"ensemble": 2, "folds": 2}, scoring="balanced_accuracy").fit(*digits)
    assert len(fitted.scoring_curve_) == fitted.n_iter_
    assert quick().fit(*digits).scoring_curve_ == []


def test_frames_with_categories_are_scored():
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"city": rng.choice(["Oslo", "Rome"], 300), "age": rng.normal(size=300)})
    fitted = quick(scoring="accuracy").fit(table, table["city"] == "Oslo")
    assert max(fitted.scoring_curve_) == 1.0


def test_a_scorer_that_does_not_exist_is_refused(halves):
    train, valid = halves
    with pytest.raises(ValueError, match="scoring"):
        quick(scoring="acuracy").fit(*train, **valid)
    with pytest.raises(ConfigError, match="scoring must return finite numbers, got nan after epoch 1"):
        quick(scoring=lambda *_: float("nan")).fit(*train, **valid)


# ---- callbacks of scikit-learn 1.9


class Recorder:
    """A callback that notes what it is called with."""

    def __init__(self, stop_after=10**9):
        self.said, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        assert context.max_subtasks >= 2
        self.said.append(f"setup {type(estimator).__name__}")

    def teardown(self, estimator, context):
        del estimator, context
        self.said.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        del estimator
        self.said.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):  # noqa: N803
        del estimator
        self.said.append(f"end {context.task_name} {context.task_id}")
        if context.task_name == "epoch":
            self.accuracy = fitted_estimator.score(X, y)
        return context.task_name == "epoch" and context.task_id + 1 >= self.stop_after


def with_callback(classifier, callback):
    pytest.importorskip("sklearn.callback")
    return classifier.set_callbacks(callback)


def test_callbacks_see_each_epoch(digits):
    recorder = Recorder()
    fitted = with_callback(quick(epochs=2, early_stopping=False), recorder).fit(*digits)
    epochs = [f"{when} epoch {at}" for at in range(2) for when in ("begin", "end")]
    assert recorder.said == ["setup ChalkClassifier", "begin fit 0", *epochs, "end fit 0", "teardown"]
    assert recorder.accuracy == fitted.score(*digits)


def test_callbacks_see_each_network_of_a_bag(digits):
    recorder = Recorder()
    bag = quick(epochs=2, early_stopping=False, settings={"ensemble": 2, "folds": 2})
    with_callback(bag, recorder).fit(*digits)
    networks = [said for said in recorder.said if "network" in said]
    assert networks == ["begin network 0", "end network 0", "begin network 1", "end network 1"]
    assert sum("end epoch" in said for said in recorder.said) == 4


def test_a_callback_can_stop_the_training(digits):
    fitted = with_callback(quick(epochs=30, early_stopping=False), Recorder(stop_after=3)).fit(*digits)
    assert fitted.n_iter_ == 3


def test_callbacks_are_torn_down_after_an_error(digits):
    recorder = Recorder()
    classifier = with_callback(quick(learning_rate=1e30, optimizer="gradient_descent"), recorder)
    with pytest.raises(chalknet.DivergenceError):
        classifier.fit(*digits)
    assert recorder.said[-1] == "teardown"
    assert not hasattr(classifier, "_callback_fit_ctx")


def test_scikit_learns_own_callbacks_work(digits):
    callbacks = pytest.importorskip("sklearn.callback")
    monitor = callbacks.ScoringMonitor(scoring="accuracy")
    fitted = quick(epochs=3, early_stopping=False).set_callbacks(monitor, callbacks.ProgressBar()).fit(*digits)
    epochs = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 3
    assert epochs[-1] == fitted.score(*digits)


def test_frames_of_categories_reach_callbacks_as_they_are():
    table = pl.DataFrame({"city": ["Oslo", "Rome"] * 100})
    recorder = Recorder()
    fitted = with_callback(quick(epochs=40, early_stopping=False), recorder).fit(table, [0, 1] * 100)
    assert recorder.accuracy == fitted.score(table, [0, 1] * 100) == 1.0


# ---- metadata routing


def test_fit_takes_weights_in_scikit_learns_order():
    names = list(inspect.signature(chalknet.ChalkClassifier.fit).parameters.values())
    assert [name.name for name in names] == ["self", "X", "y", "sample_weight", "X_val", "y_val"]
    assert [name.name for name in names if name.kind is name.KEYWORD_ONLY] == ["X_val", "y_val"]


def test_a_pipeline_routes_weights_and_transforms_validation_samples(halves):
    (x, y), valid = halves
    weights = np.linspace(0.5, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        last = quick().set_fit_request(sample_weight=True, X_val=True, y_val=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        steps = Pipeline([("scale", scaler), ("net", last)], transform_input=["X_val"])
        fitted = steps.fit(x, y, sample_weight=weights, **valid)
    scale = StandardScaler().fit(x)
    alone = quick().fit(scale.transform(x), y, weights, X_val=scale.transform(valid["X_val"]), y_val=valid["y_val"])
    assert np.array_equal(fitted.predict_proba(x), alone.predict_proba(scale.transform(x)))


def test_cross_validation_routes_weights(digits):
    x, y = digits
    weights = np.linspace(0.5, 2, len(y))
    plain = quick(early_stopping=False)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(plain).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        splits = [(np.arange(200), np.arange(200, 400))]
        found = cross_validate(routed, x, y, params={"sample_weight": weights}, cv=splits)
    expected = plain.fit(x[:200], y[:200], weights[:200]).score(x[200:], y[200:], weights[200:])
    assert found["test_score"].tolist() == [expected]


# ---- the link of the HTML representation


def test_the_html_links_to_the_documentation(monkeypatch):
    told = Message()
    told["Project-URL"] = "Documentation, https://docs.example/chalknet/"
    monkeypatch.setattr("chalknet.workflows.classifier.metadata", lambda _: told)
    page = quick()._repr_html_()
    assert 'href="https://docs.example/chalknet/reference/python.html#chalknet.ChalkClassifier"' in page


def test_without_an_address_there_is_no_link(monkeypatch):
    monkeypatch.setattr("chalknet.workflows.classifier.metadata", lambda _: Message())
    assert clone(quick())._get_doc_link() == ""
    assert LogisticRegression()._get_doc_link() != ""
