/**
 * Max pooling and its derivative.
 *
 * g_nai     = max over k of h_n,Sa+k,i                             (docs/derivation.md, Q1)
 * dL/dh_nti = sum of dL/dg_nai over all windows a whose first largest value is at t   (Q2)
 *
 * x is (B, H, W, C). Of equal values, the first one of the window gets the gradient.
 */
chalk.layers.max_pool2d = {
  formulas: () => ({ value: "Q1", gradX: "Q2" }),

  forward(layer, p, x, rows) {
    const winners = chalk.poolWinners(layer, x, rows);
    return {
      value: chalk.zerosLike(x, winners.length).map((_, at) => x[winners[at]]),
      backward(grad) {
        const gradX = chalk.zerosLike(x, x.length);
        grad.forEach((d, at) => (gradX[winners[at]] += d));
        return { gradX, gradients: {} };
      },
    };
  },
};

/** Return the position in x of the first largest value of each window and channel, for each output value. */
chalk.poolWinners = (layer, x, rows) => {
  const channels = layer.input_shape[2];
  const winners = new Int32Array(rows * layer.outputs).fill(-1);
  chalk.eachWindow(layer, rows, (out, k, at) => {
    for (let i = 0; i < channels; i++) {
      const best = winners[out + i];
      if (best < 0 || x[at + i] > x[best]) winners[out + i] = at + i;
    }
  });
  return winners;
};
