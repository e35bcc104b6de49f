"""`Network` and `Ensemble`: trained classifiers that predict classes for raw samples."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.color import with_usual_channels
from chalknet.data.dataset import check_class_names, check_input_names, column_names
from chalknet.data.image_facts import ImageFacts
from chalknet.data.preprocess import PIXEL_SCALE, Scaling, flatten
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.frames import as_frame, table_like
from chalknet.errors import DataError, ShapeError
from chalknet.formatting import quoted
from chalknet.machine.blas import blas_threads, one_blas_thread
from chalknet.network.architecture import Architecture, check_parameters
from chalknet.network.arrays import FloatArray
from chalknet.network.layer import Parameters
from chalknet.network.model_view import network_html
from chalknet.network.prediction import predict_logits
from chalknet.network.softmax import log_softmax, softmax


class Classifier:
    """What `Network` and `Ensemble` have in common: predictions for raw samples.

    Attributes:
        architecture: the layers.
        class_names: K names.
        scaling: from raw values to the inputs of the first layer. It divides by 255 if the training
            samples were uint8 images.
        image_shape: (H, W) or in color (H, W, 3) of the training images, or None for table rows.
        input_names: column names of the training table; () if it had no header.
        image_facts: brightness and similar facts of the training images, to compare new images
            with; None for table rows, or where it is not known.
        encoding: how the columns of a table become inputs; None if the columns are the inputs, and for
            images.
        members: the networks whose probabilities are averaged.
    """

    architecture: Architecture
    class_names: tuple[str, ...]
    scaling: Scaling
    image_shape: tuple[int, ...] | None
    input_names: tuple[str, ...]
    image_facts: ImageFacts | None
    encoding: TableEncoding | None

    @property
    def members(self) -> tuple[Network, ...]:
        """The networks whose probabilities are averaged."""
        raise NotImplementedError

    def predict_proba(self, inputs: Any) -> FloatArray:
        """Return the class probabilities of raw samples.

        Args:
            inputs: (N, H, W) or (N, H, W, 3) images or (N, I) rows, uint8 or float, in the units of the training
                samples. Scaling is done here. If there is an `encoding`: a table as a frame or a dict of
                columns, or rows that are encoded already.

        Returns:
            (N, K) array, each row with sum 1.

        Raises:
            ShapeError: samples have another size than the training samples.
            DataError: values are not finite. The message names the first such sample.
        """
        raise NotImplementedError

    def predict(self, inputs: Any) -> NDArray[np.int64]:
        """Return the index of the most probable class of each sample, (N,) int64.

        Arguments and errors are those of `predict_proba`.
        """
        classes: NDArray[np.int64] = self.predict_proba(inputs).argmax(axis=1).astype(np.int64)
        return classes

    def predict_names(self, inputs: Any) -> list[str]:
        """Return the name of the most probable class of each sample.

        Arguments and errors are those of `predict_proba`.
        """
        return [self.class_names[k] for k in self.predict(inputs)]


@dataclass(frozen=True, eq=False)
class Network(Classifier):
    """A trained classifier: layers, parameters, class names and the scaling of its inputs.

    Attributes:
        architecture: the layers.
        parameters: arrays by name, as `architecture.shapes` lists them; all float32 or all float64.
        class_names: K names.
        scaling: from raw values to the inputs of the first layer. It divides by 255 if the training
            samples were uint8 images.
        image_shape: (H, W) or in color (H, W, 3) of the training images, or None for table rows.
        input_names: column names of the training table; () if it had no header.
        image_facts: facts of the training images, to compare new images with, or None.
        encoding: how the columns of a table become inputs, or None.

    Raises:
        ShapeError: parameters or class names do not fit the architecture.
        DataError: a class name occurs twice, or has characters that cannot be printed.
    """

    architecture: Architecture
    parameters: Parameters
    class_names: tuple[str, ...]
    scaling: Scaling = Scaling()
    image_shape: tuple[int, ...] | None = None
    input_names: tuple[str, ...] = ()
    image_facts: ImageFacts | None = None
    encoding: TableEncoding | None = None

    def __repr__(self) -> str:
        """Return layer sizes, float type and class names."""
        return f"<Network {self.architecture} {self.dtype}, classes {', '.join(self.class_names)}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: layers, classes and the next step."""
        return network_html(self.architecture, self.class_names, str(self.dtype), 1)

    def __post_init__(self) -> None:
        """Check parameters and class names."""
        check_parameters(self.architecture, self.parameters)
        if len(self.class_names) != self.architecture.n_classes:
            k = self.architecture.n_classes
            raise ShapeError(f"network {self.architecture} needs {k} class names, got {len(self.class_names)}.")
        check_class_names(self.class_names, "network")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type of the parameters."""
        return self.parameters["output.weight"].dtype

    def logits(self, inputs: Any) -> FloatArray:
        """Return the logits of raw samples.

        Args:
            inputs: (N, H, W) or (N, H, W, 3) images or (N, I) rows, uint8 or float, in the units of the training
                samples. Scaling is done here.

        Returns:
            (N, K) array in the network's float type.

        Raises:
            ShapeError: samples have another size than the training samples.
            DataError: values are not finite, in the samples or in the network; or the columns of a
                data frame have other names, or another order, than in training.

        Warns:
            UserWarning: the network was trained on values 0..255, and these are all at most 1.
        """
        table = None if self.encoding is None else table_like(inputs, self.encoding.names)
        if table is not None:
            inputs = self._encoded(table)
        else:
            check_input_names(column_names(inputs), self.input_names, "inputs", "the network")
        rows = self._rows(np.asarray(inputs))
        chunks = self._logits_of_chunks(rows)
        if len(chunks) == 1:
            logits = chunks[0]
        else:
            logits = np.concatenate(chunks) if chunks else np.empty((0, self.architecture.n_classes), self.dtype)
        if not np.isfinite(logits).all():
            first = int(np.argmin(np.isfinite(logits).all(axis=1)))
            raise DataError(f"sample {first} has values so large that the network's values overflow.")
        return logits

    def predict_proba(self, inputs: Any) -> FloatArray:
        """Return the (N, K) class probabilities of raw samples; arguments as for `logits`."""
        return softmax(self.logits(inputs))[0]

    @property
    def members(self) -> tuple[Network, ...]:
        """This network alone."""
        return (self,)

    def with_temperature(self, temperature: float) -> Network:
        """Return the network whose logits are divided by a temperature > 0 (docs/derivation.md, M6).

        The output layer is linear in its weight and bias, in both parametrizations, so dividing these
        divides the logits.
        """
        dtype = self.dtype.type
        output = {
            name: value / dtype(temperature) for name, value in self.parameters.items() if name.startswith("output.")
        }
        return replace(self, parameters={**self.parameters, **output})

    def _encoded(self, table: Any) -> NDArray[np.float64]:
        """Return the inputs of a table; what is unusual about them becomes a warning."""
        assert self.encoding is not None
        rows, notes = self.encoding.encode(as_frame(table, "inputs"), "inputs")
        for note in notes:
            warnings.warn(note, stacklevel=4)
        return rows

    def _rows(self, inputs: NDArray[Any]) -> NDArray[Any]:
        inputs, _ = with_usual_channels(inputs)
        rows = flatten(inputs) if inputs.ndim in (3, 4) else inputs
        has_shape = inputs.ndim < 4 or inputs.shape[1:] in (self.image_shape, self.architecture.input_shape)
        if rows.ndim != 2 or rows.shape[1] != self.architecture.n_inputs or not has_shape:
            shapes = f"(N, {self.architecture.n_inputs})"
            if self.image_shape:
                shapes += f" or (N, {', '.join(map(str, self.image_shape))})"
            if self.encoding is not None:
                shapes += f" or a frame with the columns {quoted(self.encoding.names)}"
            raise ShapeError(f"network {self.architecture} expects samples of shape {shapes}, got {inputs.shape}.")
        if rows.dtype.kind == "f" and not (is_good := _are_valid(rows, self.scaling)).all():
            first = int(np.argmin(is_good.all(axis=1)))
            raise DataError(f"sample {first} has values that are not finite.")
        reads_bytes = self.scaling.shift is None and self.scaling.scale == PIXEL_SCALE
        if reads_bytes and rows.dtype.kind == "f" and rows.size and 0 < rows.max() <= 1:
            warnings.warn(
                f"the network was trained on values 0..{PIXEL_SCALE:g}, but no value here exceeds {rows.max():g}. "
                "Pass raw values; the network scales them.",
                stacklevel=4,
            )
        return rows

    def _logits_of_chunks(self, rows: NDArray[Any]) -> list[FloatArray]:
        """Return the logits of some rows at a time.

        Images take as many threads as the BLAS has, each with its own rows and one BLAS thread, because only the
        last products of a network of images are large enough for the threads of a BLAS.
        """
        step = self.architecture.rows_at_once
        chunks = [rows[start : start + step] for start in range(0, len(rows), step)]

        def logits(chunk: NDArray[Any]) -> FloatArray:
            with np.errstate(all="ignore"):  # an overflow is reported later, with the sample that caused it
                return predict_logits(self.architecture, self.parameters, self.scaling(chunk, self.dtype))

        n_threads = min(len(chunks), blas_threads()) if self.architecture.reads_images and len(chunks) > 1 else 1
        if n_threads == 1:
            return [logits(chunk) for chunk in chunks]
        with one_blas_thread(), ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(logits, chunks))


@dataclass(frozen=True, eq=False)
class Ensemble(Classifier):
    """Several networks trained with different seeds, whose probabilities are averaged.

    p = (1/M) sum_m softmax(o^(m))                                   (docs/derivation.md, M3)

    Attributes:
        networks: M >= 1 networks with equal architecture, class names, scaling, image shape and
            float type.

    Raises:
        ShapeError: there are no networks, or they differ.

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles (NeurIPS 2017).
    """

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        """Check that the networks can be averaged."""
        if not self.networks:
            raise ShapeError("an ensemble needs at least one network.")
        first = self.networks[0]
        for other in self.networks[1:]:
            names = ("architecture", "class_names", "image_shape", "encoding", "dtype")
            same = all(getattr(first, name) == getattr(other, name) for name in names)
            if not same or not _equal_scaling(first.scaling, other.scaling):
                raise ShapeError(
                    f"the networks of an ensemble must have equal layers, class names and scaling, "
                    f"got {first!r} and {other!r}."
                )

    def __repr__(self) -> str:
        """Return the number of networks and the first of them."""
        return f"<Ensemble of {len(self.networks)} x {self.networks[0]!r}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the layers of each network, classes and the next step."""
        return network_html(self.architecture, self.class_names, str(self.dtype), len(self.networks))

    @property
    def members(self) -> tuple[Network, ...]:
        """The networks whose probabilities are averaged."""
        return self.networks

    @property
    def architecture(self) -> Architecture:  # type: ignore[override]
        """The layers, equal in all networks."""
        return self.networks[0].architecture

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The K class names."""
        return self.networks[0].class_names

    @property
    def scaling(self) -> Scaling:  # type: ignore[override]
        """The scaling of raw values, equal in all networks."""
        return self.networks[0].scaling

    @property
    def image_shape(self) -> tuple[int, ...] | None:  # type: ignore[override]
        """The (H, W) or (H, W, 3) of the training images, or None for table rows."""
        return self.networks[0].image_shape

    @property
    def input_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The column names of the training table."""
        return self.networks[0].input_names

    @property
    def image_facts(self) -> ImageFacts | None:  # type: ignore[override]
        """The facts of the training images, or None."""
        return self.networks[0].image_facts

    @property
    def encoding(self) -> TableEncoding | None:  # type: ignore[override]
        """How the columns of a table become inputs, equal in all networks."""
        return self.networks[0].encoding

    @property
    def dtype(self) -> np.dtype[Any]:
        """The float type of the parameters."""
        return self.networks[0].dtype

    def logits(self, inputs: Any) -> FloatArray:
        """Return the (N, K) float64 logarithms of the mean probabilities, whose softmax they are.

        They are finite even where probabilities round to 0. Arguments and errors are those of
        `Network.logits`.
        """
        each = [log_softmax(network.logits(inputs).astype(np.float64)) for network in self.networks]
        logs: FloatArray = np.logaddexp.reduce(each) - np.log(len(each))
        return logs

    def with_temperature(self, temperature: float) -> Ensemble:
        """Return the ensemble in which the logits of each network are divided by a temperature > 0."""
        return Ensemble(tuple(network.with_temperature(temperature) for network in self.networks))

    def predict_proba(self, inputs: Any) -> FloatArray:
        """Return the (N, K) mean probabilities; see `Network.logits` for arguments and errors."""
        total = self.networks[0].predict_proba(inputs)
        for network in self.networks[1:]:
            total = total + network.predict_proba(inputs)
        mean: FloatArray = total / len(self.networks)
        return mean


def _are_valid(rows: NDArray[Any], scaling: Scaling) -> NDArray[np.bool_]:
    """Return which values are finite, or missing where a scaling replaces missing values."""
    valid: NDArray[np.bool_] = np.isfinite(rows) if scaling.fill is None else ~np.isinf(rows)
    return valid


def _equal_scaling(first: Scaling, second: Scaling) -> bool:
    """Return whether two scalings have equal shifts, scales and replacements."""
    for one, other in ((first.shift, second.shift), (first.fill, second.fill)):
        if (one is None) != (other is None) or not (one is None or other is None or np.array_equal(one, other)):
            return False
    return np.array_equal(first.scale, second.scale)
