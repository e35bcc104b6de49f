"""`Architecture`: the layers of a network, and the forward and backward pass through them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from chalknet.config import ACTIVATION_NAMES, Recipe
from chalknet.errors import ConfigError, ShapeError
from chalknet.named_networks import DENSE, NETWORKS
from chalknet.network.arrays import VALUES_AT_ONCE, FloatArray
from chalknet.network.average_pool2d import AveragePool2d
from chalknet.network.batch_norm import BatchNorm
from chalknet.network.category_embedding import CategoryEmbedding
from chalknet.network.conv2d import Conv2d
from chalknet.network.dense import Dense
from chalknet.network.dropout import Dropout
from chalknet.network.identity import Identity
from chalknet.network.layer import Layer, LayerPass, Mode, Parameter, Parameters, Shape
from chalknet.network.layer_types import ACTIVATIONS, layers_from_tables
from chalknet.network.max_pool2d import MaxPool2d
from chalknet.network.residual import Residual

OUTPUT = "output"  # name of the last dense layer
# Random streams of dropout layers are unique for fewer than this many dense layers, with fewer than
# this many dropout layers after each.
STREAM_STRIDE = 2**16
# Rows that are computed at a time: few enough that hidden values stay in the cache between layers. Rows of many
# values are fewer, and so are images, so that threads can share them.
CHUNK_ROWS, CHUNK_IMAGES, MAX_CHUNK_VALUES = 512, 256, 2**25


class NamedLayer(NamedTuple):
    """A layer at its position in an architecture.

    Attributes:
        layer: the layer.
        input_shape: shape of one sample before the layer.
        names: local name -> name in the network for each parameter, such as "weight" ->
            "hidden1.weight".
        stream: number of the random stream of the layer's dropout masks, unique in a network.
        shortcut: for a residual connection, the position of the layer whose input is added, else None.
    """

    layer: Layer
    input_shape: Shape
    names: dict[str, str]
    stream: int
    shortcut: int | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The layer's parameters by their names in the network."""
        return {self.names[key]: one for key, one in self.layer.parameters(self.input_shape).items()}

    def local(self, parameters: Mapping[str, FloatArray]) -> Parameters:
        """Return the layer's arrays by local name, from the arrays of the network."""
        return {key: parameters[name] for key, name in self.names.items()}

    def named(self, local: Mapping[str, FloatArray]) -> Parameters:
        """Return the layer's arrays by their names in the network, from arrays by local name."""
        return {self.names[key]: value for key, value in local.items()}


