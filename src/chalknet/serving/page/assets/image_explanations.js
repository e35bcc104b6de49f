/** Explanations of single values of convolution, pooling, flatten and residual connections. */

/** Return whether every output value of a layer comes from the input value at the same position. */
chalk.keepsUnits = (layer) =>
  layer.inputs === layer.outputs && !chalk.mixes.has(layer.type) && layer.type !== "conv2d" &&
  !["max_pool2d", "average_pool2d"].includes(layer.type);

/**
 * Return what one value of a convolution or pooling looks at.
 *
 * @param layer
 * @param {number} unit position of the value in the layer's output.
 * @returns {{shape: number[], at: Array<?number>}} shape (R, S, C) of the window, and for each of its values the
 *   position in the layer's input, or null in the padding. C counts the channels of the value's group for a
 *   convolution, and is 1 for pooling.
 */
chalk.windowAt = (layer, unit) => {
  const [height, width, channels] = layer.input_shape;
  const isGlobal = layer.type === "global_average_pool";
  const [, wide, filters] = isGlobal ? [1, 1, channels] : layer.output_shape;
  const { size, stride, zeros } = isGlobal
    ? { size: [height, width], stride: 1, zeros: [0, 0] }
    : chalk.windowOf(layer);
  const filter = unit % filters;
  const pixel = Math.floor(unit / filters);
  const groups = layer.type === "conv2d" ? (layer.settings.groups ?? 1) : channels;
  const perGroup = channels / groups;
  const first = Math.floor(filter / (filters / groups)) * perGroup;
  const at = [];
  for (let r = 0; r < size[0]; r++) {
    for (let s = 0; s < size[1]; s++) {
      const y = Math.floor(pixel / wide) * stride + r - zeros[0];
      const x = (pixel % wide) * stride + s - zeros[1];
      const isInside = y >= 0 && y < height && x >= 0 && x < width;
      for (let i = 0; i < perGroup; i++)
        at.push(isInside ? (y * width + x) * channels + first + i : null);
    }
  }
  return { shape: [...size, perGroup], at, filter };
};

/** Return x at the positions of a window; 0 in the padding. */
chalk.windowValues = (x, { at }) => Float64Array.from(at, (one) => (one === null ? 0 : x[one]));

/** Return a sum of terms as MathML: the largest terms, and how many there are besides. */
chalk.sumOfTerms = (texts, nLeft, rest) => {
  const { math } = chalk;
  const shown = texts.flatMap((one, k) => (k ? [math.mo("+"), ...one] : one));
  return nLeft ? [...shown, math.mo("+"), rest === null ? math.mo("…") : math.number(rest, { inner: true })] : shown;
};

