// The coverage map: a row of pixels for each series, time from left to right.

import { colour, element, pixel, tell } from "./dom.js";
import { RANKS, boundsOf, mark, ranksOf, runAt, runBeside } from "./raster.js";
import { DAY, HOUR, MINUTE, STATES, byLength, counted, moment, stepOf, tick } from "./words.js";

const AXIS = 20; // CSS pixels, as all others
const READABLE = 14;
const TALLEST = 24;
const NAMES = 116;
const FRAMES = 36;
const TICKS = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY];
const MONTHS = [30 * DAY, 91 * DAY, 182 * DAY, 365 * DAY, 730 * DAY];
const SETTLED_MS = 500;
const NARROWEST = 10 * MINUTE;
const NEAREST = 16; // fingers that are nearer to each other count as so far apart

export class CoverageMap {
  // `reason` says why a span is as it is, and `open` shows a series around a moment; both may be left out.
  constructor(root, { reason, open } = {}) {
    this.reason = reason;
    this.open = open;
    this.rows = [];
    this.shown = [];
    this.filter = "";
    this.timeframe = "";
    this.first = 0;
    this.view = this.whole = null;
    this.cursor = null;
    this.fingers = new Map(); // where each is that is down, and the mouse: CSS pixels by the number of the pointer
    this.build(root);
    this.listen();
  }

  build(root) {
    this.canvas = element("canvas", {
      tabIndex: 0,
      role: "application",
      "aria-label": "Coverage map: a row for each series, time from left to right",
      "aria-describedby": "map-keys",
    });
    this.tip = element("div", { className: "tip", hidden: true });
    this.said = element("p", { className: "said" });
    this.spoken = element("p", { className: "unseen", role: "status" }); // for screen readers: once, when it has settled
    this.frames = element("select", { "aria-label": "Timeframe" });
    this.search = element("input", { type: "search", placeholder: "all symbols", "aria-label": "Symbols that contain" });
    this.rowed = element("input", { type: "checkbox", id: "map-rows" });
    const spans = [["All", null], ["Month", 30 * DAY], ["Day", DAY], ["Hour", HOUR]];
    this.buttons = element(
      "div",
      { className: "buttons", role: "group", "aria-label": "Span of time" },
      ...spans.map(([text, length]) => this.button(text, `Show ${text === "All" ? "all" : `one ${text.toLowerCase()}`}`, () => this.showLength(length))),
      this.button("−", "Zoom out", () => this.zoom(2)),
      this.button("+", "Zoom in", () => this.zoom(0.5)),
      this.button("◀", "Earlier", () => this.pan(-0.5)),
      this.button("▶", "Later", () => this.pan(0.5)),
    );
    const choice = element("div", { className: "choice" }, this.frames, this.search,
      element("label", {}, this.rowed, " a row for each series"), this.buttons);
    this.legend = element("ul", { className: "legend", "aria-label": "Colours" });
    for (const state of RANKS.slice(1).reverse()) {
      const patch = element("span", { className: `patch ${state}` });
      this.legend.append(element("li", { title: STATES[state] }, patch, state));
    }
    const keys = "Arrow keys choose series and span, + and − zoom, shift with an arrow moves in time, Home shows everything"
      + (this.open ? ", Enter opens the chart." : ".");
    root.append(choice, element("div", { className: "canvas" }, this.canvas, this.tip), this.said, this.spoken, this.legend,
      element("p", { id: "map-keys", className: "quiet" }, keys));
  }

  button(text, title, act) {
    return element("button", { type: "button", title, "aria-label": title, onclick: act }, text);
  }

  listen() {
    this.frames.onchange = () => this.choose(this.frames.value);
    this.search.oninput = () => this.choose(this.timeframe, this.search.value);
    this.rowed.onchange = () => this.arrange();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    for (const kind of ["(prefers-color-scheme: dark)", "print"]) matchMedia(kind).addEventListener("change", () => this.draw());
    this.canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    this.canvas.addEventListener("pointermove", (event) => this.onMove(event));
    this.canvas.addEventListener("pointerup", (event) => this.onUp(event));
    this.canvas.addEventListener("pointercancel", (event) => this.onCancel(event));
    this.canvas.addEventListener("pointerleave", () => this.hideTip());
    this.canvas.addEventListener("blur", () => this.hideTip());
  }

