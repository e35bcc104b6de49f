/** The tab "Draw": the input of the network, its hidden layers, logits and probabilities. */
chalk.strokesText = (strokes) => JSON.stringify(strokes);
chalk.strokesOfText = (text) => JSON.parse(text);
chalk.drawnSample = (app) => ({ kind: "raw", raw: chalk.blankSample(app) });

chalk.addTab({
  id: "draw",
  title: "Draw",
  render(container, app) {
    this.result = chalk.element("p", { "aria-live": "polite" });
    container.append(chalk.element("h2", {}, "Draw"), this.result);
    for (const panel of chalk.panels) {
      const box = chalk.element("section", { class: "box" }, chalk.element("h3", {}, panel.title));
      container.append(box);
      panel.render(box, app);
    }
  },
  update(app) {
    const p = app.probabilities();
    const best = p.indexOf(Math.max(...p));
    this.result.textContent = `${app.model.class_names[best]}: ${chalk.percent(p[best])}`;
  },
});
