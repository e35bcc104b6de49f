"""A network trained over several shards equals one trained in one place, to rounding."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from conftest import made_images
from hypothesis import given
from hypothesis import strategies as st

from chalknet.config import Recipe
from chalknet.data.load import load_data
from chalknet.data.on_disk import OnDiskSamples
from chalknet.data.splits import split_dataset
from chalknet.engines import numpy_engine
from chalknet.engines.sharded import LocalShards, ShardLayout
from chalknet.errors import ConfigError
from chalknet.training.trainer import Trainer
from chalknet.workflows.data import convert

DATA = made_images(400, seed=7)
SPLITS = split_dataset(DATA, "random", 300, 60)
BASE = Recipe().with_settings(
    hidden=[13, 7], epochs=20, dtype="float64", learning_rate=0.01, momentum=0.9, reduction="mean", tile_rows=40
)
# Features that depend on the position of a sample in its batch, or on the whole gradient.
FEATURES = {
    "plain": {},
    "a sum": {"reduction": "sum", "learning_rate": 1e-4},
    "dropout": {"dropout": 0.3, "input_dropout": 0.2},
    "images": {"shift_pixels": 1, "rotation_degrees": 15, "erase": 0.4},
    "penalties": {"l2": 0.02, "clip_norm": 0.1, "label_smoothing": 0.1},
    "weights": {"class_weights": [1.0, 2.0, 0.5, 3.0]},
    "a sum with a penalty": {"reduction": "sum", "learning_rate": 1e-4, "l2": 0.02},
    "adamw and average": {"optimizer": "adamw", "weight_decay": 0.1, "weight_average": 0.9, "schedule": "one_cycle"},
    "layers": {
        "layers": [
            {"type": "periodic_embedding", "columns": 9, "learning_rate_multiplier": 0.1}, "scale",
            {"type": "piecewise_linear_embedding", "columns": 7, "bins": 4},
            {"type": "category_embedding", "groups": [10, 4]},
            {"type": "dense", "units": 9, "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1},
            {"type": "parametric_activation", "activation": "selu"}, {"type": "dropout", "rate": 0.3},
        ],
        "optimizer": "adam", "dropout_schedule": "flat_cos",
    },
}  # fmt: skip


def trained(data, splits, recipe, shards, **more):
    trainer = Trainer(data, splits, recipe, shards=shards, **more)
    return list(trainer.epochs()), trainer


def assert_equal_to_rounding(one, other, tolerance=1e-6):
    (records, trainer), (want, whole) = one, other
    for mine, theirs in zip(records, want, strict=True):
        for part in ("train", "valid", "test"):
            got, expected = mine.scores(part), theirs.scores(part)
            assert (got is None) == (expected is None)
            if got is not None:
                assert vars(got) == pytest.approx(vars(expected), rel=tolerance)
    mine, theirs = trainer.checkpoint(), whole.checkpoint()
    for found, expected in ((mine.parameters, theirs.parameters), (mine.state, theirs.state)):
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("batch_size", ["full", 32])
@pytest.mark.parametrize("name", FEATURES)
def test_three_shards_equal_one_place_over_twenty_epochs(name, batch_size):
    recipe = BASE.with_settings(batch_size=batch_size, **FEATURES[name])
    sharded, whole = (trained(DATA, SPLITS, recipe, shards) for shards in (LocalShards(3), None))
    assert_equal_to_rounding(sharded, whole, 1e-6 if name == "adamw and average" else 1e-9)


@pytest.mark.parametrize("batch_size", ["full", 32, 1])
@pytest.mark.parametrize("n_shards", [1, 2, 7])
def test_any_number_of_shards_and_short_windows(n_shards, batch_size):
    recipe = BASE.with_settings(batch_size=batch_size, shuffle_window=70, epochs=3, dropout=0.3, shift_pixels=1)
    assert_equal_to_rounding(*(trained(DATA, SPLITS, recipe, s) for s in (LocalShards(n_shards), None)))


def test_more_shards_than_samples_leave_some_empty():
    data = made_images(12, seed=0)
    splits = split_dataset(data, "random", 8, 2)
    recipe = BASE.with_settings(epochs=2, batch_size=4)
    assert_equal_to_rounding(*(trained(data, splits, recipe, s) for s in (LocalShards(11), None)))


@pytest.mark.parametrize("batch_size", ["full", 32])
def test_shards_read_their_stored_samples_once_per_epoch(tmp_path, monkeypatch, batch_size):
    monkeypatch.setattr(numpy_engine, "RESIDENT_BYTES", 0)
    monkeypatch.setattr("chalknet.artifacts.dataset_files.SHARD_SAMPLES", 150)
    convert(DATA, tmp_path / "set", "shards")
    data, splits = load_data(tmp_path / "set"), split_dataset(DATA, "random", 280, 60)
    recipe = BASE.with_settings(batch_size=batch_size, shuffle_window=70, epochs=3)
    trainer = Trainer(data, splits, recipe, shards=LocalShards(3))
    taken, take = [], OnDiskSamples.take
    monkeypatch.setattr(OnDiskSamples, "take", lambda self, at: taken.append(at) or take(self, at))
    epochs = trainer.epochs()
    next(epochs)
    of_training = np.concatenate(taken)
    assert sorted(of_training[np.isin(of_training, splits.train)]) == sorted(splits.train)
    list(epochs)
    assert_equal_to_rounding((trainer.history, trainer), trained(DATA, splits, recipe, None))


def test_stored_samples_are_pickled_as_paths(tmp_path, monkeypatch):
    convert(DATA, tmp_path / "set", "npy")
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(load_data("set").inputs)
    assert len(sent) < 2000
    monkeypatch.chdir("/")
    assert (pickle.loads(sent)[:] == DATA.inputs).all()


def test_a_checkpoint_moves_between_one_place_and_shards():
    recipe = BASE.with_settings(batch_size=32, epochs=6, optimizer="adam", weight_average=0.9)
    whole = trained(DATA, SPLITS, recipe, None)
    for first, second in ((LocalShards(2), None), (None, LocalShards(3)), (LocalShards(2), LocalShards(4))):
        begun = Trainer(DATA, SPLITS, recipe, shards=first)
        for record in begun.epochs():
            if record.epoch == 3:
                break
        on = Trainer(DATA, SPLITS, recipe, shards=second)
        on.load_checkpoint(begun.checkpoint())
        list(on.epochs())
        assert_equal_to_rounding((on.history, on), whole)


def test_sample_scores_are_in_the_order_of_the_split():
    recipe = BASE.with_settings(epochs=1, shuffle_window=70, batch_size=32)
    (_, shared), (_, whole) = (
        trained(DATA, SPLITS, recipe, s, keep_sample_scores=True) for s in (LocalShards(3), None)
    )
    for part in ("train", "valid", "test"):
        got, want = shared.engine.evaluate_samples(part), whole.engine.evaluate_samples(part)
        np.testing.assert_allclose(got.loss, want.loss, rtol=1e-9)
        assert (got.correct == want.correct).all()
    assert shared.engine.evaluate("nothing of that name") is None
    assert shared.engine.evaluate_samples("nothing of that name") is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_norm": True}, "batch_norm"),
        ({"mixup": 0.2}, "mixup"),
        ({"engine": "reference"}, "need the numpy engine"),
    ],
)
def test_shards_refuse_what_needs_a_whole_batch(settings, said):
    with pytest.raises(ConfigError, match=said):
        Trainer(DATA, SPLITS, BASE.with_settings(**settings), shards=LocalShards(2))


@given(n=st.integers(1, 60), n_shards=st.integers(1, 9), window=st.integers(1, 70), seed=st.integers(0, 99))
def test_a_layout_gives_every_sample_to_one_shard(n, n_shards, window, seed):
    layout = ShardLayout(n, n_shards, window)
    owned = [layout.positions(k) for k in range(n_shards)]
    assert sorted(np.concatenate(owned)) == list(range(n))
    batch = np.random.default_rng(seed).permutation(n)[: max(1, n // 2)]
    found = 0
    for some in (batch, slice(n // 3, n)):
        for k in range(n_shards):
            rows, batch_positions = layout.locate(some, k)
            assert (owned[k][rows] == np.arange(n)[some][batch_positions]).all()
            assert (np.diff(batch_positions) > 0).all()
            found += len(rows)
    assert found == len(batch) + n - n // 3
