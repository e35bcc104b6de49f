"""Simulated classifiers with a known true accuracy, on which the statistics are tested.

    correct_si  if  z_si < mu + a_s + b_i,    z_si ~ N(0, 1),  a_s ~ N(0, sigma_seed^2),  b_i ~ N(0, sigma_image^2)

A fraction `easy` of the images is always classified correctly. Over all seeds and images the
accuracy is

    easy + (1 - easy) Phi(mu / sqrt(1 + sigma_seed^2 + sigma_image^2)).

Source: the probit model with crossed random effects, as in Agresti, Categorical Data Analysis
(2013), section 13.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from chalknet.errors import ConfigError

DIFFICULTIES = ("graded", "hard")
# "graded" images range from always correct to always wrong; seeds agree on most of them.
GRADED_IMAGE_SD = 3.0
# Most "hard" images are easy; on the others seeds often disagree.
HARD_IMAGE_SD = 1.0
HARD_FACTOR = 2.5  # fraction of images that are not easy, as a multiple of 1 - accuracy
ALWAYS = np.float32(1e6)  # the effect of an image that every seed classifies correctly


@dataclass(frozen=True)
class Population:
    """The distribution of seeds and images from which studies are drawn.

    Attributes:
        easy: fraction of images that every seed classifies correctly.
        image_sd: sigma_image, on the scale of z.
        seed_sd: sigma_seed, on the scale of z.
    """

    easy: float
    image_sd: float
    seed_sd: float


def population(accuracy: float, seed_spread: float, difficulty: str, n_images: int) -> Population:
    """Return a population in which classifiers have this accuracy and vary this much between seeds.

    Args:
        accuracy: in (0, 1).
        seed_spread: standard deviation of the true accuracy between seeds, as a multiple of
            sqrt(p(1-p)/M), the standard error of one run on M images; to first order, since
            accuracies saturate.
        difficulty: "graded" or "hard"; see the constants of this file.
        n_images: M.

    Raises:
        ConfigError: an argument is out of range.
    """
    if difficulty not in DIFFICULTIES or not 0.0 < accuracy < 1.0 or seed_spread < 0.0:
        raise ConfigError(f"expected accuracy in (0, 1), seed_spread >= 0 and difficulty one of {DIFFICULTIES}.")
    graded = difficulty == "graded"
    easy = 0.0 if graded else max(0.0, 1.0 - HARD_FACTOR * (1.0 - accuracy))
    image_sd = GRADED_IMAGE_SD if graded else HARD_IMAGE_SD
    scale = math.hypot(1.0, image_sd)
    at = float(special.ndtri((accuracy - easy) / (1.0 - easy)))
    slope = (1.0 - easy) * math.exp(-(at**2) / 2.0) / math.sqrt(2.0 * math.pi) / scale  # d accuracy / d mu
    return Population(easy, image_sd, seed_spread * math.sqrt(accuracy * (1.0 - accuracy) / n_images) / slope)


def simulate(
    accuracies: Sequence[float], of: Population, n_seeds: int, n_images: int, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """Simulate a study: one configuration per accuracy, on the same images, with independent seeds.

    Args:
        accuracies: the true accuracies of the configurations, above `of.easy` and below 1.
        of: the population.
        n_seeds: number of seeds of each configuration.
        n_images: number of images.
        rng: draws the study.

    Returns:
        For each configuration (n_seeds, n_images) bool, True if correct.

    Raises:
        ConfigError: an accuracy is out of range.
    """
    if not all(of.easy < accuracy < 1.0 for accuracy in accuracies):
        raise ConfigError(f"accuracies must lie between the fraction of easy images ({of.easy:.3f}) and 1.")
    image = np.float32(of.image_sd) * rng.standard_normal(n_images, dtype=np.float32)
    if of.easy:
        image[rng.random(n_images, dtype=np.float32) < of.easy] = ALWAYS
    scale = math.sqrt(1.0 + of.seed_sd**2 + of.image_sd**2)
    configs = []
    for accuracy in accuracies:
        mu = scale * float(special.ndtri((accuracy - of.easy) / (1.0 - of.easy)))
        seed = np.float32(of.seed_sd) * rng.standard_normal(n_seeds, dtype=np.float32)
        noise = rng.standard_normal((n_seeds, n_images), dtype=np.float32)
        noise -= seed[:, None]
        configs.append(noise < image + np.float32(mu))
    return configs
