"""Everything that a document is made from, read once: a study's configurations, what their trainings gave, the
comparisons.

Sections take `ReportData` and make blocks of it; nothing in them reads a file or computes a statistic of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.model_file import load_model
from chalknet.config import Recipe
from chalknet.data.audit import Audit
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
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

MIN_IMAGES = 2  # from which a share has an interval


@dataclass(frozen=True, eq=False)
class ConfigurationRuns:
    """The finished trainings of one configuration, seed by seed.

    Attributes:
        name: in sentences: "500 hidden units", or "the network" if nothing varies.
        title: over tables and panels; the same.
        is_complete: whether every seed is done.
        correct: by split, (S, M) whether seed s is right about image m; a part that is empty or unknown is left out.
        predictions: by part, each seed's; left out likewise.
        stopping: the stopping point on the full curves, by what training watches or else by the validation loss; or
            None, and then `stopping_missing_reason` says why.
        curves: what the rules of docs/statistics.md find in its learning curves; None without validation samples, or
            where the lengths of the runs differ.
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

    @property
    def kept(self) -> tuple[EpochRecord, ...]:
        """Of each seed the record of the epoch whose weights are kept."""
        return tuple(history[epoch - 1] for history, epoch in zip(self.histories, self.kept_epochs, strict=True))

    @property
    def splits(self) -> tuple[str, ...]:
        """The parts that there are scores of."""
        return tuple(split for split in SPLITS if self.kept[0].scores(split) is not None)

    def scores(self, split: str) -> tuple[Scores, ...]:
        """Of each seed the scores of a part where its weights are kept; empty where there is no such part."""
        found = [record.scores(split) for record in self.kept]
        return tuple(scores for scores in found if scores is not None)

    def values(self, split: str, measure: str) -> tuple[float, ...]:
        """Of each seed one measure of a part."""
        return tuple(float(getattr(scores, measure)) for scores in self.scores(split))

    def mean(self, split: str, measure: str) -> float:
        """The mean of a measure over the seeds, nan where there is none."""
        values = self.values(split, measure)
        return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True, eq=False)
class EnsembleResult:
    """What the networks of an ensemble do as one, their probabilities averaged.

    Attributes:
        scores: of each part that there is.
        predictions: by part; a part whose samples are not at hand is left out.
        gains: by part, how much accuracy is above the members' mean; the interval's ends are nan without predictions.
    """

    scores: Mapping[str, Scores]
    predictions: Mapping[str, LabeledPredictions]
    gains: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class ReportData:
    """What the sections of a document show.

    Attributes:
        results: the study.
        recipe: what its configurations share, or a run's own.
        is_run: whether it is a single run's folder.
        name: of the folder, for titles.
        configurations: those with a finished training, in the order in which they were asked for.
        comparison_split: "valid", or "test" where there is no validation part, or "" where configurations are judged by
            neither.
        comparison: of the complete configurations on that part; None with no complete configuration, or seeds with
            images of their own.
        chosen: the complete configuration with the highest mean accuracy on that part, which a single configuration is
            too.
        optimism: what the choice adds to the validation figure; None without a choice on a validation part.
        findings: sentences about the comparison, by the rules of docs/statistics.md, with markup.
        test: the chosen configuration's accuracy on the test part; None where there is none.
        data, splits: the samples, read again, and the first seed's division; None where they could not be had, and
            then `data_missing_reason` says why.
        audit, checks: of the data; of the network's derivatives. formula_errors: by label, of each derivative formula.
        machine: facts of the machine that wrote the document.
        network: the chosen configuration's, of its first seed.
        ensemble: of an ensemble's folder, whose networks are the seeds of the one configuration; else None.
        is_quick: whether it is the quick form of the write-up.
        commands: lines that repeat it in a new folder.
        command_with_seeds: returns the command that adds runs until there are so many seeds; None for a single run.
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
    checks: tuple[GradientCheck, ...] = ()
    formula_errors: Mapping[str, float] = field(default_factory=dict)
    network: Classifier | None = None
    ensemble: EnsembleResult | None = None
    is_quick: bool = False
    commands: str = ""
    command_with_seeds: Callable[[int], str] | None = None

    @property
    def complete(self) -> tuple[ConfigurationRuns, ...]:
        """The configurations whose every seed is done."""
        return tuple(runs for runs in self.configurations if runs.is_complete)

    @property
    def n_seeds(self) -> int:
        """Seeds that every configuration is to have."""
        return len(self.results.seeds)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Samples of each part."""
        return self.results.data.split_sizes

    @property
    def varied(self) -> tuple[str, ...]:
        """The fields that differ between configurations, in the order in which they were asked for."""
        settings = [dict(config.settings) for config in self.results.configurations]
        names = list(dict.fromkeys(name for one in settings for name in one))
        return tuple(name for name in names if len({one.get(name) for one in settings}) > 1)

    @property
    def has_images(self) -> bool:
        """Whether the samples are images."""
        return len(self.results.data.sample_shape) == 2

    @property
    def tied(self) -> tuple[ConfigurationRuns, ...]:
        """The other complete configurations whose mean on the judged part is the chosen one's."""
        if self.chosen is None:
            return ()
        split = self.comparison_split or "train"
        best = _rounded_mean(self.chosen, split)
        return tuple(runs for runs in self.complete if runs is not self.chosen and _rounded_mean(runs, split) == best)

    def accuracy_of(self, runs: ConfigurationRuns) -> ConfigurationAccuracy | None:
        """A configuration's accuracy on the judged part with its interval; None where no interval can be had."""
        found = self.comparison.configurations if self.comparison is not None else ()
        return next((one for one in found if one.label == runs.name), None)


