/** Grids of images: one tile for each channel of a layer, or for each kernel of a filter. */

/** Return the grid of tiles of values of the shape (H, W, C): one tile for each channel. */
chalk.channelTiles = ([height, width, channels]) => ({
  count: channels,
  height,
  width,
  unitOf: (tile, y, x) => (y * width + x) * channels + tile,
  placeOf: (unit) => [unit % channels, Math.floor(unit / channels / width), Math.floor(unit / channels) % width],
});

/** Return the grid of tiles of kernels (O, R, S, C): one tile for each output and input channel. */
chalk.kernelTiles = ([filters, height, width, channels]) => ({
  count: filters * channels,
  height,
  width,
  unitOf: (tile, y, x) =>
    ((Math.floor(tile / channels) * height + y) * width + x) * channels + (tile % channels),
  placeOf: (unit) => [
    Math.floor(unit / channels / width / height) * channels + (unit % channels),
    Math.floor(unit / channels / width) % height,
    Math.floor(unit / channels) % width,
  ],
});

/** Return a grid of units: tiles for the shape of an image, else one cell after the other. */
chalk.gridOf = (shape, options) =>
  shape && shape.length === 3
    ? new chalk.TileGrid({ ...options, tiles: chalk.channelTiles(shape) })
    : new chalk.UnitGrid(options);

/**
 * A grid of units that are the pixels of tiles, with a gap between the tiles.
 *
 * @param {object} options those of `chalk.UnitGrid` without columns, and tiles {count, height, width, unitOf, placeOf};
 *   unitOf(tile, y, x) is the unit of a pixel, and placeOf the inverse.
 */
chalk.TileGrid = class extends chalk.UnitGrid {
  constructor({ tiles, ...options }) {
    const perRow = chalk.tilesPerRow(tiles);
    const rows = Math.ceil(tiles.count / perRow);
    super({
      ...options,
      count: tiles.count * tiles.height * tiles.width,
      columns: perRow * (tiles.width + 1) - 1,
      rows: rows * (tiles.height + 1) - 1,
    });
    Object.assign(this, { tiles, perRow });
    this.element.style.maxWidth = `${Math.min(26, Math.max(perRow * 4, tiles.width * perRow * 0.55, 6))}rem`;
  }

  unitOfCell(column, row) {
    const { tiles, perRow } = this;
    const [tileX, tileY] = [Math.floor(column / (tiles.width + 1)), Math.floor(row / (tiles.height + 1))];
    const [x, y] = [column - tileX * (tiles.width + 1), row - tileY * (tiles.height + 1)];
    const tile = tileY * perRow + tileX;
    return x < tiles.width && y < tiles.height && tile < tiles.count ? tiles.unitOf(tile, y, x) : null;
  }

  cellOfUnit(unit) {
    const { tiles, perRow } = this;
    const [tile, y, x] = tiles.placeOf(unit);
    return [
      (tile % perRow) * (tiles.width + 1) + x,
      Math.floor(tile / perRow) * (tiles.height + 1) + y,
    ];
  }
};

/** Return how many tiles are side by side: about as many as make a grid that is wider than high. */
chalk.tilesPerRow = ({ count, height, width }) =>
  Math.min(count, Math.max(1, Math.ceil(Math.sqrt((count * 1.6 * height) / width))));

/** Return the name of a channel: the colors of an image, else its number. */
chalk.channelName = (channel, isInput, channels) =>
  isInput && channels === 3 ? ["red", "green", "blue"][channel] : `channel ${channel}`;

/** Return the name of a position in an image (H, W, C), such as "row 3, column 5, channel 2". */
chalk.pixelName = ([, width, channels], at, isInput = false) => {
  const pixel = Math.floor(at / channels);
  const place = `row ${Math.floor(pixel / width)}, column ${pixel % width}`;
  return isInput && channels === 1 ? place : `${place}, ${chalk.channelName(at % channels, isInput, channels)}`;
};

/**
 * Return the shape (H, W, C) of the values that a layer reads if they are pixels or feature maps, else null.
 *
 * Behind flatten, rows still have the order of the maps up to the first layer that mixes them.
 */
chalk.mapShape = (app, layer) => {
  const { image_shape: shape } = app.model;
  let found = shape ? [shape[0], shape[1], shape[2] ?? 1] : null;
  for (const one of app.network.layers.slice(0, layer.position)) {
    if (one.input_shape.length === 3) found = one.input_shape;
    if (one.output_shape.length === 3) found = one.output_shape;
    else if (one.type !== "flatten" && (one.inputs !== one.outputs || chalk.mixes.has(one.type))) found = null;
  }
  return found;
};

/** Layers of rows whose outputs have no place in an image. */
chalk.mixes = new Set([
  ...["dense", "periodic_embedding", "piecewise_linear_embedding", "category_embedding"],
  "global_average_pool",
]);
