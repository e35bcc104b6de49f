"""The reference engine: the formulas without optimization, in any float type. Other engines are compared with it.

Products run on one BLAS thread, so that the last digits depend on the seed and the machine and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.engines.engine import EngineSpec, SampleScores, Snapshot, Update
from chalknet.engines.parameter_layout import initial_state
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import forward
from chalknet.network.arrays import FloatArray
from chalknet.network.clipping import clip_factor, squared_norm
from chalknet.network.dropout import Dropout
from chalknet.network.layer import Parameters
from chalknet.network.losses import mixup
from chalknet.network.metrics import mean_scores, sample_losses, score
from chalknet.network.objective import LabeledBatch, loss_and_gradients
from chalknet.network.optimizers import AVERAGE, Step
from chalknet.records import Scores


class ReferenceEngine:
    """`Engine` composed of the pure functions of `network/`.

    All splits are held in memory, and batches pass whole. It has one thread, whatever `EngineSpec.threads` says.
    """

    device = "cpu"

    def __init__(self, spec: EngineSpec) -> None:
        self._spec, self._optimizer, self._dtype = spec, spec.optimizer, np.dtype(spec.dtype)
        self._splits = {name: part for name, part in spec.splits.items() if len(part.labels)}
        self._inputs = {name: spec.scaling(part.inputs[:], self._dtype) for name, part in self._splits.items()}
        self._parameters: Parameters = {name: value.astype(self._dtype) for name, value in spec.parameters.items()}
        self._state = initial_state(self._optimizer, spec.architecture, self._parameters)

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        scores, sizes = [], []
        with one_blas_thread():
            for update in updates:
                samples, masks = self.training_batch(update)
                architecture, objective = self._spec.architecture, self._spec.objective
                found = loss_and_gradients(architecture, self._parameters, samples, objective, masks)
                self._move(self._clipped(found.gradients), found.statistics, update.step)
                scores.append(score(found.logits, samples.labels))
                sizes.append(len(samples.labels))
                if not math.isfinite(scores[-1].loss):
                    break
        return mean_scores(scores, sizes)

    def training_batch(self, update: Update) -> tuple[LabeledBatch, dict[int, FloatArray]]:
        """Return the samples of an update after random transforms, and dropout masks by position of the layer."""
        samples = self._samples(update)
        rows, number, transforms = slice(0, len(samples.x)), update.step.number, self._spec.transforms
        masks = {}
        for position, named in enumerate(self._spec.architecture.named_layers):
            layer, width = named.layer, math.prod(named.input_shape)
            if isinstance(layer, Dropout) and layer.rate:
                mask = transforms.dropout_mask(named.stream, layer.rate, number, rows, width, self._dtype)
                masks[position] = mask.reshape(-1, *named.input_shape)
        return samples, masks

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def evaluate(self, part: str) -> Scores | None:
        if part not in self._splits:
            return None
        return score(self._logits(part), self._splits[part].labels)

    @np.errstate(over="ignore", invalid="ignore")  # a loss that is not finite is reported in the scores
    def evaluate_samples(self, part: str) -> SampleScores | None:
        if part not in self._splits:
            return None
        logits, labels = self._logits(part), self._splits[part].labels
        return SampleScores(sample_losses(logits, labels), logits.argmax(axis=1) == labels)

    def parameters(self) -> Parameters:
        return {name: value.copy() for name, value in self._parameters.items()}

    def evaluation_parameters(self, of: Snapshot | None = None) -> Parameters:
        parameters, state = self.snapshot() if of is None else of
        averages = {name: state.get(f"{AVERAGE}/{name}", value) for name, value in parameters.items()}
        return {name: value.copy() for name, value in averages.items()}

    def state(self) -> Parameters:
        return {name: value.copy() for name, value in self._state.items()}

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._parameters = {name: value.astype(self._dtype) for name, value in parameters.items()}
        self._state = {name: value.astype(self._dtype) for name, value in state.items()}

    def snapshot(self) -> Snapshot:
        return dict(self._parameters), dict(self._state)  # their arrays are replaced and never written into

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        parameters, state = snapshot
        self._parameters, self._state = dict(parameters), dict(state)

    def _samples(self, update: Update) -> LabeledBatch:
        """Return the batch of an update: augmented, scaled and mixed."""
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
        if not self._spec.clip_norm:
            return gradients
        factor = clip_factor(map(squared_norm, gradients.values()), self._spec.clip_norm)
        return {name: gradient * factor for name, gradient in gradients.items()}

    def _move(self, gradients: Parameters, statistics: Parameters, step: Step) -> None:
        """Update parameters, running statistics and their averages."""
        learned = {name: self._parameters[name] for name in gradients}
        names = {f"{AVERAGE}/{name}" for name in self._spec.architecture.statistics}
        averages = {name: value for name, value in self._state.items() if name in names}
        state = {name: value for name, value in self._state.items() if name not in names}
        moved, self._state = self._optimizer.step(learned, gradients, state, step)
        present = {**self._parameters, **moved, **statistics}
        self._parameters = {name: present[name] for name in self._parameters}
        kept = self._optimizer.ema_decay(step.number)
        for name, average in averages.items():
            self._state[name] = kept * average + (1 - kept) * present[name.removeprefix(f"{AVERAGE}/")]

    def _logits(self, part: str) -> FloatArray:
        with one_blas_thread():
            return forward(self._spec.architecture, self.evaluation_parameters(), self._inputs[part]).logits
