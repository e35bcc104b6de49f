"""Measure servers under load: `python benchmarks/serve.py [-o FILE]`.

`chalknet serve` answers predictions of one network of 784-100-10 units, and so do servers of FastAPI around
scikit-learn's MLPClassifier and around onnxruntime, with the same weights. Each server is one process of uvicorn with
uvloop and httptools. The load generator is wrk (Debian: apt install wrk). A request has one image of 28 x 28 pixels, as
a row of JSON or as a PNG file. In each round, all servers get the same load in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import chalknet
from chalknet.machine.facts import machine_facts

BENCHMARKS = Path(__file__).resolve().parent
CONNECTIONS = (1, 8, 64)
PACKAGES = ("chalknet", "fastapi", "httptools", "numpy", "onnxruntime", "scikit-learn", "uvicorn", "uvloop")
N_BODIES = 50
BOUNDARY = "chalknet-benchmark-boundary"
MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}
SCRIPT = """
local bodies, at = {}, 0
for k = 1, %d do
  local file = io.open(string.format("%%s/%%d", "%s", k), "rb")
  bodies[k] = file:read("*a")
  file:close()
end
request = function()
  at = at %% #bodies + 1
  return wrk.format("POST", nil, {["Content-Type"] = "%s"}, bodies[at])
end
"""


class Server(NamedTuple):
    """A server that runs, with its process and the addresses for rows and for images."""

    port: int
    process: int
    rows: str
    images: str


def network_files(folder: Path) -> tuple[Path, Path, Path]:
    """Write the network for chalknet, scikit-learn and onnxruntime."""
    from sklearn.neural_network import MLPClassifier

    data = chalknet.load_data("glyphs")
    run = chalknet.train(data, hidden=[100], epochs=5, split="stratified")
    network, x = run.network, data.inputs[:200].reshape(200, -1).astype(np.float32)
    labels = [network.class_names[k] for k in np.arange(200) % 10]
    classifier = MLPClassifier((100,), max_iter=1, solver="sgd").fit(x, labels)
    weights = network.parameters
    classifier.coefs_ = [np.ascontiguousarray(weights[f"{name}.weight"].T) for name in ("hidden1", "output")]
    classifier.intercepts_ = [weights[f"{name}.bias"] for name in ("hidden1", "output")]
    files = folder / "network.safetensors", folder / "network.pickle", folder / "network.onnx"
    chalknet.save_model(network, files[0])
    files[1].write_bytes(pickle.dumps(classifier))
    chalknet.export_model(network, files[2], kind="onnx")
    return files


def write_bodies(folder: Path) -> dict[str, tuple[str, list[bytes]]]:
    """Return media type and bodies of each kind of request, which are also written for wrk."""
    from PIL import Image

    images = chalknet.load_data("glyphs").inputs[: N_BODIES * 7 : 7]
    rows = [json.dumps({"rows": [image.ravel().tolist()]}).encode() for image in images]
    uploads = []
    for image in images:
        path = folder / "image.png"
        Image.fromarray(image).save(path)
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        uploads.append(head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode())
    kinds = {"rows": ("application/json", rows), "images": (f"multipart/form-data; boundary={BOUNDARY}", uploads)}
    for kind, (media_type, bodies) in kinds.items():
        (folder / kind).mkdir()
        for k, body in enumerate(bodies, start=1):
            (folder / kind / str(k)).write_bytes(body)
        (folder / f"{kind}.lua").write_text(SCRIPT % (N_BODIES, folder / kind, media_type))
    return kinds


@contextmanager
def started(command: list[str], rows: str, images: str) -> Iterator[Server]:
    """Run a server on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-m", *(word.replace("PORT", str(port)) for word in command)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{words} has ended"
            time.sleep(0.1)
        yield Server(port, process.pid, rows, images)
    finally:
        process.terminate()
        process.wait()


def ask(address: str, media_type: str, body: bytes) -> dict[str, Any]:
    request = urllib.request.Request(address, body, {"Content-Type": media_type})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        found: dict[str, Any] = json.load(answer)["predictions"][0]["probabilities"]
    return found


def check_answers(servers: dict[str, Server], kinds: dict[str, tuple[str, list[bytes]]]) -> None:
    """Check that all servers give the same probabilities."""
    for kind, (media_type, bodies) in kinds.items():
        for body in bodies[:5]:
            answers = [
                ask(f"http://127.0.0.1:{one.port}{getattr(one, kind)}", media_type, body) for one in servers.values()
            ]
            for other in answers[1:]:
                np.testing.assert_allclose([other[name] for name in answers[0]], list(answers[0].values()), atol=1e-4)


def measured(server: Server, kind: str, connections: int, seconds: int, folder: Path) -> dict[str, float]:
    """Return requests per second, and in microseconds median and 99th percentile of the latency, and processor time.

    The processor time of a request is that of the server, which other programs on the machine affect less.
    """
    address = f"http://127.0.0.1:{server.port}{getattr(server, kind)}"
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(folder / f"{kind}.lua"),
        address,
    ]
    before = processor_seconds(server.process)
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = processor_seconds(server.process) - before
    assert "Non-2xx" not in text, text
    percentiles = {
        share: float(number) * MICROSECONDS[unit]
        for share, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", text)
    }
    (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", text)
    (n,) = re.findall(r"(\d+) requests in", text)
    return {
        "requests_per_second": float(rate),
        "p50_us": percentiles["50"],
        "p99_us": percentiles["99"],
        "processor_us": 1e6 * used / max(1, int(n)),
    }


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int, seconds: int, kinds: list[str], only: list[str]) -> dict[str, Any]:
    """Return the measurements of each round: kind -> connections -> server -> one entry a round."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        own, scikit_learn, onnx = network_files(folder)
        bodies = write_bodies(folder)
        fast_api = ("/predict", "/predict_images")
        predict = "/v1/models/network/predict"
        commands = {
            "chalknet": (["chalknet", "serve", str(own), "--port", "PORT"], predict, predict),
            "scikit-learn": (["harness.servers.sklearn_server", str(scikit_learn), "PORT"], *fast_api),
            "onnxruntime": (["harness.servers.onnx_server", str(onnx), "PORT"], *fast_api),
        }
        servers = {one: stack.enter_context(started(*commands[one])) for one in commands if not only or one in only}
        check_answers(servers, bodies)
        for at in range(rounds + 1):
            for kind in kinds:
                for connections in CONNECTIONS:
                    for one, server in servers.items():
                        result = measured(server, kind, connections, seconds if at else 1, folder)
                        if at:  # the first round warms up
                            found.setdefault(kind, {}).setdefault(str(connections), {}).setdefault(one, []).append(
                                result
                            )
                            print(kind, connections, one, result, file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="duration of each measurement")
    parser.add_argument("--kinds", default="rows,images")
    parser.add_argument("--only", default="", help="servers, with commas")
    parser.add_argument("-o", "--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    kinds, only = options.kinds.split(","), [one for one in options.only.split(",") if one]
    rounds = measure(options.rounds, options.seconds, kinds, only)
    medians = {
        kind: {
            connections: {
                one: {key: statistics.median(each[key] for each in results) for key in results[0]}
                for one, results in servers.items()
            }
            for connections, servers in by_connections.items()
        }
        for kind, by_connections in rounds.items()
    }
    result = {
        "machine": machine_facts(),
        "versions": {name: version(name) for name in PACKAGES},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "network": "784-100-10",
        "medians": medians,
        "measured": rounds,
    }
    print(json.dumps({"medians": medians}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
