"""What a study found, as it is read: configurations, seeds, and of each run its history, predictions and time.

    results = chalknet.read_results("runs/widths")
    for configuration in results.complete_configurations:
        for seed in results.seeds:
            run = results.run(configuration, seed)
            run.valid.correct.mean(), run.kept_epoch, run.seconds
    correct = results.correct("test")        # {"hidden=100": (S, M) bool, ...}, images paired between configurations

Nothing is read before it is asked for, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ConfigError
from chalknet.records import EpochRecord
from chalknet.studies.configurations import Configuration, RunKey
from chalknet.studies.spec import StudySpec

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
    """What a run's kept network says of the M images of one part, validation or test.

    Attributes:
        labels: (M,) int64, the true classes.
        predicted: (M,) int64, the most probable ones.
        confidence: (M,) float32, the probability of the predicted class.
        true_probability: (M,) float32, the probability of the true class.
        index: (M,) int64, the images' positions in the data set.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    true_probability: NDArray[np.float32]
    index: NDArray[np.int64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(M,) whether the predicted class is the true one."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct

    @property
    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]."""
        return float(self.correct.mean())


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What one training gave, without what it says of single images.

    Attributes:
        history: one record an epoch.
        kept_epoch: the epoch whose weights are kept: the last, or the best of a run that stopped early.
        seconds: wall time of the epochs.
        trained: how, in words: "numpy engine, float32, one at a time".
        machine: JSON-ready facts of the machine that trained it.
    """

    history: tuple[EpochRecord, ...]
    kept_epoch: int
    seconds: float
    trained: str
    machine: Mapping[str, Any]

    @property
    def kept(self) -> EpochRecord:
        """The record of the epoch whose weights are kept."""
        return self.history[self.kept_epoch - 1]


@dataclass(frozen=True, eq=False)
class RunResult(RunRecord):
    """What one training gave, with what its kept network says of every validation and test image.

    Attributes:
        valid, test: the kept network's predictions; None where the part is empty.
        valid_losses: (E, M) float16, or float32 or float64 where losses need it, each validation image's loss in nats
            after each epoch; (E, 0) without a validation part. Stores of before have 65504 in place of larger losses.
        valid_correct: (E, M) bool, whether its most probable class was then the true one.
    """

    valid: LabeledPredictions | None
    test: LabeledPredictions | None
    valid_losses: NDArray[np.floating[Any]]
    valid_correct: NDArray[np.bool_]

    def predictions(self, name: str) -> LabeledPredictions | None:
        """The predictions of "valid" or "test"."""
        return {"valid": self.valid, "test": self.test}[name]


