/** Canvases in the colors of the page, sharp on every screen. */

/** Return a color between two; `part` is 0 for the first and 1 for the second. */
chalk.mixedColor = (from, to, part) => from.map((value, at) => value + part * (to[at] - value));

/** Return a color as text for a canvas. */
chalk.colorText = ([red, green, blue], alpha = 1) => `rgba(${red}, ${green}, ${blue}, ${alpha})`;

/** Return an opaque color as a number of a Uint32Array over the data of an ImageData. */
chalk.pixelOf = ([red, green, blue]) => (255 << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red);

/** Return the size of texts on canvases in CSS pixels. It grows with the texts of the page. */
chalk.canvasTextSize = () => 0.75 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);

/** Call a function when the browser switches between light and dark. */
chalk.onColorScheme = (action) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", action);

/**
 * Give a canvas as many pixels as the screen has in its place, and return what is needed to draw.
 *
 * @returns {?{context, width, height}} sizes in CSS pixels, or null if the canvas is not visible.
 */
chalk.preparedCanvas = (canvas) => {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (width === 0 || height === 0) return null;
  const ratio = window.devicePixelRatio || 1;
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
};

/** Return round numbers from low to high, about `count` of them, for an axis. */
chalk.axisTicks = (low, high, count) => {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => one * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(10)));
};

/** Return a short number for an axis: 0.05, 120, 2e6. */
chalk.axisNumber = (value) => {
  const text = Math.abs(value) >= 1e5 ? value.toExponential().replace("+", "") : String(value);
  return text.replace("-", "−");
};
