"""The settings of a run: `Recipe` and `DataConfig`, frozen dataclasses that read and write TOML.

Each field has a constraint and a description. All messages about invalid values come from one
formatter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from chalknet.checked import is_integer, is_number, read_toml, short
from chalknet.errors import ConfigError
from chalknet.named_networks import DENSE, NETWORK_NAMES, NETWORKS

# Version of config.toml. Older formats are written where they suffice, so that earlier versions read
# them: 2 for recipes of the short form, 3 for `layers`. `network` and `color` are new in 4, and
# `embed_categories` and `category_inputs` in 5.
FORMAT = 5
CUSTOM_SPLIT = "custom"  # index arrays of the caller, which a configuration cannot hold
SPLIT_METHODS = ("writeup", "random", "stratified", "group")
MAX_UNITS = 1_000_000  # of a layer; a larger number is taken for a typing error
MAX_MEMBERS = 1_000
MAX_WORKERS = 1_024  # threads of an engine
MAX_INTEGER = 2**63 - 1  # for settings without an upper bound of their own
ENGINES = ("numpy", "reference", "torch")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16", "tf32")
DTYPES = ("float32", "float64")
MONITORS = ("valid_loss", "valid_accuracy")
# All layer types. Each is defined in the module of its name in network/.
ACTIVATION_NAMES = (
    *("relu", "leaky_relu", "gelu", "tanh", "identity"),
    *("sigmoid", "silu", "mish", "elu", "selu"),
    "smooth_clip",
)
LAYER_NAMES = (
    "dense",
    *ACTIVATION_NAMES,
    "parametric_activation",
    "batch_norm",
    "dropout",
    "scale",
    "periodic_embedding",
    "piecewise_linear_embedding",
    "category_embedding",
    *("conv2d", "max_pool2d", "average_pool2d", "global_average_pool", "flatten", "residual"),
)
PARAMETRIZATIONS = ("standard", "ntk")
INITIALIZERS = ("writeup", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform")
OPTIMIZERS = ("gradient_descent", "momentum", "nesterov", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine", "one_cycle", "coslog4")
REGULARIZATION_SCHEDULES = ("constant", "flat_cos")
SCALINGS = ("pixels", "standard", "robust", "auto")
CLASS_WEIGHTS = ("equal", "balanced")
FULL = "full"
MAX_KERNEL = 1_000  # height and width of a kernel or window, and its stride
SAME = "same"  # the padding with which a convolution of stride 1 keeps the size of an image
GRAY, RGB = COLORS = ("gray", "rgb")  # how images are read
SAME_AS_SEED = "seed"  # the value of batch_seed that stands for the value of seed


@dataclass(frozen=True)
class Constraint:
    """What the value of a setting must be.

    Attributes:
        must: the condition in words, for messages: "NAME must be ...".
        accepts: returns whether a value fulfills it.
        store: converts an accepted value into the form that is stored.
    """

    must: str
    accepts: Callable[[Any], bool]
    store: Callable[[Any], Any] = lambda value: value
    choices: tuple[str, ...] = ()


def integer(low: int, high: int | None = None) -> Constraint:
    """Return the constraint of an integer from low to high, or without an upper bound."""
    must = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    return Constraint(must, lambda v: is_integer(v) and low <= v <= (MAX_INTEGER if high is None else high))


def up_to(high: float) -> Constraint:
    """Return the constraint of a number from 0 to high."""
    return Constraint(f"a number from 0 to {high:g}", lambda v: is_number(v) and 0 <= v <= high, float)


def one_of(*names: str) -> Constraint:
    """Return the constraint of a text that is one of names."""
    return Constraint(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names, choices=names)


def _is_kernel_size(value: Any) -> bool:
    """Return whether a value is one size of a kernel, or two."""
    one = integer(1, MAX_KERNEL).accepts
    return one(value) or (isinstance(value, (list, tuple)) and len(value) == 2 and all(map(one, value)))


KERNEL_SIZE = Constraint(
    f"an integer from 1 to {MAX_KERNEL}, or two of them for height and width",
    _is_kernel_size,
    lambda v: v if is_integer(v) else v[0] if v[0] == v[1] else tuple(v),
)
PADDING = Constraint(
    f'"{SAME}", or an integer from 0 to {MAX_KERNEL}', lambda v: v == SAME or integer(0, MAX_KERNEL).accepts(v)
)
OPTIONAL_STRIDE = Constraint(
    f"an integer from 1 to {MAX_KERNEL}", lambda v: v is None or integer(1, MAX_KERNEL).accepts(v)
)
EMBEDDING_OUTPUTS = 8  # numbers of the vector of a category, where a layer does not say how many
MAX_GROUPS = 10_000  # of inputs


def group_pairs(groups: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first input and the number of inputs of each group, from a list with one after the other."""
    return list(zip(groups[::2], groups[1::2], strict=True))


def _are_groups(value: Any) -> bool:
    """Return whether a value lists groups of inputs in ascending order, none of which overlap."""
    if not isinstance(value, (list, tuple)) or len(value) % 2 or len(value) > 2 * MAX_GROUPS:
        return False
    if not all(is_integer(one) and 0 <= one <= MAX_INTEGER for one in value):
        return False
    end = 0
    for start, size in group_pairs(value):
        if start < end or size < 1:
            return False
        end = start + size
    return True


