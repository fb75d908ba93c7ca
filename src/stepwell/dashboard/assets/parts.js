// Parts of a page that are asked for again when something has changed: [data-part] names the block of its template.
import { Refusal, onChange, unhurried } from "./live.js";
import { tick } from "./time.js";

for (const part of document.querySelectorAll("[data-part]")) {
  const name = part.dataset.part;
  let refused = 0;
  document.addEventListener("htmx:response:error", (event) => event.detail.ctx.target === part && refused++);
  const look = unhurried(async () => {
    const url = new URL(location.href);
    url.searchParams.set("part", name);
    refused = 0;
    await htmx.ajax("GET", url.pathname + url.search, { source: part, target: part, swap: "innerMorph" });
    if (refused) throw new Refusal(); // what stands there is older than it could be, and better than nothing
    tick(part);
  });
  onChange(look);
  // Some things become otherwise only because time goes by, and nobody hints at that.
  const every = Number(part.dataset.every);
  if (every) setInterval(() => document.hidden || look(), 1000 * every);
}
