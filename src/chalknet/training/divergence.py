"""What to say when a loss stops being finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import DivergenceError


def divergence(
    loss: float, epoch: int, learning_rate: float, last_loss: float | None, parameters: Mapping[str, NDArray[Any]]
) -> DivergenceError:
    """The error of an epoch whose loss is not finite: where, at which rate, and which parameters ran away furthest.

    Args:
        last_loss: of the epoch before, None of the first. parameters: after the epoch, by name.
    """
    last = "no finite loss before it" if last_loss is None else f"last finite loss {last_loss:.4g}"
    return DivergenceError(
        f"loss became {loss} at epoch {epoch} (learning_rate {learning_rate:g}, {last}; {_furthest(parameters)}). "
        "Try a smaller rate, or clip_norm 1."
    )


def _furthest(parameters: Mapping[str, NDArray[Any]]) -> str:
    """The group with the most values that are not finite, or with the largest value."""
    lost = {name: float(np.mean(~np.isfinite(value))) for name, value in parameters.items()}
    name = max(lost, key=lambda one: lost[one])
    if lost[name]:
        return f"{100 * lost[name]:.0f} % of {name} are no longer finite"
    name = max(parameters, key=lambda one: float(np.abs(parameters[one]).max()))
    return f"largest value {np.abs(parameters[name]).max():.3g} in {name}"
