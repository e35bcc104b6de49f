"""The torch engine: derivatives, bfloat16, captured updates, and checkpoints of other engines."""

from __future__ import annotations

import gc
import re
import sys
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import made_images, needs
from specs import make_engine
from strategies import updates

from chalknet.config import Recipe
from chalknet.data.preprocess import Scaling, flatten
from chalknet.data.splits import split_dataset
from chalknet.engines.engine import EngineSpec, SplitData, Update
from chalknet.engines.numpy_engine import NumpyEngine
from chalknet.engines.reference import ReferenceEngine
from chalknet.errors import ConfigError, DivergenceError, MissingExtraError
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.objective import Objective
from chalknet.network.optimizers import Adam, DecoupledWeightDecay, Momentum, Nesterov, ParameterAverage, Step
from chalknet.training.trainer import Trainer
from chalknet.version import install_command

pytestmark = pytest.mark.extras
torch = needs("torch")

from chalknet.engines import torch_device, torch_draws, torch_engine, torch_samples  # noqa: E402
from chalknet.engines.torch_engine import TorchEngine  # noqa: E402

DATA = made_images(400, seed=2, shape=(7, 6))
SPLITS = split_dataset(DATA, "random", 250, 60, 0)
X, LABELS = flatten(DATA.inputs), DATA.labels
SPLIT_DATA = {
    "train": SplitData(X[:250], LABELS[:250]),
    "valid": SplitData(X[250:290], LABELS[250:290]),
    "test": SplitData(X[290:], LABELS[290:]),
}
BASE = {"hidden": [12, 8], "epochs": 4, "learning_rate": 0.02, "momentum": 0.9, "reduction": "mean", "dtype": "float64"}


def trainer(engine, **settings):
    return Trainer(DATA, SPLITS, Recipe().with_settings(**{**BASE, "engine": engine, **settings}))


def losses(records):
    return [(record.train.loss, record.valid.loss, record.test.loss) for record in records]


def close(mine, theirs, **tolerances):
    assert set(mine) == set(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value, err_msg=name, **tolerances)


def gradients(engine, start, rows=slice(0, 250), **options):
    """Return the gradient: the change of each parameter in a step with learning rate 1."""
    options = {"scaling": Scaling(255.0), "objective": Objective("mean"), **options}
    return change_of(make_engine(engine, SPLIT_DATA, start, Momentum(0.0), **options), rows)


def change_of(runner, rows):
    before = runner.parameters()
    runner.train_epoch([Update(rows, Step(1, 1.0))])
    return {name: before[name].astype(float) - value for name, value in runner.parameters().items()}


# An independent check: the derivatives of torch's autograd, which the engine does not use.


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "leaky_relu"])
def test_gradients_equal_those_of_autograd(activation):
    from torch.nn import functional

    acts = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "gelu": lambda x: functional.gelu(x, approximate="tanh"),
        "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
    }
    start = initial_parameters(Architecture(42, (30, 20), 4), seed=1)
    found = gradients(TorchEngine, start, activations=[activation] * 2, dtype=np.float64, tile_rows=10)
    named = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    value = torch.tensor(X[:250] / 255.0)
    for layer in ("hidden1", "hidden2"):
        value = acts[activation](functional.linear(value, named[f"{layer}.weight"], named[f"{layer}.bias"]))
    logits = functional.linear(value, named["output.weight"], named["output.bias"])
    functional.cross_entropy(logits, torch.tensor(LABELS[:250])).backward()
    close(found, {name: tensor.grad.numpy() for name, tensor in named.items()}, rtol=1e-9, atol=1e-12)


def test_autograd_is_not_used():
    engine = make_engine(TorchEngine, SPLIT_DATA, initial_parameters(Architecture(42, (8,), 4), 0), Momentum(0.9))
    engine.train_epoch(updates([slice(0, 250)], 0.01))
    tensors = [*engine.stack._arrays.tensors, *engine.stack._gradients.tensors]
    assert not any(tensor.requires_grad or tensor.grad_fn is not None for tensor in tensors)


