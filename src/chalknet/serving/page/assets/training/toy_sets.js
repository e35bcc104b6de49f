/**
 * Made sets of points in the plane. The same seed gives the same points.
 *
 * Each set is {title, classes: [fewest, most], point(stream, label, n, noise)}; n is the number of
 * classes. A point is placed at random in its class, and `noise` is the standard deviation of a
 * normal number that is added to each coordinate.
 */
chalk.toySets = {
  moons: {
    title: "two moons",
    classes: [2, 2],
    point(stream, label) {
      const angle = Math.PI * stream.uniform();
      return label === 0 ? [Math.cos(angle), Math.sin(angle)] : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
    },
  },
  circles: {
    title: "circles",
    classes: [2, 5],
    point(stream, label, n) {
      const angle = 2 * Math.PI * stream.uniform();
      const radius = (label + 0.5) / n;
      return [2 * radius * Math.cos(angle), 2 * radius * Math.sin(angle)];
    },
  },
  spirals: {
    title: "spirals",
    classes: [2, 5],
    point(stream, label, n) {
      const along = Math.sqrt(stream.uniform());
      const angle = 2 * Math.PI * (label / n + 0.9 * along);
      return [1.6 * along * Math.cos(angle), 1.6 * along * Math.sin(angle)];
    },
  },
  blobs: {
    title: "blobs",
    classes: [2, 10],
    point(stream, label, n) {
      const angle = (2 * Math.PI * label) / n;
      return [1.5 * Math.cos(angle) + 0.2 * stream.normal(), 1.5 * Math.sin(angle) + 0.2 * stream.normal()];
    },
  },
  xor: {
    title: "xor",
    classes: [2, 2],
    point(stream, label) {
      const [x, y] = [stream.uniform() + 0.05, stream.uniform() + 0.05];
      const sign = stream.uniform() < 0.5 ? 1 : -1;
      return [sign * x, label === 0 ? sign * y : -sign * y];
    },
  },
};

/**
 * Return a made set of points.
 *
 * @param {string} name of the set.
 * @param {{samples: number, noise: number, classes: number, dataSeed: number}} settings
 * @returns {object} as `chalk.planeFromCsv` returns it.
 */
chalk.toyPlane = (name, { samples, noise, classes, dataSeed }) => {
  const set = chalk.toySets[name];
  const stream = new chalk.training.RandomStream(dataSeed);
  const n = Math.min(set.classes[1], Math.max(set.classes[0], classes));
  const points = new Float64Array(2 * samples);
  const labels = Int32Array.from({ length: samples }, (_, k) => k % n);
  labels.forEach((label, k) => {
    const [x, y] = set.point(stream, label, n);
    points.set([x + noise * stream.normal(), y + noise * stream.normal()], 2 * k);
  });
  const classNames = Array.from({ length: n }, (_, label) => "ABCDEFGHIJ"[label]);
  return { points, labels, classNames, inputNames: ["x1", "x2"], labelName: "class", notes: [] };
};

/**
 * Return the samples of a training from points: scaled, and split into training and validation.
 *
 * A random 70 % of the points are for training. Both inputs are shifted and scaled to mean 0 and
 * standard deviation 1 over the training points (docs/derivation.md, X3).
 */
chalk.planeSamples = ({ points, labels, classNames }, seed) => {
  const order = new chalk.training.RandomStream(seed).permutation(labels.length);
  const nTrain = Math.round(0.7 * labels.length);
  const [train, valid] = [order.slice(0, nTrain), order.slice(nTrain)];
  const { shift, scale } = chalk.standardScaling(points, 2, train);
  const inputs = Float32Array.from(points, (value, at) => (value - shift[at % 2]) / scale[at % 2]);
  return { inputs, labels, train, valid, nInputs: 2, nClasses: classNames.length, shift, scale };
};

/**
 * Return mean and standard deviation of each input over some samples (docs/derivation.md, X3).
 *
 * @param {ArrayLike<number>} values (N, I), sample by sample.
 * @param {number} nInputs I.
 * @param {Int32Array} positions of the samples.
 * @returns {{shift: number[], scale: number[]}} scale is 1 for an input that is the same in all samples.
 */
chalk.standardScaling = (values, nInputs, positions) => {
  const shift = new Array(nInputs).fill(0);
  const scale = new Array(nInputs).fill(0);
  for (let i = 0; i < nInputs; i++) {
    const column = Array.from(positions, (k) => values[k * nInputs + i]);
    if (column.every((value) => value === column[0])) {
      [shift[i], scale[i]] = [column[0], 1]; // the rounded mean of equal numbers may differ from them
      continue;
    }
    shift[i] = column.reduce((sum, value) => sum + value / column.length, 0);
    scale[i] = Math.sqrt(column.reduce((sum, value) => sum + (value - shift[i]) ** 2 / column.length, 0));
  }
  return { shift, scale };
};
