/** The plane of a network with two inputs: its decisions as a field of colors, samples, and hidden units. */

/** Colors of up to ten classes, which stay distinguishable with color blindness as far as ten can. */
chalk.classColors = [
  [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [213, 94, 0],
  [86, 180, 233], [140, 86, 75], [150, 150, 40], [110, 70, 180], [120, 120, 120],
];

chalk.FIELD_POINTS = 150; // points of the field on each side
chalk.MAP_POINTS = 32; // points of the map of a hidden unit on each side

/** Return the box of the points with a margin: {low: [x, y], high: [x, y]}. */
chalk.planeBox = (points) => {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  points.forEach((value, at) => {
    low[at % 2] = Math.min(low[at % 2], value);
    high[at % 2] = Math.max(high[at % 2], value);
  });
  for (const axis of [0, 1]) {
    const margin = 0.08 * (high[axis] - low[axis]) || 1;
    low[axis] -= margin;
    high[axis] += margin;
  }
  return { low, high };
};

/** Return the scaled inputs of n x n points in a box, from the top left corner, row by row. */
chalk.planeGrid = ({ low, high }, { shift, scale }, n) => {
  const inputs = new Float32Array(2 * n * n);
  for (let row = 0, at = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const x = low[0] + ((column + 0.5) / n) * (high[0] - low[0]);
      const y = high[1] - ((row + 0.5) / n) * (high[1] - low[1]);
      inputs[at++] = (x - shift[0]) / scale[0];
      inputs[at++] = (y - shift[1]) / scale[1];
    }
  }
  return { inputs, n: n * n };
};

