"""Compare the torch engine on a GPU with a plain PyTorch loop: `python benchmarks/gpu.py`.

The network is 784-F-10 on the built-in letters in the write-up's order, with full batches; all splits
are scored in every epoch. Samples are on the device, and everything is warmed up before the time is
measured. The time ends when the scores of the last epoch have been read. PyTorch's loop may use TF32.
The test accuracy is reported with each time.

A study trains four widths with ten seeds each, on the same samples and for as many epochs: all 40
networks in one stack, one by one, and one by one with the plain loop. Its time includes the creation
of the networks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from harness.baselines.roofline import epoch_flop
from harness.comparison import versions
from harness.workloads import (
    FULL_MOMENTUM,
    FULL_RATE,
    N_TRAIN,
    SPLITS,
    Workload,
    architecture,
    letters,
    scaled_splits,
    start_parameters,
    start_weights,
)

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import EngineSpec, SplitData, Update
from chalknet.machine.facts import machine_facts
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Momentum, Step

OUT = Path(__file__).parent / "results" / "gpu.json"
STUDIES = ((100, 500, 1000, 2000), (16, 32, 64, 100))  # the write-up's widths, and narrow ones
# Epochs before the measurement: the second captures the updates, the third the evaluations.
WARM_UP = 4
# Trains for this many epochs from the start, and returns the test accuracy.
Train = Callable[[int], float]


def engine(workload: Workload, device: str, precision: str) -> Train:
    """Return a training with chalknet's torch engine."""
    from chalknet.engines.torch_engine import TorchEngine

    x, y = letters()
    start, optimizer = start_parameters(workload), Momentum(FULL_MOMENTUM)
    spec = EngineSpec(
        architecture(workload),
        start,
        optimizer,
        {name: SplitData(x[split], y[split]) for name, split in SPLITS.items()},
        scaling=Scaling(255.0),
        objective=Objective("sum"),
        device=device,
        precision=precision,
    )
    made = TorchEngine(spec)
    begun = made.state()

    def train(epochs: int) -> float:
        made.restore(start, begun)
        for epoch in range(1, epochs + 1):
            made.train_epoch([Update(slice(0, N_TRAIN), Step(epoch, FULL_RATE))])
            made.evaluate("valid")
            test = made.evaluate("test")
        assert test is not None
        return test.accuracy

    return train


@cache
def torch_splits(device: str, dtype_name: str) -> list[tuple[Any, Any]]:
    """Return samples and labels of the training, validation and test split as tensors."""
    import torch

    dtype, splits = getattr(torch, dtype_name), scaled_splits(np.float32)
    return [(torch.from_numpy(x).to(device, dtype), torch.from_numpy(y).to(device)) for x, y in splits]


def plain_torch(workload: Workload, device: str, dtype_name: str = "float32") -> Train:
    """Return a training of Linear, ReLU, Linear with autograd and SGD, from the same initial weights."""
    import torch
    from torch.nn.functional import cross_entropy

    dtype, splits = getattr(torch, dtype_name), torch_splits(device, dtype_name)
    layers = torch.nn.Linear(784, workload.units), torch.nn.ReLU(), torch.nn.Linear(workload.units, 10)
    model = torch.nn.Sequential(*layers).to(device, dtype)
    weights, biases = [layers[0].weight, layers[2].weight], [layers[0].bias, layers[2].bias]
    groups = [{"params": weights, "momentum": FULL_MOMENTUM}, {"params": biases, "momentum": 0.0}]

    def train(epochs: int) -> float:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), start_weights(workload), strict=True):
                parameter.copy_(torch.from_numpy(value))
        optimizer = torch.optim.SGD(groups, lr=FULL_RATE, foreach=True)
        (x, y), *others = splits
        for _ in range(epochs):
            optimizer.zero_grad()
            logits = model(x)
            loss = cross_entropy(logits, y, reduction="sum")
            loss.backward()
            optimizer.step()
            loss.item(), (logits.argmax(1) == y).float().mean().item()
            with torch.inference_mode():
                for samples, labels in others:
                    logits = model(samples)
                    cross_entropy(logits, labels).item()
                    accuracy = (logits.argmax(1) == labels).float().mean().item()
        return float(accuracy)

    return train


