"""Recipes trained one by one and in packs, for the tests that compare the two."""

from __future__ import annotations

from chalknet.errors import DivergenceError
from chalknet.training.together import run_together
from chalknet.training.trainer import Trainer, run_epochs


def trained_alone(data, splits, recipe):
    """The run, or the error of one that diverges."""
    try:
        return run_epochs(Trainer(data, splits, recipe, keep_samples=True))
    except DivergenceError as error:
        return error


def trained_together(data, splits, packed, **options):
    """The same of each recipe, from one pack."""
    found = {}
    run_together(data, splits, packed, lambda number, end: found.update({number: end}), keep_samples=True, **options)
    assert sorted(found) == list(range(len(packed)))
    return [found[number] for number in range(len(packed))]
