// What is older comes page by page as somebody scrolls to it. A page that is far from what is seen leaves its place
// empty, because a hundred thousand rows would make a document slow, and is asked for again when it comes near.
import { tick } from "./time.js";

const SOON = 800; // pixels below what is seen within which the next page is asked for
const NEAR = "2000px 0px"; // around what is seen, within which pages have their rows
const rowsOf = (root) => root.querySelector("#rows");

/** `load(address)` is the document with what is at an address. */
export function scrolls(list, load) {
  const near = new IntersectionObserver((pages) => {
    for (const { target, isIntersecting } of pages) (isIntersecting ? fill : empty)(target);
  }, { rootMargin: NEAR });

  addEventListener("scroll", look, { passive: true });
  list.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-further]");
    if (!link || event.ctrlKey || event.metaKey || !rowsOf(list)) return; // nothing to add to: the link leads there
    event.preventDefault();
    further(link, true);
  });

  let looking = 0;
  function look() {
    looking ||= requestAnimationFrame(() => {
      looking = 0;
      const link = list.querySelector("[data-further]:not([data-asked])");
      if (link === document.activeElement) return; // somebody is about to press it
      if (link && rowsOf(list) && link.getBoundingClientRect().top < innerHeight + SOON) further(link, false);
    });
  }

  async function further(link, asked) {
    if (link.ariaBusy === "true") return;
    link.ariaBusy = "true";
    const rows = rowsOf(list);
    const page = document.createElement("tbody");
    page.dataset.from = link.href;
    try {
      const there = await found(link.href);
      if (!rows.isConnected || !link.isConnected) return; // the filters have changed meanwhile
      page.append(...there.rows);
      rows.parentElement.append(page);
      const old = link.closest(".further");
      if (there.next) old.replaceWith(there.next);
      else old.remove();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the server is away: the connection says so
      link.ariaBusy = null;
      return;
    }
    tick(page);
    near.observe(page);
    if (asked) page.querySelector(".row-link")?.focus({ preventScroll: true });
    look();
  }

  async function found(address) {
    const there = (await load(address)).getElementById("results");
    const adopt = (each) => document.adoptNode(each);
    const next = there.querySelector(".further");
    return { rows: [...(rowsOf(there)?.rows ?? [])].map(adopt), next: next && adopt(next) };
  }

  function empty(page) {
    if (page.dataset.empty || page.contains(document.activeElement)) return;
    const place = document.createElement("tr");
    const cell = document.createElement("td");
    cell.colSpan = page.rows[0]?.cells.length ?? 1;
    place.className = "page-place";
    place.style.height = cell.style.height = `${page.offsetHeight}px`;
    place.append(cell);
    page.dataset.empty = "yes";
    page.replaceChildren(place);
  }

  async function fill(page) {
    if (page.dataset.empty !== "yes") return;
    page.dataset.empty = "asked";
    try {
      page.replaceChildren(...(await found(page.dataset.from)).rows);
      delete page.dataset.empty;
      tick(page);
    } catch (error) {
      page.dataset.empty = "yes";
      if (!(error instanceof TypeError)) throw error;
    }
  }
}
