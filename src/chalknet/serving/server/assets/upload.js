"use strict";

/** The panel for uploads: files are dropped or chosen, sent in parts, and their predictions shown as a table. */
const chalkUpload = {
  IMAGES: /\.(png|jpe?g|gif|bmp|tiff?|webp|pgm|ppm)$/i,
  TABLES: /\.(csv|tsv|txt)$/i,
  INVERT: "Exchange black and white",
  TRIM: "Cut off empty margins",
  FIT: "Other proportions than in training",
  TABLE_OPTIONS: ["id_column", "decimal", "delimiter", "missing"],
  MAX_FILES: 100, // in a request
  MAX_BYTES: 16 * 2 ** 20, // of the files in a request
  MAX_SHOWN: 200, // rows of the table on the page; the CSV file has all
  MAX_COLUMNS: 12, // classes that have a column of their own
  MAX_RETRIES: 5, // of a request that the server had no time for

  /** Return the files of a drop, with those in folders. */
  async droppedFiles(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.length) return [...transfer.files];
    return (await Promise.all(entries.map((entry) => this.filesOf(entry)))).flat();
  },

  /** Return the files of a file or folder of a drop. */
  async filesOf(entry) {
    if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break; // a browser returns at most 100 at a time
      found.push(...some);
    }
    found.sort((one, other) => (one.name < other.name ? -1 : 1));
    return (await Promise.all(found.map((one) => this.filesOf(one)))).flat();
  },

  /** Return image files in groups that fit into a request. */
  groups(files) {
    const groups = [];
    let bytes = 0;
    for (const file of files) {
      const last = groups.at(-1);
      if (!last || last.length === this.MAX_FILES || bytes + file.size > this.MAX_BYTES) {
        groups.push([file]);
        bytes = file.size;
      } else {
        last.push(file);
        bytes += file.size;
      }
    }
    return groups;
  },

  /** Return a note that names the options of this page in place of those of Python and the command line. */
  pageNote(note) {
    return note
      .replace(/(invert|trim)=(True|False) \(--[a-z-]+\)/g, (_, name, value) => {
        const option = name === "invert" ? chalkUpload.INVERT : chalkUpload.TRIM;
        return `the option “${option}: ${value === "True" ? "always" : "never"}”`;
      })
      .replace(/image_fit='(\w+)'(?: or '(\w+)')? \(--image-fit \w+\)/g, (_, one, other) => `the option “${chalkUpload.FIT}: ${one}”${other ? ` or “${other}”` : ""}`)
      .replace("If so, give", "If so, choose");
  },

  /** Return a probability in percent. */
  percent: (value) => `${(100 * value).toFixed(1)} %`,

  /** Return a count with its noun. */
  count: (n, noun, plural = `${noun}s`) => `${n.toLocaleString("en")} ${n === 1 ? noun : plural}`,

  /** Return a cell of CSV. One that a spreadsheet would evaluate as a formula gets an apostrophe. */
  cell(value) {
    const text = typeof value === "number" ? String(value) : /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  },

  /** Return predictions as CSV, with the columns of `chalknet predict --csv`. */
  csv(classes, predictions) {
    const head = ["name", "label", "probability", ...classes.map((name) => `p_${name}`)];
    const rows = predictions.map((one) => [
      one.name,
      one.label,
      one.probabilities[one.label],
      ...classes.map((name) => one.probabilities[name]),
    ]);
    return `${[head, ...rows].map((row) => row.map((value) => this.cell(value)).join(",")).join("\n")}\n`;
  },
};

/**
 * The panel for uploads.
 *
 * @param {Element} container where it is built.
 * @param {object[]} models as of GET /v1/models.
 */
