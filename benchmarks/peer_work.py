"""One peer of benchmarks/peers.py, in a process of its own: `python peer_work.py NAME`, then lines on standard input.

"prepare WORK" is answered by "ready", or "no" where the peer does not do that work; "go" by the seconds of one unit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from chalknet.data.glyphs import load_glyphs
from chalknet.data.splits import shuffled_index
from chalknet.network.architecture import Architecture
from chalknet.network.initialisers import initial_parameters

N_TRAIN, N_VALID = 15_000, 1_000
STEPS, CALLS = 100, 200  # a run, of mini-batch updates and of predictions of one image
TURN_SECONDS = 0.2
FULL_RATE, FULL_MOMENTUM, STEP_RATE, STEP_MOMENTUM = 1e-5, 0.99, 1e-3, 0.9
WORKERS = int(os.environ.get("CHALKNET_BENCH_WORKERS", "0")) or None

Run = Callable[[], Any]  # does the work; a float that it returns is the time, instead of the one that passed


def main() -> None:
    run: Run | None = None
    unit = 1
    for line in sys.stdin:
        verb, _, work = line.strip().partition(" ")
        if verb == "prepare":
            kind, *sizes = work.split()
            run = PEERS[sys.argv[1]](kind, *(int(size) for size in sizes))
            unit = STEPS if kind == "step" else CALLS if work == "predict 1" else 1
            print("no" if run is None else "ready", flush=True)
        else:
            assert run is not None
            told = run()  # wakes threads and caches, which slept while others had their turn
            print(told if isinstance(told, float) else timed(run) / unit, flush=True)


def timed(run: Run) -> float:
    """Seconds of one run, the mean of as many as fit into TURN_SECONDS, one at least."""
    started, n = time.perf_counter(), 0
    while not n or time.perf_counter() - started < TURN_SECONDS:
        run()
        n += 1
    return (time.perf_counter() - started) / n


def letters() -> tuple[Any, Any]:
    """18,724 raw images as rows and their labels, in the write-up's order."""
    data = load_glyphs()
    order = shuffled_index(len(data))
    return np.ascontiguousarray(data.inputs.reshape(len(data), -1)[order]), data.labels[order]


def parts(dtype: Any) -> list[tuple[Any, Any]]:
    """Training, validation and test samples, scaled, and labels."""
    x, y = letters()
    scaled = (x / 255.0).astype(dtype)
    cuts = slice(0, N_TRAIN), slice(N_TRAIN, N_TRAIN + N_VALID), slice(N_TRAIN + N_VALID, None)
    return [(scaled[cut], y[cut]) for cut in cuts]


def start_weights(units: int) -> list[Any]:
    """The write-up's start: W_h (F, 784), b_h, W_o (10, F), b_o; float64."""
    return list(initial_parameters(Architecture(784, (units,), 10), 0).values())


def batches(size: int) -> list[Any]:
    """Positions of the mini-batches of a round: a permutation, cut."""
    order = np.tile(np.random.default_rng(0).permutation(N_TRAIN), 2)
    return [order[i * size : (i + 1) * size] for i in range(STEPS)]


def calls(run: Run, n: int) -> Run:
    """Many calls where one is too short to time."""
    return (lambda: [run() for _ in range(CALLS)] and None) if n == 1 else run


def chalknet(kind: str, *sizes: int) -> Run:
    from chalknet.engines.engine import Part
    from chalknet.engines.numpy_engine import NumpyEngine
    from chalknet.network.model import Network
    from chalknet.training.optimizers import Momentum

    x, y = letters()
    architecture = Architecture(784, (1000 if kind == "predict" else sizes[-1],), 10)
    start = initial_parameters(architecture, 0)
    if kind == "predict":
        parameters = {name: value.astype(np.float32) for name, value in start.items()}
        network = Network(architecture, parameters, tuple("ABCDEFGHIJ"), 255.0)
        return calls(lambda: network.predict_proba(x[: sizes[0]]), sizes[0])
    cuts = {
        "train": slice(0, N_TRAIN),
        "valid": slice(N_TRAIN, N_TRAIN + N_VALID),
        "test": slice(N_TRAIN + N_VALID, None),
    }
    full = kind == "full"
    engine = NumpyEngine(
        {name: Part(x[cut], y[cut]) for name, cut in cuts.items()},
        start,
        Momentum(FULL_RATE, FULL_MOMENTUM) if full else Momentum(STEP_RATE, STEP_MOMENTUM, bias_momentum=True),
        input_scale=255.0,
        reduction="sum" if full else "mean",
        workers=WORKERS,
    )
    if full:
        return lambda: (engine.train_epoch([slice(0, N_TRAIN)]), engine.evaluate("valid"), engine.evaluate("test"))
    chosen = batches(sizes[0])
    return lambda: engine.train_epoch(chosen) and None