INPUT_GROUPS = Constraint(
    "a list of the first input, counted from 0, and the number of inputs of each group, in ascending order",
    _are_groups,
    tuple,
)
POSITIVE = Constraint("a number > 0", lambda v: is_number(v) and v > 0, float)
NON_NEGATIVE = Constraint("a number >= 0", lambda v: is_number(v) and v >= 0, float)
FRACTION = up_to(1)
DROPOUT_RATE = up_to(0.999)
FRACTION_BELOW_1 = Constraint("a number >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1, float)
BOOLEAN = Constraint("true or false", lambda v: isinstance(v, bool))
SEED = integer(0, 2**32 - 1)  # the range of numpy.random.RandomState
WIDTHS = Constraint(
    f"one or more integers from 1 to {MAX_UNITS}",
    lambda v: isinstance(v, (list, tuple)) and len(v) > 0 and all(is_integer(n) and 1 <= n <= MAX_UNITS for n in v),
    tuple,
)


def _as_names(value: Any) -> tuple[str, ...]:
    """Return a name or a sequence of names as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value)


LAYER_ACTIVATIONS = Constraint(
    f"one of {', '.join(ACTIVATION_NAMES)}, or one of them for each hidden layer",
    lambda v: isinstance(v, (str, list, tuple)) and len(v) > 0 and set(_as_names(v)) <= set(ACTIVATION_NAMES),
    _as_names,
)


class LayerTable(dict[str, Any]):
    """The type and settings of one layer, such as {"type": "dense", "units": 512}.

    It is hashable and must not be modified.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        """Return a hash of the items."""
        return hash(tuple(sorted(self.items())))


def _as_layer_table(value: Any) -> LayerTable | None:
    """Return the table of a layer given by its type, a table or a specification, or None."""
    if hasattr(value, "table"):  # a specification of network/
        value = value.table()
    if isinstance(value, str):
        value = {"type": value}
    is_layer = isinstance(value, Mapping) and isinstance(value.get("type"), str)
    if not is_layer or not all(_is_plain(one) for one in value.values()):
        return None
    return LayerTable({key: tuple(one) if isinstance(one, (list, tuple)) else one for key, one in value.items()})


def _is_plain(value: Any) -> bool:
    """Return whether a value is a text, a number or a list of numbers."""
    if isinstance(value, (list, tuple)):
        return len(value) <= 2 * MAX_GROUPS and all(is_number(one) for one in value)
    return isinstance(value, (str, int, float))


def _are_layers(value: Any) -> bool:
    """Return whether a value is a list of layers."""
    return isinstance(value, (list, tuple)) and all(_as_layer_table(one) is not None for one in value)


LAYERS = Constraint(
    'a list of layers, each a name such as "relu" or a table such as {type = "dense", units = 512}',
    _are_layers,
    lambda value: tuple(_as_layer_table(one) for one in value),
)
# The fields that `layers` replaces, and those that a named network replaces.
SHORT_FORM = ("hidden", "activation", "batch_norm", "dropout")
REPLACED_BY_NETWORK = SHORT_FORM[:-1]


def _is_class_weights(value: Any) -> bool:
    """Return whether a value is a rule for class weights or a list of positive numbers."""
    if isinstance(value, str):
        return value in CLASS_WEIGHTS
    return isinstance(value, (list, tuple)) and len(value) > 1 and all(is_number(v) and v > 0 for v in value)


BY_CLASS = Constraint(
    f"one of {', '.join(CLASS_WEIGHTS)}, or a number > 0 for each class",
    _is_class_weights,
    lambda v: v if isinstance(v, str) else tuple(map(float, v)),
)
FOLDS = Constraint(f"0, or an integer from 2 to {MAX_MEMBERS}", lambda v: integer(0, MAX_MEMBERS).accepts(v) and v != 1)
BATCH_SEED = Constraint(f'{SEED.must}, or "{SAME_AS_SEED}"', lambda v: v == SAME_AS_SEED or SEED.accepts(v))
BATCH = Constraint(f'an integer >= 1, or "{FULL}"', lambda v: v == FULL or integer(1).accepts(v))


def _is_count_or_fraction(value: Any) -> bool:
    """Return whether a value is an integer >= 0 or a fraction in (0, 1)."""
    return integer(0).accepts(value) or (is_number(value) and 0 < value < 1)


TRAIN_SIZE = Constraint(
    "a number of samples >= 1, or a fraction between 0 and 1", lambda v: _is_count_or_fraction(v) and v > 0
)
VALID_SIZE = Constraint(
    "a number of samples >= 0, or a fraction between 0 and 1", lambda v: _is_count_or_fraction(v) and v >= 0
)


def setting(default: Any, constraint: Constraint, meaning: str) -> Any:
    """Return a dataclass field with a default, a constraint and a description.

    The description names other fields in backticks, which the help of commands shows as flags.
    """
    return field(default=default, metadata={"constraint": constraint, "meaning": meaning})


class Checked:
    """A base class for dataclasses whose `setting` fields are checked when they are assigned."""

    def __post_init__(self) -> None:
        """Check every setting, and convert it to the form that is stored."""
        for item in fields(self):  # type: ignore[arg-type]
            if not item.metadata:
                continue
            constraint: Constraint = item.metadata["constraint"]
            value = getattr(self, item.name)
            if not constraint.accepts(value):
                raise ConfigError(f"{item.name} must be {constraint.must}, got {short(value)}.")
            object.__setattr__(self, item.name, constraint.store(value))


@dataclass(frozen=True)
class SplitConfig(Checked):
    """The section [split]: which samples are used for training, validation and test."""

    split: str = setting(
        "writeup",
        one_of(*SPLIT_METHODS, CUSTOM_SPLIT),
        "how samples are divided (writeup: shuffled as in the write-up; random: shuffled; stratified: every split has "
        "all classes in equal proportion; group: the groups of an .npz file stay together)",
    )
    train_size: float = setting(15_000, TRAIN_SIZE, "number of training samples, or their fraction")
    valid_size: float = setting(
        1_000,
        VALID_SIZE,
        "number of validation samples, or their fraction. The remaining samples are the test split, unless the data "
        "has its own",
    )
    split_seed: int = setting(521, SEED, "seed of the split")


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """The section [network]: layers, initialization and the scaling of the inputs."""

    network: str = setting(
        DENSE,
        one_of(*NETWORK_NAMES),
        "architecture (dense: that of `hidden` or `layers`; others are convolutional networks for images, in which "
        "`dropout` is before dense layers)",
    )
    hidden: tuple[int, ...] = setting((1_000,), WIDTHS, "number of units of each hidden layer, from input to output")
    activation: tuple[str, ...] = setting(("relu",), LAYER_ACTIVATIONS, "activation function of the hidden layers")
    batch_norm: bool = setting(False, BOOLEAN, "whether hidden layers have batch normalization")
    layers: tuple[LayerTable, ...] = setting(
        (),
        LAYERS,
        "all layers, for example batch_norm,dense:256,silu,dropout:0.2. The output layer is added, unless the last "
        "layer is dense without units. Replaces `hidden`, `activation`, `batch_norm` and `dropout`",
    )
    embed_categories: int = setting(
        0,
        integer(0, MAX_UNITS),
        "for tables: number of the learned numbers that stand for each category of a column with more than 9 "
        "categories. 0: one input for each category",
    )
    category_inputs: tuple[int, ...] = setting(
        (),
        INPUT_GROUPS,
        "for `embed_categories` and layers of type category_embedding: the inputs of each column of categories that "
        "is embedded. Filled in from a table",
    )
    initializer: str = setting("writeup", one_of(*INITIALIZERS), "distribution of the initial weights")
    input_scaling: str = setting(
        "pixels",
        one_of(*SCALINGS),
        "how inputs are scaled (pixels: bytes divided by 255; standard: mean 0 and standard deviation 1; robust: "
        "median 0 and interquartile range 1; auto: pixels for images, standard for rows)",
    )

    @property
    def embeds_categories(self) -> bool:
        """Whether columns of categories are embedded."""
        return self.embed_categories > 0 or any(layer["type"] == "category_embedding" for layer in self.layers)

    def activations(self) -> tuple[str, ...]:
        """Return the name of the activation of each hidden layer."""
        return self.activation * len(self.hidden) if len(self.activation) == 1 else self.activation

    @property
    def short_name(self) -> str:
        """The name of the network, or its hidden widths such as "512x256", for the name of a folder."""
        widths = "x".join(map(str, self.hidden)) or "layers"
        return widths if self.network == DENSE else self.network

    @property
    def layers_below_output(self) -> tuple[LayerTable, ...]:
        """The entries of layers without the output layer, which is dense without units."""
        return self.layers[:-1] if self._ends_with_output else self.layers

    @property
    def output_layer(self) -> LayerTable:
        """The output layer without its units: that of layers, or a plain dense layer."""
        return self.layers[-1] if self._ends_with_output else LayerTable(type="dense")

    @property
    def _ends_with_output(self) -> bool:
        return bool(self.layers) and self.layers[-1]["type"] == "dense" and "units" not in self.layers[-1]

    def __post_init__(self) -> None:
        """Check the settings; derive layers from network, and hidden, activation and batch_norm from layers."""
        super().__post_init__()
        if self.network != DENSE:
            object.__setattr__(self, "layers", LAYERS.store(NETWORKS[self.network].layers))
        if self.layers:  # readers of the short form then see the units and activations of layers
            types = [layer["type"] for layer in self.layers]
            for number, name in enumerate(types, start=1):
                if name not in LAYER_NAMES:
                    raise ConfigError(
                        f"layers, entry {number}: unknown layer type {short(name)}.{near_match(name, LAYER_NAMES)}"
                    )
            hidden = self.layers_below_output
            units = tuple(layer.get("units", 0) for layer in hidden if layer["type"] == "dense")
            if not units and "conv2d" not in types:
                raise ConfigError(f"layers must have at least one of type dense or conv2d, got {', '.join(types)}.")
            names = tuple(name for name in types if name in ACTIVATION_NAMES)
            if self.embed_categories and "category_embedding" in types:
                raise ConfigError(
                    "embed_categories has no effect where layers have a category_embedding. Leave out one of them."
                )
            for key, value in zip(REPLACED_BY_NETWORK, (units, names, "batch_norm" in types), strict=True):
                object.__setattr__(self, key, value)
            return
        if len(self.activation) not in (1, len(self.hidden)):
            raise ConfigError(
                f"activation must be one name, or one for each of {len(self.hidden)} hidden layers, "
                f"got {', '.join(self.activation)}."
            )


@dataclass(frozen=True)
class RegularizationConfig(Checked):
    """The section [regularization]: methods against overfitting, and class weights."""

    dropout: float = setting(0.0, DROPOUT_RATE, "fraction of hidden values set to 0 in training")
    input_dropout: float = setting(0.0, DROPOUT_RATE, "fraction of inputs set to 0 in training")
    dropout_schedule: str = setting(
        "constant",
        one_of(*REGULARIZATION_SCHEDULES),
        "how `dropout`, `input_dropout` and the rates of dropout layers change during training (flat_cos: constant in "
        "the first half, then a cosine down to 0)",
    )
    l2: float = setting(
        0.0, NON_NEGATIVE, "L2 penalty: l2/2 times the sum of all squared weights is added to the mean loss"
    )
    label_smoothing: float = setting(
        0.0, FRACTION_BELOW_1, "fraction of each target that is spread evenly over all classes"
    )
    class_weights: str | tuple[float, ...] = setting(
        "equal",
        BY_CLASS,
        "weight of the samples of each class (balanced: all classes have the same total weight; "
        "numbers: one per class, in the order of the classes)",
    )


@dataclass(frozen=True)
class AugmentationConfig(Checked):
    """The section [augmentation]: random changes of training samples, new at each update.

    All of them except mixup apply to images only.
    """

    shift_pixels: float = setting(0.0, up_to(10_000), "largest shift of an image in each direction, in pixels")
    rotation_degrees: float = setting(0.0, up_to(360), "largest rotation of an image in each direction, in degrees")
    zoom: float = setting(
        0.0, up_to(100), "largest change of size. Height and width are scaled separately, by 1/(1 + X) to 1 + X"
    )
    shear: float = setting(0.0, up_to(100), "largest shear of an image, in horizontal pixels per vertical pixel")
    erase: float = setting(0.0, FRACTION, "fraction of images in which a rectangle is set to 0")
    erase_size: float = setting(
        0.4, FRACTION, "largest side of the rectangle of `erase`, as a fraction of the image's side"
    )
    mixup: float = setting(
        0.0, up_to(1000), "alpha of the Beta distribution from which mixup draws its weights. 0: no mixup"
    )


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """The section [optimizer]: how a gradient becomes a step (docs/derivation.md, U1 to U8)."""

    optimizer: str = setting("momentum", one_of(*OPTIMIZERS), "update rule")
    learning_rate: float = setting(1e-5, POSITIVE, "factor of the gradient in each step")
    momentum: float = setting(
        0.99, FRACTION_BELOW_1, "with `optimizer` momentum or nesterov: fraction of the previous step that is kept"
    )
    bias_momentum: bool = setting(
        False, BOOLEAN, "with `optimizer` momentum: whether biases are updated with momentum too"
    )
    beta1: float = setting(
        0.9, FRACTION_BELOW_1, "with `optimizer` adam or adamw: decay of the running mean of the gradient"
    )
    beta2: float = setting(
        0.999, FRACTION_BELOW_1, "with `optimizer` adam or adamw: decay of the running mean of the squared gradient"
    )
    epsilon: float = setting(
        1e-8, POSITIVE, "with `optimizer` adam or adamw: constant that is added to the denominator"
    )
    weight_decay: float = setting(
        0.0, NON_NEGATIVE, "decoupled weight decay: each step subtracts learning_rate * weight_decay * weights"
    )
    weight_decay_schedule: str = setting(
        "constant",
        one_of(*REGULARIZATION_SCHEDULES),
        "how `weight_decay` changes during training (flat_cos: as for `dropout_schedule`)",
    )
    clip_norm: float = setting(
        0.0, NON_NEGATIVE, "largest norm of the gradient. A larger gradient is scaled down to it. 0: no limit"
    )
    weight_average: float = setting(
        0.0,
        FRACTION_BELOW_1,
        "decay of the moving average of the weights (EMA), which is evaluated and saved. 0: no average",
    )
    reduction: str = setting(
        "sum", one_of("sum", "mean"), "whether the gradient of a batch is the sum or the mean over its samples"
    )


@dataclass(frozen=True)
class ScheduleConfig(Checked):
    """The section [schedule]: how the learning rate changes (docs/derivation.md, E1 to E5)."""

    schedule: str = setting("constant", one_of(*SCHEDULES), "how the learning rate changes during training")
    warmup_epochs: float = setting(
        0.0, NON_NEGATIVE, "number of epochs at the start over which the learning rate rises from near 0"
    )
    step_epochs: int = setting(
        30, integer(1), "with `schedule` step: number of epochs between changes of the learning rate"
    )
    step_factor: float = setting(0.1, POSITIVE, "with `schedule` step: factor by which the learning rate is multiplied")


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """The section [training]: duration, batches, seeds and the engine."""

    epochs: int = setting(200, integer(1), "number of passes over the training samples")
    batch_size: int | str = setting(FULL, BATCH, "number of samples per update, or all of them")
    shuffle_window: int = setting(
        65_536,
        integer(1),
        "number of consecutive samples that are shuffled together. The groups are shuffled too. For data larger than "
        "memory",
    )
    seed: int = setting(0, SEED, "seed of the initial weights and the order of batches")
    batch_seed: int | str = setting(SAME_AS_SEED, BATCH_SEED, "seed of the order of batches, if it differs from `seed`")
    ensemble: int = setting(
        1, integer(1, MAX_MEMBERS), "number of networks, with consecutive seeds, whose probabilities are averaged"
    )
    folds: int = setting(
        0,
        FOLDS,
        "number of cross-validation folds of an `ensemble`. Each network trains on all but one, which validates it. "
        "`train_size` and `valid_size` together are divided. 0: one validation part for all",
    )
    calibrate: bool = setting(
        False,
        BOOLEAN,
        "whether logits are divided by the temperature that makes the loss of the validation samples smallest",
    )
    engine: str = setting(
        "numpy",
        one_of(*ENGINES),
        "how formulas are computed: numpy (on all CPU cores), reference (slow, follows the written formulas) or torch "
        "(GPUs and bfloat16, needs the extra torch)",
    )
    dtype: str = setting("float32", one_of(*DTYPES), "floating-point type of weights and matrix products")
    tile_rows: int = setting(
        768,
        integer(1),
        "number of samples that engine numpy processes at a time. Engine torch uses at least eight times this number",
    )
    device: str = setting("auto", one_of(*DEVICES), "device of engine torch (auto: CUDA if available)")
    precision: str = setting(
        "float32",
        one_of(*PRECISIONS),
        "precision of matrix products. bfloat16 and tf32 need `engine` torch and `dtype` float32. tf32 also needs CUDA",
    )

    def __post_init__(self) -> None:
        """Check the settings, and that engine, device, precision and dtype agree."""
        super().__post_init__()
        if self.engine != "torch" and (self.device == "cuda" or self.precision != "float32"):
            name = "device" if self.device == "cuda" else "precision"
            raise ConfigError(f"{name} {getattr(self, name)} needs the torch engine, got engine {self.engine}.")
        if self.precision != "float32" and self.dtype != "float32":
            raise ConfigError(f"precision {self.precision} needs dtype float32, got dtype {self.dtype}.")
        if self.precision == "tf32" and self.device == "cpu":
            raise ConfigError("precision tf32 needs a CUDA device, got device cpu. On a CPU use bfloat16.")
        if self.folds and self.ensemble % self.folds:
            raise ConfigError(
                f"ensemble must be a multiple of folds {self.folds}, got {self.ensemble}. Set ensemble={self.folds} "
                f"(--ensemble {self.folds}), or folds=0 (--folds 0)."
            )


@dataclass(frozen=True)
class StoppingConfig(Checked):
    """The section [stopping]: when training ends early, and which epoch's weights are kept."""

    stop_early: bool = setting(False, BOOLEAN, "whether training stops when the monitored score no longer improves")
    patience: int = setting(
        10,
        integer(1),
        "number of epochs without an improvement after which training stops. It never stops in the first half of "
        "`epochs`",
    )
    min_delta: float = setting(
        0.0, NON_NEGATIVE, "smallest change that counts as an improvement, in the unit of the monitored score"
    )
    monitor: str = setting("valid_loss", one_of(*MONITORS), "score that is monitored")
    restore_best: bool = setting(
        True, BOOLEAN, "with `stop_early`: whether the weights of the best epoch are kept, not those of the last"
    )


COLUMN_OPTIONS = ("drop", "keep", "categorical", "numeric", "missing")  # lists of texts in `TableOptions`


@dataclass(frozen=True)
class TableOptions:
    """The section [data.table]: how the columns of a table are read, where it is not as usual.

    Attributes:
        drop: columns to leave out.
        keep: columns to use although they number the rows, or have too many different texts.
        categorical: columns of categories, also if they hold numbers.
        numeric: columns of numbers; a text in them is an error.
        missing: texts that mean "missing", besides the usual ones.
        decimal: the decimal mark, "." or ","; None for ".", or for that of the model that reads the table.
        delimiter: the character between two cells of a CSV table, or None to find it.
        header: whether the first row of a CSV table holds the names of the columns, or None to find
            out.
    """

    drop: Sequence[str] = ()
    keep: Sequence[str] = ()
    categorical: Sequence[str] = ()
    numeric: Sequence[str] = ()
    missing: Sequence[str] = ()
    decimal: str | None = None
    delimiter: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        """Check all options, and convert lists to tuples."""
        for name in COLUMN_OPTIONS:
            values = getattr(self, name)
            if isinstance(values, str) or not isinstance(values, (list, tuple)):
                raise ConfigError(f"{name} must be a list of texts, got {short(values)}.")
            if not all(isinstance(one, str) for one in values):
                raise ConfigError(f"{name} must be a list of texts, got {short(values)}.")
            object.__setattr__(self, name, tuple(values))
        if self.decimal not in (None, ".", ","):
            raise ConfigError(f"decimal must be '.' or ',', got {short(self.decimal)}.")
        is_mark = (
            isinstance(self.delimiter, str)
            and len(self.delimiter) == 1
            and (" " <= self.delimiter <= "~" or self.delimiter == "\t")
        )
        if self.delimiter is not None and not (is_mark and self.delimiter != '"'):
            raise ConfigError(f"delimiter must be one ASCII character, such as ';', got {short(self.delimiter)}.")
        if self.header is not None and not isinstance(self.header, bool):
            raise ConfigError(f"header must be true or false, got {short(self.header)}.")

    @property
    def concern_columns(self) -> bool:
        """Whether an option concerns what the columns hold."""
        return any(name not in ("delimiter", "header") and value != "." for name, value in self.changed.items())

    @property
    def of_file(self) -> TableOptions:
        """The options that concern how a file is written, and not which columns are used."""
        return TableOptions(missing=self.missing, decimal=self.decimal, delimiter=self.delimiter, header=self.header)

    @property
    def changed(self) -> dict[str, Any]:
        """The options that are not the defaults, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(TableOptions, name)}


USUAL_TABLE = TableOptions()
COLUMN_CHOICES = ("drop", "keep", "categorical", "numeric")  # which columns are used, and as what
TABLE_FIELDS = tuple(item.name for item in fields(TableOptions))
# Options of load_data that `DataConfig` stores.
READING_FIELDS = ("class_names", "label_column", "image_size", "image_fit", "color", *TABLE_FIELDS)


@dataclass(frozen=True)
class DataConfig:
    """The section [data]: where the samples came from, and digests to recognize them.

    Attributes:
        source: path of the samples, or the name of a data set; "" if unknown.
        sha256: digest of the source. Data with another digest is refused when a run is repeated.
        class_names, label_column, image_size, image_fit, color: options of `load_data`, or None.
        table: options of `load_data` for tables.
        valid_source, valid_sha256: provided validation samples, or "".
        test_source, test_sha256: provided test samples, or "".
        sample_weights_sha256, splits_sha256: digests of sample weights and index arrays that were
            passed in memory and are in no file, or "".
    """

    source: str = ""
    sha256: str = ""
    class_names: tuple[str, ...] | None = None
    label_column: str | None = None
    image_size: tuple[int, int] | None = None
    valid_source: str = ""
    valid_sha256: str = ""
    test_source: str = ""
    test_sha256: str = ""
    sample_weights_sha256: str = ""
    splits_sha256: str = ""
    image_fit: str | None = None
    table: TableOptions = TableOptions()
    color: str | None = None

    def updated(self, given: DataConfig, *, is_same: bool = False) -> DataConfig:
        """Return this configuration updated with the fields that another one sets.

        Args:
            given: the other configuration.
            is_same: require that a new source has the same digest, because the data was only
                moved.
        """
        named = {name: value for name, value in vars(given).items() if value and value != TableOptions()}
        for source, digest in (("source", "sha256"), ("valid_source", "valid_sha256"), ("test_source", "test_sha256")):
            if source in named and not is_same:
                named.setdefault(digest, "")
        return replace(self, **named)


@dataclass(frozen=True)
class Recipe:
    """All settings of a run except the data.

    Field names are unique across the sections, so `with_settings(hidden=[500], epochs=20)` needs no
    section names.
    """

    name: str = "writeup"
    split: SplitConfig = field(default_factory=SplitConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)

    def with_settings(self, **settings: Any) -> Recipe:
        """Return a copy of this recipe with some fields changed, each of them checked.

        NumPy numbers and arrays are converted to Python's types.

        Args:
            **settings: new values by field name.

        Raises:
            ConfigError: a field is unknown (the message names the nearest known one), or a value is
                invalid.
        """
        changed = self._fields_replaced_by(settings)
        for key, value in settings.items():
            if key not in SECTION_OF_FIELD:
                raise unknown_setting(key, SECTION_OF_FIELD)
            changed.setdefault(SECTION_OF_FIELD[key], {})[key] = to_python(value)
        sections = {name: replace(getattr(self, name), **values) for name, values in changed.items()}
        return replace(self, **sections)

    def _fields_replaced_by(self, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the fields that settings of the network reset, with their new values, by section.

        Raises:
            ConfigError: two of the settings describe the network in different ways.
        """
        layers, network = settings.get("layers"), settings.get("network", self.network.network)
        if layers and "network" not in settings:
            network = DENSE
        has_layers = bool(self.network.layers and self.network.network == DENSE if layers is None else layers)
        _check_one_description(settings, network, has_layers)
        if layers:
            return {"regularization": {"dropout": 0.0}, "network": {"network": DENSE}}
        if network == DENSE and self.network.network != DENSE:
            default = NetworkConfig()
            return {"network": {"layers": ()} | {key: getattr(default, key) for key in REPLACED_BY_NETWORK}}
        return {}


def _check_one_description(given: Mapping[str, Any], network: str, has_layers: bool, where: str = "") -> None:
    """Raise ConfigError if fields are given that a named network or layers replace.

    Args:
        given: fields with their values.
        network: the name of the network.
        has_layers: whether there is a list of layers.
        where: the place in a file in parentheses, for messages.
    """
    replaced: tuple[str, ...]
    if network != DENSE:
        replaced, reason = (*REPLACED_BY_NETWORK, "layers"), f"with network {short(network)}, which names every layer"
    else:
        replaced, reason = SHORT_FORM if has_layers else (), "where layers names every layer"
    for key in replaced:
        if key in given and (key != "layers" or given[key]):
            raise ConfigError(f"{key} has no effect {reason}{where}. Leave out one of them.")


def to_python(value: Any) -> Any:
    """Convert a NumPy number or array, alone or in a list, to Python's types."""
    if isinstance(value, (list, tuple)):
        return type(value)(to_python(one) for one in value)
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


# Fields of [data] that are written only if they are set.
PROVIDED_SPLITS = ("valid_source", "valid_sha256", "test_source", "test_sha256")
ARRAY_DIGESTS = ("sample_weights_sha256", "splits_sha256")
SECTIONS: dict[str, type[Any]] = {
    "split": SplitConfig,
    "network": NetworkConfig,
    "regularization": RegularizationConfig,
    "augmentation": AugmentationConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "training": TrainingConfig,
    "stopping": StoppingConfig,
}
# Former names in files of earlier versions. Readers accept them, and keys and digests are computed from them.
FORMER_NAMES = {"initializer": "initialiser", "regularization": "regularisation"}  # former names
FORMER_SPLIT = "given"  # the name of CUSTOM_SPLIT in earlier versions
SECTION_OF_FIELD = {item.name: section for section, kind in SECTIONS.items() for item in fields(kind)}


def with_current_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of a file with former names and values replaced by current ones."""
    current = {former: name for name, former in FORMER_NAMES.items() if name not in table}
    renamed = {current.get(key, key): value for key, value in table.items()}
    return renamed | {"split": CUSTOM_SPLIT} if renamed.get("split") == FORMER_SPLIT else renamed


def with_former_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with former names and values.

    Digests are computed from it, so that they equal those in files of earlier versions.
    """
    renamed = {FORMER_NAMES.get(key, key): value for key, value in table.items()}
    return renamed | {"split": FORMER_SPLIT} if renamed.get("split") == CUSTOM_SPLIT else renamed


def is_random(recipe: Recipe) -> bool:
    """Return whether training draws random numbers for anything but the order of batches.

    These are dropout, augmentation and mixup.
    """
    has_dropout = recipe.regularization.dropout or any(one["type"] == "dropout" for one in recipe.network.layers)
    return bool(has_dropout) or changes_inputs(recipe)


def changes_inputs(recipe: Recipe) -> bool:
    """Return whether training changes its inputs at random: by input dropout, augmentation or mixup."""
    changes = ("shift_pixels", "rotation_degrees", "zoom", "shear", "erase", "mixup")
    return bool(recipe.regularization.input_dropout) or any(getattr(recipe.augmentation, name) for name in changes)


def describe_field(field_name: str) -> str:
    """Return the description and constraint of a recipe field, for help texts and docs."""
    return f"{_field(field_name).metadata['meaning']}. Value: {constraint_of(field_name).must}"


def constraint_of(field_name: str) -> Constraint:
    """Return the constraint of a recipe field."""
    constraint: Constraint = _field(field_name).metadata["constraint"]
    return constraint


def _field(name: str) -> Field[Any]:
    """Return a recipe field of its section."""
    return next(item for item in fields(SECTIONS[SECTION_OF_FIELD[name]]) if item.name == name)


def number_or_text(text: str) -> int | float | str:
    """Return text as an integer or float if it is one, else unchanged."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def unknown_setting(name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown setting, with advice."""
    if name in READING_FIELDS:
        return ConfigError(f"{name} says how data is read. Give it to chalknet.load_data, and its Dataset as data.")
    return ConfigError(f"unknown setting {short(name)}.{near_match(name, known)}")


def near_match(word: str, known: Any) -> str:
    """Return a hint: the nearest known word (" Did you mean 'x'?") or all known words.

    A single known word of which the word is a part, as size of kernel_size, is nearer than a similar one.
    """
    short_word, names = word[:100], list(known)  # a name in a file can have megabytes
    wholes = [name for name in names if short_word in name.split("_")]
    near = get_close_matches(short_word, names, n=1, cutoff=0.8)
    near = near or (wholes if len(wholes) == 1 else get_close_matches(short_word, names, n=1))
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."


def config_tables(recipe: Recipe, data: DataConfig) -> dict[str, Any]:
    """Return a recipe and its data as the complete tables of config.toml."""
    named = {
        key: value
        for key, value in _plain(data).items()
        if value != "" or key not in (*PROVIDED_SPLITS, *ARRAY_DIGESTS)
    }
    named.pop("table")
    if data.table.changed:
        named["table"] = {key: list(v) if isinstance(v, tuple) else v for key, v in data.table.changed.items()}
    is_named = recipe.network.network != DENSE
    version = 4 if is_named or data.color else 3 if recipe.network.layers else 2
    of_categories = {name: getattr(recipe.network, name) for name in ("embed_categories", "category_inputs")}
    version = FORMAT if any(of_categories.values()) else version
    tables: dict[str, Any] = {"format": version, "recipe": recipe.name, "data": named}
    for section in SECTIONS:
        tables[section] = _plain(getattr(recipe, section))
    replaced = (
        ("layers", *SHORT_FORM) if is_named else ("network", *(SHORT_FORM if recipe.network.layers else ["layers"]))
    )
    for key in (*replaced, *(name for name, value in of_categories.items() if not value)):
        tables["network"].pop(key, None)
    return tables


def _plain(section: Any) -> dict[str, Any]:
    """Return a section as a dictionary for TOML: lists for tuples, and no None."""
    values = {item.name: getattr(section, item.name) for item in fields(section)}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None}


