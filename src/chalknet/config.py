"""`Recipe`: everything that decides a run's numbers, as frozen dataclasses that read and write TOML.

Each field carries its constraint and its meaning; one formatter makes every message about a bad value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from chalknet.checked import is_integer, is_number, read_toml, short
from chalknet.errors import ConfigError

FORMAT = 3  # of config.toml with layers; one without them is of format 2, which earlier versions read
CUSTOM_SPLIT = "custom"  # index arrays of the user, which no configuration holds
SPLIT_METHODS = ("writeup", "random", "stratified", "group")
MAX_UNITS = 1_000_000  # of a layer; more is a slip of the keyboard
MAX_MEMBERS = 1_000
MAX_WORKERS = 1_024  # threads of an engine
MAX_INTEGER = 2**63 - 1  # of numbers without a bound of their own
ENGINES = ("numpy", "reference", "torch")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16", "tf32")
DTYPES = ("float32", "float64")
MONITORS = ("valid_loss", "valid_accuracy")
# The registry of layer types: each is defined in the file of its name in network/.
ACTIVATION_NAMES = (
    *("relu", "leaky_relu", "gelu", "tanh", "identity"),
    *("sigmoid", "silu", "mish", "elu", "selu"),
)
LAYER_NAMES = ("dense", *ACTIVATION_NAMES, "batch_norm", "dropout")
INITIALIZERS = ("writeup", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform")
OPTIMIZERS = ("gradient_descent", "momentum", "nesterov", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine", "one_cycle")
SCALINGS = ("pixels", "standard", "auto")
CLASS_WEIGHTS = ("equal", "balanced")
FULL = "full"
SAME_AS_SEED = "seed"  # a batch_seed that says: the same as seed


@dataclass(frozen=True)
class Constraint:
    """What a value must be: in words for the message, as a predicate for the check, and how it is then stored.

    Attributes:
        choices: the names to choose from, of a value that is one of a few names; else empty.
    """

    must: str
    accepts: Callable[[Any], bool]
    store: Callable[[Any], Any] = lambda value: value
    choices: tuple[str, ...] = ()


def integer(low: int, high: int | None = None) -> Constraint:
    must = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    return Constraint(must, lambda v: is_integer(v) and low <= v <= (MAX_INTEGER if high is None else high))


def up_to(high: float) -> Constraint:
    return Constraint(f"a number from 0 to {high:g}", lambda v: is_number(v) and 0 <= v <= high, float)


def one_of(*names: str) -> Constraint:
    return Constraint(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names, choices=names)


POSITIVE = Constraint("a number > 0", lambda v: is_number(v) and v > 0, float)
NON_NEGATIVE = Constraint("a number >= 0", lambda v: is_number(v) and v >= 0, float)
FRACTION = up_to(1)
DROPOUT_RATE = up_to(0.999)
FRACTION_BELOW_1 = Constraint("a number >= 0 and < 1", lambda v: is_number(v) and 0 <= v < 1, float)
BOOLEAN = Constraint("true or false", lambda v: isinstance(v, bool))
SEED = integer(0, 2**32 - 1)  # what numpy.random.RandomState takes
WIDTHS = Constraint(
    f"one or more integers from 1 to {MAX_UNITS}",
    lambda v: isinstance(v, (list, tuple)) and len(v) > 0 and all(is_integer(n) and 1 <= n <= MAX_UNITS for n in v),
    tuple,
)


def _as_names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


LAYER_ACTIVATIONS = Constraint(
    f"one of {', '.join(ACTIVATION_NAMES)}, or one of them for each hidden layer",
    lambda v: isinstance(v, (str, list, tuple)) and len(v) > 0 and set(_as_names(v)) <= set(ACTIVATION_NAMES),
    _as_names,
)


class LayerTable(dict[str, Any]):
    """The type and the settings of one layer, such as {"type": "dense", "units": 512}; hashable, not to be changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def _as_layer_table(value: Any) -> LayerTable | None:
    """Return a layer's table from its type's name, a table or a specification; None where it is none of these."""
    if hasattr(value, "table"):  # a specification of network/
        value = value.table()
    if isinstance(value, str):
        value = {"type": value}
    is_layer = isinstance(value, Mapping) and isinstance(value.get("type"), str)
    plain = is_layer and all(isinstance(one, (str, int, float)) for one in value.values())
    return LayerTable(value) if plain else None


def _are_layers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_as_layer_table(one) is not None for one in value)


