"""The training objective and its gradient: the loss of a batch with everything that a recipe adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chalknet.network.architecture import Architecture, forward
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.layer import Parameters
from chalknet.network.losses import l2_penalty, mixup, smoothed_targets, soft_cross_entropy, softmax_cross_entropy


@dataclass(frozen=True)
class Objective:
    """The terms of the training objective.

    Attributes:
        reduction: "mean" over the batch or "sum".
        label_smoothing: epsilon of L7, in [0, 1).
        l2: strength of P1, >= 0.
    """

    reduction: str = "mean"
    label_smoothing: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, eq=False)
class LabeledBatch:
    """A batch as the objective reads it.

    Attributes:
        x: (B, I), mixed already where samples are mixed.
        labels: (B,).
        weights: (B,) weight of each sample, or None for equal weights.
        partners: (B,) labels of the samples that were mixed in, or None.
        mixup_fraction: lambda of L8.
    """

    x: FloatArray
    labels: LabelArray
    weights: FloatArray | None = None
    partners: LabelArray | None = None
    mixup_fraction: float = 1.0


class LossAndGradients(NamedTuple):
    """The objective on a batch.

    Attributes:
        value: of the objective.
        logits: (B, K).
        gradients: of every learned parameter, by name.
        statistics, kink_inputs: as in `ForwardPass`.
    """

    value: float
    logits: FloatArray
    gradients: Parameters
    statistics: Parameters
    kink_inputs: tuple[FloatArray, ...]


def loss_and_gradients(
    architecture: Architecture,
    parameters: Mapping[str, FloatArray],
    samples: LabeledBatch,
    objective: Objective,
    masks: Mapping[int, FloatArray] | None = None,
) -> LossAndGradients:
    """Return the objective on a batch and its gradient by every learned parameter.

    J = L + penalty, times B where the reduction is a sum            (docs/derivation.md, L5, P1)

    Args:
        architecture, parameters, masks: as in `forward`.
    Raises:
        ShapeError: shapes do not fit together.
    """
    whole = forward(architecture, parameters, samples.x, masks=masks, training=True)
    if samples.weights is None and samples.partners is None and not objective.label_smoothing:
        value, through_loss = softmax_cross_entropy(whole.logits, samples.labels, objective.reduction)
    else:
        targets = _targets(samples, whole.logits, objective.label_smoothing)
        value, through_loss = soft_cross_entropy(whole.logits, targets, samples.weights, objective.reduction)
    gradients = whole.backward(through_loss())
    if objective.l2:
        times = len(samples.labels) if objective.reduction == "sum" else 1
        penalty, through_penalty = l2_penalty(parameters, objective.l2 * times)
        value += penalty
        for name, gradient in through_penalty().items():
            gradients[name] = gradients[name] + gradient
    return LossAndGradients(value, whole.logits, gradients, whole.statistics, whole.kink_inputs)


def _targets(samples: LabeledBatch, logits: FloatArray, smoothing: float) -> FloatArray:
    n_classes = logits.shape[1]
    targets = smoothed_targets(samples.labels, n_classes, smoothing)
    if samples.partners is not None:
        targets = mixup(targets, smoothed_targets(samples.partners, n_classes, smoothing), samples.mixup_fraction)
    return targets.astype(logits.dtype)
