"""The samples of a page: training samples, held-out samples, and the most confident mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from chalknet.network.arrays import LabelArray


@dataclass(frozen=True, eq=False)
class EmbeddedSamples:
    """Samples that a page holds, in three groups one after the other.

    Attributes:
        inputs: (n, I) raw values: uint8, float32 or float64.
        labels: (n,) integers in [0, K).
        n_train: how many of the first samples the model was trained on.
        n_held_out: how many samples follow that it was not trained on. The rest are mistakes.
        held_out: the split of the held-out samples and mistakes, "test" or "valid".
        notes: one sentence each on what was left out.
    """

    inputs: NDArray[Any]
    labels: LabelArray
    n_train: int
    n_held_out: int
    held_out: str = "test"
    notes: tuple[str, ...] = ()

    def description(self) -> dict[str, Any]:
        """Return the JSON-ready facts that the page needs to read `data`."""
        return {
            "count": len(self.inputs),
            "n_inputs": self.inputs.shape[1],
            "dtype": self.inputs.dtype.name,
            "n_train": self.n_train,
            "n_held_out": self.n_held_out,
            "held_out": self.held_out,
        }

    def data(self) -> bytes:
        """Return the labels as uint16 and then the inputs, both little-endian."""
        inputs = self.inputs.astype(self.inputs.dtype.newbyteorder("<"))
        return self.labels.astype("<u2").tobytes() + inputs.tobytes()
