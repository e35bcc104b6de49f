"""What `budget` changes of a named recipe: more networks and epochs for more time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

from chalknet.checked import is_number, short
from chalknet.config import Constraint
from chalknet.errors import ConfigError
from chalknet.training import images_recipe, rows_recipe

BUDGETS = ("fast", "default", "best")  # from the shortest to the longest
BUDGET = Constraint(
    f"one of {', '.join(BUDGETS)}, or a number of seconds > 0",
    lambda v: v in BUDGETS if isinstance(v, str) else is_number(v) and v > 0,
)
# Recipe -> budget -> fields that it sets. Those of recipe rows depend on the table, see `rows_recipe`.
PLANS: dict[str, dict[str, dict[str, Any]]] = {
    "rows": {},
    "images": images_recipe.PLANS,
    "strong-dense": {"fast": {"epochs": 10}, "default": {}, "best": {"ensemble": 3}},
    "strong-rows": {"fast": {"epochs": 20}, "default": {}, "best": {"ensemble": 5, "folds": 5, "calibrate": True}},
}
# The recipes that a budget can be given with; "strong" becomes one of the others.
WITH_BUDGETS = ("strong", *PLANS)
# For `estimated_seconds`: networks of the named recipes reach about this many floating-point
# operations per second on one core, and each update takes at least this long.
OPERATIONS_PER_SECOND, SECONDS_PER_UPDATE = 2e10, 1e-4
HIDDEN: dict[str, tuple[int, ...]] = {"strong-dense": (1_024, 512), "strong-rows": (128,)}
BATCH, EPOCHS = 128, 40  # of both recipes


def settings_for_budget(
    budget: str | float,
    n_rows: int,
    shape: Sequence[int],
    n_classes: int,
    recipe: str = "rows",
    n_numbers: int | None = None,
) -> dict[str, Any]:
    """Return the fields of a named recipe that a budget sets.

    Args:
        budget: "fast", "default" or "best", or seconds of CPU time. Of the plans whose estimated
            time is at most so many seconds, the longest is taken; if there is none, the shortest.
        n_rows: number of training samples, with those of all folds.
        shape: of one sample: (I,), (H, W) or (H, W, C).
        n_classes: number of classes.
        recipe: the recipe that is changed.
        n_numbers: how many of the inputs, the first ones, are numbers and not parts of categories; by
            default all of them.

    Raises:
        ConfigError: an invalid budget, or the recipe has no plans.
    """
    if not BUDGET.accepts(budget):
        raise ConfigError(f"budget must be {BUDGET.must}, got {short(budget)}.")
    if recipe not in PLANS:
        raise ConfigError(
            f"recipe {recipe} has no budgets. Leave out budget (--budget), or use one of {', '.join(WITH_BUDGETS)}."
        )
    n_inputs = prod(shape)
    numbers = n_inputs if n_numbers is None else n_numbers

    def seconds(name: str) -> float:
        if recipe == "rows":
            return rows_recipe.estimated_seconds(rows_recipe.PLANS[name], n_rows, n_inputs, numbers, n_classes)
        if recipe == "images":
            return images_recipe.estimated_seconds(PLANS[recipe][name], n_rows, shape, n_classes)
        return estimated_seconds(PLANS[recipe][name], n_rows, n_inputs, n_classes, recipe)

    chosen = budget
    if not isinstance(chosen, str):
        fitting = [name for name in BUDGETS if seconds(name) <= chosen]
        chosen = fitting[-1] if fitting else BUDGETS[0]
    if recipe == "rows":
        return rows_recipe.PLANS[chosen].settings(n_rows, n_inputs, numbers)
    return dict(PLANS[recipe][chosen])


def estimated_seconds(
    settings: dict[str, Any], n_rows: int, n_inputs: int, n_classes: int, recipe: str = "strong-rows"
) -> float:
    """Return roughly how many seconds of CPU time a training with these settings takes."""
    units = settings.get("hidden", HIDDEN[recipe])
    widths = [n_inputs, *units, n_classes]
    n_parameters = sum(one * other for one, other in pairwise(widths))
    epochs = settings.get("epochs", EPOCHS) * settings.get("ensemble", 1)
    n_updates = max(1, n_rows // settings.get("batch_size", BATCH))
    return float(epochs * (6 * n_rows * n_parameters / OPERATIONS_PER_SECOND + n_updates * SECONDS_PER_UPDATE))
