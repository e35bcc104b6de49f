/**
 * The encoding of table rows: values of columns become the inputs of the network, and back.
 *
 * columns: [{name, kind, categories, has_missing, has_time}], as src/chalknet/data/tables/rows.py
 * encodes them. A value is a number, NaN if it is missing; a date in days since 1970; or the position
 * of a category: the number of categories for a missing one, and -1 for one that is not known.
 *
 * The inputs are first the numbers and dates themselves, and then for each column:
 *   category: -1 or 1 if there are two and none was missing, else one 0 or 1 for each category and,
 *     if values were missing, for a missing one;
 *   date: sine and cosine of the time of year, of the day of the week and, with times, of the day;
 *   number or date: 1 where the value is missing, else 0, if values were missing.
 */
chalk.CYCLES = [
  { days: 365.2425, start: 0 },
  { days: 7, start: 4 },
  { days: 1, start: 0 },
];

/** Return whether a column of categories is one input of -1 or 1. */
chalk.isBinary = (column) => column.categories.length === 2 && !column.has_missing;

/** Return the inputs that are derived from the value of a column. */
chalk.derivedInputs = (column, value) => {
  if (column.kind === "category") {
    if (chalk.isBinary(column)) return [[-1, 1][value] ?? 0];
    const n = column.categories.length + (column.has_missing ? 1 : 0);
    return Array.from({ length: n }, (_, at) => (at === value ? 1 : 0));
  }
  const isMissing = Number.isNaN(value);
  const cycles = column.kind === "date" ? chalk.CYCLES.slice(0, column.has_time ? 3 : 2) : [];
  const waves = cycles.flatMap(({ days, start }) => {
    const place = (value - start) % days; // negative before the start
    const angle = (2 * Math.PI * (place < 0 ? place + days : place)) / days;
    return isMissing ? [0, 0] : [Math.sin(angle), Math.cos(angle)];
  });
  return column.has_missing ? [...waves, isMissing ? 1 : 0] : waves;
};

/** Return the inputs (I,) of a row of values, one for each column. */
chalk.encodedRow = (columns, values) => {
  const numbers = values.filter((_, at) => columns[at].kind !== "category");
  return Float64Array.from([
    ...numbers,
    ...columns.flatMap((column, at) => chalk.derivedInputs(column, values[at])),
  ]);
};

/** Return the values of the columns of a row of inputs (I,). */
chalk.decodedRow = (columns, raw) => {
  let number = 0;
  let at = columns.filter((column) => column.kind !== "category").length;
  return columns.map((column) => {
    const size = chalk.derivedInputs(column, NaN).length;
    const derived = [...raw.subarray(at, at + size)];
    at += size;
    if (column.kind !== "category") return raw[number++];
    return chalk.isBinary(column) ? [-1, 1].indexOf(derived[0]) : derived.indexOf(1);
  });
};
