"""What to do next with a study: its best configuration, and commands that can be run as they are."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from chalknet.config import REPLACED_BY_NETWORK, SECTION_OF_FIELD, Recipe, TableOptions
from chalknet.data.dataset import ARRAYS
from chalknet.named_networks import DENSE
from chalknet.records import EpochRecord
from chalknet.studies.configurations import Configuration, value_text
from chalknet.studies.results import StudyResults
from chalknet.training.recipes import RECIPES

KeptScores = Callable[[Configuration, int], EpochRecord | None]


def resume_command(folder: Path, *flags: str) -> str:
    """Return the command that continues the study in a folder."""
    return shlex.join(["chalknet", "study", "--config", str(folder / "study.toml"), *flags])


def report_command(folder: Path) -> str:
    """Return the command that writes a report about a study or a run."""
    return shlex.join(["chalknet", "report", str(folder)])


def watch_command(folder: Path) -> str:
    """Return the command that follows a study or a training in the browser."""
    return shlex.join(["chalknet", "study", "watch", str(folder)])


def best_configuration(results: StudyResults, kept_of: KeptScores | None = None) -> Configuration | None:
    """Return the configuration with the best mean validation accuracy, the first one of equals.

    A search whose objective is the validation loss decides by the mean validation loss. Only
    configurations count of which all runs are done. The result is None if there are fewer than two,
    or no validation samples.

    Args:
        results: the study.
        kept_of: returns the scores of the kept epoch of a finished run; by default they are read.
    """
    if kept_of is None:

        def kept_of(config: Configuration, seed: int) -> EpochRecord | None:
            record = results.record(config, seed)
            return None if record is None else record.kept

    by_loss = results.spec.search is not None and results.spec.search.objective == "valid_loss"

    def mean_of(config: Configuration) -> float:
        records = [kept_of(config, seed) for seed in results.seeds]
        scores = [record.valid for record in records if record is not None]
        return mean(-math.inf if one is None else -one.loss if by_loss else one.accuracy for one in scores)

    means = [(mean_of(config), config) for config in results.complete_configurations]
    if len(means) < 2 or math.isinf(means[0][0]):
        return None
    return max(means, key=lambda pair: pair[0])[1]


def train_command(results: StudyResults, config: Configuration) -> str | None:
    """Return the command that trains a configuration with the first seed.

    The result is None if the data is arrays, which no command can name, or if the recipe has a
    list of layers or is none of the named ones.
    """
    data, recipe = results.spec.data, config.recipe_of(results.spec.first_seed)
    if data.source in ("", ARRAYS) or recipe.name not in RECIPES or _has_own_layers(recipe):
        return None
    words = ["chalknet", "train", "--data", data.source, "--recipe", recipe.name]
    for flag, value in (("class-names", data.class_names), ("image-size", data.image_size)):
        words += [f"--{flag}", ("," if flag == "class-names" else "x").join(map(str, value))] if value else []
    words += ["--color", data.color] if data.color else []
    words += ["--label-column", str(data.label_column)] if data.label_column is not None else []
    words += table_words(data.table)
    named = recipe.network.network != DENSE
    for name, section in SECTION_OF_FIELD.items():
        if named and name in (*REPLACED_BY_NETWORK, "layers"):
            continue
        value, default = (getattr(getattr(one, section), name) for one in (recipe, RECIPES[recipe.name]))
        if value != default:
            words += ["--set", f"{name}={'x'.join(map(str, value)) if name == 'hidden' else _set_text(value)}"]
    return shlex.join(words)


def _has_own_layers(recipe: Recipe) -> bool:
    """Return whether a recipe has a list of layers, which --set does not show, and no named network."""
    return bool(recipe.network.layers) and recipe.network.network == DENSE


def table_words(options: TableOptions) -> list[str]:
    """Return the flags that read a table with these options."""
    words = []
    for name, value in options.changed.items():
        if name == "header":
            words.append("--header" if value else "--no-header")
        else:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", "tab" if text == "\t" else text]
    return words


def _set_text(value: Any) -> str:
    """Return a value as --set reads it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value_text(value)
