"""Read which samples each run of a model classifies correctly from a CSV file.

    sample,label,seed 0,seed 1          sample,seed 0,seed 1
    a.png,cat,cat,dog                   a.png,1,0
    b.png,dog,dog,dog                   b.png,1,1

Each row is a sample and each column a run of the model. With a column of labels, the cells are predicted classes.
Without it they are 1 or "true" for a correct prediction and 0 or "false" for a wrong one, or scores in [0, 1].
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import DataError
from chalknet.files import read_bytes, reading
from chalknet.formatting import count_of, quoted
from chalknet.studies.correctness import FloatArray

MAX_BYTES = 2**28  # of a file
LABEL_NAMES = ("label", "class", "target", "y")  # of a column with the true classes
ID_NAMES = ("sample", "id", "index", "")  # of a column that names the samples; pandas writes an index without a name
DELIMITERS = ",;\t"
WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, eq=False)
class CorrectnessFile:
    """Which samples each run of a model classifies correctly, as a file has it.

    Attributes:
        source: the file.
        correct: (S, M) float64 in [0, 1]; row s is the run of column s, column m a sample.
        runs: S names of columns.
        samples: M names of the samples; () if the file does not name them.
        labels: M true classes; () if the file does not have them.
    """

    source: str
    correct: FloatArray
    runs: tuple[str, ...]
    samples: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def read_correctness_files(
    paths: Sequence[str | Path], *, id_column: str | None = None, label_column: str | None = None
) -> tuple[CorrectnessFile, ...]:
    """Read a file for each model, with the samples of all files in the order of the first one.

    Args:
        paths: CSV files, one for each model.
        id_column: name of the column that names the samples; by default "sample", "id", "index" or a column without
            name, if there is one.
        label_column: name of the column of true classes; by default "label", "class", "target" or "y", if there is one.

    Raises:
        DataError: a file cannot be read; or the files do not have the same samples or labels. The message names file
            and line.
    """
    first, *others = [_read(str(path), id_column, label_column) for path in paths]
    return (first, *(_aligned(other, first) for other in others))


def _read(source: str, id_column: str | None, label_column: str | None) -> CorrectnessFile:
    """Read one file."""
    with reading(source):
        text = read_bytes(source, MAX_BYTES).decode("utf-8-sig")
    start = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=start.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        raise DataError(f"{source}: is not a CSV file ({error}).") from error
    if len(rows) < 2:
        raise DataError(f"{source}: expected a line of column names and a line for each sample, got {len(rows)} lines.")
    names = [name.strip() for name in rows[0]]
    at_id, at_label = _find(names, id_column, ID_NAMES, source), _find(names, label_column, LABEL_NAMES, source)
    runs = [at for at in range(len(names)) if at not in (at_id, at_label)]
    if not runs:
        raise DataError(f"{source}: expected a column for each run of the model, got the columns {quoted(names)}.")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(f"{source}: line {number} has {len(row)} columns, but the first line has {len(names)}.")
    columns = list(zip(*rows[1:], strict=True))
    labels = () if at_label is None else tuple(_plain(cell) for cell in columns[at_label])
    if not labels and not _is_counted(names) and all(_value(name) is not None for name in names):
        raise DataError(
            f"{source}: the first line must name the columns, such as 'seed 0,seed 1', got {quoted(names)}."
        )
    correct = np.array([_correct(columns[at], labels, f"{source}: column {names[at]!r}") for at in runs])
    samples = () if at_id is None else tuple(cell.strip() for cell in columns[at_id])
    if len(set(samples)) < len(samples):
        twice = next(name for at, name in enumerate(samples) if name in samples[:at])
        raise DataError(f"{source}: sample {twice!r} is there twice. Each sample needs one row.")
    return CorrectnessFile(source, correct, tuple(names[at] for at in runs), samples, labels)


def _find(names: Sequence[str], given: str | None, usual: Sequence[str], source: str) -> int | None:
    """Return the position of a column, None if none has a usual name."""
    folded = [name.casefold() for name in names]
    if given is not None and given not in names:
        raise DataError(f"{source}: no column is named {given!r}; the columns are {quoted(names)}.")
    return (
        names.index(given) if given is not None else next((folded.index(one) for one in usual if one in folded), None)
    )


def _is_counted(names: Sequence[str]) -> bool:
    """Return whether columns are named 0, 1, 2, ..., as pandas names them."""
    return list(names) == [str(at) for at in range(len(names))]


def _correct(cells: Sequence[str], labels: Sequence[str], where: str) -> NDArray[np.float64]:
    """Return whether each prediction of a run is correct, (M,)."""
    if labels:
        return np.array([_plain(cell) == label for cell, label in zip(cells, labels, strict=True)], dtype=np.float64)
    values = [_value(cell) for cell in cells]
    if None in values:
        at = values.index(None)
        raise DataError(
            f"{where}, line {at + 2}: expected 1 (correct), 0 (wrong) or a score in [0, 1], got {cells[at][:40]!r}. If "
            "the cells are predicted classes, add a column 'label' with the true classes."
        )
    return np.array(values, dtype=np.float64)


def _value(cell: str) -> float | None:
    """Return a cell as a number in [0, 1]; None for anything else."""
    text = cell.strip().casefold()
    try:
        value = WORDS[text] if text in WORDS else float(text)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def _plain(cell: str) -> str:
    """Return a class as text; a number without decimals is a whole number, such as "3" for "3.0"."""
    text = cell.strip()
    whole, point, decimals = text.partition(".")
    return whole if point and whole.lstrip("-").isdigit() and not decimals.strip("0") else text


def _aligned(other: CorrectnessFile, first: CorrectnessFile) -> CorrectnessFile:
    """Return a file with its samples in the order of the first one."""
    both = f"{first.source} and {other.source}"
    if bool(first.samples) != bool(other.samples):
        named, unnamed = (first, other) if first.samples else (other, first)
        raise DataError(
            f"{named.source} names its samples, but {unnamed.source} does not. Add a column 'sample', or leave it out "
            "of both."
        )
    n_first, n_other = first.correct.shape[1], other.correct.shape[1]
    if n_first != n_other:
        raise DataError(
            f"{both}: all files must have the same samples, got {n_first:,} and {count_of(n_other, 'sample')}."
        )
    if first.samples:
        place = {name: at for at, name in enumerate(other.samples)}
        missing = next((name for name in first.samples if name not in place), None)
        if missing is not None:
            raise DataError(f"{other.source}: has no sample {missing!r}, which {first.source} has.")
        order = [place[name] for name in first.samples]
        labels = tuple(other.labels[at] for at in order) if other.labels else ()
        other = replace(other, correct=other.correct[:, order], samples=first.samples, labels=labels)
    if first.labels and other.labels:
        for at, (one, another) in enumerate(zip(first.labels, other.labels, strict=True)):
            if one != another:
                name = f"sample {first.samples[at]!r}" if first.samples else f"line {at + 2}"
                raise DataError(
                    f"{both}: the label of {name} is {one!r} in one and {another!r} in the other. All files must have "
                    "the same samples in the same order."
                )
    return other
