"""The kernel set of OpenBLAS, chosen before a command that trains imports NumPy."""

from __future__ import annotations

import click


def choose_kernels(quiet: bool) -> None:
    """Uses the fastest kernel set, and says so in a line where it is not the one that OpenBLAS would have taken."""
    from chalknet.machine.kernels import use_best_kernels

    choice = use_best_kernels()
    if choice is not None and choice.best and not quiet:
        own = choice.rates[0].kernels
        click.echo(f"BLAS: {choice.best} kernels, {choice.gain:.1f} times as fast here as {own}", err=True)
