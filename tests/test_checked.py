"""Values in untrusted files are checked by type and size, and TOML and JSON by depth."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from chalknet.checked import checked, is_number, plain, read_json, read_toml, short
from chalknet.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    size: float


@dataclass(frozen=True)
class Outer:
    number: int
    inner: Inner | None
    more: dict[str, str | int]


GOOD = {"number": 3, "inner": {"size": 1}, "more": {"a": "b", "c": 4}}


def test_a_table_becomes_a_dataclass():
    assert checked(Outer, GOOD) == Outer(3, Inner(1.0), {"a": "b", "c": 4})
    assert checked(list[Outer], [{**GOOD, "inner": None}])[0].inner is None
    assert checked(Any, GOOD) is GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 3.0}, "number is 3.0, which is not an integer"),
        ({"number": True}, "number is True, which is not an integer"),
        ({"inner": {"size": "1"}}, "size is '1', which is not a finite number"),
        ({"inner": {"size": float("nan")}}, "size is nan, which is not a finite number"),
        ({"inner": {"size": 10**400}}, "size is 1000.*, which is not a finite number"),
        ({"inner": {"size": 10**5_000}}, "size is a number of thousands of digits, which is not a finite number"),
        ({"inner": {}}, "'size' of inner is missing"),
        ({"inner": 3}, "inner is 3, which is not a table"),
        ({"more": {"a": []}}, r"'a' is \[\], which is not text"),
        ({"more": []}, r"more is \[\], which is not a table"),
        ({"other": 1}, "'other' of it is unknown"),
    ],
)
def test_a_value_of_another_type_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        checked(Outer, {**GOOD, **change})


@pytest.mark.parametrize("value", [True, "1", None, float("inf"), float("nan"), 10**309, -(10**309)])
def test_numbers_beyond_float_are_refused(value):
    assert not is_number(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "9" * 5_000, "is not TOML: Exceeds the limit"),
        ("a = " + "[" * 100_000, "is not TOML: it is nested too deeply"),
        ("a" + ".a" * 100_000 + " = 1", "line 1 has more than 64 dots outside of quotes"),
        ("[x]\n" + '"a"' + '."a"' * 100_000 + " = 1", "line 2 has more than 64 dots outside of quotes"),
        ("# " + "x" * 2**20, "cannot be read: it has 1,048,578 bytes, and at most 1,048,576 are read"),
        ("a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
    ],
)
def test_excessive_toml_is_refused_quickly(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(ConfigError, match=message):
        read_toml(tmp_path / "x.toml")
    assert time.process_time() - started < 5


def test_dots_in_quotes_are_not_counted(tmp_path):
    (tmp_path / "x.toml").write_text(f"names = [\"{'a.' * 100}\", '{'b.' * 100}']")
    assert read_toml(tmp_path / "x.toml") == {"names": ["a." * 100, "b." * 100]}


@pytest.mark.parametrize(
    "text", ["[]", "1", "{", '{"a": 1, "a": 2}', '{"a":' * 50_000, "1" * 5_000, '{"a": "' + "x" * 1_000 + '"}']
)
def test_invalid_json_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises((ValueError, OSError)):
        read_json(tmp_path / "x.json", 1_000)
    (tmp_path / "x.json").write_text(json.dumps(GOOD))
    assert read_json(tmp_path / "x.json", 1_000) == GOOD


def test_quotes_of_a_file_are_short_and_printable():
    assert len(short(["x" * 1_000] * 1_000)) < 1_000
    assert plain("a\nb\x1b[2J") == "a?b?[2J"
