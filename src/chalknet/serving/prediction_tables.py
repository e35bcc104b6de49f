"""Format predictions as a text table, as CSV and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from chalknet.formatting import count_of, csv_text, percent, printable
from chalknet.reporting.tables import Table
from chalknet.serving.predictions import Predictions

FORMAT = 2  # of the JSON
MAX_KINDS = 8  # kinds of conversions that are listed
ORDINALS = {1: "next best", 2: "3rd best"}


def predictions_table(predictions: Predictions, top: int = 2) -> Table:
    """Return a table with one row per sample: its name and its most probable classes.

    Args:
        predictions: the predictions.
        top: number of classes to show per sample.
    """
    shown = min(top, len(predictions.class_names))
    rows = []
    for name, best in zip(predictions.names, predictions.best(shown), strict=True):
        (label, probability), *others = best
        cells = (f"{printable(other)} {percent(chance)}" for other, chance in others)
        rows.append((printable(name), printable(label), percent(probability), *cells))
    heads = tuple(ORDINALS.get(place, f"{place + 1}th best") for place in range(1, shown))
    return Table("Predictions", ("name", "label", "probability", *heads), tuple(rows))


def predictions_csv(predictions: Predictions) -> str:
    """Return CSV with name, label, probability, and p_CLASS for each class, with all digits."""
    head = ["name", "label", "probability", *(f"p_{printable(name)}" for name in predictions.class_names)]
    # str of a float32 has the digits that distinguish it from its neighbors, and no more.
    rows = (
        [printable(name), printable(label), str(row.max()), *map(str, row)]
        for name, label, row in zip(predictions.names, predictions.labels, predictions.probabilities, strict=True)
    )
    return csv_text([head, *rows])


def predictions_json(predictions: Predictions, model: str) -> str:
    """Return JSON with one prediction per line, how images were read, and notes.

    Args:
        predictions: the predictions.
        model: the name of the model, as the user gave it.
    """
    head = {"format": FORMAT, "model": model, "class_names": predictions.class_names}
    tail = {"unreadable": predictions.unreadable, "notes": predictions.notes}
    lines = ",\n".join(f"  {json.dumps(one)}" for one in _records(predictions))
    head_text, tail_text = json.dumps(head, indent=1), json.dumps(tail, indent=1)
    return f'{head_text[:-2]},\n "predictions": [\n{lines}\n ],{tail_text[1:]}\n'


def conversion_lines(predictions: Predictions) -> Iterator[str]:
    """Yield how image files were converted, one line per kind of conversion."""
    kinds = Counter(read_as for read_as in predictions.read_as if read_as)
    for read_as, count in list(kinds.items())[:MAX_KINDS]:
        first = printable(predictions.names[predictions.read_as.index(read_as)])
        yield f"{first}: {read_as}" if count == 1 else f"{count:,} images such as {first}: {read_as}"
    if len(kinds) > MAX_KINDS:
        yield f"and {count_of(len(kinds) - MAX_KINDS, 'kind')} of images more; --json tells each"


def _records(predictions: Predictions) -> Iterator[dict[str, Any]]:
    for name, label, row, read_as in zip(
        predictions.names, predictions.labels, predictions.probabilities, predictions.read_as, strict=True
    ):
        record = {
            "name": name,
            "label": label,
            "probability": float(str(row.max())),
            "probabilities": [float(str(value)) for value in row],
        }
        yield record | ({"read_as": read_as} if read_as else {})
