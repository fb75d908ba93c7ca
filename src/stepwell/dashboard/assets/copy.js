// Buttons that copy a text.
import { say } from "./prefs.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy], [data-copy-from]");
  if (!button) return;
  event.preventDefault();
  try {
    const { copy, copyFrom } = button.dataset;
    await navigator.clipboard.writeText(copy ?? (await (await fetch(copyFrom, { cache: "no-store" })).text()));
    say("Copied");
  } catch {
    say("This browser does not let pages copy");
  }
});
