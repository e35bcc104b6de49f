"""Interrupted run folders: what is refused, what is finished later, and no folder mixes two runs."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import made_images, save_images

import chalknet
from chalknet.artifacts.run_folder import read_run
from chalknet.cli.main import main
from chalknet.errors import ChalknetError, DataError, OutputError, StoreError
from chalknet.workflows import single_run

SETTINGS = {"recipe": "writeup", "hidden": [4], "epochs": 6, "train_size": 160, "valid_size": 40, "learning_rate": 1e-3}
MODEL, HISTORY, SUMMARY = "model.safetensors", "history.csv", "summary.json"


def stop_after(epoch):
    def stop(record):
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return stop


def stopped(letters, out="run", epoch=4, **settings):
    """Train until Ctrl-C, with a checkpoint after every epoch before."""
    with pytest.raises(KeyboardInterrupt):
        chalknet.train(letters, out=out, callbacks=stop_after(epoch), checkpoint_seconds=0, **{**SETTINGS, **settings})


def contents(folder):
    """Return the files of a run, with its history without times."""
    rows = [line.rpartition(",")[0] for line in (Path(folder) / HISTORY).read_text().splitlines()]
    names = {path.name for path in Path(folder).iterdir()}
    return rows, (Path(folder) / MODEL).read_bytes(), names


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("split_seed = 521", "split_seed = 9", "another recipe and splits"),
        ("train_size = 160", "train_size = 120", "another recipe and splits"),
        ("learning_rate = 0.001", "learning_rate = 0.01", "another recipe"),
        ("epochs = 6", "epochs = 60", "another recipe"),
        ("seed = 0", "seed = 1", "another recipe"),
    ],
)
def test_resume_refuses_a_changed_configuration(letters, old, new, message):
    stopped(letters)
    config = Path("run/config.toml")
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    with pytest.raises(
        StoreError, match=rf"run/checkpoint.safetensors: belongs to a training with {message}\. Restore con"
    ):
        chalknet.resume("run")
    config.write_text(text)
    assert len(chalknet.resume("run").history) == 6


def test_resume_refuses_other_data_of_the_same_name(letters):
    stopped(letters)
    text = Path("run/config.toml").read_text()
    save_images(letters, seed=1)
    digest = chalknet.load_data(letters).sha256
    known = text.partition('sha256 = "')[2][:64]
    Path("run/config.toml").write_text(text.replace(known, digest))
    with pytest.raises(StoreError, match="belongs to a training with another data"):
        chalknet.resume("run")


def test_a_report_refuses_a_configuration_that_was_changed_later(letters):
    chalknet.train(letters, out="run", **SETTINGS)
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace("momentum = 0.99", "momentum = 0.5"))
    with pytest.raises(StoreError, match=r"run: config.toml differs from the settings that model.safetensors"):
        chalknet.report("run")


def test_moved_data_can_be_named_and_must_be_the_same(letters, capsys):
    chalknet.train(letters, out="whole", **SETTINGS)
    stopped(letters)
    Path(letters).rename("moved.npz")
    assert main(["train", "--resume", "run"]) == 1
    assert "letters.npz: no such file or folder. If the data has moved, name their new place with --data." in (
        capsys.readouterr().err
    )
    save_images("other.npz", seed=1)
    assert main(["train", "--resume", "run", "--data", "other.npz"]) == 1
    assert "other.npz: is not the data that the configuration was written for" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--data", "moved.npz", "--quiet"]) == 0
    assert contents("run")[:2] == contents("whole")[:2]
    assert Path(read_run(Path("run")).data.source).name == "moved.npz"


def test_a_moved_validation_set_can_be_named_while_the_data_stay(letters):
    save_images("valid.npz", seed=1)
    chalknet.train(letters, valid="valid.npz", out="whole", **SETTINGS)
    Path("run").mkdir()
    Path("run/config.toml").write_bytes(Path("whole/config.toml").read_bytes())
    Path("valid.npz").rename("moved.npz")
    with pytest.raises(DataError, match=r"valid.npz: no such file .* name their new place with valid"):
        chalknet.resume("run")
    with pytest.raises(DataError, match=r"valid.npz: no such file or folder\. Put it back"):
        chalknet.evaluate("whole", split="valid")  # which has no argument for it
    chalknet.resume("run", valid="moved.npz")
    assert contents("run")[:2] == contents("whole")[:2]


def test_arrays_in_memory_must_be_passed_again(letters, capsys):
    data = chalknet.load_data(letters)
    data = chalknet.dataset_from_arrays(data.inputs, data.labels)
    chalknet.train(data, out="run", **SETTINGS)
    assert main(["evaluate", "run", "--split", "valid"]) == 2
    assert "Pass them in Python: chalknet.evaluate('run', data, split='valid')" in capsys.readouterr().err
    assert chalknet.evaluate("run", data, split="valid").split == "valid"
    Path("again").mkdir()
    Path("again/config.toml").write_bytes(Path("run/config.toml").read_bytes())
    assert main(["train", "--resume", "again"]) == 2
    assert 'Pass the same in Python: chalknet.resume("again", data=...)' in capsys.readouterr().err
    chalknet.study(data, {"hidden": [2, 3]}, seeds=1, out="study", **{**SETTINGS, "hidden": None})
    assert main(["study", "--config", "study/study.toml"]) == 2
    assert "Pass them in Python: chalknet.study(data, vary, out=...)" in capsys.readouterr().err


@pytest.mark.parametrize("ensemble", [1, 2])
@pytest.mark.slow
def test_a_run_that_lacks_only_its_pictures_gets_them(letters, monkeypatch, ensemble):
    chalknet.train(letters, out="whole", ensemble=ensemble, **SETTINGS)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(single_run, "write_pictures", killed)
        with pytest.raises(KeyboardInterrupt):
            chalknet.train(letters, out="run", ensemble=ensemble, **SETTINGS)
    run = chalknet.resume("run")
    assert contents("run") == contents("whole")
    for member in Path("whole").glob("members/*"):
        assert contents(Path("run/members", member.name)) == contents(member)
    assert len(run.history) == 6
    with pytest.raises(StoreError, match="holds a finished run; there is nothing to resume"):
        chalknet.resume("run")


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_model_without_its_summary_is_not_yet_a_run(letters, checkpoint):
    whole = chalknet.train(letters, out="whole", **SETTINGS)
    if checkpoint:
        stopped(letters)
    shutil.copytree("whole", "run", dirs_exist_ok=True)
    Path("run", SUMMARY).unlink()  # which is written last
    with pytest.raises(StoreError, match="holds no finished run"):
        read_run(Path("run"))
    assert [record.train for record in chalknet.resume("run").history] == [record.train for record in whole.history]
    assert contents("run") == contents("whole")


def test_the_summary_is_the_last_file_of_a_run(letters):
    run = chalknet.train(letters, **SETTINGS)
    assert list(single_run.run_files(run, chalknet.config.DataConfig("x")))[-1] == SUMMARY


def test_two_trainings_do_not_write_into_one_folder(letters):
    def another(_):
        with pytest.raises(OutputError, match=r"run: another training is writing into it\. Wait until it ends"):
            chalknet.train(letters, out="run", overwrite=True, **SETTINGS)
        with pytest.raises(OutputError, match="run: another training is writing into it"):
            chalknet.resume("run")

    chalknet.train(letters, out="run", callbacks=another, **SETTINGS)
    assert len(read_run(Path("run")).history) == 6


def test_ctrl_c_before_the_first_checkpoint_can_be_resumed(letters):
    whole = chalknet.train(letters, out="whole", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        chalknet.train(letters, out="run", callbacks=stop_after(3), checkpoint_seconds=1e9, **SETTINGS)
    assert [record.train for record in chalknet.resume("run").history] == [record.train for record in whole.history]


@pytest.mark.slow
def test_a_replaced_run_is_whole_until_the_new_one_is(letters):
    chalknet.train(letters, out="run", **SETTINGS)
    chalknet.train(letters, out="new", **SETTINGS, seed=1)
    old, new = contents("run"), contents("new")
    stopped(letters, seed=1, overwrite=True)
    assert contents("run") == (*old[:2], old[2] | {"replacement"})
    chalknet.report("run")
    shutil.rmtree("run/report")
    run = chalknet.resume("run")
    assert run.folder == Path("run")
    assert contents("run") == new


@pytest.mark.slow
def test_a_replacement_removes_all_files_of_the_old_run(letters):
    chalknet.train(letters, out="run", ensemble=2, **SETTINGS)
    chalknet.train(letters, out="run", overwrite=True, **{**SETTINGS, "valid_size": 0})
    assert not {"valid_samples.npz", "members", "replacement"} & contents("run")[2]


@pytest.mark.parametrize("method", ["unlink", "rename"])
@pytest.mark.slow
def test_a_kill_while_replacing_leaves_the_files_of_one_run(letters, monkeypatch, method):
    chalknet.train(letters, out="old", **SETTINGS)
    new = chalknet.train(letters, out="new", seed=1, **SETTINGS)
    real, runs = getattr(Path, method), (contents("old")[:2], contents("new"))
    for step in range(20):
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree("old", "run")
        shutil.copytree("new", "run/replacement")
        left = step

        def killed(path, *arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return real(path, *arguments, **options)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, method, killed)
            assert chalknet.resume("run").recipe == new.recipe
            break
        with contextlib.suppress(StoreError):
            assert read_run(Path("run")).recipe.training.seed in (0, 1)
            assert contents("run")[:2] in (runs[0], runs[1][:2])
        with contextlib.suppress(ChalknetError):  # a finished replacement has nothing to resume
            chalknet.resume("run")
        assert contents("run") == runs[1]
    assert step > 3
    assert contents("run") == runs[1]


def test_data_in_memory_must_be_the_same_again(tmp_path):
    data, other = made_images(240, 0), made_images(240, 1)
    arrays = [chalknet.dataset_from_arrays(one.inputs, one.labels) for one in (data, other)]
    stopped(arrays[0], tmp_path / "run")
    with pytest.raises(ChalknetError, match="was started with other data"):
        chalknet.resume(tmp_path / "run", data=arrays[1])
    assert np.isfinite(chalknet.resume(tmp_path / "run", data=arrays[0]).history[-1].train.loss)
