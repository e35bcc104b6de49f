"""Small models with weights drawn at random: what matters is that other inputs give other answers."""

import numpy as np

from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Ensemble, Network

LETTERS = ("A", "B", "C")
SHAPE = (6, 5)


def image_model(seed=2, scale=255.0, dtype=np.float32):
    """Reads 6 x 5 images, by default of pixels 0..255."""
    architecture = Architecture(30, (7,), 3)
    parameters = {k: 3 * v.astype(dtype) for k, v in initial_parameters(architecture, seed).items()}
    return Network(architecture, parameters, LETTERS, Scaling(scale), SHAPE)


def row_model(n_inputs=3, seed=0):
    """Reads rows, each input scaled for itself."""
    architecture = Architecture(n_inputs, (4,), 3)
    parameters = {k: v.astype(np.float64) for k, v in initial_parameters(architecture, seed).items()}
    return Network(architecture, parameters, LETTERS, Scaling(np.full(n_inputs, 2.0), np.ones(n_inputs)), None)


def ensemble():
    return Ensemble((image_model(2), image_model(1)))