@dataclass(frozen=True, init=False)
class Architecture:
    """The layers of a network; the last one is dense and returns the K logits.

    Attributes:
        input_shape: shape of one sample, such as (784,), or (28, 28, 1) for height, width and channels
            of an image.
        layers: the layers, from the input on.

    Parameter names: dense layers are named hidden1, hidden2, ... and output, so their parameters
    are "hidden1.weight", "hidden1.bias" and so on. Convolutions are named conv1, conv2 and so on.
    Other layers use the name of the dense layer or convolution before them ("input" before the
    first), so batch normalization after hidden1 has "hidden1.gamma". If that name is taken, the
    layer type is added, as in "hidden1.batch_norm.gamma", and a number from the second layer of the
    type on, as in "hidden1.batch_norm2.gamma".
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __init__(
        self,
        n_inputs: int | Sequence[int],
        hidden: Sequence[int] = (),
        n_classes: int = 0,
        activations: Sequence[str] = (),
        batch_norm: bool = False,
        dropout: float = 0.0,
        *,
        layers: Sequence[Layer | str | Mapping[str, Any]] = (),
    ) -> None:
        """Create an architecture from a list of layers, or from the widths of its hidden layers.

        Args:
            n_inputs: number of values per sample, or the shape of a sample: (I,) or (H, W, C).
            hidden: units of each hidden dense layer.
            n_classes: K, at least 2. With `layers`, 0 means that the last layer returns the logits.
            activations: one name per hidden layer; empty for relu everywhere.
            batch_norm: whether to normalize each hidden layer before its activation.
            dropout: dropout rate after each activation, 0 for no dropout.
            layers: replaces hidden, activations, batch_norm and dropout. Each entry is a layer, a
                name or a table as in a recipe. With n_classes, a dense layer of that many units is
                added at the end.

        Raises:
            ConfigError: a size is below 1, there are fewer than two classes, activations are
                unknown or not one per hidden layer, or layers do not fit together.
        """
        shape = (n_inputs,) if isinstance(n_inputs, int) else tuple(n_inputs)
        if layers:
            if hidden or activations or batch_norm or dropout:
                raise ConfigError(
                    "layers replaces hidden, activations, batch_norm and dropout. Give only one of the two forms."
                )
            whole = layers_from_tables(layers) + ((Dense(n_classes),) if n_classes else ())
        else:
            _check_sizes(shape, hidden, n_classes)
            whole = (*short_form(hidden, activations, batch_norm, dropout), Dense(n_classes))
        object.__setattr__(self, "input_shape", shape)
        object.__setattr__(self, "layers", whole)
        _check_output(self.layers)
        # Both raise ConfigError if a layer does not accept the shape before it.
        _ = self.shapes
        _check_shortcuts(self.named_layers)

    @cached_property
    def named_layers(self) -> tuple[NamedLayer, ...]:
        """Each layer with its input shape and the names of its parameters."""
        return tuple(_named_layers(self.input_shape, self.layers))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by name, from the input on."""
        return {name: one for layer in self.named_layers for name, one in layer.parameters.items()}

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each parameter by name: "hidden1.weight": (F, I), ..., "output.bias": (K,)."""
        return {name: one.shape for name, one in self.parameters.items()}

    @cached_property
    def statistics(self) -> frozenset[str]:
        """The names of parameters that are not learned: running statistics, and edges of bins."""
        return frozenset(name for name, one in self.parameters.items() if not one.is_learned)

    @cached_property
    def learning_rate_multipliers(self) -> dict[str, float]:
        """The multiplier of the learning rate of each learned parameter by name."""
        return {name: one.learning_rate_multiplier for name, one in self.parameters.items() if one.is_learned}

    @property
    def n_inputs(self) -> int:
        """The number of values per sample."""
        return math.prod(self.input_shape)

    @property
    def n_classes(self) -> int:
        """K, the number of logits."""
        return self.dense_units[-1]

    @property
    def dense_units(self) -> tuple[int, ...]:
        """The units of each dense layer, output layer included."""
        return tuple(layer.units for layer in self.layers if isinstance(layer, Dense))

    @property
    def hidden(self) -> tuple[int, ...]:
        """The units of each hidden dense layer."""
        return self.dense_units[:-1]

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of the activations, from the input on."""
        return tuple(layer.type for layer in self.layers if layer.type in ACTIVATION_NAMES)

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether training needs all samples of a batch at once."""
        return any(layer.uses_batch_statistics for layer in self.layers)

    @property
    def n_parameters(self) -> int:
        """The number of learned values."""
        return sum(math.prod(one.shape) for one in self.parameters.values() if one.is_learned)

    @property
    def prediction(self) -> Architecture:
        """The same network without layers that do nothing in prediction, such as dropout."""
        kept: list[Layer] = []
        for position, layer in enumerate(self.layers):
            if isinstance(layer, Residual):  # counts only the layers that are kept
                skipped = self.layers[position - layer.layers : position]
                n_acting = sum(one.acts_in_prediction for one in skipped)
                if not n_acting:  # a shortcut skips at least one layer
                    kept.append(skipped[-1])
                layer = Residual(max(1, n_acting))
            if layer.acts_in_prediction:
                kept.append(layer)
        return Architecture(self.input_shape, layers=kept)

    @property
    def work(self) -> int:
        """Roughly the number of multiplications that the prediction of a sample takes."""
        return sum(named.layer.work(named.input_shape) for named in self.named_layers)

    @cached_property
    def largest_layer(self) -> int:
        """The largest number of values of one sample before a layer."""
        return max(math.prod(named.input_shape) for named in self.named_layers)

    @cached_property
    def rows_at_once(self) -> int:
        """The number of rows that prediction takes at a time."""
        largest = max(
            self.n_inputs, *(named.input_shape[0] for named in self.named_layers if len(named.input_shape) == 1)
        )
        return max(1, min(CHUNK_IMAGES if self.reads_images else CHUNK_ROWS, MAX_CHUNK_VALUES // largest))

    @cached_property
    def images_at_once(self) -> int:
        """The number of images whose values in the largest layer stay in the cache."""
        return max(1, min(self.rows_at_once, 2 * VALUES_AT_ONCE // self.largest_layer))

    @property
    def reads_images(self) -> bool:
        """Whether samples are images (H, W, C) and not rows (I,)."""
        return len(self.input_shape) == 3

    def __str__(self) -> str:
        """Return the sizes of the layers, such as "784-100-10" or "28x28x1-conv32-pool2-784-10"."""
        parts = ["x".join(map(str, self.input_shape))]
        for layer in self.layers:
            if isinstance(layer, Dense):
                parts.append(str(layer.units))
            elif isinstance(layer, Conv2d):
                parts.append(f"conv{layer.filters}")
            elif isinstance(layer, (MaxPool2d, AveragePool2d)):
                parts.append(f"pool{layer.size}")
        return "-".join(parts)


def layer_kinds(architecture: Architecture) -> Hashable:
    """Return a key that is equal for architectures which differ only in units, filters and dropout."""
    kept = [layer for layer in architecture.layers if not isinstance(layer, Dropout)]
    return tuple(
        (one.type, *(pair for pair in one.settings().items() if pair[0] not in ("units", "filters"))) for one in kept
    )


def short_form(
    hidden: Sequence[int], activations: Sequence[str] = (), batch_norm: bool = False, dropout: float = 0.0
) -> tuple[Layer, ...]:
    """Return hidden layers from widths: dense, batch norm, activation and dropout for each width.

    Raises:
        ConfigError: activations are unknown, or not one per width.
    """
    names = tuple(activations) or ("relu",) * len(hidden)
    if len(names) != len(hidden) or not set(names) <= set(ACTIVATIONS):
        raise ConfigError(
            f"activations must be one of {', '.join(ACTIVATIONS)} for each of {len(hidden)} hidden layers, "
            f"got {list(names)}."
        )
    layers: list[Layer] = []
    for units, name in zip(hidden, names, strict=True):
        layers.append(Dense(units, bias=not batch_norm))  # batch norm has its own bias
        layers += [BatchNorm()] if batch_norm else []
        layers.append(ACTIVATIONS[name]())
        layers += [Dropout(dropout)] if dropout else []
    return tuple(layers)


def architecture_for(recipe: Recipe, sample_shape: int | Sequence[int], n_classes: int) -> Architecture:
    """Return the architecture of a recipe, from its `layers` or else from its hidden widths.

    Args:
        recipe: its sections [network] and [regularization].
        sample_shape: shape of one sample: I or (I,) for rows, (H, W) or (H, W, C) for images.
        n_classes: K.

    Raises:
        ConfigError: layers are unknown or do not fit together, or they need images and samples are
            rows.
    """
    shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
    n_inputs = math.prod(shape)
    network, regularization = recipe.network, recipe.regularization
    first: list[Layer] = [Dropout(regularization.input_dropout)] if regularization.input_dropout else []
    if network.embed_categories and network.category_inputs:
        first.append(CategoryEmbedding(network.embed_categories, network.category_inputs))
    if network.layers:
        below: Sequence[Any] = network.layers_below_output
        if network.network != DENSE:
            below = NETWORKS[network.network].layers_with(regularization.dropout)
        whole = layers_from_tables([*below, {**network.output_layer, "units": n_classes}])
        whole = tuple(_with_groups(layer, network.category_inputs) for layer in whole)
        reader = next((layer for layer in whole if layer.reads_images), None)
        if reader is None:
            return _with_first(first, whole, (n_inputs,))
        if len(shape) == 1:
            name = f"layer {reader.type}" if network.network == DENSE else f"network {network.network}"
            raise ConfigError(
                f"{name} needs images, but the samples are rows of {n_inputs} values. Give images (N, H, W), or say "
                "that the rows are pixels of images by image_size=(H, W) (--image-size HxW)."
            )
        try:
            return _with_first(first, whole, (*shape, 1)[:3])
        except ConfigError as error:
            if network.network == DENSE:
                raise
            size = " x ".join(map(str, shape[:2]))
            raise ConfigError(f"network {network.network} does not fit images of {size} pixels: {error}") from None
    hidden = short_form(network.hidden, network.activations(), network.batch_norm, regularization.dropout)
    return Architecture(n_inputs, layers=[*first, *hidden, Dense(n_classes)])


def _with_groups(layer: Layer, groups: tuple[int, ...]) -> Layer:
    """Return a layer of a recipe with the groups of inputs that it embeds; without any, the identity in its place."""
    if not isinstance(layer, CategoryEmbedding) or layer.groups:
        return layer
    return replace(layer, groups=groups) if groups else Identity()


def _with_first(first: list[Layer], whole: Sequence[Layer], shape: Shape) -> Architecture:
    """Return the architecture of a recipe's layers behind other layers, which errors do not count."""
    try:
        return Architecture(shape, layers=[*first, *whole])
    except ConfigError:
        if first:
            Architecture(shape, layers=whole)
        raise


