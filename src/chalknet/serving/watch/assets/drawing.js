/** Draw figures as SVG. A figure is the JSON of a `Figure` of chalknet: panels of curves, or grids of values. */

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 3", "8 3 2 3", "2 3"];
const N_COLORS = 7;
const MARGIN = { left: 54, right: 12, top: 26, bottom: 40 };

/**
 * Return an element of SVG.
 *
 * @param {string} tag
 * @param {object} attributes
 * @param {string} [text] its content.
 */
export function svg(tag, attributes = {}, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/**
 * Return the panels of a figure and its legend, for a place of a width.
 *
 * @param {object} figure
 * @param {number} width of the place, in pixels.
 * @returns {{panels: SVGElement[], legend: Array<{label: string, swatch: SVGElement}>}}
 */
export function drawFigure(figure, width) {
  const labels = [];
  for (const panel of figure.panels) {
    for (const curve of panel.curves ?? []) if (curve.label && !labels.includes(curve.label)) labels.push(curve.label);
  }
  const indexOf = (curve) => curve.color ?? Math.max(labels.indexOf(curve.label), 0);
  const shared = { x: figure.same_x ? rangeOf(figure.panels, "x") : null, y: figure.same_y ? rangeOf(figure.panels, "y") : null };
  const panels = figure.panels.map((panel) =>
    panel.kind === "panel" ? drawPanel(panel, width, indexOf, shared) : drawGrid(panel, width),
  );
  return { panels, legend: legendOf(figure, labels, indexOf) };
}

function legendOf(figure, labels, indexOf) {
  const curves = figure.panels.flatMap((panel) => panel.curves ?? []);
  const entries = labels.map((label) => ({ label, swatch: swatch(curves.find((curve) => curve.label === label), indexOf) }));
  const marks = [...new Set(figure.panels.flatMap((panel) => panel.marks ?? []).map((mark) => mark.label))].filter(Boolean);
  for (const label of marks) {
    const sample = svg("svg", { width: 14, height: 14, "aria-hidden": "true" });
    sample.append(svg("line", { x1: 7, x2: 7, y1: 0, y2: 14, class: "mark" }));
    entries.push({ label, swatch: sample });
  }
  return entries.length > 1 ? entries : [];
}

function swatch(curve, indexOf) {
  const sample = svg("svg", { width: 28, height: 10, "aria-hidden": "true" });
  const at = indexOf(curve);
  if (curve.style !== "points") sample.append(svg("line", { x1: 0, x2: 28, y1: 5, y2: 5, ...lineStyle(at) }));
  if (curve.style !== "line") sample.append(svg("circle", { cx: 14, cy: 5, r: 4, fill: color(at) }));
  return sample;
}

const color = (at) => `var(--curve-${at % N_COLORS})`;
const lineStyle = (at) => ({ class: "line", stroke: color(at), "stroke-dasharray": DASHES[at % DASHES.length] });

/** Return the smallest and the largest number of an axis over panels. */
function rangeOf(panels, axis) {
  let low = Infinity;
  let high = -Infinity;
  for (const panel of panels) {
    const limits = axis === "x" ? panel.x_limits : panel.y_limits;
    if (limits) {
      low = Math.min(low, limits[0]);
      high = Math.max(high, limits[1]);
      continue;
    }
    for (const curve of panel.curves ?? []) {
      for (const values of axis === "x" ? [curve.x] : [curve.y, curve.low ?? [], curve.high ?? []]) {
        for (const value of values) {
          if (value === null) continue;
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
    }
  }
  return Number.isFinite(low) ? [low, high] : [0, 1];
}

/** Return a function that maps values to pixels, and the ticks of the axis. */
function makeScale([low, high], kind, from, to, margin, minStep = 0) {
  const isLog = kind === "log" && low > 0;
  const map = isLog ? Math.log10 : (value) => value;
  let [a, b] = [map(low), map(high)];
  if (b - a < 1e-12) [a, b] = [a - (Math.abs(a) || 1) * 0.1, b + (Math.abs(b) || 1) * 0.1];
  [a, b] = [a - margin * (b - a), b + margin * (b - a)];
  const at = (value) => from + ((map(value) - a) / (b - a)) * (to - from);
  const room = Math.max(2, Math.floor(Math.abs(to - from) / (from < to ? 70 : 26)));
  return { at, ticks: isLog ? logTicks(a, b, room) : linearTicks(a, b, room, minStep) };
}

function linearTicks(low, high, room, minStep) {
  const raw = Math.max((high - low) / room, minStep);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= raw);
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high + 1e-9 * step; n += 1) ticks.push(Number((n * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high, room) {
  const ticks = [];
  const decades = high - low;
  const factors = decades <= room / 3 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(decades / room));
  for (let power = Math.floor(low); power <= Math.ceil(high); power += stride) {
    for (const factor of factors) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (Math.log10(value) >= low && Math.log10(value) <= high) ticks.push(value);
    }
  }
  return ticks;
}

/** Return a number as a label of an axis. */
function label(value, isPercent) {
  const shown = isPercent ? Number((100 * value).toPrecision(6)) : value;
  const size = Math.abs(shown);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? shown.toExponential().replace("e+", "e") : shown.toLocaleString("en-US", { maximumFractionDigits: 6 });
  return text.replace("-", "−") + (isPercent ? " %" : "");
}

/** Return one panel of curves. */
function drawPanel(panel, width, indexOf, shared) {
  const height = Math.round(Math.min(Math.max(width * 0.62, 200), 340));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  const hasPoints = panel.curves.some((curve) => curve.style !== "line");
  const x = makeScale(shared.x ?? rangeOf([panel], "x"), panel.x_scale, MARGIN.left, right, hasPoints ? 0.08 : 0, panel.x_label === "epoch" ? 1 : 0);
  const y = makeScale(shared.y ?? rangeOf([panel], "y"), panel.y_scale, bottom, MARGIN.top, panel.y_limits ? 0 : 0.05);
  if (panel.x_names.length) x.ticks = panel.x_names.map((_, place) => place);
  drawAxes(drawing, panel, x, y, width, height);
  const clip = `clip-${(drawFigure.count = (drawFigure.count ?? 0) + 1)}`;
  const path = svg("clipPath", { id: clip });
  path.append(svg("rect", { x: MARGIN.left, y: MARGIN.top, width: right - MARGIN.left, height: bottom - MARGIN.top }));
  const inner = svg("g", { "clip-path": `url(#${clip})` });
  drawing.append(path, inner, svg("rect", { class: "frame", x: MARGIN.left, y: MARGIN.top, width: right - MARGIN.left, height: bottom - MARGIN.top }));
  for (const mark of panel.marks) drawMark(inner, mark, x, y, right, bottom);
  for (const curve of panel.curves) drawCurve(inner, curve, indexOf(curve), x, y);
  return drawing;
}

function drawAxes(drawing, panel, x, y, width, height) {
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  for (const tick of y.ticks) {
    drawing.append(svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: y.at(tick), y2: y.at(tick) }));
    drawing.append(svg("text", { x: MARGIN.left - 6, y: y.at(tick) + 4, "text-anchor": "end" }, label(tick, panel.is_accuracy)));
  }
  const room = (right - MARGIN.left) / Math.max(x.ticks.length, 1);
  for (const tick of x.ticks) {
    const name = panel.x_names.length ? shortened(panel.x_names[tick] ?? "", room) : label(tick, false);
    drawing.append(svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: MARGIN.top, y2: bottom }));
    drawing.append(svg("text", { x: x.at(tick), y: bottom + 15, "text-anchor": "middle" }, name));
  }
  const middle = (MARGIN.left + right) / 2;
  drawing.append(svg("text", { x: middle, y: height - 6, "text-anchor": "middle" }, panel.x_label));
  const title = panel.title ? `${panel.title} · ${panel.y_label}` : panel.y_label;
  const shown = shortened(panel.title || panel.y_label, width - 16);
  const text = svg("text", { class: "title", x: 8, y: 15 }, shown);
  text.append(svg("title", {}, title));
  drawing.append(text);
}

