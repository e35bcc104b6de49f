/**
 * The piecewise-linear embedding: x, followed by J numbers h for each of its first C columns.
 *
 * e          = (x - edge_t-1) / (edge_t - edge_t-1), (B, C, T)           (docs/derivation.md, V1)
 *              at least 0, except in the first bin, and at most 1, except in the last bin  (V2)
 * h          = weight e + bias, (B, C, J)                                (V3)
 * dL/dweight = sum over rows of dL/dh e,  dL/dbias = sum over rows of dL/dh  (V4)
 * dL/dx      = dL/dvalue of x itself + dL/dh weight_t / (edge_t - edge_t-1), t the bin of x  (V5)
 *
 * x is (B, I), edges (C, T + 1), weight (C, J, T), bias (C, J), the value (B, I + C J).
 */
chalk.layers.piecewise_linear_embedding = {
  formulas: () => ({ value: "V3", gradX: "V5", weight: "V4", bias: "V4" }),

  forward(layer, p, x, rows) {
    const { inputs, outputs } = layer;
    const [C, J, T] = layer.shapes.weight;
    const value = chalk.zerosLike(x, rows * outputs);
    for (let n = 0; n < rows; n++) {
      for (let i = 0; i < inputs; i++) value[n * outputs + i] = x[n * inputs + i];
      for (let i = 0; i < C; i++) {
        const encoded = this.encode(p, x[n * inputs + i], i, T);
        for (let j = 0; j < J; j++)
          value[n * outputs + inputs + i * J + j] = encoded.reduce(
            (sum, e, t) => sum + p.weight[(i * J + j) * T + t] * e,
            p.bias[i * J + j],
          );
      }
    }
    return { value, backward: (grad) => this.backward(layer, p, x, rows, grad) };
  },

  /** Return the encoding of a number of column i by V1 and V2, an array of T numbers. */
  encode(p, x, i, T) {
    return Array.from({ length: T }, (_, t) => {
      const low = p.edges[i * (T + 1) + t];
      const e = (x - low) / (p.edges[i * (T + 1) + t + 1] - low);
      return Math.max(t > 0 ? 0 : -Infinity, Math.min(t < T - 1 ? 1 : Infinity, e));
    });
  },

  /** Return the bin of a number of column i. */
  bin(p, x, i, T) {
    let t = 0;
    while (t < T - 1 && x >= p.edges[i * (T + 1) + t + 1]) t++;
    return t;
  },

  backward(layer, p, x, rows, grad) {
    const { inputs, outputs } = layer;
    const [C, J, T] = layer.shapes.weight;
    const gradX = chalk.zerosLike(x, rows * inputs);
    const [weight, bias] = [C * J * T, C * J].map((n) => chalk.zerosLike(x, n));
    for (let n = 0; n < rows; n++) {
      for (let i = 0; i < inputs; i++) gradX[n * inputs + i] = grad[n * outputs + i];
      for (let i = 0; i < C; i++) {
        const one = x[n * inputs + i];
        const encoded = this.encode(p, one, i, T);
        const own = this.bin(p, one, i, T);
        const width = p.edges[i * (T + 1) + own + 1] - p.edges[i * (T + 1) + own];
        for (let j = 0; j < J; j++) {
          const d = grad[n * outputs + inputs + i * J + j];
          bias[i * J + j] += d;
          encoded.forEach((e, t) => (weight[(i * J + j) * T + t] += d * e));
          gradX[n * inputs + i] += (d * p.weight[(i * J + j) * T + own]) / width;
        }
      }
    }
    return { gradX, gradients: { weight, bias } };
  },
};
