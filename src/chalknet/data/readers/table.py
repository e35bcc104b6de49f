"""Make a data set of a table of mixed columns: numbers, categories, dates and missing values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.config import USUAL_TABLE, TableOptions
from chalknet.data.dataset import MAX_CLASSES, Dataset, UnlabeledSamples, with_known
from chalknet.data.readers.labels import (
    GIVE_LABEL,
    INTEGER,
    LABEL_NAMES,
    LabelTexts,
    no_trained_label,
    number_labels,
)
from chalknet.data.tables.columns import ROW_FROM_0, UNREADABLE, ColumnFinder, ColumnSummary, as_texts, is_unreadable
from chalknet.data.tables.encoding import TableEncoding
from chalknet.data.tables.rows import MAX_DENSE_BYTES, TableRows
from chalknet.data.tables.texts import different_texts
from chalknet.errors import DataError
from chalknet.files import Budget
from chalknet.formatting import quoted

if TYPE_CHECKING:
    import polars as pl

MAX_ENCODING = 3 * 2**20  # bytes; the header of a model file has at most 4 MiB


def dataset_from_frame(
    frame: pl.DataFrame,
    source: str,
    *,
    label_column: str | int | None = None,
    class_names: Sequence[str] | None = None,
    known_classes: Sequence[str] = (),
    options: TableOptions = USUAL_TABLE,
    encoding: TableEncoding | None = None,
    sha256: str = "",
    place: Callable[[int], str] = ROW_FROM_0,
    notes: Sequence[str] = (),
    budget: Budget | None = None,
) -> Dataset:
    """Return the samples of a table with labels.

    Args:
        frame: the table.
        source: what messages call it.
        label_column: name or index of the label column; by default the one named label, class, target
            or y.
        class_names: K names, see `number_labels`.
        known_classes: names of classes that may have no samples here.
        options: how columns are read.
        encoding: the encoding of another table whose columns this one must have; None to find the
            columns here.
        sha256: digest of the source; computed from the samples by default.
        place: returns what messages call a row.
        notes: notes of the reader.
        budget: the memory and time that reading may take; None for a table in memory.

    Raises:
        DataError: there is no label column, a label is missing, or a column cannot be read.
    """
    if not len(frame):
        raise DataError(f"{source}: no samples; the table has no rows.")
    name = find_label(frame.columns, label_column, source, "" if encoding is None else encoding.label)
    # A reader that gives the index of the label has noted its name.
    found = [*notes, *(() if isinstance(label_column, int) else other_label_notes(name, label_column, encoding))]
    labels, names = number_labels(_label_texts(frame[name], source, place), class_names, source, name, found)
    table = frame.drop(name)
    if not len(table.columns):
        raise DataError(f"{source}: the table has only a label column, and no column to predict it from.")
    summaries: tuple[ColumnSummary, ...] = ()
    like = encoding
    if encoding is None:
        finder = ColumnFinder(table, options, source, place, budget)
        columns = finder.find()
        used = {column.name for column in columns}
        ignored = tuple(one for one in table.columns if one not in used and one.isprintable())
        encoding = TableEncoding(
            columns, ignored, name if name.isprintable() else "", tuple(options.missing), options.decimal or "."
        )
        _check_size(encoding, source)
        found += finder.notes
        summaries = tuple(finder.summaries)
    encoder, prepared = (encoding, finder.prepared) if like is None else (like.for_file(options), None)
    known = frame if name in encoding.names else table  # the label is no column that the model does not know
    rows, more = encoder.encode_rows(known, source, budget, prepared, place)
    return Dataset(
        inputs=dense_if_small(rows, budget),
        labels=labels,
        class_names=with_known(names, known_classes),
        source=source,
        sha256=sha256,
        notes=(*found, *more),
        input_names=encoding.input_names,
        encoding=encoding,
        columns=summaries,
    )


def samples_from_frame(
    frame: pl.DataFrame,
    source: str,
    encoding: TableEncoding,
    notes: Sequence[str] = (),
    options: TableOptions = USUAL_TABLE,
    id_column: str | None = None,
    budget: Budget | None = None,
    place: Callable[[int], str] = ROW_FROM_0,
) -> UnlabeledSamples:
    """Return the samples of a table for prediction; a label column is ignored.

    Args:
        frame: the table.
        source: what messages call it.
        encoding: how its columns become inputs.
        notes: notes of the reader.
        options: how it is written.
        id_column: the column with the names of the samples, or None.
        budget: that of reading the file, or None.
        place: returns what messages call a row.

    Raises:
        DataError: the table has no rows, or lacks a column, or a value is not of the column's kind.
    """
    if not len(frame):
        raise DataError(f"{source}: no samples; the table has no rows.")
    names: tuple[str, ...] = ()
    if id_column is not None:
        if id_column not in frame.columns:
            raise DataError(
                f"{source}: has no column {id_column!r}, which id_column (--id) names; its columns are "
                f"{quoted(frame.columns)}."
            )
        if is_unreadable(frame[id_column].dtype):
            raise DataError(f"{source}: column {id_column!r} cannot name rows, because it holds {UNREADABLE}.")
        names = tuple(as_texts(frame[id_column]).fill_null("").to_list())
        frame = frame if id_column in encoding.names else frame.drop(id_column)
    rows, more = encoding.for_file(options).encode_rows(frame, source, budget, place=place)
    return UnlabeledSamples(
        dense_if_small(rows, budget), source, (*notes, *more), encoding.input_names, encoding, names
    )


def rows_of_numbers(
    frame: pl.DataFrame,
    source: str,
    n_values: int,
    label_column: str | int | None,
    names: Sequence[str],
    budget: Budget,
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the rows of a table for a model of plain rows, and the names of the columns.

    Args:
        frame: the table, with or without its label.
        source: what messages call it.
        n_values: I, the number of values of a row.
        label_column: name or index of a column to leave out, or None.
        names: the expected names of the columns, or (); with them, columns are found by name.
        budget: that of reading the file.

    Raises:
        DataError: the table has other columns, or a value is missing or no finite number.
    """
    import polars as pl

    if label_column is not None:
        frame = frame.drop(find_label(frame.columns, label_column, source))
    if names and set(names) <= set(frame.columns):
        frame = frame.select(names)
    elif len(frame.columns) == n_values + 1:
        frame = frame.select(name for name in frame.columns if name.casefold() not in LABEL_NAMES)
    if len(frame.columns) != n_values:
        raise DataError(
            f"{source}: has {len(frame.columns)} columns; expected {n_values}, or {n_values + 1} with a label."
        )
    budget.take(8 * len(frame) * n_values)
    for series in frame.get_columns():
        is_number = series.dtype.is_numeric() and not series.null_count()
        if not is_number or not series.cast(pl.Float64).is_finite().all():
            raise DataError(
                f"{source}: column {series.name!r} has values that are missing or no finite numbers. The model was "
                "trained on a table of numbers alone. Fill the gaps, or leave the rows out."
            )
    return frame.select(pl.all().cast(pl.Float64)).to_numpy(order="c"), tuple(frame.columns)