LAYERS = Constraint(
    'a list of layers, each a name such as "relu" or a table such as {type = "dense", units = 512}',
    _are_layers,
    lambda value: tuple(_as_layer_table(one) for one in value),
)
# What `layers` takes the place of.
SHORT_FORM = ("hidden", "activation", "batch_norm", "dropout")


def _is_class_weights(value: Any) -> bool:
    if isinstance(value, str):
        return value in CLASS_WEIGHTS
    return isinstance(value, (list, tuple)) and len(value) > 1 and all(is_number(v) and v > 0 for v in value)


BY_CLASS = Constraint(
    f"one of {', '.join(CLASS_WEIGHTS)}, or a number > 0 for each class",
    _is_class_weights,
    lambda v: v if isinstance(v, str) else tuple(map(float, v)),
)
BATCH_SEED = Constraint(f'{SEED.must}, or "{SAME_AS_SEED}"', lambda v: v == SAME_AS_SEED or SEED.accepts(v))
BATCH = Constraint(f'an integer >= 1, or "{FULL}"', lambda v: v == FULL or integer(1).accepts(v))


def _is_count_or_fraction(value: Any) -> bool:
    return integer(0).accepts(value) or (is_number(value) and 0 < value < 1)


TRAIN_SIZE = Constraint(
    "a number of samples >= 1, or a fraction between 0 and 1", lambda v: _is_count_or_fraction(v) and v > 0
)
VALID_SIZE = Constraint(
    "a number of samples >= 0, or a fraction between 0 and 1", lambda v: _is_count_or_fraction(v) and v >= 0
)


def setting(default: Any, constraint: Constraint, meaning: str) -> Any:
    return field(default=default, metadata={"constraint": constraint, "meaning": meaning})


class Checked:
    """A base class that checks every `setting` when it is set, and stores it in one form."""

    def __post_init__(self) -> None:
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
    """[split]: which samples train, validate and test."""

    split: str = setting("writeup", one_of(*SPLIT_METHODS, CUSTOM_SPLIT), "how samples are divided")
    train_size: float = setting(15_000, TRAIN_SIZE, "training samples, or their fraction")
    valid_size: float = setting(
        1_000,
        VALID_SIZE,
        "validation samples, their fraction, or (train alone) a file; the test set is the rest, or the data's own",
    )
    split_seed: int = setting(521, SEED, "seed of the division")


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """[network]: its shape, how it starts, and what is done to its inputs and its hidden values."""

    hidden: tuple[int, ...] = setting((1_000,), WIDTHS, "units of each hidden layer, from the input on")
    activation: tuple[str, ...] = setting(("relu",), LAYER_ACTIVATIONS, "what hidden layers do to their values")
    batch_norm: bool = setting(False, BOOLEAN, "whether hidden values are normalized over the batch")
    layers: tuple[LayerTable, ...] = setting(
        (), LAYERS, "all layers but the output, in place of hidden, activation, batch_norm and dropout"
    )
    initializer: str = setting("writeup", one_of(*INITIALIZERS), "how initial weights are drawn")
    input_scaling: str = setting(
        "pixels",
        one_of(*SCALINGS),
        "how inputs are scaled (pixels: bytes divided by 255; standard: mean 0 and deviation 1, learned from the "
        "training part; auto: pixels for images, standard for rows)",
    )

    def activations(self) -> tuple[str, ...]:
        """One a hidden layer."""
        return self.activation * len(self.hidden) if len(self.activation) == 1 else self.activation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers:  # the short form then says what the layers have, for whoever reads it
            types = [layer["type"] for layer in self.layers]
            for number, name in enumerate(types, start=1):
                if name not in LAYER_NAMES:
                    raise ConfigError(
                        f"layers, entry {number}: unknown layer type {short(name)}.{near_match(name, LAYER_NAMES)}"
                    )
            if "dense" not in types:
                raise ConfigError(f"layers must have at least one of type dense, got {', '.join(types)}.")
            units = tuple(layer.get("units", 0) for layer in self.layers if layer["type"] == "dense")
            names = tuple(name for name in types if name in ACTIVATION_NAMES)
            for key, value in zip(SHORT_FORM, (units, names, "batch_norm" in types), strict=False):
                object.__setattr__(self, key, value)
            return
        if len(self.activation) not in (1, len(self.hidden)):
            raise ConfigError(
                f"activation must be one name, or one for each of {len(self.hidden)} hidden layers, "
                f"got {', '.join(self.activation)}."
            )


