"""Open regular files only, and read them within a budget of memory and time.

Files are untrusted: a path can be a pipe that never ends, and a small file can decompress to more
than the memory. A file with a natural size limit is read by `read_bytes`. A reader whose work
depends on the content has a `Budget` and reports every allocation to it before making it.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO

from chalknet.errors import ChalknetError, DataError

CHUNK_BYTES = 2**20
BASE_BYTES, BYTES_PER_BYTE = 2**29, 64  # memory of a reader: 512 MiB plus 64 times the size on disk
BASE_SECONDS, SECONDS_PER_MB = 4.0, 2.0  # processor time, so that a slow disk does not count
UNKNOWN_FREE_BYTES = 2**32  # assumed where the system does not report its free memory
CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def open_regular(path: str | Path, *, follow_links: bool = True) -> IO[bytes]:
    """Open a regular file for reading bytes.

    Args:
        path: the file.
        follow_links: whether path may be a symbolic link. Files that chalknet wrote itself are
            never links.

    Raises:
        OSError: the file cannot be opened, or path is a folder, a pipe, a socket, a device, or a
            link while follow_links is False. The strerror completes the sentence "cannot be read:
            ...".
    """
    # Checked before opening, because opening a device can have effects, and checked again after,
    # because the path may have been replaced in between.
    _refuse_irregular(Path(path).stat(follow_symlinks=follow_links).st_mode, path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.fdopen(os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0)), "rb")
    try:
        _refuse_irregular(os.fstat(file.fileno()).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def refuse_irregular(path: str | Path) -> None:
    """Raise OSError, as `open_regular` does, unless path is a regular file. The file is not opened."""
    _refuse_irregular(Path(path).stat().st_mode, path)


def _refuse_irregular(mode: int, path: str | Path) -> None:
    """Raise OSError unless a file mode is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}.get(stat.S_IFMT(mode), "a pipe, a socket or a device")
        raise OSError(errno.EINVAL, f"it is {kind} and not a file", str(path))


def read_bytes(path: str | Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        max_bytes: the largest size that is read.
        follow_links: as in `open_regular`.

    Raises:
        OSError: as `open_regular`, or the file is larger than max_bytes.
    """
    with open_regular(path, follow_links=follow_links) as file:
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {max_bytes:,} are read", str(path))
    return content


@contextmanager
def reading(source: str, error: type[ChalknetError] = DataError) -> Iterator[None]:
    """Convert errors while reading a source into chalknet's own error.

    Errors of the operating system, invalid UTF-8 and a lack of memory are converted.

    Args:
        source: what messages call the file.
        error: the type of error to raise.
    """
    try:
        yield
    except MemoryError as raised:
        raise error(f"{source}: needs more memory than there is. Give fewer samples or smaller images.") from raised
    except UnicodeDecodeError as raised:
        raise error(f"{source}: is not UTF-8 text ({raised.reason} at byte {raised.start}).") from raised
    except OSError as raised:  # such as a folder without the permission to enter it
        advice = " Check its permissions." if isinstance(raised, PermissionError) else ""
        raise error(f"{source}: cannot be read: {raised.strerror or raised}.{advice}") from raised


class Budget:
    """The memory and processor time that reading one source may take.

    Memory is limited to half of the memory that is free when it is first needed, and to 512 MiB plus 64 times
    the size of the source on disk. Time is limited to 4 seconds plus 2 for each megabyte on disk;
    it counts the processor time of the thread that created the budget and what is reported to
    `spend`.

    Args:
        source: what messages call the source.
        size: its size on disk in bytes.
        advice: what the user can do when the budget is exceeded; ends the message.
        error: the type of error to raise.
        counts_thread: whether the processor time of this thread counts. If not, only what is reported
            to `spend` does.
    """

    def __init__(
        self,
        source: str,
        size: int,
        advice: str = "Give a part of it.",
        error: type[ChalknetError] = DataError,
        counts_thread: bool = True,
    ) -> None:
        """Create a budget, and start its clock."""
        self.source: str = source
        self._advice, self._error = advice, error
        self._size = size
        self.max_seconds: float = BASE_SECONDS + SECONDS_PER_MB * size / 1e6
        self.n_bytes: int = 0
        self._seconds = 0.0
        self._thread, self._start = threading.get_ident() if counts_thread else None, time.thread_time()

    @cached_property
    def max_bytes(self) -> int:
        """The most memory that reading may take; the system is asked when memory is first needed."""
        return min(free_memory() // 2, BASE_BYTES + BYTES_PER_BYTE * self._size)

    def spend(self, seconds: float) -> None:
        """Count processor time (in seconds) that the budget does not measure itself."""
        self._seconds += seconds

    def take(self, n_bytes: int) -> None:
        """Count n_bytes of memory before they are allocated.

        Raises:
            ChalknetError: the memory or the time of the budget is exceeded; the type is the
                budget's.
        """
        self.n_bytes += n_bytes
        if self.n_bytes > self.max_bytes:
            raise self._error(
                f"{self.source}: needs more than the {self.max_bytes:,} bytes of memory that reading it may take. "
                f"{self._advice}"
            )
        self.check_time()

    def check_time(self) -> None:
        """Raise the budget's error if reading has taken too long."""
        own = time.thread_time() - self._start if threading.get_ident() == self._thread else 0.0
        if self._seconds + own > self.max_seconds:
            raise self._error(
                f"{self.source}: takes more than the {self.max_seconds:.0f} seconds that reading it may take. "
                f"{self._advice}"
            )

    def read(self, stream: IO[bytes], max_bytes: int | None = None) -> bytearray:
        """Read a stream to its end, or up to max_bytes.

        The buffer grows with the data that arrive, so a header that promises too much costs no
        memory.
        """
        content = bytearray()
        while max_bytes is None or len(content) < max_bytes:
            left = CHUNK_BYTES if max_bytes is None else max_bytes - len(content)
            chunk = stream.read(min(CHUNK_BYTES, left))
            if not chunk:
                break
            self.take(len(chunk))
            content += chunk
        return content


def free_memory() -> int:
    """Return the bytes of memory that the system and the control group still allow."""
    free = [_left_in_group(*paths) for paths in CONTROL_GROUPS]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024)
    return min((n for n in free if n is not None), default=UNKNOWN_FREE_BYTES)


def _left_in_group(limit: str, usage: str) -> int | None:
    """Return the free bytes of a control group, or None if there is no group or no limit."""
    try:
        return max(0, int(Path(limit).read_text(encoding="ascii")) - int(Path(usage).read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None
