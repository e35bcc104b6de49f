import numpy as np
import pytest
from hypothesis import given
from strategies import seeds

from chalknet.config import AugmentationConfig
from chalknet.data.augment import PARAMETERS_PER_IMAGE, Augmenter, augmenter_for
from chalknet.errors import ConfigError

MIDDLE = 0.5  # a draw that moves nothing


def changed(images, parameters=None, **settings):
    images = np.asarray(images)
    parameters = np.full((len(images), PARAMETERS_PER_IMAGE), MIDDLE) if parameters is None else parameters
    augmenter = Augmenter(AugmentationConfig(**settings), images.shape[1:])
    return augmenter(images.reshape(len(images), -1), parameters).reshape(images.shape)


def one_draw(position, value):
    parameters = np.full((1, PARAMETERS_PER_IMAGE), MIDDLE)
    parameters[0, position] = value
    return parameters


IMAGE = np.arange(1, 31, dtype=np.uint8).reshape(1, 5, 6)


def test_parameters_in_the_middle_change_nothing():
    got = changed(IMAGE, shift_pixels=3, rotation_degrees=40, zoom=0.5, shear=0.4)
    np.testing.assert_allclose(got, IMAGE, atol=1e-5)
    assert got.dtype == np.float32


def test_a_shift_of_a_pixel_reads_the_neighbor_and_0_outside():
    got = changed(IMAGE, one_draw(4, 1.0), shift_pixels=1)  # t_y = 1: row 0 reads row 1
    np.testing.assert_allclose(got[0, :-1], IMAGE[0, 1:], atol=1e-4)
    np.testing.assert_allclose(got[0, -1], 0, atol=1e-4)


def test_half_a_pixel_is_the_mean_of_two():
    got = changed(IMAGE, one_draw(5, 0.75), shift_pixels=1)  # t_x = 0.5
    np.testing.assert_allclose(got[0, :, :-1], (IMAGE[0, :, 1:] + IMAGE[0, :, :-1].astype(float)) / 2, atol=1e-4)
    np.testing.assert_allclose(got[0, :, -1], IMAGE[0, :, -1] / 2, atol=1e-4)


def test_a_quarter_turn_is_numpys():
    square = np.random.default_rng(0).integers(0, 256, (1, 7, 7)).astype(np.uint8)
    got = changed(square, one_draw(0, 1.0), rotation_degrees=90)
    assert any(np.allclose(got[0], np.rot90(square[0], k), atol=0.02) for k in (1, 3))


def test_zoom_two_shows_the_middle_half():
    image = np.zeros((1, 9, 9), np.uint8)
    image[0, 4, 4] = 200
    image[0, 0, 0] = 200
    wide = changed(image, one_draw(1, 0.0), zoom=1.0)  # z_y = 1/2: the image is stretched down to twice its height
    assert wide[0, 0].sum() == 0
    np.testing.assert_allclose(wide[0, 3:6, 4], [100, 200, 100], atol=0.01)


def test_erasing_sets_one_rectangle_to_0_and_leaves_the_rest():
    image = np.full((1, 10, 8), 50, np.uint8)
    parameters = np.full((1, PARAMETERS_PER_IMAGE), MIDDLE)
    parameters[0, 6] = 0.0
    got = changed(image, parameters, erase=0.1, erase_size=0.4)[0]
    rows, columns = np.flatnonzero((got == 0).any(axis=1)), np.flatnonzero((got == 0).any(axis=0))
    assert (len(rows), len(columns)) == (2, 2)  # 0.5 x 0.4 x 10 rows and x 8 columns, rounded up
    assert (got[np.ix_(rows, columns)] == 0).all()
    assert (got == 50).sum() == 80 - 4
    parameters[0, 6] = 0.11
    assert (changed(image, parameters, erase=0.1) == 50).all()


@given(seeds)
def test_an_image_is_changed_the_same_alone_and_in_a_batch(seed):
    rng = np.random.default_rng(seed)
    images, parameters = rng.integers(0, 256, (40, 5, 6)).astype(np.uint8), rng.uniform(size=(40, PARAMETERS_PER_IMAGE))
    settings = {"shift_pixels": 2, "rotation_degrees": 30, "zoom": 0.3, "shear": 0.3, "erase": 0.5}
    whole = changed(images, parameters, **settings)
    for n in (0, 31, 32, 39):
        np.testing.assert_array_equal(changed(images[[n]], parameters[[n]], **settings)[0], whole[n])
    assert np.isfinite(whole).all()
    assert whole.min() >= 0
    assert whole.max() <= 255 + 1e-3


def test_augmentation_of_rows_is_refused():
    assert augmenter_for(AugmentationConfig(mixup=0.4), None) is None
    with pytest.raises(ConfigError, match="rotation_degrees changes images, but the samples are rows of numbers"):
        augmenter_for(AugmentationConfig(rotation_degrees=5), None)
