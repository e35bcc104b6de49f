"""The rows of an encoded table, which hold one number for each column and compute the inputs when they are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.tables.columns import CATEGORY, DATE, NUMBER, Column
from chalknet.errors import ShapeError

MAX_DENSE_BYTES = 2**28  # of a table's inputs; larger tables are held as `TableRows`
ROWS_AT_ONCE = 512  # so few that they stay in the cache
# Cycles of a date: name, length in days, and the day at which a cycle begins (days since
# 1970-01-01, which was a Thursday). The year is the mean year of the Gregorian calendar.
CYCLES = (("time of year", 365.2425, 0.0), ("day of week", 7.0, 4.0), ("time of day", 1.0, 0.0))
CODE_TYPE = np.dtype(np.int16)  # of positions in a list of categories
UNKNOWN = -1  # in place of a position
BINARY = np.array([-1.0, 1.0, 0.0])  # the input for the first and the second category, and last for UNKNOWN

Values = NDArray[Any] | Sequence[NDArray[Any]]
Fill = Callable[[NDArray[Any], NDArray[np.float64]], None]


@dataclass(frozen=True)
class InputGroup:
    """Some inputs that are computed from one column.

    Attributes:
        names: names of the inputs.
        is_coded: whether the column is one of categories.
        at: position of the column among those of categories, or among the others.
        fill: writes the inputs (n, inputs) of the column's values (n,).
    """

    names: tuple[str, ...]
    is_coded: bool
    at: int
    fill: Fill


class TableRows:
    """(N, I) inputs, float64, that are computed from the columns of a table when they are indexed.

    They behave like an array where samples are selected: `len`, `shape`, `dtype`, `rows[5]`,
    `rows[10:20]`, `rows[positions]` and `rows[positions, 3]` work and return NumPy arrays.
    `numpy.asarray(rows)` computes all of them. A category takes two bytes and not eight for each
    input, so that large tables fit into memory.

    Args:
        n: N, the number of rows.
        numbers: (N, A) float64, or A columns (N,), NaN where a value is missing: the values of numbers,
            and dates in days. All others are finite.
        codes: (N, C) int16, or C columns (N,): the positions of categories in their lists: the number
            of categories for a missing value, -1 for an unknown one.
        groups: the inputs; the first A groups are the numbers themselves.
        fill: (A,) what replaces missing numbers, or None to leave them NaN.
    """

    dtype: np.dtype[np.float64] = np.dtype(np.float64)
    ndim = 2

    def __init__(
        self,
        n: int,
        numbers: Values,
        codes: Values,
        groups: Sequence[InputGroup],
        fill: NDArray[np.float64] | None = None,
    ) -> None:
        """Create rows of columns, which are not copied."""
        self._numbers, self._codes, self._groups, self._fill = numbers, codes, tuple(groups), fill
        self.shape: tuple[int, int] = (n, sum(len(group.names) for group in groups))
        self.size: int = self.shape[0] * self.shape[1]
        self.nbytes: int = self.size * self.dtype.itemsize  # of the inputs, not of these rows

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        """Return the inputs of rows at a number, slice, index array or boolean mask; or one input of such rows."""
        if isinstance(key, tuple):
            return self._column(int(key[1]), key[0])
        if isinstance(key, int | np.integer):
            (row,) = self[np.array([key])]
            return np.asarray(row)
        if not isinstance(key, slice) and np.asarray(key).ndim != 1:
            raise ShapeError(f"rows of a table are taken by number, slice or (n,) positions, got {key!r}.")
        numbers, codes = self._select(key)
        out = np.empty((len(numbers), self.shape[1]))
        for start in range(0, len(out), ROWS_AT_ONCE):
            some = slice(start, start + ROWS_AT_ONCE)
            self._compute(numbers[some], codes[some], out[some])
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the inputs of all rows."""
        if copy is False:
            raise ValueError("the inputs of a table are computed, which makes a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, rows: Any) -> TableRows:
        """Return some rows, with the values of each row side by side in memory."""
        numbers, codes = self._select(rows)
        return TableRows(len(numbers), numbers, codes, self._groups, self._fill)

    @property
    def n_numbers(self) -> int:
        """Return A, how many of the inputs, the first ones, can be missing."""
        return _width(self._numbers)

    def filled(self, fill: NDArray[np.float64]) -> TableRows:
        """Return the rows with numbers in place of missing ones; of (I,) or (A,) numbers the first A are used."""
        return TableRows(len(self), self._numbers, self._codes, self._groups, fill[: self.n_numbers])

    def with_medians(self) -> TableRows:
        """Return the rows with the median of each column, or 0, in place of missing numbers."""
        columns = [_column_of(self._numbers, at) for at in range(self.n_numbers)]
        known = [column[~np.isnan(column)] for column in columns]
        return self.filled(np.array([np.median(values) if len(values) else 0.0 for values in known]))

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the inputs of all rows in blocks, each with the position of its first row."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield start, self[start : start + ROWS_AT_ONCE]

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The smallest and the largest value of each input, NaN where one is missing."""
        lows, highs = zip(*((block.min(axis=0), block.max(axis=0)) for _, block in self.blocks()), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def min(self) -> float:
        """Return the smallest of all inputs."""
        return float(self.bounds[0].min())

    def max(self) -> float:
        """Return the largest of all inputs."""
        return float(self.bounds[1].max())

    def _select(self, key: Any) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
        """Return (n, A) numbers and (n, C) codes of some rows."""
        n = len(range(len(self))[key]) if isinstance(key, slice) else len(np.empty(len(self), np.bool_)[key])
        found = []
        for values, dtype in ((self._numbers, np.dtype(np.float64)), (self._codes, CODE_TYPE)):
            if isinstance(values, np.ndarray):
                found.append(values[key])
                continue
            found.append(np.empty((n, len(values)), dtype))
            for at, column in enumerate(values):
                found[-1][:, at] = column[key]
        return found[0], found[1]

    def _starts(self) -> Iterator[tuple[InputGroup, int]]:
        """Yield each group with the position of its first input."""
        start = 0
        for group in self._groups:
            yield group, start
            start += len(group.names)

    def _compute(self, numbers: NDArray[np.float64], codes: NDArray[np.int16], out: NDArray[np.float64]) -> None:
        """Write the inputs of some rows to out."""
        n = numbers.shape[1]
        out[:, :n] = numbers if self._fill is None else np.where(np.isnan(numbers), self._fill, numbers)
        for group, start in self._starts():
            if start >= n:
                values = (codes if group.is_coded else numbers)[:, group.at]
                group.fill(values, out[:, start : start + len(group.names)])

    def _column(self, at: int, rows: Any) -> NDArray[np.float64]:
        """Return one input of some rows."""
        group, start = next((one, start) for one, start in self._starts() if start <= at < start + len(one.names))
        values = _column_of(self._codes if group.is_coded else self._numbers, group.at)[rows]
        if self._fill is not None and group.fill is _fill_values:
            values = np.where(np.isnan(values), self._fill[group.at], values)
        if group.fill is _fill_one_hot:
            return np.asarray(values == at - start, np.float64)
        out = np.empty((len(values), len(group.names)))
        group.fill(values, out)
        return out[:, at - start]


def _column_of(values: Values, at: int) -> NDArray[Any]:
    """Return one column of values."""
    return values[:, at] if isinstance(values, np.ndarray) else values[at]


def _width(values: Values) -> int:
    """Return the number of columns."""
    return values.shape[1] if isinstance(values, np.ndarray) else len(values)


def joined_rows(parts: Sequence[Any]) -> TableRows:
    """Return the rows of several parts, of which one at least is `TableRows` and others may be (n, I) arrays."""
    model = next(part for part in parts if isinstance(part, TableRows))
    selected = [part._select(slice(None)) if isinstance(part, TableRows) else _compact(part, model) for part in parts]
    numbers, codes = (np.concatenate(each) for each in zip(*selected, strict=True))
    return TableRows(len(numbers), numbers, codes, model._groups)


def _compact(inputs: NDArray[np.float64], model: TableRows) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Return the numbers and codes of (n, I) inputs; the inverse of reading rows."""
    codes = np.full((len(inputs), _width(model._codes)), UNKNOWN, CODE_TYPE)
    for group, start in model._starts():
        if group.is_coded:
            values = inputs[:, start : start + len(group.names)]
            found = (values[:, 0] > 0) if group.fill is _fill_binary else values.argmax(axis=1)
            codes[:, group.at] = np.where((values != 0).any(axis=1), found, UNKNOWN)
    return inputs[:, : _width(model._numbers)], codes


def input_groups(columns: Sequence[Column]) -> tuple[InputGroup, ...]:
    """Return the inputs of columns: first the numbers themselves, then what is derived from each column."""
    coded = [column for column in columns if column.kind == CATEGORY]
    plain = [column for column in columns if column.kind != CATEGORY]
    numbers = [InputGroup((_days_name(one),), False, at, _fill_values) for at, one in enumerate(plain)]
    at = {column.name: place for kind in (coded, plain) for place, column in enumerate(kind)}
    return (*numbers, *(group for column in columns for group in _derived_groups(column, at[column.name])))


def _days_name(column: Column) -> str:
    return column.name if column.kind == NUMBER else f"{column.name} in days"


def _derived_groups(column: Column, at: int) -> list[InputGroup]:
    """Return the inputs of a column besides its number."""
    name, groups = column.name, []
    if column.kind == CATEGORY:
        n = len(column.categories)
        if n == 2 and not column.has_missing:
            return [InputGroup((f"{name}: {column.categories[1]}",), True, at, _fill_binary)]
        names = (*(f"{name}: {one}" for one in column.categories), *([f"{name}: missing"] * column.has_missing))
        return [InputGroup(names, True, at, _fill_one_hot)]
    if column.kind == DATE:
        cycles = CYCLES if column.has_time else CYCLES[:-1]
        names = tuple(f"{name}: {function} of {cycle}" for cycle, _, _ in cycles for function in ("sine", "cosine"))
        groups.append(InputGroup(names, False, at, _fill_cycles))
    if column.has_missing:
        groups.append(InputGroup((f"{name}: missing",), False, at, _fill_missing))
    return groups


def _fill_values(values: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = values


def _fill_missing(values: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = np.isnan(values)


def _fill_cycles(days: NDArray[Any], out: NDArray[np.float64]) -> None:
    for at in range(out.shape[1] // 2):
        _, length, start = CYCLES[at]
        angle = 2 * math.pi * ((days - start) % length) / length
        out[:, 2 * at], out[:, 2 * at + 1] = np.sin(angle), np.cos(angle)
    is_missing = np.isnan(days)
    if is_missing.any():
        out[is_missing] = 0.0


def _fill_binary(codes: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:, 0] = BINARY[codes]


def _fill_one_hot(codes: NDArray[Any], out: NDArray[np.float64]) -> None:
    out[:] = 0.0
    known = np.flatnonzero(codes >= 0)
    out[known, codes[known]] = 1.0


def column_bounds(inputs: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the smallest and the largest value of each input, of an array of samples or of `TableRows`."""
    if isinstance(inputs, TableRows):
        return inputs.bounds
    rows = inputs.reshape(len(inputs), -1)
    return rows.min(axis=0), rows.max(axis=0)
