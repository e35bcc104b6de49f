"""model.safetensors: parameters, and in the header all that is needed to use them; no pickle, in or out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.atomic import write_bytes
from chalknet.data.preprocess import Scaling
from chalknet.errors import ChalknetError, ModelFileError
from chalknet.network.architecture import Architecture, Parameters
from chalknet.network.arrays import FloatArray
from chalknet.network.model import Classifier, Ensemble, Network

FORMAT_VERSION = 2  # 1 had relu alone, no batch normalisation, and one number as the scale of all inputs
INPUT_SHIFT, INPUT_SCALE = "input.shift", "input.scale"  # float64, of inputs that are scaled one by one
HEADER_KEY = (
    "chalknet"  # one key only: the format's header keeps no order among several, and equal models give equal bytes
)


def model_bytes(model: Classifier, training: Mapping[str, Any] | None = None) -> bytes:
    """A network or an ensemble as the bytes of a safetensors file; equal ones give equal bytes.

    Args:
        training: JSON-ready facts of how it was trained, kept in the header and never needed to predict.
    """
    from safetensors.numpy import save

    members, scaling = model.members, model.scaling
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "members": len(members),
        "n_inputs": model.architecture.n_inputs,
        "hidden": list(model.architecture.hidden),
        "activations": list(model.architecture.activations),
        "batch_norm": model.architecture.batch_norm,
        "class_names": list(model.class_names),
        "image_shape": None if model.image_shape is None else list(model.image_shape),
        "training": dict(training or {}),
    }
    tensors: dict[str, FloatArray] = {}
    if scaling.shift is None:
        description["input_scale"] = float(scaling.scale)
    else:
        tensors = {INPUT_SHIFT: scaling.shift, INPUT_SCALE: np.broadcast_to(scaling.scale, scaling.shift.shape)}
    for number, network in enumerate(members, start=1):
        prefix = _prefix(number, len(members))
        tensors |= {f"{prefix}{name}": value for name, value in network.parameters.items()}
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    return save(arrays, {HEADER_KEY: json.dumps(description, ensure_ascii=False)})


def save_model(model: Classifier, path: str | Path) -> None:
    """Writes a network or an ensemble as one safetensors file, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(Path(path), model_bytes(model))


def load_model(path: str | Path) -> Network | Ensemble:
    """Reads what `save_model` or a training run has written; the file is data and is never executed.

    Raises:
        ModelFileError: no such file, not safetensors, not from chalknet, of a newer format, or with values that do not
            fit together or are not finite; the message says which.
    """
    header, tensors = _read(Path(path))
    try:
        return _model_from(header, tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except ChalknetError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _prefix(number: int, n: int) -> str:
    """Before the names of a member's tensors; nothing where there is only one."""
    return f"member{number}/" if n > 1 else ""


def _read(path: Path) -> tuple[str | None, Parameters]:
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise ModelFileError(f"{path}: no such model file.")
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata.get(HEADER_KEY), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path}: is not a whole safetensors file ({error}).") from error


def _model_from(header: str | None, tensors: Parameters) -> Network | Ensemble:
    description = _described(header)
    version = _field(description, "format_version", int)
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"has format {version}, but this chalknet reads up to {FORMAT_VERSION}. Install a newer chalknet."
        )
    class_names = tuple(_list_of(description, "class_names", str))
    hidden = tuple(_list_of(description, "hidden", int))
    activations = tuple(_list_of(description, "activations", str)) if version > 1 else ()
    batch_norm = version > 1 and _yes_or_no(description, "batch_norm")
    n_inputs = _field(description, "n_inputs", int)
    n_members = _field(description, "members", int) if version > 1 else 1
    if not 1 <= n_members <= max(len(tensors), 1):
        raise ModelFileError(f"its members are {n_members}, but it holds {len(tensors)} tensors.")
    architecture = Architecture(n_inputs, hidden, len(class_names), activations, batch_norm)
    scaling = _scaling(description, tensors, n_inputs)
    _check_values(tensors)
    shape = _image_shape(description, n_inputs)
    networks = []
    for number in range(1, n_members + 1):
        prefix = _prefix(number, n_members)
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        ordered = {name: own[name] for name in architecture.shapes if name in own}
        networks.append(Network(architecture, {**ordered, **own}, class_names, scaling, shape))
    if sum(len(network.parameters) for network in networks) != len(tensors):
        raise ModelFileError(f"holds {len(tensors)} tensors, and its networks have others.")
    return networks[0] if n_members == 1 else Ensemble(tuple(networks))


def _described(header: str | None) -> dict[str, Any]:
    if header is None:
        raise ModelFileError("has no 'chalknet' entry in its header; it was written by another program.")
    try:
        description = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ModelFileError("its 'chalknet' entry is not JSON.") from error
    if not isinstance(description, dict):
        raise ModelFileError("its 'chalknet' entry is not a JSON object.")
    return description


def _scaling(description: dict[str, Any], tensors: Parameters, n_inputs: int) -> Scaling:
    """The scaling of a file, whose tensors are taken out of those of the network."""
    shift, scale = tensors.pop(INPUT_SHIFT, None), tensors.pop(INPUT_SCALE, None)
    if shift is None and scale is None:
        number = float(_field(description, "input_scale", (int, float)))
        if not (np.isfinite(number) and number > 0):
            raise ModelFileError(f"its input_scale is {number}, which is not a number > 0.")
        return Scaling(number)
    shift, scale = _of_inputs(INPUT_SHIFT, shift, n_inputs), _of_inputs(INPUT_SCALE, scale, n_inputs)
    if scale.min() <= 0:
        raise ModelFileError(f"its {INPUT_SCALE} holds {scale.min()}, and scales must be > 0.")
    return Scaling(scale, shift)


def _of_inputs(name: str, value: FloatArray | None, n_inputs: int) -> NDArray[np.float64]:
    if value is None or value.shape != (n_inputs,) or value.dtype != np.float64 or not np.isfinite(value).all():
        raise ModelFileError(f"its {name} is not {n_inputs} finite float64 numbers.")
    return value.astype(np.float64)


def _image_shape(description: dict[str, Any], n_inputs: int) -> tuple[int, int] | None:
    if description.get("image_shape") is None:
        return None
    shape = _list_of(description, "image_shape", int)
    if len(shape) != 2 or shape[0] * shape[1] != n_inputs:
        raise ModelFileError(f"its image_shape is {shape}, which does not make {n_inputs} inputs.")
    return (shape[0], shape[1])


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


def _field(description: dict[str, Any], key: str, kind: Any) -> Any:
    value = description.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelFileError(f"its {key} is {value!r}, which is not what it must be.")
    return value


def _yes_or_no(description: dict[str, Any], key: str) -> bool:
    value = description.get(key)
    if not isinstance(value, bool):
        raise ModelFileError(f"its {key} is {value!r}, which is not true or false.")
    return value


def _list_of(description: dict[str, Any], key: str, kind: type) -> list[Any]:
    values = _field(description, key, list)
    if not all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
        raise ModelFileError(f"its {key} is {values!r}, which is not a list of {kind.__name__}.")
    return list(values)
