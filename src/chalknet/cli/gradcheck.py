"""`chalknet gradcheck`."""

from __future__ import annotations

import json
from typing import Any

import click

from chalknet.cli.options import data_options, parsed_settings, parsed_source, recipe_options, say_notes, set_option
from chalknet.cli.output import echo
from chalknet.training.recipes import recipe as recipe_named


@click.command()
@click.option(
    "--data", default="glyphs", show_default=True, metavar="FILE|FOLDER|glyphs", help="Where samples come from."
)
@data_options
@click.option("--recipe", metavar="NAME", help="The named recipe whose network is checked.  [default: writeup]")
@recipe_options("hidden", "seed")
@set_option
@click.option("--samples", default=20, show_default=True, metavar="N", help="Samples in the batch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def gradcheck(data: str, recipe: str | None, samples: int, as_json: bool, **flags: Any) -> int:
    """Compare every derivative with central differences.

    Each parameter group is moved a little along three directions, in float64, and the change of what the recipe makes
    small is held against what the hand-derived gradient says: with its activations, batch normalization, penalty,
    targets, and dropout and images as its first update draws them. Exit code 1 where a relative error is above 1e-7.

    \b
    chalknet gradcheck --hidden 64x32
    chalknet gradcheck --recipe strong --hidden 32 --set network.activation=gelu --set network.batch_norm=true
    """
    from dataclasses import asdict

    from chalknet.data.open_data import open_data
    from chalknet.network.gradcheck import TOLERANCE
    from chalknet.reporting.tables import gradient_table
    from chalknet.workflows.gradcheck import check_recipe

    chosen = recipe_named(recipe or "writeup").with_settings(**parsed_settings(flags))
    data_set = open_data(parsed_source(data, flags))
    checks = check_recipe(data_set, chosen, samples)
    say_notes(data_set.notes, quiet=False)
    if as_json:
        echo(json.dumps([{**asdict(check), "ok": check.ok} for check in checks], indent=2))
    else:
        echo(gradient_table(checks).text())
    bad = [check.parameter for check in checks if not check.ok]
    if bad:
        echo(f"chalknet: relative error above {TOLERANCE:g} in {', '.join(bad)}.", err=True)
    return 1 if bad else 0
