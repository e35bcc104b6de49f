"""What the page computes equals what the package computes: values, gradients and steps, in Chromium."""

from __future__ import annotations

import numpy as np
import pytest
from page_models import (
    N_CLASSES,
    architecture_of,
    image_layer_lists,
    layer_lists,
    page_of,
    random_parameters,
    small_network,
)

from chalknet.config import OptimizerConfig
from chalknet.network.architecture import forward
from chalknet.network.dense import Dense
from chalknet.network.layer_types import LAYER_TYPES
from chalknet.network.losses import softmax_cross_entropy
from chalknet.network.objective import LabeledBatch, Objective, loss_and_gradients
from chalknet.network.optimizers import Step, optimizer_for
from chalknet.serving.page.embedded_model import PAGE_LAYERS, layer_tables

pytestmark = pytest.mark.extras

# Both sides compute in float64, in another order. Steps of Adam divide by small numbers.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}
NETWORKS = {name: architecture_of(layers) for name, layers in layer_lists().items()}
NETWORKS |= {f"gray {name}": architecture_of(layers, (6, 5, 1)) for name, layers in image_layer_lists().items()}
NETWORKS |= {f"color {name}": architecture_of(layers, (6, 5, 3)) for name, layers in image_layer_lists().items()}
ROWS = 5
TO_JS = """
const made = (network) => ({
  ...network,
  parameters: Object.fromEntries(Object.entries(network.parameters).map(([k, v]) => [k, Float64Array.from(v)])),
});
const lists = (arrays) => Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k, v && [...v]]));
"""


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page of any model; only its formulas are used."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_bytes(page_of(small_network()))
    opened = chromium.new_page()
    opened.goto(path.as_uri())
    opened.wait_for_selector("html[data-ready]")
    yield opened
    opened.close()


def js_network(architecture, parameters):
    """Return a network as JSON for the page."""
    return {
        "layers": layer_tables(architecture),
        "multipliers": architecture.learning_rate_multipliers,
        "parameters": {name: value.ravel().tolist() for name, value in parameters.items()},
    }


def batch(architecture, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.5, (ROWS, architecture.n_inputs)), rng.integers(0, N_CLASSES, ROWS)


