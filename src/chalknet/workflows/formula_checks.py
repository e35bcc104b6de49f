"""Check each derivative formula of docs/derivation.md by central differences on real samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.preprocess import Scaling, flatten, input_scale
from chalknet.network.architecture import Architecture
from chalknet.network.dense import dense
from chalknet.network.gradcheck import STEP, relative_error
from chalknet.network.initializers import initial_parameters
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.relu import relu
from chalknet.network.softmax import softmax

Values = NDArray[np.floating[Any]]
# Label of a formula -> the loss as a function of one array, the array, and its gradient by the formula.
Cases = dict[str, list[tuple[Callable[[Values], float], Values, Values]]]


def check_formulas(data: Dataset, recipe: Recipe, n_samples: int = 20) -> dict[str, float]:
    """Return the relative error (G3) of each derivative formula of a one-hidden-layer network.

    Each formula is checked alone, in float64: the loss is a function of the formula's own argument,
    and all other values are fixed. The direction is the sum of the normalized gradient and a random
    unit vector (G1, G2).

    Args:
        data: the data set.
        recipe: the recipe; its first hidden width and its seed are used.
        n_samples: size of the batch, drawn with the recipe's seed; at most the data's.

    Returns:
        Label of the formula -> relative error.
    """
    rng = np.random.default_rng(recipe.training.seed)
    chosen = rng.choice(len(data), min(n_samples, len(data)), replace=False)
    x = Scaling(input_scale(data.inputs.dtype))(flatten(data.without_missing().inputs[chosen]), np.float64)
    y = data.labels[chosen]
    shape = Architecture(data.n_inputs, recipe.network.hidden[:1], data.n_classes)
    start: dict[str, Any] = initial_parameters(shape, recipe.training.seed)
    w_h, b_h = start["hidden1.weight"], start["hidden1.bias"]
    w_o, b_o = start["output.weight"], start["output.bias"]
    h, through_hidden = dense(x, w_h, b_h)
    g, through_relu = relu(h)
    o, through_output = dense(g, w_o, b_o)
    p, through_softmax = softmax(o)
    _, through_loss = softmax_cross_entropy(o, y)
    grad_o = through_loss()
    output = through_output(grad_o)
    grad_h = through_relu(output.grad_x)
    hidden = through_hidden(grad_h)
    weighting = rng.normal(size=p.shape)  # the loss that checks softmax alone is a random weighted sum

    def loss_of_logits(logits: Values) -> float:
        return softmax_cross_entropy(logits, y)[0]

    def loss_of_hidden(value: Values) -> float:
        return loss_of_logits(dense(relu(value)[0], w_o, b_o)[0])

    cases: Cases = {
        "S5": [(lambda value: float((weighting * softmax(value)[0]).sum()), o, through_softmax(weighting))],
        "L4": [(loss_of_logits, o, grad_o)],
        "A2": [(lambda value: loss_of_logits(dense(value, w_o, b_o)[0]), g, output.grad_x)],
        "A3": [(lambda value: loss_of_logits(dense(g, value, b_o)[0]), w_o, output.grad_weight)],
        "A4": [(lambda value: loss_of_logits(dense(g, w_o, value)[0]), b_o, output.grad_bias)],
        "R2": [(loss_of_hidden, h, grad_h)],
        "N3": [
            (lambda value: loss_of_hidden(dense(x, value, b_h)[0]), w_h, hidden.grad_weight),
            (lambda value: loss_of_hidden(dense(x, w_h, value)[0]), b_h, hidden.grad_bias),
        ],
    }
    errors = formula_errors(cases, rng)
    return {**errors, "N2": max(errors[label] for label in ("L4", "A2", "A3", "A4"))}


def formula_errors(cases: Cases, rng: np.random.Generator) -> dict[str, float]:
    """Return the largest relative error of the cases of each formula."""
    return {label: max(_error(*case, rng) for case in found) for label, found in cases.items()}


def _error(loss: Callable[[Values], float], at: Values, gradient: Values, rng: np.random.Generator) -> float:
    """Return the smallest relative error along one direction over three step sizes.

    Near the kink of a relu, a large step crosses it, and a smaller one does not.
    """
    direction = _unit_vector(_unit_vector(gradient) + _unit_vector(rng.normal(size=at.shape)))
    analytic = float((gradient * direction).sum())
    errors = []
    for step in (STEP, STEP / 2, STEP / 4):
        numeric = (loss(at + step * direction) - loss(at - step * direction)) / (2 * step)
        errors.append(relative_error(analytic, numeric))
    return min(errors)


def _unit_vector(values: Values) -> Values:
    """Return an array divided by its Euclidean norm."""
    return values / max(float(np.linalg.norm(values)), np.finfo(float).tiny)