chalkUpload.Panel = class {
  constructor(container, models) {
    this.models = models;
    [this.model] = models;
    this.status = chalkServer.element("p", { role: "status", class: "upload-status" });
    this.results = chalkServer.element("div", { class: "upload-results" });
    this.about = chalkServer.element("p", { class: "soft" });
    this.options = chalkServer.element("div", { class: "upload-row" });
    const choice = models.length > 1 ? this.modelChoice() : null;
    const details = chalkServer.element("details", {}, chalkServer.element("summary", {}, "Options"), this.options);
    this.explore = chalkServer.element("a", {}, "Draw a sample and look into the network");
    const link = chalkServer.element("p", {}, this.explore);
    container.append(...[choice, this.about, link, this.dropArea(), details, this.status, this.results].filter(Boolean));
    this.useModel(this.model);
  }

  /** Return the list of models. */
  modelChoice() {
    const select = chalkServer.element(
      "select",
      { onchange: () => this.useModel(this.models[select.selectedIndex]) },
      ...this.models.map((one) => chalkServer.element("option", {}, one.name)),
    );
    return chalkServer.element("label", { class: "upload-field" }, "Model", select);
  }

  /** Return the area for files: they are dropped on it, or chosen with its buttons. */
  dropArea() {
    const button = (text, attributes) => {
      const input = chalkServer.element("input", { type: "file", multiple: true, hidden: true, ...attributes });
      input.addEventListener("change", () => {
        const files = [...input.files];
        if (input.webkitdirectory) files.sort((one, other) => (one.webkitRelativePath < other.webkitRelativePath ? -1 : 1));
        input.value = ""; // so that the same file can be chosen again
        this.take(files);
      });
      return [chalkServer.element("button", { type: "button", onclick: () => input.click() }, text), input];
    };
    this.files = chalkServer.element("div", { class: "upload-row" }, ...button("Choose files", { class: "upload-files" }));
    this.folder = button("Choose a folder", { webkitdirectory: true, class: "upload-folder" });
    this.files.append(...this.folder);
    this.hint = chalkServer.element("p", {});
    const area = chalkServer.element("div", { class: "upload-area", role: "group", "aria-label": "Files" }, this.hint, this.files);
    const mark = (isOver) => (event) => {
      event.preventDefault();
      area.classList.toggle("over", isOver);
    };
    area.addEventListener("dragenter", mark(true));
    area.addEventListener("dragover", mark(true));
    area.addEventListener("dragleave", mark(false));
    area.addEventListener("drop", async (event) => {
      mark(false)(event);
      this.take(await chalkUpload.droppedFiles(event.dataTransfer));
    });
    return area;
  }

  /** Show what a model reads, and forget the predictions of another one. */
  useModel(model) {
    this.model = model;
    const isImages = model.reads === "images";
    const [height, width, channels] = model.image_shape ?? [];
    const columns = (model.columns ?? []).map((one) => one.name);
    const named = columns.length ? ` with the ${columns.length === 1 ? "column" : "columns"} ${columns.slice(0, 12).join(", ")}${columns.length > 12 ? ", …" : ""}` : "";
    const values = chalkUpload.count(model.values_per_row ?? 0, "value");
    const reads = isImages ? `images, which it sees as ${height} × ${width} ${channels === 3 ? "color" : "gray"} pixels` : `rows of ${values}${named}`;
    const classes = model.classes.slice(0, 20).join(", ") + (model.classes.length > 20 ? ", …" : "");
    this.about.textContent = `Model ${model.name} reads ${reads}. It predicts ${chalkUpload.count(model.classes.length, "class", "classes")}: ${classes}.`;
    this.hint.textContent = isImages ? "Drop images, a folder of images or a CSV table of pixels here." : "Drop a CSV table here.";
    this.folder[0].hidden = !isImages;
    // A browser sends no token when it follows a link, and the interactive page has no link to itself.
    this.explore.parentNode.hidden = !model.interactive_page || Boolean(chalkServer.token()) || this.models.length === 1;
    this.explore.href = `explore/${encodeURIComponent(model.name)}`;
    this.status.textContent = "";
    this.clear();
    this.showOptions(isImages);
  }

  /** Show the options of the model's samples. */
  showOptions(isImages) {
    const select = (name, text) => {
      const made = chalkServer.element(
        "select",
        { name },
        ...[["", "if clearly needed"], ["true", "always"], ["false", "never"]].map(([value, label]) => chalkServer.element("option", { value }, label)),
      );
      return chalkServer.element("label", { class: "upload-field" }, text, made);
    };
    const input = (name, text, attributes = {}) =>
      chalkServer.element("label", { class: "upload-field" }, text, chalkServer.element("input", { name, type: "text", autocomplete: "off", ...attributes }));
    const choice = (name, text, choices) => {
      const items = choices.map(([value, label]) => chalkServer.element("option", { value }, label));
      return chalkServer.element("label", { class: "upload-field" }, text, chalkServer.element("select", { name }, ...items));
    };
    const decimal = choice("decimal", "Decimal mark", [["", "as in training"], [".", "point: 1.5"], [",", "comma: 1,5"]]);
    const fields = isImages
      ? [select("invert", chalkUpload.INVERT), select("trim", chalkUpload.TRIM), this.fitChoice()]
      : [
          input("id_column", "Column with the names of the rows"),
          choice("delimiter", "Between two cells", [["", "found in the file"], [",", "comma"], [";", "semicolon"], ["\t", "tab"], ["|", "vertical bar"]]),
          ...(this.model.columns ? [decimal, input("missing", "Another text for missing values")] : []),
        ];
    this.options.replaceChildren(...fields);
  }

  /** Return the choice of how images with other proportions are resized. */
  fitChoice() {
    const choices = [["", "as in training"], ["stretch", "stretch"], ["crop", "crop"], ["pad", "pad"]];
    const options = choices.map(([value, label]) => chalkServer.element("option", { value }, label));
    return chalkServer.element("label", { class: "upload-field" }, chalkUpload.FIT, chalkServer.element("select", { name: "image_fit" }, ...options));
  }

  /** Return the chosen options as the query of an address. */
  query(isTable) {
    const given = [...this.options.querySelectorAll("[name]")].filter((one) => one.value && isTable === chalkUpload.TABLE_OPTIONS.includes(one.name));
    const text = given.map((one) => `${one.name}=${encodeURIComponent(one.value)}`).join("&");
    return text ? `?${text}` : "";
  }

  /** Forget the predictions that are shown. */
  clear() {
    for (const address of this.addresses ?? []) URL.revokeObjectURL(address);
    Object.assign(this, { addresses: [], predictions: [], notes: [], problems: [] });
    this.results.replaceChildren();
  }

  /** Predict files that were dropped or chosen. */
  async take(files) {
    if (!files.length) return;
    this.run?.abort();
    const run = new AbortController();
    this.run = run;
    this.clear();
    const tables = files.filter((one) => chalkUpload.TABLES.test(one.name) || one.type === "text/csv");
    const images = files.filter((one) => !tables.includes(one) && (chalkUpload.IMAGES.test(one.name) || one.type.startsWith("image/")));
    const skipped = files.filter((one) => !tables.includes(one) && !images.includes(one));
    const more = skipped.length > 1 ? ` and ${chalkUpload.count(skipped.length - 1, "other file")} were` : " was";
    if (skipped.length) this.notes.push(`${skipped[0].name}${more} skipped: only images and CSV tables are read.`);
    try {
      await this.sendImages(images, run.signal);
      for (const table of tables) await this.sendTable(table, run.signal);
    } catch (error) {
      if (run.signal.aborted) return; // other files were chosen meanwhile
      this.problems.push(error.message);
    }
    this.show();
  }

  /** Send images in groups, and collect their predictions. */
  async sendImages(images, signal) {
    for (const group of chalkUpload.groups(images)) {
      this.status.textContent = `Predicting image ${this.predictions.length + 1} of ${images.length} …`;
      const form = new FormData();
      for (const file of group) form.append("files", file, file.name);
      const answer = await this.send(form, {}, this.query(false), signal);
      const unused = [...group];
      for (const one of answer.predictions) {
        const at = unused.findIndex((file) => file.name === one.name);
        this.predictions.push({ ...one, file: at < 0 ? null : unused.splice(at, 1)[0] });
      }
      this.collect(answer);
    }
  }

  /** Send a table, and collect its predictions. */
  async sendTable(table, signal) {
    this.status.textContent = `Predicting the rows of ${table.name} …`;
    const form = new FormData();
    form.append("files", new Blob([table], { type: "text/csv" }), table.name); // so that names and messages have its name
    const answer = await this.send(form, {}, this.query(true), signal);
    this.predictions.push(...answer.predictions);
    this.collect(answer);
  }

  collect(answer) {
    this.notes.push(...answer.notes.map(chalkUpload.pageNote).filter((note) => !this.notes.includes(note)));
    this.problems.push(...(answer.unreadable ?? []));
  }

  /** Send a body for predictions, and return the answer; wait if the server is busy. */
  async send(body, headers, query, signal) {
    const path = `v1/models/${encodeURIComponent(this.model.name)}/predict${query}`;
    for (let attempt = 0; ; attempt += 1) {
      const response = await chalkServer.fetch(path, { method: "POST", body, headers, signal });
      if (response.ok) return response.json();
      if (response.status !== 503 || attempt === chalkUpload.MAX_RETRIES) throw new Error(await chalkServer.problem(response));
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
    }
  }

  /** Show predictions, notes and problems. */
  show() {
    const { predictions, model } = this;
    const n = predictions.length;
    this.status.textContent = n ? `${chalkUpload.count(n, "prediction")}.` : "There is no prediction.";
    const list = (texts, className) =>
      texts.length ? chalkServer.element("ul", { class: className }, ...texts.map((text) => chalkServer.element("li", {}, text))) : null;
    const parts = [list(this.problems, "problem"), list(this.notes, "soft")];
    if (n) {
      const more = n > chalkUpload.MAX_SHOWN ? chalkServer.element("p", { class: "soft" }, `The first ${chalkUpload.MAX_SHOWN} are shown. The CSV file has all.`) : null;
      parts.push(this.download(model), more, this.table());
    }
    this.results.replaceChildren(...parts.filter(Boolean));
  }

  /** Return the link to the predictions as a file. */
  download(model) {
    const address = URL.createObjectURL(new Blob([chalkUpload.csv(model.classes, this.predictions)], { type: "text/csv" }));
    this.addresses.push(address);
    return chalkServer.element("p", {}, chalkServer.element("a", { href: address, download: "predictions.csv", class: "upload-download" }, "Download as CSV"));
  }

  /** Return the table of predictions. */
  table() {
    const { classes } = this.model;
    const shown = this.predictions.slice(0, chalkUpload.MAX_SHOWN);
    const hasPictures = shown.some((one) => one.file);
    const columns = classes.length <= chalkUpload.MAX_COLUMNS ? classes : [];
    const heads = [...(hasPictures ? ["picture"] : []), "name", "label", "probability", ...(columns.length ? columns : ["next best"])];
    const isNumber = (at) => at >= heads.length - columns.length - 1 && columns.length > 0;
    const head = heads.map((text, at) => chalkServer.element("th", { scope: "col", class: isNumber(at) ? "number" : null }, text));
    const table = chalkServer.element(
      "table",
      {},
      chalkServer.element("caption", {}, `Predictions of ${this.model.name}`),
      chalkServer.element("thead", {}, chalkServer.element("tr", {}, ...head)),
      chalkServer.element("tbody", {}, ...shown.map((one) => this.row(one, columns, hasPictures))),
    );
    return chalkServer.element("div", { class: "upload-scroll", tabindex: "0", role: "region", "aria-label": "Predictions" }, table);
  }

  row(one, columns, hasPictures) {
    const cell = (text, className = "") => chalkServer.element("td", { class: className }, text);
    const best = one.probabilities[one.label];
    const others = Object.entries(one.probabilities)
      .filter(([name]) => name !== one.label)
      .sort((left, right) => right[1] - left[1])
      .slice(0, 2);
    const rest = columns.length
      ? columns.map((name) => cell(chalkUpload.percent(one.probabilities[name]), name === one.label ? "number best" : "number"))
      : [cell(others.map(([name, value]) => `${name} ${chalkUpload.percent(value)}`).join(", "))];
    return chalkServer.element(
      "tr",
      {},
      hasPictures ? chalkServer.element("td", {}, this.picture(one)) : null,
      chalkServer.element("th", { scope: "row", title: one.read_as }, one.name),
      cell(one.label, "label"),
      cell(chalkUpload.percent(best), "number"),
      ...rest,
    );
  }

  /** Return a small picture of an image; one that the browser cannot show stays empty. */
  picture(one) {
    if (!one.file) return null;
    const address = URL.createObjectURL(one.file);
    this.addresses.push(address);
    const image = chalkServer.element("img", { src: address, alt: "", class: "upload-picture", loading: "lazy", onerror: () => image.remove() });
    return image;
  }
};
