const MAX_DRAWN = 2_000; // points of a curve; of more, every second or third is drawn

/**
 * A chart of one score over the epochs, for training and validation samples.
 *
 * The canvas is a picture for assistive technology; the slider and the sentence below the charts
 * tell the numbers.
 */
chalk.CurveChart = class {
  /** @param {{title: string, format: function(number): string, most: ?number}} options most: the top of the axis. */
  constructor({ title, format, most = null }) {
    Object.assign(this, { title, format, most });
    this.canvas = chalk.element("canvas", { class: "curve", role: "img", "aria-label": title });
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.element = chalk.element("figure", { class: "chart" }, chalk.element("figcaption", {}, title), this.canvas);
  }

  /**
   * Draw the curves.
   *
   * @param {{train: number[], valid: number[], epochs: number, best: number, marked: number}} data
   *   epochs is the end of the axis, best the epoch of the lowest validation loss, marked the epoch
   *   that the slider points at; 0 for none.
   */
  draw(data) {
    const prepared = chalk.preparedCanvas(this.canvas);
    if (!prepared) return;
    const { context, width, height } = prepared;
    const size = chalk.canvasTextSize();
    const place = { left: 3.6 * size, right: width - 10, top: 1.5 * size, bottom: height - 2 * size, epochs: data.epochs };
    this.place = place;
    const largest = Math.max(...data.train, ...data.valid, 0);
    const top = this.most ?? (largest || 1) * 1.05;
    const bottom = this.most ? this.lowest(data) : 0;
    const x = (epoch) => place.left + ((place.right - place.left) * (epoch - 1)) / Math.max(data.epochs - 1, 1);
    const y = (value) => place.bottom - ((place.bottom - place.top) * (value - bottom)) / (top - bottom);
    this.axes(context, place, data.epochs, x, y, bottom, top);
    this.line(context, data.train, x, y, "--minus", []);
    this.line(context, data.valid, x, y, "--plus", [5, 3]);
    if (data.marked) this.mark(context, data.marked, data, x, y);
    if (data.best) this.stoppingPoint(context, data.best, data.valid, x, y, place);
  }

  /** Tell the epoch below the pointer to `onpoint`. */
  point(event) {
    if (!this.place) return;
    const { left, right, epochs } = this.place;
    const box = this.canvas.getBoundingClientRect();
    const part = (event.clientX - box.left - left) / (right - left);
    this.onpoint?.(Math.round(1 + part * (epochs - 1)));
  }

  /** Return the lower end of an axis of accuracies: the smallest value, rounded down to a tenth. */
  lowest({ train, valid }) {
    const least = Math.min(...train, ...valid, 1);
    return train.length === 0 ? 0 : Math.max(0, Math.min(0.9, Math.floor(least * 10) / 10));
  }

  axes(context, place, epochs, x, y, bottom, top) {
    const soft = chalk.colorText(chalk.color("--soft"));
    context.font = `${chalk.canvasTextSize()}px system-ui, sans-serif`;
    context.lineWidth = 1;
    context.fillStyle = soft;
    context.strokeStyle = chalk.colorText(chalk.color("--rule"));
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of chalk.axisTicks(bottom, top, 4)) {
      const at = Math.round(y(tick)) + 0.5;
      context.beginPath();
      context.moveTo(place.left, at);
      context.lineTo(place.right, at);
      context.stroke();
      context.fillText(this.format(tick), place.left - 6, at);
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of chalk.axisTicks(0, epochs, 5)) {
      if (tick >= 1) context.fillText(tick, Math.min(x(tick), place.right - 8), place.bottom + 6);
    }
  }

  line(context, values, x, y, color, dashes) {
    context.strokeStyle = context.fillStyle = chalk.colorText(chalk.color(color));
    context.lineWidth = 2;
    context.setLineDash(dashes);
    context.beginPath();
    const step = Math.ceil(values.length / MAX_DRAWN);
    for (let at = 0; at < values.length; at += step) context.lineTo(x(at + 1), y(values[at]));
    if (values.length > 0) context.lineTo(x(values.length), y(values.at(-1)));
    context.stroke();
    context.setLineDash([]);
    if (values.length === 1) context.fillRect(x(1) - 2, y(values[0]) - 2, 4, 4);
  }

  stoppingPoint(context, best, valid, x, y, place) {
    const [at, ink] = [x(best), chalk.colorText(chalk.color("--ink"))];
    context.strokeStyle = context.fillStyle = ink;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(at, place.top);
    context.lineTo(at, place.bottom);
    context.stroke();
    context.beginPath();
    context.arc(at, y(valid[best - 1]), 4, 0, 2 * Math.PI);
    context.fill();
    const isRight = at < (place.left + place.right) / 2;
    context.textAlign = isRight ? "left" : "right";
    context.textBaseline = "bottom";
    context.fillText(`stopping point: epoch ${best}`, at + (isRight ? -2 : 2), place.top - 3);
  }

  mark(context, epoch, { train, valid }, x, y) {
    for (const [values, color] of [[train, "--minus"], [valid, "--plus"]]) {
      if (epoch > values.length) continue;
      context.fillStyle = chalk.colorText(chalk.color(color));
      context.beginPath();
      context.arc(x(epoch), y(values[epoch - 1]), 4, 0, 2 * Math.PI);
      context.fill();
    }
  }
};