def read_config(path: Path) -> tuple[Recipe, DataConfig]:
    """Read a recipe and its data from a config.toml. Missing fields keep their defaults.

    Raises:
        ConfigError: there is no such file, it is not TOML, its format is newer, or a section, key
            or value is invalid.
    """
    return config_from_tables(read_toml(path), str(path))


def config_from_tables(tables: Mapping[str, Any], where: str) -> tuple[Recipe, DataConfig]:
    """Return the recipe and data that tables of a config.toml describe.

    This is the inverse of `config_tables`.

    Args:
        tables: the sections by name.
        where: what messages call the file.

    Raises:
        ConfigError: the format is newer, or a section, key or value is invalid.
    """
    known = {"format", "recipe", "data", *SECTIONS}
    tables = with_current_names(tables)
    for key in tables:
        if key not in known:
            raise ConfigError(f"unknown section {short(key)} in {where}.{near_match(key, known)}")
    version = tables.get("format", FORMAT)
    if not is_integer(version) or not 1 <= version <= FORMAT:
        raise ConfigError(
            f"{where}: format is {short(version)}, but this chalknet reads up to {FORMAT}. Install a newer one."
        )
    name = tables.get("recipe", "writeup")
    # The name becomes part of the name of a folder.
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"recipe must be a name of letters, digits, - and _, got {short(name)} ({where}).")
    sections = {key: _section(kind, tables.get(key, {}), f"{where}, [{key}]") for key, kind in SECTIONS.items()}
    is_by_hand = sections["network"].layers and sections["network"].network == DENSE
    if is_by_hand and sections["regularization"].dropout:
        raise ConfigError(
            f"dropout has no effect where layers names every layer ({where}). Add a layer of type dropout instead."
        )
    return Recipe(name=name, **sections), _data_section(tables.get("data", {}), f"{where}, [data]")


