"""What a unit's training gave, as it travels from a worker to the store: a JSON-ready record, arrays, a model file.

`train_unit` or, of several at a time, `train_units` makes it and `result_from` reads it back as a `UnitResult`; every
runner uses them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.artifacts.model_file import model_bytes
from chalknet.artifacts.sample_losses import LOSS_TYPES, kept_losses
from chalknet.data.dataset import Dataset
from chalknet.data.splits import Splits
from chalknet.errors import ChalknetError, ConfigError
from chalknet.machine.blas import one_blas_thread
from chalknet.machine.facts import machine_facts
from chalknet.network.model import Classifier
from chalknet.records import PARTS, EpochRecord, Scores
from chalknet.studies.cells import Unit
from chalknet.studies.encoding import packed_bits, unpacked_bits
from chalknet.studies.results import Predictions, UnitRecord, UnitResult
from chalknet.studies.space import divide, own_splits
from chalknet.studies.unfinished import UnitCheckpoint
from chalknet.training.together import StackObserver, run_together
from chalknet.training.trainer import Observer, Run, Trainer, device_of, how_trained, run_epochs
from chalknet.version import __version__

ROWS_AT_ONCE = 4096
JUDGED = ("valid", "test")
# name -> (types, dimensions) of what is stored for a unit, and once for a division; see docs/file_formats.md
UNIT_ARRAYS = {
    **{f"{part}_predicted": (("<i4",), 1) for part in JUDGED},
    **{f"{part}_confidence": (("<f4",), 1) for part in JUDGED},
    **{f"{part}_true_probability": (("<f4",), 1) for part in JUDGED},
    "valid_losses": (LOSS_TYPES, 2),
    "valid_right_bits": (("|u1",), 2),
}
DIVISION_ARRAYS = {f"{part}_{name}": (("<i8",), 1) for part in JUDGED for name in ("index", "labels")}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished training.

    Attributes:
        record: JSON-ready: history, kept_epoch, seconds, trained, machine.
        arrays: `UNIT_ARRAYS`, each in a type of its own.
        division: `DIVISION_ARRAYS`: which samples were judged, and what they are.
        model: the kept network's file, b"" where it was not asked for.
    """

    record: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    division: Mapping[str, NDArray[Any]]
    model: bytes = field(default=b"", repr=False)


def train_unit(
    data: Dataset,
    unit: Unit,
    *,
    threads: int,
    trained: str,
    with_model: bool = False,
    observe: Observer | None = None,
    unfinished: Path | None = None,
) -> Outcome:
    """Trains one unit, and looks at every validation and test image with the kept network.

    Results do not depend on threads: products run on one BLAS thread each.

    Args:
        trained: how units are run, in words, for the record.
        unfinished: a folder for its checkpoint, from which it goes on if one is there; not made if it is not there.
    Raises:
        ChalknetError: the unit cannot be trained, or its loss stopped being finite.
    """
    recipe = unit.cell.recipe_of(unit.seed)
    splits = own_splits(data, unit.cell, divide(data, unit.cell, unit.seed))
    trainer = Trainer(data, splits, recipe, workers=threads, keep_samples=True)
    run = _trained(trainer, unit, unfinished, observe)
    return _outcome(run, unit, f"{trainer.how}, {trained}", with_model)


def train_units(
    data: Dataset,
    units: Sequence[Unit],
    ended: Callable[[int, Outcome | ChalknetError], None],
    *,
    threads: int,
    trained: str,
    with_model: Sequence[bool],
    observe: StackObserver | None = None,
) -> None:
    """Train several runs in one stack, and hand over each as soon as it is finished.

    The outcome of a run is that of `train_unit` to rounding, but for its seconds: they are those of the stack, divided
    by its runs.

    Args:
        ended: called with a run's position and its outcome, or the error that ended it.
        trained, with_model, observe: as of `train_unit`, the second for each run, the last called with the run's
            position. Neither `ended` nor `observe` is called by two threads at a time.
    Raises:
        ConfigError: the runs cannot be trained in one stack.
    """
    if len({parts_key(unit) for unit in units}) > 1:
        raise ConfigError("runs with different splits cannot be trained in one stack.")
    splits = own_splits(data, units[0].cell, divide(data, units[0].cell, units[0].seed))
    recipes = [unit.cell.recipe_of(unit.seed) for unit in units]
    training = recipes[0].training
    how = f"{how_trained(training, device_of(training))}, in a stack of {len(units)}, {trained}"
    lock = threading.Lock()  # between the thread that trains and those that hand over finished runs
    looks: list[Future[None]] = []

    def hand_over(number: int, end: Run | ChalknetError) -> None:
        result = _outcome(end, units[number], how, with_model[number]) if isinstance(end, Run) else end
        with lock:
            ended(number, result)

    def show(number: int, record: EpochRecord) -> None:
        for look in [look for look in looks if look.done()]:
            looks.remove(look)
            look.result()  # raises what it failed with
        if observe is not None:
            with lock:
                observe(number, record)

    # While a GPU trains, this process's cores are idle, and to predict all samples takes them longer than it to train.
    # Threads limit the BLAS and free it again in any order, so it is limited around all of them.
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            run_together(
                data,
                splits,
                recipes,
                lambda number, end: looks.append(pool.submit(hand_over, number, end)),
                observe=show,
                threads=threads,
                keep_samples=True,
            )
            for look in looks:
                look.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def parts_key(unit: Unit) -> Hashable:
    """What decides which samples a unit has in which part."""
    return unit.cell.division_of(unit.seed), unit.cell.recipe.split.train_size