  // Takes the answers of /api/coverage, one for each timeframe.
  setData(answers) {
    this.rows = [];
    for (const { timeframe, states, series } of [...answers].sort((one, other) => byLength(one.timeframe, other.timeframe))) {
      const ranks = ranksOf(states);
      for (const { symbol, runs } of series) this.rows.push({ symbol, timeframe, ranks, runs: Float64Array.from(runs) });
    }
    const names = [...new Set(this.rows.map((row) => row.timeframe))];
    const known = [...this.frames.options].map((each) => each.value).join();
    if (["", ...names].join() !== known) {
      this.frames.replaceChildren(...["", ...names].map((name) => new Option(name || "all timeframes", name)));
      this.frames.value = names.includes(this.timeframe) ? this.timeframe : "";
    }
    const whole = boundsOf(this.rows);
    const wasWhole = !this.view || (this.whole && this.view.start === this.whole.start && this.view.end === this.whole.end);
    this.whole = whole;
    if (wasWhole) this.view = whole && { ...whole };
    this.choose(this.frames.value);
  }

  choose(timeframe, filter = this.filter) {
    this.timeframe = this.frames.value = timeframe;
    this.filter = filter;
    const part = filter.trim().toUpperCase();
    this.shown = this.rows.filter(
      (row) => (!timeframe || row.timeframe === timeframe) && row.symbol.toUpperCase().includes(part),
    );
    if (this.cursor && !this.shown.includes(this.cursor.row)) {
      const { symbol, timeframe: frame } = this.cursor.row;
      const same = this.shown.find((row) => row.symbol === symbol && row.timeframe === frame);
      this.cursor = same ? { ...this.cursor, row: same } : null;
    }
    this.arrange();
  }

  arrange() {
    this.first = Math.max(0, Math.min(this.first, this.shown.length - 1));
    const frames = new Set(this.shown.map((row) => row.timeframe)).size;
    const wanted = this.rowed.checked ? this.shown.length * READABLE : Math.min(this.shown.length * TALLEST, 150 + 60 * frames);
    const height = Math.max(80, Math.min(wanted, Math.max(260, innerHeight * 0.6))) + AXIS;
    this.canvas.style.height = `${Math.round(height)}px`;
    this.draw();
  }

  // Where the rows are, in pixels of the screen: [top, bottom) of each.
  lay(height, scale) {
    const rows = this.shown;
    if (this.rowed.checked) {
      const tall = READABLE * scale;
      this.first = Math.max(0, Math.min(this.first, rows.length - Math.floor(height / tall)));
      return rows.map((_, place) => [Math.round((place - this.first) * tall), Math.round((place - this.first + 1) * tall)]);
    }
    const parts = new Map();
    for (const row of rows) parts.set(row.timeframe, (parts.get(row.timeframe) ?? 0) + 1);
    const gap = parts.size > 1 ? Math.round(4 * scale) : 0;
    const tall = Math.min(TALLEST * scale, (height - gap * (parts.size - 1)) / rows.length);
    let top = -gap;
    let last = null;
    return rows.map(({ timeframe }) => {
      if (timeframe !== last) top += gap;
      last = timeframe;
      const place = Math.floor(top);
      top += tall;
      return [place, Math.max(place + 1, Math.floor(top))];
    });
  }

  draw() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return;
    performance.mark("map");
    const scale = devicePixelRatio;
    const [width, height] = [Math.round(clientWidth * scale), Math.round(clientHeight * scale)];
    this.places = this.lay(height - Math.round(AXIS * scale), scale);
    const isNamed = this.places.some(([top, bottom]) => bottom - top >= 12 * scale);
    const left = Math.round((isNamed ? Math.min(NAMES, clientWidth * 0.28) : FRAMES) * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.field = { left, width: width - left, height: height - Math.round(AXIS * scale), scale };
    const paint = this.canvas.getContext("2d");
    paint.fillStyle = colour("ground");
    paint.fillRect(0, 0, width, height);
    if (this.view && this.shown.length) {
      this.drawRuns(paint);
      this.drawNames(paint);
      this.drawAxis(paint);
      this.drawCursor(paint);
    }
    performance.measure("map drawn", "map");
  }

