"""The training objective: the loss with label smoothing, mixup, sample weights and penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from chalknet.network.architecture import Architecture, NamedLayer, forward
from chalknet.network.arrays import FloatArray, LabelArray
from chalknet.network.layer import Parameters
from chalknet.network.losses import l2_penalty, mixup, smoothed_targets, soft_cross_entropy, softmax_cross_entropy


@dataclass(frozen=True)
class Objective:
    """The terms of the training objective.

    Attributes:
        reduction: "mean" or "sum" over the batch.
        label_smoothing: the smoothing of L7, in [0, 1).
        l2: strength of P1, >= 0.
    """

    reduction: str = "mean"
    label_smoothing: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True, eq=False)
class LabeledBatch:
    """A batch of training samples with their labels.

    Attributes:
        x: (B, I) scaled inputs, after augmentation and mixup.
        labels: (B,) integers in [0, K).
        weights: (B,) weight of each sample in the loss, or None for equal weights.
        partners: (B,) labels of the samples that were mixed in, or None without mixup.
        mixup_fraction: the fraction of `labels` in the targets (docs/derivation.md, L8).
    """

    x: FloatArray
    labels: LabelArray
    weights: FloatArray | None = None
    partners: LabelArray | None = None
    mixup_fraction: float = 1.0


class LossAndGradients(NamedTuple):
    """The value of the objective on a batch, with its gradients.

    Attributes:
        value: the objective, penalty included.
        logits: (B, K).
        gradients: the gradient of every learned parameter, by name.
        statistics: running statistics after this batch, as in `ForwardPass`.
        kinks: layers with a kink and their inputs, as in `ForwardPass`.
    """

    value: float
    logits: FloatArray
    gradients: Parameters
    statistics: Parameters
    kinks: tuple[tuple[NamedLayer, FloatArray], ...]


def loss_and_gradients(
    architecture: Architecture,
    parameters: Mapping[str, FloatArray],
    samples: LabeledBatch,
    objective: Objective,
    masks: Mapping[int, FloatArray] | None = None,
) -> LossAndGradients:
    """Return the objective on a batch and its gradient with respect to every learned parameter.

    objective = L + penalty, times B for reduction "sum"             (docs/derivation.md, L5, P1)

    Args:
        architecture: the layers.
        parameters: arrays by name, as `Architecture.shapes` lists them.
        samples: the batch.
        objective: the terms of the objective.
        masks: dropout masks by layer position, as in `forward`.

    Raises:
        ShapeError: inputs, labels or parameters do not fit the architecture.
    """
    network_pass = forward(architecture, parameters, samples.x, masks=masks, training=True)
    if samples.weights is None and samples.partners is None and not objective.label_smoothing:
        value, through_loss = softmax_cross_entropy(network_pass.logits, samples.labels, objective.reduction)
    else:
        targets = _targets(samples, network_pass.logits, objective.label_smoothing)
        value, through_loss = soft_cross_entropy(network_pass.logits, targets, samples.weights, objective.reduction)
    gradients = network_pass.backward(through_loss())
    times = len(samples.labels) if objective.reduction == "sum" else 1
    for strength, weights in _penalized(architecture, parameters, objective.l2).items():
        penalty, through_penalty = l2_penalty(weights, strength * times)
        value += penalty
        for name, gradient in through_penalty().items():
            gradients[name] = gradients[name] + gradient
    return LossAndGradients(value, network_pass.logits, gradients, network_pass.statistics, network_pass.kinks)


def _penalized(
    architecture: Architecture, parameters: Mapping[str, FloatArray], l2: float
) -> dict[float, dict[str, FloatArray]]:
    """Return the weights by the strength of their penalty: that of the objective plus that of their layer."""
    found: dict[float, dict[str, FloatArray]] = {}
    for name, one in architecture.parameters.items():
        if name.endswith(".weight") and l2 + one.l2:
            found.setdefault(l2 + one.l2, {})[name] = parameters[name]
    return found


def _targets(samples: LabeledBatch, logits: FloatArray, smoothing: float) -> FloatArray:
    n_classes = logits.shape[1]
    targets = smoothed_targets(samples.labels, n_classes, smoothing)
    if samples.partners is not None:
        targets = mixup(targets, smoothed_targets(samples.partners, n_classes, smoothing), samples.mixup_fraction)
    return targets.astype(logits.dtype)
