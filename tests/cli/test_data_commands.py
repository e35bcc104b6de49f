"""The commands `chalknet data info`, `show`, `audit` and `convert`."""

import json

import numpy as np
import pytest

from chalknet.artifacts.dataset_files import WRITERS
from chalknet.cli.main import main
from chalknet.data.audit import audit
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data


def write_letters(path, *, faults: bool) -> str:
    """Write 100 images of noise in four classes, or with faults: copies, a pair with two labels, a blank image."""
    images = np.random.default_rng(0).integers(0, 256, (100, 9, 9)).astype(np.uint8)
    labels = np.arange(100) % 4
    if faults:
        images[1::2] = images[0::2]
        labels[1::2] = labels[0::2]
        images[7], images[50] = images[0], 255
        labels[7] = 3
    data = dataset_from_arrays(images, labels, "ABCD")
    ((_, content),) = WRITERS["npz"](data)
    path.write_bytes(content)
    return str(path)


@pytest.fixture
def clean(tmp_path):
    return write_letters(tmp_path / "clean.npz", faults=False)


@pytest.fixture
def faulty(tmp_path):
    return write_letters(tmp_path / "faulty.npz", faults=True)


# ---- info -----------------------------------------------------------------------------------------------------------


def test_info_prints_one_fact_per_line(clean, capsys):
    assert main(["data", "info", clean]) == 0
    out = capsys.readouterr().out
    assert "samples        100 images of 9 x 9 uint8 values\n" in out
    assert "class          C: 25\n" in out
    assert f"sha256         {load_data(clean).sha256}\n" in out


