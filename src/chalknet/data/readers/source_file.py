"""Open files of samples, with the name that messages use and the budget of reading them."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chalknet.errors import DataError
from chalknet.files import Budget, open_regular, reading

GZIP_MAGIC = b"\x1f\x8b"


class SourceFile:
    """A file of samples that is open for reading.

    Args:
        file: the bytes of the file.
        name: what messages call it.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        """Create a source at the beginning of the file, with a budget for its size."""
        self.file, self.name = file, name
        self.budget = Budget(
            name, file.seek(0, io.SEEK_END), "Give a part of it; if it is compressed, save it uncompressed."
        )
        file.seek(0)

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

    def digest(self) -> bytes:
        """Return the SHA-256 of the file as it is on disk."""
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
