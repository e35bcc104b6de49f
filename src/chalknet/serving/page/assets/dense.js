/**
 * The dense layer and its three derivatives, in both parametrizations.
 *
 * h     = c x W^T + b                     (docs/derivation.md, A1; A5 with c = 1 / sqrt(I))
 * dL/dx = c (dL/dh) W                     (A2, A6)
 * dL/dW = c (dL/dh)^T x                   (A3, A7)
 * dL/db = sum over rows of dL/dh          (A4)
 *
 * x is (B, I), weight (O, I), bias (O,) or missing, h (B, O).
 */
chalk.layers.dense = {
  formulas(layer) {
    return chalk.isNtk(layer)
      ? { value: "A5", gradX: "A6", weight: "A7", bias: "A4" }
      : { value: "A1", gradX: "A2", weight: "A3", bias: "A4" };
  },

  forward(layer, p, x, rows) {
    const { inputs, outputs } = layer;
    const factor = chalk.denseFactor(layer);
    const value = chalk.zerosLike(x, rows * outputs);
    for (let j = 0; j < outputs; j++) {
      const bias = p.bias ? p.bias[j] : 0;
      for (let n = 0; n < rows; n++) {
        let sum = 0;
        for (let i = 0, w = j * inputs, at = n * inputs; i < inputs; i++) sum += p.weight[w + i] * x[at + i];
        value[n * outputs + j] = sum * factor + bias;
      }
    }
    return {
      value,
      backward: (grad, needsGradX = true) => chalk.denseBackward(layer, p, x, rows, grad, needsGradX),
    };
  },
};

/** Return whether a dense layer divides its products by sqrt(I). */
chalk.isNtk = (layer) => layer.settings.parametrization === "ntk";

/** Return c of the formulas above. */
chalk.denseFactor = (layer) => (chalk.isNtk(layer) ? 1 / Math.sqrt(layer.inputs) : 1);

/**
 * Return the derivatives of a dense layer.
 *
 * @param grad (B, O) dL/dh. Products with a gradient of 0, as behind relu, are left out.
 * @param {boolean} needsGradX whether dL/dx is computed.
 * @returns {{gradX, gradients: {weight, bias}}} gradX is (B, I), or null.
 */
chalk.denseBackward = (layer, p, x, rows, grad, needsGradX) => {
  const { inputs, outputs } = layer;
  const factor = chalk.denseFactor(layer);
  const gradX = needsGradX ? chalk.zerosLike(x, rows * inputs) : null;
  const weight = chalk.zerosLike(x, outputs * inputs);
  const bias = chalk.zerosLike(x, outputs);
  for (let j = 0; j < outputs; j++) {
    const w = j * inputs;
    for (let n = 0; n < rows; n++) {
      const d = grad[n * outputs + j];
      if (d === 0) continue;
      bias[j] += d;
      const c = d * factor;
      const at = n * inputs;
      for (let i = 0; i < inputs; i++) weight[w + i] += c * x[at + i];
      if (needsGradX) for (let i = 0; i < inputs; i++) gradX[at + i] += c * p.weight[w + i];
    }
  }
  return { gradX, gradients: p.bias ? { weight, bias } : { weight } };
};
