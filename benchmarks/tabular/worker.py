"""The process of one run: `python -m tabular.worker METHOD TABLE SEED SECONDS [FOLDER]`.

It trains the method on 70 % of the table and prints its scores on the rest, as one line of JSON. Times are
processor seconds of this process and its children. A run that takes more than SECONDS of them is ended
by the system.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from harness.worker import reserve_standard_output

from tabular.methods import create
from tabular.scores import scores_of
from tabular.sets import BY_NAME, LABEL, part_of, table_of

TEST_FRACTION = 0.3


def main() -> None:
    """Measure one run."""
    method, name, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    answers = reserve_standard_output()
    warnings.simplefilter("ignore")
    table = read_table(name, Path(sys.argv[5]) if len(sys.argv) > 5 else None)
    labels = np.unique(table[LABEL].to_numpy(), return_inverse=True)[1]
    train, test = split(labels, seed)
    model = create(method, seed)
    limit_processor_seconds(seconds)
    found = measured(model, table.drop(LABEL), labels, train, test)
    print(json.dumps(found), file=answers, flush=True)


def read_table(name: str, folder: Path | None) -> Any:
    """Return a table: from the folder that `tables.py --write` has made, or from its package."""
    if folder is not None:
        return pl.read_parquet(folder / part_of(name) / f"{name}.parquet")
    return table_of(BY_NAME[name])


def split(labels: Any, seed: int) -> tuple[Any, Any]:
    """Return the positions of the training and of the test rows, stratified by label."""
    from sklearn.model_selection import train_test_split

    positions = np.arange(len(labels))
    train, test = train_test_split(positions, test_size=TEST_FRACTION, stratify=labels, random_state=seed)
    return train, test


def measured(model: Any, table: Any, labels: Any, train: Any, test: Any) -> dict[str, Any]:
    """Return the scores, times and memory of training and prediction."""
    before = memory("VmRSS")
    reset_peak()
    started = processor_seconds()
    model.fit(table[train], labels[train])
    fitted = processor_seconds()
    probabilities = np.asarray(model.predict_proba(table[test]))
    ended = processor_seconds()
    if probabilities.shape != (len(test), labels.max() + 1) or not np.isfinite(probabilities).all():
        raise ValueError(f"predict_proba returned {probabilities.shape} or values that are not finite")
    return {
        **scores_of(probabilities, labels[test]),
        "fit_seconds": fitted - started,
        "predict_seconds": ended - fitted,
        "memory_bytes": memory("VmHWM") - before,
        "n_train": len(train),
        "n_test": len(test),
        "n_columns": table.width,
        "n_classes": int(labels.max()) + 1,
    }


def processor_seconds() -> float:
    """Return the processor time of this process and of its ended children."""
    return sum(os.times()[:4])


def limit_processor_seconds(seconds: float) -> None:
    """Let the system end this process after so many more processor seconds."""
    import resource

    limit = int(processor_seconds() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))


def memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes: VmRSS, the memory now, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def reset_peak() -> None:
    """Let the peak begin at the memory of now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    main()