/** Return a text cut to a width in pixels. */
function shortened(text, room) {
  const letters = Math.max(3, Math.floor(room / 7));
  return text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
}

function drawMark(place, mark, x, y, right, bottom) {
  if (mark.axis === "y") {
    place.append(svg("line", { class: "mark", x1: MARGIN.left, x2: right, y1: y.at(mark.at), y2: y.at(mark.at) }));
    return;
  }
  if (mark.low !== null) {
    const [from, to] = [x.at(mark.low), x.at(mark.high)];
    place.append(svg("rect", { class: "mark-band", x: from, y: MARGIN.top, width: Math.max(to - from, 1), height: bottom - MARGIN.top }));
  }
  place.append(svg("line", { class: "mark", x1: x.at(mark.at), x2: x.at(mark.at), y1: MARGIN.top, y2: bottom }));
}

function drawCurve(place, curve, at, x, y) {
  const known = curve.x.map((_, n) => n).filter((n) => curve.y[n] !== null);
  const points = (values, order) => order.map((n) => `${x.at(curve.x[n]).toFixed(1)},${y.at(values[n]).toFixed(1)}`);
  const isLine = curve.style === "line";
  const hasBand = curve.low && known.every((n) => curve.low[n] !== null && curve.high[n] !== null);
  if (hasBand && isLine) {
    const outline = [...points(curve.high, known), ...points(curve.low, known.slice().reverse())].join(" ");
    place.append(svg("polygon", { class: "band", points: outline, fill: color(at) }));
  }
  if (curve.style !== "points") place.append(svg("polyline", { points: points(curve.y, known).join(" "), ...lineStyle(at) }));
  if (isLine) {
    const last = known.at(-1);
    if (last !== undefined) place.append(svg("circle", { cx: x.at(curve.x[last]), cy: y.at(curve.y[last]), r: 2.5, fill: color(at) }));
    return;
  }
  for (const n of known) {
    const middle = x.at(curve.x[n]);
    if (hasBand) place.append(svg("line", { x1: middle, x2: middle, y1: y.at(curve.low[n]), y2: y.at(curve.high[n]), stroke: color(at), "stroke-width": 2 }));
    place.append(svg("circle", { cx: middle, cy: y.at(curve.y[n]), r: hasBand ? 4.5 : 3, fill: color(at) }));
  }
}

