"""Compare the prediction of the course's network: `python benchmarks/prediction_convolution.py [-o FILE]`.

It measures the logits of 1,000 images of 28 x 28 pixels and of one image with chalknet, with PyTorch in both memory
formats, and with the exported ONNX file in onnxruntime. Each library runs in a process of its own on all cores, and
all take turns. Images are float32 between 0 and 1 for PyTorch, and the bytes of the file for chalknet and onnxruntime,
which scale them. PyTorch's time is without scaling. With `--threads 1` the result is the processor time of one
thread, which other programs on the machine change little.
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
from pathlib import Path
from typing import Any

import numpy as np
from harness.process import THREAD_VARIABLES
from harness.turns import request

from chalknet.data.preprocess import Scaling
from chalknet.machine.facts import blas_facts, machine_facts
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(__file__).parent / "results" / "prediction_convolution.json"
NAMES = ("chalknet", "torch", "torch channels last", "onnxruntime")
COUNTS = (1_000, 1)
LAYERS = [
    {"type": "conv2d", "filters": 32},
    "relu",
    "batch_norm",
    "max_pool2d",
    "flatten",
    {"type": "dense", "units": 784},
    "relu",
]
SECONDS = 0.2  # a measurement repeats a prediction for this time, and takes the mean


def network() -> Network:
    """Return the course's network with its first weights, which take the time of any others."""
    architecture = Architecture((28, 28, 1), n_classes=10, layers=LAYERS)
    start = initial_parameters(architecture, 0, "he_normal")
    parameters = {name: value.astype(np.float32) for name, value in start.items()}
    return Network(architecture, parameters, tuple("ABCDEFGHIJ"), Scaling(255.0), (28, 28))


def images() -> np.ndarray:
    """Return 1,000 random images."""
    return np.random.default_rng(0).integers(0, 256, (max(COUNTS), 28, 28)).astype(np.uint8)


def prediction(name: str) -> Callable[[int], Any]:
    """Return a function that predicts a number of images with a library."""
    model, samples = network(), images()
    if name == "chalknet":
        return lambda n: model.logits(samples[:n])
    if name == "onnxruntime":
        import onnxruntime

        from chalknet.artifacts.export_onnx import onnx_bytes

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        session = onnxruntime.InferenceSession(onnx_bytes(model), options, providers=["CPUExecutionProvider"])
        return lambda n: session.run(["probabilities"], {"samples": samples[:n]})
    import torch
    from torch import nn

    module = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(32 * 14 * 14, 784), nn.ReLU(), nn.Linear(784, 10)),
    ).eval()
    inputs = torch.from_numpy(samples / np.float32(255))[:, None]
    if name == "torch channels last":
        module, inputs = module.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)

    def predict(n: int) -> Any:
        with torch.inference_mode():
            return module(inputs[:n])

    return predict


def work(name: str, threads: int) -> None:
    """Answer each number of images on standard input with the seconds of a prediction."""
    predict = prediction(name)
    clock = time.thread_time if threads == 1 else time.perf_counter
    for line in sys.stdin:
        n, done = int(line), 0
        predict(n)
        start = clock()
        while not done or clock() - start < SECONDS:
            predict(n)
            done += 1
        print((clock() - start) / done, flush=True)


def compare(rounds: int, threads: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each library for each number of images, one for each round."""
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
    environment = {**os.environ, **limits, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])}
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--worker", name, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in NAMES
    }
    found: dict[str, dict[str, list[float]]] = {name: {str(n): [] for n in COUNTS} for name in NAMES}
    try:
        for _ in range(rounds):
            for n in COUNTS:
                for name, worker in workers.items():
                    found[name][str(n)].append(request(worker, str(n)))
    finally:
        for worker in workers.values():
            worker.communicate()
    return found


def text(found: dict[str, dict[str, list[float]]]) -> str:
    """Return one line for each library and number of images: the median, the least, and the ratio to chalknet."""
    lines = []
    for n in COUNTS:
        own = statistics.median(found["chalknet"][str(n)])
        for name in NAMES:
            seconds = found[name][str(n)]
            median = statistics.median(seconds)
            lines.append(
                f"{n:5,} images  {name:20} median {1e3 * median:8.3f} ms, least {1e3 * min(seconds):8.3f} ms, "
                f"{median / own:5.2f} times chalknet's"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="threads of each library  [default: all cores]")
    parser.add_argument("--note", default="", help="a sentence about the measurement")
    parser.add_argument("--worker", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.threads)
        return
    found = compare(options.rounds, options.threads)
    print(text(found))
    facts = {"machine": machine_facts(), "blas": blas_facts(), "note": options.note, "rounds": options.rounds}
    facts["threads"] = options.threads or os.cpu_count()
    options.out.write_text(json.dumps({**facts, "seconds": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
