"""A sampler that chooses configurations: Optuna behind ask and tell, repeatable to the last digit from the store.

Trials are chosen `at_once` at a time, each by a sampler of its own that has been told the results of all earlier
rounds and whose seed is made from search_seed and the trial's number. So the choice depends on the specification alone,
and not on the number of jobs, on interruptions, or on which run was finished first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chalknet.errors import MissingExtraError
from chalknet.studies.spec import (
    Range,
    SearchConfig,
    StudySpec,
    Values,
    as_field_value,
    is_whole_range,
    spec_tables,
    value_list,
)

DRAWS = 20  # at most for one trial, to find a configuration that has not been chosen yet
DIGITS = 4  # of a number that is chosen anywhere within a range


class Trial(NamedTuple):
    """A configuration that was chosen before: its settings, and its objective, None where its training failed."""

    settings: dict[str, Any]
    value: float | None


def search_key(spec: StudySpec) -> str:
    """Names the sequence of choices that a specification leads to; a larger number of trials goes on with it."""
    tables = spec_tables(spec)
    del tables["data"], tables["recipe"], tables["search"]["trials"]
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:32]


def next_trials(spec: StudySpec, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The settings of the trials that fill the present round; fewer where no new configuration is found.

    Args:
        trials: all so far, finished.
    Raises:
        MissingExtraError: Optuna is not installed.
    """
    assert spec.search is not None, "only a search has trials"
    search = spec.search
    told = trials[: len(trials) // search.at_once * search.at_once]  # of earlier rounds alone
    chosen: list[dict[str, Any]] = []
    seen = {_identity(trial.settings) for trial in trials}
    for number in range(len(trials), min(len(told) + search.at_once, search.trials)):
        settings = _new_settings(spec, search, told, number, seen)
        if settings is None:
            break
        seen.add(_identity(settings))
        chosen.append(settings)
    return chosen


def require_optuna() -> Any:
    """Optuna, told to be quiet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError('a search needs Optuna: pip install "chalknet[search]".') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _new_settings(
    spec: StudySpec, search: SearchConfig, told: Sequence[Trial], number: int, seen: set[str]
) -> dict[str, Any] | None:
    """What the sampler draws that is new; None where it finds nothing new, as in a small grid that is used up."""
    optuna = require_optuna()
    direction = "minimize" if search.objective == "valid_loss" else "maximize"
    distributions = {name: _distribution(optuna, name, values, spec) for name, values in spec.vary}
    for draw in range(DRAWS):
        (seed,) = np.random.SeedSequence([search.search_seed, number, draw]).generate_state(1)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(seed)), direction=direction)
        for trial in told:
            study.add_trial(_told_trial(optuna, spec, trial, distributions))
        asked = study.ask(distributions)
        settings = {name: _setting(name, values, asked.params[name], spec) for name, values in spec.vary}
        if _identity(settings) not in seen:
            return settings
    return None


def _told_trial(optuna: Any, spec: StudySpec, trial: Trial, distributions: dict[str, Any]) -> Any:
    """A finished trial as Optuna keeps it; one that failed as "pruned", which counts as worse than all others."""
    params = {name: _parameter(name, values, trial.settings[name], spec) for name, values in spec.vary}
    state = optuna.trial.TrialState.PRUNED if trial.value is None else optuna.trial.TrialState.COMPLETE
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value, state=state)


def _distribution(optuna: Any, name: str, values: Values, spec: StudySpec) -> Any:
    """A list is a choice among equals, a counted range a place in a row, any other range a number."""
    kinds = optuna.distributions
    if not isinstance(values, Range):
        return kinds.CategoricalDistribution(tuple(range(len(values))))
    if values.count is not None:
        return kinds.IntDistribution(0, len(value_list(name, values, spec.recipe)) - 1)
    if is_whole_range(name, values):
        return kinds.IntDistribution(round(values.low), round(values.high), log=values.kind == "log")
    return kinds.FloatDistribution(values.low, values.high, log=values.kind == "log")


def _setting(name: str, values: Values, parameter: Any, spec: StudySpec) -> Any:
    """A sampler's parameter as a value of the field, JSON-ready."""
    if not isinstance(values, Range) or values.count is not None:
        value = value_list(name, values, spec.recipe)[int(parameter)]
        return list(value) if isinstance(value, tuple) else value
    if not is_whole_range(name, values):
        parameter = min(max(float(f"{parameter:.{DIGITS}g}"), values.low), values.high)
    return as_field_value(name, parameter, values)


def _parameter(name: str, values: Values, setting: Any, spec: StudySpec) -> Any:
    """The inverse."""
    if not isinstance(values, Range) or values.count is not None:
        stored = tuple(setting) if isinstance(setting, list) else setting
        return value_list(name, values, spec.recipe).index(stored)
    return setting[0] if isinstance(setting, list) else setting


def _identity(settings: dict[str, Any]) -> str:
    return json.dumps(settings)