@dataclass(frozen=True)
class RegularizationConfig(Checked):
    """[regularization]: what keeps a network from learning its samples by heart, and what each sample counts."""

    dropout: float = setting(0.0, DROPOUT_RATE, "share of hidden values dropped in training")
    input_dropout: float = setting(0.0, DROPOUT_RATE, "share of inputs dropped in training")
    l2: float = setting(0.0, NON_NEGATIVE, "strength of the penalty l2/2 sum W^2 that is added to the mean loss")
    label_smoothing: float = setting(0.0, FRACTION_BELOW_1, "share of each target spread over all classes")
    class_weights: str | tuple[float, ...] = setting(
        "equal", BY_CLASS, "what a sample of each class counts (balanced: every class the same in all)"
    )


@dataclass(frozen=True)
class AugmentationConfig(Checked):
    """[augmentation]: how training samples are changed at random, anew at each update; images only, but for mixup."""

    shift_pixels: float = setting(0.0, up_to(10_000), "largest shift of an image, up, down and sideways")
    rotation_degrees: float = setting(0.0, up_to(360), "largest rotation of an image, either way")
    zoom: float = setting(0.0, up_to(100), "an image is scaled by a factor from 1/(1 + zoom) to 1 + zoom, by axis")
    shear: float = setting(0.0, up_to(100), "largest shear of an image, pixels sideways a pixel down")
    erase: float = setting(0.0, FRACTION, "share of images with a rectangle set to 0")
    erase_size: float = setting(0.4, FRACTION, "largest side of that rectangle, as a share of the image's")
    mixup: float = setting(
        0.0, up_to(1000), "alpha of the Beta distribution by which two samples are mixed; 0 for none"
    )


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """[optimizer]: the rule by which a gradient becomes a step (docs/derivation.md, U1 to U8)."""

    optimizer: str = setting("momentum", one_of(*OPTIMIZERS), "the update rule")
    learning_rate: float = setting(1e-5, POSITIVE, "step length")
    momentum: float = setting(0.99, FRACTION_BELOW_1, "share of the last step that momentum and nesterov keep")
    bias_momentum: bool = setting(False, BOOLEAN, "whether the biases have momentum too")
    beta1: float = setting(0.9, FRACTION_BELOW_1, "share of the mean gradient that adam keeps")
    beta2: float = setting(0.999, FRACTION_BELOW_1, "share of the mean squared gradient that adam keeps")
    epsilon: float = setting(1e-8, POSITIVE, "what adam adds to the root that it divides by")
    weight_decay: float = setting(
        0.0, NON_NEGATIVE, "share of the weights, times the learning rate, that each step takes off"
    )
    clip_norm: float = setting(0.0, NON_NEGATIVE, "length to which longer gradients are shortened; 0 for never")
    weight_average: float = setting(
        0.0,
        FRACTION_BELOW_1,
        "share that a running average of the weights keeps, which is then what is evaluated; 0 for none",
    )
    reduction: str = setting("sum", one_of("sum", "mean"), "whether a batch's gradient is its samples' sum or mean")


@dataclass(frozen=True)
class ScheduleConfig(Checked):
    """[schedule]: how the learning rate changes (docs/derivation.md, E1 to E4)."""

    schedule: str = setting("constant", one_of(*SCHEDULES), "how the learning rate changes over the training")
    warmup_epochs: float = setting(0.0, NON_NEGATIVE, "epochs in which it first rises from near 0")
    step_epochs: int = setting(30, integer(1), "epochs between two steps of the schedule step")
    step_factor: float = setting(0.1, POSITIVE, "what each of these steps multiplies it by")


