"""Write files atomically, create output folders, and lock a run folder.

Every file of chalknet is written in four steps, and the order matters:

1. Write the content to a temporary file in the same folder. A rename is atomic only within one file
   system, and a full disk fails here, before any existing file has changed.
2. `fsync` the temporary file. Without it, a power failure after the rename can leave the final name
   with no content, because a file system may write the rename before the data.
3. Rename it to its final name, which replaces an older file in one step.
4. `fsync` the folder, so that the rename itself survives a power failure.

A process killed before step 3 leaves the old file and a temporary one. Run folders and the folders of
a study's models and checkpoints call `remove_temporaries` before they write the same file again.
Elsewhere the temporary file stays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from chalknet.errors import ConfigError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write several files into a folder, each of which is either old or new after a crash.

    All files are written under temporary names before the first rename. A full disk therefore
    changes nothing. A crash between two renames leaves some files new and some old, so callers put
    the file that marks the whole set as complete last.

    Args:
        folder: the folder, which must exist.
        files: name -> content, in the order in which they are renamed.

    Raises:
        OutputError: the folder cannot be written or the disk is full. No temporary file is left.
    """
    temporaries: dict[str, Path] = {}
    try:
        # Two loops, not one: nothing is renamed before everything has been written and synced.
        for name, data in files.items():
            temporaries[name] = _write_temporary(folder, name, data)
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise OutputError(f"{folder / name}: cannot be written: {error.strerror or error}.") from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink()  # a renamed file no longer has its temporary name


def write_bytes(path: Path, data: bytes) -> None:
    """Write one file atomically, as `write_files` does."""
    write_files(path.parent, {path.name: data})


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files that a killed process left while it wrote files of these names."""
    for name in names:
        for left in folder.glob(f".{name}.{'[a-z0-9_]' * 8}"):  # as tempfile names them
            with suppress(OSError):
                left.unlink()


def refuse_existing(path: Path, overwrite: bool, *, is_folder: bool = False) -> None:
    """Raise an error if the output exists, unless it is of the same kind and may be replaced.

    Raises:
        ConfigError: path has no file name.
        OutputError: path is of the other kind, is a symbolic link, or exists without overwrite.
    """
    if not path.name:
        raise ConfigError(f"{str(path)!r} does not name an output file or folder.")
    if not os.path.lexists(path):
        return
    if path.is_dir() != is_folder:
        raise OutputError(f"{path}: is a {'folder' if path.is_dir() else 'file'}. Choose another name.")
    if path.is_symlink():
        raise OutputError(f"{path}: is a symbolic link. Give the path that it points to.")
    if not overwrite:
        raise OutputError(f"{path}: already exists. Choose another name, or give overwrite=True (--overwrite).")


@contextmanager
def new_folder(path: Path, *, numbered: bool = False) -> Iterator[Path]:
    """Create a folder and its parents before the work starts, so that a wrong path fails at once.

    If the work inside fails, the folders that this call created are removed again if they are
    empty. Files in them are never removed: they may be a finished run of this or another process.

    Args:
        path: the folder.
        numbered: whether the folder must be new. If path exists, path-2, path-3, ... is created
            instead. Processes that start at the same time get different folders, because mkdir is
            atomic.

    Yields:
        The folder.

    Raises:
        OutputError: path is a file, or cannot be created or written.
    """
    made: list[Path] = []
    try:
        path = _make_folder(path, numbered, made)
        yield path
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # not empty
                folder.rmdir()
        raise


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder, so that two trainings cannot write into it at once.

    The lock belongs to the open file handle. The operating system releases it when the process
    ends, also after kill -9, so a stale lock is impossible. Some network file systems and Windows
    have no such locks, and there nothing is locked.

    Raises:
        OutputError: another training writes into the folder.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{folder}: another training is writing into it. Wait until it ends, or choose another out (--out)."
            ) from None
        except OSError:  # a file system without locks; training without one is better than none
            pass
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool | None:
    """Return whether a process of this machine holds the lock of a folder; None if the system does not say.

    The lock itself is not touched: a test of it would be a lock for a moment, and a training that
    starts in that moment would fail. Locks of processes in other containers are not listed.
    """
    try:
        found = folder.stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    device, number = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}", str(found.st_ino)
    return any(" FLOCK " in line and f" {device}:{number} " in line for line in lines)


def refuse_link(path: Path) -> None:
    """Raise an error if path is a symbolic link, through which a file could be written anywhere.

    Raises:
        OutputError: path is a symbolic link.
    """
    if path.is_symlink():
        raise OutputError(
            f"{path}: is a symbolic link, which is never overwritten. Remove it, or choose another out (--out)."
        )


def _make_folder(path: Path, numbered: bool, made: list[Path]) -> Path:
    """Create a folder and its parents, append each new one to made, and return the folder."""
    try:
        for folder in reversed(path.parents):
            _make(folder, made)
        if numbered:
            path = next(candidate for candidate in _numbered(path) if _make(candidate, made))
        else:
            _make(path, made)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}. Choose another out (--out)."
        ) from error
    return path


def _numbered(path: Path) -> Iterator[Path]:
    """Yield path, path-2, path-3, ..."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _make(folder: Path, made: list[Path]) -> bool:
    """Create a folder and append it to made, or return False if something has its name."""
    # Checked first: for a root such as C:\, mkdir raises other errors than FileExistsError.
    if folder.is_dir():
        return False
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    made.append(folder)
    return True


def _write_temporary(folder: Path, name: str, data: bytes) -> Path:
    """Write and sync a temporary file beside the target, and return its path."""
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates files that only their owner can read; results have the usual mode.
        Path(temporary).chmod(0o666 & ~_umask())
    except BaseException:
        Path(temporary).unlink()
        raise
    return Path(temporary)


def _umask() -> int:
    """Return the umask of the process, which POSIX reads only by setting it."""
    current = os.umask(0o077)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can open a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
