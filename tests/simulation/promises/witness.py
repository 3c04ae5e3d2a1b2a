"""Looks on from outside while the world lives: at moments drawn from the seed, also in the middle of the collector's
work, and after each kill and power cut."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from random import Random
from typing import TYPE_CHECKING

import attrs
import trio

from collector.core.candle import Series
from collector.core.coverage import CoverageIndex
from collector.core.errors import CollectorError
from collector.core.request_windows import NEWEST
from collector.core.rows import covered_spans
from collector.core.spans import Spans
from collector.machine.disk import THIS_DISK
from collector.storage.ledger_reading import read_ledger
from collector.storage.quarantine import quarantined_lines
from tests.simulation.faults.together import count_of
from tests.simulation.promises import claims, liveness, modes
from tests.simulation.promises.accusations import Accusations
from tests.simulation.promises.flushing import Flushing
from tests.simulation.promises.library import Library
from tests.simulation.promises.meddling import Meddling
from tests.simulation.promises.reader import Reader, rows_of_file
from tests.simulation.promises.resources import Resources
from tests.simulation.promises.service import Conditions, Traffic
from tests.simulation.promises.truths import TruthsOfTheBox
from tests.simulation.promises.verified import Verified

if TYPE_CHECKING:
    from tests.simulation.world import World

_STEP_S = 5.0  # between two looks at what costs nothing to look at
_READ_SHARE = 0.08  # of these steps: a reader looks at the files, once a minute
_LEDGER_SHARE = 0.02  # and somebody asks for the gaps, while there are some; seldom else
_LOAD_SHARE = 0.005  # and a script loads a series
_CALL_SHARE = 0.05  # of the calls that change something on the disk: a reader comes right after it
_SAVE_SHARE = 0.2  # of the commits of the ledger: it is held against the disk
_WARM_S = 1200.0  # the first history is there by then


@attrs.define(eq=False)
class Witness:
    """Says in the report of the run which promise was broken, and when."""

    world: "World"
    _say: Callable[[str, Iterable[str]], None] = attrs.field(init=False)
    _dice: Random = attrs.field(init=False)
    _readers: dict[Series, Reader] = attrs.field(init=False)
    _truths: TruthsOfTheBox = attrs.field(init=False)
    _library: Library = attrs.field(init=False)
    _held: claims.HeldRows = attrs.field(factory=dict)
    _verified: Verified = attrs.field(init=False)
    _traffic: Traffic = attrs.field(factory=Traffic)
    _conditions: Conditions = attrs.field(factory=Conditions)
    _warm: Resources | None = None
    meddling: Meddling = attrs.field(factory=Meddling)
    _limited: bool = False  # whether rows could go under the limit at the last look
    _old_times: int = 0  # answers so far, at the last look
    _vouched_ms: list[int] = attrs.field(factory=lambda: [0])  # by the ledger: at each start since, and the one before
    flushing: Flushing = attrs.field(factory=Flushing)
    _saved_s: float = inf  # when the ledger was first saved since a start, and since somebody has asked for the gaps

    def __attrs_post_init__(self) -> None:
        world = self.world
        truths = self._truths = TruthsOfTheBox(world.box)
        self._verified = Verified(truths)
        self._say = Accusations(world.report.wrong).add
        data_dir = world.settings.data_dir
        self._library = Library(data_dir, data_dir.with_name("library"), truths)
        self._dice = Random(f"witness {world.plan.seed}")
        kept = partial(quarantined_lines, THIS_DISK)
        self._readers = {
            series: Reader(series, truths, kept=partial(kept, data_dir / series.file_name))
            for series in claims.every_series(world.settings)
        }
        world.disk.on_change = self._after_call
        world.disk.on_save = self._after_save
        world.disk.on_power_cut = self._before_power_cut
        world.process.on_crash = self._after_crash
        world.process.on_begin = self._before_start
        world.process.on_end = self._after_end

    async def watch(self) -> None:
        """Looks all the while, until cancelled."""
        while True:
            await trio.sleep(_STEP_S)
            self._say("service", self._traffic.look(self.world))
            self.flushing.look(self.world)
            is_late = self._warm is None and trio.current_time() > _WARM_S
            lives = self.world.process.mode == "live"
            if is_late or lives or self._conditions.since_s:
                await self.world.process.look()
            if lives:
                self._say("unrecorded", modes.unwanted(self.world))
                self._ask_what_was_let_go()
            self._say("status", self._conditions.look(self.world))
            if self._dice.random() < _READ_SHARE:
                self.read()
            if self._dice.random() < (_LEDGER_SHARE if self.world.process.has_gaps else _LEDGER_SHARE / 10):
                self.ask_for_gaps()
            if self._dice.random() < _LOAD_SHARE:
                self._load(1)
            if is_late and self.world.process.is_up_to_date:
                self._warm = Resources.now()

    @property
    def _believes_ledger(self) -> bool:
        if self.world.process.coverage is not None:
            self.meddling.started()
        return self.meddling.spares_ledger

    def read(self) -> None:
        """A reader looks at every file."""
        world, now_ms = self.world, self.world.box.clock.now_ms()
        world.report.reads += 1
        over = world.process.ended.is_set() or world.disk.mishaps.dead
        coverage = None if over else world.process.coverage
        limited = world.process.limited or world.settings.limit_to_50_entries
        self._note_opened(coverage)
        old_times = count_of(world.box, ("old_time",))
        early = world.wrong.makes("old_time") or old_times > self._old_times
        pieces = modes.pieces_of(world.settings.data_dir) if coverage and not limited else {}
        for series, reader in self._readers.items():
            reader.early, reader.vouched_ms = early, min(self._vouched_ms)
            path, reader.limited = world.settings.data_dir / series.file_name, limited or self._limited
            record = coverage.records.get(series) if coverage else None
            if world.disk.mishaps.error is not None:
                reader.crashed = True  # half a row may stand there until the next start
            # Whoever has opened a file under the limit has cut it, and never lets it grow beyond.
            reader.most = NEWEST if world.process.limited and record and record.held else None
            self._say(f"{series}", reader.look(path.read_bytes() if path.exists() else b"", now_ms))
            self.flushing.note(series, reader)
            if record and not reader.crashed:
                self._say(f"{series} verified", self._verified.look(reader, record.held - record.unverified))
            if record and record.held and series.name in pieces:
                self._say("unrecorded", modes.forgotten(series, record, pieces[series.name]))
        self._limited, self._old_times, self._vouched_ms = limited, old_times, self._vouched_ms[-1:]

    def _note_opened(self, coverage: CoverageIndex | None) -> None:
        """What a start finds of a file it has also mended."""
        if coverage is not None:
            self.meddling.started()
        for series, reader in self._readers.items():
            record = coverage.records.get(series) if coverage else None
            if reader.crashed and record and record.held and not self.meddling.overwritten[series]:
                reader.opened()

    def edited(self, series: Series, kept: Iterable[bytes]) -> None:
        """Somebody has edited a file: what it held before is no matter, but for these lines."""
        stays = covered_spans(series.timeframe, sorted(dict(rows_of_file(b"".join(kept)))))
        self.meddling.take(series, Spans.between(0, self.world.box.clock.now_ms()) - stays)
        if series in self._readers:
            self._readers[series].edited(kept)

    @contextmanager
    def overlooks(self, series: Series) -> Iterator[None]:
        """Somebody has written over rows of a file while it is collected: nobody may notice until it is mended."""
        self.meddling.overwritten[series] += 1
        self.edited(series, ())
        try:
            yield
        finally:
            self.meddling.overwritten[series] -= 1

    def _after_end(self) -> None:
        if not self.world.disk.mishaps.dead:
            self._note_opened(self.world.process.coverage)
            self.meddling.forget_saved(self.world.settings)

    def _before_start(self) -> None:
        """A start takes what is closed by the ledger for closed, whatever the exchange says of the time."""
        settings, self._saved_s = self.world.settings, inf
        try:
            self._vouched_ms.append(read_ledger(settings.data_dir, settings.category).newest_ms)
        except CollectorError:  # it is damaged or gone
            self._vouched_ms.append(0)

    def _before_power_cut(self) -> None:
        """The power is about to fail: what is certain to survive it is written down."""
        for series, reader in self._readers.items():
            reader.power_cut(self.world.disk.contents.certain(series.file_name))

    def _after_crash(self) -> None:
        """The process was killed, or the power has failed."""
        self._load(3)
        for reader in self._readers.values():
            reader.killed()
        self.read()
        self._hold_ledger_against_disk()
        self.ask_for_gaps()

    def expect_progress(self, alone_s: float) -> None:
        """What is streamed is in the files, after so long with one fault alone.

        A start does not stream before the exchange has listed its symbols.
        """
        process = self.world.process
        begun = process.report is not None and process.report().doing != "starting"
        if begun and self.world.alone_for(alone_s) and process.lives_for(alone_s):
            self._say("progress", modes.standing(self.world, alone_s))

    def judge(self) -> None:
        """After the last fault and the calm."""
        world = self.world
        self.read()
        self.ask_for_gaps()
        self._say("unsettled", liveness.unsettled(world))
        self._say("differences", liveness.differences(world))
        self._say("unwell", liveness.unwell(world))
        if self._warm is not None:
            self._say("resources", Resources.now().grown(self._warm))

    def judge_files(self) -> None:
        """After the collector has ended."""
        self._hold_ledger_against_disk()
        self._say("check", liveness.found(self.world))

    def _after_call(self) -> None:
        share = _CALL_SHARE / 5 if self.world.settings.limit_to_50_entries else _CALL_SHARE  # each row is several calls
        if self._dice.random() < share:
            self.read()

    def _ask_what_was_let_go(self) -> None:
        """Asks for the gaps in mode live, a while after the ledger was saved."""
        if self._believes_ledger and self.flushing.has_passed_since(self._saved_s):
            self._saved_s = inf
            self._say("unrecorded", modes.let_go(self.world))

    def _after_save(self) -> None:
        if self.world.process.coverage is not None:
            self._saved_s = min(self._saved_s, trio.current_time())
        if self._dice.random() < _SAVE_SHARE:
            self._hold_ledger_against_disk()

    def _hold_ledger_against_disk(self) -> None:
        if self._believes_ledger:
            self._say("ledger", claims.ahead(self.world, self._truths, self._held, self.meddling.taken))

    def _load(self, count: int) -> None:
        for series in self._dice.sample(list(self._readers), count):
            if self._readers[series].was_edited:
                continue
            self._say("loaded", self._library.look(series, sound=not self._readers[series].crashed))

    def ask_for_gaps(self) -> None:
        """Somebody wants to know what is missing."""
        if self._believes_ledger:
            self._say("unrecorded", claims.unrecorded(self.world, +self.meddling.overwritten))
