"""The configurations of a study that may not be finished, ranked by what is known of them so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from chalknet.formatting import DASH, count_of, fixed, percent, percent_interval
from chalknet.records import EpochRecord
from chalknet.reporting.configuration_text import configuration_words, join_configurations
from chalknet.reporting.markup import escape
from chalknet.reporting.report_data import ConfigurationRuns, comparison_sentences
from chalknet.reporting.study_tables import seconds_text
from chalknet.reporting.tables import SPLIT_NAMES, Table
from chalknet.studies.compare import Comparison, ConfigurationAccuracy, compare_configurations, configuration_accuracy
from chalknet.studies.configurations import Configuration
from chalknet.studies.study_observer import FinishedRun, StudyState

MAX_ROWS = 50  # of the ranked table
MAX_COMPARED = 30  # configurations whose pairs are compared: 435 pairs take 0.2 seconds


@dataclass(frozen=True, eq=False)
class RankedConfiguration:
    """A configuration with at least one finished run.

    Attributes:
        configuration: what was trained.
        name: in words, such as "500 hidden units".
        runs: the finished runs by seed.
        n_failed: number of its runs that failed.
        accuracy: mean accuracy on the split that is compared; on the training samples without one.
        interval: the accuracy with its 95 % interval; None if each seed has samples of its own, or
            without such a split.
    """

    configuration: Configuration
    name: str
    runs: Mapping[int, FinishedRun]
    n_failed: int
    accuracy: float
    interval: ConfigurationAccuracy | None

    def mean(self, split: str, measure: str) -> float:
        """Return the mean of an attribute of `Scores` over the finished runs, nan without scores."""
        scores = [one for run in self.runs.values() if (one := run.kept.scores(split)) is not None]
        return fmean(getattr(one, measure) for one in scores) if scores else math.nan

    def as_runs(self, histories: tuple[tuple[EpochRecord, ...], ...] = ()) -> ConfigurationRuns:
        """Return the configuration for the figures of a report.

        Args:
            histories: the epochs of each run; () to leave them out, which thousands of runs do.
        """
        runs = tuple(self.runs.values())
        return ConfigurationRuns(
            configuration=self.configuration,
            name=self.name,
            title=self.name,
            seeds=tuple(self.runs),
            is_complete=True,
            histories=histories,
            kept_epochs=tuple(run.kept.epoch for run in runs),
            seconds=tuple(run.seconds for run in runs),
            trained=(),
            machines=(),
            correct={},
            predictions={},
            stopping=None,
            model_scores=tuple(run.kept for run in runs),
        )


@dataclass(eq=False)
class Ranking:
    """Ranks the configurations of a study, and keeps the intervals of those that have not changed.

    Attributes:
        configurations: those with a finished run, by descending accuracy.
        comparison: all pairs of the complete configurations; None if there are fewer than two or
            more than `MAX_COMPARED` of them, or if they have no intervals.
        findings: sentences about the comparison, with markup.
    """

    configurations: tuple[RankedConfiguration, ...] = ()
    comparison: Comparison | None = None
    findings: tuple[str, ...] = ()
    _known: dict[str, RankedConfiguration] = field(default_factory=dict)
    _compared: tuple[object, ...] = ()

    def update(self, state: StudyState) -> None:
        """Rank the configurations of a state of the study."""
        results, known = state.results, {}
        has_intervals = bool(state.split) and (results.has_same_images or len(results.seeds) == 1)
        for config in results.configurations:
            runs = {s: state.finished[config.key, s] for s in results.seeds if (config.key, s) in state.finished}
            n_failed = sum(results.status(config, seed) == "failed" for seed in results.seeds)
            before = self._known.get(config.key)
            if before is not None and [*before.runs.values()] == [*runs.values()] and before.n_failed == n_failed:
                known[config.key] = before
            elif runs:
                known[config.key] = _ranked(config, runs, n_failed, state.split, has_intervals)
        self._known = known
        self.configurations = tuple(sorted(known.values(), key=lambda one: -_rounded(one.accuracy)))
        self._compare(state, [one for one in known.values() if len(one.runs) == len(results.seeds)], has_intervals)

    def _compare(self, state: StudyState, complete: list[RankedConfiguration], has_intervals: bool) -> None:
        """Compare the complete configurations, unless they have not changed."""
        if tuple(complete) == self._compared:
            return
        self._compared, self.comparison, self.findings = tuple(complete), None, ()
        if has_intervals and 2 <= len(complete) <= MAX_COMPARED:
            self.comparison = compare_configurations({one.name: _stacked(one.runs) for one in complete})
            self.findings = comparison_sentences(self.comparison, state.split)


def ranked_table(ranking: Ranking, state: StudyState) -> Table:
    """Return a row for each configuration with a finished run, the best first, at most `MAX_ROWS`."""
    split = state.split or "train"
    n_seeds = len(state.results.seeds)
    columns = ("configuration", f"{SPLIT_NAMES[split]} accuracy", "95 % interval", "seeds done", "loss", "seconds")
    rows = tuple(
        (
            one.name,
            percent(one.accuracy),
            DASH if one.interval is None else percent_interval(one.interval.low, one.interval.high),
            f"{len(one.runs)} of {n_seeds}{f', {one.n_failed} failed' if one.n_failed else ''}",
            fixed(one.mean(split, "loss"), 3),
            seconds_text(fmean(run.seconds for run in one.runs.values())).removesuffix(" s"),
        )
        for one in ranking.configurations[:MAX_ROWS]
    )
    return Table("Configurations by accuracy so far", columns, rows)


def ranking_caption(ranking: Ranking, state: StudyState) -> str:
    """Return the sentences below the ranked table, with markup."""
    split, n_seeds = state.split or "train", len(state.results.seeds)
    n = len(ranking.configurations)
    text = f"Mean {SPLIT_NAMES[split]} accuracy of the finished runs of each configuration, the highest first."
    if n > MAX_ROWS:
        text += f" These are the best {MAX_ROWS} of {n:,}. `chalknet study show` lists all of them."
    if not state.split:
        return f"{text} There are neither validation nor test samples, so this says nothing about new samples."
    if all(one.interval is None for one in ranking.configurations):
        return f"{text} Each seed has its own split, so there are no intervals."
    if any(len(one.runs) == 1 for one in ranking.configurations):
        with_one = "The" if n_seeds == 1 else "With one seed, the"
        text += f" {with_one} interval accounts for the number of samples and not for the seed."
    return text


def findings_remark(ranking: Ranking, state: StudyState) -> str:
    """Return a sentence that says how far findings can be trusted or why there are none, "" if nothing is to say."""
    complete = [one for one in ranking.configurations if len(one.runs) == len(state.results.seeds)]
    if len(state.results.configurations) < 2:
        return ""
    if len(complete) < 2 and state.is_over:
        number = "Only one configuration is" if complete else "No configuration is"
        return f"{number} complete, so there is nothing to compare."
    if len(complete) < 2:
        return "Configurations are compared when all runs of at least two of them are done."
    if len(complete) > MAX_COMPARED:
        return (
            f"{count_of(len(complete), 'configuration')} are complete. More than {MAX_COMPARED} are not compared "
            "here, because that takes too long. `chalknet report` compares them."
        )
    if ranking.comparison is None:
        return "Each seed has samples of its own, so differences are not tested."
    if state.is_over:
        return ""
    names = escape(join_configurations([one.name for one in complete]))
    return (
        f"The study is not finished, so these findings may change. They compare the complete configurations: {names}."
    )


def _ranked(
    config: Configuration, runs: dict[int, FinishedRun], n_failed: int, split: str, has_intervals: bool
) -> RankedConfiguration:
    interval = configuration_accuracy(_stacked(runs), label=configuration_words(config)) if has_intervals else None
    found = RankedConfiguration(config, configuration_words(config), runs, n_failed, 0.0, interval)
    accuracy = found.mean(split or "train", "accuracy")
    return RankedConfiguration(config, found.name, runs, n_failed, accuracy, interval)


def _stacked(runs: Mapping[int, FinishedRun]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return (S, M) bool, which samples each seed classifies correctly."""
    return np.stack([run.correct for run in runs.values() if run.correct is not None])


def _rounded(value: float) -> float:
    """Return a value rounded so that rounding errors do not break ties; nan comes last."""
    return -math.inf if math.isnan(value) else round(value, 12)
