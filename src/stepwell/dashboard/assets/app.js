// Everything that each page has. What only one kind of page has is in a module of its own, which looks for its place.
import "./time.js";
import "./prefs.js";
import "./keys.js";
import "./copy.js";
import "./list.js";
import "./parts.js";
import "./actions.js";
import "./palette.js";
import { connect } from "./live.js";

connect();
if (document.querySelector("[data-trace]")) import("./trace.js");
if (document.querySelector("[data-charts]")) import("./charts.js");
if (document.querySelector("[data-flow]")) import("./flow.js");
if (document.querySelector("[data-copy-as]")) import("./copy-as.js");
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("[data-json]");
  if (!link || event.ctrlKey || event.metaKey || event.button) return;
  event.preventDefault();
  (await import("./json.js")).look(link.href, link.dataset.json);
});
