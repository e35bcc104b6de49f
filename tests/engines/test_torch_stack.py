"""A network of a stack equals the network trained alone, to rounding."""

from __future__ import annotations

import gc
from functools import partial

import numpy as np
import pytest
from conftest import made_images, needs

from chalknet.config import Recipe
from chalknet.data.splits import split_dataset
from chalknet.errors import ConfigError, DivergenceError
from chalknet.training.joint_training import batch_order_key, stack_key, train_jointly
from chalknet.training.trainer import Run, Trainer, run_epochs

pytestmark = pytest.mark.extras
torch = needs("torch")

from chalknet.engines import torch_device, torch_draws, torch_engine, torch_samples, torch_workspace  # noqa: E402

EVERYWHERE = ("cpu", "cuda")  # types of device that are treated as a GPU
DATA = made_images(300, seed=5)
SPLITS = split_dataset(DATA, "random", 200, 60, 0)
BASE = {
    "engine": "torch", "hidden": [9], "epochs": 3, "batch_size": 64, "batch_seed": 1, "learning_rate": 0.05,
    "momentum": 0.9, "reduction": "mean", "dtype": "float64",
}  # fmt: skip
# Sums of a few hundred products, in another order, and some 12 updates: float64 differs by some 1e-14, float32 by some
# 1e-6, and bfloat16, which rounds values to 8 bits, where a sum falls on the other side of a step.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.03}


def recipes(*settings, base=None):
    merged = [{**BASE, **(base or {}), **one} for one in settings]
    return [Recipe().with_settings(**{key: value for key, value in one.items() if value is not None}) for one in merged]


def alone(recipe):
    """Return the run of a recipe trained alone, or its error if it diverges."""
    try:
        return run_epochs(Trainer(DATA, SPLITS, recipe, keep_sample_scores=True))
    except DivergenceError as error:
        return error


def stacked_together(stacked, **options):
    """Return the same for each recipe, trained in one stack."""
    found = {}
    train_jointly(DATA, SPLITS, stacked, found.__setitem__, keep_sample_scores=True, **options)
    assert sorted(found) == list(range(len(stacked)))
    return [found[number] for number in range(len(stacked))]


def stack_of(stacked):
    """Return a stack of the recipes' networks, and their trainers."""
    stack = torch_engine.TorchStack()
    return stack, [
        Trainer(DATA, SPLITS, recipe, engine=partial(stack.add, order=batch_order_key(recipe))) for recipe in stacked
    ]


def assert_close(end, want, tolerance):
    if isinstance(want, DivergenceError):
        assert isinstance(end, DivergenceError)
        assert (end.run is None) == (want.run is None)
        if want.run is not None:
            assert_close(end.run, want.run, tolerance)
        return
    assert isinstance(end, Run), end
    assert end.kept_epoch == want.kept_epoch
    mine, theirs = ([(r.train.loss, r.valid.loss, r.test.loss) for r in run.history] for run in (end, want))
    np.testing.assert_allclose(mine, theirs, rtol=tolerance)
    for name, value in want.network.parameters.items():
        np.testing.assert_allclose(
            end.network.parameters[name], value, rtol=tolerance, atol=tolerance * np.abs(value).max(), err_msg=name
        )
    for mine, theirs in zip(end.valid_sample_scores, want.valid_sample_scores, strict=True):
        np.testing.assert_allclose(mine.loss, theirs.loss, rtol=tolerance, atol=tolerance)
        assert np.mean(mine.correct != theirs.correct) <= (0 if tolerance < 1e-3 else 0.05)


LAYERS = ["batch_norm", {"type": "dense", "units": 9}, "relu", "sigmoid", {"type": "dropout", "rate": 0.2}]


def scaled(units):
    """Return layers of a stack with scales before and after a dense layer."""
    first = {"type": "dense", "units": units, "bias_learning_rate_multiplier": 0.1}
    scale = {"type": "scale", "learning_rate_multiplier": 6}
    mish, relu = ({"type": "parametric_activation", "activation": name} for name in ("mish", "relu"))
    return [scale, first, mish, "scale", {"type": "dense", "units": 4, "learning_rate_multiplier": 0.5}, relu]


