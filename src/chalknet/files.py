"""Open regular files only, and read them within a budget of memory and time.

A file may come from a stranger: it can be a pipe that never ends, or small and expand to more than there is memory. A
file whose size has a natural bound is read by `read_bytes`. A reader whose work grows with what a file holds has a
`Budget`, and tells it of every allocation before it is made.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from chalknet.errors import ChalknetError, DataError

CHUNK_BYTES = 2**20
BASE_BYTES, BYTES_PER_BYTE = 2**29, 64  # a reader may hold 512 MiB, and 64 times what the source has on disk
BASE_SECONDS, SECONDS_PER_MB = 4.0, 2.0  # of processor time; a slow disk does not count
UNKNOWN_FREE_BYTES = 2**32  # where the system does not say what is free
CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def open_regular(path: str | Path, *, follow_links: bool = True) -> IO[bytes]:
    """Open a regular file to read its bytes.

    Args:
        follow_links: whether path may be a symbolic link; files that chalknet itself has written are none.
    Raises:
        OSError: it cannot be opened, or is a folder, a pipe, a socket, a device or a link that is not followed. Its
            strerror fits behind "cannot be read: ".
    """
    # Asked first, as opening a device can have effects; asked again of what was opened, as the path may have changed.
    _refuse_irregular(Path(path).stat(follow_symlinks=follow_links).st_mode, path)
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    file = os.fdopen(os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0)), "rb")
    try:
        _refuse_irregular(os.fstat(file.fileno()).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def _refuse_irregular(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}.get(stat.S_IFMT(mode), "a pipe, a socket or a device")
        raise OSError(errno.EINVAL, f"it is {kind} and not a file", str(path))


def read_bytes(path: str | Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return all bytes of a regular file of at most max_bytes.

    Raises:
        OSError: as `open_regular`, or the file is larger.
    """
    with open_regular(path, follow_links=follow_links) as file:
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {max_bytes:,} are read", str(path))
    return content


@contextmanager
def reading(source: str, error: type[ChalknetError] = DataError) -> Iterator[None]:
    """Turn errors of the operating system, text that is not UTF-8 and a lack of memory into an error of ours.

    Args:
        source: what the message calls the file.
    """
    try:
        yield
    except MemoryError as raised:
        raise error(f"{source}: needs more memory than there is. Give fewer samples or smaller images.") from raised
    except UnicodeDecodeError as raised:
        raise error(f"{source}: is not UTF-8 text ({raised.reason} at byte {raised.start}).") from raised
    except OSError as raised:  # such as a folder that may be seen but not entered
        advice = " Check its permissions." if isinstance(raised, PermissionError) else ""
        raise error(f"{source}: cannot be read: {raised.strerror or raised}.{advice}") from raised


class Budget:
    """The memory and the processor time that reading one source may take.

    Memory is at most half of what is free when reading begins, and at most 512 MiB and 64 times the source's size on
    disk. Time is at most 4 seconds and 2 more for each megabyte on disk: of the thread that made the budget, and
    what others `spend`.

    Args:
        source: what messages call the source.
        size: its bytes on disk.
        advice: what to do when the budget is spent.
        error: what is raised then.
    """

    def __init__(
        self, source: str, size: int, advice: str = "Give a part of it.", error: type[ChalknetError] = DataError
    ) -> None:
        self.source, self._advice, self._error = source, advice, error
        self.max_bytes = min(free_memory() // 2, BASE_BYTES + BYTES_PER_BYTE * size)
        self.max_seconds = BASE_SECONDS + SECONDS_PER_MB * size / 1e6
        self.n_bytes, self._seconds = 0, 0.0
        self._thread, self._start = threading.get_ident(), time.thread_time()

    def spend(self, seconds: float) -> None:
        """Count processor time of another thread than the one that made this budget."""
        self._seconds += seconds

    def take(self, n_bytes: int) -> None:
        """Count memory that is about to be taken.

        Raises:
            ChalknetError: the budget of memory or of time does not allow it.
        """
        self.n_bytes += n_bytes
        if self.n_bytes > self.max_bytes:
            raise self._error(
                f"{self.source}: needs more than the {self.max_bytes:,} bytes of memory that reading it may take. "
                f"{self._advice}"
            )
        self.check_time()

    def check_time(self) -> None:
        """Raise an error if reading has taken too long."""
        own = time.thread_time() - self._start if threading.get_ident() == self._thread else 0.0
        if self._seconds + own > self.max_seconds:
            raise self._error(
                f"{self.source}: takes more than the {self.max_seconds:.0f} seconds that reading it may take. "
                f"{self._advice}"
            )

    def read(self, stream: IO[bytes], max_bytes: int | None = None) -> bytearray:
        """Return what is left of a stream, or its next max_bytes if that is less; memory grows with what is there."""
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
    """Return the bytes that this process can still take, by the system and by its control group."""
    free = [_left_in_group(*paths) for paths in CONTROL_GROUPS]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024)
    return min((n for n in free if n is not None), default=UNKNOWN_FREE_BYTES)


def _left_in_group(limit: str, usage: str) -> int | None:
    try:
        return max(0, int(Path(limit).read_text(encoding="ascii")) - int(Path(usage).read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or "max"
        return None
