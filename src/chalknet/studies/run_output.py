"""The output of a run: from the worker that trained it, to the store, and back to a reader.

A `RunOutput` is a JSON-ready record, arrays and a model file. Reading it needs neither trainer nor
engine.
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
# Types and numbers of dimensions of the arrays that are stored for each run (RUN_ARRAYS), and once
# for all runs with the same split (SPLIT_ARRAYS). Their names are those of docs/file_formats.md.
RUN_ARRAYS: dict[str, tuple[tuple[str, ...], int]] = {
    **{f"{split}_predicted": (("<i4",), 1) for split in SCORED},
    **{f"{split}_confidence": (("<f4",), 1) for split in SCORED},
    **{f"{split}_true_probability": (("<f4",), 1) for split in SCORED},
    "valid_losses": (LOSS_TYPES, 2),
    "valid_right_bits": (("|u1",), 2),
}
SPLIT_ARRAYS = {f"{split}_{name}": (("<i8",), 1) for split in SCORED for name in ("index", "labels")}

ArrayReader = Callable[[str, tuple[int | None, ...]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class RunOutput:
    """The output of a finished run.

    Attributes:
        record: JSON-ready: history, kept_epoch, seconds, trained, machine.
        arrays: `RUN_ARRAYS`, each with a type of its own.
        split_arrays: `SPLIT_ARRAYS`: which samples were scored, and their labels.
        model: the model file of the kept network, b"" if it was not asked for.
    """

    record: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    split_arrays: Mapping[str, NDArray[Any]]
    model: bytes = field(default=b"", repr=False)


def output_bytes(output: RunOutput) -> bytes:
    """Return everything of an output except its record as the bytes of an .npz file."""
    buffer = io.BytesIO()
    model = np.frombuffer(output.model, np.uint8)
    np.savez(buffer, allow_pickle=False, model=model, **output.arrays, **output.split_arrays)
    return buffer.getvalue()


def output_from(record: dict[str, Any], content: bytes) -> RunOutput:
    """Return the output with this record and these `output_bytes`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return RunOutput(
            record,
            {name: arrays[name] for name in RUN_ARRAYS},
            {name: arrays[name] for name in SPLIT_ARRAYS},
            arrays["model"].tobytes(),
        )


def kept_from(record: Mapping[str, Any]) -> tuple[EpochRecord, int, float]:
    """Return the kept epoch of a stored record, the number of epochs and the seconds; raises as `result_from`.

    The other epochs are not checked, so this is much faster than `record_from`.
    """
    history, kept = record["history"], record["kept_epoch"]
    if not isinstance(history, list) or not isinstance(kept, int) or not 1 <= kept <= len(history):
        raise ValueError(f"keeps epoch {short(kept)}, which it does not have")
    return _epoch_record(history[kept - 1], kept), len(history), _number(record["seconds"])


def record_from(record: Mapping[str, Any]) -> RunRecord:
    """Return a stored record, checked; raises as `result_from`."""
    history = tuple(_epoch_record(values, number) for number, values in enumerate(record["history"], start=1))
    kept = record["kept_epoch"]
    if not history or not isinstance(kept, int) or not 1 <= kept <= len(history):
        raise ValueError(f"keeps epoch {short(kept)} of {len(history)}")
    return RunRecord(history, kept, _number(record["seconds"]), str(record["trained"]), dict(record["machine"]))


def result_from(
    record: Mapping[str, Any], array: ArrayReader, split_arrays: Mapping[str, NDArray[Any]], facts: DataFacts
) -> RunResult:
    """Return a stored output, with every value checked.

    Args:
        record: as in `RunOutput`.
        array: called with a name of `RUN_ARRAYS` and the expected shape; returns the stored array.
        split_arrays: `SPLIT_ARRAYS`.
        facts: the samples that positions and labels refer to.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: something is not as a worker writes it.
    """
    read = record_from(record)
    n_epochs, n_valid = len(read.history), len(split_arrays["valid_index"])
    correct = np.unpackbits(array("valid_right_bits", (n_epochs, -(-n_valid // 8))), axis=1, count=n_valid)
    return RunResult(
        **vars(read),
        valid=_predictions("valid", array, split_arrays, facts),
        test=_predictions("test", array, split_arrays, facts),
        valid_losses=array("valid_losses", (n_epochs, n_valid)),
        valid_correct=correct.astype(bool),
    )


def epoch_list(record: EpochRecord) -> list[Any]:
    """Return an epoch as a record stores it: seconds, then for each split its scores or None."""
    scores = [record.scores(split) for split in SPLITS]
    return [record.seconds, *(None if one is None else list(asdict(one).values()) for one in scores)]


def _epoch_record(values: Any, number: int) -> EpochRecord:
    """Return the stored record of an epoch, checked."""
    seconds, *scores = values
    train, valid, test = (None if one is None else _scores(*map(_number, one)) for one in scores)
    if train is None:
        raise ValueError(f"epoch {number} has no training scores")
    return EpochRecord(number, train, valid, test, _number(seconds))


def _scores(loss: float, accuracy: float, printed_loss: float) -> Scores:
    """Return stored scores, checked."""
    if not 0.0 <= accuracy <= 1.0:
        raise ValueError(f"an accuracy is {accuracy}")
    return Scores(loss, accuracy, printed_loss)


def _number(value: Any) -> float:
    """Return a stored value as a float; raises ValueError unless it is a finite number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{short(value)} is not a finite number")
    return float(value)


def _predictions(
    split: str, array: ArrayReader, split_arrays: Mapping[str, NDArray[Any]], facts: DataFacts
) -> LabeledPredictions | None:
    """Return the stored predictions for a split, checked, or None if the split is empty."""
    labels, index = split_arrays[f"{split}_labels"], split_arrays[f"{split}_index"]
    if not len(index):
        return None
    found = LabeledPredictions(
        labels=labels,
        predicted=array(f"{split}_predicted", index.shape).astype(np.int64),
        confidence=array(f"{split}_confidence", index.shape),
        true_probability=array(f"{split}_true_probability", index.shape),
        index=index,
    )
    ends = {"index": facts.samples, "labels": len(facts.class_names), "predicted": len(facts.class_names)}
    for name, end in ends.items():
        _check_range(f"{split}_{name}", getattr(found, name), 0, end - 1)
    for name in ("confidence", "true_probability"):
        _check_range(f"{split}_{name}", getattr(found, name), 0.0, 1.0 + 1e-6)  # which rounding may exceed a little
    return found


def _check_range(name: str, values: NDArray[Any], low: float, high: float) -> None:
    """Raise ValueError if a value lies outside low to high."""
    if not ((values >= low) & (values <= high)).all():
        raise ValueError(f"{name} has values outside {low} to {high:g}")


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return an array of numbers as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(content: bytes, name: str, dtypes: Sequence[str], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return the array in the bytes of a .npy file; no memory is allocated before it is checked.

    Args:
        content: what `array_bytes` returned.
        name: what the array is called in messages.
        dtypes: the types that it may have.
        shape: the shape that it must have; None stands for any length.

    Raises:
        ValueError: the content is anything else.
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
