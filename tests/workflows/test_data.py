"""`chalknet data`: facts, splits, and conversions that read back the same."""

from pathlib import Path

import numpy as np
import pytest

from chalknet import train
from chalknet.data.audit import audit
from chalknet.data.dataset import Dataset, dataset_from_arrays
from chalknet.data.load import load_data
from chalknet.errors import ConfigError, DataError, OutputError
from chalknet.workflows import data as workflow
from chalknet.workflows.data import convert, describe, infer_kind, split_like_training, write_pair_sheet

NAMES = ("A", "B", "C")


def make_images(n: int = 30, names=NAMES, **more) -> Dataset:
    rng = np.random.default_rng(0)
    return dataset_from_arrays(
        rng.integers(0, 256, (n, 9, 8)).astype(np.uint8), np.arange(n) % len(names), names, source="made", **more
    )


def make_rows(dtype) -> Dataset:
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(dtype)
    return dataset_from_arrays(rows, np.arange(20) % 3, ("x", "y z", 'q"uoted, one'))


def contents(data: Dataset) -> list[tuple[bytes, str]]:
    """Return samples as values and class name, in order."""
    return [
        (x.astype(np.float64).tobytes(), data.class_names[y]) for x, y in zip(data.inputs, data.labels, strict=True)
    ]


# ---- facts and splits -----------------------------------------------------------------------------------------------


