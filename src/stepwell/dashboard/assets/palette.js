// The command palette: Ctrl-K or Cmd-K. The server finds pages, functions, runs and events, and what can be done anywhere;
// what can be done on this page is known here. Focus stays in the field, and the option that is meant is named by it (ARIA 1.2, combobox).
import { open as ask } from "./actions.js";

const dialog = document.getElementById("palette");
const field = document.getElementById("palette-field");
const list = document.getElementById("palette-list");
const status = document.getElementById("palette-status");
const shapes = document.getElementById("palette-icons")?.content;
let options = [];
let here = 0;
let asked = 0;
let late = 0;
let before = null;

// Whatever on this page has [data-command], or leads to the form of an action, can be done from here: it is clicked.
function commands(q) {
  return [...document.querySelectorAll("[data-command], a[data-act]")]
    .filter((each) => !each.disabled && !each.closest("[hidden], dialog:not([open])"))
    .map((each) => ({
      group: each.closest("main") ? "On this page" : "Settings",
      title: each.dataset.command || each.getAttribute("aria-label") || each.textContent.trim(),
      detail: "", icon: each.closest("main") ? "step" : "settings", path: each.pathname, click: () => each.click(),
    }))
    .filter((each) => each.title.toLowerCase().includes(q.toLowerCase()));
}

async function find() {
  const q = field.value.trim();
  const number = ++asked;
  const own = commands(q);
  let found = [];
  try {
    const answer = await fetch(`/palette?q=${encodeURIComponent(q)}`, { cache: "no-store" });
    if (answer.redirected) location.reload();
    if (!answer.ok) throw new TypeError(`${answer.status}`);
    found = await answer.json();
    status.textContent = "";
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    status.textContent = "The server cannot be reached.";
  }
  if (number !== asked || !dialog.open) return;
  const page = own.filter((each) => each.group === "On this page");
  const settings = own.filter((each) => each.group !== "On this page");
  // What this page does is about what it shows: it says more than the same without that.
  options = [...page, ...found.filter((each) => !each.act || !page.some((own) => own.path === each.href)), ...settings];
  here = 0;
  draw();
  if (!status.textContent) status.textContent = options.length ? "" : "Nothing has this name.";
}

function draw() {
  let group = "";
  const rows = [];
  options.forEach((option, index) => {
    if (option.group !== group) {
      group = option.group;
      const title = document.createElement("li");
      title.className = "palette-group";
      title.setAttribute("role", "presentation");
      title.textContent = group;
      rows.push(title);
    }
    rows.push(element(option, index));
  });
  list.replaceChildren(...rows);
  mark();
}

function element(option, index) {
  const row = document.createElement("li");
  row.className = "palette-option";
  row.id = `palette-${index}`;
  row.setAttribute("role", "option");
  const icon = shapes?.querySelector(`[data-shape="${option.icon}"] svg`);
  if (icon) row.append(icon.cloneNode(true));
  const title = document.createElement("span");
  title.className = "palette-title";
  title.textContent = option.title;
  row.append(title);
  if (option.detail) {
    const detail = document.createElement("span");
    detail.className = "palette-detail";
    detail.textContent = option.detail;
    row.append(detail);
  }
  row.addEventListener("mousemove", () => here !== index && go(index));
  row.addEventListener("click", (event) => choose(option, event.ctrlKey || event.metaKey));
  return row;
}

function mark() {
  for (const row of list.querySelectorAll(".palette-option")) {
    row.setAttribute("aria-selected", String(row.id === `palette-${here}`));
  }
  if (options.length) field.setAttribute("aria-activedescendant", `palette-${here}`);
  else field.removeAttribute("aria-activedescendant");
}

function go(to) {
  if (!options.length) return;
  here = (to + options.length) % options.length;
  mark();
  document.getElementById(`palette-${here}`).scrollIntoView({ block: "nearest" });
}

function choose(option, apart) {
  if (!option) return;
  if (apart && option.href) {
    open(option.href, "_blank", "noopener");
    return;
  }
  dialog.close(); // first, so that what it opens may have the focus
  if (option.click) option.click();
  else if (option.act) ask(option.href);
  else location.href = option.href;
}

const KEYS = {
  ArrowDown: () => go(here + 1), ArrowUp: () => go(here - 1),
  PageDown: () => go(Math.min(options.length - 1, here + 8)), PageUp: () => go(Math.max(0, here - 8)),
};

export function show() {
  if (dialog.open) return;
  before = document.activeElement;
  field.value = "";
  options = [];
  list.replaceChildren();
  dialog.showModal();
  field.focus();
  find();
}

field.addEventListener("input", () => {
  clearTimeout(late);
  late = setTimeout(find, 60);
});
field.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    choose(options[here], event.ctrlKey || event.metaKey);
  } else if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
});
dialog.addEventListener("close", () => {
  clearTimeout(late);
  if (before?.isConnected) before.focus({ preventScroll: true });
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (dialog.open) dialog.close();
  else if (!document.querySelector("dialog[open]")) show();
});
document.getElementById("palette-open")?.addEventListener("click", show);