def ntk(units, more):
    """Return layers of a stack, all in NTK parametrization."""
    dense, relu = {"type": "dense", "parametrization": "ntk"}, "relu"
    return [{**dense, "units": units}, relu, {**dense, "units": 4 + more, "bias": False}, "relu", dense]


def embedded(units):
    """Return layers of a stack with embeddings of numbers."""
    dense = {"type": "dense", "units": units}
    return [
        {"type": "periodic_embedding", "columns": 6, "learning_rate_multiplier": 0.1}, "scale",
        {"type": "piecewise_linear_embedding", "columns": 5, "bins": 4, "outputs": 1},
        {"type": "category_embedding", "groups": [3, 4, 12, 5], "outputs": 3}, dense, "mish",
        {"type": "piecewise_linear_embedding", "bins": 3, "learning_rate_multiplier": 0.1},
        {"type": "periodic_embedding", "frequencies": 3, "outputs": 1}, {"type": "dense", "units": 4}, "relu",
    ]  # fmt: skip


def convolutional(filters, rate):
    """Return layers of a stack with convolutions, pooling and a residual connection."""
    conv, dropout = {"type": "conv2d", "filters": filters, "l2": 0.01}, {"type": "dropout", "rate": rate}
    return [
        "batch_norm", {**conv, "bias": False}, "batch_norm", "relu", "max_pool2d", conv, "tanh", dropout,
        {"type": "residual", "layers": 3}, {"type": "average_pool2d", "stride": 1}, "flatten",
        {"type": "dense", "units": 4, "l2": 0.1}, "relu",
    ]  # fmt: skip


