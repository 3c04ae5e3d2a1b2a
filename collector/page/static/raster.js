// Coverage as pixels. Pure: runs go in, a rank for each pixel comes out.
//
// The runs of a series are numbers: start, end and state, one behind the other, disjoint and by time. A pixel shows the
// most important of the states that have time in it, so that a gap of a minute is seen in a map of years.

import { STATES } from "./words.js";

export const RANKS = ["", ...Object.keys(STATES)];

const IN_FILE = ["held", "unverified"];

// The rank of each state of an answer, by its place there.
export const ranksOf = (states) => states.map((state) => Math.max(0, RANKS.indexOf(state)));

// The place of the first run that ends after a moment.
function firstAfter(runs, ms) {
  let low = 0;
  let high = runs.length / 3;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[3 * middle + 1] > ms) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Marks the runs of a series in the pixel rows from top to bottom.
export function mark(raster, width, { runs, ranks }, view, top, bottom) {
  const scale = width / (view.end - view.start);
  for (let at = 3 * firstAfter(runs, view.start); at < runs.length && runs[at] < view.end; at += 3) {
    const left = Math.max(0, Math.floor((runs[at] - view.start) * scale));
    const right = Math.min(width, Math.max(left + 1, Math.ceil((runs[at + 1] - view.start) * scale - 1e-6)));
    const rank = ranks[runs[at + 2]];
    for (let row = top * width; row < bottom * width; row += width) {
      for (let place = row + left; place < row + right; place++) if (raster[place] < rank) raster[place] = rank;
    }
  }
}

// The most important run of a series that has time in [start, end).
export function runAt({ runs, ranks }, start, end) {
  let best = null;
  for (let at = 3 * firstAfter(runs, start); at < runs.length && runs[at] < end; at += 3) {
    const rank = ranks[runs[at + 2]];
    if (!best || rank > best.rank) best = { start: runs[at], end: runs[at + 1], rank, state: RANKS[rank] };
  }
  return best;
}

const isInFile = ({ runs, ranks }, at) => IN_FILE.includes(RANKS[ranks[runs[at + 2]]]);

// Where the first run begins that is in the file; null where none is.
export function heldFrom(row) {
  for (let at = 0; at < row.runs.length; at += 3) if (isInFile(row, at)) return row.runs[at];
  return null;
}

// Where the last of them ends.
export function heldTo(row) {
  for (let at = row.runs.length - 3; at >= 0; at -= 3) if (isInFile(row, at)) return row.runs[at + 1];
  return null;
}

// The state of the last run of a series.
export const lastState = ({ runs, ranks }) => RANKS[ranks[runs[runs.length - 1]]] ?? "";

// The run before a moment (-1), or after it (1).
export function runBeside({ runs, ranks }, ms, direction) {
  const place = firstAfter(runs, ms);
  const at = 3 * (runs[3 * place] <= ms || direction < 0 ? place + direction : place);
  if (at < 0 || at >= runs.length) return null;
  const rank = ranks[runs[at + 2]];
  return { start: runs[at], end: runs[at + 1], rank, state: RANKS[rank] };
}

// From the first run to the last of all rows.
export function boundsOf(rows) {
  let start = Infinity;
  let end = -Infinity;
  for (const { runs } of rows) {
    if (!runs.length) continue;
    start = Math.min(start, runs[0]);
    end = Math.max(end, runs[runs.length - 2]);
  }
  return start < end ? { start, end } : null;
}
