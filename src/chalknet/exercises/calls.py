"""Call a function on the cases of a task, and pass cases and outcomes between processes as JSON.

The process that runs a student's code imports this module too, so it needs NumPy alone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_BYTES = 2**22  # of an array that a function returns; the largest expected one has a few kilobytes
MAX_TEXT = 300  # characters of an error message
MAX_DEPTH, MAX_ITEMS = 4, 1_000  # of lists and dictionaries that a function returns
KINDS = "fiub"  # dtypes of arrays that are passed: floats, integers, booleans


@dataclass(frozen=True, eq=False)
class Case:
    """One call of a function, or a sequence of calls.

    Attributes:
        group: name of the group of cases, which checks refer to.
        arguments: the arguments by name, in the order of the function's parameters.
        then: further calls. Each changes some arguments. The outputs of the call before replace the
            arguments in `feedback`, in order.
        feedback: names of the arguments that the outputs replace.
        function: name of the function, or "" for that of the task.
    """

    group: str
    arguments: Mapping[str, Any]
    then: tuple[Mapping[str, Any], ...] = ()
    feedback: tuple[str, ...] = ()
    function: str = ""


@dataclass(frozen=True)
class CallResult:
    """What a call returned, in a form that JSON can hold.

    Attributes:
        value: the returned value, see `to_plain`; None after an error.
        error: name of the exception, or "".
        message: its message.
        line: number of the line of the student's file that raised it, or 0.
        code: the text of this line.
        changed: names of the arguments that the call changed.
    """

    value: Any = None
    error: str = ""
    message: str = ""
    line: int = 0
    code: str = ""
    changed: tuple[str, ...] = field(default=())


Locate = Callable[[BaseException], tuple[int, str]]


def run_case(function: Callable[..., Any], case: Case, locate: Locate = lambda _: (0, "")) -> CallResult:
    """Call a function with copies of the arguments of a case, and return what happened.

    Args:
        function: called with positional arguments.
        case: the arguments, and what follows the first call.
        locate: exception -> number and text of the line that raised it.
    """
    arguments = {name: copied(value) for name, value in case.arguments.items()}
    changed: dict[str, None] = {}
    try:
        with np.errstate(all="ignore"):
            returned = _watched(function, arguments, changed)
            for step in case.then:
                outputs = returned if isinstance(returned, tuple | list) else (returned,)
                arguments |= {name: copied(value) for name, value in zip(case.feedback, outputs, strict=False)}
                arguments |= {name: copied(value) for name, value in step.items()}
                returned = _watched(function, arguments, changed)
        return CallResult(to_plain(returned), changed=tuple(changed))
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit too: a student's sys.exit must not end the grader
        line, code = locate(error)
        return CallResult(
            error=type(error).__name__, message=message_of(error), line=line, code=code, changed=tuple(changed)
        )


def message_of(error: BaseException) -> str:
    """Return the message of an exception; a student's own class can fail to make one."""
    try:
        return str(error)[:MAX_TEXT]
    except Exception:
        return ""


def _watched(function: Callable[..., Any], arguments: Mapping[str, Any], changed: dict[str, None]) -> Any:
    """Call a function, and add the names of the arguments that it changes to `changed`."""
    before = {name: copied(value) for name, value in arguments.items()}
    returned = function(*arguments.values())
    changed |= {name: None for name, value in arguments.items() if not same(value, before[name])}
    return returned


