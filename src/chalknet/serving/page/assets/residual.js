/**
 * The residual connection and its two derivatives: the input u of an earlier layer is added.
 *
 * g_nai     = x_nai + u_n,Sa,i, with 0 where u has no channel i    (docs/derivation.md, Y1)
 * dL/dx     = dL/dg                                                (Y2)
 * dL/du_nti = dL/dg_nai where t = Sa, else 0                       (Y3)
 *
 * `mode.shortcut` is u, with `layer.shortcut_shape`. S is 1 unless the layers between make images smaller.
 */
chalk.layers.residual = {
  formulas: () => ({ value: "Y1", gradX: "Y2" }),

  forward(layer, p, x, rows, { shortcut }) {
    const value = x.slice();
    chalk.eachShortcut(layer, rows, (at, from) => (value[at] += shortcut[from]));
    return {
      value,
      backward(grad) {
        const gradShortcut = chalk.zerosLike(x, shortcut.length);
        chalk.eachShortcut(layer, rows, (at, from) => (gradShortcut[from] += grad[at]));
        return { gradX: grad, gradShortcut, gradients: {} };
      },
    };
  },
};

/** Call each(position in the output, position in the shortcut) for every pair of values that is added. */
chalk.eachShortcut = (layer, rows, each) => {
  const { output_shape: shape, shortcut_shape: from, outputs } = layer;
  if (shape.length === 1) {
    for (let at = 0; at < rows * outputs; at++) each(at, at);
    return;
  }
  const step = Math.max(1, Math.ceil(from[0] / shape[0]));
  for (let n = 0; n < rows; n++) {
    for (let a = 0; a < shape[0]; a++) {
      for (let b = 0; b < shape[1]; b++) {
        const at = ((n * shape[0] + a) * shape[1] + b) * shape[2];
        const source = ((n * from[0] + a * step) * from[1] + b * step) * from[2];
        for (let i = 0; i < from[2]; i++) each(at + i, source + i);
      }
    }
  }
};
