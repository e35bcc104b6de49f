"""Format numbers, counts and lists for messages, tables and documents."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

# A number or an interval as tables show it: these begin with a sign and are no formulas.
NUMBERS = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?( ?%| points)?( to [-+−]?[\d.,]+( ?%| points)?)?")
DASH = "–"  # stands where there is no value


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as "92.3 %"; a dash where there is none."""
    return f"{fixed(100 * share, digits)} %" if math.isfinite(share) else DASH


def points(share: float) -> str:
    """A difference of shares as percentage points with its sign: "+2.4", "-0.3", "0.0"."""
    return signed(100 * share, 1) if math.isfinite(share) else DASH


def signed(value: float, digits: int) -> str:
    """A number with its sign; one that rounds to zero has none."""
    text = fixed(value, digits)
    return text if float(text) <= 0 else f"+{text}"


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, and 0 without a sign."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def percent_interval(low: float, high: float) -> str:
    """An interval of shares as "91.2 to 93.4 %"; a dash where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"{fixed(100 * low, 1)} to {fixed(100 * high, 1)} %"


def points_interval(low: float, high: float) -> str:
    """An interval of differences as "-0.4 to +1.3"; a dash where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"{points(low)} to {points(high)}"


def duration(seconds: float) -> str:
    """ "0.42 s", "12.3 s", "3 min 5 s", "1 h 2 min"."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def count_of(n: int, noun: str, plural: str = "") -> str:
    """ "1 seed", "3 seeds", "15,000 samples"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listed(items: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def quoted(values: Iterable[object], limit: int = 8) -> str:
    """Return values for a message: quoted, the first `limit` of many, "none" when there are none."""
    texts = [repr(value[:60] if isinstance(value, str) else value) for value in values]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more or "none"


def p_value(p: float) -> str:
    """ "0.034", "< 0.001", "1"."""
    return "< 0.001" if p < 0.001 else "1" if p > 0.9995 else f"{p:.3f}"


def capitalized(text: str) -> str:
    """A sentence or title with a large first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def printable(text: str) -> str:
    """Return a text in one line that does not steer a terminal: all but printable characters become escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(c: str) -> str:
    number = ord(c)
    if number < 0x20:
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(c, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def csv_text(rows: Iterable[Iterable[Any]], *, is_data: bool = False) -> str:
    """Return rows as comma-separated text, a line each.

    Args:
        is_data: whether cells are written as they are. Otherwise a text that a spreadsheet would take for a formula
            gets an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(rows if is_data else ([_no_formula(cell) for cell in row] for row in rows))
    return buffer.getvalue()


def _no_formula(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") and not NUMBERS.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def json_ready(value: Any) -> Any:
    """Return a value of nested dictionaries and sequences with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
