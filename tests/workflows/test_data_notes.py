"""Notes of a training on its data: missing classes, constant inputs, few validation samples."""

import numpy as np
import pytest

import chalknet
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.preprocess import Scaling
from chalknet.data.splits import Splits
from chalknet.errors import DataError
from chalknet.training.notes import scaling_notes, split_notes
from chalknet.workflows.data import describe

FAST = {"hidden": [6], "epochs": 3, "stop_early": False}
RNG = np.random.default_rng(0)


def rows_of(labels):
    return dataset_from_arrays(RNG.normal(size=(len(labels), 3)), labels)


def test_training_samples_of_one_class_are_an_error(tmp_path):
    data = rows_of(np.ones(60, int))
    with pytest.raises(
        DataError, match="all 48 training samples are of class '1', and a classifier needs samples of two"
    ):
        chalknet.train(data, out=tmp_path / "run", **FAST)
    assert not (tmp_path / "run").exists()
    labels = np.r_[np.zeros(50, int), np.ones(10, int)]
    splits = Splits(np.arange(50), np.arange(50, 55), np.arange(55, 60))
    with pytest.raises(DataError, match="all 50 training samples are of class '0'"):
        chalknet.train(rows_of(labels), splits=splits, **FAST)


def test_a_study_of_a_single_class_is_refused(tmp_path):
    with pytest.raises(DataError, match="training samples are of class '1'"):
        chalknet.study(rows_of(np.ones(60, int)), {"hidden": [3]}, out=tmp_path / "study", train_size=40, valid_size=10)
    assert not (tmp_path / "study").exists()


def test_a_study_warns_of_a_class_that_is_never_trained(tmp_path):
    data = rows_of(np.r_[np.arange(40) % 2, 2])
    settings = {"train_size": 30, "valid_size": 11, "split": "random", "seeds": 1, "epochs": 1, "jobs": 1}
    without = next(s for s in range(99) if 40 not in chalknet.split_dataset(data, "random", 30, 11, s).train)
    with pytest.warns(UserWarning, match="1 class has no training sample"):
        chalknet.study(data, {"hidden": [3]}, out=tmp_path / "s", split_seed=without, **settings)


def test_a_class_that_is_never_trained_is_a_warning_and_a_note():
    labels = np.r_[np.zeros(50, int), np.ones(50, int), 2, 2]
    splits = Splits(np.arange(80), np.arange(80, 100), np.arange(100, 102))
    with pytest.warns(
        UserWarning, match="1 class has no training sample, so the network never learns to predict it: '2'"
    ):
        run = chalknet.train(rows_of(labels), splits=splits, **FAST)
    assert any("1 class has no training sample" in note for note in run.notes)


def test_a_class_whose_samples_have_no_weight_is_never_trained():
    labels = np.arange(90) % 3
    weights = np.where(labels == 1, 0.0, 1.0)
    splits = Splits(np.arange(60), np.arange(60, 75), np.arange(75, 90))
    notes = split_notes(rows_of(labels), splits, chalknet.recipe("writeup"), weights)
    assert "1 class has no training sample" in notes[0]
    with pytest.raises(DataError, match="all 20 training samples are of class '0'"):
        split_notes(rows_of(labels), splits, chalknet.recipe("writeup"), np.where(labels == 0, 1.0, 0.0))


def test_a_class_name_without_any_sample_is_no_news():
    data = dataset_from_arrays(np.zeros((9, 2)), np.arange(9) % 2, ["a", "b", "c"])
    assert split_notes(data, Splits(np.arange(9), np.arange(0), np.arange(0)), chalknet.recipe("writeup")) == ()


def test_the_only_sample_of_a_class_trains():
    labels = np.r_[np.zeros(100, int), np.ones(100, int), 2 + np.arange(5)]
    assert chalknet.train(rows_of(labels), split_seed=3, **FAST).notes == (
        "samples are table rows and hidden is given, so recipe strong-rows is used.",
    )


