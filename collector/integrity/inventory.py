"""What is stored, series by series: rows, span, holes, bytes, and how much of what is wanted that is.

The files say what is held, from their checkpoints on; the ledger says what is wanted and what nobody has. It only
reads, and may run beside a collector.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from collector.core.candle import Series
from collector.core.missing import SETTLED, gaps_within
from collector.core.rows import candles_in
from collector.core.spans import EVER, Spans
from collector.core.text import counted, size_text
from collector.integrity.demand import Demand
from collector.integrity.gaps import held_in_file
from collector.machine.clock import THIS_CLOCK, LocalClock
from collector.machine.disk import THIS_DISK, Disk
from collector.storage.data_directory import refuse_if_absent
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import as_of_ms, known_series


@attrs.frozen
class StoredSeries:
    """One series: what its file holds, and how many candles of it may still come.

    Candles that nobody has (absent, before the listing) are holes, and not `missing`. `problem` says why the rows are
    unknown, or why those behind a bad one do not count, if so.
    """

    series: Series
    held: Spans
    missing: int
    size: int
    problem: str = ""

    @property
    def rows(self) -> int:
        return candles_in(self.series.timeframe, self.held)

    @property
    def first_ms(self) -> int | None:
        """The open time of the first candle."""
        return self.held.bounds.start_ms if self.held else None

    @property
    def last_ms(self) -> int | None:
        """The open time of the last candle."""
        return self.series.timeframe.floor(self.held.bounds.end_ms - 1) if self.held else None

    @property
    def holes(self) -> int:
        """How many places between the first row and the last have no candle."""
        return max(0, len(self.held) - 1)

    @property
    def percent(self) -> float:
        """How much is held of what the exchange has and is wanted."""
        return percent_of(self.rows, self.missing)

    def record(self) -> dict[str, Any]:
        """The same for a machine; times are epoch milliseconds."""
        return {
            "symbol": self.series.symbol,
            "timeframe": self.series.timeframe.name,
            "file": self.series.file_name,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "rows": self.rows,
            "holes": self.holes,
            "missing": self.missing,
            "percent": self.percent,
            "bytes": self.size,
            "problem": self.problem or None,
        }


def percent_of(rows: int, missing: int) -> float:
    """A share in percent with one decimal, rounded down: 100 only if nothing is missing."""
    return rows * 1000 // (rows + missing) / 10 if rows else 0.0


def find_stored(
    data_dir: Path,
    category: str,
    demand: Demand | None = None,
    clock: LocalClock = THIS_CLOCK,
    disk: Disk = THIS_DISK,
) -> Iterator[StoredSeries]:
    """Every series that has a file or is wanted, in order; with dates in the demand, what is in them of each.

    Raises:
        SettingsError: there is no such directory, it cannot be read, or it holds the candles of another category.
        StorageError: the ledger cannot be read.
    """
    refuse_if_absent(data_dir)
    saved = read_ledger(data_dir, category, disk=disk)
    known = known_series(disk, data_dir, saved.coverage)
    if demand:
        saved.want(demand.spans(known, as_of_ms(disk, data_dir, saved, clock.now_ms())))
    for series in sorted(known | set(saved.coverage.records)):
        chosen = demand.chosen(series) if demand else EVER
        each = _look(disk, data_dir / series.file_name, series, saved, chosen)
        if each.size or each.missing or each.problem:
            yield each


def _look(disk: Disk, path: Path, series: Series, saved: LedgerSnapshot, chosen: Spans) -> StoredSeries:
    file, size = held_in_file(disk, path, series, saved.checkpoints.get(series)), 0
    with suppress(OSError):
        size = path.stat().st_size if path.is_file() else 0
    gaps = gaps_within(saved.missing(series, file.held), chosen)
    missing = sum(series.timeframe.count(*attrs.astuple(gap.span)) for gap in gaps if gap.state not in SETTLED)
    return StoredSeries(series, file.held & chosen, missing, size, file.problem)


def stored_summary(stored: Sequence[StoredSeries]) -> str:
    """All of it in one sentence."""
    symbols = counted(len({each.series.symbol for each in stored}), "symbol")
    rows, size = sum(each.rows for each in stored), sum(each.size for each in stored)
    percent = percent_of(rows, sum(each.missing for each in stored))
    what = f"{counted(len(stored), 'series')} of {symbols}: {counted(rows, 'row')} in {size_text(size)}"
    return f"{what}, {percent:g}% of what is wanted"