@dataclass(frozen=True)
class DataFacts:
    """The samples that a study is about.

    Attributes:
        source, sha256: where they came from, and the digest of it.
        samples: N.
        class_names: K names.
        sample_shape: (H, W) of images, (I,) of rows.
        split_sizes: samples of "train", "valid" and "test" in the study's division; a configuration that varies
            train_size trains on fewer.
    """

    source: str
    sha256: str
    samples: int
    class_names: tuple[str, ...]
    sample_shape: tuple[int, ...]
    split_sizes: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A study as it stood when it was read; finished runs are loaded from its store when they are asked for.

    Attributes:
        spec: the specification.
        data: the samples it is about.
        configurations: in the order in which they were asked for.
        seeds: that every configuration is to have.
        statuses: (configuration key, seed) -> "todo", "running", "done" or "failed".
        errors: (configuration key, seed) -> what a failed run failed with.
        load: reads one finished run. load_record: the same without its arrays, where there is a cheaper way.
        folder: the study's, or None of results that are in no store.
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
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        return f"<StudyResults {len(self.configurations)} configurations x {len(self.seeds)} seeds: {counts}>"

    @property
    def runs(self) -> tuple[RunKey, ...]:
        """All runs, done or not, configuration by configuration."""
        return tuple(RunKey(config, seed) for config in self.configurations for seed in self.seeds)

    def status(self, config: Configuration, seed: int) -> str:
        """ "todo", "running", "done" or "failed"."""
        return self.statuses.get((config.key, seed), "todo")

    def run(self, config: Configuration, seed: int) -> RunResult | None:
        """What the training of a configuration from a seed gave; None where it is not done."""
        return self.load(config, seed) if self.status(config, seed) == "done" else None

    def record(self, config: Configuration, seed: int) -> RunRecord | None:
        """As `run`, without what it says of single images, which is read much faster."""
        if self.status(config, seed) != "done":
            return None
        return (self.load_record or self.load)(config, seed)

    def finished_runs(self, config: Configuration) -> dict[int, RunResult]:
        """The finished runs of a configuration by seed, in the seeds' order; all of them are held while the answer
        is.
        """
        found = {seed: self.run(config, seed) for seed in self.seeds}
        return {seed: result for seed, result in found.items() if result is not None}

    @property
    def counts(self) -> dict[str, int]:
        """Runs of each status."""
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
        """The configurations whose every seed is done."""
        return tuple(
            config for config in self.configurations if all(self.status(config, seed) == "done" for seed in self.seeds)
        )

    @property
    def has_same_images(self) -> bool:
        """Whether all runs are judged on the same images; not where the split varies with the seed."""
        return len({config.study_split for config in self.configurations}) <= 1 and not any(
            "split" in c.seeds_vary for c in self.configurations
        )

    def configuration(self, label: str) -> Configuration:
        """The configuration of that label.

        Raises:
            ConfigError: there is none.
        """
        found = next((config for config in self.configurations if config.label == label), None)
        if found is None:
            raise ConfigError(
                f"no configuration {label!r} in this study. Known: {'; '.join(c.label for c in self.configurations)}."
            )
        return found

    def correct(self, part: str) -> dict[str, NDArray[np.bool_]]:
        """By label of each complete configuration, (S, M) whether seed s is right about image m; images are those of
        `index`.

        Column m is the same image for every configuration and every seed.

        Args:
            part: "valid" or "test".
        Raises:
            ConfigError: the split varies with the seed, so that columns would be other images for every seed, which
                `correct_of_seed` gives; or the study has no such part.
        """
        if not self.has_same_images:
            raise ConfigError("the seeds of this study vary the split, so their images differ. Use correct_of_seed.")
        return {
            config.label: np.stack([self._correct(config, seed, part) for seed in self.seeds])
            for config in self.complete_configurations
        }

    def correct_of_seed(self, part: str, seed: int) -> dict[str, NDArray[np.bool_]]:
        """By label of each complete configuration, (M,) whether this seed is right about image m, the same image for
        every configuration.

        Raises:
            ConfigError: the study has no such part.
        """
        return {config.label: self._correct(config, seed, part) for config in self.complete_configurations}

    def index(self, part: str, seed: int | None = None) -> NDArray[np.int64]:
        """(M,) positions in the data set of the images of "valid" or "test": the columns of `correct`.

        Args:
            seed: whose, where the split varies with the seed; the first seed's otherwise.
        Raises:
            ConfigError: no configuration is complete, or the study has no such part.
        """
        if not self.complete_configurations:
            raise ConfigError("no configuration of this study is complete yet.")
        return self._predictions(self.complete_configurations[0], self.seeds[0] if seed is None else seed, part).index

    def model_path(self, config: Configuration) -> Path | None:
        """The model file of a configuration's first seed; None where there is none."""
        if self.folder is None:
            return None
        path = self.folder / model_name(config, self.spec.first_seed)
        return path if path.is_file() else None

    def _correct(self, config: Configuration, seed: int, part: str) -> NDArray[np.bool_]:
        return self._predictions(config, seed, part).correct

    def _predictions(self, config: Configuration, seed: int, part: str) -> LabeledPredictions:
        result = self.run(config, seed)
        assert result is not None, "asked of complete configurations only"
        predictions = result.predictions(part)
        if predictions is None:
            raise ConfigError(f"this study has no {part} part.")
        return predictions


def model_name(config: Configuration, seed: int) -> str:
    """Where in a study's folder the model file of a run is, if it is kept."""
    return f"models/{config.key[:16]}-seed{seed}.safetensors"