@dataclass(frozen=True)
class TrainingConfig(Checked):
    """[training]: how long, in what batches, from which seed, on what."""

    epochs: int = setting(200, integer(1), "passes over the training samples")
    batch_size: int | str = setting(FULL, BATCH, "samples an update, or all of them")
    shuffle_window: int = setting(65_536, integer(1), "training samples among which mini-batches are shuffled")
    seed: int = setting(0, SEED, "seed of the initial weights and of the batch order")
    batch_seed: int | str = setting(SAME_AS_SEED, BATCH_SEED, "seed of the batch order where it is another")
    ensemble: int = setting(
        1, integer(1, MAX_MEMBERS), "networks, from as many seeds from seed on, whose probabilities are averaged"
    )
    engine: str = setting("numpy", one_of(*ENGINES), "what runs the formulas")
    dtype: str = setting("float32", one_of(*DTYPES), "floating-point type of weights and products")
    tile_rows: int = setting(
        768,
        integer(1),
        "samples that go through the network at a time in the numpy engine, and at least eight times as many in torch",
    )
    device: str = setting("auto", one_of(*DEVICES), "where the torch engine computes (auto: on CUDA where it can)")
    precision: str = setting(
        "float32", one_of(*PRECISIONS), "type of the operands of the torch engine's products, where dtype is float32"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine != "torch" and (self.device == "cuda" or self.precision != "float32"):
            name = "device" if self.device == "cuda" else "precision"
            raise ConfigError(f"{name} {getattr(self, name)} needs the torch engine, got engine {self.engine}.")
        if self.precision != "float32" and self.dtype != "float32":
            raise ConfigError(f"precision {self.precision} needs dtype float32, got dtype {self.dtype}.")
        if self.precision == "tf32" and self.device == "cpu":
            raise ConfigError("precision tf32 needs a CUDA device, got device cpu. On processors there is bfloat16.")


@dataclass(frozen=True)
class StoppingConfig(Checked):
    """[stopping]: whether training ends before its last epoch, and which epoch's weights are then kept."""

    stop_early: bool = setting(False, BOOLEAN, "whether to stop when the monitor no longer improves")
    patience: int = setting(10, integer(1), "epochs without an improvement after which training stops")
    min_delta: float = setting(0.0, NON_NEGATIVE, "what an improvement must exceed, in the monitor's unit")
    monitor: str = setting("valid_loss", one_of(*MONITORS), "what is to improve")
    restore_best: bool = setting(True, BOOLEAN, "whether stopping early keeps the best epoch's weights, not the last's")


READING_FIELDS = ("class_names", "label_column", "image_size", "image_fit")  # of `DataConfig`


@dataclass(frozen=True)
class DataConfig:
    """[data]: where the samples came from ("" where not named), and the digest that a repetition must find again.

    valid_source and test_source, with their digests, are validation and test samples of one's own. Sample weights and
    index arrays that were given are in no file, and of them there are the digests alone.
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

    def updated(self, given: DataConfig, *, is_same: bool = False) -> DataConfig:
        """Return this with what another configuration names.

        Args:
            is_same: whether a newly named source must have the same digest, since the data have only moved.
        """
        named = {name: value for name, value in vars(given).items() if value}
        for source, digest in (("source", "sha256"), ("valid_source", "valid_sha256"), ("test_source", "test_sha256")):
            if source in named and not is_same:
                named.setdefault(digest, "")
        return replace(self, **named)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's numbers but the data: complete, named and frozen.

    Field names are unique over the sections, so `with_settings(hidden=[500], epochs=20)` needs no section.
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
        """This recipe with some fields changed, each checked; NumPy's numbers and arrays are taken as Python's.

        Raises:
            ConfigError: an unknown field, with the nearest known one, or a value that its field does not take.
        """
        changed: dict[str, dict[str, Any]] = {}
        layers = settings.get("layers", self.network.layers)
        given = [key for key in SHORT_FORM if key in settings]
        if layers and given:
            raise ConfigError(f"{given[0]} has no effect where layers names every layer. Leave out one of them.")
        if "layers" in settings and layers:
            changed["regularization"] = {"dropout": 0.0}
        for key, value in settings.items():
            if key not in SECTION_OF_FIELD:
                raise unknown_setting(key, SECTION_OF_FIELD)
            changed.setdefault(SECTION_OF_FIELD[key], {})[key] = to_python(value)
        sections = {name: replace(getattr(self, name), **values) for name, values in changed.items()}
        return replace(self, **sections)


def to_python(value: Any) -> Any:
    """A NumPy number or array, alone or in a list, as Python's: what `np.arange` and a grid search hand over."""
    if isinstance(value, (list, tuple)):
        return type(value)(to_python(one) for one in value)
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


# Of [data], written where they are named.
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
# Names that files of earlier versions use. Readers accept them, and keys and digests in such files are made of them.
FORMER_NAMES = {"initializer": "initialiser", "regularization": "regularisation"}
FORMER_SPLIT = "given"  # what earlier versions call CUSTOM_SPLIT
SECTION_OF_FIELD = {item.name: section for section, kind in SECTIONS.items() for item in fields(kind)}


def with_current_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table of a file with the names of this version in place of former names."""
    current = {former: name for name, former in FORMER_NAMES.items() if name not in table}
    renamed = {current.get(key, key): value for key, value in table.items()}
    return renamed | {"split": CUSTOM_SPLIT} if renamed.get("split") == FORMER_SPLIT else renamed


def with_former_names(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table with former names, for digests that must equal those in files of earlier versions."""
    renamed = {FORMER_NAMES.get(key, key): value for key, value in table.items()}
    return renamed | {"split": FORMER_SPLIT} if renamed.get("split") == CUSTOM_SPLIT else renamed


def is_random(recipe: Recipe) -> bool:
    """Return whether training draws more at random than the order of batches: dropout, changed or mixed samples."""
    if any(layer["type"] == "dropout" for layer in recipe.network.layers):
        return True
    drawn = ("dropout", "input_dropout")
    changes = ("shift_pixels", "rotation_degrees", "zoom", "shear", "erase", "mixup")
    return any(getattr(recipe.regularization, name) for name in drawn) or any(
        getattr(recipe.augmentation, name) for name in changes
    )


def describe_field(field_name: str) -> str:
    """What a recipe's field means, with what it must be: the text that `--help` and the docs show."""
    item = next(f for f in fields(SECTIONS[SECTION_OF_FIELD[field_name]]) if f.name == field_name)
    constraint: Constraint = item.metadata["constraint"]
    return f"{item.metadata['meaning']}: {constraint.must}"


def unknown_setting(name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a setting that does not exist, with what to do instead."""
    if name in READING_FIELDS:
        return ConfigError(f"{name} says how data are read. Give it to chalknet.load_data, and its Dataset as data.")
    return ConfigError(f"unknown setting {short(name)}.{near_match(name, known)}")


def near_match(word: str, known: Any) -> str:
    """ " Did you mean 'x'?", or what there is to choose from where nothing is near."""
    near = get_close_matches(word[:100], list(known), n=1)  # a file may claim a name of megabytes
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."


def config_tables(recipe: Recipe, data: DataConfig) -> dict[str, Any]:
    """A recipe and its data as the plain tables of config.toml, complete."""
    named = {
        key: value
        for key, value in _plain(data).items()
        if value != "" or key not in (*PROVIDED_SPLITS, *ARRAY_DIGESTS)
    }
    version = FORMAT if recipe.network.layers else 2
    tables: dict[str, Any] = {"format": version, "recipe": recipe.name, "data": named}
    for section in SECTIONS:
        tables[section] = _plain(getattr(recipe, section))
    for key in SHORT_FORM if recipe.network.layers else ("layers",):
        tables["network"].pop(key, None)
    return tables


def _plain(section: Any) -> dict[str, Any]:
    values = {item.name: getattr(section, item.name) for item in fields(section)}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v is not None}


def read_config(path: Path) -> tuple[Recipe, DataConfig]:
    """The recipe and data of a config.toml; fields that are not there keep their defaults.

    Raises:
        ConfigError: no such file, not TOML, a newer format, an unknown section or key, or a value that cannot be.
    """
    return config_from_tables(read_toml(path), str(path))


def config_from_tables(tables: Mapping[str, Any], where: str) -> tuple[Recipe, DataConfig]:
    """The inverse of `config_tables`; where names the file in messages."""
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
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):  # part of a folder's name
        raise ConfigError(f"recipe must be a name of letters, digits, - and _, got {short(name)} ({where}).")
    sections = {key: _section(kind, tables.get(key, {}), f"{where}, [{key}]") for key, kind in SECTIONS.items()}
    if sections["network"].layers and sections["regularization"].dropout:
        raise ConfigError(
            f"dropout has no effect where layers names every layer ({where}). Add a layer of type dropout instead."
        )
    return Recipe(name=name, **sections), _data_section(tables.get("data", {}), f"{where}, [data]")


Section = TypeVar("Section")


def _section(kind: type[Section], values: Any, where: str) -> Section:
    known = _checked_keys(kind, values, where)
    given = [key for key in SHORT_FORM if key in known and known.get("layers")]
    if given:
        raise ConfigError(f"{given[0]} has no effect where layers names every layer ({where}). Leave out one of them.")
    try:
        return kind(**known)
    except ConfigError as error:
        raise ConfigError(f"{str(error).removesuffix('.')} ({where}).") from None


def _checked_keys(kind: type[Any], values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a section of keys, got {short(values)}.")
    names = [item.name for item in fields(kind)]
    values = with_current_names(values)
    for key in values:
        if key not in names:
            raise ConfigError(f"unknown key {short(key)} ({where}).{near_match(key, names)}")
    return dict(values)


def _data_section(values: Any, where: str) -> DataConfig:
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
    for key in ("class_names", "image_size"):
        if key in known:
            known[key] = tuple(known[key])
    return DataConfig(**known)
