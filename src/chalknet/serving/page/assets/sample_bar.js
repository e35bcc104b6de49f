/** The bar above all tabs: the sample, what the network says about it, and general settings. */
chalk.SampleBar = class {
  constructor(app) {
    this.app = app;
    this.picture = chalk.element("canvas", {
      class: "thumbnail",
      role: "img",
      "aria-label": "The input of the network",
    });
    this.says = chalk.element("p", { class: "says", "aria-live": "polite" });
    this.origin = chalk.element("p", { class: "soft small" });
    this.copied = chalk.element("span", { class: "soft small", role: "status" });
    chalk.fill(document.getElementById("chalk-settings"), ...this.settings());
    this.element = chalk.element(
      "div",
      { class: "sample-bar" },
      app.model.image_shape ? this.picture : null,
      chalk.element("div", { class: "sample-text" }, this.says, this.origin),
    );
  }

  settings() {
    const { app } = this;
    const members = app.networks.map((_, m) => [String(m), `${m + 1} of ${app.networks.length}`]);
    const member =
      app.networks.length > 1
        ? chalk.select("Network that is explained", members, String(app.member), (m) =>
            app.setMember(Number(m)),
          )
        : null;
    this.member = member?.querySelector("select");
    return [
      member,
      chalk.button("Copy link", () => this.copy(), { title: "Copy the address of exactly this view" }),
      chalk.button("A−", () => this.resize(-0.1), { "aria-label": "Smaller text" }),
      chalk.button("A+", () => this.resize(0.1), { "aria-label": "Larger text" }),
      chalk.themeButton(),
      this.copied,
    ];
  }

  /** Copy the address; a browser may refuse that on pages that were opened as files. */
  async copy() {
    chalk.address.write(this.app.entries());
    try {
      await navigator.clipboard.writeText(location.href);
      this.copied.textContent = "Copied.";
    } catch {
      this.copied.textContent = "The link is in the address bar.";
    }
    setTimeout(() => (this.copied.textContent = ""), 4_000);
  }

  resize(step) {
    this.size = Math.min(2, Math.max(0.7, (this.size ?? 1) + step));
    document.documentElement.style.fontSize = `calc(var(--size) * ${this.size.toFixed(1)})`;
  }

  update() {
    const { app } = this;
    const { sample, model } = app;
    if (this.member) this.member.value = String(app.member);
    if (model.image_shape) chalk.drawImage(this.picture, sample.raw, model.image_shape);
    const p = app.probabilities();
    const best = p.indexOf(Math.max(...p));
    const isEmpty = sample.kind === "drawing" && !sample.strokes.length;
    if (isEmpty) this.says.textContent = "Nothing is drawn yet.";
    else this.say(model.class_names[best], p[best]);
    const name = sample.label === undefined ? "" : `True class: ${model.class_names[sample.label]}.`;
    const title = isEmpty ? "" : `${chalk.sampleTitle(app, sample)}.`;
    this.origin.textContent = [title, name, app.note].filter(Boolean).join(" ");
  }

  /** Say the most probable class. */
  say(name, probability) {
    const { app } = this;
    chalk.fill(
      this.says,
      app.networks.length > 1 ? "The networks say " : "The network says ",
      chalk.element("strong", {}, name),
      ` with probability ${chalk.percent(probability)}.`,
    );
  }
};

/** Return what a sample is, in words. */
chalk.sampleTitle = (app, sample) => {
  if (sample.kind === "drawing") return "Your drawing";
  if (sample.kind !== "embedded") return app.model.image_shape ? "An image" : "Your values";
  const { n_train: train, n_held_out: held, held_out: split, count } = app.samples;
  const kind = split === "test" ? "test sample" : "validation sample";
  const place = (index, n) => `${(index + 1).toLocaleString("en")} of ${n.toLocaleString("en")}`;
  if (sample.index < train) return `Training sample ${place(sample.index, train)}`;
  if (sample.index < train + held)
    return `${kind.charAt(0).toUpperCase()}${kind.slice(1)} ${place(sample.index - train, held)}`;
  return `Mistake ${place(sample.index - train - held, count - train - held)}, a ${kind}`;
};

/** Return a button that changes between the themes of the system, light and dark. */
chalk.themeButton = () => {
  const themes = ["", "light", "dark"];
  const text = (theme) => `Theme: ${theme || "system"}`;
  const button = chalk.button(text(""), () => {
    const theme = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
    document.documentElement.dataset.theme = theme;
    button.textContent = text(theme);
    chalk.app.changed("shown"); // canvases are drawn in the colors of the theme
  });
  return button;
};
