// The timeline of a run: one row for each step, of which only those in sight exist, so that ten thousand open at once.
import { onChange, unhurried } from "./live.js";
import { now, span, tick } from "./time.js";

const card = document.querySelector("[data-trace]");
const address = card.dataset.trace;
const box = document.getElementById("trace-rows");
const axis = document.getElementById("trace-axis");
const panel = document.getElementById("step");
const narrow = matchMedia("(max-width: 760px)");
const shapes = document.getElementById("icons").content;
const SPARE = 12; // rows beyond what is in sight
const RESTS = new Set(["sleep", "wait for event", "wait for signal", "invoke", "deferred"]);
const space = document.createElement("div");
space.className = "trace-space";

let trace = null;
let range = [0, 1];
let here = 0; // the row that the keyboard is at
let chosen = decodeURIComponent(location.hash.replace(/^#step=/, "")) || null;

const height = () => (narrow.matches ? 46 : 30);

function read([id, name, kind, status, start, end, due, failed, child, copied]) {
  return { id, name, kind, status, start, end, due, failed, child, copied };
}

const load = unhurried(async () => {
  const answer = await fetch(`${address}/timeline`, { cache: "no-store" });
  if (answer.redirected) location.reload();
  if (!answer.ok) throw new TypeError(`${answer.status}`);
  const found = await answer.json();
  found.rows = found.rows.map(read);
  const first = trace === null;
  trace = found;
  box.setAttribute("aria-busy", "false");
  document.getElementById("trace-count").textContent = trace.rows.length.toLocaleString("en");
  if (!trace.rows.length) {
    box.replaceChildren(Object.assign(document.createElement("p"), {
      className: "trace-note",
      textContent: trace.ended === null ? "No step has begun yet." : "This run had no steps.",
    }));
    axis.replaceChildren();
    return;
  }
  if (space.parentNode !== box) box.replaceChildren(space);
  draw();
  if (first && chosen) choose(chosen, true);
});

function draw() {
  if (!trace?.rows.length) return;
  const at = now();
  let from = trace.started ?? trace.queued;
  let to = trace.ended ?? at;
  for (const row of trace.rows) {
    if (row.start < from && !row.copied) from = row.start;
    if (row.end !== null && row.end > to) to = row.end;
  }
  range = [from, Math.max(to, from + 1)];
  scale();
  space.style.height = `${trace.rows.length * height()}px`;
  paint();
}

function scale() {
  const length = range[1] - range[0];
  const count = Math.min(6, Math.max(1, Math.floor(axis.clientWidth / 110)));
  axis.replaceChildren(...Array.from({ length: count + 1 }, (_, index) => {
    const mark = document.createElement("span");
    mark.textContent = index ? `+${span(length * index / count)}` : "0";
    mark.style.left = `${100 * index / count}%`;
    return mark;
  }));
}

function paint() {
  if (!trace?.rows.length) return;
  const high = height();
  const first = Math.max(0, Math.floor(box.scrollTop / high) - SPARE);
  const last = Math.min(trace.rows.length, Math.ceil((box.scrollTop + box.clientHeight) / high) + SPARE);
  space.replaceChildren(...trace.rows.slice(first, last).map((row, index) => element(row, first + index, high)));
  box.setAttribute("aria-activedescendant", `s-${here}`);
}

function element(row, index, high) {
  const look = trace.looks[row.status];
  const place = document.createElement("div");
  place.className = `trace-row tone-${look[1]}${index === here ? " is-here" : ""}`;
  place.id = `s-${index}`;
  place.dataset.index = index;
  place.setAttribute("role", "option");
  place.setAttribute("aria-selected", String(row.id === chosen));
  place.setAttribute("aria-posinset", index + 1);
  place.setAttribute("aria-setsize", trace.rows.length);
  const length = (row.end ?? now()) - row.start;
  place.setAttribute("aria-label", `${row.name}, ${row.kind}, ${look[0]}, ${span(length)}`);
  place.style.top = `${index * high}px`;
  const name = document.createElement("div");
  name.className = "trace-name";
  const icon = shapes.querySelector(`[data-shape="${look[2]}"] svg`);
  if (icon) name.append(icon.cloneNode(true));
  const title = document.createElement("b");
  title.textContent = row.name;
  title.title = row.name;
  const kind = document.createElement("small");
  kind.textContent = row.failed?.length && row.status !== "FAILED" ? `${row.kind} · ${row.failed.length} failed` : row.kind;
  name.append(title, kind);
  const lane = document.createElement("div");
  lane.className = "trace-lane";
  lane.append(...bars(row, look, length));
  place.append(name, lane);
  return place;
}

const share = (ms) => 100 * Math.min(1, Math.max(0, (ms - range[0]) / (range[1] - range[0])));

function bar(start, end, ...classes) {
  const place = document.createElement("div");
  place.className = ["trace-bar", ...classes].join(" ");
  place.style.left = `min(${share(start)}%, calc(100% - 3px))`;
  place.style.width = `${share(end) - share(start)}%`;
  return place;
}

function bars(row, look, length) {
  const found = [];
  const rests = RESTS.has(row.kind) ? ["rests"] : [];
  const copied = row.copied ? ["copied"] : [];
  let start = row.start;
  for (const [began, ended] of row.failed ?? []) {
    if (began > start) found.push(bar(start, began, "gap"));
    found.push(bar(began, ended, "tone-bad"));
    start = ended;
  }
  const end = row.end ?? now();
  const waits = row.status === "ERRORED" || row.status === "QUEUED";
  if (waits) found.push(bar(start, end, "gap"));
  else if (row.status !== "FAILED" || !row.failed?.length) {
    found.push(bar(start, end, ...rests, ...copied, ...(row.end === null ? ["open"] : [])));
  }
  const text = document.createElement("span");
  const right = share(end);
  text.className = right > 86 ? "trace-length before" : "trace-length";
  text.style.left = `${right > 86 ? share(row.start) : right}%`;
  if (right > 86 && share(row.start) < 12) text.hidden = true;
  text.textContent = span(length);
  found.push(text);
  return found;
}

async function choose(id, quiet) {
  const index = trace.rows.findIndex((row) => row.id === id);
  if (index < 0) return;
  const already = chosen === id && !panel.hidden;
  chosen = id;
  here = index;
  reveal(index);
  paint();
  await htmx.ajax("GET", `${address}/steps/${encodeURIComponent(id)}`, {
    target: panel, swap: already ? "innerMorph" : "innerHTML",
  });
  panel.hidden = false;
  tick(panel);
  if (!quiet) history.replaceState(null, "", `#step=${encodeURIComponent(id)}`);
  if (narrow.matches && !quiet) panel.scrollIntoView({ block: "start" });
}

function close() {
  chosen = null;
  panel.hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
  paint();
  box.focus();
}

function reveal(index) {
  const [top, high] = [index * height(), height()];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + high > box.scrollTop + box.clientHeight) box.scrollTop = top + high - box.clientHeight;
}

function go(to) {
  here = Math.min(trace.rows.length - 1, Math.max(0, to));
  reveal(here);
  paint();
}

const page = () => Math.max(1, Math.floor(box.clientHeight / height()) - 1);
const KEYS = {
  ArrowDown: () => go(here + 1), j: () => go(here + 1),
  ArrowUp: () => go(here - 1), k: () => go(here - 1),
  PageDown: () => go(here + page()), PageUp: () => go(here - page()),
  Home: () => go(0), End: () => go(trace.rows.length - 1),
  Enter: () => choose(trace.rows[here].id), " ": () => choose(trace.rows[here].id),
};

box.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !trace?.rows.length || !KEYS[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
});
box.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
box.addEventListener("click", (event) => {
  const row = event.target.closest(".trace-row");
  if (row) choose(trace.rows[Number(row.dataset.index)].id);
});
panel.addEventListener("click", (event) => event.target.closest("[data-close-step]") && close());
document.addEventListener("keydown", (event) => event.key === "Escape" && chosen && close());
narrow.addEventListener("change", draw);
addEventListener("resize", () => requestAnimationFrame(draw));
onChange(async () => {
  await load();
  if (chosen && !panel.hidden) choose(chosen, true);
});
setInterval(() => {
  if (trace && trace.ended === null && !document.hidden) draw();
}, 1000);
load();
