"""`MlflowWriter`: a callback that writes each epoch's scores as metrics of an MLflow run."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from chalknet.artifacts.atomic import write_files
from chalknet.artifacts.log_writer import LogWriter, error_reason, warn
from chalknet.checked import read_json
from chalknet.config import SECTIONS, Recipe
from chalknet.errors import MissingExtraError, OutputError, StoppedError
from chalknet.records import EpochRecord
from chalknet.training.callbacks import RunContext

# Read by MLflow at each request: two tries of four seconds.
SHORT_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
RUN_FILE = "mlflow.json"  # in a run's folder: which MLflow run logs it
MAX_RUN_FILE_BYTES = 100_000


class MlflowWriter(LogWriter):
    """Metrics train_loss, valid_accuracy, ... at step = epoch, and the recipe as parameters, of an MLflow run.

    The run is made with the first epoch. A training that goes on in its folder goes on with the same run, whose
    identity stands in the folder's mlflow.json. Of an ensemble, each network has a run NAME-seedN.

    Args:
        uri: of the tracking store, such as "sqlite:///mlflow.db" or a server's; None for what MLflow is set to.
        experiment: its name; made if it is not there.
        run_name: of the run; by default recipe and seed.
        recipe: whose fields become parameters such as "optimizer.learning_rate"; by default the training's.
        on_failure: gets the line that says that the store can no longer be written; by default it is a warning.
    Raises:
        MissingExtraError: MLflow is not there. OutputError: its store cannot be opened.
    """

    failures = (Exception,)  # a store may be a data base or a server, each with errors of its own

    def __init__(
        self,
        uri: str | None = None,
        *,
        experiment: str = "chalknet",
        run_name: str | None = None,
        recipe: Recipe | None = None,
        on_failure: Callable[[str], None] = warn,
    ) -> None:
        super().__init__("MLflow" if uri is None else f"MLflow, {uri}", on_failure)
        # Before MLflow is imported; chalknet reports to nobody.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtraError('an MLflow log needs MLflow: pip install "chalknet[mlflow]".') from error
        self._metric, self._param = Metric, Param
        self.view_command = "mlflow ui" if uri is None else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
        self._uri, self._experiment, self._name, self._recipe = uri, experiment, run_name, recipe
        try:
            with _short_timeouts():
                self._client: Any = MlflowClient(tracking_uri=uri)
                found = self._client.get_experiment_by_name(experiment)
                self._experiment_id = (
                    self._client.create_experiment(experiment) if found is None else found.experiment_id
                )
        except Exception as error:
            raise OutputError(f"{self.destination}: cannot be opened: {_connection_error(error)}.") from error
        self._run: str | None = None
        self._is_open = False
        self._folder: Path | None = None
        self._last_steps: dict[str, int] = {}  # the last step that an earlier start logged, by metric

    @property
    def run_id(self) -> str | None:
        """The run's identity in its store; None before the first epoch."""
        return self._run

    def for_member(self, context: RunContext) -> Self:
        name = None if self._name is None else f"{self._name}-seed{context.recipe.training.seed}"
        return type(self)(
            self._uri, experiment=self._experiment, run_name=name, recipe=context.recipe, on_failure=self.on_failure
        )

    def begin(self, context: RunContext) -> None:
        self._recipe, self._folder = self._recipe or context.recipe, context.folder
        self._run, self._last_steps = None, {}
        if context.is_resumed and context.folder is not None:
            with suppress(Exception):  # a run that is not there any more is not gone on with
                self._continue_run(context.folder / RUN_FILE)
        super().begin(context)

    def write(self, record: EpochRecord) -> None:
        if self._run is None:
            self._run = self._new_run()
        now = int(1_000 * time.time())
        scores = {f"{part}_{measure}": value for (part, measure), value in record.logged_scores().items()}
        metrics = [
            self._metric(key, value, now, record.epoch)
            for key, value in scores.items()
            if record.epoch > self._last_steps.get(key, 0)
        ]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)

    def finish(self, error: BaseException | None) -> None:
        """Marks the run as finished, as killed where it was stopped, or as failed."""
        if self._run is None or not self._is_open:
            return
        self._is_open = False
        stopped = isinstance(error, (StoppedError, KeyboardInterrupt))
        status = "FINISHED" if error is None else "KILLED" if stopped else "FAILED"
        self._client.set_terminated(self._run, status=status)

    def _new_run(self) -> str:
        recipe = self._recipe
        name = self._name or (None if recipe is None else f"{recipe.name}-seed{recipe.training.seed}")
        run: str = self._client.create_run(self._experiment_id, run_name=name).info.run_id
        self._is_open = True
        if recipe is not None:
            params = [self._param(key, value) for key, value in recipe_parameters(recipe).items()]
            self._client.log_batch(run, params=params)
        if self._folder is not None:
            content = json.dumps({"uri": self._uri, "run_id": run}) + "\n"
            write_files(self._folder, {RUN_FILE: content.encode()})
        return run

    def _continue_run(self, path: Path) -> None:
        """Takes up the run that a folder's file names, where it is in this store."""
        known = read_json(path, MAX_RUN_FILE_BYTES)
        if known["uri"] != self._uri:
            return
        run = self._client.get_run(known["run_id"])
        self._last_steps = {
            key: max(one.step for one in self._client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        self._client.update_run(run.info.run_id, status="RUNNING")
        self._run, self._is_open = run.info.run_id, True


@contextmanager
def _short_timeouts() -> Iterator[None]:
    """MLflow gives up a server that is not there within seconds, where its variables do not say otherwise.

    Its own patience is minutes, which suits a server that restarts while a training runs, and not a mistyped address.
    """
    added = {name: value for name, value in SHORT_TIMEOUTS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _connection_error(error: BaseException) -> str:
    """Why a store cannot be opened; of a server that does not answer, what the system said, which stands innermost."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if not any(type(one).__module__.startswith("requests.") for one in chain):
        return error_reason(chain[0])
    return f"no server answers there ({error_reason(chain[-1])})"


def recipe_parameters(recipe: Recipe) -> dict[str, str]:
    """A recipe's fields as text, by "section.field"."""
    return {"recipe": recipe.name} | {
        f"{section}.{name}": str(value)
        for section in SECTIONS
        for name, value in vars(getattr(recipe, section)).items()
    }
