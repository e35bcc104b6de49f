"""A recipe in words: its layers, its optimizer, and what it adds to plain gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chalknet.config import NetworkConfig, Recipe, is_random
from chalknet.formatting import listed
from chalknet.named_networks import DENSE, NETWORKS
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.layer_types import layer_from_table
from chalknet.reporting.configuration_text import setting_words

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
    "coslog4": " at the peaks of four cosine periods",
}
VARIED = "(varied)"  # stands in place of a value that differs between configurations


def network_text(network: NetworkConfig, shown: Shown) -> str:
    """Return "one hidden layer of 100 relu units", or a list of all layers in the long form."""
    if shown("network", ""):
        return "an architecture that varies"
    if network.network != DENSE:
        return f"the architecture {network.network}: {NETWORKS[network.network].words}"
    if network.layers:
        first = [str(CategoryEmbedding(network.embed_categories))] if network.embed_categories else []
        layers = listed([*first, *(str(layer_from_table(layer)) for layer in network.layers_below_output)])
        is_ntk = network.output_layer.get("parametrization") == "ntk"
        output = f"a dense output layer{' in NTK parametrization' if is_ntk else ''}"
        return f"these layers, from input to output: {layers}, and {output}"
    names = listed([NAMES.get(name, name) for name in network.activation])
    is_varied = shown("activation", names) != names
    added = ", batch normalization" if network.batch_norm and not shown("batch_norm", "") else ""
    if network.embed_categories and not shown("embed_categories", ""):
        added += f", {CategoryEmbedding(network.embed_categories)} before them"
    if shown("hidden", "") or is_varied or len(network.activation) != 1 or not network.hidden:
        widths = "" if shown("hidden", "") else f" ({setting_words('hidden', network.hidden)})"
        return f"dense layers with {'a varied activation' if is_varied else names} between them{added}{widths}"
    n, units = len(network.hidden), listed([f"{width:,}" for width in network.hidden])
    layers = "one hidden layer" if n == 1 else f"{n} hidden layers"
    return f"{layers} of {units} {'linear' if names == 'nothing' else names} units{added}"


def architectures_text(networks: Sequence[NetworkConfig]) -> str:
    """Return sentences on what each varied architecture is, each after a space."""
    named = list(dict.fromkeys(one.network for one in networks if one.network != DENSE))
    return "".join(f" Architecture {name} is {NETWORKS[name].words}." for name in named)


def optimizer_text(recipe: Recipe, shown: Shown) -> str:
    """Return the name of the optimizer."""
    return shown("optimizer", RULES[recipe.optimizer.optimizer])


def rate_text(recipe: Recipe, shown: Shown) -> str:
    """Return the learning rate and how it changes."""
    value = shown("learning_rate", f"{recipe.optimizer.learning_rate:g}")
    schedule = shown("schedule", recipe.schedule.schedule)
    if schedule == "one_cycle":
        peak = "the varied value" if value == VARIED else value
        return f"a learning rate that rises to {peak} and falls to near 0 (one cycle)"
    rate = "a varied learning rate" if value == VARIED else f"learning rate {value}"
    return rate + SCHEDULES.get(schedule, "")


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
        (f"dropout of {units} {VARIED}" if shown(name, "") else f"dropout of {100 * value:g} % of the {units}")
        + falls.get(name, "")
        for name, value, units in (
            ("dropout", added.dropout, "hidden units"),
            ("input_dropout", added.input_dropout, "inputs"),
        )
        if value
    ]
    said += [
        f"{words} {shown(name, f'{value:g}')}{falls.get(name, '')}" for name, (value, words) in values.items() if value
    ]
    if added.class_weights != "equal":
        said.append("class weights" if added.class_weights != "balanced" else "class weights that balance the classes")
    sentences = [f" Regularization: {listed(said)}."] if said else []
    return "".join([*sentences, _images_text(recipe, shown), _scores_text(recipe)])


def _images_text(recipe: Recipe, shown: Shown) -> str:
    moves = recipe.augmentation
    largest = shown("zoom", f"{1 + moves.zoom:g}")
    values = {
        "shift_pixels": (moves.shift_pixels, "shifted by up to {} pixels"),
        "rotation_degrees": (moves.rotation_degrees, "rotated by up to {} degrees"),
        "zoom": (moves.zoom, "zoomed {}" if largest == VARIED else f"zoomed by a factor of 1/{largest} to {largest}"),
        "shear": (moves.shear, "sheared by up to {} pixels per pixel of height"),
        "erase": (moves.erase, "partly erased with probability {}"),
    }
    said = [words.format(shown(name, f"{value:g}")) for name, (value, words) in values.items() if value]
    return f" Training images are transformed at random before each update: {listed(said)}." if said else ""


def _scores_text(recipe: Recipe) -> str:
    """Say that training scores include random changes, after a space; "" where there are none."""
    if not is_random(recipe):
        return ""
    return (
        " Training scores are measured with these random changes, so they can be worse than the validation scores, "
        "which are measured without them."
    )