def dense_if_small(rows: TableRows, budget: Budget | None) -> TableRows | NDArray[np.float64]:
    """Return the inputs of rows as an array if they take at most `MAX_DENSE_BYTES`, and the rows otherwise."""
    if rows.nbytes > MAX_DENSE_BYTES:
        return rows
    if budget is not None:
        budget.take(rows.nbytes)
    return rows[:]


def _check_size(encoding: TableEncoding, source: str) -> None:
    """Raise DataError for an encoding that is too large for the header of a model file."""
    n_bytes = len(json.dumps(encoding.as_table(), ensure_ascii=False).encode("utf-8", "replace"))
    if n_bytes > MAX_ENCODING:
        raise DataError(
            f"{source}: a model file cannot store the names of {len(encoding.columns):,} columns and their "
            f"categories: {n_bytes:,} bytes, more than {MAX_ENCODING:,}. Leave columns out with drop (--drop)."
        )


def find_label(names: Sequence[str], label_column: str | int | None, source: str, trained: str = "") -> str:
    """Return the name of the label column.

    Args:
        names: the names of all columns.
        label_column: a name, a name in other case, an index, or None to find it by its name.
        source: what messages call the table.
        trained: the label column of the model that reads the table, which is looked for first; or "".

    Raises:
        DataError: there is no such column.
    """
    folded = [name.casefold() for name in names]
    if label_column is None:
        if trained in names:
            return trained
        found = next((names[folded.index(one)] for one in LABEL_NAMES if one in folded), None)
        if found is None and trained:
            raise DataError(no_trained_label(trained, names, source))
        if found is None:
            raise DataError(
                f"{source}: no column is named label, class, target or y; the columns are {quoted(names)}. "
                f"{GIVE_LABEL}."
            )
        return found
    if isinstance(label_column, str):
        for known, wanted in ((list(names), label_column), (folded, label_column.casefold())):
            if known.count(wanted) == 1:
                return names[known.index(wanted)]
        if INTEGER.fullmatch(label_column) is None:
            raise DataError(f"{source}: no column is named {label_column!r}; the columns are {quoted(names)}.")
    index = int(label_column[:20]) if isinstance(label_column, str) else label_column
    if not -len(names) <= index < len(names):
        raise DataError(f"{source}: label_column is {index}, but there are {len(names)} columns (0..{len(names) - 1}).")
    return names[index]


