"""The code: the functions of `chalknet.network` that define the network and its gradients, as they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from chalknet.config import Recipe
from chalknet.network.architecture import forward
from chalknet.network.batch_norm import batch_norm
from chalknet.network.dense import dense
from chalknet.network.dropout import dropout
from chalknet.network.layer_types import ACTIVATIONS, LAYER_TYPES
from chalknet.network.losses import l2_penalty, smoothed_targets, soft_cross_entropy, softmax_cross_entropy
from chalknet.network.objective import loss_and_gradients
from chalknet.network.optimizers import Optimizer, optimizer_for
from chalknet.network.softmax import log_softmax, softmax
from chalknet.network.windows import add_windows, windows
from chalknet.reporting.document import Block, Code, Paragraph, Section
from chalknet.reporting.report_data import ReportData
from chalknet.reporting.sections.learning import learning_configuration

Part = Callable[..., Any] | type


def code_section(report_data: ReportData, number: str = "B", title: str = "The code") -> Section:
    """Show the source of the functions that define the network of the document and its gradients.

    If the study names its configurations, the functions of all their networks are shown.
    """
    runs = learning_configuration(report_data)
    recipe = report_data.recipe if runs is None else runs.configuration.recipe
    blocks: list[Block] = [Paragraph(_introduction(report_data, recipe))]
    recipes = [one.recipe for one in report_data.results.configurations] if report_data.is_named else [recipe]
    shown: dict[str, dict[Part, None]] = {}
    for one in recipes:
        for heading, parts in listings(one):
            shown.setdefault(heading, {}).update(dict.fromkeys(parts))
    for heading, found in shown.items():
        sources = [source for part in found if (source := source_of(part))]
        if sources:
            blocks += [Paragraph(f"*{heading}*"), Code("\n\n\n".join(sources))]
    return Section(number, title, tuple(blocks))


def listings(recipe: Recipe) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    """Return what is shown of a recipe's network: headings, and the functions and classes below each."""
    network, added = recipe.network, recipe.regularization
    names = [] if network.layers else list(dict.fromkeys(network.activations()))
    activations: list[Part] = [ACTIVATIONS[name].function for name in names if name != "identity"]
    layers: Sequence[Part] = [dense, *([batch_norm] if network.batch_norm else []), *activations]
    if network.layers:
        layers = _functions_of([layer["type"] for layer in (*network.layers_below_output, network.output_layer)])
    layers = [*layers, *([dropout] if added.dropout else [])]
    is_soft = bool(added.label_smoothing or recipe.augmentation.mixup or added.class_weights != "equal")
    loss: list[Part] = [softmax, log_softmax, softmax_cross_entropy]
    loss += [smoothed_targets, soft_cross_entropy] if is_soft else []
    loss += [l2_penalty] if added.l2 or any(layer.get("l2") for layer in network.layers) else []
    optimizers: list[Part] = []
    update: Optimizer | None = optimizer_for(recipe.optimizer)
    while update is not None:  # weight decay and averages contain the optimizer that they extend
        optimizers.append(type(update))
        update = getattr(update, "optimizer", None)
    return (
        ("Layers: the value and, as an inner function, its derivative", tuple(layers)),
        ("Softmax and the loss", tuple(loss)),
        ("The network: through all layers and back", (forward, loss_and_gradients)),
        ("The update", tuple(optimizers)),
    )


def _functions_of(types: Sequence[str]) -> list[Part]:
    """Return the pure functions of types of layers, each once: those with the name of their type.

    Before them are the functions of windows, if a layer looks at windows.
    """
    modules = {name: inspect.getmodule(LAYER_TYPES[name]) for name in types}
    own: list[Part] = [
        getattr(module, name) for name, module in modules.items() if name != "identity" and hasattr(module, name)
    ]
    looks_at_windows = any(hasattr(module, "add_windows") for module in modules.values())
    return [*([windows, add_windows] if looks_at_windows else []), *own]


def source_of(part: Part) -> str:
    """Return the source of a function or class, or "" where it is not installed with the package."""
    try:
        return inspect.getsource(part).rstrip()
    except OSError:
        return ""


def _introduction(report_data: ReportData, recipe: Recipe) -> str:
    """Say which code ran, and how the engine relates to the functions that are shown."""
    text = (
        "These functions of chalknet's `network` package define the network and its gradients. Every derivative is "
        "written by hand; no automatic differentiation is used. Labels in the docstrings, such as L2, are those of "
        "`docs/derivation.md` of chalknet; formulas above have the same labels. "
    )
    if report_data.checks:
        text += "The gradient check of [table:gradient_check] ran them. "
    if recipe.training.engine == "reference":
        return f"{text}The reference engine trained the networks with them."
    return (
        f"{text}The networks were trained by the {recipe.training.engine} engine, which computes the same formulas in "
        "place on preallocated arrays. chalknet's tests compare its gradients with those of these functions."
    )
