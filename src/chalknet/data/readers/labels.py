"""Number the labels of a table: which classes there are, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chalknet.data.dataset import IntArray, amounts_notes, nfc
from chalknet.errors import DataError
from chalknet.formatting import capitalized, quoted

GIVE_LABEL = "Give label_column (--label-column)"
LABEL_NAMES = ("label", "class", "target", "y")
CLASS_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # 007, +7 and numbers beyond int64 are names
INTEGER = re.compile(r"[+-]?[0-9]+")
NUMBER_PATTERN = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
NUMBER = re.compile(rf"\s*{NUMBER_PATTERN}\s*|\s*[+-]?(?:nan|inf|infinity)\s*", re.I | re.A)
MISSING_LABELS = ("nan", "na", "n/a", "null", "none", "nil", "?")
MISSING = (*MISSING_LABELS, "missing", "-", ".")


@dataclass(frozen=True, eq=False)
class LabelTexts:
    """The labels of a table as texts.

    Attributes:
        indices: (N,) index into texts.
        texts: the different labels, in order of appearance.
        place: returns where a text, given by its index, appears first, such as "line 3".
    """

    indices: IntArray
    texts: tuple[str, ...]
    place: Callable[[int], str]


def column_text(name: str) -> str:
    """Return what messages call a column."""
    return name if re.fullmatch(r"column \d+", name) else f"column {name[:40]!r}"


def no_trained_label(label: str, names: Sequence[str], source: str) -> str:
    """Return the message for a table without the label column of the model that reads it."""
    return (
        f"{source}: has no label column {label!r}, as the training table had; its columns are {quoted(names)}. "
        f"{GIVE_LABEL}, or classify rows without labels with `chalknet predict`."
    )


def is_number(cell: str) -> bool:
    """Return whether a cell is a number."""
    return NUMBER.fullmatch(cell) is not None


def number_labels(
    labels: LabelTexts, class_names: Sequence[str] | None, source: str, column: str, notes: list[str]
) -> tuple[IntArray, tuple[str, ...]]:
    """Return labels as (N,) class indices, and the names of the classes.

    Args:
        labels: the labels as texts.
        class_names: names that the caller gave, or None.
        source: what messages call the table.
        column: name of the label column.
        notes: notes on labels are added to it.

    Raises:
        DataError: labels are missing, or are numbers that are not integers, or are not among
            class_names.
    """
    texts = list(map(nfc, labels.texts))
    label = column_text(column)

    def where(text: str) -> str:
        return f"{source}: {labels.place(texts.index(text))}, {label}"

    if "" in texts:
        n = int((labels.indices == texts.index("")).sum())
        more = "" if n == 1 else f" ({n:,} labels of {len(labels.indices):,} are)"
        raise DataError(f"{where('')}: the label is empty{more}. Fill it in or leave the row out.")
    named = tuple(map(nfc, class_names or ()))
    _check_missing(labels, texts, named, where)
    others = [text for text in texts if INTEGER.fullmatch(text) is None and text not in named]
    if others and all(map(is_number, texts)):
        fraction = others[0]
        raise DataError(
            f"{where(fraction)}: label {fraction[:40]!r} is a number but not an integer; labels must be "
            f"integers or names. Is another column the label? {GIVE_LABEL}."
        )
    are_numbers = all(map(CLASS_NUMBER.fullmatch, texts))
    if class_names is not None:
        number = {name: k for k, name in enumerate(named)}
        if not set(texts) <= set(named):
            if not are_numbers:
                text = next(text for text in texts if text not in named)
                raise DataError(
                    f"{where(text)}: label {text[:40]!r} is none of the class names given, {quoted(named)}."
                )
            number = {text: int(text) for text in texts}
        return np.array([number[text] for text in texts])[labels.indices], named
    names = sorted(set(texts), key=int if are_numbers else str)
    number = {name: k for k, name in enumerate(names)}
    if are_numbers:
        notes += amounts_notes(f"{capitalized(label)} holds", len(names), len(labels.indices))
    if are_numbers and names != [str(k) for k in range(len(names))]:
        notes.append(f"Labels {quoted(map(int, names))} are numbered 0..{len(names) - 1} in this order.")
    values = {text.lstrip("+").lstrip("0") for text in texts}
    if all(map(INTEGER.fullmatch, texts)) and len(values) < len(texts):
        notes.append(f"{capitalized(label)}: labels such as 1 and 01 are read as names, so they are different classes.")
    return np.array([number[text] for text in texts])[labels.indices], tuple(names)


def _check_missing(labels: LabelTexts, texts: Sequence[str], named: Sequence[str], where: Callable[[str], str]) -> None:
    """Raise DataError for a label that usually means "missing", unless it is one of the given class names."""
    others = [text for text in texts if INTEGER.fullmatch(text) is None and text not in named]
    # Signs such as - can be classes, but not the only label that is no integer.
    missing = [text for text in others if text.casefold() in (MISSING if len(others) == 1 else MISSING_LABELS)]
    if not missing or len(texts) == 1:
        return
    text = missing[0]
    n = int((labels.indices == texts.index(text)).sum())
    count = "" if n == 1 else f" ({n:,} labels of {len(labels.indices):,} are)"
    raise DataError(
        f"{where(text)}: the label is {text!r}{count}. Fill it in or leave the row out. If it is a class, list all "
        "classes with class_names (--class-names)."
    )