def _check_sizes(shape: Shape, hidden: Sequence[int], n_classes: int) -> None:
    if min(*shape, *hidden, n_classes - 1) < 1:
        raise ConfigError(
            f"a network needs sizes >= 1 and at least two classes, got {math.prod(shape)} inputs, "
            f"hidden {list(hidden)}, {n_classes} classes."
        )


def _check_output(layers: Sequence[Layer]) -> None:
    last = layers[-1] if layers else None
    if not isinstance(last, Dense) or not last.bias or last.units < 2:
        raise ConfigError(
            "the last layer of a network must be dense, with a bias and one unit for each of at least two classes, "
            f"got {'no layer' if last is None else last.table()}."
        )


def _named_layers(shape: Shape, layers: Sequence[Layer]) -> Iterator[NamedLayer]:
    """Yield each layer with its input shape and parameter names, named as `Architecture` says."""
    block, taken, n_dense, n_dense_total = "input", set[str](), 0, sum(isinstance(layer, Dense) for layer in layers)
    n_masks: dict[int, int] = {}
    n_same: dict[str, int] = {}
    n_blocks: dict[str, int] = {}
    for position, layer in enumerate(layers):
        if isinstance(layer, Dense):
            n_dense += 1
            block = OUTPUT if n_dense == n_dense_total else f"hidden{n_dense}"
        elif layer.block_name:
            n_blocks[layer.block_name] = n_blocks.get(layer.block_name, 0) + 1
            block = f"{layer.block_name}{n_blocks[layer.block_name]}"
        with _numbered(position):
            local, shape_after = list(layer.parameters(shape)), layer.output_shape(shape)
        prefix = block
        if any(f"{block}.{key}" in taken for key in local):
            same = f"{block}.{layer.type}"
            n_same[same] = n_same.get(same, 0) + 1
            prefix = f"{same}{n_same[same] if n_same[same] > 1 else ''}"
        names = {key: f"{prefix}.{key}" for key in local}
        taken.update(names.values())
        stream = n_dense + STREAM_STRIDE * n_masks.get(n_dense, 0)
        if isinstance(layer, Dropout):
            n_masks[n_dense] = n_masks.get(n_dense, 0) + 1
        shortcut = position - layer.skipped_layers if layer.skipped_layers else None
        yield NamedLayer(layer, shape, names, stream, shortcut)
        shape = shape_after


