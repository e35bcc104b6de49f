/**
 * Return a labeled slider over a list of values, with the chosen value as text.
 *
 * @param {string} label
 * @param {Array} values
 * @param {*} value the chosen one; the nearest number is taken if it is not in the list.
 * @param {function(*): string} text the text of a value.
 * @param {function(*)} onchange is called when a value has been chosen, not while the slider moves.
 * @returns {HTMLElement} the label, with a function `show(value)`.
 */
chalk.slider = (label, values, value, text, onchange) => {
  const output = chalk.element("span", { class: "slider-value", "aria-hidden": "true" });
  const input = chalk.element("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
  const shown = () => {
    output.textContent = text(values[Number(input.value)]);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", shown);
  input.addEventListener("change", () => onchange(values[Number(input.value)]));
  const field = chalk.element("label", { class: "field slider" },
    chalk.element("span", { class: "slider-head" }, chalk.element("span", {}, label), output), input);
  field.show = (one) => {
    input.value = chalk.nearestIndex(values, one);
    shown();
  };
  field.show(value);
  return field;
};

/** Return the position of a value in a list, or of the number that is nearest to it. */
chalk.nearestIndex = (values, value) => {
  const exact = values.indexOf(value);
  if (exact >= 0) return exact;
  const distances = values.map((one) => Math.abs(one - value));
  return Math.max(0, distances.indexOf(Math.min(...distances)));
};

/**
 * Return a group of radio buttons.
 *
 * @param {string} legend
 * @param {Array<[string, string]>} options value and text.
 * @param {function(string)} onchange
 * @returns {HTMLElement} the group, with a function `show(value)`.
 */
chalk.radios = (legend, options, onchange) => {
  chalk.radioGroups = (chalk.radioGroups ?? 0) + 1;
  const name = `radios-${chalk.radioGroups}`;
  const inputs = options.map(([value]) =>
    chalk.element("input", { type: "radio", name, value, onchange: () => onchange(value) }));
  const labels = options.map(([, text], at) => chalk.element("label", { class: "choice" }, inputs[at], text));
  const group = chalk.element("fieldset", { class: "choices" }, chalk.element("legend", {}, legend), ...labels);
  group.show = (value) => inputs.forEach((input) => (input.checked = input.value === value));
  return group;
};

/** Return a labeled check box, with a function `show(value)`. */
chalk.checkBox = (label, value, onchange) => {
  const input = chalk.element("input", { type: "checkbox", onchange: () => onchange(input.checked) });
  const field = chalk.element("label", { class: "choice" }, input, label);
  field.show = (one) => (input.checked = one);
  field.show(value);
  return field;
};

/**
 * Return a labeled field for a whole number.
 *
 * @param {string} label
 * @param {{min: number, max: number}} limits
 * @param {number} value
 * @param {function(number)} onchange is called with numbers within the limits only.
 */
chalk.wholeNumber = (label, { min, max }, value, onchange) => {
  const input = chalk.element("input", { type: "number", min, max, step: 1, value, inputmode: "numeric" });
  let shown = value;
  input.addEventListener("change", () => {
    const chosen = input.value === "" ? shown : Math.round(Number(input.value));
    field.show(Math.min(max, Math.max(min, chosen)));
    onchange(shown);
  });
  const name = chalk.element("span", {}, label);
  const field = chalk.element("label", { class: "field" }, name, input);
  field.show = (one) => (input.value = shown = one);
  field.limit = (most) => {
    input.max = max = most;
    name.textContent = `${label}, ${min} to ${most.toLocaleString("en-US")}`;
  };
  return field;
};
