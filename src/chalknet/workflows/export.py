"""Export a model: an ONNX graph, Python code that needs only NumPy, or an interactive page."""

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
from chalknet.serving.loaded_model import LoadedModel, resolve_model
from chalknet.workflows.page import page_of_model

WRITERS: dict[str, Callable[[Classifier], bytes]] = {"onnx": onnx_bytes, "numpy": numpy_bytes}
HTML = "html"
ENDINGS = {"onnx": ".onnx", "numpy": ".py", HTML: ".html"}
# How Python users and users of the command line name a kind.
FLAGS = {
    "numpy": "For a Python file give kind='numpy' (--numpy-only).",
    HTML: "For a page give kind='html' (--html FILE).",
}


@dataclass(frozen=True, eq=False)
class Export:
    """A finished export.

    Attributes:
        path: the file.
        kind: "onnx", "numpy" or "html".
        size_bytes: its size.
        model: what was exported.
        notes: sentences about the export, such as the accuracy with the rounded weights of a page.
    """

    path: Path
    kind: str
    size_bytes: int
    model: Classifier
    notes: tuple[str, ...] = ()


def export_model(
    model: Classifier | str | Path,
    path: str | Path,
    kind: str = "onnx",
    *,
    overwrite: bool = False,
    title: str | None = None,
    data: str | Path | None = None,
) -> Export:
    """Write a model as a file that predicts without chalknet.

    The input is raw samples, as for `predict_proba`. Scaling, batch normalization and all members
    of an ensemble are in the file. Weights become float32, and float16 or int8 in a page.

    - onnx: a graph with input `samples` and outputs `probabilities` (N, K) and `label` (N,) int64;
      opset 17. A model of a table with categories, dates or missing values has one input (N, 1) per
      column instead: texts or float64 (docs/file_formats.md, "Exports").
    - numpy: a Python file with predict_proba(x), predict(x) and CLASS_NAMES, which can also be run.
      x may also be a dict of the columns of a table.
    - html: an interactive page that computes in the browser (docs/guide/page.md). For the folder of a
      run it holds samples and states the accuracy.

    Args:
        model: a network, an ensemble, a model file or a run folder.
        path: the file, which ends in .onnx, .py or .html.
        kind: "onnx", "numpy" or "html".
        overwrite: whether path may be replaced.
        title: title of a page; the name of the model by default.
        data: where the samples of a run are now, if they have moved; for a page.

    Returns:
        The `Export`.

    Raises:
        ConfigError: another kind or suffix, or a model that the format cannot hold.
        MissingExtraError: kind is "onnx" and the package onnx is not installed.
        ModelFileError: model is neither a model nor names one.
        OutputError: path exists and may not be replaced, or cannot be written.
    """
    place = Path(path)
    _check_kind(place, kind)
    if kind != HTML and (title is not None or data is not None):
        raise ConfigError("title and data are for pages. Give kind='html' (--html FILE), or leave them out.")
    refuse_existing(place, overwrite)
    loaded = resolve_model(model)
    content, notes = _content(loaded, kind, title, None if data is None else str(data))
    write_bytes(place, content)
    return Export(place, kind, len(content), loaded.classifier, notes)


def _content(loaded: LoadedModel, kind: str, title: str | None, data: str | None) -> tuple[bytes, tuple[str, ...]]:
    """Return the content of the file, and notes about it."""
    if kind != HTML:
        return WRITERS[kind](loaded.classifier), ()
    page, shown = page_of_model(loaded, title=title, data=data)
    return page, shown.notes


def _check_kind(path: Path, kind: str) -> None:
    """Raise ConfigError unless the kind exists and fits the suffix of the file."""
    if kind not in ENDINGS:
        raise ConfigError(f"kind must be one of {', '.join(ENDINGS)}, got {kind!r}.{near_match(kind, ENDINGS)}")
    if path.suffix.lower() != ENDINGS[kind]:
        meant = next((one for one, ending in ENDINGS.items() if ending == path.suffix.lower()), None)
        hint = f" {FLAGS[meant]}" if meant in FLAGS else ""
        raise ConfigError(f"{path}: a file of kind {kind} ends in {ENDINGS[kind]}.{hint}")
    if kind == "onnx":
        require_onnx()  # fail before a large model is loaded
