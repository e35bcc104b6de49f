"""Predictions as the JSON of an answer."""

from __future__ import annotations

from typing import Any

from chalknet.network.arrays import FloatArray
from chalknet.serving.predictions import Predictions


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


def to_json(value: Any) -> bytes:
    """Return a value as JSON; numbers of float32 have the digits that distinguish them from their neighbors."""
    import orjson

    content: bytes = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return content
