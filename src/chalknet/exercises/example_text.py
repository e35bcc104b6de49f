"""Show arguments and results of one call as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chalknet.exercises.calls import Case
from chalknet.exercises.parts import Returned, described

MAX_SHOWN = 12  # numbers of an array
MAX_PARTS = 2  # wrong outputs that are shown


def example_text(name: str, case: Case, right: Returned, found: Returned, wrong: list[str]) -> str:
    """Return the arguments of a call, and the expected and received outputs.

    Args:
        name: name of the function.
        case: the call.
        right: what the reference solution returned.
        found: what the student's function returned.
        wrong: names of the outputs that differ.
    """
    lines = [f"Example: {name} with"]
    for argument, value in case.arguments.items():
        lines += _entry(argument, value, "  ")
    if case.then:
        lines.append(f"  and {len(case.then)} more calls with other gradients")
    for part in wrong[:MAX_PARTS]:
        label = f" {part}" if len(right.parts) > 1 else ""
        got = found.parts.get(part)
        if got is not None:
            text = shown(got.value) if got.value is not None else got.type.replace("NoneType", "None")
        else:
            missing = "nothing" if "[" in part else described(found.outcome.value)  # an entry of a dictionary
            text = "an error" if found.outcome.error else missing
        lines += _indented(f"expected{label}: ", shown(right.parts[part].value))
        lines += _indented(f"received{label}: ", text)
    return "\n".join(lines)


def _entry(name: str, value: Any, indent: str) -> list[str]:
    """Return the lines of an argument; a dictionary has one entry for each of its arrays."""
    if isinstance(value, Mapping):
        return [f"{indent}{name}:", *(line for key, one in value.items() for line in _entry(key, one, f"{indent}  "))]
    return _indented(f"{indent}{name} = ", shown(value))


def _indented(head: str, text: str) -> list[str]:
    """Return a text of several lines after a head, with its lines below each other."""
    first, *rest = text.split("\n")
    return [head + first, *(" " * len(head) + line for line in rest)]


def shown(value: Any) -> str:
    """Return a number or an array as text, without the numbers of a large array."""
    if isinstance(value, np.ndarray) and value.ndim:
        if value.size > MAX_SHOWN:
            return f"array of shape {value.shape}"
        # An image of one channel is easier to read as rows and columns than with four brackets.
        n_long = sum(length > 1 for length in value.shape)
        flat = np.atleast_1d(value.squeeze()) if value.ndim > 2 and n_long <= 2 else value
        is_small = bool(np.abs(flat).max(initial=0) < 1e4)
        text = np.array2string(flat, precision=4, separator=", ", suppress_small=is_small, max_line_width=60)
        return text.replace("\n\n", "\n") + (f" with shape {value.shape}" if flat is not value else "")
    if isinstance(value, tuple):
        return str(value)
    return f"{float(value):.6g}"
