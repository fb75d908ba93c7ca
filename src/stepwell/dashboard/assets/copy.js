// Buttons that copy a text.
import { say } from "./prefs.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  event.preventDefault();
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    say("Copied");
  } catch {
    say("This browser does not let pages copy");
  }
});
