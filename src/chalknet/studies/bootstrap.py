"""The Multi-Bootstrap: seeds and images drawn again together, images the same for all configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalknet.errors import ConfigError
from chalknet.studies.correctness import FloatArray, checked_configurations

BLOCK = 500  # resamples at a time: (500, M) weights fit the cache of today's processors for some thousand images


@dataclass(frozen=True)
class ChoiceOptimism:
    """What choosing the best of several configurations on validation figures adds to the winner's figure.

    Attributes:
        chosen: the label of the configuration with the highest mean validation accuracy (the first of equals).
        accuracy: its mean validation accuracy.
        optimism: by how much the choice flatters it, in the unit of accuracy (0.01 is one point).
        corrected: accuracy - optimism.
        win_rate: for each label, the share of resamples in which that configuration wins.
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
    """Mean accuracies of the configurations in resamples of seeds and images.

        accuracy_r = v_r^T C w_r / (S M),   v_r ~ Multinomial(S; 1/S, ..., 1/S),   w_r ~ Multinomial(M; 1/M, ..., 1/M)

    The images' weights w_r are the same for all configurations; the seeds' weights v_r are drawn for each configuration
    anew. The spread of a configuration's column, or of the difference of two columns, estimates the sampling error;
    over few seeds it is
    too small by (S-1)/S in the seeds' part and too large in the rest's part (docs/statistics.md).

    Args:
        configurations: by label or in order, each (S, M) bool or numbers in [0, 1]; S may differ between
            configurations.
        rng: where the resamples come from.
        n_resamples: R.
    Returns:
        (R, number of configurations) float64.
    Raises:
        ShapeError, DataError: see `checked_configurations`.
        ConfigError: n_resamples < 1.
    Source: Sellam et al., The MultiBERTs, ICLR 2022, section 4; Owen, Annals of Applied Statistics 1 (2007), on its
        bias.
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
    """(n_resamples, n): how often each of n is drawn in n draws with replacement; every row sums to n."""
    drawn = rng.integers(0, n, (n_resamples, n), dtype=np.int64)
    drawn += np.arange(0, n_resamples * n, n)[:, None]  # one range of numbers a row, so that one count serves all rows
    return np.bincount(drawn.ravel(), minlength=n_resamples * n).reshape(n_resamples, n)


def choice_optimism(
    valid_correct: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    n_resamples: int = 2_000,
) -> ChoiceOptimism:
    """How much choosing the best configuration on validation flatters its validation accuracy.

        optimism = mean over resamples r of (accuracy_r[k_r] - accuracy[k_r]),   k_r the best configuration of resample
        r

    The configurations as found play the truth, the resamples play the study: what the winner of a resample gains over
        its own
    figure as found is what the winner as found gained over its true figure. Where one configuration is far ahead it is
    0; with one configuration it is 0. Among configurations that are truly equal it comes out too small, for their
    figures as
    found differ already (docs/statistics.md has the measured shares).

    Args:
        valid_correct: by label, each (S, M) on the same validation images; rng: where the resamples come from.
    Raises:
        As `multi_bootstrap`.
    Source: the optimism of Efron, Journal of the American Statistical Association 78 (1983), section 7, applied to a
        choice; Cawley and Talbot, Journal of Machine Learning Research 11 (2010), on over-fitting in model selection.
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
    shares = np.bincount(winners, minlength=len(labels)) / len(winners)
    return ChoiceOptimism(
        labels[best],
        float(accuracy[best]),
        optimism,
        float(accuracy[best]) - optimism,
        {label: float(share) for label, share in zip(labels, shares, strict=True)},
    )
