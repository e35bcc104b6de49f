/** The settings of the tab "Train", with their sliders, and settings that come from an address. */

chalk.trainValues = {
  hidden: Array.from({ length: 128 }, (_, i) => i + 1),
  planeHidden: Array.from({ length: 32 }, (_, i) => i + 1),
  second: Array.from({ length: 33 }, (_, i) => i),
  rate: [-6, -5, -4, -3, -2, -1].flatMap((power) => [1, 2, 5].map((digit) => Number(`${digit}e${power}`))),
  momentum: [0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995],
  batch: [5, 10, 20, 50, 100, 200, 500, 0],
  epochs: [10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
  speed: [1, 2, 5, 10, 20, 50, 100, 0],
  samples: [50, 100, 200, 300, 500, 1000, 2000],
  noise: [0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5],
  classes: [2, 3, 4, 5, 6, 7, 8, 9, 10],
};

/**
 * The mode "samples": the samples of the page. The mode "plane": points with two inputs.
 *
 * images: what the images of hidden units show, the "weights" or their "change" since the start.
 * lines: whether the plane has a line for each hidden unit.
 */
chalk.trainDefaults = {
  mode: "samples",
  seed: 521,
  images: "change",
  lines: true,
  samples: { hidden: 100, rate: 1e-4, momentum: 0.9, batch: 0, epochs: 200, speed: 0 },
  plane: {
    hidden: 16, second: 0, rate: 5e-3, momentum: 0.9, batch: 20, epochs: 500, speed: 50,
    set: "moons", samples: 300, noise: 0.2, classes: 3, dataSeed: 1,
  },
};

/** Settings that can be chosen together. */
chalk.trainPresets = [
  ["defaults", { rate: 1e-4, momentum: 0.9, batch: 0 }, "Full batch"],
  ["writeup", { rate: 1e-4, momentum: 0.99, batch: 0 }, "As in the write-up"],
  ["batches", { rate: 5e-4, momentum: 0.9, batch: 50 }, "Mini-batches"],
];

/**
 * Return settings with the values of an address; values that do not fit are left out.
 *
 * @param {object} defaults
 * @param {object} given of the same shape, or with fewer entries, or anything else.
 */
chalk.mergedSettings = (defaults, given) => {
  const merged = {};
  for (const [name, value] of Object.entries(defaults)) {
    const one = given?.[name];
    if (typeof value === "object") merged[name] = chalk.mergedSettings(value, one);
    else merged[name] = typeof one === typeof value && chalk.fitsSetting(name, one) ? one : value;
  }
  return merged;
};

/** Return whether a value of an address can be used. */
chalk.fitsSetting = (name, value) => {
  const within = (low, high) => Number.isFinite(value) && value >= low && value <= high;
  const isWhole = Number.isInteger(value);
  const limits = { rate: [0, 10], momentum: [0, 0.9999], noise: [0, 10] }[name];
  if (limits) return within(...limits);
  if (name === "lines") return true;
  if (name === "images") return ["change", "weights"].includes(value);
  if (name === "mode") return ["samples", "plane"].includes(value);
  if (name === "set") return Object.hasOwn(chalk.toySets, value);
  const whole = {
    hidden: [1, 128], second: [0, 32], batch: [0, 10_000], epochs: [1, 10_000], samples: [20, 5_000], classes: [2, 10],
    seed: [0, chalk.MAX_SEED], dataSeed: [0, chalk.MAX_SEED], speed: [0, 1_000],
  }[name];
  return isWhole && within(...whole);
};

/** Return the settings that differ from the defaults, for a short address. */
chalk.changedSettings = (defaults, settings) => {
  const changed = {};
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value !== "object") {
      if (value !== defaults[name]) changed[name] = value;
      continue;
    }
    const inner = chalk.changedSettings(defaults[name], value);
    if (Object.keys(inner).length > 0) changed[name] = inner;
  }
  return changed;
};

/**
 * Return a list of values for a slider with one more value, at its place. A 0 at the end of the list,
 * as for the full batch, stays there.
 */
chalk.withValue = (values, value) => {
  if (values.includes(value)) return values;
  const after = values.findIndex((one, at) => one > value || (one === 0 && at === values.length - 1));
  const place = after < 0 ? values.length : after;
  return [...values.slice(0, place), value, ...values.slice(place)];
};
