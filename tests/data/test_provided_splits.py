from pathlib import Path

import numpy as np
import pytest
from conftest import made_images
from PIL import Image

import chalknet
from chalknet.cli.main import main
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.provided_splits import with_provided_splits
from chalknet.data.readers.table import column_summaries
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, DataError

TRAIN, VALID, TEST = (made_images(n, seed=seed) for n, seed in ((60, 0), (20, 1), (30, 2)))


def test_each_split_is_the_provided_set():
    data = with_provided_splits(TRAIN, VALID, TEST)
    splits = split_dataset(data, "stratified", 60, 0.1, 0)
    for part, given in (("valid", VALID), ("test", TEST)):
        index = splits.named()[part]
        np.testing.assert_array_equal(data.inputs[index], given.inputs)
        np.testing.assert_array_equal(data.labels[index], given.labels)
    assert sorted(splits.train) == list(range(60))


def test_missing_splits_are_taken_from_the_training_set():
    splits = split_dataset(with_provided_splits(TRAIN, None, TEST), "random", 40, 20, 0)
    assert splits.sizes == {"train": 40, "valid": 20, "test": 30}
    splits = split_dataset(with_provided_splits(TRAIN, VALID), "random", 40, 20, 0)
    assert splits.sizes == {"train": 40, "valid": 20, "test": 20}
    assert splits.test.max() < 60


def test_without_provided_splits_the_data_are_unchanged():
    assert with_provided_splits(TRAIN) is TRAIN


