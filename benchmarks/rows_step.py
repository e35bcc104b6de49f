"""How long does one update of a network for table rows take on one thread, compared with PyTorch?

    python benchmarks/rows_step.py --rounds 9 --out benchmarks/results/rows_step.json

Each row of the result is a process of its own with one thread, and all take turns. Each process trains the same
network on the same rows in float32. Times are those that the processor worked for the process, so that other work on
the machine disturbs them less. The floors are the time of the matrix products and of the memory traffic of Adam:

- rate: the products at the rate of large products, those of `chalknet.machine.product_rate`, and the traffic of the
  optimizer.
- products: the products in their shapes, one after the other, and the traffic of the optimizer.

`--old OLD/src` adds another version of chalknet. OpenBLAS chooses its own kernels: the variables that change its choice
are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness.turns import request

from chalknet.machine.product_rate import FLOP, INPUTS, SAMPLES
from chalknet.machine.product_rate import UNITS as COLUMNS

N_INPUTS, N_CLASSES, UNITS = 36, 6, 256
FREQUENCIES, OUTPUTS = 16, 3
LEARNING_RATE = 1e-4  # small, so that the rows with random labels are not learned by heart
BETA2, WEIGHT_DECAY, DROPOUT = 0.95, 0.02, 0.15
SECONDS = 0.7  # duration of a turn
VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # removed from the environment
THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workload(NamedTuple):
    """One kind of update.

    Attributes:
        is_plain: three dense layers with relu; otherwise the layers of RealMLP-TD.
        activation: of the hidden layers.
        batch_size: samples per update.
        n_updates: updates per epoch.
    """

    is_plain: bool
    activation: str
    batch_size: int
    n_updates: int

    @property
    def n_rows(self) -> int:
        """Number of training rows."""
        return self.batch_size * self.n_updates


WORKLOADS = {
    "plain, batches of 256": Workload(True, "relu", 256, 20),
    "plain, batches of 128": Workload(True, "relu", 128, 40),
    "plain, batches of 32": Workload(True, "relu", 32, 80),
    "plain, batches of 256, 2 per epoch": Workload(True, "relu", 256, 2),
    "RealMLP, selu, batches of 256": Workload(False, "selu", 256, 20),
    "RealMLP, mish, batches of 256": Workload(False, "mish", 256, 20),
    "RealMLP, relu, batches of 256": Workload(False, "relu", 256, 20),
    "RealMLP, selu, batches of 32": Workload(False, "selu", 32, 80),
    "RealMLP, selu, batches of 256, 2 per epoch": Workload(False, "selu", 256, 2),
}

Epoch = Callable[[], float]  # trains one epoch and returns its seconds


def rows_of(workload: Workload) -> tuple[Any, Any]:
    """Return float64 rows and labels; both are random."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((workload.n_rows, N_INPUTS)), rng.integers(0, N_CLASSES, workload.n_rows)


def timed(run: Callable[[], Any]) -> Epoch:
    """Return a function that runs and returns the seconds that the processor worked for it."""

    def epoch() -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    return epoch


