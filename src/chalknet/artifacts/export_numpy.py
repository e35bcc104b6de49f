"""Export a classifier as one Python file that predicts with NumPy alone."""

from __future__ import annotations

import base64
import zlib
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from chalknet.artifacts.export_weights import float32_members, sample_shape
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.texts import AMBIGUOUS_NUMBER, MISSING_TEXTS, TIME_OF_DAY, marked_number_pattern
from chalknet.network.architecture import Architecture, NamedLayer
from chalknet.network.model import Classifier
from chalknet.version import __version__

LINE = 118  # characters of encoded weights per line


def numpy_bytes(model: Classifier) -> bytes:
    """Return a network or an ensemble as the bytes of a Python file; equal models give equal bytes.

    The file defines predict_proba(x), predict(x) and CLASS_NAMES. Run as a program, it reads a .npy
    or .npz file. Weights are compressed float32; scales are float64, as in the model.

    Raises:
        ConfigError: a float64 network has values that float32 cannot hold.
    """
    arrays = _arrays(model)
    template = files("chalknet.artifacts").joinpath("templates", "predictor.py.txt").read_text(encoding="utf-8")
    # Template substitutes in one pass, so inserted text is not scanned for placeholders. The only text
    # of the model that is inserted is its class names, as literals.
    return (
        Template(template)
        .substitute(_template_fields(model), shapes=_shapes(arrays), packed=_packed_arrays(arrays))
        .encode()
    )


def _template_fields(model: Classifier) -> dict[str, Any]:
    architecture = model.architecture
    n = len(model.members)
    functions: dict[str, str] = {}
    for named in _prediction_layers(architecture):
        functions |= named.layer.predictor_functions()
    return {
        "version": __version__,
        "summary": f"{'A network' if n == 1 else f'{n} networks'} of {architecture} units.",
        "class_names": tuple_literal(model.class_names),
        "n_inputs": architecture.n_inputs,
        "sample_shape": sample_shape(model),
        "input_shape": architecture.input_shape,
        "rows_at_once": architecture.images_at_once if architecture.reads_images else architecture.rows_at_once,
        "members": n,
        "dtype": model.members[0].dtype.name,
        "layers": "".join(
            f"    {_layer_literal(named, architecture)},\n" for named in _prediction_layers(architecture)
        ),
        **_encoding_fields(model.encoding),
        "functions": "\n\n".join(functions.values()),
    }


def _encoding_fields(encoding: TableEncoding | None) -> dict[str, str]:
    """Return the parts of the file that differ between models of tables with an encoding and other models."""
    if encoding is None:
        return {
            "csv_usage": "",
            "csv_import": "",
            "re_import": "",
            "unicode_import": "",
            "table_text": "",
            "encoded": "x",
            "valid": "np.isfinite",
            "fill": "",
            "encoder": "",
            "usage": "",
            "or_table": "",
            "load_table": "",
            "not_readable": "this is no .npy or .npz file",
            "kinds": "np.ndarray",
        }
    columns = tuple(
        (one.name, one.kind, one.categories, one.has_missing, one.date_format, one.has_time) for one in encoding.columns
    )
    missing = (*MISSING_TEXTS, *(text.strip().lower() for text in encoding.missing))
    source = files("chalknet.artifacts").joinpath("templates", "encoder.py.txt").read_text(encoding="utf-8")
    encoder = Template(source).substitute(
        columns="(\n" + "".join(f"    {column!r},\n" for column in columns) + ")",
        missing=repr(missing),
        decimal=encoding.decimal,
        marked=repr(marked_number_pattern(encoding.decimal)),
        ambiguous=repr(AMBIGUOUS_NUMBER),
        time_of_day=repr(TIME_OF_DAY),
        n_columns=len(encoding.training_columns) if encoding.is_numbered else 0,
        label=repr(encoding.label),
    )
    return {
        "csv_usage": "    python predictor.py table.csv             the same for the rows of a table\n",
        "csv_import": "import csv\nimport datetime\n",
        "re_import": "import re\n",
        "unicode_import": "import unicodedata\n",
        "table_text": "\n\n    x can also be a table: a dict of the values of each column.",
        "encoded": "encode(x) if isinstance(x, dict) else x",
        "valid": "~np.isinf",
        "fill": '    rows = np.where(np.isnan(rows), ARRAYS["input.fill"].astype(kind), rows)\n',
        "encoder": encoder.rstrip() + "\n",
        "usage": " | FILE.csv",
        "or_table": ", or the columns of a table",
        "load_table": '    if path.lower().endswith((".csv", ".tsv")):\n        return read_table(path)\n',
        "not_readable": "this is no .csv, .tsv, .npy or .npz file. Save the table as CSV",
        "kinds": "(np.ndarray, dict)",
    }


def _prediction_layers(architecture: Architecture) -> list[NamedLayer]:
    return [named for named in architecture.named_layers if named.layer.acts_in_prediction]


def _layer_literal(named: NamedLayer, architecture: Architecture) -> str:
    """Return a layer as the literal (function, names of its parameters, its settings), and the number of its shortcut.

    Layers that do nothing in prediction are not counted.
    """
    shortcut = ""
    if named.shortcut is not None:
        shortcut = f", {sum(one.acts_in_prediction for one in architecture.layers[: named.shortcut])}"
    return f"({named.layer.type}, {named.names!r}, {named.layer.settings()!r}{shortcut})".replace("'", '"')


def tuple_literal(texts: tuple[str, ...]) -> str:
    """Return texts as the source of a Python tuple, one per line if it is long.

    repr escapes quotes, backslashes and unprintable characters, so no class name can become code.
    """
    whole = repr(texts)
    return whole if len(whole) < LINE - 20 else "(\n" + "".join(f"    {text!r},\n" for text in texts) + ")"


def _arrays(model: Classifier) -> dict[str, Any]:
    shift = np.zeros(()) if model.scaling.shift is None else model.scaling.shift
    found: dict[str, Any] = {"input.shift": shift, "input.scale": np.asarray(model.scaling.scale, np.float64)}
    if model.scaling.fill is not None:
        found["input.fill"] = model.scaling.fill
    for number, parameters in enumerate(float32_members(model), start=1):
        found |= {f"member{number}/{name}": value for name, value in parameters.items()}
    return {name: value.astype(value.dtype.newbyteorder("<")) for name, value in found.items()}


def _shapes(arrays: dict[str, Any]) -> str:
    return "\n".join(
        f"    ({name!r}, {value.dtype.str!r}, {value.shape}),".replace("'", '"') for name, value in arrays.items()
    )


def _packed_arrays(arrays: dict[str, Any]) -> str:
    data = zlib.compress(b"".join(value.tobytes() for value in arrays.values()), 9)
    text = base64.b64encode(data).decode()
    return "\n".join(text[start : start + LINE] for start in range(0, len(text), LINE))
