"""Optimizers of the torch engine that make their step with one pass over memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from chalknet.network.optimizers import Adam, DecoupledWeightDecay, Optimizer, ParameterAverage

# A number of steps after which the bias corrections of U5 are 1, so that PyTorch's function makes none:
# they are part of the scalars already.
MANY = torch.tensor(math.inf)


class FusedAdam(Adam):
    """Adam (U4, U5) for the rows of one network, by a function of PyTorch."""

    def step_in_place(
        self, matrix: Any, gradient: Any, state: Sequence[Any], bias_rows: int, scalars: Sequence[Any], xp: Any = torch
    ) -> None:
        """Make one step in place; see `Optimizer.step_in_place`. The rows must be contiguous, the scalars numbers."""
        del bias_rows, xp
        (mean, square), (rate, epsilon) = state, scalars
        torch._fused_adam_(
            [matrix], [gradient], [mean], [square], [], [MANY], amsgrad=False, lr=rate, beta1=self.beta1,
            beta2=self.beta2, weight_decay=0.0, eps=epsilon, maximize=False,
        )  # fmt: skip


def fused(optimizer: Optimizer) -> Optimizer:
    """Return the same optimizer, with `FusedAdam` in place of `Adam`."""
    if isinstance(optimizer, (DecoupledWeightDecay, ParameterAverage)):
        return replace(optimizer, optimizer=fused(optimizer.optimizer))
    return FusedAdam(optimizer.beta1, optimizer.beta2, optimizer.epsilon) if isinstance(optimizer, Adam) else optimizer
