"""Small models with random weights, whose predictions differ between inputs."""

import numpy as np

from chalknet.data.preprocess import Scaling
from chalknet.network.architecture import Architecture
from chalknet.network.initializers import initial_parameters
from chalknet.network.model import Ensemble, Network

LETTERS = ("A", "B", "C")
SHAPE = (6, 5)


def image_model(seed=2, scale=255.0, dtype=np.float32):
    """Return a model of 6 x 5 images, by default with pixels 0..255."""
    architecture = Architecture(30, (7,), 3)
    parameters = {k: 3 * v.astype(dtype) for k, v in initial_parameters(architecture, seed).items()}
    return Network(architecture, parameters, LETTERS, Scaling(scale), SHAPE)


def row_model(n_inputs=3, seed=0):
    """Return a model of rows, each input with its own scale."""
    architecture = Architecture(n_inputs, (4,), 3)
    parameters = {k: v.astype(np.float64) for k, v in initial_parameters(architecture, seed).items()}
    return Network(architecture, parameters, LETTERS, Scaling(np.full(n_inputs, 2.0), np.ones(n_inputs)), None)


def ensemble():
    return Ensemble((image_model(2), image_model(1)))
