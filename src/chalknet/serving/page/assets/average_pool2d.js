/**
 * Average pooling and its derivative.
 *
 * g_nai     = 1/size^2 sum over k of h_n,Sa+k,i                    (docs/derivation.md, Q3)
 * dL/dh_nti = 1/size^2 sum of dL/dg_nai over all windows a with t  (Q4)
 *
 * x is (B, H, W, C).
 */
chalk.layers.average_pool2d = {
  formulas: () => ({ value: "Q3", gradX: "Q4" }),

  forward(layer, p, x, rows) {
    const channels = layer.input_shape[2];
    const { size } = chalk.windowOf(layer);
    const part = 1 / (size[0] * size[1]);
    const value = chalk.zerosLike(x, rows * layer.outputs);
    chalk.eachWindow(layer, rows, (out, k, at) => {
      for (let i = 0; i < channels; i++) value[out + i] += part * x[at + i];
    });
    return {
      value,
      backward(grad) {
        const gradX = chalk.zerosLike(x, x.length);
        chalk.eachWindow(layer, rows, (out, k, at) => {
          for (let i = 0; i < channels; i++) gradX[at + i] += part * grad[out + i];
        });
        return { gradX, gradients: {} };
      },
    };
  },
};
