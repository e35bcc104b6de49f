"""The classifiers that are compared, with their default settings on one thread.

A method is a function that returns a `Model` for a seed. `METHODS` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tabular.columns import MAX_CATEGORIES, Columns
from tabular.sets import require

# Folds of the bag of RealMLP networks.
BAG_FOLDS = 5


class Model(Protocol):
    """A classifier of a polars frame."""

    def fit(self, table: Any, labels: Any) -> Any:
        """Train.

        Args:
            table: polars frame.
            labels: (N,) integers in [0, K).
        """

    def predict_proba(self, table: Any) -> Any:
        """Return (N, K) probabilities."""


@dataclass(frozen=True)
class Method:
    """A classifier of the comparison.

    Attributes:
        module: the Python package that it needs.
        create: returns a new model for a seed.
    """

    module: str
    create: Callable[[int], Model]


@dataclass
class Prepared:
    """A classifier of another library with its columns prepared; both are learned in `fit`.

    Attributes:
        classifier: follows scikit-learn's interface.
        convert: turns a table into what the classifier takes.
        names_categories: the argument of the classifier's `fit` that names columns of categories, if any.
    """

    classifier: Any
    convert: Callable[[Columns, Any], Any]
    names_categories: str = ""

    def fit(self, table: Any, labels: Any) -> None:
        """Learn the columns, and train."""
        self.columns = Columns(table)
        named = {self.names_categories: list(self.columns.categories)} if self.names_categories else {}
        self.classifier.fit(self.convert(self.columns, table), labels, **named)

    def predict_proba(self, table: Any) -> Any:
        """Return (N, K) probabilities."""
        return self.classifier.predict_proba(self.convert(self.columns, table))


def as_matrix(columns: Columns, table: Any) -> Any:
    """Return scaled numbers and an input for each frequent category."""
    return columns.matrix(table)


def as_categories(columns: Columns, table: Any) -> Any:
    """Return a pandas frame with categories and missing values."""
    return columns.frame(table)


def as_few_categories(columns: Columns, table: Any) -> Any:
    """Return the same with at most MAX_CATEGORIES categories in a column."""
    return columns.frame(table, max_categories=MAX_CATEGORIES)


def as_filled(columns: Columns, table: Any) -> Any:
    """Return a pandas frame with categories, and medians for missing numbers."""
    return columns.frame(table, fill=True)


def as_texts(columns: Columns, table: Any) -> Any:
    """Return a pandas frame with texts for categories."""
    frame = columns.frame(table)
    for name in columns.categories:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "(unknown)")
    return frame


def logistic_regression(seed: int) -> Model:
    """Return scikit-learn's logistic regression with 1,000 iterations at most, since 100 do not suffice."""
    from sklearn.linear_model import LogisticRegression

    return Prepared(LogisticRegression(max_iter=1_000, random_state=seed), as_matrix)


def mlp(seed: int) -> Model:
    """Return scikit-learn's network."""
    from sklearn.neural_network import MLPClassifier

    return Prepared(MLPClassifier(random_state=seed), as_matrix)


def hist_gradient_boosting(seed: int) -> Model:
    """Return scikit-learn's gradient boosting on histograms."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return Prepared(HistGradientBoostingClassifier(random_state=seed), as_few_categories)


def lightgbm(seed: int) -> Model:
    """Return LightGBM."""
    from lightgbm import LGBMClassifier

    return Prepared(LGBMClassifier(random_state=seed, n_jobs=1, verbose=-1), as_categories)


def catboost(seed: int) -> Model:
    """Return CatBoost."""
    from catboost import CatBoostClassifier

    classifier = CatBoostClassifier(random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False)
    return Prepared(classifier, as_texts, names_categories="cat_features")


def realmlp(seed: int, n_cv: int = 1) -> Model:
    """Return RealMLP-TD of pytabkit: one network, or a bag of networks from cross-validation folds."""
    from pytabkit import RealMLP_TD_Classifier

    classifier = RealMLP_TD_Classifier(device="cpu", random_state=seed, n_cv=n_cv, n_threads=1, verbosity=0)
    return Prepared(classifier, as_filled, names_categories="cat_col_names")


def tabm(seed: int) -> Model:
    """Return TabM of pytabkit."""
    from pytabkit import TabM_D_Classifier

    classifier = TabM_D_Classifier(device="cpu", random_state=seed, n_threads=1, verbosity=0)
    return Prepared(classifier, as_filled, names_categories="cat_col_names")


def chalk(seed: int, **settings: Any) -> Model:
    """Return `ChalkClassifier` with these settings; it takes the frame as it is."""
    import chalknet

    return chalknet.ChalkClassifier(random_state=seed, n_jobs=1, **settings)


METHODS = {
    "chalknet-fast": Method("chalknet", lambda seed: chalk(seed, budget="fast")),
    "chalknet-default": Method("chalknet", chalk),
    "chalknet-best": Method("chalknet", lambda seed: chalk(seed, budget="best")),
    "chalknet-strong-rows": Method("chalknet", lambda seed: chalk(seed, recipe="strong-rows")),
    "logistic": Method("sklearn", logistic_regression),
    "mlp": Method("sklearn", mlp),
    "hist-gradient-boosting": Method("sklearn", hist_gradient_boosting),
    "lightgbm": Method("lightgbm", lightgbm),
    "catboost": Method("catboost", catboost),
    "realmlp": Method("pytabkit", realmlp),
    "realmlp-bag": Method("pytabkit", lambda seed: realmlp(seed, BAG_FOLDS)),
    "tabm": Method("pytabkit", tabm),
}


def create(name: str, seed: int) -> Model:
    """Return a new model.

    Raises:
        MissingPackageError: the package of the method is not installed.
    """
    require(METHODS[name].module, f"method {name}")
    return METHODS[name].create(seed)
