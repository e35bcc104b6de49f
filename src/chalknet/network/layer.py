"""The interface of a layer type: `Layer`, the `Parameter`s that it declares, and the `LayerPass` that it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol

from chalknet.config import Checked
from chalknet.errors import ConfigError
from chalknet.network.arrays import FloatArray

Parameters = dict[str, FloatArray]
Shape = tuple[int, ...]
WEIGHT, BIAS = "weight", "bias"  # initial values that the recipe's initializer draws


@dataclass(frozen=True)
class Parameter:
    """One array of a layer.

    A parameter that its layer calls "weight" is penalized and decayed; every other parameter is not.

    Attributes:
        shape: of the array. A weight has its outputs along the first axis.
        initial: WEIGHT or BIAS for values that the recipe's initializer draws, or the number that fills the array.
        is_learned: False for a running statistic, which the forward pass of training replaces.
    """

    shape: Shape
    initial: str | float
    is_learned: bool = True


class Mode(NamedTuple):
    """How a layer computes.

    Attributes:
        training: True to use batch statistics and to return updated running statistics.
        mask: the dropout mask of this layer and batch, shape of x, or None.
    """

    training: bool = False
    mask: FloatArray | None = None


PREDICTION = Mode()


class LayerPass(NamedTuple):
    """One batch through one layer.

    Attributes:
        value: (B, ...) output.
        backward: grad_value (B, ...) -> (grad_x (B, ...), gradient of each learned parameter by its local name).
        statistics: running statistics after this batch, by local name; empty outside training.
    """

    value: FloatArray
    backward: Callable[[FloatArray], tuple[FloatArray, Parameters]]
    statistics: Parameters = {}  # noqa: RUF012 (never written to)


class OnnxGraph(Protocol):
    """The builder of an ONNX graph that layers are given. Each method returns the name of its output."""

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str: ...

    def scalar(self, value: float) -> str: ...


@dataclass(frozen=True)
class Layer(Checked, ABC):
    """The specification of one layer; its fields are the settings that a recipe can give.

    Class attributes:
        type: the name in recipes and files.
        is_smooth: False if the layer has a kink at 0, as relu does. The gradient check does not step across kinks.
        acts_in_prediction: False if the layer is the identity in prediction.
        uses_batch_statistics: whether training needs all samples of a batch at once.
        predictor_source: Python source of `def TYPE(x, p)`, for `chalknet export --numpy-only`. It returns the output
            for x (N, I), may use np and DTYPE, and finds parameters and settings in the dictionary p by name.
    """

    type: ClassVar[str]
    is_smooth: ClassVar[bool] = True
    acts_in_prediction: ClassVar[bool] = True
    uses_batch_statistics: ClassVar[bool] = False
    predictor_source: ClassVar[str] = ""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one sample after the layer.

        Raises:
            ConfigError: the layer cannot read samples of input_shape.
        """
        return input_shape

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return the layer's parameters by local name. The order is that of the rows in an engine's storage."""
        del input_shape
        return {}

    @abstractmethod
    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Return the layer's output, with its derivative and its new running statistics.

        Args:
            parameters: by local name.
            x: (B, ...) float32 or float64.
            mode: training or prediction, with the dropout mask.
        Raises:
            ShapeError: x or a parameter does not fit.
        """

    @abstractmethod
    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes that compute the layer in prediction, and return the name of the output value.

        Args:
            parameters: names of the graph's constants, by local name.
            x: name of the input value, (N, I) float32.
        """

    def settings(self) -> dict[str, Any]:
        """Return the settings by field name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __str__(self) -> str:
        """The layer in the words of a report, such as "dense of 64 units"."""
        return self.type.replace("_", " ")

    def table(self) -> dict[str, Any]:
        """Return the layer as the table that a recipe or a file holds: its type and its settings."""
        return {"type": self.type, **self.settings()}


def flat_size(layer: Layer, input_shape: Shape) -> int:
    """Return the number of values of a flat sample.

    Raises:
        ConfigError: samples are not flat.
    """
    if len(input_shape) != 1:
        raise ConfigError(f"layer {layer.type} reads flat samples of shape (I,), got {input_shape}.")
    return input_shape[0]
