"""Where the page's data come from: a running collector's memory, or the ledger and the files alone."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Protocol

import attrs
import trio

from collector.bybit.forming import FormingCandles
from collector.core.candle import Series, Timeframe
from collector.core.coverage import CoverageIndex
from collector.core.missing import Gap
from collector.core.series_coverage import SeriesCoverage
from collector.integrity.gaps import HeldInFile, held_in_file
from collector.machine import Machine
from collector.machine.own_files import OWN
from collector.storage.inspection import Checkpoint, Stamp, stamp_of
from collector.storage.ledger_file import FILE
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.stored import known_series

_FRESH_S = 2.0  # how long a look holds
_OTHERS_S = 30.0  # and files that the running collector leaves alone
_UNTOLD_S = 5.0  # between looks without news, for those files


@attrs.frozen
class Known:
    """What is known of one series: its coverage, and why its file is left alone, if it is."""

    record: SeriesCoverage
    alone: str = ""
    file: int = 0  # the number of the file, of one that others write: a file with changed rows takes its place

    @property
    def problem(self) -> str:
        """What somebody should know of the file."""
        return self.alone or self.record.damage

    @property
    def missing(self) -> tuple[Gap, ...]:
        """Every gap, by time."""
        return self.record.missing(self.alone)


class Source(Protocol):
    """What the API asks."""

    @property
    def directory(self) -> Path: ...

    @property
    def now_ms(self) -> int:
        """The exchange's time, as far as it is known."""

    @property
    def delisted(self) -> Container[str]:
        """The symbols that trade no more, as far as it is known."""

    async def known(self, symbol: str | None = None, frame: Timeframe | None = None) -> list[tuple[Series, Known]]:
        """Every series that is wanted or held, of a symbol, a timeframe, or all."""

    async def one(self, series: Series) -> Known | None:
        """What is known of a series.

        None for one that is neither wanted nor held.
        """

    def forming(self, series: Series) -> tuple[float, ...] | None:
        """The candle in progress, if it is known."""

    def watch(self, series: Series) -> None:
        """Has the candle in progress followed for some seconds."""

    @property
    def look_every_s(self) -> float:
        """How long what has changed may go untold: look anew after so many seconds."""

    def news(self) -> trio.Event:
        """Is set once candles have been written from now on, as far as that is told."""


@attrs.define(eq=False)
class StoredSource:
    """A data directory as it is on the disk, looked at again when somebody asks; of each file only if it changed.

    One look serves all who ask within its time, and wakes all who wait if it finds something.
    """

    directory: Path
    _category: str
    _machine: Machine
    _known: dict[Series, Known] = attrs.field(factory=dict)
    _held: dict[Series, tuple[Stamp | None, HeldInFile]] = attrs.field(factory=dict)
    _saved: LedgerSnapshot | None = None
    _saved_at: tuple[Stamp | None, ...] = ()
    _looked_s: float | None = None
    _looking: trio.Lock = attrs.field(factory=trio.Lock)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def now_ms(self) -> int:
        return self._machine.clock.now_ms()

    @property
    def delisted(self) -> Container[str]:
        return ()

    async def known(self, symbol: str | None = None, frame: Timeframe | None = None) -> list[tuple[Series, Known]]:
        """The series, as of some seconds ago at most.

        Raises:
            StorageError, SettingsError: the directory or its ledger cannot be read.
        """
        return _chosen((await self._all()).items(), symbol, frame)

    async def _all(self) -> dict[Series, Known]:
        async with self._looking:
            if self._looked_s is None or trio.current_time() - self._looked_s >= _FRESH_S:
                before, self._known = self._known, await self._machine.threads.run(self._look)
                self._looked_s = trio.current_time()
                if any(before.get(series) is not known for series, known in self._known.items()):
                    self._changed.set()
                    self._changed = trio.Event()
        return self._known

    async def one(self, series: Series) -> Known | None:
        return (await self._all()).get(series)

    def forming(self, series: Series) -> tuple[float, ...] | None:
        return None

    def watch(self, series: Series) -> None:
        """Stored files have closed candles alone."""

    @property
    def look_every_s(self) -> float:
        return _FRESH_S

    def news(self) -> trio.Event:
        """Is set by the look that finds what others have written."""
        return self._changed

    def _look(self) -> dict[Series, Known]:
        saved = self._read_ledger()
        every = known_series(self._machine.disk, self.directory, saved.coverage) | set(saved.coverage.records)
        in_order = self._known if self._known.keys() == every else sorted(every)
        found = {series: self._look_at(series, saved) for series in in_order}
        return {series: each for series, each in found.items() if each.record.is_known or each.problem}

    def _read_ledger(self) -> LedgerSnapshot:
        ledger = self.directory / OWN / FILE
        stamps = stamp_of(ledger), stamp_of(ledger.with_name(f"{FILE}-wal"))
        if self._saved is None or stamps != self._saved_at or stamps[0] is None:
            self._saved = read_ledger(self.directory, self._category, disk=self._machine.disk)
            if stamps != self._saved_at:
                self._saved_at, self._known = stamps, {}
        return self._saved

    def _look_at(self, series: Series, saved: LedgerSnapshot) -> Known:
        path = self.directory / series.file_name
        stamp, before = stamp_of(path), self._held.get(series)
        if before and before[0] == stamp and (known := self._known.get(series)):
            return known
        if before and before[0] == stamp:
            file = before[1]
        else:
            file = held_in_file(self._machine.disk, path, series, saved.checkpoints.get(series))
        self._held[series] = stamp, file
        saved.missing(series, file.held)
        record = saved.coverage[series]
        record.damage = file.damage
        return Known(record, file.alone, stamp[0] if stamp else 0)


