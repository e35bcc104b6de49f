"""Classifiers of every kind that an export must support, with samples for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chalknet.data.load import load_data
from chalknet.data.preprocess import Scaling, fit_scaling
from chalknet.network.architecture import Architecture
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.model import Classifier, Ensemble, Network
from chalknet.network.parametric_activation import ParametricActivation
from chalknet.network.periodic_embedding import PeriodicEmbedding
from chalknet.network.piecewise_linear_embedding import PiecewiseLinearEmbedding
from chalknet.network.residual import Residual

LETTERS = tuple("ABCDEFGHIJ")


DENSE = Dense(12)


def letters(n: int = 1_000) -> np.ndarray:
    """Return n of the built-in letters, (n, 28, 28) uint8, of all classes."""
    images = load_data("glyphs").inputs
    return images[np.linspace(0, len(images) - 1, n).astype(int)]


def random_network(
    activations=("relu",), batch_norm=False, standard=False, dtype=np.float32, seed=0, images=True, widths=(40,)
) -> Network:
    """Return a network that is confident about some letters and not about others."""
    rng = np.random.default_rng(seed)
    hidden = widths * len(activations)
    architecture = Architecture(784, hidden, 10, activations, batch_norm)
    return network_of(architecture, rng, standard=standard, dtype=dtype, images=images)


def network_of(architecture, rng, *, standard=False, dtype=np.float32, images=True, gain=2.0) -> Network:
    """Return a network of the letters with random weights; with a large gain, logits grow from layer to layer."""
    parameters = {name: draw(rng, name, shape, gain).astype(dtype) for name, shape in architecture.shapes.items()}
    samples = letters()
    scaling = Scaling(255.0)
    if standard:
        scaling = fit_scaling("standard", samples, np.arange(len(samples)), True)
    shape = (28, 28) if architecture.n_inputs == 784 else (28, 28, 3)
    return Network(architecture, parameters, LETTERS, scaling, shape if images else None)


def draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], gain: float = 2.0) -> np.ndarray:
    if name.endswith(".weight"):
        return rng.normal(0, gain / np.sqrt(np.prod(shape[1:])), shape)
    if name.endswith((".variance", ".gamma")):
        return rng.uniform(0.3, 3, shape)
    if name.endswith(".edges"):
        return np.cumsum(rng.uniform(0.1, 0.5, shape), axis=1) - 1
    return rng.normal(0, 0.5, shape)


def ensemble(n: int = 3, **kinds) -> Ensemble:
    return Ensemble(tuple(random_network(seed=seed, **kinds) for seed in range(n)))


def every_kind() -> dict[str, Classifier]:
    """Return name -> classifier, for each activation and each other feature of a model."""
    found: dict[str, Classifier] = {name: random_network((name,)) for name in ACTIVATIONS}
    found["no hidden layer"] = random_network(())
    found["all activations"] = random_network(tuple(ACTIVATIONS))
    found["batch norm"] = random_network(("relu", "gelu"), batch_norm=True, seed=3)
    found["standard scaling"] = random_network(standard=True)
    found["rows"] = random_network(images=False)
    found["float64"] = random_network(("tanh", "leaky_relu"), dtype=np.float64)
    found["ensemble"] = ensemble()
    layers = ["batch_norm", "tanh", DENSE, Dropout(0.5), "batch_norm", DENSE, "relu"]
    found["layers"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(3))
    layers = ["scale", DENSE, "relu", "scale"]
    found["scale"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(4))
    layers = [one for name in ("relu", "selu", "mish") for one in (DENSE, ParametricActivation(name))]
    found["parametric"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(5))
    layers = [Dense(12, parametrization="ntk"), "relu", Dense(12, bias=False, parametrization="ntk"), "tanh"]
    small = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(6))
    weights = {name: small.parameters[name] for name in ("hidden1.weight", "hidden2.weight")}
    large = {name: value * np.float32(np.sqrt(value.shape[1])) for name, value in weights.items()}
    found["ntk"] = replace(small, parameters=small.parameters | large)
    layers = [PeriodicEmbedding(columns=9, frequencies=4), DENSE, "tanh", PeriodicEmbedding(outputs=2)]
    found["periodic"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(7))
    layers = [PiecewiseLinearEmbedding(columns=9, bins=5), DENSE, "tanh", PiecewiseLinearEmbedding(bins=2)]
    layers += [DENSE, "tanh", PiecewiseLinearEmbedding(bins=1, outputs=2)]
    found["piecewise linear"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(9))
    layers = [CategoryEmbedding(6, (0, 80, 90, 300)), DENSE, "tanh", CategoryEmbedding(2, (3, 4))]
    found["categories"] = network_of(Architecture(784, n_classes=10, layers=layers), np.random.default_rng(10))
    found |= convolutional()
    found["all of it"] = ensemble(2, activations=("gelu", "tanh"), batch_norm=True, standard=True, dtype=np.float64)
    return found


def convolutional() -> dict[str, Classifier]:
    """Return networks of gray and of color images with all layers of images, and a dense one for color."""
    start = [Conv2d(4, stride=2), "relu", "batch_norm", "max_pool2d"]
    block = [Conv2d(4, bias=False), "batch_norm", "relu", Dropout(0.5), Conv2d(4, (3, 1)), "batch_norm", Residual(6)]
    smaller = [Conv2d(6, stride=2), "gelu", Residual(2), Conv2d(6, groups=6), MaxPool2d(2, 1), AveragePool2d(2, 1)]
    end = ["flatten", "batch_norm", DENSE, "relu", DENSE, Residual(2)]
    pooled = [Conv2d(9, 5, stride=4, padding=0), "tanh", "global_average_pool"]
    rng = np.random.default_rng(8)
    found: dict[str, Classifier] = {}
    for name, shape in (("gray", (28, 28, 1)), ("color", (28, 28, 3))):
        for kind, layers, gain in (
            ("convolution", [*start, "flatten", "relu", Dropout(0.5), DENSE, "relu"], 2.0),
            ("residual", [*start, *block, *smaller, *end], 1.0),
            ("global pooling", pooled, 4.0),
        ):
            found[f"{name} {kind}"] = network_of(Architecture(shape, n_classes=10, layers=layers), rng, gain=gain)
    found["color dense"] = network_of(Architecture(28 * 28 * 3, (20,), 10), rng)
    layers = [*start, *block, "flatten", "sigmoid"]
    architecture = Architecture((28, 28, 3), n_classes=10, layers=layers)
    networks = [network_of(architecture, rng, gain=3.0) for _ in range(2)]
    found["color ensemble"] = Ensemble(tuple(networks))
    return found


def samples_for(model: Classifier) -> np.ndarray:
    """Return up to 1,000 letters in the shape that the model was trained on."""
    is_color = model.image_shape == (28, 28, 3)
    if model.architecture.reads_images or is_color:
        gray = letters(300)
        return np.stack([gray, gray[:, ::-1], 255 - gray], axis=3) if is_color else gray
    return letters() if model.image_shape else letters().reshape(1_000, 784)
