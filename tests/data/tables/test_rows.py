"""The rows of large tables, which are computed when they are read."""

import tracemalloc

import numpy as np
import polars as pl
import pytest

import chalknet
from chalknet.data.audit import audit
from chalknet.data.dataset import arrays_sha256, sample_digests
from chalknet.data.preprocess import fit_scaling
from chalknet.data.readers import table
from chalknet.data.readers.table import column_summaries
from chalknet.data.tables.rows import TableRows
from chalknet.errors import ShapeError

N = 900


def mixed(n=N, seed=0):
    """Return a table with every kind of column, and missing values."""
    rng = np.random.default_rng(seed)
    gaps = [None, *range(9)]
    days = (np.datetime64("2020-01-01") + rng.integers(0, 900, n)).astype(str)
    return pl.DataFrame(
        {
            "number": rng.normal(size=n),
            "gaps": pl.Series([gaps[at] for at in rng.integers(0, 10, n)]),
            "day": [str(day) if at % 7 else None for at, day in enumerate(days)],
            "kind": [f"k{at}" for at in rng.integers(0, 4, n)],
            "gap kind": [None if at == 5 else f"k{at}" for at in rng.integers(0, 6, n)],
            "truth": rng.random(n) < 0.5,
            "label": [f"c{at}" for at in rng.integers(0, 3, n)],
        }
    )


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Return the same table as an array and as rows."""
    mixed().write_csv(tmp_path / "t.csv")
    dense = chalknet.load_data(tmp_path / "t.csv")
    monkeypatch.setattr(table, "MAX_DENSE_BYTES", 0)
    compact = chalknet.load_data(tmp_path / "t.csv")
    assert isinstance(compact.inputs, TableRows)
    return dense, compact


@pytest.mark.parametrize(
    "key", [slice(None), slice(5, 700, 3), np.array([7, 3, 3, -1]), np.arange(N) % 2 == 0, 4, -2, (slice(None), 9)]
)
def test_rows_are_indexed_like_an_array(both, key):
    dense, compact = both
    assert np.array_equal(compact.inputs[key], dense.inputs[key], equal_nan=True)
    assert (compact.inputs.shape, compact.inputs.dtype) == (dense.inputs.shape, dense.inputs.dtype)


def test_every_column_of_rows_is_that_of_the_array(both):
    dense, compact = both
    every = np.arange(N)[::-1]
    for at in range(dense.n_inputs):
        assert np.array_equal(compact.inputs[every, at], dense.inputs[every, at], equal_nan=True)


def test_rows_refuse_other_keys(both):
    with pytest.raises(ShapeError, match="by number, slice or"):
        both[1].inputs[np.zeros((2, 2), int)]


def test_digests_and_filled_values_are_those_of_the_array(both):
    dense, compact = both
    assert arrays_sha256(compact.inputs) == arrays_sha256(dense.inputs)
    assert list(sample_digests(compact.inputs)) == list(sample_digests(dense.inputs))
    assert np.array_equal(compact.without_missing().inputs[:], dense.without_missing().inputs)
    assert np.array_equal(compact.in_memory().inputs, dense.inputs, equal_nan=True)
    assert column_summaries(compact) == column_summaries(dense)


def test_the_scaling_of_rows_is_that_of_the_array(both):
    train = np.arange(0, N, 2)
    a, b = (fit_scaling("standard", one.inputs, train, False, may_be_missing=True) for one in both)
    assert np.array_equal(a.scale, b.scale)
    assert np.array_equal(a.shift, b.shift)
    n = both[1].inputs.n_numbers
    assert np.array_equal(a.fill[:n], b.fill[:n])


def test_the_audit_of_rows_is_that_of_the_array(both):
    dense, compact = both
    assert audit(compact, near=0.1) == audit(dense, near=0.1)


def test_the_audit_of_rows_takes_little_memory(monkeypatch):
    monkeypatch.setattr(table, "MAX_DENSE_BYTES", 0)
    n = 16_384
    kinds = pl.DataFrame({"kind": [f"k{at % 250}" for at in range(n)], "label": ["a", "b"] * (n // 2)})
    data = chalknet.load_data(kinds)
    tracemalloc.start()
    try:
        found = audit(data, near=0)
        assert tracemalloc.get_traced_memory()[1] < data.inputs.nbytes / 3
    finally:
        tracemalloc.stop()
    assert found.check("copies").count == n


def test_rows_train_the_same_network(both):
    a, b = (chalknet.train(one, epochs=2, hidden=[8], stop_early=False) for one in both)
    assert [one.train for one in a.history] == [one.train for one in b.history]
    assert [one.valid for one in a.history] == [one.valid for one in b.history]


def test_provided_rows_are_joined_with_those_for_training(tmp_path, monkeypatch):
    mixed().write_csv(tmp_path / "t.csv")
    mixed(50, seed=1).write_csv(tmp_path / "v.csv")
    dense = chalknet.load_data(tmp_path / "t.csv")
    valid = chalknet.load_data(tmp_path / "v.csv", like=dense)
    monkeypatch.setattr(table, "MAX_DENSE_BYTES", 0)
    joined = chalknet.data.provided_splits.with_provided_splits(chalknet.load_data(tmp_path / "t.csv"), valid)
    assert isinstance(joined.inputs, TableRows)
    assert np.array_equal(joined.inputs[:], np.concatenate([dense.inputs, valid.inputs]), equal_nan=True)


def test_columns_of_many_rows_are_prepared_alike(tmp_path):
    # Threads share the columns of so many rows, and different numbers are counted only when they are asked for.
    many, few = mixed(70_000), mixed(70_000).head(60_000)
    many.write_csv(tmp_path / "many.csv")
    few.write_csv(tmp_path / "few.csv")
    a, b = (chalknet.load_data(tmp_path / name) for name in ("many.csv", "few.csv"))
    assert a.encoding == b.encoding
    assert np.array_equal(a.inputs[:60_000], b.inputs, equal_nan=True)
    assert a.columns[0].n_distinct is None
    assert column_summaries(a)[0].n_distinct == 70_000