def test_notes_of_a_single_sample_are_singular():
    settings = {"train_size": 10, "valid_size": 1, "hidden": [2], "epochs": 1}
    notes = chalknet.train(rows_of(np.arange(12) % 2), **settings).notes
    assert any(note.startswith("1 validation sample is too few to choose an epoch by") for note in notes)
    splits = Splits(np.arange(1), np.arange(0), np.arange(0))
    with pytest.raises(DataError, match="the only training sample is of class '0'"):
        split_notes(rows_of(np.arange(12) % 2), splits, chalknet.recipe("writeup"))


def test_few_validation_samples_turn_early_stopping_off(small_images):
    settings = {"hidden": [6], "epochs": 5, "patience": 1}
    run = chalknet.train(small_images, **settings)
    assert len(run.splits.valid) == 24
    assert len(run.history) == run.kept_epoch == 5
    assert run.notes[-1].startswith(
        "24 validation samples are too few to choose an epoch by, so training does not stop early, and the weights"
    )
    with pytest.warns(UserWarning, match="chooses the epoch by only 24 validation samples, too few"):
        chosen = chalknet.train(small_images, stop_early=True, **settings)
    assert len(chosen.history) < 5
    enough = chalknet.train(small_images, valid_size=200, train_size=40, **settings)
    assert enough.recipe.stopping.stop_early
    bag = chalknet.train(small_images, ensemble=2, folds=2, **settings)  # 216 samples of both folds
    assert bag.recipe.stopping.stop_early
    fewer = chalknet.train(small_images, ensemble=2, folds=2, train_size=150, **settings)
    assert not fewer.recipe.stopping.stop_early
    assert fewer.notes[-1].endswith("and the weights after the last epoch are kept.")


def test_a_note_says_how_to_train_on_few_validation_samples(small_images):
    advice = "To train on them too, use train_size=0.9 and valid_size=0."
    assert chalknet.train(small_images, hidden=[6], epochs=1).notes[-1].endswith(advice)
    all_of_them = chalknet.train(small_images, hidden=[6], epochs=1, train_size=0.9, valid_size=0)
    assert all_of_them.splits.sizes == {"train": 216, "valid": 0, "test": 24}
    assert all_of_them.notes[-1].startswith("there are no validation samples, so training does not stop early")
    given = chalknet.train(small_images, valid=small_images, hidden=[6], epochs=1)
    assert "To train on them too" not in given.notes[-1]  # 240 are enough


@pytest.mark.parametrize(
    ("settings", "advised"),
    [
        ({"train_size": 100, "valid_size": 0.1}, 124),
        ({"train_size": 0.8, "valid_size": 20}, 212),
        ({"train_size": 0.9, "valid_size": 0.1}, 240),  # 1 would be one sample
        ({"train_size": 0.7, "valid_size": 0.1}, 0.8),
    ],
)
def test_the_advised_size_counts_samples_and_fractions(small_images, settings, advised):
    run = chalknet.train(small_images, hidden=[6], epochs=1, **settings)
    assert run.notes[-1].endswith(f"use train_size={advised} and valid_size=0.")
    again = chalknet.train(small_images, hidden=[6], epochs=1, train_size=advised, valid_size=0)
    sizes = run.splits.sizes
    assert again.splits.sizes == {"train": sizes["train"] + sizes["valid"], "valid": 0, "test": sizes["test"]}


def test_the_advised_size_with_a_given_test_set_is_a_count(small_images):
    run = chalknet.train(small_images, test=small_images, hidden=[6], epochs=1)
    assert run.notes[-1].endswith("use train_size=240 and valid_size=0.")


def test_an_input_that_never_varied_is_named_and_never_counts():
    rows = RNG.normal(size=(200, 3))
    rows[:, 1] = 5.0
    data = dataset_from_arrays(rows, (rows[:, 0] > 0).astype(int))
    run = chalknet.train(data, **FAST)
    assert run.notes[-1] == "1 input that never varied in training is ignored: 2."
    changed = rows.copy()
    changed[:, 1] = -400.0
    assert (run.network.predict_proba(changed) == run.network.predict_proba(rows)).all()


def test_inputs_that_never_varied_are_named_as_their_columns_are():
    scaling = Scaling(np.array([1e30, 2.0, 1e30]), np.zeros(3))
    named = dataset_from_arrays(np.zeros((4, 3)), [0, 1, 0, 1])
    object.__setattr__(named, "input_names", ("age", "height", "city"))
    assert scaling_notes(scaling, named) == ("2 inputs that never varied in training are ignored: 'age', 'city'.",)


