"""Train several networks with different seeds and combine them into one model.

Each member is a run of its own, in the folder members/ of the ensemble's run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import tomli_w

from chalknet.artifacts.atomic import new_folder, remove_temporaries, write_files
from chalknet.artifacts.run_folder import CONFIG_FILE, MEMBERS, RUN_FILE_NAMES, run_files
from chalknet.config import Recipe, config_tables
from chalknet.data.dataset import Dataset
from chalknet.engines.sharded import Shards
from chalknet.machine.blas import one_blas_thread
from chalknet.network.metrics import mean_scores, score
from chalknet.network.model import Ensemble
from chalknet.records import MEASURES, SPLITS, EpochRecord, Scores
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.recipes import member_recipes
from chalknet.training.trainer import Run
from chalknet.workflows.single_run import train_network, write_pictures
from chalknet.workflows.train_options import TrainOptions

BATCH_ROWS = 4_096


def train_ensemble(
    context: RunContext, options: TrainOptions, callbacks: Sequence[Callback] = (), shards: Shards | None = None
) -> Run:
    """Train `recipe.training.ensemble` networks with the seeds `seed`, `seed` + 1, ..., in turn.

    If the context has a folder, each network has a run folder in its members/. A member that an
    earlier start has finished is not trained again.

    Args:
        context: the training.
        options: workers and checkpoints are taken from it.
        callbacks: callbacks for every member.
        shards: the shard workers, or None.

    Returns:
        A `Run` whose network is an `Ensemble`.

    Raises:
        DivergenceError, StoppedError, StoreError: see `train_network`.
    """
    folder, recipes = context.folder, member_recipes(context.recipe)
    if folder is not None:
        remove_temporaries(folder, RUN_FILE_NAMES)
        if not context.is_resumed:
            write_files(folder, {CONFIG_FILE: tomli_w.dumps(config_tables(context.recipe, context.origin)).encode()})
    runs = []
    for number, recipe in enumerate(recipes, start=1):
        member = replace(context, recipe=recipe, number=number, n_networks=len(recipes))
        if folder is None:
            runs.append(train_network(member, options, callbacks, shards))
            continue
        place = folder / MEMBERS / f"seed{recipe.training.seed}"
        with new_folder(place):
            runs.append(train_network(replace(member, folder=place), options, callbacks, shards))
    run = replace(combine_runs(runs, context.recipe), folder=folder)
    if folder is not None:
        write_files(folder, run_files(run, context.origin))
        write_pictures(run, folder)
    return run


def combine_runs(runs: list[Run], recipe: Recipe) -> Run:
    """Return the runs of the members as one run, whose network averages their probabilities."""
    networks = [network for run in runs for network in run.network.members]
    ensemble, first = Ensemble(tuple(networks)), runs[0]
    n_epochs = min(len(run.history) for run in runs)
    history = tuple(_mean_record([run.history[epoch] for run in runs]) for epoch in range(n_epochs))
    seconds = sum(run.seconds for run in runs)
    parts = {name: _scores(ensemble, first.data, index) for name, index in first.splits.named().items()}
    train = parts["train"]
    assert train is not None, "nothing trains without samples"
    together = EpochRecord(n_epochs, train, parts["valid"], parts["test"], seconds)
    run = Run(history, ensemble, n_epochs, recipe, first.data, first.splits, seconds)
    return replace(run, members=tuple(runs), ensemble_scores=together, notes=first.notes)


def _scores(ensemble: Ensemble, data: Dataset, index: Any) -> Scores | None:
    """Return loss (L2), accuracy (M1) and printed loss (M2) of averaged probabilities, in batches."""
    scores, sizes = [], []
    with one_blas_thread():
        for start in range(0, len(index), BATCH_ROWS):
            some = index[start : start + BATCH_ROWS]
            probabilities = ensemble.predict_proba(data.inputs[some])
            tiny = np.finfo(probabilities.dtype).tiny
            # Softmax of logarithms of probabilities is the probabilities.
            scores.append(score(np.log(np.maximum(probabilities, tiny)), data.labels[some]))
            sizes.append(len(some))
    return mean_scores(scores, sizes) if scores else None


def _mean_record(records: list[EpochRecord]) -> EpochRecord:
    means: dict[str, Scores | None] = {}
    for split in SPLITS:
        scores = [one for record in records if (one := record.scores(split)) is not None]
        means[split] = (
            Scores(**{name: fmean(getattr(one, name) for one in scores) for name in MEASURES}) if scores else None
        )
    train = means["train"]
    assert train is not None, "every epoch has training scores"
    return EpochRecord(records[0].epoch, train, means["valid"], means["test"], sum(one.seconds for one in records))
