/** The tab "Train": trains networks in the page, on the samples of the page or on points in the plane. */
chalk.TrainTab = class {
  constructor(container, app) {
    Object.assign(this, { container, app });
    this.settings = structuredClone(chalk.trainDefaults);
    this.hasSamples = chalk.canTrainOnSamples(app);
    if (!this.hasSamples) this.settings.mode = "plane";
    this.run = 0;
    this.followed = { samples: null, plane: { layer: 0, unit: 0, input: 0 } };
    this.file = null; // the points of a file of the user
    this.missing = null; // { name, at } of a file that the address needs, until it is opened
    const inPage = Boolean(chalk.trainInPage); // set by measurements that compare both places
    this.runner = chalk.startTrainingRunner((message) => this.receive(message), { inPage });
    this.build();
    chalk.onColorScheme(() => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(container);
  }

  /** The settings of the current mode. */
  get chosen() {
    return this.settings[this.settings.mode];
  }

  /** The weight whose updates are shown: { layer, unit, input }. */
  get following() {
    return this.followed[this.settings.mode];
  }

  get isPlane() {
    return this.settings.mode === "plane";
  }

  build() {
    const view = (this.view = new chalk.TrainView(this));
    chalk.fill(this.container, view.element);
    this.useData();
  }

  /** Read the samples of the current mode, and start again. */
  useData() {
    const { dataSeed, set } = this.chosen;
    if (this.isPlane) {
      const data = this.file ?? chalk.toyPlane(set, this.chosen);
      this.samples = chalk.planeSamples(data, this.file ? 0 : dataSeed);
      this.view.plane.setData(data, this.samples);
    } else {
      this.samples = this.pageSamples ??= chalk.samplesOfPage(this.app);
      this.followed.samples ??= { layer: 0, unit: 0, input: chalk.middleInput(this.samples.shape) };
    }
    const { inputs, labels, train, valid, nInputs, nClasses } = this.samples;
    this.view.panel.fileError.hidden = true;
    this.runner.send({ type: "data", samples: { inputs, labels, train, valid, nInputs, nClasses } });
    this.restart();
  }

  /** Start again from the seed. A training that is running goes on running. */
  restart(target = this.wantsToPlay ? this.chosen.epochs : 0) {
    const { hidden, second, rate, momentum, batch } = this.chosen;
    this.run += 1;
    this.snapshot = null;
    this.history = { trainLoss: [], trainAccuracy: [], validLoss: [], validAccuracy: [] };
    this.isWaiting = true;
    this.replaysTo = 0; // the epoch of a link, while the page trains again up to it
    this.wantsToPlay = target > 0;
    this.target = target;
    const widths = second > 0 ? [hidden, second] : [hidden];
    this.following.unit = Math.min(this.following.unit, hidden - 1);
    this.used = { hidden: widths, learningRate: rate, momentum, batchSize: batch, seed: this.settings.seed };
    this.runner.send({ type: "start", settings: this.used, view: this.wanted(), run: this.run });
    if (target > 0) this.sendPlay(target);
    this.view.showSettings();
  }

  /** Return what a snapshot should contain. */
  wanted() {
    const { grid, mapGrid } = this.isPlane ? this.view.plane : {};
    return { weights: true, grid: grid ?? null, map: mapGrid ?? null, followed: this.following };
  }

  sendPlay(until) {
    this.target = until;
    this.wantsToPlay = true;
    this.replaysTo = 0;
    this.rateFrom = this.epochsPerSecond = null;
    this.runner.send({ type: "play", until, speed: this.chosen.speed });
    this.ask();
  }

  /** Train, or pause. After the last epoch, training goes on for as many epochs again. */
  toggle() {
    if (this.wantsToPlay) this.pause();
    else if (this.snapshot?.diverged) this.restart(this.chosen.epochs);
    else {
      const { epochs } = this.chosen;
      const done = this.snapshot?.epoch ?? 0;
      this.sendPlay(done < epochs ? epochs : epochs * (Math.floor(done / epochs) + 1));
    }
    this.view.showState();
  }

  pause() {
    this.wantsToPlay = false;
    this.runner.send({ type: "pause" });
    this.ask();
  }

  /** Make one update or finish the epoch; what is "update" or "epoch". */
  step(what) {
    this.wantsToPlay = false;
    this.runner.send({ type: what });
    this.ask();
  }

  /** Ask for a snapshot, unless one is on its way. */
  ask() {
    if (this.isWaiting) {
      this.asksAgain = true;
      return;
    }
    this.isWaiting = true;
    this.runner.send({ type: "snapshot", since: this.history.trainLoss.length, view: this.wanted(), run: this.run });
  }

  receive(message) {
    if (message.run !== this.run) return;
    this.isWaiting = false;
    if (message.type === "error") {
      this.wantsToPlay = false;
      this.view.showError(message.text);
      return;
    }
    for (const [name, values] of Object.entries(message.recent)) this.history[name].push(...values);
    const wasPlaying = this.wantsToPlay;
    const hasReached = message.epoch >= this.target || message.diverged;
    if (!message.playing && hasReached) this.wantsToPlay = false;
    this.measureSpeed(message);
    if (!this.snapshot) this.initialWeight = message.parameters[0].weight;
    this.snapshot = message;
    this.scheduleDrawing();
    if (wasPlaying !== this.wantsToPlay || !this.wantsToPlay) this.view.showState();
    if (!this.wantsToPlay && !message.playing) this.app.saveAddress();
  }

  /** Draw in the next frame, and ask for the next snapshot when this one is drawn. */
  scheduleDrawing() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      const asksAgain = this.asksAgain || this.wantsToPlay;
      this.asksAgain = false;
      if (asksAgain) this.ask();
      this.redraw();
    });
  }

  /** Measure epochs per second over the last half second or more. */
  measureSpeed({ updates, updatesPerEpoch }) {
    const now = performance.now();
    const epochs = updates / updatesPerEpoch;
    this.rateFrom ??= { now, epochs };
    const seconds = (now - this.rateFrom.now) / 1000;
    if (seconds < 0.5) return;
    this.epochsPerSecond = (epochs - this.rateFrom.epochs) / seconds;
    this.rateFrom = { now, epochs };
  }

  redraw() {
    if (this.snapshot && !this.container.hidden && !this.missing) this.view.draw(this.snapshot);
  }

  /** Change settings of the current mode. Those that change the result start the training again. */
  change(settings) {
    if ("speed" in settings || "epochs" in settings) this.changePace(settings);
    else this.changeTraining(settings);
    this.app.saveAddress();
  }

  /** Change the speed, or the epoch at which the training pauses. */
  changePace(settings) {
    Object.assign(this.chosen, settings);
    const { epochs } = this.chosen;
    const next = (this.snapshot?.epoch ?? 0) + 1;
    if (this.wantsToPlay) this.sendPlay("epochs" in settings ? Math.max(epochs, next) : this.target);
    else this.target = 0;
    this.view.showSettings();
    this.redraw();
  }

  changeTraining(settings) {
    const isNewData = ["set", "samples", "noise", "classes", "dataSeed"].some((name) => name in settings);
    Object.assign(this.chosen, settings);
    if (isNewData) this.file = null;
    if (isNewData) this.useData();
    else this.restart();
  }

  /** Change settings that hold in both modes. */
  changeShared(settings) {
    Object.assign(this.settings, settings);
    if ("mode" in settings) this.missing = null;
    if ("mode" in settings) this.useData();
    else if ("seed" in settings) this.restart();
    this.view.showSettings();
    this.redraw();
    this.app.saveAddress();
  }

  follow(change) {
    Object.assign(this.following, change);
    this.view.showFollowed();
    this.ask();
  }

  /** Use the points of a file. */
  async openFile(file) {
    try {
      if (file.size > chalk.csvLimits.bytes) {
        throw new chalk.CsvError("The file is larger than 1 MB. Keep a random part of its rows.");
      }
      this.file = { ...chalk.planeFromCsv(chalk.csvText(await file.arrayBuffer())), fileName: file.name };
    } catch (error) {
      if (!(error instanceof chalk.CsvError)) throw error;
      this.view.panel.showFileError(file.name, error.message);
      return;
    }
    this.settings.mode = "plane";
    const at = this.missing?.name === file.name ? this.missing.at : 0;
    this.missing = null;
    this.useData();
    if (at) this.replay(at);
  }

  /** Train on other points than those of the file that the address needs. */
  useOtherPoints() {
    this.missing = null;
    this.useData();
    this.app.saveAddress();
  }

  /** Train again up to the epoch of a link. */
  replay(at) {
    this.runner.send({ type: "play", until: at, speed: 0 });
    Object.assign(this, { target: at, wantsToPlay: true, replaysTo: at });
    this.ask();
    this.view.showState();
  }

  state() {
    const state = chalk.changedSettings(chalk.trainDefaults, this.settings);
    if (this.snapshot?.epoch > 0 && !this.wantsToPlay && !this.snapshot.diverged) state.at = this.snapshot.epoch;
    if (this.isPlane && this.file) state.file = this.file.fileName;
    if (this.missing) Object.assign(state, { file: this.missing.name }, this.missing.at && { at: this.missing.at });
    return state;
  }

  restore(state) {
    this.settings = chalk.mergedSettings(chalk.trainDefaults, state);
    if (!this.hasSamples) this.settings.mode = "plane";
    this.settings.plane.hidden = Math.min(this.settings.plane.hidden, 32);
    this.file = null;
    this.wantsToPlay = false;
    const at = Number.isInteger(state?.at) && state.at > 0 && state.at <= 100_000 ? state.at : 0;
    this.missing = typeof state?.file === "string" && this.isPlane ? { name: state.file, at } : null;
    this.useData();
    if (at && !this.missing) this.replay(at);
  }
};