  drawRuns(paint) {
    const { left, width, height } = this.field;
    const raster = new Uint8Array(width * height);
    const gap = this.field.scale >= 1 && this.places[0][1] - this.places[0][0] >= 8 ? 1 : 0;
    this.shown.forEach((row, place) => {
      const [top, bottom] = this.places[place];
      if (top < height && bottom > 0) mark(raster, width, row, this.view, Math.max(0, top), Math.min(height, bottom - gap));
    });
    const colours = RANKS.map((state) => pixel(colour(state || "nothing")));
    const image = paint.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let place = 0; place < raster.length; place++) pixels[place] = colours[raster[place]];
    paint.putImageData(image, left, 0);
  }

  drawNames(paint) {
    const { left, height, scale } = this.field;
    paint.font = `${11 * scale}px system-ui, sans-serif`;
    paint.fillStyle = colour("ink");
    paint.textBaseline = "middle";
    let last = null;
    this.shown.forEach((row, place) => {
      const [top, bottom] = this.places[place];
      if (bottom <= 0 || top >= height) return;
      const isReadable = bottom - top >= 12 * scale;
      const isNew = row.timeframe !== last;
      last = row.timeframe;
      if (!isReadable && !isNew) return;
      const text = isReadable ? (this.timeframe ? row.symbol : `${row.symbol} ${row.timeframe}`) : row.timeframe;
      paint.fillText(text, 2 * scale, isReadable ? (top + bottom) / 2 : top + 8 * scale, left - 6 * scale);
    });
  }

  drawAxis(paint) {
    const { left, width, height, scale } = this.field;
    const span = this.view.end - this.view.start;
    const most = Math.max(2, width / (74 * scale));
    const step = [...TICKS, ...MONTHS].find((each) => span / each <= most) ?? 1460 * DAY;
    paint.fillStyle = colour("quiet");
    paint.textBaseline = "top";
    for (let ms = Math.ceil(this.view.start / step) * step; ms < this.view.end; ms += step) {
      const x = left + ((ms - this.view.start) / span) * width;
      paint.fillRect(Math.round(x), height, scale, 4 * scale);
      const text = tick(ms, span);
      const isFitting = x + 4 * scale + paint.measureText(text).width < left + width;
      if (isFitting) paint.fillText(text, Math.round(x) + 3 * scale, height + 4 * scale);
    }
  }

  drawCursor(paint) {
    if (!this.cursor || document.activeElement !== this.canvas) return;
    const { left, width, scale } = this.field;
    const [top, bottom] = this.places[this.shown.indexOf(this.cursor.row)] ?? [0, 0];
    const at = (ms) => left + Math.max(0, Math.min(1, (ms - this.view.start) / (this.view.end - this.view.start))) * width;
    const { start, end } = this.cursor;
    const frame = [at(start) - scale, top - scale, Math.max(2 * scale, at(end) - at(start)) + 2 * scale, bottom - top + scale];
    for (const [name, wide] of [["ground", 6], ["ink", 2]]) { // seen on every colour
      paint.strokeStyle = colour(name);
      paint.lineWidth = wide * scale;
      paint.strokeRect(...frame);
    }
  }

  // The most important span below a place of the canvas, in CSS pixels.
  at(x, y) {
    if (!this.view || !this.places) return null;
    const { left, width, height, scale } = this.field;
    const [column, line] = [Math.floor(x * scale) - left, Math.floor(y * scale)];
    if (column < 0 || column >= width || line >= height) return null;
    const perPixel = (this.view.end - this.view.start) / width;
    const [start, end] = [this.view.start + column * perPixel, this.view.start + (column + 1) * perPixel];
    let best = null;
    let any = null;
    for (let place = 0; place < this.shown.length; place++) {
      const [top, bottom] = this.places[place];
      if (line < top || line >= bottom) continue;
      any ??= this.shown[place];
      const run = runAt(this.shown[place], start, end);
      if (run && (!best || run.rank > best.run.rank)) best = { row: this.shown[place], run, ms: start };
    }
    return best ?? (any && { row: any, run: null, ms: start });
  }

  text({ row, run, ms }) {
    const name = `${row.symbol} ${row.timeframe}`;
    if (!run) return `${name} · ${moment(ms)} · neither wanted nor held`;
    const candles = Math.max(1, Math.round((run.end - run.start) / stepOf(row.timeframe)));
    return `${name} · ${run.state} · ${moment(run.start)} to ${moment(run.end)} UTC · ${counted(candles, "candle")}`
      + ` · ${STATES[run.state]}`;
  }

  // Tells of a span at once, and of its reason when that is known.
  async describe(found, tellIt) {
    const text = this.text(found);
    tellIt(text);
    const token = (this.asked = {});
    if (!found.run || !this.reason || found.run.state === "held") return;
    await new Promise((done) => setTimeout(done, 120));
    if (token !== this.asked) return;
    const why = await this.reason(found.row, found.run).catch(() => "");
    if (why && token === this.asked) tellIt(`${text} · ${why}`);
  }

  say(text) {
    tell(this.said, text);
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => tell(this.spoken, text), SETTLED_MS);
  }

  hideTip() {
    this.tip.hidden = true;
    this.asked = null;
  }

  onMove(event) {
    if (this.drag && this.fingers.has(event.pointerId)) {
      this.fingers.set(event.pointerId, event.offsetX);
      if (Math.abs(event.offsetX - this.drag.begin.get(event.pointerId)) > 3) this.drag.moved = true;
      if (this.drag.moved) return void this.moveAlong();
    }
    const found = this.at(event.offsetX, event.offsetY);
    if (!found) return void this.hideTip();
    this.describe(found, (text) => this.showTip(text, event.offsetX, event.offsetY));
  }

  // Keeps the moments below the fingers there: with one the map moves, with two it zooms too.
  moveAlong() {
    const { begin, start, end } = this.drag;
    const [now, then] = [this.fingers, begin].map((each) => [...each.values()].sort((one, other) => one - other));
    const apart = (places) => Math.max(NEAREST, places.at(-1) - places[0]);
    const length = now.length > 1 ? this.clamp(((end - start) * apart(then)) / apart(now)) : end - start;
    const part = (places) => ((places[0] + places.at(-1)) / 2 * this.field.scale - this.field.left) / this.field.width;
    const first = start + (end - start) * part(then) - length * part(now);
    this.show(first, first + length);
    this.hideTip();
  }

  showTip(text, x, y) {
    tell(this.tip, text);
    this.tip.hidden = false;
    const most = this.canvas.clientWidth - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(x + 12, most))}px`;
    this.tip.style.top = `${y + 18}px`;
  }

  onDown(event) {
    if (event.button !== 0 || !this.view) return;
    if (event.isPrimary) this.fingers.clear();
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, event.offsetX);
    this.takeHold(this.fingers.size > 1);
  }

  // From here on the fingers move what is shown now.
  takeHold(moved) {
    this.drag = this.fingers.size ? { begin: new Map(this.fingers), ...this.view, moved } : null;
  }

  onUp(event) {
    const isClick = this.drag && !this.drag.moved;
    this.onCancel(event);
    const found = isClick && this.at(event.offsetX, event.offsetY);
    if (found && this.open) this.open(found.row, found.ms);
  }

  onCancel(event) {
    if (this.fingers.delete(event.pointerId)) this.takeHold(true);
  }

  onWheel(event) {
    if (!this.view || (!event.deltaX && !event.deltaY)) return;
    event.preventDefault();
    const isOverNames = event.offsetX * this.field.scale < this.field.left;
    if (this.rowed.checked && (isOverNames || event.shiftKey)) {
      this.first += Math.sign(event.deltaY || event.deltaX) * 5;
      this.draw();
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      this.pan(event.deltaX / this.canvas.clientWidth);
    } else {
      const part = (event.offsetX * this.field.scale - this.field.left) / this.field.width;
      this.zoom(Math.exp(Math.sign(event.deltaY) * Math.min(0.5, Math.abs(event.deltaY) / 250)), Math.max(0, part));
    }
    this.hideTip();
  }

  onKey(event) {
    if (!this.view || !this.shown.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => (event.shiftKey ? this.pan(-0.25) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? this.pan(0.25) : this.step(1)),
      ArrowUp: () => this.moveRow(-1),
      ArrowDown: () => this.moveRow(1),
      PageUp: () => this.moveRow(-20),
      PageDown: () => this.moveRow(20),
      "+": () => this.zoom(0.5, this.cursorPart()),
      "=": () => this.zoom(0.5, this.cursorPart()),
      "-": () => this.zoom(2, this.cursorPart()),
      Home: () => this.showLength(null),
      Enter: () => this.cursor && this.open?.(this.cursor.row, Math.max(this.cursor.start, Math.min(this.view.start, this.cursor.end))),
      Escape: () => this.hideTip(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  cursorPart() {
    if (!this.cursor) return 0.5;
    const middle = (Math.max(this.cursor.start, this.view.start) + Math.min(this.cursor.end, this.view.end)) / 2;
    const part = (middle - this.view.start) / (this.view.end - this.view.start);
    return part > 0 && part < 1 ? part : 0.5;
  }

  // Moves the cursor to the span before or after it.
  step(direction) {
    const row = this.cursor?.row ?? this.shown[0];
    const at = this.cursor ? this.cursor.start : direction > 0 ? this.view.start : this.view.end;
    const run = this.cursor ? runBeside(row, at, direction) : runAt(row, at - 1, at + 1) ?? runBeside(row, at, direction);
    if (run) this.setCursor(row, run);
  }

  moveRow(by) {
    const place = this.cursor ? this.shown.indexOf(this.cursor.row) + by : 0;
    const row = this.shown[Math.max(0, Math.min(this.shown.length - 1, place))];
    const { start, end } = this.cursor ?? this.view;
    const middle = Math.max(this.view.start, Math.min((start + end) / 2, this.view.end - 1));
    const run = runAt(row, middle, middle + 1) ?? runBeside(row, middle, -1) ?? runBeside(row, middle, 1);
    this.setCursor(row, run ?? { start: middle, end: middle + 1 });
  }

  setCursor(row, run) {
    this.cursor = { row, start: run.start, end: run.end };
    const span = this.view.end - this.view.start;
    if (run.end <= this.view.start || run.start >= this.view.end) this.show(run.start - span / 2, run.start + span / 2);
    const place = this.shown.indexOf(row);
    const rows = Math.floor(this.field.height / (READABLE * this.field.scale));
    if (this.rowed.checked) this.first = Math.max(Math.min(this.first, place), place - rows + 1);
    this.draw();
    this.describe({ row, run: run.state ? run : null, ms: run.start }, (text) => this.say(text));
  }

  pan(part) {
    if (!this.view) return;
    const shift = (this.view.end - this.view.start) * part;
    this.show(this.view.start + shift, this.view.end + shift);
  }

  zoom(factor, part = 0.5) {
    if (!this.view) return;
    const span = this.view.end - this.view.start;
    const wider = this.clamp(span * factor);
    const middle = this.view.start + span * part;
    this.show(middle - wider * part, middle + wider * (1 - part));
  }

  clamp(length) {
    return Math.max(NARROWEST, Math.min(length, this.whole.end - this.whole.start));
  }

  // Shows a span of this length that ends where the shown one does; all of it without a length.
  showLength(length) {
    if (!this.whole) return;
    if (length === null) this.show(this.whole.start, this.whole.end);
    else this.show(this.view.end - length, this.view.end);
  }

  show(start, end) {
    const length = Math.min(end - start, this.whole.end - this.whole.start);
    const first = Math.max(this.whole.start, Math.min(start, this.whole.end - length));
    this.view = { start: first, end: first + length };
    this.asked = null; // a reason that comes late is of what was shown before
    this.draw();
    this.say(`${moment(this.view.start)} to ${moment(this.view.end)} UTC`);
  }
}
