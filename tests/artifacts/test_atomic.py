import os
import stat

import pytest

from chalknet.artifacts import atomic
from chalknet.artifacts.atomic import new_folder, write_bytes, write_files
from chalknet.errors import OutputError


def test_files_are_complete_with_the_usual_permissions(tmp_path):
    write_files(tmp_path, {"a.txt": b"one", "b.txt": b"two"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]
    assert (tmp_path / "b.txt").read_bytes() == b"two"
    umask = os.umask(0o077)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_file_that_was_there_is_replaced(tmp_path):
    write_bytes(tmp_path / "a.txt", b"old")
    write_bytes(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_a_full_disk_changes_no_file(tmp_path, monkeypatch):
    write_files(tmp_path, {"a.txt": b"old a", "b.txt": b"old b"})
    real = os.fsync
    calls = []

    def full_at_the_second_file(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(atomic.os, "fsync", full_at_the_second_file)
    with pytest.raises(OutputError, match=r"b.txt: cannot be written: No space left on device"):
        write_files(tmp_path, {"a.txt": b"new a", "b.txt": b"new b"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.txt": b"old a", "b.txt": b"old b"}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere/a.txt: cannot be written: No such file"):
        write_bytes(tmp_path / "nowhere" / "a.txt", b"")


def test_a_new_folder_is_made_with_its_parents_and_kept(tmp_path):
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("x")
    assert (tmp_path / "a" / "b" / "x").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failed_run_removes_only_the_empty_folders_it_made(tmp_path, error):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    with pytest.raises(error), new_folder(tmp_path / "a" / "b" / "c"):
        raise error
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine.txt"]
    with pytest.raises(error), new_folder(tmp_path / "a"):
        raise error
    assert (tmp_path / "a" / "mine.txt").read_text() == "mine"


def failed_run(folder, put):
    """Fail in a new folder after a file was written somewhere."""
    with new_folder(folder):
        put.parent.mkdir(exist_ok=True)
        put.write_text("finished")
        raise KeyboardInterrupt


@pytest.mark.parametrize("put", ["runs/another/model", "runs/mine/notes.txt"])
def test_a_failed_run_never_removes_what_others_have_put_there(tmp_path, put):
    with pytest.raises(KeyboardInterrupt):
        failed_run(tmp_path / "runs" / "mine", tmp_path / put)
    assert (tmp_path / put).read_text() == "finished"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [put.split("/")[1]]


def test_numbered_folders_are_distinct(tmp_path):
    with new_folder(tmp_path / "run", numbered=True) as one, new_folder(tmp_path / "run", numbered=True) as two:
        assert (one.name, two.name) == ("run", "run-2")
    (tmp_path / "run-3").write_text("a file")
    with new_folder(tmp_path / "run", numbered=True) as three:
        assert three.name == "run-4"


def test_a_file_in_the_way_is_an_error_before_the_work(tmp_path):
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(OutputError, match=r"taken: cannot be written: .*Choose another out"),
        new_folder(tmp_path / "taken"),
    ):
        pytest.fail("the work must not begin")
    assert (tmp_path / "taken").read_text() == ""
