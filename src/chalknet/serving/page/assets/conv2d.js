/**
 * The convolution and its three derivatives.
 *
 * h_naj     = sum over k, i of X_n,Sa+k,i W_jki + b_j              (docs/derivation.md, K1)
 * dL/dW_jki = sum over n, a of D_naj X_n,Sa+k,i                    (K3)
 * dL/db_j   = sum over n, a of D_naj                               (K4)
 * dL/dX_nti = sum over j and all a, k with Sa+k = t of D_naj W_jki (K5)
 *
 * X is x with zeros around it, D is dL/dh, and S the stride. x is (B, H, W, C), weight
 * (O, R, S, C / groups), bias (O,) or missing, h (B, H', W', O).
 */
chalk.layers.conv2d = {
  formulas: () => ({ value: "K1", gradX: "K5", weight: "K3", bias: "K4" }),

  forward(layer, p, x, rows) {
    const { nFilters, perGroup, channels, window } = chalk.filtersOf(layer);
    const value = chalk.zerosLike(x, rows * layer.outputs);
    if (p.bias) for (let at = 0; at < value.length; at++) value[at] = p.bias[at % nFilters];
    chalk.eachWindow(layer, rows, (out, k, at) => {
      for (let j = 0; j < nFilters; j++) {
        const first = at + Math.floor(j / perGroup) * channels;
        let sum = 0;
        for (let i = 0, w = (j * window + k) * channels; i < channels; i++) sum += x[first + i] * p.weight[w + i];
        value[out + j] += sum;
      }
    });
    return { value, backward: (grad, needsGradX = true) => this.backward(layer, p, x, rows, grad, needsGradX) };
  },

  backward(layer, p, x, rows, grad, needsGradX) {
    const { nFilters, perGroup, channels, window } = chalk.filtersOf(layer);
    const gradX = needsGradX ? chalk.zerosLike(x, x.length) : null;
    const weight = chalk.zerosLike(x, p.weight.length);
    const bias = chalk.zerosLike(x, nFilters);
    for (let at = 0; at < grad.length; at++) bias[at % nFilters] += grad[at];
    chalk.eachWindow(layer, rows, (out, k, at) => {
      for (let j = 0; j < nFilters; j++) {
        const d = grad[out + j];
        if (d === 0) continue;
        const first = at + Math.floor(j / perGroup) * channels;
        const w = (j * window + k) * channels;
        for (let i = 0; i < channels; i++) weight[w + i] += d * x[first + i];
        if (needsGradX) for (let i = 0; i < channels; i++) gradX[first + i] += d * p.weight[w + i];
      }
    });
    return { gradX, gradients: p.bias ? { weight, bias } : { weight } };
  },
};

/** Return the numbers of filters, of filters and input channels in a group, and of pixels in a window. */
chalk.filtersOf = (layer) => {
  const nFilters = layer.output_shape[2];
  const groups = layer.settings.groups ?? 1;
  const { size } = chalk.windowOf(layer);
  return {
    nFilters,
    perGroup: nFilters / groups,
    channels: layer.input_shape[2] / groups,
    window: size[0] * size[1],
  };
};
