/**
 * Strokes of a pen, and the image that the network gets of them.
 *
 * A stroke is {width, points}; points is a list of [x, y]. The longer side of the canvas has 256
 * units, and coordinates are whole numbers from 0 to 255.
 */
chalk.CANVAS_UNITS = 256;

/** Return strokes as text for an address: width, number of points in two bytes, and the points. */
chalk.strokesText = (strokes) =>
  chalk.address.text(
    Uint8Array.from(
      strokes.flatMap(({ width, points }) => [
        width,
        points.length >> 8,
        points.length & 255,
        ...points.flat(),
      ]),
    ),
  );

/** Return the strokes of such a text. */
chalk.strokesOfText = (text) => {
  const bytes = chalk.address.bytes(text);
  const strokes = [];
  for (let at = 0; at + 3 <= bytes.length;) {
    const n = (bytes[at + 1] << 8) | bytes[at + 2];
    const points = Array.from({ length: n }, (_, k) => [
      bytes[at + 3 + 2 * k] ?? 0,
      bytes[at + 4 + 2 * k] ?? 0,
    ]);
    strokes.push({ width: bytes[at], points });
    at += 3 + 2 * n;
  }
  return strokes;
};

/**
 * Return where strokes go in the image, so that the drawing has the margins of the training images.
 *
 * If the content of the training images fills both sides, the drawing is stretched to do so too.
 * Otherwise both axes have the same scale. A pen that would be thinner than a narrow stroke of the
 * training images becomes as wide as that.
 *
 * @returns {{x, y}} for each axis {from, scale, offset, pen}: position = offset + (value - from)
 *   scale, and pen(width), the width of a stroke in pixels.
 */
chalk.placement = (strokes, [height, width], facts) => {
  const points = strokes.flatMap((stroke) => stroke.points);
  const widest = Math.max(...strokes.map((stroke) => stroke.width));
  const narrow = facts.stroke * Math.min(height, width);
  const axis = (index, size, fill) => {
    const values = points.map((point) => point[index]);
    const from = Math.min(...values);
    return { from, span: Math.max(...values) - from, size, room: fill * size };
  };
  const axes = { x: axis(0, width, facts.width), y: axis(1, height, facts.height) };
  const common = Math.min(...Object.values(axes).map((one) => one.room / (one.span + widest)));
  for (const one of Object.values(axes)) {
    const scale = facts.stretch ? one.room / (one.span + widest) : common;
    one.pen = (penWidth) => Math.min(Math.max(penWidth * scale, narrow), one.room);
    one.extent = scale * (one.span + widest);
    one.scale = one.span ? Math.max(one.extent - one.pen(widest), 0) / one.span : 0;
  }
  if (!facts.stretch) {
    const scales = Object.values(axes)
      .filter((one) => one.span)
      .map((one) => one.scale);
    for (const one of Object.values(axes)) one.scale = scales.length ? Math.min(...scales) : 0;
  }
  for (const one of Object.values(axes)) one.offset = (one.size - one.span * one.scale) / 2;
  return axes;
};

/**
 * Return how much of each pixel is covered with ink, from 0 to 1.
 *
 * @param strokes
 * @param {number[]} shape [height, width].
 * @param placement see `chalk.placement`.
 */
chalk.coverage = (strokes, [height, width], { x, y }) => {
  const fine = height * width > 10_000 ? 2 : 4; // samples of a pixel along each side
  const ink = new Uint8Array(height * width * fine * fine);
  for (const stroke of strokes) {
    const [rx, ry] = [(x.pen(stroke.width) / 2) * fine, (y.pen(stroke.width) / 2) * fine];
    const at = ([px, py]) => [
      (x.offset + (px - x.from) * x.scale) * fine,
      (y.offset + (py - y.from) * y.scale) * fine,
    ];
    stroke.points.forEach((point, k) => {
      chalk.inkSegment(
        ink,
        width * fine,
        height * fine,
        at(stroke.points[Math.max(k - 1, 0)]),
        at(point),
        rx,
        ry,
      );
    });
  }
  const found = new Float64Array(height * width);
  for (let row = 0; row < height * fine; row++) {
    for (let column = 0; column < width * fine; column++) {
      const pixel = Math.floor(row / fine) * width + Math.floor(column / fine);
      found[pixel] += ink[row * width * fine + column] / (fine * fine);
    }
  }
  return found;
};

/** Set the samples to 1 that a pen with the half-axes rx and ry covers on the way from a to b. */
chalk.inkSegment = (ink, width, height, a, b, rx, ry) => {
  const first = (low, radius) => Math.max(0, Math.floor(low - radius));
  const last = (high, radius, size) => Math.min(size - 1, Math.ceil(high + radius));
  // In these units the pen is a circle of radius 1.
  const [ax, ay, bx, by] = [a[0] / rx, a[1] / ry, b[0] / rx, b[1] / ry];
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy || 1;
  for (let row = first(Math.min(a[1], b[1]), ry); row <= last(Math.max(a[1], b[1]), ry, height); row++) {
    for (
      let column = first(Math.min(a[0], b[0]), rx);
      column <= last(Math.max(a[0], b[0]), rx, width);
      column++
    ) {
      const [px, py] = [(column + 0.5) / rx - ax, (row + 0.5) / ry - ay];
      const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= 1) ink[row * width + column] = 1;
    }
  }
};

/**
 * Return the raw values (H * W) of the image of strokes, with the margins, the center and the colors
 * of the training images.
 */
chalk.rasterized = (strokes, shape, facts) => {
  const drawn = strokes.filter((stroke) => stroke.points.length);
  const range = facts.ink - facts.background;
  if (!drawn.length) return new Float64Array(shape[0] * shape[1]).fill(facts.background);
  const place = chalk.placement(drawn, shape, facts);
  let covered = chalk.coverage(drawn, shape, place);
  if (facts.center === "mass" && !facts.stretch) {
    const total = covered.reduce((sum, one) => sum + one, 0) || 1;
    const mean = (of) => covered.reduce((sum, one, at) => sum + one * of(at), 0) / total;
    place.x.offset += shape[1] / 2 - mean((at) => (at % shape[1]) + 0.5);
    place.y.offset += shape[0] / 2 - mean((at) => Math.floor(at / shape[1]) + 0.5);
    covered = chalk.coverage(drawn, shape, place);
  }
  const isWhole = Math.abs(range) > 16; // pixels of 0 to 255, which are whole numbers
  return covered.map((one) =>
    isWhole ? Math.round(facts.background + one * range) : facts.background + one * range,
  );
};

/** Return the sample of a drawing. */
chalk.drawnSample = (app, strokes) => {
  const [height, width, channels = 1] = app.model.image_shape;
  const gray = chalk.rasterized(strokes, [height, width], chalk.data.drawing);
  // Of color images, all channels of a drawing are equal.
  const raw = Float64Array.from({ length: gray.length * channels }, (_, at) => gray[Math.floor(at / channels)]);
  return { kind: "drawing", strokes, raw };
};
