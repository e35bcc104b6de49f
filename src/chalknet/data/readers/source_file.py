"""Open files of samples, with the name that messages use and the budget of reading them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chalknet.errors import DataError
from chalknet.files import Budget, open_regular, reading

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 2**24
MIN_SHARED_BYTES = 2**26  # of a file that two threads read
# Processor time of polars for a decompressed byte. Its threads cannot be interrupted, so it is counted before.
SECONDS_PER_BYTE = 2e-8


class _Digest:
    """The SHA-256 of bytes, computed by a thread of its own while they are read as a table."""

    def __init__(self, content: bytes) -> None:
        """Start the thread."""
        self._sha256 = hashlib.sha256()
        self._thread = threading.Thread(target=self._sha256.update, args=(content,), daemon=True)
        self._thread.start()

    def value(self) -> bytes:
        """Wait for the digest, and return it."""
        self._thread.join()
        return self._sha256.digest()


class SourceFile:
    """A file of samples that is open for reading.

    Args:
        file: the bytes of the file.
        name: what messages call it.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Create a source at the beginning of the file, with a budget for its size."""
        self.file: IO[bytes] = file
        self.name: str = name
        self.budget: Budget = Budget(
            name, file.seek(0, io.SEEK_END), "Give a part of it; if it is compressed, save it uncompressed."
        )
        file.seek(0)
        self._digest: _Digest | None = None

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """Yield the bytes of the file from the beginning, decompressed if they are gzipped.

        Raises:
            DataError: the gzip data are damaged.
        """
        self.file.seek(0)
        is_packed = self.file.read(2) == GZIP_MAGIC
        self.file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=self.file) if is_packed else self.file  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{self.name}: damaged gzip data ({error}). Copy or download the file again.") from error

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes, decompressed if they are gzipped."""
        with self.unpacked() as stream:
            return stream.read(n_bytes)

    def content(self) -> bytes:
        """Return all bytes, decompressed if they are gzipped, within the budget of reading.

        The digest of a file that is not gzipped is computed from these bytes, by another thread.
        """
        with self.unpacked() as stream:
            if stream is not self.file:
                unpacked = io.BytesIO()
                while chunk := stream.read(CHUNK_BYTES):
                    self.budget.spend(SECONDS_PER_BYTE * len(chunk))
                    self.budget.take(len(chunk))
                    unpacked.write(chunk)
                return unpacked.getvalue()
        size = self.file.seek(0, io.SEEK_END)
        self.budget.spend(SECONDS_PER_BYTE * size)
        self.budget.take(size)
        content = self._read(size)  # what is appended meanwhile is neither read nor in the digest
        self._digest = _Digest(content)
        return content

    def _read(self, size: int) -> bytes:
        """Return this many bytes from the beginning, or fewer if the file has become shorter.

        Two threads read a large file of the system, which takes half the time of one: most of it goes into pages of
        memory that are new to the process.
        """
        self.file.seek(0)
        if size < MIN_SHARED_BYTES or not isinstance(self.file, io.BufferedReader) or not hasattr(os, "preadv"):
            return self.file.read(size)
        room = io.BytesIO(bytes(size))  # which is neither filled nor copied
        with room.getbuffer() as view, ThreadPoolExecutor(2) as pool:
            number = self.file.fileno()

            def read(start: int) -> int:
                with view[start : start + CHUNK_BYTES] as part:
                    return os.preadv(number, [part], start)

            n_read = list(pool.map(read, range(0, size, CHUNK_BYTES)))
        whole = [CHUNK_BYTES] * (len(n_read) - 1) + [(size - 1) % CHUNK_BYTES + 1]
        return room.getvalue() if n_read == whole else self.file.read(size)  # a call may read less than it could

    def digest(self) -> bytes:
        """Return the SHA-256 of the file as it is on disk."""
        if self._digest is not None:
            return self._digest.value()
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").digest()  # type: ignore[arg-type]


@contextmanager
def open_source(path: Path, name: str) -> Iterator[SourceFile]:
    """Open a file of samples for a with block; errors in the block become DataError.

    Raises:
        DataError: the file cannot be opened or read, or is not a regular file.
    """
    with reading(name), open_regular(path) as file:
        yield SourceFile(file, name)


def digest_of_files(named: list[tuple[str, bytes]]) -> str:
    """Return the SHA-256 of several files as hexadecimal digits.

    It covers every name, a zero byte and the digest of the file, sorted by name.
    """
    whole = hashlib.sha256()
    for name, digest in sorted(named):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest)
    return whole.hexdigest()
