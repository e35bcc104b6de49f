"""Samples in .npy files stay on disk, or are refused."""

import re

import numpy as np
import pytest

from chalknet.data.load import load_data
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, DataError

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (60, 4, 5), np.uint8)
ROWS = RNG.normal(size=(60, 7)).astype(np.float32)
LABELS = np.arange(60) % 3


def saved(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name.replace('_', '-')}.npy", array)
    return folder


@pytest.mark.parametrize(
    ("samples", "names"), [(IMAGES, ("images", "labels")), (ROWS, ("X", "y")), (ROWS, ("data", "target"))]
)
def test_a_pair_stays_on_disk(tmp_path, samples, names):
    folder = saved(tmp_path / "set", **dict(zip(names, (samples, LABELS), strict=True)))
    for source in (folder, folder / f"{names[0]}.npy"):
        data = load_data(source)
        assert data.is_on_disk
        assert (data.inputs[:] == samples).all()
        assert (data.labels == LABELS).all()
        assert data.class_names == ("0", "1", "2")
        assert data.origin.source == str(source)
    assert not data.in_memory().is_on_disk
    assert (data.in_memory().inputs == samples).all()


@pytest.mark.parametrize("axis", [1, 3])
def test_gray_images_may_have_an_axis_of_one_channel(tmp_path, axis):
    data = load_data(saved(tmp_path / "set", images=np.expand_dims(IMAGES, axis), labels=LABELS))
    assert (data.inputs[:] == IMAGES).all()
    assert data.is_on_disk


def test_shards_follow_each_other_by_name(tmp_path):
    shards = {"images_b": IMAGES[20:], "labels_b": LABELS[20:], "images_a": IMAGES[:20], "labels_a": LABELS[:20]}
    data = load_data(saved(tmp_path / "set", **shards), class_names=["x", "y", "z"])
    assert (data.inputs[:] == IMAGES).all()
    assert (data.labels == LABELS).all()
    assert data.class_names == ("x", "y", "z")


def test_samples_in_runs_of_one_class_are_noted(tmp_path):
    data = load_data(saved(tmp_path / "set", images=IMAGES, labels=np.sort(LABELS)))
    assert data.notes[0].startswith("The samples lie in runs of one class (2 changes in 60 samples; 39 by chance).")
    shuffled = np.random.default_rng(0).permutation(LABELS)
    assert load_data(saved(tmp_path / "set", images=IMAGES, labels=shuffled)).notes == ()


def test_the_digest_is_of_names_and_bytes(tmp_path):
    one = load_data(saved(tmp_path / "one", images=IMAGES, labels=LABELS)).sha256
    assert one == load_data(saved(tmp_path / "two", images=IMAGES, labels=LABELS)).sha256
    assert one != load_data(saved(tmp_path / "one", images=IMAGES, labels=LABELS[::-1])).sha256


def test_splits_of_samples_on_disk_keep_the_order_of_the_files(tmp_path):
    data = load_data(saved(tmp_path / "set", images=IMAGES, labels=LABELS))
    for method in ("writeup", "random", "stratified"):
        stored = split_dataset(data, method, 40, 10)
        loaded = split_dataset(data.in_memory(), method, 40, 10)
        for part, index in stored.named().items():
            assert (np.diff(index) > 0).all()
            assert sorted(loaded.named()[part]) == index.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"images": IMAGES},
            r"images\.npy: is one NumPy array, without its labels beside it \(labels\.npy\)\. Expected ",
        ),
        (
            {"pictures": IMAGES},
            r"pictures\.npy: is one NumPy array, without its labels beside it\. Expected images\.npy ",
        ),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels\.npy: 9 labels for the 60 samples of images\.npy"),
        (
            {"images": IMAGES, "labels": LABELS / 2},
            r"labels\.npy: labels must be \(N,\) integers, got \(60,\) of f",
        ),
        ({"images": IMAGES.astype("i8"), "labels": LABELS}, r"must be uint8, float32, float64 .* got <i8\. Write"),
        ({"X": ROWS.astype(">f4"), "y": LABELS}, r"this machine's byte order, in C order; got >f4\. Write them again"),
        ({"X": np.asfortranarray(ROWS), "y": LABELS}, r"got <f4, in Fortran order\. Write them again"),
        ({"X": ROWS[0], "y": LABELS[:7]}, r"or \(N, I\) rows, got shape \(7,\)"),
        ({"X": np.where(ROWS > 2.2, np.nan, ROWS), "y": LABELS}, r"sample \d+ holds nan; every value must be finite"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"images\.npy: no samples\."),
        ({"images": IMAGES, "labels": LABELS - 1}, r"labels\[0\] is -1, but only"),
    ],
)
def test_invalid_arrays_are_refused_with_the_file(tmp_path, arrays, message):
    folder = saved(tmp_path / "set", **arrays)
    with pytest.raises(DataError, match=message):
        load_data(folder / f"{next(iter(arrays))}.npy")


@pytest.mark.parametrize(
    "samples", [IMAGES.astype("i8"), ROWS.astype(">f4"), ROWS.astype(np.float16), np.asfortranarray(IMAGES)]
)
def test_samples_saved_as_advised_are_read(tmp_path, samples):
    folder = saved(tmp_path / "set", X=samples, y=LABELS)
    with pytest.raises(DataError, match="Write them again") as caught:
        load_data(folder)
    dtype = re.search(r"ascontiguousarray\(\.\.\., '(\w+)'\)", str(caught.value))[1]
    saved(folder, X=np.ascontiguousarray(samples, dtype))
    assert len(load_data(folder)) == 60


def test_a_shard_that_is_missing_or_different_is_named(tmp_path):
    folder = saved(tmp_path / "set", images_a=IMAGES, labels_a=LABELS, images_b=IMAGES)
    with pytest.raises(DataError, match=r"set: a file is missing: labels-b\.npy\. Each samples file needs"):
        load_data(folder)
    saved(folder, images_b=IMAGES[:, 1:], labels_b=LABELS)
    with pytest.raises(
        DataError, match=r"images-b\.npy: samples must be like those of images-a\.npy, \(4, 5\) of uint8"
    ):
        load_data(folder)


def test_a_truncated_file_is_reported(tmp_path):
    folder = saved(tmp_path / "set", images=IMAGES, labels=LABELS)
    (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"its header promises 1328 bytes, and there are 1327\. Copy"):
        load_data(folder)


def test_pickles_are_never_opened(tmp_path):
    folder = saved(tmp_path / "set", images=IMAGES, labels=LABELS)
    np.save(folder / "labels.npy", np.array([{}] * 60), allow_pickle=True)
    with pytest.raises(DataError, match=r"labels\.npy: the array of labels is an object array: it holds pickles"):
        load_data(folder)
    np.save(folder / "images.npy", np.array([{}] * 60), allow_pickle=True)
    with pytest.raises(DataError, match="holds pickles, which chalknet never opens"):
        load_data(folder)


def test_settings_of_other_formats_are_refused(tmp_path):
    folder = saved(tmp_path / "set", images=IMAGES, labels=LABELS)
    with pytest.raises(ConfigError, match=r"image_size has no meaning for \.npy files"):
        load_data(folder, image_size=(2, 2))
