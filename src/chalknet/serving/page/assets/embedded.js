/** Reading of what the builder embedded in the page: JSON, and arrays as gzip in base 85. */

/** The content of the page's JSON; see `page_html` in page.py. */
chalk.data = JSON.parse(document.getElementById("chalk-description").textContent);

/**
 * Return the bytes of a text in base 85: five characters for four bytes.
 *
 * The alphabet is that of Python's base64.b85encode, with a comma instead of "<".
 */
chalk.base85 = (text) => {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const values = new Uint8Array(128);
  [...alphabet].forEach((character, value) => (values[character.charCodeAt(0)] = value));
  const found = new Uint8Array(4 * Math.ceil(text.length / 5));
  for (let at = 0, to = 0; at < text.length; at += 5, to += 4) {
    let value = 0;
    for (let k = at; k < at + 5; k++)
      value = value * 85 + (k < text.length ? values[text.charCodeAt(k)] : 84);
    for (let k = 0; k < 4; k++) found[to + k] = Math.floor(value / 2 ** (24 - 8 * k)) & 255;
  }
  return found.subarray(0, Math.floor((text.length * 4) / 5));
};

/**
 * Return the bytes of an embedded block, or null if it is empty.
 *
 * @param {string} id id of the element.
 * @returns {Promise<?ArrayBuffer>}
 */
chalk.unpacked = async (id) => {
  const element = document.getElementById(id);
  const text = element.textContent;
  element.textContent = ""; // the text is not needed any more, and takes memory
  if (!text) return null;
  const stream = new Blob([chalk.base85(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};

/** Return the number with these 16 bits (IEEE 754 half precision). */
chalk.half = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};

/**
 * Return an embedded array as float64.
 *
 * @param {ArrayBuffer} buffer the block.
 * @param {object} places the place of each array by name.
 * @param {string} name
 */
chalk.readArray = (buffer, places, name) => {
  const { at, bytes, dtype, shape, scale } = places[name];
  const part = buffer.slice(at, at + bytes);
  if (dtype === "float32") return Float64Array.from(new Float32Array(part));
  if (dtype === "float64") return new Float64Array(part);
  if (dtype === "float16") {
    const all = new Uint8Array(part); // low bytes, then high bytes
    const n = all.length / 2;
    return Float64Array.from({ length: n }, (_, k) => chalk.half(all[k] | (all[n + k] << 8)) * scale);
  }
  const factors = chalk.readArray(buffer, places, scale);
  const perRow = shape.slice(1).reduce((a, b) => a * b, 1);
  return Float64Array.from(new Int8Array(part), (one, k) => one * factors[Math.floor(k / perRow)]);
};

/** Return the networks of the page, one for each member of an ensemble. */
chalk.readNetworks = async () => {
  const { model } = chalk.data;
  const buffer = await chalk.unpacked("chalk-weights");
  const names = model.layers.flatMap((layer) => Object.values(layer.names));
  const scaling = { ...model.scaling };
  for (const key of Object.keys(scaling)) {
    if (typeof scaling[key] === "string") scaling[key] = chalk.readArray(buffer, model.arrays, scaling[key]);
  }
  const networks = Array.from({ length: model.members }, (_, m) => ({
    layers: model.layers,
    multipliers: model.multipliers,
    parameters: Object.fromEntries(
      names.map((name) => [name, chalk.readArray(buffer, model.arrays, `member${m + 1}/${name}`)]),
    ),
  }));
  return { networks, scaling };
};

/**
 * Return the embedded samples, or null.
 *
 * @returns {Promise<?{count, inputs, labels, n_train, n_held_out, held_out, row}>} the first n_train
 *   samples were trained on, n_held_out follow that were not, and the rest are mistakes of the
 *   model. inputs is one array (count * n_inputs) of raw values, row(k) a Float64Array of sample k.
 */
chalk.readSamples = async () => {
  const buffer = await chalk.unpacked("chalk-samples");
  const facts = chalk.data.samples;
  if (!buffer || !facts) return null;
  const labels = new Uint16Array(buffer.slice(0, 2 * facts.count));
  const rest = buffer.slice(2 * facts.count);
  const types = { uint8: Uint8Array, float32: Float32Array, float64: Float64Array };
  const inputs = new types[facts.dtype](rest);
  const row = (k) => Float64Array.from(inputs.subarray(k * facts.n_inputs, (k + 1) * facts.n_inputs));
  return { ...facts, labels, inputs, row };
};
