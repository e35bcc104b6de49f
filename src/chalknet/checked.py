"""Read TOML and JSON files of strangers, and check the type and the size of what they hold before it is used."""

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

MAX_TOML_BYTES = 2**20  # takes up to 600 MB of memory
MAX_TOML_DOTS = 64  # of a key; a long one takes time and memory in proportion to the square of its length
MAX_MESSAGE = 300  # characters of a message that quotes a file
KINDS = {int: "an integer", float: "a finite number", str: "text", bool: "true or false"}

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxtuple = 12


def short(value: Any) -> str:
    """Return a value of a file as a message shows it: its repr, cut where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def plain(message: object) -> str:
    """Return a message that quotes a file as one line of printable characters, cut where it is long."""
    text = str(message)
    kept = text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE - 30]} ... {text[-25:]}"
    return "".join(c if c.isprintable() else "?" for c in kept)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether a value is a number that a float can hold, and finite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


@cache
def _fields(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def checked(kind: Any, value: Any, name: str = "it") -> Any:
    """Return a value that must be of a kind.

    Args:
        kind: int, float, str, bool, a dataclass whose fields are of kinds, `dict[str, kind]`, `list[kind]`, a union of
            kinds, or Any. An integer is a float, too. A dataclass is made of a table of its fields.
        name: of the value, for the message.
    Raises:
        ValueError: it is not of that kind.
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
    if outer is list and isinstance(value, list):
        return [checked(inner[0], one, f"a value of {name}") for one in value]
    if kind is float and is_number(value):
        return float(value)
    if kind in (str, bool, int) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    wanted = KINDS.get(kind, "a list" if outer is list else "a table")
    raise ValueError(f"{name} is {short(value)}, which is not {wanted}")


def strict_json(text: str | bytes) -> Any:
    """Return JSON in which no key comes twice, as readers differ in which of the two they take.

    Raises:
        ValueError: it is not, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        OSError: as `read_bytes`. ValueError: it is no JSON object, or a key comes twice.
    """
    found = strict_json(read_bytes(path, max_bytes))
    return checked(dict[str, Any], found)  # type: ignore[no-any-return]


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or is larger or deeper than any that chalknet writes.
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
    except ValueError as error:  # also of text that is not UTF-8, and of numbers of thousands of digits
        raise ConfigError(f"{path}: is not TOML: {plain(error)}.") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"its key {short(twice)} is there twice")
    return found
