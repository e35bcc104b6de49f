"""Architectures and engines of tests, from parameters by name."""

from __future__ import annotations

import numpy as np

from chalknet.engines.engine import EngineSpec
from chalknet.engines.reference import ReferenceEngine
from chalknet.network.architecture import Architecture


def architecture_of(parameters, activations=()):
    """Return the short form of a network with these parameters."""
    weights = [value for name, value in parameters.items() if name.endswith(".weight")]
    widths = [len(weight) for weight in weights]
    batch_norm = any(name.endswith(".gamma") for name in parameters)
    return Architecture(weights[0].shape[1], widths[:-1], widths[-1], activations, batch_norm)


def make_engine(factory, splits, parameters, optimizer, *, activations=(), **options):
    """Return an engine; the reference engine is one of float64 unless dtype says otherwise."""
    if factory is ReferenceEngine:
        options = {"dtype": np.float64, **options}
    return factory(EngineSpec(architecture_of(parameters, activations), parameters, optimizer, splits, **options))
