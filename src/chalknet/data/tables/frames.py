"""Convert tables in memory to polars frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from chalknet.data.tables.columns import check_unique
from chalknet.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from typing import TypeAlias

    import pandas as pd
    import polars as pl
    from numpy.typing import NDArray

    # For modules that do not import these packages, not even for types.
    PolarsFrame: TypeAlias = pl.DataFrame
    PandasFrame: TypeAlias = pd.DataFrame


class Frame(Protocol):
    """A frame of pandas or polars, or another with named columns."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, number of columns)."""


def is_frame(value: Any) -> bool:
    """Return whether a value is a table in memory: a frame of pandas or polars, or a dict of columns."""
    return isinstance(value, Mapping) or (hasattr(value, "columns") and hasattr(value, "shape"))


def column_labels(table: Any) -> list[Any]:
    """Return the names of the columns of a table in memory as they are there, which may be numbers."""
    return list(table) if isinstance(table, Mapping) else list(table.columns)


def columns_of_rows(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of (N, I) rows as a table with the names x0, x1, ..."""
    return {f"x{at}": rows[:, at] for at in range(rows.shape[1])}


def table_like(values: Any, names: Sequence[str]) -> Any:
    """Return values as a table if they are one, or rows for a model that was trained on such; else None.

    Args:
        values: a table, or samples in memory.
        names: the columns that the model reads; x0, x1, ... if it was trained on rows with missing
            values.
    """
    import numpy as np

    if is_frame(values):
        return values
    rows = np.asarray(values)
    columns = columns_of_rows(rows) if rows.ndim == 2 and rows.shape[1] == len(names) else {}
    return columns if columns and tuple(columns) == tuple(names) else None


def has_missing(values: Any) -> bool:
    """Return whether values are (N, I) floating-point rows with a NaN, the mark of a missing value."""
    import numpy as np

    rows = np.asarray(values)
    return rows.ndim == 2 and rows.dtype.kind == "f" and bool(np.isnan(rows).any())


def as_frame(value: Any, source: str) -> pl.DataFrame:
    """Return a frame of pandas or polars, or a dict of columns, as a polars frame.

    Args:
        value: the table.
        source: what messages call it.

    Raises:
        DataError: two columns have one name, a name is no text, or columns have different lengths.
    """
    import polars as pl

    columns = column_labels(value)
    check_unique([str(name) for name in columns], source)
    try:
        if isinstance(value, pl.DataFrame):
            return value
        return pl.DataFrame({str(name): _series(str(name), value[name]) for name in columns})
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(f"{source}: cannot be read as a table ({error}).") from error


def polars_frame(columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Return columns of plain values as a polars frame; None is a missing value."""
    import polars as pl

    return pl.DataFrame(dict(columns), infer_schema_length=None)


def pandas_frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return columns of plain values as a pandas frame; None is a missing value.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise MissingExtraError("to_pandas needs pandas: pip install pandas. to_polars needs no package.") from error
    frame: pd.DataFrame = pandas.DataFrame(dict(columns))
    return frame


def _series(name: str, values: Any) -> pl.Series:
    """Return one column of a frame. Columns of mixed Python objects become texts."""
    import numpy as np
    import polars as pl

    if isinstance(values, pl.Series):
        return values.alias(name)
    dtype = str(getattr(values, "dtype", "object"))
    if dtype.startswith("datetime64") and "," in dtype:  # with a time zone: the time of day there
        values = values.dt.tz_localize(None)
        dtype = str(values.dtype)
    if dtype.startswith(("datetime64", "timedelta64")):
        return pl.Series(name, np.asarray(values).astype(f"{dtype.split('[')[0].split(',')[0]}[us]"))
    if dtype in ("object", "category", "string", "str") or dtype.startswith(("Int", "UInt", "Float", "boolean")):
        is_missing = values.isna() if hasattr(values, "isna") else [one is None or _is_nan(one) for one in values]
        plain = [None if gone else one for one, gone in zip(list(values), list(is_missing), strict=True)]
        if dtype == "category":
            return pl.Series(name, [None if one is None else str(one) for one in plain]).cast(pl.Categorical)
        try:
            return pl.Series(name, plain)
        except (TypeError, pl.exceptions.PolarsError):
            return pl.Series(name, [None if one is None else str(one) for one in plain])
    return pl.Series(name, np.asarray(values))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value
