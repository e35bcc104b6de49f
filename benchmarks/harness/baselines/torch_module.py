"""PyTorch: plain, compiled, and in bfloat16."""

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
)


def torch_float32(workload: Workload, threads: int) -> Run:
    """Prepare a module in float32."""
    return _prepare(workload, threads, "float32")


def torch_bfloat16(workload: Workload, threads: int) -> Run:
    """Prepare a module whose parameters and samples are bfloat16."""
    return _prepare(workload, threads, "bfloat16")


def torch_compiled(workload: Workload, threads: int) -> Run | None:
    """Prepare a module in float32 through `torch.compile`."""
    return None if workload.kind == "predict" else _prepare(workload, threads, "float32", compiled=True)


def _prepare(workload: Workload, threads: int, dtype_name: str, compiled: bool = False) -> Run:
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    dtype = getattr(torch, dtype_name)
    splits = [(torch.from_numpy(x).to(dtype), torch.from_numpy(y)) for x, y in scaled_splits(np.float32)]
    layers = torch.nn.Linear(784, workload.units), torch.nn.ReLU(), torch.nn.Linear(workload.units, 10)
    model = torch.nn.Sequential(*layers).to(dtype)
    if workload.kind == "predict":
        return repeated_calls(_predict(model, splits[0][0][: workload.n]), workload)
    forward = torch.compile(model) if compiled else model
    if workload.kind == "full":
        return _epoch(forward, _sgd(model, FULL_RATE, FULL_MOMENTUM, 0.0), splits)
    return _steps(forward, _sgd(model, STEP_RATE, STEP_MOMENTUM, STEP_MOMENTUM), splits[0], workload.n)


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


def _epoch(forward: Any, optimizer: Any, splits: list[tuple[Any, Any]]) -> Run:
    import torch
    from torch.nn.functional import cross_entropy

    (x, y), *others = splits

    def evaluate(samples: Any, labels: Any) -> Any:
        with torch.inference_mode():
            logits = forward(samples).float()
            return cross_entropy(logits, labels).item(), _accuracy(logits, labels)

    def run() -> None:
        logits, loss = _update(forward, optimizer, x, y, "sum")
        loss.item(), _accuracy(logits, y)
        for split in others:
            evaluate(*split)

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