def test_facts_of_a_data_set_are_its_own():
    facts = describe(make_images(groups=np.arange(30) // 5, provided_test=np.arange(25, 30)))
    assert (facts.n_samples, facts.shape, facts.dtype, facts.is_images) == (30, (9, 8), "uint8", True)
    assert facts.class_counts == {"A": 10, "B": 10, "C": 10}
    assert (facts.n_groups, facts.n_provided_test) == (6, 5)
    assert facts.value_range == (0.0, 255.0)


def test_the_built_in_letters_list_their_licenses():
    facts = describe(load_data("glyphs"))
    assert sum(facts.licenses.values()) == facts.n_samples
    texts = {path.stem for path in Path(facts.license_texts).iterdir()}
    assert set(facts.licenses) <= texts


@pytest.mark.parametrize("asked", [{}, {"recipe": "writeup", "train_size": 60, "valid_size": 20}, {"split": "group"}])
@pytest.mark.parametrize("shape", [(100, 4, 4), (100, 5)])
def test_data_are_split_as_in_training(asked, shape):
    inputs = np.arange(np.prod(shape)).reshape(shape) % 7
    data = dataset_from_arrays(inputs, np.arange(100) % 3, groups=np.arange(100) % 9)
    settings = dict(asked)
    ours, splits = split_like_training(data, settings.pop("recipe", "strong"), **settings)
    run = train(data, epochs=1, hidden=[2], **asked)
    assert run.recipe.split == ours.split
    for part, index in splits.named().items():
        assert np.array_equal(run.splits.named()[part], index)


def test_an_audit_under_a_split_finds_the_copy_across_it():
    data = make_images()
    _, splits = split_like_training(data, train_size=0.6, valid_size=0.2, split_seed=1)
    of_class = [next(i for i in part if data.labels[i] == 0) for part in (splits.train, splits.test)]
    data.inputs[of_class[1]] = data.inputs[of_class[0]]
    result = audit(data, splits)
    assert result.check("test_copies_in_train").samples == (of_class[1],)


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_the_sheet_of_pairs_shows_each_sample_once(tmp_path):
    data = make_images()
    path = tmp_path / "pairs.png"
    assert write_pair_sheet(data, audit(data), path) == 0
    assert not path.exists()
    data.inputs[:] = data.inputs[0]
    result = audit(data)
    n_pairs = write_pair_sheet(data, result, path)
    pairs = workflow._distinct_pairs(result.worst)[:n_pairs]
    samples = [sample for pair in pairs for sample in pair.samples]
    assert 0 < len(samples) == len(set(samples))
    assert path.read_bytes().startswith(b"\x89PNG")


# ---- conversion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npz", "idx", "folder", "csv", "npy", "shards"])
def test_images_read_back_equal_from_every_format(tmp_path, kind):
    data = make_images()
    done = convert(data, tmp_path / "out", kind)
    back = load_data(tmp_path / "out", **done.read_with)
    assert back.class_names == NAMES
    assert back.inputs.dtype == np.uint8
    assert sorted(contents(back)) == sorted(contents(data))
    assert (contents(back) == contents(data)) == ("order" not in done.lost)
    assert done.lost == (("order",) if kind == "folder" else ())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["npz", "idx", "csv"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_floats_read_back_to_the_last_digit(tmp_path, kind, dtype):
    data = make_rows(dtype)
    done = convert(data, tmp_path / "out", kind)
    back = load_data(tmp_path / "out", **done.read_with)
    assert contents(back) == contents(data)
    assert done.lost == (("dtype",) if kind == "csv" and dtype == np.float32 else ())


@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_the_sources_test_set_stays_its_test_set(tmp_path, kind):
    data = make_images(provided_test=np.arange(20, 30))
    done = convert(data, tmp_path / "out", kind)
    back = load_data(tmp_path / "out", **done.read_with)
    assert np.array_equal(back.provided_test, data.provided_test)
    assert contents(back) == contents(data)
    assert done.lost == ()


def test_groups_follow_their_samples_into_an_npz(tmp_path):
    data = make_images(groups=np.arange(30), provided_test=np.arange(10, 15))
    done = convert(data, tmp_path / "out.npz")
    back = load_data(tmp_path / "out.npz")
    assert [contents(data)[g] for g in back.groups] == contents(back)
    assert sorted(back.groups[back.provided_test]) == list(range(10, 15))
    assert done.lost == ("order",)


def test_what_a_format_cannot_hold_is_named(tmp_path):
    data = make_images(groups=np.arange(30), provided_test=np.arange(25, 30))
    assert convert(data, tmp_path / "a", "folder").lost == ("order", "groups", "provided_test")
    assert convert(data, tmp_path / "b.csv").lost == ("groups", "provided_test")
    assert convert(data, tmp_path / "c", "idx").lost == ("groups",)


def test_a_csv_of_images_says_how_to_read_their_shape(tmp_path):
    assert convert(make_images(), tmp_path / "a.csv").read_with == {"image_size": (9, 8)}


def test_equal_data_gives_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz", "a.csv", "b.csv"):
        convert(make_images(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(("name", "kind"), [("a.npz", "npz"), ("a.CSV", "csv"), ("letters", "folder")])
def test_the_format_follows_from_the_name(tmp_path, name, kind):
    assert infer_kind(tmp_path / name) == kind


@pytest.mark.parametrize("names", [("a/b", "c"), ("..", "c"), (".hidden", "c"), ("what?", "c"), ("", "c")])
def test_class_names_that_cannot_name_a_folder_are_refused(tmp_path, names):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="cannot name a folder"):
        convert(make_images(names=names), tmp_path / "in" / "out", "folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (make_rows(np.float64), "folder", "PNG files hold uint8 images"),
        (
            make_images(names=("A", "B")).__class__(**{**make_images().__dict__, "class_names": (*NAMES, "D")}),
            "folder",
            "no samples",
        ),
        (make_images(names=("1.5", "2.5")), "csv", "cannot hold this data"),
        (make_images(names=(" a", "b")), "csv", "cannot hold this data"),
        (make_images(), "parquet", "format must be one of npz, idx, folder, csv, npy, shards"),
    ],
)
def test_data_that_a_format_cannot_hold_is_refused(tmp_path, data, kind, message):
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        convert(data, tmp_path / "out", kind)
    assert list(tmp_path.iterdir()) == []
    assert ".out." not in str(caught.value)  # no temporary name in the message


def test_what_exists_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        convert(make_images(), path)
    assert path.read_text() == "mine"
    convert(make_images(), path, overwrite=True)
    assert len(load_data(path)) == 30


def test_a_folder_is_replaced_only_if_it_holds_nothing_else(tmp_path):
    path = tmp_path / "letters"
    convert(make_images(30), path)
    convert(make_images(12), path, overwrite=True)
    assert len(load_data(path)) == 12
    (path / "A" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds A/thesis.txt"):
        convert(make_images(30), path, overwrite=True)
    assert (path / "A" / "thesis.txt").read_text() == "mine"


def test_a_failed_conversion_leaves_the_old_output_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "letters"
    convert(make_images(12), path)

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workflow, "_sync", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        convert(make_images(30), path, overwrite=True)
    assert len(load_data(path)) == 12
    assert [entry.name for entry in tmp_path.iterdir()] == ["letters"]


@pytest.mark.parametrize("name", ["missing/out.npz", "file/out.npz"])
def test_an_output_place_that_cannot_be_is_an_output_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        convert(make_images(), tmp_path / name)


@pytest.mark.parametrize("at", [0, 1])
def test_a_conversion_stopped_between_renames_loses_nothing(tmp_path, monkeypatch, at):
    old, new = make_images(), make_images(12)
    convert(old, tmp_path / "out", "folder")
    rename, calls = Path.rename, []

    def stopped(path, target):
        calls.append(path)
        if len(calls) == at + 1:
            if at:  # Ctrl-C behind the rename
                rename(path, target)
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        convert(new, tmp_path / "out", "folder", overwrite=True)
    monkeypatch.undo()
    assert len(load_data(tmp_path / "out")) == (len(new) if at else len(old))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_moved_aside_by_a_killed_conversion_is_restored(tmp_path):
    convert(make_images(), tmp_path / "out", "folder")
    (tmp_path / "out").rename(tmp_path / f".out{workflow.OLD_SUFFIX}")
    with pytest.raises(OutputError, match="already exists"):
        convert(make_images(12), tmp_path / "out", "folder")
    assert len(load_data(tmp_path / "out")) == 30
