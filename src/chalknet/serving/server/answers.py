"""Predictions as the JSON of an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from chalknet.formatting import printable
from chalknet.network.arrays import FloatArray
from chalknet.serving.predictions import Predictions

NOTES_HEADER, UNREADABLE_HEADER = b"x-chalknet-notes", b"x-chalknet-unreadable"
MAX_HEADER_BYTES = 4_096


def record(class_names: tuple[str, ...], label: int, probabilities: FloatArray) -> dict[str, Any]:
    """Return the prediction of a sample."""
    return {"label": class_names[label], "probabilities": dict(zip(class_names, probabilities, strict=True))}


def predictions_answer(predictions: Predictions, has_names: bool) -> dict[str, Any]:
    """Return predictions as an object for JSON.

    Args:
        predictions: the predictions.
        has_names: whether the names of the samples are more than numbers.
    """
    records = list[dict[str, Any]]()
    labels = predictions.probabilities.argmax(axis=1).tolist()
    for name, label, row, read_as in zip(
        predictions.names, labels, predictions.probabilities, predictions.read_as, strict=True
    ):
        named = {"name": name} if has_names else {}
        one = named | record(predictions.class_names, label, row)
        records.append(one | ({"read_as": read_as} if read_as else {}))
    answer: dict[str, Any] = {"predictions": records, "notes": list(predictions.notes)}
    if predictions.unreadable:
        answer["unreadable"] = list(predictions.unreadable)
    return answer


def csv_headers(predictions: Predictions) -> list[tuple[bytes, bytes]]:
    """Return headers with what a CSV table of predictions has no place for: notes, and files that cannot be read."""
    texts = {NOTES_HEADER: predictions.notes, UNREADABLE_HEADER: predictions.unreadable}
    return [(name, _header_value(found)) for name, found in texts.items() if found]


def _header_value(texts: Sequence[str]) -> bytes:
    """Return texts as a JSON list in ASCII. If it is too long for a header, a last text counts those left out."""
    shown, size = list[str](), 0
    for text in texts:
        size += len(json.dumps(printable(text))) + 2
        if size > MAX_HEADER_BYTES:
            return json.dumps([*shown, f"and {len(texts) - len(shown):,} more; application/json has all"]).encode()
        shown.append(printable(text))
    return json.dumps(shown).encode()


def to_json(value: Any) -> bytes:
    """Return a value as JSON; numbers of float32 have the digits that distinguish them from their neighbors."""
    import orjson

    content: bytes = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return content