def chalknet_epochs(workload: Workload) -> Epoch:
    """Prepare a `Trainer` without validation and test rows."""
    from chalknet.config import Recipe
    from chalknet.data.dataset import dataset_from_arrays
    from chalknet.data.splits import Splits
    from chalknet.training.trainer import Trainer

    x, y = rows_of(workload)
    settings: dict[str, Any] = {"hidden": [UNITS] * 3, "activation": workload.activation}
    if not workload.is_plain:
        dense = {"type": "dense", "units": UNITS, "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1}
        act = {"type": "parametric_activation", "activation": workload.activation, "learning_rate_multiplier": 0.1}
        block = [dense, act, {"type": "dropout", "rate": DROPOUT}]
        embedding = {"type": "periodic_embedding", "frequencies": FREQUENCIES, "outputs": OUTPUTS}
        output = {"type": "dense", "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1}
        first = [{**embedding, "learning_rate_multiplier": 0.1}, {"type": "scale", "learning_rate_multiplier": 6.0}]
        settings = {"layers": [*first, *block, *block, *block, output], "dropout_schedule": "flat_cos"}
        settings |= {"schedule": "coslog4", "weight_decay_schedule": "flat_cos"}
    recipe = Recipe().with_settings(
        **settings, optimizer="adamw", learning_rate=LEARNING_RATE, beta2=BETA2, weight_decay=WEIGHT_DECAY,
        reduction="mean", batch_size=workload.batch_size, epochs=10**6, dtype="float32", input_scaling="standard",
    )  # fmt: skip
    empty = np.empty(0, np.int64)
    splits = Splits(train=np.arange(workload.n_rows), valid=empty, test=empty)
    epochs = Trainer(dataset_from_arrays(x, y), splits, recipe, workers=1).epochs()
    return timed(lambda: next(epochs))


def torch_epochs(workload: Workload, fused: bool) -> Epoch:
    """Prepare a loop over shuffled batches with a module and its AdamW."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = (torch.from_numpy(one) for one in rows_of(workload))
    x = x.float()
    model, groups = torch_plain() if workload.is_plain else torch_realmlp(workload.activation)
    optimizer = torch.optim.AdamW(
        groups, lr=LEARNING_RATE, betas=(0.9, BETA2), weight_decay=WEIGHT_DECAY, fused=fused or None
    )

    def run() -> None:
        order = torch.randperm(len(x))
        for batch in order.split(workload.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()

    return timed(run)


def torch_plain() -> tuple[Any, list[dict[str, Any]]]:
    """Return the plain network in PyTorch, and its parameter groups."""
    from torch import nn

    hidden = [layer for n in (N_INPUTS, UNITS, UNITS) for layer in (nn.Linear(n, UNITS), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(UNITS, N_CLASSES))
    return model, [{"params": list(model.parameters())}]


def torch_realmlp(activation: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return the layers of RealMLP-TD in PyTorch, and its parameter groups."""
    import math

    import torch
    from torch import nn

    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frequency = nn.Parameter(0.1 * torch.randn(N_INPUTS, 1, FREQUENCIES))
            self.phase = nn.Parameter(math.pi * (2 * torch.rand(N_INPUTS, 1, FREQUENCIES) - 1))
            self.weight = nn.Parameter((2 * torch.rand(N_INPUTS, FREQUENCIES, OUTPUTS) - 1) / FREQUENCIES**0.5)
            self.bias = nn.Parameter((2 * torch.rand(N_INPUTS, 1, OUTPUTS) - 1) / FREQUENCIES**0.5)

        def forward(self, x: Any) -> Any:
            cosine = torch.cos(2 * math.pi * self.frequency * x.T[:, :, None] + self.phase)
            embedded = torch.baddbmm(self.bias, cosine, self.weight)
            return torch.cat([x, embedded.transpose(0, 1).flatten(1)], 1)

    class Scale(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.ones(width))

        def forward(self, x: Any) -> Any:
            return x * self.gamma

    class Dense(nn.Module):
        def __init__(self, n_inputs: int, units: int) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(n_inputs, units)), nn.Parameter(torch.randn(units))
            self.factor = n_inputs**-0.5

        def forward(self, x: Any) -> Any:
            return torch.addmm(self.bias, x, self.weight, alpha=self.factor)

    class Parametric(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alpha = nn.Parameter(torch.ones(UNITS))

        def forward(self, x: Any) -> Any:
            return x + self.alpha * (getattr(nn.functional, activation)(x) - x)

    width = N_INPUTS * (1 + OUTPUTS)
    blocks = [layer for n in (width, UNITS, UNITS) for layer in (Dense(n, UNITS), Parametric(), nn.Dropout(DROPOUT))]
    model = nn.Sequential(Embedding(), Scale(width), *blocks, Dense(UNITS, N_CLASSES))
    slow = [one for name, one in model.named_parameters() if name.startswith("0.") or not name.endswith(".weight")]
    gamma = model[1].gamma
    small = [one for one in slow if one is not gamma]
    weights = [one for name, one in model.named_parameters() if name.endswith(".weight") and not name.startswith("0.")]
    return model, [
        {"params": weights},
        {"params": small, "lr": 0.1 * LEARNING_RATE, "weight_decay": 0.0},
        {"params": [gamma], "lr": 6 * LEARNING_RATE, "weight_decay": 0.0},
    ]


def product_shapes(workload: Workload) -> list[tuple[int, int]]:
    """Return the (inputs, units) of each dense layer."""
    width = N_INPUTS if workload.is_plain else N_INPUTS * (1 + OUTPUTS)
    return [(width, UNITS), (UNITS, UNITS), (UNITS, UNITS), (UNITS, N_CLASSES)]


def optimizer_seconds(workload: Workload) -> float:
    """Return the seconds in which a sum of arrays moves as many bytes as one step of Adam.

    Adam reads parameters, gradient and two averages, and writes parameters and averages.
    """
    n = sum(inputs * units + units for inputs, units in product_shapes(workload))
    a, b = np.ones(2 * n, np.float32), np.ones(2 * n, np.float32)  # as large as the four arrays together
    seconds = best_seconds(lambda: np.add(a, b, out=a))
    return seconds * 7 / 6


def best_seconds(run: Callable[[], Any], repetitions: int = 20, rounds: int = 5) -> float:
    """Return the seconds of one repetition in the fastest of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(repetitions):
            run()
        best = min(best, (time.process_time() - started) / repetitions)
    return best


def rate_floor(workload: Workload) -> Epoch:
    """Prepare the time of the products at the rate of large products, and of the optimizer's memory traffic."""
    first, *others = (2 * workload.batch_size * inputs * units for inputs, units in product_shapes(workload))
    flop = (2 if workload.is_plain else 3) * first + 3 * sum(others)
    x, w = np.ones((SAMPLES, INPUTS), np.float32), np.ones((INPUTS, COLUMNS), np.float32)
    h, g = np.empty((SAMPLES, COLUMNS), np.float32), np.empty((INPUTS, COLUMNS), np.float32)

    def large() -> None:
        np.matmul(x, w, out=h)
        np.matmul(x.T, h, out=g)

    def epoch() -> float:
        rate = FLOP / best_seconds(large, repetitions=1)
        return workload.n_updates * (flop / rate + optimizer_seconds(workload))

    return epoch


def products_floor(workload: Workload) -> Epoch:
    """Prepare the products of an update in their shapes, and the optimizer's memory traffic."""
    rng, n = np.random.default_rng(0), workload.batch_size
    calls = []
    for number, (inputs, units) in enumerate(product_shapes(workload)):
        x, w, g = (rng.random(shape, np.float32) for shape in ((n, inputs), (inputs, units), (n, units)))
        calls += [(x, w, np.empty_like(g)), (x.T, g, np.empty_like(w))]
        if number or not workload.is_plain:
            calls.append((g, w.T, np.empty_like(x)))

    def products() -> None:
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return lambda: workload.n_updates * (best_seconds(products) + optimizer_seconds(workload))


ROWS: dict[str, Callable[[Workload], Epoch]] = {
    "chalknet": chalknet_epochs,
    "old": chalknet_epochs,
    "torch": lambda workload: torch_epochs(workload, fused=False),
    "torch, fused AdamW": lambda workload: torch_epochs(workload, fused=True),
    "floor: products": products_floor,
    "floor: rate": rate_floor,
}


def work(row: str) -> None:
    """Answer requests on standard input: a workload's name, then the seconds of one update."""
    epoch, name = None, ""
    for line in sys.stdin:
        if line.rstrip("\n") != name:
            name = line.rstrip("\n")
            epoch = ROWS[row](WORKLOADS[name])
            epoch()
        assert epoch is not None
        started, found = time.perf_counter(), []
        while not found or time.perf_counter() - started < SECONDS:
            found.append(epoch())
        print(statistics.median(found) / WORKLOADS[name].n_updates, flush=True)


def start_worker(row: str, source: Path) -> subprocess.Popen[str]:
    """Start the process of a row, which imports chalknet from this folder."""
    kept = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    environment = {**kept, **THREADS, "PYTHONPATH": str(source.resolve())}
    command = [sys.executable, __file__, "--work", row]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measured(sources: dict[str, Path], names: list[str], rounds: int) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Yield each workload with the seconds of one update of each row in each round."""
    workers = {row: start_worker(row, source) for row, source in sources.items()}
    try:
        for name in names:
            for worker in workers.values():
                request(worker, name)  # prepares and warms up
            seconds: dict[str, list[float]] = {row: [] for row in workers}
            for turn in range(rounds):
                order = list(workers) if turn % 2 else list(reversed(workers))
                for row in order:
                    seconds[row].append(request(workers[row], name))
            yield name, seconds
    finally:
        for worker in workers.values():
            worker.communicate()


def result_of(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return median seconds of each row, and the median ratio of its time to chalknet's."""
    own = seconds["chalknet"]
    return {
        row: {
            "seconds": statistics.median(found),
            "ratio": statistics.median(b / a for a, b in zip(own, found, strict=True)),
            "all_seconds": [round(one, 8) for one in found],
        }
        for row, found in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=list(ROWS), help=argparse.SUPPRESS)
    parser.add_argument("--old", type=Path, help="folder with the package of another version")
    parser.add_argument("--new", type=Path, default=Path("src"), help="folder with the package  [default: src]")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each row per workload  [default: 9]")
    parser.add_argument("--only", default="", help="only workloads whose name contains this")
    parser.add_argument("--rows", help="only these rows, separated by semicolons")
    parser.add_argument("--out", type=Path, help="file for the results, JSON")
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    rows = arguments.rows.split(";") if arguments.rows else [row for row in ROWS if row != "old" or arguments.old]
    sources = {row: arguments.old if row == "old" else arguments.new for row in dict.fromkeys(["chalknet", *rows])}
    names = [name for name in WORKLOADS if arguments.only in name]
    for name, seconds in measured(sources, names, arguments.rounds):
        found = result_of(seconds)
        cells = (f"{row} {1e3 * one['seconds']:.3f} ms ({one['ratio']:.2f})" for row, one in found.items())
        print(f"{name}: {', '.join(cells)}", flush=True)
        if arguments.out:
            store(arguments.out, arguments.rounds, name, found)


def store(path: Path, rounds: int, name: str, found: dict[str, Any]) -> None:
    """Add a workload to the stored results, or replace it."""
    from harness.comparison import versions

    from chalknet.machine.facts import machine_facts

    kept = json.loads(path.read_text(encoding="utf-8"))["workloads"] if path.exists() else {}
    workloads = {one: {**kept, name: found}[one] for one in WORKLOADS if one in {**kept, name: found}}
    stored = {"machine": machine_facts(), "versions": versions(), "rounds": rounds, "workloads": workloads}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
