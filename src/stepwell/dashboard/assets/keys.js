// Everything by keyboard: j and k go through the rows of the list, g and a letter to a page, / to the search.
const pages = new Map([...document.querySelectorAll("[data-go]")].map((link) => [link.dataset.go, link.href]));
const dialog = document.getElementById("shortcuts");
let leading = 0;

const typing = (target) => target.closest?.("input:not([type=radio]), textarea, select, [contenteditable]");

function move(by) {
  const links = [...document.querySelectorAll(".row-link, .log-card a")];
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && event.target.matches?.("[data-search]")) {
    event.preventDefault(); // or the browser forgets what was searched for
    event.target.blur();
    return;
  }
  if (typing(event.target)) return;
  const led = Date.now() - leading < 1200;
  leading = 0;
  if (led && pages.has(event.key)) location.href = pages.get(event.key);
  else if (event.key === "g") leading = Date.now();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") document.querySelector("[data-search]")?.focus();
  else if (event.key === "?") dialog?.showModal();
  else return;
  if (event.key !== "g") event.preventDefault();
});

document.getElementById("shortcuts-open")?.addEventListener("click", () => dialog.showModal());
