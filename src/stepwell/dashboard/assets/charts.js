// The charts of the overview: minutes of the last hour as bars, which stand on one another where they are of one minute.
import { absolute, zone } from "./time.js";

const COLUMNS = { completed: 1, failed: 2, cancelled: 3 };
const EXACT = 4;
const CHARTS = {
  ended: [["completed", "--good-bar"], ["cancelled", "--off-bar"], ["failed", "--bad-bar"]],
  failed: [["failed", "--bad-bar"]],
};
const HEIGHT = 150;
const LEAST = 4; // of the axis: one run alone is not to look like a flood

const { uPlot } = window; // by a script of the page, which is no module
const page = document.querySelector("[data-charts]");
const drawn = new Map();
let minutes = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (ms) => absolute(ms, zone() === "utc" ? "utc" : "local").slice(11, 16);

// Each series with all that stands below it, the highest first, so that the lower ones are painted over it.
function stacked(kinds) {
  const sums = minutes.map(() => 0);
  const columns = kinds.map(([kind]) => minutes.map((minute, index) => (sums[index] += minute[COLUMNS[kind]])));
  return [minutes.map((minute) => minute[0] / 1000), ...columns.reverse()];
}

function said(minute, kinds) {
  const about = minute[EXACT] ? "" : "≈ ";
  return `${clock(minute[0])}  ${kinds.map(([kind]) => `${about}${minute[COLUMNS[kind]].toLocaleString("en")} ${kind}`).join(", ")}`;
}

function options(kinds, place, label) {
  const font = `11px ${colour("--sans")}`;
  const axis = { stroke: colour("--faint"), font, grid: { show: false }, ticks: { show: false } };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    padding: [8, 16, 0, 0],
    cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { show: false } },
    scales: { x: { time: true, range: (_, from, to) => [from - 30, to + 30] }, y: { range: (_, least, most) => [0, Math.max(LEAST, most * 1.08)] } },
    axes: [
      { ...axis, size: 22, gap: 4, space: 64, incrs: [60, 300, 600, 900, 1200, 1800], values: (_, at) => at.map((second) => clock(second * 1000)) },
      { ...axis, size: 38, gap: 4, space: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5],
        grid: { stroke: colour("--line"), width: 1 },
        values: (_, at) => at.map((number) => (number >= 1000 ? `${number / 1000}k` : `${number}`)) },
    ],
    series: [{}, ...[...kinds].reverse().map(([kind, fill]) => ({
      label: kind, fill: colour(fill), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.72, 16], radius: 0.15 }),
    }))],
    hooks: { setCursor: [(chart) => (label.textContent = chart.cursor.idx == null ? "" : said(minutes[chart.cursor.idx], kinds))] },
  };
}

function draw(figure, anew) {
  const kinds = CHARTS[figure.dataset.chart];
  const [place, label] = [figure.querySelector(".chart-place"), figure.querySelector(".chart-said")];
  const known = drawn.get(place);
  place.setAttribute("aria-label", figure.dataset.label);
  if (known && !anew) {
    known.setData(stacked(kinds));
    return;
  }
  known?.destroy();
  const chart = new uPlot(options(kinds, place, label), stacked(kinds), place);
  drawn.set(place, chart);
  if (!known) keys(place, figure, kinds);
}

// By keyboard: the minutes one after the other, each told.
function keys(place, figure, kinds) {
  let at = null;
  const go = (to) => {
    at = Math.min(minutes.length - 1, Math.max(0, to));
    const chart = drawn.get(place);
    chart.setCursor({ left: chart.valToPos(minutes[at][0] / 1000, "x"), top: 10 });
    place.setAttribute("aria-label", said(minutes[at], kinds));
  };
  const moves = {
    ArrowLeft: () => go((at ?? minutes.length) - 1), ArrowRight: () => go((at ?? minutes.length - 2) + 1),
    Home: () => go(0), End: () => go(minutes.length - 1),
  };
  place.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  place.addEventListener("blur", () => {
    at = null;
    drawn.get(place).setCursor({ left: -10, top: -10 });
    place.setAttribute("aria-label", figure.dataset.label);
  });
}

function all(anew) {
  const charts = page.querySelector("[data-series]");
  if (!charts) return;
  minutes = JSON.parse(charts.dataset.series);
  for (const figure of charts.querySelectorAll("[data-chart]")) draw(figure, anew);
}

function sized() {
  for (const [place, chart] of drawn) chart.setSize({ width: place.clientWidth, height: HEIGHT });
}

all(true);
document.body.addEventListener("htmx:after:swap", () => all(false));
addEventListener("resize", () => requestAnimationFrame(sized));
// The colours of a canvas are those that were there when it was painted.
new MutationObserver(() => all(true)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all(true));
document.addEventListener("stepwell:zone", () => all(true));
