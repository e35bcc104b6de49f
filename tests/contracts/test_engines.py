"""The contract of `Engine`: every engine gives the numbers of slow loops and of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import made_images, needs
from hypothesis import given
from hypothesis import strategies as st
from interruptions import assert_same_end, interrupted, pause_after_every_update, through_a_file
from oracles import loop_cross_entropy, loop_forward, loop_gradients
from specs import make_engine
from strategies import named, networks, updates

from chalknet.config import ACTIVATION_NAMES, OptimizerConfig, Recipe
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data
from chalknet.data.splits import split_dataset
from chalknet.engines import numpy_convolution, numpy_engine, numpy_images, numpy_kernels
from chalknet.engines.engine import SplitData
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.reference import ReferenceEngine
from chalknet.engines.sharded import LocalShards
from chalknet.network import conv2d
from chalknet.network.architecture import Architecture
from chalknet.network.dense import Dense
from chalknet.network.initializers import initial_parameters
from chalknet.network.layer_types import ACTIVATIONS
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Momentum, optimizer_for
from chalknet.training.joint_training import train_jointly
from chalknet.training.trainer import Trainer


def torch_engine(spec):
    needs("torch")
    from chalknet.engines.torch_engine import TorchEngine

    return TorchEngine(spec)


def torch_stack_of_two(spec):
    """Return the engine of a network that is trained in one stack with a wider one."""
    needs("torch")
    from chalknet.engines.torch_engine import TorchStack

    *hidden, last = spec.architecture.layers
    wider = [replace(layer, units=layer.units + 3) if isinstance(layer, Dense) else layer for layer in hidden]
    architecture = Architecture(spec.architecture.n_inputs, layers=[*wider, last])
    parameters = initial_parameters(architecture, seed=5)
    stack = TorchStack()
    engine = stack.add(spec, "both")
    stack.add(replace(spec, architecture=architecture, parameters=parameters), "both")

    def train_epoch(updates):
        chosen = list(updates)
        return stack.train_epoch([chosen, chosen])[0]

    engine.train_epoch = train_epoch
    return engine


TORCH_STACK = pytest.param(torch_stack_of_two, marks=pytest.mark.extras, id="TorchStack")
TORCH = pytest.param(torch_engine, marks=pytest.mark.extras, id="TorchEngine")
ENGINES = [ReferenceEngine, NumpyEngine, TORCH, TORCH_STACK]


OPTIMIZER = Momentum(momentum=0.5)
RATE = 0.05


def made(engine, case, **options):
    weights, biases, x, labels = case
    parts = {"train": SplitData(x, labels), "valid": SplitData(x[:1], labels[:1]), "test": SplitData(x[:0], labels[:0])}
    return make_engine(engine, parts, named(weights, biases), OPTIMIZER, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@given(case=networks(), batch_size=st.integers(1, 9))
def test_two_epochs_equal_the_slow_loops(engine, reduction, case, batch_size):
    weights, biases, x, labels = case
    runner = made(engine, case, objective=Objective(reduction), dtype=np.float64)
    velocity = [np.zeros_like(w) for w in weights]
    for _ in range(2):
        batches = [np.arange(len(x))[i : i + batch_size] for i in range(0, len(x), batch_size)]
        scores, losses = runner.train_epoch(updates(batches, RATE)), []
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
    assert one.train_epoch(updates([slice(0, len(case[2]))], RATE)) == two.train_epoch(
        updates([np.arange(len(case[2]))], RATE)
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("average", [0.0, 0.9])
@given(case=networks())
def test_a_restored_snapshot_continues_with_the_same_bits(engine, average, case):
    weights, biases, x, labels = case
    optimizer = optimizer_for(OptimizerConfig("adam", weight_average=average))
    runner = make_engine(engine, {"train": SplitData(x, labels)}, named(weights, biases), optimizer)
    first, rest = updates([slice(0, len(x))], RATE), updates([slice(0, len(x))] * 2, RATE)
    runner.train_epoch(first)
    snapshot, shown = runner.snapshot(), runner.evaluation_parameters()
    ends = []
    for _ in range(2):
        runner.train_epoch(rest)
        ends.append({**runner.parameters(), **runner.state()})
        found = runner.evaluation_parameters(snapshot)
        runner.restore_snapshot(snapshot)
        assert all((found[name] == value).all() for name, value in shown.items())
    assert all((ends[0][name] == value).all() for name, value in ends[1].items())


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_evaluation_changes_no_parameter(engine, case):
    runner = made(engine, case)
    before = runner.parameters()
    assert runner.evaluate("valid") == runner.evaluate("valid")
    assert runner.evaluate("test") is None
    assert runner.evaluate("nothing of that name") is None
    assert all((runner.parameters()[name] == before[name]).all() for name in before)


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_scores_are_the_means_of_sample_scores(engine, case):
    weights, biases, x, labels = case
    runner = made(engine, case, dtype=np.float64)
    each, whole = runner.evaluate_samples("train"), runner.evaluate("train")
    losses = [loop_cross_entropy(loop_forward(weights, biases, x[[n]]), labels[[n]]) for n in range(len(x))]
    np.testing.assert_allclose(each.loss, losses, rtol=1e-9, atol=1e-9)
    assert each.correct.dtype == bool
    assert (each.loss.mean(), each.correct.mean()) == pytest.approx((whole.loss, whole.accuracy), rel=1e-12)
    assert runner.evaluate_samples("test") is None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(case=networks())
def test_a_restored_engine_continues_with_the_same_bits(engine, dtype, case):
    whole, other = made(engine, case, dtype=dtype), made(engine, case, dtype=dtype)
    batches = [slice(0, len(case[2]))]
    whole.train_epoch(updates(batches, RATE))
    other.restore(whole.parameters(), whole.state())
    assert whole.train_epoch(updates(batches, RATE)) == other.train_epoch(updates(batches, RATE))
    assert all((whole.parameters()[name] == other.parameters()[name]).all() for name in whole.parameters())
    assert all(value.dtype == dtype for value in whole.parameters().values())


@pytest.mark.parametrize("engine", ENGINES)
@given(case=networks())
def test_parameters_are_copied_in_and_out(engine, case):
    weights, biases, x, labels = case
    parameters = named(weights, biases)
    kept = {name: value.copy() for name, value in parameters.items()}
    runner = make_engine(engine, {"train": SplitData(x, labels)}, parameters, OPTIMIZER)
    runner.train_epoch(updates([slice(0, len(x))], RATE))
    assert all((parameters[name] == kept[name]).all() for name in kept)
    given_out = runner.parameters()
    for value in given_out.values():
        value += 1
    assert not any((runner.parameters()[name] == given_out[name]).any() for name in given_out)


# Everything that a recipe can add: each feature alone, then all together.
def dense(units, **settings):
    return {"type": "dense", "units": units, **settings}


def dropout(rate):
    return {"type": "dropout", "rate": rate}


def periodic(**settings):
    return {"type": "periodic_embedding", **settings}


def piecewise(**settings):
    return {"type": "piecewise_linear_embedding", **settings}


def categories(groups, **settings):
    return {"type": "category_embedding", "groups": groups, **settings}


def ntk(units, **settings):
    return dense(units, parametrization="ntk", **settings)


def scale(multiplier):
    return {"type": "scale", "learning_rate_multiplier": multiplier}


def parametric(activation, multiplier=1.0):
    return {"type": "parametric_activation", "activation": activation, "learning_rate_multiplier": multiplier}


def conv(filters, kernel=3, **settings):
    return {"type": "conv2d", "filters": filters, "kernel_size": kernel, **settings}


def max_pool(size=2, **settings):
    return {"type": "max_pool2d", "size": size, **settings}


def average_pool(size=2, **settings):
    return {"type": "average_pool2d", "size": size, **settings}


def residual(layers):
    return {"type": "residual", "layers": layers}


OTHERS = [name for name in ACTIVATION_NAMES if name != "relu"]  # relu is the activation of networks without a feature
FEATURES = {
    **{name: {"activation": name} for name in OTHERS},
    # A relu reads the sign of its output in the backward pass, which the next activation may overwrite.
    **{f"relu before {name}": {"layers": [dense(7), "relu", name, dense(5), name]} for name in OTHERS},
    "layers: normalized inputs": {"layers": ["batch_norm", dense(7), "tanh"]},
    "layers: no activation between": {"layers": [dense(7), dense(6, bias=False), "relu"]},
    "layers: many in place": {
        "layers": [
            dropout(0.2), dense(7), "relu", "batch_norm", dropout(0.3), dropout(0.1), "sigmoid", dense(5), "batch_norm",
        ],
        "l2": 0.01, "weight_decay": 0.05, "weight_average": 0.9,
    },
    "layers: an activation first": {"layers": ["silu", dropout(0.2), dense(7), "elu"], "optimizer": "adam"},
    "layers: scaled inputs": {"layers": ["scale", dense(7), "relu"]},
    "layers: scales": {
        "layers": [dropout(0.2), "scale", dense(7), "relu", "scale", dropout(0.3), "batch_norm", "scale"],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
    },
    "layers: multipliers": {
        "layers": [scale(6.0), dense(7, bias_learning_rate_multiplier=0.1), "relu", scale(0.5), dense(5), "relu"],
    },
    "layers: multipliers of one dense": {"layers": [dense(7, learning_rate_multiplier=3.0), "relu"], "clip_norm": 0.05},
    "layers: multipliers, nesterov": {"layers": [scale(2.0), dense(7), "tanh", scale(0.0)], "optimizer": "nesterov"},
    "layers: multipliers, adamw": {
        "layers": [
            scale(6.0), dense(7, bias_learning_rate_multiplier=0.1), "batch_norm", "relu",
            dense(6, learning_rate_multiplier=0.5, bias_learning_rate_multiplier=0.2), "tanh",
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
        "schedule": "cosine",
    },
    **{f"parametric {name}": {"layers": [dense(7), parametric(name)]} for name in ACTIVATIONS},
    "layers: parametric activations": {
        "layers": [
            parametric("tanh"), dense(7), parametric("selu", 0.1), dropout(0.2), dense(6, bias=False), "batch_norm",
            parametric("relu", 2.0), parametric("mish"), "scale",
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "weight_average": 0.9,
    },
    "layers: ntk first": {"layers": [ntk(7), "relu"], "learning_rate": 0.1},
    "layers: ntk after dropout": {"layers": [dropout(0.2), ntk(7, bias=False), "tanh", dense(5)]},
    "layers: ntk output": {"layers": [dense(7), "relu", {"type": "dense", "parametrization": "ntk"}]},
    "layers: all ntk": {
        "layers": [
            "scale", ntk(7, bias_learning_rate_multiplier=0.1), "relu", dropout(0.2), ntk(6, bias=False), "batch_norm",
            {"type": "dense", "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1},
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
    },
    "layers: periodic embedding": {"layers": [periodic(), dense(7), "relu"]},
    "layers: some columns, scaled": {
        "layers": ["scale", periodic(columns=4, frequencies=5, outputs=2), "scale", ntk(7), parametric("selu", 0.1)],
        "optimizer": "adam",
    },
    "layers: embeddings anywhere": {
        "layers": [
            dropout(0.2), periodic(columns=3, learning_rate_multiplier=0.1), "batch_norm", dense(5), "tanh",
            periodic(outputs=1, sigma=1.0), dropout(0.3), periodic(columns=2, frequencies=1),
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
    },
    "layers: piecewise-linear embedding": {"layers": [piecewise(), dense(7), "relu"]},
    "layers: some columns in bins": {
        "layers": ["scale", piecewise(columns=4, bins=5, outputs=2), "scale", piecewise(bins=1), dense(7), "relu"],
        "optimizer": "adam",
    },
    "layers: both embeddings of numbers": {
        "layers": [
            dropout(0.2), piecewise(columns=3, bins=2, learning_rate_multiplier=0.1), "batch_norm", dense(5), "tanh",
            periodic(outputs=1), dropout(0.3), piecewise(columns=2, bins=4, outputs=1),
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
        "input_scaling": "standard",
    },
    "layers: category embedding": {"layers": [categories([0, 4, 9, 21]), dense(7), "relu"]},
    "layers: categories and numbers": {
        "layers": [
            dropout(0.2), "smooth_clip", categories([2, 5, 7, 11, 20, 3], outputs=3, learning_rate_multiplier=0.1),
            piecewise(columns=2, bins=3), "batch_norm", dense(7), "tanh", categories([1, 4], outputs=2),
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
        "input_scaling": "standard",
    },
    "layers: residual of rows": {
        "layers": [
            "scale", dense(7), "relu", dropout(0.3), dense(7), "tanh", residual(3), dense(5), "batch_norm",
            residual(1), "relu", residual(3),
        ],
        "optimizer": "adam",
    },
    "layers: residual of samples": {"layers": [dense(30), "relu", residual(2), dense(5), "tanh"]},
    "layers: convolution": {"layers": [conv(4), "relu", "flatten", dense(7), "relu"]},
    "layers: convolution alone": {"layers": [conv(3, 1), "flatten"]},
    "layers: convolutions": {
        "layers": [
            conv(4, 3, padding=1), "tanh", conv(6, 3, bias=False), "relu", conv(5, 1), "silu",
            conv(4, [1, 2], padding=0), "flatten",
        ],
        "optimizer": "adam",
    },
    "layers: strides and padding": {
        "layers": [
            conv(4, 2, stride=2, padding=1), "relu", conv(5, [3, 1], stride=2), "tanh", conv(3, [3, 1], padding=2),
            "flatten", dense(6), "relu",
        ],
    },
    "layers: groups": {
        "layers": [
            conv(4), "relu", conv(8, 3, groups=2), "tanh", conv(8, 3, groups=8, stride=2), "relu",
            conv(16, 2, groups=8, padding=1, bias=False), "relu", "flatten",
        ],
    },
    "layers: max pooling": {
        "layers": [conv(4), "relu", max_pool(), conv(6), "gelu", max_pool(2, stride=1), "flatten", dense(5), "relu"],
    },
    "layers: overlapping max pooling": {"layers": [max_pool(2, stride=1), conv(4), max_pool(3, stride=2), "flatten"]},
    "layers: max pooling with gaps": {"layers": [conv(4), "relu", max_pool(1, stride=2), "flatten"]},
    "layers: average pooling": {
        "layers": [average_pool(2, stride=1), conv(4), "relu", average_pool(), conv(5), "tanh", "global_average_pool"],
    },
    "layers: batch norm of maps": {
        "layers": ["batch_norm", conv(4, bias=False), "batch_norm", "relu", conv(5), "relu", "batch_norm", max_pool(),
                   "flatten", dense(6, bias=False), "batch_norm", "relu"],
        "weight_average": 0.9,
    },
    "layers: dropout of maps": {
        "layers": [
            dropout(0.1), conv(4), "relu", dropout(0.3), conv(5), dropout(0.2), "gelu", dropout(0.2), dropout(0.1),
            "flatten", dropout(0.4), dense(6), "relu",
        ],
        "dropout_schedule": "flat_cos",
    },
    "layers: residual of maps": {
        "layers": [
            conv(4, bias=False), "batch_norm", "relu",
            conv(4), "relu", conv(4), residual(3), "relu",
            conv(6, 3, stride=2, bias=False), "batch_norm", "relu", dropout(0.2),
            conv(6, bias=False), "batch_norm", residual(6), "relu",
            "global_average_pool",
        ],
        "optimizer": "adam",
    },
    "layers: residual of images": {"layers": [conv(4), "relu", conv(2), residual(3), "flatten", dense(5), "relu"]},
    "layers: l2 of one": {"layers": [conv(4, l2=0.1), "relu", "flatten", dense(7, l2=0.05), "relu"], "l2": 0.01},
    "layers: l2 of a dense": {"layers": [dense(7, l2=0.1), "relu", dense(5), "relu"]},
    "layers: l2 of one, summed": {
        "layers": [dense(7), "relu", dense(5, l2=0.1), "relu"], "reduction": "sum", "learning_rate": 1e-4,
    },
    "layers: images with all of it": {
        "layers": [
            dropout(0.1), conv(6, bias=False), "batch_norm", "relu", dropout(0.1),
            conv(6, 3, groups=2, l2=0.02), "silu", residual(2), max_pool(),
            conv(8, 3, stride=2, bias=False), "batch_norm", "relu", average_pool(1), "flatten", dropout(0.2),
            dense(7, bias=False, l2=0.1), "batch_norm", "relu",
        ],
        "optimizer": "adamw", "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.5, "weight_average": 0.9,
        "label_smoothing": 0.1, "class_weights": "balanced", "shift_pixels": 1, "erase": 0.3, "mixup": 0.3,
        "schedule": "cosine", "input_scaling": "standard",
    },
    "an activation a layer": {"activation": ["tanh", "relu"]},
    "dropout": {"dropout": 0.4},
    "dropout after gelu": {"dropout": 0.4, "activation": "gelu"},
    "input dropout": {"input_dropout": 0.3},
    "batch norm": {"batch_norm": True},
    "batch norm, dropout, tanh": {"batch_norm": True, "dropout": 0.3, "activation": "tanh"},
    "label smoothing": {"label_smoothing": 0.1},
    "class weights": {"class_weights": [1.0, 2.0, 0.5, 3.0]},
    "l2": {"l2": 0.02},
    "l2 of a sum": {"l2": 0.02, "reduction": "sum", "learning_rate": 1e-4},
    "clipping": {"clip_norm": 0.05},
    "nesterov": {"optimizer": "nesterov"},
    "adam": {"optimizer": "adam"},
    "adamw with decay": {"optimizer": "adamw", "weight_decay": 0.1},
    "average": {"weight_average": 0.9},
    "average over batch norm": {"weight_average": 0.9, "batch_norm": True},
    "moved images": {"shift_pixels": 1.5, "rotation_degrees": 20, "zoom": 0.2, "shear": 0.2},
    "erased images": {"erase": 0.7},
    "mixup": {"mixup": 0.4},
    "standard scaling": {"input_scaling": "standard"},
    "flat_cos dropout": {"dropout": 0.4, "input_dropout": 0.2, "dropout_schedule": "flat_cos", "activation": "tanh"},
    "flat_cos decay": {"optimizer": "adamw", "weight_decay": 0.1, "weight_decay_schedule": "flat_cos"},
    "layers: table recipe": {
        "layers": [
            periodic(columns=20, learning_rate_multiplier=0.1), scale(6.0), ntk(7, bias_learning_rate_multiplier=0.1),
            parametric("selu", 0.1), dropout(0.3), ntk(6, bias_learning_rate_multiplier=0.1), parametric("selu", 0.1),
            dropout(0.3), {"type": "dense", "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1},
        ],
        "optimizer": "adamw", "beta2": 0.95, "learning_rate": 0.04, "weight_decay": 0.02, "schedule": "coslog4",
        "weight_decay_schedule": "flat_cos", "dropout_schedule": "flat_cos", "label_smoothing": 0.1,
    },
    "one cycle": {"schedule": "one_cycle", "warmup_epochs": 1},
    "all of it": {
        "activation": ["gelu", "leaky_relu"], "dropout": 0.2, "input_dropout": 0.1, "batch_norm": True,
        "label_smoothing": 0.1, "class_weights": "balanced", "l2": 0.01, "clip_norm": 0.5, "optimizer": "adamw",
        "weight_decay": 0.05, "weight_average": 0.9, "shift_pixels": 1, "rotation_degrees": 9, "erase": 0.3,
        "mixup": 0.3, "schedule": "cosine", "input_scaling": "standard", "initializer": "he_normal",
    },
}  # fmt: skip
DATA = made_images(90, seed=4, shape=(6, 5))
SPLITS = split_dataset(DATA, "random", 60, 15, 0)
BASE = {"hidden": [7, 5], "epochs": 3, "learning_rate": 0.01, "momentum": 0.9, "reduction": "mean", "dtype": "float64"}


def recipe_of(**settings):
    base = {key: value for key, value in BASE.items() if key != "hidden" or "layers" not in settings}
    return Recipe().with_settings(**{**base, **settings})


def trained(engine, batch_size, features, **more):
    trainer = Trainer(DATA, SPLITS, recipe_of(engine=engine, batch_size=batch_size, **features, **more))
    return list(trainer.epochs()), trainer.checkpoint(), trainer.network()


def make_limits_small(monkeypatch):
    """Make the numpy engine compute small networks as it computes large ones: in several tiles, blocks and parts."""
    monkeypatch.setattr(numpy_images, "TILE_VALUES", 400)
    for constant, value in {"MIN_WINOGRAD_CHANNELS": 2, "MIN_WINOGRAD_GAIN": 0}.items():
        monkeypatch.setattr(conv2d, constant, value)
    monkeypatch.setattr(numpy_convolution, "MAX_BLOCK_VALUES", 300)
    for constant, value in {"MIN_SPLIT_VALUES": 1, "SPLIT_ROWS": 2, "MAX_SMALL_PRODUCT": 300}.items():
        monkeypatch.setattr(numpy_kernels, constant, value)
    monkeypatch.setattr(numpy_convolution, "MAX_WINDOW_VALUES", 400)


@pytest.mark.parametrize("batch_size", ["full", 16])
@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize(("engine", "tile_rows"), [("numpy", 16), pytest.param("torch", 2, marks=pytest.mark.extras)])
def test_engines_agree_on_every_feature(engine, tile_rows, name, batch_size, monkeypatch):
    """In float64 engines differ by rounding only."""
    if engine == "torch":
        needs("torch")
        monkeypatch.setattr("chalknet.engines.torch_engine.TILE_UNITS", 1)
        monkeypatch.setattr("chalknet.engines.torch_engine.MIN_ROWS", 16)
    make_limits_small(monkeypatch)
    want, want_kept, want_network = trained("reference", batch_size, FEATURES[name])
    # Tiles of 16 cut the full batch in four, where it may be cut.
    got, kept, network = trained(engine, batch_size, FEATURES[name], tile_rows=tile_rows)
    assert [r.train.loss for r in got] == pytest.approx([r.train.loss for r in want], rel=1e-9)
    assert [r.valid.loss for r in got] == pytest.approx([r.valid.loss for r in want], rel=1e-9)
    assert set(kept.state) == set(want_kept.state)
    for mine, theirs in ((kept.parameters, want_kept.parameters), (kept.state, want_kept.state)):
        for key, value in theirs.items():
            np.testing.assert_allclose(mine[key], value, rtol=1e-8, atol=1e-10, err_msg=key)
    for key, value in want_network.parameters.items():
        np.testing.assert_allclose(network.parameters[key], value, rtol=1e-8, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_changes_the_numbers(name):
    plain = trained("reference", 16, {})[0][-1].valid.loss
    assert trained("reference", 16, FEATURES[name])[0][-1].valid.loss != plain


RESUMED = [
    "all of it",
    "average over batch norm",
    "mixup",
    "layers: many in place",
    "layers: scales",
    "layers: multipliers, adamw",
    "layers: table recipe",
    "layers: images with all of it",
    "layers: dropout of maps",
]


@pytest.mark.parametrize("batch_size", ["full", 16])
@pytest.mark.parametrize("engine", ["reference", "numpy", pytest.param("torch", marks=pytest.mark.extras)])
@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_has_the_same_bits(name, engine, batch_size):
    if engine == "torch":
        needs("torch")
    recipe = recipe_of(engine=engine, batch_size=batch_size, **FEATURES[name])
    whole = Trainer(DATA, SPLITS, recipe)
    records = list(whole.epochs())
    first, second = Trainer(DATA, SPLITS, recipe), Trainer(DATA, SPLITS, recipe)
    next(first.epochs())
    second.load_checkpoint(first.checkpoint())
    rest = list(second.epochs())
    assert [(r.train, r.valid) for r in rest] == [(r.train, r.valid) for r in records[1:]]
    for mine, theirs in zip(
        (second.checkpoint().parameters, second.checkpoint().state),
        (whole.checkpoint().parameters, whole.checkpoint().state),
        strict=True,
    ):
        assert all((mine[key] == theirs[key]).all() for key in theirs)


@pytest.mark.parametrize("where", [(1, 1), (2, 3)])
@pytest.mark.parametrize(
    ("engine", "tile_rows"),
    [("reference", 768), ("numpy", 768), ("numpy", 12), pytest.param("torch", 768, marks=pytest.mark.extras)],
)
@pytest.mark.parametrize("name", RESUMED)
def test_a_run_resumed_within_an_epoch_has_the_same_bits(name, engine, tile_rows, where, monkeypatch, tmp_path):
    """With tiles of 12 rows, the first three batches of an epoch are cut, and the last is not."""
    if engine == "torch":
        needs("torch")
    pause_after_every_update(monkeypatch)
    recipe = recipe_of(engine=engine, batch_size=16, tile_rows=tile_rows, **FEATURES[name])
    whole = Trainer(DATA, SPLITS, recipe)
    list(whole.epochs())
    checkpoint = through_a_file(interrupted(Trainer(DATA, SPLITS, recipe), *where), tmp_path)
    resumed = Trainer(DATA, SPLITS, recipe)
    resumed.load_checkpoint(checkpoint)
    list(resumed.epochs())
    assert_same_end(resumed, whole)


@pytest.mark.parametrize(
    ("engine", "n_shards"),
    [("reference", 0), ("numpy", 0), ("numpy", 2), pytest.param("torch", 0, marks=pytest.mark.extras)],
)
@pytest.mark.parametrize("stays_on_disk", [False, True])
def test_a_column_far_from_zero_is_learned(engine, n_shards, stays_on_disk, tmp_path):
    """In float32, 1e9 + 1 and 1e9 - 1 are one number; timestamps are as large."""
    if engine == "torch":
        needs("torch")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    near = np.column_stack([rng.integers(-9, 10, 120), 2.0 * labels - 1])
    recipe = Recipe().with_settings(
        **{**BASE, "engine": engine, "dtype": "float32", "batch_size": 20, "input_scaling": "standard"}
    )
    found = []
    for number, rows in enumerate((near, near + 1e9)):
        folder = tmp_path / str(number)
        folder.mkdir()
        np.save(folder / "inputs.npy", rows)
        np.save(folder / "labels.npy", labels)
        data = load_data(folder) if stays_on_disk else dataset_from_arrays(rows, labels)
        splits = split_dataset(data, "random", 80, 20, 0)
        trainer = Trainer(data, splits, recipe, shards=LocalShards(n_shards) if n_shards else None)
        losses = [(r.train.loss, r.valid.loss, r.test.loss) for r in trainer.epochs()]
        found.append((losses, trainer.network().predict_proba(rows)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-4)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-4)


@pytest.mark.parametrize("batch_size", ["full", 16])
@pytest.mark.parametrize(
    "name",
    ["all of it", "batch norm, dropout, tanh", "moved images", "clipping", *[n for n in FEATURES if "layers:" in n]],
)
def test_the_number_of_threads_changes_no_bit(name, batch_size, monkeypatch):
    for constant, value in {"BLOCK_UNITS": 3, "BAND_VALUES": 20, "BAND_VALUES_OF_MANY": 10}.items():
        monkeypatch.setattr(numpy_engine, constant, value)
    make_limits_small(monkeypatch)
    recipe = recipe_of(**{"dtype": "float32", "batch_size": batch_size, "tile_rows": 16, **FEATURES[name]})
    found = []
    for workers in (1, 2, 3):
        trainer = Trainer(DATA, SPLITS, recipe, workers=workers)
        found.append(([(r.train, r.valid, r.test) for r in trainer.epochs()], trainer.checkpoint().parameters))
    for scores, parameters in found[1:]:
        assert scores == found[0][0]
        assert all((parameters[key] == value).all() for key, value in found[0][1].items())


@pytest.mark.extras
def test_a_stack_learns_a_column_far_from_zero():
    needs("torch")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    near = np.column_stack([rng.integers(-9, 10, 120), 2.0 * labels - 1])
    settings = {**BASE, "engine": "torch", "dtype": "float32", "batch_size": 20, "input_scaling": "standard"}
    recipes = [Recipe().with_settings(**settings, seed=seed, batch_seed=1) for seed in range(3)]
    losses = []
    for rows in (near, near + 1e9):
        data, ends = dataset_from_arrays(rows, labels), {}
        train_jointly(data, split_dataset(data, "random", 80, 20, 0), recipes, ends.__setitem__)
        losses.append([[(r.train.loss, r.valid.loss, r.test.loss) for r in ends[n].history] for n in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
