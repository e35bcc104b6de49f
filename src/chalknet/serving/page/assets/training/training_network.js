/**
 * A network of dense layers with relu between them, trained by the update rule of the write-up.
 *
 * h = x W^T + b, g = max(h, 0), o = g W^T + b, p = softmax(o)            (docs/derivation.md, A1, R1, S2)
 * dL/do = p - y, dL/dW = (dL/do)^T g, dL/dg = (dL/do) W, summed          (L4 without 1/B, A2, A3, A4, R2)
 * v <- m v + r dL/dW, W <- W - v, b <- b - r dL/db                       (U1, U2)
 *
 * A weight is stored transposed, as (inputs, outputs), so that products read it in order. Widths are padded to a
 * multiple of 8 with zeros, which stay zero. A batch is handled in tiles of rows, and gradients are added up.
 */

const TILE_ROWS = 128;

const padded = (n) => PANEL * Math.ceil(n / PANEL);

class TrainingNetwork {
  /** widths: inputs, hidden units of each layer, classes; such as [784, 100, 10]. */
  constructor(widths, allowWebAssembly = true) {
    this.widths = widths;
    const wide = widths.map(padded);
    const layerFloats = wide.slice(1).map((outputs, i) => 5 * wide[i] * outputs + 2 * outputs);
    const tileFloats = 2 * wide.reduce((sum, n) => sum + n) + Math.max(...wide);
    const total = layerFloats.reduce((sum, n) => sum + n) + TILE_ROWS * tileFloats;
    this.arena = createArena(total, allowWebAssembly);
    const { floats } = this.arena;
    this.layers = wide.slice(1).map((outputs, i) => ({
      inputs: wide[i],
      outputs,
      weight: floats(wide[i] * outputs),
      velocity: floats(wide[i] * outputs),
      gradWeight: floats(wide[i] * outputs),
      panels: floats(wide[i] * outputs),
      turnedPanels: floats(wide[i] * outputs), // of the transposed weight, for dL/dg
      bias: floats(outputs),
      gradBias: floats(outputs),
    }));
    this.values = wide.map((n) => floats(TILE_ROWS * n));
    this.gradients = wide.map((n) => floats(TILE_ROWS * n));
    this.gradientPanels = floats(TILE_ROWS * Math.max(...wide));
    this.followed = null; // { layer, unit, input }: the weight whose last update `trace` holds
    this.trace = null;
  }

  /** Draw weights and biases as the write-up does: normal, sd = sqrt(2 / (fan-in + fan-out))    (I1) */
  initialize(stream) {
    const drawn = this.layers.map((_, i) => {
      const [inputs, outputs] = [this.widths[i], this.widths[i + 1]];
      const deviation = Math.sqrt(2 / (inputs + outputs));
      const draw = (n) => Float32Array.from({ length: n }, () => deviation * stream.normal());
      return { weight: draw(outputs * inputs), bias: draw(outputs) };
    });
    this.setParameters(drawn);
  }

  /** Set weights (outputs, inputs) and biases (outputs,) of all layers, and all velocities to 0. */
  setParameters(parameters) {
    parameters.forEach(({ weight, bias }, l) => {
      const layer = this.layers[l];
      const [inputs, outputs] = [this.widths[l], this.widths[l + 1]];
      for (let j = 0; j < outputs; j++) {
        for (let i = 0; i < inputs; i++) layer.weight[i * layer.outputs + j] = weight[j * inputs + i];
      }
      layer.bias.set(bias);
      layer.velocity.fill(0);
    });
    this.trace = null;
    this.pack();
  }

  /** Return copies of the parameters in the form of `setParameters`. */
  parameters() {
    return this.layers.map((_, l) => ({ weight: this.weightOf(l), bias: this.biasOf(l) }));
  }

