// How the collector is: its status in words, rates of the last hours, series that are late, and warnings.

import { Newest, ask } from "./api.js";
import { element, tell } from "./dom.js";
import { Table, link } from "./tables.js";
import { counted, duration, grouped, moment, size } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const LATE_MS = 10_000;
const LINES = [
  ["candles_per_s", "Candles written a second", grouped],
  ["messages_per_s", "Messages received a second", grouped],
  ["requests_per_s", "Requests a second", grouped],
  ["lag_s", "Lag of the slowest series", duration],
  ["queued", "Candles queued", grouped],
  ["to_fetch", "Candles to fetch", grouped],
  ["memory_bytes", "Memory", size],
];

export class NowView {
  constructor(root) {
    this.none = element("p", { hidden: true }, "No collector runs on this directory. The map and the charts show what is stored.");
    this.cards = element("div", { className: "cards" });
    this.lines = element("div", { className: "cards" });
    this.late = new Table(["series", "newest candle", "lag"], [], { atOnce: 12 });
    this.newest = new Newest();
    this.warnings = element("ul", { className: "log" });
    this.live = element("div", {}, this.cards, element("h2", {}, "The last hours"), this.lines,
      element("h2", {}, "Last warnings"), this.warnings, element("h2", {}, "Lag of each series"), this.late.element);
    root.append(this.none, this.live);
    this.texts = new Map();
  }

  // Takes the JSON of /status.
  setStatus(status) {
    this.none.hidden = status.running !== false;
    this.live.hidden = status.running === false;
    if (status.running === false) return;
    const parts = described(status);
    if (this.texts.size !== parts.length || parts.some(([title]) => !this.texts.has(title))) this.buildCards(parts);
    for (const [title, lines, isBad] of parts) {
      const where = this.texts.get(title);
      where.classList.toggle("bad", isBad === true);
      lines.forEach((line, place) => {
        if (!where.children[place]) where.append(element("p"));
        tell(where.children[place], line);
      });
      while (where.children.length > lines.length) where.lastChild.remove();
    }
  }

  buildCards(parts) {
    this.texts.clear();
    this.cards.replaceChildren(
      ...parts.map(([title]) => {
        const text = element("div");
        this.texts.set(title, text);
        return element("section", { className: "card" }, element("h3", {}, title), text);
      }),
    );
  }

  // Asks for what comes with no event.
  async load(series) {
    const { status, samples, warnings } = await this.newest.of(ask("now"));
    this.setStatus(status);
    if (status.running === false) return;
    this.lines.replaceChildren(...LINES.map(([name, title, said]) => lineCard(title, samples.at_ms, samples[name], said)));
    const rows = series.filter((each) => each.lag_ms !== null).sort((one, other) => other.lag_ms - one.lag_ms);
    const late = rows.filter((each) => each.lag_ms > LATE_MS).length;
    const caption = late ? `${counted(late, "series")} more than 10 s late, the latest first` : "No series is more than 10 s late.";
    this.late.show(caption, rows.map((each) => [link(each.symbol, each.timeframe), moment(each.last_ms), duration(each.lag_ms / 1000)]));
    const said = warnings.map(({ at_ms, level, text }) => element("li", {}, `${moment(at_ms)} ${level} ${text}`));
    this.warnings.replaceChildren(...(said.length ? said : [element("li", {}, "None since the start.")]));
  }
}

