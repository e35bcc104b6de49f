"""Read the body of a request, and predict its samples. These functions run in threads."""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from chalknet.checked import plain, short, strict_json
from chalknet.config import TableOptions, near_match
from chalknet.data.color import images_text
from chalknet.data.dataset import UnlabeledSamples, numeric_array
from chalknet.data.readers.csv_table import DELIMITERS
from chalknet.data.readers.image import looks_like_image
from chalknet.data.readers.labels import is_number
from chalknet.data.readers.source_file import GZIP_MAGIC, SourceFile
from chalknet.data.readers.table import rows_of_numbers, samples_from_frame
from chalknet.data.readers.table_file import frame_of_objects
from chalknet.errors import ConfigError, DataError
from chalknet.files import Budget
from chalknet.formatting import count_of, quoted
from chalknet.network.model import Classifier
from chalknet.serving.inputs import InputOptions
from chalknet.serving.predictions import Predictions, predict_images, predict_samples, predict_table
from chalknet.serving.server.guard import RequestError
from chalknet.serving.server.limits import MIB, ServeLimits
from chalknet.serving.server.multipart import UploadedFile, read_parts
from chalknet.serving.server.registry import ServedModel

ROWS, TABLE, IMAGE = "rows", "the table", "the image"  # what messages call the samples of a body
WITHOUT_FILE = re.compile(rf"^({TABLE}|{IMAGE}): (?=(has|holds|is|says) )")  # "the table is empty.", without a colon
NOT_JSON = re.compile(r".?.?-?(NaN|Infinity)\b", re.DOTALL)
TABLE_TYPES = ("text/csv", "text/tab-separated-values")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
EXPECTED = (
    'Expected application/json with {"rows": [...]}, text/csv, an image such as image/png, or multipart/form-data with '
    "files"
)
# The options of the query, which are those of `chalknet predict`, and for what they are.
IMAGE_OPTIONS = ("invert", "trim", "image_fit", "white")
TABLE_OPTIONS = ("label_column", "id_column", "missing", "decimal", "delimiter", "header")
TRUE_FALSE = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Body:
    """A body that has arrived.

    Attributes:
        content: its bytes.
        media_type: its type in lower case, without parameters.
        header: the whole Content-Type header.
        query: the query of the address.
    """

    content: bytes
    media_type: str
    header: str
    query: str


def json_rows(content: bytes, limits: ServeLimits) -> list[Any]:
    """Return the rows of a JSON body.

    Raises:
        RequestError: the body is no JSON, or has something else than rows (400); or is too large, or has too many rows
            (413).
    """
    import orjson

    if len(content) > limits.max_json * MIB:
        raise RequestError(
            413, f"JSON may have at most {limits.max_json:g} MiB, got {len(content) / MIB:.1f}. Send text/csv instead."
        )
    if not content.strip():
        raise RequestError(400, 'the body is empty. Send {"rows": [[...], ...]}.')
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if NOT_JSON.match(error.doc[max(error.pos - 1, 0) : error.pos + 12]):
            raise RequestError(400, "NaN and Infinity are not JSON. Write null for a missing value.") from None
        raise RequestError(
            400, f'the body is not JSON ({plain(error)}). Send {{"rows": [[...], ...]}}, with texts in double quotes.'
        ) from None
    rows = found.get("rows") if isinstance(found, dict) else None
    if rows is not None and not isinstance(rows, list) and len(found) == 1:
        came, row = ("an object", "{...}") if isinstance(rows, dict) else (short(rows), "[...]")
        raise RequestError(400, f'rows must be a list, got {came}. Send {{"rows": [{row}]}}.')
    if not isinstance(rows, list) or len(found) > 1:
        came = f"an object with {quoted(found, 3)}" if isinstance(found, dict) else short(found)
        raise RequestError(
            400, f'the body must be an object with one key, {{"rows": [...]}}, got {came if found != {} else "{}"}.'
        )
    if not rows:
        raise RequestError(422, "rows is an empty list. Send at least one row.")
    _check_count(len(rows), "row", limits)
    return rows


def single_row(rows: list[Any], model: Classifier) -> bytes | None:
    """Return the values of a single row of numbers as float64, or None for anything else."""
    if len(rows) != 1 or model.encoding is not None:
        return None
    (row,) = rows
    n = model.architecture.n_inputs
    if type(row) is not list or len(row) != n:
        return None
    try:
        return _packer(n).pack(*row)
    except (struct.error, OverflowError):  # a text, a list, or a missing value
        return None


