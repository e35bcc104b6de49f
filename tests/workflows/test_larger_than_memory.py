"""Training from files: the results of training in memory, without memory that grows with the samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import made_images, needs

from chalknet.artifacts.history_file import history_csv
from chalknet.config import Recipe
from chalknet.data.load import load_data
from chalknet.data.splits import split_dataset
from chalknet.engines import numpy_engine
from chalknet.training.trainer import Trainer
from chalknet.workflows.data import convert

RECIPE = Recipe().with_settings(
    hidden=[9, 5], epochs=3, learning_rate=1e-3, momentum=0.9, shuffle_window=300, tile_rows=100
)
N_INPUTS = 784
FEW, MANY = 30_000, 180_000
BYTES_A_SAMPLE = 32  # labels and positions with what making them takes; the samples themselves have 784


def trained(data, splits, recipe):
    trainer = Trainer(data, splits, recipe)
    rows = [line.rsplit(",", 1)[0] for line in history_csv(list(trainer.epochs())).splitlines()]
    return rows, trainer.network().parameters


@pytest.mark.parametrize("kind", ["npy", "shards"])
@pytest.mark.parametrize("batch_size", ["full", 32])
@pytest.mark.parametrize("engine", ["numpy", "reference", pytest.param("torch", marks=pytest.mark.extras)])
def test_training_from_files_equals_training_in_memory(tmp_path, monkeypatch, kind, batch_size, engine):
    monkeypatch.setattr("chalknet.artifacts.dataset_files.SHARD_SAMPLES", 333)
    monkeypatch.setattr(numpy_engine, "RESIDENT_BYTES", 0)
    if engine == "torch":
        needs("torch")
        monkeypatch.setattr("chalknet.engines.torch_samples.RESIDENT_BYTES", 0)
    convert(made_images(1000, seed=1), tmp_path / "set", kind)
    data = load_data(tmp_path / "set")
    splits = split_dataset(data, "random", 800, 100)
    recipe = RECIPE.with_settings(batch_size=batch_size, engine=engine)
    rows, parameters = trained(data, splits, recipe)
    want, want_parameters = trained(data.in_memory(), splits, recipe)
    assert rows == want
    assert all((value == want_parameters[name]).all() for name, value in parameters.items())


def test_mini_batches_are_shuffled_within_shuffled_windows():
    data = made_images(1000, seed=1)
    trainer = Trainer(data, split_dataset(data, "random", 800, 100), RECIPE.with_settings(batch_size=64))
    first, second = (np.concatenate(list(trainer.batches(epoch))) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == list(range(800))
    assert (first != second).any()
    windows = first // 300
    assert np.count_nonzero(np.diff(windows)) == 2  # each window is finished before the next begins
    assert [len(batch) for batch in trainer.batches(1)] == [64] * 12 + [32]


SCRIPT = """
import sys
from pathlib import Path
from chalknet.config import Recipe
from chalknet.data.load import load_data
from chalknet.data.splits import split_dataset
from chalknet.training.trainer import Trainer
data = load_data(sys.argv[1])
batch = int(sys.argv[2]) if sys.argv[2] != "full" else "full"
recipe = Recipe().with_settings(hidden=[16], epochs=2, batch_size=batch, shuffle_window=8192)
list(Trainer(data, split_dataset(data, "random", 0.8, 0.1), recipe, workers=2).epochs())
# not getrusage, whose peak includes that of the process that started this one
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("batch_size", ["full", "256"])
@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(tmp_path, batch_size):
    peaks = {}
    for n in (FEW, MANY):
        folder = tmp_path / str(n)
        folder.mkdir()
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (n, N_INPUTS))
        images[:] = np.arange(N_INPUTS, dtype=np.uint8)
        np.save(folder / "labels.npy", (np.arange(n) % 10).astype(np.uint8))
        del images
        command = [sys.executable, "-c", SCRIPT, str(folder), batch_size]
        peaks[n] = 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    allowed = BYTES_A_SAMPLE * (MANY - FEW) + 8 * 2**20  # what the allocator keeps differs from run to run
    assert peaks[MANY] - peaks[FEW] < allowed < 0.15 * N_INPUTS * (MANY - FEW)
