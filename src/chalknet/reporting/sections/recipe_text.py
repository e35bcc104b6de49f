"""What a recipe does beyond plain gradient descent, in words."""

from __future__ import annotations

from collections.abc import Callable

from chalknet.config import NetworkConfig, Recipe
from chalknet.formatting import listed
from chalknet.network.layer_types import layer_from_table

Shown = Callable[[str, str], str]  # (field, its value in words) -> those words, or that it is varied

NAMES = {"leaky_relu": "leaky relu", "identity": "nothing"}
RULES = {
    "gradient_descent": "gradient descent",
    "momentum": "gradient descent",
    "nesterov": "gradient descent with Nesterov's momentum",
    "adam": "Adam",
    "adamw": "AdamW",
}
SCHEDULES = {
    "step": ", which falls in steps",
    "cosine": ", which falls as a cosine",
    "one_cycle": " at the peak of one cycle",
}


def network_text(network: NetworkConfig, widths: str, shown: Shown) -> str:
    """Return "of dense layers with relu between them (100 hidden units)", or a list of all layers in the long form."""
    if network.layers:
        layers = listed([str(layer_from_table(layer)) for layer in network.layers])
        return f"whose layers are, from the input on, {layers}, and a dense output layer,"
    names = listed([NAMES.get(name, name) for name in network.activation])
    is_varied = shown("activation", names) != names
    text = f"{'activations that are varied' if is_varied else names} between them"
    normalizes = network.batch_norm and not shown("batch_norm", "")
    return f"of dense layers with {text}{', normalized over the batch' if normalizes else ''}{widths}"


def rule_text(recipe: Recipe, shown: Shown) -> str:
    """The name of the optimizer."""
    return shown("optimizer", RULES[recipe.optimizer.optimizer])


def rate_text(recipe: Recipe, shown: Shown) -> str:
    """The learning rate and how it changes."""
    rate = f"learning rate {shown('learning_rate', f'{recipe.optimizer.learning_rate:g}')}"
    return rate + SCHEDULES.get(recipe.schedule.schedule, "")


def momentum_text(recipe: Recipe, shown: Shown) -> str:
    """ ", momentum 0.99 for the weights, none for the biases", where the optimizer has one."""
    optimizer = recipe.optimizer
    if optimizer.optimizer not in ("momentum", "nesterov"):
        return ""
    plain = optimizer.optimizer == "momentum" and not optimizer.bias_momentum and optimizer.momentum
    biases = " for the weights, none for the biases" if plain else ""
    return f", momentum {shown('momentum', f'{optimizer.momentum:g}')}{biases}"


def added_text(recipe: Recipe, shown: Shown) -> str:
    """Sentences on what keeps networks from learning their samples by heart; "" where there is nothing."""
    added, optimizer = recipe.regularization, recipe.optimizer
    values = {
        "dropout": (added.dropout, "dropout of hidden values"),
        "input_dropout": (added.input_dropout, "dropout of inputs"),
        "weight_decay": (optimizer.weight_decay, "decoupled weight decay"),
        "l2": (added.l2, "an L2 penalty of strength"),
        "label_smoothing": (added.label_smoothing, "label smoothing"),
        "clip_norm": (optimizer.clip_norm, "gradients shortened to length"),
        "weight_average": (optimizer.weight_average, "a running average of the weights that keeps"),
        "mixup": (recipe.augmentation.mixup, "mixup with alpha"),
    }
    said = [f"{words} {shown(name, f'{value:g}')}" for name, (value, words) in values.items() if value]
    if added.class_weights != "equal":
        said.append("classes weighted" if added.class_weights != "balanced" else "classes weighted to count the same")
    sentences = [f" Added are {listed(said)}."] if said else []
    return "".join([*sentences, _images_text(recipe, shown)])


def _images_text(recipe: Recipe, shown: Shown) -> str:
    moves = recipe.augmentation
    values = {
        "shift_pixels": (moves.shift_pixels, "shifted by up to {} pixels"),
        "rotation_degrees": (moves.rotation_degrees, "turned by up to {} degrees"),
        "zoom": (moves.zoom, "scaled by up to {} of their size"),
        "shear": (moves.shear, "sheared by up to {}"),
        "erase": (moves.erase, "with a share of {} erased in part"),
    }
    said = [words.format(shown(name, f"{value:g}")) for name, (value, words) in values.items() if value]
    if not said:
        return ""
    return (
        f" Training images are changed at random, anew at each update: {listed(said)}. Training scores are of the "
        "changed images, and can be worse than those of the validation part."
    )
