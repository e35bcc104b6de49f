"""How fast are convolutional networks, compared with PyTorch, JAX and Keras on the same cores?

    python benchmarks/convolution.py --rounds 7 --out benchmarks/results/convolution.json

Two networks for images of 28 x 28 pixels in float32:

- course: convolution 3x3x32, relu, batch normalization, 2x2 max pooling, dense 784, relu, dense 10; batches of 32.
- deep: 3x3 convolutions 32-32-pool-64-64-pool-128-pool, each with batch normalization and relu, dense 256, relu,
  dense 10; batches of 128.

Both are trained by Adam. Measured are a training step, in float32 and with bfloat16 products, the forward pass of
1,000 images, and the prediction of one image. Each row of the result is a process of its own, and all take turns. Rows:

- chalknet: the numpy engine; its forward pass is the evaluation of a split. "with Numba": after its loops are compiled.
- chalknet, torch engine: the same step in this engine.
- chalknet, predict_proba: a trained network, as a user has it.
- torch: contiguous tensors, and channels_last; without torch.compile; Adam is the fused one. bfloat16 by autocast.
- jax: one compiled function for a step. keras: train_on_batch, by default with the JAX backend.
- floor: the products at the rate of large products, and for a step the memory traffic of Adam (28 bytes for each
  parameter) at the rate of copies. Convolutions of 3 x 3 can need fewer products than this.

Packages that are not installed are left out. OpenBLAS chooses its own kernels: the variables that change its choice
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
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from harness.turns import request

RATE, N_CLASSES, N_FORWARD, SIDE = 1e-4, 10, 1_000, 28
BATCH = {"course": 32, "deep": 128}
WIDTHS = (32, 32, 0, 64, 64, 0, 128, 0)  # of the convolutions of the deep network; 0 is pooling
# Floating point operations of the products for one image forward, and learned values.
FLOP = {
    "course": 2 * (784 * 9 * 32 + 6272 * 784 + 784 * 10),
    "deep": 2 * (784 * 9 * 32 * 33 + 196 * 9 * 64 * (32 + 64) + 49 * 9 * 64 * 128 + 1152 * 256 + 256 * 10),
}
PARAMETERS = {"course": 4_926_266, "deep": 436_906}
WORKLOADS = [f"{network}, {what}" for network in BATCH for what in ("step", "bfloat16 step", "forward", "one image")]
SECONDS = 1.5  # duration of a turn
VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # removed from the environment

Run = Callable[[], Any]


def images(n: int) -> tuple[Any, Any]:
    """Return n random images (n, 28, 28), uint8, and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, SIDE, SIDE)).astype(np.uint8), rng.integers(0, N_CLASSES, n)


def chalknet_layers(network: str) -> list[Any]:
    """Return the layers below the output layer."""
    pool = {"type": "max_pool2d", "size": 2}
    if network == "course":
        return [{"type": "conv2d", "filters": 32}, "relu", "batch_norm", pool, "flatten", dense(784), "relu"]
    layers: list[Any] = []
    for width in WIDTHS:
        layers += [{"type": "conv2d", "filters": width, "bias": False}, "batch_norm", "relu"] if width else [pool]
    return [*layers, "flatten", dense(256), "relu"]


def dense(units: int) -> dict[str, Any]:
    """Return a dense layer."""
    return {"type": "dense", "units": units}


def chalknet_run(network: str, what: str, with_numba: bool) -> tuple[Run, int]:
    """Return a function and how many steps, forward passes or predictions it makes."""
    if not with_numba:
        sys.modules["numba"] = None  # type: ignore[assignment]
    n_steps = N_FORWARD // BATCH[network]
    trainer = chalknet_trainer(network, n_steps)
    epochs = trainer.epochs()
    while with_numba and not hasattr(trainer.engine._steps.passes, "_loops"):
        next(epochs)
    if what == "step":
        return epoch_run(trainer, network, n_steps), n_steps
    return lambda: trainer.engine.evaluate("valid"), 1


def torch_engine_run(network: str, what: str) -> tuple[Run, int]:
    """Return training steps of the torch engine."""
    n_steps = N_FORWARD // BATCH[network]
    precision = "bfloat16" if what == "bfloat16 step" else "float32"
    trainer = chalknet_trainer(network, n_steps, engine="torch", device="cpu", precision=precision)
    return epoch_run(trainer, network, n_steps), n_steps


