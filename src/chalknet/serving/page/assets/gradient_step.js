/** One step of the backward pass as elements: the loss, or one layer with its gradients. */

/** Return the elements of the first step: the loss, and its gradient p − Y (L1, L4). */
chalk.lossStep = (app, { loss, label, gradLogits, probabilities }) => {
  const { math } = chalk;
  const { class_names: names } = app.model;
  const format = (value) => chalk.number(value, 3);
  const bars = new chalk.Bars({ names, label: "p − Y", format, isSigned: true });
  bars.draw(gradLogits, label);
  const difference = (k) => [
    math.sub("p", k),
    math.mo("−"),
    math.sub("Y", k),
    math.mo("="),
    math.number(probabilities[k], { digits: chalk.digitsNearOne(probabilities[k]) }),
    math.mo("−"),
    math.element("mn", k === label ? "1" : "0"),
    math.mo("="),
    math.number(gradLogits[k], { digits: chalk.digitsNearOne(gradLogits[k]) }),
  ];
  return [
    chalk.element("h2", {}, "The loss and its gradient at the logits"),
    chalk.formula("L1"),
    chalk.element("p", { class: "soft small" }, "There is one sample here, so its loss ℓ is the loss L."),
    chalk.numbers(
      math.block(
        math.mi("L"),
        math.mo("="),
        math.mo("−"),
        math.apply(
          "log",
          math.number(probabilities[label], { digits: chalk.digitsNearOne(probabilities[label]) }),
        ),
        math.mo("="),
        math.number(loss, { digits: 5 }),
      ),
    ),
    chalk.formula("L3"),
    chalk.element("p", {}, `Y is 1 for ${names[label]} and 0 for every other class. For ${names[label]}:`),
    chalk.numbers(math.block(...difference(label))),
    chalk.element("p", {}, "p − Y for every class. The longest bar is the largest of them:"),
    bars.element,
    chalk.element(
      "p",
      { class: "soft small" },
      "A positive value means that a larger logit raises the loss, so a step of the optimizer lowers this logit.",
    ),
    loss < 0.01
      ? chalk.element(
          "p",
          { class: "hint" },
          "The network is almost sure of this class, so all gradients are tiny. Choose another class for the loss, or a mistake in the first tab.",
        )
      : null,
  ];
};

/**
 * Return the elements of the step through one layer.
 *
 * @param app
 * @param layer
 * @param {object} result of `chalk.BackpropagateTab.compute`.
 * @param {function(string, number)} choose called with the name of a parameter and an index.
 */
chalk.layerStep = (app, layer, result, choose) => {
  const labels = chalk.layers[layer.type].formulas(layer);
  const { input, output } = chalk.letters(app.network, layer);
  const incoming = `∂L/∂${output}: the gradient that arrives${chalk.isOutput(app.network, layer) ? ", p − Y" : ""}`;
  const outgoing = `∂L/∂${input}: the gradient passed to the layer below`;
  const [gradX, gradValue] = [result.gradValues[layer.position], result.gradValues[layer.position + 1]];
  const isFirst = chalk.actingLayers(app.network)[0] === layer;
  const isImage = isFirst && chalk.readsImage(app, layer);
  const parameters = Object.keys(layer.names).filter((key) => result.gradients[layer.names[key]]);
  return [
    chalk.element("h2", {}, `Back through ${chalk.layerName(app.network, layer)}`),
    labels.gradX && parameters.length
      ? chalk.element(
          "p",
          { class: "soft small" },
          `Here D is ∂L/∂${output}, the gradient that arrives, and x is ${input === "x" ? "" : `${input}, `}the input of this layer.`,
        )
      : null,
    labels.gradX && layer.type !== "batch_norm" ? chalk.formula(labels.gradX) : null,
    chalk.element(
      "div",
      { class: "figures" },
      chalk.gradientGrid(incoming, gradValue, layer.output_shape),
      chalk.slopeFigure(layer, result.pass.values[layer.position], input),
      chalk.choiceFigure(layer, result.pass.values[layer.position]),
      isImage
        ? chalk.imageGradient(app, `${outgoing}: how the loss changes with each pixel`, gradX)
        : chalk.gradientGrid(outgoing, gradX, chalk.mapShape(app, layer)),
    ),
    layer.type === "flatten"
      ? chalk.element("p", {}, "Flatten moves no value, so the gradient is that of the row, in the shape of the maps.")
      : null,
    layer.shortcut == null
      ? null
      : chalk.element(
          "p",
          {},
          `The same gradient also goes to the shortcut, the input of ${chalk.layerName(app.network, app.network.layers[layer.shortcut])}. There it is added to the gradient that comes back through the layers between.`,
        ),
    layer.type === "batch_norm"
      ? chalk.element(
          "p",
          {},
          `In prediction, mean and variance are fixed. So the gradient is only multiplied by γ / √(s² + ε) of each ${layer.output_shape.length === 3 ? "channel" : "unit"}.`,
        )
      : null,
    ...parameters.flatMap((key) => chalk.parameterParts(app, layer, key, result, choose)),
  ];
};