@attrs.define(eq=False)
class LiveSource:
    """A running collector's memory; and the other files of its directory.

    Its sets are replaced and never changed, so what is handed out stays as it is.
    """

    directory: Path
    _coverage: CoverageIndex
    _tracked: Collection[Series]
    _checkpoints: Mapping[Series, Checkpoint]
    _exchange_ms: Callable[[], int]
    _machine: Machine
    _forming: FormingCandles
    _written: Callable[[], trio.Event]
    _others: dict[Series, Known] = attrs.field(factory=dict)
    _held: dict[Series, tuple[Stamp | None, Known]] = attrs.field(factory=dict)
    _looked_s: float | None = None
    _looking: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def now_ms(self) -> int:
        return self._exchange_ms() or self._machine.clock.now_ms()

    @property
    def delisted(self) -> Container[str]:
        return self._coverage.delisted

    async def known(self, symbol: str | None = None, frame: Timeframe | None = None) -> list[tuple[Series, Known]]:
        others = await self._look_at_others()
        skipped, records = self._coverage.skipped, self._coverage.records
        tracked = [each for each in self._tracked if symbol in (None, each.symbol) and frame in (None, each.timeframe)]
        found = [(each, Known(records[each], skipped.get(each, ""))) for each in tracked if each in records]
        theirs = _chosen(others.items(), symbol, frame)
        return found + [each for each in theirs if each[0] not in self._tracked]

    async def one(self, series: Series) -> Known | None:
        if series in self._tracked:
            record = self._coverage.records.get(series)
            return Known(record, self._coverage.skipped.get(series, "")) if record else None
        return (await self._look_at_others()).get(series)

    def forming(self, series: Series) -> tuple[float, ...] | None:
        if series.symbol in self._coverage.delisted:
            return None
        record = self._coverage.records.get(series)
        return self._forming.latest(series, record.held.end_ms if record else 0)

    def watch(self, series: Series) -> None:
        self._forming.watch(series)

    @property
    def look_every_s(self) -> float:
        return _UNTOLD_S

    def news(self) -> trio.Event:
        return self._written()

    async def _look_at_others(self) -> dict[Series, Known]:
        """The other files, as of half a minute ago at most, once it is known which they are."""
        async with self._looking:
            due = self._looked_s is None or trio.current_time() - self._looked_s > _OTHERS_S
            if due and len(self._tracked):
                self._others = await self._machine.threads.run(self._look)
                self._looked_s = trio.current_time()
        return self._others

    def _look(self) -> dict[Series, Known]:
        names = map(Series.of_file, self._machine.disk.names(self.directory))
        others = sorted(series for series in names if series and series not in self._tracked)
        return {series: self._look_at(series) for series in others}

    def _look_at(self, series: Series) -> Known:
        path = self.directory / series.file_name
        stamp, before = stamp_of(path), self._held.get(series)
        if before and before[0] == stamp:
            return before[1]
        file = held_in_file(self._machine.disk, path, series, self._checkpoints.get(series))
        record = deepcopy(self._coverage.records.get(series) or SeriesCoverage(series.timeframe))
        record.hold(file.held)
        record.damage = file.damage
        known = Known(record, file.alone, stamp[0] if stamp else 0)
        self._held[series] = stamp, known
        return known


def _chosen(
    known: Iterable[tuple[Series, Known]], symbol: str | None, frame: Timeframe | None
) -> list[tuple[Series, Known]]:
    return [each for each in known if symbol in (None, each[0].symbol) and frame in (None, each[0].timeframe)]