/** Return whether the samples of a page are enough to train and validate with. */
chalk.canTrainOnSamples = ({ samples, model }) =>
  Boolean(samples) && samples.n_train + samples.n_held_out >= 20 && model.class_names.length >= 2;

/**
 * Return the samples of the page for a training.
 *
 * Training samples of the page are for training, and held-out samples for validation. Pixels are
 * divided by 255. Each column of a table is shifted and scaled to mean 0 and standard deviation 1.
 */
chalk.samplesOfPage = (app) => {
  const { inputs, labels, n_train: nTrain, n_held_out: nHeldOut, n_inputs: nInputs, dtype } = app.samples;
  const total = nTrain + nHeldOut;
  const used = inputs.subarray(0, total * nInputs);
  const cut = Math.min(nTrain, nHeldOut) >= 10 ? nTrain : Math.round(0.8 * total);
  const positions = Int32Array.from({ length: total }, (_, at) => at);
  const { shift, scale } = chalk.standardScaling(used, nInputs, positions.slice(0, cut));
  const isImage = dtype === "uint8" && app.model.image_shape;
  const scaled = (value, at) => (isImage ? value / 255 : (value - shift[at % nInputs]) / scale[at % nInputs]);
  return {
    inputs: Float32Array.from(used, scaled),
    labels: Int32Array.from(labels.subarray(0, total)),
    train: positions.slice(0, cut),
    valid: positions.slice(cut),
    nInputs,
    nClasses: app.model.class_names.length,
    shape: chalk.weightShape(app.model.image_shape, nInputs),
  };
};

/** Return height and width of the image of a unit's weights; the colors of a pixel are side by side. */
chalk.weightShape = (shape, nInputs) => (shape ? [shape[0], shape[1] * (shape[2] ?? 1)] : [1, nInputs]);

/** Return the input in the middle of an image. */
chalk.middleInput = ([height, width]) => Math.floor(height / 2) * width + Math.floor(width / 2);

chalk.addTab({
  id: "train",
  title: "Train",
  hidesSample: true,
  render(container, app) {
    this.trainer = new chalk.TrainTab(container, app);
  },
  update() {
    this.trainer.redraw();
  },
  state() {
    return this.trainer.state();
  },
  restore(state) {
    this.trainer.restore(state);
  },
});