@lru_cache(maxsize=64)
def _packer(n: int) -> struct.Struct:
    return struct.Struct(f"{n}d")


def predict_rows(model: ServedModel, body: Body, rows: list[Any], limits: ServeLimits) -> Predictions:
    """Predict the rows of a JSON body.

    Raises:
        ChalknetError: they do not fit the model, or the query has an option that is not for them.
    """
    classifier = model.classifier
    options = input_options(body.query, ("missing", "id_column"))
    budget = _budget(ROWS, body.content, limits)
    if any(type(row) is dict for row in rows):
        return predict_samples(classifier, _objects(body.content, classifier, options, budget))
    if classifier.encoding is not None:
        names = classifier.encoding.names
        for at, row in enumerate(rows):
            if type(row) is not list or len(row) != len(names):
                raise _wrong_row(at, row, len(names))
        frame = frame_of_objects((dict(zip(names, row, strict=True)) for row in rows), budget)
        return predict_samples(
            classifier, samples_from_frame(frame, ROWS, classifier.encoding, options=options.table, budget=budget)
        )
    _refuse_options(options, "rows that are lists of numbers")
    return predict_samples(classifier, UnlabeledSamples(_numbers(rows, classifier), ROWS))


def _objects(content: bytes, model: Classifier, options: InputOptions, budget: Budget) -> UnlabeledSamples:
    """Return the samples of rows that are objects by column."""
    try:
        rows = strict_json(content)["rows"]  # unlike orjson, it refuses a key that is there twice
    except ValueError as error:
        raise DataError(f"{ROWS}: {plain(error)}. Send each column once.") from None
    wrong = next((at for at, row in enumerate(rows) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise DataError(f"{ROWS}: row {wrong} is {short(rows[wrong])}, and others are objects. Send one kind of rows.")
    if model.encoding is None and not model.input_names:
        raise DataError(
            f"{ROWS}: the columns of the model have no names. Send each row as a list of "
            f"{model.architecture.n_inputs} numbers."
        )
    expected = model.encoding.names if model.encoding is not None else model.input_names
    there = set[str]().union(*rows)
    lacking = [name for name in expected if name not in there]
    if lacking:
        columns = f"columns {quoted(lacking)} are" if len(lacking) > 1 else f"column {lacking[0]!r} is"
        raise DataError(f"{columns} missing in all rows. Send null for a missing value.")
    frame = frame_of_objects(rows, budget)
    if model.encoding is not None:
        return samples_from_frame(
            frame, ROWS, model.encoding, options=options.table, id_column=options.id_column, budget=budget
        )
    _refuse_options(options, "a model of numbers alone")
    values, heads = rows_of_numbers(frame, ROWS, model.architecture.n_inputs, None, model.input_names, budget)
    return UnlabeledSamples(values, ROWS, (), heads)


def _numbers(rows: list[Any], model: Classifier) -> Any:
    """Return lists of numbers as an array (N, I), (N, H, W) or (N, H, W, 3)."""
    n = model.architecture.n_inputs
    at = next((at for at, row in enumerate(rows) if type(row) is not list or len(row) != len(rows[0])), None)
    if at is not None or not rows[0]:
        raise _wrong_row(at or 0, rows[at or 0], n)
    may_be_missing = model.scaling.fill is not None
    if may_be_missing and any(None in row for row in rows):
        rows = [[float("nan") if value is None else value for value in row] for row in rows]
    try:
        array = np.asarray(rows)
    except ValueError:  # lists of different lengths within rows
        array = np.asarray(None)
    if array.dtype.kind in "buif" and array.ndim in (2, 3, 4):
        return numeric_array(array, ROWS, ROWS)
    for at, row in enumerate(rows):
        for place, value in enumerate(row):
            if type(value) not in (int, float):
                came = "null, and training had no missing values" if value is None else short(value)
                raise DataError(f"{ROWS}: row {at}, value {place} (from 0): expected a number, got {came}.")
    raise _wrong_row(0, rows[0], n)


def _wrong_row(at: int, row: Any, n: int) -> DataError:
    if isinstance(row, list):
        return DataError(
            f"{ROWS}: row {at} (from 0): expected a list of {count_of(n, 'value')}, got a list of {len(row)}."
        )
    kind = "the number " if type(row) in (int, float) else ""
    return DataError(
        f"row {at} (from 0) is {kind}{short(row)}. Each row must be a list of {count_of(n, 'value')}: "
        '{"rows": [[...], ...]}.'
    )


def predict_body(model: ServedModel, body: Body, limits: ServeLimits) -> tuple[Predictions, bool]:
    """Predict the samples of a body that is not JSON.

    Returns:
        The predictions, and whether samples have names.

    Raises:
        ChalknetError: the body is of another type, damaged or too large, or does not fit the model.
    """
    kind = body.media_type
    if kind == "multipart/form-data":
        parts = read_parts(body.content, body.header, limits.max_rows)
        if any(looks_like_image(part.content[:16], part.name) for part in parts) or not _is_table(parts[0]):
            return predict_images_of(model, parts, body.query, limits), True
        if len(parts) > 1:
            raise DataError(f"the request has {len(parts)} files, and {parts[0].name!r} is a table. Send one table.")
        return predict_csv(model, parts[0].content, parts[0].name, body.query, limits)
    try:
        if kind in TABLE_TYPES:
            return predict_csv(model, body.content, TABLE, body.query, limits)
        if kind.startswith("image/"):
            return predict_images_of(model, [UploadedFile(IMAGE, body.content)], body.query, limits), False
    except DataError as error:
        raise DataError(WITHOUT_FILE.sub(r"\1 ", str(error))) from error
    raise RequestError(415, f"the Content-Type is {body.header[:100]!r}. {EXPECTED}.")


def _is_table(part: UploadedFile) -> bool:
    return part.media_type in TABLE_TYPES or part.name.lower().endswith(TABLE_SUFFIXES)


def predict_csv(
    model: ServedModel, content: bytes, name: str, query: str, limits: ServeLimits
) -> tuple[Predictions, bool]:
    """Predict the rows of a CSV table; see `predict_body`."""
    options = input_options(query, TABLE_OPTIONS)
    if options.id_column is not None and model.classifier.encoding is None:
        raise ConfigError("id_column needs a model that finds columns by their names. Leave it out.")
    if content.startswith(GZIP_MAGIC):
        raise RequestError(415, f"{name}: is compressed. Send it uncompressed.")
    if not content.strip():
        raise DataError(f"{name}: is empty. Send a table with a header and rows.")
    if b"\0" in content:
        raise DataError(f"{name}: is not a text. Send a CSV table.")
    file = SourceFile(io.BytesIO(content), name)
    file.budget.max_seconds = min(file.budget.max_seconds, limits.max_seconds)
    _check_table(model, content, name, options, limits)
    predictions = predict_table(model.classifier, file, options, model.loaded.delimiter)
    _check_count(len(predictions), "row", limits)
    has_names = options.id_column is not None
    if name == TABLE:
        return predictions, has_names
    names = predictions.names if has_names else tuple(f"{name}[{at}]" for at in range(len(predictions)))
    return replace(predictions, names=names, notes=tuple(f"{name}: {note}" for note in predictions.notes)), True


def _check_table(model: ServedModel, content: bytes, name: str, options: InputOptions, limits: ServeLimits) -> None:
    """Raise an error for a table that has clearly too many rows or is not one of pixels, before it is read."""
    first = content.lstrip().splitlines()[0].decode("utf-8-sig", "replace")
    delimiter = options.table.delimiter or model.loaded.delimiter or max(DELIMITERS, key=first.count)
    if first.lower().startswith("sep="):  # as spreadsheets write it in front of the header
        return
    if len(delimiter) != 1 or delimiter in '\r\n"':
        return  # the reader says what is wrong with it
    cells = next(csv.reader([first], delimiter=delimiter))
    shape, n = model.classifier.image_shape, model.classifier.architecture.n_inputs
    if shape is not None and len(cells) not in (n, n + 1):
        raise DataError(
            f"{name} is a table of {count_of(len(cells), 'column')}, but model {model.name} {reads_text(model)}. Send "
            f"images, or a table with the {n:,} values of an image in each row."
        )
    if max(content.count(b"\n"), content.count(b"\r")) <= limits.max_rows:
        return
    is_named = model.classifier.encoding is not None or bool(model.classifier.input_names)
    has_header = is_named or 2 * sum(not is_number(cell) for cell in cells) >= len(cells)
    has_header = has_header if options.table.header is None else options.table.header
    try:
        records = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
        n_rows = sum(any(map(str.strip, record)) for record in records) - has_header
    except csv.Error:
        return  # the rows are counted again when they have been read
    if n_rows > limits.max_rows + 1:  # one more may be a header
        _check_count(n_rows, "row", limits)


def reads_text(model: ServedModel) -> str:
    """Return what a model reads, such as "reads images of 28 x 28"."""
    classifier = model.classifier
    if classifier.image_shape is not None:
        return f"reads {images_text(classifier.image_shape)}"
    names = classifier.encoding.names if classifier.encoding is not None else classifier.input_names
    if names:
        return f"reads tables with the {'column' if len(names) == 1 else 'columns'} {quoted(names)}"
    return f"reads rows of {count_of(classifier.architecture.n_inputs, 'value')}"


def predict_images_of(
    model: ServedModel, parts: Sequence[UploadedFile], query: str, limits: ServeLimits
) -> Predictions:
    """Predict image files; see `predict_body`."""
    if model.classifier.image_shape is None:
        raise DataError(
            f"{parts[0].name} is an image, but model {model.name} {reads_text(model)}. Send CSV or JSON rows."
        )
    options = input_options(query, IMAGE_OPTIONS)
    _check_count(len(parts), "image", limits)
    budget = Budget("the images", sum(len(part.content) for part in parts), "Send fewer at once.", counts_thread=False)
    budget.max_seconds = min(budget.max_seconds, limits.max_seconds)

    def files() -> Iterator[tuple[str, bytes]]:
        for part in parts:
            yield part.name, part.content

    try:
        found = predict_images(model.classifier, files(), options, limits.max_pixels, budget, model.loaded.image_fit)
    except DataError as error:
        raise DataError(_with_option(str(error), limits)) from error
    return replace(found, unreadable=tuple(_with_option(text, limits) for text in found.unreadable))


def _with_option(message: str, limits: ServeLimits) -> str:
    """Return a message about an image with too many pixels with the option of the server."""
    limit = f"more than {limits.max_pixels:,}."
    advice = "Send a smaller image, or start the server with a larger max_pixels (--max-pixels)."
    return message.replace(f"{limit} Give a smaller image.", f"{limit} {advice}")


def _check_count(n: int, noun: str, limits: ServeLimits) -> None:
    if n > limits.max_rows:
        raise RequestError(
            413,
            f"a request may have at most {count_of(limits.max_rows, noun)}, got {n:,}. Send fewer, or start the server "
            "with a larger max_rows (--max-rows).",
        )


def _budget(name: str, content: bytes, limits: ServeLimits) -> Budget:
    budget = Budget(name, len(content), "Send less at once.")
    budget.max_seconds = min(budget.max_seconds, limits.max_seconds)
    return budget


def input_options(query: str, allowed: Sequence[str]) -> InputOptions:
    """Return the options of a query.

    Args:
        query: the query, such as "invert=true&trim=false".
        allowed: the names of the options that apply to these samples.

    Raises:
        RequestError: an option is unknown, is there twice, does not apply, or has an invalid value (422).
    """
    if not query:
        return InputOptions()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=64, errors="strict")
    except ValueError:
        raise RequestError(422, "the query of the address is not NAME=VALUE&NAME=VALUE in UTF-8.") from None
    found: dict[str, Any] = {}
    missing = list[str]()
    for name, text in pairs:
        if name not in (*IMAGE_OPTIONS, *TABLE_OPTIONS):
            hint = near_match(name, [*IMAGE_OPTIONS, *TABLE_OPTIONS])
            raise RequestError(422, f"unknown option {name[:60]!r}.{hint} Options: {', '.join(allowed)}.")
        if name not in allowed:
            raise RequestError(422, f"option {name} does not apply to these samples. Options: {', '.join(allowed)}.")
        if name == "missing":
            missing.append(text)
            continue
        if name in found:
            raise RequestError(422, f"option {name} is there twice. Give it once.")
        found[name] = _option_value(name, text)
    table = TableOptions(
        missing=missing, **{name: found.pop(name) for name in ("decimal", "delimiter", "header") if name in found}
    )
    return InputOptions(**found, table=table)


def _option_value(name: str, text: str) -> Any:
    if name in ("invert", "trim", "header"):
        if text.lower() not in TRUE_FALSE:
            raise RequestError(422, f"{name} must be true or false, got {text[:60]!r}.")
        return TRUE_FALSE[text.lower()]
    if name == "white":
        try:
            return float(text)
        except ValueError:
            raise RequestError(422, f"white must be a number > 0, such as 1 or 255, got {text[:60]!r}.") from None
    return text


def _refuse_options(options: InputOptions, what: str) -> None:
    """Raise ConfigError for options of tables that do not apply."""
    unused = [*options.table.changed, *(["id_column"] if options.id_column is not None else [])]
    if unused:
        raise ConfigError(f"option {unused[0]} has no meaning for {what}. Leave it out.")
