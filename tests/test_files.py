"""Only regular files are opened, and reading is limited in memory and time."""

import gzip
import io
import os

import pytest

from chalknet import files
from chalknet.errors import ConfigError, DataError
from chalknet.files import Budget, free_memory, open_regular, read_bytes, reading


@pytest.fixture
def places(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_a_file_and_a_link_to_it_are_opened(places):
    for name in ("file", "link"):
        with open_regular(places / name) as file:
            assert file.read() == b"12345"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe", "it is a pipe, a socket or a device and not a file"),  # opening it as usual would wait for ever
        ("folder", "it is a folder and not a file"),
        ("/dev/zero", "it is a pipe, a socket or a device"),
        ("nowhere", "No such file"),
    ],
)
def test_irregular_files_are_refused_at_once(places, name, message):
    with pytest.raises(DataError, match=f"^given: cannot be read: {message}"), reading("given"):
        open_regular(places / name)


def test_a_link_can_be_refused(places):
    with pytest.raises(OSError, match="it is a link and not a file"):
        read_bytes(places / "link", 10, follow_links=False)
    assert read_bytes(places / "file", 10, follow_links=False) == b"12345"


def test_a_path_that_becomes_a_pipe_is_refused(places, monkeypatch):
    whole = files.Path.stat
    monkeypatch.setattr(files.Path, "stat", lambda path, **how: whole(path.with_name("file"), **how))
    with pytest.raises(OSError, match="it is a pipe"):
        open_regular(places / "pipe")


def test_a_file_is_read_up_to_its_bound(places):
    assert read_bytes(places / "file", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and at most 4 are read"):
        read_bytes(places / "file", 4)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (PermissionError(13, "Permission denied"), "x: cannot be read: Permission denied. Check its permissions."),
        (MemoryError(), "x: needs more memory than there is. Give fewer samples or smaller images."),
        (UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid start byte"), "x: is not UTF-8 text (invalid start byte "
         "at byte 1)."),
    ],
)  # fmt: skip
def test_reading_errors_are_one_line(raised, message):
    with pytest.raises(ConfigError) as caught, reading("x", ConfigError):
        raise raised
    assert str(caught.value) == message


def test_memory_is_limited_by_size_and_free_memory(monkeypatch):
    monkeypatch.setattr(files, "free_memory", lambda: 10**12)
    assert Budget("x", 10**6).max_bytes == 2**29 + 64 * 10**6
    monkeypatch.setattr(files, "free_memory", lambda: 1000)
    assert Budget("x", 10**6).max_bytes == 500


def test_the_budget_is_checked_while_reading(monkeypatch):
    monkeypatch.setattr(files, "BASE_BYTES", 2**22)
    stream = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(bytes(2**24))))
    with pytest.raises(DataError, match=r"^x: needs more than the 4,194,304 bytes of memory that .*\. Give a part"):
        Budget("x", 0).read(stream)
    assert stream.tell() <= 2**22 + files.CHUNK_BYTES
    assert Budget("x", 0).read(io.BytesIO(b"12345"), 3) == b"123"


def test_work_beyond_the_time_is_refused(monkeypatch):
    monkeypatch.setattr(files, "BASE_SECONDS", -1.0)
    with pytest.raises(ConfigError, match=r"^x: takes more than the -1 seconds that reading it may take\. Do less\."):
        Budget("x", 0, "Do less.", ConfigError).check_time()


def test_the_control_group_limits_free_memory(tmp_path, monkeypatch):
    (tmp_path / "limit").write_text("1000\n")
    (tmp_path / "usage").write_text("400\n")
    without = free_memory()
    monkeypatch.setattr(files, "CONTROL_GROUPS", [(str(tmp_path / "limit"), str(tmp_path / "usage"))])
    assert free_memory() == 600 < without
    (tmp_path / "limit").write_text("max\n")
    assert free_memory() > 600