def copied(value: Any) -> Any:
    """Return a copy of arrays, and of dictionaries and sequences of arrays."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(copied(one) for one in value)
    return value


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal bit by bit, with nan equal to nan."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return a value as nested dictionaries that JSON can hold.

    - number: {"number": float, "type": name}
    - array: {"array": base64, "dtype": text, "shape": list}; a list of numbers, which is accepted in
      place of an array, has "type" too
    - tuple or list: {"items": list, "type": name}; dictionary: {"keys": list, "items": list}
    - anything else: {"other": name of the type}
    """
    name = type(value).__name__
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | int | float | np.number | np.bool_):
        try:
            return {"number": float(value), "type": name}
        except (OverflowError, TypeError, ValueError):
            return {"other": name}
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, dict) and depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
        return {"keys": [str(key) for key in value], "items": [to_plain(one, depth + 1) for one in value.values()]}
    if isinstance(value, tuple | list) and depth < MAX_DEPTH:
        if isinstance(value, list) and value and (numbers := _numbers(value)) is not None:
            return {**_plain_array(numbers), "type": "list"}
        if len(value) <= MAX_ITEMS:
            return {"items": [to_plain(one, depth + 1) for one in value], "type": name}
    return {"other": name}


def _plain_array(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    if value.dtype.kind not in KINDS:
        return {"other": f"array of dtype {value.dtype}"}
    if value.nbytes > MAX_BYTES:
        return {"other": f"array of shape {value.shape}"}
    data = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    return {
        "array": base64.b64encode(data.tobytes()).decode(),
        "dtype": data.dtype.str,
        "shape": list(value.shape),
    }


def _numbers(values: list[Any]) -> np.ndarray[Any, Any] | None:
    """Return a list of numbers, or of lists of numbers, as an array; None if it holds arrays or anything else."""
    flat: list[Any] = values
    for _ in range(MAX_DEPTH):  # a list can contain itself
        if not flat or not all(isinstance(one, list) for one in flat) or len(flat) * 8 > MAX_BYTES:
            break
        flat = [inner for one in flat for inner in one]
    if not flat or not all(isinstance(one, bool | int | float | np.number) for one in flat):
        return None
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None


def from_plain(plain: Any) -> Any:
    """Return the arrays, numbers, tuples and dictionaries that `to_plain` described.

    Lists come back as tuples, and values of other types as None.

    Raises:
        ValueError: plain is not what `to_plain` returns. It may come from a student's process.
    """
    if not isinstance(plain, dict):
        raise ValueError("not a value")
    if "number" in plain:
        return float(plain["number"])
    if "array" in plain:
        return _array_from(plain)
    if "keys" in plain:
        return {str(key): from_plain(one) for key, one in zip(plain["keys"], plain["items"], strict=True)}
    if "items" in plain:
        return tuple(from_plain(one) for one in plain["items"])
    return None


def _array_from(plain: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(str(plain["dtype"]))
    shape = tuple(int(length) for length in plain["shape"])
    data = base64.b64decode(str(plain["array"]), validate=True)
    if dtype.kind not in KINDS or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("not an array")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def case_to_plain(case: Case) -> dict[str, Any]:
    """Return a case as JSON can hold it, for the process that runs the student's code."""
    return {
        "group": case.group,
        "function": case.function,
        "arguments": _arguments_to_plain(case.arguments),
        "then": [_arguments_to_plain(step) for step in case.then],
        "feedback": list(case.feedback),
    }


def case_from_plain(plain: Mapping[str, Any]) -> Case:
    """Return the case that `case_to_plain` described."""
    return Case(
        plain["group"],
        _arguments_from(plain["arguments"]),
        tuple(_arguments_from(step) for step in plain["then"]),
        tuple(plain["feedback"]),
        plain["function"],
    )


def _arguments_to_plain(arguments: Mapping[str, Any]) -> list[Any]:
    return [[name, _argument_to_plain(value)] for name, value in arguments.items()]


def _argument_to_plain(value: Any) -> dict[str, Any]:
    if type(value) is int:
        return {"integer": value}
    if isinstance(value, tuple) and all(type(one) is int for one in value):
        return {"integers": list(value)}
    plain: dict[str, Any] = to_plain(value)
    return plain


def _arguments_from(pairs: Sequence[Any]) -> dict[str, Any]:
    return {name: _argument_from(plain) for name, plain in pairs}


def _argument_from(plain: Mapping[str, Any]) -> Any:
    if "integer" in plain:
        return plain["integer"]
    return tuple(plain["integers"]) if "integers" in plain else from_plain(plain)
