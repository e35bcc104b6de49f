"""Train several networks with different seeds and combine them into one model.

Each member is a run of its own, in the folder members/ of the ensemble's run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import tomli_w

from chalknet.artifacts.atomic import new_folder, remove_temporaries, write_files
from chalknet.artifacts.run_folder import CONFIG_FILE, MEMBERS, RUN_FILE_NAMES, run_files
from chalknet.config import Recipe, config_tables
from chalknet.data.folds import member_splits, without_test
from chalknet.data.splits import Splits
from chalknet.engines.sharded import Shards
from chalknet.network.model import Ensemble
from chalknet.records import MEASURES, SPLITS, EpochRecord, Scores
from chalknet.training.callbacks import Callback, RunContext
from chalknet.training.recipes import member_recipes
from chalknet.training.trainer import Run, input_scaling
from chalknet.workflows.model_scores import held_out, model_scores, scores_of_probabilities
from chalknet.workflows.single_run import train_network, write_pictures
from chalknet.workflows.train_options import TrainOptions


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
        ConfigError: there are fewer samples or groups than folds.
        DivergenceError, StoppedError, StoreError: see `train_network`.
    """
    folder, members = context.folder, member_contexts(context)
    if folder is not None:
        remove_temporaries(folder, RUN_FILE_NAMES)
        if not context.is_resumed:
            write_files(folder, {CONFIG_FILE: tomli_w.dumps(config_tables(context.recipe, context.origin)).encode()})
    runs = []
    for member in members:
        if folder is None:
            runs.append(train_network(member, options, callbacks, shards))
            continue
        place = folder / MEMBERS / f"seed{member.recipe.training.seed}"
        with new_folder(place):
            runs.append(train_network(replace(member, folder=place), options, callbacks, shards))
    run = replace(combine_runs(runs, context.recipe), folder=folder)
    if folder is not None:
        write_files(folder, run_files(run, context.origin))
        write_pictures(run, folder)
    return run


def member_contexts(context: RunContext) -> list[RunContext]:
    """Return the training of each network of an ensemble.

    With folds, each network has its own fold as validation part. All have the input scaling of all
    samples that are not test samples, because networks whose probabilities are averaged share it.
    """
    recipe, data = context.recipe, context.data
    splits = member_splits(data, context.splits, recipe)
    scaling = context.scaling
    if recipe.training.folds:
        scaling = input_scaling(data, without_test(context.splits), recipe)
    recipes = member_recipes(recipe)
    return [
        replace(context, recipe=one, splits=splits[k], scaling=scaling, number=k + 1, n_networks=len(recipes))
        for k, one in enumerate(recipes)
    ]


def combine_runs(runs: Sequence[Run], recipe: Recipe) -> Run:
    """Return the runs of the members as one run, whose network averages their probabilities.

    With `calibrate`, the logits of all networks are divided by one temperature, which is chosen
    for the averaged probabilities.
    """
    first, n_folds = runs[0], recipe.training.folds
    networks = [network for run in runs for network in run.network.members]
    found = held_out(networks, first.data, [run.splits.valid for run in runs], n_folds)
    notes, temperature = first.notes, None
    if recipe.training.calibrate:
        temperature, more = found.temperature()
        notes = (*notes, *more)
    ensemble = Ensemble(tuple(networks)).with_temperature(temperature or 1.0)
    pool = without_test(first.splits)
    splits = Splits(pool, pool, first.splits.test) if n_folds else first.splits
    history = mean_history(runs)
    n_epochs = len(history)
    seconds = sum(run.seconds for run in runs)
    train = model_scores(ensemble, first.data, splits.train)
    assert train is not None, "nothing trains without samples"
    valid = scores_of_probabilities(found.probabilities(temperature or 1.0), found.labels)
    whole = EpochRecord(n_epochs, train, valid, model_scores(ensemble, first.data, splits.test), seconds)
    run = Run(history, ensemble, n_epochs, recipe, first.data, splits, seconds)
    return replace(run, members=tuple(runs), model_scores=whole, temperature=temperature, notes=notes)


def mean_history(runs: Sequence[Run]) -> tuple[EpochRecord, ...]:
    """Return the mean scores of networks after each epoch, up to the shortest training."""
    n_epochs = min(len(run.history) for run in runs)
    return tuple(mean_record([run.history[epoch] for run in runs]) for epoch in range(n_epochs))


def mean_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """Return the mean scores of networks after one epoch, and the sum of their times."""
    means: dict[str, Scores | None] = {}
    for split in SPLITS:
        scores = [one for record in records if (one := record.scores(split)) is not None]
        means[split] = (
            Scores(**{name: fmean(getattr(one, name) for one in scores) for name in MEASURES}) if scores else None
        )
    train = means["train"]
    assert train is not None, "every epoch has training scores"
    return EpochRecord(records[0].epoch, train, means["valid"], means["test"], sum(one.seconds for one in records))
