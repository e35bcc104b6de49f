/** Images of numbers on canvases: gray pixels, signed values in two colors, and grids of units. */

/** Return a color of the style sheet, such as "--plus", as [red, green, blue]. */
chalk.color = (name) => {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
};

/** Return the largest absolute value of an array, or a tiny number if all are 0. */
chalk.largest = (values) => {
  let found = 1e-30;
  for (const one of values) found = Math.max(found, Math.abs(one));
  return found;
};

/**
 * Draw one pixel for each value on a canvas of that many pixels.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 * @param {function(number): number[]} colorOf color of the pixel at this position; null for none.
 */
chalk.drawPixels = (canvas, width, height, colorOf) => {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    const color = colorOf(at);
    if (!color) continue;
    [image.data[4 * at], image.data[4 * at + 1], image.data[4 * at + 2]] = color;
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};

/**
 * Return the colors of signed values: blue below 0, orange above, the paper's color at 0.
 *
 * @param {number} limit the absolute value with the full color.
 * @returns {function(number): number[]}
 */
chalk.signedColors = (limit) => {
  const [zero, plus, minus] = ["--zero", "--plus", "--minus"].map(chalk.color);
  return (value) => {
    const part = Math.min(1, Math.abs(value) / limit);
    const end = value < 0 ? minus : plus;
    return zero.map((from, k) => Math.round(from + part * (end[k] - from)));
  };
};

/** Draw signed values (height * width) on a canvas. */
chalk.drawSigned = (canvas, values, width, height, limit = chalk.largest(values)) => {
  const colors = chalk.signedColors(limit);
  chalk.drawPixels(canvas, width, height, (at) => (at < values.length ? colors(values[at]) : null));
};

/**
 * Draw raw values of an image, from the darkest value of the training images to the brightest.
 *
 * @param shape [height, width] for gray, or [height, width, channels]; three channels are red, green and blue.
 */
chalk.drawImage = (canvas, raw, [height, width, channels = 1]) => {
  const { background, ink } = chalk.data.drawing;
  const [low, high] = [Math.min(background, ink), Math.max(background, ink)];
  const shade = (one) => Math.round((255 * Math.min(Math.max(one - low, 0), high - low)) / (high - low || 1));
  chalk.drawPixels(canvas, width, height, (at) =>
    [0, 1, 2].map((k) => shade(raw[at * channels + (channels === 3 ? k : 0)])),
  );
};

/**
 * Return a figure with a canvas and a caption.
 *
 * @param {string} caption
 * @param {function(HTMLCanvasElement)} draw
 * @param {string} className class of the canvas, which sets its size.
 */
chalk.figure = (caption, draw, className = "pixels") => {
  const canvas = chalk.element("canvas", { class: className, role: "img", "aria-label": caption });
  draw(canvas);
  return chalk.element("figure", {}, canvas, chalk.element("figcaption", {}, caption));
};

/** Return a legend of signed colors, from low to limit; low is -limit or 0. */
chalk.legend = (limit, low = -limit) => {
  const canvas = chalk.element("canvas", { class: "legend-bar", "aria-hidden": "true" });
  chalk.drawSigned(
    canvas,
    Array.from({ length: 101 }, (_, k) => (low < 0 ? k / 50 - 1 : k / 100)),
    101,
    1,
    1,
  );
  const ends = (low < 0 ? [low, 0, limit] : [0, limit]).map((one) => chalk.element("span", {}, chalk.number(one, 3)));
  return chalk.element(
    "div",
    { class: "color-scale" },
    canvas,
    chalk.element("div", { class: "legend-ends" }, ...ends),
  );
};

/** Return the number of columns in which so many units are shown. */
chalk.gridColumns = (count) => (count <= 16 ? count : Math.ceil(Math.sqrt(count * 1.6)));

