// Parts of a page that are asked for again when something has changed: [data-part] names the block of its template.
import { onChange, unhurried } from "./live.js";
import { tick } from "./time.js";

for (const part of document.querySelectorAll("[data-part]")) {
  const name = part.dataset.part;
  const look = unhurried(async (ask) => {
    const url = new URL(location.href);
    url.searchParams.set("part", name);
    const text = await (await ask(url)).text(); // until it comes, what stands there is better than nothing
    await htmx.swap({ text, sourceElement: part, target: part, swap: "innerMorph" });
    tick(part);
  });
  onChange(look);
  // Some things become otherwise only because time goes by, and nobody hints at that.
  const every = Number(part.dataset.every);
  if (every) setInterval(() => document.hidden || look(), 1000 * every);
}
