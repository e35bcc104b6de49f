"""What a notebook shows of a network."""

from __future__ import annotations

from chalknet.formatting import count_of, listed
from chalknet.network.architecture import Architecture
from chalknet.notebook_view import facts, table, view

MAX_NAMES = 12  # classes that are named


def network_html(architecture: Architecture, class_names: tuple[str, ...], dtype: str, n_networks: int) -> str:
    """Return the layers of a network, or of each of an ensemble, as HTML.

    Args:
        architecture: the layers.
        class_names: K names.
        dtype: the float type of the parameters.
        n_networks: number of networks whose probabilities are averaged, 1 for one network.
    """
    layers = []
    for named in architecture.named_layers:
        shapes = [one.shape for one in named.parameters.values()]
        n_values = sum(_product(shape) for shape in shapes)
        size = _times(named.layer.output_shape(named.input_shape))
        layers.append((named.layer.type, _times(named.input_shape), size, f"{n_values:,}"))
    shown = [*class_names[:MAX_NAMES], *(["others"] if len(class_names) > MAX_NAMES else [])]
    total = sum(_product(shape) for shape in architecture.shapes.values())
    every = [
        ("classes", f"{len(class_names)}: {listed(shown)}"),
        ("values", f"{n_networks * total:,} of type {dtype}"),
    ]
    name = "Network" if n_networks == 1 else f"Ensemble of {count_of(n_networks, 'network')}"
    return view(
        f"{name} {architecture}",
        facts(every),
        table(("layer", "inputs", "outputs", "values"), layers, "layer"),
        next_step="network.predict_names(samples)",
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for n in shape:
        product *= n
    return product
