/**
 * Explanations of single values by layer type: the formula, and the formula with this sample's
 * numbers.
 *
 * An explanation is a function of {app, layer, p, x, value, unit, input, output}: the layer with
 * its parameters by local name, its input x (I,) and output value (O,), the unit, and the letters of
 * input and output. It returns elements. A layer type without one is shown with its formula only.
 */
chalk.explanations = {
  dense({ layer, p, x, value, unit, input, output }) {
    const { math } = chalk;
    const terms = chalk.terms(layer, p, x, unit);
    const shown = terms.slice(0, terms.length > 5 ? 4 : 5);
    const rest =
      terms.slice(shown.length).reduce((sum, one) => sum + one.product, 0) * chalk.denseFactor(layer);
    const nLeft = terms.length - shown.length;
    const scale = chalk.denseFactor(layer);
    const joined = (parts) => parts.flatMap((one, k) => (k ? [math.mo("+"), ...one] : one));
    const symbols = joined(shown.map(({ at }) => [math.sub(input, at), math.sub("W", unit, at)]));
    const products = joined(
      shown.map((one) => [
        math.number(x[one.at], { inner: true }),
        math.mo("·"),
        math.number(p.weight[unit * layer.inputs + one.at], { inner: true }),
      ]),
    );
    const wrap = (parts) =>
      scale === 1
        ? parts
        : [math.frac(math.row(...parts), math.root(math.element("mn", String(layer.inputs))))];
    const bias = p.bias ? [math.mo("+"), math.sub("b", unit)] : [];
    const biasNumber = p.bias ? [math.mo("+"), math.number(p.bias[unit], { inner: true })] : [];
    const dots = nLeft ? [math.mo("+"), math.mo("…")] : [];
    const others = nLeft ? [math.mo("+"), math.number(rest, { inner: true })] : [];
    return [
      chalk.numbers(
        math.block(math.sub(output, unit), math.mo("="), ...wrap([...symbols, ...dots]), ...bias),
        math.block(math.mo("="), ...wrap(products), ...others, ...biasNumber),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
      nLeft
        ? chalk.element(
            "p",
            { class: "soft small" },
            `The ${shown.length} largest terms are shown. The other ${nLeft.toLocaleString("en")} terms sum to ${chalk.number(rest, 3)}.`,
          )
        : null,
    ];
  },

  batch_norm({ p, x, value, unit }) {
    const { math } = chalk;
    const { EPSILON } = chalk.layers.batch_norm;
    const j = unit % p.mean.length; // of images, the channel
    const z = (x[unit] - p.mean[j]) / Math.sqrt(p.variance[j] + EPSILON);
    return [
      chalk.formula("B2"),
      chalk.numbers(
        math.block(
          math.sub("z", j),
          math.mo("="),
          math.frac(
            math.row(math.number(x[unit]), math.mo("−"), math.number(p.mean[j], { inner: true })),
            math.root(math.row(math.number(p.variance[j]), math.mo("+"), math.number(EPSILON))),
          ),
          math.mo("="),
          math.number(z),
        ),
        math.block(
          math.number(p.gamma[j]),
          math.mo("·"),
          math.number(z, { inner: true }),
          math.mo("+"),
          math.number(p.bias[j], { inner: true }),
          math.mo("="),
          math.number(value[unit], { digits: 5 }),
        ),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        `Mean and variance are the running statistics of the training, as always in prediction.${x.length > p.mean.length ? " All pixels of a channel have the same." : ""}`,
      ),
    ];
  },

  scale: ({ p, x, value, unit }) => [
    chalk.numbers(
      chalk.math.block(
        chalk.math.number(p.gamma[unit]),
        chalk.math.mo("·"),
        chalk.math.number(x[unit], { inner: true }),
        chalk.math.mo("="),
        chalk.math.number(value[unit], { digits: 5 }),
      ),
    ),
  ],

  parametric_activation({ layer, p, x, value, unit }) {
    const { math } = chalk;
    const f = chalk.layers[layer.settings.activation];
    const h = x[unit];
    return [
      chalk.element("p", {}, `Φ is ${layer.settings.activation.replace(/_/g, " ")}:`),
      chalk.formula(f.formulas().value),
      chalk.numbers(
        math.block(math.apply("Φ", math.number(h)), math.mo("="), math.number(f.value(h))),
        math.block(
          math.number(h),
          math.mo("+"),
          math.number(p.alpha[unit], { inner: true }),
          math.mo("·"),
          math.mo("("),
          math.number(f.value(h)),
          math.mo("−"),
          math.number(h, { inner: true }),
          math.mo(")"),
          math.mo("="),
          math.number(value[unit], { digits: 5 }),
        ),
      ),
    ];
  },

  periodic_embedding({ layer, p, x, value, unit }) {
    const { math } = chalk;
    if (unit < layer.inputs)
      return [
        chalk.element(
          "p",
          {},
          `This value is input ${unit} of the layer, ${chalk.number(x[unit])}, unchanged.`,
        ),
      ];
    const [, J, K] = layer.shapes.weight;
    const column = Math.floor((unit - layer.inputs) / J);
    const j = (unit - layer.inputs) % J;
    const all = Array.from({ length: K }, (_, k) => ({
      weight: p.weight[(column * J + j) * K + k],
      angle: chalk.layers.periodic_embedding.angle(layer, p, x, 0, column, k),
    }));
    const terms = all
      .sort((a, b) => Math.abs(b.weight * Math.cos(b.angle)) - Math.abs(a.weight * Math.cos(a.angle)))
      .slice(0, 3);
    const shown = terms.flatMap(({ weight, angle }, k) => [
      ...(k ? [math.mo("+")] : []),
      math.number(weight, { inner: true }),
      math.apply("cos", math.number(angle)),
    ]);
    return [
      chalk.formula("F1"),
      chalk.numbers(
        math.block(
          ...shown,
          math.mo("+"),
          math.mo("…"),
          math.mo("+"),
          math.number(p.bias[column * J + j], { inner: true }),
        ),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        `Number ${j} of the embedding of input ${column}. The largest of ${K} terms are shown.`,
      ),
    ];
  },

  piecewise_linear_embedding({ layer, p, x, value, unit }) {
    const { math } = chalk;
    if (unit < layer.inputs) return chalk.explanations.periodic_embedding({ layer, x, unit });
    const [, J, T] = layer.shapes.weight;
    const column = Math.floor((unit - layer.inputs) / J);
    const j = (unit - layer.inputs) % J;
    const type = chalk.layers.piecewise_linear_embedding;
    const bin = type.bin(p, x[column], column, T);
    const [low, high] = [0, 1].map((k) => p.edges[column * (T + 1) + bin + k]);
    const own = p.weight[(column * J + j) * T + bin];
    const part = type.encode(p, x[column], column, T)[bin];
    return [
      chalk.formula("V3"),
      chalk.numbers(
        math.block(
          math.number(value[unit] - own * part, { digits: 5 }),
          math.mo("+"),
          math.number(own, { inner: true }),
          math.mo("·"),
          math.number(part, { inner: true }),
        ),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        `Number ${j} of the embedding of input ${column}, which is ${chalk.number(x[column])} and lies in bin ` +
          `${bin + 1} of ${T}, from ${chalk.number(low)} to ${chalk.number(high)}. The bias and the other bins add ` +
          `up to the first number.`,
      ),
    ];
  },

  category_embedding({ layer, p, x, value, unit }) {
    const { math } = chalk;
    const { kept, groups } = chalk.layers.category_embedding.places(layer);
    if (unit < kept.length) return chalk.explanations.periodic_embedding({ layer, x, unit: kept[unit] });
    const [J, S] = layer.shapes.weight;
    const group = groups[Math.floor((unit - kept.length) / J)];
    const j = (unit - kept.length) % J;
    const terms = Array.from({ length: group.size }, (_, k) => ({
      x: x[group.start + k],
      weight: p.weight[j * S + group.column + k],
      input: group.start + k,
    })).filter((term) => Math.abs(term.x) > 1e-6);
    const shown = terms
      .slice(0, 3)
      .flatMap((term, k) => [
        ...(k ? [math.mo("+")] : []),
        math.number(term.x, { inner: true }),
        math.mo("·"),
        math.number(term.weight, { inner: true }),
      ]);
    return [
      chalk.formula("Z1"),
      chalk.numbers(
        math.block(...(shown.length ? shown : [math.number(0)]), ...(terms.length > 3 ? [math.mo("+"), math.mo("…")] : [])),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
      chalk.element(
        "p",
        { class: "soft small" },
        terms.length
          ? `Number ${j} of the vector of a category. Its inputs are ${group.start} to ${group.start + group.size - 1}, of which input ${terms[0].input} is not 0.`
          : `Number ${j} of the vector of a category. None is known here, so the vector is 0.`,
      ),
    ];
  },

  /** Explain an activation: its function of one number. */
  activation({ layer, x, value, unit, input, output }) {
    const { math } = chalk;
    const h = x[unit];
    const indices = layer.output_shape.length === 3 ? chalk.placeOf(layer.output_shape, unit) : [unit];
    const written = chalk.activationNumbers[layer.type]?.(h, math) ?? [math.apply("f", math.number(h))];
    return [
      chalk.numbers(
        math.block(
          math.sub(output, ...indices),
          math.mo("="),
          math.apply("f", math.sub(input, ...indices)),
          math.mo("="),
          ...written,
        ),
        math.block(math.mo("="), math.number(value[unit], { digits: 5 })),
      ),
    ];
  },
};

/** How activations are written with a number: functions of (h, math) that return MathML elements. */
chalk.activationNumbers = {
  relu: (h, math) => [math.apply("max", math.number(h), math.mo(","), math.element("mn", "0"))],
  leaky_relu: (h, math) =>
    h > 0 ? [math.number(h)] : [math.number(0.01), math.mo("·"), math.number(h, { inner: true })],
  tanh: (h, math) => [math.apply("tanh", math.number(h))],
  sigmoid: (h, math) => [
    math.frac(
      math.element("mn", "1"),
      math.row(math.element("mn", "1"), math.mo("+"), math.sup(math.mi("e"), math.number(-h))),
    ),
  ],
  silu: (h, math) => [math.number(h), math.mo("·"), math.apply("σ", math.number(h))],
  mish: (h, math) => [math.number(h), math.mo("·"), math.apply("tanh", math.apply("ζ", math.number(h)))],
  gelu: (h, math) => [
    math.frac(math.number(h), math.element("mn", "2")),
    math.row(
      math.mo("("),
      math.element("mn", "1"),
      math.mo("+"),
      math.apply("tanh", math.apply("ψ", math.number(h))),
      math.mo(")"),
    ),
  ],
  elu: (h, math) =>
    h > 0
      ? [math.number(h)]
      : [math.sup(math.mi("e"), math.number(h)), math.mo("−"), math.element("mn", "1")],
  selu: (h, math) =>
    h > 0
      ? [math.element("mn", "1.0507"), math.mo("·"), math.number(h)]
      : [
          math.element("mn", "1.0507"),
          math.mo("·"),
          math.element("mn", "1.6733"),
          math.mo("("),
          math.sup(math.mi("e"), math.number(h)),
          math.mo("−"),
          math.element("mn", "1"),
          math.mo(")"),
        ],
  smooth_clip: (h, math) => [
    math.frac(
      math.number(h),
      math.root(
        math.row(
          math.element("mn", "1"),
          math.mo("+"),
          math.sup(
            math.row(math.mo("("), math.number(h), math.mo("/"), math.element("mn", "3"), math.mo(")")),
            math.element("mn", "2"),
          ),
        ),
      ),
    ),
  ],
  identity: (h, math) => [math.number(h)],
};

/**
 * Return the products of a dense unit, the largest first.
 *
 * @returns {Array<{at: number, product: number}>} product is x_i W_ji, without the factor of NTK.
 */
chalk.terms = (layer, p, x, unit) => {
  const all = Array.from({ length: layer.inputs }, (_, at) => ({
    at,
    product: x[at] * p.weight[unit * layer.inputs + at],
  }));
  return all.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
};

/** Layers besides activations whose output is called g in docs/derivation.md. */
chalk.makesG = new Set(["parametric_activation", "max_pool2d", "average_pool2d", "global_average_pool", "residual"]);

/** Return the letters of the input and output of a layer, as in docs/derivation.md. */
chalk.letters = (network, layer) => {
  const before = network.layers.slice(0, layer.position).filter((one) => one.acts_in_prediction);
  const previous = before.pop();
  const of = (one) =>
    chalk.isOutput(network, one)
      ? "o"
      : chalk.layers[one.type].isActivation || chalk.makesG.has(one.type)
        ? "g"
        : "h";
  return { input: previous ? of(previous) : "x", output: of(layer) };
};

/** Return a sentence on letters that differ from x and h in the formula of a dense layer, or null. */
chalk.letterNote = ({ input, output }) => {
  const parts = [
    output === "h" ? null : `${output} stands for h`,
    input === "x" ? null : `${input} stands for x`,
  ];
  const text = parts.filter(Boolean).join(", and ");
  return text ? chalk.element("p", { class: "soft small" }, `Below, ${text}.`) : null;
};

/** Return the explanation of one value of a layer: formula and numbers. */
chalk.explainUnit = (app, layer, unit) => {
  const pass = app.pass();
  const p = chalk.localParameters(layer, app.network.parameters);
  const [x, value] = [pass.values[layer.position], pass.values[layer.position + 1]];
  const type = chalk.layers[layer.type];
  const letters = chalk.letters(app.network, layer);
  const explain =
    chalk.explanations[layer.type] ?? (type.isActivation ? chalk.explanations.activation : () => []);
  return [
    chalk.formula(type.formulas(layer).value),
    ["dense", "conv2d"].includes(layer.type) ? chalk.letterNote(letters) : null,
    ...explain({ app, layer, p, x, value, unit, ...letters }),
  ];
};

/** Return the explanation of a probability: softmax, and the mean for an ensemble. */
chalk.explainProbability = (app, unit) => {
  const { math } = chalk;
  const { logits } = app.pass();
  const largest = Math.max(...logits);
  const sum = logits.reduce((total, one) => total + Math.exp(one - largest), 0);
  const own = chalk.softmax(logits)[unit];
  const power = (one) =>
    math.sup(math.mi("e"), math.row(math.number(one), math.mo("−"), math.number(largest, { inner: true })));
  const strongest = Array.from(logits)
    .sort((a, b) => b - a)
    .slice(0, 3);
  const below = strongest.flatMap((one, k) => (k ? [math.mo("+"), power(one)] : [power(one)]));
  const found = [
    chalk.formula("S2"),
    chalk.numbers(
      math.block(
        math.sub("p", unit),
        math.mo("="),
        math.frac(
          power(logits[unit]),
          math.row(...below, ...(logits.length > 3 ? [math.mo("+"), math.mo("…")] : [])),
        ),
      ),
      math.block(
        math.mo("="),
        math.frac(
          math.number(Math.exp(logits[unit] - largest), { digits: 4 }),
          math.number(sum, { digits: 4 }),
        ),
        math.mo("="),
        math.number(own, { digits: 5 }),
      ),
    ),
  ];
  if (app.networks.length === 1) return found;
  const all = app.networks.map((_, m) => chalk.softmax(app.pass(m).logits)[unit]);
  const added = all.flatMap((one, m) => (m ? [math.mo("+"), math.number(one)] : [math.number(one)]));
  return [
    ...found,
    chalk.element(
      "p",
      {},
      `That was network ${app.member + 1}. The page shows the mean of all ${all.length} networks:`,
    ),
    chalk.formula("M3"),
    chalk.numbers(
      math.block(
        math.frac(math.row(...added), math.element("mn", String(all.length))),
        math.mo("="),
        math.number(app.probabilities()[unit], { digits: 5 }),
      ),
    ),
  ];
};
