/** Make elements of the blocks of a page. Texts are always inserted as text, never as HTML. */

import { drawFigure } from "./drawing.js";

const MAX_PANEL = 640; // pixels; drawings are as wide as their place, and their letters keep their size
const MIN_PANEL_REM = 19; // smallest width of a panel that does not stand alone
const GAP = 20;
const TALL_ROWS = 18;

/**
 * Return a new element.
 *
 * @param {string} tag
 * @param {object} attributes those that are null, undefined or false are left out.
 * @param {...(Node|string|null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Return running text with its markup. */
function running(spans) {
  const tags = { code: "code", emphasis: "em", strong: "strong" };
  return spans.map((span) => (tags[span.kind] ? element(tags[span.kind], {}, span.text) : span.text));
}

/**
 * Return the element of a block.
 *
 * @param {object} block
 * @param {string} prefix of ids, unique in the page.
 */
export function blockElement(block, prefix) {
  if (block.type === "paragraph") return element("p", {}, ...running(block.spans));
  if (block.type === "note") {
    const isWarning = block.kind === "warning";
    return element("p", { class: `note ${isWarning ? "warning" : ""}`, role: "note" }, ...running(block.spans));
  }
  if (block.type === "findings") {
    return element("ul", { class: "findings" }, ...block.items.map((item) => element("li", {}, ...running(item))));
  }
  if (block.type === "code") return commands(block.text, prefix);
  return block.type === "table" ? table(block, prefix) : figure(block, prefix);
}

/** Return a command for each line, with a button that copies it. */
function commands(text, prefix) {
  const lines = text.split("\n").map((line, at) => {
    const shown = element("pre", { tabindex: "0", id: `${prefix}-${at}` }, element("code", {}, line));
    const box = element("div", { class: "command" }, shown);
    if (navigator.clipboard) {
      const button = element("button", { type: "button", id: `${prefix}-${at}-copy`, "aria-label": `Copy the command ${line}` }, "Copy");
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
      box.append(button);
    }
    return box;
  });
  return element("div", {}, ...lines);
}

function table(block, prefix) {
  const id = `${prefix}-${block.name}`;
  const head = block.columns.map((name, at) => element(name ? "th" : "td", { class: block.kinds[at], scope: name ? "col" : null }, name));
  const rows = block.rows.map((row, at) => {
    const cells = row.map((text, column) =>
      element(column ? "td" : "th", { class: block.kinds[column], scope: column ? null : "row" }, text),
    );
    return element("tr", { class: block.highlight.includes(at) ? "highlight" : null }, ...cells);
  });
  const grid = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  const tall = rows.length > TALL_ROWS ? "scroll tall" : "scroll";
  return element(
    "figure",
    { class: "table" },
    element("figcaption", { id: `${id}-caption` }, ...running(block.caption)),
    element("div", { class: tall, role: "region", tabindex: "0", id: `${id}-scroll`, "aria-labelledby": `${id}-caption` }, grid),
  );
}

function figure(block, prefix) {
  const single = block.figure.panels.length === 1;
  const place = element("div", { class: single ? "drawing single" : "drawing", role: "img", "aria-label": block.alt });
  const legend = element("ul", { class: "legend of-figure", "aria-hidden": "true" });
  const made = element("figure", { class: "picture", id: `${prefix}-${block.name}` });
  made.append(element("figcaption", {}, ...running(block.caption)), legend, place);
  made.redraw = () => redraw(block.figure, place, legend);
  return made;
}

/** Draw a figure for the present width of its place. */
function redraw(data, place, legend) {
  const whole = place.clientWidth;
  if (!whole) return;
  const least = MIN_PANEL_REM * parseFloat(getComputedStyle(document.documentElement).fontSize);
  const columns = Math.max(1, Math.min(data.panels.length, Math.floor((whole + GAP) / (least + GAP))));
  place.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  const width = Math.round((whole - GAP * (columns - 1)) / columns);
  const drawn = drawFigure(data, Math.max(Math.min(width, MAX_PANEL), 200));
  place.replaceChildren(...drawn.panels);
  legend.replaceChildren(...drawn.legend.map((entry) => element("li", {}, entry.swatch, entry.label)));
  legend.hidden = drawn.legend.length === 0;
}
