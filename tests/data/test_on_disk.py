from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalknet.data import on_disk
from chalknet.data.on_disk import OnDiskArray, OnDiskSamples, OnDiskSplit
from chalknet.errors import DataError, ShapeError

VALUES = np.random.default_rng(0).integers(0, 256, (40, 3, 2), np.uint8)


def in_files(folder, values, cuts):
    """The same values in several files of raw bytes, each behind a few bytes of something else."""
    arrays = []
    for number, (start, stop) in enumerate(pairwise([0, *sorted(cuts), len(values)])):
        path = folder / f"{number}.raw"
        path.write_bytes(b"head" + values[start:stop].tobytes())
        arrays.append(OnDiskArray(path, 4, values[start:stop].shape, values.dtype))
    return OnDiskSamples(arrays)


@pytest.fixture
def samples(tmp_path):
    return in_files(tmp_path, VALUES, [7, 7, 30])  # one of the files holds none


@pytest.mark.parametrize(
    "key",
    [0, 39, slice(None), slice(5, 9), slice(2, 35), slice(30, 30), slice(38, 99), slice(0, 40, 3), [3], [39, 0, 7, 7]],
    ids=str,
)
def test_indexing_gives_what_an_array_would_give(samples, key):
    want = VALUES[key]
    assert (samples[key] == want).all()
    assert samples[key].shape == want.shape


def test_a_boolean_mask_selects_samples(samples):
    mask = np.arange(40) % 4 == 0
    assert (samples[mask] == VALUES[mask]).all()


def test_attributes_are_those_of_an_array(samples):
    assert (samples.shape, samples.dtype, samples.ndim, samples.size, len(samples)) == (
        (40, 3, 2),
        np.uint8,
        3,
        240,
        40,
    )
    assert (np.asarray(samples) == VALUES).all()
    assert (samples.min(), samples.max()) == (VALUES.min(), VALUES.max())


@pytest.mark.parametrize("key", [40, [0, 40], [-1], slice(0, 0), 1.5, "a", [[0, 1]]], ids=str)
def test_positions_out_of_range_are_refused(samples, key):
    if key == slice(0, 0):
        assert samples[key].shape == (0, 3, 2)
        return
    with pytest.raises((IndexError, ShapeError)):
        samples[key]


@given(positions=st.lists(st.integers(0, 39), max_size=30), block=st.integers(1, 50))
def test_positions_keep_their_order_for_any_block_size(tmp_path_factory, positions, block):
    samples = in_files(tmp_path_factory.mktemp("stored"), VALUES, [11])
    taken = np.array(positions, int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_disk, "READ_BYTES", block)
        assert (samples.take(taken) == VALUES[taken]).all()
        assert [start for start, _ in samples.blocks()] == list(range(0, 40, max(1, block // 6)))


def test_a_split_gives_rows_by_slice_and_by_position(samples):
    index = np.array([1, 2, 3, 8, 9, 20, 29, 30, 39])
    part, want = OnDiskSplit(samples, index, window=4), VALUES.reshape(40, 6)[index]
    assert (len(part), part.shape, part.size, part.dtype) == (9, (9, 6), 54, np.uint8)
    assert (part[2:7] == want[2:7]).all()
    for batch in ([0, 3], [3, 4], [8, 5, 6], [2, 7, 0]):
        assert (part[np.array(batch)] == want[batch]).all()


def test_batches_within_windows_read_each_sample_once(samples, monkeypatch):
    read = []
    monkeypatch.setattr(
        OnDiskSamples, "read", lambda self, a, b, real=OnDiskSamples.read: read.append(b - a) or real(self, a, b)
    )
    part = OnDiskSplit(samples, np.arange(40), window=10)
    for start in (10, 0, 30, 20):
        for half in (np.arange(5), np.arange(5, 10)):
            part[start + half[::-1]]
    assert sum(read) == 40


def test_a_file_that_was_truncated_is_reported(samples, tmp_path):
    (tmp_path / "2.raw").write_bytes(b"head")  # the files are numbered over the empty one too
    with pytest.raises(DataError, match=r"2\.raw: has become shorter since it was opened"):
        samples[:]
    (tmp_path / "2.raw").unlink()
    with pytest.raises(DataError, match=r"2\.raw: cannot be read any more: No such file"):
        samples[20]
