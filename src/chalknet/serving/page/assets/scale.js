/**
 * The scale layer: a learned factor for each input.
 *
 * value     = gamma x                                                    (docs/derivation.md, C1)
 * dL/dx     = gamma dL/dvalue                                            (C2)
 * dL/dgamma = sum over rows of x dL/dvalue                               (C3)
 *
 * x is (B, I), gamma (I,).
 */
chalk.layers.scale = {
  formulas: () => ({ value: "C1", gradX: "C2", gamma: "C3" }),

  forward(layer, p, x) {
    const units = layer.inputs;
    return {
      value: x.map((one, at) => p.gamma[at % units] * one),
      backward(grad) {
        const gamma = chalk.zerosLike(x, units);
        grad.forEach((d, at) => (gamma[at % units] += d * x[at]));
        return { gradX: grad.map((d, at) => p.gamma[at % units] * d), gradients: { gamma } };
      },
    };
  },
};
