// Moments go on counting: each <time data-ms> and each length of what has not ended is written anew every second.
const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

// The server's clock, as far as this browser can tell: pages say what time it was when they were made.
let apart = 0;
function measure(root) {
  const told = Number(root.dataset?.now);
  if (told) apart = told - Date.now();
}
measure(document.body);

export const now = () => Date.now() + apart;

export function span(ms) {
  if (ms < SECOND) return `${Math.max(0, Math.floor(ms))} ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(2)} s`;
  if (ms < MINUTE) return `${(ms / SECOND).toFixed(1)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m ${String(Math.floor(ms % MINUTE / SECOND)).padStart(2, "0")}s`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)}h ${String(Math.floor(ms % HOUR / MINUTE)).padStart(2, "0")}m`;
  return `${Math.floor(ms / DAY)}d ${Math.floor(ms % DAY / HOUR)}h`;
}

export function relative(ms, at = now()) {
  const apart = Math.abs(at - ms);
  if (apart < SECOND) return "now";
  const length = apart < MINUTE ? `${Math.floor(apart / SECOND)} s` : span(apart);
  return ms > at ? `in ${length}` : `${length} ago`;
}

export const zones = ["relative", "local", "utc"];
let shown = "relative";

const pad = (number, width = 2) => String(number).padStart(width, "0");

export function absolute(ms, zone) {
  const at = new Date(ms);
  const [year, month, day, hours, minutes, seconds, rest] = zone === "utc"
    ? [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds(), at.getUTCMilliseconds()]
    : [at.getFullYear(), at.getMonth(), at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds(), at.getMilliseconds()];
  return `${year}-${pad(month + 1)}-${pad(day)} ${pad(hours)}:${pad(minutes)}:${pad(seconds)}.${pad(rest, 3)}`;
}

function write(time) {
  const ms = Number(time.dataset.ms);
  const text = shown === "relative" ? relative(ms) : absolute(ms, shown).slice(5, 19);
  if (time.textContent !== text) time.textContent = text;
  if (!time.title) time.title = `${absolute(ms, "local")} here\n${absolute(ms, "utc")} UTC`;
}

export function tick(root = document) {
  for (const time of root.querySelectorAll("time[data-ms]")) write(time);
  const at = now();
  for (const each of root.querySelectorAll(".lasting")) {
    const text = span(Math.max(0, at - Number(each.dataset.since)));
    if (each.textContent !== text) each.textContent = text;
  }
}

export function show(zone) {
  shown = zone;
  tick();
  document.dispatchEvent(new CustomEvent("stepwell:zone"));
}

export const zone = () => shown;

setInterval(() => document.hidden || tick(), SECOND);
tick();
