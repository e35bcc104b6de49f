/** One step of the backward pass as elements: the loss, or one layer with its gradients. */

/** Return the elements of the first step: the loss, and its gradient p - y (L1, L4). */
chalk.lossStep = (app, { loss, label, gradLogits, probabilities }) => {
  const { math } = chalk;
  const { class_names: names } = app.model;
  const bars = new chalk.Bars({ names, label: "p - y", format: (value) => chalk.number(value, 3), isSigned: true });
  bars.draw(gradLogits, label, 1);
  return [
    chalk.element("h2", {}, "The loss and its gradient at the logits"),
    chalk.formula("L1"),
    chalk.numbers(
      math.block(
        math.mi("L"),
        math.mo("="),
        math.mo("−"),
        math.apply("log", math.number(probabilities[label], { digits: 4 })),
        math.mo("="),
        math.number(loss, { digits: 5 }),
      ),
    ),
    chalk.formula("L3"),
    chalk.element("p", {}, `y is 1 for ${names[label]} and 0 for all other classes, so p − y is:`),
    bars.element,
    chalk.element("p", { class: "soft small" }, "A positive gradient means that a larger logit would raise the loss, so a step lowers it."),
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
  const [gradX, gradValue] = [result.gradValues[layer.position], result.gradValues[layer.position + 1]];
  const isFirst = chalk.actingLayers(app.network)[0] === layer;
  return [
    chalk.element("h2", {}, `Through ${chalk.layerName(app.network, layer)}`),
    chalk.gradientGrid(`∂L/∂${output}: the gradient that arrives here${chalk.isOutput(app.network, layer) ? ", p − y" : ""}`, gradValue),
    ...chalk.slopeParts(layer, result.pass.values[layer.position], input),
    ...Object.keys(layer.names).filter((key) => result.gradients[layer.names[key]]).flatMap((key) => chalk.parameterParts(app, layer, key, result, choose)),
    chalk.element("h3", {}, isFirst ? `Gradient at the input, ∂L/∂${input}` : `Gradient for the layer before, ∂L/∂${input}`),
    labels.gradX ? chalk.formula(chalk.gradXLabel(layer, labels)) : null,
    isFirst && chalk.readsImage(app, layer)
      ? chalk.figure("How the loss changes with each pixel", (canvas) => chalk.drawSigned(canvas, gradX, app.model.image_shape[1], app.model.image_shape[0]), "picture large")
      : chalk.gradientGrid(`∂L/∂${input}`, gradX),
  ];
};

/** Return the label of dL/dx; batch normalization with running statistics has its own formula. */
chalk.gradXLabel = (layer, labels) => (layer.type === "batch_norm" ? null : labels.gradX);

/** Return a grid of signed gradients with a caption and a legend. */
chalk.gradientGrid = (caption, values) => {
  const grid = new chalk.UnitGrid({ label: caption, count: values.length, text: () => "" });
  const limit = chalk.largest(values);
  grid.draw(values, -1, limit);
  let zeros = 0;
  for (const one of values) zeros += one === 0 ? 1 : 0;
  const note = zeros ? `, ${zeros.toLocaleString("en")} of ${values.length.toLocaleString("en")} are 0` : "";
  return chalk.element("figure", { class: "gradient" }, chalk.element("figcaption", {}, caption + note), grid.element, chalk.legend(limit));
};

/** Return where the slope of an activation lets the gradient through; [] for other layers. */
chalk.slopeParts = (layer, x, input) => {
  const type = chalk.layers[layer.type];
  if (layer.type === "batch_norm") {
    return [chalk.element("p", {}, "In prediction, mean and variance are fixed. So the gradient is only multiplied by γ / √(s² + ε) of each unit.")];
  }
  if (!type.isActivation) return [];
  const slopes = x.map(type.slope);
  const open = slopes.filter((one) => one !== 0).length;
  const caption = layer.type === "relu" ? `The mask: 1 where ${input} > 0, else 0. ${open} of ${x.length} units let the gradient through` : `The slope of ${layer.title} at each ${input}`;
  const grid = new chalk.UnitGrid({ label: caption, count: x.length, text: () => "" });
  grid.draw(slopes, -1, Math.max(1, chalk.largest(slopes)));
  return [chalk.element("figure", { class: "gradient" }, chalk.element("figcaption", {}, caption), grid.element)];
};

/** Return the gradient of one parameter of a layer: formula and image. */
chalk.parameterParts = (app, layer, key, result, choose) => {
  const name = layer.names[key];
  const gradient = result.gradients[name];
  const symbol = { weight: "W", bias: "b", gamma: "γ", alpha: "ρ", frequency: "ν", phase: "χ" }[key] ?? key;
  const label = chalk.layers[layer.type].formulas(layer)[key];
  const parts = [chalk.element("h3", {}, `∂L/∂${symbol} of ${name}`), label ? chalk.formula(label) : null];
  if (layer.type !== "dense" || key !== "weight") {
    const grid = new chalk.UnitGrid({ label: name, count: gradient.length, text: (at) => `${at}: ${chalk.number(gradient[at])}`, onselect: (at) => choose(name, at) });
    grid.draw(gradient);
    return [...parts, grid.element, chalk.legend(chalk.largest(gradient))];
  }
  return [...parts, ...chalk.weightGradient(app, layer, result, gradient, choose)];
};

/** Return the rows of a weight gradient with the largest norms as images, or as one row of cells each. */
chalk.weightGradient = (app, layer, result, gradient, choose) => {
  const { inputs, outputs } = layer;
  const d = result.gradValues[layer.position + 1];
  const rows = Array.from({ length: outputs }, (_, j) => j).sort((a, b) => Math.abs(d[b]) - Math.abs(d[a])).slice(0, 12);
  const limit = chalk.largest(gradient);
  const isImage = chalk.readsImage(app, layer);
  const columns = isImage ? app.model.image_shape[1] : Math.min(inputs, 100);
  const figures = rows.map((j) => {
    const row = gradient.subarray(j * inputs, (j + 1) * inputs);
    const name = chalk.unitName(app, layer, j);
    const grid = new chalk.UnitGrid({ label: `Gradient of the weights of ${name}`, count: inputs, columns, text: (at) => `${name}, input ${at}: ${chalk.number(row[at])}`, onselect: (at) => choose(layer.names.weight, j * inputs + at) });
    grid.draw(row, -1, limit);
    return chalk.element("figure", { class: isImage ? "weights small-weights" : "weights" }, chalk.element("figcaption", {}, name), grid.element);
  });
  const which = outputs > rows.length ? `The ${rows.length} units with the largest gradients of ${outputs.toLocaleString("en")}. ` : "";
  return [
    chalk.element("p", { class: "soft small" }, `${which}Each cell is one weight. Choose one to check its gradient.`),
    chalk.element("div", { class: isImage ? "figures" : "figures rows" }, ...figures),
    chalk.legend(limit),
  ];
};
