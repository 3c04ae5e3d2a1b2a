// Tables of what is stored and of what is missing: the maps in words.

import { element } from "./dom.js";
import { counted, grouped, moment, size } from "./words.js";

const AT_ONCE = 100;

// A table whose cells are texts or elements. Of many rows some are shown, around the one at a place; the others come when
// they are asked for.
export function table(caption, titles, rows, texts = [], { atOnce = AT_ONCE, around = 0 } = {}) {
  const kind = (place) => (texts.includes(place) ? "text" : "");
  const head = titles.map((title, place) => element("th", { scope: "col", className: kind(place) }, title));
  const body = element("tbody");
  const made = (from, to) =>
    rows.slice(from, to).map((row) => element("tr", {}, ...row.map((cell, place) => element("td", { className: kind(place) }, cell ?? ""))));
  let first = Math.max(0, Math.min(around - Math.floor(atOnce / 2), rows.length - atOnce));
  let last = first;
  const above = element("button", { type: "button" });
  const below = element("button", { type: "button" });
  const showBelow = () => {
    body.append(...made(last, last + atOnce));
    last = Math.min(rows.length, last + atOnce);
    below.hidden = last === rows.length;
    below.textContent = `Show ${grouped(Math.min(atOnce, rows.length - last))} more of ${grouped(rows.length)}`;
  };
  const showAbove = (count) => {
    body.prepend(...made(first - count, first));
    first -= count;
    above.hidden = first === 0;
    above.textContent = `Show ${grouped(Math.min(atOnce, first))} above of ${grouped(rows.length)}`;
  };
  above.onclick = () => showAbove(Math.min(atOnce, first));
  below.onclick = showBelow;
  showBelow();
  showAbove(0);
  const whole = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...head)), body);
  return element("div", {}, above, element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, whole), below);
}

export function link(symbol, timeframe, ms) {
  const asked = new URLSearchParams({ symbol, timeframe, ...(ms ? { at: ms } : {}) });
  return element("a", { href: `#/chart?${asked}` }, `${symbol} ${timeframe}`);
}

const name = ({ symbol, timeframe }) => `${symbol} ${timeframe}`;

// Every series of /api/series, those that lack most first.
export function seriesTable(series, nameOf = name) {
  const rows = [...series].sort((one, other) => other.missing - one.missing || one.percent - other.percent).map((each) => [
    nameOf(each),
    each.percent.toFixed(1),
    moment(each.first_ms),
    moment(each.last_ms),
    grouped(each.rows),
    grouped(each.holes),
    grouped(each.missing),
    size(each.bytes),
    each.problem ?? Object.entries(each.gaps ?? {}).filter(([, count]) => count).map(([state, count]) => `${grouped(count)} ${state}`).join(", "),
  ]);
  const titles = ["series", "%", "first", "last", "rows", "holes", "missing", "size", "candles without a row"];
  return table(`${counted(rows.length, "series")}, those that lack most first. Missing: what may still come.`, titles, rows, [8]);
}

// Gaps of /api/gaps, with reasons.
export function gapsTable(gaps, caption, nameOf = name) {
  const rows = gaps.map((each) => [
    nameOf(each),
    each.state,
    moment(each.start_ms),
    moment(each.end_ms),
    grouped(each.candles),
    moment(each.asked_ms) || (each.why === "never fetched" ? "never" : "not yet"),
    each.why,
  ]);
  return table(caption, ["series", "state", "from", "to", "candles", "last asked", "why"], rows, [1, 6]);
}
