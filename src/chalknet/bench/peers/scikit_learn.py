"""scikit-learn's MLPClassifier."""

from __future__ import annotations

import numpy as np

from chalknet.bench.catalogue import N_TRAIN, Work
from chalknet.bench.workload import STEP_MOMENTUM, STEP_RATE, STEPS, Run, calls, scaled_parts


def scikit_learn(work: Work, threads: int) -> Run:
    """partial_fit walks the data once in batches; loss_ is the training loss, so only valid and test are predicted."""
    from sklearn.neural_network import MLPClassifier

    del threads  # the BLAS was told by the environment
    (x, y), (x_valid, _), (x_test, _) = scaled_parts(np.float32)
    model = MLPClassifier(
        (work.units,),
        solver="sgd",
        alpha=0.0,
        batch_size=128 if work.kind == "predict" else work.n,
        learning_rate_init=STEP_RATE,
        momentum=STEP_MOMENTUM,
        nesterovs_momentum=False,
        shuffle=work.kind == "step",
        random_state=0,
    )
    if work.kind == "predict":
        model.partial_fit(x[:256], y[:256], classes=np.arange(10))
        return calls(lambda: model.predict_proba(x[: work.n]), work)
    rows = N_TRAIN if work.kind == "full" else work.n * STEPS
    used, labels = np.resize(x, (rows, 784)), np.resize(y, rows)
    model.partial_fit(used, labels, classes=np.arange(10))
    if work.kind == "step":
        return lambda: model.partial_fit(used, labels) and None
    return lambda: (model.partial_fit(used, labels), model.predict_proba(x_valid), model.predict_proba(x_test))
