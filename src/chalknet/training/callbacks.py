"""What a training reports to: `RunContext` describes it, and callbacks receive its start, epochs and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chalknet.config import CUSTOM_SPLIT, DataConfig, Recipe
from chalknet.errors import ConfigError
from chalknet.records import EpochRecord

if TYPE_CHECKING:  # the command line's progress is a callback, and commands start without NumPy
    import numpy as np
    from numpy.typing import NDArray

    from chalknet.data.dataset import Dataset
    from chalknet.data.splits import Splits

EpochCallback = Callable[[EpochRecord], None]


@dataclass(frozen=True, eq=False)
class RunContext:
    """The training of one network, or of a whole ensemble, with everything resolved.

    Attributes:
        data, splits, recipe: what is learned, from which samples, and how.
        sample_weights: (N,) the weight of each sample in the training loss, or None for equal weights.
        notes: what the user should know about how the recipe was adapted to the data, one sentence each.
        folder: the run's folder, or None.
        number, n_networks: which network of an ensemble this is, from 1 on; 1 of 1 for a single network.
        history: the epochs that an earlier start finished.
        is_resumed: whether this continues an earlier start, with or without finished epochs.
    """

    data: Dataset
    splits: Splits
    recipe: Recipe
    sample_weights: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    number: int = 1
    n_networks: int = 1
    history: tuple[EpochRecord, ...] = ()
    is_resumed: bool = False

    @property
    def origin(self) -> DataConfig:
        """Return how to read the same samples again, with digests of what no file holds."""
        from chalknet.data.dataset import arrays_sha256

        return replace(
            self.data.origin or DataConfig(self.data.source, self.data.sha256),
            sample_weights_sha256="" if self.sample_weights is None else arrays_sha256(self.sample_weights),
            splits_sha256=arrays_sha256(*self.splits.named().values())
            if self.recipe.split.split == CUSTOM_SPLIT
            else "",
        )


class Callback:
    """A participant in a training. Subclasses override the methods that they need.

    A callback can also be called with a record, as a plain function is in `train(..., callbacks=function)`.
    """

    def on_train_begin(self, context: RunContext) -> None:
        """Prepare for a training; called once for each network of an ensemble."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Take note of a finished epoch."""

    def on_train_end(self, error: BaseException | None) -> None:
        """Clean up; called after every `on_train_begin`, also after one that raised.

        Args:
            error: what ended the training early, or None.
        """

    def __call__(self, record: EpochRecord) -> None:
        self.on_epoch_end(record)


class FunctionCallback(Callback):
    """A callback that passes each record to a function."""

    def __init__(self, function: EpochCallback) -> None:
        self._function = function

    def on_epoch_end(self, record: EpochRecord) -> None:
        self._function(record)


def as_callbacks(callbacks: EpochCallback | Sequence[EpochCallback] | None) -> list[Callback]:
    """Return the callbacks of a `callbacks` argument: one callable, several, or None.

    Raises:
        ConfigError: something that cannot be called.
    """
    given = (callbacks,) if callable(callbacks) else tuple(callbacks or ())
    if not all(map(callable, given)):
        raise ConfigError(
            f"callbacks must be called with each record: a callable or a list of them, got {callbacks!r}."
        )
    return [one if isinstance(one, Callback) else FunctionCallback(one) for one in given]


@contextmanager
def running_callbacks(callbacks: Sequence[Callback], context: RunContext) -> Iterator[EpochCallback]:
    """Begin and end callbacks around a training; yields a function that shows them a record, in their order."""

    def show(record: EpochRecord) -> None:
        for callback in callbacks:
            callback.on_epoch_end(record)

    with ExitStack() as stack:
        for callback in callbacks:
            stack.push(lambda _kind, error, _trace, end=callback.on_train_end: end(error))
            callback.on_train_begin(context)
        yield show
