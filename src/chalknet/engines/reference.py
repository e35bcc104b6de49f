"""The formulas as they stand: no buffers, no tiles, any float type. Every other engine is held to this one.

Products run on one BLAS thread, so that the last digits depend on the seed and the machine and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import AVERAGE, Part, SampleScores, Snapshot, Step, Update, UpdateRule
from chalknet.engines.noise import Noise
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import STATISTICS, Parameters, forward
from chalknet.network.arrays import FloatArray
from chalknet.network.clipping import clip_factor, squared_length
from chalknet.network.losses import mixed
from chalknet.network.metrics import mean_scores, sample_losses, score
from chalknet.network.objective import Objective, Samples, learn
from chalknet.records import Scores


class ReferenceEngine:
    """`Engine` by `network/`'s pure functions; see `EngineMaker` for the arguments.

    All parts are held in memory. workers and tile_rows are not used: there is one worker, and batches go through whole.
    """

    device = "cpu"

    def __init__(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        scaling: Scaling = Scaling(),
        objective: Objective = Objective(),
        activations: Sequence[str] = (),
        noise: Noise = Noise(),
        clip_norm: float = 0.0,
        dtype: DTypeLike = np.float64,
        workers: int | None = None,
        tile_rows: int = 0,
    ) -> None:
        del workers, tile_rows
        self._raw = {name: part for name, part in parts.items() if len(part.labels)}
        self._scaling, self._objective, self._activations = scaling, objective, tuple(activations)
        self._rule, self._noise, self._clip_norm = rule, noise, clip_norm
        self._dtype = np.dtype(dtype)
        self._inputs = {name: scaling(part.inputs[:], self._dtype) for name, part in self._raw.items()}
        self._parameters: Parameters = {name: value.astype(self._dtype) for name, value in parameters.items()}
        self._state = self._started()

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def train_epoch(self, updates: Iterable[Update]) -> Scores:
        scores, sizes = [], []
        with one_blas_thread():
            for update in updates:
                samples, keep = self.lesson(update)
                learned = learn(self._parameters, samples, self._objective, self._activations, keep)
                self._move(self._clipped(learned.gradients), learned.statistics, update.step)
                scores.append(score(learned.logits, samples.labels))
                sizes.append(len(samples.labels))
                if not math.isfinite(scores[-1].loss):
                    break
        return mean_scores(scores, sizes)

    def lesson(self, update: Update) -> tuple[Samples, list[FloatArray | None]]:
        """What an update learns from: its samples as the noise leaves them, and dropout's factors."""
        samples = self._samples(update)
        return samples, self._keep(update.step.number, samples.x)

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate(self, part: str) -> Scores | None:
        if part not in self._raw:
            return None
        return score(self._logits(part), self._raw[part].labels)

    @np.errstate(over="ignore", invalid="ignore")  # scores say what is not finite
    def evaluate_each(self, part: str) -> SampleScores | None:
        if part not in self._raw:
            return None
        logits, labels = self._logits(part), self._raw[part].labels
        return SampleScores(sample_losses(logits, labels), logits.argmax(axis=1) == labels)

    def parameters(self) -> Parameters:
        return {name: value.copy() for name, value in self._parameters.items()}

    def shown_parameters(self, of: Snapshot | None = None) -> Parameters:
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

    def go_back(self, snapshot: Snapshot) -> None:
        parameters, state = snapshot
        self._parameters, self._state = dict(parameters), dict(state)

    def _samples(self, update: Update) -> Samples:
        """The batch of an update as it is learnt: changed, scaled and mixed, as the noise has it."""
        train, batch, number = self._raw["train"], update.batch, update.step.number
        labels = train.labels[batch]
        draws = self._noise.draws(number, slice(0, len(labels)))
        x = self._inputs["train"][batch]
        if draws is not None:
            x = self._scaling(self._noise.changed(train.inputs[batch], draws), self._dtype)
        weights = None if train.weights is None else train.weights[batch].astype(self._dtype)
        mixing = self._noise.mixing(number, len(labels))
        if mixing is None:
            return Samples(x, labels, weights)
        partners, share = mixing
        return Samples(mixed(x, x[partners], share), labels, weights, labels[partners], share)

    def _keep(self, number: int, x: FloatArray) -> list[FloatArray | None]:
        biases = [value for name, value in self._parameters.items() if name.endswith(".bias")]
        widths = [x.shape[1], *(len(bias) for bias in biases[:-1])]
        rows = slice(0, len(x))
        return [self._noise.keep(layer, number, rows, width, self._dtype) for layer, width in enumerate(widths)]

    def _clipped(self, gradients: Parameters) -> Parameters:
        if not self._clip_norm:
            return gradients
        factor = clip_factor(map(squared_length, gradients.values()), self._clip_norm)
        return {name: gradient * factor for name, gradient in gradients.items()}

    def _move(self, gradients: Parameters, statistics: Parameters, step: Step) -> None:
        """One step of what is learnt; running statistics are replaced, and averaged where the weights are."""
        learnt = {name: self._parameters[name] for name in gradients}
        averages = {name: value for name, value in self._state.items() if name.endswith(STATISTICS)}
        moved, self._state = self._rule.step(learnt, gradients, _without(self._state, averages), step)
        present = {**self._parameters, **moved, **statistics}
        self._parameters = {name: present[name] for name in self._parameters}
        kept = self._rule.kept_of_average(step.number)
        for name, average in averages.items():
            self._state[name] = kept * average + (1 - kept) * present[name.removeprefix(f"{AVERAGE}/")]

    def _started(self) -> Parameters:
        """What the rule remembers of what is learnt, and the average of the running statistics where it keeps one."""
        statistics = {name: value for name, value in self._parameters.items() if name.endswith(STATISTICS)}
        state = self._rule.start(_without(self._parameters, statistics))
        if AVERAGE in self._rule.slots:
            state |= {f"{AVERAGE}/{name}": value.copy() for name, value in statistics.items()}
        return state

    def _logits(self, part: str) -> FloatArray:
        with one_blas_thread():
            return forward(self.shown_parameters(), self._inputs[part], self._activations)[0]


def _without(named: Parameters, left_out: Parameters) -> Parameters:
    return {name: value for name, value in named.items() if name not in left_out}
