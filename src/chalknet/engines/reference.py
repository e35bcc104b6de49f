"""The formulas as they stand: no buffers, no tiles, any float type. Every other engine is held to this one.

Products run on one BLAS thread, so that the last digits depend on the seed and the machine and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalknet.data.preprocess import scale_inputs
from chalknet.engines.engine import Batch, Part, SampleScores, UpdateRule
from chalknet.machine.blas import one_blas_thread
from chalknet.network.architecture import Parameters, forward
from chalknet.network.arrays import FloatArray
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.metrics import mean_scores, sample_losses, score
from chalknet.records import Scores


class ReferenceEngine:
    """`Engine` by `network/`'s pure functions.

    Args:
        parts: "train", "valid" and "test"; an absent or empty part is never scored. All of them are held in memory.
        parameters: initial values by name.
        rule: the optimiser.
        input_scale: raw inputs are divided by it, once, here.
        reduction: "sum" or "mean" over a batch, of the gradient.
        dtype: float64 or float32, of everything.
        workers, tile_rows: not used; there is one worker, and batches go through whole.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        parameters: Mapping[str, NDArray[Any]],
        rule: UpdateRule,
        *,
        input_scale: float = 1.0,
        reduction: str = "mean",
        dtype: DTypeLike = np.float64,
        workers: int | None = None,
        tile_rows: int = 0,
    ) -> None:
        del workers, tile_rows
        self._parts = {
            name: Part(scale_inputs(part.inputs[:], input_scale, dtype), part.labels)
            for name, part in parts.items()
            if len(part.labels)
        }
        self._rule = rule
        self._reduction = reduction
        self._dtype = np.dtype(dtype)
        self._parameters: Parameters = {name: value.astype(self._dtype) for name, value in parameters.items()}
        self._state = rule.start(self._parameters)

    def train_epoch(self, batches: Iterable[Batch]) -> Scores:
        train = self._parts["train"]
        scores, sizes = [], []
        with one_blas_thread():
            for batch in batches:
                x, labels = train.inputs[batch], train.labels[batch]
                logits, through_network = forward(self._parameters, x)
                _, through_loss = softmax_cross_entropy(logits, labels, self._reduction)
                gradients = through_network(through_loss())
                self._parameters, self._state = self._rule.step(self._parameters, gradients, self._state)
                scores.append(score(logits, labels))
                sizes.append(len(labels))
        return mean_scores(scores, sizes)

    def evaluate(self, part: str) -> Scores | None:
        if part not in self._parts:
            return None
        return score(self._logits(part), self._parts[part].labels)

    def evaluate_each(self, part: str) -> SampleScores | None:
        if part not in self._parts:
            return None
        logits, labels = self._logits(part), self._parts[part].labels
        return SampleScores(sample_losses(logits, labels), logits.argmax(axis=1) == labels)

    def parameters(self) -> Parameters:
        return {name: value.copy() for name, value in self._parameters.items()}

    def state(self) -> Parameters:
        return {name: value.copy() for name, value in self._state.items()}

    def restore(self, parameters: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> None:
        self._parameters = {name: value.astype(self._dtype) for name, value in parameters.items()}
        self._state = {name: value.astype(self._dtype) for name, value in state.items()}

    def _logits(self, part: str) -> FloatArray:
        with one_blas_thread():
            return forward(self._parameters, self._parts[part].inputs)[0]
