"""Numbers, counts and lists have one format everywhere."""

import csv
import io
import json
import math

import pytest

from chalknet.formatting import (
    count_of,
    csv_text,
    duration,
    fixed,
    json_ready,
    listed,
    p_value,
    percent,
    points,
    points_interval,
    quoted,
)


@pytest.mark.parametrize(
    ("made_text", "expected"),
    [
        (percent(0.92345), "92.3 %"),
        (percent(float("nan")), "–"),
        (points(0.0), "0.0"),
        (points(-0.0001), "0.0"),
        (points(0.024), "+2.4"),
        (points_interval(-0.004, 0.013), "-0.4 to +1.3"),
        (points_interval(float("nan"), 0.013), "–"),
        (fixed(-0.0004, 3), "0.000"),
        (duration(0.4249), "0.42 s"),
        (duration(185.2), "3 min 5 s"),
        (duration(59.97), "60.0 s"),
        (duration(3_725), "1 h 2 min"),
        (count_of(1, "seed"), "1 seed"),
        (count_of(15_000, "sample"), "15,000 samples"),
        (listed(["a"]), "a"),
        (listed(["a", "b"]), "a and b"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (quoted(["a", "b"]), "'a', 'b'"),
        (quoted(range(10), 8), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"),
        (quoted([]), "none"),
        (csv_text([["a", "b, c"], [1, 2.5]]), 'a,"b, c"\n1,2.5\n'),
        (p_value(0.0004), "< 0.001"),
        (p_value(1.0), "1"),
    ],
)
def test_numbers_are_written_one_way(made_text, expected):
    assert made_text == expected


def test_numbers_that_json_lacks_are_null():
    found = json_ready({"a": (1.5, math.nan), "b": [{"c": math.inf}], "d": "nan"})
    assert json.loads(json.dumps(found, allow_nan=False)) == {"a": [1.5, None], "b": [{"c": None}], "d": "nan"}


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        *[(text, f"'{text}") for text in ("=1+1", "+A1", "-cmd|' /C calc'!A0", "@SUM(A1)", "-1+A1", "\tx", "-")],
        *[(text, text) for text in ("-0.3", "+2.4", "-1e-05", "-0.4 to +1.3", "+1,234", "-3 %", "a=b", "", "–")],
        (-3, "-3"),
    ],
)
def test_no_cell_of_a_table_is_a_formula(cell, written):
    assert list(csv.reader(io.StringIO(csv_text([[cell, "x"]]), newline=""))) == [[written, "x"]]
    assert list(csv.reader(io.StringIO(csv_text([[cell, "x"]], is_data=True), newline=""))) == [[str(cell), "x"]]
