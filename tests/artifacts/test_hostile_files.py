"""Invalid model files and checkpoints: one short line, no hang, and no memory for false sizes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hostile import file_bytes, files_that_lie, parts_of, with_entry, with_tensor

from chalknet.artifacts.checkpoint import HEADER_KEY as CHECKPOINT_KEY
from chalknet.artifacts.checkpoint import checkpoint_bytes, read_checkpoint
from chalknet.artifacts.model_file import HEADER_KEY, load_model, model_bytes
from chalknet.data.preprocess import Scaling
from chalknet.engines.engine import SampleScores
from chalknet.engines.scores import EpochScores, SoftmaxTerms
from chalknet.errors import ChalknetError, DataError, ModelFileError, OutputError, StoreError
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Network
from chalknet.records import EpochRecord, Scores
from chalknet.training.trainer import Checkpoint, UnfinishedEpoch

MEBIBYTE = 2**20
ARCHITECTURE = Architecture(12, (20, 15), 3)
DENSE = {"type": "dense", "units": 3}


def network(class_names=("x", "y", "z")) -> Network:
    return Network(ARCHITECTURE, initial_parameters(ARCHITECTURE, 0), class_names, Scaling(255.0), (3, 4))


def checkpoint() -> Checkpoint:
    scores = Scores(1.5, 0.5, 20.0)
    history = tuple(EpochRecord(number, scores, scores, None, 0.25) for number in (1, 2))
    samples = tuple(SampleScores(np.ones(40, np.float32), np.ones(40, bool)) for _ in history)
    parameters = initial_parameters(ARCHITECTURE, 0)
    state = {f"velocity/{name}": value * 0 for name, value in parameters.items()}
    return Checkpoint(history, parameters, state, parameters, samples, ARCHITECTURE)


def within_epoch() -> Checkpoint:
    """Return a checkpoint within epoch 3, after two updates of 8 samples."""
    whole, terms = checkpoint(), SoftmaxTerms(8, np.float32)
    terms.true[:], terms.total[:], terms.correct[:] = -1.0, 2.0, True
    scores = EpochScores(2, 8, (9.0, 4.0, 5.0), terms)
    return replace(whole, unfinished=UnfinishedEpoch(scores, whole.parameters, whole.state, 0.5))


MODEL = model_bytes(network(), {"epochs": 3})
CHECKPOINT = checkpoint_bytes(checkpoint())
WITHIN_EPOCH = checkpoint_bytes(within_epoch())
MODELS_THAT_LIE = files_that_lie(MODEL, HEADER_KEY, "hidden1.weight")
WEIGHT = "parameters/hidden1.weight"
READERS = {load_model: ModelFileError, read_checkpoint: StoreError}


# What the description of format 2 had in place of the layers.
FORMAT_2 = {"format_version": 2, "n_inputs": 12, "hidden": [20, 15], "activations": ["relu"] * 2, "batch_norm": False}


def described(**fields: object) -> bytes:
    """Return the model with other fields in its description, of format 2 where they are fields of that format."""
    header, _ = parts_of(MODEL)
    description = json.loads(header["__metadata__"][HEADER_KEY])
    if {"n_inputs", "hidden", "activations", "batch_norm"} & set(fields):
        description |= FORMAT_2
    return with_entry(MODEL, HEADER_KEY, json.dumps({**description, **fields}))


def check_line(error: ChalknetError, path: Path) -> None:
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), "a message is one line, and sends nothing to a terminal that it could obey"
    assert len(message) < len(str(path)) + 400


def read_within_bounds(read, path: Path, error: type[ChalknetError]) -> None:
    """Read a file that must be refused, in at most 30 times the memory of its header."""
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    check_line(caught.value, path)
    assert peak < 4 * path.stat().st_size + 100 * MEBIBYTE


LIES = [(load_model, lie, data) for lie, data in MODELS_THAT_LIE.items()]
LIES += [(read_checkpoint, lie, data) for lie, data in files_that_lie(CHECKPOINT, CHECKPOINT_KEY, WEIGHT).items()]
LIES += [
    (read_checkpoint, f"{lie}, {name}", data)
    for name in ("epoch-parameters/hidden1.weight", "epoch-terms/true")
    for lie, data in files_that_lie(WITHIN_EPOCH, CHECKPOINT_KEY, name).items()
]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"updates": 0}, "its epoch has 0 updates"),
        ({"updates": 2.5}, "updates is 2.5, which is not an integer"),
        ({"samples": -8}, "its epoch has 2 updates, -8 samples"),
        ({"seconds": -1.0}, "and -1.0 seconds"),
        ({"sums": [1.0, 2.0]}, "its epoch has 2 updates"),
        ({"sums": [float("nan"), 4.0, 5.0]}, "a value of sums is nan, which is not a finite number"),
        ({"sums": [1e999, 4.0, 5.0]}, "a value of sums is inf, which is not a finite number"),
        ({"sums": 9.0}, "sums is 9.0, which is not a list"),
        ({"more": 1}, "'more' of its epoch is unknown"),
        (None, "it has arrays of an epoch that its header does not name"),
    ],
    ids=str,
)
def test_a_checkpoint_within_an_epoch_that_lies_is_named(tmp_path, change, message):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(WITHIN_EPOCH)
    assert read_checkpoint(path).unfinished.scores.n_samples == 16
    header, _ = parts_of(WITHIN_EPOCH)
    entry = json.loads(header["__metadata__"][CHECKPOINT_KEY])
    if change is None:
        del entry["epoch"]
    else:
        entry["epoch"] |= change
    path.write_bytes(with_entry(WITHIN_EPOCH, CHECKPOINT_KEY, json.dumps(entry)))
    read_within_bounds(read_checkpoint, path, StoreError)
    with pytest.raises(StoreError, match=re.escape(message)):
        read_checkpoint(path)


@pytest.mark.parametrize(("read", "data"), [(read, data) for read, _, data in LIES], ids=[lie for _, lie, _ in LIES])
def test_a_file_that_lies_is_one_line(tmp_path, read, data):
    path = tmp_path / "file.safetensors"
    path.write_bytes(data)
    read_within_bounds(read, path, READERS[read])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": [1] * 100_000}, "has 100000 hidden layers, and this chalknet reads up to 1000"),
        ({"hidden": [10**4_000] * 2}, "units must be an integer from 1 to 1000000, got 1000"),
        ({"hidden": "x" * MEBIBYTE}, "its hidden is 'xxx"),
        ({"hidden": ["x" * MEBIBYTE] * 2}, "a value of its hidden is 'xxx.* which is not an integer"),
        ({"hidden": [20.0, 15.0]}, "a value of its hidden is 20.0, which is not an integer"),
        ({"n_inputs": 10**4_200, "image_shape": None}, "hidden1.weight of network 1000"),
        ({"n_inputs": -12, "image_shape": None}, "a network needs sizes >= 1"),
        ({"members": 2**63}, "its members are 9223372036854775808, but it holds 6 tensors"),
        ({"members": 3}, "need 18 tensors, but it holds 6"),
        ({"members": -1}, "its members are -1"),
        ({"activations": ["relu"] * 100_000}, "activations must be one of"),
        ({"activations": ["x" * MEBIBYTE, "\x1b[2J"]}, "activations must be one of"),
        ({"batch_norm": True}, "need 12 tensors, but it holds 6"),
        ({"layers": [DENSE] * 100_000}, "ist of up to 1000 layers"),
        ({"layers": "x" * MEBIBYTE}, "its layers are 'xxx"),
        ({"layers": []}, r"its layers are \[\]"),
        ({"layers": [DENSE, {"type": "x" * MEBIBYTE}]}, "entry 2: unknown layer type 'xxx"),
        ({"layers": [{"type": "\x1b[2J"}]}, "entry 1: unknown layer type"),
        ({"layers": [{"type": ["dense"]}]}, 'a layer must be a name or a table with a "type"'),
        ({"layers": [{**DENSE, "units": 10**4_000}]}, "units must be an integer from 1 to 1000000, got 1000"),
        ({"layers": [{**DENSE, "units": {"a": 1}}]}, "units must be an integer"),
        ({"layers": [{**DENSE, "bias": 1}]}, "bias must be true or false"),
        ({"layers": [{"type": "dropout", "rate": float("nan")}, DENSE]}, "rate must be a number from 0 to 0.999"),
        ({"layers": ["relu"]}, "the last layer of a network must be dense"),
        ({"layers": ["batch_norm"] * 999 + [DENSE]}, "need 3998 tensors, but it holds 6"),
        ({"layers": [DENSE, {**DENSE, "units": 4}]}, "has 3 class names for 4 outputs"),
        ({"input_shape": [3, 4]}, r"layer dense expects flat samples of shape \(I,\), got \(3, 4\)"),
        ({"input_shape": [10**4_000]}, "its input_shape is"),
        ({"input_shape": [2**30, 2**30]}, "its input_shape is"),
        ({"input_shape": [True]}, r"its input_shape is \[True\]"),
        ({"input_shape": [13], "image_shape": None}, r"hidden1.weight of network 13-20-15-3 must be \(20, 13\)"),
        ({"format_version": 0}, "its format_version is 0, and formats begin with 1"),
        ({"format_version": 10**4_000}, "has format 1000"),
        ({"input_scale": 10**400}, "its input_scale is 1000"),
        ({"input_scale": float("inf")}, "its input_scale is inf"),
        ({"image_shape": [-3, -4]}, r"its image_shape is \[-3, -4\]"),
        ({"image_shape": [0, 12]}, "its image_shape is"),
        ({"image_shape": [12]}, "its image_shape is"),
        ({"class_names": ["x", "y", "x"]}, "class name 'x' is given twice"),
        ({"class_names": ["x", "y", "a\nb"]}, "holds characters that cannot be printed"),
        ({"class_names": ["x", "y", "\x1b[2J"]}, "holds characters that cannot be printed"),
        ({"class_names": ["x", "y", "\u202ez"]}, "holds characters that cannot be printed"),
        ({"class_names": ["x", "y", "\ud800"]}, "holds characters|safetensors"),
        ({"class_names": ["x", "y", "\n" * MEBIBYTE]}, "holds characters that cannot be printed"),
        ({"class_names": ["x", "y", "z" * 5 * MEBIBYTE]}, "at most 4,194,304 are read"),
        ({"class_names": ["x" * MEBIBYTE] * 3}, "is given twice"),
        ({"class_names": [str(k) for k in range(30_000)]}, "has 30000 class names for 3 outputs"),
        ({"class_names": ["x", "y", 3]}, "a value of its class_names is 3, which is not text"),
    ],
)
def test_a_description_that_lies_is_named(tmp_path, fields, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(described(**fields))
    read_within_bounds(load_model, path, ModelFileError)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


BINS = Architecture(4, layers=[{"type": "piecewise_linear_embedding", "bins": 3}, DENSE])


@pytest.mark.parametrize("edges", [[0, 1, 1, 2], [0, 2, 1, 3], [3, 2, 1, 0]])
def test_edges_of_bins_that_do_not_increase_are_named(tmp_path, edges):
    path = tmp_path / "model.safetensors"
    parameters = initial_parameters(BINS, 0)
    parameters["input.edges"][2] = edges
    path.write_bytes(model_bytes(Network(BINS, parameters, ("x", "y", "z"))))
    with pytest.raises(ModelFileError, match=r"input\.edges holds edges of bins that do not increase"):
        load_model(path)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([0, 10**9], "a group of the inputs 0 to 999999999, but there are only 12"),
        ([10**18, 1], "but there are only 12"),
        ([0, 10**30], "groups must be a list of the first input"),
        ([5, 2, 4, 3], "groups must be a list of the first input"),
        ([0, 0], "groups must be a list of the first input"),
        ([0] * 100_001, "groups must be a list of the first input"),
        ([[0, 1]], "groups must be a list of the first input"),
        ([], "layer category_embedding has no groups of inputs"),
        ([0, 12], "need 7 tensors, but it holds 6"),
    ],
)
def test_groups_of_categories_that_lie_are_named(tmp_path, groups, message):
    path = tmp_path / "model.safetensors"
    header, _ = parts_of(MODEL)
    description = json.loads(header["__metadata__"][HEADER_KEY])
    description["layers"].insert(0, {"type": "category_embedding", "groups": groups})
    path.write_bytes(with_entry(MODEL, HEADER_KEY, json.dumps(description)))
    read_within_bounds(load_model, path, ModelFileError)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


CONV = {"type": "conv2d", "filters": 3}
RESIDUAL = {"type": "residual", "layers": 2}
IMAGES = Architecture((6, 6, 1), layers=[CONV, "relu", RESIDUAL, "max_pool2d", "flatten", DENSE])
IMAGE_MODEL = model_bytes(Network(IMAGES, initial_parameters(IMAGES, 0), ("x", "y", "z"), Scaling(255.0), (6, 6)))


def with_image_layers(shape: object, *layers: object) -> bytes:
    """Return a model of images with another shape and other layers before the pooling."""
    header, _ = parts_of(IMAGE_MODEL)
    description = json.loads(header["__metadata__"][HEADER_KEY])
    description |= {"input_shape": shape, "layers": [*layers, "global_average_pool", DENSE], "image_shape": None}
    return with_entry(IMAGE_MODEL, HEADER_KEY, json.dumps(description))


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ([6, 6, 1], [{**CONV, "kernel_size": 10**9}], "kernel_size must be an integer from 1 to 1000, or two"),
        ([6, 6, 1], [{**CONV, "kernel_size": [[3, 3]]}], "kernel_size must be"),
        ([6, 6, 1], [{**CONV, "kernel_size": [3, [3]]}], "kernel_size must be"),
        ([6, 6, 1], [{**CONV, "kernel_size": [3] * 100_000}], "kernel_size must be"),
        ([6, 6, 1], [{**CONV, "padding": [1]}], "padding must be"),
        ([6, 6, 1], [{**CONV, "padding": 10**30}], "padding must be"),
        ([6, 6, 1], [{**CONV, "stride": 0}], "stride must be"),
        ([6, 6, 1], [{**CONV, "filters": 10**12}], "filters must be"),
        ([6, 6, 1], [{**CONV, "filters": 1_000_000}], "has 36000000 values for each image, and at most 33,554,432"),
        ([2**20, 2**20, 1], [CONV], "its largest layer has 3298534883328 values for each image"),
        ([2**20, 2**20], ["relu"], "layer global_average_pool expects images"),
        ([2**13, 2**11, 1], [{**CONV, "padding": 1000, "filters": 1}], "its largest layer has"),
        ([4096, 4096, 1], [{**CONV, "kernel_size": 999, "filters": 1}], "take the time of more than 68,719,476,736"),
        ([4096, 4096, 1], [{"type": "max_pool2d", "size": 999, "stride": 1}], "take the time of more than"),
        ([2048, 2048, 4], ["relu"] * 900, "take the time of more than"),
        ([2, 2, 2**20], [{"type": "conv2d", "filters": 2**19, "groups": 2**19}], "take the time of more than"),
        ([6, 6, 1], [{"type": "residual", "layers": 1}], "skips the 1 layers before it, and only 0 come before it"),
        ([6, 6, 1], [CONV, {"type": "residual", "layers": 10**9}], "layers must be an integer from 1 to 1000"),
        ([6, 6, 1], [CONV, {"type": "residual", "layers": -1}], "layers must be an integer from 1 to 1000"),
        ([6, 6, 1], [CONV, {"type": "residual", "layers": [1]}], "layers must be an integer from 1 to 1000"),
        ([6, 6, 2], [{**CONV, "filters": 1}, {"type": "residual", "layers": 1}], "cannot be added to"),
    ],
)
def test_layers_of_images_that_no_program_writes_are_named(tmp_path, shape, layers, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_image_layers(shape, *layers))
    began = time.process_time()
    read_within_bounds(load_model, path, ModelFileError)
    assert time.process_time() - began < 2
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(input_shape=[2**20, 2**20, 1]), "its largest layer has 3298534883328 values"),
        (lambda h: h["layers"][0].update(kernel_size=[[3]]), "kernel_size must be"),
        (lambda h: h["layers"][2].update(layers=9), "skips the 9 layers before it"),
        (
            lambda h: h["layers"][0].update(filters=5),
            r"conv1.weight of network .* must be \(5, 3, 3, 1",
        ),
    ],
    ids=["shape", "kernel", "shortcut", "filters"],
)
def test_a_checkpoint_of_images_that_lies_is_named(tmp_path, change, message):
    parameters = initial_parameters(IMAGES, 0)
    record = EpochRecord(1, Scores(1.5, 0.5, 20.0), None, None, 0.25)
    whole = checkpoint_bytes(Checkpoint((record,), parameters, {}, parameters, (), IMAGES))
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(whole)
    assert read_checkpoint(path).architecture == IMAGES
    header, _ = parts_of(whole)
    entry = json.loads(header["__metadata__"][CHECKPOINT_KEY])
    change(entry)
    path.write_bytes(with_entry(whole, CHECKPOINT_KEY, json.dumps(entry)))
    read_within_bounds(read_checkpoint, path, StoreError)
    with pytest.raises(StoreError, match=message):
        read_checkpoint(path)


def test_the_model_of_images_that_the_tests_change_is_valid(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(IMAGE_MODEL)
    assert load_model(path).predict_proba(np.zeros((2, 6, 6))).shape == (2, 3)


def test_long_class_names_that_a_header_can_hold_are_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(network(("x", "y", "z" * MEBIBYTE))))
    assert load_model(path).class_names[2] == "z" * MEBIBYTE


def test_a_model_that_no_reader_would_take_is_not_written():
    with pytest.raises(OutputError, match=r"holds at most 4,194,304. Shorten the class names."):
        model_bytes(network(("x", "y", "z" * 5 * MEBIBYTE)))


@pytest.mark.parametrize(("names", "message"), [(("x", "x", "y"), "given twice"), (("x", "y", "\n"), "printed")])
def test_names_that_no_data_set_has_make_no_network(names, message):
    with pytest.raises(DataError, match=message):
        network(names)


@pytest.mark.slow
def test_reading_many_members_takes_linear_time(tmp_path):
    header, _ = parts_of(MODEL)
    description = json.loads(header["__metadata__"][HEADER_KEY])
    n = 8_000  # each with arrays of no values, which take no room
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    tensors = {f"member{k}/hidden1.bias": empty for k in range(n * 6)}
    entry = json.dumps({**description, "members": n})
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_bytes({"__metadata__": {HEADER_KEY: entry}, **tensors}))
    read_within_bounds(load_model, path, ModelFileError)


def test_weights_that_overflow_are_refused_when_read(tmp_path):
    path = tmp_path / "model.safetensors"
    huge = np.full((20,), 1e300)
    path.write_bytes(with_tensor(with_tensor(MODEL, "hidden1.bias", huge), "hidden2.weight", np.full((15, 20), 1e300)))
    with pytest.raises(ModelFileError, match="so large that the network's values are not finite"):
        load_model(path)


def test_samples_that_overflow_are_an_error_not_nan():
    large = {name: value * 1e10 for name, value in initial_parameters(ARCHITECTURE, 0).items()}
    rows = np.ones((3, 12))
    rows[1] = 1e300
    with pytest.raises(DataError, match="sample 1 has values so large"):
        Network(ARCHITECTURE, large, ("x", "y", "z")).predict_proba(rows)


def test_a_scale_that_float32_takes_for_0_is_refused(tmp_path):
    small = {name: value.astype(np.float32) for name, value in initial_parameters(ARCHITECTURE, 0).items()}
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_bytes(Network(ARCHITECTURE, small, ("x", "y", "z"), Scaling(1e-300))))
    with pytest.raises(ModelFileError, match="so large that the network's values are not finite"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format=5), "has format 5, and this chalknet reads up to 4"),
        (lambda h: h.pop("layers"), "its layers are None"),
        (lambda h: h["layers"].pop(), "the last layer of a network must be dense"),
        (lambda h: h["layers"].insert(0, {"type": "batch_norm"}), "needs parameters"),
        (lambda h: h.update(format="1"), "its format is '1', which is not an integer"),
        (lambda h: h.update(history=5), "its history is 5, which is not a list"),
        (lambda h: h.pop("history"), "'history' is missing"),
        (lambda h: h["history"].pop(), "valid/loss"),
        (lambda h: h["history"].reverse(), "its epoch 1 is numbered 2"),
        (lambda h: h["history"][0].update(train=None), "train is None, which is not a table"),
        (lambda h: h["history"][0]["train"].update(loss="low"), "loss is 'low', which is not a finite number"),
        (lambda h: h["history"][0]["train"].update(loss=float("nan")), "loss is nan, which is not a finite number"),
        (lambda h: h["history"][0]["train"].update(loss=10**400), "loss is 1000.* which is not a finite number"),
        (lambda h: h["history"][0]["train"].update(more=1.0), "'more' of train is unknown"),
        (lambda h: h["history"][0]["train"].update(accuracy=1.5), "its epoch 1 has the loss 1.5 and the accuracy 1.5"),
        (lambda h: h["history"][0]["train"].update(loss=-1), "its epoch 1 has the loss -1.0"),
        (lambda h: h["history"][0].update(seconds=-2), "its epoch 1 took -2.0 seconds"),
        (lambda h: h.update(digests={"recipe": 5}), "'recipe' is 5, which is not text"),
        (lambda h: h["history"][0].update(seconds=[]), "not a finite number"),
    ],
    ids=range(19),
)
def test_a_history_that_no_training_writes_is_named(tmp_path, change, message):
    header, _ = parts_of(CHECKPOINT)
    entry = json.loads(header["__metadata__"][CHECKPOINT_KEY])
    change(entry)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(with_entry(CHECKPOINT, CHECKPOINT_KEY, json.dumps(entry)))
    with pytest.raises(StoreError, match=message) as caught:
        read_checkpoint(path)
    check_line(caught.value, path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("valid/right", np.ones((2, 40))),
        ("valid/loss", np.ones((3, 40), np.float32)),
        ("valid/loss", np.ones((), np.float32)),
        ("best/hidden1.bias", np.full(20, np.inf)),
        ("best/hidden1.bias", np.ones(19)),
        ("state/velocity/hidden1.bias", np.ones(20, bool)),
        ("state/velocity/hidden1.bias", np.ones(19)),
    ],
)
def test_arrays_that_no_training_keeps_are_named(tmp_path, name, value):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(with_tensor(CHECKPOINT, name, value))
    with pytest.raises(StoreError, match=name.partition("/")[2]):
        read_checkpoint(path)


@pytest.mark.parametrize(("read", "error"), READERS.items())
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to a device", "link to itself", "nothing"])
def test_what_is_no_file_is_refused_without_being_opened(tmp_path, read, error, kind):
    path = tmp_path / "model.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # the program that opens it waits for a writer, who never comes
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "link to itself":
        path.symlink_to(path)
    with pytest.raises(error) as caught:
        read(path)
    check_line(caught.value, path)


def test_no_lie_takes_memory_that_the_system_counts(tmp_path):
    """tracemalloc sees Python's own; here the system limits everything, maps included, to 160 MiB more than is used."""
    for number, data in enumerate(MODELS_THAT_LIE.values()):
        (tmp_path / f"{number}.safetensors").write_bytes(data)
    code = """if True:
        import pathlib, resource, sys
        from chalknet import load_model, ModelFileError
        from safetensors import safe_open
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 160 * 2**20,) * 2)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                load_model(path)
            except ModelFileError:
                continue
            sys.exit(f"{path} was read")
        """
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc, where a process's memory is read")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
