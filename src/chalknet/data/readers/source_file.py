"""An open file of samples: its bytes, what messages call it, and the budget of reading it."""

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
    """A file of samples, open for reading.

    Args:
        file: its bytes, from the beginning.
        name: what messages call it.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file, self.name = file, name
        self.budget = Budget(
            name, file.seek(0, io.SEEK_END), "Give a part of it; if it is compressed, save it uncompressed."
        )
        file.seek(0)

    @contextmanager
    def unpacked(self) -> Iterator[IO[bytes]]:
        """Yield the file's bytes from the beginning, gunzipped where need be.

        Raises:
            DataError: gzip's data is damaged.
        """
        self.file.seek(0)
        is_packed = self.file.read(2) == GZIP_MAGIC
        self.file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=self.file) if is_packed else self.file  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{self.name}: damaged gzip data ({error}). Copy or download the file again.") from error

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes, gunzipped where need be."""
        with self.unpacked() as stream:
            return stream.read(n_bytes)

    def digest(self) -> bytes:
        """Return the SHA-256 of the file's bytes as they lie on disk."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").digest()  # type: ignore[arg-type]


@contextmanager
def open_source(path: Path, name: str) -> Iterator[SourceFile]:
    """Yield a file of samples; it is closed behind the block, and what fails in it is a DataError.

    Raises:
        DataError: it cannot be opened, or is no regular file.
    """
    with reading(name), open_regular(path) as file:
        yield SourceFile(file, name)


def digest_of_files(named: list[tuple[str, bytes]]) -> str:
    """Return the SHA-256 of several files: of every name, a zero byte and the file's own digest, sorted by name."""
    whole = hashlib.sha256()
    for name, digest in sorted(named):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest)
    return whole.hexdigest()
