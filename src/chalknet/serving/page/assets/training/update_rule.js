/** The update rule with its formulas and with the numbers of the last update. */

/** The settings of the write-up, with which the page compares its own. */
chalk.writeUp = { learningRate: 1e-5, samples: 15_000, momentum: 0.99 };

/**
 * The box about the update rule: formulas, the learning rate of a batch, and one weight that is followed.
 *
 * `onfollow({unit, input})` is called when another weight is chosen.
 */
chalk.UpdateRule = class {
  constructor(onfollow) {
    this.rate = chalk.element("p", {});
    this.trace = chalk.element("div", {});
    this.unit = chalk.wholeNumber("Hidden unit", { min: 0, max: 0 }, 0, (unit) => onfollow({ unit }));
    this.input = chalk.wholeNumber("Input", { min: 0, max: 0 }, 0, (input) => onfollow({ input }));
    this.place = chalk.element("p", { class: "soft" });
    this.element = chalk.element("div", {},
      chalk.element("p", {}, "Gradients are summed over the batch and not averaged. Weights have momentum, and biases take " +
        "plain steps:"),
      ...["L3", "A3", "A4", "U1", "U2"].map(chalk.formula),
      chalk.element("p", { class: "soft" }, "D is the gradient ∂L/∂h of the values h of a layer, and x are its inputs. For the " +
        "last layer, D = p − Y."),
      this.rate,
      chalk.element("h4", {}, "One weight and one bias in the last update"),
      chalk.element("div", { class: "row" }, this.unit, this.input), this.place, this.trace);
  }

  /** Show learning rate r and batch size B. */
  showRate({ learningRate, momentum, batchSize }) {
    const { learningRate: rate, samples } = chalk.writeUp;
    const number = chalk.number;
    const ofMean = learningRate * batchSize;
    this.rate.textContent =
      `r = ${chalk.plainNumber(learningRate)} multiplies the sum over B = ${batchSize.toLocaleString("en-US")} samples. ` +
      `For the mean gradient of the batch, the learning rate is r × B = ${number(ofMean, 2)}. ` +
      `With momentum m = ${momentum}, a constant gradient moves a weight by up to r × B / (1 − m) = ` +
      `${number(ofMean / (1 - momentum), 2)} times the mean gradient per update. ` +
      `The write-up has r = 0.00001 and B = ${samples.toLocaleString("en-US")}, so r × B = ${number(rate * samples, 2)}, ` +
      `and m = ${chalk.writeUp.momentum}.`;
  }

  /** Show which weight is followed, and how many units and inputs there are. */
  showFollowed({ unit, input }, nUnits, nInputs, place) {
    this.unit.limit(nUnits - 1);
    this.input.limit(nInputs - 1);
    this.unit.show(unit);
    this.input.show(input);
    this.place.textContent = place;
  }

  /** Show the numbers of the last update, or that there are none yet. */
  showTrace(trace) {
    if (!trace) {
      chalk.fill(this.trace, chalk.element("p", { class: "soft" }, "The numbers appear with the next update."));
      return;
    }
    const { before, after, learningRate, momentum } = trace;
    const cells = this.traceCells();
    const n = (value) => chalk.number(value, 5);
    const inBrackets = (value) => (value < 0 ? `(${n(value)})` : n(value));
    const r = chalk.plainNumber(learningRate);
    const texts = [
      `v ← m v + r ∂L/∂W = ${momentum} × ${inBrackets(before.velocity)} + ${r} × ${inBrackets(after.gradient)} = ${n(after.velocity)}`,
      `W ← W − v = ${n(before.weight)} − ${inBrackets(after.velocity)} = ${n(after.weight)}`,
      `b ← b − r ∂L/∂b = ${n(before.bias)} − ${r} × ${inBrackets(after.biasGradient)} = ${n(after.bias)}`,
    ];
    texts.forEach((text, at) => (cells[at].textContent = text));
  }

  /** Return the cells of the table of numbers, which is made when the first numbers are there. */
  traceCells() {
    if (!this.trace.querySelector("table")) {
      const row = (name) => chalk.element("tr", {}, chalk.element("th", { scope: "row" }, name), chalk.element("td"));
      const body = chalk.element("tbody", {}, ...["velocity", "weight", "bias"].map(row));
      chalk.fill(this.trace, chalk.element("table", { class: "update-numbers" }, body));
    }
    return this.trace.querySelectorAll("td");
  }
};
