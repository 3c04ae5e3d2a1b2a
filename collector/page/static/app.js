// The page: its views, its colours, and the line that says how the collector is.

import { Events, Newest, ask } from "./api.js";
import { CandleChart } from "./chart.js";
import { find, tell } from "./dom.js";
import { CoverageMap } from "./map.js";
import { NowView } from "./now.js";
import { gapsTable, link, seriesTable } from "./tables.js";
import { counted, gist } from "./words.js";

const REFRESH_MS = 30_000;
const STATUS = { only: "status" };
const UNREACHED = "The collector does not answer. This page asks again by itself.";
const LOCKED = "No updates: the token has changed. Load this page again to enter it.";
const THEMES = { "": "as the system", light: "light", dark: "dark" };
const linked = ({ symbol, timeframe, start_ms }) => link(symbol, timeframe, start_ms);

let series = [];
let view = "";
const newest = { series: new Newest(), map: new Newest(), gaps: new Newest() };
const tables = { series: seriesTable(linked), gaps: gapsTable(linked) };

const map = new CoverageMap(find("map"), { reason, open: (row, ms) => go("chart", row, ms) });
const chart = new CandleChart(find("chart"), { reason, moved: (selection) => follow(selection) });
const now = new NowView(find("now"));
const events = new Events({
  status: showStatus,
  candle: (told) => chart.closed(told),
  forming: (told) => chart.forming(told),
  changed: (told) => (chart.isEmpty(told) ? refresh() : chart.changed(told)),
  lost: (refusal) => showState("lost", refusal ? refused(refusal) : UNREACHED),
  missing: () => {
    follow(STATUS);
    chart.show(chart.symbol, chart.timeframe, null);
  },
  found: () => {
    series = []; // another collector may have others
    refresh();
  },
});

function go(name, { symbol, timeframe }, ms) {
  location.hash = `#/${name}?${new URLSearchParams({ symbol, timeframe, at: Math.round(ms) })}`;
}

// The reasons of the gaps in a span, each once.
async function reason({ symbol, timeframe }, { start, end }) {
  const { gaps } = await ask("gaps", { symbol, timeframe, start, end, limit: 50 });
  return [...new Set(gaps.map((gap) => gap.why).filter(Boolean))].slice(0, 3).join("; ");
}

const refused = ({ isLocked, message }) => (isLocked ? LOCKED : `No updates: ${message}. This page asks again by itself.`);

// A screen reader says what is new, and is silent while numbers and durations run on.
let told = "";
function showState(kind, text) {
  find("state").className = kind;
  tell(find("state"), text);
  if (gist(text) !== told) tell(find("state-spoken"), text);
  told = gist(text);
}

function showStatus(status) {
  now.setStatus(status);
  if (status.running === false) showState("stored", "No collector runs here. This is what is stored.");
  else if (status.state === "healthy") showState("healthy", `Healthy, ${status.doing}.`);
  else showState(status.state, `${status.state[0].toUpperCase()}${status.state.slice(1)}: ${status.reasons.join("; ") || status.doing}.`);
}

// Does what asks the server; says why it cannot.
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (!events.isLost) tell(find("state"), error.message);
  }
}

async function loadSeries() {
  ({ series } = await newest.series.of(ask("series")));
  chart.setSeries(series);
}

// Whether the shown view has numbers of the series: they are asked for with it.
const isSeriesShown = () => !series.length || view === "now" || (view === "map" && find("series-details").open);

// Loads anew what the shown view is made of.
const refresh = () =>
  attempt(async () => {
    if (view === "chart" || isSeriesShown()) await loadSeries();
    if (view === "map") await refreshMap();
    if (view === "now") await now.load(series);
    if (view === "chart") await chart.renew();
  });

async function refreshMap() {
  const frames = [...new Set(series.map((each) => each.timeframe))];
  find("nothing").hidden = frames.length > 0;
  map.setData(await newest.map.of(Promise.all(frames.map((timeframe) => ask("coverage", { timeframe })))));
  if (find("series-details").open) tables.series.show(series);
  if (find("gaps-details").open) await showGaps();
}

// Shows the table as it was, and as it is.
async function showSeries() {
  tables.series.show(series);
  if (!find("series-details").open) return;
  await loadSeries();
  tables.series.show(series);
}

async function showGaps() {
  const { gaps, more } = await newest.gaps.of(ask("gaps", { limit: 1000 }));
  tables.gaps.show(gaps, gaps.length ? `${counted(gaps.length, "gap")}${more ? ", and there are more" : ""}.` : "Nothing is missing.");
}

let followed = null;
function follow(selection) {
  const asked = new URLSearchParams(selection).toString();
  if (asked === followed) return;
  followed = asked;
  events.follow(selection);
}

// Shows the view that the address names: behind #/, where no element has its name and the browser stays where it is.
async function route() {
  const { hash } = location;
  const isLeft = () => hash !== location.hash; // what was asked for meanwhile is shown by a call of its own
  const [name, query] = hash.replace(/^#\/?/, "").split("?");
  view = ["map", "chart", "now"].includes(name) ? name : "map";
  for (const each of ["map", "chart", "now"]) find(`view-${each}`).hidden = each !== view;
  keepFocus();
  for (const each of document.querySelectorAll("nav a")) {
    if (each.hash === `#/${view}`) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  await attempt(async () => {
    if (isSeriesShown()) await loadSeries();
    if (isLeft()) return;
    if (view === "chart") return void (await routeToChart(new URLSearchParams(query ?? ""), isLeft));
    follow(STATUS);
    await (view === "map" ? refreshMap() : now.load(series));
  });
}

async function routeToChart(asked, isLeft) {
  const [first] = series;
  const symbol = asked.get("symbol") ?? chart.symbol ?? first?.symbol;
  const timeframe = asked.get("timeframe") ?? chart.timeframe ?? first?.timeframe;
  if (!symbol || !timeframe) return void chart.refuse("Nothing is stored or wanted yet.");
  if (!chart.known.has(`${symbol} ${timeframe}`)) await loadSeries(); // it may have come since
  if (!isLeft()) await chart.show(symbol, timeframe, Number(asked.get("at")) || null);
}

// A view that is left takes the focus with it: it goes to the one that is shown.
function keepFocus() {
  if (document.activeElement?.closest("[hidden]")) (view === "chart" ? chart.area : find("content")).focus();
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  tell(find("theme"), `Theme: ${THEMES[theme]}`);
  map.draw();
  chart.recolour();
}

function keptTheme() {
  try {
    const kept = localStorage.getItem("theme") ?? "";
    return kept in THEMES ? kept : "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

find("theme").onclick = () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  try {
    localStorage.setItem("theme", next);
  } catch {
    // it holds until the page is closed
  }
  setTheme(next);
};
for (const [name, table] of Object.entries(tables)) find(name).append(table.element);
find("series-details").ontoggle = () => attempt(showSeries);
find("gaps-details").ontoggle = () => showGaps().catch((error) => tables.gaps.show([], error.message));
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault(); // the part behind # is the view's
  find("content").focus();
};
addEventListener("hashchange", route);
for (const kind of ["(prefers-color-scheme: dark)", "print"]) matchMedia(kind).addEventListener("change", () => chart.recolour());
const isStill = () => view === "chart" && chart.isDrawn; // it is told what changes
setInterval(() => document.visibilityState === "visible" && !isStill() && !events.isLost && refresh(), REFRESH_MS);

setTheme(keptTheme());
follow(STATUS);
route();
