/** Images from files: read by the browser, stretched to the size of the model's images, and sent nowhere. */
chalk.IMAGE_SIDE = 4_096; // pixels; a longer side is reduced by the browser first

/**
 * Return the mean of each cell of a grid over an image.
 *
 * @param pixels (height * width * 4) red, green, blue and opacity, 0 to 255.
 * @param {number[]} from [height, width] of the image.
 * @param {number[]} to [height, width] of the grid.
 * @returns {Float64Array} (height * width * 3) of the grid, 0 to 255, on white.
 */
chalk.stretched = (pixels, from, to) => {
  const parts = [0, 1].map((axis) =>
    Array.from({ length: to[axis] }, (_, k) => chalk.coveredBy(k, from[axis], to[axis])),
  );
  const found = new Float64Array(to[0] * to[1] * 3);
  parts[0].forEach((rows, y) =>
    parts[1].forEach((columns, x) => {
      for (const [row, high] of rows)
        for (const [column, wide] of columns) {
          const at = 4 * (row * from[1] + column);
          const opacity = pixels[at + 3] / 255;
          for (let k = 0; k < 3; k++)
            found[3 * (y * to[1] + x) + k] += high * wide * (opacity * pixels[at + k] + 255 * (1 - opacity));
        }
    }),
  );
  return found;
};

/** Return [pixel, part of the cell] for the pixels of one axis that cell k of n covers; the parts add up to 1. */
chalk.coveredBy = (k, size, n) => {
  const [low, high] = [(k * size) / n, ((k + 1) * size) / n];
  const first = Math.floor(low);
  const last = Math.max(Math.ceil(high), first + 1);
  return Array.from({ length: last - first }, (_, i) => {
    const part = Math.min(high, first + i + 1) - Math.max(low, first + i);
    return [Math.min(first + i, size - 1), part / (high - low)];
  }).filter(([, part]) => part > 1e-9);
};

/** Return raw values of the model from colors (height * width * 3) of 0 to 255. */
chalk.rawOfColors = (colors, channels, facts) => {
  const [low, high] = [Math.min(facts.background, facts.ink), Math.max(facts.background, facts.ink)];
  const isWhole = high - low > 16; // pixels of 0 to 255, which are whole numbers
  return Float64Array.from({ length: (colors.length / 3) * channels }, (_, at) => {
    const pixel = 3 * Math.floor(at / channels);
    const value =
      channels === 3
        ? colors[pixel + (at % 3)]
        : 0.299 * colors[pixel] + 0.587 * colors[pixel + 1] + 0.114 * colors[pixel + 2];
    const raw = low + (value / 255) * (high - low);
    return isWhole ? Math.round(raw) : raw;
  });
};

/** Return the sample of an image file; an error if the browser cannot read it. */
chalk.openedSample = async (app, file) => {
  const [height, width, channels = 1] = app.model.image_shape;
  const image = await createImageBitmap(file);
  const scale = Math.min(1, chalk.IMAGE_SIDE / Math.max(image.width, image.height));
  const size = [image.height, image.width].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = chalk.element("canvas", { width: size[1], height: size[0] });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, size[1], size[0]);
  image.close();
  const { data } = context.getImageData(0, 0, size[1], size[0]);
  const colors = chalk.stretched(data, size, [height, width]);
  return { kind: "raw", raw: chalk.rawOfColors(colors, channels, chalk.data.drawing) };
};

/** Return the box that opens an image, by a button or by dropping a file on it. */
chalk.imageBox = (app) => {
  const [height, width, channels = 1] = app.model.image_shape;
  const said = chalk.element("p", { class: "soft small", role: "status" });
  let newest = 0;
  const open = async (file) => {
    if (!file) return;
    const mine = ++newest;
    try {
      const sample = await chalk.openedSample(app, file);
      if (mine !== newest) return; // another file has been opened since
      said.textContent = `Shown: ${file.name}.`;
      app.setSample(sample);
    } catch {
      if (mine !== newest) return;
      said.textContent = `${file.name} is no image that this browser can read. Open a PNG or JPEG file.`;
    }
  };
  const input = chalk.element("input", {
    type: "file",
    accept: "image/*",
    class: "visually-hidden",
    tabindex: "-1",
    "aria-hidden": "true",
    onchange: () => {
      open(input.files[0]);
      input.value = "";
    },
  });
  const box = chalk.box(
    "Open an image",
    chalk.element("div", { class: "row" }, chalk.button("Open an image …", () => input.click()), input),
    chalk.element(
      "p",
      { class: "soft small" },
      `Choose a file, or drop one here. It is stretched to ${height} × ${width} pixels` +
        `${channels === 3 ? "" : " and made gray"}. It stays on this computer.`,
    ),
    said,
  );
  const mark = (isOver) => box.classList.toggle("drop", isOver);
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  box.addEventListener("dragleave", () => mark(false));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    open(event.dataTransfer.files[0]);
  });
  return box;
};
