"""Files that are there whole or not at all: a temporary name beside the target, fsync, rename."""

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
    """Write all files into a folder so that each is either old or new, even after a crash.

    Every file is first written whole under a temporary name, which is where a disk can be full; only then are all
    of them renamed.

    Args:
        folder: must exist.
        files: name -> content.
    Raises:
        OutputError: the folder cannot be written or the disk is full; no file is changed and no temporary one is left.
    """
    temporaries: dict[str, Path] = {}
    try:
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
                temporary.unlink()  # gone already where the rename went through


def write_bytes(path: Path, data: bytes) -> None:
    """`write_files` of one file."""
    write_files(path.parent, {path.name: data})


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files that a killed process left while it wrote files of these names."""
    for name in names:
        for left in folder.glob(f".{name}.{'[a-z0-9_]' * 8}"):  # as tempfile names them
            with suppress(OSError):
                left.unlink()


def refuse_existing(path: Path, overwrite: bool, *, is_folder: bool = False) -> None:
    """Refuses an output that is there already, unless it is of the kind that is to be written and may be replaced.

    Raises:
        ConfigError: path has no name.
        OutputError: something else is there, or it may not be replaced.
    """
    if not path.name:
        raise ConfigError(f"{str(path)!r} does not name an output file or folder.")
    if not os.path.lexists(path):
        return
    if path.is_dir() != is_folder:
        raise OutputError(f"{path}: is a {'folder' if path.is_dir() else 'file'}. Choose another name.")
    if path.is_symlink():
        raise OutputError(f"{path}: is a symbolic link. Name the place that it points to.")
    if not overwrite:
        raise OutputError(f"{path}: exists already. Choose another name, or give overwrite=True (--overwrite).")


@contextmanager
def new_folder(path: Path, *, numbered: bool = False) -> Iterator[Path]:
    """Create a folder and its parents, so that an unwritable place is an error before the work begins.

    If the work inside fails, the folders that this call made are removed again where they are empty. Nothing that is in
    them is ever removed: it may be a finished run, ours or another's.

    Args:
        numbered: whether path must be new; where it exists, path-2, path-3, ... is made instead. Of programs that start
            together, each gets one of its own.
    Yields:
        the folder.
    Raises:
        OutputError: path is a file, or cannot be made or written.
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
    """Keep other trainings out of a folder; the system lets go when the process ends, however it ends.

    File systems and operating systems without such locks keep nobody out.

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
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link in place of a folder that chalknet makes: a stranger's would lead anywhere.

    Raises:
        OutputError: it is one.
    """
    if path.is_symlink():
        raise OutputError(
            f"{path}: is a symbolic link, through which nothing is written. Remove it, or choose another out (--out)."
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
    """path, path-2, path-3, ..."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _make(folder: Path, made: list[Path]) -> bool:
    """Create a folder and append it to made, or return False if something has its name."""
    if folder.is_dir():  # asked first, as some systems refuse to make a root in other words than "exists"
        return False
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    made.append(folder)
    return True


def _write_temporary(folder: Path, name: str, data: bytes) -> Path:
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp makes private files; results are ordinary ones
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
