// A list that is live and stands still: what it shows changes in place; what is new comes in at the top while the top
// is what somebody looks at, and waits behind a button while it is not.
import { ask, onChange, unhurried } from "./live.js";
import { scrolls } from "./older.js";
import { tick } from "./time.js";

const list = document.querySelector("[data-list]");
const WATCHED = 60; // pixels from the top within which new rows may come in
const SHOWN_MAX = 400; // rows at the top; the last of them are older ones, to be scrolled to, when new ones come in

if (list) {
  onChange((topics) => {
    if (topics === null || list.dataset.list.split(" ").some((topic) => topics.has(topic))) refresh();
  });
  scrolls(list, load);
  let row; // that the keyboard is at, which may be there again when the filters have been applied
  document.body.addEventListener("htmx:before:swap", () => (row = document.activeElement?.closest("#rows tr")?.id));
  document.body.addEventListener("htmx:after:swap", () => {
    counts(list);
    if (row) document.getElementById(row)?.querySelector(".row-link")?.focus({ preventScroll: true });
  });
}

// What is typed has been asked for when the box is left. Asked once more, the answer would take away the link that is
// just being pressed, and nothing would be clicked.
const typed = document.querySelector('.filters[hx-trigger*="input"] [data-search]');
typed?.addEventListener("change", (event) => event.stopPropagation());

const rowsOf = (root) => root.querySelector("#rows");

async function load(address, asked = ask) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", "results");
  return new DOMParser().parseFromString(await (await asked(url)).text(), "text/html");
}

const refresh = unhurried(async (ask) => {
  const here = document.getElementById("results");
  if (!here || here.dataset.first !== "yes") return;
  const address = location.href;
  const found = await load(address, ask);
  if (location.href !== address) return; // the filters have changed meanwhile
  counts(found);
  const there = found.getElementById("results");
  if (here.querySelector(".log") && there.querySelector(".log")) {
    // Lines come every second, and whoever is at one with the keyboard stays there.
    await htmx.swap({ text: there.innerHTML, sourceElement: here, target: here, swap: "innerMorph" });
    return;
  }
  const [ours, theirs] = [rowsOf(here), rowsOf(there)];
  if (!ours || !theirs) {
    here.replaceWith(document.adoptNode(there));
    tick();
    return;
  }
  const fresh = [];
  let newest = true;
  for (const row of [...theirs.rows]) {
    const known = document.getElementById(row.id);
    if (!known) {
      if (newest) fresh.push(row);
      continue;
    }
    newest = false;
    renew(known, row);
  }
  // More that is new than fits on a page: what is between is not here, so the list begins anew.
  const whole = newest && theirs.rows.length > 0;
  const seen = scrollY < WATCHED && !ours.contains(document.activeElement);
  if (whole && seen) here.replaceWith(document.adoptNode(there));
  else if (seen) enter(ours, fresh);
  else offer(here, fresh.length, whole);
  tick();
});

function renew(known, row) {
  for (const [index, cell] of [...known.cells].entries()) {
    const other = row.cells[index];
    if (cell.classList.contains("c-name")) continue; // the link may have the focus, and says the same
    if (plain(cell) !== plain(other)) cell.replaceChildren(...other.cloneNode(true).childNodes);
  }
  known.dataset.status = row.dataset.status;
}

// What the clock writes anew is no difference.
function plain(cell) {
  const time = cell.querySelector("time, .lasting");
  return time ? time.outerHTML.replace(/(title="[^"]*"|>[^<]*<)/g, "") + (time.className ? "" : cell.children.length) : cell.innerHTML;
}

function enter(rows, fresh) {
  if (!fresh.length) return;
  for (const row of fresh) row.classList.add("is-new");
  rows.prepend(...fresh.map((row) => document.adoptNode(row)));
  if (rows.rows.length <= SHOWN_MAX) return;
  while (rows.nextElementSibling) rows.nextElementSibling.remove();
  while (rows.rows.length > SHOWN_MAX) rows.lastElementChild.remove();
  const link = list.querySelector("[data-further]");
  if (!link) return location.reload(); // there was nothing older, and now there is
  const onward = new URL(link.href);
  onward.searchParams.set("before", rows.lastElementChild.id.replace("r-", ""));
  link.href = onward.href;
}

function offer(here, count, whole) {
  let place = here.querySelector(".fresh");
  if (!count) return;
  if (!place) {
    place = document.createElement("div");
    place.className = "fresh";
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", async () => {
      place.remove();
      const found = await load(location.href);
      here.replaceWith(document.adoptNode(found.getElementById("results")));
      tick();
      scrollTo({ top: 0 });
    });
    place.append(button);
    here.prepend(place);
  }
  place.firstElementChild.textContent = `${count}${whole ? " or more" : ""} new`;
}

// How many there are of each state stands beside the filters, which nothing replaces while somebody chooses.
function counts(root) {
  for (const each of root.querySelectorAll("[data-count-of]")) {
    const place = document.querySelector(`[data-count="${each.dataset.countOf}"]`);
    if (place) place.textContent = each.textContent;
  }
}
