/** Small helpers to build elements. Texts are always inserted as text, never as HTML. */

/**
 * Return a new element.
 *
 * @param {string} tag
 * @param {object} attributes attributes by name; a function is a listener, such as onclick; true is
 *   an attribute without value, and false, null and undefined are left out.
 * @param {...(Node|string|number|null)} children
 */
chalk.element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

/** Replace the children of an element. */
chalk.fill = (element, ...children) =>
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));

/** Return a button with a text. */
chalk.button = (text, onclick, attributes = {}) =>
  chalk.element("button", { type: "button", onclick, ...attributes }, text);

/**
 * Return a labeled <select>.
 *
 * @param {string} label
 * @param {Array<[string, string]>} options value and text.
 * @param {string} value the chosen one.
 * @param {function(string)} onchange
 */
chalk.select = (label, options, value, onchange) => {
  const select = chalk.element(
    "select",
    { onchange: () => onchange(select.value) },
    ...options.map(([key, text]) => chalk.element("option", { value: key, selected: key === value }, text)),
  );
  return chalk.element("label", { class: "field" }, chalk.element("span", {}, label), select);
};

/**
 * Return the size of a number as digits and a power of ten.
 *
 * @param {number} value finite.
 * @param {number} digits significant digits.
 * @returns {[string, ?number]} the power is null if the number is written without one.
 */
chalk.digits = (value, digits = 4) => {
  const size = Math.abs(value);
  if (size === 0) return ["0", null];
  if (size >= 1e-3 && size < 1e6)
    return [size.toPrecision(digits).includes("e") ? size.toFixed(0) : size.toPrecision(digits), null];
  const [text, power] = size.toExponential(digits - 1).split("e");
  return [text, Number(power)];
};

/** Return a number as a text that does not break, such as "−0.1234" or "2.67 × 10⁻⁵". */
chalk.number = (value, digits = 4) => {
  if (!Number.isFinite(value)) return String(value);
  const [text, power] = chalk.digits(value, digits);
  const raised =
    power === null
      ? ""
      : `\u00a0×\u00a010${[...String(power)].map((one) => (one === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[one])).join("")}`;
  return (value < 0 ? "−" : "") + text + raised;
};

/** Return the significant digits with which a number near 1 or −1 differs from it: 0.99998899 needs 8. */
chalk.digitsNearOne = (value, digits = 4) => {
  const distance = 1 - Math.abs(value);
  return distance > 0 && distance < 0.001 ? Math.min(15, Math.ceil(-Math.log10(distance)) + 3) : digits;
};

/** Return a probability as a percentage; only 1 is 100 %. */
chalk.percent = (value) => {
  if (value > 0.99995 && value < 1) return ">\u00a099.99\u00a0%";
  return `${(100 * value).toFixed(value > 0.0995 && value < 0.9995 ? 1 : 2)}\u00a0%`;
};
