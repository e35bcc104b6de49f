"""The reference engine: the formulas of `network` as they are written, in any float type.

Tests compare the other engines with it. Products run on one BLAS thread, so that the last digits
depend on the seed and the machine only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.engine import EngineSpec, SampleScores, Snapshot, Update
from chalknet.engines.parameter_layout import initial_state
from chalknet.engines.scores import EpochScores, ScoreAccumulator
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import forward
from chalknet.network.arrays import FloatArray
from chalknet.network.clipping import clip_factor, squared_norm
from chalknet.network.dropout import Dropout
from chalknet.network.layer import Parameters
from chalknet.network.losses import mixup
from chalknet.network.metrics import sample_losses, score
from chalknet.network.objective import LabeledBatch, loss_and_gradients
from chalknet.network.optimizers import AVERAGE, Step
from chalknet.network.softmax import softmax
from chalknet.records import Scores


class ReferenceEngine:
    """An `Engine` that calls the pure functions of `network`.

    It keeps all splits in memory as floats, computes whole batches, and uses one thread; it ignores
    `EngineSpec.threads` and `tile_rows`.

    Args:
        spec: what to train and evaluate.
    """

    device = "cpu"

    def __init__(self, spec: EngineSpec) -> None:
        """Create an engine with copies of the spec's parameters."""
        self._spec, self._optimizer, self._dtype = spec, spec.optimizer, np.dtype(spec.dtype)
        self._splits = {name: split for name, split in spec.splits.items() if len(split.labels)}
        self._inputs = {name: spec.scaling(split.inputs[:], self._dtype) for name, split in self._splits.items()}
        self._parameters: Parameters = {name: value.astype(self._dtype) for name, value in spec.parameters.items()}
        self._state = initial_state(self._optimizer, spec.architecture, self._parameters)
        self._epoch = ScoreAccumulator()  # the scores of the current epoch so far

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def train_epoch(self, updates: Iterable[Update], start: EpochScores | None = None) -> Scores:
        """Make all updates and return the mean scores of their batches."""
        total = self._epoch = ScoreAccumulator(start)
        with one_blas_thread():
            for update in updates:
                samples, masks = self.training_batch(update)
                architecture, objective = self._spec.architecture, self._spec.objective
                found = loss_and_gradients(architecture, self._parameters, samples, objective, masks)
                self._update_parameters(self._clipped(found.gradients), found.statistics, update.step)
                scores, n = score(found.logits, samples.labels), len(samples.labels)
                true_class = softmax(found.logits)[0][np.arange(n), samples.labels]
                sums = n * scores.loss, n * scores.accuracy, float(true_class.sum(dtype=np.float64))
                total.add(n, [sums])
                total.n_updates += 1
                if not total.is_finite:
                    break
        return total.scores()

    def epoch_scores(self) -> EpochScores:
        """Return the scores of the current epoch so far."""
        return self._epoch.so_far()

    def training_batch(self, update: Update) -> tuple[LabeledBatch, dict[int, FloatArray]]:
        """Return the samples of an update after random transforms, and its dropout masks.

        Returns:
            samples: inputs, labels and weights of the batch.
            masks: the mask of each dropout layer, by the position of the layer.
        """
        samples = self._samples(update)
        rows, number, transforms = slice(0, len(samples.x)), update.step.number, self._spec.transforms
        masks = {}
        for position, named in enumerate(self._spec.architecture.named_layers):
            layer, width = named.layer, math.prod(named.input_shape)
            if isinstance(layer, Dropout) and layer.rate:
                rate = layer.rate * update.step.dropout_multiplier
                mask = transforms.dropout_mask(named.stream, rate, number, rows, width, self._dtype)
                masks[position] = mask.reshape(-1, *named.input_shape)
        return samples, masks

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def evaluate(self, split: str) -> Scores | None:
        """Return the scores of a split; None if it is empty."""
        if split not in self._splits:
            return None
        return score(self._logits(split), self._splits[split].labels)

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def evaluate_samples(self, split: str) -> SampleScores | None:
        """Return the scores of each sample of a split; None if it is empty."""
        if split not in self._splits:
            return None
        logits, labels = self._logits(split), self._splits[split].labels
        return SampleScores(sample_losses(logits, labels), logits.argmax(axis=1) == labels)

    def parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters by name, now or in a snapshot."""
        return {name: value.copy() for name, value in (self.snapshot() if of is None else of)[0].items()}

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the parameters that `evaluate` uses, now or in a snapshot."""
        parameters, state = self.snapshot() if of is None else of
        averages = {name: state.get(f"{AVERAGE}/{name}", value) for name, value in parameters.items()}
        return {name: value.copy() for name, value in averages.items()}

    def state(self, of: Snapshot | None = None) -> Parameters:
        """Return copies of the optimizer state by "state/parameter", now or in a snapshot."""
        return {name: value.copy() for name, value in (self.snapshot() if of is None else of)[1].items()}

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        """Replace parameters and optimizer state by copies of these."""
        self._parameters = {name: value.astype(self._dtype) for name, value in parameters.items()}
        self._state = {name: value.astype(self._dtype) for name, value in state.items()}

    def snapshot(self) -> Snapshot:
        """Return parameters and state; no array is copied."""
        # Updates make new arrays and never write to the ones they replace.
        return dict(self._parameters), dict(self._state)

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Set parameters and state to those of a snapshot."""
        parameters, state = snapshot
        self._parameters, self._state = dict(parameters), dict(state)

    def _samples(self, update: Update) -> LabeledBatch:
        """Return the samples of an update: augmented, scaled and mixed."""
        train, batch, number = self._splits["train"], update.batch, update.step.number
        transforms, labels = self._spec.transforms, train.labels[batch]
        augmentation = transforms.augmentation_parameters(number, slice(0, len(labels)))
        x = self._inputs["train"][batch]
        if augmentation is not None:
            x = self._spec.scaling(transforms.augment(train.inputs[batch], augmentation), self._dtype)
        weights = None if train.weights is None else train.weights[batch].astype(self._dtype)
        mixup_draw = transforms.draw_mixup(number, len(labels))
        if mixup_draw is None:
            return LabeledBatch(x, labels, weights)
        partners, mixup_fraction = mixup_draw
        return LabeledBatch(mixup(x, x[partners], mixup_fraction), labels, weights, labels[partners], mixup_fraction)

    def _clipped(self, gradients: Parameters) -> Parameters:
        """Return the gradients, scaled down if their norm exceeds the limit (U8)."""
        if not self._spec.clip_norm:
            return gradients
        factor = clip_factor(map(squared_norm, gradients.values()), self._spec.clip_norm)
        return {name: gradient * factor for name, gradient in gradients.items()}

    def _update_parameters(self, gradients: Parameters, statistics: Parameters, step: Step) -> None:
        """Update the parameters, the running statistics and the average of both.

        The optimizer averages learned parameters itself. Running statistics are not learned, so
        their average is updated here, by U7 like the others.
        """
        learned = {name: self._parameters[name] for name in gradients}
        names = {f"{AVERAGE}/{name}" for name in self._spec.architecture.statistics}
        averages = {name: value for name, value in self._state.items() if name in names}
        state = {name: value for name, value in self._state.items() if name not in names}
        multipliers = self._spec.architecture.learning_rate_multipliers
        moved, self._state = self._optimizer.step(learned, gradients, state, step, multipliers)
        present = {**self._parameters, **moved, **statistics}
        self._parameters = {name: present[name] for name in self._parameters}
        kept = self._optimizer.ema_decay(step.number)
        for name, average in averages.items():
            self._state[name] = kept * average + (1 - kept) * present[name.removeprefix(f"{AVERAGE}/")]

    def _logits(self, split: str) -> FloatArray:
        with one_blas_thread():
            return forward(self._spec.architecture, self.evaluation_parameters(), self._inputs[split]).logits