/** Return the gradient of the pixels as an image. */
chalk.imageGradient = (app, caption, gradX) => {
  const [height, width, channels = 1] = app.model.image_shape;
  if (channels > 1) return chalk.gradientGrid(`${caption}, in red, green and blue`, gradX, [height, width, channels]);
  const canvas = chalk.element("canvas", { class: "pixels large", role: "img", "aria-label": caption });
  const limit = chalk.largest(gradX);
  chalk.drawSigned(canvas, gradX, width, height, limit);
  return chalk.element(
    "figure",
    { class: "gradient" },
    chalk.element("figcaption", {}, caption),
    canvas,
    chalk.legend(limit),
  );
};

/**
 * Return a grid of signed gradients with a caption and a legend.
 *
 * @param {string} caption
 * @param values (n,).
 * @param {?number[]} shape (H, W, C) of values that are pixels of maps.
 */
chalk.gradientGrid = (caption, values, shape = null) => {
  const grid = chalk.gridOf(shape, {
    label: caption,
    count: values.length,
    text: (at) => `${at}: ${chalk.number(values[at])}`,
  });
  const limit = chalk.largest(values);
  grid.draw(values, -1, limit);
  let zeros = 0;
  for (const one of values) zeros += one === 0 ? 1 : 0;
  const note = zeros ? `, ${zeros.toLocaleString("en")} of ${values.length.toLocaleString("en")} are 0` : "";
  return chalk.element(
    "figure",
    { class: "gradient" },
    chalk.element("figcaption", {}, caption + note),
    grid.element,
    chalk.legend(limit),
  );
};

/** Return where the slope of an activation lets the gradient through; null for other layers. */
chalk.slopeFigure = (layer, x, input) => {
  const type = chalk.layers[layer.type];
  if (!type.isActivation) return null;
  const slopes = x.map(type.slope);
  const open = slopes.reduce((n, one) => n + (one === 0 ? 0 : 1), 0);
  const mask = `The mask: 1 where ${input} > 0, else 0. ${open.toLocaleString("en")} of ${x.length.toLocaleString("en")} units let the gradient through`;
  const caption = layer.type === "relu" ? mask : `The slope of ${layer.title} at each ${input}`;
  const grid = chalk.gridOf(layer.output_shape, {
    label: caption,
    count: x.length,
    text: (at) => `unit ${at}: ${chalk.number(slopes[at])}`,
  });
  const limit = Math.max(1, chalk.largest(slopes));
  const isSigned = slopes.some((one) => one < 0);
  grid.draw(slopes, -1, limit);
  return chalk.element(
    "figure",
    { class: "gradient" },
    chalk.element("figcaption", {}, caption),
    grid.element,
    chalk.legend(limit, isSigned ? -limit : 0),
  );
};

