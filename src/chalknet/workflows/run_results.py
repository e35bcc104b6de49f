"""A run's folder as `StudyResults` of one cell and one seed, so that whatever shows a study shows a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.model_file import load_model
from chalknet.artifacts.run_folder import MODEL_FILE, SUMMARY_FILE, FinishedRun, read_summary
from chalknet.config import GIVEN, SAME, Recipe
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.errors import StoreError
from chalknet.machine.blas import one_blas_thread
from chalknet.network.model import Classifier
from chalknet.studies.cells import Cell
from chalknet.studies.results import DataFacts, Predictions, StudyResults, UnitResult
from chalknet.studies.space import make_cell
from chalknet.studies.spec import StudySpec


def results_of_run(run: FinishedRun, data: Dataset | None, splits: Splits | None) -> StudyResults:
    """A finished run as a study of one training.

    Args:
        run: from `read_run`.
        data, splits: the run's samples and their division, by which its predictions are made again; without them only
            what the folder holds is known.
    Raises:
        StoreError: summary.json is damaged. ModelFileError: the model file is.
    """
    network = load_model(run.folder / MODEL_FILE)
    summary = read_summary(run.folder)
    spec = spec_of_run(run)
    cell, seed = make_cell(spec, {}), spec.first_seed
    try:
        unit = _unit(run, summary, network, data, splits)
        facts = DataFacts(
            source=str(summary["data"]["source"]),
            sha256=str(summary["data"]["sha256"]),
            samples=int(summary["data"]["samples"]),
            class_names=network.class_names,
            sample_shape=network.image_shape or (network.architecture.n_inputs,),
            split_sizes={part: int(summary["samples"][part]) for part in ("train", "valid", "test")},
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(f"{run.folder / SUMMARY_FILE}: is not what a run writes ({error!r}).") from error

    def load(asked: Cell, of_seed: int) -> UnitResult:
        assert (asked.key, of_seed) == (cell.key, seed), "there is one training"
        return unit

    return StudyResults(spec, facts, (cell,), (seed,), {(cell.key, seed): "done"}, {}, load, run.folder)


def spec_of_run(run: FinishedRun) -> StudySpec:
    """The run's recipe as a question with one cell and one seed.

    Raises:
        StoreError: the run is an ensemble's, whose history is a mean and whose networks answer together.
    """
    recipe: Recipe = run.recipe
    if recipe.training.ensemble > 1:
        member = f"{run.folder}/members/seed{recipe.training.seed}"
        raise StoreError(f"{run.folder}: holds an ensemble, and this is made of single runs. Name a member: {member}.")
    vary = ("init", "order") if recipe.training.batch_seed == SAME else ("init",)
    seed = recipe.training.seed
    split = "writeup" if recipe.split.split == GIVEN else recipe.split.split  # a question cannot hold index arrays
    plain = replace(recipe, training=replace(recipe.training, seed=0), split=replace(recipe.split, split=split))
    return StudySpec(plain, seeds=1, first_seed=seed, seeds_vary=vary, data=run.data)


def _unit(
    run: FinishedRun, summary: dict[str, Any], network: Classifier, data: Dataset | None, splits: Splits | None
) -> UnitResult:
    n_epochs = len(run.history)
    losses, right = run.valid_losses, run.valid_right
    kept = int(summary["kept"]["epoch"])
    if not 1 <= kept <= n_epochs:
        raise ValueError(f"keeps epoch {kept} of {n_epochs}")
    return UnitResult(
        history=run.history,
        kept_epoch=kept,
        seconds=float(summary["seconds"]),
        trained=f"{run.recipe.training.engine} engine, {run.recipe.training.dtype}",
        machine=dict(summary["machine"]),
        valid=_predictions(network, data, splits, "valid"),
        test=_predictions(network, data, splits, "test"),
        valid_losses=np.zeros((n_epochs, 0), np.float16) if losses is None else losses,
        valid_right=np.zeros((n_epochs, 0), bool) if right is None else right,
    )


def _predictions(network: Classifier, data: Dataset | None, splits: Splits | None, part: str) -> Predictions | None:
    """What the run's network says of a part; None where the part is empty or its samples are not there."""
    if data is None or splits is None or not len(splits.named()[part]):
        return None
    index = splits.named()[part]
    with one_blas_thread():
        probabilities = network.predict_proba(data.inputs[index])
    rows = np.arange(len(index))
    predicted: NDArray[np.int64] = probabilities.argmax(axis=1).astype(np.int64)
    return Predictions(
        labels=data.labels[index],
        predicted=predicted,
        confidence=probabilities[rows, predicted].astype(np.float32),
        true_probability=probabilities[rows, data.labels[index]].astype(np.float32),
        index=index,
    )
