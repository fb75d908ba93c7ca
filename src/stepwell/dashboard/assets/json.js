// JSON that is too long for a page: as a tree of which only what is unfolded exists, so that four megabytes open at once.
const MANY = 100; // members that are shown at once: more are in parts of so many
const LONG = 600; // characters of a text that are shown at first
const EXACT = /\d{16}/; // numbers with so many digits may be others than JavaScript takes them for

function made(tag, name, text) {
  const place = document.createElement(tag);
  if (name) place.className = name;
  if (text !== undefined) place.textContent = text;
  return place;
}

class Exactly {
  constructor(source) { this.source = source; }
}

function parsed(text) {
  if (!EXACT.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, from) =>
    typeof value === "number" && from?.source && String(value) !== from.source ? new Exactly(from.source) : value);
}

const holds = (value) => value !== null && typeof value === "object" && !(value instanceof Exactly);

function leaf(value) {
  if (value instanceof Exactly) return made("span", "j-n", value.source);
  if (typeof value !== "string") return made("span", value === null || typeof value === "boolean" ? "j-w" : "j-n", String(value));
  const text = JSON.stringify(value);
  const place = made("span", "j-s", text.length > LONG ? text.slice(0, LONG) : text);
  if (text.length > LONG) {
    const more = made("button", "plain tree-more", `… ${(text.length - LONG).toLocaleString("en")} more characters`);
    more.type = "button";
    more.addEventListener("click", () => (place.textContent = text));
    place.append(more);
  }
  return place;
}

function told(value) {
  const count = Array.isArray(value) ? value.length : Object.keys(value).length;
  const [open, shut] = Array.isArray(value) ? "[]" : "{}";
  return count ? `${open} ${count.toLocaleString("en")} ${shut}` : open + shut;
}

function row(key, value) {
  const name = made("span", "j-k", key);
  if (!holds(value) || !Object.keys(value).length) {
    const place = made("div", "tree-leaf");
    place.append(name, ": ", holds(value) ? told(value) : leaf(value));
    return place;
  }
  const place = made("details", "tree-branch");
  const summary = made("summary");
  summary.append(name, " ", made("span", "faint", told(value)));
  place.append(summary);
  place.addEventListener("toggle", () => place.open && place.children.length === 1 && place.append(members(value)));
  return place;
}

function members(value, from = 0, to = Infinity) {
  const place = made("div", "tree-members");
  const keys = Object.keys(value).slice(from, to);
  const list = Array.isArray(value);
  if (keys.length <= MANY) {
    place.append(...keys.map((key) => row(list ? key : JSON.stringify(key), value[key])));
    return place;
  }
  const size = MANY ** Math.max(1, Math.ceil(Math.log(keys.length) / Math.log(MANY)) - 1);
  for (let start = 0; start < keys.length; start += size) {
    const last = Math.min(start + size, keys.length);
    const part = made("details", "tree-branch");
    part.append(made("summary", "faint", `${(from + start).toLocaleString("en")} … ${(from + last - 1).toLocaleString("en")}`));
    part.addEventListener("toggle", () => part.open && part.children.length === 1 && part.append(members(value, from + start, from + last)));
    place.append(part);
  }
  return place;
}

/** Shows what is at this address. */
export async function look(address, what) {
  const dialog = made("dialog", "wide tree");
  const [title, inside, end] = [made("h2", "", what[0].toUpperCase() + what.slice(1)), made("div", "tree-inside"), made("div", "dialog-end")];
  const [raw, close] = [made("a", "button quiet", "As it is"), made("button", "plain", "Close")];
  dialog.setAttribute("aria-label", what);
  inside.textContent = "Loading…";
  inside.tabIndex = 0;
  raw.href = address;
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  end.append(raw, close);
  dialog.append(title, inside, end);
  document.body.append(dialog);
  dialog.showModal();
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) throw new TypeError(`${answer.status}`);
    const value = parsed(await answer.text());
    inside.replaceChildren(holds(value) ? members(value) : leaf(value));
    inside.querySelector("summary")?.focus();
  } catch (error) {
    inside.textContent = `It could not be read: ${error.message}`;
  }
}