def rows_for(workload: Workload, device: str) -> dict[str, Train]:
    """Return the trainings to compare on this device, by name."""
    precisions = ("float32", "bfloat16", *(("tf32",) if device == "cuda" else ()))
    found = {f"chalknet {precision}": engine(workload, device, precision) for precision in precisions}
    return found | {f"torch {name}": plain_torch(workload, device, name) for name in ("float32", "bfloat16")}


def measure(rows: dict[str, Train], epochs: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Measure all trainings in rounds; return for each the seconds and the last test accuracy."""
    found: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in rows}
    for train in rows.values():
        train(WARM_UP)
    for _ in range(rounds):
        for name, train in rows.items():
            started = time.perf_counter()
            found[name]["test_accuracy"] = train(epochs)
            found[name]["seconds"].append(time.perf_counter() - started)
    return found


def study_rows(device: str, widths: Sequence[int], seeds: int) -> dict[str, Train]:
    """Return the ways to train a study: in one stack, one by one, and with the plain loop."""
    from chalknet.config import Recipe
    from chalknet.data.glyphs import load_glyphs
    from chalknet.data.splits import split_dataset
    from chalknet.training.joint_training import train_jointly
    from chalknet.training.trainer import Run, Trainer, run_epochs

    data, base = load_glyphs(), Recipe().with_settings(engine="torch", device=device, precision="bfloat16")
    split = base.split
    splits = split_dataset(data, split.split, split.train_size, split.valid_size, split.split_seed)
    grid = [{"hidden": [width], "seed": seed} for width in widths for seed in range(seeds)]

    def recipes(epochs: int) -> list[Recipe]:
        return [base.with_settings(**one, epochs=epochs) for one in grid]

    def accuracy(runs: list[Run]) -> float:
        return statistics.mean(run.history[-1].test.accuracy for run in runs if run.history[-1].test is not None)

    def packed(epochs: int) -> float:
        runs: list[Any] = []
        train_jointly(data, splits, recipes(epochs), lambda _, run: runs.append(run))
        return accuracy(runs)

    def one_by_one(epochs: int) -> float:
        return accuracy([run_epochs(Trainer(data, splits, recipe)) for recipe in recipes(epochs)])

    def plain(epochs: int) -> float:
        workloads = [Workload("full", (width,)) for width in widths for _ in range(seeds)]
        return statistics.mean(plain_torch(workload, device)(epochs) for workload in workloads)

    return {"packed": packed, "one by one": one_by_one, "torch one by one": plain}


def print_rows(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        print(f"{name:<20}{statistics.median(row['seconds']):8.3f} s   test accuracy {row['test_accuracy']:.4f}")


def product_rate(device: str) -> float:
    """Return the rate of a large bfloat16 product, in FLOP per second."""
    import torch

    size = 8192 if device == "cuda" else 512
    left, right = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        (left @ right)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(seconds)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="use cpu to test this script")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--study-seeds", type=int, default=10, help="seeds of each study; 0 for no studies")
    parser.add_argument("--study-rounds", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, help=f"[default: {OUT.name} under results/, from a GPU]")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu tries the script itself.")
    torch.backends.cuda.matmul.allow_tf32 = True
    workload = Workload("full", (options.units,))
    measured = measure(rows_for(workload, options.device), options.epochs, options.rounds)
    print_rows(measured)
    studies = []
    for widths in STUDIES if options.study_seeds else ():
        rows = study_rows(options.device, widths, options.study_seeds)
        flop = sum(map(epoch_flop, widths)) * options.study_seeds * options.epochs
        study = {"widths": widths, "seeds": options.study_seeds, "flop": flop}
        studies.append(study | {"rows": measure(rows, options.epochs, options.study_rounds)})
        print(f"study of {widths} units, {options.study_seeds} seeds each:")
        print_rows(studies[-1]["rows"])
    out = options.out or (OUT if options.device == "cuda" else None)
    if out is not None:
        result = {
            "machine": machine_facts(),
            "versions": versions(),
            "device": torch.cuda.get_device_name(0) if options.device == "cuda" else "cpu",
            "units": options.units,
            "epochs": options.epochs,
            "rounds": options.rounds,
            "flop": epoch_flop(options.units) * options.epochs,
            "rows": measured,
            "product_flops": product_rate(options.device),
            "studies": studies,
        }
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
