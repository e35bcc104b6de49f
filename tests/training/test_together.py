"""A network of a pack is, bit for bit, the network trained alone."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import made_images
from packs import trained_alone, trained_together

from chalknet.config import Recipe
from chalknet.data.splits import split_dataset
from chalknet.engines import pack as pack_module
from chalknet.engines.pack_tile import is_same_side_by_side
from chalknet.errors import ConfigError, DivergenceError
from chalknet.training.together import order_of, pack_key, run_together
from chalknet.training.trainer import Run

DATA = made_images(460, seed=5, shape=(28, 28), n_classes=10)
SPLITS = split_dataset(DATA, "random", 300, 90, 0)
# 300 samples are batches of 128, 128 and 44, of which only the last is small enough for a BLAS's own small products.
BASE = Recipe().with_settings(
    hidden=[24], epochs=3, batch_size=128, batch_seed=1, learning_rate=0.02, momentum=0.9, reduction="mean"
)


def recipes(*settings, base=None):
    return [BASE.with_settings(**{**(base or {}), **one}) for one in settings]


def alone(recipe):
    return trained_alone(DATA, SPLITS, recipe)


def together(packed, **options):
    return trained_together(DATA, SPLITS, packed, **options)


def assert_same(end, want):
    """Equal bits of all that a training gives, but for the time that it took."""
    if isinstance(want, DivergenceError):
        assert str(end) == str(want)
        assert (end.run is None) == (want.run is None)
        if want.run is not None:
            assert_same(end.run, want.run)
        return
    assert isinstance(end, Run), end
    assert [(r.train, r.valid, r.test) for r in end.history] == [(r.train, r.valid, r.test) for r in want.history]
    assert end.kept_epoch == want.kept_epoch
    assert end.network.parameters.keys() == want.network.parameters.keys()
    for name, value in want.network.parameters.items():
        assert np.array_equal(end.network.parameters[name], value), name
    assert len(end.valid_samples) == len(want.valid_samples)
    for mine, theirs in zip(end.valid_samples, want.valid_samples, strict=True):
        assert np.array_equal(mine.loss, theirs.loss)
        assert np.array_equal(mine.right, theirs.right)


# What each network of a pack may have for itself; every list is one pack.
OWN = {
    "seed": [{"seed": n} for n in range(4)],
    "order": [{"seed": n, "batch_seed": n // 2} for n in range(4)],
    "width": [{"hidden": [n]} for n in (2, 7, 24, 33, 24)],
    "widths of two layers": [{"hidden": [n, m]} for n, m in ((24, 5), (24, 5), (24, 8), (9, 2))],
    "learning_rate": [{"learning_rate": rate} for rate in (0.001, 0.02, 0.3)],
    "schedule": [{"schedule": name, "warmup_epochs": 1} for name in ("constant", "step", "cosine", "one_cycle")],
    "momentum": [{"momentum": 0.5}, {"optimizer": "gradient_descent"}, {"optimizer": "nesterov"}],
    "bias_momentum": [{"bias_momentum": True}, {}],
    "adam's numbers": [{"optimizer": "adam", "learning_rate": 1e-3, "beta1": b, "beta2": b} for b in (0.5, 0.9)],
    "weight_decay": [{"weight_decay": decay} for decay in (0, 0.1)],
    "weight_average": [{"weight_average": share} for share in (0.5, 0.9)],
    "clip_norm": [{"clip_norm": most} for most in (0, 0.05, 0.5)],
    "dropout": [{"dropout": rate, "batch_seed": n} for n, rate in enumerate((0, 0.2, 0.5))],
    "l2": [{"l2": strength} for strength in (0, 0.01)],
    "reduction": [{"reduction": "sum", "learning_rate": 1e-4, "l2": 0.01}, {"l2": 0.01}],
    "label_smoothing": [{"label_smoothing": share} for share in (0, 0.1)],
    "class_weights": [{"class_weights": "balanced"}, {}],
    "initialiser": [{"initialiser": name} for name in ("writeup", "he_normal", "glorot_uniform")],
    "epochs": [{"epochs": n} for n in (4, 1, 2)],
    "stopping": [
        {"epochs": 6, "stop_early": True, "patience": n, "learning_rate": rate, "monitor": "valid_accuracy"}
        for n, rate in ((1, 0.5), (2, 1.0), (3, 1e-9))
    ],
    "divergence": [{"learning_rate": rate, "epochs": 4} for rate in (0.02, 1e30, 5.0)],
}  # fmt: skip


@pytest.mark.parametrize("batch_size", [128, "full", 32])
@pytest.mark.parametrize("field", OWN)
def test_each_network_of_a_pack_has_the_bits_that_it_has_alone(field, batch_size):
    packed = recipes(*OWN[field], base={"batch_size": batch_size})
    for end, recipe in zip(together(packed), packed, strict=True):
        assert_same(end, alone(recipe))


@pytest.mark.parametrize("what", [{"activation": "gelu"}, {"dtype": "float64"}, {"input_scaling": "standard"}])
def test_what_a_pack_has_in_common_may_be_anything_that_it_takes(what):
    packed = recipes({"seed": 1, "dropout": 0.1}, {"seed": 2, "hidden": [17]}, base=what)
    for end, recipe in zip(together(packed), packed, strict=True):
        assert_same(end, alone(recipe))


@pytest.mark.parametrize("batch_size", [299, 150, "full"])
@pytest.mark.parametrize("tile_rows", [299, 40])
def test_batches_of_one_sample_and_batches_cut_in_tiles_have_the_same_bits_too(batch_size, tile_rows):
    packed = recipes({"seed": 1}, {"seed": 2}, base={"batch_size": batch_size, "tile_rows": tile_rows})
    for end, recipe in zip(together(packed), packed, strict=True):
        assert_same(end, alone(recipe))


def test_samples_that_are_not_kept_as_floats_have_the_same_bits_too(monkeypatch):
    packed = recipes({"seed": 1}, {"seed": 2})
    want = [alone(recipe) for recipe in packed]
    monkeypatch.setattr("chalknet.engines.numpy_engine.RESIDENT_BYTES", 0)
    for end, one in zip(together(packed), want, strict=True):
        assert_same(end, one)


def test_threads_and_company_show_in_no_bit():
    packed = recipes(*({"seed": n, "batch_seed": n % 3, "hidden": [8 + n]} for n in range(7)))
    want = together(packed)
    for end, one in zip(together(packed, threads=3), want, strict=True):
        assert_same(end, one)
    assert_same(together(packed[2:4])[0], want[2])


def test_first_layers_lie_side_by_side_where_that_changes_no_bit_and_apart_where_it_does(monkeypatch):
    """Whichever of the two this machine's BLAS allows, the other is seen to be taken when the answer is another."""
    layouts = []
    lay_out = pack_module.Pack._layout_for
    monkeypatch.setattr(
        pack_module.Pack, "_layout_for", lambda self, n: layouts.append(lay_out(self, n)) or layouts[-1]
    )
    packed = recipes({"seed": 1}, {"seed": 2})
    together(packed)
    assert layouts[-1].is_wide == is_same_side_by_side(128, 785, (24, 24), np.dtype("float32"))
    monkeypatch.setattr(pack_module, "is_same_side_by_side", lambda *_: False)
    ends = together(packed)
    assert not layouts[-1].is_wide
    for end, recipe in zip(ends, packed, strict=True):
        assert_same(end, alone(recipe))


