// The chart of a series: candles and volume around what is looked at, loaded by range.
//
// Three times the shown span is loaded, as at most `LIMIT` candles; the server merges them where there are more. Each
// place between two candles that has none is a place without a bar, so that a gap is as wide as it is long.
//
// At most one load is on its way. A moment that somebody asks for takes its place. While the chart is moved, the next load
// begins when the last has come, for where the chart is then; until it comes, what was loaded stays. What comes while a
// hand holds the chart is shown when it lets go.

import { ask } from "./api.js";
import { colour, element, tell } from "./dom.js";
import { Grip } from "./grip.js";
import { CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, TrackingModeExitMode, createChart, createSeriesMarkers } from "./lightweight-charts.mjs";
import { RANKS, heldFrom, heldTo, lastState, ranksOf, runAt } from "./raster.js";
import { Table } from "./tables.js";
import { STATES, byLength, counted, decimal, grouped, moment, stepOf } from "./words.js";

const LIMIT = 3000;
const MOST_EMPTY = 6000; // places without a bar: a gap of years is shown shorter than it is
const FIRST_BARS = 150;
const WAIT_MS = 120;
const SETTLED_MS = 500; // a screen reader is told where keys and buttons led to, once they rest
const CHANGE_MS = 1000; // changes come in a row
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const SHAPES = { revised: "circle", repaired: "square" }; // above the candles that were put right

export class CandleChart {
  // `moved` is told which series is shown, and `reason` says why a span is as it is.
  constructor(root, { moved, reason }) {
    this.moved = moved;
    this.reason = reason;
    this.known = new Map();
    this.build(root);
    this.clear();
  }

  get isDrawn() {
    return this.chart !== null;
  }

  build(root) {
    this.symbols = element("input", { "aria-label": "Symbol", autocomplete: "off", spellcheck: false });
    const list = element("datalist", { id: "chart-symbols" });
    this.symbols.setAttribute("list", list.id);
    this.list = list;
    this.frames = element("select", { "aria-label": "Timeframe" });
    this.date = element("input", { type: "date", "aria-label": "Go to day" });
    const button = (text, title, act) => element("button", { type: "button", title, "aria-label": title, onclick: act }, text);
    const buttons = element(
      "div",
      { className: "buttons", role: "group", "aria-label": "Span of time" },
      button("|◀", "Oldest candles", () => this.goTo(this.first)),
      button("◀", "Earlier", () => this.pan(-0.5)),
      button("▶", "Later", () => this.pan(0.5)),
      button("▶|", "Newest candles", () => this.goTo(null)),
      button("−", "Zoom out", () => this.zoom(2)),
      button("+", "Zoom in", () => this.zoom(0.5)),
    );
    this.area = element("div", {
      id: "chart-area", tabIndex: 0, role: "application", "aria-label": "Candles and volume", "aria-describedby": "chart-keys",
    });
    this.strip = element("canvas", { id: "chart-strip", role: "img", "aria-label": "Coverage of the shown span" });
    this.said = element("p", { className: "said" });
    this.spoken = element("p", { className: "unseen", role: "status" }); // for screen readers: what the keys led to
    this.note = element("p", { className: "quiet", id: "chart-note" });
    this.table = new Table(["opens", "open", "high", "low", "close", "volume", "turnover", "note"], [7]);
    this.details = element("details", { ontoggle: () => this.fillTable() }, element("summary", {}, "The shown candles as a table"), this.table.element);
    root.append(
      element("div", { className: "choice" }, this.symbols, list, this.frames, this.date, buttons),
      this.said, this.spoken, this.area, this.strip, this.note, this.details,
      element("p", { id: "chart-keys", className: "quiet" },
        "Arrow keys go from candle to candle, shift with an arrow moves in time, + and − zoom, Home and End show the oldest and the newest. "
        + "The stripe below has the colours of the map. A hollow candle is in progress; one with a blue frame is unverified. "
        + "A dot is above a candle that the exchange revised, a square above one that was repaired."),
    );
    this.symbols.onchange = () => this.choose();
    this.frames.onchange = () => this.choose();
    this.date.onchange = () => this.date.value && this.goTo(Date.parse(this.date.value));
    this.area.addEventListener("keydown", (event) => this.onKey(event));
    this.grip = new Grip(this.area);
    STILL.addEventListener("change", () => this.chart?.applyOptions({ kineticScroll: { touch: !STILL.matches } }));
  }

