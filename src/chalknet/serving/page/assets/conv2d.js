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
    const { nFilters, eachProduct } = chalk.convolution(layer, rows);
    const value = chalk.zerosLike(x, rows * layer.outputs);
    if (p.bias) for (let at = 0; at < value.length; at++) value[at] = p.bias[at % nFilters];
    eachProduct((out, w, at) => (value[out] += x[at] * p.weight[w]));
    return { value, backward: (grad, needsGradX = true) => this.backward(layer, p, x, rows, grad, needsGradX) };
  },

  backward(layer, p, x, rows, grad, needsGradX) {
    const { nFilters, eachProduct } = chalk.convolution(layer, rows);
    const gradX = needsGradX ? chalk.zerosLike(x, x.length) : null;
    const weight = chalk.zerosLike(x, p.weight.length);
    const bias = chalk.zerosLike(x, nFilters);
    grad.forEach((d, at) => (bias[at % nFilters] += d));
    eachProduct((out, w, at) => {
      const d = grad[out];
      if (d === 0) return;
      weight[w] += d * x[at];
      if (needsGradX) gradX[at] += d * p.weight[w];
    });
    return { gradX, gradients: p.bias ? { weight, bias } : { weight } };
  },
};

/**
 * Return {nFilters, eachProduct}: eachProduct(each) calls each(output, weight, input), all positions, for every
 * product of the convolution of a batch.
 */
chalk.convolution = (layer, rows) => {
  const nFilters = layer.output_shape[2];
  const groups = layer.settings.groups ?? 1;
  const perGroup = nFilters / groups;
  const channels = layer.input_shape[2] / groups;
  const { size } = chalk.windowOf(layer);
  const window = size[0] * size[1];
  const eachProduct = (each) =>
    chalk.eachWindow(layer, rows, (out, k, at) => {
      for (let j = 0; j < nFilters; j++) {
        const first = at + Math.floor(j / perGroup) * channels;
        const w = (j * window + k) * channels;
        for (let i = 0; i < channels; i++) each(out + j, w + i, first + i);
      }
    });
  return { nFilters, eachProduct };
};