/** The field of decisions with the samples on it, and a map of every hidden unit. */
chalk.PlaneView = class {
  /** `onlines(value)` is called when the lines are switched on or off. */
  constructor(onlines) {
    this.canvas = chalk.element("canvas", { class: "plane", role: "img" });
    this.field = chalk.element("canvas", { width: chalk.FIELD_POINTS, height: chalk.FIELD_POINTS });
    this.showsLines = true;
    this.legend = chalk.element("ul", { class: "classes" });
    this.linesBox = chalk.checkBox("Show the line h = 0 of each unit in the first hidden layer", true, onlines);
    this.maps = chalk.element("div", { class: "maps" });
    this.element = chalk.element("div", {}, this.canvas, this.legend, this.linesBox);
  }

  showLines(value) {
    this.showsLines = value;
    this.linesBox.show(value);
    this.draw();
  }

  /** Show other samples. */
  setData(data, samples) {
    Object.assign(this, { data, samples, box: chalk.planeBox(data.points), snapshot: null });
    this.grid = chalk.planeGrid(this.box, samples, chalk.FIELD_POINTS);
    this.mapGrid = chalk.planeGrid(this.box, samples, chalk.MAP_POINTS);
    const keys = data.classNames.map((name, label) => {
      const swatch = chalk.element("span", { class: "swatch" });
      swatch.style.background = chalk.colorText(chalk.classColors[label]);
      return chalk.element("li", {}, swatch, name.length > 30 ? `${name.slice(0, 29)}…` : name);
    });
    chalk.fill(this.legend, ...keys,
      chalk.element("li", { class: "soft" }, "● training"), chalk.element("li", { class: "soft" }, "◇ validation"));
    const { train, valid } = samples;
    this.canvas.setAttribute("aria-label",
      `The plane with ${train.length} training samples, ${valid.length} validation samples and the decisions of the network`);
  }

  /** Show the probabilities and hidden values of a snapshot. */
  show(snapshot) {
    this.snapshot = snapshot;
    this.draw();
    this.drawMaps();
  }

  draw() {
    const prepared = this.data && chalk.preparedCanvas(this.canvas);
    if (!prepared) return;
    const { context, width, height } = prepared;
    const size = chalk.canvasTextSize();
    const place = { left: 3.8 * size, top: 8, width: width - 3.8 * size - 8, height: height - 3.2 * size - 8 };
    if (this.snapshot) {
      this.paintField();
      context.imageSmoothingEnabled = true;
      context.drawImage(this.field, place.left, place.top, place.width, place.height);
    }
    const x = (value) => place.left + (place.width * (value - this.box.low[0])) / (this.box.high[0] - this.box.low[0]);
    const y = (value) => place.top + (place.height * (this.box.high[1] - value)) / (this.box.high[1] - this.box.low[1]);
    this.axes(context, place, x, y, size);
    if (this.snapshot && this.showsLines) this.lines(context, place, x, y);
    this.points(context, x, y);
  }

  /** Mix the colors of the classes by their probabilities; the border between two decisions is dark. */
  paintField() {
    const n = chalk.FIELD_POINTS;
    const { probabilities } = this.snapshot;
    const nClasses = this.data.classNames.length;
    const [paper, ink] = [chalk.color("--paper"), chalk.color("--ink")];
    const colors = chalk.classColors.map((color) => chalk.mixedColor(paper, color, 0.55));
    const context = this.field.getContext("2d");
    const image = context.createImageData(n, n);
    const best = new Uint8Array(n * n);
    for (let at = 0, from = 0; at < n * n; at++, from += nClasses) {
      let [red, green, blue] = [0, 0, 0];
      for (let k = 0; k < nClasses; k++) {
        const p = probabilities[from + k];
        red += p * colors[k][0];
        green += p * colors[k][1];
        blue += p * colors[k][2];
        if (p > probabilities[from + best[at]]) best[at] = k;
      }
      const isBorder = (at % n > 0 && best[at] !== best[at - 1]) || (at >= n && best[at] !== best[at - n]);
      const part = isBorder ? 0.8 : 0;
      image.data[4 * at] = red + part * (ink[0] - red);
      image.data[4 * at + 1] = green + part * (ink[1] - green);
      image.data[4 * at + 2] = blue + part * (ink[2] - blue);
      image.data[4 * at + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  axes(context, place, x, y, size) {
    const { low, high } = this.box;
    context.strokeStyle = chalk.colorText(chalk.color("--rule"));
    context.strokeRect(place.left + 0.5, place.top + 0.5, place.width, place.height);
    context.fillStyle = chalk.colorText(chalk.color("--soft"));
    context.font = `${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "top";
    const below = place.top + place.height;
    for (const tick of chalk.axisTicks(low[0], high[0], 5)) context.fillText(chalk.axisNumber(tick), x(tick), below + 4);
    context.fillText(chalk.shortName(this.data.inputNames[0]), place.left + place.width / 2, below + 5 + 1.4 * size);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of chalk.axisTicks(low[1], high[1], 5)) context.fillText(chalk.axisNumber(tick), place.left - 5, y(tick));
    context.save();
    context.translate(0.6 * size, place.top + place.height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(chalk.shortName(this.data.inputNames[1]), 0, 0);
    context.restore();
  }

  /** Draw w1 x1 + w2 x2 + b = 0 of each unit of the first hidden layer, within the box. */
  lines(context, place, x, y) {
    const { weight, bias } = this.snapshot.parameters[0];
    const { shift, scale } = this.samples;
    context.save();
    context.beginPath();
    context.rect(place.left, place.top, place.width, place.height);
    context.clip();
    context.strokeStyle = chalk.colorText(chalk.color("--ink"), 0.5);
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    bias.forEach((b, unit) => {
      const [a, c] = [weight[2 * unit] / scale[0], weight[2 * unit + 1] / scale[1]];
      const constant = b - a * shift[0] - c * shift[1]; // a x1 + c x2 + constant = 0
      const { low, high } = this.box;
      context.beginPath();
      if (Math.abs(c) * (high[1] - low[1]) > Math.abs(a) * (high[0] - low[0])) {
        for (const one of [low[0], high[0]]) context.lineTo(x(one), y(-(a * one + constant) / c));
      } else {
        for (const one of [low[1], high[1]]) context.lineTo(x(-(c * one + constant) / a), y(one));
      }
      context.stroke();
    });
    context.restore();
  }

  points(context, x, y) {
    const { points, labels } = this.data;
    const [paper, ink] = [chalk.colorText(chalk.color("--paper")), chalk.colorText(chalk.color("--ink"))];
    const radius = labels.length > 1500 ? 2 : labels.length > 600 ? 3 : 4;
    context.lineWidth = 1;
    for (const k of this.samples.train) {
      context.fillStyle = chalk.colorText(chalk.classColors[labels[k]]);
      context.strokeStyle = paper;
      context.beginPath();
      context.arc(x(points[2 * k]), y(points[2 * k + 1]), radius, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    for (const k of this.samples.valid) {
      const [left, top, r] = [x(points[2 * k]), y(points[2 * k + 1]), radius + 1];
      context.fillStyle = chalk.colorText(chalk.classColors[labels[k]]);
      context.strokeStyle = ink;
      context.beginPath();
      for (const [dx, dy] of [[0, -r], [r, 0], [0, r], [-r, 0]]) context.lineTo(left + dx, top + dy);
      context.closePath();
      context.fill();
      context.stroke();
    }
  }

  /** Draw the hidden values over the plane, one small map for each unit of each layer. */
  drawMaps() {
    const { hidden, parameters } = this.snapshot;
    if (this.maps.children.length !== hidden.length) {
      chalk.fill(this.maps, ...hidden.map((_, l) => chalk.element("figure", {},
        chalk.element("figcaption", {}), chalk.element("canvas", { class: "weights", role: "img" }))));
    }
    hidden.forEach((values, l) => {
      const nUnits = parameters[l].bias.length;
      const [caption, canvas] = this.maps.children[l].children;
      caption.textContent = `Hidden layer ${l + 1}: the values of its ${chalk.plural(nUnits, "unit")} over the plane`;
      canvas.setAttribute("aria-label", caption.textContent);
      chalk.drawUnitMaps(canvas, values, nUnits);
    });
  }
};

/** Draw maps of values (points, units) side by side; each unit has its own scale from 0 to its largest value. */
chalk.drawUnitMaps = (canvas, values, nUnits) => {
  const n = chalk.MAP_POINTS;
  const available = canvas.parentElement.clientWidth;
  if (!available) return;
  const columns = Math.max(1, Math.min(nUnits, Math.floor(available / 56)));
  const [width, height] = [columns * (n + 2), Math.ceil(nUnits / columns) * (n + 2)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.style.maxWidth = `${columns * 96}px`;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const colors = chalk.divergingColors().subarray(127); // from --zero to --plus
  const frame = chalk.pixelOf(chalk.color("--rule"));
  for (let unit = 0; unit < nUnits; unit++) {
    let largest = 1e-9;
    for (let at = unit; at < values.length; at += nUnits) largest = Math.max(largest, values[at]);
    const start = Math.floor(unit / columns) * (n + 2) * width + (unit % columns) * (n + 2);
    for (let row = 0; row < n + 2; row++) pixels.fill(frame, start + row * width, start + row * width + n + 2);
    const corner = start + width + 1;
    for (let at = 0; at < n * n; at++) {
      const part = values[at * nUnits + unit] / largest;
      pixels[corner + Math.floor(at / n) * width + (at % n)] = colors[Math.round(127 * part)];
    }
  }
  context.putImageData(image, 0, 0);
};

/** Return a name of a column that fits an axis. */
chalk.shortName = (name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name);
