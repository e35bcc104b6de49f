const HIGH_LOSS = 2; // times the loss of a guess, above which the page warns
const TEXT_MILLISECONDS = 100; // between changes of numbers while a network trains

/** The elements of the tab "Train": buttons, sliders, charts and pictures of one `chalk.TrainTab`. */
chalk.TrainView = class {
  constructor(tab) {
    this.tab = tab;
    this.plane = new chalk.PlaneView((lines) => tab.changeShared({ lines }));
    this.curves = new chalk.Curves();
    this.images = new chalk.WeightImages((unit, input) => tab.follow({ unit, input }));
    this.rule = new chalk.UpdateRule((change) => tab.follow(change));
    this.mode = chalk.radios("Train with", [["samples", "the samples of this page"], ["plane", "points in the plane"]],
      (mode) => tab.changeShared({ mode }));
    if (!tab.hasSamples) this.mode.hidden = true;
    this.samplesText = chalk.element("p", { class: "soft" });
    this.buildState();
    this.sliders = chalk.element("div", { class: "sliders" });
    this.dataBox = this.buildDataBox();
    this.change = chalk.radios("Show", [["change", "the change since the initial weights"], ["weights", "the weights"]],
      (images) => tab.changeShared({ images }));
    const picture = chalk.element("section", { class: "box train-picture" }, (this.pictureTitle = chalk.element("h3")),
      (this.pictureHint = chalk.element("p", { class: "soft" })), this.change, this.images.element, this.plane.element);
    this.mapsBox = chalk.element("section", { class: "box" }, chalk.element("h3", {}, "Hidden units"), this.plane.maps);
    const box = (kind, ...children) => chalk.element("section", { class: `box ${kind}` }, ...children);
    this.element = chalk.element("div", { class: "train-tab" },
      box("train-control", chalk.element("h2", {}, "Train a network"), this.mode, this.buttons, this.status, this.live,
        this.warning, this.samplesText),
      chalk.element("div", { class: "train-results" },
        picture, box("train-curves", chalk.element("h3", {}, "Learning curves"), this.stopping, this.curves.element), this.mapsBox),
      chalk.element("div", { class: "train-settings" }, this.dataBox, box("", chalk.element("h3", {}, "Settings"), this.sliders)),
      box("train-rule", chalk.element("h3", {}, "The update rule"), this.rule.element));
    this.acceptDrops();
  }

  buildState() {
    const { tab } = this;
    this.playButton = chalk.button("Train", () => tab.toggle(), { class: "main" });
    this.updateButton = chalk.button("One update", () => tab.step("update"));
    this.epochButton = chalk.button("One epoch", () => tab.step("epoch"));
    this.restartButton = chalk.button("Start again", () => tab.restart());
    this.buttons = chalk.element("div", { class: "row" }, this.playButton, this.updateButton, this.epochButton, this.restartButton);
    this.status = chalk.element("p", { role: "status" });
    this.live = chalk.element("p", { class: "soft train-numbers" });
    this.warning = chalk.element("p", { class: "train-warning", role: "alert", hidden: true });
    this.stopping = chalk.element("p", {});
  }

  /** Build the choice of points: made sets, or a file. */
  buildDataBox() {
    this.toySliders = chalk.element("div", {});
    this.fileInput = chalk.element("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true" });
    this.fileInput.addEventListener("change", () => {
      if (this.fileInput.files[0]) this.tab.openFile(this.fileInput.files[0]);
      this.fileInput.value = "";
    });
    this.fileText = chalk.element("p", { class: "soft" });
    this.fileError = chalk.element("p", { class: "train-warning", role: "alert", hidden: true });
    return chalk.element("section", { class: "box data-box" }, chalk.element("h3", {}, "Points"), this.toySliders,
      chalk.button("Open a CSV file …", () => this.fileInput.click()), this.fileInput, this.fileText, this.fileError);
  }

  /** Accept a file that is dropped anywhere on the tab. */
  acceptDrops() {
    const { element } = this;
    const mark = (isOver) => element.classList.toggle("drop", isOver);
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      mark(true);
    });
    element.addEventListener("dragleave", () => mark(false));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(false);
      if (event.dataTransfer.files[0]) this.tab.openFile(event.dataTransfer.files[0]);
    });
  }

  /** Build the sliders of the current settings, and show what depends on them. */
  showSettings() {
    const { tab } = this;
    const { isPlane } = tab;
    this.mode.show(tab.settings.mode);
    this.change.show(tab.settings.images);
    this.plane.showLines(tab.settings.lines);
    this.dataBox.hidden = !isPlane;
    this.samplesText.textContent = this.splitText();
    this.images.element.hidden = this.change.hidden = isPlane;
    this.plane.element.hidden = !isPlane;
    this.mapsBox.hidden = !isPlane;
    const focused = document.activeElement?.closest?.("[data-setting]")?.dataset.setting;
    this.buildSliders();
    if (isPlane) this.buildToySliders();
    if (focused) this.element.querySelector(`[data-setting="${focused}"] :is(input, select, button)`)?.focus();
    this.fileText.textContent = tab.file ? this.fileText.textContent : "Or drop a file here: two columns of numbers and a column of classes.";
    this.pictureTitle.textContent = isPlane ? "The plane" : "Weights of the hidden units";
    const { used, samples } = tab;
    this.pictureHint.textContent = isPlane
      ? "Each color is a class. A stronger color means a higher probability."
      : "Each image has the weights of one hidden unit, in the place of the inputs that they multiply. Choose a weight to follow its updates below.";
    const batchSize = Math.min(used.batchSize || Infinity, samples.train.length);
    this.rule.showRate({ ...used, batchSize });
    this.showFollowed();
    this.warning.hidden = true;
    this.showState();
  }

  /** Return which samples are for training, and which for validation. */
  splitText() {
    const { train, valid } = this.tab.samples;
    const count = (part) => part.length.toLocaleString("en-US");
    return this.tab.isPlane
      ? `${count(train)} random points are for training, and ${count(valid)} for validation.`
      : `${count(train)} samples are for training, and ${count(valid)} others for validation.`;
  }

  buildSliders() {
    const { tab } = this;
    const { chosen, isPlane } = tab;
    const values = chalk.trainValues;
    const nTrain = tab.samples.train.length;
    const batches = values.batch.filter((one) => one < nTrain);
    const slider = (name, label, list, text) => {
      const value = name === "batch" && chosen.batch >= nTrain ? 0 : chosen[name];
      const field = chalk.slider(label, chalk.withValue(list, value), value, text, (one) => tab.change({ [name]: one }));
      field.dataset.setting = name;
      return field;
    };
    const fields = [
      slider("hidden", isPlane ? "Units of the first hidden layer" : "Hidden units F", isPlane ? values.planeHidden : values.hidden, String),
      isPlane ? slider("second", "Units of the second hidden layer", values.second, (value) => (value ? String(value) : "no second layer")) : null,
      slider("rate", "Learning rate r", values.rate, (value) => `r = ${chalk.plainNumber(value)}`),
      slider("momentum", "Momentum m", values.momentum, (value) => `m = ${value}`),
      slider("batch", "Batch size B", batches, (value) => (value ? String(value) : `full batch, ${nTrain.toLocaleString("en-US")} samples`)),
      slider("epochs", "Pause after", values.epochs, (value) => `${value.toLocaleString("en-US")} epochs`),
      slider("speed", "Speed", values.speed, (value) => (value ? `at most ${value} ${value === 1 ? "epoch" : "epochs"} per second` : "as fast as possible")),
    ];
    const seed = chalk.wholeNumber("Seed", { min: 0, max: 4294967295 }, tab.settings.seed, (value) => tab.changeShared({ seed: value }));
    seed.dataset.setting = "seed";
    chalk.fill(this.sliders, isPlane ? null : this.presets(), ...fields, seed,
      chalk.element("p", { class: "soft" }, "The seed draws the initial weights and the batches. A change of a setting starts the training again from the seed. Speed and pause can be changed while the network trains."));
  }

  presets() {
    const buttons = chalk.trainPresets.map(([id, settings, text]) => {
      const button = chalk.element("span", { "data-setting": id }, chalk.button(text, () => this.tab.change(settings)));
      return button;
    });
    return chalk.element("div", { class: "presets row", role: "group", "aria-label": "Ready settings" }, ...buttons);
  }

  buildToySliders() {
    const { tab } = this;
    const { chosen } = tab;
    const values = chalk.trainValues;
    const set = chalk.select("Set", [...(tab.file ? [["file", `file ${tab.file.fileName}`]] : []),
      ...Object.entries(chalk.toySets).map(([name, one]) => [name, one.title])], tab.file ? "file" : chosen.set,
    (name) => name !== "file" && tab.change({ set: name }));
    set.dataset.setting = "set";
    const slider = (name, label, list, text) => {
      const field = chalk.slider(label, chalk.withValue(list, chosen[name]), chosen[name], text, (value) => tab.change({ [name]: value }));
      field.dataset.setting = name;
      return field;
    };
    const [fewest, most] = chalk.toySets[chosen.set].classes;
    const seed = chalk.wholeNumber("Seed of the points", { min: 0, max: 4294967295 }, chosen.dataSeed, (value) => tab.change({ dataSeed: value }));
    seed.dataset.setting = "dataSeed";
    const made = [
      slider("samples", "Number of points", values.samples, String),
      slider("noise", "Noise", values.noise, String),
      most > fewest ? slider("classes", "Classes", values.classes.filter((one) => one <= most), String) : null,
      seed,
    ];
    chalk.fill(this.toySliders, set, ...(tab.file ? [] : made));
  }

  /** Show whether the network is training, and what the buttons do. */
  showState() {
    const { tab } = this;
    const { snapshot, wantsToPlay, chosen } = tab;
    const epoch = snapshot?.epoch ?? 0;
    const isDone = epoch >= chosen.epochs;
    const verb = snapshot?.diverged ? "Start again and train" : isDone ? `Train ${chosen.epochs.toLocaleString("en-US")} more epochs` : epoch > 0 ? "Continue" : "Train";
    this.playButton.textContent = wantsToPlay ? "Pause" : verb;
    this.updateButton.disabled = this.epochButton.disabled = wantsToPlay || Boolean(snapshot?.diverged);
    const state = wantsToPlay ? "Training." : snapshot?.diverged ? "Stopped." : epoch > 0 ? `Paused after epoch ${epoch}.` : "Ready to train.";
    this.element.dataset.state = wantsToPlay ? "training" : snapshot?.diverged ? "diverged" : "paused";
    if (this.status.textContent !== state) this.status.textContent = state;
    this.warn();
  }

  /** Warn of a loss that is no finite number, or that is far above the loss of a guess. */
  warn() {
    const { snapshot, history, samples } = this.tab;
    const guess = Math.log(samples.nClasses);
    const loss = history.trainLoss.at(-1) ?? 0;
    const isHigh = loss > HIGH_LOSS * guess;
    this.warning.hidden = !snapshot?.diverged && !isHigh;
    const text = snapshot?.diverged ? this.divergence(snapshot.epoch + 1) : isHigh ? this.highLoss(loss, guess) : "";
    if (this.warning.textContent !== text) this.warning.textContent = text;
  }

  /** Return what a high loss means, and what to do. */
  highLoss(loss, guess) {
    const { nClasses } = this.tab.samples;
    return `The training loss is high: equal probabilities for all ${nClasses} classes have a loss of ln ${nClasses} = ${chalk.number(guess, 3)}. ` +
      `The steps may be too large. ${this.advice()}`;
  }

  /** Return what happened when the loss is no finite number, and what to do. */
  divergence(epoch) {
    return `In epoch ${epoch} the loss stopped being a finite number, because the steps were too large. ${this.advice()}`;
  }

  advice() {
    const { learningRate, momentum } = this.tab.used;
    const or = momentum > 0 ? ` or a lower momentum than ${momentum}` : "";
    return `Choose a lower learning rate than ${chalk.plainNumber(learningRate)}${or}, and train again.`;
  }

  showFollowed() {
    const { tab } = this;
    const followed = tab.followed[tab.settings.mode];
    const { nInputs, shape } = tab.samples;
    const width = shape?.[1];
    const place = shape && shape[0] > 1
      ? `Input ${followed.input + 1} is the pixel in row ${Math.floor(followed.input / width) + 1}, column ${(followed.input % width) + 1}.`
      : `The weight leads from input ${followed.input + 1} to hidden unit ${followed.unit + 1}.`;
    this.rule.showFollowed(followed, tab.used.hidden[0], nInputs, place);
  }

  showFile(file) {
    this.fileError.hidden = true;
    this.fileText.textContent = `${file.fileName}: ${file.labels.length.toLocaleString("en-US")} samples, ${file.classNames.length} classes. ${file.notes.join(" ")}`;
  }

  showFileError(name, text) {
    this.fileError.hidden = false;
    this.fileError.textContent = `${name}: ${text}`;
    this.fileError.scrollIntoView({ block: "nearest" });
  }

  showMissingFile(name) {
    this.showFileError(name, "this address was made with that file, which is not a part of the address. Open the file to train with it.");
  }

  showError(text) {
    this.warning.hidden = false;
    this.warning.textContent = `The training stopped with an error: ${text}. Reload the page.`;
  }

  /** Draw a snapshot. */
  draw(snapshot) {
    const { tab } = this;
    const { epoch, updates, bestEpoch } = snapshot;
    this.curves.draw(tab.history, Math.max(tab.chosen.epochs, tab.target ?? 0, epoch), bestEpoch);
    const now = performance.now();
    if (!tab.wantsToPlay || now - (this.toldAt ?? 0) > TEXT_MILLISECONDS) {
      this.toldAt = now;
      this.tell(snapshot);
    }
    const followed = tab.followed[tab.settings.mode];
    if (tab.isPlane) this.plane.show(snapshot);
    else {
      const initial = tab.settings.images === "change" && updates > 0 ? tab.initialWeight : null;
      this.images.draw(snapshot.parameters[0].weight, initial, tab.samples.shape, followed);
    }
    this.element.dataset.epoch = epoch;
  }

  /** Show the texts of a snapshot. */
  tell({ epoch, updates, updatesPerEpoch, batchesDone, bestEpoch, kind, trace }) {
    this.live.textContent = this.progress(epoch, updates, updatesPerEpoch, batchesDone, kind);
    this.curves.tell();
    const best = this.tab.history.validLoss[bestEpoch - 1];
    this.stopping.textContent = bestEpoch
      ? `Stopping point: the validation loss is lowest at epoch ${bestEpoch}, with ${chalk.number(best)} nats. Early stopping keeps the network of this epoch.`
      : "The stopping point is the epoch with the lowest validation loss.";
    this.rule.showTrace(trace);
    this.warn();
  }

  progress(epoch, updates, updatesPerEpoch, batchesDone, kind) {
    const { tab } = this;
    const speed = tab.wantsToPlay && tab.epochsPerSecond > 0 ? ` ${chalk.number(tab.epochsPerSecond, 3)} epochs per second.` : "";
    const part = batchesDone > 0 ? `, batch ${batchesDone} of ${updatesPerEpoch} of the next epoch` : "";
    const products = kind === "JavaScript" ? " WebAssembly is not available here, so training is slower." : "";
    return `Epoch ${epoch}${part}. ${updates.toLocaleString("en-US")} ${updates === 1 ? "update" : "updates"}.${speed}${products}`;
  }
};

/** Return a number of a slider without exponent: 0.00001. */
chalk.plainNumber = (value) => value.toFixed(12).replace(/\.?0+$/, "");
