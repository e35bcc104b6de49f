/**
 * The tab "Backpropagate": the backward pass step by step, the check of one gradient, and steps of
 * an optimizer.
 *
 * The loss is that of this one sample, computed as in prediction: batch normalization uses its
 * running statistics, and there is no dropout.
 */
chalk.BackpropagateTab = class {
  constructor(container, app) {
    this.app = app;
    this.label = null;
    this.step = 0;
    this.parameter = { name: "output.weight", index: null }; // null for the largest gradient
    this.settings = { optimizer: "gradient_descent", learning_rate: 0.01, momentum: 0.9 };
    this.trail = []; // for each step: optimizer, learning rate, class, and the logits before it
    this.view = chalk.element("section", {
      class: "box details",
      "aria-live": "polite",
      "aria-label": "Step of the backward pass",
    });
    this.check = chalk.element("section", { class: "box" });
    this.training = chalk.element("section", { class: "box" });
    this.controls = chalk.element("div", { class: "row" });
    this.buildControls();
    this.buildTraining();
    container.append(
      this.controls,
      chalk.element(
        "div",
        { class: "columns" },
        chalk.element("div", { class: "wide" }, this.view),
        chalk.element("div", { class: "side" }, this.check, this.training),
      ),
    );
  }

  buildControls() {
    const names = this.app.model.class_names.map((name, k) => [String(k), name]);
    const label = chalk.select("Class for the loss", names, "0", (k) => this.change({ label: Number(k) }));
    this.labelSelect = label.querySelector("select");
    this.back = chalk.button("← Back", () => this.change({ step: this.step - 1 }));
    this.next = chalk.button("Next →", () => this.change({ step: this.step + 1 }), { class: "main" });
    this.place = chalk.element("span", { role: "status" });
    this.controls.append(label, this.back, this.next, this.place);
  }

  buildTraining() {
    const { settings } = this;
    const kinds = Object.entries(chalk.optimizerNames);
    const optimizer = chalk.select("Optimizer", kinds, settings.optimizer, (kind) =>
      this.setOptimizer({ optimizer: kind }),
    );
    this.optimizerSelect = optimizer.querySelector("select");
    this.rateField = chalk.element("input", {
      type: "number",
      min: 0,
      step: "any",
      value: settings.learning_rate,
      onchange: () => this.setOptimizer({ learning_rate: Number(this.rateField.value) }),
    });
    this.formula = chalk.element("div");
    this.stepButton = chalk.button("Take one step", () => this.takeStep(), { class: "main" });
    this.results = chalk.element("div", { "aria-live": "polite" });
    this.training.append(
      chalk.element("h3", {}, "Take a step"),
      chalk.element(
        "div",
        { class: "row" },
        optimizer,
        chalk.element(
          "label",
          { class: "field" },
          chalk.element("span", {}, "Learning rate r"),
          this.rateField,
        ),
      ),
      this.formula,
      chalk.element(
        "div",
        { class: "row" },
        this.stepButton,
        chalk.button("Reset the network", () => this.reset()),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        "Steps use the sample and the class that are shown. Another sample starts from the original network.",
      ),
      this.results,
    );
  }

  setOptimizer(changed) {
    const rate = changed.learning_rate ?? this.settings.learning_rate;
    Object.assign(this.settings, changed, {
      learning_rate: rate > 0 && Number.isFinite(rate) ? rate : 0.01,
    });
    this.change({});
  }

  /** Set some of label, step and parameter, and show them. */
  change(changed) {
    Object.assign(this, changed);
    this.update();
    this.app.saveAddress();
  }

  get layers() {
    return chalk.actingLayers(this.app.network).reverse();
  }

  /** Return the true class: the chosen one, that of the sample, or else the predicted one. */
  trueLabel() {
    if (this.label !== null) return this.label;
    if (this.app.sample.label !== undefined) return this.app.sample.label;
    const p = this.app.probabilities();
    return p.indexOf(Math.max(...p));
  }

  /** Return loss and gradients of the sample for a class. */
  compute(pass = this.app.pass(), label = this.trueLabel()) {
    const { loss, gradLogits } = chalk.crossEntropy(pass.logits, [label]);
    return {
      pass,
      loss,
      label,
      gradLogits,
      probabilities: chalk.softmax(pass.logits),
      ...pass.backward(gradLogits),
    };
  }

  update() {
    const { app, layers } = this;
    this.step = Math.min(Math.max(this.step, 0), layers.length);
    const result = this.compute();
    this.labelSelect.value = String(result.label);
    const focused = document.activeElement;
    this.back.disabled = this.step === 0;
    this.next.disabled = this.step === layers.length;
    this.stepButton.disabled = this.trail.length >= chalk.MAX_STEPS;
    // A button that is disabled would lose the focus to the page.
    if (focused === this.next && this.next.disabled) this.back.focus();
    if (focused === this.back && this.back.disabled) this.next.focus();
    this.place.textContent = `Step ${this.step + 1} of ${layers.length + 1}`;
    const choose = (name, index) => this.change({ parameter: { name, index } });
    const parts =
      this.step === 0
        ? chalk.lossStep(app, result)
        : chalk.layerStep(app, layers[this.step - 1], result, choose);
    chalk.fill(this.view, ...parts);
    chalk.fill(this.check, ...this.checkParts(result));
    this.showTraining(result);
  }

  /** Return the fields that choose a parameter, and its gradient. */
  checkParts(result) {
    if (!result.gradients[this.parameter.name]) this.parameter = { name: "output.weight", index: null };
    const { name } = this.parameter;
    const gradient = result.gradients[name];
    const last = gradient.length - 1;
    const index = Math.min(Math.max(0, this.parameter.index ?? chalk.largestAt(gradient)), last);
    if (this.parameter.index !== null) this.parameter = { name, index };
    const choose = (one, at) => this.change({ parameter: { name: one, index: at } });
    const names = Object.keys(result.gradients).map((one) => [one, one]);
    const field = chalk.element("input", {
      type: "number",
      min: 0,
      max: last,
      value: index,
      onchange: () => choose(name, Math.floor(Number(field.value)) || 0),
    });
    const position = `Position, 0 to ${last.toLocaleString("en")}`;
    return [
      chalk.element("h3", {}, "Check one gradient"),
      chalk.element(
        "div",
        { class: "row" },
        chalk.select("Parameter", names, name, (one) => choose(one, null)),
        chalk.element("label", { class: "field" }, chalk.element("span", {}, position), field),
        chalk.button("Largest gradient", () => choose(name, null), {
          title: "The largest gradient of this parameter",
        }),
      ),
      chalk.element("p", { class: "soft small" }, chalk.parameterPlace(this.app, name, index)),
      ...this.checkNumbers(result, name, index),
    ];
  }

  /** Return the analytic gradient of a parameter beside the central difference. */
  checkNumbers(result, name, index) {
    const { math } = chalk;
    const { app } = this;
    const x = chalk.scaled(app.scaling, app.sample.raw);
    const found = chalk.centralDifference(app.network, x, result.label, name, index);
    const [analytic, numeric] = [result.gradients[name][index], found.numeric];
    const difference = Math.abs(analytic - numeric) / Math.max(Math.abs(analytic), Math.abs(numeric), 1e-6);
    const verdict =
      difference < 1e-4
        ? "✓ They agree."
        : "They differ. Between the two points an activation can have a kink, as relu has at 0.";
    const [above, below] = [found.above, found.below].map((one) => math.number(one, { digits: 8 }));
    const twice = math.row(math.element("mn", "2"), math.mo("·"), math.number(found.delta, { digits: 1 }));
    return [
      chalk.element("p", {}, "Analytic, from the formulas:"),
      chalk.numbers(
        math.block(
          chalk.derivative("w"),
          math.mo("="),
          ...chalk.gradientProduct(app, result, name, index),
          math.number(analytic, { digits: 7 }),
        ),
      ),
      chalk.element("p", {}, "Numeric, from two losses:"),
      chalk.formula("G2"),
      chalk.numbers(
        math.block(math.frac(math.row(above, math.mo("−"), below), twice)),
        math.block(math.mo("="), math.number(numeric, { digits: 7 })),
      ),
      chalk.element("p", {}, `${verdict} Relative difference: ${chalk.number(difference, 2)}`),
    ];
  }

  showTraining(result) {
    const label = { gradient_descent: "U2", momentum: "U1", nesterov: "U3", adam: "U5" }[
      this.settings.optimizer
    ];
    const hint = chalk.optimizerHint({ ...chalk.OPTIMIZER_DEFAULTS, ...this.settings });
    chalk.fill(this.formula, chalk.formula(label), chalk.element("p", { class: "soft small" }, hint));
    this.optimizerSelect.value = this.settings.optimizer;
    this.rateField.value = this.settings.learning_rate;
    chalk.fill(this.results, this.notice ?? null, this.stepTable(result));
  }

  /** Return the table of loss and probability after each step, for the class that is shown. */
  stepTable({ label, pass }) {
    const names = this.app.model.class_names;
    const cell = (text) => chalk.element("td", {}, text);
    const column = (text) => chalk.element("th", { scope: "col" }, text);
    const logits = [...this.trail.map((one) => one.logits), pass.logits];
    const rows = logits.map((one, k) =>
      chalk.element(
        "tr",
        {},
        chalk.element(
          "th",
          { scope: "row" },
          k ? `after step ${k}` : "before",
          k ? chalk.element("div", { class: "soft small" }, this.stepText(this.trail[k - 1], label)) : null,
        ),
        cell(chalk.number(chalk.crossEntropy(one, [label]).loss, 5)),
        cell(chalk.percent(chalk.softmax(one)[label])),
      ),
    );
    const head = [cell(""), column("Loss"), column(`Probability of ${names[label]}`)];
    return chalk.element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Loss after each step" },
      chalk.element(
        "table",
        {},
        chalk.element("thead", {}, chalk.element("tr", {}, ...head)),
        chalk.element("tbody", {}, ...rows.slice(0, 1), ...rows.slice(1).slice(-8)),
      ),
    );
  }

  /** Return the optimizer of a step, and its class if that is another one than the one that is shown. */
  stepText({ optimizer, learning_rate: rate, label }, shown) {
    const name = this.app.model.class_names[label];
    return `${chalk.optimizerNames[optimizer]}, r = ${rate}${label === shown ? "" : `, for ${name}`}`;
  }

  /** Change the parameters of the chosen network by one step, and show the loss before and after. */
  takeStep() {
    const { optimizer, learning_rate } = this.settings;
    this.label = this.trueLabel();
    this.takeSteps([{ optimizer, learning_rate, label: this.label }]);
  }

  /**
   * Take steps of optimizers, one after the other.
   *
   * Another optimizer or learning rate than that of the step before starts without velocity and means.
   */
  takeSteps(steps) {
    const { app } = this;
    if (!steps.length) return;
    if (!this.trail.length) [this.base, this.baseNote] = [app.networks, app.note];
    const network = chalk.copyNetwork(app.network);
    const x = chalk.scaled(app.scaling, app.sample.raw);
    for (const step of steps) {
      const last = this.trail[this.trail.length - 1];
      const isSame = last?.optimizer === step.optimizer && last.learning_rate === step.learning_rate;
      if (!isSame) this.optimizerState = {};
      const { pass, gradients } = this.compute(chalk.forward(network, x), step.label);
      this.trail.push({ ...step, logits: pass.logits });
      chalk.takeStep(network, gradients, { ...this.settings, ...step }, this.optimizerState);
    }
    this.notice = null;
    const n = this.trail.length;
    const note = `The network has taken ${n} ${n === 1 ? "step" : "steps"} in the tab Backpropagate.`;
    app.useNetworks(
      app.networks.map((one, m) => (m === app.member ? network : one)),
      note,
    );
  }

  /** Take back all steps. */
  reset(notice = null) {
    const wasChanged = this.trail.length > 0;
    this.trail = [];
    this.optimizerState = {};
    // A notice stays until the next step, also when one more sample is chosen.
    if (wasChanged || !notice) this.notice = notice && chalk.element("p", { class: "hint" }, notice);
    if (wasChanged) this.app.useNetworks(this.base, this.baseNote);
  }

  /** Take back all steps and the chosen class, as another sample is shown. */
  forgetSample() {
    this.label = null;
    this.reset("Another sample was chosen, so the network has its original weights again.");
  }

  /** Return the state for the address. */
  state() {
    const { label, step, parameter, settings, trail } = this;
    return { label, step, parameter, settings, steps: chalk.stepRuns(trail) };
  }

  /** Show a state again; the steps of the optimizers are taken again. */
  restore({ label, step, parameter, settings, steps }) {
    this.reset();
    const nClasses = this.app.model.class_names.length;
    const isClass = Number.isInteger(label) && label >= 0 && label < nClasses;
    this.label = isClass ? label : null;
    this.step = Number.isInteger(step) ? step : 0;
    if (
      typeof parameter?.name === "string" &&
      (parameter.index === null || Number.isInteger(parameter.index))
    )
      this.parameter = parameter;
    if (settings && Object.hasOwn(chalk.optimizerNames, settings.optimizer)) this.setOptimizer(settings);
    this.takeSteps(chalk.stepsOfRuns(steps, nClasses));
    this.update();
  }
};

