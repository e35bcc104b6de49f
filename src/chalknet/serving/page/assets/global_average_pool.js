/**
 * Global average pooling and its derivative: average pooling with one window.
 *
 * g_ni      = 1/Q sum over t of h_nti, with Q pixels               (docs/derivation.md, Q3)
 * dL/dh_nti = 1/Q dL/dg_ni                                         (Q4)
 *
 * x is (B, H, W, C), g (B, C).
 */
chalk.layers.global_average_pool = {
  formulas: () => ({ value: "Q3", gradX: "Q4" }),

  forward(layer, p, x, rows) {
    const channels = layer.outputs;
    const part = channels / layer.inputs;
    const ofPixel = (at) => Math.floor(at / layer.inputs) * channels + (at % channels);
    const value = chalk.zerosLike(x, rows * channels);
    x.forEach((one, at) => (value[ofPixel(at)] += part * one));
    return {
      value,
      backward: (grad) => ({ gradX: x.map((_, at) => part * grad[ofPixel(at)]), gradients: {} }),
    };
  },
};
