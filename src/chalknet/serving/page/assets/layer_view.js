/** How the layers of a network are named and shown; the only place that knows. */

/** Return the layers that act in prediction; dropout does not. */
chalk.actingLayers = (network) => network.layers.filter((layer) => layer.acts_in_prediction);

/** Return the name of the block of each layer: "input", "hidden1", ..., "output". */
chalk.blockNames = (network) => {
  let block = "input";
  return network.layers.map((layer) => {
    if (["dense", "conv2d"].includes(layer.type)) block = layer.names.weight.split(".")[0];
    return block;
  });
};

/** Return a layer's name for headings, such as "hidden1: dense of 1,000 units". */
chalk.layerName = (network, layer) => `${chalk.blockNames(network)[layer.position]}: ${layer.title}`;

/** Return whether a layer's output are the logits. */
chalk.isOutput = (network, layer) => layer.position === network.layers.length - 1;

/** Return what a unit of a layer's output is called, such as "unit 12", "row 3, column 5, channel 2" or "logit of B". */
chalk.unitName = (app, layer, unit) => {
  if (chalk.isOutput(app.network, layer)) return `logit of ${app.model.class_names[unit]}`;
  return layer.output_shape.length === 3 ? chalk.pixelName(layer.output_shape, unit) : `unit ${unit}`;
};

/** Return the name of input i: a column of a table, or (row, column) of a pixel. */
chalk.inputName = (app, index) => {
  const { image_shape: shape, input_names: names } = app.model;
  if (!shape) return names[index] ?? `input ${index}`;
  const [, width, channels = 1] = shape;
  const pixel = Math.floor(index / channels);
  const color = channels === 1 ? "" : `, ${chalk.channelName(index % channels, true, channels)}`;
  return `pixel (${Math.floor(pixel / width)}, ${pixel % width})${color}`;
};

/** Return the name of the value that a layer reads at a position: an input or a unit before it. */
chalk.sourceName = (app, layer, index) => {
  const before = app.network.layers
    .slice(0, layer.position)
    .filter((one) => one.acts_in_prediction)
    .pop();
  if (!before) return chalk.inputName(app, index);
  const name = `${chalk.blockNames(app.network)[before.position]} ${before.type.replace(/_/g, " ")}`;
  return `${name}, ${chalk.unitName(app, before, index)}`;
};

/** Return whether the values that a layer reads are the pixels of an image. */
chalk.readsImage = (app, layer) =>
  app.model.image_shape !== null &&
  layer.inputs === app.model.n_inputs &&
  app.network.layers
    .slice(0, layer.position)
    .every((one) => one.inputs === one.outputs && !["dense", "conv2d"].includes(one.type));

/**
 * The output of one layer: a heading, a grid of its units, and what they add up to.
 *
 * @param app
 * @param {object} layer
 * @param {function(object, number)} onselect called with the layer and a unit; optional.
 */
chalk.LayerView = class {
  constructor(app, layer, onselect) {
    Object.assign(this, { app, layer });
    const name = chalk.layerName(app.network, layer);
    this.grid = chalk.gridOf(layer.output_shape, {
      label: `Units of ${name}`,
      count: layer.outputs,
      text: (unit) => `${chalk.unitName(app, layer, unit)}: ${chalk.number(this.values?.[unit] ?? 0)}`,
      onselect: onselect && ((unit) => onselect(layer, unit)),
    });
    this.legend = chalk.element("div");
    this.summary = chalk.element("p", { class: "soft small" });
    this.element = chalk.element(
      "section",
      { class: "layer" },
      chalk.element("h4", {}, name),
      this.grid.element,
      chalk.element("div", { class: "layer-foot" }, this.summary, this.legend),
    );
  }

  /** Show the values (outputs,) of one sample. */
  draw(values, selected = -1) {
    this.values = values;
    const limit = chalk.largest(values);
    this.grid.draw(values, selected, limit);
    let above = 0;
    for (const one of values) above += one > 0 ? 1 : 0;
    this.summary.textContent = `${above.toLocaleString("en")} of ${values.length.toLocaleString("en")} are above 0`;
    chalk.fill(this.legend, chalk.legend(limit));
  }
};

/**
 * All layers of the network of an app, the logits as bars.
 *
 * @param app
 * @param {function(object, number)} onselect called with a layer and a unit; optional.
 */
chalk.NetworkView = class {
  constructor(app, onselect) {
    Object.assign(this, { app, onselect });
    this.element = chalk.element("div", { class: "layers" });
  }

  /** Build the views anew if the network has other layers. */
  build() {
    const { network } = this.app;
    if (this.layers === network.layers) return;
    this.layers = network.layers;
    this.views = chalk
      .actingLayers(network)
      .map((layer) =>
        chalk.isOutput(network, layer)
          ? new chalk.LogitsView(this.app, layer, this.onselect)
          : new chalk.LayerView(this.app, layer, this.onselect),
      );
    chalk.fill(this.element, ...this.views.map((view) => view.element));
  }

  /** Show a forward pass; selected is {layer, unit} or null. */
  draw(pass, selected = null) {
    this.build();
    for (const view of this.views) {
      const unit = selected && selected.layer === view.layer.position ? selected.unit : -1;
      view.draw(pass.values[view.layer.position + 1], unit);
    }
  }
};

/** The logits as bars. */
chalk.LogitsView = class {
  constructor(app, layer, onselect) {
    this.layer = layer;
    this.bars = new chalk.Bars({
      names: app.model.class_names,
      label: "Logits",
      format: (value) => chalk.number(value, 3),
      isSigned: true,
      onselect: onselect && ((unit) => onselect(layer, unit)),
    });
    this.element = chalk.element(
      "section",
      { class: "layer" },
      chalk.element("h4", {}, `${chalk.layerName(app.network, layer)}, the logits`),
      this.bars.element,
    );
  }

  draw(values, selected) {
    this.bars.draw(values, selected);
  }
};
