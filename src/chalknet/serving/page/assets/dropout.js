/**
 * Dropout in training, the identity in prediction.
 *
 * value = x mask,  mask = 0 with probability rate, else 1 / (1 - rate)   (docs/derivation.md, D1)
 * dL/dx = dL/dvalue mask                                                 (D2)
 *
 * `mode.masks` holds the mask (B, F) of each dropout layer by its position; without one, x passes.
 */
chalk.layers.dropout = {
  formulas: () => ({ value: "D1", gradX: "D2" }),

  forward(layer, p, x, rows, mode) {
    const mask = mode.training && mode.masks ? mode.masks[layer.position] : null;
    if (!mask) return { value: x, backward: (grad) => ({ gradX: grad, gradients: {} }) };
    return {
      value: x.map((one, at) => one * mask[at]),
      backward: (grad) => ({ gradX: grad.map((d, at) => d * mask[at]), gradients: {} }),
    };
  },
};