def epoch_run(trainer: Any, network: str, n_steps: int) -> Run:
    """Return a function that makes the updates of an epoch."""
    from chalknet.engines.engine import Update
    from chalknet.network.optimizers import Step

    batches = [slice(start, start + BATCH[network]) for start in range(0, n_steps * BATCH[network], BATCH[network])]
    updates = [Update(batch, Step(number, RATE)) for number, batch in enumerate(batches, start=1)]
    return lambda: trainer.engine.train_epoch(updates)


def chalknet_trainer(network: str, n_steps: int, **settings: Any) -> Any:
    """Prepare a `Trainer` with this many updates in an epoch."""
    from chalknet.config import Recipe
    from chalknet.data.dataset import dataset_from_arrays
    from chalknet.data.splits import Splits
    from chalknet.training.trainer import Trainer

    n = BATCH[network] * n_steps
    recipe = Recipe().with_settings(
        layers=chalknet_layers(network), optimizer="adam", learning_rate=RATE, reduction="mean",
        batch_size=BATCH[network], epochs=10**6, dtype="float32", **settings,
    )  # fmt: skip
    empty = np.empty(0, np.int64)
    splits = Splits(np.arange(n), np.arange(n, n + N_FORWARD), empty)
    return Trainer(dataset_from_arrays(*images(n + N_FORWARD)), splits, recipe)


def predict_proba_run(network: str, what: str) -> tuple[Run, int]:
    """Return the prediction of a trained network."""
    trainer = chalknet_trainer(network, n_steps=1)
    next(trainer.epochs())
    model, x = trainer.network(), images(1 if what == "one image" else N_FORWARD)[0]
    return lambda: model.predict_proba(x), 1


def torch_run(network: str, what: str, memory_format: str) -> tuple[Run, int]:
    """Return a training step of a module, or its prediction."""
    import torch
    from torch import nn

    form = getattr(torch, memory_format)
    layers: list[Any] = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2)]
    if network == "deep":
        layers, channels = [], 1
        for width in WIDTHS:
            if width:
                convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
    features, units = (6272, 784) if network == "course" else (1152, 256)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, units), nn.ReLU(), nn.Linear(units, N_CLASSES))
    model = model.to(memory_format=form)
    x, y = images({"forward": N_FORWARD, "one image": 1}.get(what, BATCH[network]))
    inputs = (torch.from_numpy(x).float()[:, None] / 255).to(memory_format=form)
    if not what.endswith("step"):
        model.eval()

        def predict() -> None:
            with torch.inference_mode():
                torch.softmax(model(inputs), dim=1)

        return predict, 1
    optimizer, labels = torch.optim.Adam(model.parameters(), RATE, fused=True), torch.from_numpy(y)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=what == "bfloat16 step"):
            loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()

    return step, 1


