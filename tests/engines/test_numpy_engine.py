"""The numpy engine: tiles, accumulators, blocks and threads change no number."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import made_images
from specs import make_engine
from strategies import updates

from chalknet.data.preprocess import Scaling, flatten
from chalknet.engines import numpy_engine
from chalknet.engines.batches import even_slices
from chalknet.engines.engine import SplitData
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.numpy_kernels import ACTIVATION_FUNCTIONS
from chalknet.engines.reference import ReferenceEngine
from chalknet.engines.thread_pool import ThreadPool
from chalknet.errors import ConfigError
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Momentum

DATA = made_images(330, seed=2, shape=(7, 6))
X, LABELS = flatten(DATA.inputs), DATA.labels
SPLIT_DATA = {
    "train": SplitData(X[:250], LABELS[:250]),
    "valid": SplitData(X[250:290], LABELS[250:290]),
    "test": SplitData(X[290:], LABELS[290:]),
}


def epochs(engine, hidden, batch_size, n_epochs=3, **options):
    """Return the scores of all splits after each epoch, and the engine."""
    start = initial_parameters(Architecture(42, hidden, 4), seed=1)
    optimizer = Momentum(momentum=0.9)
    runner = make_engine(engine, SPLIT_DATA, start, optimizer, scaling=Scaling(255.0), **options)
    order = np.random.default_rng(0).permutation(250)
    batches = (
        [slice(0, 250)] if batch_size == "full" else [order[i : i + batch_size] for i in range(0, 250, batch_size)]
    )
    seen = [
        (runner.train_epoch(updates(batches, 0.01)), runner.evaluate("valid"), runner.evaluate("test"))
        for _ in range(n_epochs)
    ]
    return seen, runner


@pytest.fixture
def narrow_blocks(monkeypatch):
    """Make blocks and bands so narrow that small networks are shared among threads as large ones are."""
    monkeypatch.setattr(numpy_engine, "BLOCK_UNITS", 3)
    monkeypatch.setattr(numpy_engine, "BAND_VALUES", 20)
    monkeypatch.setattr(numpy_engine, "MAX_ACCUMULATORS", 3)


BATCHES = [
    ("full", 1000),  # one tile
    ("full", 40),  # seven tiles, added up in accumulators
    (64, 1000),  # small steps
    (64, 20),  # batches that are themselves cut, the last one shorter
    (1, 1000),  # one sample at a time
]


@pytest.mark.usefixtures("narrow_blocks")
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("batch_size", "tile_rows"), BATCHES)
@pytest.mark.parametrize("hidden", [(8,), (9, 5), (6, 7, 4)])
def test_every_kind_of_batch_equals_the_reference(hidden, batch_size, tile_rows, reduction):
    want, reference = epochs(ReferenceEngine, hidden, batch_size, objective=Objective(reduction))
    got, engine = epochs(
        NumpyEngine,
        hidden,
        batch_size,
        objective=Objective(reduction),
        dtype=np.float64,
        tile_rows=tile_rows,
        threads=2,
    )
    for mine, theirs in zip(np.ravel(got), np.ravel(want), strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-9, abs=1e-12)
        assert mine.accuracy == pytest.approx(theirs.accuracy, rel=1e-12)
        assert mine.printed_loss == pytest.approx(theirs.printed_loss, rel=1e-9, abs=1e-9)
    for name, value in reference.parameters().items():
        np.testing.assert_allclose(engine.parameters()[name], value, rtol=1e-9, atol=1e-9)
    for name, value in reference.state().items():
        np.testing.assert_allclose(engine.state()[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hidden", [(8,), (9, 5)])
@pytest.mark.parametrize("batch_size", ["full", 64])
def test_a_float32_step_is_within_the_rounding_of_sums(hidden, batch_size):
    """A sum of n float32 products is off by at most about n units in the last place of its terms (Higham, 2002, 3.1).

    The longest sums here run over 250 samples, those of the products over 42 inputs: 2**-24 (250 + 42) = 1.7e-5 of the
    largest gradient; a step moves a weight by the learning rate times that.
    """
    _, reference = epochs(ReferenceEngine, hidden, batch_size, n_epochs=1)
    _, engine = epochs(NumpyEngine, hidden, batch_size, n_epochs=1, dtype=np.float32)
    for name, value in reference.parameters().items():
        assert np.abs(engine.parameters()[name] - value).max() < 2**-24 * (250 + 42) * max(1.0, np.abs(value).max())


@pytest.mark.usefixtures("narrow_blocks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("batch_size", "tile_rows"), BATCHES)
@pytest.mark.parametrize("hidden", [(8,), (9, 5)])
def test_any_number_of_threads_gives_the_same_bits(hidden, batch_size, tile_rows, dtype):
    options = {"tile_rows": tile_rows, "dtype": dtype}
    want, first = epochs(NumpyEngine, hidden, batch_size, threads=1, **options)
    for threads in (2, 3, 5):
        got, engine = epochs(NumpyEngine, hidden, batch_size, threads=threads, **options)
        assert got == want
        assert all((engine.parameters()[name] == value).all() for name, value in first.parameters().items())


@pytest.mark.parametrize(("batch_size", "tile_rows"), BATCHES)
def test_samples_converted_by_tile_give_the_same_bits(monkeypatch, batch_size, tile_rows):
    want, _ = epochs(NumpyEngine, (8,), batch_size, tile_rows=tile_rows)
    monkeypatch.setattr(numpy_engine, "RESIDENT_BYTES", 0)
    got, _ = epochs(NumpyEngine, (8,), batch_size, tile_rows=tile_rows)
    assert got == want


def test_of_equal_logits_the_first_class_counts():
    start = {name: 0 * value for name, value in initial_parameters(Architecture(42, (3,), 4), 0).items()}
    engine = make_engine(NumpyEngine, SPLIT_DATA, start, Momentum(0.9))
    assert engine.evaluate("valid").accuracy == np.mean(SPLIT_DATA["valid"].labels == 0)


@pytest.mark.parametrize(
    ("n", "most", "sizes"), [(10, 4, [3, 4, 3]), (4, 4, [4]), (5, 4, [2, 3]), (1, 9, [1]), (9, 1, [1] * 9)]
)
def test_even_slices_are_few_and_even(n, most, sizes):
    cuts = even_slices(n, most)
    assert sorted(cut.stop - cut.start for cut in cuts) == sorted(sizes)
    assert [cut.start for cut in cuts] == [0, *(cut.stop for cut in cuts[:-1])]
    assert cuts[-1].stop == n


def test_each_task_runs_once_and_errors_reach_the_caller():
    pool, seen = ThreadPool(3), []
    pool.run([lambda _, i=i: seen.append(i) for i in range(10)])
    assert sorted(seen) == list(range(10))
    for bad in range(4):

        def fail(_, i, bad=bad):
            if i == bad:
                raise ZeroDivisionError(str(i))

        with pytest.raises(ZeroDivisionError, match=str(bad)):
            pool.run([lambda n, i=i: fail(n, i) for i in range(4)])
    pool.run([lambda _: seen.append("after")])
    assert seen[-1] == "after"


def test_threads_end_with_their_pool():
    before = set(threading.enumerate())
    pool = ThreadPool(4)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    del pool
    gc.collect()
    for thread in started:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in started)


def test_threads_end_before_the_interpreter():
    """A thread that still runs could abort the process at its end, after all work is done."""
    script = (
        "import atexit, threading\n"
        "name = 'chalknet-worker'\n"
        "atexit.register(lambda: print(sum(t.name.startswith(name) for t in threading.enumerate())))\n"
        "from chalknet.engines.thread_pool import ThreadPool\n"
        "kept = ThreadPool(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_an_activation_without_a_kernel_names_another_engine(monkeypatch):
    monkeypatch.delitem(ACTIVATION_FUNCTIONS, "relu")
    said = r"^the numpy engine has no kernel for layers of type relu. Use engine='reference'.$"
    with pytest.raises(ConfigError, match=said):
        epochs(NumpyEngine, (3,), 50)
