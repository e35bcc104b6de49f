"""Read a run folder as `StudyResults`, so that reports show runs, ensembles and studies alike."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import MEMBERS, MODEL_FILE, FinishedRun, read_run
from chalknet.config import CUSTOM_SPLIT, SAME_AS_SEED, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.folds import member_splits
from chalknet.data.splits import Splits
from chalknet.machine.blas import one_blas_thread
from chalknet.network.arrays import FloatArray
from chalknet.network.model import Classifier
from chalknet.reporting.report_data import EnsembleResult
from chalknet.studies.configurations import Configuration
from chalknet.studies.intervals import Interval
from chalknet.studies.random_effects import gain_of_averaging
from chalknet.studies.results import DataFacts, LabeledPredictions, RunResult, StudyResults
from chalknet.studies.search_space import make_configuration
from chalknet.studies.spec import StudySpec
from chalknet.training.recipes import SINGLE_NETWORK, member_recipes
from chalknet.workflows.model_scores import held_out, model_scores_of

LEVEL = 0.95  # of intervals


def results_of_run(run: FinishedRun, data: Dataset | None, splits: Splits | None) -> StudyResults:
    """Return a finished run as a study with one configuration.

    The seeds of the study are the networks: one for a run, several for an ensemble.

    Args:
        run: from `read_run`.
        data: the run's samples, from which predictions are computed again; None if they are missing.
        splits: the run's splits, or None.

    Raises:
        StoreError: summary.json is damaged, or a network of an ensemble is missing.
        ModelFileError: a model file is damaged.
    """
    network = load_model(run.folder / MODEL_FILE)
    summary, spec = run.summary, spec_of_run(run)
    (config,), seeds = (make_configuration(spec, {}),), tuple(spec.first_seed + k for k in range(spec.seeds))
    divided = splits_by_network(run.recipe, data, splits)
    run_results = {
        seed: _run_result(one, data, own) for seed, one, own in zip(seeds, member_runs(run), divided, strict=True)
    }
    facts = DataFacts(
        source=summary.source,
        sha256=summary.sha256,
        samples=summary.n_samples,
        class_names=network.class_names,
        sample_shape=network.image_shape or (network.architecture.n_inputs,),
        split_sizes=dict(summary.sizes),
    )

    def load(asked: Configuration, of_seed: int) -> RunResult:
        assert asked.key == config.key, "there is one configuration"
        return run_results[of_seed]

    done = {(config.key, seed): "done" for seed in seeds}
    return StudyResults(spec, facts, (config,), seeds, done, {}, load, run.folder)


def member_runs(run: FinishedRun) -> list[FinishedRun]:
    """Return the runs of an ensemble's networks, or the run itself.

    Raises:
        StoreError: one of them is missing or damaged.
    """
    if run.recipe.training.ensemble == 1:
        return [run]
    return [read_run(run.folder / MEMBERS / f"seed{one.training.seed}") for one in member_recipes(run.recipe)]


def splits_by_network(recipe: Recipe, data: Dataset | None, splits: Splits | None) -> list[Splits | None]:
    """Return the splits of each network of a run; None where the samples are missing.

    Args:
        recipe: the recipe of the run.
        data: the run's samples, or None.
        splits: the run's splits, or None. With folds, each network has others.
    """
    if data is None or splits is None:
        return [None] * recipe.training.ensemble
    return [*member_splits(data, splits, recipe)]


def ensemble_result(
    run: FinishedRun, results: StudyResults, data: Dataset | None, splits: Splits | None
) -> EnsembleResult | None:
    """Return the results of an ensemble as one model; None for a run of one network.

    Raises:
        StoreError: summary.json is damaged.
    """
    if run.recipe.training.ensemble == 1:
        return None
    network = load_model(run.folder / MODEL_FILE)
    scores = {split: values for split, values in run.summary.kept.items() if values is not None}
    run_results = list(results.finished_runs(results.configurations[0]).values())
    predictions, gains = {}, {}
    for split, own in scores.items():
        each = [one.accuracy for result in run_results if (one := result.kept.scores(split)) is not None]
        is_out_of_fold = split == "valid" and run.recipe.training.folds > 0
        if not is_out_of_fold or run.recipe.training.ensemble > run.recipe.training.folds:
            gains[split] = Interval(own.accuracy - fmean(each), math.nan, math.nan, LEVEL)
        if split == "train":
            continue
        if is_out_of_fold:
            found, members = _out_of_fold(run, data, splits)
        else:
            found = _predictions(network, data, splits, split)
            members = [answers.correct for result in run_results if (answers := result.predictions(split)) is not None]
        if found is not None:
            predictions[split] = found
            if len(found.labels) > 1 and split in gains:
                gains[split] = gain_of_averaging(found.correct, np.stack(members), LEVEL)
    return EnsembleResult(scores, predictions, gains)


def _out_of_fold(
    run: FinishedRun, data: Dataset | None, splits: Splits | None
) -> tuple[LabeledPredictions | None, list[NDArray[np.bool_]]]:
    """Return the predictions of the networks that did not train on a sample, and which are correct by network.

    The second item has a row for each network that a sample was predicted by.
    """
    if data is None or splits is None:
        return None, []
    networks = [network for one in member_runs(run) for network in load_model(one.folder / MODEL_FILE).members]
    valid = [own.valid for own in member_splits(data, splits, run.recipe)]
    found = held_out(networks, data, valid, run.recipe.training.folds)
    probabilities = found.probabilities(run.summary.temperature or 1.0)
    correct = [one.argmax(axis=1) == found.labels for one in found.logits]
    return _labeled(probabilities, found.labels, found.index), correct


def spec_of_run(run: FinishedRun) -> StudySpec:
    """Return the run's recipe as a study with one configuration and a seed for each network."""
    recipe: Recipe = run.recipe
    vary = ("init", "order") if recipe.training.batch_seed == SAME_AS_SEED else ("init",)
    vary = (*vary, "split") if recipe.training.folds else vary
    # A specification cannot hold index arrays, so another method stands in for them.
    split_rule = "writeup" if recipe.split.split == CUSTOM_SPLIT else recipe.split.split
    training = replace(recipe.training, seed=0, **SINGLE_NETWORK)
    plain = replace(recipe, training=training, split=replace(recipe.split, split=split_rule))
    n_networks, first = recipe.training.ensemble, recipe.training.seed
    return StudySpec(plain, seeds=n_networks, first_seed=first, seeds_vary=vary, data=run.data)