Section = TypeVar("Section")


def _section(kind: type[Section], values: Any, where: str) -> Section:
    """Create one section of a recipe from its table."""
    known = _checked_keys(kind, values, where)
    _check_one_description(known, known.get("network", DENSE), bool(known.get("layers")), f" ({where})")
    try:
        return kind(**known)
    except ConfigError as error:
        raise ConfigError(f"{str(error).removesuffix('.')} ({where}).") from None


def _checked_keys(kind: type[Any], values: Any, where: str) -> dict[str, Any]:
    """Return a table with current names after checking that all its keys are known."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a section of keys, got {short(values)}.")
    names = [item.name for item in fields(kind)]
    values = with_current_names(values)
    for key in values:
        if key not in names:
            raise ConfigError(f"unknown key {short(key)} ({where}).{near_match(key, names)}")
    return dict(values)


def _data_section(values: Any, where: str) -> DataConfig:
    """Create the section [data] from its table."""
    known = _checked_keys(DataConfig, values, where)
    for key in ("source", "sha256", "label_column", *PROVIDED_SPLITS, *ARRAY_DIGESTS):
        if not isinstance(known.get(key, ""), str):
            raise ConfigError(f"{key} must be text, got {short(known[key])} ({where}).")
    names = known.get("class_names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"class_names must be a list of names, got {short(names)} ({where}).")
    size = known.get("image_size", [1, 1])
    if not isinstance(size, list) or len(size) != 2 or not all(is_integer(n) and n >= 1 for n in size):
        raise ConfigError(f"image_size must be [height, width], got {short(size)} ({where}).")
    if known.get("color") not in (None, *COLORS):
        raise ConfigError(f"color must be one of {', '.join(COLORS)}, got {short(known['color'])} ({where}).")
    for key in ("class_names", "image_size"):
        if key in known:
            known[key] = tuple(known[key])
    if "table" in known:
        known["table"] = _section(TableOptions, known["table"], f"{where}, table")
    return DataConfig(**known)
