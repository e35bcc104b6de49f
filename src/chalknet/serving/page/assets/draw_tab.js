/** The tab "Draw": the input of the network, its layers, logits and probabilities. */
chalk.DrawTab = class {
  constructor(container, app) {
    this.app = app;
    this.probabilities = new chalk.Bars({
      names: app.model.class_names,
      label: "Probabilities",
      format: chalk.percent,
      onselect: (unit) => chalk.explain(app, { kind: "probability", unit }),
    });
    this.network = new chalk.NetworkView(app, (layer, unit) =>
      chalk.explain(app, { kind: "unit", layer: layer.position, unit }),
    );
    const inputs = app.model.image_shape ? this.imageInputs() : this.rowInputs();
    container.append(
      chalk.element(
        "div",
        { class: "columns" },
        chalk.element("div", { class: "side" }, ...inputs, this.sampleBox(), ...this.extraPanels()),
        chalk.element(
          "div",
          { class: "wide" },
          chalk.box(
            "Probabilities",
            chalk.element("p", { class: "soft small" }, this.probabilityHint()),
            this.probabilities.element,
          ),
          chalk.box(
            "Layers",
            chalk.element(
              "p",
              { class: "soft small" },
              "Each cell is one unit. Choose a unit to see how its value is computed.",
            ),
            this.network.element,
          ),
        ),
      ),
    );
  }

  probabilityHint() {
    const n = this.app.networks.length;
    return n > 1
      ? `The mean of the probabilities of ${n} networks. Choose a class to see its formula.`
      : "Choose a class to see its formula.";
  }

  /** Return the boxes with the drawing area and with what the network sees. */
  imageInputs() {
    const { app } = this;
    const { image_shape: shape } = app.model;
    this.area = new chalk.DrawingArea(shape, (strokes) => app.setSample(chalk.drawnSample(app, strokes)));
    const width = chalk.element("input", {
      type: "range",
      min: 4,
      max: 60,
      value: this.area.penWidth,
      oninput: () => (this.area.penWidth = Number(width.value)),
    });
    this.seen = chalk.element("canvas", {
      class: "seen",
      role: "img",
      "aria-label": "What the network sees",
    });
    // A server has a tab for uploads, which prepares images as the model's training images were.
    const opened = chalk.data.extras.models ? [] : [chalk.imageBox(app)];
    const isColor = shape[2] === 3; // photos are opened, letters are drawn: the usual way comes first
    return [
      ...(isColor ? opened : []),
      chalk.box(
        "Draw here",
        this.area.canvas,
        chalk.element(
          "p",
          { class: "soft small" },
          "Keyboard: arrow keys move the pen, Space lowers or lifts it, and Backspace removes the last stroke.",
        ),
        chalk.element(
          "div",
          { class: "row" },
          chalk.element(
            "label",
            { class: "field grow" },
            chalk.element("span", {}, "Width of the pen"),
            width,
          ),
          chalk.button("Undo", () => this.area.undo()),
          chalk.button("Clear", () => this.area.clear()),
        ),
      ),
      chalk.box(
        `What the network sees: ${shape[0]} × ${shape[1]} pixels`,
        this.seen,
        chalk.element(
          "p",
          { class: "soft small" },
          chalk.data.drawing.stretch
            ? "Drawings are stretched to fill the image, as the training images do."
            : "Drawings are moved and scaled, so that their margins are those of the training images.",
        ),
      ),
      ...(isColor ? [] : opened),
    ];
  }

  /** Return the box with one field for each column of a table. */
  rowInputs() {
    this.fields = new chalk.TableFields(this.app, (raw) => this.app.setSample({ kind: "raw", raw }));
    return [chalk.box("Values", this.fields.element)];
  }

  /** Return the box with samples to choose from. */
  sampleBox() {
    const { app } = this;
    if (!app.samples) return null;
    const { n_train: train, n_held_out: held, count } = app.samples;
    const show = (index) => app.setSample(chalk.embeddedSample(app, index));
    const random = (from, n) => show(from + Math.floor(Math.random() * n));
    const mistakes = Array.from({ length: count - train - held }, (_, k) =>
      this.mistake(train + held + k, show),
    );
    return chalk.box(
      "Samples",
      chalk.element(
        "div",
        { class: "row" },
        held
          ? chalk.button(`Random ${app.samples.held_out === "test" ? "test" : "validation"} sample`, () =>
              random(train, held),
            )
          : null,
        train ? chalk.button("Random training sample", () => random(0, train)) : null,
      ),
      mistakes.length ? chalk.element("h4", {}, "The most confident mistakes") : null,
      mistakes.length ? chalk.element("div", { class: "thumbnails" }, ...mistakes) : null,
    );
  }

  /** Return a button with a sample that the network gets wrong. */
  mistake(index, show) {
    const { app } = this;
    const sample = chalk.embeddedSample(app, index);
    const p = app.probabilitiesOf(sample.raw);
    const names = app.model.class_names;
    const text = `${names[sample.label]}, read as ${names[p.indexOf(Math.max(...p))]}`;
    const picture = chalk.element("canvas", { class: "thumbnail" });
    if (app.model.image_shape) chalk.drawImage(picture, sample.raw, app.model.image_shape);
    return chalk.element(
      "button",
      { type: "button", class: "thumb", onclick: () => show(index) },
      app.model.image_shape ? picture : null,
      chalk.element("span", {}, text),
    );
  }

  extraPanels() {
    return chalk.panels.map((panel) => {
      const box = chalk.box(panel.title);
      panel.render(box, this.app);
      return box;
    });
  }

  update() {
    const { app } = this;
    const { sample, model } = app;
    if (model.image_shape) {
      chalk.drawImage(this.seen, sample.raw, model.image_shape);
      if (sample.kind !== "drawing" && this.area.strokes.length) this.area.show([]);
      else if (sample.kind === "drawing" && this.area.pointer == null && sample.strokes !== this.shownStrokes)
        this.area.show(sample.strokes);
      else this.area.draw(); // in the colors of the theme
      this.shownStrokes = sample.strokes;
    } else this.fields.show(sample.raw);
    const p = app.probabilities();
    this.probabilities.draw(p, p.indexOf(Math.max(...p)), 1);
    this.network.draw(app.pass());
  }
};

/** Return a box with a heading. */
chalk.box = (title, ...children) => {
  const box = chalk.element("section", { class: "box" }, chalk.element("h3", {}, title));
  box.append(...children.filter((child) => child !== null));
  return box;
};

chalk.addTab({
  id: "draw",
  title: (app) => (app.model.image_shape ? "Draw" : "Predict"),
  render(container, app) {
    this.view = new chalk.DrawTab(container, app);
  },
  update() {
    this.view.update();
  },
});
