"""The outputs of a call by name, and whether those of two calls agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from chalknet.exercises.calls import CallResult, from_plain

TOLERANCE, FLOAT32_TOLERANCE = 1e-6, 1e-4
MAX_AXES = 6  # of an array whose shape is shown
MESSAGE_START = 30  # characters in which the messages of two equal errors agree
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class OutputPart:
    """One output of a function.

    Attributes:
        value: its numbers, () for a single one; None if it is neither a number nor an array.
        type: name of its type, such as "ndarray", "float", "list" or "NoneType".
    """

    value: Array | None
    type: str


@dataclass(frozen=True, eq=False)
class Returned:
    """What a call returned, as parts, or its error.

    Attributes:
        outcome: the call.
        parts: outputs by name, such as "grad_x" or "parameters[W_h]".
        problem: why the parts could not be told from each other, as a sentence, or "".
    """

    outcome: CallResult
    parts: Mapping[str, OutputPart]
    problem: str = ""


def returned(outcome: CallResult, outputs: Sequence[str]) -> Returned:
    """Return the parts of an outcome.

    Args:
        outcome: from `run_case`, or read from the student's process.
        outputs: the names of what the function returns.

    Raises:
        ValueError: the outcome holds something that `to_plain` does not return.
    """
    if outcome.error:
        return Returned(outcome, {})
    plain = outcome.value
    if not isinstance(plain, dict):
        raise ValueError("not a value")
    items = [plain] if len(outputs) == 1 else _items(plain, len(outputs))
    if items is None:
        wanted = f"a tuple ({', '.join(outputs)})"
        return Returned(outcome, {}, f"expected {wanted}, received {described(plain)}.")
    parts: dict[str, OutputPart] = {}
    for name, item in zip(outputs, items, strict=True):
        if "keys" in item:
            parts |= {f"{name}[{key}]": _part(one) for key, one in zip(item["keys"], item["items"], strict=True)}
        else:
            parts[name] = _part(item)
    return Returned(outcome, parts)


def _items(plain: Mapping[str, Any], count: int) -> list[Any] | None:
    """Return the items of a tuple or list of `count` outputs, or None."""
    if "items" in plain and "keys" not in plain and len(plain["items"]) == count:
        return list(plain["items"])
    if plain.get("type") == "list" and plain.get("shape") == [count]:  # two numbers in a list
        return [{"number": float(value), "type": "float"} for value in from_plain(plain)]
    return None


def _part(plain: Mapping[str, Any]) -> OutputPart:
    if "number" in plain:
        return OutputPart(np.array(from_plain(plain)), str(plain["type"]))
    if "array" in plain:
        return OutputPart(from_plain(plain), str(plain.get("type", "ndarray")))
    return OutputPart(None, str(plain.get("other", plain.get("type", "dict")))[:60])


def described(plain: Any) -> str:
    """Return a few words about a returned value, for a message."""
    if not isinstance(plain, dict):
        return "nothing"
    if "number" in plain:
        return f"one number ({plain['type']})"
    if "array" in plain:
        shape = tuple(plain["shape"])
        return f"an array of shape {shape}" if len(shape) <= MAX_AXES else f"an array with {len(shape)} axes"
    if "keys" in plain:
        keys = ", ".join(map(str, plain["keys"]))
        return f"a dictionary with the keys {keys[:40] or 'none'}"
    if "items" in plain:
        return f"a {plain['type']} of {len(plain['items'])}"
    name = str(plain.get("other"))[:60]
    return "None" if name == "NoneType" else name


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*"))


def fits(name: str, pattern: str) -> bool:
    """Return whether a part has a name that a pattern with * describes; "" describes every name."""
    return not pattern or _pattern(pattern).fullmatch(name) is not None


def tolerance_for(*values: Array | None) -> float:
    """Return the relative tolerance of numbers: that of float32 if one of the arrays has this dtype."""
    is_short = any(value is not None and value.dtype.kind == "f" and value.dtype.itemsize < 8 for value in values)
    return FLOAT32_TOLERANCE if is_short else TOLERANCE


def equal(a: OutputPart, b: OutputPart, tolerance: float) -> bool:
    """Return whether two parts have the same shape and the same numbers to within a tolerance.

    The tolerance is relative to the largest number, and nan equals nan.
    """
    if a.value is None or b.value is None:
        return a.value is None and b.value is None and a.type == b.type
    if a.value.shape != b.value.shape:
        return False
    with np.errstate(all="ignore"):
        first, second = a.value.astype(np.float64), b.value.astype(np.float64)
        finite = np.abs(second[np.isfinite(second)])
        scale = float(finite.max(initial=0.0))
        return bool(np.allclose(first, second, rtol=tolerance, atol=tolerance * scale, equal_nan=True))


def agree(a: Returned, b: Returned, pattern: str, optional: Sequence[str], tolerance: float) -> bool:
    """Return whether two calls have the same outputs, or the same error.

    Args:
        a: one call.
        b: the other call, of whose parts the names count.
        pattern: which parts count.
        optional: patterns of parts that do not count.
        tolerance: relative tolerance.
    """
    if a.outcome.error or b.outcome.error:
        return a.outcome.error == b.outcome.error
    if a.problem or b.problem:
        return False
    names = [name for name in b.parts if fits(name, pattern) and not any(fits(name, one) for one in optional)]
    return all(name in a.parts and equal(a.parts[name], b.parts[name], tolerance) for name in names)


def same_message(a: Returned, b: Returned) -> bool:
    """Return whether two errors have messages with the same start."""
    return a.outcome.message[:MESSAGE_START] == b.outcome.message[:MESSAGE_START]
