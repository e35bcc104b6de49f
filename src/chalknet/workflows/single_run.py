"""One training from a settled task to its run folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from chalknet.artifacts.atomic import new_folder, write_files
from chalknet.artifacts.checkpoint import SECONDS, CheckpointWriter, read_unfinished, refuse_unfinished
from chalknet.artifacts.run_folder import CONFIG_FILE, HISTORY_FILE, MODEL_FILE, refuse_finished, run_files
from chalknet.config import DataConfig
from chalknet.engines.sharded import Shards
from chalknet.errors import DivergenceError
from chalknet.training.trainer import Begun, Checkpoint, Observer, Run, Trainer, run_epochs
from chalknet.workflows.task import Task


@dataclass(frozen=True)
class Checkpoints:
    """When a training with a folder takes a checkpoint; see `CheckpointWriter`."""

    seconds: float = SECONDS
    epochs: int | None = None
    must_stop: Callable[[], bool] | None = None
    whole: Path | None = None


KEPT_SCORES = 10_000_000  # validation samples times epochs, up to which a run folder keeps each one's score


@dataclass(frozen=True)
class Options:
    """What a training is told beside its task; nothing of it changes a number, shards the last digits excepted.

    Attributes:
        out: folder of the run, or None to write nothing. numbered: whether it is only the first of the names tried.
        overwrite: whether it may hold a finished run, or begin anew with an unfinished one.
        workers: threads, by default one a core. checkpoints: when one is taken.
        shards: who holds the samples, or None for this process alone; with them workers are each one's threads.
    """

    out: Path | None = None
    numbered: bool = False
    overwrite: bool = False
    workers: int | None = None
    checkpoints: Checkpoints = Checkpoints()
    shards: Shards | None = None


Watch = Callable[[Begun], AbstractContextManager[Observer | None]]


def nobody(begun: Begun) -> AbstractContextManager[Observer | None]:
    """Watches nothing."""
    del begun
    return nullcontext()


def train_run(
    task: Task,
    options: Options = Options(),
    watch: Watch = nobody,
    *,
    number: int = 1,
    of: int = 1,
    start: Checkpoint | None = None,
    is_resumed: bool = False,
) -> Run:
    """Trains one network.

    Args:
        watch: gives a context with who observes the epochs.
        number, of, is_resumed: as in `Begun`.
        start: where to go on in options.out.
    Returns:
        the run, whose `folder` says where it was written.
    Raises:
        StoppedError: options.checkpoints.must_stop said so; a checkpoint lies in the folder.
    """
    recipe, out = task.recipe, options.out
    few = out is not None and len(task.splits.valid) * recipe.training.epochs <= KEPT_SCORES
    trainer = Trainer(
        task.data,
        task.splits,
        recipe,
        sample_weights=task.sample_weights,
        workers=options.workers,
        keep_samples=few,
        shards=options.shards,
    )
    if out is None:
        with watch(Begun(recipe, None, number, of)) as observe:
            return run_epochs(trainer, observe)
    if not options.numbered and start is None:
        refuse_finished(out, options.overwrite)
        refuse_unfinished(out, options.overwrite)
    with new_folder(out, numbered=options.numbered) as folder:
        keep = CheckpointWriter(folder, recipe, task.origin, **vars(options.checkpoints))
        history = () if start is None else start.history
        begun = Begun(recipe, folder, number, of, history, is_resumed or start is not None)
        with keep.begun(), watch(begun) as observe:
            try:
                run = replace(run_epochs(trainer, observe, start=start, keep=keep), folder=folder)
            except DivergenceError as error:
                raise _told_with_best(error, folder, task.origin) from error
        keep.write(run_files(run, task.origin))
        keep.clear()  # a finished run needs none, whatever becomes of its pictures
        write_pictures(run, folder)
    return run


def resume_run(
    folder: Path, task: Task, options: Options = Options(), watch: Watch = nobody, *, number: int = 1, of: int = 1
) -> Run:
    """Goes on from a folder's checkpoint, or begins anew where it was stopped before the first.

    Arguments are as those of `train_run`.

    Raises:
        StoreError: the run is finished, was not begun, or its checkpoint is not whole.
    """
    recipe, _, start = read_unfinished(folder)
    its_own = replace(options, out=folder, numbered=False, overwrite=False)
    its_task = replace(task, recipe=recipe)
    return train_run(its_task, its_own, watch, number=number, of=of, start=start, is_resumed=True)


def _told_with_best(error: DivergenceError, folder: Path, origin: DataConfig) -> DivergenceError:
    """The error with where the weights of the best epoch before lie, which are written."""
    said = str(error)
    if error.run is not None:
        files = run_files(error.run, origin)
        write_files(folder, {name: files[name] for name in (MODEL_FILE, HISTORY_FILE, CONFIG_FILE)})
        is_best = len(error.run.splits.valid) > 0
        which = "of the best epoch" if is_best else "of the last finite epoch"
        said += f" The weights {which}, {error.run.kept_epoch}, are in {folder / MODEL_FILE}."
    told = DivergenceError(said)
    told.run = error.run
    return told


def write_run(run: Run, folder: Path, origin: DataConfig) -> None:
    """A run into an existing folder: first what cannot be made again, all of it together, then the pictures."""
    write_files(folder, run_files(run, origin))
    write_pictures(run, folder)


def write_pictures(run: Run, folder: Path) -> None:
    """The curves of a run into its folder."""
    from chalknet.reporting.drawings.curves import plot_curves
    from chalknet.reporting.drawings.picture import drawing_bytes

    drawing = plot_curves(run, title=curves_title(run))
    write_files(folder, {f"curves.{kind}": drawing_bytes(drawing, kind) for kind in ("png", "svg")})


def curves_title(run: Run) -> str:
    """What the curves of a run are of; those of an ensemble are the mean of its networks'."""
    seed, n = run.recipe.training.seed, len(run.members)
    what = f"mean of {n} networks, seeds from {seed} on" if n else f"seed {seed}"
    return f"{run.network.architecture}, {run.recipe.name} recipe, {what}"
