/** A training of the page: batches, epochs, the record of each epoch, and what a view of it needs. */

class TrainingSession {
  /**
   * samples: { inputs (N, I) Float32Array, labels (N,), train and valid Int32Arrays of positions, nInputs, nClasses }.
   * settings: { hidden, learningRate, momentum, batchSize, seed }; a batchSize of 0 is the full batch.
   */
  constructor(samples, settings, allowWebAssembly = true) {
    this.samples = samples;
    this.settings = settings;
    this.network = new TrainingNetwork([samples.nInputs, ...settings.hidden, samples.nClasses], allowWebAssembly);
    this.stream = new RandomStream(settings.seed);
    this.network.initialize(this.stream);
    this.history = { trainLoss: [], trainAccuracy: [], validLoss: [], validAccuracy: [] };
    this.initial = this.means(samples.valid);
    this.updates = 0;
    this.diverged = false;
    this.bestEpoch = 0; // of the lowest validation loss; epochs count from 1
    this.beginEpoch();
  }

  get epoch() {
    return this.history.trainLoss.length;
  }

  get batchSize() {
    return Math.min(this.settings.batchSize || Infinity, this.samples.train.length);
  }

  get updatesPerEpoch() {
    return Math.ceil(this.samples.train.length / this.batchSize);
  }

  /** Mini-batches are cut from a new random order in each epoch. The full batch keeps the order of the file. */
  beginEpoch() {
    const { train } = this.samples;
    this.order = this.batchSize === train.length ? train : this.stream.permutation(train.length).map((i) => train[i]);
    this.next = 0;
    this.sums = { loss: 0, correct: 0 };
  }

  /**
   * Make one update. After the last batch of an epoch, score the validation samples and record the epoch.
   *
   * Training scores are those of each batch before its update, as in the write-up.
   */
  update() {
    if (this.diverged) return;
    const batch = this.order.subarray(this.next, this.next + this.batchSize);
    const { loss, correct } = this.network.update(
      this.samples, batch, this.settings.learningRate, this.settings.momentum);
    this.sums.loss += loss;
    this.sums.correct += correct;
    this.updates += 1;
    this.next += batch.length;
    if (!Number.isFinite(loss)) this.diverged = true;
    else if (this.next >= this.order.length) this.finishEpoch();
  }

  finishEpoch() {
    const valid = this.means(this.samples.valid);
    if (!Number.isFinite(valid.loss)) {
      this.diverged = true;
      return;
    }
    const { history, order, sums } = this;
    history.trainLoss.push(sums.loss / order.length);
    history.trainAccuracy.push(sums.correct / order.length);
    history.validLoss.push(valid.loss);
    history.validAccuracy.push(valid.accuracy);
    if (!this.bestEpoch || valid.loss < history.validLoss[this.bestEpoch - 1]) this.bestEpoch = this.epoch;
    this.beginEpoch();
  }

  means(positions) {
    const { loss, correct } = this.network.evaluate(this.samples, positions);
    return { loss: loss / positions.length, accuracy: correct / positions.length };
  }

  /**
   * Return what a view shows. `since` epochs are known to it. view: { weights: send all parameters,
   * grid and map: null or { inputs, n }, points to send class probabilities and hidden values of,
   * followed: the weight to follow }.
   */
  snapshot(since, view) {
    const { network, history } = this;
    const recent = Object.fromEntries(Object.entries(history).map(([name, values]) => [name, values.slice(since)]));
    network.followed = view.followed ?? null;
    return {
      since,
      recent,
      epoch: this.epoch,
      updates: this.updates,
      batchesDone: Math.ceil(this.next / this.batchSize),
      updatesPerEpoch: this.updatesPerEpoch,
      bestEpoch: this.bestEpoch,
      diverged: this.diverged,
      initial: this.initial,
      kind: network.arena.kind,
      trace: network.trace,
      parameters: view.weights ? network.parameters() : null,
      probabilities: view.grid ? network.probabilities(view.grid.inputs, view.grid.n) : null,
      hidden: view.map ? network.hidden(view.map.inputs, view.map.n) : null,
    };
  }
}

/** Return the buffers in a snapshot, which are handed over to the page and not copied. */
function snapshotBuffers({ parameters, probabilities, hidden }) {
  const arrays = (parameters ?? []).flatMap(({ weight, bias }) => [weight, bias]);
  return [...arrays, ...(hidden ?? []), ...(probabilities ? [probabilities] : [])].map((array) => array.buffer);
}