def collect_report_data(results: StudyResults, machine: Mapping[str, Any], **more: Any) -> ReportData:
    """Reads a study's finished runs, and compares its configurations.

    Args:
        machine: facts of this machine. more: fields of `ReportData` that the study does not hold.
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
    correct = (
        {name: np.stack(runs.correct[comparison_split]) for name, runs in complete.items()} if comparison_split else {}
    )
    same_images = results.has_same_images or len(results.seeds) == 1
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
        findings=() if comparison is None else _comparison_sentences(comparison, comparison_split),
        chosen=chosen,
        optimism=optimism,
        test=_test_accuracy(chosen, same_images),
        machine=machine,
        network=more.pop("network", None if chosen is None else _network(results, chosen)),
        **more,
    )


def _configuration_runs(results: StudyResults, config: Configuration) -> ConfigurationRuns | None:
    """What a configuration's finished seeds gave; None where none is finished. What is large is dropped once it was
    used.
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
    if "valid" not in correct and first.valid_correct.shape[1]:  # a run whose samples are gone still knows these
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
        curves=_curve_findings(results, list(runs.values())),
    )


def _curve_findings(results: StudyResults, runs: Sequence[RunResult]) -> CurveFindings | None:
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
    return curve_findings(curves, valid_correct=correct, valid_losses=losses)


def _curve(histories: Sequence[Sequence[EpochRecord]], split: str, measure: str) -> NDArray[np.float64]:
    """(S, E) of one measure."""
    return np.array([[getattr(record.scores(split), measure) for record in history] for history in histories])


def _comparison_sentences(comparison: Comparison, comparison_split: str) -> tuple[str, ...]:
    """Return the findings of a comparison with markup."""
    found = comparison_findings(comparison, split=SPLIT_NAMES[comparison_split], join=join_configurations)
    return tuple(escape(one.sentence) for one in found)


def _rounded_mean(runs: ConfigurationRuns, split: str) -> float:
    """The mean accuracy without its last digits, so that equals are equal; of these the first is taken."""
    return round(runs.mean(split, "accuracy"), 12)


def _test_accuracy(chosen: ConfigurationRuns | None, same_images: bool) -> ConfigurationAccuracy | None:
    """The chosen configuration's test accuracy with its interval, where its seeds share their images."""
    if chosen is None or "test" not in chosen.correct or not same_images:
        return None
    return configuration_accuracy(np.stack(chosen.correct["test"]), label=chosen.name)


def _network(results: StudyResults, chosen: ConfigurationRuns) -> Classifier | None:
    """The chosen configuration's first network; a model file that is gone or damaged costs its pictures alone."""
    path = results.model_path(chosen.configuration)
    try:
        return None if path is None else load_model(path)
    except ModelFileError:
        return None
