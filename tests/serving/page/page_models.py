"""Networks with every layer type, and pages of small models, for the tests of the page."""

from __future__ import annotations

import numpy as np

from chalknet.network.architecture import Architecture
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.model import Classifier, Network
from chalknet.network.parametric_activation import ParametricActivation
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding
from chalknet.network.residual import Residual
from chalknet.serving.page.embedded_model import embed_model
from chalknet.serving.page.embedded_samples import EmbeddedSamples
from chalknet.serving.page.page import PageContent, page_html

N_INPUTS, N_CLASSES = 7, 4
DENSE = Dense(5)


def layer_lists() -> dict[str, list]:
    """Return layers below the output by name; together they have every layer type."""
    found: dict[str, list] = {name: [DENSE, name] for name in ACTIVATIONS}
    found["no hidden layer"] = []
    found["batch norm"] = [Dense(5, bias=False), "batch_norm", "relu", DENSE, "batch_norm", "gelu"]
    found["scale and clip"] = ["scale", "smooth_clip", DENSE, "relu", "scale"]
    found["dropout"] = [Dropout(0.3), DENSE, "tanh", Dropout(0.5)]
    found["parametric"] = [one for name in ("relu", "selu", "mish") for one in (DENSE, ParametricActivation(name))]
    found["ntk"] = [Dense(6, parametrization="ntk"), "relu", Dense(5, bias=False, parametrization="ntk"), "tanh"]
    found["periodic"] = [PeriodicEmbedding(columns=3, frequencies=4), DENSE, "tanh", PeriodicEmbedding(outputs=2)]
    bins = PiecewiseLinearEmbedding(bins=2, outputs=2)
    found["piecewise linear"] = [PiecewiseLinearEmbedding(columns=3, bins=4), DENSE, "tanh", bins]
    found["categories"] = [CategoryEmbedding(3, (1, 2, 4, 3)), DENSE, "tanh", CategoryEmbedding(2, (0, 4))]
    return found


def image_layer_lists() -> dict[str, list]:
    """Return layers of images below the output by name."""
    found: dict[str, list] = {
        "course": [Conv2d(4), "relu", "batch_norm", "max_pool2d", "flatten", DENSE, "relu"],
        "strides": [Conv2d(4, (3, 2), stride=2, padding=1), "tanh", MaxPool2d(2, 1), AveragePool2d(2, 1), "flatten"],
        "groups": [
            Conv2d(4, 1),
            Conv2d(6, 3, groups=2, bias=False),
            "gelu",
            AveragePool2d(3, 2),
            "global_average_pool",
        ],
        "residual": [
            *(Conv2d(3), "relu", Conv2d(4, stride=2), Residual(2), "relu", Residual(1), Dropout(0.5), "flatten"),
            *(DENSE, "relu", Dropout(0.5), DENSE, Residual(3)),
        ],
    }
    return found


def architecture_of(layers: list, shape: tuple[int, ...] = (N_INPUTS,)) -> Architecture:
    """Return the architecture with these layers below the output."""
    return Architecture(shape, layers=[*layers, Dense(N_CLASSES)])


def random_parameters(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """Return float64 parameters by name, variances and scales above 0."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in architecture.shapes.items():
        is_positive = name.endswith((".variance", ".gamma"))
        found[name] = rng.uniform(0.4, 2, shape) if is_positive else rng.normal(0, 0.8, shape)
        if name.endswith(".edges"):
            found[name] = np.cumsum(rng.uniform(0.2, 1, shape), axis=1) - 1
    return found


def page_of(model: Classifier, samples: np.ndarray | None = None, **content) -> bytes:
    """Return the page of a model, with samples if there are any; their labels are what the model predicts."""
    embedded, chosen = embed_model(model, content.pop("precision", "float16")), None
    if samples is not None:
        labels = model.predict(samples)
        rows = samples.reshape(len(samples), -1)
        chosen = EmbeddedSamples(rows, labels, len(rows) // 2, len(rows) - len(rows) // 2)
    facts = {"background": 0, "ink": 255, "height": 1, "width": 1, "stretch": True, "center": "box", "stroke": 0.1}
    drawing = facts if model.image_shape else {}
    return page_html(PageContent(**{"title": "Test", "drawing": drawing, **content}, model=embedded, samples=chosen))


def small_network(n_inputs: int = N_INPUTS, class_names=("a", "b", "c", "d"), **facts) -> Network:
    """Return a network of one hidden layer for rows or, with image_shape, for images."""
    architecture = Architecture(n_inputs, (6,), len(class_names))
    parameters = random_parameters(architecture, seed=4)
    return Network(architecture, parameters, tuple(class_names), **facts)
