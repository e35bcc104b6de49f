/**
 * The running page: its networks, the sample that all tabs show, and the tab that is visible.
 *
 * Attributes:
 *   model {object}: chalk.data.model, with class_names, image_shape, n_inputs and input_names.
 *   networks {object[]}: one network for each member; tabs may replace them with `useNetworks`.
 *   scaling {object}: for `chalk.scaled`.
 *   samples {?object}: see `chalk.readSamples`.
 *   member {number}: index of the network that is explained.
 *   sample {object}: {kind, raw, ...}; raw (I,) holds raw values. kind is "drawing" (with strokes),
 *     "embedded" (with index and label) or "raw".
 */
chalk.App = class {
  constructor(networks, scaling, samples) {
    Object.assign(this, { networks, scaling, samples });
    this.model = chalk.data.model;
    this.originals = networks;
    this.member = 0;
    this.sample = { kind: "raw", raw: chalk.blankSample(this) };
    this.shown = null;
    this.note = "";
    this.passes = [];
    this.tabs = chalk.tabs.filter((tab) => !tab.isAvailable || tab.isAvailable(this));
    this.bar = new chalk.SampleBar(this);
  }

  /** The network of the chosen member. */
  get network() {
    return this.networks[this.member];
  }

  /** Return the forward pass of a member for the sample; computed once. */
  pass(member = this.member) {
    this.passes[member] ??= chalk.forward(this.networks[member], chalk.scaled(this.scaling, this.sample.raw));
    return this.passes[member];
  }

  /** Return the probabilities (K,): the mean over the members (docs/derivation.md, M3). */
  probabilities() {
    const all = this.networks.map((_, member) => chalk.softmax(this.pass(member).logits));
    return all[0].map((_, k) => all.reduce((sum, one) => sum + one[k], 0) / all.length);
  }

  /** Return the mean probabilities (K,) of the original networks for raw values. */
  probabilitiesOf(raw) {
    const x = chalk.scaled(this.scaling, raw);
    const all = this.originals.map((network) => chalk.softmax(chalk.forward(network, x).logits));
    return all[0].map((_, k) => all.reduce((sum, one) => sum + one[k], 0) / all.length);
  }

  /** Show another sample in all tabs. */
  setSample(sample) {
    this.sample = sample;
    for (const tab of this.tabs) tab.forgetSample?.(this);
    this.changed("sample");
  }

  /** Explain another member of an ensemble. */
  setMember(member) {
    for (const tab of this.tabs) tab.forgetMember?.(this);
    this.member = member;
    this.changed("member");
  }

  /**
   * Use other networks in all tabs, such as one that was trained here.
   *
   * @param {?object[]} networks null for the original ones.
   * @param {string} note a sentence that says which networks these are.
   */
  useNetworks(networks, note = "") {
    this.networks = networks ?? this.originals;
    this.note = note;
    this.member = Math.min(this.member, this.networks.length - 1);
    this.changed("parameters");
  }

  /** Say that sample, member, parameters or colors have changed, and show it. */
  changed(change) {
    if (change !== "member") this.passes = [];
    this.bar.update();
    this.shown?.tab.update?.(this, change);
    this.saveAddress();
  }

  /** Show a tab. */
  show(id) {
    const tab = this.tabs.find((one) => one.id === id) ?? this.tabs[0];
    for (const one of this.tabs) {
      const isShown = one === tab;
      one.panel.hidden = !isShown;
      one.button.setAttribute("aria-selected", String(isShown));
      one.button.tabIndex = isShown ? 0 : -1;
    }
    this.render(tab);
    this.shown = { tab };
    document.getElementById("chalk-bar").hidden = Boolean(tab.hidesSample);
    this.bar.update();
    tab.update?.(this, "shown");
    this.saveAddress();
  }

  /** Build the content of a tab if it has none yet. */
  render(tab) {
    if (tab.isRendered) return;
    tab.isRendered = true;
    tab.render(tab.panel, this);
  }

  /** Write what is shown into the address, at most four times a second. */
  saveAddress() {
    clearTimeout(this.saving);
    if (this.restoring) return;
    this.saving = setTimeout(() => chalk.address.write(this.entries()), 250);
  }

  /** Return the entries of the address for what is shown. */
  entries() {
    const entries = { tab: this.shown?.tab.id ?? this.tabs[0].id, sample: chalk.sampleText(this.sample) };
    if (this.networks.length > 1) entries.member = String(this.member + 1);
    const state = this.shown?.tab.state?.();
    if (state) entries[this.shown.tab.id] = JSON.stringify(state);
    return entries;
  }

  /** Show what the address says; what it does not say, or says wrongly, stays as it is. */
  restore() {
    const entries = chalk.address.read();
    this.restoring = true;
    try {
      const sample = chalk.sampleOfText(entries.sample ?? "", this);
      const member = Number(entries.member) - 1;
      if (member >= 0 && member < this.networks.length) this.member = Math.floor(member);
      if (sample) this.sample = sample;
      this.passes = [];
      this.show(entries.tab ?? this.tabs[0].id);
      const { tab } = this.shown;
      if (entries[tab.id] && tab.restore) tab.restore(JSON.parse(entries[tab.id]), this);
    } catch {
      this.show(this.tabs[0].id); // the address was cut off or edited
    } finally {
      this.restoring = false;
    }
  }
};

