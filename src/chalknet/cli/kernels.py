"""The choice of OpenBLAS kernels, which must be made before a command that trains imports NumPy."""

from __future__ import annotations


def choose_kernels() -> tuple[str, ...]:
    """Make OpenBLAS use its fastest kernel set, and return a note if that is not its own choice."""
    from chalknet.machine.kernels import use_best_kernels

    choice = use_best_kernels()
    if choice is None or not choice.best:
        return ()
    own = choice.rates[0].kernels
    return (f"OpenBLAS uses its {choice.best} kernels, which are {choice.gain:.1f} times as fast here as {own}.",)
