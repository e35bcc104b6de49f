"""The interface of layers: `Layer`, its `Parameter`s, and the `LayerPass` that it returns."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from chalknet.config import NON_NEGATIVE, Checked, setting
from chalknet.errors import ConfigError
from chalknet.network.arrays import FloatArray

Parameters = dict[str, FloatArray]
Shape = tuple[int, ...]
# Values of `Parameter.initial` for which the recipe's initializer draws the numbers.
WEIGHT, BIAS = "weight", "bias"


class Normal(NamedTuple):
    """Initial values from a normal distribution with mean 0, whatever the recipe's initializer."""

    deviation: float


class Uniform(NamedTuple):
    """Initial values from a uniform distribution on (-bound, bound), whatever the initializer."""

    bound: float


class Even(NamedTuple):
    """Initial values at equal distances along the last axis, from low to high, until a layer is fitted."""

    low: float
    high: float


@dataclass(frozen=True)
class Parameter:
    """The description of one parameter array of a layer.

    The L2 penalty and weight decay apply to parameters that the layer names "weight", and to no
    others.

    Attributes:
        shape: shape of the array. A weight has its outputs along the first axis.
        initial: WEIGHT or BIAS if the recipe's initializer draws the values, a distribution of its
            own, or the number that fills the array.
        l2: strength of an L2 penalty on this parameter alone, in addition to that of the objective
            (docs/derivation.md, P1); only of weights.
        is_learned: False for a running statistic, which the forward pass of training updates, and for
            what `Layer.fit` computes once, before the training.
        learning_rate_multiplier: factor of the learning rate in the updates of this parameter
            (docs/derivation.md, U9).
    """

    shape: Shape
    initial: str | float | Normal | Uniform | Even
    is_learned: bool = True
    learning_rate_multiplier: float = 1.0
    l2: float = 0.0


class Mode(NamedTuple):
    """Whether a layer computes for training or for prediction.

    Attributes:
        training: True to use batch statistics and to return updated running statistics.
        mask: the dropout mask of this layer and batch, shape of x; None for no dropout.
        shortcut: for a layer with `skipped_layers`, the input of the first layer that it skips.
    """

    training: bool = False
    mask: FloatArray | None = None
    shortcut: FloatArray | None = None


PREDICTION = Mode()


class Buffers:
    """Arrays that a layer uses again for every block of samples, so that it does not ask for new memory.

    Args:
        n_samples: number of samples that are predicted, of which a layer gets a block at a time. It is 1 if a
            sample must have the same bits whatever other samples there are.
    """

    def __init__(self, n_samples: int = 1) -> None:
        """Create an empty collection."""
        self.n_samples = n_samples
        self._arrays: dict[str, FloatArray] = {}

    def array(self, name: str, shape: Shape, dtype: Any, fill: float | None = None) -> FloatArray:
        """Return an array of a shape, with the values of the last call that had this name.

        Args:
            name: a name that the layer chooses.
            shape: its shape. Later calls with the same name may have fewer samples, and differ in nothing else.
            dtype: type of its values.
            fill: its values when it is created; None for any.
        """
        if name not in self._arrays:
            self._arrays[name] = np.empty(shape, dtype) if fill is None else np.full(shape, fill, dtype)
        return self._arrays[name][: shape[0]]

    def take(self, dtype: Any) -> Callable[..., FloatArray]:
        """Return a function (name, *shape) that returns an array of this shape, which may hold anything."""
        return lambda name, *shape: self.array(f"{name} {shape}", shape, dtype)

    def once(self, name: str, make: Callable[[], FloatArray]) -> FloatArray:
        """Return an array that is made in the first call with this name."""
        if name not in self._arrays:
            self._arrays[name] = make()
        return self._arrays[name]