@pytest.mark.parametrize(
    ("kind", "factor", "divisor"),
    [("float32", 1, "255"), ("float64", 1, "255"), ("uint16", 257, "65535"), ("float32", 1 / 255, "")],
)
def test_images_of_any_range_are_trained_as_bytes_are(kind, factor, divisor, small_images):
    settings = {"recipe": "writeup", "hidden": [6], "epochs": 3, "train_size": 160, "valid_size": 40}
    images, labels = small_images.inputs.copy(), small_images.labels
    images[:, 0, 0] = 255  # so that the largest training value is that of white
    want = chalknet.train(dataset_from_arrays(images, labels), **settings)
    run = chalknet.train(dataset_from_arrays((images * np.float64(factor)).astype(kind), labels), **settings)
    np.testing.assert_allclose(run.history[-1].valid.loss, want.history[-1].valid.loss, rtol=1e-5)
    assert [f"divided by {divisor}." in note for note in run.notes] == [True] * bool(divisor)


def test_images_of_zeros_and_ones_are_told_to_be_nearly_black(small_images):
    images = small_images.inputs > 128
    settings = {"recipe": "writeup", "hidden": [4], "epochs": 1, "train_size": 160, "valid_size": 40}
    run = chalknet.train(dataset_from_arrays(images, small_images.labels), **settings)
    assert run.notes[-1].startswith("no pixel is larger than 1, but all are divided by 255")
    scaled = chalknet.train(dataset_from_arrays(images, small_images.labels), input_scaling="standard", **settings)
    assert not any("no pixel" in note for note in scaled.notes)


def test_standardized_images_are_left_as_they_are(small_images):
    images = (small_images.inputs - 120.0) / 80.0
    run = chalknet.train(
        dataset_from_arrays(images, small_images.labels), "writeup", train_size=160, valid_size=40, epochs=1
    )
    assert run.network.scaling.scale == 1.0


@pytest.mark.parametrize("shape", [(240, 6, 5, 1), (240, 1, 6, 5)])
@pytest.mark.parametrize("kind", ["uint8", "int64", "float32"])
def test_the_axis_of_one_channel_is_dropped_with_a_note(shape, kind, small_images):
    images = small_images.inputs.reshape(shape).astype(kind)
    data = dataset_from_arrays(images, small_images.labels)
    assert (data.inputs == small_images.inputs).all()
    assert data.notes == (f"images {shape} have one channel, so they are read as gray images.",)
    run = chalknet.train(data, "writeup", hidden=[4], epochs=1, train_size=160, valid_size=40)
    assert (run.network.predict_proba(images) == run.network.predict_proba(data.inputs)).all()


@pytest.mark.parametrize(
    ("labels", "asks"),
    [
        ([str(at % 51) for at in range(1019)], True),
        ([str(at % 51) for at in range(1020)], False),
        ([str(at % 50) for at in range(500)], False),
        ([f"kind {at % 51}" for at in range(500)], False),
    ],
    ids=["51 numbers, 19.98 rows each", "20 rows each", "50 numbers", "texts"],
)
def test_labels_that_may_be_amounts_get_a_question(tmp_path, labels, asks):
    rows = {"a": [str(at % 7) for at in range(len(labels))], "c": ["uv"[at % 2] for at in range(len(labels))]}
    for names in ("a", "ac"):
        lines = [",".join([*names, "price"]), *map(",".join, zip(*(rows[name] for name in names), labels, strict=True))]
        (tmp_path / "t.csv").write_text("\n".join(lines))
        data = chalknet.load_data(tmp_path / "t.csv", label_column="price")
        assert [note[:40] for note in data.notes if "regression" in note] == [
            "Column 'price' holds 51 different number"
        ] * asks
        assert describe(data).notes == data.notes
    if labels[0] == "0":
        data = chalknet.dataset_from_arrays(RNG.normal(size=(len(labels), 2)), np.array(labels, int))
        assert any(note.startswith("The labels are 51 different numbers") for note in data.notes) == asks