@pytest.mark.parametrize(("n_rows", "texts"), [(100, "xy"), (100, "12"), (70_000, "xy")])
def test_summaries_of_columns_are_those_of_the_training_table(tmp_path, n_rows, texts):
    rows = [f"{i % 50}.5,{texts[i % 2]},{i % 3}" for i in range(n_rows)]
    (tmp_path / "train.csv").write_text("\n".join(["a,b,label", *rows]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(f"a,b,label\n1000,{texts[0]},0\n2000,{texts[1]},1\n", encoding="utf-8")
    train = chalknet.load_data(tmp_path / "train.csv")
    both = with_provided_splits(train, None, chalknet.load_data(tmp_path / "test.csv", like=train))
    assert column_summaries(both) == column_summaries(train)
    assert [(one.name, one.n_missing, one.n_distinct) for one in column_summaries(both)] == [("a", 0, 50), ("b", 0, 2)]


def test_encoded_rows_alone_have_no_summaries_of_columns(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,label\n1,x,0\n,y,1\n2,x,0\n", encoding="utf-8")
    again = chalknet.load_data(tmp_path / "t.csv", like=chalknet.load_data(tmp_path / "t.csv"))
    assert column_summaries(again) == ()


def leaks(*sets):
    return [note for note in with_provided_splits(*sets).notes if note.endswith("a leak.")]


def test_a_set_given_twice_is_noted_as_a_leak():
    assert leaks(TRAIN, VALID, TEST) == []
    assert leaks(TRAIN, TRAIN, None) == [
        "made.npz: the validation samples are the training samples. They were used for training: a leak."
    ]
    assert leaks(TRAIN, TEST, TEST) == [
        "made.npz: the test samples are the validation samples. They are used to choose the model: a leak."
    ]
    assert len(leaks(TRAIN, TRAIN, TRAIN)) == 3


def test_shared_samples_are_counted_across_labels_and_types():
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    labels = np.arange(30) % 2
    train = dataset_from_arrays(rows[:20], labels[:20], source="train.csv")
    valid = dataset_from_arrays(rows[15:25].astype(np.float64), 1 - labels[15:25], source="valid.csv")
    test = dataset_from_arrays(rows[24:], labels[24:], source="test.csv")
    assert leaks(train, valid, test) == [
        "valid.csv: 5 different samples are both in the validation and in the training set. "
        "They were used for training: a leak.",
        "test.csv: 1 sample is both in the test and in the validation set. They are used to choose the model: a leak.",
    ]


def test_a_command_with_a_file_twice_notes_the_leak(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("letters.npz", images=TRAIN.inputs, labels=TRAIN.labels)
    assert main(["train", "--data", "letters.npz", "--test", "./letters.npz", "--epochs", "1", "--hidden", "3"]) == 0
    assert "note: ./letters.npz: the test samples are the training samples." in capsys.readouterr().err


def test_classes_are_matched_by_name():
    train = dataset_from_arrays(np.eye(3), [0, 1, 2], ["b", "a", "c"])
    valid = dataset_from_arrays(np.eye(3), [0, 1, 0], ["a", "b", "zebra"])  # zebra is named and not used
    data = with_provided_splits(train, valid)
    assert data.class_names == ("b", "a", "c")
    assert data.labels[3:].tolist() == [1, 0, 1]


def test_provided_samples_share_no_group_with_training():
    train = dataset_from_arrays(np.eye(3), [0, 1, 1], ["a", "b"], groups=[4, 4, 7])
    data = with_provided_splits(train, dataset_from_arrays(np.eye(3), [0, 1, 0], ["a", "b"]))
    assert data.groups.tolist() == [4, 4, 7, 8, 9, 10]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dataset_from_arrays(np.zeros((3, 7)), [0, 1, 0]), r"samples are \(7,\), but those of made.npz are \(6, 5\)"),
        (
            dataset_from_arrays(np.zeros((3, 6, 5)), [0, 1, 0], ["A", "B"]),
            "values are float64, but those of",
        ),
        (
            dataset_from_arrays(TEST.inputs, np.arange(30) % 2, ["A", "Ä"]),
            "class .Ä. is not in made.npz",
        ),
    ],
)
def test_an_incompatible_set_is_named(other, message):
    with pytest.raises(DataError, match=message):
        with_provided_splits(TRAIN, other)


def test_a_second_test_set_is_refused():
    with pytest.raises(ConfigError, match=r"has a test set, and made.npz is another one"):
        with_provided_splits(with_provided_splits(TRAIN, None, TEST), None, TEST)


def test_training_uses_provided_splits():
    run = chalknet.train(TRAIN, valid=VALID, test=TEST, hidden=[4], epochs=1)
    assert run.splits.sizes == {"train": 60, "valid": 20, "test": 30}
    fewer = chalknet.train(TRAIN, "writeup", valid=VALID, test=TEST, hidden=[4], epochs=1, train_size=50)
    assert fewer.splits.sizes == {"train": 50, "valid": 20, "test": 30}


def table(path, *columns):
    lines = (f"{k % 7},{k % 5},{'xy'[k % 2]}" for k in range(40))
    Path(path).write_text("\n".join([",".join(columns), *lines]) + "\n")


@pytest.mark.parametrize("ensemble", [1, 2])
def test_columns_in_another_order_are_refused_everywhere(tmp_path, monkeypatch, ensemble):
    monkeypatch.chdir(tmp_path)
    table("train.csv", "height", "width", "label")
    table("turned.csv", "width", "height", "label")
    message = r"turned\.csv: value 1 of its rows is 'width', but that of {}'s is 'height'\. Bring"
    with pytest.raises(DataError, match=message.format(r"train\.csv")):
        chalknet.train("train.csv", valid="turned.csv", hidden=[3], epochs=1)
    chalknet.train("train.csv", hidden=[3], epochs=1, ensemble=ensemble, out="run")
    model = chalknet.load_model("run/model.safetensors")
    assert model.input_names == ("height", "width")
    with pytest.raises(DataError, match=message.format("the model")):
        chalknet.evaluate("run", "turned.csv")
    with pytest.raises(DataError, match=message.format("the model")):
        chalknet.predict("run", "turned.csv")
    Path("bare.csv").write_text("1,2\n3,4\n")
    assert len(chalknet.predict("run", "bare.csv")) == 2


def test_a_provided_split_may_have_a_single_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("a,label\n" + "".join(f"{k % 7},{'xyz'[k % 3]}\n" for k in range(30)))
    Path("y.csv").write_text("a,label\n1,y\n2,y\n")
    for number, letter in enumerate("AB"):
        for part in ("train", "of_b"):
            folder = Path(part, letter)
            if part == "train" or letter == "B":
                folder.mkdir(parents=True)
                for k in range(9):
                    Image.new("L", (5, 5), 10 * k + 100 * number).save(folder / f"{k}.png")
    for train, valid, label in (("train.csv", "y.csv", 1), ("train", "of_b", 1)):
        run = chalknet.train(train, valid=valid, hidden=[3], epochs=1, out=f"run-{train}")
        assert set(run.data.labels[run.splits.valid]) == {label}
        found = chalknet.evaluate(f"run-{train}", valid)
        assert len(found) == found.classes[label].samples == len(run.splits.valid)
        with pytest.raises(DataError, match="a classifier needs at least two"):
            chalknet.train(valid, hidden=[3], epochs=1)
