"""`MlflowWriter`: a callback that writes the scores of each epoch to an MLflow run."""

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
from chalknet.version import install_command

# MLflow reads these variables at each request: two attempts of four seconds.
SHORT_TIMEOUTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
RUN_FILE = "mlflow.json"  # in a run's folder: which MLflow run logs it
MAX_RUN_FILE_BYTES = 100_000


class MlflowWriter(LogWriter):
    """A log of train_loss, valid_accuracy, ... at step = epoch, and of the recipe's settings.

    The MLflow run is created with the first epoch. Its identity is stored in mlflow.json in the run
    folder, so a resumed training continues the same MLflow run. For an ensemble, each network has a
    run NAME-seedN.

    Args:
        uri: the tracking store, such as "sqlite:///mlflow.db" or a server; None for MLflow's default.
        experiment: its name; it is created if it does not exist.
        run_name: name of the run, by default recipe and seed.
        recipe: recipe whose fields become parameters such as "optimizer.learning_rate", by default that
            of the training.
        on_failure: called with one line when the store can no longer be written; by default it warns.

    Raises:
        MissingExtraError: MLflow is not installed.
        OutputError: the store cannot be opened.
    """

    failures: tuple[type[Exception], ...] = (
        Exception,
    )  # a store may be a database or a server, each with its own exceptions

    def __init__(
        self,
        uri: str | None = None,
        *,
        experiment: str = "chalknet",
        run_name: str | None = None,
        recipe: Recipe | None = None,
        on_failure: Callable[[str], None] = warn,
    ) -> None:
        """Connect to the store and find or create the experiment."""
        super().__init__("MLflow" if uri is None else f"MLflow, {uri}", on_failure)
        # Set before MLflow is imported, so that it sends no usage statistics.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtraError(f"an MLflow log needs MLflow: {install_command('mlflow')}.") from error
        self._metric, self._param = Metric, Param
        self.view_command: str = "mlflow ui" if uri is None else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
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
        """The run's identity in the store; None before the first epoch."""
        return self._run

    def for_member(self, context: RunContext) -> Self:
        """Return a writer to the run NAME-seedN."""
        name = None if self._name is None else f"{self._name}-seed{context.recipe.training.seed}"
        return type(self)(
            self._uri, experiment=self._experiment, run_name=name, recipe=context.recipe, on_failure=self.on_failure
        )

    def begin(self, context: RunContext) -> None:
        """Continue the run that mlflow.json names, if the training is resumed."""
        self._recipe, self._folder = self._recipe or context.recipe, context.folder
        self._run, self._last_steps = None, {}
        if context.is_resumed and context.folder is not None:
            with suppress(Exception):  # a run that was deleted cannot be continued: start a new one
                self._continue_run(context.folder / RUN_FILE)
        super().begin(context)

    def write(self, record: EpochRecord) -> None:
        """Log the scores of an epoch that the run does not have yet."""
        if self._run is None:
            self._run = self._new_run()
        now = int(1_000 * time.time())
        scores = {f"{split}_{measure}": value for (split, measure), value in record.logged_scores().items()}
        metrics = [
            self._metric(key, value, now, record.epoch)
            for key, value in scores.items()
            if record.epoch > self._last_steps.get(key, 0)
        ]
        if metrics:
            self._client.log_batch(self._run, metrics=metrics)

    def finish(self, error: BaseException | None) -> None:
        """Mark the run as finished, killed (stopped by the user) or failed."""
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
        """Continue the run that a folder's mlflow.json names, if it is in this store."""
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
    """Make MLflow give up an unreachable server within seconds, unless its variables are set.

    By default it waits for minutes. That suits a server that restarts during a training, but not a
    mistyped address.
    """
    added = {name: value for name, value in SHORT_TIMEOUTS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _connection_error(error: BaseException) -> str:
    """Return why a store cannot be opened; for a server, the innermost error is the system's."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if not any(type(one).__module__.startswith("requests.") for one in chain):
        return error_reason(chain[0])
    return f"no server answers there ({error_reason(chain[-1])})"


def recipe_parameters(recipe: Recipe) -> dict[str, str]:
    """Return the fields of a recipe as text, by "section.field"."""
    return {"recipe": recipe.name} | {
        f"{section}.{name}": str(value)
        for section in SECTIONS
        for name, value in vars(getattr(recipe, section)).items()
    }
