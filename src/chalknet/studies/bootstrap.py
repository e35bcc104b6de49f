"""The Multi-Bootstrap: resample seeds and images; images are shared by all configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ConfigError
from chalknet.studies.correctness import FloatArray, checked_configurations

# Number of resamples at a time. (500, M) weights fit into the cache for a few thousand images.
BLOCK = 500


@dataclass(frozen=True)
class ChoiceOptimism:
    """How much a validation accuracy gains from being the best of several.

    Attributes:
        chosen: the label of the configuration with the highest mean validation accuracy (the first
            if several are equal).
        accuracy: its mean validation accuracy.
        optimism: the expected excess of that accuracy over the true one, as a fraction (0.01 is one
            percentage point).
        corrected: accuracy - optimism.
        win_rate: for each label, the fraction of resamples in which that configuration is the best.
    """

    chosen: str
    accuracy: float
    optimism: float
    corrected: float
    win_rate: Mapping[str, float]


def multi_bootstrap(
    configs: Mapping[str, Any] | Sequence[Any],
    rng: np.random.Generator,
    *,
    n_resamples: int = 10_000,
) -> FloatArray:
    """Return mean accuracies of the configurations in resamples of seeds and images.

        accuracy_r = v_r^T C w_r / (S M),   v_r ~ Multinomial(S; 1/S, ..., 1/S),   w_r ~ Multinomial(M; 1/M, ..., 1/M)

    The weights w_r of the images are the same for all configurations; the weights v_r of the seeds
    are drawn separately for each. The standard deviation of a column, or of the difference of two
    columns, estimates the standard error. With few seeds its seed component is too small by the
    factor (S-1)/S, and its residual component too large (docs/statistics.md).

    Args:
        configs: by label or in order, each (S, M) bool or numbers in [0, 1]; S may differ between
            configurations.
        rng: draws the resamples.
        n_resamples: R.

    Returns:
        (R, number of configurations) float64.

    Raises:
        ShapeError, DataError: see `checked_configurations`.
        ConfigError: n_resamples < 1.

    Source:
        Sellam et al., The MultiBERTs, ICLR 2022, section 4.
        On its bias: Owen, Annals of Applied Statistics 1 (2007).
    """
    arrays = list(checked_configurations(configs).values())
    if n_resamples < 1:
        raise ConfigError(f"n_resamples must be >= 1, got {n_resamples}.")
    sizes = [len(array) for array in arrays]
    n_images = arrays[0].shape[1]
    # counts of right answers are integers far below 2^24, which float32 adds without rounding
    whole = all(np.array_equal(array, array.astype(bool)) for array in arrays) and n_images < 2**24
    stacked: NDArray[Any] = np.concatenate(arrays).astype(np.float32 if whole else np.float64)
    found = np.empty((n_resamples, len(arrays)))
    for start in range(0, n_resamples, BLOCK):
        block = min(BLOCK, n_resamples - start)
        by_seed = stacked @ _counts(rng, block, n_images).T.astype(stacked.dtype)  # (all seeds, block)
        first = 0
        for c, size in enumerate(sizes):
            sums = np.sum(_counts(rng, block, size).T * by_seed[first : first + size], axis=0, dtype=np.float64)
            found[start : start + block, c] = sums / (size * n_images)
            first += size
    return found


def _counts(rng: np.random.Generator, n_resamples: int, n: int) -> NDArray[np.int64]:
    """Return (n_resamples, n): how often each of n items is drawn in n draws with replacement."""
    drawn = rng.integers(0, n, (n_resamples, n), dtype=np.int64)
    # Each row gets its own range of numbers, so that one bincount counts all rows.
    drawn += np.arange(0, n_resamples * n, n)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_resamples * n).reshape(n_resamples, n)


def choice_optimism(
    valid_correct: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    n_resamples: int = 2_000,
) -> ChoiceOptimism:
    """Estimate by how much choosing the best configuration inflates its validation accuracy.

        optimism = mean over resamples r of (accuracy_r[k_r] - accuracy[k_r]),   k_r the best configuration of resample
        r

    The measured accuracies play the part of the truth, and each resample the part of a study. The
    estimate is 0 for a single configuration and near 0 if one is far ahead. If configurations are
    truly equal it is too small, because their measured accuracies differ already
    (docs/statistics.md has the measured ratios).

    Args:
        valid_correct: by label, each (S, M) on the same validation images.
        rng: draws the resamples.
        n_resamples: number of resamples.

    Raises:
        ShapeError, DataError, ConfigError: as `multi_bootstrap`.

    Source:
        The optimism of Efron, Journal of the American Statistical Association 78 (1983), section 7,
            applied to a choice.
        On overfitting in model selection: Cawley and Talbot, Journal of Machine Learning Research
            11 (2010).
    """
    configs = checked_configurations(valid_correct)
    labels = list(configs)
    accuracy = np.array([config.mean() for config in configs.values()])
    resampled = multi_bootstrap(configs, rng, n_resamples=n_resamples)
    winners = resampled.argmax(axis=1)
    optimism = (
        float(np.mean(resampled[np.arange(len(winners)), winners] - accuracy[winners])) if len(labels) > 1 else 0.0
    )
    best = int(accuracy.argmax())
    win_rates = np.bincount(winners, minlength=len(labels)) / len(winners)
    return ChoiceOptimism(
        labels[best],
        float(accuracy[best]),
        optimism,
        float(accuracy[best]) - optimism,
        {label: float(rate) for label, rate in zip(labels, win_rates, strict=True)},
    )
