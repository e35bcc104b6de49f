"""All options of a training. Loads no NumPy, so that invalid options are refused at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalknet.checked import short
from chalknet.config import MAX_WORKERS, NON_NEGATIVE, READING_FIELDS, DataConfig, Recipe, integer, read_config
from chalknet.errors import ConfigError
from chalknet.formatting import listed
from chalknet.training.budgets import BUDGET, WITH_BUDGETS
from chalknet.training.recipes import DEFAULT_RECIPE, with_user_settings
from chalknet.training.recipes import recipe as recipe_named

if TYPE_CHECKING:
    from chalknet.data.dataset import Dataset
    from chalknet.data.load import DataSource
    from chalknet.data.splits import Splits

READ_OPTIONS = READING_FIELDS  # of `load_data`
LIMITS = {
    "checkpoint_seconds": NON_NEGATIVE,
    "checkpoint_epochs": integer(1),
    "workers": integer(1, MAX_WORKERS),
    "shards": integer(1, 10_000),
    "budget": BUDGET,
}


@dataclass(frozen=True, eq=False)
class TrainOptions:
    """The options of a training, from Python or from the command line.

    Attributes:
        data: the samples, their path, or how to read them; None for the config file's or the built-in
            letters.
        read_with: options of `load_data`, if data is a path.
        recipe: a recipe's name or a `Recipe`.
        config: a config.toml to start from instead.
        settings: recipe fields to change.
        budget: "fast", "default", "best" or seconds of CPU time, which change a named recipe; or None.
        valid: provided validation samples.
        test: provided test samples.
        splits: provided index arrays.
        sample_weights: (N,) the weight of each sample of data in the training loss.
        out: the run folder; None to write nothing, or with default_out to write into the first free
            folder of runs/RECIPE-NETWORK-seedN, -2, -3, ...
        default_out: whether to choose a folder if out is None.
        overwrite: whether out may hold a run.
        resume: the folder of an unfinished run to continue; recipe, settings and out are then that
            run's.
        checkpoint_seconds: see `CheckpointSchedule`.
        checkpoint_epochs: see `CheckpointSchedule`.
        must_stop: called after each epoch and between updates. True takes a checkpoint and raises
            `StoppedError`.
        workers: number of threads, by default one per core.
        shards: number of Ray actors over which samples are distributed, or None.
        on: their cluster, by default one on this machine.

    Raises:
        ConfigError: an invalid option, setting or config file.
    """

    data: Dataset | DataConfig | DataSource | None = None
    read_with: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | Recipe | None = None
    config: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: str | float | None = None
    valid: Dataset | DataSource | None = None
    test: Dataset | DataSource | None = None
    splits: Splits | None = None
    sample_weights: Any = None
    out: str | Path | None = None
    default_out: bool = False
    overwrite: bool = False
    resume: str | Path | None = None
    checkpoint_seconds: float | None = None
    checkpoint_epochs: int | None = None
    must_stop: Callable[[], bool] | None = None
    workers: int | None = None
    shards: int | None = None
    on: str | None = None

    def __post_init__(self) -> None:
        """Check the options that need no data."""
        for name, constraint in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not constraint.accepts(value):
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{name} ({flag}) must be {constraint.must}, got {short(value)}.")
        if self.shards is None and self.on is not None:
            raise ConfigError(f"on {self.on!r} is the cluster for shards, but shards (--shards) is not given.")
        base = self.base()[0]
        if self.budget is not None and not (self.is_adaptable and base.name in WITH_BUDGETS):
            raise ConfigError(
                f"budget (--budget) changes one of the recipes {listed(WITH_BUDGETS, 'or')}, given by name. Leave it "
                "out, or use one of these."
            )
        if self.is_adaptable:
            with_user_settings(base, self.settings)
        else:
            base.with_settings(**self.settings)

    @property
    def is_adaptable(self) -> bool:
        """Whether the recipe is adapted to the data: a recipe given by name, or the default."""
        return self.config is None and not isinstance(self.recipe, Recipe)

    def base(self) -> tuple[Recipe, DataConfig]:
        """Return the recipe that the settings change, and the data that the config file names.

        Raises:
            ConfigError: both a recipe and a config file are given, one of them is invalid, or the
                config file is from a training with sample weights.
        """
        if self.config is None:
            recipe = DEFAULT_RECIPE if self.recipe is None else self.recipe
            return recipe if isinstance(recipe, Recipe) else recipe_named(recipe), DataConfig()
        if self.recipe is not None:
            raise ConfigError("--recipe and --config both give the settings to start from. Give only one of them.")
        recipe, data = read_config(Path(self.config))
        if data.sample_weights_sha256:
            raise ConfigError(
                f"{self.config}: is from a training with sample weights, which it cannot hold. Pass them to "
                "chalknet.train."
            )
        return recipe, data
