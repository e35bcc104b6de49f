"""`Network`: trained parameters with what is needed to read raw samples and to name the answer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.preprocess import PIXEL_SCALE, Scaling, flatten
from chalknet.errors import DataError, ShapeError
from chalknet.network.activations import softmax
from chalknet.network.architecture import Architecture, Parameters, check_parameters, forward
from chalknet.network.arrays import FloatArray

ROWS_AT_ONCE = 512  # their hidden values stay in the cache from one operation to the next


@dataclass(frozen=True, eq=False)
class Network:
    """A classifier: architecture, parameters, class names, and the scaling of its inputs.

    Attributes:
        architecture: layer widths and activations.
        parameters: by name, as `architecture.shapes`; float32 or float64, all of one type.
        class_names: K names.
        scaling: from raw values to what the first layer reads: divided by 255 where training samples were uint8.
        image_shape: (H, W) of the training images, or None for rows.

    Raises:
        ShapeError: parameters or class names do not fit the architecture.
    """

    architecture: Architecture
    parameters: Parameters
    class_names: tuple[str, ...]
    scaling: Scaling = field(default=Scaling())
    image_shape: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"<Network {self.architecture} {self.dtype}, classes {', '.join(self.class_names)}>"

    def __post_init__(self) -> None:
        check_parameters(self.architecture, self.parameters)
        if len(self.class_names) != self.architecture.n_classes:
            k = self.architecture.n_classes
            raise ShapeError(f"network {self.architecture} needs {k} class names, got {len(self.class_names)}.")

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parameters["output.weight"].dtype

    def logits(self, inputs: Any) -> FloatArray:
        """(N, K) logits of raw samples, in the units of the training samples.

        Args:
            inputs: (N, H, W) or (N, I), uint8 or float; scaling is done here.
        Raises:
            ShapeError: samples of another size.
            DataError: values that are not finite, with the first such sample.
        Warns:
            UserWarning: a network trained on 0..255 is given fractions of 1, which it would see as black.
        """
        rows = self._rows(np.asarray(inputs))
        parts = [forward(self.parameters, part, self.architecture.activations)[0] for part in self._scaled_parts(rows)]
        return np.concatenate(parts) if parts else np.empty((0, self.architecture.n_classes), self.dtype)

    def predict_proba(self, inputs: Any) -> FloatArray:
        """(N, K) probabilities of raw samples; arguments and errors as `logits`."""
        return softmax(self.logits(inputs))[0]

    def predict(self, inputs: Any) -> NDArray[np.int64]:
        """(N,) int64 indices of the most probable class; arguments and errors as `logits`."""
        answers: NDArray[np.int64] = self.logits(inputs).argmax(axis=1).astype(np.int64)
        return answers

    def predict_names(self, inputs: Any) -> list[str]:
        """The name of the most probable class of each sample; arguments and errors as `logits`."""
        return [self.class_names[k] for k in self.predict(inputs)]

    def _rows(self, inputs: NDArray[Any]) -> NDArray[Any]:
        rows = flatten(inputs) if inputs.ndim == 3 else inputs
        if rows.ndim != 2 or rows.shape[1] != self.architecture.n_inputs:
            shapes = f"(N, {self.architecture.n_inputs})"
            if self.image_shape:
                shapes += f" or (N, {self.image_shape[0]}, {self.image_shape[1]})"
            raise ShapeError(f"network {self.architecture} reads samples of shape {shapes}, got {inputs.shape}.")
        if rows.dtype.kind == "f" and not np.isfinite(rows).all():
            first = int(np.argmin(np.isfinite(rows).all(axis=1)))
            raise DataError(f"sample {first} holds values that are not finite.")
        reads_bytes = self.scaling.shift is None and self.scaling.scale == PIXEL_SCALE
        if reads_bytes and rows.dtype.kind == "f" and rows.size and 0 < rows.max() <= 1:
            warnings.warn(
                f"values up to {rows.max():g} are given to a network trained on 0..{PIXEL_SCALE:g}; "
                "pass raw values, scaling is done inside.",
                stacklevel=4,
            )
        return rows

    def _scaled_parts(self, rows: NDArray[Any]) -> Iterator[FloatArray]:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            yield self.scaling(rows[start : start + ROWS_AT_ONCE], self.dtype)
