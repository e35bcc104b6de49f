"""PyTorch: plain, compiled, and in bfloat16."""

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
)


def torch_float32(work: Work, threads: int) -> Run:
    return _prepared(work, threads, "float32")


def torch_bfloat16(work: Work, threads: int) -> Run:
    return _prepared(work, threads, "bfloat16")


def torch_compiled(work: Work, threads: int) -> Run | None:
    return None if work.kind == "predict" else _prepared(work, threads, "float32", compiled=True)


def _prepared(work: Work, threads: int, dtype_name: str, compiled: bool = False) -> Run:
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    dtype = getattr(torch, dtype_name)
    parts = [(torch.from_numpy(x).to(dtype), torch.from_numpy(y)) for x, y in scaled_parts(np.float32)]
    layers = torch.nn.Linear(784, work.units), torch.nn.ReLU(), torch.nn.Linear(work.units, 10)
    model = torch.nn.Sequential(*layers).to(dtype)
    if work.kind == "predict":
        return calls(_predict(model, parts[0][0][: work.n]), work)
    forward = torch.compile(model) if compiled else model
    if work.kind == "full":
        return _epoch(forward, _sgd(model, FULL_RATE, FULL_MOMENTUM, 0.0), parts)
    return _steps(forward, _sgd(model, STEP_RATE, STEP_MOMENTUM, STEP_MOMENTUM), parts[0], work.n)


def _sgd(model: Any, rate: float, momentum: float, bias_momentum: float) -> Any:
    import torch

    parameters = list(model.parameters())
    weights, biases = [p for p in parameters if p.ndim == 2], [p for p in parameters if p.ndim == 1]
    groups = [{"params": weights, "momentum": momentum}, {"params": biases, "momentum": bias_momentum}]
    return torch.optim.SGD(groups, lr=rate, foreach=True)


def _update(forward: Any, optimizer: Any, samples: Any, labels: Any, reduction: str) -> tuple[Any, Any]:
    from torch.nn.functional import cross_entropy

    optimizer.zero_grad(set_to_none=False)  # keeps the buffers, which is faster here
    logits = forward(samples)
    loss = cross_entropy(logits, labels, reduction=reduction)
    loss.backward()
    optimizer.step()
    return logits, loss


def _epoch(forward: Any, optimizer: Any, parts: list[tuple[Any, Any]]) -> Run:
    import torch
    from torch.nn.functional import cross_entropy

    (x, y), *others = parts

    def look(samples: Any, labels: Any) -> Any:
        with torch.inference_mode():
            logits = forward(samples).float()
            return cross_entropy(logits, labels).item(), _accuracy(logits, labels)

    def run() -> None:
        logits, loss = _update(forward, optimizer, x, y, "sum")
        loss.item(), _accuracy(logits, y)
        for part in others:
            look(*part)

    return run


def _accuracy(logits: Any, labels: Any) -> Any:
    return (logits.argmax(1) == labels).float().mean().item()


def _steps(forward: Any, optimizer: Any, train: tuple[Any, Any], size: int) -> Run:
    import torch

    x, y = train
    chosen = [torch.from_numpy(batch) for batch in batches(size)]
    return lambda: [_update(forward, optimizer, x[batch], y[batch], "mean") for batch in chosen] and None


def _predict(model: Any, images: Any) -> Run:
    import torch

    def run() -> Any:
        with torch.inference_mode():
            return torch.softmax(model(images), 1)

    return run