def _run_result(run: FinishedRun, data: Dataset | None, splits: Splits | None) -> RunResult:
    network = load_model(run.folder / MODEL_FILE)
    n_epochs = len(run.history)
    losses, correct = run.valid_losses, run.valid_correct
    return RunResult(
        history=run.history,
        kept_epoch=run.summary.kept_epoch,
        seconds=run.summary.seconds,
        trained=f"{run.recipe.training.engine} engine, {run.recipe.training.dtype}",
        machine=dict(run.summary.machine),
        valid=_predictions(network, data, splits, "valid"),
        test=_predictions(network, data, splits, "test"),
        valid_losses=np.zeros((n_epochs, 0), np.float16) if losses is None else losses,
        valid_correct=np.zeros((n_epochs, 0), bool) if correct is None else correct,
        model_scores=None if run.summary.temperature is None else model_scores_of(run),
    )


def _predictions(
    network: Classifier, data: Dataset | None, splits: Splits | None, split: str
) -> LabeledPredictions | None:
    """Return the predictions for a split, or None if it is empty or its samples are missing."""
    if data is None or splits is None or not len(splits.named()[split]):
        return None
    index = splits.named()[split]
    with one_blas_thread():
        probabilities = network.predict_proba(data.inputs[index])
    return _labeled(probabilities, data.labels[index], index)


def _labeled(probabilities: FloatArray, labels: NDArray[np.int64], index: NDArray[np.int64]) -> LabeledPredictions:
    """Return predictions from the (N, K) probabilities of samples at these positions."""
    rows = np.arange(len(index))
    predicted: NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
    return LabeledPredictions(
        labels=labels,
        predicted=predicted,
        confidence=probabilities[rows, predicted].astype(np.float32),
        true_probability=probabilities[rows, labels].astype(np.float32),
        index=index,
    )
