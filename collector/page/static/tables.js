// Tables of what is stored and of what is missing: the maps in words.

import { element, tell } from "./dom.js";
import { counted, grouped, moment, size } from "./words.js";

const AT_ONCE = 100;

// A table whose cells are texts or elements. Of many rows some are shown, around the one at a place; the others come when
// they are asked for, and stay. Shown anew, it changes the cells that are otherwise: focus and place stay where they are.
export class Table {
  constructor(titles, texts = [], { atOnce = AT_ONCE } = {}) {
    this.kind = (place) => (texts.includes(place) ? "text" : "");
    this.atOnce = atOnce;
    this.wanted = { above: Math.floor(atOnce / 2), below: Math.ceil(atOnce / 2) }; // so many rows around the place
    this.caption = element("caption");
    this.body = element("tbody");
    const head = titles.map((title, place) => element("th", { scope: "col", className: this.kind(place) }, title));
    this.scroll = element("div", { className: "scroll", tabIndex: 0, role: "region" },
      element("table", {}, this.caption, element("thead", {}, element("tr", {}, ...head)), this.body));
    this.above = element("button", { type: "button", hidden: true, onclick: () => this.extend("above") });
    this.below = element("button", { type: "button", hidden: true, onclick: () => this.extend("below") });
    this.element = element("div", { hidden: true }, this.above, this.scroll, this.below);
  }

  show(caption, rows, around = 0) {
    Object.assign(this, { rows, around });
    this.element.hidden = !caption;
    tell(this.caption, caption);
    this.scroll.setAttribute("aria-label", caption);
    const { first, last } = this.span();
    const { children } = this.body;
    rows.slice(first, last).forEach((cells, place) => this.fill(children[place] ?? this.body.appendChild(element("tr")), cells));
    while (children.length > last - first) this.body.lastChild.remove();
    this.name(this.above, first, "above");
    this.name(this.below, rows.length - last, "more");
  }

  // The rows that are shown: as many as are wanted on both sides of the place, or on one where the other has fewer.
  span() {
    const { above, below } = this.wanted;
    const first = Math.max(0, Math.min(this.around - above, this.rows.length - above - below));
    return { first, last: Math.min(this.rows.length, first + above + below) };
  }

  fill(row, cells) {
    cells.forEach((cell, place) => {
      const where = row.children[place] ?? row.appendChild(element("td", { className: this.kind(place) }));
      if (!(cell instanceof Node)) tell(where, String(cell ?? ""));
      else if (!where.firstChild?.isEqualNode(cell)) where.replaceChildren(cell);
    });
  }

  name(button, left, where) {
    button.hidden = left === 0;
    tell(button, `Show ${grouped(Math.min(this.atOnce, left))} ${where} of ${grouped(this.rows.length)}`);
  }

  extend(side) {
    const { first, last } = this.span();
    this.wanted = { above: this.around - first, below: last - this.around };
    this.wanted[side] += this.atOnce;
    this.show(this.caption.textContent, this.rows, this.around);
  }
}

export function link(symbol, timeframe, ms) {
  const asked = new URLSearchParams({ symbol, timeframe, ...(ms ? { at: ms } : {}) });
  return element("a", { href: `#/chart?${asked}` }, `${symbol} ${timeframe}`);
}

const name = ({ symbol, timeframe }) => `${symbol} ${timeframe}`;

// Every series of /api/series, those that lack most first.
export function seriesTable(nameOf = name) {
  const titles = ["series", "%", "first", "last", "rows", "holes", "missing", "size", "candles without a row"];
  const table = new Table(titles, [8]);
  const show = (series) => {
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
    table.show(`${counted(rows.length, "series")}, those that lack most first. Missing: what may still come.`, rows);
  };
  return { element: table.element, show };
}

// Gaps of /api/gaps, with reasons.
export function gapsTable(nameOf = name) {
  const table = new Table(["series", "state", "from", "to", "candles", "last asked", "why"], [1, 6]);
  const show = (gaps, caption) => {
    const rows = gaps.map((each) => [
      nameOf(each),
      each.state,
      moment(each.start_ms),
      moment(each.end_ms),
      grouped(each.candles),
      moment(each.asked_ms) || (each.why === "never fetched" ? "never" : "not yet"),
      each.why,
    ]);
    table.show(caption, rows);
  };
  return { element: table.element, show };
}