/**
 * A grid of units, one colored cell each, from which one can be chosen by pointer or arrow keys.
 *
 * @param {object} options
 *   label {string}: what the grid shows, for screen readers;
 *   count {number}: how many units;
 *   columns {number, optional}: cells of a row;
 *   rows {number, optional}: rows of cells;
 *   text(index) {function}: what is shown about the unit under the pointer;
 *   onselect(index) {function, optional}: called when a unit is chosen.
 */
chalk.UnitGrid = class {
  constructor({ label, count, columns, rows, text, onselect }) {
    Object.assign(this, { count, text, onselect, selected: -1 });
    this.columns = columns ?? chalk.gridColumns(count);
    this.rows = rows ?? Math.ceil(count / this.columns);
    this.canvas = chalk.element("canvas", { class: "units" });
    this.canvas.style.aspectRatio = `${this.columns} / ${this.rows}`;
    this.mark = chalk.element("div", { class: "unit-mark", hidden: true });
    this.element = chalk.element("div", { class: "unit-grid" }, this.canvas, this.mark);
    // Few units get cells of a fixed size, so that they are not stretched to the width of the page.
    this.element.style.maxWidth = `${Math.max(this.columns * 1.1, 12)}rem`;
    this.canvas.addEventListener("pointermove", (event) => {
      const index = this.indexAt(event);
      this.canvas.title = index === null ? "" : this.text(index);
    });
    if (onselect) this.listen(label);
    else {
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", label);
    }
  }

  listen(label) {
    const attributes = {
      role: "slider",
      tabindex: "0",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": this.count - 1,
    };
    for (const [name, value] of Object.entries(attributes)) this.canvas.setAttribute(name, value);
    this.canvas.setAttribute("aria-valuenow", 0);
    this.canvas.addEventListener("click", (event) => this.choose(this.indexAt(event)));
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.choose(this.neighbor(step));
    });
  }

  /** Return the next unit in a direction: over the end of a row to the next row, and over gaps. */
  neighbor([right, down]) {
    if (this.selected < 0) return this.unitOfCell(0, 0);
    const [column, row] = this.cellOfUnit(this.selected);
    for (let at = row * this.columns + column; ;) {
      at += right + down * this.columns;
      if (at < 0 || at >= this.rows * this.columns) return this.selected;
      const unit = this.unitOfCell(at % this.columns, Math.floor(at / this.columns));
      if (unit !== null) return unit;
    }
  }

  /** Return the unit of a cell, or null. */
  unitOfCell(column, row) {
    const unit = row * this.columns + column;
    return unit < this.count ? unit : null;
  }

  /** Return column and row of the cell of a unit. */
  cellOfUnit(unit) {
    return [unit % this.columns, Math.floor(unit / this.columns)];
  }

  /** Return the unit under a pointer, or null. */
  indexAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    const isInside = column >= 0 && column < this.columns && row >= 0 && row < this.rows;
    return isInside ? this.unitOfCell(column, row) : null;
  }

  choose(index) {
    if (index !== null) this.onselect(index);
  }

  /** Show values (count,), and mark the chosen unit; -1 for none. */
  draw(values, selected = -1, limit = chalk.largest(values)) {
    const colors = chalk.signedColors(limit);
    chalk.drawPixels(this.canvas, this.columns, this.rows, (at) => {
      const unit = this.unitOfCell(at % this.columns, Math.floor(at / this.columns));
      return unit === null ? null : colors(values[unit]);
    });
    this.selected = selected;
    this.mark.hidden = selected < 0;
    if (this.onselect) {
      this.canvas.setAttribute("aria-valuenow", Math.max(selected, 0));
      this.canvas.setAttribute("aria-valuetext", selected < 0 ? "none chosen" : this.text(selected));
    }
    if (selected < 0) return;
    const percent = (part, whole) => `${(100 * part) / whole}%`;
    const [column, row] = this.cellOfUnit(selected);
    this.mark.style.left = percent(column, this.columns);
    this.mark.style.top = percent(row, this.rows);
    this.mark.style.width = percent(1, this.columns);
    this.mark.style.height = percent(1, this.rows);
  }
};