def jax_run(network: str, what: str) -> tuple[Run, int]:
    """Return a compiled training step, or a compiled prediction."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return jnp.asarray(rng.normal(0, 0.05, shape), jnp.float32)

    widths = (32, 0) if network == "course" else WIDTHS
    features, units = (6272, 784) if network == "course" else (1152, 256)
    parameters, channels = [], 1
    for width in widths:
        if width:
            parameters.append((normal(3, 3, channels, width), jnp.ones(width), jnp.zeros(width), jnp.zeros(width)))
            channels = width
    parameters += [(normal(features, units), jnp.zeros(units)), (normal(units, N_CLASSES), jnp.zeros(N_CLASSES))]
    statistics_of = [(jnp.zeros(one[1].size), jnp.ones(one[1].size)) for one in parameters[:-2]]

    def normalized(h: Any, gamma: Any, beta: Any, running: Any) -> Any:
        mean, variance = (h.mean((0, 1, 2)), h.var((0, 1, 2))) if what == "step" else running
        return (h - mean) * (gamma / jnp.sqrt(variance + 1e-5)) + beta, (mean, variance)

    def forward(weights: Any, running: Any, x: Any) -> Any:
        number, seen = 0, []
        for width in widths:
            if not width:
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
                continue
            kernel, gamma, beta, bias = weights[number]
            dimensions = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
            if network == "course":
                x, found = normalized(jnp.maximum(x + bias, 0), gamma, beta, running[number])
            else:
                x, found = normalized(x, gamma, beta, running[number])
                x = jnp.maximum(x, 0)
            seen.append(found)
            number += 1
        hidden = jnp.maximum(x.reshape(len(x), -1) @ weights[-2][0] + weights[-2][1], 0)
        return hidden @ weights[-1][0] + weights[-1][1], seen

    def loss_of(weights: Any, running: Any, x: Any, y: Any) -> Any:
        logits, seen = forward(weights, running, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), seen

    def step(weights: Any, running: Any, state: Any, number: Any, x: Any, y: Any) -> Any:
        grads, seen = jax.grad(loss_of, has_aux=True)(weights, running, x, y)
        running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, seen)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], grads)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state[1], grads)
        rate = RATE * jnp.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-8), weights, first, second)
        return weights, running, (first, second), number + 1

    x, y = images({"step": BATCH[network], "forward": N_FORWARD, "one image": 1}[what])
    inputs, labels = jnp.asarray(x[..., None], jnp.float32) / 255, jnp.asarray(y)
    if what != "step":
        predict = jax.jit(lambda weights, x: jax.nn.softmax(forward(weights, statistics_of, x)[0]))
        return lambda: predict(parameters, inputs).block_until_ready(), 1
    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    held = [(parameters, statistics_of, (zeros, jax.tree.map(jnp.zeros_like, parameters)), jnp.float32(1))]

    def run() -> None:
        held[0] = compiled(*held[0], inputs, labels)
        jax.block_until_ready(held[0])

    return run, 1


def keras_run(network: str, what: str) -> tuple[Run, int]:
    """Return train_on_batch or predict_on_batch of a model."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    layers: list[Any] = [keras.Input((SIDE, SIDE, 1))]
    for width in (32, 0) if network == "course" else WIDTHS:
        if not width:
            layers.append(keras.layers.MaxPooling2D(2))
        elif network == "course":
            convolution = keras.layers.Conv2D(width, 3, padding="same", activation="relu")
            layers += [convolution, keras.layers.BatchNormalization()]
        else:
            convolution = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)
            layers += [convolution, keras.layers.BatchNormalization(), keras.layers.ReLU()]
    units = 784 if network == "course" else 256
    layers += [keras.layers.Flatten(), keras.layers.Dense(units, activation="relu"), keras.layers.Dense(N_CLASSES)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss)
    x, y = images({"step": BATCH[network], "forward": N_FORWARD, "one image": 1}[what])
    inputs = x[..., None].astype(np.float32) / 255
    if what == "step":
        return lambda: model.train_on_batch(inputs, y), 1
    return lambda: np.asarray(model.predict_on_batch(inputs)), 1


def floor_run(network: str, what: str) -> tuple[Run, int]:
    """Return products of as many operations as the workload has, and a copy of as many bytes as Adam moves."""
    n = {"step": 3 * BATCH[network], "forward": N_FORWARD, "one image": 1}[what]
    side = 2_048
    a, b, out = (np.ones((side, side), np.float32) for _ in range(3))
    rate = 2 * side**3 / best_seconds(lambda: np.matmul(a, b, out=out))
    source = np.ones(2**24, np.float32)
    copy_rate = 2 * source.nbytes / best_seconds(lambda: np.copyto(np.empty_like(source), source))
    seconds = n * FLOP[network] / rate + (28 * PARAMETERS[network] / copy_rate if what == "step" else 0)
    return lambda: seconds, 0


def best_seconds(run: Run) -> float:
    """Return the shortest of several durations."""
    found = []
    for _ in range(5):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


ROWS: dict[str, Callable[[str, str], tuple[Run, int]]] = {
    "chalknet": lambda network, what: chalknet_run(network, what, False),
    "chalknet, with Numba": lambda network, what: chalknet_run(network, what, True),
    "chalknet, torch engine": torch_engine_run,
    "chalknet, predict_proba": predict_proba_run,
    "torch, contiguous": lambda network, what: torch_run(network, what, "contiguous_format"),
    "torch, channels_last": lambda network, what: torch_run(network, what, "channels_last"),
    "jax": jax_run,
    "keras": keras_run,
    "floor": floor_run,
}
NEEDS = {"chalknet, with Numba": "numba", "torch, contiguous": "torch", "torch, channels_last": "torch"}
NEEDS |= {"jax": "jax", "keras": "keras", "chalknet, torch engine": "torch"}


