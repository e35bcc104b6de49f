"""The recipe `rows`: a bag of small networks for tables, with the settings of each budget.

The networks follow RealMLP (Holzmueller, Grinsztajn and Steinwart, Better by Default, NeurIPS 2024):
inputs scaled by their quartiles and clipped smoothly, periodic embeddings of numbers, a learned scale
of each input, NTK parametrization, label smoothing, and four cosine periods of the learning rate. They
are smaller and train for fewer updates, and five of them from cross-validation folds are averaged.
docs/recipes/rows.md shows what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

N_FOLDS = 5
MAX_EMBEDDED = 64  # with more numbers, embeddings would take most of the time and are left out
FREQUENCIES, EMBEDDING_OUTPUTS = 16, 3
# Rows that train a network -> batch size: larger batches use the processor better, and many rows still
# give enough updates.
BATCH_SIZES = ((10_000, 128), (50_000, 256), (200_000, 512))
LARGEST_BATCH = 1_024
# For `estimated_seconds`, measured with benchmarks/rows_step.py on one core: floating-point operations
# per second of products, seconds per hidden value and per frequency of a sample, seconds per update.
PRODUCT_RATE, HIDDEN_SECONDS, FREQUENCY_SECONDS, UPDATE_SECONDS = 5e10, 4e-9, 12e-9, 2.5e-4


@dataclass(frozen=True)
class RowsPlan:
    """The settings of the recipe for one budget.

    Attributes:
        hidden: units of the hidden layers.
        embeds: whether numbers get periodic embeddings.
        n_networks: number of networks, a multiple of `N_FOLDS`.
        epochs: number of epochs, if the number of updates is between the two bounds.
        least_updates: of a network. Small tables train for more epochs.
        most_updates: of a network. Large tables train for fewer epochs, but at least one.
    """

    hidden: tuple[int, ...]
    embeds: bool
    n_networks: int
    epochs: int
    least_updates: int
    most_updates: int

    def n_embedded(self, n_numbers: int) -> int:
        """Return how many of the numbers get embeddings: all of them, or none."""
        return n_numbers if self.embeds and n_numbers <= MAX_EMBEDDED else 0

    def settings(self, n_rows: int, n_inputs: int, n_numbers: int) -> dict[str, Any]:
        """Return the fields of the recipe for a table.

        Args:
            n_rows: number of samples that are not test samples.
            n_inputs: I, the number of inputs.
            n_numbers: how many of them, the first ones, are numbers and not parts of categories.
        """
        embedded = self.n_embedded(n_numbers)
        n_train = max(1, n_rows * (N_FOLDS - 1) // N_FOLDS)
        batch_size = batch_size_for(n_train)
        per_epoch = -(-n_train // batch_size)
        epochs = max(self.epochs, -(-self.least_updates // per_epoch))
        epochs = max(1, min(epochs, self.most_updates // per_epoch))
        columns = 0 if embedded == n_inputs else embedded
        return {
            "layers": rows_layers(self.hidden, columns if embedded else None),
            "epochs": epochs,
            "batch_size": batch_size,
            "ensemble": self.n_networks,
            "patience": epochs,
        }


PLANS = {
    "fast": RowsPlan((64, 64), False, 5, 16, 200, 1_000),
    "default": RowsPlan((128, 128), True, 5, 40, 600, 3_000),
    "best": RowsPlan((128, 128), True, 20, 80, 1_600, 10_000),
}


def batch_size_for(n_train: int) -> int:
    """Return the batch size for a network that trains on so many rows."""
    return next((size for bound, size in BATCH_SIZES if n_train <= bound), LARGEST_BATCH)


def rows_layers(hidden: Sequence[int], embedded: int | None) -> list[Any]:
    """Return the layers of a network.

    Args:
        hidden: units of the hidden layers.
        embedded: how many of the first inputs get periodic embeddings, 0 for all; None for no embeddings.
    """
    ntk = {"type": "dense", "parametrization": "ntk", "bias_learning_rate_multiplier": 0.1}
    layers: list[Any] = ["smooth_clip"]
    if embedded is not None:
        embedding = {"columns": embedded, "frequencies": FREQUENCIES, "outputs": EMBEDDING_OUTPUTS}
        layers.append({"type": "periodic_embedding", **embedding, "learning_rate_multiplier": 0.1})
    layers.append({"type": "scale", "learning_rate_multiplier": 6.0})
    for units in hidden:
        layers += [{**ntk, "units": units}, "relu", {"type": "dropout", "rate": 0.15}]
    return [*layers, {**ntk, "zero_start": True}]


def estimated_seconds(plan: RowsPlan, n_rows: int, n_inputs: int, n_numbers: int, n_classes: int) -> float:
    """Return roughly how many seconds of CPU time a training takes on one core."""
    found = plan.settings(n_rows, n_inputs, n_numbers)
    embedded = plan.n_embedded(n_numbers)
    widths = (n_inputs + EMBEDDING_OUTPUTS * embedded, *plan.hidden, n_classes)
    per_row = 6 * sum(one * other for one, other in pairwise(widths)) / PRODUCT_RATE
    per_row += HIDDEN_SECONDS * sum(widths) + FREQUENCY_SECONDS * FREQUENCIES * embedded
    n_train = n_rows * (N_FOLDS - 1) / N_FOLDS
    n_updates = n_train / found["batch_size"] + 1
    return float(plan.n_networks * found["epochs"] * (n_train * per_row + n_updates * UPDATE_SECONDS))
