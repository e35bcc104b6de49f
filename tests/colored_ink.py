"""Small color images of ink on paper, whose class depends on a shape and on the color of the ink."""

import numpy as np
from PIL import Image

from chalknet.data.dataset import dataset_from_arrays

NAMES = ("green bar", "green pole", "magenta bar", "magenta pole")
# Both inks have the same brightness, so that gray images do not show the color.
INKS = np.array([[20, 150, 35], [190, 40, 87]])
SIDE = 12


def ink_images(n=120, seed=0):
    """Return (n, 12, 12, 3) uint8 images and their labels in 0..3."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(NAMES)
    is_ink = np.zeros((n, SIDE, SIDE, 1))
    for image, label in zip(is_ink, labels, strict=True):
        top, left = rng.integers(0, 3, 2)
        tall, wide = (9, 4) if label % 2 else (4, 9)
        image[top : top + tall, left : left + wide] = 1
    images = 235 + is_ink * (INKS[labels // 2][:, None, None] - 235.0) + rng.normal(0, 6, is_ink.shape)
    return np.rint(images).astype(np.uint8), labels


def ink_data(n=120, seed=0):
    """Return the images as a `Dataset`."""
    return dataset_from_arrays(*ink_images(n, seed), NAMES)


def save_ink_folder(folder, n=40):
    """Write PNG files, one subfolder per class."""
    images, labels = ink_images(n)
    for at, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / NAMES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / NAMES[label] / f"{at:03}.png")
    return folder
