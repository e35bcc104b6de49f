"""`MlflowWriter`: an observer that writes each epoch's scores as metrics of an MLflow run."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Self

from chalknet.config import SECTIONS, Recipe
from chalknet.errors import MissingExtraError
from chalknet.records import PARTS, EpochRecord

MEASURES = ("loss", "accuracy")


class MlflowWriter:
    """Metrics train_loss, valid_accuracy, ... at step = epoch, and the recipe as parameters, of a new MLflow run.

    Args:
        uri: of the tracking store, such as "sqlite:///mlflow.db" or a server's; None for what MLflow is set to.
        experiment: its name; made if it is not there.
        run_name: of the run, or None for one that MLflow makes up.
        recipe: whose fields become parameters such as "optimizer.learning_rate"; None for none.
    Raises:
        MissingExtraError: MLflow is not there.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        experiment: str = "chalknet",
        run_name: str | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        os.environ.setdefault(
            "MLFLOW_DISABLE_TELEMETRY", "true"
        )  # before MLflow is imported; chalknet reports to nobody
        try:
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtraError('an MLflow log needs MLflow: pip install "chalknet[mlflow]".') from error
        self._metric: Any = Metric
        self._client: Any = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(experiment)
        place = self._client.create_experiment(experiment) if found is None else found.experiment_id
        self._run: str = self._client.create_run(place, run_name=run_name).info.run_id
        self._is_open, self._failed = True, False
        if recipe is not None:
            params = [Param(key, value) for key, value in recipe_parameters(recipe).items()]
            self._client.log_batch(self._run, params=params)

    @property
    def run_id(self) -> str:
        """The run's identity in its store."""
        return self._run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = error is not None
        self.close()

    def __call__(self, record: EpochRecord) -> None:
        now = int(1_000 * time.time())
        metrics = [
            self._metric(f"{part}_{measure}", getattr(scores, measure), now, record.epoch)
            for part in PARTS
            if (scores := record.part(part)) is not None
            for measure in MEASURES
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        """Marks the run as finished, or as failed where an error ended it; it may be called more than once."""
        if self._is_open:
            self._client.set_terminated(self._run, status="FAILED" if self._failed else "FINISHED")
            self._is_open = False


def recipe_parameters(recipe: Recipe) -> dict[str, str]:
    """A recipe's fields as text, by "section.field"."""
    return {"recipe": recipe.name} | {
        f"{section}.{name}": str(value)
        for section in SECTIONS
        for name, value in vars(getattr(recipe, section)).items()
    }
