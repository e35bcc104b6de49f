/**
 * The embedding of categories: the inputs that are in no group, then a vector h_g for each group of inputs x_g.
 *
 * h_g     = x_g W_g^T, (B, J)                                            (docs/derivation.md, Z1)
 * dL/dW_g = (dL/dh_g)^T x_g                                              (Z2)
 * dL/dx_g = (dL/dh_g) W_g                                                (Z3)
 *
 * x is (B, I), weight (J, S), a column for each input of a group, and the value (B, I - S + G J).
 */
chalk.layers.category_embedding = {
  formulas: () => ({ value: "Z1", gradX: "Z3", weight: "Z2" }),

  /** Return the inputs in no group, and for each group its first input, its size and its first column of the weight. */
  places(layer) {
    const { groups: numbers } = layer.settings;
    const groups = [];
    let column = 0;
    for (let g = 0; g < numbers.length; g += 2) {
      groups.push({ start: numbers[g], size: numbers[g + 1], column });
      column += numbers[g + 1];
    }
    const isKept = (i) => !groups.some(({ start, size }) => i >= start && i < start + size);
    const kept = Array.from({ length: layer.inputs }, (_, i) => i).filter(isKept);
    return { kept, groups };
  },

  /** Call a function for each row, group, output and input of a group, with positions in value, x and weight. */
  forEach(layer, rows, visit) {
    const { inputs, outputs } = layer;
    const [J, S] = layer.shapes.weight;
    const { kept, groups } = this.places(layer);
    for (let n = 0; n < rows; n++)
      groups.forEach(({ start, size, column }, g) => {
        for (let j = 0; j < J; j++)
          for (let k = 0; k < size; k++)
            visit(n * outputs + kept.length + g * J + j, n * inputs + start + k, j * S + column + k);
      });
  },

  forward(layer, p, x, rows) {
    const { inputs, outputs } = layer;
    const { kept } = this.places(layer);
    const value = chalk.zerosLike(x, rows * outputs);
    for (let n = 0; n < rows; n++) kept.forEach((i, at) => (value[n * outputs + at] = x[n * inputs + i]));
    this.forEach(layer, rows, (at, i, w) => (value[at] += x[i] * p.weight[w]));
    return { value, backward: (grad) => this.backward(layer, p, x, rows, grad) };
  },

  backward(layer, p, x, rows, grad) {
    const { inputs, outputs } = layer;
    const { kept } = this.places(layer);
    const gradX = chalk.zerosLike(x, rows * inputs);
    const weight = chalk.zerosLike(x, p.weight.length);
    for (let n = 0; n < rows; n++) kept.forEach((i, at) => (gradX[n * inputs + i] = grad[n * outputs + at]));
    this.forEach(layer, rows, (at, i, w) => {
      weight[w] += grad[at] * x[i];
      gradX[i] += grad[at] * p.weight[w];
    });
    return { gradX, gradients: { weight } };
  },
};
