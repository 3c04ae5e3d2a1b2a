// A report: the map and the tables of the page, from what is packed into the file.

import { element, find, tell } from "./dom.js";
import { CoverageMap } from "./map.js";
import { Table, gapsTable, seriesTable } from "./tables.js";
import { counted, duration, grouped, moment } from "./words.js";

async function unpacked() {
  const bytes = Uint8Array.from(atob(find("data").textContent), (letter) => letter.charCodeAt(0));
  const unpacking = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(unpacking).text());
}

function reasonIn(gaps) {
  return async ({ symbol, timeframe }, { start, end }) => {
    const found = gaps.filter(
      (gap) => gap.symbol === symbol && gap.timeframe === timeframe && gap.start_ms < end && gap.end_ms > start,
    );
    return [...new Set(found.map((gap) => gap.why).filter(Boolean))].slice(0, 3).join("; ");
  };
}

function checkOf(check) {
  if (!check) return [element("p", {}, "There is no report of a check; `collector check` makes one.")];
  const rows = check.files.map((each) => [
    each.file,
    each.problem ?? "",
    ...["missing_candles", "invalid_count", "duplicate_count", "out_of_order_count", "disagreement_count"].map((name) => grouped(each[name])),
  ]);
  const titles = ["file", "problem", "missing", "invalid", "duplicates", "out of order", "disagreements"];
  const said = element("p", {}, `${check.checked_at}: ${check.said}`);
  if (!rows.length) return [said];
  const table = new Table(titles, [1]);
  table.show(`${counted(check.wrong, "file")} with issues`, rows);
  return [said, table.element];
}

function show(data) {
  const rows = data.series.reduce((sum, each) => sum + each.rows, 0);
  const missing = data.series.reduce((sum, each) => sum + each.missing, 0);
  const what = `${counted(data.series.length, "series")}, ${counted(rows, "candle")}, ${counted(missing, "candle")} missing`;
  tell(find("state"), `${what}. ${data.category}, ${moment(data.made_ms)} UTC, version ${data.version}.`);
  find("state").className = missing ? "degraded" : "healthy";
  const map = new CoverageMap(find("map"), { reason: reasonIn(data.gaps) });
  map.setData(data.coverage.map((each) => ({ ...each, states: data.states })));
  find("coarse").hidden = !data.cell_ms;
  tell(find("coarse"), `The map has a cell for each ${duration(data.cell_ms / 1000)}; a shorter gap fills its cell.`);
  const caption = data.gap_count ? `${grouped(data.gaps.length)} of ${counted(data.gap_count, "gap")}, the longest first of those that may still come.` : "Nothing is missing.";
  const [gaps, series] = [gapsTable(), seriesTable()];
  gaps.show(data.gaps, caption);
  series.show(data.series);
  find("gaps").append(gaps.element);
  find("check").append(...checkOf(data.check));
  find("series").append(series.element);
}

unpacked().then(show, () => tell(find("state"), "This browser is too old to open the report."));
