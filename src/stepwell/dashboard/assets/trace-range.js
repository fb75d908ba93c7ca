// Which part of the time of a run is shown: all of it, or what was chosen with the mouse or the keyboard on the axis.
import { span } from "./time.js";

const LEAST = 1; // ms: what is shorter has no parts that are known
const DRAG = 4; // pixels: less is a click

/** `whole()` is the range of the run; `changed()` is called when another part of it is to be shown. */
export function ranging(axis, whole, changed) {
  let chosen = null;
  let brush = null;

  const part = () => {
    const [from, to] = whole();
    if (!chosen) return [from, to];
    const length = Math.min(chosen[1] - chosen[0], to - from);
    const start = Math.min(Math.max(chosen[0], from), to - length);
    return [start, start + length];
  };

  function choose(from, to) {
    const [first, last] = whole();
    const length = Math.max(LEAST, to - from);
    chosen = length >= last - first ? null : [from, from + length];
    changed();
  }

  /** Closer by a factor, around a moment that stays where it is. */
  function zoom(factor, around) {
    const [from, to] = part();
    const at = around ?? (from + to) / 2;
    choose(at - (at - from) / factor, at + (to - at) / factor);
  }

  function pan(by) {
    if (!chosen) return;
    const [from, to] = part();
    const [first, last] = whole();
    const start = Math.min(Math.max(from + by * (to - from), first), last - (to - from));
    choose(start, start + to - from);
  }

  const moment = (x) => {
    const place = axis.getBoundingClientRect();
    const [from, to] = part();
    return from + (to - from) * Math.min(1, Math.max(0, (x - place.left) / place.width));
  };

  function mark(from, to) {
    const place = axis.getBoundingClientRect();
    brush.place.style.left = `${Math.max(0, from - place.left)}px`;
    brush.place.style.width = `${Math.min(to, place.right) - Math.max(from, place.left)}px`;
  }

  axis.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const place = document.createElement("div");
    place.className = "trace-brush";
    brush = { from: event.clientX, place };
    axis.setPointerCapture(event.pointerId);
  });
  axis.addEventListener("pointermove", (event) => {
    if (!brush) return;
    if (!brush.place.parentNode) axis.append(brush.place);
    mark(Math.min(brush.from, event.clientX), Math.max(brush.from, event.clientX));
  });
  const end = (event, taken) => {
    if (!brush) return;
    const [left, right] = [Math.min(brush.from, event.clientX), Math.max(brush.from, event.clientX)];
    brush.place.remove();
    brush = null;
    if (taken && right - left >= DRAG) choose(moment(left), moment(right));
  };
  axis.addEventListener("pointerup", (event) => end(event, true));
  axis.addEventListener("pointercancel", (event) => end(event, false));
  axis.addEventListener("dblclick", () => keys[0]());

  const keys = {
    "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5),
    0: () => { chosen = null; changed(); },
    ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2),
  };
  axis.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });

  return { part, zoom, keys, get zoomed() { return chosen !== null; } };
}

/** The marks of the axis, and what it says to those who do not see it. */
export function scale(axis, [from, to], [first, last], brushing) {
  const length = to - from;
  const count = Math.min(6, Math.max(1, Math.floor(axis.clientWidth / 110)));
  const marks = Array.from({ length: count + 1 }, (_, index) => {
    const mark = document.createElement("span");
    const at = from - first + length * index / count;
    mark.textContent = at ? `+${span(at)}` : "0";
    mark.style.left = `${100 * index / count}%`;
    return mark;
  });
  const shown = document.createElement("i");
  shown.className = "trace-window";
  shown.hidden = length >= last - first;
  shown.style.left = `${100 * (from - first) / (last - first)}%`;
  shown.style.width = `${100 * length / (last - first)}%`;
  axis.replaceChildren(...marks, shown, ...axis.querySelectorAll(".trace-brush"));
  axis.setAttribute("aria-valuemax", Math.round(last - first));
  axis.setAttribute("aria-valuenow", Math.round(from - first));
  axis.setAttribute("aria-valuetext", `${span(from - first)} to ${span(to - first)} of ${span(last - first)}`);
}
