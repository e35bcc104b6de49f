"""`Network` and `Ensemble`: trained parameters with what is needed to read raw samples and to name the answer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.dataset import check_class_names, check_input_names, column_names, without_channel
from chalknet.data.image_facts import ImageFacts
from chalknet.data.preprocess import PIXEL_SCALE, Scaling, flatten
from chalknet.errors import DataError, ShapeError
from chalknet.network.architecture import Architecture, check_parameters, forward
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Parameters
from chalknet.network.softmax import softmax

CHUNK_ROWS = 512  # their hidden values stay in the cache from one operation to the next


class Classifier:
    """What a network and an ensemble have in common: from raw samples to answers.

    Attributes:
        architecture: layer widths and activations. class_names: K names.
        scaling: from raw values to what the first layer reads: divided by 255 where training samples were uint8.
        image_shape: (H, W) of the training images, or None for rows.
        input_names: of rows, what the training samples' table called the values; () where it had no header.
        image_facts: what the training images look like; None for rows, and where it is not known.
        members: the networks that answer.
    """

    architecture: Architecture
    class_names: tuple[str, ...]
    scaling: Scaling
    image_shape: tuple[int, int] | None
    input_names: tuple[str, ...]
    image_facts: ImageFacts | None

    @property
    def members(self) -> tuple[Network, ...]:
        raise NotImplementedError

    def predict_proba(self, inputs: Any) -> FloatArray:
        """(N, K) probabilities of raw samples, in the units of the training samples.

        Args:
            inputs: (N, H, W) or (N, I), uint8 or float; scaling is done here.
        Raises:
            ShapeError: samples of another size.
            DataError: values that are not finite, with the first such sample.
        """
        raise NotImplementedError

    def predict(self, inputs: Any) -> NDArray[np.int64]:
        """(N,) int64 indices of the most probable class; arguments and errors as `predict_proba`."""
        answers: NDArray[np.int64] = self.predict_proba(inputs).argmax(axis=1).astype(np.int64)
        return answers

    def predict_names(self, inputs: Any) -> list[str]:
        """The name of the most probable class of each sample; arguments and errors as `predict_proba`."""
        return [self.class_names[k] for k in self.predict(inputs)]


@dataclass(frozen=True, eq=False)
class Network(Classifier):
    """A classifier: architecture, parameters, class names, and the scaling of its inputs.

    Attributes:
        architecture: layer widths and activations.
        parameters: by name, as `architecture.shapes`; float32 or float64, all of one type.
        class_names: K names.
        scaling: from raw values to what the first layer reads: divided by 255 where training samples were uint8.
        image_shape: (H, W) of the training images, or None for rows.
        input_names: of rows, what the training samples' table called the values; () where it had no header.
        image_facts: what the training images look like; None for rows, and where it is not known.

    Raises:
        ShapeError: parameters or class names do not fit the architecture.
        DataError: a class name is given twice, or holds characters that cannot be printed.
    """

    architecture: Architecture
    parameters: Parameters
    class_names: tuple[str, ...]
    scaling: Scaling = Scaling()
    image_shape: tuple[int, int] | None = None
    input_names: tuple[str, ...] = ()
    image_facts: ImageFacts | None = None

    def __repr__(self) -> str:
        return f"<Network {self.architecture} {self.dtype}, classes {', '.join(self.class_names)}>"

    def __post_init__(self) -> None:
        check_parameters(self.architecture, self.parameters)
        if len(self.class_names) != self.architecture.n_classes:
            k = self.architecture.n_classes
            raise ShapeError(f"network {self.architecture} needs {k} class names, got {len(self.class_names)}.")
        check_class_names(self.class_names, "network")

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.parameters["output.weight"].dtype

    def logits(self, inputs: Any) -> FloatArray:
        """(N, K) logits of raw samples, in the units of the training samples.

        Args:
            inputs: (N, H, W) or (N, I), uint8 or float; scaling is done here.
        Raises:
            ShapeError: samples of another size.
            DataError: values that are not finite, given or on the way, with the first such sample; a frame with columns
                of other names, or in another order.
        Warns:
            UserWarning: a network trained on 0..255 is given fractions of 1, which it would see as black.
        """
        check_input_names(column_names(inputs), self.input_names, "inputs", "the network")
        rows = self._rows(np.asarray(inputs))
        with np.errstate(all="ignore"):  # what overflows on the way is told below, and with its sample
            parts = [forward(self.architecture, self.parameters, part).logits for part in self._scaled_chunks(rows)]
        if len(parts) == 1:
            logits = parts[0]
        else:
            logits = np.concatenate(parts) if parts else np.empty((0, self.architecture.n_classes), self.dtype)
        if not np.isfinite(logits).all():
            first = int(np.argmin(np.isfinite(logits).all(axis=1)))
            raise DataError(f"sample {first} makes values in the network that are not finite; its own are too large.")
        return logits

    def predict_proba(self, inputs: Any) -> FloatArray:
        """(N, K) probabilities of raw samples; arguments and errors as `logits`."""
        return softmax(self.logits(inputs))[0]

    @property
    def members(self) -> tuple[Network, ...]:
        return (self,)

    def _rows(self, inputs: NDArray[Any]) -> NDArray[Any]:
        inputs, _ = without_channel(inputs)
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

    def _scaled_chunks(self, rows: NDArray[Any]) -> Iterator[FloatArray]:
        for start in range(0, len(rows), CHUNK_ROWS):
            yield self.scaling(rows[start : start + CHUNK_ROWS], self.dtype)


@dataclass(frozen=True, eq=False)
class Ensemble(Classifier):
    """Several networks of one architecture, trained from different seeds, whose probabilities are averaged.

    p = (1/M) sum_m softmax(o_m)                                     (docs/derivation.md, M3)

    Attributes:
        networks: M of them, at least one, of equal architecture, class names, scaling and image shape.

    Raises:
        ShapeError: there is none, or they differ.
    Source: Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles (NeurIPS 2017).
    """

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        if not self.networks:
            raise ShapeError("an ensemble needs at least one network.")
        first = self.networks[0]
        for other in self.networks[1:]:
            same = (other.architecture, other.class_names, other.image_shape, other.dtype) == (
                first.architecture,
                first.class_names,
                first.image_shape,
                first.dtype,
            )
            if not same or not _equal_scaling(first.scaling, other.scaling):
                raise ShapeError(f"the networks of an ensemble must be alike, got {first!r} and {other!r}.")

    def __repr__(self) -> str:
        return f"<Ensemble of {len(self.networks)} x {self.networks[0]!r}>"

    @property
    def members(self) -> tuple[Network, ...]:
        return self.networks

    @property
    def architecture(self) -> Architecture:  # type: ignore[override]
        return self.networks[0].architecture

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.networks[0].class_names

    @property
    def scaling(self) -> Scaling:  # type: ignore[override]
        return self.networks[0].scaling

    @property
    def image_shape(self) -> tuple[int, int] | None:  # type: ignore[override]
        return self.networks[0].image_shape

    @property
    def input_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.networks[0].input_names

    @property
    def image_facts(self) -> ImageFacts | None:  # type: ignore[override]
        return self.networks[0].image_facts

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.networks[0].dtype

    def predict_proba(self, inputs: Any) -> FloatArray:
        """(N, K) mean probabilities of raw samples; arguments and errors as `Network.logits`."""
        total = self.networks[0].predict_proba(inputs)
        for network in self.networks[1:]:
            total = total + network.predict_proba(inputs)
        mean: FloatArray = total / len(self.networks)
        return mean


def _equal_scaling(first: Scaling, second: Scaling) -> bool:
    if (first.shift is None) != (second.shift is None):
        return False
    shifts = first.shift is None or second.shift is None or np.array_equal(first.shift, second.shift)
    return shifts and np.array_equal(first.scale, second.scale)
