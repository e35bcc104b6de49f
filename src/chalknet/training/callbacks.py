"""Callbacks of a training: `Callback`, and `RunContext`, which describes the training to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from chalknet.config import CUSTOM_SPLIT, DataConfig, Recipe
from chalknet.errors import ConfigError
from chalknet.records import EpochRecord

if TYPE_CHECKING:  # the command line imports this module for its progress, before it needs NumPy
    import numpy as np
    from numpy.typing import NDArray

    from chalknet.data.dataset import Dataset
    from chalknet.data.preprocess import Scaling
    from chalknet.data.splits import Splits

EpochCallback = Callable[[EpochRecord], None]


@dataclass(frozen=True, eq=False)
class RunContext:
    """The training of one network or of an ensemble, with data, splits and recipe resolved.

    Attributes:
        data: all samples.
        splits: the indices of training, validation and test samples.
        recipe: the complete recipe.
        sample_weights: (N,) weight of each sample in the training loss, or None for equal weights.
        notes: what the user should know about the data and the recipe, one sentence each.
        folder: the run's folder, or None if nothing is written.
        number: the number of this network in its ensemble, starting at 1; 1 for a single network.
        n_networks: the number of networks in the ensemble; 1 for a single network.
        history: the epochs that were finished before this start of a resumed training.
        n_samples: number of samples of the next epoch that were trained on before this start.
        is_resumed: whether this continues an interrupted training.
        scaling: the input scaling; None to fit it to the training samples.
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
    n_samples: int = 0
    is_resumed: bool = False
    scaling: Scaling | None = None

    @property
    def origin(self) -> DataConfig:
        """How to read the same samples again, with digests of index arrays and weights."""
        from chalknet.data.dataset import arrays_sha256

        return replace(
            self.data.origin or DataConfig(self.data.source, self.data.sha256),
            sample_weights_sha256="" if self.sample_weights is None else arrays_sha256(self.sample_weights),
            splits_sha256=arrays_sha256(*self.splits.named().values())
            if self.recipe.split.split == CUSTOM_SPLIT
            else "",
        )


class Callback:
    """The base class of callbacks; subclasses override the methods that they need.

    A plain function that takes an `EpochRecord` is a callback too: `train(..., callbacks=print)`.
    """

    def on_train_begin(self, context: RunContext) -> None:
        """Prepare for a training; called once for each network of an ensemble."""

    def on_update(self, n_samples: int) -> None:
        """Receive how many samples of the current epoch have been trained on; called about every second.

        Networks that train in one stack do not call it.
        """

    def between_updates(self) -> None:
        """Do something between two updates of an epoch; called about ten times a second.

        Networks that train in one stack do not call it.
        """

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Receive the record of a finished epoch."""

    def on_train_end(self, error: BaseException | None) -> None:
        """Clean up; called after every `on_train_begin`, even if that raised.

        Args:
            error: the exception that ended the training early, or None.
        """

    def __call__(self, record: EpochRecord) -> None:
        """Call `on_epoch_end`, so that a callback can be used like a function."""
        self.on_epoch_end(record)


class FunctionCallback(Callback):
    """A callback that passes each record to a function."""

    def __init__(self, function: EpochCallback) -> None:
        """Create a callback from a function that takes an `EpochRecord`."""
        self._function = function

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Call the function with the record."""
        self._function(record)


def as_callbacks(callbacks: EpochCallback | Sequence[EpochCallback] | None) -> list[Callback]:
    """Return a `callbacks` argument as a list of `Callback`s.

    Args:
        callbacks: one callable that takes an `EpochRecord`, a list of them, or None.

    Raises:
        ConfigError: an entry cannot be called.
    """
    given = (callbacks,) if callable(callbacks) else tuple(callbacks or ())
    if not all(map(callable, given)):
        raise ConfigError(
            f"callbacks must be a callable that takes an EpochRecord, or a list of them, got {callbacks!r}."
        )
    return [one if isinstance(one, Callback) else FunctionCallback(one) for one in given]


class AllCallbacks(Callback):
    """A callback that passes what it receives on to several, in their order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        """Create the callback."""
        self._callbacks = tuple(callbacks)

    def on_update(self, n_samples: int) -> None:
        """Pass the number on."""
        for callback in self._callbacks:
            callback.on_update(n_samples)

    def between_updates(self) -> None:
        """Pass the call on."""
        for callback in self._callbacks:
            callback.between_updates()

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Pass the record on."""
        for callback in self._callbacks:
            callback.on_epoch_end(record)


@contextmanager
def running_callbacks(callbacks: Sequence[Callback], context: RunContext) -> Iterator[Callback]:
    """Start callbacks, and end them when the block is left.

    Yields a callback that passes what it receives to all of them.
    """
    with ExitStack() as stack:
        for callback in callbacks:
            stack.push(lambda _kind, error, _trace, end=callback.on_train_end: end(error))
            callback.on_train_begin(context)
        yield AllCallbacks(callbacks)
