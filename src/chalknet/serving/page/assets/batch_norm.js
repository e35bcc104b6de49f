/**
 * Batch normalization, in training with the statistics of the batch, else with the running ones.
 *
 * mu = (1/B) sum_n h_n,  s^2 = (1/B) sum_n (h_n - mu)^2                  (docs/derivation.md, B1)
 * z         = (h - mu) / sqrt(s^2 + epsilon)                             (B2)
 * value     = gamma z + bias                                             (B3)
 * dL/dgamma = sum_n dL/dvalue_n z_n,  dL/dbias = sum_n dL/dvalue_n       (B4)
 * dL/dh     = gamma / sqrt(s^2 + epsilon) (dL/dvalue - (1/B) dL/dbias - (1/B) z dL/dgamma)  (B5)
 *
 * With running statistics, dL/dh is gamma / sqrt(s^2 + epsilon) dL/dvalue, because they do not
 * depend on h. h is (B, F), the parameters (F,). Of images, every pixel is a row, and F counts channels.
 */
chalk.layers.batch_norm = {
  EPSILON: 1e-5,
  RUNNING_DECAY: 0.9,

  formulas: () => ({ value: "B3", gradX: "B5", gamma: "B4", bias: "B4" }),

  forward(layer, p, x, batch, mode) {
    const units = p.gamma.length;
    const rows = x.length / units;
    const [mean, variance] = mode.training ? this.moments(x, rows, units) : [p.mean, p.variance];
    const root = variance.map((v) => Math.sqrt(v + this.EPSILON));
    const z = x.map((h, at) => (h - mean[at % units]) / root[at % units]);
    const value = z.map((one, at) => p.gamma[at % units] * one + p.bias[at % units]);
    const statistics = mode.training ? this.updated(p, mean, variance, rows) : {};
    return {
      value,
      statistics,
      backward: (grad) => this.backward(p, z, root, rows, grad, mode.training),
    };
  },

  backward(p, z, root, rows, grad, training) {
    const units = root.length;
    const gamma = chalk.zerosLike(z, units);
    const bias = chalk.zerosLike(z, units);
    grad.forEach((d, at) => {
      gamma[at % units] += d * z[at];
      bias[at % units] += d;
    });
    const gradX = grad.map((d, at) => {
      const j = at % units;
      const inner = training ? d - bias[j] / rows - (z[at] * gamma[j]) / rows : d;
      return (p.gamma[j] / root[j]) * inner;
    });
    return { gradX, gradients: { gamma, bias } };
  },

  /** Return mean and variance of each column of x (B, F) by B1. */
  moments(x, rows, units) {
    const mean = chalk.zerosLike(x, units);
    const variance = chalk.zerosLike(x, units);
    x.forEach((h, at) => (mean[at % units] += h / rows));
    x.forEach((h, at) => (variance[at % units] += (h - mean[at % units]) ** 2 / rows));
    return [mean, variance];
  },

  /** Return the running statistics after a batch (docs/derivation.md, B6). */
  updated(p, mean, variance, rows) {
    const keep = this.RUNNING_DECAY;
    const unbiased = rows / Math.max(rows - 1, 1);
    return {
      mean: p.mean.map((old, j) => keep * old + (1 - keep) * mean[j]),
      variance: p.variance.map((old, j) => keep * old + (1 - keep) * unbiased * variance[j]),
    };
  },
};
