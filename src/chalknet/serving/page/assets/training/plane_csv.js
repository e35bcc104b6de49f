/** Tables of points in the plane: two columns of numbers and a column of classes. */

chalk.csvLimits = { bytes: 1_000_000, rows: 5_000, minRows: 10, classes: 10 };

/** What is wrong with a file; the message is for the user. */
chalk.CsvError = class extends Error {};

/**
 * Return the text of a file: UTF-8, UTF-16 with a byte order mark, or Windows-1252.
 *
 * @param {ArrayBuffer} buffer
 */
chalk.csvText = (buffer) => {
  const bytes = new Uint8Array(buffer);
  const utf16 = { "255,254": "utf-16le", "254,255": "utf-16be" }[`${bytes[0]},${bytes[1]}`];
  if (utf16) return new TextDecoder(utf16).decode(bytes);
  if (bytes.includes(0)) {
    const expected = "Expected a CSV file with two columns of numbers and a column of classes.";
    throw new chalk.CsvError(`This is not a text file. ${expected}`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
};

/**
 * Return the rows of a CSV text as {line, fields, quoted}; empty lines are left out.
 *
 * A field in double quotes may hold delimiters, line ends and doubled quotes.
 */
chalk.csvRows = (text, delimiter) => {
  const rows = [];
  let [at, line] = [0, 1];
  while (at < text.length) {
    const row = { line, fields: [] };
    for (let isMore = true; isMore; ) {
      const field = chalk.csvField(text, at, delimiter, line);
      row.fields.push(field.value);
      [at, line] = [field.end, field.line];
      isMore = text[at] === delimiter;
      if (isMore) at += 1;
    }
    if (text[at] === "\r") at += 1;
    if (text[at] === "\n") at += 1;
    line += 1;
    if (row.fields.length > 1 || row.fields[0] !== "") rows.push(row);
  }
  return rows;
};

/** Read one field; `end` is the position of the delimiter or line end after it. */
chalk.csvField = (text, at, delimiter, line) => {
  const isEnd = (character) => character === undefined || character === delimiter || "\r\n".includes(character);
  if (text[at] !== '"') {
    let end = at;
    while (!isEnd(text[end])) end += 1;
    return { value: text.slice(at, end).trim(), end, line };
  }
  let [value, end, lines] = ["", at + 1, 0];
  for (; text[end] !== '"' || text[end + 1] === '"'; end++) {
    if (text[end] === undefined) {
      throw new chalk.CsvError(`Line ${line}: the quote is not closed. Add a " at the end of the field.`);
    }
    if (text[end] === '"') end += 1; // two quotes stand for one
    if (text[end] === "\n") lines += 1;
    value += text[end];
  }
  if (!isEnd(text[end + 1])) {
    throw new chalk.CsvError(
      `Line ${line + lines}: expected a delimiter or the end of the line after a quoted field, got '${text[end + 1]}'.`,
    );
  }
  return { value: value.trim(), end: end + 1, line: line + lines };
};

/** Return the delimiter that gives the first line three fields, or the one that it has most often. */
chalk.csvDelimiter = (text) => {
  const first = text.split(/\r\n|\n|\r/).find((line) => line.trim() !== "") ?? "";
  const plain = first.replace(/"[^"]*"/g, "");
  const count = (delimiter) => plain.split(delimiter).length - 1;
  const candidates = [";", "\t", ","];
  const most = candidates.reduce((best, one) => (count(one) > count(best) ? one : best), candidates[0]);
  return candidates.find((delimiter) => count(delimiter) === 2) ?? most;
};

/**
 * Return the number in a field, or NaN. With `isComma` the decimal mark is a comma.
 *
 * Numbers have digits, one decimal mark and an exponent: 12, -0.5, .5, 1e-3.
 */
chalk.csvNumber = (field, isComma) => {
  const text = field.replace("−", "-").replace(isComma ? "," : ".", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text) && (isComma || !field.includes(",")) ? Number(text) : NaN;
};

/**
 * Return the points of a CSV text.
 *
 * @param {string} text three columns, with or without a header; delimiters are comma, semicolon or
 *   tab, and decimal marks points or commas.
 * @returns {{points, labels, classNames, inputNames, labelName, notes}} points has 2 numbers for
 *   each sample.
 * @throws {chalk.CsvError} with the line, what was expected, what came and what to do.
 */
chalk.planeFromCsv = (text) => {
  const content = text.replace(/^\ufeff/, "");
  const delimiter = chalk.csvDelimiter(content);
  const rows = chalk.csvRows(content, delimiter);
  if (rows.length === 0) {
    throw new chalk.CsvError("The file is empty. Expected two columns of numbers and a column of classes.");
  }
  chalk.checkColumns(rows, delimiter);
  const isComma = chalk.hasDecimalCommas(rows);
  const isNumber = (field) => Number.isFinite(chalk.csvNumber(field, isComma));
  const hasHeader = chalk.hasCsvHeader(rows, isNumber);
  const names = hasHeader ? rows[0].fields : ["x1", "x2", "class"];
  const body = hasHeader ? rows.slice(1) : rows;
  chalk.checkRowCount(body.length);
  const labelColumn = chalk.labelColumn(body, names, hasHeader, isNumber);
  const inputColumns = [0, 1, 2].filter((column) => column !== labelColumn);
  const { points, labels, classNames } = chalk.readPoints(body, inputColumns, labelColumn, names, isComma, hasHeader);
  const notes = chalk.csvNotes(names, labelColumn, hasHeader, isComma);
  const inputNames = hasHeader ? inputColumns.map((column) => names[column] || `column ${column + 1}`) : ["x1", "x2"];
  return { points, labels, classNames, inputNames, labelName: hasHeader ? names[labelColumn] : "class", notes };
};

chalk.checkColumns = (rows, delimiter) => {
  const name = { ",": "commas", ";": "semicolons", "\t": "tabs" }[delimiter];
  for (const { line, fields } of rows) {
    if (fields.length === 3) continue;
    const isDecimal = delimiter === "," && fields.length === 5;
    const count = `${fields.length} ${fields.length === 1 ? "field" : "fields"}`;
    throw new chalk.CsvError(
      `Line ${line}: expected 3 fields (two numbers and a class) with ${name} between them, got ${count}. ` +
        (isDecimal
          ? "Numbers with decimal commas need semicolons between the fields, or quotes."
          : "Keep two columns of numbers and the column of classes, and put quotes around texts that contain the delimiter."),
    );
  }
};

/** Return whether some field is a number only if its comma is a decimal mark, and none needs a point. */
chalk.hasDecimalCommas = (rows) => {
  const fields = rows.flatMap((row) => row.fields);
  const isNumber = (field, isComma) => !Number.isNaN(chalk.csvNumber(field, isComma));
  const needsComma = fields.some((field) => isNumber(field, true) && !isNumber(field, false));
  const needsPoint = fields.some((field) => isNumber(field, false) && !isNumber(field, true));
  return needsComma && !needsPoint;
};

/** Return whether the first row has a text in a column in which the most other rows have numbers. */
chalk.hasCsvHeader = (rows, isNumber) => {
  const [first, ...others] = rows;
  const rate = (column) => others.filter(({ fields }) => isNumber(fields[column])).length / Math.max(others.length, 1);
  const numeric = [0, 1, 2].filter((column) => rate(column) > 0.5);
  return numeric.length >= 2 && numeric.every((column) => !isNumber(first.fields[column]));
};

chalk.checkRowCount = (n) => {
  const { rows, minRows } = chalk.csvLimits;
  if (n < minRows) throw new chalk.CsvError(`Expected at least ${minRows} rows of numbers, got ${n}. Add rows to the file.`);
  if (n > rows) {
    throw new chalk.CsvError(
      `Expected at most ${rows.toLocaleString("en-US")} rows, got ${n.toLocaleString("en-US")}. Keep a random part of the rows.`);
  }
};

/** Return the column of the classes: the one without numbers, the one with such a name, or the last. */
chalk.labelColumn = (rows, names, hasHeader, isNumber) => {
  const rates = [0, 1, 2].map((column) => rows.filter(({ fields }) => isNumber(fields[column])).length / rows.length);
  const lowest = rates.indexOf(Math.min(...rates));
  if (rates[lowest] < 0.5) return lowest;
  const named = names.findIndex((name) => /^(class|label|target|y|species|group|category)$/i.test(name));
  return hasHeader && named >= 0 ? named : 2;
};

/** Return points, labels and class names of the rows. */
chalk.readPoints = (rows, inputColumns, labelColumn, names, isComma, hasHeader) => {
  const points = new Float64Array(2 * rows.length);
  const indices = new Map();
  const labels = Int32Array.from(rows, ({ line, fields }, k) => {
    inputColumns.forEach((column, axis) => {
      const value = chalk.csvNumber(fields[column], isComma);
      const place = `Line ${line}, ${hasHeader ? `column '${names[column]}'` : `column ${column + 1}`}`;
      if (!Number.isFinite(value) || Math.abs(value) > 1e30) {
        const came = fields[column] === "" ? "an empty field" : `'${fields[column].slice(0, 40)}'`;
        const example = isComma ? "0,5" : "0.5";
        throw new chalk.CsvError(`${place}: expected a number such as ${example}, got ${came}. Correct or remove the line.`);
      }
      points[2 * k + axis] = value;
    });
    const name = fields[labelColumn];
    if (name === "") throw new chalk.CsvError(`Line ${line}: the class is empty. Give the class or remove the line.`);
    if (!indices.has(name)) indices.set(name, indices.size);
    if (indices.size > chalk.csvLimits.classes) {
      throw new chalk.CsvError(
        `Line ${line}: expected at most ${chalk.csvLimits.classes} classes, and '${name.slice(0, 40)}' is one more. ` +
          `The classes are read from column ${labelColumn + 1}.`);
    }
    return indices.get(name);
  });
  if (indices.size < 2) {
    const [name] = indices.keys();
    throw new chalk.CsvError(`Expected at least two classes, got only '${name.slice(0, 40)}'. Add rows of another class.`);
  }
  const classNames = [...indices.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const sorted = [...indices.keys()].map((name) => classNames.indexOf(name));
  return { points, labels: labels.map((label) => sorted[label]), classNames };
};

/** Return sentences about what was guessed. */
chalk.csvNotes = (names, labelColumn, hasHeader, isComma) => {
  const column = hasHeader ? `column '${names[labelColumn]}'` : `column ${labelColumn + 1}`;
  const notes = [`The classes are read from ${column}.`];
  if (isComma) notes.push("Commas in numbers are read as decimal marks.");
  if (!hasHeader) notes.push("The first line is read as a sample, because it has numbers.");
  return notes;
};
