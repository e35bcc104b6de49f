"""Resolve options to the study of a write-up; loads no NumPy, so that errors come at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chalknet.config import DataConfig, LayerTable, Recipe
from chalknet.errors import ConfigError
from chalknet.studies.configurations import value_text
from chalknet.studies.spec import StudySpec
from chalknet.workflows.resolve_study import resolve_study

PARTS = (1, 2)
SEEDS = 3
WIDTHS = (100, 500, 1000, 2000)
# The quick form takes at most 40 s on two cores.
QUICK_WIDTHS = (100, 200)
QUICK_EPOCHS = 80
# The second part: strengths of the L2 penalty on the weights of the dense layer (docs/derivation.md, P1), and
# probabilities with which its units are kept by dropout.
NO_REGULARIZATION = "no regularization"
L2_STRENGTHS = (0.01, 0.1, 0.5)
KEEP_PROBABILITIES = (0.9, 0.75, 0.5)
# Its quick form takes at most two minutes on two cores.
QUICK_L2_STRENGTHS = (0.1,)
QUICK_KEEP_PROBABILITIES = (0.5,)
QUICK_PART2_SEEDS = 2
QUICK_PART2_EPOCHS = 6
QUICK_PART2_SAMPLES = 3_000
# Settings of a write-up that one of its parts does not have.
NOT_IN_PART = {
    2: {
        "hidden": "its network has one dense layer of 784 units",
        "momentum": "its optimizer is Adam",
    }
}


def resolve_writeup(
    *,
    part: int = 1,
    quick: bool = False,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    data: DataConfig | None = None,
) -> StudySpec:
    """Return the study that a write-up is made from.

    Args:
        part: 1 for the widths of a network with one hidden layer; 2 for the L2 penalty and dropout in
            a convolutional network.
        quick: whether it is the short form: fewer configurations and epochs, and in part 2 fewer seeds
            and training samples.
        seeds: training runs per configuration; None for the default.
        settings: recipe fields that were given; in part 1, `hidden` is the widths to compare, a list or
            "100,500".
        data: where the samples are.

    Raises:
        ConfigError: there is no such part, a setting belongs to the other part, or as `resolve_study`.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    if part not in PARTS or isinstance(part, bool):
        raise ConfigError(f"part must be 1 or 2, got {part!r}.")
    for name, reason in NOT_IN_PART.get(part, {}).items():
        if name in given:
            raise ConfigError(f"{name} is a setting of part 1 of the write-up. Leave it out: in part 2, {reason}.")
    if part == 2:
        return _resolve_part2(quick=quick, seeds=seeds, given=given, data=data)
    widths = given.pop("hidden", QUICK_WIDTHS if quick else WIDTHS)
    if quick:
        given = {"epochs": QUICK_EPOCHS, **given}
    given["seeds"] = seeds if seeds is not None else SEEDS
    return resolve_study("writeup", None, {"hidden": widths}, given, data).spec


def _resolve_part2(*, quick: bool, seeds: int | None, given: dict[str, Any], data: DataConfig | None) -> StudySpec:
    """Return the study of the second part.

    In the quick form, all configurations use the first training samples only. Validation and test
    samples are those of the full form.
    """
    of_all: dict[str, Any] = {}
    if quick:
        if "train_size" not in given:
            of_all["train_size"] = QUICK_PART2_SAMPLES
        given = {"epochs": QUICK_PART2_EPOCHS, **given}
    given["seeds"] = seeds if seeds is not None else QUICK_PART2_SEEDS if quick else SEEDS
    spec = resolve_study("part2", None, {}, given, data).spec
    named: dict[str, dict[str, Any]] = {NO_REGULARIZATION: {}}
    for strength in QUICK_L2_STRENGTHS if quick else L2_STRENGTHS:
        named[l2_name(strength)] = {"layers": layers_with_l2(spec.recipe, strength)}
    for keep in QUICK_KEEP_PROBABILITIES if quick else KEEP_PROBABILITIES:
        named[keep_name(keep)] = {"dropout": round(1 - keep, 12)}
    pairs = tuple((name, tuple((settings | of_all).items())) for name, settings in named.items())
    return replace(spec, configurations=pairs)


def l2_name(strength: float) -> str:
    """Return the name of the configuration with an L2 penalty on the weights of the dense layer."""
    return f"L2 {value_text(strength)}"


def keep_name(probability: float) -> str:
    """Return the name of the configuration with dropout."""
    return f"keep probability {value_text(probability)}"


def layers_with_l2(recipe: Recipe, strength: float) -> list[LayerTable]:
    """Return the layers of a recipe, with an L2 penalty on the weights of its hidden dense layers."""
    return [
        LayerTable(layer | {"l2": strength}) if layer["type"] == "dense" else layer
        for layer in recipe.network.layers_below_output
    ]


def writeup_folder(source: str, quick: bool, part: int = 1) -> Path:
    """Return the default folder of a write-up: runs/writeup or runs/part2, with the data's name and "quick"."""
    name = Path(source).name.split(".")[0] if source and source != "glyphs" else ""
    kind = "writeup" if part == 1 else f"part{part}"
    return Path("runs") / "-".join(filter(None, [kind, name, "quick" if quick else ""]))
