"""`chalknet data build`: output, messages and refused options."""

import hashlib
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from dejavu import SANS, SYMBOLS

from chalknet.cli.data_build import build
from chalknet.data.load import load_data
from chalknet.errors import ConfigError, DataError, OutputError


def run(*arguments):
    return CliRunner().invoke(build, [str(argument) for argument in arguments])


def refused(error, message, *arguments):
    """The result of a command line that ends with this error."""
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    return result


def test_the_command_writes_a_set_that_the_reader_opens(three_fonts, tmp_path):
    out, manifest = tmp_path / "letters.npz", tmp_path / "faces.csv"
    result = run(three_fonts, "--letters", "A-C", "-o", out, "--jobs", 1, "--manifest", manifest)
    assert result.exit_code == 0, result.output
    assert "9 images of 3 faces in" in result.output
    assert hashlib.sha256(out.read_bytes()).hexdigest() in result.output
    data = load_data(out)
    assert data.inputs.shape == (9, 28, 28)
    assert data.class_names == ("A", "B", "C")
    assert data.groups is not None
    again = run(three_fonts, "--pinned", manifest, "-o", tmp_path / "again.npz", "--jobs", 1, "--quiet")
    assert (again.exit_code, again.output) == (0, "")
    assert (tmp_path / "again.npz").read_bytes() == out.read_bytes()


def test_the_command_says_what_it_dropped(three_fonts, tmp_path):
    shutil.copy(SYMBOLS, three_fonts)
    result = run(three_fonts, "-o", tmp_path / "letters.npz", "--jobs", 1)
    assert "4 font files, 3 faces with all letters" in result.output
    assert "dropped 1: letter blank or missing (STIXSizFourSymReg.ttf A)" in result.output


def test_a_missing_output_folder_is_reported_first(tmp_path):
    refused(OutputError, "does not exist", SANS, "-o", tmp_path / "nowhere" / "letters.npz")


def test_pinned_with_letters_is_refused(three_fonts, tmp_path):
    line = [three_fonts, "-o", tmp_path / "x.npz", "--pinned", tmp_path / "faces.csv", "--letters", "A-C"]
    refused(ConfigError, "letters cannot be combined with a pinned manifest", *line)


# ---------------------------------------------------------------- comparing


@pytest.fixture
def pinned(three_fonts, tmp_path):
    """The words of a pinned build, and the set it makes, written to letters.npz."""
    manifest, out = tmp_path / "faces.csv", tmp_path / "letters.npz"
    assert run(three_fonts, "--letters", "A-C", "-o", out, "--jobs", 1, "--manifest", manifest).exit_code == 0
    return (three_fonts, "--pinned", manifest, "--jobs", 1), out


def change(path, **changed):
    """Write the .npz file again with some arrays replaced."""
    with np.load(path) as archive:
        arrays = {**archive}
    np.savez(path, **(arrays | {key: change(arrays[key]) for key, change in changed.items()}))


def test_compare_writes_nothing_by_default(pinned, tmp_path):
    words, reference = pinned
    before = sorted(tmp_path.rglob("*"))
    result = run(*words, "--compare", reference)
    assert result.exit_code == 0, result.output
    libraries = str(np.load(reference)["made_with"])
    assert f"9 images compared with {reference}, labels agree\n  9 identical\n" in result.output
    assert (
        "\n  0 with a pixel more than 16 levels off\n  0 with a pixel more than 64 levels off (0.00%; " in result.output
    )
    assert (
        f"  largest difference 0 levels of 255\n  this build: {libraries}\n  {reference}: {libraries}\n"
        in result.output
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_compare_with_out_writes_the_set_as_well(pinned, tmp_path):
    words, reference = pinned
    result = run(*words, "--compare", reference, "-o", tmp_path / "again.npz", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "again.npz").read_bytes() == reference.read_bytes()


def test_a_pixel_a_little_off_is_counted_and_agrees(pinned):
    words, reference = pinned
    change(
        reference,
        images=lambda images: np.where(np.arange(images.size).reshape(images.shape) == 400, images ^ 20, images),
    )
    result = run(*words, "--compare", reference)
    assert result.exit_code == 0
    assert "\n  8 identical\n" in result.output


def test_too_many_differences_fail_and_write_nothing(pinned, tmp_path):
    words, reference = pinned
    change(reference, images=lambda images: np.concatenate([255 - images[:1], images[1:]]))
    message = "1 of 9 images (11.11%) have a pixel more than 64 levels off"
    result = refused(DataError, message, *words, "--compare", reference, "-o", tmp_path / "again.npz")
    assert "  1 with a pixel more than 64 levels off (11.11%; limit 5%)" in result.output
    assert result.exception.exit_code == 1
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "again.npz").exists()


def test_labels_that_differ_fail_and_write_nothing(pinned, tmp_path):
    words, reference = pinned
    change(reference, labels=lambda labels: (labels + 1) % 3)
    line = [*words, "--compare", reference, "-o", tmp_path / "again.npz"]
    refused(DataError, "9 of 9 labels differ from those just drawn", *line)
    assert not (tmp_path / "again.npz").exists()


def test_a_file_to_compare_with_is_read_before_anything_is_drawn(pinned, tmp_path):
    words, _ = pinned
    result = refused(DataError, "nowhere.npz", *words, "--compare", tmp_path / "nowhere.npz")
    assert "drawing" not in result.output


def test_useless_combinations_of_options_are_refused(three_fonts, pinned):
    refused(ConfigError, "compare needs pinned", three_fonts, "--compare", pinned[1])
    refused(ConfigError, "give a file to write as out", three_fonts)
