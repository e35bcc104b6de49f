"""Image files are prepared like the training images if it is clear how; notes say what was done."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import chalknet
from chalknet.data.dataset import dataset_from_arrays
from chalknet.data.image_facts import image_facts, measure_image
from chalknet.errors import ConfigError, ModelFileError
from chalknet.serving.image_preparation import ImagePreparation

SIDE = 12


def bars(n, fill=1.0, seed=0):
    """Return light bars on black, upright or lying, that fill a fraction of the image."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, SIDE, SIDE), np.uint8)
    margin = round(SIDE * (1 - fill) / 2)
    for at in range(n):
        place = rng.integers(margin, SIDE - margin - 2)
        images[at, margin : SIDE - margin, place : place + 2] = rng.integers(180, 256)
    images[::2] = images[::2].transpose(0, 2, 1)
    return images, np.arange(n) % 2


@pytest.fixture(scope="module")
def run():
    images, labels = bars(200)
    data = dataset_from_arrays(images, labels, ["lying", "upright"])
    return chalknet.train(data, hidden=[16], epochs=8, shift_pixels=0, stop_early=False)


def scan(shape=(60, 60), thick=6, ink=0, paper=255):
    """Return an upright bar in the middle of a large sheet."""
    page = np.full(shape, paper, np.uint8)
    height, width = shape
    page[height // 3 : 2 * height // 3, width // 2 : width // 2 + thick] = ink
    return page


def saved(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("ink", "paper", "done"), [(0, 255, ", inverted, trimmed"), (255, 0, ", trimmed")])
def test_scans_are_inverted_and_trimmed_where_that_is_clear(run, tmp_path, ink, paper, done):
    path = saved(tmp_path / "a.png", scan(ink=ink, paper=paper))
    predictions = chalknet.predict(run.network, path)
    assert predictions.labels == ["upright"]
    assert done in predictions.read_as[0]
    told = " ".join(predictions.notes)
    assert ("inverted because the training images have a dark" in told) == (ink == 0)
    assert "trim=False leaves them: 'a.png'." in told
    plain = chalknet.predict(run.network, path, invert=False, trim=False)
    assert plain.read_as == ("60x60 gray -> 12x12 gray",)
    assert plain.notes == ()


def test_images_like_those_of_training_are_left_alone(run, tmp_path):
    paths = [saved(tmp_path / f"{at}.png", image) for at, image in enumerate(bars(20, seed=1)[0])]
    paths.append(saved(tmp_path / "blank.png", np.full((SIDE, SIDE), 255, np.uint8)))  # notMNIST's solid I
    predictions = chalknet.predict(run.network, paths)
    assert set(predictions.read_as) == {"12x12 gray, as it is"}
    assert predictions.notes == ()


def test_unclear_images_are_noted(run, tmp_path):
    tight = 255 - bars(2, seed=1)[0][1]
    tight[0] = np.linspace(120, 255, SIDE)  # a border that is light, and not plain
    predictions = chalknet.predict(run.network, saved(tmp_path / "a.png", tight))
    assert predictions.notes[0].startswith(
        "1 image that may have to be inverted, because the training images have a dark"
    )
    loose = np.zeros((30, 30), np.uint8)
    loose[4:26, 14:17] = 255
    predictions = chalknet.predict(run.network, saved(tmp_path / "b.png", loose))
    assert predictions.notes[0].startswith("1 image with wider margins than the training images. trim=True cuts")
    assert "trimmed to 3x22" in chalknet.predict(run.network, tmp_path / "b.png", trim=True).read_as[0]


def test_many_images_say_together_what_one_does_not(run, tmp_path):
    tight = 255 - bars(8, seed=1)[0]
    tight[:, 0] = np.linspace(120, 255, SIDE)
    paths = [saved(tmp_path / f"{at}.png", image) for at, image in enumerate(tight)]
    assert chalknet.predict(run.network, paths).notes[0].startswith("8 of 8 images do not have the dark background")
    assert "background of the training" not in chalknet.predict(run.network, paths[:2]).notes[0]
    assert chalknet.predict(run.network, paths, invert=True).notes == ()


def test_trimmed_images_get_the_proportions_of_training_images(run):
    gray, _ = ImagePreparation((SIDE, SIDE), run.network.image_facts)(scan(), "a.png")
    look = measure_image(gray)
    assert look.box[1] - look.box[0] == SIDE
    assert look.box[3] - look.box[2] < SIDE / 2
    filled = replace(run.network.image_facts, usual_height=1.0, usual_width=1.0)
    gray, _ = ImagePreparation((SIDE, SIDE), filled)(scan(), "a.png")
    assert gray.min() == gray.max() == 255  # a bar that was stretched to fill the image, as notMNIST's I


def test_arrays_and_data_files_of_another_kind_are_told(run, tmp_path):
    images, _ = bars(20, seed=1)
    np.savez(tmp_path / "a.npz", images=255 - images)
    (note,) = chalknet.predict(run.network, tmp_path / "a.npz").notes
    assert "most images have a light background, but the training images have a dark one. Invert them" in note
    (note,) = chalknet.predict(run.network, bars(20, fill=0.4)[0]).notes
    assert note.startswith("most images have wide margins")
    assert chalknet.predict(run.network, images).notes == ()
    assert "have one channel" in chalknet.predict(run.network, images[..., None]).notes[0]


def test_image_facts_are_stored_in_the_model_file(run, tmp_path):
    facts = run.network.image_facts
    assert facts == image_facts(run.data.inputs, run.splits.train)
    assert (facts.background, facts.fill) == ("dark", 1.0)
    assert image_facts(255 - run.data.inputs, run.splits.train).background == "light"
    chalknet.save_model(run.network, tmp_path / "m.safetensors")
    assert chalknet.load_model(tmp_path / "m.safetensors").image_facts == facts
    bad = replace(run.network, image_facts=replace(facts, fill=1.5))
    chalknet.save_model(bad, tmp_path / "bad.safetensors")
    with pytest.raises(ModelFileError, match=r"its image_facts are .*, which are not all in 0\.\.1"):
        chalknet.load_model(tmp_path / "bad.safetensors")


def test_without_image_facts_images_are_left_unchanged(run, tmp_path):
    path = saved(tmp_path / "a.png", scan())
    predictions = chalknet.predict(replace(run.network, image_facts=None), path)
    assert (predictions.read_as, predictions.notes) == (("60x60 gray -> 12x12 gray",), ())


def test_another_fit_is_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="fit must be one of stretch, crop, pad, got 'squash'"):
        chalknet.predict(run.network, saved(tmp_path / "a.png", scan()), image_fit="squash")
