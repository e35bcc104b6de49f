"""What the training of a run returns, as it travels from a worker to the store and back to a reader.

A `RunOutput` is a JSON-ready record, arrays and a model file. Reading it needs no trainer and no engine.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.sample_losses import LOSS_TYPES
from chalknet.checked import short
from chalknet.data.readers.npy_array import read_npy_header
from chalknet.records import SPLITS, EpochRecord, Scores
from chalknet.studies.results import DataFacts, LabeledPredictions, RunRecord, RunResult

SCORED = ("valid", "test")
# Types and dimensions of the arrays that are stored for a run, and once for a division; see docs/file_formats.md.
RUN_ARRAYS = {
    **{f"{part}_predicted": (("<i4",), 1) for part in SCORED},
    **{f"{part}_confidence": (("<f4",), 1) for part in SCORED},
    **{f"{part}_true_probability": (("<f4",), 1) for part in SCORED},
    "valid_losses": (LOSS_TYPES, 2),
    "valid_right_bits": (("|u1",), 2),
}
SPLIT_ARRAYS = {f"{part}_{name}": (("<i8",), 1) for part in SCORED for name in ("index", "labels")}

ArrayReader = Callable[[str, tuple[int | None, ...]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class RunOutput:
    """The output of a finished training.

    Attributes:
        record: JSON-ready: history, kept_epoch, seconds, trained, machine.
        arrays: `RUN_ARRAYS`, each in a type of its own.
        division: `SPLIT_ARRAYS`: which samples were scored, and their classes.
        model: the kept network's file, b"" where it was not asked for.
    """

    record: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    split_arrays: Mapping[str, NDArray[Any]]
    model: bytes = field(default=b"", repr=False)


def output_bytes(output: RunOutput) -> bytes:
    """Return all of an output but its record, as an .npz file."""
    buffer = io.BytesIO()
    model = np.frombuffer(output.model, np.uint8)
    np.savez(buffer, allow_pickle=False, model=model, **output.arrays, **output.split_arrays)
    return buffer.getvalue()


def output_from(record: dict[str, Any], content: bytes) -> RunOutput:
    """Return the output whose record and `output_bytes` these are."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return RunOutput(
            record,
            {name: arrays[name] for name in RUN_ARRAYS},
            {name: arrays[name] for name in SPLIT_ARRAYS},
            arrays["model"].tobytes(),
        )


def record_from(record: Mapping[str, Any]) -> RunRecord:
    """Return a stored record as it is read; raises as `result_from`."""
    history = tuple(_epoch_record(values, number) for number, values in enumerate(record["history"], start=1))
    kept = record["kept_epoch"]
    if not history or not isinstance(kept, int) or not 1 <= kept <= len(history):
        raise ValueError(f"keeps epoch {short(kept)} of {len(history)}")
    return RunRecord(history, kept, _number(record["seconds"]), str(record["trained"]), dict(record["machine"]))


def result_from(
    record: Mapping[str, Any], array: ArrayReader, division: Mapping[str, NDArray[Any]], facts: DataFacts
) -> RunResult:
    """Return a stored output as it is read.

    Args:
        record: as in `RunOutput`.
        array: returns one of `RUN_ARRAYS`, which must have this shape.
        division: `SPLIT_ARRAYS`.
        facts: the samples that positions and classes are of.
    Raises:
        ValueError, KeyError, TypeError, OverflowError: anything is not what it should be.
    """
    read = record_from(record)
    n_epochs, n_valid = len(read.history), len(division["valid_index"])
    correct = np.unpackbits(array("valid_right_bits", (n_epochs, -(-n_valid // 8))), axis=1, count=n_valid)
    return RunResult(
        **vars(read),
        valid=_predictions("valid", array, division, facts),
        test=_predictions("test", array, division, facts),
        valid_losses=array("valid_losses", (n_epochs, n_valid)),
        valid_correct=correct.astype(bool),
    )


def epoch_list(record: EpochRecord) -> list[Any]:
    """Return an epoch as it stands in a record: seconds, then for each part its scores or null."""
    scores = [record.scores(part) for part in SPLITS]
    return [record.seconds, *(None if one is None else list(asdict(one).values()) for one in scores)]


def _epoch_record(values: Any, number: int) -> EpochRecord:
    seconds, *parts = values
    train, valid, test = (None if one is None else _scores(*map(_number, one)) for one in parts)
    if train is None:
        raise ValueError(f"epoch {number} has no training scores")
    return EpochRecord(number, train, valid, test, _number(seconds))


def _scores(loss: float, accuracy: float, printed_loss: float) -> Scores:
    if not 0.0 <= accuracy <= 1.0:
        raise ValueError(f"an accuracy is {accuracy}")
    return Scores(loss, accuracy, printed_loss)


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{short(value)} is not a finite number")
    return float(value)


def _predictions(
    part: str, array: ArrayReader, division: Mapping[str, NDArray[Any]], facts: DataFacts
) -> LabeledPredictions | None:
    labels, index = division[f"{part}_labels"], division[f"{part}_index"]
    if not len(index):
        return None
    found = LabeledPredictions(
        labels=labels,
        predicted=array(f"{part}_predicted", index.shape).astype(np.int64),
        confidence=array(f"{part}_confidence", index.shape),
        true_probability=array(f"{part}_true_probability", index.shape),
        index=index,
    )
    ends = {"index": facts.samples, "labels": len(facts.class_names), "predicted": len(facts.class_names)}
    for name, end in ends.items():
        _check_range(f"{part}_{name}", getattr(found, name), 0, end - 1)
    for name in ("confidence", "true_probability"):
        _check_range(f"{part}_{name}", getattr(found, name), 0.0, 1.0 + 1e-6)  # which rounding may exceed a little
    return found


def _check_range(name: str, values: NDArray[Any], low: float, high: float) -> None:
    if not ((values >= low) & (values <= high)).all():
        raise ValueError(f"{name} has values outside {low} to {high:g}")


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return an array of numbers as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(content: bytes, name: str, dtypes: Sequence[str], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return the array of `array_bytes`, of one of these types and of that shape; None stands for any length.

    Raises:
        ValueError: anything else, with the array's name. No memory is allocated before the header is checked.
    """
    header = read_npy_header(io.BytesIO(content), "array", name)
    if header.dtype not in map(np.dtype, dtypes) or header.fortran_order:
        raise ValueError(f"{name} is of type {header.dtype}, not {' or '.join(dtypes)}")
    if len(header.shape) != len(shape) or any(w not in (None, n) for n, w in zip(header.shape, shape, strict=True)):
        raise ValueError(f"{name} has the shape {header.shape}, not {shape}")
    values = content[header.n_bytes :]
    if len(values) != header.array_bytes:
        raise ValueError(f"{name} has {len(values)} bytes, which are not those of {header.shape}")
    return np.frombuffer(values, dtype=header.dtype).reshape(header.shape)
