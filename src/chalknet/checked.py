"""Read untrusted TOML and JSON files, and check the type and size of values before use."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from chalknet.errors import ConfigError
from chalknet.files import read_bytes

MAX_TOML_BYTES = 2**20  # parsing a file of this size can take 600 MB of memory
# Dots in one key. Time and memory of the parser grow with the square of their number.
MAX_TOML_DOTS = 64
MAX_MESSAGE = 300  # characters of a message that quotes a file
KINDS: dict[type, str] = {int: "an integer", float: "a finite number", str: "text", bool: "true or false"}

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxtuple = 12


def short(value: Any) -> str:
    """Return the repr of a value for a message, abbreviated if it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def plain(message: object) -> str:
    """Return a message that quotes a file as one printable line, abbreviated if it is long."""
    text = str(message)
    kept = text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 30]} ... {text[-25:]}"
    return "".join(c if c.isprintable() else "?" for c in kept)


def is_integer(value: Any) -> bool:
    """Return whether a value is an int; a bool is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite int or float that fits into a float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


@cache
def _fields(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass."""
    return get_type_hints(kind)


def checked(kind: Any, value: Any, name: str = "it") -> Any:
    """Return a value of a file after checking that it has a type.

    Args:
        kind: int, float, str, bool, a dataclass with fields of such types, `dict[str, kind]`,
            `list[kind]`, `tuple[kind, ...]`, a union of these, or Any. An int is accepted as a float. A dataclass is
            created from a dictionary of its fields.
        value: what was read from the file.
        name: what messages call the value.

    Raises:
        ValueError: the value has another type, or a field of a dataclass is unknown or missing.
    """
    if kind is Any or (value is None and NoneType in get_args(kind)):
        return value
    if get_origin(kind) is UnionType:
        kind = next((one for one in get_args(kind) if isinstance(value, get_origin(one) or one)), get_args(kind)[0])
    outer, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        fields = _fields(cast(type, kind))
        for key in value.keys() ^ fields.keys():
            raise ValueError(f"{short(key)} of {name} is {'unknown' if key in value else 'missing'}")
        return kind(**{key: checked(of, value[key], key) for key, of in fields.items()})  # type: ignore[operator]
    if outer is dict and isinstance(value, dict):
        return {checked(str, key, "a key"): checked(inner[1], one, short(key)) for key, one in value.items()}
    if outer in (list, tuple) and isinstance(value, list):
        return outer(checked(inner[0], one, f"a value of {name}") for one in value)
    if kind is float and is_number(value):
        return float(value)
    if kind in (str, bool, int) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    wanted = KINDS.get(kind, "a list" if outer in (list, tuple) else "a table")
    raise ValueError(f"{name} is {short(value)}, which is not {wanted}")


def strict_json(text: str | bytes) -> Any:
    """Parse JSON, and refuse duplicate keys, which readers resolve in different ways.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or has a key twice in one object.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file.
        max_bytes: the largest size that is read.

    Raises:
        OSError: the file cannot be read, see `read_bytes`.
        ValueError: the content is not a JSON object, or has a key twice in one object.
    """
    found = strict_json(read_bytes(path, max_bytes))
    return checked(dict[str, Any], found)  # type: ignore[no-any-return]


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or is larger or nested more deeply than
            any file that chalknet writes.
    """
    try:
        text = read_bytes(path, MAX_TOML_BYTES).decode()
        for number, line in enumerate(text.splitlines(), start=1):
            if line.count(".") > MAX_TOML_DOTS < re.sub(r"\"[^\"]*\"|'[^']*'", "", line).count("."):
                raise ConfigError(f"{path}: line {number} has more than {MAX_TOML_DOTS} dots outside of quotes.")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except RecursionError:
        raise ConfigError(f"{path}: is not TOML: it is nested too deeply.") from None
    except ConfigError:
        raise
    except ValueError as error:  # also for text that is not UTF-8 and for numbers with thousands of digits
        raise ConfigError(f"{path}: is not TOML: {plain(error)}.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs of a JSON object as a dictionary; raise ValueError for a duplicate key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"its key {short(twice)} is there twice")
    return found
