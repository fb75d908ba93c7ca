// What an event led to, as a picture that is drawn anew when something has happened.
import { drawn } from "./graph.js";
import { onChange, unhurried } from "./live.js";

const box = document.querySelector("[data-flow]");
const picture = drawn(box, () => {}, "LR");

const load = unhurried(async (ask) => picture.show(await (await ask(box.dataset.flow)).json()));

onChange(load);
load();