/** Return how many products the forward pass of a sample has: each weight once, those of filters for every pixel. */
chalk.countProducts = (network) =>
  network.layers.reduce((sum, { shapes, output_shape: shape }) => {
    const size = (shapes.weight ?? [0]).reduce((a, b) => a * b, 1);
    return sum + size * (shape.length === 3 ? shape[0] * shape[1] : 1);
  }, 1);

/**
 * Return the embedded sample that is shown first: the first held-out one that the network gets right
 * with a probability below 95 %, so that its gradients can be seen. If there is none among the samples
 * that are tried, it is the one with the lowest probability of its class.
 */
chalk.firstSample = (app) => {
  const { n_train: from, n_held_out: held, labels } = app.samples;
  const size = chalk.countProducts(app.network) * app.networks.length;
  const tried = Math.min(held, Math.max(1, Math.min(200, Math.floor(3e7 / size)))); // a moment at most
  const found = Array.from({ length: Math.max(1, tried) }, (_, k) => from + k).filter((at) => at < app.samples.count);
  const ownAt = (index) => {
    const p = app.probabilitiesOf(app.samples.row(index));
    const own = p[labels[index]];
    return { index, own, isRight: own === Math.max(...p) };
  };
  let lowest = { index: found[0] ?? 0, own: Infinity };
  for (const index of found) {
    const one = ownAt(index);
    if (one.isRight && one.own < 0.95) return chalk.embeddedSample(app, index);
    if (one.own < lowest.own) lowest = one;
  }
  return chalk.embeddedSample(app, lowest.index);
};

/** Return the raw values where nothing is drawn or given. */
chalk.blankSample = (app) =>
  Float64Array.from({ length: app.model.n_inputs }, (_, at) => chalk.emptyValue(app, at));

/** Return the raw value of input `at` where nothing is drawn or given. */
chalk.emptyValue = (app, at) =>
  chalk.data.drawing.background ?? app.scaling.fill?.[at] ?? app.scaling.shift?.[at] ?? 0;

/** Return a sample as the text of an address. */
chalk.sampleText = (sample) => {
  if (sample.kind === "embedded") return `e${sample.index}`;
  if (sample.kind === "drawing") return `d${chalk.strokesText(sample.strokes)}`;
  const bytes = new Uint8Array(sample.raw.length);
  const isBytes = sample.raw.every((one) => Number.isInteger(one) && one >= 0 && one <= 255);
  // Nine digits hold a float32 pixel exactly.
  const text = (one) => String(chalk.app.model.image_shape ? Number(one.toPrecision(9)) : one);
  if (!isBytes) return `n${[...sample.raw].map(text).join("_")}`;
  sample.raw.forEach((one, at) => (bytes[at] = one));
  return `b${chalk.address.text(bytes)}`;
};

