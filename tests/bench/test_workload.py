"""The work itself: that chalknet's and the formulas' full epoch are the same mathematics."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from chalknet.bench import peer_work
from chalknet.bench.catalogue import N_IMAGES, N_TEST, N_TRAIN, N_VALID, parse_work
from chalknet.bench.peers import formulas, own
from chalknet.bench.workload import (
    FULL_MOMENTUM,
    FULL_RATE,
    STEPS,
    batches,
    letters,
    scaled_parts,
    start_weights,
    units_in_a_run,
)


def test_the_parts_are_the_write_ups():
    assert [len(labels) for _, labels in scaled_parts(np.float32)] == [N_TRAIN, N_VALID, N_TEST]
    assert len(letters()[1]) == N_IMAGES


@pytest.mark.parametrize("size", [32, 128, 300, 1000])
def test_all_batches_are_whole_and_walk_a_permutation(size):
    found = batches(size)
    assert [len(batch) for batch in found] == [size] * STEPS
    first = np.concatenate(found)[:N_TRAIN]
    assert len(set(first.tolist())) == len(first)


def test_a_unit_is_an_epoch_an_update_or_a_prediction():
    assert [units_in_a_run(parse_work(text)) for text in ("full 100", "step 32 16", "predict 10", "predict 1")] == [
        1,
        100,
        1,
        200,
    ]


def test_the_formulas_peer_does_the_write_ups_two_epochs(monkeypatch):
    """Against a loop of our own over the same letters, in which every sum is written out by einsum."""
    rng = np.random.default_rng(0)
    parts = [(rng.random((n, 784)), rng.integers(0, 10, n)) for n in (30, 4, 5)]
    monkeypatch.setattr(formulas, "scaled_parts", lambda _: parts)
    seen = []
    monkeypatch.setattr(formulas, "_scores", lambda p, labels: seen.append((p, labels)))
    run = formulas.formulas(parse_work("full 3"), 0)
    run()
    run()
    w_h, b_h, w_o, b_o = start_weights(parse_work("full 3"))
    v_h, v_o = 0.0, 0.0
    (x, y), (x_valid, _), _ = parts
    for _ in range(2):
        h = np.einsum("bi,fi->bf", x, w_h) + b_h
        o = np.einsum("bf,kf->bk", np.where(h > 0, h, 0), w_o) + b_o
        d_o = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
        d_o[np.arange(30), y] -= 1
        d_h = np.einsum("bk,kf->bf", d_o, w_o) * (h > 0)
        v_h = FULL_MOMENTUM * v_h + FULL_RATE * np.einsum("bf,bi->fi", d_h, x)
        v_o = FULL_MOMENTUM * v_o + FULL_RATE * np.einsum("bk,bf->kf", d_o, np.where(h > 0, h, 0))
        w_h, w_o = w_h - v_h, w_o - v_o
        b_h, b_o = b_h - FULL_RATE * d_h.sum(axis=0), b_o - FULL_RATE * d_o.sum(axis=0)
    o = np.maximum(x_valid @ w_h.T + b_h, 0) @ w_o.T + b_o
    expected = np.exp(o) / np.exp(o).sum(axis=1, keepdims=True)
    assert len(seen) == 6  # train before its update, valid and test after it, twice
    np.testing.assert_allclose(seen[4][0], expected, rtol=1e-10)  # sums in another order; a wrong step shows at 1e-6


def test_the_ceiling_is_the_products_time_at_the_product_rate(monkeypatch):
    monkeypatch.setattr(own, "product_rate", lambda _dtype, workers, _seconds: 1e9 * workers)
    run = own.ceiling(parse_work("full 100"), 2)
    assert run() == own.epoch_flop(100) / 2e9
    assert own.epoch_flop(1000) == pytest.approx(2 * 784 * 1000 * (18_724 + 15_000), rel=0.03)
    assert own.ceiling(parse_work("step 32 16"), 2) is None


def test_a_told_time_is_taken_and_any_other_run_is_timed(monkeypatch):
    assert peer_work.seconds_of(lambda: 0.25, 100) == 0.25
    ticks = iter(range(100))
    monkeypatch.setattr(peer_work, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    assert peer_work.seconds_of(lambda: None, 100) == pytest.approx(0.02)  # the clock ticks twice in one run


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system binds no process to cores")
@pytest.mark.parametrize(("threads", "cores"), [(1, 1), (0, None), (10_000, None)])
def test_a_peer_with_fewer_threads_than_cores_is_bound_to_as_many(threads, cores):
    code = f"import os; from chalknet.bench.peer_work import bind_to_cores; bind_to_cores({threads}); "
    code += "print(len(os.sched_getaffinity(0)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == (cores or len(os.sched_getaffinity(0)))
