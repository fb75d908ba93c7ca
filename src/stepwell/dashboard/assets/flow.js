// What an event led to, as a picture that is drawn anew when something has happened.
import { drawn } from "./graph.js";
import { onChange, unhurried } from "./live.js";

const box = document.querySelector("[data-flow]");
const picture = drawn(box, () => {}, "LR");

const load = unhurried(async () => {
  const answer = await fetch(box.dataset.flow, { cache: "no-store" });
  if (!answer.ok) throw new TypeError(`${answer.status}`);
  await picture.show(await answer.json());
}, 1000);

onChange(load);
load();
