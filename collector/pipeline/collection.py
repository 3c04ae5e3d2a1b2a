"""The collection: what is collected, while lists and settings change.

It opens files, subscribes, and says what is wanted; it never fetches, and what was begun is not taken back.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.request_windows import NEWEST
from collector.core.rows import candles_in
from collector.core.tracked_series import TrackedSeries
from collector.logs import get_logger
from collector.monitoring.disk_gate import DiskGate
from collector.pipeline.history import History
from collector.pipeline.hydration import Hydration
from collector.pipeline.listings import Listings
from collector.pipeline.live import Live
from collector.pipeline.membership import Membership
from collector.pipeline.mirror import Mirror
from collector.pipeline.reconcile import Reconciler
from collector.pipeline.writer import Writer
from collector.settings.reload import reload
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.inspection import Checkpoint

log = get_logger(__name__)


class Follower(Protocol):
    """Whoever goes by settings that may change while it works."""

    def apply(self, settings: Settings) -> None: ...


@attrs.define(eq=False)
class Collection:
    """The series of a running service, begun and frozen as lists and settings change."""

    _settings: Settings
    _tracked: TrackedSeries
    _coverage: CoverageIndex
    _followers: Sequence[Follower]
    _store: Store
    _writer: Writer
    _live: Live
    _reconciler: Reconciler
    _history: History
    _listings: Listings
    _mirror: Mirror
    _hydration: Hydration
    _allow_trim: bool
    _begun: set[Series] = attrs.field()

    @_begun.default
    def _opened_at_the_start(self) -> set[Series]:
        return set(self._tracked)

    async def follow_listings(self) -> None:
        """Begins with new symbols and freezes gone ones, until cancelled."""
        await self._listings.follow(self.begin, self.freeze)

    async def begin(self, symbols: Sequence[str]) -> None:
        """Begins to collect symbols that trade.

        Of those that trade again, the open series are streamed again.
        """
        back = self._coverage.delisted.intersection(symbols)
        self._coverage.relist(symbols)
        await self._open(symbols, [each for each in self._tracked if each.symbol in back])

    async def _open(self, symbols: Iterable[str], again: Sequence[Series] = ()) -> None:
        """Opens the new series of these symbols.

        Those that trade are streamed, and the history of all is fetched.
        """
        new = [each for each in series_of(self._settings, symbols) if each not in self._begun]
        self._begun.update(new)  # before anything is waited for: a change of the settings may come meanwhile
        if self._settings.limit_to_50_entries and not self._allow_trim:
            long = {series: (path, rows) for series, path, rows in too_long(self._store, new, {})}
            for path, rows in long.values():
                log.warning(
                    "series left out, its file holds more than the limit would leave", file=path.name, rows=rows
                )
            new = [each for each in new if each not in long]
        await self._writer.open_files(new)
        self._mirror.enter(new)
        if self._settings.mode == "live":
            self._coverage.want_nothing(new)
        await self._hydration.claim(new)
        self._tracked.add(new)
        if self._settings.enable_websocket:
            streamed = [*again, *(each for each in new if each.symbol not in self._coverage.delisted)]
            self._live.add([each for each in streamed if each not in self._coverage.skipped])
        self._reconciler.wake()

    def freeze(self, symbols: list[str]) -> None:
        """Marks symbols as delisted; what remains of them is fetched."""
        self._coverage.delist(symbols)
        self._live.stop_asking(symbols)
        self._writer.mark_unsaved(each for each in self._tracked if each.symbol in symbols)
        self._reconciler.wake()

    async def follow_slots(self, membership: Membership) -> None:
        """Begins and leaves symbols as their slots come and go, until cancelled."""
        owned = membership.owned
        while True:
            await membership.looked()
            self.leave({series.symbol for series in self._tracked if not membership.takes(series.symbol)})
            if self._listings.is_behind or membership.owned - owned:
                self._listings.look()
            owned = membership.owned

    def leave(self, symbols: Container[str]) -> None:
        """Collects symbols no more that somebody else collects now.

        Their files stay as they end.
        """
        left = [series for series in self._tracked if series.symbol in symbols]
        if not left:
            return
        self._tracked.discard(left)
        self._begun.difference_update(left)
        self._live.leave(left)
        self._mirror.leave(left)
        for series in left:
            self._history.drop(series)
            self._hydration.drop(series)
        self._listings.leave({series.symbol for series in left})

    async def follow_disk(self, gate: DiskGate) -> None:
        """Fetches what a full disk had put off, until cancelled."""
        while True:
            await gate.opened()
            self._coverage.reset_attempts()
            self._reconciler.wake()

    async def apply(self, read: Settings) -> None:
        """Applies newly read settings, and logs those that need a restart."""
        what = reload(self._settings, read)
        log.info("settings read again", **(what.changed or {"changed": "nothing"}))
        if what.later:
            log.warning("settings that need a restart", keys=" ".join(what.later))
        self._settings = what.settings
        for follower in self._followers:
            follower.apply(what.settings)
        if what.changed.keys() & {"symbols", "fetch_all_symbols"}:
            self._listings.want(what.settings.symbols_here)
        if "timeframes" in what.changed:
            await self._open({series.symbol for series in self._begun})


def series_of(settings: Settings, symbols: Iterable[str]) -> list[Series]:
    """Every series of these symbols, in order."""
    return sorted(Series(each, frame) for each in symbols for frame in settings.timeframes)


def too_long(
    store: Store, every_series: Iterable[Series], checkpoints: Mapping[Series, Checkpoint]
) -> list[tuple[Series, Path, int]]:
    """The files with more rows than the limit, and their rows.

    The writer never lets a file grow beyond the limit, so a longer one is not of a time with a limit. One that had some
    rows more than when the ledger was saved is left by a version that trimmed later. One that is left alone is not cut.
    """
    within = {
        series for series, checkpoint in checkpoints.items() if candles_in(series.timeframe, checkpoint.held) <= NEWEST
    }
    counted = [(series, store.path(series), store.count_rows(series)) for series in every_series]
    long = [each for each in counted if each[2] > (2 * NEWEST if each[0] in within else NEWEST)]
    return [each for each in long if not store.is_foreign(each[0])]
