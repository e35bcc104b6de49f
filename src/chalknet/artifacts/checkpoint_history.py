"""The history in the header of a checkpoint, for readers that watch a training.

`checkpoint` reads whole checkpoints and imports the trainer, which a watcher does not load.
"""

from __future__ import annotations

from pathlib import Path

from chalknet.artifacts.tensor_file import MIB, read_header
from chalknet.checked import checked, plain, strict_json
from chalknet.errors import StoreError
from chalknet.records import EpochRecord, checked_history

# Format 1 names velocities by their parameter alone. Format 2 names optimizer state "state/parameter"
# and calls gamma of batch normalization "gain". Format 3 adds the layers. Format 4 adds the state
# within an epoch.
FORMAT = 4
HEADER_KEY = "chalknet-checkpoint"
MAX_HEADER = 64 * MIB  # enough for the history of more than 100,000 epochs
# A watcher reads many headers again and again, so it reads up to about 20,000 epochs.
MAX_WATCHED_HEADER = 8 * MIB


def read_checkpoint_history(path: Path) -> tuple[EpochRecord, ...]:
    """Return the finished epochs of a checkpoint, of which there may be none. Its arrays are not read.

    Raises:
        StoreError: the file is not there, damaged or too large, or has a newer format.
    """
    try:
        header = read_header(path, MAX_WATCHED_HEADER)
        entry = strict_json(checked(dict[str, str], header["__metadata__"], "its metadata")[HEADER_KEY])
        if checked(int, entry["format"], "its format") > FORMAT:
            raise ValueError("its format is newer than this chalknet reads")
        history = checked(list[EpochRecord], entry["history"], "its history")
        return checked_history(history, may_be_empty="epoch" in entry)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise StoreError(f"{path}: is not a whole checkpoint ({plain(error)}).") from error
