// Actions: a link with [data-act] leads to a form, which is shown in a dialog in place of its page. What it says is sent
// once at a time; the answer is either what was done, or the form again with what is in the way.
const dialog = document.getElementById("action");
const SHOWN_MS = 9000;
const KEPT = "stepwell.done"; // what is said on the page that people are led to

const parsed = (html) => new DOMParser().parseFromString(html, "text/html");
const formIn = () => dialog.querySelector("form");

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-act]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(link.href);
});

/** Shows the form at this address. */
export async function open(address) {
  const url = new URL(address, location.href);
  url.searchParams.set("part", "form");
  let answer;
  try {
    answer = await fetch(url, { headers: { Accept: "text/html" }, cache: "no-store" });
  } catch {
    tell({ text: "The server cannot be reached.", wrong: true });
    return;
  }
  if (answer.redirected) {
    location.href = address; // the session has ended: that leads to the login, and back
    return;
  }
  const found = parsed(await answer.text());
  const form = found.querySelector("form.action");
  if (!form) {
    const [what, why] = [found.querySelector("main h1"), found.querySelector("main .nothing-more")];
    tell({ text: [what, why].filter(Boolean).map((each) => each.textContent).join(". "), wrong: true });
    return;
  }
  dialog.replaceChildren(document.adoptNode(form));
  dialog.showModal();
  begin();
}

// Where the keyboard is: at what is wrong, at the first thing to fill in, or where nothing is lost by Enter.
function begin() {
  const form = formIn();
  for (const area of form.querySelectorAll("[data-json]")) watch(area);
  const place =
    form.querySelector("[data-error], [aria-invalid]") ??
    form.querySelector("[data-safe]") ??
    form.querySelector("textarea, input:not([type=hidden]), select") ??
    form.querySelector("[data-do]");
  place.focus();
  if (place.matches("textarea")) place.setSelectionRange(0, 0);
}

function watch(area) {
  const state = dialog.querySelector(`[data-state-of="${area.id}"]`);
  const look = () => {
    let said = "";
    try {
      if (area.value.trim()) JSON.parse(area.value);
    } catch (error) {
      said = `No JSON so far: ${error.message}`;
    }
    if (state.textContent !== said) state.textContent = said;
  };
  area.addEventListener("input", look);
}

if (dialog) {
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation(); // keys of the page are not meant
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) formIn()?.requestSubmit();
  });
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("[data-close]")) return; // beside it is nothing: what was typed is not lost by a slip
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    if (document.activeElement === document.body) document.getElementById("main").focus();
  });
  dialog.addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.target);
  });
  const kept = sessionStorage.getItem(KEPT);
  if (kept) {
    sessionStorage.removeItem(KEPT);
    tell(JSON.parse(kept));
  }
}

async function send(form) {
  if (form.getAttribute("aria-busy")) return;
  form.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "application/json" },
    });
    if (dialog.firstElementChild !== form) return; // it was closed meanwhile: the page shows what has changed
    if ((answer.headers.get("Content-Type") ?? "").startsWith("application/json")) {
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.error ?? "That could not be done.");
      finish(said);
      return;
    }
    const found = parsed(await answer.text());
    const next = found.querySelector("form.action");
    if (!next) throw new Error(found.querySelector("main h1")?.textContent ?? "That could not be done.");
    form.replaceWith(document.adoptNode(next));
    begin();
  } catch (error) {
    const unreached = error instanceof TypeError;
    refuse(form, unreached ? "The server cannot be reached. Nothing is lost: try again, it will happen once." : error.message);
  } finally {
    form.removeAttribute("aria-busy");
  }
}

function finish(said) {
  if (said.go && location.pathname + location.search !== said.address) {
    sessionStorage.setItem(KEPT, JSON.stringify({ text: said.text }));
    location.href = said.address;
    return;
  }
  dialog.close();
  tell({ ...said, address: location.pathname === said.address ? "" : said.address });
}

function refuse(form, text) {
  form.querySelector("[data-error]")?.remove();
  const place = document.createElement("p");
  Object.assign(place, { className: "wrong", textContent: text, tabIndex: -1 });
  place.setAttribute("role", "alert");
  place.dataset.error = "";
  form.querySelector("h2").after(place);
  place.focus();
}

/** Says what was done, with a link to where it can be seen. It stays while somebody points at it. */
export function tell({ text, address, word, wrong }) {
  const place = document.getElementById("told");
  const note = document.createElement("div");
  note.className = wrong ? "note-told is-wrong" : "note-told";
  const line = document.createElement("p");
  line.textContent = text;
  note.append(line);
  if (address) {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = word;
    note.append(link);
  }
  const away = document.createElement("button");
  Object.assign(away, { type: "button", className: "note-away", textContent: "×" });
  away.setAttribute("aria-label", "Close this message");
  away.addEventListener("click", () => note.remove());
  note.append(away);
  place.replaceChildren(note);
  let timer = setTimeout(() => note.remove(), SHOWN_MS);
  const hold = () => clearTimeout(timer);
  const loose = () => {
    hold();
    timer = setTimeout(() => note.remove(), SHOWN_MS / 2);
  };
  note.addEventListener("pointerenter", hold);
  note.addEventListener("focusin", hold);
  note.addEventListener("pointerleave", loose);
  note.addEventListener("focusout", loose);
}
