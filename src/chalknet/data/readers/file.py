"""Read the bytes of a file within a bound, with errors that name the source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalknet.errors import DataError


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn a lack of memory and an error of the operating system while reading into a DataError."""
    try:
        yield
    except MemoryError as error:
        raise DataError(f"{source}: needs more memory than there is. Give fewer samples or smaller images.") from error
    except OSError as error:  # such as a folder that may be seen but not entered
        raise DataError(f"{source}: cannot be read: {error.strerror or error}. Check its permissions.") from error


def read_file(path: Path, source: str, max_bytes: int, advice: str) -> bytes:
    """Return the bytes of a file.

    Args:
        source: what messages call the file.
        max_bytes: a larger file is refused before it is read.
        advice: what to do about a file that is too large.
    Raises:
        DataError: the file is too large or cannot be read.
    """
    with reading(source):
        size = path.stat().st_size
        if size > max_bytes:
            raise DataError(f"{source}: has {size} bytes; files of more than {max_bytes} are not read. {advice}")
        return path.read_bytes()