  // Takes the series of /api/series.
  setSeries(series) {
    this.known.clear();
    for (const each of series) this.known.set(`${each.symbol} ${each.timeframe}`, each);
    const symbols = [...new Set(series.map((each) => each.symbol))].sort();
    this.list.replaceChildren(...symbols.map((symbol) => element("option", { value: symbol })));
    this.fillFrames();
  }

  fillFrames() {
    const frames = [...this.known.values()].filter((each) => each.symbol === this.symbol).map((each) => each.timeframe);
    this.frames.replaceChildren(...frames.sort(byLength).map((name) => new Option(name, name)));
    if (this.timeframe) this.frames.value = this.timeframe;
  }

  choose() {
    const symbol = this.symbols.value.trim().toUpperCase();
    const frames = [...this.known.values()].filter((each) => each.symbol === symbol).map((each) => each.timeframe);
    const timeframe = frames.includes(this.frames.value) ? this.frames.value : (frames[0] ?? this.timeframe);
    if (!timeframe) return void this.refuse(`${symbol} is not stored`);
    location.hash = `#/chart?${new URLSearchParams({ symbol, timeframe })}`;
  }

  // Shows a series around a moment, or its newest candles; why it has none, if so.
  async show(symbol, timeframe, at) {
    if (symbol !== this.symbol || timeframe !== this.timeframe) {
      Object.assign(this, { symbol, timeframe, wasStored: false });
      this.clear();
    }
    this.symbols.value = symbol;
    this.area.ariaLabel = `Candles and volume of ${symbol} ${timeframe}`;
    this.fillFrames();
    const token = (this.showing = {});
    const known = await this.look().catch((error) => error);
    if (token !== this.showing) return;
    if (known instanceof Error) return void this.drop(known.message);
    if (known) this.moved({ symbol, timeframe });
    if (!known || known.first_ms === null) return void this.drop(this.nothing(known));
    this.first = known.first_ms;
    this.end = Math.max(this.end, known.last_ms + stepOf(timeframe));
    this.wasStored = true;
    this.ensureChart();
    await this.goTo(at);
  }

  // The series as it is now; null if it is not stored.
  async look() {
    const { symbol, timeframe } = this;
    try {
      const { series } = await ask("series", { symbol, timeframe });
      return series.find((each) => each.symbol === symbol && each.timeframe === timeframe) ?? null;
    } catch (error) {
      if (error.isNotStored) return null;
      throw error;
    }
  }

  // Shows the series as it is now, which may be stored no more, or again.
  async renew() {
    if (this.chart) await this.reload();
    else if (this.symbol) await this.show(this.symbol, this.timeframe, null);
  }

  // Shows no candles, and says why.
  drop(why) {
    this.clear();
    this.refuse(why);
  }

  // What was shown, or is on its way, is no longer asked for.
  clear() {
    this.loading?.abort();
    this.chart?.remove();
    Object.assign(this, { chart: null, points: [], corrected: [], runs: null, loading: null, loaded: null });
    Object.assign(this, { end: 0, shownBar: null, pointedAt: null, crossAt: null, missed: null, asked: null, wasMoved: false, putOff: [] });
    this.strip.width = 0;
    for (const each of [this.said, this.spoken, this.note]) tell(each, "");
    this.table.show("", []);
  }

  // Why a series has no candles, in words.
  nothing(known) {
    if (!known) return `${this.symbol} ${this.timeframe} is not stored${this.wasStored ? " any more" : ""}`;
    const { symbol, timeframe, gaps, problem } = known;
    const missing = Object.entries(gaps).filter(([, count]) => count);
    const states = missing.map(([state, count]) => `${counted(count, "candle")} ${state}, ${STATES[state]}`);
    return [`${symbol} ${timeframe} has no candles`, ...states, ...(problem ? [problem] : [])].join(" · ");
  }

