// The steps of a run: one row for each, of which only those in sight exist, so that ten thousand open at once. What ran
// at the same time is together, and below an invoke there are the steps of the run that it started.
import { ask, onChange, unhurried } from "./live.js";
import { now, span, tick } from "./time.js";
import { element } from "./trace-rows.js";
import { ranging, scale } from "./trace-range.js";

const card = document.querySelector("[data-trace]");
const address = card.dataset.trace;
const box = document.getElementById("trace-rows");
const axis = document.getElementById("trace-axis");
const spent = document.getElementById("trace-spent");
const panel = document.getElementById("step");
const narrow = matchMedia("(max-width: 760px)");
const SPARE = 12; // rows beyond what is in sight
const space = document.createElement("div");
space.className = "trace-space";

let trace = null;
let items = []; // what is shown, in its order
let here = 0; // the row that the keyboard is at
let drawing = null; // the graph, once somebody has looked at it
let chosen = decodeURIComponent(location.hash.replace(/^#step=/, "")) || null;
const folded = new Set(); // groups
const children = new Map(); // traces by the ids of runs, of those that are unfolded

const height = () => (narrow.matches ? 46 : 30);
const range = ranging(axis, () => whole(), () => draw());

function read([id, name, kind, status, start, end, due, failed, child, copied, group, last]) {
  return { id, name, kind, status, start, end, due, failed, child, copied, group, last };
}

async function fetched(asked, run, what) {
  return (await asked(`${run}/${what}`)).json();
}

async function traceOf(run, asked = ask) {
  const found = await fetched(asked, run, "timeline");
  found.rows = found.rows.map(read);
  return found;
}

const load = unhurried(async (ask) => {
  const found = await traceOf(address, ask);
  for (const [id, child] of children) {
    if (child.ended === null) children.set(id, await traceOf(`/runs/${id}`, ask));
  }
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
  } else {
    if (space.parentNode !== box) box.replaceChildren(space);
    arrange();
  }
  tell();
  if (card.dataset.view === "graph") await picture(ask);
  if (chosen && (first || !panel.hidden)) await choose(chosen, true);
});

// What is shown -------------------------------------------------------------------------------------------------------

function arrange() {
  items = [];
  gather(trace, address, 0, "");
  here = Math.min(here, items.length - 1);
  draw();
}

function gather(found, run, depth, suffix) {
  let group = 0;
  let shut = false;
  for (const [index, row] of found.rows.entries()) {
    if (row.group !== group) {
      group = row.group;
      shut = false;
      if (group) {
        const key = `group ${group}${suffix}`;
        shut = folded.has(key);
        const head = together(found.rows, index);
        items.push({ key, row: head, look: found.looks[head.status], depth, open: !shut, group: key });
      }
    }
    if (shut) continue;
    const below = depth + (group ? 1 : 0);
    const key = row.id + suffix;
    const child = row.child && children.get(row.child);
    const open = row.child ? Boolean(child) : undefined;
    items.push({ key, row, look: found.looks[row.status], depth: below, open, run });
    if (child) gather(child, `/runs/${row.child}`, below + 1, `@${row.child}`);
  }
}

function together(all, first) {
  let last = first;
  while (last < all.length && all[last].group === all[first].group) last++;
  const rows = all.slice(first, last);
  const ended = rows.every((row) => row.end !== null);
  const told = rows.find((row) => row.status === "FAILED") ?? rows.find((row) => row.end === null) ?? rows[0];
  return {
    name: `${rows.length} at the same time`, kind: "", status: told.status, bracket: true,
    start: Math.min(...rows.map((row) => row.start)), end: ended ? Math.max(...rows.map((row) => row.end)) : null,
  };
}

function whole() {
  if (!trace) return [0, 1];
  let from = trace.started ?? trace.queued;
  let to = trace.ended ?? now();
  for (const { row } of items) {
    if (row.start < from && !row.copied) from = row.start;
    if (row.end !== null && row.end > to) to = row.end;
  }
  return [from, Math.max(to, from + 1)];
}

function draw() {
  if (!trace?.rows.length) return;
  if (card.dataset.view === "timeline") scale(axis, range.part(), whole(), range);
  card.classList.toggle("is-zoomed", range.zoomed);
  space.style.height = `${items.length * height()}px`;
  paint();
}

function paint() {
  if (!trace?.rows.length) return;
  const high = height();
  const first = Math.max(0, Math.floor(box.scrollTop / high) - SPARE);
  const last = Math.min(items.length, Math.ceil((box.scrollTop + box.clientHeight) / high) + SPARE);
  const told = {
    count: items.length, high, here, chosen, range: range.part(), begun: whole()[0], listed: card.dataset.view === "list",
  };
  space.replaceChildren(...items.slice(first, last).map((item, index) => element(item, first + index, told)));
  box.setAttribute("aria-activedescendant", `s-${here}`);
}

// Where the time went: a strip, of which each part is as long as it was, and what they are in words.
function tell() {
  const words = ["queued", "executing", "waiting", "retrying", "between"];
  const total = trace.spent.reduce((sum, length) => sum + length, 0);
  const [strip, list] = spent.children;
  spent.hidden = !total;
  strip.replaceChildren();
  list.replaceChildren();
  for (const [index, length] of trace.spent.entries()) {
    if (!length) continue;
    const part = document.createElement("i");
    part.className = `spent-${words[index]}`;
    part.style.flexGrow = length;
    strip.append(part);
    const pair = document.createElement("div");
    const [word, text] = [document.createElement("dt"), document.createElement("dd")];
    word.className = `spent-${words[index]}`;
    word.textContent = words[index];
    text.textContent = span(length);
    pair.append(word, text);
    list.append(pair);
  }
}

async function picture(asked) {
  if (!drawing) {
    const { drawn } = await import("./graph.js");
    drawing = drawn(document.getElementById("trace-graph"), (node) => node.step && choose(node.step));
  }
  drawing.show(await fetched(asked, address, "graph"));
  drawing.choose(chosen);
}

function look(view) {
  card.dataset.view = view;
  for (const link of card.querySelectorAll("[data-look]")) {
    if (link.dataset.look === view) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const url = new URL(location.href);
  if (view === "timeline") url.searchParams.delete("view");
  else url.searchParams.set("view", view);
  history.replaceState(null, "", url);
  if (view === "graph" && trace) picture(ask).catch(() => load());
  else draw();
}

// What is chosen -------------------------------------------------------------------------------------------------------

const find = (key) => {
  const found = items.findIndex((item) => item.key === key);
  return found < 0 ? items.findIndex((item) => item.row.name === key && item.run === address) : found;
};

async function choose(key, quiet) {
  let index = find(key);
  if (index < 0 && folded.size) {
    folded.clear();
    arrange();
    index = find(key);
  }
  if (index < 0) return;
  const item = items[index];
  if (item.group) return fold(index);
  const already = chosen === item.key && !panel.hidden;
  chosen = item.key;
  here = index;
  reveal(index);
  paint();
  drawing?.choose(chosen);
  await htmx.ajax("GET", `${item.run}/steps/${encodeURIComponent(item.row.id)}`, {
    source: panel, target: panel, swap: already ? "innerMorph" : "innerHTML",
  });
  if (chosen !== item.key) return; // it was closed meanwhile, or another one chosen
  panel.hidden = false;
  tick(panel);
  if (!quiet) history.replaceState(null, "", `#step=${encodeURIComponent(item.key)}`);
  if (narrow.matches && !quiet) panel.scrollIntoView({ block: "start" });
}

function close() {
  chosen = null;
  panel.hidden = true;
  history.replaceState(null, "", location.pathname + location.search);
  paint();
  drawing?.choose(null);
  if (card.dataset.view !== "graph") box.focus();
}

async function fold(index, open = !items[index].open) {
  const item = items[index];
  if (item?.open === undefined || item.open === open) return;
  if (item.group) folded[open ? "delete" : "add"](item.group);
  else if (open) children.set(item.row.child, await traceOf(`/runs/${item.row.child}`));
  else children.delete(item.row.child);
  arrange();
}

function reveal(index) {
  const [top, high] = [index * height(), height()];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + high > box.scrollTop + box.clientHeight) box.scrollTop = top + high - box.clientHeight;
}

function go(to) {
  here = Math.min(items.length - 1, Math.max(0, to));
  reveal(here);
  paint();
}

function sideways(open) {
  const item = items[here];
  if (item.open === !open) fold(here, open);
  else if (!open && item.depth) go(items.findLastIndex((each, index) => index < here && each.depth < item.depth));
  else range.keys[open ? "ArrowRight" : "ArrowLeft"]();
}

const page = () => Math.max(1, Math.floor(box.clientHeight / height()) - 1);
const KEYS = {
  ArrowDown: () => go(here + 1), j: () => go(here + 1),
  ArrowUp: () => go(here - 1), k: () => go(here - 1),
  ArrowRight: () => sideways(true), ArrowLeft: () => sideways(false),
  PageDown: () => go(here + page()), PageUp: () => go(here - page()),
  Home: () => go(0), End: () => go(items.length - 1),
  Enter: () => choose(items[here].key), " ": () => choose(items[here].key),
  "+": () => near(2), "=": () => near(2), "-": () => near(0.5), 0: () => range.keys[0](),
};

// Around the row that the keyboard is at, where that is in sight.
function near(factor) {
  const { row } = items[here];
  const [from, to] = range.part();
  const middle = (row.start + (row.end ?? now())) / 2;
  range.zoom(factor, middle >= from && middle <= to ? middle : undefined);
}

box.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !trace?.rows.length || !KEYS[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
});
box.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
box.addEventListener("click", (event) => {
  const index = Number(event.target.closest(".trace-row")?.dataset.index ?? -1);
  if (event.target.closest("[data-fold]")) fold(index);
  else if (index >= 0) choose(items[index].key);
});
card.addEventListener("click", (event) => {
  const button = event.target.closest("[data-zoom]");
  if (button && trace?.rows.length) (card.dataset.view === "graph" ? drawing?.keys : range.keys)?.[button.dataset.zoom]();
  const link = event.target.closest("[data-look]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  look(link.dataset.look);
});
panel.addEventListener("click", (event) => event.target.closest("[data-close-step]") && close());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen && !document.querySelector("dialog[open]")) close();
});
narrow.addEventListener("change", draw);
addEventListener("resize", () => requestAnimationFrame(draw));
onChange(load);
setInterval(() => {
  if (trace && trace.ended === null && !document.hidden) draw();
}, 1000);
load();