def _trained(trainer: Trainer, unit: Unit, unfinished: Path | None, observe: Observer | None) -> Run:
    """All epochs of a unit, those before its checkpoint left out; one that fails would fail from there again."""
    if unfinished is None:
        return run_epochs(trainer, observe)
    kept = UnitCheckpoint(unfinished, unit)
    try:
        run = run_epochs(trainer, observe, start=kept.read(), keep=kept)
    except ChalknetError:
        kept.clear()
        raise
    kept.clear()
    return run


def _outcome(run: Run, unit: Unit, trained: str, with_model: bool) -> Outcome:
    data, splits = run.data, run.splits
    record = {
        "history": [_epoch_list(one) for one in run.history],
        "kept_epoch": run.kept_epoch,
        "seconds": run.seconds,
        "trained": trained,
        "machine": machine_facts(),
    }
    arrays: dict[str, NDArray[Any]] = {}
    with one_blas_thread():
        for part in JUDGED:
            arrays |= _predictions(run.network, data, part, splits.named()[part])
    n_valid = len(splits.valid)
    losses = [each.loss for each in run.valid_samples]
    right = [each.right for each in run.valid_samples]
    arrays["valid_losses"] = kept_losses(np.stack(losses) if n_valid else np.zeros((len(run.history), 0)))
    arrays["valid_right_bits"] = packed_bits(np.stack(right) if n_valid else np.zeros((len(run.history), 0), bool))
    return Outcome(record, arrays, _division(data, splits), _model(run, unit) if with_model else b"")


def result_from(
    record: Mapping[str, Any], array: Callable[[str, tuple[int | None, ...]], NDArray[Any]], division: Mapping[str, Any]
) -> UnitResult:
    """A stored outcome as it is read.

    Args:
        record: as in `Outcome`.
        array: gives one of `UNIT_ARRAYS` of a shape.
        division: `DIVISION_ARRAYS`.
    Raises:
        ValueError, KeyError, TypeError: anything is not what it should be.
    """
    read = record_from(record)
    n_epochs, n_valid = len(read.history), len(division["valid_index"])
    right = unpacked_bits(array("valid_right_bits", (n_epochs, -(-n_valid // 8))), n_valid)
    return UnitResult(
        **vars(read),
        valid=_read_predictions("valid", array, division),
        test=_read_predictions("test", array, division),
        valid_losses=array("valid_losses", (n_epochs, n_valid)),
        valid_right=right,
    )


def record_from(record: Mapping[str, Any]) -> UnitRecord:
    """A stored record as it is read; errors as `result_from`."""
    history = tuple(_epoch_record(values, number) for number, values in enumerate(record["history"], start=1))
    kept = record["kept_epoch"]
    if not history or not isinstance(kept, int) or not 1 <= kept <= len(history):
        raise ValueError(f"keeps epoch {kept!r} of {len(history)}")
    return UnitRecord(history, kept, float(record["seconds"]), str(record["trained"]), dict(record["machine"]))


def kept_scores(record: Mapping[str, Any]) -> Scores | None:
    """The validation scores at the kept epoch of a stored record; None without a validation part."""
    kept = record["kept_epoch"]
    return _epoch_record(record["history"][kept - 1], kept).valid


def _predictions(network: Classifier, data: Dataset, part: str, index: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    # Some at a time, as the samples may be more than memory holds; a multiple of what the network itself takes at once.
    starts = range(0, max(len(index), 1), ROWS_AT_ONCE)
    probabilities = np.concatenate([network.predict_proba(data.inputs[index[s : s + ROWS_AT_ONCE]]) for s in starts])
    rows = np.arange(len(index))
    predicted = probabilities.argmax(axis=1)
    return {
        f"{part}_predicted": predicted.astype("<i4"),
        f"{part}_confidence": probabilities[rows, predicted].astype("<f4"),
        f"{part}_true_probability": probabilities[rows, data.labels[index]].astype("<f4"),
    }


def _division(data: Dataset, splits: Splits) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for part in JUDGED:
        index = splits.named()[part]
        found |= {f"{part}_index": index.astype("<i8"), f"{part}_labels": data.labels[index].astype("<i8")}
    return found


def _model(run: Run, unit: Unit) -> bytes:
    facts = {
        "chalknet": __version__,
        "recipe": run.recipe.name,
        "cell": unit.cell.label,
        "seed": unit.seed,
        "samples": run.splits.sizes,
        "epochs": len(run.history),
        "kept": run.kept_epoch,
        "data_sha256": run.data.sha256,
    }
    return model_bytes(run.network, facts)


def _epoch_list(record: EpochRecord) -> list[Any]:
    """Seconds, then for each part its scores or null."""
    scores = [record.part(part) for part in PARTS]
    return [record.seconds, *(None if one is None else list(asdict(one).values()) for one in scores)]


def _epoch_record(values: Any, number: int) -> EpochRecord:
    seconds, *parts = values
    train, valid, test = (None if one is None else Scores(*map(float, one)) for one in parts)
    if train is None:
        raise ValueError(f"epoch {number} has no training scores")
    return EpochRecord(number, train, valid, test, float(seconds))


def _read_predictions(
    part: str, array: Callable[[str, tuple[int | None, ...]], NDArray[Any]], division: Mapping[str, Any]
) -> Predictions | None:
    labels, index = division[f"{part}_labels"], division[f"{part}_index"]
    if not len(index):
        return None
    return Predictions(
        labels=labels,
        predicted=array(f"{part}_predicted", index.shape).astype(np.int64),
        confidence=array(f"{part}_confidence", index.shape),
        true_probability=array(f"{part}_true_probability", index.shape),
        index=index,
    )