# bfloat16: operands have 8 bits, so each is off by up to 2**-9, and sums of them by about as much of their length.


def relative_error(mine, theirs):
    flat = [np.concatenate([named[name].ravel() for name in theirs]) for named in (mine, theirs)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("epochs", [0, 10])
def test_bfloat16_gradients_are_close_to_the_reference(activation, epochs, monkeypatch):
    """At the start and half-way. Once training samples are fitted, gradients are small rests of sums that cancel."""
    start = initial_parameters(Architecture(42, (60,), 4), seed=1)
    trained = make_engine(
        ReferenceEngine, SPLIT_DATA, start, Momentum(0.9), scaling=Scaling(255.0), activations=[activation]
    )
    for _ in range(epochs):
        trained.train_epoch(updates([slice(0, 250)], 0.1))
    parameters = trained.parameters()
    options = {"activations": [activation]}
    want = gradients(ReferenceEngine, parameters, **options)
    for tile_rows in (768, 10):  # in one tile and in four
        monkeypatch.setattr(torch_engine, "TILE_UNITS", 1)
        got = gradients(TorchEngine, parameters, precision="bfloat16", tile_rows=tile_rows, **options)
        assert 1e-5 < relative_error(got, want) < 1e-2  # float32 would stay below the first


@pytest.mark.parametrize("epochs", [0, 10])
def test_bfloat16_gradients_of_convolutions_are_close(epochs):
    """There are ten times as many roundings one after the other as in a network with one hidden layer."""
    conv, pool = {"type": "conv2d", "filters": 12, "bias": False}, {"type": "max_pool2d", "stride": 1}
    block = [conv, "batch_norm", "relu"]
    layers = [*block, *block, conv, {"type": "residual", "layers": 4}, pool, "average_pool2d", "global_average_pool"]
    architecture = Architecture((7, 6, 1), n_classes=4, layers=layers)
    start = initial_parameters(architecture, 1, "he_normal")
    common = {"scaling": Scaling(255.0), "objective": Objective("mean")}
    trained = ReferenceEngine(EngineSpec(architecture, start, Momentum(0.9), SPLIT_DATA, dtype=np.float64, **common))
    for _ in range(epochs):
        trained.train_epoch(updates([slice(0, 250)], 0.1))
    start = trained.parameters()
    want, got = (
        change_of(engine(EngineSpec(architecture, start, Momentum(0.0), SPLIT_DATA, **common, **own)), slice(0, 250))
        for engine, own in ((ReferenceEngine, {"dtype": np.float64}), (TorchEngine, {"precision": "bfloat16"}))
    )
    assert 1e-5 < relative_error(got, want) < 0.05


def test_sums_over_tiles_are_float32(monkeypatch):
    """In bfloat16 a sum stops growing where what is added is less than 2**-9 of it; 250 tiles are far beyond that."""
    start = initial_parameters(Architecture(42, (30,), 4), seed=1)
    want = gradients(ReferenceEngine, start)
    for constant in ("TILES_AT_ONCE", "TILE_UNITS"):  # tiles of one sample each
        monkeypatch.setattr(torch_engine, constant, 1)
    one_by_one = {"precision": "bfloat16", "tile_rows": 1}
    assert relative_error(gradients(TorchEngine, start, **one_by_one), want) < 1e-2


def test_a_bfloat16_run_keeps_parameters_in_float32():
    runner = trainer("torch", precision="bfloat16", dtype="float32", batch_norm=True, batch_size=50)
    list(runner.epochs())
    kept = runner.checkpoint()
    values = [*kept.parameters.values(), *kept.state.values()]
    assert all(value.dtype == np.float32 for value in values)
    # Not bfloat16 numbers in float32: the last 16 bits are in use.
    assert all((value.view(np.uint32) & 0xFFFF).any() for value in values if value.size > 50)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_bfloat16_learns_as_float32_does(average):
    """An average of the weights is evaluated in place of them, and both are copied for products."""
    ends = [
        list(trainer("torch", **settings, epochs=60, learning_rate=0.04, weight_average=average).epochs())[-1]
        for settings in ({"precision": "bfloat16", "dtype": "float32"}, {"dtype": "float32"})
    ]
    assert ends[1].train.loss < 0.5
    assert ends[0].train.loss == pytest.approx(ends[1].train.loss, rel=0.05)
    assert ends[0].valid.loss == pytest.approx(ends[1].valid.loss, rel=0.05)


def test_divergence_is_reported_in_bfloat16_too():
    """With bfloat16, relu compares bits, which could take a nan for a negative number."""
    with pytest.raises(DivergenceError):
        list(trainer("torch", precision="bfloat16", dtype="float32", learning_rate=1e30, epochs=20).epochs())


# Checkpoints of other engines, and other forms of the samples.


@pytest.mark.parametrize(("first", "second"), [("numpy", "torch"), ("torch", "numpy"), ("reference", "torch")])
@pytest.mark.parametrize(
    "settings", [{"optimizer": "adam", "weight_average": 0.9}, {"batch_norm": True, "dropout": 0.2}]
)
def test_a_checkpoint_moves_between_engines(first, second, settings):
    settings = {"batch_size": 40, **settings}
    whole = trainer(second, **settings)
    want = list(whole.epochs())
    begun, gone_on = trainer(first, **settings), trainer(second, **settings)
    epochs = begun.epochs()
    next(epochs), next(epochs)
    gone_on.load_checkpoint(begun.checkpoint())
    list(gone_on.epochs())
    np.testing.assert_allclose(losses(gone_on.history), losses(want), rtol=1e-9)
    close(gone_on.checkpoint().parameters, whole.checkpoint().parameters, rtol=1e-8, atol=1e-10)
    close(gone_on.checkpoint().state, whole.checkpoint().state, rtol=1e-8, atol=1e-10)


def test_all_engines_have_the_same_initial_weights():
    assert all(
        (trainer("torch").engine.parameters()[name] == value).all()
        for name, value in trainer("numpy").engine.parameters().items()
    )


def test_raw_samples_on_the_device_give_the_same_numbers(monkeypatch):
    want = losses(trainer("torch", batch_size=40).epochs())
    made = torch_samples.DeviceSamples.__init__
    monkeypatch.setattr(
        torch_samples.DeviceSamples, "__init__", lambda self, *args: made(self, *args[:-2], False, True)
    )
    runner = trainer("torch", batch_size=40)
    np.testing.assert_allclose(losses(runner.epochs()), want, rtol=1e-12)
    assert runner.engine.stack._samples["train"]._raw.dtype == torch.uint8


def test_rows_are_scaled_before_they_become_float32():
    rows = 1e9 + np.random.default_rng(0).integers(-1, 2, (60, 5)).astype(float)
    scaling = Scaling(np.ones(5), np.full(5, 1e9))
    part = {"train": SplitData(rows, np.arange(60) % 4)}
    start = initial_parameters(Architecture(5, (8,), 4), seed=0)
    found = [
        make_engine(engine, part, start, Momentum(0.9), scaling=scaling, dtype=np.float32)
        for engine in (TorchEngine, NumpyEngine)
    ]
    assert found[0].evaluate("train").loss == pytest.approx(found[1].evaluate("train").loss, rel=1e-6)


@pytest.mark.parametrize("forms", [(), ("cpu", "cuda")])
def test_of_equal_logits_the_first_class_counts(forms, monkeypatch):
    monkeypatch.setattr(torch_device, "GPU_FORMS_ON", forms)
    start = {name: 0 * value for name, value in initial_parameters(Architecture(42, (3,), 4), 0).items()}
    for precision in ("float32", "bfloat16"):
        engine = make_engine(TorchEngine, SPLIT_DATA, start, Momentum(0.9), precision=precision)
        assert engine.evaluate("valid").accuracy == np.mean(SPLIT_DATA["valid"].labels == 0)


# Updates as a GPU runs them: everything that changes lies in tensors that stay in place. On a CPU the same
# functions are called where a GPU replays the captured graph.

EVERYWHERE = ("cpu", "cuda")
CAPTURED = {
    "momentum": {},
    "bfloat16": {"precision": "bfloat16", "dtype": "float32"},
    "adam, one cycle": {"optimizer": "adam", "schedule": "one_cycle", "warmup_epochs": 1},
    "adamw, decay, average": {"optimizer": "adamw", "weight_decay": 0.1, "weight_average": 0.9},
    "nesterov, cosine": {"optimizer": "nesterov", "schedule": "cosine"},
    "batch norm, average": {"batch_norm": True, "weight_average": 0.9},
    "clipping, l2, smoothing": {"clip_norm": 0.05, "l2": 0.01, "label_smoothing": 0.1},
    "weights": {"class_weights": [1.0, 2.0, 0.5, 3.0]},
}


@pytest.mark.parametrize("batch_size", ["full", 40])
@pytest.mark.parametrize("name", CAPTURED)
def test_captured_updates_equal_direct_ones(name, batch_size, monkeypatch):
    settings = {"batch_size": batch_size, **CAPTURED[name]}
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", ())
    direct = trainer("torch", **settings)
    want = losses(direct.epochs())
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", EVERYWHERE)
    captured = trainer("torch", **settings)
    rounding = 1e-9 if "precision" not in settings else 1e-3
    np.testing.assert_allclose(losses(captured.epochs()), want, rtol=rounding)
    assert captured.engine.stack._captures
    assert not direct.engine.stack._captures
    close(
        captured.checkpoint().state,
        direct.checkpoint().state,
        rtol=1e-8 if rounding < 1e-6 else 0.05,
        atol=1e-3 * rounding,
    )


RANDOM = {
    "dropout": {"dropout": 0.2, "dropout_schedule": "flat_cos"},
    "input dropout": {"input_dropout": 0.1},
    "mixup": {"mixup": 0.3, "label_smoothing": 0.1},
    "moved images": {"shift_pixels": 1.5, "rotation_degrees": 20, "zoom": 0.2, "shear": 0.2},
    "erased images": {"erase": 0.7},
    "all of it": {
        "dropout": 0.2, "input_dropout": 0.1, "mixup": 0.3, "shift_pixels": 1.0, "erase": 0.3, "batch_norm": True,
        "input_scaling": "standard", "class_weights": [1.0, 2.0, 0.5, 3.0],
    },
}  # fmt: skip


@pytest.mark.parametrize("captures", [(), EVERYWHERE])
@pytest.mark.parametrize("batch_size", ["full", 40])
@pytest.mark.parametrize("name", RANDOM)
def test_numbers_drawn_by_torch_give_the_same(name, batch_size, captures, monkeypatch):
    """Images are changed in float32, and torch and NumPy may round differently."""
    settings = {"batch_size": batch_size, **RANDOM[name]}
    want = losses(trainer("torch", **settings).epochs())
    monkeypatch.setattr(torch_engine, "DRAW_ON", EVERYWHERE)
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", captures)
    monkeypatch.setattr(torch_draws, "NUMBERS_AT_ONCE", 10_000)  # those of a few mini-batches
    monkeypatch.setattr(torch_draws.NumpyDraws, "__init__", None)
    drawn = trainer("torch", **settings)
    np.testing.assert_allclose(losses(drawn.epochs()), want, rtol=1e-5 if "image" in name or "all" in name else 1e-9)
    assert drawn.engine.stack._captures == bool(captures)


@pytest.mark.parametrize("settings", [{"dropout": 0.2}, {"mixup": 0.3}])
def test_updates_with_numbers_drawn_by_numpy_are_not_captured(settings, monkeypatch):
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", EVERYWHERE)
    engine = trainer("torch", **settings).engine
    engine.evaluate("valid")
    assert not engine.stack._captures


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_restored_engine_discards_cached_scores(precision, monkeypatch):
    """It also renews the copies of the weights that bfloat16 products read."""
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", EVERYWHERE)
    runner = trainer("torch", precision=precision, dtype="float32")
    start = runner.checkpoint()
    before = runner.engine.evaluate("valid")
    list(runner.epochs())
    runner.engine.restore(start.parameters, start.state)
    assert runner.engine.evaluate("valid") == before


class FakeGraph:
    """A CUDA graph that counts its replays."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1


def test_work_is_done_once_then_captured_then_replayed(monkeypatch):
    done, recording = [], []

    @contextmanager
    def graph(made, **_):
        assert not gc.isenabled()
        recording.append(made)
        yield
        recording.append("end")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    recorded = torch_device.CapturedWork(SimpleNamespace(type="cuda"))
    for _ in range(4):
        recorded(lambda: done.append(len(recording)))
    assert done == [0, 1]  # once directly, and once during the capture, which runs nothing on a device
    assert recording[1] == "end"
    assert recording[0].replays == 3  # of the second, third and fourth call
    assert gc.isenabled()


def test_an_engine_is_freed_with_its_last_use(monkeypatch):
    """Its captured graphs hold memory of the GPU, which must not wait for the garbage collector."""
    monkeypatch.setattr(torch_engine, "CAPTURE_ON", EVERYWHERE)
    engine = make_engine(TorchEngine, SPLIT_DATA, initial_parameters(Architecture(42, (8,), 4), 0), Momentum(0.9))
    engine.train_epoch(updates([slice(0, 250)], 0.01))
    engine.evaluate("valid")
    still_there = weakref.ref(engine)
    gc.disable()
    try:
        del engine
        assert still_there() is None
    finally:
        gc.enable()


OPTIMIZERS = [
    Momentum(0.9),
    Nesterov(0.8),
    Adam(),
    DecoupledWeightDecay(Adam(), 0.1),
    ParameterAverage(DecoupledWeightDecay(Momentum(0.5, True), 0.1), 0.9),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("as_tensors", [False, True])
def test_in_place_steps_on_tensors_equal_pure_steps(optimizer, as_tensors):
    rng = np.random.default_rng(0)
    parameters = {"a.weight": rng.normal(size=(4, 3)), "a.bias": rng.normal(size=4)}
    state = optimizer.initial_state(parameters)
    moved = {name: torch.tensor(np.atleast_2d(value)) for name, value in parameters.items()}
    tensors = {key: torch.tensor(np.atleast_2d(value)) for key, value in state.items()}
    for number in range(1, 4):
        step = Step(number, 0.1 / number)
        gradients = {name: rng.normal(size=value.shape) for name, value in parameters.items()}
        parameters, state = optimizer.step(parameters, gradients, state, step)
        scalars = optimizer.step_scalars(step)
        for name, tensor in moved.items():
            arrays = [tensors[f"{key}/{name}"] for key in optimizer.state_names]
            gradient = torch.tensor(np.atleast_2d(gradients[name]))
            given = torch.tensor(scalars, dtype=torch.float64).unbind() if as_tensors else scalars
            optimizer.step_in_place(tensor, gradient, arrays, name == "a.bias", given, torch)
    close(
        {name: tensor.numpy() for name, tensor in moved.items()},
        {n: np.atleast_2d(v) for n, v in parameters.items()},
        rtol=1e-12,
    )
    close(
        {key: tensor.numpy() for key, tensor in tensors.items()},
        {k: np.atleast_2d(v) for k, v in state.items()},
        rtol=1e-12,
    )


# Devices and packages that are missing.

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


@NO_CUDA
@pytest.mark.parametrize(
    ("settings", "asked"), [({"device": "cuda"}, "device cuda"), ({"precision": "tf32"}, "precision tf32")]
)
def test_a_missing_device_is_one_line(settings, asked):
    with pytest.raises(ConfigError, match=f"^{asked} needs a CUDA device, and PyTorch .* finds none") as caught:
        trainer("torch", dtype="float32", **settings)
    assert "\n" not in str(caught.value)


def test_without_torch_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("chalknet.engines.torch_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("torch"))):
        trainer("torch")
