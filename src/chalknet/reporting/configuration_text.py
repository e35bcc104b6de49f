"""Configurations in words: "1,000 hidden units", "16 hidden units, learning rate 0.01"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalknet.formatting import count_of, listed
from chalknet.studies.configurations import Configuration, value_text

# Names of recipe fields in a sentence or as the head of a column, where the field's own name is not one.
FIELD_NAMES = {"hidden": "hidden units", "train_size": "training samples"}
SEPARATOR = ", "  # between the settings of a configuration
MAX_JOINED = 8  # more configurations than this are counted instead of named


def field_name(name: str) -> str:
    """Return a recipe field in words: "hidden units", "learning rate"."""
    return FIELD_NAMES.get(name, name.replace("_", " "))


def configuration_words(configuration: Configuration) -> str:
    """Return the name of a configuration, or its settings such as "1,000 hidden units"; "the network" without any."""
    if configuration.name:
        return configuration.name
    if not configuration.settings:
        return "the network"
    return SEPARATOR.join(setting_words(name, value) for name, value in configuration.settings)


def setting_words(name: str, value: Any) -> str:
    """Return a recipe field and its value in words: "1,000 hidden units", "learning rate 0.01", "batch norm on"."""
    if name == "hidden":
        widths = list(value) if isinstance(value, list | tuple) else [value]
        return count_of(widths[0], "hidden unit") if len(widths) == 1 else f"{value_text(value)} hidden units"
    if isinstance(value, bool):
        return f"{field_name(name)} {'on' if value else 'off'}"
    if name in ("epochs", "train_size") and isinstance(value, int):
        return count_of(value, field_name(name).removesuffix("s"))
    return f"{field_name(name)} {value_text(value)}"


def join_configurations(names: Sequence[str], conjunction: str = "and") -> str:
    """Join configurations in words, with what they share said once: "100, 500 and 1,000 hidden units".

    A single configuration of several settings becomes "16 hidden units and learning rate 0.01". Several of them become
    "16 hidden units (learning rate 0.01) and 32 hidden units (learning rate 0.1)". Of more than `MAX_JOINED` the first
    few are named and the others counted.
    """
    if len(names) == 1:
        return listed(names[0].split(SEPARATOR))
    rest = len(names) - MAX_JOINED + 2 if len(names) > MAX_JOINED else 0
    shown = [_with_parentheses(name) for name in names[: len(names) - rest]]
    words = [name.split(" ") for name in shown]
    if shown and not any(SEPARATOR in name for name in names):
        shared = _n_shared(words)
        after = _n_shared([one[:shared:-1] for one in words])
        if all(len(one) - shared - after == 1 for one in words):
            values = [one[shared] for one in words]
            joined = ", ".join(values) if rest else listed(values, conjunction)
            more = f"{conjunction} {count_of(rest, 'other')}" if rest else ""
            return " ".join([*words[0][:shared], joined, *words[0][shared + 1 :], more]).rstrip()
    return listed([*shown, *([count_of(rest, "other")] if rest else [])], conjunction)


def _with_parentheses(name: str) -> str:
    """Return "16 hidden units (learning rate 0.01)" of "16 hidden units, learning rate 0.01"."""
    first, *others = name.split(SEPARATOR)
    return f"{first} ({SEPARATOR.join(others)})" if others else first


def _n_shared(words: Sequence[Sequence[str]]) -> int:
    """Return how many words all sequences begin with."""
    n = 0
    while all(len(one) > n and one[n] == words[0][n] for one in words):
        n += 1
    return n
