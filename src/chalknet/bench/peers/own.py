"""chalknet itself, and the ceiling of what products allow."""

from __future__ import annotations

from typing import Any

import numpy as np

from chalknet.bench.catalogue import N_IMAGES, N_TRAIN, Work
from chalknet.bench.workload import (
    CUTS,
    FULL_MOMENTUM,
    FULL_RATE,
    STEP_MOMENTUM,
    STEP_RATE,
    Run,
    architecture,
    batches,
    calls,
    letters,
    start_parameters,
)
from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import Part, Step, Update
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.machine.processor import available_cores
from chalknet.machine.product_rate import product_rate
from chalknet.network.model import Network
from chalknet.network.objective import Objective
from chalknet.training.optimizers import Momentum


def chalknet(work: Work, threads: int) -> Run:
    """The numpy engine; predictions from raw images."""
    if work.kind == "predict":
        x, _ = letters()
        parameters = {name: value.astype(np.float32) for name, value in start_parameters(work).items()}
        network = Network(architecture(work), parameters, tuple("ABCDEFGHIJ"), Scaling(255.0))
        return calls(lambda: network.predict_proba(x[: work.n]), work)
    return training(work, NumpyEngine, workers=threads or None)


def training(work: Work, maker: Any, **options: Any) -> Run:
    """A full epoch, or the mini-batch updates of a run, by an engine."""
    x, y = letters()
    full = work.kind == "full"
    engine = maker(
        {name: Part(x[cut], y[cut]) for name, cut in CUTS.items()},
        start_parameters(work),
        Momentum(FULL_MOMENTUM) if full else Momentum(STEP_MOMENTUM, bias_momentum=True),
        scaling=Scaling(255.0),
        objective=Objective("sum" if full else "mean"),
        **options,
    )
    if full:
        whole = [Update(slice(0, N_TRAIN), Step(1, FULL_RATE))]
        return lambda: (engine.train_epoch(whole), engine.evaluate("valid"), engine.evaluate("test"))
    chosen = [Update(batch, Step(number, STEP_RATE)) for number, batch in enumerate(batches(work.n), start=1)]
    return lambda: engine.train_epoch(chosen) and None


def ceiling(work: Work, threads: int) -> Run | None:
    """What the products of a full epoch take at the product rate, measured now."""
    if work.kind != "full":
        return None
    return lambda: epoch_flop(work.units) / product_rate("float32", threads or available_cores(), 0.3)


def epoch_flop(units: int) -> int:
    """Operations in the products of one epoch: three passes forward, one back; biases counted as a column of ones."""
    return 2 * 785 * units * (N_IMAGES + N_TRAIN) + 2 * (units + 1) * 10 * (N_IMAGES + 2 * N_TRAIN)
