"""`ChalkClassifier`: a network with scikit-learn's estimator interface."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from importlib.metadata import PackageNotFoundError, metadata
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from chalknet.checked import short
from chalknet.config import COLUMN_CHOICES, USUAL_TABLE, Recipe, TableOptions
from chalknet.data.color import N_COLORS, with_usual_channels
from chalknet.data.preprocess import Scaling, flatten
from chalknet.data.splits import Splits
from chalknet.data.tables.encoding import TableEncoding, find_encoding
from chalknet.data.tables.frames import as_frame, column_labels, columns_of_rows, has_missing, is_frame
from chalknet.data.tables.texts import with_nulls
from chalknet.errors import ConfigError, DataError, MissingExtraError, ShapeError
from chalknet.formatting import count_of, for_reader, is_or_are, listed, quoted
from chalknet.network.arrays import FloatArray
from chalknet.network.model import Ensemble, Network
from chalknet.network.softmax import log_softmax, softmax
from chalknet.records import EpochRecord
from chalknet.training.callbacks import EpochCallback
from chalknet.training.notes import ignored_input_notes, untrained_class_note
from chalknet.training.recipes import MIN_VALID
from chalknet.training.sample_weights import relative_weights
from chalknet.training.trainer import Trainer
from chalknet.version import install_command
from chalknet.workflows.classifier_recipe import FIELD_OF_PARAMETER, classifier_recipe
from chalknet.workflows.classifier_samples import (
    NamedColumns,
    WeightedSamples,
    class_indices,
    class_weights_by_label,
    count_of_fraction,
    exact_labels,
    fit_weighted_scaling,
    printable_class_names,
    resolve_class_weights,
    stratified_splits,
    train_on_all,
    weighted_samples,
)
from chalknet.workflows.classifier_training import FitResult, PartialFitState, train_all_epochs, train_single_epoch
from chalknet.workflows.ensemble import mean_record

# scikit-learn is imported here because the class inherits from it. This module itself is imported only
# when chalknet.ChalkClassifier is first used.
try:
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.metrics import check_scoring
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        _get_feature_names,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as _error:
    raise MissingExtraError(f"ChalkClassifier needs scikit-learn >= 1.6: {install_command('sklearn')}.") from _error

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for that of scikit-learn, which has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method in a wrapper, so that warnings name the same caller as with scikit-learn's."""

        @wraps(method)
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            return method(*arguments, **keywords)

        return wrapped


Method = TypeVar("Method", bound=Callable[..., Any])
TABLE_PARAMETERS = (*COLUMN_CHOICES, "missing", "decimal")
SAMPLE_TYPES = (np.float64, np.float32, np.uint8)  # other dtypes are converted to the first


def _all_or_nothing(method: Method) -> Method:
    """Return a method that restores the object's attributes if it raises."""

    @wraps(method)
    def wrapped(self: ChalkClassifier, *arguments: Any, **keywords: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *arguments, **keywords)
        except BaseException:
            self.__dict__ = before
            raise

    return cast(Method, wrapped)


def _with_callbacks(method: Method) -> Method:
    """Return a method around which scikit-learn's callbacks are set up and torn down."""
    return cast(Method, with_callbacks(method))


class ChalkClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A neural-network classifier that scikit-learn can clone, search and put into pipelines.

    A parameter that is None keeps the recipe's value. For rows of numbers, the recipe "strong" is
    `chalknet.recipe("rows")`: five networks from cross-validation folds, whose averaged
    probabilities are calibrated (docs/recipes/rows.md). If hidden, activation, batch_norm, dropout or
    settings["layers"] describes a network, and for up to 60 samples, it is
    `chalknet.recipe("strong-rows")`: one hidden layer of 128 units on inputs scaled to mean 0 and
    standard deviation 1, trained with mini-batches and input dropout. With up to 200 samples, that
    recipe trains in full batches without input dropout and computes in float64, so that a sample
    weight of 2 is the same as a sample given twice. Otherwise recipes compute in float32; float64
    values are scaled in float64 first. To choose the float type, give settings={"dtype": "float64"}
    or "float32". With image_shape, "strong" is "images", or
    "strong-dense" if hidden, activation, batch_norm or dropout is given. Other recipes are used as
    they are, except that rows are never augmented as images, and with up to 200 samples all networks
    of an ensemble train on all samples, without folds and calibration. partial_fit trains one
    network.

    Args:
        recipe: a recipe's name, or a `Recipe`.
        hidden: units of each hidden layer, or one number.
        activation: as the recipe's field of this name (docs/file_formats.md).
        batch_norm: as the recipe's field.
        dropout: as the recipe's field.
        learning_rate: as the recipe's field.
        optimizer: as the recipe's field.
        weight_decay: as the recipe's field.
        l2: as the recipe's field.
        batch_size: as the recipe's field.
        epochs: as the recipe's field.
        class_weight: None, "balanced", or a dict of weights by label; labels left out have weight 1.
        validation_fraction: fraction of the samples set aside for early stopping when no X_val is
            given.
        early_stopping: whether to stop when the validation scores no longer improve, and to keep the
            best epoch. None: as the recipe says, and never with fewer than 200 validation samples;
            none are then set aside. The samples of all folds are validation samples. If a class has
            too few samples to set one aside, all samples train.
        patience: as the recipe's field.
        warm_start: whether fit continues from the current network, which must have the same classes and
            shape.
        random_state: an int, which is the recipe's seed, a RandomState, or None for NumPy's global one.
            Equal ints give equal bits on one machine.
        n_jobs: threads, as in scikit-learn: None for 1, -1 for all. Results do not depend on it.
        verbose: whether to print a line per epoch.
        image_shape: (H, W) if each row of X is an image, row of pixels by row of pixels, or (H, W, 3)
            if it is a color image. X may then also be (N, H, W) or (N, H, W, 3). uint8 values are divided
            by 255, other images by the largest value of the training samples.
        settings: other fields of the recipe as a dict, such as {"layers": [...]} for a network layer by
            layer, or {"ensemble": 5, "folds": 5, "calibrate": True} for five networks on
            cross-validation folds, whose averaged probabilities are calibrated. With calibrate and
            without folds, validation_fraction is set aside.
        budget: "fast", "default" or "best", or a number of seconds of CPU time: how much time a recipe
            given by name takes. Other parameters and settings win.
        table: how the columns of a frame are read, as a dict of options of `chalknet.load_data`: drop,
            keep, categorical, numeric, missing, decimal. For example {"categorical": ["Pclass"]}.
        scoring: what early stopping watches on the validation samples: a scorer of scikit-learn by name,
            such as "balanced_accuracy" or "neg_log_loss", or a function (classifier, X, y) -> number, where
            greater is better. The classifier predicts X, rows of numbers. None: the validation accuracy
            or loss, as the recipe says.

    Attributes:
        classes_: (K,) labels, sorted.
        n_features_in_: as in scikit-learn.
        feature_names_in_: as in scikit-learn.
        encoding_: the `TableEncoding` of a frame that has other columns than numbers, or is read with
            `table`, and of any samples with missing values; otherwise None. The columns of an array
            have the names x0, x1, ... in it.
        network_: the `Network` or `Ensemble`, which `chalknet.save_model` writes; None if y has a single
            class, which is then always predicted.
        history_: one `EpochRecord` per epoch; of an ensemble the mean over its networks, up to the
            shortest training.
        n_iter_: number of epochs in history_.
        best_epoch_: the epoch whose weights are kept, from 1 on; of an ensemble the rounded mean over
            its networks, at most n_iter_.
        validation_score_: accuracy of network_ on the validation samples, in [0, 1]. With folds, each
            sample is predicted by the networks that did not train on it. None without validation
            samples.
        temperature_: what the logits were divided by to calibrate them; None if they were not.
        loss_curve_: mean training loss of each epoch in nats per sample, taken before each update.
        validation_curve_: validation accuracy after each epoch, in [0, 1]; empty without validation
            samples.
        scoring_curve_: the score by `scoring` after each epoch; of an ensemble the mean, up to the shortest
            training. Empty without `scoring` or without validation samples.
        notes_: notes on the samples, for example on columns that are left out or ignored.
    """

    def __init__(
        self,
        *,
        recipe: str | Recipe = "strong",
        hidden: Any = None,
        activation: Any = None,
        batch_norm: bool | None = None,
        dropout: float | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        weight_decay: float | None = None,
        l2: float | None = None,
        batch_size: int | str | None = None,
        epochs: int | None = None,
        class_weight: str | Mapping[Any, float] | None = None,
        validation_fraction: float = 0.1,
        early_stopping: bool | None = None,
        patience: int | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
        image_shape: tuple[int, ...] | None = None,
        settings: Mapping[str, Any] | None = None,
        budget: str | float | None = None,
        table: Mapping[str, Any] | None = None,
        scoring: Any = None,
    ) -> None:
        """Store the parameters unchanged, as scikit-learn requires; fit checks them."""
        self.recipe = recipe
        self.hidden = hidden
        self.activation = activation
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.l2 = l2
        self.batch_size = batch_size
        self.epochs = epochs
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.patience = patience
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.image_shape = image_shape
        self.settings = settings
        self.budget = budget
        self.table = table
        self.scoring = scoring

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that samples may have missing values."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    _doc_link_module = "chalknet"

    @property
    def _doc_link_template(self) -> str:
        """The page of the documentation that scikit-learn's HTML of an estimator links to; "" if it has no address."""
        address = _documentation_address()
        return f"{address.rstrip('/')}/reference/python.html#chalknet.{{estimator_name}}" if address else ""

    @_all_or_nothing
    @_with_callbacks
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> ChalkClassifier:
        """Train a network from new weights, or with warm_start from the current ones.

        Callbacks of scikit-learn 1.9 (`set_callbacks`) see a task "epoch" for each epoch, and for an ensemble
        within a task "network" for each network.

        Args:
            X: (N, I) numbers: an array, a list of rows, a pandas or polars frame; not sparse. NaN is a
                missing value; images cannot have one. A frame can also have columns of categories and
                dates; see `encoding_`. All columns of numbers are used. Columns of texts that are ids
                or free text are left out, with a warning.
            y: (N,) labels: numbers, booleans or strings.
            sample_weight: (N,) numbers >= 0, the weights of the samples; 0 removes a sample.
            X_val: validation samples for early stopping and `validation_curve_`, instead of a fraction
                of X.
            y_val: labels of X_val.

        Returns:
            The classifier itself.

        Raises:
            ValueError: X, y or sample_weight cannot be used, as scikit-learn says. ConfigError,
                DataError and ShapeError are ValueErrors.
            DivergenceError: the loss is no longer finite.
        """
        goes_on = self.warm_start and hasattr(self, "classes_")
        given = (X, y, sample_weight)
        X, y = self._validated(X, y, reset=not goes_on)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if goes_on:
            self._check_same_classes(classes, "y has", "warm_start continues with")
        recipe, notes = self._resolve_recipe(X, len(classes), self._draw_seed())
        # The same samples are set aside when training goes on, so that none of them has trained.
        split_seed = self._split_seed if goes_on else recipe.training.seed
        recipe = recipe.with_settings(split="stratified", split_seed=split_seed)
        samples, class_weights = self._weighted_samples(X, labels, classes, recipe, sample_weight)
        watched = self._validation_samples(X_val, y_val, classes, class_weights)
        samples, splits, recipe, more = self._split_samples(samples, watched, recipe)
        start = self._networks_to_continue(recipe) if goes_on else ()
        if len(classes) < 2:
            return self._store_fit(classes, None, split_seed=split_seed)
        self._check_trained(classes, samples.labels[splits.train])
        scaling = self._scaling(samples.subset(splits.train), recipe, start)
        monitor = _FitMonitor(self, classes, scaling, recipe, given)
        fitted = train_all_epochs(
            samples,
            splits,
            recipe,
            scaling,
            printable_class_names(classes),
            start=start,
            workers=effective_n_jobs(self.n_jobs),
            watch=monitor.watch,
        )
        fitted = replace(fitted, notes=(*notes, *more, *fitted.notes), scoring_curve=monitor.mean_curve())
        self._store_fit(classes, fitted, split_seed=split_seed)
        monitor.end()
        return self

    @_all_or_nothing
    @_with_callbacks
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> ChalkClassifier:
        """Train one epoch on these samples, at a constant learning rate and without validation.

        One network is trained, whatever `ensemble` and `folds` are, and probabilities are not
        calibrated. After fit, each of its networks is trained further. The optimizer's state is kept
        from call to call and reset after fit. The input scaling is fitted to the samples of the first
        call and then kept.

        Args:
            X: as in fit.
            y: as in fit.
            classes: all labels that will ever occur; required in the first call only.
            sample_weight: as in fit; weights are relative within a call.

        Returns:
            The classifier itself.

        Raises:
            ConfigError: classes are missing or differ from before, or class_weight is "balanced".
            ValueError: as in fit.
        """
        first = not hasattr(self, "classes_")
        X, y = self._validated(X, y, reset=first)
        check_classification_targets(y)
        known = self._known_classes(classes)
        progress: tuple[PartialFitState, ...] = () if first else self._progress
        recipe, notes = self._resolve_recipe(
            X, len(known), progress[0].seed if progress else self._draw_seed(), is_partial=True
        )
        samples, _ = self._weighted_samples(
            X, class_indices(y, known, "y"), known, recipe, sample_weight, all_at_once=False
        )
        networks, history = ((), ()) if first or self.network_ is None else (self.network_.members, self.history_)
        if len(known) < 2:
            return self._store_fit(known, None)
        if networks:
            recipe = recipe.with_settings(dtype=str(networks[0].dtype))
        scaling = self._scaling(samples, recipe, networks)
        trained = [
            train_single_epoch(
                samples,
                recipe.with_settings(seed=(recipe.training.seed + k) % 2**32),
                # A column that is constant in the first call may vary in later ones, so it is not ignored.
                scaling if networks else scaling.without_ignored(),
                printable_class_names(known),
                progress[k] if progress else None,
                start=networks[k] if networks else None,
                workers=effective_n_jobs(self.n_jobs),
            )
            for k in range(max(1, len(networks)))
        ]
        record = replace(mean_record([record for _, record, _ in trained]), epoch=len(history) + 1)
        if self.verbose:
            _print_line(record)
        network = trained[0][0] if len(trained) == 1 else Ensemble(tuple(one for one, _, _ in trained))
        fitted = FitResult(network, (*history, record), record.epoch, notes=notes)
        return self._store_fit(known, fitted, tuple(state for _, _, state in trained))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the (N,) most probable labels of samples; X as in fit."""
        best = self._logits(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on samples with these labels; X as in fit."""
        return float(super().score(X, exact_labels(y), sample_weight))

    def predict_proba(self, X: Any) -> FloatArray:
        """Return (N, K) float64 probabilities, columns in the order of `classes_`; X as in fit."""
        return softmax(self._logits(X))[0]

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return (N, K) float64 log-probabilities, finite even where probabilities round to 0."""
        return log_softmax(self._logits(X))

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the (N,) log-odds of the second of two classes, or (N, K) logits; float64."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """Return (N, K) logits, or zeros for a single class."""
        check_is_fitted(self)
        X, _ = self._validated(X)
        if self.network_ is None:
            return np.zeros((len(X), 1))
        logits: NDArray[np.float64] = self.network_.logits(X).astype(np.float64)
        return logits

    def _validated(self, X: Any, y: Any = None, *, reset: bool = False) -> tuple[Any, Any]:
        """Return X as an array of numbers and y as an array, checked as scikit-learn checks them.

        A frame with other columns than numbers is encoded, and samples with missing values are.

        Args:
            X: as in fit.
            y: the labels, or None.
            reset: whether X determines the columns, as in fit.
        """
        X = self._as_rows(X)
        if not is_frame(X):
            if not reset and self.encoding_ is not None and hasattr(self, "feature_names_in_"):
                raise DataError(
                    "X must be a frame with the columns of the training samples, "
                    f"{quoted(self.encoding_.names)}, got {type(X).__name__}."
                )
            X, y = self._checked_arrays(X, y, reset)
        if reset:
            self._find_encoding(X)
        if self.encoding_ is None:
            if not reset:
                self._refuse_missing(X)
            return self._checked_arrays(X, y, reset) if is_frame(X) else (X, y)
        if is_frame(X):
            validate_data(self, _with_names(X), skip_check_array=True, reset=reset)
        rows, notes = self.encoding_.encode(as_frame(X if is_frame(X) else columns_of_rows(X), "X"), "X")
        for note in () if reset else notes:
            warnings.warn(note, stacklevel=4)
        if y is not None:
            y = column_or_1d(exact_labels(y), warn=True)
            check_consistent_length(rows, y)
        return rows, y

    def _as_rows(self, X: Any) -> Any:
        """Return images of `image_shape` as rows; other samples are returned unchanged."""
        if self.image_shape is None or is_frame(X) or np.ndim(X) not in (3, 4):
            return X
        images, _ = with_usual_channels(np.asarray(X))
        return flatten(images) if images.shape[1:] == tuple(self.image_shape) else X

    def _checked_arrays(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Return X as an array of numbers, in which NaN is a missing value, and y as an array."""
        checks: dict[str, Any] = {"dtype": SAMPLE_TYPES, "order": "C", "reset": reset}
        checks["ensure_all_finite"] = "allow-nan" if self.image_shape is None else True
        X = _with_names(X)
        if y is None:
            return validate_data(self, X, **checks), None
        found: tuple[Any, Any] = validate_data(self, X, exact_labels(y), **checks)
        return found

    def _find_encoding(self, X: Any) -> None:
        """Find how the columns of samples become inputs, and warn of columns that are left out.

        An array has an encoding if it has missing values.
        """
        table = dict(self.table or {})
        unknown = next((name for name in table if name not in TABLE_PARAMETERS), None)
        if unknown is not None:
            raise ConfigError(f"table may have {listed(TABLE_PARAMETERS)}, got {short(unknown)}.")
        if table and not is_frame(X):
            raise ConfigError(f"table is for frames, but X is {type(X).__name__}. Leave it out.")
        samples = columns_of_rows(X) if not is_frame(X) and has_missing(X) else X
        self.encoding_: TableEncoding | None
        self.encoding_, found = find_encoding(samples, TableOptions(**table))
        self._table_notes = tuple(map(for_reader, found))
        if self._table_notes:
            warnings.warn(" ".join(self._table_notes), stacklevel=6)

    def _refuse_missing(self, X: Any) -> None:
        """Raise DataError for missing values in numbers, if training had none."""
        if not is_frame(X) and not has_missing(X):
            return
        frame = as_frame(X if is_frame(X) else columns_of_rows(X), "X")
        names = [name for name in frame.columns if with_nulls(frame[name], USUAL_TABLE).null_count()]
        if names:
            raise DataError(
                f"X has missing values in {quoted(names)}, and the training samples had none. Fill them, or fit on "
                "samples that have missing values."
            )

    def _store_fit(
        self,
        classes: NDArray[Any],
        fitted: FitResult | None,
        progress: tuple[PartialFitState, ...] = (),
        split_seed: int = 0,
    ) -> ChalkClassifier:
        """Set all fitted attributes. This is the last step, so that a failed fit changes nothing.

        Args:
            classes: the classes.
            fitted: what was trained; None for a single class.
            progress: the state of each network in partial_fit.
            split_seed: seed of the validation split and of the folds.
        """
        network = None if fitted is None else fitted.network
        history = () if fitted is None else fitted.history
        names = getattr(self, "feature_names_in_", ()) if self.encoding_ is None else self.encoding_.input_names
        if network is not None and network.encoding != self.encoding_:
            network = _with_encoding(network, self.encoding_, tuple(names))
        self.classes_: NDArray[Any] = classes
        self.network_: Network | Ensemble | None = network
        self.history_: tuple[EpochRecord, ...] = history
        self._progress, self._split_seed = progress, split_seed
        self.n_iter_: int = len(history)
        self.best_epoch_: int = 0 if fitted is None else fitted.best_epoch
        self.loss_curve_: list[float] = [record.train.loss for record in history]
        self.validation_curve_: list[float] = [record.valid.accuracy for record in history if record.valid is not None]
        self.validation_score_: float | None = None if fitted is None else fitted.validation_score
        self.temperature_: float | None = None if fitted is None else fitted.temperature
        self.scoring_curve_: list[float] = [] if fitted is None else list(fitted.scoring_curve)
        ignored = () if network is None else ignored_input_notes(network.scaling, names)
        self.notes_: tuple[str, ...] = (*self._table_notes, *ignored, *(() if fitted is None else fitted.notes))
        for note in self.notes_ if self.verbose else ():
            print(note)
        return self

    def _resolve_recipe(
        self, X: NDArray[Any], n_classes: int, seed: int, is_partial: bool = False
    ) -> tuple[Recipe, tuple[str, ...]]:
        """Return the recipe for these samples, and notes about it; see `classifier_recipe`."""
        shape = self.image_shape
        has_axes = shape is None or np.shape(shape) == (2,) or (np.shape(shape) == (3,) and shape[2] == N_COLORS)
        if not has_axes or (shape is not None and np.prod(shape) != self.n_features_in_):
            raise ShapeError(
                f"image_shape must be (height, width) with {self.n_features_in_} pixels, one per column of X, "
                f"got {shape!r}. For color images it is (height, width, 3). Leave it out if rows are not images."
            )
        parameters = {name: getattr(self, name) for name in FIELD_OF_PARAMETER}
        return classifier_recipe(
            self.recipe,
            parameters,
            self.settings,
            rows=X,
            n_classes=n_classes,
            image_shape=shape,
            seed=seed,
            budget=self.budget,
            encoding=self.encoding_,
            is_partial=is_partial,
        )

    def _networks_to_continue(self, recipe: Recipe) -> tuple[Network, ...]:
        """Return the current networks, with which warm_start continues."""
        networks = () if self.network_ is None else self.network_.members
        if networks and len(networks) != recipe.training.ensemble:
            raise ConfigError(
                f"warm_start continues with {count_of(len(networks), 'network')}, but the parameters now describe "
                f"{recipe.training.ensemble}. Leave them unchanged, or start again with warm_start=False."
            )
        return networks

    def _scaling(self, samples: WeightedSamples, recipe: Recipe, start: Sequence[Network]) -> Scaling:
        """Return the scaling of the networks to continue from, or one fitted to the samples."""
        if start:
            return start[0].scaling
        found = fit_weighted_scaling(recipe.network.input_scaling, samples, self.encoding_ is not None)
        return found.without_groups(recipe.network.category_inputs, samples.rows.shape[1])

    def _draw_seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _weighted_samples(
        self,
        X: NDArray[Any],
        labels: NDArray[Any],
        classes: NDArray[Any],
        recipe: Recipe,
        sample_weight: Any,
        all_at_once: bool = True,
    ) -> tuple[WeightedSamples, NDArray[np.float64] | None]:
        """Return the samples with a weight above 0, and the weight of each class."""
        class_weight = self.class_weight
        if class_weight is None:
            class_weight = class_weights_by_label(recipe.regularization.class_weights, classes)
        if isinstance(class_weight, str) and not all_at_once:
            raise ConfigError(
                "class_weight must be a dict by label for partial_fit, which does not see all samples, got "
                f"{class_weight!r}."
            )
        counts = None
        if sample_weight is not None:
            counts = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            counts = relative_weights(counts) if counts.any() else counts
        class_weights = resolve_class_weights(class_weight, classes, labels, counts)
        return weighted_samples(X, labels, counts, class_weights, self.image_shape), class_weights

    def _validation_samples(
        self, X_val: Any, y_val: Any, classes: NDArray[Any], class_weights: NDArray[np.float64] | None
    ) -> WeightedSamples | None:
        """Return the validation samples that were passed to fit, or None."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            raise DataError("X_val and y_val must be given together.")
        X_val, y_val = self._validated(X_val, exact_labels(y_val, "y_val"))
        return weighted_samples(X_val, class_indices(y_val, classes, "y_val"), None, class_weights, self.image_shape)

    def _split_samples(
        self, samples: WeightedSamples, watched: WeightedSamples | None, recipe: Recipe
    ) -> tuple[WeightedSamples, Splits, Recipe, list[str]]:
        """Return all samples, their splits, the recipe and notes.

        The recipe may lose early stopping, because few samples validate, and its folds, because
        validation samples were given.
        """
        everything = train_on_all(len(samples))
        notes: list[str] = []
        if watched is not None:
            recipe, notes = self._without_folds(recipe)
            recipe, more = self._choose_by(len(watched), recipe)
            splits = train_on_all(len(samples), len(watched))
            return samples.concatenate(watched), splits, recipe, [*notes, *more]
        if recipe.training.folds:
            return samples, everything, *self._choose_by(len(samples), recipe)
        found, calibrates = None, recipe.training.calibrate
        if recipe.stopping.stop_early or calibrates:
            n_valid = count_of_fraction(self.validation_fraction, len(samples))
            recipe, notes = self._choose_by(n_valid, recipe)
            if recipe.stopping.stop_early or calibrates:
                found = stratified_splits(samples.labels, self.validation_fraction, recipe.split.split_seed)
        if found is not None:
            return samples, found, recipe, notes
        if self.early_stopping:
            warnings.warn(
                f"early_stopping needs at least two samples of each class to set some aside, and these {len(samples)} "
                "samples have fewer. All of them train, without early stopping. Give X_val and y_val.",
                stacklevel=5,
            )
        return samples, everything, recipe.with_settings(stop_early=False), notes

    def _without_folds(self, recipe: Recipe) -> tuple[Recipe, list[str]]:
        """Return the recipe without folds, and a note if it had some."""
        if not recipe.training.folds:
            return recipe, []
        if isinstance(self.recipe, Recipe) or "folds" in (self.settings or {}):
            raise ConfigError(
                "X_val has the validation samples, so there is nothing to divide into folds. Leave out X_val to train "
                "with folds, or set folds to 0."
            )
        return recipe.with_settings(folds=0), ["X_val validates all networks, so there are no folds."]

    def _choose_by(self, n_valid: int, recipe: Recipe) -> tuple[Recipe, list[str]]:
        """Return the recipe without early stopping, and a note, if there are too few validation samples."""
        if not recipe.stopping.stop_early or self.early_stopping or n_valid >= MIN_VALID:
            return recipe, []
        note = (
            f"{count_of(n_valid, 'validation sample')} {is_or_are(n_valid)} too few to choose an epoch by, so training "
            "does not stop early. Use early_stopping=True to choose anyway."
        )
        return recipe.with_settings(stop_early=False), [note]

    def _check_trained(self, classes: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Warn of classes whose samples all have weight 0; raise DataError if one class is left."""
        lacking = np.setdiff1d(np.arange(len(classes)), labels)
        if len(lacking) == len(classes) - 1:
            only = classes[labels[0]].tolist()
            raise DataError(
                f"all training samples with a weight above 0 are of class {only!r}. Give samples of another class "
                "a weight above 0."
            )
        if len(lacking):
            note = untrained_class_note(classes[lacking].tolist())
            warnings.warn(f"{note} Give its samples a weight above 0.", stacklevel=5)

    def _known_classes(self, classes: Any) -> NDArray[Any]:
        """Return the classes of partial_fit."""
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ConfigError("classes must list all labels in the first call of partial_fit, got None.")
            return np.unique(column_or_1d(exact_labels(classes, "classes")))
        if classes is not None:
            self._check_same_classes(
                np.unique(column_or_1d(exact_labels(classes, "classes"))), "classes are", "partial_fit continues with"
            )
        known: NDArray[Any] = self.classes_
        return known

    def _check_same_classes(self, classes: NDArray[Any], what: str, why: str) -> None:
        if not np.array_equal(classes, self.classes_):
            raise ConfigError(
                f"{why} the classes {quoted(self.classes_.tolist())}, but {what} {quoted(classes.tolist())}. "
                "Give the same classes, or start again with fit and warm_start=False."
            )


