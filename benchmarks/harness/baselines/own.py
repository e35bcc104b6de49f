"""chalknet: the numpy engine in float32, and the torch engine on a CPU in bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import EngineSpec, SplitData, Update
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.network.model import Network
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Momentum, Step
from harness.workloads import (
    FULL_MOMENTUM,
    FULL_RATE,
    N_TRAIN,
    SPLITS,
    STEP_MOMENTUM,
    STEP_RATE,
    Run,
    Workload,
    architecture,
    batches,
    letters,
    repeated_calls,
    start_parameters,
)


def numpy_engine(workload: Workload, threads: int) -> Run:
    """Prepare training by the numpy engine, or predictions from raw images."""
    if workload.kind == "predict":
        x, _ = letters()
        parameters = {name: value.astype(np.float32) for name, value in start_parameters(workload).items()}
        network = Network(architecture(workload), parameters, tuple("ABCDEFGHIJ"), Scaling(255.0))
        return repeated_calls(lambda: network.predict_proba(x[: workload.n]), workload)
    return _training(workload, NumpyEngine, threads=threads or None)


def torch_engine(workload: Workload, threads: int) -> Run | None:
    """Prepare training by the torch engine in bfloat16."""
    if workload.kind == "predict":
        return None
    from chalknet.engines.torch_engine import TorchEngine

    return _training(workload, TorchEngine, threads=threads or None, device="cpu", precision="bfloat16")


def _training(workload: Workload, make_engine: Any, **options: Any) -> Run:
    """Return a run of a full epoch, or of the mini-batch updates."""
    x, y = letters()
    full = workload.kind == "full"
    spec = EngineSpec(
        architecture(workload),
        start_parameters(workload),
        Momentum(FULL_MOMENTUM) if full else Momentum(STEP_MOMENTUM, bias_momentum=True),
        {name: SplitData(x[split], y[split]) for name, split in SPLITS.items()},
        scaling=Scaling(255.0),
        objective=Objective("sum" if full else "mean"),
        **options,
    )
    engine = make_engine(spec)
    if full:
        whole = [Update(slice(0, N_TRAIN), Step(1, FULL_RATE))]
        return lambda: (engine.train_epoch(whole), engine.evaluate("valid"), engine.evaluate("test"))
    updates = [Update(batch, Step(number, STEP_RATE)) for number, batch in enumerate(batches(workload.n), start=1)]
    return lambda: engine.train_epoch(updates) and None
