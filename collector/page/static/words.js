// Words and numbers as log, README and commands have them.

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

// The states of a span by importance: where several share a pixel, the last of them shows.
export const STATES = {
  "before-listing": "the exchange has no candles before",
  delisted: "the symbol trades no more",
  held: "in the file, as the exchange has it",
  unverified: "in the file; only the stream has confirmed it",
  absent: "the exchange has no candles here",
  invalid: "the exchange's own rows are no candles",
  pending: "to be fetched",
  retrying: "left out of an answer; asked for again",
};

const MINUTES = { D: 1440, W: 10080, M: 43200 };

// The length of a candle in milliseconds; of a month it is 30 days.
export const stepOf = (timeframe) => (MINUTES[timeframe] ?? Number(timeframe)) * MINUTE;

export const byLength = (one, other) => stepOf(one) - stepOf(other);

// A moment in UTC, to the minute.
export function moment(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms) || Math.abs(ms) > 8e15) return "";
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

// A moment as short as the span it is shown in allows.
export function tick(ms, span) {
  const text = moment(ms);
  if (span > 400 * DAY) return text.slice(0, 7);
  if (span > 4 * DAY) return text.slice(5, 10);
  return text.slice(11) === "00:00" ? text.slice(5, 10) : text.slice(11);
}

export const grouped = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 1 });

// A text without its numbers and durations.
export const gist = (text) => text.replace(/\d[\d.,:-]*( (d|h|min|s)\b)?/g, "").replace(/\s+/g, "");

export const counted = (number, noun) =>
  `${grouped(number)} ${noun}${number === 1 || noun === "series" ? "" : "s"}`;

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  for (; bytes >= 1000 && place < units.length - 1; place++) bytes /= 1000;
  return `${place ? bytes.toPrecision(3) : bytes} ${units[place]}`;
}

// A duration in its two largest units.
export function duration(seconds) {
  if (seconds < 1) return seconds > 0 ? `${seconds.toFixed(1)} s` : "0 s";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, length]) => seconds >= length);
  let left = Math.floor(seconds);
  const said = [];
  for (const [name, length] of units.slice(first, first + 2)) {
    if (left >= length) said.push(`${Math.floor(left / length)} ${name}`);
    left %= length;
  }
  return said.join(" ");
}

export const decimal = (number) =>
  Math.abs(number) >= 1e-6 || number === 0 ? String(number) : number.toFixed(12).replace(/0+$/, "");