def test_info_json_holds_the_same_facts(clean, capsys):
    assert main(["data", "info", clean, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_samples"], facts["shape"], facts["class_counts"]["A"]) == (100, [9, 9], 25)


def test_info_of_the_built_in_letters_names_their_licenses(capsys):
    assert main(["data", "info", "glyphs"]) == 0
    out = capsys.readouterr().out
    assert "license        OFL-1.1: " in out
    assert "license texts  " in out


def test_info_reads_a_table_with_the_given_flags(tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("a,b,c,d,kind\n1,2,3,4,x\n5,6,7,8,y\n")
    assert main(["data", "info", str(table), "--label-column", "kind", "--image-size", "2x2"]) == 0
    assert "2 images of 2 x 2" in capsys.readouterr().out


# ---- audit ----------------------------------------------------------------------------------------------------------


def test_audit_of_clean_data_exits_0_even_when_strict(clean, capsys):
    assert main(["data", "audit", clean, "--strict"]) == 0
    assert "no problems found" in capsys.readouterr().out


def test_audit_prints_findings_and_exits_0_or_3_when_strict(faulty, capsys):
    assert main(["data", "audit", faulty]) == 0
    out = capsys.readouterr().out
    found = [line for line in out.splitlines() if line.startswith("FOUND")]
    for words in (
        "test samples with a copy in train",
        "identical samples with different labels",
        "images of a single gray value",
        "test accuracy is too high by at most",
    ):
        assert any(words in line for line in found), words
    assert main(["data", "audit", faulty, "--strict"]) == 3


def test_audit_prints_how_the_data_are_split(clean, capsys):
    main(["data", "audit", clean])
    first = capsys.readouterr().out.splitlines()[0]
    assert "split by recipe images (stratified, seed 0): train 80, valid 10, test 10" in first
    main(["data", "audit", clean, "--recipe", "writeup", "--train", "50", "--valid", "20"])
    assert "recipe writeup (writeup, seed 521): train 50, valid 20, test 30" in capsys.readouterr().out


def test_audit_says_that_training_divides_the_rows_into_folds(tmp_path, capsys):
    rows = "".join(f"{at % 2},{at * 37 % 101},{at % 7}\n" for at in range(100))
    (tmp_path / "t.csv").write_text("label,a,b\n" + rows)
    main(["data", "audit", str(tmp_path / "t.csv")])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("train 80, valid 10, test 10; training divides train and valid into 5 folds")


def test_audit_json_is_the_audit_with_its_split(faulty, capsys):
    assert main(["data", "audit", faulty, "--json", "--split", "stratified", "--train", "60", "--valid", "0.2"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["split"]["sizes"] == {"train": 60, "valid": 20, "test": 20}
    assert {check["code"] for check in out["checks"] if check["found"]} >= {"copies", "blank"}


def test_every_check_has_a_description():
    from chalknet.reporting.audit_text import CHECK_TEXTS, describe_check

    images = np.zeros((40, 3, 3), dtype=np.uint8)
    data = dataset_from_arrays(images, np.arange(40) % 2, "AB", np.zeros(40, dtype=int))
    rows = dataset_from_arrays(np.zeros((40, 3)), np.arange(40) % 2)
    from chalknet.workflows.data import split_like_training

    for check in (check for one in (data, rows) for check in audit(one, split_like_training(one)[1]).checks):
        what, cost = describe_check(check)
        assert what != check.code
        assert "{" not in what + cost
    assert len(CHECK_TEXTS) == 15


def test_audit_draws_the_worst_pairs_to_the_given_file(faulty, tmp_path, capsys):
    assert main(["data", "audit", faulty, "-o", str(tmp_path / "pairs.svg")]) == 0
    assert (tmp_path / "pairs.svg").read_bytes().startswith(b"<?xml")
    assert "pairs drawn in" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["audit", "show"])
def test_validation_and_test_files_are_splits_of_their_own(clean, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    with np.load(clean) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez(tmp_path / "valid.npz", images=255 - images[:10], labels=labels[:10])
    tested = np.concatenate([images[:3], np.roll(images[:9], 4)])
    np.savez(tmp_path / "test.npz", images=tested, labels=labels[[*range(3), *range(9)]])
    more = ["-o", "a.png"] if command == "show" else []
    assert main(["data", command, clean, "--valid", "valid.npz", "--test", "test.npz", *more]) == 0
    printed = capsys.readouterr()
    if command == "audit":
        assert "separate files: train 100, valid 10, test 12" in printed.out
        assert any("FOUND" in line and "test samples with a copy in train" in line for line in printed.out.splitlines())
    else:
        assert "drawn from 100 training images" in printed.out


def test_audit_works_on_table_rows(tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("a,label\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)) + "1,x\n")
    assert main(["data", "audit", str(table), "--near", "0.03"]) == 0
    assert "each column's range" in capsys.readouterr().out


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_audit_works_on_few_samples(tmp_path, n, capsys):
    table = tmp_path / "t.csv"
    table.write_text("a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(n)))
    assert main(["data", "audit", str(table), "--class-names", "0,1"]) == 0
    assert "checks found a problem" in capsys.readouterr().out or n > 1


# ---- show -----------------------------------------------------------------------------------------------------------


def test_show_writes_samples_png_by_default(clean, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "show", clean]) == 0
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.startswith("written to samples.png, drawn from 80 training images")


def test_show_draws_from_the_split_of_a_training(clean, tmp_path, monkeypatch):
    from chalknet.reporting.drawings import images
    from chalknet.workflows.data import split_like_training

    drawn = []
    monkeypatch.setattr(images, "show_images", lambda *_, **named: drawn.append(named["indices"]))
    assert main(["data", "show", clean, "--from", "test", "--train", "0.5", "-o", str(tmp_path / "a.png")]) == 0
    assert np.array_equal(drawn[0], split_like_training(load_data(clean), train_size=0.5)[1].test)


@pytest.mark.parametrize("command", [["show", "-o", "a.png"], ["audit"], ["convert", "-o", "b.npz"]])
def test_every_command_prints_assumptions_about_the_data(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("".join(f"{at % 2},{at},{at % 3},{at % 5},{at % 7}\n" for at in range(30)))
    assert main(["data", command[0], "t.csv", "--image-size", "2x2", *command[1:]]) == 0
    assert "note: No header names the label, so column 1 is read as it." in capsys.readouterr().err


def test_show_by_class_as_svg(clean, tmp_path):
    path = tmp_path / "sheet.svg"
    assert main(["data", "show", clean, "--by-class", "--columns", "8", "--from", "all", "-o", str(path)]) == 0
    assert path.stat().st_size > 1_000


# ---- convert --------------------------------------------------------------------------------------------------------


def test_converting_there_and_back_keeps_the_data(clean, tmp_path, capsys):
    table, back = tmp_path / "t.csv", tmp_path / "back.npz"
    assert main(["data", "convert", clean, "-o", str(table)]) == 0
    assert main(["data", "convert", str(table), "-o", str(back), "--image-size", "9x9"]) == 0
    assert np.array_equal(load_data(back).inputs, load_data(clean).inputs)
    assert "checked by reading" in capsys.readouterr().out


def test_convert_prints_what_is_lost_and_how_to_read_it(clean, tmp_path, capsys):
    main(["data", "convert", clean, "-o", str(tmp_path / "idx"), "--format", "idx"])
    assert "to read it, give --class-names A,B,C,D" in capsys.readouterr().out
    main(["data", "convert", clean, "-o", str(tmp_path / "letters")])
    assert "not stored in this format: the order of the samples" in capsys.readouterr().out


# ---- what is used wrongly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["info", "nowhere.npz"], 1, "no such file or folder"),
        (["info"], 2, "Missing argument 'SOURCE'"),
        (["audit", "CLEAN", "--split", "sorted"], 2, "one of writeup, random, stratified, group"),
        (["audit", "CLEAN", "--split", "group"], 2, "Use 'stratified'"),
        (["audit", "CLEAN", "--train", "4800"], 2, "there are only 100"),
        (["audit", "CLEAN", "--train", "nan"], 2, "train_size must be"),
        (["audit", "CLEAN", "--near", "3"], 2, "near must be"),
        (["audit", "CLEAN", "-o", "pairs.gif"], 2, "must end in .png, .svg, .pdf"),
        (["show", "CLEAN", "--rows", "0"], 2, "rows must be"),
        (["show", "CLEAN", "-o", "sheet"], 2, "must end in"),
        (["show", "CLEAN", "--recipe", "stong"], 2, "Did you mean 'strong'"),
        (["show", "CLEAN", "--from", "rest"], 2, "Invalid value for '--from'"),
        (["show", "CLEAN", "-o", "no/folder/a.png"], 1, "cannot be written"),
        (["convert", "CLEAN", "-o", "out.parquet"], 2, "unknown suffix '.parquet'"),
        (["convert", "CLEAN", "-o", "out", "--format", "hdf"], 2, "format must be one of"),
        (["convert", "CLEAN", "-o", "CLEAN"], 1, "already exists"),
        (["convert", "CLEAN", "-o", "no/folder/a.npz"], 1, "cannot be written"),
    ],
)
def test_invalid_input_is_a_one_line_error_and_writes_nothing(
    clean, tmp_path, monkeypatch, capsys, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["data", *(clean if word == "CLEAN" else word for word in arguments)]) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_help_of_the_group_lists_its_commands(capsys):
    main(["data", "--help"])
    printed = capsys.readouterr().out
    assert all(f"\n  {command} " in printed for command in ("info", "show", "audit", "convert", "build"))