def _with_names(X: Any) -> Any:
    """Return samples whose names scikit-learn sees: before 1.9 it sees none of polars."""
    names = column_labels(X) if is_frame(X) else []
    if not names or not all(isinstance(name, str) for name in names) or _get_feature_names(X) is not None:
        return X
    return NamedColumns(X, tuple(names))


def _documentation_address() -> str:
    """Return the address of the documentation, which pyproject.toml names; "" without one."""
    try:
        addresses = metadata("chalknet").get_all("Project-URL") or []
    except PackageNotFoundError:  # chalknet is imported from a folder
        return ""
    named = (entry.partition(",") for entry in addresses)
    return next((address.strip() for name, _, address in named if name.strip() == "Documentation"), "")


class _EpochClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network in training, as scorers see it; its samples are rows of numbers."""

    def __init__(self, network: Network, classes: NDArray[Any]) -> None:
        """Create the classifier, which is fitted."""
        self.network, self.classes = network, classes

    @property
    def classes_(self) -> NDArray[Any]:
        """The (K,) labels."""
        return self.classes

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the (N,) log-odds of the second of two classes, or (N, K) logits."""
        logits = self.network.logits(X).astype(np.float64)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the (N,) most probable labels."""
        labels: NDArray[Any] = self.classes[self.network.logits(X).argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> FloatArray:
        """Return (N, K) float64 probabilities."""
        return softmax(self.network.logits(X).astype(np.float64))[0]


class _FitMonitor:
    """Watches the epochs of a fit: prints them, scores them, and tells scikit-learn's callbacks of them.

    Args:
        classifier: the classifier that is fitted.
        classes: (K,) labels.
        scaling: the input scaling of the networks.
        recipe: the recipe of the fit.
        given: X, y and sample_weight, as they were given to fit.
    """

    def __init__(
        self,
        classifier: ChalkClassifier,
        classes: NDArray[Any],
        scaling: Scaling,
        recipe: Recipe,
        given: tuple[Any, Any, Any],
    ) -> None:
        """Begin the task "fit"."""
        self._classifier, self._classes, self._scaling = classifier, classes, scaling
        self._curves: list[list[float]] = []
        X, y, weights = given
        self._given = {"X": X, "y": y, "metadata": None if weights is None else {"sample_weight": weights}}
        self._n_networks, self._n_epochs = recipe.training.ensemble, recipe.training.epochs
        self._fit_task: Any = None
        if getattr(classifier, "_skl_callbacks", None):
            n_tasks = self._n_networks if self._n_networks > 1 else self._n_epochs
            self._fit_task = classifier._init_callback_context(max_subtasks=n_tasks)
            self._fit_task.call_on_fit_task_begin(estimator=classifier, **self._given)

    @contextmanager
    def watch(self, trainer: Trainer, valid: WeightedSamples) -> Iterator[Sequence[EpochCallback]]:
        """Watch the training of one network; see `train_all_epochs`."""
        callbacks: list[EpochCallback] = [_print_line] if self._classifier.verbose else []
        if self._classifier.scoring is not None and len(valid):
            trainer.score_network = self._scorer(trainer, valid)
        if self._fit_task is None:
            yield callbacks
            return
        task = self._fit_task
        if self._n_networks > 1:
            task = task.subcontext(task_name="network", max_subtasks=self._n_epochs)
            task.call_on_fit_task_begin(estimator=self._classifier, **self._given)
        yield [*callbacks, self._epoch_tasks(trainer, task)]
        if self._n_networks > 1:
            self._end_task(task, trainer)

    def mean_curve(self) -> tuple[float, ...]:
        """Return the score after each epoch, of several networks the mean up to the shortest training."""
        return tuple(float(np.mean(scores)) for scores in zip(*self._curves, strict=False))

    def end(self) -> None:
        """End the task "fit"."""
        if self._fit_task is not None:
            self._fit_task.call_on_fit_task_end(estimator=self._classifier, reconstruction_attributes={}, **self._given)

    def _scorer(self, trainer: Trainer, valid: WeightedSamples) -> Callable[[], float]:
        """Return what scores the current network of a trainer on its validation samples."""
        scoring, curve = self._classifier.scoring, list[float]()
        self._curves.append(curve)
        labels = self._classes[valid.labels]
        scorer = check_scoring(self._classifier, scoring)
        weighs = valid.weights is not None and "sample_weight" in signature(scorer).parameters
        keywords = {"sample_weight": valid.weights} if weighs else {}

        def score() -> float:
            found = float(
                scorer(_EpochClassifier(self._network(trainer), self._classes), valid.rows, labels, **keywords)
            )
            if not math.isfinite(found):
                raise ConfigError(
                    f"scoring must return finite numbers, got {found} after epoch {len(curve) + 1}. Use another "
                    "scorer, or more validation samples."
                )
            curve.append(found)
            return found

        return score

    def _epoch_tasks(self, trainer: Trainer, parent: Any) -> EpochCallback:
        """Return a callback that ends the task of an epoch and begins that of the next one."""
        current: Any = None

        def begin() -> Any:
            task = parent.subcontext(task_name="epoch")
            task.call_on_fit_task_begin(estimator=self._classifier, **self._given)
            return task

        def on_epoch(record: EpochRecord) -> None:
            nonlocal current
            del record
            if self._end_task(current, trainer):
                trainer.should_stop = True
            if not trainer.is_finished:
                current = begin()

        current = begin()
        return on_epoch

    def _end_task(self, task: Any, trainer: Trainer) -> bool:
        """End a task with the classifier as it is now, and return whether a callback asks to stop."""

        def fitted() -> dict[str, Any]:
            classifier = self._classifier
            names = getattr(classifier, "feature_names_in_", ())
            names = names if classifier.encoding_ is None else classifier.encoding_.input_names
            network = _with_encoding(self._network(trainer), classifier.encoding_, tuple(names))
            return {"classes_": self._classes, "network_": network, "history_": tuple(trainer.history)}

        return bool(
            task.call_on_fit_task_end(estimator=self._classifier, reconstruction_attributes=fitted, **self._given)
        )

    def _network(self, trainer: Trainer) -> Network:
        """Return the current network of a trainer, for samples that are not scaled."""
        return replace(trainer.network(), scaling=self._scaling)


def _with_encoding(
    network: Network | Ensemble, encoding: TableEncoding | None, names: tuple[str, ...]
) -> Network | Ensemble:
    """Return the network, or each of an ensemble, with the encoding of a frame and the names of its inputs."""
    networks = tuple(replace(one, encoding=encoding, input_names=names) for one in network.members)
    return networks[0] if len(networks) == 1 else Ensemble(networks)


def _print_line(record: EpochRecord) -> None:
    valid = (
        "" if record.valid is None else f", valid loss {record.valid.loss:.4f}, accuracy {record.valid.accuracy:.4f}"
    )
    print(f"epoch {record.epoch}: train loss {record.train.loss:.4f}, accuracy {record.train.accuracy:.4f}{valid}")
