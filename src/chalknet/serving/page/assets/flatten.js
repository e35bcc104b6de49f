/** Images (H, W, C) as rows: the same numbers in the same order, so value and derivative are the identity. */
chalk.layers.flatten = {
  formulas: () => ({ value: null, gradX: null }),

  forward: (layer, p, x) => ({ value: x, backward: (grad) => ({ gradX: grad, gradients: {} }) }),
};