def other_label_notes(name: str, label_column: str | int | None, encoding: TableEncoding | None) -> list[str]:
    """Return a note if the label column has another name than the one asked for, or than that of the training table.

    Args:
        name: the name of the label column that was found.
        label_column: what the caller gave.
        encoding: that of the model that reads the table, or None.
    """
    if isinstance(label_column, str) and name.casefold() == label_column.casefold() and name != label_column:
        return [f"Column {name!r} is read as the label {label_column!r}: only upper and lower case differ."]
    if label_column is None and encoding is not None and encoding.label and name != encoding.label:
        return [f"Column {name!r} is read as the label, which was {encoding.label!r} in the training table."]
    return []


def _label_texts(series: Any, source: str, place: Callable[[int], str]) -> LabelTexts:
    """Return a label column as texts; a missing label is the empty text."""
    import polars as pl

    if is_unreadable(series.dtype):
        raise DataError(f"{source}: column {series.name!r} holds {UNREADABLE}, which cannot be labels. {GIVE_LABEL}.")
    values = series.fill_nan(None) if series.dtype.is_float() else series
    each = different_texts(values if values.dtype == pl.String else as_texts(values))
    texts = as_texts(each.texts).str.strip_chars().fill_null("")
    distinct = texts.unique(maintain_order=True)
    if len(distinct) > MAX_CLASSES:
        raise DataError(
            f"{source}: column {series.name!r} holds {len(distinct):,} different labels, more than {MAX_CLASSES}. Is "
            f"another column the label? {GIVE_LABEL}."
        )
    codes = texts.replace_strict(distinct.to_list(), list(range(len(distinct))), return_dtype=pl.Int64)
    index = each.of_rows(codes)
    return LabelTexts(index, tuple(distinct.to_list()), lambda at: place(int(np.argmax(index == at))))


def column_summaries(data: Dataset) -> tuple[ColumnSummary, ...]:
    """Return summaries of the columns of a table; () for images, rows without names and encoded rows alone.

    Validation and test samples that were provided are left out. Different numbers of large tables,
    which reading does not count, are counted here.
    """
    if not data.columns:
        return () if data.encoding is not None else _number_columns(data)
    encoding = data.encoding
    at = {} if encoding is None else {name: place for place, name in enumerate(encoding.number_names)}
    return tuple(
        replace(one, n_distinct=_n_distinct(_training_column(data, at[one.name]))) if one.n_distinct is None else one
        for one in data.columns
    )


def _number_columns(data: Dataset) -> tuple[ColumnSummary, ...]:
    """Return summaries of the columns of a table of numbers."""
    if data.is_images or not data.input_names:
        return ()
    summaries = []
    for at, name in enumerate(data.input_names):
        column = _training_column(data, at)
        n, values = _n_distinct(column), f"{column.min():g} to {column.max():g}"
        kind, use = ("number", "as it is") if n > 1 else ("constant", "ignored: it has one value")
        summaries.append(ColumnSummary(name, kind, 0, n, values, use))
    return tuple(summaries)


def _training_column(data: Dataset, at: int) -> NDArray[Any]:
    """Return the values of a column without those of provided validation and test samples."""
    column = np.asarray(data.inputs[:, at])
    return column if len(data.pool) == len(data) else column[data.pool]


def _n_distinct(column: NDArray[Any]) -> int:
    """Return how many different values of a column are not missing."""
    import polars as pl

    return pl.Series(column).fill_nan(None).drop_nulls().n_unique()
