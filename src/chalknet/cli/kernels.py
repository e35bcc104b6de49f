"""The kernel set of OpenBLAS, chosen before a command that trains imports NumPy."""

from __future__ import annotations


def choose_kernels() -> tuple[str, ...]:
    """Uses the fastest kernel set; gives a note where it is not the one that OpenBLAS would have taken."""
    from chalknet.machine.kernels import use_best_kernels

    choice = use_best_kernels()
    if choice is None or not choice.best:
        return ()
    own = choice.rates[0].kernels
    return (f"OpenBLAS uses its {choice.best} kernels, {choice.gain:.1f} times as fast here as {own}.",)
