"""Train one network and write its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chalknet.artifacts.atomic import write_files
from chalknet.artifacts.checkpoint import CheckpointCallback, read_checkpoint
from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    MODEL_FILE,
    PICTURES,
    SUMMARY_FILE,
    is_complete,
    read_run,
    run_files,
)
from chalknet.engines.sharded import Shards
from chalknet.errors import DivergenceError, StoreError
from chalknet.network.model import Network
from chalknet.training.callbacks import Callback, RunContext, running_callbacks
from chalknet.training.notes import scaling_notes
from chalknet.training.trainer import Run, Trainer, run_epochs
from chalknet.workflows.model_scores import calibrated, model_scores_of
from chalknet.workflows.resolve import digest_of_data
from chalknet.workflows.train_options import TrainOptions

# A run folder keeps the scores of each validation sample up to this number of samples times epochs.
MAX_KEPT_SCORES = 10_000_000


def train_network(
    context: RunContext, options: TrainOptions, callbacks: Sequence[Callback] = (), shards: Shards | None = None
) -> Run:
    """Train one network, and write its run if the context has a folder.

    Args:
        context: the training. If it is resumed, it continues from the folder's checkpoint, or starts
            again if there is none.
        options: workers and checkpoints are taken from it.
        callbacks: the callbacks of the caller.
        shards: the shard workers, or None.

    Raises:
        DivergenceError: the loss is no longer finite. The weights of the best epoch are in the folder.
        StoppedError: options.must_stop returned True; a checkpoint is in the folder.
        StoreError: the checkpoint is damaged.
    """
    recipe, folder = context.recipe, context.folder
    if folder is not None and context.is_resumed and (folder / SUMMARY_FILE).exists():
        return _finish_run(_read_finished_run(folder, context))
    trainer = Trainer(
        context.data,
        context.splits,
        recipe,
        sample_weights=context.sample_weights,
        workers=options.workers,
        keep_sample_scores=folder is not None and len(context.splits.valid) * recipe.training.epochs <= MAX_KEPT_SCORES,
        shards=shards,
        scaling=context.scaling,
    )
    context = replace(context, notes=(*context.notes, *scaling_notes(trainer.scaling, context.data)))
    if folder is None:
        with running_callbacks(callbacks, context) as show:
            return calibrated(replace(run_epochs(trainer, show), notes=context.notes))
    start = None
    if context.is_resumed and (folder / CHECKPOINT_FILE).exists():
        start = read_checkpoint(folder / CHECKPOINT_FILE, trainer.digests)
        n_samples = 0 if start.unfinished is None else start.unfinished.scores.n_samples
        context = replace(context, history=start.history, n_samples=n_samples)
    checkpoint = CheckpointCallback(
        trainer,
        context,
        seconds=options.checkpoint_seconds,
        epochs=options.checkpoint_epochs,
        must_stop=options.must_stop,
    )
    with running_callbacks((*callbacks, checkpoint), context) as show:
        try:
            run = replace(run_epochs(trainer, show, start=start), folder=folder, notes=context.notes)
        except DivergenceError as error:
            raise _with_best_weights(error, context, folder) from error
    run = calibrated(run)
    checkpoint.write(run_files(run, context.origin))
    return _finish_run(run)


def _finish_run(run: Run) -> Run:
    """Remove the checkpoint of a finished run, and draw its curves if they are missing."""
    assert run.folder is not None, "a run without a folder has no files"
    # The checkpoint goes before the curves are drawn, because the run is finished even if drawing fails.
    (run.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    if not is_complete(run.folder):
        write_pictures(run, run.folder)
    return run


def _read_finished_run(folder: Path, context: RunContext) -> Run:
    """Read a run that an earlier start has finished."""
    run, network = read_run(folder), load_model(folder / MODEL_FILE)
    is_same = run.recipe == context.recipe and digest_of_data(run.data) == digest_of_data(context.origin)
    if not is_same or not isinstance(network, Network):
        raise StoreError(
            f"{folder}: holds a run with other settings or data. Restore {CONFIG_FILE} and the data as they were, "
            "or start a new training with another out (--out)."
        )
    kept, seconds = run.summary.kept_epoch, sum(record.seconds for record in run.history)
    found = Run(run.history, network, kept, context.recipe, context.data, context.splits, seconds, folder=folder)
    if run.summary.temperature is None:
        return found
    return replace(found, model_scores=model_scores_of(run), temperature=run.summary.temperature)


def _with_best_weights(error: DivergenceError, context: RunContext, folder: Path) -> DivergenceError:
    """Write the weights of the best epoch before a divergence, and name their file in the error."""
    if error.run is None:
        return error
    files = run_files(error.run, context.origin)
    write_files(folder, {name: files[name] for name in (MODEL_FILE, HISTORY_FILE, CONFIG_FILE)})
    which = "of the best epoch" if len(error.run.splits.valid) else "of the last finite epoch"
    named = DivergenceError(f"{error} The weights {which}, {error.run.kept_epoch}, are in {folder / MODEL_FILE}.")
    named.run = error.run
    return named


def write_pictures(run: Run, folder: Path) -> None:
    """Write the curves of a run into its folder."""
    from chalknet.reporting.drawings.curves import plot_curves
    from chalknet.reporting.drawings.picture import drawing_bytes

    drawing = plot_curves(run, title=curves_title(run))
    write_files(folder, {name: drawing_bytes(drawing, name[-3:]) for name in PICTURES})


def curves_title(run: Run) -> str:
    """Return the title of a run's curves; for an ensemble they are means over its networks."""
    seed, n = run.recipe.training.seed, len(run.members)
    what = f"mean of {n} networks, seeds from {seed} on" if n else f"seed {seed}"
    return f"{run.network.architecture}, {run.recipe.name} recipe, {what}"