// The status as titles and lines; the last says whether it is bad.
function described(status) {
  const { requests, stream, writing, machine, fetching, alerts, mirror, cluster } = status;
  const isBanned = requests.banned_until_ms > status.now_ms;
  const isLow = machine.low_disk_bytes > 0 && machine.disk_free_bytes < machine.low_disk_bytes;
  const missing = status.gaps.filter((gap) => gap.candles).map((gap) => `${counted(gap.candles, "candle")} ${gap.state}`);
  return [
    ["State", [`${status.state}, ${status.doing}`, ...status.reasons, ...status.maintenance.map((each) => `Maintenance announced: ${each.title}, ${moment(each.begin_ms)} to ${moment(each.end_ms)}`)], status.state === "degraded"],
    ["Collecting", [`${counted(status.series, "series")} of ${counted(status.symbols, "symbol")}`, `${status.category} at ${status.exchange}`, `since ${moment(status.started_ms)}, version ${status.version}`]],
    ["History", [`${counted(status.candles_to_fetch, "candle")} to fetch`, ...(fetching.left_s && status.candles_to_fetch ? [`about ${duration(fetching.left_s)} left`] : [])]],
    ["Missing", missing.length ? missing : ["nothing"]],
    ["Connections", [`${stream.subscribed} of ${stream.wanted} subscribed, ${counted(stream.series, "series")}`, counted(stream.reconnects, "reconnect"), ...(stream.unconnected ? [stream.unconnected] : []), ...(stream.confirm_lags ? [`candles come ${duration(stream.confirm_lag_s / stream.confirm_lags)} after their close`] : [])], stream.subscribed < stream.wanted],
    ["Request budget", [`${requests.budget_left} of ${requests.budget} left for 5 s`, `${counted(requests.begun, "request")}, ${requests.retries} again, ${requests.given_up} given up`, ...(status.unserved ? [status.unserved] : [])], Boolean(status.unserved)],
    ["Ban", [isBanned ? `banned until ${moment(requests.banned_until_ms)}` : "not banned", ...(requests.bans ? [counted(requests.bans, "ban")] : [])], isBanned],
    ["Queue", [`${counted(writing.queued_candles, "candle")} and ${counted(writing.queued_answers, "answer")} to write`, `${counted(writing.candles, "candle")} written`, counted(writing.revisions, "revision")]],
    ["Disk and memory", [`${size(machine.disk_free_bytes)} free on the disk`, `${size(machine.memory_bytes)} of memory`], isLow],
    ...(alerts.host ? [["Alerts", [`to ${alerts.host}: ${alerts.sent} sent, ${alerts.failed} failed`, ...(alerts.trouble ? [alerts.trouble] : [])], Boolean(alerts.trouble)]] : []),
    ...(mirror.place ? [["Database", databaseLines(mirror), !mirror.connected]] : []),
    ...(cluster.name ? [["Cluster", clusterLines(cluster), Boolean(cluster.trouble)]] : []),
    ["Lag by timeframe", status.lags.map((lag) => `${lag.timeframe}: ${duration(lag.lag_s)}${lag.lag_s ? ` (${lag.slowest})` : ""}`)],
  ];
}

// What the copy in a database has, and what it waits for.
function databaseLines(mirror) {
  const behind = mirror.lag_s >= 1 ? `behind by ${duration(mirror.lag_s)}` : "up to date";
  const away = mirror.away_s ? `away for ${duration(mirror.away_s)}` : "connecting";
  return [
    `${mirror.place}: ${mirror.connected ? behind : away}`,
    `${counted(mirror.rows, "row")} written`,
    ...(mirror.comparing ? [`${counted(mirror.comparing, "file")} to compare`] : []),
    ...(mirror.trouble ? [mirror.trouble] : []),
  ];
}

// Who shares the market, and how each member is.
function clusterLines({ name, place, slots, free, members, trouble, away_s }) {
  const all = members.reduce((sum, each) => sum + each.slots.length, free);
  return [
    `${slots.length} of ${counted(all, "slot")} here as ${name}${free ? `, ${free} without an owner` : ""}`,
    ...(trouble ? [`${place} has been away for ${duration(away_s)}, slots are kept: ${trouble}`] : []),
    ...members.filter((each) => each.name !== name).map(memberLine),
  ];
}

function memberLine({ name, slots, lease_s, state, unfit, lag_s, missing }) {
  const has = `${name}: ${counted(slots.length, "slot")}`;
  if (lease_s <= 0) return `${has}, not heard: its lease ended ${duration(-lease_s)} ago`;
  const how = unfit ? `${state}, gives slots up: ${unfit}` : state;
  return `${has}, ${how}, ${lag_s ? `late by ${duration(lag_s)}` : "nothing late"}, ${counted(missing, "candle")} missing`;
}

// A small line of numbers over time, with its last and its highest in words.
function lineCard(title, times, values, said) {
  const last = values.at(-1) ?? 0;
  const most = values.reduce((one, other) => Math.max(one, other), 0);
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 100 40");
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("role", "img");
  const text = `${said(last)} now, ${said(most)} at most since ${moment(times[0])}`;
  drawing.setAttribute("aria-label", `${title}: ${text}`);
  const path = document.createElementNS(SVG, "path");
  const span = Math.max(1, (times.at(-1) ?? 0) - (times[0] ?? 0));
  const points = values.map((value, place) => `${(((times[place] - times[0]) / span) * 100).toFixed(2)},${(39 - (most ? value / most : 0) * 38).toFixed(2)}`);
  if (points.length) path.setAttribute("d", `M${points.join("L")}`);
  drawing.append(path);
  return element("section", { className: "card" }, element("h3", {}, title), drawing, element("p", { className: "quiet" }, text));
}
