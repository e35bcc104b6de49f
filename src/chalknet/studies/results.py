"""Read what a study has measured: its configurations, seeds and runs.

    results = chalknet.read_results("runs/widths")
    for config in results.complete_configurations:
        for seed in results.seeds:
            run = results.run(config, seed)
            run.valid.correct.mean(), run.kept_epoch, run.seconds
    correct = results.correct("test")  # {"hidden=100": (S, M) bool, ...}; column m is the same image everywhere

Each result is read from the store when it is asked for, and not cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalknet.data.tables.frames import pandas_frame, polars_frame
from chalknet.errors import ConfigError
from chalknet.records import EpochRecord
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.results_frame import run_columns
from chalknet.studies.results_view import results_html
from chalknet.studies.spec import StudySpec

if TYPE_CHECKING:
    from chalknet.data.tables.frames import PandasFrame, PolarsFrame

__all__ = [
    "STATUSES",
    "Configuration",
    "DataFacts",
    "LabeledPredictions",
    "RunKey",
    "RunRecord",
    "RunResult",
    "StudyResults",
]

STATUSES = ("todo", "running", "done", "failed")


@dataclass(frozen=True, eq=False)
class LabeledPredictions:
    """The predictions of a run's kept network for the M images of a split, with their labels.

    Attributes:
        labels: (M,) int64, the true classes.
        predicted: (M,) int64, the most probable classes.
        confidence: (M,) float32, the probability of the predicted class.
        true_probability: (M,) float32, the probability of the true class.
        index: (M,) int64, the positions of the images in the data set.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    true_probability: NDArray[np.float32]
    index: NDArray[np.int64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(M,) bool, whether the predicted class is the true one."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct

    @property
    def accuracy(self) -> float:
        """The fraction of correct predictions, in [0, 1]."""
        return float(self.correct.mean())


@dataclass(frozen=True, eq=False)
class RunRecord:
    """The result of a run without its predictions.

    Attributes:
        history: one record per epoch.
        kept_epoch: the epoch whose weights are kept: the last one, or the best one if training
            stopped early. Epochs count from 1.
        seconds: wall time of all epochs.
        trained: how it was trained, in words: "numpy engine, float32, 1 worker process".
        machine: JSON-ready facts of the machine that trained it.
        model_scores: the scores of the network, if calibration has changed them; else None.
    """

    history: tuple[EpochRecord, ...]
    kept_epoch: int
    seconds: float
    trained: str
    machine: Mapping[str, Any]
    model_scores: EpochRecord | None = field(default=None, kw_only=True)

    @property
    def kept(self) -> EpochRecord:
        """The scores of the network: `model_scores`, or else the record of the kept epoch."""
        return self.model_scores or self.history[self.kept_epoch - 1]


@dataclass(frozen=True, eq=False)
class RunResult(RunRecord):
    """The result of a run with the predictions of its kept network.

    Attributes:
        valid: predictions for the validation images; None if there are none.
        test: predictions for the test images; None if there are none.
        valid_losses: (E, M) float16, float32 or float64, the loss of each validation image after
            each epoch, in nats; (E, 0) without validation images. Stores of early versions have
            65504 in place of larger losses.
        valid_correct: (E, M) bool, whether the most probable class of each image was the true one.
    """

    valid: LabeledPredictions | None
    test: LabeledPredictions | None
    valid_losses: NDArray[np.floating[Any]]
    valid_correct: NDArray[np.bool_]

    def predictions(self, split: str) -> LabeledPredictions | None:
        """Return the predictions for split "valid" or "test", or None if the split is empty."""
        return {"valid": self.valid, "test": self.test}[split]


@dataclass(frozen=True)
class DataFacts:
    """The samples that a study is about.

    Attributes:
        source: the file or folder that they came from.
        sha256: digest of the source.
        samples: N, the number of samples.
        class_names: K names.
        sample_shape: (H, W) or (H, W, 3) of images, (I,) of table rows.
        split_sizes: number of "train", "valid" and "test" samples in the study's split. A
            configuration that varies train_size trains on fewer.
    """

    source: str
    sha256: str
    samples: int
    class_names: tuple[str, ...]
    sample_shape: tuple[int, ...]
    split_sizes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """The state of a study when it was read; finished runs are loaded from the store on demand.

    Attributes:
        spec: the specification.
        data: the samples that the study is about.
        configurations: in the order of the specification.
        seeds: the seeds that every configuration is trained with.
        statuses: (configuration key, seed) -> "todo", "running", "done" or "failed".
        errors: (configuration key, seed) -> the error of a failed run.
        load: reads one finished run.
        folder: the study's folder, or None for results that are in no store.
        load_record: reads one finished run without its predictions, if that is faster than `load`.
    """

    spec: StudySpec
    data: DataFacts
    configurations: tuple[Configuration, ...]
    seeds: tuple[int, ...]
    statuses: Mapping[tuple[str, int], str]
    errors: Mapping[tuple[str, int], str]
    load: Callable[[Configuration, int], RunResult]
    folder: Path | None = None
    load_record: Callable[[Configuration, int], RunRecord] | None = None

    def __repr__(self) -> str:
        """Return the numbers of configurations, seeds and runs by status."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        return f"<StudyResults {len(self.configurations)} configurations x {len(self.seeds)} seeds: {counts}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the accuracy of each configuration, curves, and the next step."""
        rows = [("data", self.data.source), *([] if self.folder is None else [("folder", str(self.folder))])]
        next_step = 'chalknet.compare(results.correct("valid"))'
        if self.folder is not None:
            next_step = f"chalknet.report({str(self.folder)!r})"
        return results_html(self.configurations, self.seeds, self.counts, self.record, rows, next_step)

    def run_columns(self) -> dict[str, list[Any]]:
        """Return the runs as columns, a row per run, with its settings and scores; None where there is no value."""
        return run_columns(self.runs, self.status, self.record, self.errors)

    def to_polars(self) -> PolarsFrame:
        """Return the runs as a polars frame: a row per run, with its settings and scores."""
        return polars_frame(self.run_columns())

    def to_pandas(self) -> PandasFrame:
        """Return the runs as a pandas frame: a row per run, with its settings and scores.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return pandas_frame(self.run_columns())

    @property
    def runs(self) -> tuple[RunKey, ...]:
        """All runs, done or not, configuration by configuration."""
        return tuple(RunKey(config, seed) for config in self.configurations for seed in self.seeds)

    def status(self, config: Configuration, seed: int) -> str:
        """Return "todo", "running", "done" or "failed"."""
        return self.statuses.get((config.key, seed), "todo")

    def run(self, config: Configuration, seed: int) -> RunResult | None:
        """Return the result of a configuration with this seed, or None if it is not done."""
        return self.load(config, seed) if self.status(config, seed) == "done" else None

    def record(self, config: Configuration, seed: int) -> RunRecord | None:
        """Return the result without predictions, or None if it is not done; much faster than `run`."""
        if self.status(config, seed) != "done":
            return None
        return (self.load_record or self.load)(config, seed)

    def finished_runs(self, config: Configuration) -> dict[int, RunResult]:
        """Return the finished runs of a configuration by seed; all of them are held in memory."""
        found = {seed: self.run(config, seed) for seed in self.seeds}
        return {seed: result for seed, result in found.items() if result is not None}

    @property
    def counts(self) -> dict[str, int]:
        """The number of runs of each status."""
        found = [self.status(run.configuration, run.seed) for run in self.runs]
        return {status: found.count(status) for status in STATUSES}

    @property
    def failed(self) -> dict[RunKey, str]:
        """The failed runs, each with its error."""
        return {
            run: self.errors.get((run.configuration.key, run.seed), "")
            for run in self.runs
            if self.status(run.configuration, run.seed) == "failed"
        }

    @property
    def complete_configurations(self) -> tuple[Configuration, ...]:
        """The configurations whose runs are all done."""
        return tuple(
            config for config in self.configurations if all(self.status(config, seed) == "done" for seed in self.seeds)
        )

    @property
    def has_same_images(self) -> bool:
        """Whether all runs are scored on the same images; False if the split varies with the seed."""
        return len({config.study_split for config in self.configurations}) <= 1 and not any(
            "split" in c.seeds_vary for c in self.configurations
        )

    def configuration(self, label: str) -> Configuration:
        """Return the configuration with this label.

        Raises:
            ConfigError: no configuration has it.
        """
        found = next((config for config in self.configurations if config.label == label), None)
        if found is None:
            raise ConfigError(
                f"no configuration {label!r} in this study. Known: {'; '.join(c.label for c in self.configurations)}."
            )
        return found

    def correct(self, split: str) -> dict[str, NDArray[np.bool_]]:
        """Return, for each complete configuration, which images each seed classifies correctly.

        Args:
            split: "valid" or "test".

        Returns:
            (S, M) bool by label of the configuration. Row s is a seed; column m is the same image
            for all seeds and configurations (`index` says which).

        Raises:
            ConfigError: the split varies with the seed, so seeds have different images (use
                `correct_of_seed`); or the study has no such split.
        """
        if not self.has_same_images:
            raise ConfigError(
                "the split of this study varies with the seed, so its seeds have different images. Use correct_of_seed."
            )
        return {
            config.label: np.stack([self._correct(config, seed, split) for seed in self.seeds])
            for config in self.complete_configurations
        }

    def correct_of_seed(self, split: str, seed: int) -> dict[str, NDArray[np.bool_]]:
        """Return, for each complete configuration, which images one seed classifies correctly.

        Returns:
            (M,) bool by label of the configuration; entry m is the same image for all
            configurations.

        Raises:
            ConfigError: the study has no such split.
        """
        return {config.label: self._correct(config, seed, split) for config in self.complete_configurations}

    def index(self, split: str, seed: int | None = None) -> NDArray[np.int64]:
        """Return the positions in the data set of the images of a split, the columns of `correct`.

        Args:
            split: "valid" or "test".
            seed: the seed whose images these are, if the split varies with the seed. Default: the
                first.

        Returns:
            (M,) int64.

        Raises:
            ConfigError: no configuration is complete, or the study has no such split.
        """
        if not self.complete_configurations:
            raise ConfigError("no configuration of this study is complete yet.")
        return self._predictions(self.complete_configurations[0], self.seeds[0] if seed is None else seed, split).index

    def model_path(self, config: Configuration) -> Path | None:
        """Return the model file of a configuration's first seed, or None if there is none."""
        if self.folder is None:
            return None
        path = self.folder / model_name(config, self.spec.first_seed)
        return path if path.is_file() else None

    def _correct(self, config: Configuration, seed: int, split: str) -> NDArray[np.bool_]:
        """Return which images of a split one run classifies correctly, (M,) bool."""
        return self._predictions(config, seed, split).correct

    def _predictions(self, config: Configuration, seed: int, split: str) -> LabeledPredictions:
        """Return the predictions of a run of a complete configuration; raises ConfigError if empty."""
        result = self.run(config, seed)
        assert result is not None, "asked of complete configurations only"
        predictions = result.predictions(split)
        if predictions is None:
            raise ConfigError(f"this study has no {split} samples.")
        return predictions


def model_name(config: Configuration, seed: int) -> str:
    """Return the path of a run's model file within the study's folder."""
    return f"models/{config.key[:16]}-seed{seed}.safetensors"
