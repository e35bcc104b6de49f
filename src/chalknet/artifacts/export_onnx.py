"""Export a classifier as an ONNX graph that includes the input scaling and all ensemble members."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.export_weights import Float32Array, float32, float32_members, reads_pixels, sample_shape
from chalknet.data.tables.columns import CATEGORY, DATE, Column
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.rows import CYCLES
from chalknet.errors import ConfigError, MissingExtraError
from chalknet.network.activation import Activation
from chalknet.network.architecture import Architecture
from chalknet.network.dense import Dense
from chalknet.network.flatten import Flatten
from chalknet.network.layer import Shape
from chalknet.network.model import Classifier
from chalknet.version import __version__, install_command

OPSET, IR_VERSION = 17, 8  # from 2022, so every current ONNX runtime supports them
MAX_BYTES = 2**31 - 2**20  # the limit of protocol buffers is 2 GiB
ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 3  # the domain of LabelEncoder, and a version of the same year
SAMPLES, PROBABILITIES, LABEL = "samples", "probabilities", "label"


def onnx_bytes(model: Classifier) -> bytes:
    """Return a network or an ensemble as the bytes of an ONNX file; equal models give equal bytes.

    Input, for a model of a table with an encoding: one input (N, 1) per column by its name: texts for
    categories, float64 for numbers and for dates (days since 1970), NaN or "" where a value is
    missing. Otherwise: `samples`, (N, H, W) for a model of gray images, (N, H, W, C) for one of color
    images, else (N, I); uint8 if the model was trained on uint8 values, else float32. Outputs:
    `probabilities`, (N, K) float32, and `label`, (N,) int64, the index of the most probable class (the
    first one of equals). The metadata has `class_names`, a JSON list, and for a table with an encoding
    `columns`, a JSON list with the name, kind and categories of each input.

    Raises:
        MissingExtraError: the package onnx is not installed.
        ConfigError: more than 2 GiB of weights, or values that float32 cannot hold.
    """
    onnx = require_onnx()
    n_bytes = 4 * len(model.members) * model.architecture.n_parameters
    if n_bytes > MAX_BYTES:
        raise ConfigError(f"an ONNX file holds at most 2 GiB, and these weights are {n_bytes:,} bytes.")
    graph = _Graph(onnx)
    scaled = _add_images(graph, _add_scaling(graph, model), model.architecture)
    members = [
        _add_member(graph, f"member{number}/", parameters, scaled, model.architecture)
        for number, parameters in enumerate(float32_members(model), start=1)
    ]
    graph.add("Mean", members, output=PROBABILITIES)  # docs/derivation.md, M3; of one member it is that one
    graph.add("ArgMax", [PROBABILITIES], output=LABEL, axis=1, keepdims=0)
    data: bytes = graph.build(model).SerializeToString(deterministic=True)
    return data


def require_onnx() -> Any:
    """Return the package onnx.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
        import onnx.checker
    except ImportError as error:
        raise MissingExtraError(
            f"export to ONNX needs the package onnx: {install_command('onnx')}. "
            "kind='numpy' (--numpy-only) needs nothing."
        ) from error
    return onnx


