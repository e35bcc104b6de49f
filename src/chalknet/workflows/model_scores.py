"""Calibrate a trained model, and score it where the history has no scores of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import Dataset
from chalknet.formatting import count_of, for_reader
from chalknet.machine.blas import one_blas_thread
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.calibration import find_temperature
from chalknet.network.metrics import mean_scores, score
from chalknet.network.model import Classifier, Network
from chalknet.network.softmax import softmax
from chalknet.records import EpochRecord, Scores

if TYPE_CHECKING:  # reports use this module, and load no trainer
    from chalknet.artifacts.run_folder import FinishedRun
    from chalknet.training.trainer import Run

BATCH_ROWS = 4_096
MIN_CALIBRATION = 20  # with fewer samples, chance alone changes the temperature more than the network does


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The logits of validation samples by the networks that did not train on them.

    Attributes:
        index: (N,) positions in the data, in ascending order.
        labels: (N,) true classes.
        logits: (M, N, K) logits by M networks, whose probabilities are averaged. With folds, row m
            holds the logits of as many networks as there are folds, each for its own fold.
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    logits: FloatArray

    def probabilities(self, temperature: float = 1.0) -> FloatArray:
        """Return the (N, K) mean probabilities of logits divided by a temperature."""
        inverse = self.logits.dtype.type(1 / temperature)
        each = [softmax(of_network * inverse)[0] for of_network in self.logits]
        mean: FloatArray = np.sum(each, axis=0) / len(each)
        return mean

    def temperature(self, weights: NDArray[np.float64] | None = None) -> tuple[float, tuple[str, ...]]:
        """Return the temperature that calibrates, and notes; 1 with fewer than `MIN_CALIBRATION` samples.

        Args:
            weights: (N,) weights of the samples, or None.
        """
        n_valid = len(self.labels)
        if n_valid >= MIN_CALIBRATION:
            return find_temperature(self.logits, self.labels, weights), ()
        note = (
            f"with only {count_of(n_valid, 'validation sample')} the probabilities are not calibrated. At least "
            f"{MIN_CALIBRATION} are needed: give a larger valid_size (--valid), or calibrate=False (--no-calibrate)."
        )
        return 1.0, (for_reader(note),)


def held_out(networks: Sequence[Network], data: Dataset, valid: Sequence[NDArray[np.int64]], n_folds: int) -> HeldOut:
    """Return the logits of all validation samples.

    Args:
        networks: the networks of a model.
        data: all samples.
        valid: the positions of each network's validation samples.
        n_folds: the number of networks that together hold out every sample once: the number of folds,
            or 0 if all networks have the same validation samples.
    """
    logits = [_logits(network, data, index) for network, index in zip(networks, valid, strict=True)]
    step = max(1, n_folds)
    rounds = [slice(start, start + step) for start in range(0, len(networks), step)]
    orders = [np.argsort(np.concatenate(valid[one]), kind="stable") for one in rounds]
    index = np.sort(np.concatenate(valid[rounds[0]]))
    rows = [np.concatenate(logits[one])[order] for one, order in zip(rounds, orders, strict=True)]
    return HeldOut(index, data.labels[index], np.stack(rows))


def _logits(network: Network, data: Dataset, index: NDArray[np.int64]) -> FloatArray:
    """Return the logits of a network for the samples at these positions, in batches."""
    starts = range(0, len(index), BATCH_ROWS)
    with one_blas_thread():
        found = [network.logits(data.inputs[index[start : start + BATCH_ROWS]]) for start in starts]
    return np.concatenate(found) if found else np.empty((0, network.architecture.n_classes), network.dtype)


def scores_of_probabilities(probabilities: FloatArray, labels: LabelArray) -> Scores | None:
    """Return loss (L2), accuracy (M1) and printed loss (M2) of probabilities; None without samples."""
    if not len(labels):
        return None
    # Softmax of logarithms of probabilities is the probabilities.
    return score(np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny)), labels)


def model_scores(model: Classifier, data: Dataset, index: Any) -> Scores | None:
    """Return the scores of a model on the samples at these positions, in batches; None without samples."""
    scores, sizes = [], []
    with one_blas_thread():
        for start in range(0, len(index), BATCH_ROWS):
            some = index[start : start + BATCH_ROWS]
            found = scores_of_probabilities(model.predict_proba(data.inputs[some]), data.labels[some])
            assert found is not None
            scores.append(found)
            sizes.append(len(some))
    return mean_scores(scores, sizes) if scores else None


def calibrated(run: Run) -> Run:
    """Return the run of one network with a calibrated network, if its recipe says so.

    The history has the scores before the calibration. `Run.kept` has those after it, except for
    the training scores, which are taken while the network is trained.
    """
    if not run.recipe.training.calibrate:
        return run
    (network,), splits = run.network.members, run.splits
    temperature, notes = held_out([network], run.data, [splits.valid], 0).temperature()
    if temperature == 1:
        return replace(run, temperature=1.0, notes=(*run.notes, *notes))
    network = network.with_temperature(temperature)
    valid, test = (model_scores(network, run.data, index) for index in (splits.valid, splits.test))
    return replace(
        run,
        network=network,
        model_scores=replace(run.history[run.kept_epoch - 1], valid=valid, test=test),
        temperature=temperature,
        notes=(*run.notes, *notes),
    )


def model_scores_of(run: FinishedRun) -> EpochRecord:
    """Return the scores of a finished run's calibrated network."""
    kept = run.summary.kept
    return replace(run.history[run.summary.kept_epoch - 1], valid=kept["valid"], test=kept["test"])
