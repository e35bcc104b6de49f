"""JAX: one jitted update."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.workloads import (
    FULL_MOMENTUM,
    FULL_RATE,
    STEP_MOMENTUM,
    STEP_RATE,
    Run,
    Workload,
    batches,
    repeated_calls,
    scaled_splits,
    start_weights,
)


def jax_update(workload: Workload, threads: int) -> Run:
    """Prepare training or predictions by compiled functions."""
    import jax
    import jax.numpy as jnp

    del threads  # JAX starts as many as this process may use cores
    splits = [(jnp.asarray(x), jnp.asarray(y)) for x, y in scaled_splits(np.float32)]
    weights = [jnp.asarray(value, dtype=jnp.float32) for value in start_weights(workload)]
    if workload.kind == "predict":
        images = splits[0][0][: workload.n]
        predict = jax.jit(lambda x: jax.nn.softmax(_logits(weights, x)))
        return repeated_calls(lambda: predict(images).block_until_ready(), workload)
    state = [weights, [jnp.zeros_like(weight) for weight in weights]]
    return _epoch(state, splits) if workload.kind == "full" else _steps(state, splits[0], workload.n)


def _logits(weights: Any, x: Any) -> Any:
    import jax.numpy as jnp

    w_h, b_h, w_o, b_o = weights
    return jnp.maximum(x @ w_h.T + b_h, 0) @ w_o.T + b_o


def _scores(reduction: str) -> Any:
    """Return a function (weights, x, y) -> loss, accuracy."""
    import jax
    import jax.numpy as jnp

    def scores(weights: Any, x: Any, y: Any) -> Any:
        o = _logits(weights, x)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(o), y[:, None], 1)
        return getattr(loss, reduction)(), (o.argmax(1) == y).mean()

    return scores


def _update(reduction: str, rate: float, momentum: float, bias_momentum: float) -> Any:
    """Return a function that makes a step and returns weights, velocities, loss and accuracy."""
    import jax

    scores = _scores(reduction)

    def update(weights: Any, velocities: Any, x: Any, y: Any) -> Any:
        (loss, correct), gradients = jax.value_and_grad(scores, has_aux=True)(weights, x, y)
        decay = (momentum, bias_momentum) * 2
        velocities = [m * v + rate * g for m, v, g in zip(decay, velocities, gradients, strict=True)]
        return [w - v for w, v in zip(weights, velocities, strict=True)], velocities, loss, correct

    return update


def _epoch(state: list[Any], splits: list[tuple[Any, Any]]) -> Run:
    import jax

    update, evaluate = jax.jit(_update("sum", FULL_RATE, FULL_MOMENTUM, 0.0)), jax.jit(_scores("mean"))
    (x, y), *others = splits

    def run() -> None:
        weights, velocities, loss, correct = update(*state, x, y)
        state[:] = [weights, velocities]
        float(loss), float(correct), [float(score) for split in others for score in evaluate(weights, *split)]

    return run


def _steps(state: list[Any], train: tuple[Any, Any], size: int) -> Run:
    import jax
    import jax.numpy as jnp

    x, y = train
    update = _update("mean", STEP_RATE, STEP_MOMENTUM, STEP_MOMENTUM)
    train_batch = jax.jit(lambda weights, velocities, batch: update(weights, velocities, x[batch], y[batch]))
    chosen = [jnp.asarray(batch) for batch in batches(size)]

    def run() -> None:
        for batch in chosen:
            weights, velocities, _, _ = train_batch(*state, batch)
            state[:] = [weights, velocities]
        jax.block_until_ready(state)

    return run
