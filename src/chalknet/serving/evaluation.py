"""How good a model is on labeled samples: accuracy, loss, mistakes, and whether its probabilities hold."""

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
from chalknet.formatting import json_ready
from chalknet.machine.blas import one_blas_thread
from chalknet.network.arrays import FloatArray
from chalknet.network.calibration import ReliabilityBin, brier_score, expected_calibration_error, reliability_bins
from chalknet.network.model import Classifier
from chalknet.network.softmax import log_softmax, softmax
from chalknet.reporting.study_tables import confusion_counts
from chalknet.serving.inputs import check_sample_shape, prediction_batch_size, value_notes
from chalknet.studies.intervals import Interval, wilson
from chalknet.studies.results import LabeledPredictions
from chalknet.version import __version__

FORMAT = 2  # of evaluation.json
MAX_NAMED = 12


@dataclass(frozen=True)
class ClassScores:
    """One class.

    Attributes:
        samples: that are of it. answered: that were taken for it. correct: both.
        recall: correct / samples, the accuracy on its samples. precision: correct / answered. nan where there is none.
    """

    name: str
    samples: int
    predicted: int
    correct: int

    @property
    def recall(self) -> float:
        return self.correct / self.samples if self.samples else math.nan

    @property
    def precision(self) -> float:
        return self.correct / self.predicted if self.predicted else math.nan


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a labeled set of N samples says of a model.

    Attributes:
        model, source: what they are called. sha256: of the data. split: "all", "train", "valid" or "test".
        class_names: the model's K.
        predictions: its answers, sample by sample; labels are numbers of the model's classes.
        loss: mean cross-entropy, nats per sample (L2); of an ensemble, of its mean probabilities (M3).
        brier: the Brier score (M5).
        bins: answers by their confidence, in 15 bins.
        notes: what is to be known beside the figures, one sentence each.
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
        return f"<Evaluation of {self.model} on {self.source}: {self.accuracy.value:.4f} of {len(self):,} correct>"

    def __len__(self) -> int:
        return len(self.predictions.labels)

    @property
    def accuracy(self) -> Interval:
        """Share of right answers (M1), with Wilson's 95 % interval: of all such samples, for this one model."""
        return wilson(int(self.predictions.correct.sum()), len(self))

    @property
    def calibration_error(self) -> float:
        """The expected calibration error (M4) over the bins."""
        return expected_calibration_error(self.bins)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) how often class k was taken for class j."""
        return confusion_counts([self.predictions], len(self.class_names))

    @property
    def classes(self) -> tuple[ClassScores, ...]:
        """Each class of the model."""
        samples, answered, correct = self.confusion.sum(axis=1), self.confusion.sum(axis=0), self.confusion.diagonal()
        return tuple(
            ClassScores(name, int(samples[k]), int(answered[k]), int(correct[k]))
            for k, name in enumerate(self.class_names)
        )

    def as_dict(self) -> dict[str, Any]:
        """All but the single answers, JSON-ready: what evaluation.json holds."""
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
    """A model's answers for some samples of a data set, held against their labels.

    Args:
        index: (n,) positions of the samples, n >= 1; they are passed through in batches.
        name, split: what the model and the samples are called.
    Raises:
        DataError: samples of another size, in columns of other names, or of a class that the model does not know.
    """
    check_sample_shape(data.inputs, model, data.source)
    check_input_names(data.input_names, model.input_names, data.source, "the model")
    ordered = np.sort(index)  # so that stored samples are read forwards
    positions, matched = matched_classes(data, ordered, model.class_names)
    labels = positions[data.labels[ordered]]
    predicted, losses = np.empty(len(ordered), np.int64), np.empty(len(ordered))
    confidence, true_probability = np.empty(len(ordered), np.float32), np.empty(len(ordered), np.float32)
    brier = 0.0
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of fractions for pixels, which a note says
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
    """Which of the model's classes each class of the data is, and a note where that was not by name.

    Classes go by name. Where the data's are mere numbers and the model's are not, they are the model's by position.

    Returns:
        (K of the data,) numbers of the model's classes, -1 for a class without samples that the model does not know.
    Raises:
        DataError: samples at index are of a class that the model does not know.
    """
    by_name = {nfc(name): k for k, name in enumerate(class_names)}
    present = np.unique(data.labels[index])
    if all(name.isdecimal() for name in data.class_names) and not any(name.isdecimal() for name in class_names):
        by_name = {str(k): k for k in range(len(class_names))}
        shown = [f"{k} is {name}" for k, name in enumerate(class_names[:3])]
        notes = [f"The data's classes are numbers and taken for the model's by position: {', '.join(shown)}, ..."]
    else:
        notes = []
    unknown = [data.class_names[k] for k in present if nfc(data.class_names[k]) not in by_name]
    if unknown:
        more = f" and {len(class_names) - MAX_NAMED} more" if len(class_names) > MAX_NAMED else ""
        raise DataError(
            f"{data.source}: holds samples of class {unknown[0]!r}, which the model does not know; its classes are "
            f"{', '.join(class_names[:MAX_NAMED])}{more}."
        )
    return np.array([by_name.get(nfc(name), -1) for name in data.class_names], dtype=np.int64), notes


def _predict_batches(
    model: Classifier, data: Dataset, index: IntArray
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    """Yield for each batch its place, the probabilities that `predict_proba` gives, and their logarithms."""
    size = prediction_batch_size(model)
    for start in range(0, len(index), size):
        at = slice(start, min(start + size, len(index)))
        inputs = data.inputs[index[at]]
        logits = [member.logits(inputs) for member in model.members]
        total = softmax(logits[0])[0]
        for others in logits[1:]:
            total = total + softmax(others)[0]
        # In logarithms, where no probability is rounded to 0.
        logs = np.logaddexp.reduce([log_softmax(values) for values in logits]) - math.log(len(logits))
        yield at, total / len(logits), logs