/**
 * Both charts, the slider that reads them at an epoch, and the sentence with its numbers.
 *
 * `draw(history, epochs, best)` shows the current state; the slider follows the last epoch until it
 * is moved.
 */
chalk.Curves = class {
  constructor() {
    const percent = (value) => `${Math.round(100 * value)} %`;
    this.loss = new chalk.CurveChart({ title: "Loss in nats per sample, for each epoch", format: chalk.axisNumber });
    this.accuracy = new chalk.CurveChart({ title: "Accuracy, for each epoch", format: percent, most: 1 });
    this.input = chalk.element("input", { type: "range", min: 1, max: 1, step: 1, value: 1 });
    this.input.addEventListener("input", () => this.read());
    this.loss.onpoint = this.accuracy.onpoint = (epoch) => {
      this.input.value = epoch;
      this.read();
    };
    this.sentence = chalk.element("p", { class: "train-numbers" });
    const key = (text, kind) => chalk.element("span", { class: `curve-key ${kind}` }, text);
    this.element = chalk.element(
      "div",
      {},
      chalk.element("p", { class: "curve-legend" }, key("training", "first"), key("validation", "valid")),
      chalk.element("div", { class: "charts" }, this.loss.element, this.accuracy.element),
      chalk.element("label", { class: "field slider" }, chalk.element("span", {}, "Read the curves at an epoch"), this.input),
      this.sentence,
    );
    this.follows = true;
  }

  draw(history, epochs, best) {
    Object.assign(this, { history, epochs, best });
    const done = history.trainLoss.length;
    this.input.max = Math.max(1, done);
    this.input.disabled = done === 0;
    if (this.follows || done === 0) this.input.value = done;
    if (done === 0) this.follows = true;
    this.redraw();
  }

  /** Show the epoch of the slider. At the last epoch, the slider follows the training. */
  read() {
    this.follows = Number(this.input.value) === Number(this.input.max);
    this.redraw();
    this.tell();
  }

  redraw() {
    if (!this.history) return;
    const { trainLoss, validLoss, trainAccuracy, validAccuracy } = this.history;
    const epoch = trainLoss.length ? Number(this.input.value) : 0;
    const shared = { epochs: this.epochs, best: this.best, marked: epoch };
    this.loss.draw({ train: trainLoss, valid: validLoss, ...shared });
    this.accuracy.draw({ train: trainAccuracy, valid: validAccuracy, ...shared });
  }

  /** Show the scores at the epoch of the slider as a sentence. */
  tell() {
    const epoch = this.history?.trainLoss.length ? Number(this.input.value) : 0;
    this.sentence.textContent = epoch ? this.told(epoch) : "The curves begin with the first epoch.";
    this.input.setAttribute("aria-valuetext", `epoch ${epoch}`);
  }

  /** Return the scores of an epoch as a sentence. */
  told(epoch) {
    const { trainLoss, validLoss, trainAccuracy, validAccuracy } = this.history;
    const at = epoch - 1;
    return (
      `Epoch ${epoch}: training loss ${chalk.number(trainLoss[at])} and accuracy ${chalk.percent(trainAccuracy[at])}; ` +
      `validation loss ${chalk.number(validLoss[at])} and accuracy ${chalk.percent(validAccuracy[at])}.`
    );
  }
};
