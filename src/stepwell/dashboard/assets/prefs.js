// What somebody prefers, kept in this browser: the theme, and how moments are written.
import { show, zones } from "./time.js";

const themes = ["system", "light", "dark"];

function kept(name, values) {
  try {
    const value = localStorage.getItem(`stepwell.${name}`);
    if (values.includes(value)) return value;
  } catch {}
  return values[0];
}

function turning(id, name, word, values, apply) {
  const button = document.getElementById(id);
  if (!button) return;
  let value = kept(name, values);
  const tell = () => {
    button.title = `${word}: ${value}`;
    button.setAttribute("aria-label", button.title);
    apply(value);
  };
  button.addEventListener("click", () => {
    value = values[(values.indexOf(value) + 1) % values.length];
    try { localStorage.setItem(`stepwell.${name}`, value); } catch {}
    tell();
    say(button.title);
  });
  tell();
}

let saying;
export function say(text) {
  const place = document.getElementById("said");
  if (!place) return;
  clearTimeout(saying);
  place.replaceChildren(Object.assign(document.createElement("p"), { textContent: text }));
  saying = setTimeout(() => place.replaceChildren(), 1800);
}

turning("theme", "theme", "Theme", themes, (theme) => {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
turning("zone", "zone", "Times", zones, show);
