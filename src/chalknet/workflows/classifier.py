"""`ChalkClassifier`: a network behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import Splits
from chalknet.errors import ConfigError, DataError, MissingExtraError, ShapeError
from chalknet.formatting import quoted
from chalknet.network.arrays import FloatArray
from chalknet.network.model import Network
from chalknet.network.softmax import log_softmax, softmax
from chalknet.records import EpochRecord
from chalknet.training.notes import ignored_input_notes, untrained_class_note
from chalknet.training.sample_weights import relative_weights
from chalknet.workflows.classifier_recipe import FIELD_OF_PARAMETER, MAX_SMALL_SAMPLES, classifier_recipe
from chalknet.workflows.classifier_samples import (
    WeightedSamples,
    class_indices,
    class_weights_by_label,
    exact_labels,
    fit_weighted_scaling,
    printable_class_names,
    resolve_class_weights,
    stratified_splits,
    train_on_all,
    weighted_samples,
)
from chalknet.workflows.classifier_training import PartialFitState, train_all_epochs, train_single_epoch

# At import, since the class is made of scikit-learn's; this file is itself loaded when the class is first asked for.
try:
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise MissingExtraError('ChalkClassifier needs scikit-learn >= 1.6: pip install "chalknet[sklearn]".') from error

Method = TypeVar("Method", bound=Callable[..., Any])
SAMPLE_TYPES = (np.float64, np.float32, np.uint8)  # anything else becomes the first


def _all_or_nothing(method: Method) -> Method:
    """Return a method that leaves its object as it was if it raises."""

    @wraps(method)
    def wrapped(self: ChalkClassifier, *arguments: Any, **keywords: Any) -> Any:
        before = dict(vars(self))
        try:
            return method(self, *arguments, **keywords)
        except BaseException:
            self.__dict__ = before
            raise

    return cast(Method, wrapped)


class ChalkClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A dense network that scikit-learn can clone, search, cross-validate, calibrate and put into pipelines.

    A parameter that is None is what the recipe says. For rows of numbers the recipe "strong" is one hidden layer of 128
    units on inputs scaled to mean 0 and deviation 1, in float32 where X is of that type or of bytes and in float64
    otherwise: mini-batches with input dropout, or, of up to 200 samples, full batches without, so that a weight of 2
    is exactly a sample given twice. With image_shape it is what `chalknet.recipe("strong")` gives. Any other recipe is
    taken as it is, but for the augmentation of images, which rows do without.

    Args:
        recipe: a recipe's name, or a `Recipe`.
        hidden: units of each hidden layer, or one number. activation, batch_norm, dropout, learning_rate, optimizer,
            weight_decay, l2, batch_size, epochs, patience: the recipe's fields of these names (docs/file_formats.md).
        class_weight: None, "balanced", or what a sample of each class counts, by label; 1 where a label is left out.
        validation_fraction: the share of samples set aside where early stopping watches and no X_val is given.
        early_stopping: whether to stop when the validation part no longer improves, and to keep the best epoch. None:
            what the recipe says, and never with up to 200 samples. Where a class has no sample to spare, all train.
        warm_start: whether fit goes on from the network so far, which must have the same classes and shape.
        random_state: an int, which is the recipe's seed, a RandomState, or None for NumPy's global one. Equal ints give
            equal bits on one machine.
        n_jobs: threads, as in scikit-learn: None for 1, -1 for all; results do not depend on it.
        verbose: whether to print a line an epoch.
        image_shape: (H, W) where each row of X is an image, its pixel rows one after the other. Bytes are divided by
            255, other images by the largest value of the training samples.
        settings: any other fields of the recipe, as a dict, such as {"layers": [...]} for a network layer by layer.

    Attributes:
        classes_: (K,) labels, sorted. n_features_in_, feature_names_in_: as in scikit-learn.
        network_: the `Network`, which `chalknet.save_model` writes; None of one class, which is then the answer.
        history_: one `EpochRecord` an epoch. n_iter_: how many. best_epoch_: whose weights are kept, from 1 on.
        loss_curve_: mean training loss of each epoch, nats a sample, before each of its updates.
        validation_curve_: accuracy on the validation part after each epoch, in [0, 1]; empty where there is none.
        notes_: what to know about the samples, such as columns that never varied and are ignored; printed if verbose.
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
        image_shape: tuple[int, int] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
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

    @_all_or_nothing
    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None, sample_weight: Any = None) -> ChalkClassifier:
        """Trains a network from the beginning, or with warm_start from where it is.

        Args:
            X: (N, I) numbers: an array, a list of rows, a pandas or polars frame; not sparse.
            y: (N,) labels: numbers, booleans or strings.
            X_val, y_val: samples that early stopping and `validation_curve_` watch instead of a part of X.
            sample_weight: (N,) numbers >= 0, what each sample counts; 0 is as if it were not there.
        Returns:
            itself.
        Raises:
            ValueError: X, y or sample_weight cannot be used, in scikit-learn's words; ConfigError, DataError and
                ShapeError among them. DivergenceError: a loss is no longer finite.
        """
        goes_on = self.warm_start and hasattr(self, "classes_")
        X, y = validate_data(self, X, exact_labels(y), dtype=SAMPLE_TYPES, order="C", reset=not goes_on)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if goes_on:
            self._check_same_classes(classes, "y has", "warm_start goes on with")
        recipe = self._resolve_recipe(X.dtype, len(X), self._draw_seed())
        samples, class_weights = self._weighted_samples(X, labels, classes, recipe, sample_weight)
        watched = self._validation_samples(X_val, y_val, classes, class_weights)
        samples, splits, recipe = self._split_samples(samples, watched, recipe)
        start = self.network_ if goes_on else None
        if len(classes) < 2:
            return self._store_fit(classes, None, (), 0)
        self._check_trained(classes, samples.labels[splits.train])
        network, run = train_all_epochs(
            samples,
            splits,
            recipe,
            self._scaling(samples.subset(splits.train), recipe, start),
            printable_class_names(classes),
            start=start,
            workers=effective_n_jobs(self.n_jobs),
            on_epoch=_print_line if self.verbose else None,
        )
        return self._store_fit(classes, network, run.history, run.kept_epoch)

    @_all_or_nothing
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> ChalkClassifier:
        """One epoch over these samples from where the network is, at a constant rate and without a validation part.

        The optimizer goes on from call to call, and starts anew after fit. How inputs are scaled is learned from the
        first samples and then kept.

        Args:
            X, y, sample_weight: as fit; weights count within a call.
            classes: all labels that will ever come; needed in the first call alone.
        Returns:
            itself.
        Raises:
            as fit; ConfigError: classes are missing or others than before, or class_weight is "balanced".
        """
        first = not hasattr(self, "classes_")
        X, y = validate_data(self, X, exact_labels(y), dtype=SAMPLE_TYPES, order="C", reset=first)
        check_classification_targets(y)
        known = self._known_classes(classes)
        progress: PartialFitState | None = None if first else self._progress
        recipe = self._resolve_recipe(X.dtype, None, self._draw_seed() if progress is None else progress.seed)
        samples, _ = self._weighted_samples(
            X, class_indices(y, known, "y"), known, recipe, sample_weight, all_at_once=False
        )
        network, history = (None, ()) if first else (self.network_, self.history_)
        if len(known) < 2:
            return self._store_fit(known, None, (), 0)
        if network is not None:
            recipe = recipe.with_settings(dtype=str(network.dtype))
        scaling = self._scaling(samples, recipe, network)
        network, record, progress = train_single_epoch(
            samples,
            recipe,
            scaling if network is not None else scaling.without_ignored(),  # later samples may vary
            printable_class_names(known),
            progress,
            start=network,
            workers=effective_n_jobs(self.n_jobs),
        )
        record = replace(record, epoch=len(history) + 1)
        if self.verbose:
            _print_line(record)
        return self._store_fit(known, network, (*history, record), record.epoch, progress)

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) the most probable label of each sample; X as in fit."""
        best = self._logits(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy on samples with these labels; X as in fit."""
        return float(super().score(X, exact_labels(y), sample_weight))

    def predict_proba(self, X: Any) -> FloatArray:
        """(N, K) float64 probabilities, columns as `classes_`; X as in fit."""
        return softmax(self._logits(X))[0]

    def predict_log_proba(self, X: Any) -> FloatArray:
        """(N, K) float64 logarithms of the probabilities, finite where these round to 0; X as in fit."""
        return log_softmax(self._logits(X))

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """(N,) float64 log-odds of the second of two classes; (N, K) logits of more. X as in fit."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def _logits(self, X: Any) -> NDArray[np.float64]:
        """(N, K) logits, 0 of a single class."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=SAMPLE_TYPES, order="C", reset=False)
        if self.network_ is None:
            return np.zeros((len(X), 1))
        logits: NDArray[np.float64] = self.network_.logits(X).astype(np.float64)
        return logits

    def _store_fit(
        self,
        classes: NDArray[Any],
        network: Network | None,
        history: Sequence[EpochRecord],
        best_epoch: int,
        progress: PartialFitState | None = None,
    ) -> ChalkClassifier:
        """Sets all that a fit leaves, at its end, so that one that fails leaves what was there."""
        self.classes_, self.network_ = classes, network
        self.history_, self._progress = tuple(history), progress
        self.n_iter_, self.best_epoch_ = len(history), best_epoch
        self.loss_curve_ = [record.train.loss for record in history]
        self.validation_curve_ = [record.valid.accuracy for record in history if record.valid is not None]
        names = getattr(self, "feature_names_in_", ())
        self.notes_ = () if network is None else ignored_input_notes(network.scaling, names)
        for note in self.notes_ if self.verbose else ():
            print(note)
        return self

    def _resolve_recipe(self, dtype: Any, n_samples: int | None, seed: int) -> Recipe:
        shape = self.image_shape
        if shape is not None and (np.shape(shape) != (2,) or np.prod(shape) != self.n_features_in_):
            raise ShapeError(
                f"image_shape must be (height, width) of the {self.n_features_in_} values a row, got {shape!r}. "
                "Leave it out where rows are no images."
            )
        parameters = {name: getattr(self, name) for name in FIELD_OF_PARAMETER}
        return classifier_recipe(
            self.recipe,
            parameters,
            self.settings,
            n_samples=n_samples,
            dtype=dtype,
            are_images=shape is not None,
            seed=seed,
        )

    def _scaling(self, samples: WeightedSamples, recipe: Recipe, start: Network | None) -> Scaling:
        """Of the network that training starts from, whose weights are for it, or else learned from samples."""
        return fit_weighted_scaling(recipe.network.input_scaling, samples) if start is None else start.scaling

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
        """The samples that count, with their weights, and what a sample of each class counts."""
        class_weight = self.class_weight
        if class_weight is None:
            class_weight = class_weights_by_label(recipe.regularization.class_weights, classes)
        if isinstance(class_weight, str) and not all_at_once:
            raise ConfigError(
                f"class_weight must be a dict by label for partial_fit, which sees parts, got {class_weight!r}."
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
        """The validation samples that were handed over."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            raise DataError("X_val and y_val belong together: give both, or neither.")
        X_val, y_val = validate_data(self, X_val, exact_labels(y_val), dtype=SAMPLE_TYPES, order="C", reset=False)
        return weighted_samples(X_val, class_indices(y_val, classes, "y_val"), None, class_weights, self.image_shape)

    def _split_samples(
        self, samples: WeightedSamples, watched: WeightedSamples | None, recipe: Recipe
    ) -> tuple[WeightedSamples, Splits, Recipe]:
        """All samples, which of them validate, and the recipe, without early stopping where none does."""
        if watched is not None:
            return samples.concatenate(watched), train_on_all(len(samples), len(watched)), recipe
        splits = None
        if recipe.stopping.stop_early and (self.early_stopping or len(samples) > MAX_SMALL_SAMPLES):
            splits = stratified_splits(samples.labels, self.validation_fraction, recipe.training.seed)
        if splits is not None:
            return samples, splits, recipe
        if self.early_stopping:
            warnings.warn(
                f"early_stopping needs two samples of each class at least to set a part aside, and {len(samples)} "
                "samples have not; all of them train, without it. Give X_val and y_val.",
                stacklevel=3,
            )
        return samples, train_on_all(len(samples)), recipe.with_settings(stop_early=False)

    def _check_trained(self, classes: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Warn of classes whose samples all have no weight, and refuse to train a single class."""
        lacking = np.setdiff1d(np.arange(len(classes)), labels)
        if len(lacking) == len(classes) - 1:
            only = classes[labels[0]].tolist()
            raise DataError(f"all training samples with a weight above 0 are of class {only!r}. Give others a weight.")
        if len(lacking):
            note = untrained_class_note(classes[lacking].tolist())
            warnings.warn(f"{note} Give its samples a weight above 0.", stacklevel=5)

    def _known_classes(self, classes: Any) -> NDArray[Any]:
        """The classes of partial_fit."""
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ConfigError("classes must be all labels that will ever come in the first partial_fit, got None.")
            return np.unique(column_or_1d(exact_labels(classes)))
        if classes is not None:
            self._check_same_classes(
                np.unique(column_or_1d(exact_labels(classes))), "classes are", "partial_fit goes on with"
            )
        known: NDArray[Any] = self.classes_
        return known

    def _check_same_classes(self, classes: NDArray[Any], what: str, why: str) -> None:
        if not np.array_equal(classes, self.classes_):
            raise ConfigError(
                f"{why} the classes {quoted(self.classes_.tolist())}, but {what} {quoted(classes.tolist())}. "
                "Give the same, or start anew with fit and warm_start=False."
            )


def _print_line(record: EpochRecord) -> None:
    valid = (
        "" if record.valid is None else f", valid loss {record.valid.loss:.4f}, accuracy {record.valid.accuracy:.4f}"
    )
    print(f"epoch {record.epoch}: train loss {record.train.loss:.4f}, accuracy {record.train.accuracy:.4f}{valid}")
