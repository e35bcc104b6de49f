"""Files of samples: their bytes and their digest."""

from __future__ import annotations

import hashlib

import pytest

from chalknet.data.readers import source_file
from chalknet.data.readers.source_file import open_source


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 700, 1_001])
def test_a_file_that_threads_share_has_the_same_bytes(size, tmp_path, monkeypatch):
    monkeypatch.setattr(source_file, "MIN_SHARED_BYTES", 0)
    monkeypatch.setattr(source_file, "CHUNK_BYTES", 7)
    content = bytes(at % 251 for at in range(size))
    (tmp_path / "f").write_bytes(content)
    with open_source(tmp_path / "f", "f") as file:
        assert file.content() == content
        assert file.digest() == hashlib.sha256(content).digest()


def test_a_file_is_read_whole_although_calls_read_less_than_they_could(tmp_path, monkeypatch):
    def one_byte(number, buffers, offset):
        buffers[0][:1] = read(number, 1, offset)
        return 1

    read = source_file.os.pread
    monkeypatch.setattr(source_file, "MIN_SHARED_BYTES", 0)
    monkeypatch.setattr(source_file.os, "preadv", one_byte)
    (tmp_path / "f").write_bytes(b"abc")
    with open_source(tmp_path / "f", "f") as file:
        assert file.content() == b"abc"