def test_who_is_finished_is_told_at_once():
    told = []
    packed = recipes({"epochs": 3, "seed": 1}, {"epochs": 1, "seed": 2}, {"epochs": 2, "learning_rate": 1e30})
    run_together(
        DATA,
        SPLITS,
        packed,
        lambda number, end: told.append((number, type(end).__name__)),
        observe=lambda number, record: told.append((number, record.epoch)),
    )
    assert told.index((1, "Run")) < told.index((0, 2))
    assert told.index((2, "DivergenceError")) < told.index((0, 3))
    assert told[-1] == (0, "Run")


@pytest.mark.parametrize(
    "what",
    [
        {"batch_norm": True},
        {"input_dropout": 0.1},
        {"mixup": 0.2},
        {"shift_pixels": 1},
        {"erase": 0.1},
        {"engine": "reference"},
        {"hidden": [600]},
        {"hidden": [1]},
    ],
)
def test_what_a_pack_does_not_take_has_no_key(what):
    (recipe,) = recipes(what)
    assert pack_key(recipe, DATA) is None
    with pytest.raises(ConfigError, match="cannot be trained in one pack"):
        together([recipe, recipe])


@pytest.mark.parametrize("what", [{"batch_size": 64}, {"hidden": [24, 5]}, {"optimizer": "adam"}, {"dtype": "float64"}])
def test_what_must_be_equal_in_a_pack_is_in_the_key(what):
    one, other = recipes({}, what)
    assert pack_key(one, DATA) != pack_key(other, DATA)


def test_orders_are_equal_where_batches_are():
    same, again, other = recipes({"seed": 1}, {"seed": 2}, {"batch_seed": 2})
    assert order_of(same) == order_of(again) != order_of(other)
    assert order_of(BASE.with_settings(batch_seed="seed", seed=1)) == order_of(same)
