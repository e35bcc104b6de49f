"""Several networks from different seeds as one model: each a run of its own, in the folder members/ of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import tomli_w

from chalknet.artifacts.atomic import new_folder, remove_temporaries, write_files
from chalknet.artifacts.checkpoint import CHECKPOINT_FILE, WRITTEN, refuse_unfinished
from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import CONFIG_FILE, MODEL_FILE, SUMMARY_FILE, read_run, read_summary, refuse_finished
from chalknet.config import Recipe, config_tables
from chalknet.data.dataset import Dataset
from chalknet.errors import OutputError, StoreError
from chalknet.machine.blas import one_blas_thread
from chalknet.network.metrics import mean_scores, score
from chalknet.network.model import Ensemble, Network
from chalknet.records import MEASURES, PARTS, EpochRecord, Scores
from chalknet.training.trainer import Run
from chalknet.workflows.single_run import Options, Watch, nobody, resume_run, train_run, write_run
from chalknet.workflows.task import Task

MEMBERS = "members"
ROWS_AT_ONCE = 4_096


def train_ensemble(task: Task, options: Options = Options(), watch: Watch = nobody) -> Run:
    """Trains `recipe.training.ensemble` networks, from the seeds `seed`, `seed` + 1, ..., one after the other.

    Args:
        options: whose out is the folder of the whole; the members' run folders are in its members/.
        watch: gives a context for each network, with who observes its epochs.
    Returns:
        a `Run` whose network is an `Ensemble`.
    Raises:
        as `train_run`.
    """
    if options.out is None:
        members = member_recipes(task.recipe)
        runs = [
            train_run(replace(task, recipe=member), options, watch, number=number, of=len(members))
            for number, member in enumerate(members, start=1)
        ]
        return joined(runs, task.recipe)
    if not options.numbered:
        refuse_finished(options.out, options.overwrite)
        _refuse_begun(options.out, options.overwrite)
    with new_folder(options.out, numbered=options.numbered) as folder:
        config = tomli_w.dumps(config_tables(task.recipe, task.origin)).encode()
        write_files(folder, {CONFIG_FILE: config})
        return _train_members(folder, task, options, watch)


def go_on(folder: Path, task: Task, options: Options = Options(), watch: Watch = nobody) -> Run:
    """The members that are not finished yet, and then the whole; arguments as `train_ensemble`."""
    return _train_members(folder, task, replace(options, overwrite=False), watch, is_resumed=True)


def _train_members(folder: Path, task: Task, options: Options, watch: Watch, is_resumed: bool = False) -> Run:
    """Each network in its folder, but those that an earlier start has finished, and then the whole."""
    remove_temporaries(folder, WRITTEN)
    members, runs = member_recipes(task.recipe), []
    for number, recipe in enumerate(members, start=1):
        place = folder / MEMBERS / f"seed{recipe.training.seed}"
        checkpoints = replace(options.checkpoints, whole=folder)
        own = replace(options, out=place, numbered=False, checkpoints=checkpoints)
        member = replace(task, recipe=recipe)
        which: dict[str, Any] = {"number": number, "of": len(members)}
        if (place / SUMMARY_FILE).exists() and not options.overwrite:
            runs.append(_finished(place, member))
        elif (place / CHECKPOINT_FILE).exists() and not options.overwrite:
            runs.append(resume_run(place, member, own, watch, **which))
        else:
            runs.append(train_run(member, own, watch, **which, is_resumed=is_resumed))
    run = replace(joined(runs, task.recipe), folder=folder)
    write_run(run, folder, task.origin)
    return run


def is_unfinished_ensemble(folder: Path) -> bool:
    """Whether a folder holds an ensemble's members and not yet the whole."""
    return (folder / MEMBERS).is_dir() and not (folder / SUMMARY_FILE).exists()


def member_recipes(recipe: Recipe) -> list[Recipe]:
    """A recipe for each network: its own seed, and no ensemble."""
    first, n = recipe.training.seed, recipe.training.ensemble
    return [recipe.with_settings(seed=(first + k) % 2**32, ensemble=1) for k in range(n)]


def joined(runs: list[Run], recipe: Recipe) -> Run:
    """The runs of the members as one; their networks answer together."""
    networks = [network for run in runs for network in run.network.members]
    ensemble, first = Ensemble(tuple(networks)), runs[0]
    n_epochs = min(len(run.history) for run in runs)
    history = tuple(_mean_record([run.history[epoch] for run in runs]) for epoch in range(n_epochs))
    seconds = sum(run.seconds for run in runs)
    parts = {name: _scores(ensemble, first.data, index) for name, index in first.splits.named().items()}
    train = parts["train"]
    assert train is not None, "nothing trains without samples"
    together = EpochRecord(n_epochs, train, parts["valid"], parts["test"], seconds)
    return Run(
        history, ensemble, n_epochs, recipe, first.data, first.splits, seconds, members=tuple(runs), together=together
    )


def _scores(ensemble: Ensemble, data: Dataset, index: Any) -> Scores | None:
    """L2, M1 and M2 of averaged probabilities on some samples, some at a time."""
    scores, sizes = [], []
    with one_blas_thread():
        for start in range(0, len(index), ROWS_AT_ONCE):
            some = index[start : start + ROWS_AT_ONCE]
            probabilities = ensemble.predict_proba(data.inputs[some])
            tiny = np.finfo(probabilities.dtype).tiny
            # Softmax of logarithms of probabilities is the probabilities.
            scores.append(score(np.log(np.maximum(probabilities, tiny)), data.labels[some]))
            sizes.append(len(some))
    return mean_scores(scores, sizes) if scores else None


def _mean_record(records: list[EpochRecord]) -> EpochRecord:
    means: dict[str, Scores | None] = {}
    for part in PARTS:
        scores = [one for record in records if (one := record.part(part)) is not None]
        means[part] = (
            Scores(**{name: fmean(getattr(one, name) for one in scores) for name in MEASURES}) if scores else None
        )
    train = means["train"]
    assert train is not None, "every epoch has training scores"
    return EpochRecord(records[0].epoch, train, means["valid"], means["test"], sum(one.seconds for one in records))


def _finished(place: Path, task: Task) -> Run:
    """A member that an earlier start has finished."""
    run, network = read_run(place), load_model(place / MODEL_FILE)
    if run.recipe != task.recipe or not isinstance(network, Network):
        raise StoreError(f"{place}: holds a run of other settings. Choose another --out, or add --overwrite.")
    kept = int(read_summary(place)["kept"]["epoch"])
    seconds = sum(record.seconds for record in run.history)
    return Run(run.history, network, kept, task.recipe, task.data, task.splits, seconds, folder=place)


def _refuse_begun(folder: Path, overwrite: bool) -> None:
    refuse_unfinished(folder, overwrite)
    if not overwrite and is_unfinished_ensemble(folder):
        raise OutputError(
            f"{folder}: holds an unfinished run. chalknet train --resume {folder} goes on with it; --overwrite begins "
            "anew."
        )
