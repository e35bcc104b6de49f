"""Export a model for other programs: an ONNX graph, or Python code that needs only NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chalknet.artifacts.atomic import refuse_existing, write_bytes
from chalknet.artifacts.export_numpy import numpy_bytes
from chalknet.artifacts.export_onnx import onnx_bytes, require_onnx
from chalknet.config import near_match
from chalknet.errors import ConfigError
from chalknet.network.model import Classifier
from chalknet.serving.loaded_model import resolve_model

WRITERS: dict[str, tuple[str, Callable[[Classifier], bytes]]] = {
    "onnx": (".onnx", onnx_bytes),
    "numpy": (".py", numpy_bytes),
}


@dataclass(frozen=True, eq=False)
class Export:
    """A finished export.

    Attributes:
        path: the file.
        kind: "onnx" or "numpy".
        size_bytes: its size.
        model: what was exported.
    """

    path: Path
    kind: str
    size_bytes: int
    model: Classifier


def export_model(
    model: Classifier | str | Path, path: str | Path, kind: str = "onnx", *, overwrite: bool = False
) -> Export:
    """Write a model as a file that predicts without chalknet.

    The input is raw samples, as for `predict_proba`. Scaling, batch normalization and all members
    of an ensemble are in the file. Weights become float32.

    - onnx: a graph with input `samples` and outputs `probabilities` (N, K) and `label` (N,) int64;
      opset 17. A model of a table with categories, dates or missing values has one input (N, 1) per
      column instead: texts or float64 (docs/file_formats.md, "Exports").
    - numpy: a Python file with predict_proba(x), predict(x) and CLASS_NAMES, which can also be run.
      x may also be a dict of the columns of a table.

    Args:
        model: a network, an ensemble, a model file or a run folder.
        path: the file, which ends in .onnx or .py.
        kind: "onnx" or "numpy".
        overwrite: whether path may be replaced.

    Returns:
        The `Export`.

    Raises:
        ConfigError: another kind or suffix, or a model that the format cannot hold.
        MissingExtraError: kind is "onnx" and the package onnx is not installed.
        ModelFileError: model is neither a model nor names one.
        OutputError: path exists and may not be replaced, or cannot be written.
    """
    place = Path(path)
    writer = _writer(place, kind)
    refuse_existing(place, overwrite)
    loaded = resolve_model(model).classifier
    data = writer(loaded)
    write_bytes(place, data)
    return Export(place, kind, len(data), loaded)


def _writer(path: Path, kind: str) -> Callable[[Classifier], bytes]:
    if kind not in WRITERS:
        raise ConfigError(f"kind must be one of {', '.join(WRITERS)}, got {kind!r}.{near_match(kind, WRITERS)}")
    ending, writer = WRITERS[kind]
    if path.suffix.lower() != ending:
        hint = " For a Python file give kind='numpy' (--numpy-only)." if path.suffix == WRITERS["numpy"][0] else ""
        raise ConfigError(f"{path}: a file of kind {kind} ends in {ending}.{hint}")
    if kind == "onnx":
        require_onnx()  # fail before a large model is loaded
    return writer
