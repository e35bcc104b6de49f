"""Resolve options to the study of a write-up; loads no NumPy, so that errors come at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalknet.config import DataConfig
from chalknet.studies.spec import StudySpec
from chalknet.workflows.resolve_study import resolve_study

WIDTHS = (100, 500, 1000, 2000)
SEEDS = 3
# The quick form takes at most 40 s on two cores.
QUICK_WIDTHS = (100, 200)
QUICK_SEEDS = 3
QUICK_EPOCHS = 80


def resolve_writeup(
    *,
    quick: bool = False,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    data: DataConfig | None = None,
) -> StudySpec:
    """Return the study that a write-up is made from.

    Args:
        quick: whether it is the short form: fewer widths and epochs.
        seeds: training runs per width; None for the default.
        settings: recipe fields that were given; `hidden` is the widths to compare, a list or "100,500".
        data: where the samples are.

    Raises:
        ConfigError: see `resolve_study`.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    widths = given.pop("hidden", QUICK_WIDTHS if quick else WIDTHS)
    if quick:
        given = {"epochs": QUICK_EPOCHS, **given}
    given["seeds"] = seeds if seeds is not None else QUICK_SEEDS if quick else SEEDS
    return resolve_study("writeup", None, {"hidden": widths}, given, data).spec


def writeup_folder(source: str, quick: bool) -> Path:
    """Return the default folder of a write-up: runs/writeup, with the data's name and "quick"."""
    name = Path(source).name.split(".")[0] if source and source != "glyphs" else ""
    return Path("runs") / "-".join(filter(None, ["writeup", name, "quick" if quick else ""]))
