"""Dense neural-network classifiers with gradients that are derived by hand and documented.

    data = chalknet.load_data("notMNIST.npz")
    run = chalknet.train(data, recipe="writeup", hidden=[1000], epochs=200, seed=0)
    run.network.predict_proba(images)

This file is the index of the public names. A name is imported on first use, so that
`import chalknet` is fast. tests/test_public_names.py checks that the index and docs/guide/python.md
name the same things.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chalknet.version import __version__

if TYPE_CHECKING:
    from chalknet.artifacts.csv_writer import CsvWriter
    from chalknet.artifacts.mlflow_writer import MlflowWriter
    from chalknet.artifacts.model_file import load_model, save_model
    from chalknet.artifacts.tensorboard_writer import TensorBoardWriter
    from chalknet.config import Recipe
    from chalknet.data.audit import audit
    from chalknet.data.dataset import Dataset, dataset_from_arrays
    from chalknet.data.load import load_data
    from chalknet.data.preprocess import flatten, one_hot
    from chalknet.data.splits import Splits, split_dataset
    from chalknet.errors import (
        ChalknetError,
        ConfigError,
        DataError,
        DivergenceError,
        MissingExtraError,
        ModelFileError,
        OutputError,
        ShapeError,
        StoppedError,
        StoreError,
    )
    from chalknet.network.architecture import Architecture
    from chalknet.network.initializers import initial_parameters
    from chalknet.network.metrics import accuracy
    from chalknet.network.model import Ensemble, Network
    from chalknet.records import EpochRecord, Scores
    from chalknet.reporting.drawings.curves import plot_curves
    from chalknet.reporting.drawings.images import show_images
    from chalknet.studies.results import StudyResults
    from chalknet.studies.results_reader import read_results
    from chalknet.training.recipes import recipe
    from chalknet.training.trainer import Run, Trainer
    from chalknet.workflows.classifier import ChalkClassifier
    from chalknet.workflows.compare import ModelComparison, compare
    from chalknet.workflows.evaluate import evaluate
    from chalknet.workflows.exercise import check_exercise, new_exercise
    from chalknet.workflows.export import export_model
    from chalknet.workflows.predict import predict
    from chalknet.workflows.report import report
    from chalknet.workflows.serve import serve
    from chalknet.workflows.study import study
    from chalknet.workflows.train import resume, train
    from chalknet.workflows.watch import watch
    from chalknet.workflows.writeup import writeup

_MODULE_OF_NAME = {
    "Architecture": "network.architecture",
    "ChalkClassifier": "workflows.classifier",
    "ChalknetError": "errors",
    "ConfigError": "errors",
    "CsvWriter": "artifacts.csv_writer",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "DivergenceError": "errors",
    "Ensemble": "network.model",
    "EpochRecord": "records",
    "MissingExtraError": "errors",
    "MlflowWriter": "artifacts.mlflow_writer",
    "ModelComparison": "workflows.compare",
    "ModelFileError": "errors",
    "Network": "network.model",
    "OutputError": "errors",
    "Recipe": "config",
    "Run": "training.trainer",
    "Scores": "records",
    "ShapeError": "errors",
    "StoppedError": "errors",
    "Splits": "data.splits",
    "StoreError": "errors",
    "StudyResults": "studies.results",
    "TensorBoardWriter": "artifacts.tensorboard_writer",
    "Trainer": "training.trainer",
    "accuracy": "network.metrics",
    "audit": "data.audit",
    "check_exercise": "workflows.exercise",
    "compare": "workflows.compare",
    "dataset_from_arrays": "data.dataset",
    "evaluate": "workflows.evaluate",
    "export_model": "workflows.export",
    "flatten": "data.preprocess",
    "initial_parameters": "network.initializers",
    "load_data": "data.load",
    "load_model": "artifacts.model_file",
    "new_exercise": "workflows.exercise",
    "one_hot": "data.preprocess",
    "plot_curves": "reporting.drawings.curves",
    "predict": "workflows.predict",
    "read_results": "studies.results_reader",
    "recipe": "training.recipes",
    "report": "workflows.report",
    "resume": "workflows.train",
    "save_model": "artifacts.model_file",
    "serve": "workflows.serve",
    "show_images": "reporting.drawings.images",
    "split_dataset": "data.splits",
    "study": "workflows.study",
    "train": "workflows.train",
    "watch": "workflows.watch",
    "writeup": "workflows.writeup",
}

# Not in __all__, so that `from chalknet import *` works without the extras that these names need.
_NEEDS_AN_EXTRA = ("ChalkClassifier",)

__all__ = [
    "Architecture",
    "ChalknetError",
    "ConfigError",
    "CsvWriter",
    "DataError",
    "Dataset",
    "DivergenceError",
    "Ensemble",
    "EpochRecord",
    "MissingExtraError",
    "MlflowWriter",
    "ModelComparison",
    "ModelFileError",
    "Network",
    "OutputError",
    "Recipe",
    "Run",
    "Scores",
    "ShapeError",
    "Splits",
    "StoppedError",
    "StoreError",
    "StudyResults",
    "TensorBoardWriter",
    "Trainer",
    "accuracy",
    "audit",
    "check_exercise",
    "compare",
    "dataset_from_arrays",
    "evaluate",
    "export_model",
    "flatten",
    "initial_parameters",
    "load_data",
    "load_model",
    "new_exercise",
    "one_hot",
    "plot_curves",
    "predict",
    "read_results",
    "recipe",
    "report",
    "resume",
    "save_model",
    "serve",
    "show_images",
    "split_dataset",
    "study",
    "train",
    "watch",
    "writeup",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'chalknet' has no attribute {name!r}")
    value = getattr(import_module(f"chalknet.{_MODULE_OF_NAME[name]}"), name)
    globals()[name] = value  # later uses do not call __getattr__ again
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return [*__all__, *_NEEDS_AN_EXTRA, "__version__"]