Object.assign(chalk.explanations, {
  conv2d({ layer, p, x, value, unit, input, output }) {
    const { math } = chalk;
    const window = chalk.windowAt(layer, unit);
    const size = window.at.length;
    const [, , channels] = layer.input_shape;
    const width = layer.input_shape[1];
    const terms = window.at
      .map((at, k) => ({ at, k, w: p.weight[window.filter * size + k], x: at === null ? 0 : x[at] }))
      .sort((a, b) => Math.abs(b.x * b.w) - Math.abs(a.x * a.w));
    const shown = terms.filter((one) => one.at !== null).slice(0, 4);
    const nLeft = terms.length - shown.length;
    const rest = terms.reduce((sum, one) => sum + one.x * one.w, 0) - shown.reduce((sum, one) => sum + one.x * one.w, 0);
    const [, wide, inGroup] = window.shape;
    const name = ({ at }) => {
      const pixel = Math.floor(at / channels);
      return math.sub(input, Math.floor(pixel / width), pixel % width, at % channels);
    };
    const weight = ({ k }) => {
      const place = Math.floor(k / inGroup);
      return math.sub("W", window.filter, Math.floor(place / wide), place % wide, k % inGroup);
    };
    const bias = p.bias ? [math.mo("+"), math.sub("b", window.filter)] : [];
    const biasNumber = p.bias ? [math.mo("+"), math.number(p.bias[window.filter], { inner: true })] : [];
    const numbers = (one) => [
      math.number(one.x, { inner: true }),
      math.mo("·"),
      math.number(one.w, { inner: true }),
    ];
    const nOutside = window.at.filter((at) => at === null).length;
    return [
      chalk.numbers(
        math.block(
          math.sub(output, ...chalk.placeOf(layer.output_shape, unit)),
          math.mo("="),
          ...chalk.sumOfTerms(shown.map((one) => [name(one), weight(one)]), nLeft, null),
          ...bias,
        ),
        math.block(math.mo("="), ...chalk.sumOfTerms(shown.map(numbers), nLeft, rest), ...biasNumber),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        `Indices are row, column and channel; of W filter, row, column and channel. The ${shown.length} largest of ${size.toLocaleString("en")} products are shown.` +
          (nOutside ? ` ${nOutside.toLocaleString("en")} of them are with the zeros around the image.` : ""),
      ),
    ];
  },

  max_pool2d({ layer, x, value, unit }) {
    const { math } = chalk;
    const window = chalk.windowAt(layer, unit);
    const values = Array.from(chalk.windowValues(x, window));
    const parts = values.slice(0, 9).flatMap((one, k) => (k ? [math.mo(","), math.number(one)] : [math.number(one)]));
    const dots = values.length > 9 ? [math.mo(","), math.mo("…")] : [];
    return [
      chalk.numbers(
        math.block(math.apply("max", ...parts, ...dots), math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
    ];
  },

  average_pool2d: (given) => chalk.explainMean(given),
  global_average_pool: (given) => chalk.explainMean(given),

  flatten: ({ layer, unit, value }) => [
    chalk.element(
      "p",
      {},
      `Unit ${unit.toLocaleString("en")} of the row is the value at ${chalk.pixelName(layer.input_shape, unit)}, ${chalk.number(value[unit])}, unchanged.`,
    ),
  ],

  residual({ app, layer, x, value, unit }) {
    const { math } = chalk;
    const shortcut = app.pass().values[layer.shortcut];
    let from = null;
    chalk.eachShortcut(layer, 1, (at, source) => {
      if (at === unit) from = source;
    });
    const added = from === null ? 0 : shortcut[from];
    return [
      chalk.numbers(
        math.block(
          math.number(x[unit]),
          math.mo("+"),
          math.number(added, { inner: true }),
          math.mo("="),
          math.number(value[unit], { digits: 5 }),
        ),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        from === null
          ? "The shortcut has no such channel, so 0 is added."
          : `The shortcut is the input of ${chalk.layerName(app.network, app.network.layers[layer.shortcut])}.`,
      ),
    ];
  },
});

/** Explain a mean: the sum of the values of a window, and their number. */
chalk.explainMean = ({ layer, x, value, unit }) => {
  const { math } = chalk;
  const values = Array.from(chalk.windowValues(x, chalk.windowAt(layer, unit)));
  const shown = values.slice(0, 4).map((one) => [math.number(one, { inner: true })]);
  const rest = values.slice(4).reduce((sum, one) => sum + one, 0);
  const sum = chalk.sumOfTerms(shown, values.length > 4, rest);
  return [
    chalk.numbers(
      math.block(
        math.frac(math.row(...sum), math.element("mn", String(values.length))),
        math.mo("="),
        math.number(value[unit], { digits: 5 }),
      ),
    ),
  ];
};

/** Return [row, column, channel] of a position in an image (H, W, C). */
chalk.placeOf = ([, width, channels], at) => {
  const pixel = Math.floor(at / channels);
  return [Math.floor(pixel / width), pixel % width, at % channels];
};

/** Pictures of what a value looks at, by layer type: functions of (app, layer, unit, choose). */
chalk.imageParts = {
  conv2d(app, layer, unit, choose) {
    const window = chalk.windowAt(layer, unit);
    const x = chalk.windowValues(app.pass().values[layer.position], window);
    const size = window.at.length;
    const p = chalk.localParameters(layer, app.network.parameters);
    const weights = p.weight.subarray(window.filter * size, (window.filter + 1) * size);
    const figure = chalk.windowFigure(app, layer, window, choose);
    return [
      chalk.element("h3", {}, `The window and filter ${window.filter}`),
      chalk.element(
        "div",
        { class: "figures" },
        figure("Values of the window", x),
        figure("Weights of the filter", weights),
        figure("Products", x.map((one, k) => one * weights[k])),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        `The same filter is moved over the whole image. ${chalk.chooseHint(app, layer)}`,
      ),
    ];
  },

  max_pool2d(app, layer, unit, choose) {
    const window = chalk.windowAt(layer, unit);
    const x = app.pass().values[layer.position];
    const values = chalk.windowValues(x, window);
    const winner = chalk.poolWinners(layer, x, 1)[unit];
    const place = window.at.indexOf(winner);
    return [
      chalk.element("h3", {}, "The window"),
      chalk.windowFigure(app, layer, window, choose)("Values of the window; the frame marks the largest", values, place),
      chalk.element(
        "p",
        { class: "soft small" },
        `The largest value is at ${chalk.pixelName(layer.input_shape, winner)}. In the backward pass, it alone gets the gradient of this output. ${chalk.chooseHint(app, layer)}`,
      ),
    ];
  },

  average_pool2d: (app, layer, unit, choose) => chalk.meanParts(app, layer, unit, choose),
  global_average_pool: (app, layer, unit, choose) => chalk.meanParts(app, layer, unit, choose),
};

/** Return the window of a mean as an image. */
chalk.meanParts = (app, layer, unit, choose) => {
  const window = chalk.windowAt(layer, unit);
  const values = chalk.windowValues(app.pass().values[layer.position], window);
  return [
    chalk.element("h3", {}, "The window"),
    chalk.windowFigure(app, layer, window, choose)("Values of the window", values),
    chalk.element("p", { class: "soft small" }, `Every value of the window has the same part. ${chalk.chooseHint(app, layer)}`),
  ];
};

/** Return the layer before a layer that acts in prediction, or undefined. */
chalk.layerBefore = (app, layer) => chalk.actingLayers(app.network).filter((one) => one.position < layer.position).pop();

/** Return what happens when a cell of a window is chosen, or "". */
chalk.chooseHint = (app, layer) => (chalk.layerBefore(app, layer) ? "Choose a cell to explain its value." : "");

/** Return a function (title, values, selected) that makes a figure of the values of a window. */
chalk.windowFigure = (app, layer, window, choose) => {
  const before = chalk.layerBefore(app, layer);
  return (title, values, selected = -1) => {
    const name = (k) => (window.at[k] === null ? "the zeros around the image" : chalk.sourceName(app, layer, window.at[k]));
    const grid = chalk.gridOf(window.shape, {
      label: title,
      text: (k) => `${name(k)}: ${chalk.number(values[k])}`,
      onselect: before && ((k) => window.at[k] !== null && choose(before.position, window.at[k])),
    });
    const limit = chalk.largest(values);
    grid.draw(values, selected, limit);
    return chalk.element(
      "figure",
      { class: "weights" },
      chalk.element("figcaption", {}, title),
      grid.element,
      chalk.legend(limit),
    );
  };
};
