/**
 * The periodic embedding: x, followed by J numbers h for each of its first C columns.
 *
 * angle         = 2 pi frequency x + phase, (B, C, K)                    (docs/derivation.md, F1)
 * h             = weight cos(angle) + bias, (B, C, J)                    (F2)
 * dL/dweight    = sum over rows of dL/dh cos(angle),  dL/dbias = sum over rows of dL/dh  (F3)
 * dL/dangle     = -sin(angle) dL/dh weight                               (F4)
 * dL/dfrequency = 2 pi sum over rows of x dL/dangle,  dL/dphase = sum over rows of dL/dangle  (F5)
 * dL/dx         = dL/dvalue of x itself + 2 pi frequency dL/dangle       (F6)
 *
 * x is (B, I), frequency and phase (C, K), weight (C, J, K), bias (C, J), the value (B, I + C J).
 */
chalk.layers.periodic_embedding = {
  formulas: () => ({ value: "F2", gradX: "F6", weight: "F3", bias: "F3", frequency: "F5", phase: "F5" }),

  forward(layer, p, x, rows) {
    const { inputs, outputs } = layer;
    const [C, J, K] = layer.shapes.weight;
    const value = chalk.zerosLike(x, rows * outputs);
    for (let n = 0; n < rows; n++) {
      for (let i = 0; i < inputs; i++) value[n * outputs + i] = x[n * inputs + i];
      for (let i = 0; i < C; i++) {
        for (let j = 0; j < J; j++) {
          let sum = p.bias[i * J + j];
          for (let k = 0; k < K; k++)
            sum += p.weight[(i * J + j) * K + k] * Math.cos(this.angle(layer, p, x, n, i, k));
          value[n * outputs + inputs + i * J + j] = sum;
        }
      }
    }
    return { value, backward: (grad) => this.backward(layer, p, x, rows, grad) };
  },

  /** Return the angle of row n, column i and frequency k by F1. */
  angle(layer, p, x, n, i, k) {
    const at = i * layer.shapes.weight[2] + k;
    return 2 * Math.PI * (x[n * layer.inputs + i] * p.frequency[at]) + p.phase[at];
  },

  backward(layer, p, x, rows, grad) {
    const { inputs, outputs } = layer;
    const [C, J, K] = layer.shapes.weight;
    const gradX = chalk.zerosLike(x, rows * inputs);
    const [weight, bias, frequency, phase] = [C * J * K, C * J, C * K, C * K].map((n) =>
      chalk.zerosLike(x, n),
    );
    for (let n = 0; n < rows; n++) {
      for (let i = 0; i < inputs; i++) gradX[n * inputs + i] = grad[n * outputs + i];
      for (let i = 0; i < C; i++) {
        const of = (j) => grad[n * outputs + inputs + i * J + j];
        for (let j = 0; j < J; j++) bias[i * J + j] += of(j);
        for (let k = 0; k < K; k++) {
          const angle = this.angle(layer, p, x, n, i, k);
          let back = 0;
          for (let j = 0; j < J; j++) {
            weight[(i * J + j) * K + k] += of(j) * Math.cos(angle);
            back += of(j) * p.weight[(i * J + j) * K + k];
          }
          const gradAngle = -Math.sin(angle) * back;
          phase[i * K + k] += gradAngle;
          frequency[i * K + k] += 2 * Math.PI * x[n * inputs + i] * gradAngle;
          gradX[n * inputs + i] += 2 * Math.PI * p.frequency[i * K + k] * gradAngle;
        }
      }
    }
    return { gradX, gradients: { weight, bias, frequency, phase } };
  },
};