def rows_of(workload: str) -> list[str]:
    """Return the rows of a workload whose packages are installed."""
    installed = [row for row in ROWS if row not in NEEDS or find_spec(NEEDS[row])]
    if workload.endswith("bfloat16 step"):
        return [row for row in installed if row == "chalknet, torch engine" or row.startswith("torch")]
    if workload.endswith("step"):
        return [row for row in installed if row != "chalknet, predict_proba"]
    installed = [row for row in installed if row != "chalknet, torch engine"]
    if workload.endswith("one image"):
        return [row for row in installed if row not in ("chalknet", "chalknet, with Numba")]
    return installed


def work(row: str) -> None:
    """Answer requests on standard input: a workload's name, then the seconds of one step, pass or prediction."""
    run, count, name = None, 1, ""
    for line in sys.stdin:
        if line.rstrip("\n") != name:
            name = line.rstrip("\n")
            run, count = ROWS[row](*name.split(", "))
            run()
        assert run is not None
        if row == "floor":
            print(run(), flush=True)
            continue
        found: list[float] = []
        started = time.perf_counter()
        while not found or time.perf_counter() - started < SECONDS:
            begun = time.perf_counter()
            run()
            found.append(time.perf_counter() - begun)
        print(statistics.median(found) / count, flush=True)


def environment() -> dict[str, str]:
    """Return the environment of the workers."""
    kept = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    source = str(Path(__file__).resolve().parents[1] / "src")
    return {**kept, "PYTHONPATH": os.pathsep.join([source, *filter(None, [kept.get("PYTHONPATH")])])}


def start_worker(row: str) -> subprocess.Popen[str]:
    """Start the process of a row."""
    command = [sys.executable, __file__, "--work", row]
    return subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measured(workload: str, rounds: int, only: list[str]) -> dict[str, list[float]]:
    """Return the seconds of each row in each round."""
    workers = {row: start_worker(row) for row in rows_of(workload) if not only or row in only}
    try:
        for worker in workers.values():
            request(worker, workload)  # prepares and warms up
        seconds: dict[str, list[float]] = {row: [] for row in workers}
        for turn in range(rounds):
            for row in list(workers) if turn % 2 else list(reversed(workers)):
                time.sleep(0.1)  # threads of some libraries spin for a while after their work
                seconds[row].append(request(workers[row], workload))
        return seconds
    finally:
        for worker in workers.values():
            worker.communicate()


def result_of(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return median seconds of each row, and the median ratio of its time to that of the first row."""
    own = next(iter(seconds.values()))
    return {
        row: {
            "seconds": statistics.median(found),
            "ratio": statistics.median(b / a for a, b in zip(own, found, strict=True)),
            "all_seconds": [round(one, 7) for one in found],
        }
        for row, found in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=list(ROWS), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each row per workload  [default: 7]")
    parser.add_argument("--only", default="", help="only workloads whose name contains this")
    parser.add_argument("--rows", default="", help="only these rows, separated by semicolons")
    parser.add_argument("--out", type=Path, help="file for the results, JSON")
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work)
        return
    workloads, only = {}, [row for row in arguments.rows.split(";") if row]
    for workload in WORKLOADS:
        if arguments.only in workload:
            found = workloads[workload] = result_of(measured(workload, arguments.rounds, only))
            cells = (f"{row} {1e3 * one['seconds']:.2f} ms ({one['ratio']:.2f})" for row, one in found.items())
            print(f"{workload}: {', '.join(cells)}", flush=True)
    if arguments.out:
        store(arguments.out, arguments.rounds, workloads)


def store(path: Path, rounds: int, workloads: dict[str, Any]) -> None:
    """Write the results with machine, versions and the load of the machine."""
    from harness.comparison import versions

    # The facts of a worker: in this process OpenBLAS may use other kernels.
    code = "import json, chalknet.machine.facts as facts; print(json.dumps(facts.machine_facts()))"
    facts = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    others = {name: version(name) for name in ("keras", "numba") if find_spec(name)}
    stored = {
        "machine": json.loads(facts.stdout),
        "versions": {**versions(), **others},
        "load_average": os.getloadavg(),
        "rounds": rounds,
        "workloads": workloads,
    }
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
