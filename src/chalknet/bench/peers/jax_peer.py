"""JAX: one jitted update."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.bench.catalogue import Work
from chalknet.bench.workload import (
    FULL_MOMENTUM,
    FULL_RATE,
    STEP_MOMENTUM,
    STEP_RATE,
    Run,
    batches,
    calls,
    scaled_parts,
    start_weights,
)


def jax_peer(work: Work, threads: int) -> Run:
    import jax
    import jax.numpy as jnp

    del threads  # it takes as many as there are cores for this process
    parts = [(jnp.asarray(x), jnp.asarray(y)) for x, y in scaled_parts(np.float32)]
    weights = [jnp.asarray(value, dtype=jnp.float32) for value in start_weights(work)]
    if work.kind == "predict":
        images = parts[0][0][: work.n]
        predict = jax.jit(lambda x: jax.nn.softmax(_logits(weights, x)))
        return calls(lambda: predict(images).block_until_ready(), work)
    state = [weights, [jnp.zeros_like(weight) for weight in weights]]
    return _epoch(state, parts) if work.kind == "full" else _steps(state, parts[0], work.n)


def _logits(weights: Any, x: Any) -> Any:
    import jax.numpy as jnp

    w_h, b_h, w_o, b_o = weights
    return jnp.maximum(x @ w_h.T + b_h, 0) @ w_o.T + b_o


def _scores(reduction: str) -> Any:
    """(weights, x, y) -> loss, accuracy."""
    import jax
    import jax.numpy as jnp

    def scores(weights: Any, x: Any, y: Any) -> Any:
        o = _logits(weights, x)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(o), y[:, None], 1)
        return getattr(loss, reduction)(), (o.argmax(1) == y).mean()

    return scores


def _update(reduction: str, rate: float, momentum: float, bias_momentum: float) -> Any:
    """(weights, velocities, x, y) -> the same after one step, loss, accuracy."""
    import jax

    scores = _scores(reduction)

    def update(weights: Any, velocities: Any, x: Any, y: Any) -> Any:
        (loss, right), gradients = jax.value_and_grad(scores, has_aux=True)(weights, x, y)
        decay = (momentum, bias_momentum) * 2
        velocities = [m * v + rate * g for m, v, g in zip(decay, velocities, gradients, strict=True)]
        return [w - v for w, v in zip(weights, velocities, strict=True)], velocities, loss, right

    return update


def _epoch(state: list[Any], parts: list[tuple[Any, Any]]) -> Run:
    import jax

    update, look = jax.jit(_update("sum", FULL_RATE, FULL_MOMENTUM, 0.0)), jax.jit(_scores("mean"))
    (x, y), *others = parts

    def run() -> None:
        weights, velocities, loss, right = update(*state, x, y)
        state[:] = [weights, velocities]
        float(loss), float(right), [float(score) for part in others for score in look(weights, *part)]

    return run


def _steps(state: list[Any], train: tuple[Any, Any], size: int) -> Run:
    import jax
    import jax.numpy as jnp

    x, y = train
    update = _update("mean", STEP_RATE, STEP_MOMENTUM, STEP_MOMENTUM)
    gathered = jax.jit(lambda weights, velocities, batch: update(weights, velocities, x[batch], y[batch]))
    chosen = [jnp.asarray(batch) for batch in batches(size)]

    def run() -> None:
        for batch in chosen:
            weights, velocities, _, _ = gathered(*state, batch)
            state[:] = [weights, velocities]
        jax.block_until_ready(state)

    return run