class LayerPass(NamedTuple):
    """The result of one batch through one layer.

    Attributes:
        value: (B, ...) output.
        backward: grad_value (B, ...) -> (grad_x (B, ...), gradients of the learned parameters by
            local name).
        statistics: running statistics after this batch, by local name; empty in prediction.
        shortcut_backward: for a layer with `skipped_layers`, grad_value -> gradient of the shortcut.
    """

    value: FloatArray
    backward: Callable[[FloatArray], tuple[FloatArray, Parameters]]
    statistics: Parameters = {}  # noqa: RUF012 (never written to)
    shortcut_backward: Callable[[FloatArray], FloatArray] | None = None


class OnnxGraph(Protocol):
    """A builder of an ONNX graph; each method returns the name of the value it adds."""

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output."""

    def scalar(self, value: float) -> str:
        """Add a float32 constant."""

    def integers(self, *values: int) -> str:
        """Add an int64 constant (n,)."""

    def size(self, name: str, axis: int) -> int:
        """Return the length of an axis of a constant; name is one of the parameters."""

    def transposed(self, name: str, axes: tuple[int, ...]) -> str:
        """Change the order of the axes of a constant, and return its name; name is one of the parameters."""

    def sample_shape(self, value: str) -> Shape:
        """Return the shape (H, W, C) or (I,) of one sample of the input or the shortcut of a layer."""


@dataclass(frozen=True)
class Layer(Checked, ABC):
    """The base class of layers: the settings of one layer, and how it computes.

    The dataclass fields of a subclass are the settings that a recipe can give.

    Class attributes:
        type: the name of the layer type in recipes and files.
        is_smooth: False if the layer or its derivative has a kink at 0, as those of relu and elu.
            The gradient check does not take differences across kinks.
        acts_in_prediction: False if the layer is the identity in prediction.
        uses_batch_statistics: whether training needs all samples of a batch at once.
        reads_images: whether samples must be images (H, W, C).
        is_fitted: whether `fit` computes parameters from the training samples.
        block_name: the name that the layer gives to itself and to the layers after it, with a
            number, in the names of parameters; "" if it has none of its own.
        predictor_source: Python source of `def TYPE(x, p)`, for `chalknet export --numpy-only`. It
            returns the output for x, (N, I) or (N, H, W, C), may use `np` and `DTYPE`, and gets
            parameters, settings and a shortcut by name in the dictionary p.
    """

    type: ClassVar[str]
    is_smooth: ClassVar[bool] = True
    acts_in_prediction: ClassVar[bool] = True
    uses_batch_statistics: ClassVar[bool] = False
    reads_images: ClassVar[bool] = False
    is_fitted: ClassVar[bool] = False
    block_name: ClassVar[str] = ""
    predictor_source: ClassVar[str] = ""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one sample after the layer.

        Raises:
            ConfigError: the layer does not accept samples of input_shape.
        """
        return input_shape

    def parameters(self, input_shape: Shape) -> dict[str, Parameter]:
        """Return the layer's parameters by local name, in the order in which engines store them."""
        del input_shape
        return {}

    @property
    def skipped_layers(self) -> int:
        """The number of layers before this one whose input is added to its output; 0 for no shortcut."""
        return 0

    def fans(self, input_shape: Shape) -> tuple[int, int]:
        """Return the inputs of one output and the outputs of one input, for the initial weights."""
        for one in self.parameters(input_shape).values():
            if one.initial == WEIGHT:
                return math.prod(one.shape[1:]), one.shape[0]
        return 1, 1

    def work(self, input_shape: Shape) -> int:
        """Return roughly how many multiplications the prediction of a sample takes the time of."""
        return math.prod(self.output_shape(input_shape)) * self.fans(input_shape)[0]

    def pieces(self, x: FloatArray, parameters: Mapping[str, FloatArray]) -> NDArray[Any]:
        """Return which smooth piece each element of x is on, for a layer with `is_smooth = False`.

        The gradient check compares these arrays. By default a piece is a side of 0.

        Args:
            x: the input of the layer.
            parameters: arrays by local name.
        """
        del parameters
        return x > 0

    def fit(self, x: FloatArray) -> Parameters:
        """Return the parameters that depend on the training samples, by local name; see `is_fitted`.

        Args:
            x: (N, ...) float64, the input of the layer for training samples, before the first update.
        """
        del x
        return {}

    @abstractmethod
    def forward(self, parameters: Mapping[str, FloatArray], x: FloatArray, mode: Mode = PREDICTION) -> LayerPass:
        """Return the output, the backward function and the new running statistics.

        Args:
            parameters: arrays by local name, such as "weight".
            x: (B, I) or (B, H, W, C), float32 or float64.
            mode: training or prediction, with the dropout mask.

        Raises:
            ShapeError: x or a parameter does not fit the layer.
        """

    def predict(
        self,
        parameters: Mapping[str, FloatArray],
        x: FloatArray,
        buffers: Buffers,
        shortcut: FloatArray | None = None,
    ) -> FloatArray:
        """Return the output in prediction, and keep nothing for a backward pass.

        A subclass overrides this where it is faster. The result for a sample must have the same bits whatever
        other samples there are, except in layers of rows with a matrix product, and if `buffers.n_samples` is not 1.

        Args:
            parameters: arrays by local name.
            x: (B, I) or (B, H, W, C), in any order in memory, which may be overwritten.
            buffers: arrays of this layer for intermediate values and for the output.
            shortcut: for a layer with `skipped_layers`, the input of the first layer that it skips.
        """
        del buffers
        return self.forward(parameters, x, Mode(shortcut=shortcut)).value

    @abstractmethod
    def to_onnx(self, graph: OnnxGraph, parameters: Mapping[str, str], x: str) -> str:
        """Add the nodes that compute the layer in prediction, and return their output's name.

        Args:
            graph: the builder that nodes are added to.
            parameters: names of the parameters in the graph, by local name; for a layer with
                `skipped_layers` also "shortcut", the name of the input that it adds.
            x: name of the input value, float32: (N, I), or images (N, C, H, W), as ONNX has them.
        """

    def predictor_functions(self) -> dict[str, str]:
        """Return the source of the functions that the NumPy-only export needs, by name."""
        return {self.type: self.predictor_source}

    def settings(self) -> dict[str, Any]:
        """Return the settings by field name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __str__(self) -> str:
        """Return the layer in the words of a report, such as "dense of 64 units"."""
        return self.type.replace("_", " ")

    def table(self) -> dict[str, Any]:
        """Return the type and settings, as recipes and files store a layer."""
        return {"type": self.type, **self.settings()}


def learning_rate_multiplier_setting(of: str = "all parameters of the layer") -> Any:
    """Return a dataclass field for a multiplier of the learning rate."""
    return setting(1.0, NON_NEGATIVE, f"multiplier of the learning rate of {of}")


def flat_size(layer: Layer, input_shape: Shape) -> int:
    """Return the number of values of a flat sample.

    Raises:
        ConfigError: the samples have more than one axis.
    """
    if len(input_shape) != 1:
        hint = " Add a layer flatten before it." if len(input_shape) == 3 else ""
        raise ConfigError(f"layer {layer.type} expects flat samples of shape (I,), got {input_shape}.{hint}")
    return input_shape[0]


def image_size(layer: Layer, input_shape: Shape) -> tuple[int, int, int]:
    """Return height, width and channels of an image.

    Raises:
        ConfigError: the samples are no images.
    """
    if len(input_shape) != 3:
        raise ConfigError(
            f"layer {layer.type} expects images of shape (H, W, C), got samples of shape {input_shape}. Put it before "
            "flatten, and give images."
        )
    height, width, channels = input_shape
    return height, width, channels


def l2_setting() -> Any:
    """Return a dataclass field for an L2 penalty on the weight of one layer."""
    return setting(0.0, NON_NEGATIVE, "L2 penalty on the weight of this layer, in addition to that of all weights")