def ceiling(kind: str, *sizes: int) -> Run | None:
    """What the products of a full epoch take at the product rate, measured now."""
    from chalknet.machine.processor import available_cores
    from chalknet.machine.product_rate import product_rate

    if kind != "full":
        return None
    units, n = sizes[0], N_TRAIN + 3_724
    flop = 2 * 785 * units * (n + N_TRAIN) + 2 * (units + 1) * 10 * (n + 2 * N_TRAIN)
    return lambda: flop / product_rate("float32", WORKERS or available_cores(), 0.3)


def formulas(kind: str, *sizes: int) -> Run | None:
    """The write-up's formulas in float64 as one would type them."""
    if kind != "full":
        return None
    (x, y), valid, test = parts(np.float64)
    w_h, b_h, w_o, b_o = start_weights(sizes[0])
    hot = np.eye(10)[y]
    state = [w_h, b_h, w_o, b_o, np.zeros_like(w_h), np.zeros_like(w_o)]

    def softmax(o: Any) -> Any:
        e = np.exp(o - o.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def scores(p: Any, labels: Any) -> tuple[float, float]:
        return -np.log(p[np.arange(len(labels)), labels] + 1e-20).mean(), (p.argmax(axis=1) == labels).mean()

    def look(part: tuple[Any, Any]) -> Any:
        w_h, b_h, w_o, b_o = state[:4]
        return scores(softmax(np.maximum(part[0] @ w_h.T + b_h, 0) @ w_o.T + b_o), part[1])

    def run() -> None:
        w_h, b_h, w_o, b_o, v_h, v_o = state
        h = x @ w_h.T + b_h
        g = np.maximum(h, 0)
        p = softmax(g @ w_o.T + b_o)
        scores(p, y)
        d_o = p - hot
        d_h = (d_o @ w_o) * (h > 0)
        v_h, v_o = FULL_MOMENTUM * v_h + FULL_RATE * (d_h.T @ x), FULL_MOMENTUM * v_o + FULL_RATE * (d_o.T @ g)
        biases = b_h - FULL_RATE * d_h.sum(axis=0), b_o - FULL_RATE * d_o.sum(axis=0)
        state[:] = [w_h - v_h, biases[0], w_o - v_o, biases[1], v_h, v_o]
        look(valid)
        look(test)

    return run


def scikit_learn(kind: str, *sizes: int) -> Run:
    """partial_fit walks the data once in batches; loss_ is the training loss, so only valid and test are predicted."""
    from sklearn.neural_network import MLPClassifier

    (x, y), (x_valid, _), (x_test, _) = parts(np.float32)
    batch = {"full": N_TRAIN, "step": sizes[0], "predict": 128}[kind]
    units = 1000 if kind == "predict" else sizes[-1]
    model = MLPClassifier(
        (units,), solver="sgd", alpha=0.0, batch_size=batch, learning_rate_init=STEP_RATE, momentum=STEP_MOMENTUM,
        nesterovs_momentum=False, shuffle=kind == "step", random_state=0,
    )  # fmt: skip
    if kind == "predict":
        model.partial_fit(x[:256], y[:256], classes=np.arange(10))
        return calls(lambda: model.predict_proba(x[: sizes[0]]), sizes[0])
    rows = N_TRAIN if kind == "full" else batch * STEPS
    used, labels = np.resize(x, (rows, 784)), np.resize(y, rows)
    model.partial_fit(used, labels, classes=np.arange(10))
    if kind == "step":
        return lambda: model.partial_fit(used, labels) and None
    return lambda: (model.partial_fit(used, labels), model.predict_proba(x_valid), model.predict_proba(x_test))


def torch_peer(dtype_name: str, compiled: bool = False) -> Callable[..., Run | None]:
    def prepare(kind: str, *sizes: int) -> Run | None:
        import torch
        from torch.nn.functional import cross_entropy

        if kind == "predict" and compiled:
            return None
        if WORKERS:
            torch.set_num_threads(WORKERS)
        torch.manual_seed(0)
        dtype = getattr(torch, dtype_name)
        sets = [(torch.from_numpy(x).to(dtype), torch.from_numpy(y)) for x, y in parts(np.float32)]
        units = 1000 if kind == "predict" else sizes[-1]
        model = torch.nn.Sequential(torch.nn.Linear(784, units), torch.nn.ReLU(), torch.nn.Linear(units, 10)).to(dtype)
        forward = torch.compile(model) if compiled else model
        x, y = sets[0]

        @torch.inference_mode()
        def look(part: tuple[Any, Any]) -> Any:
            logits = forward(part[0]).float()
            return cross_entropy(logits, part[1]).item(), (logits.argmax(1) == part[1]).float().mean().item()

        @torch.inference_mode()
        def predict() -> Any:
            return torch.softmax(model(images), 1)

        if kind == "predict":
            images = x[: sizes[0]]
            return calls(predict, sizes[0])
        full = kind == "full"
        weights, biases = [p for p in model.parameters() if p.ndim == 2], [p for p in model.parameters() if p.ndim == 1]
        momentum = FULL_MOMENTUM if full else STEP_MOMENTUM
        groups = [{"params": weights, "momentum": momentum}, {"params": biases, "momentum": 0.0 if full else momentum}]
        optimizer = torch.optim.SGD(groups, lr=FULL_RATE if full else STEP_RATE, foreach=True)

        def update(samples: Any, labels: Any) -> Any:
            optimizer.zero_grad(set_to_none=False)  # keeps the buffers, which is faster here
            logits = forward(samples)
            loss = cross_entropy(logits, labels, reduction="sum" if full else "mean")
            loss.backward()
            optimizer.step()
            return logits, loss

        def epoch() -> None:
            logits, loss = update(x, y)
            loss.item(), (logits.argmax(1) == y).float().mean().item()
            look(sets[1])
            look(sets[2])

        if full:
            return epoch
        chosen = [torch.from_numpy(batch) for batch in batches(sizes[0])]
        return lambda: [update(x[batch], y[batch]) for batch in chosen] and None

    return prepare


def jax_peer(kind: str, *sizes: int) -> Run:
    import jax
    import jax.numpy as jnp

    sets = [(jnp.asarray(x), jnp.asarray(y)) for x, y in parts(np.float32)]
    units = 1000 if kind == "predict" else sizes[-1]
    w_h, b_h, w_o, b_o = (jnp.asarray(value, dtype=jnp.float32) for value in start_weights(units))
    full = kind == "full"
    rate, momentum = (FULL_RATE, FULL_MOMENTUM) if full else (STEP_RATE, STEP_MOMENTUM)

    def logits(weights: Any, x: Any) -> Any:
        w_h, b_h, w_o, b_o = weights
        return jnp.maximum(x @ w_h.T + b_h, 0) @ w_o.T + b_o

    def losses(weights: Any, x: Any, y: Any) -> Any:
        o = logits(weights, x)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(o), y[:, None], 1)
        return loss.sum() if full else loss.mean(), (o.argmax(1) == y).mean()

    @jax.jit
    def update(weights: Any, velocities: Any, x: Any, y: Any) -> Any:
        (loss, right), gradients = jax.value_and_grad(losses, has_aux=True)(weights, x, y)
        decay = (momentum, 0.0 if full else momentum) * 2
        velocities = [m * v + rate * g for m, v, g in zip(decay, velocities, gradients, strict=True)]
        return [w - v for w, v in zip(weights, velocities, strict=True)], velocities, loss, right

    look = jax.jit(losses)
    if kind == "predict":
        images = sets[0][0][: sizes[0]]
        predict = jax.jit(lambda x: jax.nn.softmax(logits([w_h, b_h, w_o, b_o], x)))
        return calls(lambda: predict(images).block_until_ready(), sizes[0])
    state = [[w_h, b_h, w_o, b_o], [jnp.zeros_like(w) for w in (w_h, b_h, w_o, b_o)]]
    (x, y), valid, test = sets

    def epoch() -> None:
        weights, velocities, loss, right = update(*state, x, y)
        state[:] = [weights, velocities]
        float(loss), float(right), [float(v) for part in (valid, test) for v in look(weights, *part)]

    if full:
        return epoch
    chosen = [jnp.asarray(batch) for batch in batches(sizes[0])]

    @jax.jit
    def gathered(weights: Any, velocities: Any, batch: Any) -> Any:
        return update(weights, velocities, x[batch], y[batch])

    def steps() -> None:
        for batch in chosen:
            weights, velocities, _, _ = gathered(*state, batch)
            state[:] = [weights, velocities]
        jax.block_until_ready(state)

    return steps


