"""Collect everything that a document shows: the runs of a study, their comparison, and the samples.

Sections make blocks of `ReportData`. They read no files and compute no statistics of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.model_file import load_model
from chalknet.config import Recipe, is_random
from chalknet.data.audit import Audit
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.data.tables.columns import ColumnSummary
from chalknet.errors import ModelFileError
from chalknet.network.gradcheck import GradientCheck
from chalknet.network.model import Classifier
from chalknet.records import SPLITS, EpochRecord, Scores
from chalknet.reporting.configuration_text import configuration_words, join_configurations
from chalknet.reporting.markup import escape
from chalknet.reporting.tables import SPLIT_NAMES
from chalknet.studies.bootstrap import ChoiceOptimism, choice_optimism
from chalknet.studies.compare import Comparison, ConfigurationAccuracy, compare_configurations, configuration_accuracy
from chalknet.studies.configurations import Configuration
from chalknet.studies.curve_findings import CurveFindings, Curves, curve_findings
from chalknet.studies.findings import comparison_findings
from chalknet.studies.intervals import Interval
from chalknet.studies.results import LabeledPredictions, RunResult, StudyResults
from chalknet.studies.stopping_point import RESAMPLING_SEED, StoppingPoint, find_configuration_stopping_point
from chalknet.studies.study_observer import StudyState

MIN_IMAGES = 2  # samples that a fraction needs for an interval


@dataclass(frozen=True, eq=False)
class ConfigurationRuns:
    """The finished runs of one configuration.

    Everything by seed is in the order of `seeds`.

    Attributes:
        configuration: what was trained.
        name: in sentences, such as "500 hidden units"; "the network" if nothing varies.
        title: over tables and panels; the same.
        seeds: seeds of the finished runs.
        is_complete: whether every seed is finished.
        histories: the records of all epochs, by seed.
        kept_epochs: the epoch whose weights are kept, from 1 on, by seed.
        seconds: training time, by seed.
        trained: description of engine and precision, by seed.
        machines: facts of the machine that trained, by seed.
        correct: split -> (M,) bool by seed, whether the prediction for each sample is correct.
            Splits that are empty or unknown are left out.
        predictions: split -> predictions by seed; splits are left out likewise.
        stopping: the best epoch by what training monitors, or else by the validation loss; None if
            there is none.
        stopping_missing_reason: why `stopping` is None.
        curves: what the rules of docs/statistics.md find in its learning curves; None without
            validation samples, or if the runs have different lengths.
        model_scores: the scores of the networks by seed, if calibration has changed them; else ().
    """

    configuration: Configuration
    name: str
    title: str
    seeds: tuple[int, ...]
    is_complete: bool
    histories: tuple[tuple[EpochRecord, ...], ...]
    kept_epochs: tuple[int, ...]
    seconds: tuple[float, ...]
    trained: tuple[str, ...]
    machines: tuple[Mapping[str, Any], ...]
    correct: Mapping[str, tuple[NDArray[np.bool_], ...]]
    predictions: Mapping[str, tuple[LabeledPredictions, ...]]
    stopping: StoppingPoint | None
    stopping_missing_reason: str = ""
    curves: CurveFindings | None = None
    model_scores: tuple[EpochRecord, ...] = ()

    @property
    def kept(self) -> tuple[EpochRecord, ...]:
        """The scores of the networks with the kept weights, by seed."""
        records = zip(self.histories, self.kept_epochs, strict=True)
        return self.model_scores or tuple(history[epoch - 1] for history, epoch in records)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have scores."""
        return tuple(split for split in SPLITS if self.kept[0].scores(split) is not None)

    def scores(self, split: str) -> tuple[Scores, ...]:
        """Return the scores of a split at the kept epoch, by seed; () without scores."""
        found = [record.scores(split) for record in self.kept]
        return tuple(scores for scores in found if scores is not None)

    def values(self, split: str, measure: str) -> tuple[float, ...]:
        """Return one attribute of `Scores` of a split at the kept epoch, by seed."""
        return tuple(float(getattr(scores, measure)) for scores in self.scores(split))

    def mean(self, split: str, measure: str) -> float:
        """Return the mean of a measure over the seeds, nan without scores."""
        values = self.values(split, measure)
        return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True, eq=False)
