"""model.safetensors: the parameters of a model, and in its header everything needed to use them.

A model file is a safetensors file: 8 bytes with the length of the header, the header (JSON with
name, dtype, shape and position of every tensor), and the raw little-endian values. chalknet adds
one text to the header's metadata, under "chalknet": JSON with `format_version`, layers, class
names, input scaling and facts about the training. Tensors are named "hidden1.weight", with
"member2/" in front for an ensemble. There is no pickle, so a file from a stranger is only data;
every size and value is checked before it is used. docs/file_formats.md describes all fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.architecture_table import (
    MAX_LAYERS,
    architecture_from_table,
    architecture_table,
    current_parameter_name,
)
from chalknet.artifacts.atomic import write_bytes
from chalknet.artifacts.tensor_file import MIB, describe_non_file, read_tensors, tensor_bytes
from chalknet.checked import checked, plain, short, strict_json
from chalknet.data.color import N_COLORS
from chalknet.data.image_facts import ImageFacts
from chalknet.data.preprocess import Scaling
from chalknet.data.tables.encoding import TableEncoding, encoding_from_table
from chalknet.errors import ChalknetError, ConfigError, DataError, ModelFileError
from chalknet.network.architecture import Architecture
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Parameters
from chalknet.network.model import Classifier, Ensemble, Network

# Format 1 has relu only, no batch normalization, and one scale for all inputs. Format 2 stores hidden
# widths, activations and whether there is batch normalization, whose gamma it calls "gain". Format 3
# stores all layers.
FORMAT_VERSION = 3
INPUT_SHIFT, INPUT_SCALE, INPUT_FILL = "input.shift", "input.scale", "input.fill"  # float64, one value per input
HEADER_KEY = "chalknet"
MAX_HEADER = 4 * MIB  # parsed JSON takes up to 30 times as much memory as its text


def model_bytes(model: Classifier, training: Mapping[str, Any] | None = None) -> bytes:
    """Return a network or an ensemble as the bytes of a model file; equal models give equal bytes.

    Args:
        model: the network or ensemble.
        training: JSON-ready facts about the training. They are stored in the header and not needed to
            predict.

    Raises:
        OutputError: class names and facts take more than `MAX_HEADER` bytes.
    """
    members, scaling = model.members, model.scaling
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "members": len(members),
        **architecture_table(model.architecture),
        "class_names": list(model.class_names),
        "image_shape": None if model.image_shape is None else list(model.image_shape),
        "training": dict(training or {}),
    }
    if model.image_facts is not None:
        description["image_facts"] = asdict(model.image_facts)
    if model.encoding is not None:
        description["encoding"] = model.encoding.as_table()
    elif model.input_names:
        description["input_names"] = list(model.input_names)
    tensors: dict[str, FloatArray] = {}
    if scaling.shift is None:
        description["input_scale"] = float(scaling.scale)
    else:
        tensors = {INPUT_SHIFT: scaling.shift, INPUT_SCALE: np.broadcast_to(scaling.scale, scaling.shift.shape)}
    if scaling.fill is not None:
        tensors[INPUT_FILL] = scaling.fill
    for number, network in enumerate(members, start=1):
        prefix = _prefix(number, len(members))
        tensors |= {f"{prefix}{name}": value for name, value in network.parameters.items()}
    return tensor_bytes(tensors, HEADER_KEY, json.dumps(description, ensure_ascii=False), MAX_HEADER)


def save_model(model: Classifier, path: str | Path) -> None:
    """Write a network, an ensemble or the network of a fitted `ChalkClassifier` to one file.

    Args:
        model: what to write.
        path: the file, which is replaced if it exists.

    Raises:
        OutputError: the file cannot be written; an older one is unchanged.
        ConfigError: model is none of these.
    """
    model = getattr(model, "network_", model)
    if not isinstance(model, Classifier):
        raise ConfigError(
            f"save_model takes a Network, an Ensemble or a fitted ChalkClassifier, got {type(model).__name__}."
        )
    write_bytes(Path(path), model_bytes(model))


def load_model(path: str | Path) -> Network | Ensemble:
    """Read a model that `save_model` or a training run wrote. The file is never executed.

    Args:
        path: the file.

    Returns:
        The `Network`, or an `Ensemble` if the file has several members.

    Raises:
        ModelFileError: the file does not exist, is not safetensors, is not from chalknet, has a newer
            format, or has values that do not fit together or are not finite. The message says
            which.
    """
    try:
        return _check_finite_output(_build_model(*_read(Path(path))))
    except ChalknetError as error:
        raise ModelFileError(f"{path}: {plain(error)}") from error


def _prefix(number: int, n: int) -> str:
    """Return the prefix of the tensor names of a member, or "" if there is only one."""
    return f"member{number}/" if n > 1 else ""


def _read(path: Path) -> tuple[str | None, Parameters]:
    try:
        if path.is_file():
            return read_tensors(path, HEADER_KEY, MAX_HEADER)
        found = describe_non_file(path)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"is not a whole safetensors file ({error}).") from error
    raise ModelFileError("no such model file." if found is None else f"is {found}, not a model file.")


def _build_model(header: str | None, tensors: Parameters) -> Network | Ensemble:
    description = _parse_header(header)
    version = _field(description, "format_version", int)
    if version < 1:
        raise ModelFileError(f"its format_version is {short(version)}, and formats begin with 1.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"has format {short(version)}, but this chalknet reads up to {FORMAT_VERSION}. Install a newer chalknet."
        )
    n_members = _field(description, "members", int) if version > 1 else 1
    if not 1 <= n_members <= max(len(tensors), 1):
        raise ModelFileError(f"its members are {short(n_members)}, but it holds {len(tensors)} tensors.")
    class_names = tuple(_field(description, "class_names", list[str]))
    architecture = (
        architecture_from_table(description) if version > 2 else _architecture_of_old_format(description, version)
    )
    _check_classes(architecture, class_names)
    n_inputs = architecture.n_inputs
    scaling = _scaling(description, tensors, n_inputs)
    needed = n_members * len(architecture.shapes)
    if needed != len(tensors):
        raise ModelFileError(
            f"its {n_members} members of {len(architecture.layers)} layers need {needed} tensors, but it holds "
            f"{len(tensors)}."
        )
    if version < 3:
        tensors = {current_parameter_name(name): value for name, value in tensors.items()}
    shape, encoding = _image_shape(description, n_inputs), _encoding(description, n_inputs, scaling)
    input_names = _input_names(description, n_inputs) if encoding is None else encoding.input_names
    facts = _image_facts(description)
    _check_values(tensors)
    networks = []
    for number in range(1, n_members + 1):
        prefix = _prefix(number, n_members)
        missing = next((name for name in architecture.shapes if prefix + name not in tensors), None)
        if missing is not None:
            raise ModelFileError(f"holds no {prefix}{missing}, which a network {architecture} has.")
        own = {name: tensors[prefix + name] for name in architecture.shapes}
        networks.append(Network(architecture, own, class_names, scaling, shape, input_names, facts, encoding))
    return networks[0] if n_members == 1 else Ensemble(tuple(networks))


def _architecture_of_old_format(description: dict[str, Any], version: int) -> Architecture:
    """Return the architecture of a file of format 1 or 2."""
    n_inputs, hidden = _field(description, "n_inputs", int), _field(description, "hidden", list[int])
    if len(hidden) > MAX_LAYERS:
        raise ModelFileError(f"has {len(hidden)} hidden layers, and this chalknet reads up to {MAX_LAYERS}.")
    activations = _field(description, "activations", list[str]) if version > 1 else []
    batch_norm = version > 1 and _field(description, "batch_norm", bool)
    n_classes = len(_field(description, "class_names", list[str]))
    return Architecture(n_inputs, hidden, n_classes, activations, batch_norm)


def _check_classes(architecture: Architecture, class_names: tuple[str, ...]) -> None:
    if architecture.n_classes != len(class_names):
        raise ModelFileError(f"has {len(class_names)} class names for {short(architecture.n_classes)} outputs.")


def _check_finite_output(model: Network | Ensemble) -> Network | Ensemble:
    """Return the model if its output for a plain input is finite.

    Finite weights can still overflow when they are multiplied.
    """
    scaling = model.scaling
    plainest = np.zeros(model.architecture.n_inputs) if scaling.shift is None else scaling.shift
    try:
        with np.errstate(over="ignore"):
            narrow = plainest.astype(np.float32)  # as pixels, so that the scale is used in float32 too
        model.predict_proba(narrow[None])
    except DataError as error:
        raise ModelFileError("its weights or scales are so large that the network's values are not finite.") from error
    return model


def _parse_header(header: str | None) -> dict[str, Any]:
    if header is None:
        raise ModelFileError("has no 'chalknet' entry in its header; it was written by another program.")
    try:
        description = strict_json(header)
    except ValueError as error:
        raise ModelFileError(f"its 'chalknet' entry is not JSON as chalknet writes it ({plain(error)}).") from error
    if not isinstance(description, dict):
        raise ModelFileError("its 'chalknet' entry is not a JSON object.")
    return description


def _scaling(description: dict[str, Any], tensors: Parameters, n_inputs: int) -> Scaling:
    """Return the input scaling of a file, and remove its tensors from those of the network."""
    shift, scale, fill = (tensors.pop(name, None) for name in (INPUT_SHIFT, INPUT_SCALE, INPUT_FILL))
    fill = None if fill is None else _per_input_values(INPUT_FILL, fill, n_inputs)
    if shift is None and scale is None:
        number = _field(description, "input_scale", float)
        if number <= 0:
            raise ModelFileError(f"its input_scale is {short(number)}, which is not a number > 0.")
        return Scaling(number, None, fill)
    shift, scale = _per_input_values(INPUT_SHIFT, shift, n_inputs), _per_input_values(INPUT_SCALE, scale, n_inputs)
    if scale.min() <= 0:
        raise ModelFileError(f"its {INPUT_SCALE} holds {scale.min()}, and scales must be > 0.")
    return Scaling(scale, shift, fill)


def _per_input_values(name: str, value: FloatArray | None, n_inputs: int) -> NDArray[np.float64]:
    if value is None or value.shape != (n_inputs,) or value.dtype != np.float64 or not np.isfinite(value).all():
        raise ModelFileError(f"its {name} is not {short(n_inputs)} finite float64 numbers.")
    return value.astype(np.float64)


def _image_shape(description: dict[str, Any], n_inputs: int) -> tuple[int, ...] | None:
    if description.get("image_shape") is None:
        return None
    shape = _field(description, "image_shape", list[int])
    has_axes = len(shape) == 2 or (len(shape) == 3 and shape[2] == N_COLORS)
    if not has_axes or min(shape) < 1 or math.prod(shape) != n_inputs:
        raise ModelFileError(f"its image_shape is {short(shape)}, which does not make {short(n_inputs)} inputs.")
    return tuple(shape)


def _input_names(description: dict[str, Any], n_inputs: int) -> tuple[str, ...]:
    if description.get("input_names") is None:
        return ()
    names = _field(description, "input_names", list[str])
    if len(names) != n_inputs or not all(map(str.isprintable, names)):
        raise ModelFileError(f"its input_names are not {short(n_inputs)} names that can be printed.")
    return tuple(names)


def _encoding(description: dict[str, Any], n_inputs: int, scaling: Scaling) -> TableEncoding | None:
    """Return how columns are encoded; None for images, rows, and in files of earlier versions."""
    table = description.get("encoding")
    if table is None:
        return None
    encoding = encoding_from_table(table)
    if encoding.n_inputs != n_inputs or scaling.fill is None:
        raise ModelFileError(f"its encoding makes {short(encoding.n_inputs)} inputs of {short(n_inputs)}.")
    return encoding


def _image_facts(description: dict[str, Any]) -> ImageFacts | None:
    """Return what the training images look like; None for rows and in files of earlier versions."""
    facts: ImageFacts | None = _field(description, "image_facts", ImageFacts | None)
    if facts is not None and not all(0 <= value <= 1 for value in vars(facts).values()):
        raise ModelFileError(f"its image_facts are {short(facts)}, which are not all in 0..1.")
    return facts


def _check_values(parameters: Parameters) -> None:
    dtypes = {value.dtype for value in parameters.values()}
    if len(dtypes) != 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        names = ", ".join(sorted(str(dtype) for dtype in dtypes)) or "none"
        raise ModelFileError(f"its parameters must all be float32 or all float64, got {names}.")
    for name, value in parameters.items():
        if not np.isfinite(value).all():
            raise ModelFileError(f"{name} holds values that are not finite.")
        if name.endswith(".variance") and value.size and value.min() < 0:
            raise ModelFileError(f"{name} holds {value.min()}, and variances must be >= 0.")
        if name.endswith(".edges") and not (np.diff(value) > 0).all():
            raise ModelFileError(f"{name} holds edges of bins that do not increase.")


def _field(description: dict[str, Any], key: str, kind: Any) -> Any:
    try:
        return checked(kind, description.get(key), f"its {key}")
    except ValueError as error:
        raise ModelFileError(f"{error}.") from None
