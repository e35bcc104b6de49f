/**
 * The tab "Explain": one chosen value with its formula and numbers.
 *
 * The selection is {kind: "probability", unit}, or {kind: "unit", layer, unit, weight}, where layer
 * is a position in the network and weight an input of the unit, or null.
 */
chalk.ExplainTab = class {
  constructor(container, app) {
    this.app = app;
    this.selection = null;
    this.network = new chalk.NetworkView(app, (layer, unit) =>
      this.select({ kind: "unit", layer: layer.position, unit, weight: null }),
    );
    this.probabilities = new chalk.Bars({
      names: app.model.class_names,
      label: "Probabilities",
      format: chalk.percent,
      onselect: (unit) => this.select({ kind: "probability", unit }),
    });
    this.details = chalk.element("section", {
      class: "box details",
      "aria-live": "polite",
      "aria-label": "Explanation",
    });
    container.append(
      chalk.element(
        "div",
        { class: "columns" },
        chalk.element("div", { class: "wide" }, this.details),
        chalk.element(
          "div",
          { class: "side" },
          chalk.box(
            "Choose a value",
            chalk.element("p", { class: "soft small" }, "Every cell and every bar is one value."),
            chalk.element("h4", {}, "Probabilities"),
            this.probabilities.element,
            this.network.element,
          ),
        ),
      ),
    );
  }

  select(selection) {
    this.selection = selection;
    this.update();
    this.app.saveAddress();
  }

  /** Return the selection if it exists in the network, or the logit of the most probable class. */
  valid() {
    const { app } = this;
    const { kind, layer, unit } = this.selection ?? {};
    const best = () => {
      const p = app.probabilities();
      return {
        kind: "unit",
        layer: app.network.layers.length - 1,
        unit: p.indexOf(Math.max(...p)),
        weight: null,
      };
    };
    const isWhole = (one, size) => Number.isInteger(one) && one >= 0 && one < size;
    if (kind === "probability") return isWhole(unit, app.model.class_names.length) ? this.selection : best();
    const found = isWhole(layer, app.network.layers.length) ? app.network.layers[layer] : null;
    if (!found || !found.acts_in_prediction || !isWhole(unit, found.outputs)) return best();
    return isWhole(this.selection.weight, found.inputs) && found.type === "dense"
      ? this.selection
      : { ...this.selection, weight: null };
  }

  update() {
    const { app } = this;
    const selection = this.valid();
    const isProbability = selection.kind === "probability";
    this.probabilities.draw(app.probabilities(), isProbability ? selection.unit : -1, 1);
    this.network.draw(app.pass(), isProbability ? null : selection);
    chalk.fill(this.details, ...(isProbability ? this.probability(selection) : this.unit(selection)));
  }

  probability({ unit }) {
    const name = this.app.model.class_names[unit];
    return [
      chalk.element("h2", {}, `Probability of ${name}: ${chalk.percent(this.app.probabilities()[unit])}`),
      ...chalk.explainProbability(this.app, unit),
      chalk.button(`Explain the logit of ${name}`, () =>
        this.select({ kind: "unit", layer: this.app.network.layers.length - 1, unit, weight: null }),
      ),
    ];
  }

  unit(selection) {
    const { app } = this;
    const layer = app.network.layers[selection.layer];
    const name = chalk.unitName(app, layer, selection.unit);
    const value = app.pass().values[layer.position + 1][selection.unit];
    const dense = layer.type === "dense" ? this.dense(layer, selection) : [];
    const choose = (position, one) => this.select({ kind: "unit", layer: position, unit: one, weight: null });
    const images = chalk.imageParts[layer.type]?.(app, layer, selection.unit, choose) ?? [];
    return [
      chalk.element("h2", {}, `${name.charAt(0).toUpperCase()}${name.slice(1)} = ${chalk.number(value)}`),
      chalk.element("p", { class: "soft" }, chalk.layerName(app.network, layer)),
      this.unitField(layer, selection),
      ...chalk.explainUnit(app, layer, selection.unit),
      ...images,
      ...dense,
    ];
  }

  /** Return a field to choose a unit by its number, and for what is behind an activation a button. */
  unitField(layer, { unit }) {
    const choose = (position, one) => this.select({ kind: "unit", layer: position, unit: one, weight: null });
    const field = chalk.element("input", {
      type: "number",
      min: 0,
      max: layer.outputs - 1,
      value: unit,
      onchange: () => choose(layer.position, Number(field.value)),
    });
    const before = this.app.network.layers
      .slice(0, layer.position)
      .filter((one) => one.acts_in_prediction)
      .pop();
    const isSameUnit =
      before && chalk.keepsUnits(layer) && unit < before.outputs;
    return chalk.element(
      "div",
      { class: "row" },
      chalk.element(
        "label",
        { class: "field" },
        chalk.element("span", {}, `Unit, 0 to ${layer.outputs - 1}`),
        field,
      ),
      isSameUnit
        ? chalk.button(`Explain its input: ${chalk.layerName(this.app.network, before)}`, () =>
            choose(before.position, unit),
          )
        : null,
    );
  }

  /** Return the weights of a dense unit: as an image, or the inputs that contributed most. */
  dense(layer, selection) {
    const { app } = this;
    const p = chalk.localParameters(layer, app.network.parameters);
    const x = app.pass().values[layer.position];
    const weights = p.weight.subarray(selection.unit * layer.inputs, (selection.unit + 1) * layer.inputs);
    const choose = (weight) => this.select({ ...selection, weight });
    const shape = chalk.mapShape(app, layer);
    const parts = shape ? this.images(shape, layer, weights, x, selection, choose) : [];
    return [
      ...parts,
      ...this.weight(layer, p, x, selection),
      ...this.contributions(layer, p, x, selection, choose),
    ];
  }

  /** Return weights, input and their products as images; a pixel of the weights can be chosen. */
  images(shape, layer, weights, x, selection, choose) {
    const image = (title, values, onselect) => {
      const grid = chalk.gridOf(shape, {
        label: title,
        text: (at) => `${chalk.sourceName(this.app, layer, at)}: ${chalk.number(values[at])}`,
        onselect,
      });
      const limit = chalk.largest(values);
      grid.draw(values, selection.weight ?? -1, limit);
      return chalk.element(
        "figure",
        { class: "weights" },
        chalk.element("figcaption", {}, title),
        grid.element,
        chalk.legend(limit),
      );
    };
    return [
      chalk.element("h3", {}, "Weights as an image"),
      chalk.element(
        "div",
        { class: "figures" },
        image("Weights W", weights, choose),
        image("Inputs x", x, choose),
        image(
          "Products x · W",
          weights.map((one, at) => one * x[at]),
          choose,
        ),
      ),
      chalk.element("p", { class: "soft small" }, "Choose a pixel to see its weight."),
    ];
  }

  /** Return the explanation of one weight. */
  weight(layer, p, x, { unit, weight }) {
    if (weight === null || weight === undefined) return [];
    const { math } = chalk;
    const { app } = this;
    const w = p.weight[unit * layer.inputs + weight];
    const { input } = chalk.letters(app.network, layer);
    const factor = chalk.denseFactor(layer);
    const name = layer.names.weight;
    return [
      chalk.element("h3", {}, `Weight from ${chalk.sourceName(app, layer, weight)}`),
      chalk.numbers(
        math.block(math.sub("W", unit, weight), math.mo("="), math.number(w, { digits: 5 })),
        math.block(
          math.sub(input, weight),
          math.sub("W", unit, weight),
          math.mo("="),
          math.number(x[weight], { digits: 4 }),
          math.mo("·"),
          math.number(w, { digits: 4, inner: true }),
          math.mo("="),
          math.number(x[weight] * w, { digits: 4 }),
          ...(factor === 1
            ? []
            : [
                math.mo(","),
                math.element("mtext", " divided by "),
                math.root(math.element("mn", String(layer.inputs))),
              ]),
        ),
      ),
      chalk.button("Show its gradient", () => chalk.showGradient(app, name, unit * layer.inputs + weight)),
    ];
  }

  /** Return the inputs that contributed most, each with a button. */
  contributions(layer, p, x, selection, choose) {
    const { app } = this;
    const terms = chalk
      .terms(layer, p, x, selection.unit)
      .filter((one) => one.product !== 0)
      .slice(0, 12);
    const before = app.network.layers
      .slice(0, layer.position)
      .filter((one) => one.acts_in_prediction)
      .pop();
    const bars = new chalk.Bars({
      names: terms.map(({ at }) => (before ? chalk.unitName(app, before, at) : chalk.inputName(app, at))),
      label: "Largest contributions",
      format: (value) => chalk.number(value, 3),
      isSigned: true,
      onselect: (k) =>
        before
          ? this.select({ kind: "unit", layer: before.position, unit: terms[k].at, weight: null })
          : choose(terms[k].at),
    });
    bars.draw(terms.map((one) => one.product));
    const hint = before ? "Choose one to explain that unit." : "Choose one to see its weight.";
    return [
      chalk.element("h3", {}, "What contributed most"),
      chalk.element(
        "p",
        { class: "soft small" },
        `The products of ${before ? "a unit's value" : "an input"} and its weight, the largest first. ${hint}`,
      ),
      bars.element,
    ];
  }
};

/** Show the explanation of a value. */
chalk.explain = (app, selection) => {
  app.render(chalk.explainTab);
  chalk.explainTab.view.selection = { weight: null, ...selection };
  app.show("explain");
  window.scrollTo({ top: 0 });
};

chalk.explainTab = {
  id: "explain",
  title: "Explain",
  render(container, app) {
    this.view = new chalk.ExplainTab(container, app);
  },
  update() {
    this.view.update();
  },
  state() {
    return this.view.selection && this.view.valid();
  },
  restore(state) {
    this.view.select(state);
  },
};
chalk.addTab(chalk.explainTab);
