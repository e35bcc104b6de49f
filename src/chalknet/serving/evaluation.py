"""Evaluate a model on labeled samples: accuracy, loss, mistakes and calibration."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset, IntArray, check_input_names, nfc
from chalknet.errors import DataError
from chalknet.formatting import count_of, json_ready, percent, percent_interval
from chalknet.machine.blas import one_blas_thread
from chalknet.network.arrays import FloatArray
from chalknet.network.calibration import ReliabilityBin, brier_score, expected_calibration_error, reliability_bins
from chalknet.network.model import Classifier
from chalknet.network.softmax import log_softmax, softmax
from chalknet.notebook_view import curves, facts, table, view
from chalknet.reporting.study_tables import confusion_counts
from chalknet.serving.inputs import check_encoding, check_sample_shape, prediction_batch_size, value_notes
from chalknet.studies.intervals import Interval, wilson
from chalknet.studies.results import LabeledPredictions
from chalknet.version import __version__

FORMAT = 2  # of evaluation.json
MAX_NAMED = 12


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class.

    Attributes:
        name: the class.
        samples: number of samples of the class.
        predicted: number of samples for which the class was predicted.
        correct: number of samples of the class for which it was predicted.
    """

    name: str
    samples: int
    predicted: int
    correct: int

    @property
    def recall(self) -> float:
        """Correct / samples, the accuracy on the samples of the class; nan without samples."""
        return self.correct / self.samples if self.samples else math.nan

    @property
    def precision(self) -> float:
        """Correct / predicted; nan if the class was never predicted."""
        return self.correct / self.predicted if self.predicted else math.nan


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of evaluating a model on N labeled samples.

    Attributes:
        model: the name of the model.
        source: the name of the data.
        sha256: digest of the data.
        split: "all", "train", "valid" or "test".
        class_names: the model's K classes.
        predictions: the prediction for each sample; labels are indices into class_names.
        loss: mean cross-entropy in nats per sample (L2); for an ensemble, of its mean probabilities
            (M3).
        brier: the Brier score (M5).
        bins: predictions grouped by confidence, in 15 bins.
        notes: what the user should know about these numbers, one sentence each.
    """

    model: str
    source: str
    sha256: str
    split: str
    class_names: tuple[str, ...]
    predictions: LabeledPredictions
    loss: float
    brier: float
    bins: tuple[ReliabilityBin, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a line with model, data and accuracy."""
        return f"<Evaluation of {self.model} on {self.source}: {self.accuracy.value:.4f} of {len(self):,} correct>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: accuracy, loss and calibration, and the scores of each class."""
        accuracy = self.accuracy
        interval = percent_interval(accuracy.low, accuracy.high)
        rows = [
            ("data", f"{self.source}, {count_of(len(self), 'sample')}"),
            ("accuracy", f"{percent(accuracy.value, 2)}, 95 % interval {interval}"),
            ("loss", f"{self.loss:.4f} nats"),
            ("Brier score", f"{self.brier:.4f}"),
            ("calibration error", percent(self.calibration_error)),
        ]
        cells = [(one.name, f"{one.samples:,}", percent(one.recall), percent(one.precision)) for one in self.classes]
        filled = [one for one in self.bins if one.count]
        confidence = [one.confidence for one in filled]
        lines = {"accuracy": (confidence, [one.accuracy for one in filled]), "equal": (confidence, confidence)}
        return view(
            f"Evaluation of {self.model}",
            facts(rows),
            table(("class", "samples", "recall", "precision"), cells, "class"),
            curves("accuracy by confidence", "confidence", lines),
            next_step="evaluation.confusion",
        )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.predictions.labels)

    @property
    def accuracy(self) -> Interval:
        """Accuracy (M1) in [0, 1] with Wilson's 95 % interval.

        The interval covers the choice of the samples. It holds for this one trained model.
        """
        return wilson(int(self.predictions.correct.sum()), len(self))

    @property
    def calibration_error(self) -> float:
        """The expected calibration error (M4) over the bins."""
        return expected_calibration_error(self.bins)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) confusion matrix: entry (k, j) counts samples of class k predicted as class j."""
        return confusion_counts([self.predictions], len(self.class_names))

    @property
    def classes(self) -> tuple[ClassScores, ...]:
        """The scores of each class of the model."""
        samples, answered, correct = self.confusion.sum(axis=1), self.confusion.sum(axis=0), self.confusion.diagonal()
        return tuple(
            ClassScores(name, int(samples[k]), int(answered[k]), int(correct[k]))
            for k, name in enumerate(self.class_names)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the content of evaluation.json: all but the predictions of single samples."""
        accuracy = self.accuracy
        return {
            "format": FORMAT,
            "chalknet": __version__,
            "model": self.model,
            "data": {"source": self.source, "sha256": self.sha256},
            "split": self.split,
            "samples": len(self),
            "accuracy": {"correct": int(self.predictions.correct.sum()), **asdict(accuracy)},
            "loss": self.loss,
            "brier": self.brier,
            "calibration": {
                "expected_error": self.calibration_error,
                "bins": [json_ready(asdict(one)) for one in self.bins],
            },
            "class_names": list(self.class_names),
            "classes": [
                json_ready(asdict(one) | {"recall": one.recall, "precision": one.precision}) for one in self.classes
            ],
            "confusion": self.confusion.tolist(),
            "notes": list(self.notes),
        }