/** Return the settings of an optimizer besides the learning rate, in words. */
chalk.optimizerHint = ({ optimizer, momentum, beta1, beta2, epsilon }) => {
  const [first, second, small] = [beta1, beta2, epsilon].map((one) => chalk.number(one, 3));
  const settings = {
    gradient_descent: "",
    momentum: `, with m = ${momentum}`,
    nesterov: `, with m = ${momentum}`,
    adam: `, with β₁ = ${first}, β₂ = ${second} and ε = ${small}`,
  };
  return `The step is the same for weights and biases${settings[optimizer]}.`;
};

chalk.MAX_STEPS = 1_000;

chalk.optimizerNames = {
  gradient_descent: "gradient descent",
  momentum: "momentum",
  nesterov: "Nesterov momentum",
  adam: "Adam",
};

/** Return steps for an address: [optimizer, learning rate, class, number of equal steps] of each run. */
chalk.stepRuns = (trail) => {
  const runs = [];
  for (const { optimizer, learning_rate: rate, label } of trail) {
    const last = runs[runs.length - 1];
    if (last?.[0] === optimizer && last[1] === rate && last[2] === label) last[3] += 1;
    else runs.push([optimizer, rate, label, 1]);
  }
  return runs;
};

/** Return the steps of such runs, up to the first run that is wrong. */
chalk.stepsOfRuns = (runs, nClasses) => {
  const steps = [];
  for (const [optimizer, learning_rate, label, n] of Array.isArray(runs) ? runs : []) {
    const isRight =
      Object.hasOwn(chalk.optimizerNames, optimizer) &&
      Number.isFinite(learning_rate) &&
      learning_rate > 0 &&
      Number.isInteger(label) &&
      label >= 0 &&
      label < nClasses &&
      Number.isInteger(n) &&
      n > 0 &&
      steps.length + n <= chalk.MAX_STEPS;
    if (!isRight) break;
    for (let k = 0; k < n; k++) steps.push({ optimizer, learning_rate, label });
  }
  return steps;
};