/** Return the sample of such a text, or null if it has none that fits. */
chalk.sampleOfText = (text, app) => {
  const [kind, rest] = [text.slice(0, 1), text.slice(1)];
  if (kind === "e") {
    const exists = /^\d+$/.test(rest) && app.samples && Number(rest) < app.samples.count;
    return exists ? chalk.embeddedSample(app, Number(rest)) : null;
  }
  if (kind === "d" && app.model.image_shape) return chalk.drawnSample(app, chalk.strokesOfText(rest));
  if (kind !== "n" && kind !== "b") return null;
  const raw =
    kind === "n" ? Float64Array.from(rest.split("_"), Number) : Float64Array.from(chalk.address.bytes(rest));
  const isValid = (one) => Number.isFinite(one) || (Number.isNaN(one) && app.scaling.fill !== null);
  return raw.length === app.model.n_inputs && raw.every(isValid) ? { kind: "raw", raw } : null;
};

/** Return an embedded sample. */
chalk.embeddedSample = (app, index) => ({
  kind: "embedded",
  index,
  label: app.samples.labels[index],
  raw: app.samples.row(index),
});

/** Build the bar of tabs and the empty panels, with the keys of WAI-ARIA's tabs. */
chalk.buildTabs = (app) => {
  const bar = document.getElementById("chalk-tabs");
  const main = document.getElementById("chalk-main");
  for (const tab of app.tabs) {
    const title = typeof tab.title === "function" ? tab.title(app) : tab.title;
    tab.button = chalk.button(title, () => app.show(tab.id), {
      role: "tab",
      id: `tab-${tab.id}`,
      "aria-controls": `panel-${tab.id}`,
    });
    tab.panel = chalk.element("section", {
      role: "tabpanel",
      id: `panel-${tab.id}`,
      "aria-labelledby": `tab-${tab.id}`,
    });
    bar.append(tab.button);
    main.append(tab.panel);
  }
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = app.tabs.indexOf(app.shown.tab);
    const next = app.tabs[(at + step + app.tabs.length) % app.tabs.length];
    app.show(next.id);
    next.button.focus();
  });
};

/** Write the summary of the network and the notes of the page. */
chalk.describe = () => {
  const { model, notes, version } = chalk.data;
  const many = model.members > 1 ? `${model.members} networks ` : "";
  const n = (model.n_parameters * model.members).toLocaleString("en");
  document.getElementById("chalk-summary").textContent =
    `${many}${model.text}, ${n} parameters. Everything is computed in this page.`;
  const lines = [
    ...notes,
    `Labels such as (A1) are those of the formulas in docs/derivation.md, in the source code of chalknet. Written by chalknet ${version}.`,
  ];
  chalk.fill(document.getElementById("chalk-footer"), ...lines.map((one) => chalk.element("p", {}, one)));
};

/** Read the network and show the page, or say why that is not possible. */
chalk.start = async () => {
  try {
    await chalk.show();
  } catch (error) {
    const text =
      typeof DecompressionStream === "undefined"
        ? "This browser is too old for the page. Open it in a browser from 2023 or later."
        : `The page cannot be shown: ${error.message}. It may be cut off. Save it again.`;
    chalk.fill(
      document.getElementById("chalk-main"),
      chalk.element("p", { class: "problem", role: "alert" }, text),
    );
    throw error; // so that it is in the console too
  }
};

/** Read the network and show the page. */
chalk.show = async () => {
  const { networks, scaling } = await chalk.readNetworks();
  const samples = await chalk.readSamples();
  const app = new chalk.App(networks, scaling, samples);
  chalk.app = app;
  if (samples) app.sample = chalk.firstSample(app);
  document.getElementById("chalk-loading").remove();
  chalk.buildTabs(app);
  chalk.fill(document.getElementById("chalk-bar"), app.bar.element);
  chalk.describe();
  app.restore();
  addEventListener("hashchange", () => app.restore());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.changed("shown"));
  document.documentElement.dataset.ready = "true"; // tests wait for it
};