  weightOf(l) {
    const { weight, outputs: stride } = this.layers[l];
    const [inputs, outputs] = [this.widths[l], this.widths[l + 1]];
    const copy = new Float32Array(outputs * inputs);
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < outputs; j++) copy[j * inputs + i] = weight[i * stride + j];
    }
    return copy;
  }

  biasOf(l) {
    return this.layers[l].bias.slice(0, this.widths[l + 1]);
  }

  pack() {
    this.layers.forEach(({ weight, panels, turnedPanels, inputs, outputs }, l) => {
      packPanels(weight, outputs, 1, inputs, outputs / PANEL, panels);
      if (l > 0) packPanels(weight, 1, outputs, outputs, inputs / PANEL, turnedPanels);
    });
  }

  /** Make one update from the samples at some positions; return the summed loss and the correct count before it. */
  update(samples, positions, learningRate, momentum) {
    for (const layer of this.layers) {
      layer.gradWeight.fill(0);
      layer.gradBias.fill(0);
    }
    const scores = this.eachTile(samples, positions, (rows) => this.backward(rows));
    this.step(learningRate, momentum);
    this.pack();
    return scores;
  }

  /** Return the summed loss and the number of correct predictions of the samples at some positions. */
  evaluate(samples, positions) {
    return this.eachTile(samples, positions, () => {});
  }

  eachTile(samples, positions, then) {
    const scores = { loss: 0, correct: 0 };
    for (let start = 0; start < positions.length; start += TILE_ROWS) {
      const tile = positions.subarray(start, start + TILE_ROWS);
      this.load(samples, tile);
      const rows = ROW_BLOCK * Math.ceil(tile.length / ROW_BLOCK);
      this.forward(rows);
      this.score(samples.labels, tile, scores);
      then(rows);
    }
    return scores;
  }

  /** Copy the inputs of a tile; rows up to the next multiple of 4 are zeros. */
  load({ inputs }, tile) {
    const [n, stride, values] = [this.widths[0], this.layers[0].inputs, this.values[0]];
    for (let row = 0; row < tile.length; row++) {
      const from = n * tile[row];
      if (n > 16) values.set(inputs.subarray(from, from + n), row * stride);
      else for (let i = 0; i < n; i++) values[row * stride + i] = inputs[from + i];
    }
    values.fill(0, tile.length * stride, ROW_BLOCK * Math.ceil(tile.length / ROW_BLOCK) * stride);
  }

  forward(rows) {
    this.layers.forEach(({ inputs, outputs, panels, bias }, l) => {
      const [x, h] = [this.values[l], this.values[l + 1]];
      for (let row = 0; row < rows; row++) h.set(bias, row * outputs);
      this.arena.product(x, inputs, 1, panels, h, outputs, rows, outputs / PANEL, inputs);
      if (l + 1 === this.layers.length) return;
      for (let i = 0; i < rows * outputs; i++) if (!(h[i] > 0)) h[i] = h[i] < 0 ? 0 : h[i]; // NaN stays NaN
    });
  }

  /** Add the loss and the correct count of a tile, and write dL/do = p - y. */
  score(labels, tile, scores) {
    const nClasses = this.widths.at(-1);
    const stride = this.layers.at(-1).outputs;
    const [logits, gradient] = [this.values.at(-1), this.gradients.at(-1)];
    gradient.fill(0);
    for (let row = 0; row < tile.length; row++) {
      const at = row * stride;
      const label = labels[tile[row]];
      let best = 0;
      for (let k = 1; k < nClasses; k++) if (logits[at + k] > logits[at + best]) best = k;
      let sum = 0;
      for (let k = 0; k < nClasses; k++) sum += Math.exp(logits[at + k] - logits[at + best]);
      scores.loss += Math.log(sum) - (logits[at + label] - logits[at + best]);
      scores.correct += best === label;
      for (let k = 0; k < nClasses; k++) gradient[at + k] = Math.exp(logits[at + k] - logits[at + best]) / sum;
      gradient[at + label] -= 1;
    }
  }

  /** Add the gradients of a tile, from the last layer to the first. */
  backward(rows) {
    for (let l = this.layers.length - 1; l >= 0; l--) {
      const { inputs, outputs, gradWeight, gradBias, turnedPanels } = this.layers[l];
      const [x, gradH] = [this.values[l], this.gradients[l + 1]];
      for (let row = 0; row < rows; row++) {
        for (let j = 0; j < outputs; j++) gradBias[j] += gradH[row * outputs + j];
      }
      packPanels(gradH, outputs, 1, rows, outputs / PANEL, this.gradientPanels);
      this.arena.product(x, 1, inputs, this.gradientPanels, gradWeight, outputs, inputs, outputs / PANEL, rows);
      if (l === 0) continue;
      const gradG = this.gradients[l].fill(0, 0, rows * inputs);
      this.arena.product(gradH, outputs, 1, turnedPanels, gradG, inputs, rows, inputs / PANEL, outputs);
      for (let i = 0; i < rows * inputs; i++) if (!(x[i] > 0)) gradG[i] = 0;
    }
  }

  step(learningRate, momentum) {
    const before = this.followedNumbers();
    for (const { weight, velocity, gradWeight, bias, gradBias } of this.layers) {
      for (let i = 0; i < weight.length; i++) {
        const v = momentum * velocity[i] + learningRate * gradWeight[i];
        velocity[i] = v;
        weight[i] -= v;
      }
      for (let j = 0; j < bias.length; j++) bias[j] -= learningRate * gradBias[j];
    }
    this.trace = before && { before, after: this.followedNumbers(), learningRate, momentum };
  }

  /** Return the numbers of the followed weight and of the bias of its unit. */
  followedNumbers() {
    if (!this.followed) return null;
    const layer = this.layers[this.followed.layer];
    const at = this.followed.input * layer.outputs + this.followed.unit;
    return {
      weight: layer.weight[at],
      velocity: layer.velocity[at],
      gradient: layer.gradWeight[at],
      bias: layer.bias[this.followed.unit],
      biasGradient: layer.gradBias[this.followed.unit],
    };
  }

  /** Return the values of some layers for points, as unpadded arrays (points, units); layer 1 is the first hidden one. */
  valuesOf(layers, inputs, nPoints) {
    const results = layers.map((l) => new Float32Array(nPoints * this.widths[l]));
    const order = Int32Array.from({ length: nPoints }, (_, i) => i);
    for (let start = 0; start < nPoints; start += TILE_ROWS) {
      const tile = order.subarray(start, start + TILE_ROWS);
      this.load({ inputs }, tile);
      this.forward(ROW_BLOCK * Math.ceil(tile.length / ROW_BLOCK));
      layers.forEach((l, at) => {
        const [n, stride] = [this.widths[l], this.layers[l - 1].outputs];
        for (let row = 0; row < tile.length; row++) {
          for (let j = 0; j < n; j++) results[at][(start + row) * n + j] = this.values[l][row * stride + j];
        }
      });
    }
    return results;
  }

  /** Return the values of all hidden layers for points. */
  hidden(inputs, nPoints) {
    return this.valuesOf(this.widths.slice(1, -1).map((_, at) => at + 1), inputs, nPoints);
  }

  /** Return the class probabilities of points, an array (points, classes). */
  probabilities(inputs, nPoints) {
    const [logits] = this.valuesOf([this.layers.length], inputs, nPoints);
    softmaxRows(logits, this.widths.at(-1));
    return logits;
  }
}

/** Replace each row of K logits by its softmax                                               (docs/derivation.md, S2) */
function softmaxRows(logits, nClasses) {
  for (let at = 0; at < logits.length; at += nClasses) {
    let [largest, sum] = [-Infinity, 0];
    for (let k = 0; k < nClasses; k++) largest = Math.max(largest, logits[at + k]);
    for (let k = 0; k < nClasses; k++) sum += logits[at + k] = Math.exp(logits[at + k] - largest);
    for (let k = 0; k < nClasses; k++) logits[at + k] /= sum;
  }
}