/** Return dL/dNAME as a fraction. */
chalk.derivative = (name) =>
  chalk.math.frac(
    chalk.math.row(chalk.math.mo("∂"), chalk.math.mi("L")),
    chalk.math.row(chalk.math.mo("∂"), chalk.math.mi(name)),
  );

/** Return D_j x_i with numbers and an equals sign for a weight of a dense layer, and [] for others. */
chalk.gradientProduct = (app, result, name, index) => {
  const layer = app.network.layers.find((one) => one.type === "dense" && one.names.weight === name);
  if (!layer) return [];
  const { math } = chalk;
  const [unit, source] = [Math.floor(index / layer.inputs), index % layer.inputs];
  const d = result.gradValues[layer.position + 1][unit];
  const x = result.pass.values[layer.position][source];
  const { input } = chalk.letters(app.network, layer);
  const factor = chalk.isNtk(layer)
    ? [math.mo("/"), math.root(math.element("mn", String(layer.inputs)))]
    : [];
  return [
    math.sub("D", unit),
    math.sub(input, source),
    ...factor,
    math.mo("="),
    math.number(d, { digits: 4 }),
    math.mo("·"),
    math.number(x, { digits: 4, inner: true }),
    ...(factor.length ? [math.mo("/"), math.root(math.element("mn", String(layer.inputs)))] : []),
    math.mo("="),
  ];
};

