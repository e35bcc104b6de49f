/**
 * Horizontal bars of one number for each class, of which one can be chosen.
 *
 * @param {object} options
 *   names {string[]}: names of the bars;
 *   label {string}: what the bars show;
 *   format(value) {function}: text of a value;
 *   isSigned {boolean}: whether bars start in the middle;
 *   onselect(index) {function, optional}.
 */
chalk.Bars = class {
  constructor({ names, label, format, isSigned = false, onselect }) {
    Object.assign(this, { names, format, isSigned, onselect });
    this.element = chalk.element("ul", { class: isSigned ? "bars signed" : "bars", "aria-label": label });
    this.order = [];
  }

  /**
   * Show values.
   *
   * @param values (K,).
   * @param {number} selected the chosen bar, or -1.
   * @param {number} limit the value whose bar has the full length.
   */
  draw(values, selected = -1, limit = chalk.largest(values)) {
    const order = this.shownOrder(values, selected);
    if (order.join() !== this.order.join()) this.build(order);
    order.forEach((k, row) => {
      const { bar, number, item } = this.rows[row];
      const part = Math.min(1, Math.abs(values[k]) / limit);
      bar.style.width = `${(this.isSigned ? 50 : 100) * part}%`;
      bar.style.left = this.isSigned ? `${values[k] < 0 ? 50 - 50 * part : 50}%` : "0";
      bar.className = values[k] < 0 ? "bar minus" : "bar";
      number.textContent = this.format(values[k]);
      item.classList.toggle("selected", k === selected);
      item.setAttribute(this.onselect ? "aria-pressed" : "data-selected", String(k === selected));
    });
  }

  /** Return which bars are shown: all in their order, or of many the 15 largest and the chosen one. */
  shownOrder(values, selected) {
    const all = Array.from(values, (_, k) => k);
    if (all.length <= 26) return all;
    const size = this.isSigned ? (k) => Math.abs(values[k]) : (k) => values[k];
    const largest = all.sort((a, b) => size(b) - size(a)).slice(0, 15);
    return selected < 0 || largest.includes(selected) ? largest : [...largest.slice(0, 14), selected];
  }

  build(order) {
    this.order = order;
    this.rows = order.map((k) => {
      const bar = chalk.element("span", { class: "bar" });
      const number = chalk.element("span", { class: "value" });
      const parts = [
        chalk.element("span", { class: "name" }, this.names[k]),
        chalk.element("span", { class: "track" }, bar),
        number,
      ];
      const item = this.onselect
        ? chalk.element(
            "button",
            { type: "button", class: "bar-row", onclick: () => this.onselect(k) },
            ...parts,
          )
        : chalk.element("span", { class: "bar-row" }, ...parts);
      return { bar, number, item };
    });
    chalk.fill(this.element, ...this.rows.map(({ item }) => chalk.element("li", {}, item)));
  }
};
