"""Gradients of the whole training objective against differences, and the effect of each term."""

import numpy as np
import pytest
from conftest import needs
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from chalknet.network.architecture import Architecture
from chalknet.network.dropout import Dropout
from chalknet.network.gradcheck import check_objective
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.objective import LabeledBatch, Objective, loss_and_gradients
from chalknet.network.random_numbers import dropout_mask


@st.composite
def objectives(draw):
    """Draw an architecture with parameters, samples, an objective and dropout masks, in float64."""
    hidden = tuple(draw(st.lists(st.integers(2, 6), min_size=1, max_size=3)))
    activations = tuple(draw(st.sampled_from(sorted(ACTIVATIONS))) for _ in hidden)
    n_inputs, n_classes, b, seed = (
        draw(st.integers(2, 6)),
        draw(st.integers(2, 4)),
        draw(st.integers(3, 9)),
        draw(seeds),
    )
    drops = draw(st.booleans())
    short = Architecture(n_inputs, hidden, n_classes, activations, draw(st.booleans()), 0.3 if drops else 0.0)
    first = [Dropout(0.3)] if drops else []
    architecture = Architecture(n_inputs, layers=[*first, *short.layers])
    rng = np.random.default_rng(seed)
    parameters = {
        name: value + 0.1 * rng.normal(size=value.shape)
        for name, value in initial_parameters(architecture, seed, "glorot_normal").items()
    }
    labels, partners = rng.integers(0, n_classes, b), rng.integers(0, n_classes, b)
    weights = rng.uniform(0.2, 2, b) if draw(st.booleans()) else None
    mixes = draw(st.booleans())
    samples = LabeledBatch(
        rng.normal(size=(b, n_inputs)), labels, weights, partners if mixes else None, 0.7 if mixes else 1.0
    )
    objective = Objective(
        draw(st.sampled_from(["mean", "sum"])), draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 0.3]))
    )
    masks = {
        position: dropout_mask(seed, named.stream, 1, slice(0, b), named.input_shape[0], 0.3, np.float64)
        for position, named in enumerate(architecture.named_layers)
        if isinstance(named.layer, Dropout)
    }
    return architecture, parameters, samples, objective, masks


@given(objectives(), seeds)
def test_gradients_of_any_objective_match_differences(case, seed):
    gradients = loss_and_gradients(*case).gradients
    architecture, parameters, *rest = case
    checks = check_objective(architecture, parameters, gradients, *rest, seed=seed)
    assert {check.parameter for check in checks} == {n for n in parameters if not n.endswith((".mean", ".variance"))}
    assert all(check.relative_error < 1e-6 for check in checks), checks


