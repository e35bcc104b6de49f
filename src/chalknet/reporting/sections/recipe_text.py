"""A recipe in words: its layers, its optimizer, and what it adds to plain gradient descent."""

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
    "coslog4": " at the peaks of four cosine periods",
}


def network_text(network: NetworkConfig, widths: str, shown: Shown) -> str:
    """Return "dense layers with relu between them (100 hidden units)", or a list of all layers in the long form."""
    if network.layers:
        layers = listed([str(layer_from_table(layer)) for layer in network.layers_below_output])
        is_ntk = network.output_layer.get("parametrization") == "ntk"
        output = f"a dense output layer{' in NTK parametrization' if is_ntk else ''}"
        return f"these layers, from input to output: {layers}, and {output}"
    names = listed([NAMES.get(name, name) for name in network.activation])
    is_varied = shown("activation", names) != names
    text = f"{'a varied activation' if is_varied else names} between them"
    normalizes = network.batch_norm and not shown("batch_norm", "")
    return f"dense layers with {text}{', batch normalization' if normalizes else ''}{widths}"


def optimizer_text(recipe: Recipe, shown: Shown) -> str:
    """Return the name of the optimizer."""
    return shown("optimizer", RULES[recipe.optimizer.optimizer])


def rate_text(recipe: Recipe, shown: Shown) -> str:
    """Return the learning rate and how it changes."""
    rate = f"learning rate {shown('learning_rate', f'{recipe.optimizer.learning_rate:g}')}"
    return rate + SCHEDULES.get(recipe.schedule.schedule, "")


def momentum_text(recipe: Recipe, shown: Shown) -> str:
    """Return ", momentum 0.99 for the weights and none for the biases", or "" if the optimizer has no momentum."""
    optimizer = recipe.optimizer
    if optimizer.optimizer not in ("momentum", "nesterov"):
        return ""
    plain = optimizer.optimizer == "momentum" and not optimizer.bias_momentum and optimizer.momentum
    biases = " for the weights and none for the biases" if plain else ""
    return f", momentum {shown('momentum', f'{optimizer.momentum:g}')}{biases}"


def regularization_text(recipe: Recipe, shown: Shown) -> str:
    """Return sentences about regularization and augmentation, or "" if there is none."""
    added, optimizer = recipe.regularization, recipe.optimizer
    values = {
        "dropout": (added.dropout, "dropout of hidden units"),
        "input_dropout": (added.input_dropout, "dropout of inputs"),
        "weight_decay": (optimizer.weight_decay, "decoupled weight decay"),
        "l2": (added.l2, "an L2 penalty of strength"),
        "label_smoothing": (added.label_smoothing, "label smoothing"),
        "clip_norm": (optimizer.clip_norm, "gradients clipped to norm"),
        "weight_average": (optimizer.weight_average, "a moving average of the weights with decay"),
        "mixup": (recipe.augmentation.mixup, "mixup with alpha"),
    }
    schedules = dict.fromkeys(("dropout", "input_dropout"), added.dropout_schedule)
    schedules["weight_decay"] = optimizer.weight_decay_schedule
    falls = {name: ", which falls in the second half" for name, one in schedules.items() if one == "flat_cos"}
    said = [
        f"{words} {shown(name, f'{value:g}')}{falls.get(name, '')}" for name, (value, words) in values.items() if value
    ]
    if added.class_weights != "equal":
        said.append("class weights" if added.class_weights != "balanced" else "class weights that balance the classes")
    sentences = [f" Regularization: {listed(said)}."] if said else []
    return "".join([*sentences, _images_text(recipe, shown)])


def _images_text(recipe: Recipe, shown: Shown) -> str:
    moves = recipe.augmentation
    values = {
        "shift_pixels": (moves.shift_pixels, "shifted by up to {} pixels"),
        "rotation_degrees": (moves.rotation_degrees, "rotated by up to {} degrees"),
        "zoom": (moves.zoom, "zoomed by up to a factor of 1 ± {}"),
        "shear": (moves.shear, "sheared by up to {}"),
        "erase": (moves.erase, "partly erased with probability {}"),
    }
    said = [words.format(shown(name, f"{value:g}")) for name, (value, words) in values.items() if value]
    if not said:
        return ""
    return (
        f" Training images are transformed at random before each update: {listed(said)}. Training scores are those of "
        "the transformed images, so they can be worse than the validation scores."
    )
