// Draws nodes and edges: laid out by dagre, as one picture that can be moved and brought closer, and gone through by
// keyboard. Loaded by the pages that have something to draw, when somebody looks at it.
import { icon } from "./trace-rows.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MEETING] = [196, 46, 8];
const CHARS = 23; // of a name, in the width of a node
const [CLOSEST, FARTHEST] = [2.5, 0.1];

let dagre;
async function layout(graph, direction) {
  dagre ??= await import("./vendor/dagre.js");
  const plan = new dagre.graphlib.Graph();
  plan.setGraph({ rankdir: direction, nodesep: 22, ranksep: 38, marginx: 16, marginy: 16 });
  plan.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) {
    plan.setNode(node.id, node.name ? { width: WIDTH, height: HEIGHT } : { width: MEETING, height: MEETING });
  }
  for (const [from, to] of graph.edges) plan.setEdge(from, to);
  dagre.layout(plan);
  return plan;
}

function made(tag, attributes, ...inside) {
  const place = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) place.setAttribute(name, value);
  place.append(...inside);
  return place;
}

const short = (text, most = CHARS) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** A picture in `box`. `opened(node)` is called for the node that somebody chooses. */
export function drawn(box, opened, direction = "TB") {
  const svg = made("svg", { role: "group", "aria-label": box.dataset.says ?? "Graph", class: "graph-picture" });
  const note = Object.assign(document.createElement("p"), { className: "trace-note" });
  box.replaceChildren(svg, note);
  let [nodes, plan, shown, known, chosen] = [new Map(), null, null, "", null];
  let view = { x: 0, y: 0, scale: 1 };
  let moved = false; // by somebody, who then sees what they chose to see

  function look() {
    const [width, height] = [box.clientWidth / view.scale, box.clientHeight / view.scale];
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${Math.max(1, width)} ${Math.max(1, height)}`);
  }

  // All of it if that can be read; else its beginning.
  function fit() {
    moved = false;
    const { width, height } = plan.graph();
    const high = "grows" in box.dataset ? 1 : box.clientHeight / height;
    const scale = Math.min(1, box.clientWidth / width, Math.max(0.7, high));
    view.scale = Math.max(0.8, scale);
    if ("grows" in box.dataset) box.style.height = `${Math.min(440, Math.max(120, Math.ceil(height * view.scale)))}px`;
    const [across, down] = [box.clientWidth / view.scale, box.clientHeight / view.scale];
    view.x = direction === "TB" || width < across ? (width - across) / 2 : 0;
    view.y = direction === "LR" || height < down ? (height - down) / 2 : 0;
    look();
  }

  function zoom(factor, x = box.clientWidth / 2, y = box.clientHeight / 2) {
    const scale = Math.min(CLOSEST, Math.max(FARTHEST, view.scale * factor));
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    moved = true;
    look();
  }

  function edge(from, to) {
    const points = plan.edge(from, to).points;
    const [first, ...others] = points;
    let path = `M${first.x},${first.y}`;
    for (const [index, point] of others.entries()) {
      const next = others[index + 1];
      if (!next) path += `L${point.x},${point.y}`;
      else path += `Q${point.x},${point.y} ${(point.x + next.x) / 2},${(point.y + next.y) / 2}`;
    }
    const arrow = nodes.get(to).name ? { "marker-end": `url(#${box.id}-arrow)` } : {};
    return made("path", { d: path, class: "graph-edge", ...arrow });
  }

  function element(node) {
    const { x, y } = plan.node(node.id);
    if (!node.name) return made("circle", { cx: x, cy: y, r: MEETING / 2, class: "graph-meeting" });
    const opens = node.step || node.href;
    const place = made("g", {
      class: `graph-node tone-${node.tone ?? "off"}${opens ? "" : " is-still"}`, "data-node": node.id, tabindex: "-1",
      role: node.href ? "link" : opens ? "button" : "img", transform: `translate(${x - WIDTH / 2},${y - HEIGHT / 2})`,
      "aria-label": [node.name, node.note, node.word].filter(Boolean).join(", "),
    });
    place.append(
      made("title", {}, node.name),
      made("rect", { width: WIDTH, height: HEIGHT, rx: 8, class: "graph-ground" }),
      made("rect", { width: 3, height: HEIGHT - 16, x: 0, y: 8, rx: 1.5, class: "graph-mark" }),
    );
    const mark = icon(node.shape);
    if (mark) {
      for (const [name, value] of Object.entries({ x: 11, y: 8, width: 14, height: 14 })) mark.setAttribute(name, value);
      place.append(mark);
    }
    place.append(
      made("text", { x: 31, y: 19, class: "graph-name" }, short(node.name)),
      made("text", { x: 31, y: 36, class: "graph-note" }, short(node.note ?? "", 28)),
    );
    return place;
  }

  async function show(graph) {
    const text = JSON.stringify(graph);
    if (text === known) return;
    const first = known === "";
    known = text;
    shown = graph;
    nodes = new Map(graph.nodes.map((node) => [node.id, node]));
    plan = await layout(graph, direction);
    const at = svg.contains(document.activeElement) ? document.activeElement.dataset.node : null;
    const head = made("marker", {
      id: `${box.id}-arrow`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
    }, made("path", { d: "M1 1l6 3-6 3", class: "graph-arrow" }));
    svg.replaceChildren(
      made("defs", {}, head), ...graph.edges.map(([from, to]) => edge(from, to)), ...graph.nodes.map(element),
    );
    note.hidden = !graph.left_out;
    note.textContent = graph.left_out ? `${graph.left_out.toLocaleString("en")} more are not drawn.` : "";
    if (first || ("grows" in box.dataset && !moved)) fit();
    stop(at ?? chosen ?? graph.nodes.find((node) => node.name)?.id);
    if (at) find(at)?.focus({ preventScroll: true });
    mark();
  }

  const find = (id) => svg.querySelector(`[data-node="${CSS.escape(id)}"]`);

  // One of them is where the tab key stops.
  function stop(id) {
    for (const each of svg.querySelectorAll('[tabindex="0"]')) each.setAttribute("tabindex", "-1");
    find(id)?.setAttribute("tabindex", "0");
  }

  function go(id) {
    const { x, y } = plan.node(id);
    const [wide, high] = [box.clientWidth / view.scale, box.clientHeight / view.scale];
    if (x - WIDTH / 2 < view.x || x + WIDTH / 2 > view.x + wide) view.x = x - wide / 2;
    if (y - HEIGHT / 2 < view.y || y + HEIGHT / 2 > view.y + high) view.y = y - high / 2;
    moved = true;
    look();
    stop(id);
    find(id).focus({ preventScroll: true });
  }

  // The nearest in a direction. Along the ranks the next rank comes first; within one, what is in it.
  function nearest(id, across, down) {
    const from = plan.node(id);
    const aslant = Boolean(down) === (direction === "TB") ? 0.3 : 3;
    let [best, least] = [null, Infinity];
    for (const node of shown.nodes) {
      if (!node.name || node.id === id) continue;
      const to = plan.node(node.id);
      const [ahead, aside] = across ? [(to.x - from.x) * across, to.y - from.y] : [(to.y - from.y) * down, to.x - from.x];
      const far = ahead + aslant * Math.abs(aside);
      if (ahead > 4 && far < least) [best, least] = [node.id, far];
    }
    return best;
  }

  function mark() {
    for (const node of shown?.nodes ?? []) find(node.id)?.classList.toggle("is-chosen", Boolean(node.step) && node.step === chosen);
  }

  const WAYS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
  const ZOOMS = { "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit };
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shown) return;
    const id = event.target.dataset?.node;
    if (ZOOMS[event.key]) ZOOMS[event.key]();
    else if (id && WAYS[event.key]) {
      const next = nearest(id, ...WAYS[event.key]);
      if (next) go(next);
    } else if (id && (event.key === "Enter" || event.key === " ")) open(nodes.get(id));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function open(node) {
    if (node.href) location.href = node.href;
    else opened(node);
  }

  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    if (!event.button) held = { x: event.clientX, y: event.clientY, moved: false };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = [event.clientX - held.x, event.clientY - held.y];
    if (!held.moved && Math.hypot(x, y) < 4) return;
    if (!held.moved) svg.setPointerCapture(event.pointerId);
    held = { x: event.clientX, y: event.clientY, moved: true };
    moved = true;
    view.x -= x / view.scale;
    view.y -= y / view.scale;
    look();
  });
  svg.addEventListener("click", (event) => {
    const id = event.target.closest("[data-node]")?.dataset.node;
    if (!held?.moved && id) {
      stop(id);
      open(nodes.get(id));
    }
    held = null;
  });
  svg.addEventListener("pointercancel", () => (held = null));
  svg.addEventListener("pointerup", (event) => held?.moved && svg.releasePointerCapture(event.pointerId));
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // without, it scrolls the page
    event.preventDefault();
    const place = box.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 0.87, event.clientX - place.left, event.clientY - place.top);
  }, { passive: false });
  // A frame later: to fit may change the height of the box, which would be told once more.
  new ResizeObserver(() => requestAnimationFrame(() => plan && (moved ? look() : fit()))).observe(box);

  return { show, keys: ZOOMS, choose(step) { chosen = step; mark(); } };
}