# Layers that the short form does not have.
LAYERS = {
    "parametric activation": [
        {"type": "dense", "units": 6}, {"type": "parametric_activation", "activation": "selu"},
        {"type": "dense", "units": 4}, {"type": "parametric_activation", "activation": "mish"},
    ],
    "ntk": [
        {"type": "dense", "units": 6, "parametrization": "ntk"}, "tanh",
        {"type": "dense", "units": 4, "parametrization": "ntk", "bias": False}, "mish",
    ],
    "periodic embedding": [
        {"type": "periodic_embedding", "columns": 3, "frequencies": 4, "outputs": 2}, {"type": "dense", "units": 4},
        "mish", {"type": "periodic_embedding", "sigma": 0.5},
    ],
    "piecewise-linear embedding": [
        {"type": "piecewise_linear_embedding", "columns": 3, "bins": 4, "outputs": 2}, "scale",
        {"type": "dense", "units": 4}, "mish", {"type": "piecewise_linear_embedding"},
    ],
    "category embedding": [
        {"type": "category_embedding", "groups": [1, 3], "outputs": 2}, {"type": "dense", "units": 4}, "mish",
        {"type": "category_embedding", "groups": [0, 1, 1, 2]},
    ],
    "scale": ["scale", {"type": "dense", "units": 6}, "tanh", "scale"],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_of_other_layers_match_differences(name, reduction):
    architecture, rng = Architecture(5, n_classes=3, layers=LAYERS[name]), np.random.default_rng(2)
    parameters = {
        key: value + (key not in architecture.statistics) * 0.2 * rng.normal(size=value.shape)
        for key, value in initial_parameters(architecture, 0).items()
    }
    samples = LabeledBatch(rng.normal(size=(8, 5)), rng.integers(0, 3, 8), rng.uniform(0.5, 2, 8))
    arguments = (samples, Objective(reduction, 0.1, 0.2))
    gradients = loss_and_gradients(architecture, parameters, *arguments).gradients
    assert set(gradients) == set(parameters) - architecture.statistics
    checks = check_objective(architecture, parameters, gradients, *arguments)
    assert all(check.relative_error < 1e-6 for check in checks), checks


FAULTS = {"a flipped sign": -1.0, "a forgotten 1/B": 8.0, "a 0.1 % scale error": 1.001}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("group", ["hidden1.weight", "hidden1.bias", "hidden1.gamma", "output.weight"])
def test_a_planted_fault_is_caught_with_all_terms_on(group, fault):
    architecture = Architecture(5, (6,), 3, ("gelu",), batch_norm=True)
    rng = np.random.default_rng(1)
    parameters = {
        name: value + 0.3 * rng.normal(size=value.shape) for name, value in initial_parameters(architecture, 0).items()
    }
    samples = LabeledBatch(rng.normal(size=(8, 5)), rng.integers(0, 3, 8), rng.uniform(0.5, 2, 8))
    arguments = (samples, Objective("mean", 0.1, 0.2))
    gradients = loss_and_gradients(architecture, parameters, *arguments).gradients
    wrong = {**gradients, group: FAULTS[fault] * gradients[group]}
    assert [c.parameter for c in check_objective(architecture, parameters, wrong, *arguments) if not c.ok] == [group]


def test_sum_is_b_times_the_mean_with_the_penalty():
    rng = np.random.default_rng(0)
    architecture = Architecture(4, (3,), 2)
    parameters = initial_parameters(architecture, 0)
    samples = LabeledBatch(rng.normal(size=(6, 4)), rng.integers(0, 2, 6))
    objectives = (Objective(kind, 0.0, 0.5) for kind in ("mean", "sum"))
    mean, total = (loss_and_gradients(architecture, parameters, samples, one) for one in objectives)
    assert total.value == pytest.approx(6 * mean.value)
    for name, gradient in mean.gradients.items():
        np.testing.assert_allclose(total.gradients[name], 6 * gradient, rtol=1e-10)


@pytest.mark.extras
def test_a_network_with_batch_norm_equals_torch_autograd():
    torch = needs("torch")
    rng = np.random.default_rng(3)
    architecture = Architecture(5, (6, 4), 3, ("tanh", "gelu"), batch_norm=True)
    parameters = initial_parameters(architecture, 0)
    x, labels = rng.normal(size=(9, 5)), rng.integers(0, 3, 9)
    learned = loss_and_gradients(architecture, parameters, LabeledBatch(x, labels), Objective("mean", 0.1, 0.2))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in parameters.items()}
    value = torch.tensor(x)
    for layer, activation in (("hidden1", torch.tanh), ("hidden2", None)):
        value = value @ tensors[f"{layer}.weight"].T
        value = torch.nn.functional.batch_norm(
            value, None, None, tensors[f"{layer}.gamma"], tensors[f"{layer}.bias"], training=True, eps=1e-5
        )
        value = activation(value) if activation else torch.nn.functional.gelu(value, approximate="tanh")
    value = value @ tensors["output.weight"].T + tensors["output.bias"]
    loss = torch.nn.functional.cross_entropy(value, torch.tensor(labels), label_smoothing=0.1)
    loss = loss + 0.1 * sum((t**2).sum() for name, t in tensors.items() if name.endswith(".weight"))
    loss.backward()
    assert learned.value == pytest.approx(loss.item(), rel=1e-12)
    for name, gradient in learned.gradients.items():
        np.testing.assert_allclose(gradient, tensors[name].grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=name)
