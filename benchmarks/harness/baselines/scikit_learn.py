"""scikit-learn's MLPClassifier."""

from __future__ import annotations

import numpy as np

from harness.workloads import N_TRAIN, STEP_MOMENTUM, STEP_RATE, STEPS, Run, Workload, repeated_calls, scaled_splits


def scikit_learn(workload: Workload, threads: int) -> Run:
    """Prepare `partial_fit`, one epoch with its training loss.

    After it, only the validation and test split are predicted.
    """
    from sklearn.neural_network import MLPClassifier

    del threads  # set for the BLAS in the environment
    (x, y), (x_valid, _), (x_test, _) = scaled_splits(np.float32)
    model = MLPClassifier(
        (workload.units,),
        solver="sgd",
        alpha=0.0,
        batch_size=128 if workload.kind == "predict" else workload.n,
        learning_rate_init=STEP_RATE,
        momentum=STEP_MOMENTUM,
        nesterovs_momentum=False,
        shuffle=workload.kind == "step",
        random_state=0,
    )
    if workload.kind == "predict":
        model.partial_fit(x[:256], y[:256], classes=np.arange(10))
        return repeated_calls(lambda: model.predict_proba(x[: workload.n]), workload)
    rows = N_TRAIN if workload.kind == "full" else workload.n * STEPS
    used, labels = np.resize(x, (rows, 784)), np.resize(y, rows)
    model.partial_fit(used, labels, classes=np.arange(10))
    if workload.kind == "step":
        return lambda: model.partial_fit(used, labels) and None
    return lambda: (model.partial_fit(used, labels), model.predict_proba(x_valid), model.predict_proba(x_test))