class EnsembleResult:
    """The scores of an ensemble, whose predictions are the averaged probabilities of its networks.

    Attributes:
        scores: split -> scores, for each split that exists.
        predictions: split -> predictions; splits whose samples are not available are left out.
        gains: split -> accuracy of the ensemble minus the mean accuracy of its networks. The ends
            of the interval are nan without predictions. With folds, validation samples are left out
            if one network predicts each of them.
    """

    scores: Mapping[str, Scores]
    predictions: Mapping[str, LabeledPredictions]
    gains: Mapping[str, Interval]


@dataclass(frozen=True)
class DoubleSoftmaxScores:
    """The scores of a network on a split, computed after training, without dropout.

    Attributes:
        loss: the cross-entropy (docs/derivation.md, L2).
        twice: the loss with softmax applied twice (M9).
        accuracy: in [0, 1].
    """

    loss: float
    twice: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class ReportData:
    """The data of one document.

    Attributes:
        results: the study; a single run is a study with one configuration.
        recipe: what the configurations have in common, or the recipe of the run.
        is_run: whether the document is about a single run.
        name: name of the folder, for titles.
        configurations: those with a finished run, in the order in which they were given.
        comparison_split: the split that configurations are compared on: "valid", or "test" without
            validation samples, or "" if neither has predictions.
        comparison: the complete configurations compared on that split; None without a complete
            configuration, or if each seed has samples of its own.
        chosen: the complete configuration with the highest mean accuracy on that split.
        optimism: how much the choice raises the validation accuracy of the chosen configuration;
            None if nothing was chosen by validation.
        test: test accuracy of the chosen configuration; None if it is unknown.
        machine: facts of the machine that writes the document.
        findings: sentences about the comparison, by the rules of docs/statistics.md, with markup.
        data: the samples; None if they could not be read again.
        splits: the splits of the first seed; None without `data`.
        data_missing_reason: why `data` is None.
        audit: the audit of the data and its splits.
        columns: what each column of a table holds and what is done with it; () for images.
        checks: the gradient check of the whole network.
        formula_errors: label of a formula -> relative error of its derivative.
        double_softmax: configuration -> split -> scores of its first seed's network with softmax applied
            twice, for part 2 of the write-up.
        network: the network of the chosen configuration's first seed.
        ensemble: the result of an ensemble, whose networks are the seeds of the one configuration;
            None if there is no ensemble.
        temperature: what the logits of a run were divided by to calibrate them, or None.
        is_quick: whether this is the quick form of the write-up.
        commands: lines that repeat it in a new folder.
        state: the study at the moment of the report, with its unfinished runs; None if only the
            results are known.
        command_with_seeds: returns the command that adds runs until there are so many seeds; None
            for a single run.
    """

    results: StudyResults
    recipe: Recipe
    is_run: bool
    name: str
    configurations: tuple[ConfigurationRuns, ...]
    comparison_split: str
    comparison: Comparison | None
    chosen: ConfigurationRuns | None
    optimism: ChoiceOptimism | None
    test: ConfigurationAccuracy | None
    machine: Mapping[str, Any]
    findings: tuple[str, ...] = ()
    data: Dataset | None = None
    splits: Splits | None = None
    data_missing_reason: str = ""
    audit: Audit | None = None
    columns: tuple[ColumnSummary, ...] = ()
    checks: tuple[GradientCheck, ...] = ()
    formula_errors: Mapping[str, float] = field(default_factory=dict)
    double_softmax: Mapping[str, Mapping[str, DoubleSoftmaxScores]] = field(default_factory=dict)
    network: Classifier | None = None
    ensemble: EnsembleResult | None = None
    temperature: float | None = None
    is_quick: bool = False
    commands: str = ""
    state: StudyState | None = None
    command_with_seeds: Callable[[int], str] | None = None

    @property
    def complete(self) -> tuple[ConfigurationRuns, ...]:
        """The configurations with every seed finished."""
        return tuple(runs for runs in self.configurations if runs.is_complete)

    @property
    def separate_sources(self) -> dict[str, str]:
        """The names of the files or folders of validation and test samples that are not in the source, by split."""
        data = self.results.spec.data
        found = {"valid": data.valid_source, "test": data.test_source}
        return {split: Path(source).name for split, source in found.items() if source}

    @property
    def n_source_samples(self) -> int:
        """Number of samples of the source, without those of separate sources."""
        return self.results.data.samples - sum(self.sizes[split] for split in self.separate_sources)

    @property
    def n_seeds(self) -> int:
        """Number of seeds per configuration, finished or not."""
        return len(self.results.seeds)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Split -> number of samples."""
        return self.results.data.split_sizes

    @property
    def varied(self) -> tuple[str, ...]:
        """The factors: recipe fields that differ between configurations, in the given order."""
        settings = [dict(config.settings) for config in self.results.configurations]
        names = list(dict.fromkeys(name for one in settings for name in one))
        return tuple(name for name in names if len({one.get(name) for one in settings}) > 1)

    @property
    def is_named(self) -> bool:
        """Whether the study names its configurations, which then form no grid."""
        return bool(self.results.spec.configurations)

    @property
    def has_images(self) -> bool:
        """Whether the samples are images."""
        return len(self.results.data.sample_shape) > 1

    @property
    def tied(self) -> tuple[ConfigurationRuns, ...]:
        """The other complete configurations with the same mean accuracy as the chosen one."""
        if self.chosen is None:
            return ()
        split = self.comparison_split or "train"
        best = _rounded_mean(self.chosen, split)
        return tuple(runs for runs in self.complete if runs is not self.chosen and _rounded_mean(runs, split) == best)

    def accuracy_of(self, runs: ConfigurationRuns) -> ConfigurationAccuracy | None:
        """Return the accuracy of a configuration with its interval, or None without an interval."""
        found = self.comparison.configurations if self.comparison is not None else ()
        return next((one for one in found if one.label == runs.name), None)


def collect_report_data(results: StudyResults, machine: Mapping[str, Any], **more: Any) -> ReportData:
    """Read the finished runs of a study and compare its configurations.

    Args:
        results: the study.
        machine: facts of the machine that writes the document.
        **more: fields of `ReportData` that the study does not have, such as the samples.
    """
    configurations = tuple(
        runs for config in results.configurations if (runs := _configuration_runs(results, config)) is not None
    )
    comparison_split = next(
        (
            split
            for split in ("valid", "test")
            if configurations and all(split in runs.correct for runs in configurations)
        ),
        "",
    )
    complete = {runs.name: runs for runs in configurations if runs.is_complete}
    same_images = results.has_same_images or len(results.seeds) == 1
    correct = (
        {name: np.stack(runs.correct[comparison_split]) for name, runs in complete.items()}
        if comparison_split and same_images
        else {}
    )
    comparison = compare_configurations(correct) if correct and same_images else None
    chosen = max(complete.values(), key=lambda runs: _rounded_mean(runs, comparison_split or "train"), default=None)
    optimism = None
    if comparison is not None and comparison_split == "valid" and len(complete) > 1:
        optimism = choice_optimism(correct, np.random.default_rng(RESAMPLING_SEED))
    return ReportData(
        results=results,
        recipe=more.pop("recipe", results.spec.recipe),
        is_run=more.pop("is_run", False),
        name=more.pop("name", "" if results.folder is None else results.folder.resolve().name),
        configurations=configurations,
        comparison_split=comparison_split,
        comparison=comparison,
        findings=() if comparison is None else comparison_sentences(comparison, comparison_split),
        chosen=chosen,
        optimism=optimism,
        test=_test_accuracy(chosen, same_images),
        machine=machine,
        network=more.pop("network", None if chosen is None else _network(results, chosen)),
        **more,
    )


def _configuration_runs(results: StudyResults, config: Configuration) -> ConfigurationRuns | None:
    """Return the finished runs of a configuration, or None if none is finished.

    A run holds the loss of every validation sample after every epoch, which can be large. These
    arrays are used here and not kept.
    """
    runs = results.finished_runs(config)
    if not runs:
        return None
    first = next(iter(runs.values()))
    rule = config.recipe.stopping
    monitor = rule.monitor if rule.stop_early else "valid_loss"
    stopping, why_not = find_configuration_stopping_point(results, config, list(runs.values()), monitor)
    predictions: dict[str, tuple[LabeledPredictions, ...]] = {}
    for split in ("valid", "test"):
        known = tuple(one for run in runs.values() if (one := run.predictions(split)) is not None)
        if len(known) == len(runs):
            predictions[split] = known
    correct = {split: tuple(one.correct for one in found) for split, found in predictions.items()}
    if "valid" not in correct and first.valid_correct.shape[1]:  # stored with the run, so known without the samples
        correct["valid"] = tuple(run.valid_correct[run.kept_epoch - 1] for run in runs.values())
    correct = {split: found for split, found in correct.items() if len(found[0]) >= MIN_IMAGES}
    return ConfigurationRuns(
        configuration=config,
        name=configuration_words(config),
        title=configuration_words(config),
        seeds=tuple(runs),
        is_complete=len(runs) == len(results.seeds),
        histories=tuple(run.history for run in runs.values()),
        kept_epochs=tuple(run.kept_epoch for run in runs.values()),
        seconds=tuple(run.seconds for run in runs.values()),
        trained=tuple(run.trained for run in runs.values()),
        machines=tuple(run.machine for run in runs.values()),
        correct=correct,
        predictions=predictions,
        stopping=stopping,
        stopping_missing_reason=why_not,
        curves=_curve_findings(results, config, list(runs.values())),
        model_scores=tuple(filter(None, (run.model_scores for run in runs.values()))),
    )


def _curve_findings(results: StudyResults, config: Configuration, runs: Sequence[RunResult]) -> CurveFindings | None:
    """Return what the rules find in a complete configuration's curves, or None where they cannot be judged."""
    histories = [run.history for run in runs]
    lengths = {len(history) for history in histories}
    if len(runs) < len(results.seeds) or len(lengths) > 1 or histories[0][0].valid is None:
        return None
    curves = Curves(*(_curve(histories, split, name) for split in ("train", "valid") for name in ("loss", "accuracy")))
    n_images = {run.valid_correct.shape[1] for run in runs}
    same = len(n_images) == 1 and min(n_images) >= MIN_IMAGES and (results.has_same_images or len(runs) == 1)
    correct = np.stack([run.valid_correct[-1] for run in runs]) if same else None
    losses = [run.valid_losses for run in runs] if same else None  # not stacked: they may be large
    noisy = is_random(config.recipe)
    return curve_findings(curves, valid_correct=correct, valid_losses=losses, has_noisy_training=noisy)


