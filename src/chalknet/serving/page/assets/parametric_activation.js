/**
 * The parametric activation: a learned mix of an activation f and the identity for each unit.
 *
 * value     = x + alpha (f(x) - x)                                       (docs/derivation.md, R19)
 * dL/dx     = (1 - alpha) dL/dvalue + alpha dL/dvalue f'(x)              (R20)
 * dL/dalpha = sum over rows of dL/dvalue (f(x) - x)                      (R21)
 *
 * x is (B, F), alpha (F,).
 */
chalk.layers.parametric_activation = {
  formulas: () => ({ value: "R19", gradX: "R20", alpha: "R21" }),

  forward(layer, p, x) {
    const units = layer.inputs;
    const f = chalk.layers[layer.settings.activation];
    return {
      value: x.map((one, at) => one + p.alpha[at % units] * (f.value(one) - one)),
      backward(grad) {
        const alpha = chalk.zerosLike(x, units);
        grad.forEach((d, at) => (alpha[at % units] += d * (f.value(x[at]) - x[at])));
        const gradX = grad.map((d, at) => {
          const a = p.alpha[at % units];
          return d * (1 - a + a * f.slope(x[at]));
        });
        return { gradX, gradients: { alpha } };
      },
    };
  },
};
