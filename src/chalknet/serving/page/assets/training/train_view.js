/** Return a sentence that says which networks train here, if that of the page is another one, else null. */
chalk.denseOnlyNote = ({ network }) =>
  network.layers.some((layer) => layer.input_shape.length === 3)
    ? chalk.element(
        "p",
        { class: "hint" },
        "Training in the page is for dense networks. It trains a network of dense layers with relu, and not the convolutional network of the other tabs.",
      )
    : null;

/** The elements of the tab "Train": buttons, texts, charts and pictures of one `chalk.TrainTab`. */
chalk.TrainView = class {
  constructor(tab) {
    this.tab = tab;
    this.panel = new chalk.SettingsPanel(tab);
    this.plane = new chalk.PlaneView((lines) => tab.changeShared({ lines }));
    this.curves = new chalk.Curves();
    this.images = new chalk.WeightImages((unit, input) => tab.follow({ unit, input }));
    this.rule = new chalk.UpdateRule((change) => tab.follow(change));
    const box = (kind, ...children) => chalk.element("section", { class: `box ${kind}` }, ...children);
    const title = (text) => chalk.element("h3", {}, text);
    this.stopping = chalk.element("p", {});
    this.mapsBox = box("", title("Hidden units"), this.plane.maps);
    const curves = box("train-curves", title("Learning curves"), this.stopping, this.curves.element);
    this.element = chalk.element(
      "div",
      { class: "train-tab" },
      box("train-control", chalk.element("h2", {}, "Train a network"), ...this.controls().filter(Boolean)),
      chalk.element("div", { class: "train-results needs-data" }, box("train-picture", ...this.picture()), curves, this.mapsBox),
      this.panel.element,
      box("train-rule needs-data", title("The update rule"), this.rule.element),
    );
    this.acceptDrops();
  }

  controls() {
    const { tab } = this;
    const modes = [["samples", "the samples of this page"], ["plane", "points in the plane"]];
    this.mode = chalk.radios("Train with", modes, (mode) => tab.changeShared({ mode }));
    if (!tab.hasSamples) this.mode.hidden = true;
    this.playButton = chalk.button("Train", () => tab.toggle(), { class: "main" });
    this.updateButton = chalk.button("One update", () => tab.step("update"));
    this.epochButton = chalk.button("One epoch", () => tab.step("epoch"));
    const restart = chalk.button("Restart from epoch 0", () => tab.restart());
    this.status = chalk.element("p", { role: "status" });
    this.live = chalk.element("p", { class: "soft train-numbers needs-data" });
    this.otherPoints = chalk.button("Use other points", () => tab.useOtherPoints());
    this.warning = chalk.element("p", { class: "train-warning", role: "alert", hidden: true });
    this.split = chalk.element("p", { class: "soft needs-data" });
    const buttons = chalk.element("div", { class: "row needs-data" }, this.playButton, this.updateButton, this.epochButton, restart);
    return [chalk.denseOnlyNote(tab.app), this.mode, buttons, this.status, this.otherPoints, this.live, this.warning, this.split];
  }

  picture() {
    const kinds = [["change", "the change since the initial weights"], ["weights", "the weights"]];
    this.pictureTitle = chalk.element("h3");
    this.pictureHint = chalk.element("p", { class: "soft" });
    this.kind = chalk.radios("Show", kinds, (images) => this.tab.changeShared({ images }));
    return [this.pictureTitle, this.pictureHint, this.kind, this.images.element, this.plane.element];
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

  /** Show the current settings, and what depends on them. */
  showSettings() {
    const { isPlane, settings, used, samples } = this.tab;
    this.panel.show();
    this.mode.show(settings.mode);
    this.kind.show(settings.images);
    this.plane.showLines(settings.lines);
    this.images.element.hidden = this.kind.hidden = isPlane;
    this.plane.element.hidden = this.mapsBox.hidden = !isPlane;
    this.pictureTitle.textContent = isPlane ? "The plane" : "Weights of the hidden units";
    this.pictureHint.textContent = isPlane
      ? "Each color is a class. A stronger color means a higher probability."
      : "Each image shows the weights of one hidden unit. Each weight is drawn at the pixel that it multiplies. " +
        "Choose a weight to follow its updates below.";
    this.split.textContent = this.splitText();
    const batchSize = Math.min(used.batchSize || Infinity, samples.train.length);
    this.rule.showRate({ ...used, batchSize });
    this.showFollowed();
    this.showState();
  }

  /** Return how many samples are for training, and how many for validation. */
  splitText() {
    const { samples, isPlane } = this.tab;
    const [train, valid] = [samples.train, samples.valid].map((part) => part.length.toLocaleString("en-US"));
    if (isPlane) return `${train} random points are for training, and ${valid} for validation.`;
    const isTest = this.tab.app.samples.held_out === "test";
    const hint =
      " This page uses test samples of the run as validation samples. Do not report their accuracy as a test result.";
    return `${train} samples are for training, and ${valid} others for validation.${isTest ? hint : ""}`;
  }

  /** Show whether the network is training, and what the buttons do. */
  showState() {
    const { snapshot, wantsToPlay, replaysTo, missing } = this.tab;
    this.element.toggleAttribute("data-missing", Boolean(missing));
    this.otherPoints.hidden = !missing;
    const hasDiverged = Boolean(snapshot?.diverged);
    const state = wantsToPlay ? "training" : hasDiverged ? "diverged" : "paused";
    this.element.dataset.state = state;
    this.playButton.textContent = this.playText(state);
    this.updateButton.disabled = this.epochButton.disabled = state !== "paused";
    const paused = snapshot?.epoch > 0 ? `Paused after epoch ${snapshot.epoch}.` : "Ready to train.";
    const training = replaysTo ? `Training again up to epoch ${replaysTo}, as the link asks.` : "Training.";
    const text = missing ? this.missingText(missing) : { training, diverged: "Stopped.", paused }[state];
    if (this.status.textContent !== text) this.status.textContent = text;
    this.warn();
  }

  missingText({ name, at }) {
    const then = at ? `the page trains up to epoch ${at}` : "the page can train with it";
    return `This link needs the file ${name}. Open it, and ${then}.`;
  }

  playText(state) {
    const epoch = this.tab.snapshot?.epoch ?? 0;
    const { epochs } = this.tab.chosen;
    if (state === "training") return "Pause";
    if (state === "diverged") return "Restart and train";
    if (epoch === 0) return "Train";
    return epoch < epochs ? "Continue" : `Train ${chalk.plural(epochs, "more epoch")}`;
  }

  /** Warn of a loss that is no finite number, or that is far above the loss of a guess. */
  warn() {
    const { snapshot, history, samples } = this.tab;
    const guess = Math.log(samples.nClasses);
    const isHigh = history.trainLoss.at(-1) > chalk.HIGH_LOSS * guess;
    this.warning.hidden = !snapshot?.diverged && !isHigh;
    const text = snapshot?.diverged ? this.divergence(snapshot.epoch + 1) : this.highLoss(samples.nClasses, guess);
    if (!this.warning.hidden && this.warning.textContent !== text) this.warning.textContent = text;
  }

  /** Return what a high loss means, and what to do. */
  highLoss(nClasses, guess) {
    return (
      `The training loss is high: equal probabilities for all ${nClasses} classes have a loss of ` +
      `ln ${nClasses} = ${chalk.number(guess, 3)}. The steps may be too large. ${this.advice()}`
    );
  }

  /** Return what happened when the loss is no finite number, and what to do. */
  divergence(epoch) {
    return (
      `In epoch ${epoch} the loss stopped being a finite number, because the steps were too large. ` + this.advice()
    );
  }

  advice() {
    const { learningRate, momentum } = this.tab.used;
    const or = momentum > 0 ? ` or a momentum below ${momentum}` : "";
    return `Choose a learning rate below ${chalk.plainNumber(learningRate)}${or}, and train again.`;
  }

  /** Show which weight is followed. */
  showFollowed() {
    const { used, samples, following } = this.tab;
    const [height, width] = samples.shape ?? [1, 0];
    const [row, column] = [Math.floor(following.input / width), following.input % width];
    const place =
      height > 1
        ? `Input ${following.input} is the pixel in row ${row}, column ${column}. Rows and columns are counted from 0.`
        : `The weight leads from input ${following.input} to hidden unit ${following.unit}.`;
    this.rule.showFollowed(following, used.hidden[0], samples.nInputs, place);
  }

  showError(text) {
    this.warning.hidden = false;
    this.warning.textContent = `The training stopped with an error: ${text}. Reload the page.`;
  }

  /** Draw a snapshot. */
  draw(snapshot) {
    const { tab } = this;
    const { epoch, bestEpoch } = snapshot;
    this.curves.draw(tab.history, Math.max(tab.chosen.epochs, tab.target, epoch), bestEpoch);
    const now = performance.now();
    if (!tab.wantsToPlay || now - (this.toldAt ?? 0) > chalk.TEXT_MILLISECONDS) {
      this.toldAt = now;
      this.tell(snapshot);
    }
    if (tab.isPlane) this.plane.show(snapshot);
    else {
      const initial = tab.settings.images === "change" ? tab.initialWeight : null;
      this.images.draw(snapshot.parameters[0].weight, initial, tab.samples.shape, tab.following);
    }
    this.element.dataset.epoch = epoch;
  }

  /** Show the texts of a snapshot. */
  tell(snapshot) {
    const { bestEpoch, trace } = snapshot;
    this.live.textContent = this.progress(snapshot);
    this.curves.tell();
    this.rule.showTrace(trace);
    this.warn();
    this.stopping.textContent = this.stoppingText(bestEpoch);
  }

  /** Return what is known about the stopping point; a training with too large steps has none worth naming. */
  stoppingText(bestEpoch) {
    if (!this.warning.hidden) return "";
    if (!bestEpoch) return "The stopping point is the epoch with the lowest validation loss.";
    const best = chalk.number(this.tab.history.validLoss[bestEpoch - 1]);
    return this.tab.wantsToPlay
      ? `Lowest validation loss so far: epoch ${bestEpoch}, ${best} nats.`
      : `Stopping point: the validation loss is lowest at epoch ${bestEpoch}, with ${best} nats. ` +
          "Early stopping keeps the network of this epoch.";
  }

  progress({ epoch, updates, updatesPerEpoch, batchesDone, kind }) {
    const { wantsToPlay, epochsPerSecond } = this.tab;
    const part = batchesDone > 0 ? `, batch ${batchesDone} of ${updatesPerEpoch} of the next epoch` : "";
    const speed = wantsToPlay && epochsPerSecond > 0 ? ` ${chalk.number(epochsPerSecond, 3)} epochs per second.` : "";
    const slow = kind === "JavaScript" ? " WebAssembly is not available here, so training is slower." : "";
    return `Epoch ${epoch}${part}. ${chalk.plural(updates, "update")}.${speed}${slow}`;
  }
};

chalk.HIGH_LOSS = 2; // times the loss of a guess, above which the page warns
chalk.TEXT_MILLISECONDS = 100; // between changes of numbers while a network trains