def _curve(histories: Sequence[Sequence[EpochRecord]], split: str, measure: str) -> NDArray[np.float64]:
    """Return one measure of a split as (S, E) floats."""
    return np.array([[getattr(record.scores(split), measure) for record in history] for history in histories])


def comparison_sentences(comparison: Comparison, comparison_split: str) -> tuple[str, ...]:
    """Return the findings of a comparison with markup."""
    found = comparison_findings(comparison, split=SPLIT_NAMES[comparison_split], join=join_configurations)
    return tuple(escape(one.sentence) for one in found)


def _rounded_mean(runs: ConfigurationRuns, split: str) -> float:
    """Return the mean accuracy, rounded so that rounding errors do not break ties."""
    return round(runs.mean(split, "accuracy"), 12)


def _test_accuracy(chosen: ConfigurationRuns | None, same_images: bool) -> ConfigurationAccuracy | None:
    """Return the test accuracy of a configuration, or None if seeds have different samples."""
    if chosen is None or "test" not in chosen.correct or not same_images:
        return None
    return configuration_accuracy(np.stack(chosen.correct["test"]), label=chosen.name)


def _network(results: StudyResults, chosen: ConfigurationRuns) -> Classifier | None:
    """Return the first network of a configuration, or None if its file is missing or damaged."""
    path = results.model_path(chosen.configuration)
    try:
        return None if path is None else load_model(path)
    except ModelFileError:
        return None
