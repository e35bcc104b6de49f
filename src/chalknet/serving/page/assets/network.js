/**
 * A network is {layers, parameters}.
 *
 * layers: objects {type, position, settings, inputs, outputs, input_shape, output_shape, shortcut, names, shapes,
 *   title}; names and shapes have the layer's parameters by local name, such as weight: "hidden1.weight". The shape of
 *   an image is (H, W, C). shortcut is the position of the layer whose input a residual connection adds, else null.
 * parameters: arrays by name in the network.
 */

/** Return the parameters of a layer by local name. */
chalk.localParameters = (layer, parameters) =>
  Object.fromEntries(Object.entries(layer.names).map(([key, name]) => [key, parameters[name]]));

/**
 * Run all layers on a batch (docs/derivation.md, N1).
 *
 * @param network {layers, parameters}.
 * @param inputs (B, I) scaled inputs; images row by row, pixel by pixel, channel by channel.
 * @param {number} rows B.
 * @param {{training: ?boolean, masks: ?object}} mode training uses batch statistics and masks.
 * @returns {{values, logits, backward, statistics}} values[0] is inputs and values[l + 1] the output of
 *   layer l. backward is a function: (gradLogits, {needsGradX}) -> {gradients, gradValues}, with
 *   gradients by name and the gradient of every entry of values (N2 to N4).
 */
chalk.forward = (network, inputs, rows = 1, mode = {}) => {
  const values = [inputs];
  const passes = [];
  const statistics = {};
  for (const layer of network.layers) {
    const p = chalk.localParameters(layer, network.parameters);
    const shortcut = layer.shortcut == null ? null : values[layer.shortcut];
    const x = values[values.length - 1];
    const pass = chalk.layers[layer.type].forward(layer, p, x, rows, { ...mode, shortcut });
    for (const [key, array] of Object.entries(pass.statistics ?? {})) statistics[layer.names[key]] = array;
    passes.push(pass);
    values.push(pass.value);
  }
  const backward = (gradLogits, options) => chalk.backward(network, passes, gradLogits, options);
  return { values, logits: values[values.length - 1], backward, statistics };
};

/** Go through the layers in reverse; see `chalk.forward`. */
chalk.backward = (network, passes, gradLogits, { needsGradX = true } = {}) => {
  const gradients = {};
  const gradValues = [gradLogits];
  const ofShortcuts = {}; // by the position of the layer whose input was added
  for (let l = network.layers.length - 1; l >= 0; l--) {
    const layer = network.layers[l];
    const found = passes[l].backward(gradValues[0], l > 0 || needsGradX);
    for (const [key, array] of Object.entries(found.gradients)) gradients[layer.names[key]] = array;
    if (layer.shortcut != null) {
      const known = ofShortcuts[layer.shortcut];
      ofShortcuts[layer.shortcut] = known ? known.map((d, at) => d + found.gradShortcut[at]) : found.gradShortcut;
    }
    const added = found.gradX && ofShortcuts[l];
    gradValues.unshift(added ? found.gradX.map((d, at) => d + added[at]) : found.gradX);
  }
  return { gradients, gradValues };
};

/**
 * Return loss and gradients of a batch.
 *
 * @param labels (B,) integers in [0, K).
 * @param {object} options those of `chalk.crossEntropy`, {training, masks} of `chalk.forward`, and
 *   {needsGradX}.
 * @returns {{loss, correct, gradients, statistics, pass, gradValues}}
 */
chalk.lossAndGradients = (network, x, labels, options = {}) => {
  const pass = chalk.forward(network, x, labels.length, options);
  const { loss, gradLogits, correct } = chalk.crossEntropy(pass.logits, labels, options);
  const { gradients, gradValues } = pass.backward(gradLogits, options);
  return { loss, correct, gradients, statistics: pass.statistics, pass, gradValues };
};

/** Return the scaled inputs of raw samples: x = (raw - shift) / scale, after missing values. */
chalk.scaled = (scaling, raw) => {
  const size = scaling.shift ? scaling.shift.length : 0;
  const scale = (at) => (typeof scaling.scale === "number" ? scaling.scale : scaling.scale[at % size]);
  const shift = (at) => (scaling.shift ? scaling.shift[at % size] : 0);
  const fill = (one, at) =>
    Number.isNaN(one) && scaling.fill ? scaling.fill[at % scaling.fill.length] : one;
  return Float64Array.from(raw, (one, at) => (fill(one, at) - shift(at)) / scale(at));
};

/** Return a copy of a network whose parameters can be changed. */
chalk.copyNetwork = (network) => ({
  layers: network.layers,
  parameters: Object.fromEntries(
    Object.entries(network.parameters).map(([name, one]) => [name, one.slice()]),
  ),
});
