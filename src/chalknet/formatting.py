"""Format numbers, counts and lists for messages, tables and documents."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# A number or an interval as tables show it. It may begin with a sign, but is not a formula.
NUMBERS = re.compile(
    r"[-+−]?[\d.,]+(e[-+]?\d+)?( ?%| points)?( to [-+−]?[\d.,]+( ?%| points)?)?"
    r"( \([-+−]?[\d.,]+ to [-+−]?[\d.,]+( %)?\))?"
)
DASH = "–"  # shown in place of a missing value


def percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction as a percentage such as "92.3 %", or a dash if it is not finite."""
    return f"{fixed(100 * fraction, digits)} %" if math.isfinite(fraction) else DASH


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points with its sign, such as "+2.4"."""
    return signed(100 * fraction, 1) if math.isfinite(fraction) else DASH


def signed(value: float, digits: int) -> str:
    """Return a number with a sign and so many decimals; zero has no sign."""
    text = fixed(value, digits)
    return text if float(text) <= 0 else f"+{text}"


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals; zero has no minus sign."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def percent_interval(low: float, high: float) -> str:
    """Return an interval of fractions such as "91.2 to 93.4 %", or a dash if it is not finite."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"{fixed(100 * low, 1)} to {fixed(100 * high, 1)} %"


def points_interval(low: float, high: float) -> str:
    """Return an interval of differences in percentage points such as "-0.4 to +1.3".

    Intervals that are not finite give a dash.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"{points(low)} to {points(high)}"


def duration(seconds: float) -> str:
    """Return a time in seconds as "0.42 s", "12.3 s", "3 min 5 s" or "1 h 2 min"."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def count_of(n: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 seed", "3 seeds" or "15,000 samples"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def is_or_are(n: int) -> str:
    """Return the verb of a number of things: "is" of 1, and "are" of others."""
    return "is" if n == 1 else "are"


def listed(items: Sequence[str], last: str = "and") -> str:
    """Join words as "a", "a and b", or "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def quoted(values: Iterable[object], limit: int = 8) -> str:
    """Return the reprs of the first `limit` values for a message; "none" if there are none."""
    texts = [repr(value[:60] if isinstance(value, str) else value) for value in values]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more or "none"


def p_value(p: float) -> str:
    """Return a p-value as "0.034", "< 0.001" or "1"."""
    return "< 0.001" if p < 0.001 else "1" if p > 0.9995 else f"{p:.3f}"


def capitalized(text: str) -> str:
    """Return a text with its first letter in upper case and the rest unchanged."""
    return text[:1].upper() + text[1:]


def printable(text: str) -> str:
    """Return a text as one line, with escapes for all characters that cannot be printed."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


# An argument of a public function with its flag, such as "overwrite=True (--overwrite)", "host (--host)",
# "categorical=['kind'] (--categorical kind)" or "chalknet.resume('run') (chalknet train --resume run)".
ARGUMENT_AND_FLAG = re.compile(
    r"""(?P<argument>
        \bchalknet\.[a-z]+\([^()]*\)
        | \b[a-z][a-z_]*(?:=(?:'[^']*' | \[[^\[\]]*\] | \([^()]*\) | [^\s'()\[\],;]+))?
    )
    \ \((?P<flag>(?:-o|--[a-z]|chalknet\ )(?:[^()]|\([^()]*\))*)\)""",
    re.VERBOSE,
)


_reader = "argument"  # the group of ARGUMENT_AND_FLAG that messages keep


def for_reader(message: str) -> str:
    """Return a message that names only what its reader can give: the argument in Python, the flag in a shell."""
    return ARGUMENT_AND_FLAG.sub(rf"\g<{_reader}>", message)


@contextmanager
def flags_in_messages() -> Iterator[None]:
    """Let the messages of this process name flags, because the command line shows them."""
    global _reader
    before, _reader = _reader, "flag"
    try:
        yield
    finally:
        _reader = before


def _escape(c: str) -> str:
    """Return the escape sequence of a character."""
    number = ord(c)
    if number < 0x20:
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(c, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def csv_text(rows: Iterable[Iterable[Any]], *, is_data: bool = False) -> str:
    """Return rows as comma-separated text, one line each.

    Args:
        rows: the cells of each row.
        is_data: write text cells unchanged. Otherwise a cell that a spreadsheet would evaluate as a
            formula gets a leading apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(rows if is_data else ([_no_formula(cell) for cell in row] for row in rows))
    return buffer.getvalue()


def _no_formula(cell: Any) -> Any:
    """Return a cell with a leading apostrophe if a spreadsheet would evaluate it."""
    is_formula = isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") and not NUMBERS.fullmatch(cell)
    return f"'{cell}" if is_formula else cell


def json_ready(value: Any) -> Any:
    """Return nested dictionaries and sequences with None for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
