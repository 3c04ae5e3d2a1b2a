"""The ledger for those who only look: `check`, `gaps` and the plan of a repair.

Reading leaves every file as it is.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.disagreements import KnownDisagreement
from collector.core.errors import StorageError
from collector.core.missing import SETTLED, Gap
from collector.core.request_windows import NEWEST
from collector.core.rows import candles_in
from collector.core.shards import Shard
from collector.core.spans import NOTHING, Spans
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import OWN
from collector.storage.data_directory import refuse_another_category
from collector.storage.inspection import Checkpoint
from collector.storage.ledger_file import FILE, map_errors, open_readonly
from collector.storage.ledger_format import UNREADABLE, decode_disagreements
from collector.storage.ledger_tables import checkpoints_in, coverage_in, find_disagreements, load


@attrs.frozen
class LedgerSnapshot:
    """A ledger as it was read: the coverage of every series, what is held included, and the files' checkpoints."""

    coverage: CoverageIndex
    checkpoints: dict[Series, Checkpoint]
    _demanded: dict[Series, Spans] = attrs.field(factory=dict, init=False)

    @cached_property
    def newest_ms(self) -> int:
        """The newest close of anything held, which the exchange's clock had passed; 0 for an empty ledger."""
        return max(
            (checkpoint.held.bounds.end_ms for checkpoint in self.checkpoints.values() if checkpoint.held), default=0
        )

    @cached_property
    def saved_ms(self) -> int:
        """The exchange's time when it was saved, as far as it tells: the newest close of anything wanted or held."""
        wanted = (record.wanted.bounds.end_ms for record in self.coverage.records.values() if record.wanted)
        return max(self.newest_ms, max(wanted, default=0))

    def take_part(self, shard: Shard) -> None:
        """Wants of the symbols of other shards what they hold, and what nobody has."""
        for series, record in self.coverage if not shard.is_whole else ():
            if not shard.takes(series.symbol):
                pending = (gap.span for gap in self.coverage.missing(series) if gap.state not in SETTLED)
                self.coverage.want(series, record.wanted - Spans.of(*pending))

    def want(self, spans: Mapping[Series, Spans]) -> None:
        """Adds candles to what the last run wanted."""
        for series, span in spans.items():
            self._demanded[series] = self._demanded.get(series, NOTHING) | span
            self.coverage.want_also(series, span)

    def missing(self, series: Series, held: Spans) -> tuple[Gap, ...]:
        """What is missing of a series whose file holds this now, which may be more than when the ledger was saved.

        Candles held then count as wanted, however few are wanted today: only the limit lets go of any.
        """
        checkpoint = self.checkpoints.get(series)
        if checkpoint:
            self.coverage.want_also(series, checkpoint.held)
        self.coverage[series].hold(held)
        if checkpoint and _was_trimmed(series, checkpoint, held):
            self.coverage.stop_wanting(series, held[0].start_ms)
            demanded = self._demanded.get(series, NOTHING)
            if candles_in(series.timeframe, demanded) > NEWEST:  # the limit is off again, and lets go of nothing
                self.coverage.want_also(series, demanded)
        return self.coverage.missing(series)


def read_ledger(data_dir: Path, category: str, *, disk: Disk = THIS_DISK) -> LedgerSnapshot:
    """Reads the ledger of a directory, also while a collector owns it.

    Raises:
        SettingsError: the directory holds the candles of another category.
        StorageError: it cannot be read.
    """
    refuse_another_category(disk, data_dir, category)
    path, coverage = data_dir / OWN / FILE, CoverageIndex()
    try:
        with map_errors(path.parent):
            if not path.exists():
                return LedgerSnapshot(coverage, {})
            with closing(open_readonly(disk, path)) as database:
                saved = load(database)
    except UNREADABLE as error:
        raise StorageError(f"the ledger in {path.parent} could not be read ({error})") from error
    coverage.records.update(coverage_in(saved))
    checkpoints = checkpoints_in(saved)
    for series, checkpoint in checkpoints.items():
        coverage[series].hold(checkpoint.held)
    return LedgerSnapshot(coverage, checkpoints)


def read_disagreements(disk: Disk, data_dir: Path, coarser: Series, finer: Series) -> dict[int, KnownDisagreement]:
    """The candles on which the exchange is known to disagree with itself; empty where the ledger cannot tell."""
    path = data_dir / OWN / FILE
    with suppress(sqlite3.Error, OSError, *UNREADABLE), closing(open_readonly(disk, path)) as database:
        entry = find_disagreements(database, coarser, finer)
        if entry is not None:
            return decode_disagreements(coarser.name + finer.name, entry)
    return {}


def _was_trimmed(series: Series, checkpoint: Checkpoint, held: Spans) -> bool:
    """Whether the limit has trimmed a full file since the ledger was saved.

    Such a file has as many rows as before, or some more that are new, and begins later.
    """
    before, now = candles_in(series.timeframe, checkpoint.held), candles_in(series.timeframe, held)
    return before <= NEWEST <= now and held[0].start_ms > checkpoint.first_ms