# What may differ between the networks of a stack; every list is one stack.
OWN = {
    "seed": [{"seed": n} for n in range(4)],
    "order": [{"seed": n, "batch_seed": n // 2} for n in range(5)],
    "width": [{"hidden": [n]} for n in (1, 7, 300, 9, 7)],
    "two widths, order": [{"hidden": [n, m], "batch_seed": m} for n, m in ((9, 5), (9, 5), (9, 8), (4, 1))],
    "learning_rate": [{"learning_rate": rate} for rate in (0.001, 0.02, 0.3)],
    "schedule": [{"schedule": name, "warmup_epochs": 1} for name in ("constant", "step", "coslog4", "one_cycle")],
    "momentum": [{"momentum": 0.5, "hidden": [4]}, {"momentum": 0.95}],
    "nesterov's momentum": [{"optimizer": "nesterov", "momentum": m} for m in (0.5, 0.9)],
    "adam's epsilon": [{"optimizer": "adam", "learning_rate": 1e-2, "epsilon": e} for e in (1e-8, 1e-2)],
    "weight_decay": [{"weight_decay": decay, "hidden": [4, 3]} for decay in (0.01, 0.1)],
    "weight_average": [{"weight_average": share} for share in (0.5, 0.9)],
    "clip_norm": [{"clip_norm": most, "hidden": [4 + (most > 0)] * 2} for most in (0, 0.05, 0.5)],
    "dropout": [{"dropout": rate, "batch_seed": n, "hidden": [9, 5]} for n, rate in enumerate((0, 0.2, 0.5))],
    "regularization schedules": [
        {"dropout": 0.3, "dropout_schedule": one, "weight_decay": 0.1, "weight_decay_schedule": two, "hidden": [9, 5]}
        for one in ("constant", "flat_cos") for two in ("constant", "flat_cos")
    ],
    "l2": [{"l2": strength, "hidden": [9, 4]} for strength in (0, 0.01)],
    "reduction": [{"reduction": "sum", "learning_rate": 1e-4, "l2": 0.01}, {"l2": 0.01}],
    "label_smoothing": [{"label_smoothing": share} for share in (0, 0.1)],
    "class_weights": [{"class_weights": "balanced", "batch_seed": n} for n in (1, 2)] + [{"batch_seed": 2}],
    "initializer": [{"initializer": name} for name in ("writeup", "he_normal", "glorot_uniform")],
    "epochs": [{"epochs": n} for n in (4, 1, 2)],
    "stopping": [
        {"epochs": 6, "stop_early": True, "patience": n, "learning_rate": rate, "monitor": "valid_accuracy"}
        for n, rate in ((1, 0.5), (2, 1.0), (3, 1e-9))
    ],
    "divergence": [{"learning_rate": rate, "epochs": 4} for rate in (0.02, 1e200, 0.1)],
    "batch norm": [{"batch_norm": True, "seed": n, "batch_seed": n % 2, "hidden": [9, 5 + n // 2]} for n in range(4)],
    "changed samples": [
        {"input_dropout": 0.1},
        {"seed": 2, "mixup": 0.3, "hidden": [4], "label_smoothing": 0.1},
        {"seed": 3, "shift_pixels": 1.0, "dropout": 0.2, "mixup": 0.2},
    ],
    "layers": [{"layers": LAYERS, "hidden": None, "seed": n, "batch_seed": n, "weight_average": 0.9} for n in range(3)],
    "scales": [{"layers": scaled(n), "hidden": None, "seed": n, "optimizer": "adam"} for n in (5, 5, 8)],
    "ntk": [{"layers": ntk(n, n // 7), "hidden": None, "seed": n, "batch_seed": n % 2} for n in (5, 5, 7, 8)],
    "embeddings": [
        {"layers": embedded(n), "hidden": None, "batch_seed": n % 2, "optimizer": "adam", "clip_norm": 0.1 * n}
        for n in (5, 5, 7, 8)
    ],
    "convolutions": [
        {"layers": convolutional(n, 0.1 * n), "hidden": None, "seed": seed, "batch_seed": n % 2, "optimizer": "adam"}
        for seed, n in enumerate((3, 3, 3, 4, 2))
    ],
    "averages": [{"batch_norm": True, "hidden": [n], "weight_average": 0.5 + n / 20, "seed": n} for n in (4, 6, 6)],
}  # fmt: skip


CHANGED = ("batch norm", "changed samples", "layers", "scales", "ntk", "embeddings", "convolutions", "averages")


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("field", OWN)
def test_stacked_networks_equal_networks_trained_alone(field, batch_size):
    stacked = recipes(*OWN[field], base={"batch_size": batch_size})
    for end, recipe in zip(stacked_together(stacked), stacked, strict=True):
        assert_close(end, alone(recipe), TOLERANCE["float64"])


ALONE = {
    "one unit": {"hidden": [1]},
    "a batch of one": {"batch_size": 199, "hidden": [9, 5]},  # of 200
    "adam": {"optimizer": "adam", "schedule": "one_cycle", "warmup_epochs": 1, "hidden": [12, 8]},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "weight_average": 0.9},
    "nesterov": {"optimizer": "nesterov", "clip_norm": 0.05, "l2": 0.01, "label_smoothing": 0.1},
    "weights": {"class_weights": "balanced", "dropout": 0.2, "input_dropout": 0.1},
    "mixup": {"mixup": 0.3},
    "batch norm": {"batch_norm": True, "weight_average": 0.9},
    "tiles": {"tile_rows": 2},
}


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize(
    ("networks", "precision"),
    [
        *((OWN[name], "float64") for name in ("order", "width", "weight_average", "clip_norm", "dropout", "l2")),
        *((OWN[name], "float64") for name in ("stopping", *CHANGED)),
        *(([one], "float64") for one in ALONE.values()),
        # Stopping points, and hidden layers of one unit, turn on what bfloat16 rounds.
        *((OWN[name], "bfloat16") for name in ("order", "weight_average", "clip_norm", "dropout", "l2")),
    ],
)
def test_gpu_forms_give_the_same_numbers(networks, precision, batch_size, monkeypatch):
    short = {"dtype": "float32", "precision": "bfloat16"} if precision == "bfloat16" else {}
    stacked = recipes(*networks, base={"batch_size": batch_size, **short})
    monkeypatch.setattr(torch_engine, "TILE_UNITS", 1)  # so that tile_rows of 2 cut the full batch
    want = [alone(recipe) for recipe in stacked]
    monkeypatch.setattr(torch_device, "GPU_FORMS_ON", EVERYWHERE)
    for end, theirs in zip(stacked_together(stacked), want, strict=True):
        assert_close(end, theirs, TOLERANCE[precision])


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("field", ["dropout", "regularization schedules", *CHANGED[1:3], "convolutions"])
def test_random_numbers_drawn_by_torch_are_the_same(field, batch_size, monkeypatch):
    stacked = recipes(*OWN[field], base={"batch_size": batch_size})
    want = [alone(recipe) for recipe in stacked]
    monkeypatch.setattr(torch_engine, "DRAW_ON", EVERYWHERE)
    monkeypatch.setattr(torch_draws, "NUMBERS_AT_ONCE", 10_000)
    monkeypatch.setattr(torch_draws.NumpyDraws, "__init__", None)
    # Images are changed in float32.
    tolerance = TOLERANCE["float32" if field == "changed samples" else "float64"]
    for end, theirs in zip(stacked_together(stacked), want, strict=True):
        assert_close(end, theirs, tolerance)


@pytest.mark.parametrize("batch_size", [64, "full"])
def test_stacked_networks_equal_the_reference(batch_size):
    stacked = recipes(
        {"seed": 1, "dropout": 0.2}, {"seed": 2, "hidden": [17, 3], "l2": 0.01}, {"batch_seed": 3},
        base={"batch_size": batch_size, "hidden": [9, 4], "activation": "tanh", "weight_average": 0.9},
    )  # fmt: skip
    for end, recipe in zip(stacked_together(stacked), stacked, strict=True):
        assert_close(end, alone(recipe.with_settings(engine="reference")), TOLERANCE["float64"])


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_short_dtypes_agree_to_rounding(precision, batch_size):
    stacked = recipes(
        *({"seed": n, "batch_seed": n % 2, "hidden": [12 + n // 2, 6]} for n in range(6)),
        base={"dtype": "float32", "precision": precision, "batch_size": batch_size, "weight_average": 0.5},
    )
    for end, recipe in zip(stacked_together(stacked), stacked, strict=True):
        assert_close(end, alone(recipe), TOLERANCE[precision])


@pytest.mark.parametrize("what", [{"activation": "gelu"}, {"activation": "leaky_relu"}, {"input_scaling": "standard"}])
def test_common_settings_of_a_stack_may_be_any(what):
    stacked = recipes({"seed": 1, "dropout": 0.1}, {"seed": 2, "hidden": [17]}, base=what)
    for end, recipe in zip(stacked_together(stacked), stacked, strict=True):
        assert_close(end, alone(recipe), TOLERANCE["float64"])


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("orders", [1, 3])
def test_tiles_change_no_number(orders, batch_size, monkeypatch):
    stacked = recipes(*({"seed": n, "batch_seed": n % orders} for n in range(3)), base={"batch_size": batch_size})
    want = [alone(recipe) for recipe in stacked]
    monkeypatch.setattr(torch_engine, "MIN_ROWS", 17)
    monkeypatch.setattr(torch_engine, "TILES_AT_ONCE", 0)
    for end, one in zip(stacked_together(stacked), want, strict=True):
        assert_close(end, one, TOLERANCE["float64"])


@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("n_networks", [1, 2])
def test_samples_converted_by_batch_give_the_same(n_networks, precision, batch_size, monkeypatch):
    short = {"dtype": "float32", "precision": precision, "batch_size": batch_size, "input_scaling": "standard"}
    stacked = recipes({"seed": 1}, {"seed": 2, "batch_seed": 2}, base=short)[:n_networks]
    want = [alone(recipe) for recipe in stacked]
    monkeypatch.setattr(torch_samples, "RESIDENT_BYTES", 0)
    for end, one in zip(stacked_together(stacked), want, strict=True):
        assert_close(end, one, TOLERANCE[precision])


def test_first_layers_are_as_few_products_as_possible():
    def input_products(*settings):
        stacked = sorted(recipes(*settings), key=lambda recipe: (recipe.network.hidden, batch_order_key(recipe)))
        stack, _ = stack_of(stacked)
        stack._lay_out()
        return stack._input_products

    assert len(input_products(*({"hidden": [n]} for n in range(3, 9)))) == 1
    # Four widths from ten seeds: a batched product a width, that reads all orders as they lie.
    grid = input_products(*({"hidden": [n], "batch_seed": seed} for n in (3, 4, 5, 6) for seed in range(10)))
    assert [(one.run, one.orders) for one in grid] == [(run, slice(0, 10)) for run in range(4)]
    # Eight rates from four seeds: a product for each order.
    rates = input_products(*({"learning_rate": 0.1 * n, "batch_seed": seed} for n in range(1, 9) for seed in range(4)))
    assert [(one.run, one.orders) for one in rates] == [(None, order) for order in range(4)]


@pytest.mark.parametrize("random", [{}, {"dropout": 0.2, "mixup": 0.2, "shift_pixels": 1.0, "erase": 0.5}])
@pytest.mark.parametrize(("n_networks", "static"), [(1, EVERYWHERE), (2, EVERYWHERE), (2, ())])
def test_an_epoch_waits_for_the_device_once(n_networks, static, random, monkeypatch):
    """From the second epoch on, one read returns training scores and those of both other splits."""
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", static)
    monkeypatch.setattr(torch_engine, "DRAW_ON", EVERYWHERE)
    networks = recipes({"seed": 1}, {"seed": 2, "hidden": [4], "clip_norm": 0.1}, base=random)[:n_networks]
    stack, trainers = stack_of(networks)

    def epoch(number):
        stack.train_epoch([trainer.updates(number) for trainer in trainers])
        for trainer in trainers:
            trainer.scores()

    epoch(1)
    reads = []
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "nonzero"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *args, name=name, plain=plain: (reads.append(name), plain(self, *args))[1]
        )
    epoch(2)
    assert reads == ["tolist"]


@pytest.mark.parametrize(("n_networks", "resident_bytes"), [(1, 2**20), (1, 0), (2, 2**20), (2, 0)])
def test_tensors_of_captured_updates_stay_in_place(n_networks, resident_bytes, monkeypatch):
    """Evaluation, whose tiles are larger than mini-batches, and restoring must not move a buffer or a weight."""
    monkeypatch.setattr(torch_samples, "RESIDENT_BYTES", resident_bytes)
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", EVERYWHERE)
    stacked = recipes({"seed": 1}, {"seed": 2, "batch_seed": 2}, base={"weight_average": 0.5, "hidden": [9, 4]})
    stack, trainers = stack_of(stacked[:n_networks])

    def batch_positions():
        tensors = [
            *stack._workspace.buffers.tensors,
            stack._sums,
            *(one for s in stack._samples.values() for one in s._made.values()),
        ]
        for arrays in (stack._gradients, *stack._state.values()):
            tensors += arrays.tensors
        return [tensor.data_ptr() for tensor in tensors]

    stack.train_epoch([trainer.updates(1) for trainer in trainers])
    before = batch_positions()
    assert len(before) > 10
    for trainer in trainers:
        for part in ("valid", "test", "train"):
            trainer.engine.evaluate(part)
        trainer.engine.restore(trainer.engine.parameters(), trainer.engine.state())
        trainer.engine.restore_snapshot(trainer.engine.snapshot())
    stack.train_epoch([trainer.updates(2) for trainer in trainers])
    assert set(before) <= set(batch_positions())


@pytest.mark.parametrize(
    "what",
    [
        {"batch_size": 32}, {"hidden": [9, 5]}, {"optimizer": "adam"}, {"dtype": "float32"}, {"optimizer": "nesterov"},
        {"bias_momentum": True}, {"device": "cpu"}, {"weight_decay": 0.1}, {"batch_norm": True}, {"activation": "elu"},
        {"layers": [{"type": "dense", "units": 9}, "silu"], "hidden": None},
    ],
)  # fmt: skip
def test_settings_that_must_be_equal_are_in_the_key(what):
    one, other = recipes({}, what)
    assert None not in (stack_key(one, DATA), stack_key(other, DATA))
    assert stack_key(one, DATA) != stack_key(other, DATA)


def test_betas_of_adam_are_in_the_key():
    one, other = recipes({}, {"beta2": 0.99}, base={"optimizer": "adam"})
    assert stack_key(one, DATA) != stack_key(other, DATA)


def test_orders_are_equal_where_batches_are():
    same, again, other = recipes({"seed": 1}, {"seed": 2}, {"batch_seed": 2})
    assert batch_order_key(same) == batch_order_key(again) != batch_order_key(other)
    assert batch_order_key(same.with_settings(batch_seed="seed", seed=1)) == batch_order_key(same)


def test_finished_networks_are_reported_at_once():
    told = []
    stacked = recipes({"epochs": 3, "seed": 1}, {"epochs": 1, "seed": 2}, {"epochs": 2, "learning_rate": 1e200})
    train_jointly(
        DATA,
        SPLITS,
        stacked,
        lambda number, end: told.append((number, type(end).__name__)),
        on_epoch=lambda number, record: told.append((number, record.epoch)),
    )
    assert told.index((1, "Run")) < told.index((0, 2))
    assert told.index((2, "DivergenceError")) < told.index((0, 3))
    assert told[-1] == (0, "Run")


@pytest.mark.parametrize("what", [{"engine": "numpy"}, {"engine": "reference"}])
def test_recipes_that_are_not_stacked_have_no_key(what):
    (recipe,) = recipes(what)
    assert stack_key(recipe, DATA) is None
    with pytest.raises(ConfigError, match="cannot be trained in one stack"):
        stacked_together([recipe, recipe])


@pytest.mark.parametrize(
    "what", [{"activation": "tanh"}, {"batch_norm": True}, {"hidden": [9, 9]}, {"dropout": 0.1, "activation": "elu"}]
)
def test_networks_with_different_layers_are_not_stacked(what):
    with pytest.raises(ConfigError, match="must have the same layers"):
        stack_of(recipes({}, what))


def test_a_stack_keeps_nothing_of_removed_networks():
    """Even with the garbage collector off, because a GPU's memory must not wait for it."""
    kinds = (torch_engine.TorchStack, torch_engine.StackedEngine, torch_workspace.StackWorkspace)

    def present():
        return [one for one in gc.get_objects() if type(one) in kinds]

    gc.collect()
    gc.disable()
    before, spaces = present(), []  # what other tests keep

    def look(*_):
        spaces.append(sum(type(one) is kinds[2] for one in present()) - sum(type(one) is kinds[2] for one in before))

    try:
        stacked_together(recipes(*({"seed": n, "epochs": 1 + n} for n in range(5))), on_epoch=look)
        assert len(present()) == len(before)
    finally:
        gc.enable()
    assert max(spaces) == 1


def test_snapshots_are_constant_and_old_ones_separate():
    stacked = recipes({"seed": 1}, {"seed": 2, "hidden": [200]}, base={"weight_average": 0.5})
    stack, trainers = stack_of(stacked)
    kept, want = [], []
    for epoch in range(1, 6):
        stack.train_epoch([trainer.updates(epoch) for trainer in trainers])
        for trainer in trainers:
            kept.append(trainer.engine.snapshot())
            want.append((trainer.engine.parameters(), trainer.engine.state()))
    sizes = [one.state["parameters"].learned[0].untyped_storage().nbytes() for one in kept[::2]]
    of_all = stack._types.aligned(31) * 209 * 8  # a GPU's matrices have 32 rows
    assert sizes[0] == sizes[2] == 31 * 9 * 8 < of_all == sizes[-1] == sizes[-2]
    for number, (snapshot, (parameters, state)) in enumerate(zip(kept, want, strict=True)):
        engine = trainers[number % 2].engine
        engine.restore_snapshot(snapshot)
        assert all((engine.parameters()[name] == value).all() for name, value in parameters.items())
        assert all((engine.state()[name] == value).all() for name, value in state.items())
