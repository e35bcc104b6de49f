/**
 * One field for each column of a table: a number, a date, or a choice of categories.
 *
 * @param app
 * @param {function(Float64Array)} onchange called with the inputs (I,) when all fields are valid.
 */
chalk.TableFields = class {
  constructor(app, onchange) {
    this.onchange = onchange;
    this.columns = app.model.encoding?.columns ?? null;
    this.shown = this.columns ?? Array.from({ length: app.model.n_inputs }, (_, at) => this.plain(app, at));
    this.fields = this.shown.map((column) => this.field(column));
    this.problem = chalk.element("p", { class: "problem", role: "alert" });
    const labels = this.fields.map((field, at) =>
      chalk.element("label", { class: "field" }, chalk.element("span", {}, this.shown[at].name), field),
    );
    const hint = this.columns ? "An empty field is a missing value." : null;
    this.element = chalk.element(
      "div",
      {},
      hint && chalk.element("p", { class: "soft small" }, hint),
      chalk.element("div", { class: "fields" }, ...labels),
      this.problem,
    );
  }

  /** Return a column of numbers that cannot be missing, for a table without an encoding. */
  plain(app, at) {
    return { name: chalk.inputName(app, at), kind: "number", isRequired: true };
  }

  field(column) {
    const oninput = () => this.read();
    if (column.kind === "category") {
      const names = column.categories.map((name, at) => [String(at), name]);
      if (column.has_missing) names.push([String(names.length), "(missing)"]);
      names.push(["-1", "(another value)"]);
      const options = names.map(([value, text]) => chalk.element("option", { value }, text));
      return chalk.element("select", { oninput }, ...options);
    }
    if (column.kind === "date") {
      const [type, step] = column.has_time ? ["datetime-local", "1"] : ["date", null];
      return chalk.element("input", { type, step, oninput });
    }
    return chalk.element("input", { type: "number", step: "any", inputmode: "decimal", oninput });
  }

  /** Return the value of a field, or undefined if it is not valid. */
  value(at) {
    const [column, field] = [this.shown[at], this.fields[at]];
    if (column.kind === "category") return Number(field.value);
    if (field.value.trim() === "") return column.isRequired || field.validity.badInput ? undefined : NaN;
    const value =
      column.kind === "date"
        ? Date.parse(`${field.value}${column.has_time ? "Z" : ""}`) / 86_400_000
        : Number(field.value);
    return Number.isFinite(value) ? value : undefined;
  }

  read() {
    const values = this.fields.map((_, at) => this.value(at));
    const bad = values.indexOf(undefined);
    this.problem.textContent =
      bad < 0 ? "" : `${this.shown[bad].name}: a ${this.shown[bad].kind} is expected.`;
    if (bad < 0)
      this.onchange(this.columns ? chalk.encodedRow(this.columns, values) : Float64Array.from(values));
  }

  /** Show a row of inputs, unless one of the fields is being edited. */
  show(raw) {
    if (this.fields.includes(document.activeElement)) return;
    const values = this.columns ? chalk.decodedRow(this.columns, raw) : [...raw];
    this.problem.textContent = "";
    this.fields.forEach((field, at) => (field.value = this.text(this.shown[at], values[at])));
  }

  text(column, value) {
    if (column.kind === "category") return String(value);
    if (Number.isNaN(value)) return "";
    if (column.kind === "number") return String(Number(value.toPrecision(9)));
    return new Date(Math.round(value * 86_400) * 1_000).toISOString().slice(0, column.has_time ? 19 : 10);
  }
};
