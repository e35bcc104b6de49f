/**
 * Activations: functions of single numbers, each with its derivative beside it.
 *
 * @param {string} name the type of the layer.
 * @param {string[]} labels the labels of value and derivative in docs/derivation.md.
 * @param {function(number): number} value f(x).
 * @param {function(number): number} slope f'(x); dL/dx = dL/df f'(x).
 */
chalk.addActivation = (name, labels, value, slope) => {
  chalk.layers[name] = {
    isActivation: true,
    value,
    slope,
    formulas: () => ({ value: labels[0], gradX: labels[1] }),
    forward(layer, p, x) {
      return {
        value: x.map(value),
        backward: (grad) => ({ gradX: grad.map((d, at) => (d === 0 ? 0 : d * slope(x[at]))), gradients: {} }),
      };
    },
  };
};

/** Return 1 / (1 + e^-x) without overflow (docs/derivation.md, R9). */
chalk.sigmoid = (x) => (1 + Math.tanh(x / 2)) / 2;

/** Return log(1 + e^x) without overflow. */
chalk.softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

{
  const LEAK = 0.01; // slope of leaky_relu where x < 0
  const ALPHA = 1.6732632423543772; // selu
  const SCALE = 1.0507009873554805; // selu
  const ROOT = Math.sqrt(2 / Math.PI); // gelu in its tanh form
  const CUBE = 0.044715; // gelu
  const BOUND = 3; // smooth_clip
  const { sigmoid, softplus } = chalk;

  chalk.addActivation(
    "relu",
    ["R1", "R2"],
    (x) => Math.max(x, 0),
    (x) => (x > 0 ? 1 : 0),
  );
  chalk.addActivation(
    "leaky_relu",
    ["R3", "R4"],
    (x) => (x > 0 ? x : LEAK * x),
    (x) => (x > 0 ? 1 : LEAK),
  );
  chalk.addActivation("tanh", ["R5", "R6"], Math.tanh, (x) => 1 - Math.tanh(x) ** 2);
  chalk.addActivation("sigmoid", ["R9", "R10"], sigmoid, (x) => sigmoid(x) * (1 - sigmoid(x)));
  chalk.addActivation(
    "silu",
    ["R11", "R12"],
    (x) => x * sigmoid(x),
    (x) => sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)),
  );
  chalk.addActivation(
    "mish",
    ["R13", "R14"],
    (x) => x * Math.tanh(softplus(x)),
    (x) => Math.tanh(softplus(x)) + x * (1 - Math.tanh(softplus(x)) ** 2) * sigmoid(x),
  );
  chalk.addActivation(
    "gelu",
    ["R7", "R8"],
    (x) => (x * (1 + Math.tanh(ROOT * x * (1 + CUBE * x * x)))) / 2,
    (x) => {
      const t = Math.tanh(ROOT * x * (1 + CUBE * x * x));
      return (1 + t) / 2 + (x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x)) / 2;
    },
  );
  chalk.addActivation(
    "elu",
    ["R15", "R16"],
    (x) => (x > 0 ? x : Math.expm1(x)),
    (x) => (x > 0 ? 1 : Math.exp(x)),
  );
  chalk.addActivation(
    "selu",
    ["R17", "R18"],
    (x) => (x > 0 ? SCALE * x : SCALE * ALPHA * Math.expm1(x)),
    (x) => (x > 0 ? SCALE : SCALE * ALPHA * Math.exp(x)),
  );
  chalk.addActivation(
    "smooth_clip",
    ["R22", "R23"],
    (x) => x / Math.sqrt(1 + (x / BOUND) ** 2),
    (x) => (1 + (x / BOUND) ** 2) ** -1.5,
  );
  chalk.addActivation(
    "identity",
    [null, null],
    (x) => x,
    () => 1,
  );
}
