// Tables of what is stored and of what is missing: the maps in words.

import { element } from "./dom.js";
import { counted, grouped, moment, size } from "./words.js";

const AT_ONCE = 100;

// A table whose cells are texts or elements; more rows than some come when they are asked for.
export function table(caption, titles, rows, texts = [], atOnce = AT_ONCE) {
  const kind = (place) => (texts.includes(place) ? "text" : "");
  const head = titles.map((title, place) => element("th", { scope: "col", className: kind(place) }, title));
  const body = element("tbody");
  const more = element("button", { type: "button" });
  let shown = 0;
  const show = () => {
    const next = rows.slice(shown, shown + atOnce);
    shown += next.length;
    body.append(
      ...next.map((row) => element("tr", {}, ...row.map((cell, place) => element("td", { className: kind(place) }, cell ?? "")))),
    );
    more.hidden = shown >= rows.length;
    more.textContent = `Show ${grouped(Math.min(atOnce, rows.length - shown))} more of ${grouped(rows.length)}`;
  };
  more.onclick = show;
  show();
  const made = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...head)), body);
  return element("div", {}, element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, made), more);
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