/** Return a grid of counts or fractions. */
function drawGrid(panel, width) {
  const values = panel.values ?? panel.counts;
  const left = Math.min(width / 3, 16 + 7 * Math.max(...panel.row_names.map((name) => name.length)));
  const cell = Math.min(Math.max((width - left - 12) / panel.column_names.length, 12), 90);
  const tall = Math.min(cell, 40);
  const height = 52 + tall * values.length + 22;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const known = values.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  drawing.append(svg("text", { class: "title", x: 8, y: 15 }, `${panel.y_label} (rows), ${panel.x_label} (columns)`));
  panel.column_names.forEach((name, column) =>
    drawing.append(svg("text", { x: left + (column + 0.5) * cell, y: 44, "text-anchor": "middle" }, shortened(name, cell))),
  );
  values.forEach((row, at) => {
    const top = 52 + at * tall;
    drawing.append(svg("text", { x: left - 6, y: top + tall / 2 + 4, "text-anchor": "end" }, shortened(panel.row_names[at], left)));
    row.forEach((value, column) => {
      const part = value === null || high === low ? 0 : (value - low) / (high - low);
      drawing.append(svg("rect", { class: "shade", "fill-opacity": part.toFixed(3), x: left + column * cell, y: top, width: cell, height: tall }));
      if (value === null) return;
      const text = panel.values ? (100 * value).toFixed(1) : String(value);
      drawing.append(svg("text", { x: left + (column + 0.5) * cell, y: top + tall / 2 + 4, "text-anchor": "middle", class: part > 0.6 ? "on-shade" : "" }, text));
    });
  });
  return drawing;
}