def onnx_runtime(kind: str, *sizes: int) -> Run | None:
    if kind != "predict":
        return None
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    names = ("w_h", "b_h", "w_o", "b_o")
    tensors = [
        numpy_helper.from_array(v.astype(np.float32), n) for n, v in zip(names, start_weights(1000), strict=True)
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w_h", "b_h"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("Gemm", ["g", "w_o", "b_o"], ["o"], transB=1),
        helper.make_node("Softmax", ["o"], ["p"], axis=1),
    ]
    x_info, p_info = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, k]) for n, k in (("x", 784), ("p", 10))
    )
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x_info], [p_info], tensors), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    if WORKERS:
        options.intra_op_num_threads = WORKERS
    session = onnxruntime.InferenceSession(
        onnx.ModelProto.SerializeToString(model), options, providers=["CPUExecutionProvider"]
    )
    images = parts(np.float32)[0][0][: sizes[0]]
    return calls(lambda: session.run(None, {"x": images}), sizes[0])


PEERS: dict[str, Callable[..., Run | None]] = {
    "ceiling": ceiling,
    "chalknet": chalknet,
    "formulas": formulas,
    "jax": jax_peer,
    "onnxruntime": onnx_runtime,
    "scikit-learn": scikit_learn,
    "torch": torch_peer("float32"),
    "torch-bf16": torch_peer("bfloat16"),
    "torch-compile": torch_peer("float32", compiled=True),
}

if __name__ == "__main__":
    main()
