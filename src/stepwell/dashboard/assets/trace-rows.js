// What a row of a trace looks like: its name, and its time as bars or as numbers.
import { now, span } from "./time.js";

const shapes = document.getElementById("icons")?.content;
const RESTS = new Set(["sleep", "wait for event", "wait for signal", "invoke", "deferred"]);

export function icon(shape) {
  return shapes?.querySelector(`[data-shape="${shape}"] svg`)?.cloneNode(true);
}

function made(tag, name, text) {
  const place = document.createElement(tag);
  if (name) place.className = name;
  if (text !== undefined) place.textContent = text;
  return place;
}

/** A row as an element. `item` is what is shown, `index` its place, `count` of how many, `range` the time in sight. */
export function element(item, index, { count, high, here, chosen, range, begun, listed }) {
  const { row, look, depth, open } = item;
  const place = made("div", `trace-row tone-${look[1]}${index === here ? " is-here" : ""}${item.group ? " is-group" : ""}`);
  const length = (row.end ?? now()) - row.start;
  place.id = `s-${index}`;
  place.dataset.index = index;
  place.setAttribute("role", "treeitem");
  place.setAttribute("aria-selected", String(item.key === chosen));
  place.setAttribute("aria-level", depth + 1);
  place.setAttribute("aria-posinset", index + 1);
  place.setAttribute("aria-setsize", count);
  if (open !== undefined) place.setAttribute("aria-expanded", String(open));
  place.setAttribute("aria-label", [row.name, row.kind, look[0], span(length)].filter(Boolean).join(", "));
  place.style.top = `${index * high}px`;
  const name = made("div", "trace-name");
  name.style.setProperty("--depth", depth);
  const fold = made("span", "trace-fold");
  if (open !== undefined) {
    fold.dataset.fold = index;
    fold.append(icon("chevron"));
  }
  const title = made("b", "", row.name);
  title.title = row.name;
  const failed = row.failed?.length && row.status !== "FAILED" ? `${row.kind} · ${row.failed.length} failed` : row.kind;
  name.append(fold, icon(item.group ? "parallel" : look[2]) ?? "", title, made("small", "", failed));
  place.append(name, listed ? numbers(row, look, length, begun) : lane(row, length, range));
  return place;
}

function numbers(row, look, length, begun) {
  const place = made("div", "trace-numbers");
  const tries = (row.failed?.length ?? 0) + (row.end !== null && row.status !== "FAILED" && !RESTS.has(row.kind) ? 1 : 0);
  place.append(
    made("span", "trace-state", look[0]),
    made("span", "trace-tries", tries > 1 ? `${tries} attempts` : ""),
    made("span", "right", `+${span(Math.max(0, row.start - begun))}`),
    made("span", "right", span(length)),
  );
  return place;
}

function lane(row, length, range) {
  const share = (ms) => 100 * (ms - range[0]) / (range[1] - range[0]);
  const within = (ms) => Math.min(100, Math.max(0, share(ms)));
  const place = made("div", "trace-lane");
  const end = row.end ?? now();
  if (end < range[0] || row.start > range[1]) {
    place.append(made("span", `trace-beyond ${end < range[0] ? "before" : "after"}`, end < range[0] ? "‹" : "›"));
    return place;
  }
  const bar = (from, to, ...classes) => {
    if (to < range[0] || from > range[1]) return;
    const part = made("div", ["trace-bar", ...classes].join(" "));
    part.style.left = `min(${within(from)}%, calc(100% - 3px))`;
    part.style.width = `${within(to) - within(from)}%`;
    place.append(part);
  };
  bars(row, end, bar);
  const [left, right] = [within(row.start), within(end)];
  const text = made("span", right > 86 ? "trace-length before" : "trace-length", span(length));
  text.style.left = `${right > 86 ? left : right}%`;
  if (right > 86 && left < 12) text.hidden = true;
  place.append(text);
  return place;
}

// An attempt is a bar; before the next one there is the pause that was asked for, and then what it had to wait for.
function bars(row, end, bar) {
  if (row.bracket) {
    bar(row.start, end, "bracket");
    return;
  }
  const rests = RESTS.has(row.kind) ? ["rests"] : [];
  const copied = row.copied ? ["copied"] : [];
  let start = row.start;
  let due = null;
  const pause = (to) => {
    const asked = Math.min(to, Math.max(start, due ?? to));
    if (asked > start) bar(start, asked, "gap");
    if (to > asked) bar(asked, to, "late");
    start = to;
  };
  for (const [began, ended, retry] of row.failed ?? []) {
    if (began > start) pause(began);
    bar(began, ended, "tone-bad");
    [start, due] = [ended, retry];
  }
  if (row.status === "ERRORED" || row.status === "QUEUED") pause(end);
  else if (row.status !== "FAILED" || !row.failed?.length) {
    if (row.last && row.last > start) pause(row.last);
    bar(start, end, ...rests, ...copied, ...(row.end === null ? ["open"] : []));
  }
}
