"""Answers as a table, as CSV and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from chalknet.formatting import count_of, csv_text, percent, printable
from chalknet.reporting.tables import Table
from chalknet.serving.predictor import Answers

FORMAT = 1  # of the JSON
MAX_KINDS = 8  # of images that are told one by one
ORDINALS = {1: "next best", 2: "3rd best"}


def answers_table(answers: Answers, top: int = 2) -> Table:
    """One sample a row: its name, the most probable class with its probability, and the next ones up to top."""
    shown = min(top, len(answers.class_names))
    rows = []
    for name, best in zip(answers.names, answers.best(shown), strict=True):
        (label, probability), *others = best
        cells = (f"{printable(other)} {percent(share)}" for other, share in others)
        rows.append((printable(name), printable(label), percent(probability), *cells))
    heads = tuple(ORDINALS.get(place, f"{place + 1}th best") for place in range(1, shown))
    return Table("Answers", ("name", "label", "probability", *heads), tuple(rows))


def answers_csv(answers: Answers) -> str:
    """name, label, probability, and p_CLASS for each class; probabilities with all the digits that they need."""
    head = ["name", "label", "probability", *(f"p_{printable(name)}" for name in answers.class_names)]
    # str(value) has as many digits of a float32 as tell it from its neighbors.
    rows = (
        [printable(name), printable(label), str(row.max()), *map(str, row)]
        for name, label, row in zip(answers.names, answers.labels, answers.probabilities, strict=True)
    )
    return csv_text([head, *rows])


def answers_json(answers: Answers, model: str) -> str:
    """The same with how each image was read, what could not be read, and the notes; an answer a line."""
    head = {"format": FORMAT, "model": model, "class_names": answers.class_names}
    tail = {"unread": answers.unread, "notes": answers.notes}
    lines = ",\n".join(f"  {json.dumps(one)}" for one in _records(answers))
    opened, closed = json.dumps(head, indent=1), json.dumps(tail, indent=1)
    return f'{opened[:-2]},\n "answers": [\n{lines}\n ],{closed[1:]}\n'


def conversion_lines(answers: Answers) -> Iterator[str]:
    """How image files were made ready: a line for each kind, with the file's name or how many there are."""
    kinds = Counter(read_as for read_as in answers.read_as if read_as)
    for read_as, count in list(kinds.items())[:MAX_KINDS]:
        first = printable(answers.names[answers.read_as.index(read_as)])
        yield f"{first}: {read_as}" if count == 1 else f"{count:,} images such as {first}: {read_as}"
    if len(kinds) > MAX_KINDS:
        yield f"and {count_of(len(kinds) - MAX_KINDS, 'kind')} of images more; --json tells each"


def _records(answers: Answers) -> Iterator[dict[str, Any]]:
    for name, label, row, read_as in zip(
        answers.names, answers.labels, answers.probabilities, answers.read_as, strict=True
    ):
        record = {
            "name": name,
            "label": label,
            "probability": float(str(row.max())),
            "probabilities": [float(str(value)) for value in row],
        }
        yield record | ({"read_as": read_as} if read_as else {})
