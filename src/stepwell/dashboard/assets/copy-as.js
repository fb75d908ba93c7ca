// A run as text for somewhere else: it is shown, so that it can be read, and taken by hand where pages may not copy.
const tools = document.querySelector("[data-copy-as]");
const dialog = document.getElementById("copied");

tools.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-as]");
  if (!button) return;
  shut();
  const address = `${tools.dataset.copyAs}${button.dataset.as}?origin=${encodeURIComponent(location.origin)}`;
  const answer = await fetch(address, { cache: "no-store" });
  if (answer.redirected) location.reload();
  if (!answer.ok) return;
  const { text } = await answer.json();
  dialog.querySelector("h2").textContent = button.textContent;
  dialog.querySelector("code").textContent = text;
  dialog.querySelector("[data-copy]").dataset.copy = text;
  dialog.showModal();
  dialog.querySelector("[data-copy]").focus();
});

function shut() {
  for (const menu of tools.querySelectorAll("details[open]")) menu.open = false;
}

document.addEventListener("click", (event) => event.target.closest(".menu") || shut());
tools.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = event.target.closest("details[open]");
  if (!menu) return;
  event.stopPropagation();
  menu.open = false;
  menu.querySelector("summary").focus();
});