def same(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(np.reshape(found[name], value.shape), value, **TOLERANCE, err_msg=name)


def test_the_networks_here_have_every_type_of_the_page():
    types = {layer.type for architecture in NETWORKS.values() for layer in architecture.layers}
    assert types == PAGE_LAYERS
    assert types <= set(LAYER_TYPES)


@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_gradients_in_prediction(page, name):
    architecture = NETWORKS[name]
    parameters, (x, labels) = random_parameters(architecture), batch(architecture)
    network_pass = forward(architecture, parameters, x)
    loss, through = softmax_cross_entropy(network_pass.logits, labels)
    found = page.evaluate(
        f"""({{network, x, labels}}) => {{ {TO_JS}
        const all = chalk.lossAndGradients(made(network), Float64Array.from(x), labels);
        return {{loss: all.loss, logits: [...all.pass.logits], gradients: lists(all.gradients)}}; }}""",
        {"network": js_network(architecture, parameters), "x": x.ravel().tolist(), "labels": labels.tolist()},
    )
    assert found["loss"] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(np.reshape(found["logits"], (ROWS, -1)), network_pass.logits, **TOLERANCE)
    same(found["gradients"], network_pass.backward(through()))


@pytest.mark.parametrize("name", ["batch norm", "dropout", "relu", "gray course", "color residual"])
def test_gradients_in_training_with_smoothed_targets(page, name):
    architecture = NETWORKS[name]
    parameters, (x, labels) = random_parameters(architecture), batch(architecture)
    rng = np.random.default_rng(3)
    masks = {
        position: rng.integers(0, 2, (ROWS, *named.input_shape)) / (1 - named.layer.rate)
        for position, named in enumerate(architecture.named_layers)
        if named.layer.type == "dropout"
    }
    objective = Objective(reduction="sum", label_smoothing=0.1)
    expected = loss_and_gradients(architecture, parameters, LabeledBatch(x, labels), objective, masks)
    found = page.evaluate(
        f"""({{network, x, labels, masks}}) => {{ {TO_JS}
        const options = {{training: true, masks, reduction: "sum", smoothing: 0.1}};
        const all = chalk.lossAndGradients(made(network), Float64Array.from(x), labels, options);
        return {{loss: all.loss, gradients: lists(all.gradients), statistics: lists(all.statistics)}}; }}""",
        {
            "network": js_network(architecture, parameters),
            "x": x.ravel().tolist(),
            "labels": labels.tolist(),
            "masks": {str(position): mask.ravel().tolist() for position, mask in masks.items()},
        },
    )
    assert found["loss"] == pytest.approx(expected.value, rel=1e-12)
    same(found["gradients"], expected.gradients)
    same(found["statistics"], expected.statistics)


OPTIMIZERS = {
    "gradient descent": {"optimizer": "gradient_descent", "learning_rate": 0.1},
    "momentum": {"optimizer": "momentum", "learning_rate": 0.1, "momentum": 0.9, "bias_momentum": False},
    "momentum of all": {"optimizer": "momentum", "learning_rate": 0.1, "momentum": 0.9, "bias_momentum": True},
    "nesterov": {"optimizer": "nesterov", "learning_rate": 0.05, "momentum": 0.8},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-6},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.3},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps_of_every_optimizer(page, name):
    settings = OPTIMIZERS[name]
    slow = Dense(5, learning_rate_multiplier=0.5, bias_learning_rate_multiplier=0.1)
    architecture = architecture_of(["scale", slow, "relu"])
    parameters, (x, labels) = random_parameters(architecture), batch(architecture)
    expected = {key: value.copy() for key, value in parameters.items()}
    optimizer = optimizer_for(OptimizerConfig(**settings))
    state = optimizer.initial_state(expected)
    for number in range(1, 6):
        gradients = loss_and_gradients(architecture, expected, LabeledBatch(x, labels), Objective()).gradients
        step = Step(number, settings["learning_rate"])
        expected, state = optimizer.step(expected, gradients, state, step, architecture.learning_rate_multipliers)
    found = page.evaluate(
        f"""({{network, x, labels, settings}}) => {{ {TO_JS}
        const changed = made(network);
        const state = {{}};
        for (let k = 0; k < 5; k++) {{
          const all = chalk.lossAndGradients(changed, Float64Array.from(x), labels, {{training: true}});
          chalk.takeStep(changed, all.gradients, settings, state);
        }}
        return lists(changed.parameters); }}""",
        {
            "network": js_network(architecture, parameters),
            "x": x.ravel().tolist(),
            "labels": labels.tolist(),
            "settings": settings,
        },
    )
    same(found, expected)


def test_central_differences_agree_with_all_gradients(page):
    architecture = NETWORKS["gelu"]
    parameters, (x, labels) = random_parameters(architecture), batch(architecture)
    found = page.evaluate(
        f"""({{network, x, label}}) => {{ {TO_JS}
        const one = made(network);
        const row = Float64Array.from(x);
        const all = chalk.lossAndGradients(one, row, [label]);
        const numeric = (name, at) => chalk.centralDifference(one, row, label, name, at).numeric;
        const pairs = ([name, g]) => [...g].map((d, at) => [d, numeric(name, at)]);
        const lossOf = (x) => chalk.lossAndGradients(one, x, [label]).loss;
        const moved = (at, by) => lossOf(row.map((value, k) => value + (k === at ? by : 0)));
        const inputs = [...all.gradValues[0]].map((d, at) => [d, (moved(at, 1e-4) - moved(at, -1e-4)) / 2e-4]);
        return [...Object.entries(all.gradients).flatMap(pairs), ...inputs]; }}""",
        {"network": js_network(architecture, parameters), "x": x[0].tolist(), "label": int(labels[0])},
    )
    analytic, numeric = np.transpose(found)
    np.testing.assert_allclose(numeric, analytic, rtol=1e-6, atol=1e-9)  # the error of a step of 1e-4 is about 1e-8