/** Return the position of the value with the largest absolute value. */
chalk.largestAt = (values) =>
  values.reduce((best, one, at) => (Math.abs(one) > Math.abs(values[best]) ? at : best), 0);

/** Return where a parameter of a convolution belongs, in words. */
chalk.kernelPlace = (app, layer, name, index) => {
  const block = chalk.blockNames(app.network)[layer.position];
  if (name.endsWith(".bias")) return `Bias of filter ${index} of ${block}`;
  const [, high, wide, channels] = layer.shapes.weight;
  const filter = Math.floor(index / channels / wide / high);
  const place = chalk.pixelName([high, wide, channels], index % (high * wide * channels), channels === 1);
  return `Weight of filter ${filter} of ${block}, ${place}`;
};

/** Return where a parameter belongs, in words. */
chalk.parameterPlace = (app, name, index) => {
  const layer = app.network.layers.find((one) => Object.values(one.names).includes(name));
  if (layer.type === "conv2d") return chalk.kernelPlace(app, layer, name, index);
  if (layer.type !== "dense") return `${chalk.layerName(app.network, layer)}, position ${index}`;
  if (name.endsWith(".bias")) return `Bias of ${chalk.unitName(app, layer, index)}`;
  const [unit, source] = [Math.floor(index / layer.inputs), index % layer.inputs];
  return `Weight from ${chalk.sourceName(app, layer, source)} to ${chalk.unitName(app, layer, unit)}`;
};

