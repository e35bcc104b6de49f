/** The sliders, fields and the file of the tab "Train", for the settings of one `chalk.TrainTab`. */
chalk.SettingsPanel = class {
  constructor(tab) {
    this.tab = tab;
    this.sliders = chalk.element("div", { class: "sliders" });
    this.pointSliders = chalk.element("div", { class: "sliders needs-data" });
    this.fileText = chalk.element("p", { class: "soft" });
    this.fileError = chalk.element("p", { class: "train-warning", role: "alert", hidden: true });
    this.points = chalk.element(
      "section",
      { class: "box" },
      chalk.element("h3", {}, "Points"),
      this.pointSliders,
      ...this.fileButton(),
      this.fileText,
      this.fileError,
    );
    const box = chalk.element("section", { class: "box needs-data" }, chalk.element("h3", {}, "Settings"), this.sliders);
    this.element = chalk.element("div", { class: "train-settings" }, this.points, box);
  }

  /** Return a button that opens a file, and the hidden field behind it. */
  fileButton() {
    const input = chalk.element("input", {
      type: "file",
      accept: ".csv,.tsv,.txt,text/csv",
      class: "visually-hidden",
      tabindex: "-1",
      "aria-hidden": "true",
    });
    input.addEventListener("change", () => {
      if (input.files[0]) this.tab.openFile(input.files[0]);
      input.value = "";
    });
    return [chalk.button("Open a CSV file …", () => input.click()), input];
  }

  /** Show the settings. The focus stays on the slider that has been moved. */
  show() {
    const focused = document.activeElement?.closest?.("[data-setting]")?.dataset.setting;
    const { isPlane, file } = this.tab;
    chalk.fill(this.sliders, isPlane ? null : this.presets(), ...this.networkFields(), this.note());
    this.points.hidden = !isPlane;
    if (isPlane) chalk.fill(this.pointSliders, ...this.pointFields());
    this.fileText.textContent = file
      ? this.fileSummary(file)
      : "Or drop a file here: two columns of numbers and a column of classes.";
    if (focused) this.element.querySelector(`[data-setting="${focused}"] :is(input, select, button)`)?.focus();
  }

  note() {
    const text =
      "The seed determines the initial weights and the batches. Changing a setting restarts the training. Speed and pause can be changed while the network trains.";
    return chalk.element("p", { class: "soft" }, text);
  }

  /** Return a slider of a setting of the current mode. A value that is not in the list is added to it. */
  slider(name, label, values, text, value = this.tab.chosen[name]) {
    const change = (one) => this.tab.change({ [name]: one });
    return this.named(name, chalk.slider(label, chalk.withValue(values, value), value, text, change));
  }

  named(name, field) {
    field.dataset.setting = name;
    return field;
  }

  seedField(name, label, value, onchange) {
    return this.named(name, chalk.wholeNumber(label, { min: 0, max: chalk.MAX_SEED }, value, onchange));
  }

  networkFields() {
    const { tab } = this;
    const { isPlane } = tab;
    const values = chalk.trainValues;
    const hidden = isPlane ? "Units of the first hidden layer" : "Hidden units F";
    const second = (n) => (n ? String(n) : "no second layer");
    const speed = (n) => (n ? `at most ${chalk.plural(n, "epoch")} per second` : "as fast as possible");
    return [
      this.slider("hidden", hidden, isPlane ? values.planeHidden : values.hidden, String),
      isPlane ? this.slider("second", "Units of the second hidden layer", values.second, second) : null,
      this.slider("rate", "Learning rate r", values.rate, (r) => `r = ${chalk.plainNumber(r)}`),
      this.slider("momentum", "Momentum m", values.momentum, (m) => `m = ${m}`),
      this.batchSlider(),
      this.slider("epochs", "Pause after", values.epochs, (n) => chalk.plural(n, "epoch")),
      this.slider("speed", "Speed", values.speed, speed),
      this.seedField("seed", "Seed", tab.settings.seed, (seed) => tab.changeShared({ seed })),
    ];
  }

  /** Return the slider of batch sizes. It ends with the full batch, whose value is 0. */
  batchSlider() {
    const { chosen, samples } = this.tab;
    const nTrain = samples.train.length;
    const sizes = chalk.trainValues.batch.filter((size) => size < nTrain);
    const text = (size) => (size ? String(size) : `full batch, ${chalk.plural(nTrain, "sample")}`);
    return this.slider("batch", "Batch size B", sizes, text, chosen.batch >= nTrain ? 0 : chosen.batch);
  }

  presets() {
    const buttons = chalk.trainPresets.map(([id, settings, text]) =>
      this.named(id, chalk.element("span", {}, chalk.button(text, () => this.tab.change(settings)))));
    return chalk.element("div", { class: "presets row", role: "group", "aria-label": "Ready settings" }, ...buttons);
  }

  /** Return the choice of the points: a made set with its settings, or the file that is open. */
  pointFields() {
    const { tab } = this;
    const { chosen, file } = tab;
    const values = chalk.trainValues;
    const made = Object.entries(chalk.toySets).map(([name, one]) => [name, one.title]);
    const options = file ? [["file", `file ${file.fileName}`], ...made] : made;
    const choose = (name) => name !== "file" && tab.change({ set: name });
    const set = this.named("set", chalk.select("Set", options, file ? "file" : chosen.set, choose));
    if (file) return [set];
    const [fewest, most] = chalk.toySets[chosen.set].classes;
    const classes = Math.min(most, Math.max(fewest, chosen.classes));
    const counts = values.classes.filter((n) => n <= most);
    return [
      set,
      this.slider("samples", "Number of points", values.samples, String),
      this.slider("noise", "Noise", values.noise, String),
      most > fewest ? this.slider("classes", "Classes", counts, String, classes) : null,
      this.seedField("dataSeed", "Seed of the points", chosen.dataSeed, (dataSeed) => tab.change({ dataSeed })),
    ];
  }

  fileSummary({ fileName, labels, classNames, notes }) {
    const sizes = `${chalk.plural(labels.length, "sample")}, ${chalk.plural(classNames.length, "class", "classes")}`;
    return `${fileName}: ${sizes}. ${notes.join(" ")}`;
  }

  /** Say what is wrong with a file. */
  showFileError(name, text) {
    this.fileError.hidden = false;
    this.fileError.textContent = `${name}: ${text}`;
    this.fileError.scrollIntoView({ block: "nearest" });
  }
};

chalk.MAX_SEED = 4294967295;

/** Return a count with its word: "1 epoch", "2,000 epochs". */
chalk.plural = (n, word, words = `${word}s`) => `${n.toLocaleString("en-US")} ${n === 1 ? word : words}`;

/** Return a number of a slider without exponent: 0.00001. */
chalk.plainNumber = (value) => value.toFixed(12).replace(/\.?0+$/, "");
