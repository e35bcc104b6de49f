"""A sampler that chooses configurations with Optuna, reproducibly.

Trials are chosen in rounds of `at_once`. Each trial has a new sampler, which is given the results
of all earlier rounds and whose seed depends on search_seed and the number of the trial only. The
choice therefore depends on the specification, and not on the number of jobs, on interruptions, or
on which run was finished first.
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
from chalknet.version import install_command

DRAWS = 20  # maximum number of draws per trial to find a configuration that was not chosen before
DIGITS = 4  # significant digits of a number that is chosen within a range


class Trial(NamedTuple):
    """A configuration that was chosen before.

    Attributes:
        settings: the values of the varied fields.
        value: the objective, or None if a run failed.
    """

    settings: dict[str, Any]
    value: float | None


def search_key(spec: StudySpec) -> str:
    """Return the identity of the sequence of choices that a specification leads to.

    It does not depend on the number of trials, so a search with more trials continues the same
    sequence.
    """
    tables = spec_tables(spec)
    del tables["data"], tables["recipe"], tables["search"]["trials"]
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:32]


def next_trials(spec: StudySpec, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return the settings of the trials that complete the current round.

    There are fewer, or none, if the sampler finds no configuration that was not chosen before.

    Args:
        spec: a specification with a search.
        trials: all trials so far, finished.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    assert spec.search is not None, "only a search has trials"
    search = spec.search
    finished = trials[: len(trials) // search.at_once * search.at_once]  # those of earlier rounds
    chosen: list[dict[str, Any]] = []
    seen = {_identity(trial.settings) for trial in trials}
    for number in range(len(trials), min(len(finished) + search.at_once, search.trials)):
        settings = _new_settings(spec, search, finished, number, seen)
        if settings is None:
            break
        seen.add(_identity(settings))
        chosen.append(settings)
    return chosen


def require_optuna() -> Any:
    """Return the module optuna, with its log messages turned off.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError(f"a search needs Optuna. Install it: {install_command('search')}.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _new_settings(
    spec: StudySpec, search: SearchConfig, finished: Sequence[Trial], number: int, seen: set[str]
) -> dict[str, Any] | None:
    """Return settings that were not chosen before, or None if DRAWS draws find none."""
    optuna = require_optuna()
    direction = "minimize" if search.objective == "valid_loss" else "maximize"
    distributions = {name: _distribution(optuna, name, values, spec) for name, values in spec.vary}
    for draw in range(DRAWS):
        (seed,) = np.random.SeedSequence([search.search_seed, number, draw]).generate_state(1)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(seed)), direction=direction)
        for trial in finished:
            study.add_trial(_finished_trial(optuna, spec, trial, distributions))
        asked = study.ask(distributions)
        settings = {name: _setting(name, values, asked.params[name], spec) for name, values in spec.vary}
        if _identity(settings) not in seen:
            return settings
    return None


def _finished_trial(optuna: Any, spec: StudySpec, trial: Trial, distributions: dict[str, Any]) -> Any:
    """Return a finished trial for Optuna; a failed one is "pruned", which ranks below all others."""
    params = {name: _parameter(name, values, trial.settings[name], spec) for name, values in spec.vary}
    state = optuna.trial.TrialState.PRUNED if trial.value is None else optuna.trial.TrialState.COMPLETE
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value, state=state)


def _distribution(optuna: Any, name: str, values: Values, spec: StudySpec) -> Any:
    """Return a field's distribution: categories for a list, an index for a counted range."""
    kinds = optuna.distributions
    if not isinstance(values, Range):
        return kinds.CategoricalDistribution(tuple(range(len(values))))
    if values.count is not None:
        return kinds.IntDistribution(0, len(value_list(name, values, spec.recipe)) - 1)
    if is_whole_range(name, values):
        return kinds.IntDistribution(round(values.low), round(values.high), log=values.kind == "log")
    return kinds.FloatDistribution(values.low, values.high, log=values.kind == "log")


def _setting(name: str, values: Values, parameter: Any, spec: StudySpec) -> Any:
    """Return a sampler's parameter as a JSON-ready value of the field."""
    if not isinstance(values, Range) or values.count is not None:
        value = value_list(name, values, spec.recipe)[int(parameter)]
        return list(value) if isinstance(value, tuple) else value
    if not is_whole_range(name, values):
        parameter = min(max(float(f"{parameter:.{DIGITS}g}"), values.low), values.high)
    return as_field_value(name, parameter, values)


def _parameter(name: str, values: Values, setting: Any, spec: StudySpec) -> Any:
    """Return a value of the field as a sampler's parameter, the inverse of `_setting`."""
    if not isinstance(values, Range) or values.count is not None:
        stored = tuple(setting) if isinstance(setting, list) else setting
        return value_list(name, values, spec.recipe).index(stored)
    return setting[0] if isinstance(setting, list) else setting


def _identity(settings: dict[str, Any]) -> str:
    """Return a text that is equal for equal settings."""
    return json.dumps(settings)