  // Whether this series is shown, and has no candles yet.
  isEmpty({ symbol, timeframe }) {
    return !this.chart && symbol === this.symbol && timeframe === this.timeframe;
  }

  ensureChart() {
    if (this.chart) return;
    this.chart = createChart(this.area, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" }, // the foot of the page has it
      kineticScroll: { touch: !STILL.matches },
      handleScroll: { vertTouchDrag: false }, // a finger that moves up or down scrolls the page
      trackingMode: { exitMode: TrackingModeExitMode.OnTouchEnd }, // one that rests reads candles until it is lifted
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, minBarSpacing: 0.2, rightOffset: 4 },
      localization: { locale: "en-GB" },
    });
    this.chart.chartElement().ariaHidden = "true"; // a table that lays out canvases
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false,
    });
    this.markers = createSeriesMarkers(this.candles, []);
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.06, bottom: 0.22 } });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.onRange());
    this.chart.subscribeCrosshairMove((event) => this.onPointer(event));
    this.recolour();
  }

  recolour() {
    if (!this.chart) return;
    const [ground, ink, line, quiet] = ["ground", "ink", "line", "quiet"].map(colour);
    const cross = { color: quiet, labelBackgroundColor: quiet };
    this.chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: ground }, textColor: ink },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      crosshair: { vertLine: cross, horzLine: cross },
    });
    const [upColor, downColor] = [colour("up"), colour("down")];
    this.candles.applyOptions({ upColor, downColor, borderUpColor: upColor, borderDownColor: downColor, wickUpColor: upColor, wickDownColor: downColor });
    if (this.points.length) this.setPoints();
  }

  // Shows candles around a moment, and tells of the one there; the newest without one.
  async goTo(at) {
    if (!this.chart) return;
    const step = stepOf(this.timeframe);
    const half = (FIRST_BARS * step) / 2;
    const end = at ? Math.max(this.first + 2 * half, Math.min(at + half, this.end)) : this.end;
    if (!at) this.shownBar = this.pointedAt = this.crossAt = null;
    await this.load({ from: end - 2 * half, to: end + 4 * step }, at);
  }

  // Loads a span and shows it; `at` is the moment that somebody asked for, if so.
  async load(shown, at = null) {
    const span = this.around(shown);
    await this.fetch(span, (found) => {
      this.take(found, span, shown);
      if (at) this.pointAt(at);
      else this.tellShown();
      tell(this.spoken, this.said.textContent);
    });
  }

  // What is loaded to show a span: as much before and behind it, where there is as much.
  around({ from, to }) {
    const span = to - from;
    const start = Math.max(0, Math.floor(Math.max(this.first, from - span)));
    return { start, end: Math.ceil(Math.max(start + 1, Math.min(this.end, to + span))), span };
  }

  // Asks for the candles of a span and the coverage of the series, unless something else is asked for meanwhile.
  async fetch({ start, end }, take) {
    const asked = { symbol: this.symbol, timeframe: this.timeframe };
    this.loading?.abort();
    const mine = (this.loading = new AbortController());
    this.wasMoved = false;
    const answers = Promise.all([
      ask("candles", { ...asked, start, end, limit: LIMIT }, mine.signal),
      ask("coverage", asked, mine.signal),
    ]);
    const found = await answers.catch((error) => error);
    await this.grip.loosened();
    if (mine !== this.loading) return;
    this.loading = null;
    if (found instanceof Error) await this.failed(found);
    else take(found);
  }

  // The series may be stored no more.
  async failed(error) {
    if (!error.isNotStored) return void this.refuse(error.message);
    this.drop(error.message);
    const token = (this.showing = {});
    const known = await this.look().catch(() => null);
    if (token === this.showing && !known?.first_ms) this.refuse(this.nothing(known));
  }

  // Takes what was found for a span, and shows these times.
  take([answer, coverage], span, times) {
    const isNewest = span.end >= this.end;
    const [row] = coverage.series;
    this.runs = row && { runs: Float64Array.from(row.runs), ranks: ranksOf(coverage.states) };
    if (this.runs) this.first = heldFrom(this.runs) ?? this.first;
    if (this.runs) this.end = Math.max(this.end, heldTo(this.runs) ?? 0);
    this.takeCandles(answer, span);
    if (times) this.showTimes(times);
    if (isNewest && span.end < this.end) this.follow(); // a candle has closed meanwhile
    if (this.wasMoved) this.lookSoon();
  }

  takeCandles(answer, { start, end, span }) {
    this.frame = answer.candle_timeframe;
    this.merged = answer.merged;
    this.isRaw = this.merged === 1 && this.frame === this.timeframe;
    this.step = stepOf(this.frame) * this.merged;
    this.points = this.withEmpty(answer.candles);
    this.corrected = Object.keys(SHAPES).flatMap((kind) => answer[kind].map(([from, to]) => ({ kind, from, to })));
    this.loaded = { start, end, span };
    if (answer.forming && this.isRaw && end >= this.end) this.addForming(answer.forming);
    this.setPrecision(answer.candles);
    this.setPoints();
    tell(this.note, [...this.coarse(), ...this.ended()].join(" "));
    if (this.details.open) this.fillTable();
  }

  // What a bar is made of, where it is no candle of the series.
  coarse() {
    if (this.isRaw) return [];
    const what = this.merged > 1 ? `${this.merged} candles of ${this.frame}` : `a candle of ${this.frame}`;
    return [`Each bar is ${what}; zoom in to see candles of ${this.timeframe}.`];
  }

  // Why no more candles come, of a symbol that is delisted.
  ended() {
    return this.runs && lastState(this.runs) === "delisted" ? [`Delisted: ${STATES.delisted}.`] : [];
  }

  next(ms) {
    if (this.frame !== "M") return ms + this.step;
    const date = new Date(ms);
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + this.merged);
  }

  // The candles, and between them the places that have none.
  withEmpty(candles) {
    const points = [];
    let left = MOST_EMPTY;
    for (const candle of candles) {
      const before = points.at(-1);
      if (before) {
        for (let ms = this.next(before.ms); ms < candle[0] && left > 0; ms = this.next(ms), left--) points.push({ ms });
      }
      points.push({ ms: candle[0], candle });
    }
    return points;
  }

  addForming(candle) {
    const last = this.points.at(-1);
    if (last && candle[0] < last.ms) return;
    if (last?.ms === candle[0]) this.points.pop();
    this.points.push({ ms: candle[0], candle, isForming: true });
  }

  setPrecision(candles) {
    const some = candles.slice(-300).flatMap((each) => each.slice(1, 5));
    const digits = (number) => (decimal(number).split(".")[1] ?? "").length;
    const precision = Math.min(12, Math.max(0, ...some.map(digits)));
    this.candles.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
  }

  setPoints() {
    this.palette = Object.fromEntries(["up", "down", "ground", "unverified"].map((name) => [name, colour(name)]));
    this.candles.setData(this.points.map((point) => this.bar(point)));
    this.volume.setData(this.points.map((point) => this.volumeBar(point)));
    this.markers.setMarkers(this.points.flatMap((point) => this.marks(point)));
    this.drawSoon();
  }

  // The marks of a candle that was put right, or of several merged ones of which some were.
  marks({ ms, candle }) {
    if (!candle) return [];
    return this.corrections(ms).map((kind) => ({ time: ms / 1000, position: "aboveBar", shape: SHAPES[kind], color: colour("ink") }));
  }

  corrections(ms) {
    const next = this.next(ms);
    return Object.keys(SHAPES).filter((kind) => this.corrected.some((each) => each.kind === kind && each.from < next && ms < each.to));
  }

  // What is to be said of a candle beside its numbers.
  kinds({ ms, isForming }) {
    if (isForming) return ["in progress"];
    return [...(this.isUnverified(ms) ? ["unverified"] : []), ...this.corrections(ms)];
  }

  bar({ ms, candle, isForming }) {
    const time = ms / 1000;
    if (!candle) return { time };
    const [, open, high, low, close] = candle;
    const made = { time, open, high, low, close };
    if (isForming) {
      const frame = close < open ? this.palette.down : this.palette.up;
      return { ...made, color: this.palette.ground, borderColor: frame, wickColor: frame };
    }
    const { unverified } = this.palette;
    return this.isUnverified(ms) ? { ...made, borderColor: unverified, wickColor: unverified } : made;
  }

  volumeBar({ ms, candle }) {
    if (!candle) return { time: ms / 1000 };
    return { time: ms / 1000, value: candle[5], color: candle[4] < candle[1] ? this.palette.down : this.palette.up };
  }

  isUnverified(ms) {
    return this.isRaw && this.runs !== null && runAt(this.runs, ms, ms + 1)?.state === "unverified";
  }

  // The moment of a place on the time scale, also beyond the first and the last.
  timeAt(place) {
    const last = this.points.length - 1;
    if (place < 0) return this.points[0].ms + place * this.step;
    if (place >= last) return this.points[last].ms + (place - last) * this.step;
    const whole = Math.floor(place);
    return this.points[whole].ms + (place - whole) * (this.points[whole + 1].ms - this.points[whole].ms);
  }

  placeOf(ms) {
    const last = this.points.length - 1;
    if (ms <= this.points[0].ms) return (ms - this.points[0].ms) / this.step;
    if (ms >= this.points[last].ms) return last + (ms - this.points[last].ms) / this.step;
    let low = 0;
    for (let high = last; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (this.points[middle].ms <= ms) low = middle;
      else high = middle;
    }
    return low + (ms - this.points[low].ms) / (this.points[low + 1].ms - this.points[low].ms);
  }

  showTimes({ from, to }) {
    if (this.points.length) this.showPlaces({ from: this.placeOf(from), to: this.placeOf(to) });
  }

  // The library shows other places with the next frame, and names those of before until then.
  showPlaces(places) {
    this.asked = places;
    this.chart.timeScale().setVisibleLogicalRange(places);
    requestAnimationFrame(() => {
      if (this.asked !== places) return;
      this.asked = null;
      this.drawSoon();
    });
  }

  get shownPlaces() {
    return this.asked ?? this.chart?.timeScale().getVisibleLogicalRange() ?? null;
  }

  shownTimes() {
    const places = this.shownPlaces;
    return places && this.points.length ? { from: this.timeAt(places.from), to: this.timeAt(places.to) } : null;
  }

  onRange() {
    this.grip.moved();
    this.drawSoon();
    if (!this.asked) this.onMove();
  }

  // Somebody has moved the chart.
  onMove() {
    this.wasMoved = true;
    this.lookSoon();
    clearTimeout(this.filling);
    this.filling = setTimeout(() => this.fillTable(), WAIT_MS);
  }

  lookSoon() {
    this.looking ??= setTimeout(() => {
      this.looking = null;
      this.loadIfNeeded();
    }, WAIT_MS);
  }

  loadIfNeeded() {
    if (this.loading || !this.lacks(this.shownTimes())) return;
    const span = this.around(this.shownTimes());
    this.fetch(span, (found) => {
      const shown = this.shownTimes();
      if (!this.lacks(shown)) return; // it has been moved back
      if (!this.isWithin(shown, span)) return void this.lookSoon();
      this.take(found, span, shown);
      this.tellShown();
    });
  }

  // Whether what is shown is at the edge of what is loaded, or coarser than it need be.
  lacks(shown) {
    if (!shown || !this.loaded) return false;
    const { start, end, span } = this.loaded;
    const margin = (shown.to - shown.from) / 4;
    const isBefore = shown.from - margin < start && start > this.first;
    const isBehind = shown.to + margin > end && end < this.end;
    const isCoarse = !this.isRaw && shown.to - shown.from < span / 2;
    return isBefore || isBehind || isCoarse;
  }

  // Whether the middle of what is shown lies in a span.
  isWithin({ from, to }, { start, end }) {
    const middle = Math.max(this.first, Math.min((from + to) / 2, this.end));
    return start <= middle && middle <= end;
  }

  // Loads anew what is loaded, and leaves what is shown where it is.
  async reload() {
    if (this.loading) return void this.reloadSoon();
    if (!this.chart || !this.loaded) return;
    const { start, end, span } = this.loaded;
    const wanted = { start, end: end >= this.end ? this.end : end, span };
    await this.fetch(wanted, (found) => {
      this.take(found, wanted, this.shownTimes());
      this.tellShown();
    });
  }

  // What is loaded reaches up to the newest candle, once that is loaded too.
  follow() {
    this.loaded.end = this.end;
    this.reloadSoon();
  }

  reloadSoon() {
    this.reloading ??= setTimeout(() => {
      this.reloading = null;
      this.reload();
    }, CHANGE_MS);
  }

  // Candles are otherwise than they were: put right, verified, come late, or gone.
  changed(told) {
    if (!this.isOurs(told)) return;
    const isShown = this.loaded && told.start <= this.loaded.end && told.end > this.loaded.start;
    if (this.loading || isShown || told.start < this.first) this.reloadSoon();
  }

  isOurs({ symbol, timeframe }) {
    return this.chart && symbol === this.symbol && timeframe === this.timeframe;
  }

  // A candle has closed.
  closed(told) {
    if (!this.isOurs(told) || this.isPutOff(told, "closed")) return;
    const wasAtEnd = this.loaded && this.loaded.end >= this.end; // a load on its way sees itself that it is behind
    const [ms] = told.candle;
    this.end = Math.max(this.end, ms + stepOf(this.timeframe));
    if (!wasAtEnd) return;
    if (!this.isRaw || !this.points.length) return void this.follow();
    this.loaded.end = this.end;
    const last = this.points.at(-1);
    const point = { ms, candle: told.candle };
    if (ms >= last.ms && ms <= this.next(last.ms)) this.put(point);
    else if (this.points.at(-2)?.ms === ms) this.replaceBefore(point);
    else this.reload();
    this.fillTable();
  }

  // The candle in progress has moved.
  forming(told) {
    if (!this.isOurs(told) || this.isPutOff(told, "forming")) return;
    if (!this.isRaw || !this.points.length || this.loaded.end < this.end) return;
    const [ms] = told.candle;
    const last = this.points.at(-1);
    if (ms >= last.ms && ms <= this.next(last.ms)) this.put({ ms, candle: told.candle, isForming: true });
  }

  // Whether a candle is put off, to be shown when nobody holds the chart: one that begins would move it by a bar.
  isPutOff(told, act) {
    const isNew = this.putOff.length || !(told.candle[0] <= this.points.at(-1)?.ms);
    if (!this.grip.isHeld || !isNew) return false;
    if (!this.putOff.length) this.grip.loosened().then(() => this.showPutOff());
    this.putOff = this.putOff.filter((each) => each.act !== "forming"); // what is in progress, the newest tells
    this.putOff.push({ act, told });
    return true;
  }

  showPutOff() {
    const [shown, putOff] = [this.shownTimes(), this.putOff];
    this.putOff = [];
    for (const { act, told } of putOff) this[act](told);
    if (putOff.length && shown) this.showTimes(shown);
  }

  put(point) {
    if (this.points.at(-1).ms === point.ms) this.points.pop();
    this.points.push(point);
    this.candles.update(this.bar(point));
    this.volume.update(this.volumeBar(point));
    if (this.shownBar === point.ms || this.shownBar === null) this.tellBar(point.ms, this.shownBar === null);
  }

  // The candle before the one in progress has closed.
  replaceBefore(point) {
    this.points.splice(-2, 1, point);
    this.candles.update(this.bar(point), true);
    this.volume.update(this.volumeBar(point), true);
  }

  // Tells of the candle of a moment, of which there may be none, and has the crosshair there.
  pointAt(ms) {
    this.pointedAt = ms;
    const point = this.pointOf(ms);
    this.crossAt = point.candle ? point : null;
    if (!this.crossAt) this.chart.clearCrosshairPosition();
    this.drawSoon();
    this.tellBar(ms);
    this.fillTable();
  }

  // The point at a moment; one without a candle where there are no points.
  pointOf(ms) {
    const last = this.points.at(-1);
    const isAmong = last && ms >= this.points[0].ms && ms < this.next(last.ms);
    return isAmong ? this.points[Math.min(this.points.length - 1, Math.floor(this.placeOf(ms)))] : { ms };
  }

  // The library keeps the place on the screen, so this is done anew when the shown span has changed. It places it among
  // shown candles alone.
  placeCrosshair() {
    const { candle, ms } = this.crossAt;
    const [place, shown] = [this.placeOf(ms), this.chart.timeScale().getVisibleLogicalRange()];
    if (shown && place >= shown.from && place <= shown.to) this.chart.setCrosshairPosition(candle[4], ms / 1000, this.candles);
    else this.chart.clearCrosshairPosition();
  }

  onPointer({ sourceEvent, time }) {
    if (!sourceEvent || this.asked) return; // `placeCrosshair` moved it, or what it points at is about to move
    this.crossAt = null;
    if (time) this.tellBar(time * 1000);
  }

  // Tells that a moment has no candle, and the reason when that is known.
  async tellMissing(ms) {
    const run = this.runs && runAt(this.runs, ms, ms + this.step);
    const text = `${moment(ms)} · no candle${run ? ` · ${run.state} · ${STATES[run.state]}` : ""}`;
    if (this.missed?.text === text && this.said.textContent.startsWith(text)) return;
    const missed = (this.missed = { text });
    tell(this.said, text);
    await new Promise((done) => setTimeout(done, WAIT_MS));
    if (!run || missed !== this.missed || this.said.textContent !== text) return;
    const [start, end] = [Math.floor(ms), Math.ceil(ms + this.step)];
    const why = await this.reason({ symbol: this.symbol, timeframe: this.timeframe }, { start, end }).catch(() => "");
    if (!why || missed !== this.missed) return;
    for (const where of [this.said, this.spoken]) if (where.textContent === text) tell(where, `${text} · ${why}`);
  }

  tellBar(ms, isNewest = false) {
    const point = this.pointOf(ms);
    this.shownBar = isNewest ? null : point.ms;
    if (!point.candle) return void this.tellMissing(point.ms);
    const [, open, high, low, close, volume] = point.candle;
    const kind = this.kinds(point).map((each) => ` · ${each}`).join("");
    const prices = [open, high, low, close].map(decimal);
    tell(this.said, `${moment(point.ms)} · open ${prices[0]} high ${prices[1]} low ${prices[2]} close ${prices[3]} · volume ${grouped(volume)}${kind}`);
  }

  // Tells of the candle that was chosen, or of the newest; where the newest are not loaded, nothing.
  tellShown() {
    const last = this.points.at(-1);
    if (this.shownBar !== null) this.tellBar(this.shownBar);
    else if (last && this.loaded.end >= this.end) this.tellBar(last.ms, true);
  }

  // With a frame of its own: the library tells of what it shows while it is still about to change.
  drawSoon() {
    this.frameAsked ??= requestAnimationFrame(() => {
      this.frameAsked = null;
      if (this.chart && this.crossAt && this.points.length) this.placeCrosshair();
      this.drawStrip();
    });
  }

  drawStrip() {
    const { clientWidth, clientHeight } = this.strip;
    const shown = this.shownTimes();
    if (!clientWidth || !shown) return;
    Object.assign(this.strip, { width: clientWidth, height: clientHeight });
    const paint = this.strip.getContext("2d");
    if (!this.runs) return;
    const scale = this.chart.timeScale();
    const most = scale.width();
    const at = (ms) => Math.max(0, Math.min(most, scale.logicalToCoordinate(0) + (this.placeOf(ms) - 0.5) * scale.options().barSpacing));
    const { runs, ranks } = this.runs;
    const found = [];
    for (let place = 0; place < runs.length; place += 3) {
      if (runs[place] < shown.to && runs[place + 1] > shown.from) found.push([ranks[runs[place + 2]], runs[place], runs[place + 1]]);
    }
    for (const [rank, start, end] of found.sort((one, other) => one[0] - other[0])) {
      paint.fillStyle = colour(RANKS[rank]);
      paint.fillRect(at(start), 0, Math.max(1, at(end) - at(start)), clientHeight);
    }
  }

  pan(part) {
    const places = this.shownPlaces;
    if (!places) return;
    const by = (places.to - places.from) * part;
    const { least, most } = this.bounds();
    const held = by < 0 ? Math.max(by, Math.min(0, least - places.from)) : Math.min(by, Math.max(0, most - places.to));
    this.move({ from: places.from + held, to: places.to + held });
  }

  // The places up to which candles are loaded, where there are more behind: keys and buttons go on when they have come.
  bounds() {
    if (!this.loaded) return { least: -Infinity, most: Infinity };
    const { start, end } = this.loaded;
    return { least: start > this.first ? 0 : -Infinity, most: end < this.end ? this.points.length - 1 : Infinity };
  }

  zoom(factor) {
    const places = this.shownPlaces;
    if (!places) return;
    const [middle, half] = [(places.from + places.to) / 2, ((places.to - places.from) / 2) * factor];
    // Beside the newest candle an eighth of the span is free at most: with half of it free, the candles soon lay outside.
    const most = this.loaded?.end >= this.end ? this.points.length - 1 + half / 4 : Infinity;
    const to = Math.min(middle + half, most);
    this.move({ from: to - 2 * half, to });
  }

  move(places) {
    this.showPlaces(places);
    this.onMove();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => this.speakShown(), SETTLED_MS);
  }

  speakShown() {
    const shown = this.shownTimes();
    if (shown) tell(this.spoken, `${moment(Math.max(this.first, shown.from))} to ${moment(Math.min(this.end, shown.to))} UTC`);
  }

  onKey(event) {
    if (!this.chart || !this.points.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => (event.shiftKey ? this.pan(-0.25) : this.stepBar(-1)),
      ArrowRight: () => (event.shiftKey ? this.pan(0.25) : this.stepBar(1)),
      "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      Home: () => this.goTo(this.first),
      End: () => this.goTo(null),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  stepBar(by) {
    const range = this.shownPlaces;
    if (!range) return;
    const newest = Math.min(this.points.length - 1, Math.floor(range.to));
    const from = this.shownBar === null ? newest - by : Math.round(this.placeOf(this.shownBar));
    const place = Math.max(0, Math.min(this.points.length - 1, from + by));
    const point = this.points[place];
    if (place < range.from + 1 || place > range.to - 1) this.pan(by < 0 ? -0.5 : 0.5);
    this.pointAt(point.ms);
    clearTimeout(this.speaking);
    tell(this.spoken, this.said.textContent);
  }

  refuse(text) {
    tell(this.said, text);
    tell(this.spoken, text);
  }

  fillTable() {
    const shown = this.shownTimes();
    if (!this.details.open || !shown) return;
    const seen = this.points.filter((point) => point.candle && point.ms >= shown.from - this.step && point.ms <= shown.to).reverse();
    const rows = seen.map((point) => [
      moment(point.ms), ...point.candle.slice(1, 7).map(decimal), this.kinds(point).join(", "),
    ]);
    const caption = `${this.symbol} ${this.timeframe}, the newest first`;
    const around = this.pointedAt === null ? 0 : Math.max(0, seen.findIndex((point) => point.ms <= this.pointedAt));
    this.table.show(caption, rows, around);
  }
}
