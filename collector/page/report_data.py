"""What a report shows, by the files and the ledger.

That is the runs of every series, a row for each, the worst gaps, and the last check. It may be gathered beside a
running collector.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from collector.core.candle import Series
from collector.core.missing import SETTLED, gaps_within, neighbours_joined
from collector.core.spans import Spans
from collector.integrity.demand import Demand
from collector.integrity.gaps import SeriesGap, held_in_file
from collector.integrity.inventory import StoredSeries
from collector.machine.disk import Disk
from collector.page.coverage import STATES, runs_of
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import as_of_ms, known_series

_MOST_GAPS = 300
_MOST_FILES = 200
_COUNTS = ("missing_candles", "duplicate_count", "out_of_order_count", "invalid_count", "disagreement_count")


@attrs.define
class Contents:
    """All of it; `runs` are by timeframe, with symbols."""

    runs: dict[str, list[tuple[str, list[int]]]] = attrs.field(factory=dict)
    series: list[dict[str, Any]] = attrs.field(factory=list)
    gaps: list[SeriesGap] = attrs.field(factory=list)

    def record(self) -> dict[str, Any]:
        """The same for the page, the worst gaps first.

        The runs are apart.
        """
        worst = sorted(self.gaps, key=lambda gap: (gap.missing.state in SETTLED, -gap.candles))[:_MOST_GAPS]
        return {
            "states": STATES,
            "series": self.series,
            "gap_count": len(self.gaps),
            "gaps": [gap.record() for gap in worst],
        }


def gather(
    disk: Disk, data_dir: Path, category: str, demand: Demand, is_chosen: Callable[[Series], bool], now_ms: int
) -> Contents:
    """Looks at the chosen series, in the dates of the demand.

    Raises:
        SettingsError: there is no such directory, or it holds the candles of another category.
        StorageError: the ledger cannot be read.
    """
    saved = read_ledger(data_dir, category, disk=disk)
    known = known_series(disk, data_dir, saved.coverage)
    saved.want(demand.spans(known, as_of_ms(disk, data_dir, saved, now_ms)))
    contents = Contents()
    for series in filter(is_chosen, sorted(known | set(saved.coverage.records))):
        _add(contents, disk, data_dir / series.file_name, series, saved, demand.chosen(series))
    return contents


def _add(contents: Contents, disk: Disk, path: Path, series: Series, saved: LedgerSnapshot, chosen: Spans) -> None:
    file, size = held_in_file(disk, path, series, saved.checkpoints.get(series)), 0
    with suppress(OSError):
        size = path.stat().st_size if path.is_file() else 0
    saved.missing(series, file.held)
    record = saved.coverage[series]
    record.damage = file.damage
    missing = gaps_within(record.missing(file.alone), chosen)
    gaps = [SeriesGap(series, gap) for gap in neighbours_joined(missing)]
    unsettled = sum(gap.candles for gap in gaps if gap.missing.state not in SETTLED)
    stored = StoredSeries(series, file.held & chosen, unsettled, size, file.problem)
    if not (stored.size or gaps or file.problem):
        return
    frame = series.timeframe.name
    runs = runs_of(record, chosen.bounds.start_ms, chosen.bounds.end_ms) if chosen else []
    contents.runs.setdefault(frame, []).append((series.symbol, runs))
    contents.gaps += gaps
    counts = Counter[str]()
    for gap in gaps:
        counts[gap.missing.state.value] += gap.candles
    contents.series.append(stored.record() | {"gaps": counts})


def check_record(found: Mapping[str, Any], sentence: str) -> dict[str, Any]:
    """The last check: when, its result, the wrong files."""
    issues = [each for each in found.get("issues", {}).values() if each.get("has_issues")]
    files = [
        {"file": each.get("file"), "problem": each.get("problem"), **{name: each.get(name, 0) for name in _COUNTS}}
        for each in issues
    ]
    return {"checked_at": found.get("checked_at"), "said": sentence, "files": files[:_MOST_FILES], "wrong": len(files)}