/**
 * Return the central difference of the loss of one sample (docs/derivation.md, G2).
 *
 * @param network
 * @param x (I,) scaled input.
 * @param {number} label
 * @param {string} name name of the parameter.
 * @param {number} index position in it.
 * @param {number} delta
 */
chalk.centralDifference = (network, x, label, name, index, delta = 1e-4) => {
  const array = network.parameters[name];
  const w = array[index];
  const lossAt = (value) => {
    array[index] = value;
    return chalk.crossEntropy(chalk.forward(network, x).logits, [label]).loss;
  };
  const [above, below] = [lossAt(w + delta), lossAt(w - delta)];
  array[index] = w;
  return { numeric: (above - below) / (2 * delta), above, below, delta };
};

/** Show the gradient of a parameter in this tab. */
chalk.showGradient = (app, name, index) => {
  app.render(chalk.backpropagateTab);
  const { view } = chalk.backpropagateTab;
  view.parameter = { name, index };
  view.step = view.layers.findIndex((layer) => Object.values(layer.names).includes(name)) + 1;
  app.show("backpropagate");
};

chalk.backpropagateTab = {
  id: "backpropagate",
  title: "Backpropagate",
  render(container, app) {
    this.view = new chalk.BackpropagateTab(container, app);
  },
  update() {
    this.view.update();
  },
  forgetSample() {
    this.view?.forgetSample();
  },
  forgetMember() {
    this.view?.reset("Another network was chosen, so all networks have their original weights again.");
  },
  state() {
    return this.view.state();
  },
  restore(state) {
    this.view.restore(state);
  },
};
chalk.addTab(chalk.backpropagateTab);