@contextmanager
def _numbered(position: int) -> Iterator[None]:
    """Begin the message of a ConfigError with the number of the layer, counted from 1."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"layers, entry {position + 1}: {error}") from None


def _check_shortcuts(named_layers: Sequence[NamedLayer]) -> None:
    """Raise ConfigError unless every residual connection fits the shapes of the layers."""
    for position, named in enumerate(named_layers):
        if isinstance(named.layer, Residual):
            with _numbered(position):
                if named.layer.layers > position:
                    raise ConfigError(
                        f"layer residual skips the {named.layer.layers} layers before it, and only {position} come "
                        "before it."
                    )
                named.layer.check_shortcut(named.input_shape, named_layers[position - named.layer.layers].input_shape)


def check_parameters(architecture: Architecture, parameters: Mapping[str, FloatArray]) -> None:
    """Raise ShapeError unless parameters have exactly the names and shapes of the architecture."""
    expected = architecture.shapes
    if set(parameters) != set(expected):
        raise ShapeError(f"network {architecture} needs parameters {sorted(expected)}, got {sorted(parameters)}.")
    for name, shape in expected.items():
        if parameters[name].shape != shape:
            raise ShapeError(f"{name} of network {architecture} must be {shape}, got {parameters[name].shape}.")


class ForwardPass(NamedTuple):
    """The result of one batch through a network.

    Attributes:
        logits: (B, K).
        backward: grad_logits (B, K) -> gradients of all learned parameters, by name.
        kinks: every layer that is not smooth, with its input, for the gradient check.
        statistics: running statistics after this batch, by name; empty in prediction.
        input_gradient: grad_logits (B, K) -> gradient of x, with the shape of the samples.
    """

    logits: FloatArray
    backward: Callable[[FloatArray], Parameters]
    kinks: tuple[tuple[NamedLayer, FloatArray], ...]
    statistics: Parameters
    input_gradient: Callable[[FloatArray], FloatArray]


def forward(
    architecture: Architecture,
    parameters: Mapping[str, FloatArray],
    x: FloatArray,
    *,
    masks: Mapping[int, FloatArray] | None = None,
    training: bool = False,
) -> ForwardPass:
    """Run all layers on a batch, and return the logits and the backward function.

    The backward function goes through the layers in reverse (docs/derivation.md, N1 to N4): each
    layer takes the gradient of its output, returns the gradients of its parameters, and passes the
    gradient of its input to the layer before it.

    Args:
        architecture: the layers.
        parameters: arrays by name, as `Architecture.shapes` lists them.
        x: (B, I) scaled inputs, dtype of the parameters; images as (B, H, W, C) or as rows.
        masks: in training, dropout masks (docs/derivation.md, D1) by the position of their layer in
            `Architecture.layers`.
        training: whether batch normalization uses the statistics of the batch (B1) instead of the
            running statistics.

    Raises:
        ShapeError: x does not fit the first layer, or a parameter does not fit its layer.
    """
    if x.shape[1:] not in (architecture.input_shape, (architecture.n_inputs,)):
        wanted = ", ".join(map(str, ("B", *architecture.input_shape)))
        raise ShapeError(f"network {architecture} expects x of shape ({wanted}), got {x.shape}.")
    value, masks = x.reshape(len(x), *architecture.input_shape), masks or {}
    passes: list[tuple[NamedLayer, LayerPass]] = []
    inputs: list[FloatArray] = []
    kinks: list[tuple[NamedLayer, FloatArray]] = []
    statistics: Parameters = {}
    for position, named in enumerate(architecture.named_layers):
        inputs.append(value)
        if not named.layer.is_smooth:
            kinks.append((named, value))
        shortcut = None if named.shortcut is None else inputs[named.shortcut]
        mode = Mode(training, masks.get(position) if training else None, shortcut)
        done = named.layer.forward(named.local(parameters), value, mode)
        value = done.value
        if done.statistics:
            statistics |= named.named(done.statistics)
        passes.append((named, done))

    def through(grad_logits: FloatArray) -> tuple[FloatArray, Parameters]:
        grad = grad_logits
        gradients: Parameters = {}
        of_shortcuts: dict[int, FloatArray] = {}  # by the position of the layer whose input was added
        for position, (named, done) in reversed(list(enumerate(passes))):
            if named.shortcut is not None and done.shortcut_backward is not None:
                grad_shortcut = done.shortcut_backward(grad)
                known = of_shortcuts.get(named.shortcut)
                of_shortcuts[named.shortcut] = grad_shortcut if known is None else known + grad_shortcut
            grad, local = done.backward(grad)
            if position in of_shortcuts:
                grad = grad + of_shortcuts.pop(position)
            gradients |= named.named(local)
        return grad, gradients

    def backward(grad_logits: FloatArray) -> Parameters:
        gradients = through(grad_logits)[1]
        return {name: gradients[name] for name in architecture.shapes if name not in architecture.statistics}

    return ForwardPass(value, backward, tuple(kinks), statistics, lambda grad_logits: through(grad_logits)[0])
