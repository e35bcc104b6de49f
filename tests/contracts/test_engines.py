"""What every engine must do: the numbers of the slow loops, and the manners of engines/engine.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import loop_cross_entropy, loop_forward, loop_gradients
from strategies import named, networks

from chalknet.engines.engine import Part
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.reference import ReferenceEngine
from chalknet.training.optimizers import Momentum

ENGINES = [ReferenceEngine, NumpyEngine]
RULE = Momentum(learning_rate=0.05, momentum=0.5)


def made(engine, case, **options):
    weights, biases, x, labels = case
    parts = {"train": Part(x, labels), "valid": Part(x[:1], labels[:1]), "test": Part(x[:0], labels[:0])}
    return engine(parts, named(weights, biases), RULE, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@given(case=networks(), batch_size=st.integers(1, 9))
def test_two_epochs_equal_the_slow_loops(engine, reduction, case, batch_size):
    weights, biases, x, labels = case
    runner = made(engine, case, reduction=reduction, dtype=np.float64)
    velocity = [np.zeros_like(w) for w in weights]
    for _ in range(2):
        batches = [np.arange(len(x))[i : i + batch_size] for i in range(0, len(x), batch_size)]
        scores, losses = runner.train_epoch(batches), []
        for batch in batches:
            losses += [loop_cross_entropy(loop_forward(weights, biases, x[batch]), labels[batch])] * len(batch)
            grad_weights, grad_biases = loop_gradients(weights, biases, x[batch], labels[batch], reduction)
            velocity = [0.5 * v + 0.05 * g for v, g in zip(velocity, grad_weights, strict=True)]
            weights = [w - v for w, v in zip(weights, velocity, strict=True)]
            biases = [b - 0.05 * g for b, g in zip(biases, grad_biases, strict=True)]
        assert scores.loss == pytest.approx(np.mean(losses), rel=1e-9)
    for name, want in named(weights, biases).items():
        np.testing.assert_allclose(runner.parameters()[name], want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_a_slice_is_the_same_batch_as_its_positions(engine, case):
    one, two = made(engine, case), made(engine, case)
    assert one.train_epoch([slice(0, len(case[2]))]) == two.train_epoch([np.arange(len(case[2]))])


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_evaluation_changes_nothing_and_an_empty_part_has_no_scores(engine, case):
    runner = made(engine, case)
    before = runner.parameters()
    assert runner.evaluate("valid") == runner.evaluate("valid")
    assert runner.evaluate("test") is None
    assert runner.evaluate("nothing of that name") is None
    assert all((runner.parameters()[name] == before[name]).all() for name in before)


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_the_scores_of_a_part_are_the_means_of_its_samples(engine, case):
    weights, biases, x, labels = case
    runner = made(engine, case, dtype=np.float64)
    each, whole = runner.evaluate_each("train"), runner.evaluate("train")
    losses = [loop_cross_entropy(loop_forward(weights, biases, x[[n]]), labels[[n]]) for n in range(len(x))]
    np.testing.assert_allclose(each.loss, losses, rtol=1e-9, atol=1e-9)
    assert each.right.dtype == bool
    assert (each.loss.mean(), each.right.mean()) == pytest.approx((whole.loss, whole.accuracy), rel=1e-12)
    assert runner.evaluate_each("test") is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(case=networks())
def test_a_restored_engine_goes_on_with_the_same_bits(engine, dtype, case):
    whole, other = made(engine, case, dtype=dtype), made(engine, case, dtype=dtype)
    batches = [slice(0, len(case[2]))]
    whole.train_epoch(batches)
    other.restore(whole.parameters(), whole.state())
    assert whole.train_epoch(batches) == other.train_epoch(batches)
    assert all((whole.parameters()[name] == other.parameters()[name]).all() for name in whole.parameters())
    assert all(value.dtype == dtype for value in whole.parameters().values())


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_what_is_given_out_and_taken_in_is_a_copy(engine, case):
    weights, biases, x, labels = case
    parameters = named(weights, biases)
    kept = {name: value.copy() for name, value in parameters.items()}
    runner = engine({"train": Part(x, labels)}, parameters, RULE)
    runner.train_epoch([slice(0, len(x))])
    assert all((parameters[name] == kept[name]).all() for name in kept)
    given_out = runner.parameters()
    for value in given_out.values():
        value += 1
    assert not any((runner.parameters()[name] == given_out[name]).any() for name in given_out)
