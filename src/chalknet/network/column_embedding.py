"""The base class of layers that embed each of the first inputs on its own."""

from __future__ import annotations

from chalknet.errors import ConfigError
from chalknet.network.layer import Layer, Shape, flat_size


class ColumnEmbedding(Layer):
    """A layer whose value is its input, followed by an embedding of each of the first C columns.

    Attributes:
        columns: C, how many of the first inputs are embedded; 0 for all.
        outputs: J, the numbers that each input gets in addition to itself.
    """

    columns: int
    outputs: int

    def n_columns(self, input_shape: Shape) -> int:
        """Return C, the number of inputs that are embedded.

        Raises:
            ConfigError: there are fewer inputs.
        """
        n_inputs = flat_size(self, input_shape)
        if self.columns > n_inputs:
            raise ConfigError(
                f"layer {self.type} embeds the first {self.columns} inputs, but there are {n_inputs}. Set columns to "
                f"at most {n_inputs}."
            )
        return self.columns or n_inputs

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return (I + C J,); see `Layer.output_shape`."""
        return (flat_size(self, input_shape) + self.n_columns(input_shape) * self.outputs,)

    def __str__(self) -> str:
        """Return the layer in words; see `Layer`."""
        which = f"the first {self.columns:,} inputs" if self.columns else "all inputs"
        return f"{self.type.replace('_', ' ')} of {which}"