/** Return which values of each window max pooling has chosen; null for other layers. */
chalk.choiceFigure = (layer, x) => {
  if (layer.type !== "max_pool2d") return null;
  const chosen = new Float64Array(x.length);
  for (const at of chalk.poolWinners(layer, x, 1)) chosen[at] += 1;
  const nChosen = chosen.reduce((n, one) => n + (one ? 1 : 0), 0);
  const caption = `The choices: 1 where a value is the largest of its window, else 0. ${nChosen.toLocaleString("en")} of ${x.length.toLocaleString("en")} values get a gradient`;
  const grid = chalk.gridOf(layer.input_shape, { label: caption, text: (at) => `${chalk.pixelName(layer.input_shape, at)}: ${chosen[at]}` });
  const limit = chalk.largest(chosen);
  grid.draw(chosen, -1, limit);
  return chalk.element(
    "figure",
    { class: "gradient" },
    chalk.element("figcaption", {}, caption),
    grid.element,
    chalk.legend(limit, 0),
  );
};

/** Return the gradient of one parameter of a layer: formula and image. */
chalk.parameterParts = (app, layer, key, result, choose) => {
  const name = layer.names[key];
  const gradient = result.gradients[name];
  const symbol = { weight: "W", bias: "b", gamma: "γ", alpha: "ρ", frequency: "ν", phase: "χ" }[key] ?? key;
  const label = chalk.layers[layer.type].formulas(layer)[key];
  const parts = [chalk.element("h3", {}, `∂L/∂${symbol} of ${name}`), label ? chalk.formula(label) : null];
  if (layer.type !== "dense" || key !== "weight") {
    const options = {
      label: name,
      count: gradient.length,
      text: (at) => `${chalk.parameterPlace(app, name, at)}: ${chalk.number(gradient[at])}`,
      onselect: (at) => choose(name, at),
    };
    const isKernel = layer.type === "conv2d" && key === "weight";
    const grid = isKernel
      ? new chalk.TileGrid({ ...options, tiles: chalk.kernelTiles(layer.shapes.weight) })
      : new chalk.UnitGrid(options);
    grid.draw(gradient);
    return [
      ...parts,
      chalk.element("div", { class: "gradient" }, grid.element, chalk.legend(chalk.largest(gradient))),
    ];
  }
  return [...parts, ...chalk.weightGradient(app, layer, result, gradient, choose)];
};

/** Return the rows of a weight gradient with the largest norms as images, or as one row of cells each. */
chalk.weightGradient = (app, layer, result, gradient, choose) => {
  const { inputs, outputs } = layer;
  const d = result.gradValues[layer.position + 1];
  const sorted = Array.from({ length: outputs }, (_, j) => j).sort((a, b) => Math.abs(d[b]) - Math.abs(d[a]));
  const shape = chalk.mapShape(app, layer);
  const isImage = shape !== null && shape[2] === 1;
  const rows = sorted.filter(
    (j, rank, all) => rank < 2 || (rank < (isImage ? 12 : 6) && Math.abs(d[j]) > Math.abs(d[all[0]]) / 100),
  );
  const limit = chalk.largest(gradient);
  const figures = rows.map((j) => {
    const row = gradient.subarray(j * inputs, (j + 1) * inputs);
    const name = chalk.unitName(app, layer, j);
    const grid = chalk.gridOf(shape, {
      label: `Gradient of the weights of ${name}`,
      count: inputs,
      columns: Math.min(inputs, 50),
      text: (at) => `${name}, input ${at}: ${chalk.number(row[at])}`,
      onselect: (at) => choose(layer.names.weight, j * inputs + at),
    });
    grid.draw(row, -1, limit);
    return chalk.element(
      "figure",
      { class: isImage ? "weights small-weights" : "weights" },
      chalk.element("figcaption", {}, name),
      grid.element,
    );
  });
  const which =
    outputs > rows.length
      ? `The ${rows.length} units with the largest gradients of ${outputs.toLocaleString("en")}. `
      : "";
  return [
    chalk.element(
      "p",
      { class: "soft small" },
      `${which}Each cell is one weight. Choose one to check its gradient.`,
    ),
    chalk.element("div", { class: "figures" }, ...figures),
    chalk.legend(limit),
  ];
};
