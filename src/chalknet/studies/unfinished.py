"""Where the checkpoints of a study's unfinished runs are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chalknet.artifacts.atomic import refuse_link
from chalknet.errors import OutputError
from chalknet.studies.cells import Unit

UNFINISHED_FOLDER = "unfinished"  # in the study's


@contextmanager
def checkpoint_folder(study: Path) -> Iterator[Path]:
    """Return the folder of unfinished runs while a study runs; an empty one is removed at the end.

    Raises:
        OutputError: it cannot be created.
    """
    folder = (study / UNFINISHED_FOLDER).absolute()
    refuse_link(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}.") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def checkpoint_path(folder: Path, unit: Unit) -> Path:
    """Return where in that folder the checkpoint of a run is."""
    return folder / f"{unit.cell.key[:16]}-seed{unit.seed}.safetensors"


def clear_checkpoint(study: Path, unit: Unit) -> None:
    """Delete the checkpoint of a run that has ended."""
    with suppress(OSError):
        checkpoint_path(study / UNFINISHED_FOLDER, unit).unlink(missing_ok=True)
