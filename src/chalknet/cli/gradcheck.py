"""`chalknet gradcheck`."""

from __future__ import annotations

import json
from typing import Any

import cloup

from chalknet.cli.command import command
from chalknet.cli.options import (
    GLYPHS_DEFAULT,
    data_option,
    data_options,
    json_option,
    parse_settings,
    parse_source,
    print_notes,
    recipe_option,
    recipe_options,
    set_option,
)
from chalknet.cli.output import echo
from chalknet.cli.progress import GradientBar
from chalknet.training.recipes import recipe as recipe_named


@command()
@recipe_option("Recipe whose network is checked.", default="writeup")
@recipe_options(
    "network",
    "hidden",
    "activation",
    "batch_norm",
    "layers",
    "dropout",
    "seed",
    recipes=["writeup", "strong", "strong-rows"],
    texts={"seed": "Seed of the initial weights, dropout and augmentation."},
)
@set_option
@data_option(f"Samples to check with.  {GLYPHS_DEFAULT}")
@data_options
@cloup.option("--samples", default=20, show_default=True, metavar="N", help="Number of samples in the batch.")
@json_option("Print JSON instead of the table.")
def gradcheck(data: str | None, recipe: str | None, samples: int, as_json: bool, **flags: Any) -> int:
    """Check the gradients against numerical derivatives.

    For each group of parameters, this compares the hand-derived gradient with central differences
    in float64 along three directions. It checks everything that the loss depends on: activations,
    batch normalization, the L2 penalty, smoothed or mixed targets, and the dropout and augmentation
    of the first update. The exit code is 1 if a relative error exceeds 1e-7.

    Examples:
        chalknet gradcheck --hidden 64x32
        chalknet gradcheck --network lenet --samples 4
        chalknet gradcheck --recipe strong --hidden 32 --activation gelu
    """
    from dataclasses import asdict

    from chalknet.data.open_data import open_data
    from chalknet.network.gradcheck import TOLERANCE
    from chalknet.reporting.tables import gradient_table
    from chalknet.workflows.gradcheck import check_recipe

    chosen = recipe_named(recipe or "writeup").with_settings(**parse_settings(flags))
    data_set = open_data(parse_source(data or "glyphs", flags))
    with GradientBar(quiet=False) as bar:
        checks = check_recipe(data_set, chosen, samples, bar)
    print_notes(data_set.notes, quiet=False)
    if as_json:
        echo(json.dumps([{**asdict(check), "ok": check.ok} for check in checks], indent=2))
    else:
        echo(gradient_table(checks).text())
    bad = [check.parameter for check in checks if not check.ok]
    if bad:
        echo(
            f"chalknet: {len(bad)} of {len(checks)} gradients are wrong: relative error above {TOLERANCE:g} in "
            f"{', '.join(bad)}.",
            err=True,
        )
    elif not as_json:
        largest = max(check.relative_error for check in checks)
        echo(
            f"All {len(checks)} gradients agree: the largest relative error is {largest:.1e}, and at most "
            f"{TOLERANCE:g} is allowed."
        )
    return 1 if bad else 0
