/** Ask the server for the state of a study or a training, and show what has changed. */

import { blockElement, element } from "./blocks.js";

const SECOND = 1000;
const PAUSES = { usual: 2 * SECOND, quiet: 5 * SECOND, hidden: 20 * SECOND, ended: 30 * SECOND, lost: 3 * SECOND };
const QUIET_AFTER = 20; // answers without a change
const SPEAK_EVERY = 60 * SECOND; // to a screen reader, while nothing important changes

const at = (id) => document.getElementById(id);
const shown = { page: null, tag: "", sections: new Map(), offset: 0, unchanged: 0, receivedAt: null };
const spoken = { text: "", phase: "", at: 0 };
let timer = 0;
let isLost = false;

/** Ask once, show the answer, and plan the next question. */
async function refresh() {
  clearTimeout(timer);
  try {
    await ask();
    if (isLost) say("The connection is back.");
    isLost = false;
  } catch {
    if (!isLost) say("The connection to the server is lost.");
    isLost = true;
  }
  showConnection();
  timer = setTimeout(refresh, pause());
}

function pause() {
  if (isLost) return PAUSES.lost;
  if (document.hidden) return PAUSES.hidden;
  if (shown.page?.phase === "finished") return PAUSES.ended;
  return shown.unchanged > QUIET_AFTER ? PAUSES.quiet : PAUSES.usual;
}

async function ask() {
  const token = sessionStorage.getItem("token");
  const headers = shown.tag ? { "If-None-Match": shown.tag } : {};
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch("state", { headers, cache: "no-store", signal: AbortSignal.timeout(60 * SECOND) });
  at("token-form").hidden = answer.status !== 401;
  if (answer.status === 401) return;
  if (answer.status === 304) {
    shown.unchanged += 1;
    shown.receivedAt = new Date();
    return;
  }
  if (!answer.ok) throw new Error(String(answer.status));
  const page = await answer.json();
  shown.tag = answer.headers.get("etag") ?? "";
  shown.offset = Date.parse(answer.headers.get("date") ?? "") - Date.now() || 0;
  shown.page = page;
  shown.unchanged = 0;
  shown.receivedAt = new Date();
  showPage(page);
}

function showPage(page) {
  at("title").textContent = page.title;
  at("subtitle").textContent = page.subtitle;
  at("state").dataset.phase = page.phase;
  at("headline").textContent = page.headline;
  document.title = page.progress === null ? page.title : `${Math.floor(100 * page.progress)} % ${page.title}`;
  showBar(page);
  showSections(page.sections);
  showTime();
  if (page.phase !== spoken.phase || Date.now() - spoken.at > SPEAK_EVERY) say(page.headline);
  spoken.phase = page.phase;
}

/** Tell a screen reader. */
function say(text) {
  if (text === spoken.text) return;
  at("said").textContent = text;
  Object.assign(spoken, { text, at: Date.now() });
}

function showBar(page) {
  const bar = at("bar");
  bar.hidden = page.progress === null;
  const parts = page.parts.length ? page.parts : [["done", page.progress ?? 0], ["waiting", 1 - (page.progress ?? 0)]];
  const total = parts.reduce((sum, [, size]) => sum + size, 0) || 1;
  while (bar.children.length > parts.length) bar.lastChild.remove();
  parts.forEach(([name, size], place) => {
    const part = bar.children[place] ?? bar.appendChild(element("span"));
    part.className = name;
    part.style.width = `${(100 * size) / total}%`;
  });
  bar.setAttribute("aria-valuenow", String(Math.floor(100 * (page.progress ?? 0))));
  bar.setAttribute("aria-valuetext", page.progress_text);
  const legend = page.parts.filter(([name, size]) => size || name === "done").map(([name, size]) => element("li", {}, element("i", { class: name }), `${size.toLocaleString("en-US")} ${name}`));
  at("parts").replaceChildren(...legend);
  at("parts").hidden = legend.length === 0;
}

/** Replace the sections that have changed, and keep the others, with focus and scroll positions. */
function showSections(sections) {
  const main = at("sections");
  const names = new Set(sections.map((section) => section.name));
  for (const [name, known] of shown.sections) {
    if (!names.has(name)) {
      known.element.remove();
      shown.sections.delete(name);
    }
  }
  sections.forEach((section, place) => {
    const text = JSON.stringify(section);
    const known = shown.sections.get(section.name);
    if (known?.text !== text) {
      const made = sectionElement(section);
      if (known) replaceKept(known.element, made);
      shown.sections.set(section.name, { text, element: made });
    }
    const made = shown.sections.get(section.name).element;
    if (main.children[place] !== made) main.insertBefore(made, main.children[place] ?? null);
    if (known?.text !== text) drawIn(made);
  });
}

function sectionElement(section) {
  const id = `section-${section.name}`;
  const heading = element("h2", { id: `${id}-title` }, section.title);
  const blocks = section.blocks.map((block, place) => blockElement(block, `${section.name}-${place}`));
  return element("section", { id, "aria-labelledby": `${id}-title` }, heading, ...blocks);
}

function replaceKept(old, made) {
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const positions = [...old.querySelectorAll(".scroll, pre")].map((place) => [place.id, place.scrollLeft, place.scrollTop]);
  old.replaceWith(made);
  for (const [id, left, top] of positions) {
    const place = id ? at(id) : null;
    if (place) [place.scrollLeft, place.scrollTop] = [left, top];
  }
  if (focused) at(focused)?.focus({ preventScroll: true });
}

function drawIn(place) {
  for (const figure of place.querySelectorAll("figure.picture")) figure.redraw?.();
}

function showTime() {
  const page = shown.page;
  const left = at("left");
  left.hidden = !page || page.seconds_left === null || isLost;
  at("basis").textContent = left.hidden ? "" : page.basis;
  if (left.hidden) return;
  const now = (Date.now() + shown.offset) / SECOND;
  left.textContent = timeText(page.seconds_left - (now - page.estimated_at));
}

function timeText(seconds) {
  if (seconds < 5) return "A few seconds left";
  if (seconds < 90) return `About ${Math.ceil(seconds / 5) * 5} seconds left`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `About ${minutes} minutes left`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `About ${hours} h ${minutes % 60} min left` : `About ${Math.round(hours / 24)} days left`;
}

function showConnection() {
  const line = at("connection");
  line.classList.toggle("lost", isLost);
  if (isLost) {
    const since = shown.receivedAt ? ` This page shows the state at ${shown.receivedAt.toLocaleTimeString()}.` : "";
    // The port of this page, so that it finds the server again.
    const again = shown.page?.again && `${shown.page.again} --port ${location.port || 80}`;
    const lost = shown.page?.phase === "finished"
      ? "The work is finished, and the server of this page has ended."
      : `The connection to the server is lost.${since} This page tries to reconnect every ${PAUSES.lost / SECOND} seconds.`;
    line.replaceChildren(lost);
    if (again) line.append(" To show the page again: ", element("code", {}, again));
    return;
  }
  const texts = {
    finished: "The work has ended. This page changes only if more is trained.",
    interrupted: "This page changes when the work is resumed.",
    error: "This page tries again by itself.",
  };
  line.textContent = texts[shown.page?.phase] ?? "This page refreshes by itself.";
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value.trim());
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
new ResizeObserver(([entry]) => {
  const width = Math.round(entry.contentRect.width);
  if (width === shown.width) return;
  shown.width = width;
  requestAnimationFrame(() => drawIn(at("sections")));
}).observe(at("sections"));
setInterval(showTime, SECOND);
refresh();