def evaluate_samples(
    model: Classifier, data: Dataset, index: IntArray, *, name: str = "the model", split: str = "all"
) -> Evaluation:
    """Evaluate a model on some samples of a data set.

    Args:
        model: the network or ensemble.
        data: the data set.
        index: (n,) positions of the samples, n >= 1.
        name: the name of the model in the result.
        split: the name of the split in the result.

    Raises:
        DataError: samples have another size than the model reads, columns with other names, or a class
            that the model does not know.
    """
    check_encoding(data.encoding, model, data.source)
    check_sample_shape(data.inputs, model, data.source)
    check_input_names(data.input_names, model.input_names, data.source, "the model")
    ordered = np.sort(index)  # so that samples on disk are read in order
    positions, matched = matched_classes(data, ordered, model.class_names)
    labels = positions[data.labels[ordered]]
    predicted, losses = np.empty(len(ordered), np.int64), np.empty(len(ordered))
    confidence, true_probability = np.empty(len(ordered), np.float32), np.empty(len(ordered), np.float32)
    brier = 0.0
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # value_notes reports values of another scale
        for at, probabilities, logs in _predict_batches(model, data, ordered):
            rows = np.arange(len(logs))
            predicted[at] = probabilities.argmax(axis=1)
            confidence[at] = probabilities.max(axis=1)
            true_probability[at] = probabilities[rows, labels[at]]
            losses[at] = -logs[rows, labels[at]]
            brier += brier_score(probabilities, labels[at]) * len(rows)
    predictions = LabeledPredictions(labels, predicted, confidence, true_probability, ordered)
    return Evaluation(
        model=name,
        source=data.source,
        sha256=data.sha256,
        split=split,
        class_names=model.class_names,
        predictions=predictions,
        loss=float(losses.mean()),
        brier=brier / len(ordered),
        bins=reliability_bins(confidence, predictions.correct),
        notes=(*data.notes, *matched, *value_notes(data.inputs, model)),
    )


def matched_classes(data: Dataset, index: IntArray, class_names: tuple[str, ...]) -> tuple[IntArray, list[str]]:
    """Map each class of the data to a class of the model, with a note if not by name.

    Classes are matched by name. If the data's classes are numbers and the model's are not, class
    number k is the model's class k.

    Returns:
        An array with the model's index for each class of the data (-1 for an unknown class without
        samples), and notes.

    Raises:
        DataError: samples at index have a class that the model does not know.
    """
    by_name = {nfc(name): k for k, name in enumerate(class_names)}
    present = np.unique(data.labels[index])
    if all(name.isdecimal() for name in data.class_names) and not any(name.isdecimal() for name in class_names):
        by_name = {str(k): k for k in range(len(class_names))}
        shown = [f"{k} is {name}" for k, name in enumerate(class_names[:3])]
        notes = [
            f"The data's classes are numbers; they are matched to the model's by position: {', '.join(shown)}, ..."
        ]
    else:
        notes = []
    unknown = [data.class_names[k] for k in present if nfc(data.class_names[k]) not in by_name]
    if unknown:
        more = f" and {len(class_names) - MAX_NAMED} more" if len(class_names) > MAX_NAMED else ""
        raise DataError(
            f"{data.source}: holds samples of class {unknown[0]!r}, which the model does not know. Its classes are "
            f"{', '.join(class_names[:MAX_NAMED])}{more}."
        )
    return np.array([by_name.get(nfc(name), -1) for name in data.class_names], dtype=np.int64), notes


def _predict_batches(
    model: Classifier, data: Dataset, index: IntArray
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Yield for each batch its positions, probabilities, and log-probabilities."""
    size = prediction_batch_size(model)
    for start in range(0, len(index), size):
        at = slice(start, min(start + size, len(index)))
        inputs = data.inputs[index[at]]
        logits = [member.logits(inputs) for member in model.members]
        total = softmax(logits[0])[0]
        for others in logits[1:]:
            total = total + softmax(others)[0]
        # The mean is computed from logarithms, in which no probability is rounded to 0.
        logs = np.logaddexp.reduce([log_softmax(values) for values in logits]) - math.log(len(logits))
        yield at, total / len(logits), logs
