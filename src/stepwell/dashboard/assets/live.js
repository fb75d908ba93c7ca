// Hints from the server: it says what has changed of what this page shows, and the page looks again.
//
// A page that nobody sees has no connection: browsers allow six to one server, and nothing is to be done for it. When it
// is seen again, or the connection comes back, everything may have changed.
const listeners = new Set();
const badge = document.getElementById("connection");
const words = { connecting: "Connecting", live: "Live", offline: "Offline, trying again", still: "Not live" };
let source = null;
let late = 0;

function tell(state) {
  if (!badge) return;
  badge.dataset.state = state;
  badge.querySelector(".connection-word").textContent = words[state];
  badge.title = words[state];
}

/** Calls `look(changed)` when something has changed: `changed` are the topics, or null if it may be anything. */
export function onChange(look) {
  listeners.add(look);
  return () => listeners.delete(look);
}

function changed(topics) {
  for (const look of listeners) look(topics);
}

/** The server has answered that it cannot answer: it is asked again in a while. */
class Refusal extends TypeError {}
const REFUSED_MS = 3000;

/** What is at an address of ours now; where the session has ended, the page goes to the login. */
export async function ask(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.redirected) location.reload();
  if (!answer.ok) throw new Refusal(`${answer.status}`);
  return answer;
}

// A page rests ten times as long as its look was work for the server, and as long as it was work for this browser. What
// it waited for is no work. Hints come no oftener than the server can take: usually it has rested before the next one.
const REST = 10;
const worked = (answer) => Number(/dur=([\d.]+)/.exec(answer.headers.get("Server-Timing"))?.[1] ?? 0);

/** `work(ask)` at once, and again once it has ended and rested, if it was called meanwhile, however often. */
export function unhurried(work) {
  let busy = false;
  let again = false;
  return async function run() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    again = false;
    let since = performance.now(); // it waits no more
    let [theirs, ours, least] = [0, 0, 0];
    try {
      await work(async (address) => {
        ours += performance.now() - since;
        try {
          const answer = await ask(address);
          theirs += worked(answer);
          return answer;
        } finally {
          since = performance.now();
        }
      });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the server is away: the connection says so
      if (error instanceof Refusal) [again, least] = [true, REFUSED_MS];
    } finally {
      setTimeout(() => {
        busy = false;
        if (again && !document.hidden) run(); // who is away looks when they come back
      }, Math.max(least, REST * theirs, ours + performance.now() - since));
    }
  };
}

function open() {
  const topics = document.body.dataset.topics;
  if (source || !topics) return;
  source = new EventSource(`/live?topics=${encodeURIComponent(topics)}`);
  source.addEventListener("open", () => {
    clearTimeout(late);
    tell("live");
    changed(null); // something may have changed since the page was made, or since the connection was lost
  });
  source.addEventListener("message", (message) => changed(new Set(message.data.split(" "))));
  source.addEventListener("error", () => {
    tell("offline");
    if (source?.readyState === EventSource.CLOSED) {
      // Refused, not merely away: the session may have ended. A look at the page itself leads to the login.
      shut();
      late = setTimeout(refused, 3000);
    }
  });
}

async function refused() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname === "/login") {
      location.href = answer.url;
      return;
    }
  } catch {}
  open();
}

function shut() {
  source?.close();
  source = null;
  clearTimeout(late);
}

export function connect() {
  if (!document.body.dataset.topics) {
    tell("still");
    return;
  }
  open();
  document.addEventListener("visibilitychange", () => (document.hidden ? shut() : open()));
  addEventListener("pagehide", shut);
  addEventListener("pageshow", (event) => event.persisted && open());
}
