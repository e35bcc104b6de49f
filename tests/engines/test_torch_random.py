"""The random numbers of the torch engine have the bits that NumPy draws, and change images in the same way."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import needs

from chalknet.config import AugmentationConfig
from chalknet.data.augment import PARAMETERS_PER_IMAGE, Augmenter
from chalknet.network.random_numbers import RATE_STEPS, dropout_mask, random_words, uniforms

pytestmark = pytest.mark.extras
torch = needs("torch")

from chalknet.engines.torch_augment import TorchAugmenter  # noqa: E402
from chalknet.engines.torch_random import RandomStreams  # noqa: E402

SEEDS, STREAMS, UPDATES = [0, 2**32 - 1, 77], [3, 2**32 + 1, 0], [1, 5, 10**9]
CASES = [(number, position) for number in range(len(UPDATES)) for position in range(len(SEEDS))]


def drawn(name, *arguments):
    """Return what a method draws for all updates and networks, as (U, M, ...)."""
    updates = torch.tensor(UPDATES)[:, None].expand(-1, len(SEEDS))
    return getattr(RandomStreams(SEEDS, STREAMS, "cpu"), name)(updates, *arguments).numpy()


@pytest.mark.parametrize(("number", "position"), CASES)
def test_words_have_numpys_bits(number, position):
    rows = slice(3, 9)
    want = random_words(SEEDS[position], STREAMS[position], UPDATES[number], rows, 5)
    np.testing.assert_array_equal(drawn("words", rows, 5)[number, position].view(np.uint64), want.reshape(6, 20))


@pytest.mark.parametrize(("number", "position"), CASES)
def test_uniforms_are_numpys(number, position):
    rows = slice(3, 9)
    want = uniforms(SEEDS[position], STREAMS[position], UPDATES[number], rows, 11)
    np.testing.assert_array_equal(drawn("uniforms", rows, 11)[number, position], want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.99])
def test_dropout_masks_are_numpys(rate, dtype):
    rows, threshold = slice(2, 9), round(rate * RATE_STEPS)
    thresholds = torch.full((len(UPDATES), len(SEEDS), 1, 1), threshold, dtype=torch.int32)
    found = drawn("dropout_masks", rows, 37, thresholds, getattr(torch, dtype))
    for number, position in CASES:
        want = dropout_mask(SEEDS[position], STREAMS[position], UPDATES[number], rows, 37, rate, dtype)
        np.testing.assert_array_equal(found[number, position], want, strict=True)


MOVED = {"shift_pixels": 2.5, "rotation_degrees": 30, "zoom": 0.4, "shear": 0.3}
ERASED = {"erase": 0.6, "erase_size": 0.5}


@pytest.mark.parametrize("shape", [(9, 7), (6, 8, 3)])
@pytest.mark.parametrize("settings", [MOVED, ERASED, {**MOVED, **ERASED}, {"shift_pixels": 1.0}])
def test_images_change_as_those_of_numpy(settings, shape):
    """The angles and zooms are float64 functions, whose last digit may differ between the libraries."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 50, int(np.prod(shape)))).astype(np.uint8)
    parameters = rng.uniform(size=(3, 50, PARAMETERS_PER_IMAGE))
    # The second network changes nothing, and the third has bounds of its own.
    augmenters = [
        Augmenter(AugmentationConfig(**settings), shape), None, Augmenter(AugmentationConfig(zoom=0.1), shape),
    ]  # fmt: skip
    found = TorchAugmenter(augmenters, "cpu")(torch.from_numpy(images), torch.from_numpy(parameters)).numpy()
    for own, augmenter, raw, numbers in zip(found, augmenters, images, parameters, strict=True):
        want = raw if augmenter is None else augmenter(raw, numbers)
        np.testing.assert_allclose(own, want, rtol=1e-6, atol=255 * 1e-5)
