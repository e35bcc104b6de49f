/** Formulas as MathML: those of docs/derivation.md by label, and the same with the numbers of a sample. */
chalk.math = {
  /** Return a MathML element. Texts become its content. */
  element(tag, ...children) {
    const made = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
    made.append(...children);
    return made;
  },

  mi: (name) => chalk.math.element("mi", name),
  mo: (sign) => chalk.math.element("mo", sign),
  row: (...children) => chalk.math.element("mrow", ...children),
  frac: (above, below) => chalk.math.element("mfrac", above, below),
  sup: (base, above) => chalk.math.element("msup", base, above),
  root: (inner) => chalk.math.element("msqrt", inner),

  /** Return a name with subscripts, such as W with 12 and 305. */
  sub(name, ...below) {
    const parts = below.flatMap((one, k) =>
      k
        ? [chalk.math.mo(","), chalk.math.element("mn", String(one))]
        : [chalk.math.element("mn", String(one))],
    );
    return chalk.math.element("msub", chalk.math.mi(name), chalk.math.row(...parts));
  },

  /** Return a number; negative ones in parentheses where another sign stands before them. */
  number(value, { digits = 3, inner = false } = {}) {
    const [size, power] = chalk.digits(value, digits);
    const number = chalk.math.element("mn", size);
    const raised = () =>
      chalk.math.sup(
        chalk.math.element("mn", "10"),
        chalk.math.element("mn", String(power).replace("-", "−")),
      );
    const whole = power === null ? number : chalk.math.row(number, chalk.math.mo("×"), raised());
    if (!(value < 0)) return whole;
    const negative = chalk.math.row(chalk.math.mo("−"), whole);
    return inner ? chalk.math.row(chalk.math.mo("("), negative, chalk.math.mo(")")) : negative;
  },

  /** Return a function of something: its name and the argument in parentheses. */
  apply: (name, ...inner) =>
    chalk.math.row(chalk.math.mi(name), chalk.math.mo("("), ...inner, chalk.math.mo(")")),

  /** Return a formula on a line of its own, which may be broken before its outermost + and = signs. */
  block(...children) {
    const pieces = [[]];
    for (const child of children) {
      const isSign = child.localName === "mo" && ["+", "="].includes(child.textContent);
      if (isSign) child.setAttribute("form", "infix"); // the sign keeps its spaces at the start of a piece
      if (isSign && pieces[pieces.length - 1].length) pieces.push([]);
      pieces[pieces.length - 1].push(child);
    }
    return chalk.element("div", { class: "math-line" }, ...pieces.map((piece) => chalk.math.whole(piece)));
  },

  /** Return MathML elements as one <math>, in the larger form of displayed formulas. */
  whole(children) {
    const made = chalk.math.element("math", chalk.math.row(...children));
    made.setAttribute("displaystyle", "true");
    return made;
  },
};

/**
 * Return the formula of docs/derivation.md with this label, and the label; null if there is none.
 *
 * The builder embeds the formulas whose labels occur in the scripts as texts, such as "A1".
 */
chalk.formula = (label) => {
  const stored = chalk.data.formulas[label];
  if (!stored) return null;
  const holder = document.createElement("template");
  holder.innerHTML = `<math>${stored}</math>`; // made by the builder of the page, not by a model
  const pieces = [[]]; // a formula of several parts can be broken between them
  for (const child of [...holder.content.firstChild.children]) {
    if (child.localName === "mspace" && parseFloat(child.getAttribute("width")) >= 1) pieces.push([]);
    else pieces[pieces.length - 1].push(child);
  }
  const math = chalk.element(
    "span",
    { class: "math-line" },
    ...pieces.map((piece) => chalk.math.whole(piece)),
  );
  const tag = chalk.element(
    "span",
    { class: "formula-label", title: `Formula ${label} of docs/derivation.md` },
    `(${label})`,
  );
  return chalk.element("div", { class: "formula" }, math, tag);
};

/** Return lines of numbers below a formula. */
chalk.numbers = (...lines) => chalk.element("div", { class: "numbers" }, ...lines.filter(Boolean));