class _Graph:
    """The nodes and constants of an ONNX graph that is being built.

    Attributes:
        float_type: ONNX's number of float32.
    """

    def __init__(self, onnx: Any) -> None:
        """Create an empty graph."""
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._shapes: dict[str, Shape] = {}

    @property
    def float_type(self) -> int:
        """ONNX's number of the type float32."""
        kind: int = self._onnx.TensorProto.FLOAT
        return kind

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output.

        Args:
            operator: name of an ONNX operator.
            inputs: names of outputs and constants.
            output: the name of the output, by default a new one.
            **attributes: attributes of the operator.
        """
        output = output or f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        self._constants[name] = values
        return name

    @property
    def double_type(self) -> int:
        """ONNX's number of the type float64."""
        kind: int = self._onnx.TensorProto.DOUBLE
        return kind

    def scalar(self, value: float) -> str:
        """Add a constant that is one number and return its name."""
        return self.constant(f"{value:.9g}", np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        """Add a constant that is a vector of integers and return its name."""
        return self.constant(f"{list(values)}", np.array(values, np.int64))

    def size(self, name: str, axis: int) -> int:
        """Return the length of an axis of a constant."""
        length: int = self._constants[name].shape[axis]
        return length

    def transposed(self, name: str, axes: tuple[int, ...]) -> str:
        """Change the order of the axes of a constant and return its name."""
        return self.constant(name, np.ascontiguousarray(self._constants[name].transpose(axes)))

    def describe(self, value: str, shape: Shape) -> None:
        """Store the shape (H, W, C) or (I,) of one sample of a value."""
        self._shapes[value] = shape

    def sample_shape(self, value: str) -> Shape:
        """Return the shape of one sample of a value."""
        return self._shapes[value]

    def build(self, model: Classifier) -> Any:
        """Return the complete ONNX model, after onnx has checked it."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        n_classes = len(model.class_names)
        outputs = [
            helper.make_tensor_value_info(PROBABILITIES, types.FLOAT, ["N", n_classes]),
            helper.make_tensor_value_info(LABEL, types.INT64, ["N"]),
        ]
        own = {"", LABEL, PROBABILITIES, *self._constants, *(name for node in self._nodes for name in node.output)}
        clash = next((name for name in (model.encoding.names if model.encoding else ()) if name in own), None)
        if clash is not None:
            raise ConfigError(
                f"the ONNX graph cannot have an input named {clash!r}. Rename this column, and train again."
            )
        constants = [self._onnx.numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, "chalknet", self._inputs(model), outputs, constants)
        domains = [helper.make_opsetid("", OPSET)]
        if model.encoding is not None:
            domains.append(helper.make_opsetid(ML_DOMAIN, ML_OPSET))
        whole = helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION)
        whole.producer_name, whole.producer_version = "chalknet", __version__
        facts: dict[str, Any] = {"class_names": model.class_names}
        if model.encoding is not None:
            facts["columns"] = [
                {"name": one.name, "kind": one.kind, "categories": one.categories} for one in model.encoding.columns
            ]
        helper.set_model_props(whole, {name: json.dumps(fact, ensure_ascii=False) for name, fact in facts.items()})
        self._onnx.checker.check_model(whole, full_check=True)
        return whole

    def _inputs(self, model: Classifier) -> list[Any]:
        """Return the inputs of the graph."""
        info, types = self._onnx.helper.make_tensor_value_info, self._onnx.TensorProto
        if model.encoding is None:
            kind = types.UINT8 if reads_pixels(model) else types.FLOAT
            return [info(SAMPLES, kind, ["N", *sample_shape(model)])]
        return [
            info(column.name, types.STRING if column.kind == CATEGORY else types.DOUBLE, ["N", 1])
            for column in model.encoding.columns
        ]


def _add_encoding(graph: _Graph, encoding: TableEncoding) -> str:
    """Add the encoding of the columns of a table; return the name of the (N, I) float64 result."""

    def number(value: float) -> str:
        return graph.constant(f"float64 {value!r}", np.asarray(value))

    numbers, derived = [], []
    for at, column in enumerate(encoding.columns):
        if column.kind == CATEGORY:
            encoded = _add_category(graph, column, f"column{at}/")
            derived.append(graph.add("Cast", [encoded], to=graph.double_type))
            continue
        numbers.append(column.name)
        is_missing = graph.add("IsNaN", [column.name])
        if column.kind == DATE:
            known = graph.add("Where", [is_missing, number(0.0), column.name])
            present = graph.add("Cast", [graph.add("Not", [is_missing])], to=graph.float_type)
            for _, length, start in CYCLES if column.has_time else CYCLES[:-1]:
                turns = graph.add("Div", [graph.add("Sub", [known, number(start)]), number(length)])
                part = graph.add("Sub", [turns, graph.add("Floor", [turns])])
                angle = graph.add("Cast", [graph.add("Mul", [part, number(2 * math.pi)])], to=graph.float_type)
                waves = [graph.add("Mul", [graph.add(name, [angle]), present]) for name in ("Sin", "Cos")]
                derived += [graph.add("Cast", [wave], to=graph.double_type) for wave in waves]
        if column.has_missing:
            derived.append(graph.add("Cast", [is_missing], to=graph.double_type))
    return graph.add("Concat", [*numbers, *derived], axis=1)


def _add_category(graph: _Graph, column: Column, prefix: str) -> str:
    """Add the encoding of a column of texts; return the name of the result."""
    names = list(column.categories)
    if len(names) == 2 and not column.has_missing:
        values: dict[str, Any] = {"keys_strings": names, "values_floats": [-1.0, 1.0], "default_float": 0.0}
        return graph.add("LabelEncoder", [column.name], domain=ML_DOMAIN, **values)
    keys = [*names, *([""] if column.has_missing else [])]
    values = {"keys_strings": keys, "values_floats": [float(at) for at in range(len(keys))], "default_float": -1.0}
    codes = graph.add("LabelEncoder", [column.name], domain=ML_DOMAIN, **values)
    row = graph.constant(f"{prefix}codes", np.arange(len(keys), dtype=np.float32)[None])
    return graph.add("Equal", [codes, row])


def _add_scaling(graph: _Graph, model: Classifier) -> str:
    """Add (raw - shift) / scale to a graph; return the name of the (N, I) float32 result.

    The columns of an encoded table are scaled in float64, as they are in Python.
    """
    scaling, is_encoded = model.scaling, model.encoding is not None
    rows = graph.add("Flatten", [SAMPLES], axis=1) if len(sample_shape(model)) > 1 else SAMPLES
    if model.encoding is not None:
        rows = _add_encoding(graph, model.encoding)
    elif reads_pixels(model):
        rows = graph.add("Cast", [rows], to=graph.float_type)

    def values(name: str, one: Any) -> str:
        narrow = float32(np.asarray(one), name)
        return graph.constant(name, np.asarray(one, np.float64) if is_encoded else narrow)

    if scaling.fill is not None:
        rows = graph.add("Where", [graph.add("IsNaN", [rows]), values("input.fill", scaling.fill), rows])
    if scaling.shift is not None:
        rows = graph.add("Sub", [rows, values("input.shift", scaling.shift)])
    if not (float32(np.asarray(scaling.scale), "input.scale") > 0).all():
        raise ConfigError("input.scale holds values that become 0 in float32, the dtype of exports.")
    rows = graph.add("Div", [rows, values("input.scale", scaling.scale)])
    return graph.add("Cast", [rows], to=graph.float_type) if is_encoded else rows


def _add_images(graph: _Graph, rows: str, architecture: Architecture) -> str:
    """Add images (N, C, H, W) of rows for a network that reads images; return the name of the result."""
    if not architecture.reads_images:
        return rows
    height, width, channels = architecture.input_shape
    if channels == 1:
        return graph.add("Reshape", [rows, graph.integers(0, 1, height, width)])
    images = graph.add("Reshape", [rows, graph.integers(0, height, width, channels)])
    return graph.add("Transpose", [images], perm=[0, 3, 1, 2])


def _add_member(
    graph: _Graph, prefix: str, parameters: dict[str, Float32Array], value: str, architecture: Architecture
) -> str:
    """Add one network; return the name of its (N, K) probabilities (docs/derivation.md, N1)."""
    readers = _readers_of_images(architecture)
    for position, shape in readers.values():
        name = architecture.named_layers[position].names["weight"]
        weight = parameters[name].reshape(-1, *shape).transpose(0, 3, 1, 2)
        parameters = parameters | {name: np.ascontiguousarray(weight.reshape(parameters[name].shape))}
    names = {name: graph.constant(prefix + name, values) for name, values in parameters.items()}
    inputs: list[str] = []
    for position, named in enumerate(architecture.named_layers):
        inputs.append(value)
        graph.describe(value, named.input_shape)
        if not named.layer.acts_in_prediction:
            continue
        if position in readers:
            value = graph.add("Flatten", [value], axis=1)
            continue
        own = {key: names[name] for key, name in named.names.items()}
        if named.shortcut is not None:
            own["shortcut"] = inputs[named.shortcut]
        value = named.layer.to_onnx(graph, own, value)
    return graph.add("Softmax", [value], axis=1)


def _readers_of_images(architecture: Architecture) -> dict[int, tuple[int, Shape]]:
    """Return the dense layer after each flatten, whose weights can have the order of ONNX's images instead.

    ONNX has images (C, H, W) and chalknet (H, W, C). A network that changes the columns of one weight here does
    not have to change the order of all values in each prediction. Between the two layers there may be activations
    only.

    Returns:
        Position of a flatten -> position of the dense layer, and shape (H, W, C) of the images.
    """
    layers, found = architecture.named_layers, dict[int, tuple[int, Shape]]()
    for position, named in enumerate(layers):
        if not isinstance(named.layer, Flatten):
            continue
        after = position + 1
        while isinstance(layers[after].layer, Activation) or not layers[after].layer.acts_in_prediction:
            after += 1
        is_shortcut = any(one.shortcut in range(position + 1, after + 1) for one in layers)
        if isinstance(layers[after].layer, Dense) and not is_shortcut:
            found[position] = after, named.input_shape
    return found
