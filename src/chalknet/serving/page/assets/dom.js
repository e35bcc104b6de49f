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
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

/** Replace the children of an element. */
chalk.fill = (element, ...children) =>
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));

/** Return a button with a text. */
chalk.button = (text, onclick, attributes = {}) => chalk.element("button", { type: "button", onclick, ...attributes }, text);

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
 * Return a number with enough digits to compare, as a text with a proper minus sign.
 *
 * @param {number} value
 * @param {number} digits significant digits.
 */
chalk.number = (value, digits = 4) => {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size < 1e-4 || size >= 1e6 ? size.toExponential(digits - 1) : size.toPrecision(digits);
  const plain = text.includes("e") ? text.replace(/e\+?(-?\d+)/, " × 10^$1") : text;
  return (value < 0 ? "−" : "") + plain.replace("^-", "^−");
};

/** Return a probability as a percentage. */
chalk.percent = (value) => `${(100 * value).toFixed(value > 0.0995 && value < 0.9995 ? 1 : 2)} %`;
