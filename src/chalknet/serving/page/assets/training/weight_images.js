/**
 * The weights of all hidden units of the first layer, one image for each unit.
 *
 * A pixel has the color of its weight, from --minus over --zero to --plus; the strongest color is
 * the largest absolute weight of all units. `onchoose(unit, input)` is called when a pixel is chosen.
 */
chalk.WeightImages = class {
  constructor(onchoose) {
    this.canvas = chalk.element("canvas", { class: "weights", role: "img" });
    this.scale = chalk.element("p", { class: "soft" });
    this.unitMark = chalk.element("span", { class: "weights-mark" });
    this.inputMark = chalk.element("span", { class: "weights-mark" });
    this.holder = chalk.element("div", { class: "weights-holder" }, this.canvas, this.unitMark, this.inputMark);
    this.element = chalk.element("div", {}, this.holder, this.scale);
    this.onchoose = onchoose;
    this.canvas.addEventListener("pointerdown", (event) => this.choose(event));
  }

  /**
   * Draw the images.
   *
   * @param {Float32Array} weight (F, I).
   * @param {?Float32Array} initial (F, I) weights to subtract, or null.
   * @param {[number, number]} shape height and width of an image, or 1 and I for rows of numbers.
   * @param {{unit: number, input: number}} followed gets a frame.
   */
  draw(weight, initial, [height, width], followed) {
    const drawn = initial ? weight.map((one, at) => one - initial[at]) : weight;
    const nUnits = weight.length / (height * width);
    const available = this.element.clientWidth;
    if (!available) return;
    const columns = this.columnsFor(nUnits, available, width);
    const rows = Math.ceil(nUnits / columns);
    this.layout = { columns, height, width, nUnits };
    const largest = drawn.reduce((most, one) => Math.max(most, Math.abs(one)), 0) || 1;
    const [fullWidth, fullHeight] = [columns * (width + 2), rows * (height + 2)];
    if (this.canvas.width !== fullWidth) this.canvas.width = fullWidth;
    if (this.canvas.height !== fullHeight) this.canvas.height = fullHeight;
    this.holder.style.maxWidth = `${columns * 160}px`;
    const context = this.canvas.getContext("2d");
    if (this.image?.width !== fullWidth || this.image.height !== fullHeight) {
      this.image = context.createImageData(fullWidth, fullHeight);
    }
    const pixels = new Uint32Array(this.image.data.buffer).fill(0);
    this.paint(pixels, drawn, largest, fullWidth);
    context.putImageData(this.image, 0, 0);
    this.mark(followed);
    const range = `${chalk.number(-largest, 2)} to ${chalk.number(largest, 2)}`;
    this.scale.textContent = drawn.some((one) => one !== 0)
      ? `Colors: ${range}, the largest ${initial ? "change of a weight" : "weight"} of all units.`
      : "No weight has changed yet.";
    this.canvas.setAttribute("aria-label", `The weights of ${nUnits} hidden units as images`);
  }

  /** Return how many images are side by side: they are about 56 CSS pixels wide, and 40 in narrow windows. */
  columnsFor(nUnits, available, width) {
    const wanted = Math.max(available < 500 ? 40 : 56, width / 2);
    return Math.max(1, Math.min(nUnits, Math.floor(available / wanted)));
  }

  paint(pixels, weight, largest, fullWidth) {
    const { columns, height, width, nUnits } = this.layout;
    const colors = chalk.divergingColors();
    const factor = 127 / largest;
    for (let unit = 0, from = 0; unit < nUnits; unit++) {
      const left = (unit % columns) * (width + 2) + 1;
      const top = Math.floor(unit / columns) * (height + 2) + 1;
      for (let row = 0; row < height; row++) {
        let to = (top + row) * fullWidth + left;
        for (let column = 0; column < width; column++) pixels[to++] = colors[(weight[from++] * factor + 127.5) | 0];
      }
    }
  }

  /** Put marks around the unit and the pixel that are followed. */
  mark({ unit, input }) {
    const { columns, height, width } = this.layout;
    const left = (unit % columns) * (width + 2);
    const top = Math.floor(unit / columns) * (height + 2);
    const place = (mark, x, y, wide, high) => {
      mark.style.left = `${(100 * x) / this.canvas.width}%`;
      mark.style.top = `${(100 * y) / this.canvas.height}%`;
      mark.style.width = `${(100 * wide) / this.canvas.width}%`;
      mark.style.height = `${(100 * high) / this.canvas.height}%`;
    };
    place(this.unitMark, left + 0.5, top + 0.5, width + 1, height + 1);
    place(this.inputMark, left + 1 + (input % width), top + 1 + Math.floor(input / width), 1, 1);
  }

  choose(event) {
    if (!this.layout) return;
    const { columns, height, width, nUnits } = this.layout;
    const box = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    const unit = Math.floor(y / (height + 2)) * columns + Math.floor(x / (width + 2));
    const within = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value) - 1));
    if (unit < nUnits) this.onchoose(unit, within(y % (height + 2), height) * width + within(x % (width + 2), width));
  }
};

/** Return 255 pixels of a canvas for values from -1 to 1. */
chalk.divergingColors = () => {
  const [minus, zero, plus] = ["--minus", "--zero", "--plus"].map(chalk.color);
  return Uint32Array.from({ length: 256 }, (_, at) => {
    const value = Math.min(1, (at - 127) / 127);
    return chalk.pixelOf(chalk.mixedColor(zero, value < 0 ? minus : plus, Math.sqrt(Math.abs(value))));
  });
};
