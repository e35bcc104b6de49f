/**
 * Optimizers: steps in place, as in src/chalknet/network/optimizers.py.
 *
 * gradient_descent, momentum: v <- m v + r G,  w <- w - v                (docs/derivation.md, U1)
 *                             without momentum for biases: b <- b - r G  (U2)
 * nesterov:                   v <- m v + r G,  w <- w - (m v + r G)      (U3)
 * adam, adamw:                mean <- beta1 mean + (1 - beta1) G,
 *                             square <- beta2 square + (1 - beta2) G^2   (U4)
 *                             w <- w - r (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + epsilon)  (U5)
 * weight_decay:               W <- W - r lambda W before the step        (U6)
 */
chalk.optimizers = {
  gradient_descent: {
    states: [],
    step(w, g, state, r) {
      for (let at = 0; at < w.length; at++) w[at] -= r * g[at];
    },
  },
  momentum: {
    states: ["velocity"],
    step(w, g, { velocity }, r, { momentum, bias_momentum: all }, isWeight) {
      const m = isWeight || all ? momentum : 0;
      for (let at = 0; at < w.length; at++) {
        velocity[at] = m * velocity[at] + r * g[at];
        w[at] -= velocity[at];
      }
    },
  },
  nesterov: {
    states: ["velocity"],
    step(w, g, { velocity }, r, { momentum: m }) {
      for (let at = 0; at < w.length; at++) {
        velocity[at] = m * velocity[at] + r * g[at];
        w[at] -= m * velocity[at] + r * g[at];
      }
    },
  },
  adam: {
    states: ["mean", "square"],
    step(w, g, { mean, square }, r, { beta1, beta2, epsilon }, isWeight, number) {
      const first = 1 - beta1 ** number;
      const second = 1 - beta2 ** number;
      for (let at = 0; at < w.length; at++) {
        mean[at] = beta1 * mean[at] + (1 - beta1) * g[at];
        square[at] = beta2 * square[at] + (1 - beta2) * g[at] * g[at];
        w[at] -= (r * (mean[at] / first)) / (Math.sqrt(square[at] / second) + epsilon);
      }
    },
  },
};
chalk.optimizers.adamw = chalk.optimizers.adam;

chalk.OPTIMIZER_DEFAULTS = {
  optimizer: "gradient_descent",
  learning_rate: 0.1,
  momentum: 0.9,
  bias_momentum: true,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weight_decay: 0,
};

/**
 * Change the parameters of a network by one step.
 *
 * @param network {layers, parameters}; its arrays are changed.
 * @param gradients arrays by name.
 * @param {object} settings as `chalk.OPTIMIZER_DEFAULTS`; missing ones have these values.
 * @param {object} state {} before the first step; it is changed, and holds the number of steps.
 */
chalk.takeStep = (network, gradients, settings, state) => {
  const chosen = { ...chalk.OPTIMIZER_DEFAULTS, ...settings };
  const optimizer = chalk.optimizers[chosen.optimizer];
  state.number = (state.number ?? 0) + 1;
  for (const [name, g] of Object.entries(gradients)) {
    const w = network.parameters[name];
    const isWeight = name.endsWith(".weight");
    const r = chosen.learning_rate * (network.multipliers?.[name] ?? 1);
    state[name] ??= Object.fromEntries(optimizer.states.map((key) => [key, chalk.zerosLike(w, w.length)]));
    if (chosen.weight_decay && isWeight)
      for (let at = 0; at < w.length; at++) w[at] *= 1 - r * chosen.weight_decay;
    optimizer.step(w, g, state[name], r, chosen, isWeight, state.number);
  }
};
