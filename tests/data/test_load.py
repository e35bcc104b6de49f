"""`load_data` recognizes sources by their content, and refuses options that do not apply."""

import hashlib
import sys
import types

import numpy as np
import pytest

from chalknet.config import DataConfig
from chalknet.data import load
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.load import load_data
from chalknet.data.readers import source_file
from chalknet.errors import ConfigError, DataError


@pytest.fixture
def npz_path(tmp_path):
    path = tmp_path / "letters.npz"
    np.savez(path, images=np.zeros((2, 4, 4), np.uint8), labels=np.array([0, 1]))
    return path


@pytest.fixture
def builtin(monkeypatch):
    data = dataset_from_arrays(np.zeros((2, 3)), np.array([0, 1]), source="glyphs")
    module = types.ModuleType("chalknet.data.glyphs")
    module.load_glyphs = lambda: data
    monkeypatch.setitem(sys.modules, "chalknet.data.glyphs", module)
    return data


def test_a_file_is_recognized_by_its_bytes(npz_path):
    other = npz_path.with_name("letters.csv")
    other.write_bytes(npz_path.read_bytes())
    assert len(load_data(other)) == 2


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_the_source_may_be_a_text_or_a_path(npz_path, kind):
    data = load_data(kind(npz_path))
    assert data.source == str(npz_path)
    assert data.sha256 == hashlib.sha256(npz_path.read_bytes()).hexdigest()


def test_glyphs_is_the_data_that_comes_with_chalknet(builtin):
    assert load_data("glyphs").inputs is builtin.inputs


def test_a_data_set_knows_how_to_be_read_again(npz_path, monkeypatch):
    monkeypatch.chdir(npz_path.parent)
    data = load_data(npz_path.name, class_names=list("KLMNOPQRST"))
    assert data.source == npz_path.name
    assert data.origin == DataConfig(str(npz_path), data.sha256, tuple("KLMNOPQRST"))


def test_a_path_named_glyphs_is_a_path(builtin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glyphs").write_text("0,1\n1,2\n3,4\n")
    assert len(load_data("./glyphs")) == 3
    assert load_data("glyphs").inputs is builtin.inputs


@pytest.mark.parametrize("name", ["glyph", "Glyphs", "gylphs"])
def test_a_name_near_glyphs_gets_a_hint(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"^{name}: no such file or folder\. Did you mean 'glyphs', the data set"):
        load_data(name)


def test_a_missing_file_gets_the_nearest_name_beside_it(npz_path):
    with pytest.raises(DataError, match=r"leters\.npz: no such file or folder. Did you mean '.*/letters\.npz'\?"):
        load_data(npz_path.with_name("leters.npz"))


@pytest.mark.parametrize("name", ["nowhere.csv", "no/such/folder/x.npz"])
def test_a_missing_file_is_reported_with_supported_formats(name, tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder. Expected an \.npz file, .* or the name 'glyphs'"):
        load_data(tmp_path / name)


@pytest.mark.parametrize("name", ["a\0b", "a\0b/c", "x" * 5_000])
def test_an_invalid_path_is_reported(name):
    with pytest.raises(DataError, match=r"not a path that can be opened|no such file"):
        load_data(name)


def test_devices_and_pipes_are_not_opened():
    with pytest.raises(DataError, match=r"^/dev/null: neither a file nor a folder"):
        load_data("/dev/null")


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


DENIED = raising(PermissionError(13, "Permission denied"))


def test_a_file_without_permission_is_reported(npz_path, monkeypatch):
    monkeypatch.setattr(source_file, "open_regular", DENIED)
    with pytest.raises(DataError, match=r"letters\.npz: cannot be read: Permission denied"):
        load_data(npz_path)


def test_a_folder_without_permission_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "read_folder", DENIED)
    with pytest.raises(DataError, match=r": cannot be read: Permission denied\. Check its permissions"):
        load_data(tmp_path)


def test_a_lack_of_memory_is_reported(npz_path, monkeypatch):
    monkeypatch.setattr(load, "read_npz", raising(MemoryError))
    with pytest.raises(DataError, match=r"letters\.npz: needs more memory than there is"):
        load_data(npz_path)


IMAGE_SIZE = r"image_size must be \(H, W\), two integers in 1\.\.65535, got"


@pytest.mark.usefixtures("builtin")
@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (None, {"label_column": "y"}, "label_column has no meaning for an .npz"),
        (None, {"image_size": (2, 2)}, "image_size has no"),
        (None, {"class_names": "ABC"}, "class_names must be a list"),
        (None, {"label_column": 1.5}, "label_column must be a column's"),
        ("glyphs", {"class_names": ["a", "b"]}, "class_names has no meaning for the data set that comes with chalknet"),
        *((None, {"image_size": size}, IMAGE_SIZE) for size in (28, (28,), (0, 28), (2.0, 3), (True, 3), "28")),
        (None, {"image_size": (1, 70_000)}, IMAGE_SIZE),
    ],
)
def test_invalid_and_unused_options_are_refused(npz_path, source, options, message):
    with pytest.raises(ConfigError, match=message):
        load_data(source or npz_path, **options)


def test_samples_in_memory_are_refused_as_a_source():
    with pytest.raises(ConfigError, match=r"got ndarray in memory\. Use dataset_from_arrays\(inputs, labels\)"):
        load_data(np.zeros((3, 3)))


@pytest.mark.parametrize("source", ["", None, 7])
def test_a_source_that_is_no_path_is_refused(source):
    with pytest.raises(
        ConfigError, match=r"source must be a path, a frame, a dict of columns, a tuple .* or the name 'glyphs'"
    ):
        load_data(source)
