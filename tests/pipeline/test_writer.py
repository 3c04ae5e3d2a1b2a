"""The writer: files grow at their tail, nothing received is lost, and only what is written counts as held."""

import errno
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from collector.core.candle import MINUTE_MS, Series
from collector.core.changes import Changes
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.events import Answered, Confirmed, Event, GaveUp, Hydrated, Lacking
from collector.core.missing import Gap, State
from collector.core.rows import Rows
from collector.core.spans import NOTHING, Spans
from collector.integrity.repair import OwnedDirectory
from collector.machine import THIS_MACHINE, Machine
from collector.machine.disk import THIS_DISK, Disk
from collector.machine.own_files import OWN
from collector.pipeline.collection import too_long
from collector.pipeline.flush_queue import FlushQueue
from collector.pipeline.writer import Writer, build_writer
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.inspection import Checkpoint
from collector.storage.ledger import Ledger, open_ledger
from collector.storage.ledger_reading import LedgerSnapshot, read_ledger
from collector.storage.opening import Finding
from collector.storage.series_file import SeriesFile
from tests.simulation.machine import InlineThreads
from tests.support.candles import BTC, T0, content, joined, row, rows, span, spans
from tests.support.disks import BreakingDisk, DeafDisk, FreezingDisk, FullDisk, PatientDisk, RecordingDisk, RefusingDisk
from tests.support.market import ClockByHand

NOW = T0 + 10**9
ETH, SOL = (Series(symbol, BTC.timeframe) for symbol in ("ETHUSDT", "SOLUSDT"))


def answered(first: int, behind: int, given: Rows | None = None) -> Answered:
    return Answered(BTC, span(first, behind), rows(first, behind) if given is None else given, NOW)


def confirmed(place: int, series: Series = BTC) -> Confirmed:
    return Confirmed(series, span(place, place + 1), row(place), NOW)


def gave_up(first: int, behind: int) -> GaveUp:
    return GaveUp(BTC, span(first, behind), "HTTP 502", NOW)


@attrs.define
class Bench:
    """A writer with everything around it."""

    directory: Path
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    counters: Counters = attrs.field(factory=Counters)
    disk: Disk = attrs.field(factory=Disk)
    now_ms: int = NOW
    machine: Machine = THIS_MACHINE
    changes: Changes = attrs.field(factory=Changes)

    @property
    def data(self) -> bytes:
        path = self.directory / "BTCUSDT_1.csv"
        return path.read_bytes() if path.exists() else b""

    @property
    def held(self) -> Spans:
        return self.coverage[BTC].held

    async def write(self, *events: Event, flying: Spans = NOTHING, **changes: Any) -> None:
        """Runs a writer over these events to the end of the channel; what they answer was asked for before."""
        with open_ledger(THIS_DISK, self.directory, "bybit", "linear") as ledger:
            writer = self.writer(ledger, **changes)
            await writer.open_files([BTC])
            asked = [event.asked for event in events if not isinstance(event, Lacking | tuple)]
            asked += [gap.span for event in events if isinstance(event, Lacking) for gap in event.gaps]
            self.coverage.ask(BTC, flying | Spans.of(*asked))
            with trio.fail_after(20):
                await write_all(writer, *events)

    @property
    def saved(self) -> LedgerSnapshot:
        return read_ledger(self.directory, "linear")

    def writer(self, ledger: Ledger, *, spares_long: bool = False, **changes: Any) -> Writer:
        settings = Settings(**{"limit_to_50_entries": False} | changes)
        checkpoints = ledger.load(self.coverage)
        owned = OwnedDirectory(
            Store(self.directory, self.disk), ledger, self.coverage, checkpoints, changes=self.changes
        )
        return build_writer(owned, settings, self.machine, self.counters, self.exchange_ms, spares_long=spares_long)

    async def exchange_ms(self, _: int) -> int:
        return self.now_ms


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def write_all(writer: Writer, *events: Event) -> None:
    send, receive = trio.open_memory_channel[Event](len(events))
    with send:
        for event in events:
            send.send_nowait(event)
    await writer.write(receive)


@asynccontextmanager
async def opened_writer(bench: Bench, *others: Series, **changes: Any) -> AsyncIterator[Writer]:
    """A writer that has opened its files."""
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger, **changes)
        await writer.open_files([BTC, *others])
        yield writer


@attrs.define
class SlowDisk(Disk):
    """A disk that takes a millisecond to sync a file, by its own clock, and remembers in which order it did what."""

    clock: ClockByHand = attrs.field(factory=ClockByHand)
    done: str = ""

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        Disk.write(self, file, data, at)
        self.done += "w"

    def sync(self, file: int) -> None:
        self.clock.at_s += 0.001
        self.done += "s"

    def sync_whole(self, file: int) -> bool:
        return False

    def rename(self, source: Path, target: Path) -> None:
        Disk.rename(self, source, target)
        self.done += "r"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.coverage.want(BTC, spans(0, 1000))
    return made


async def test_answers_in_order_are_appended(bench: Bench) -> None:
    await bench.write(answered(0, 10), answered(10, 20))
    assert bench.data == content(rows(0, 20))
    assert bench.held == spans(0, 20)
    assert (bench.counters.rewritten, bench.counters.rows) == (0, 20)


async def test_answers_out_of_order_wait_for_those_before_them(bench: Bench) -> None:
    await bench.write(answered(20, 30), answered(10, 20), answered(0, 10))
    assert bench.data == content(rows(0, 30))
    assert bench.counters.rewritten == 0


async def test_nothing_is_held_before_it_is_written(bench: Bench) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        bench.coverage.ask(BTC, spans(0, 20))
        await writer.handle(answered(10, 20))
        assert (bench.held, bench.data) == (NOTHING, b"")
        assert bench.coverage.due(BTC, NOW) == spans(20, 1000)
        await writer.handle(answered(0, 10))
        assert bench.held == spans(0, 20)


async def test_candles_that_come_twice_while_they_wait_are_written_once(bench: Bench) -> None:
    early, late = row(10), row(10, volume="9")
    await bench.write(answered(10, 11, early), answered(10, 11, late), answered(10, 12), answered(0, 10))
    assert bench.data == content(rows(0, 12))
    assert bench.held == spans(0, 12)


async def test_a_hole_that_was_given_up_holds_nothing_back(bench: Bench) -> None:
    await bench.write(answered(10, 20), gave_up(0, 10))
    assert bench.data == content(rows(10, 20))
    assert bench.coverage.missing(BTC)[0].why == "HTTP 502"


async def test_a_hole_the_exchange_left_out_holds_nothing_back(bench: Bench) -> None:
    await bench.write(answered(0, 20, Rows(row(0).text + row(5).text, spans(0, 1) | spans(5, 6))), answered(20, 30))
    assert bench.data == content(row(0), row(5), rows(20, 30))
    holes = spans(1, 5) | spans(6, 20)  # long closed: a second answer settles them
    assert bench.coverage.due(BTC, NOW) == holes | spans(30, 1000)


async def test_what_was_received_is_written_at_the_end_even_beyond_a_hole(bench: Bench) -> None:
    await bench.write(answered(10, 20), flying=spans(0, 10))
    assert bench.data == content(rows(10, 20))


async def test_a_deeper_history_goes_in_with_one_rewrite(bench: Bench) -> None:
    bench.disk = disk = SlowDisk()
    await bench.write(answered(500, 600))
    await bench.write(answered(200, 500), answered(100, 200), answered(0, 100))
    assert bench.data == content(rows(0, 600))
    assert disk.done.count("r") == 1
    assert (bench.counters.rows, bench.counters.rewritten) == (600, 500)


async def test_a_revision_replaces_the_row_and_is_counted(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    await bench.write(answered(4, 5, row(4, volume="9.000")))
    assert bench.data == content(rows(0, 4), row(4, volume="9.000"), rows(5, 10))
    assert bench.counters.revisions == 1
    assert bench.coverage[BTC].corrections.revised == spans(4, 5)


async def test_a_duplicate_changes_nothing(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    bench.counters = Counters()
    await bench.write(answered(0, 10))
    assert bench.data == content(rows(0, 10))
    assert (bench.counters.revisions, bench.counters.rewritten, bench.counters.series) == (0, 0, None)


async def test_what_is_no_longer_wanted_of_one_series_is_saved_with_another(bench: Bench) -> None:
    """A clock was set back: what was wanted by it must not stay on record until the next candle of a month."""
    other = Series("ETHUSDT", BTC.timeframe)
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC, other])
        for first, wanted in ((0, spans(0, 9000)), (2, spans(0, 4))):
            bench.coverage.want(other, wanted)
            bench.coverage.ask(BTC, spans(first, first + 2))
            send, receive = trio.open_memory_channel[Event](1)
            with send:
                send.send_nowait(answered(first, first + 2))
            await writer.write(receive)
    assert read_ledger(bench.directory, "linear").coverage[other].wanted == spans(0, 4)


async def test_under_the_limit_a_file_keeps_its_newest_fifty_rows(bench: Bench) -> None:
    await bench.write(answered(0, 48), limit_to_50_entries=True)
    await bench.write(answered(48, 50), limit_to_50_entries=True)
    assert bench.counters.rewritten == 0
    await bench.write(answered(50, 53), limit_to_50_entries=True)
    assert bench.data == content(rows(3, 53))
    assert bench.held == spans(3, 53)
    assert [gap.span for gap in bench.coverage.missing(BTC)] == [span(53, 1000)]


async def test_what_the_limit_cuts_while_it_is_asked_for_is_not_left_out_by_the_exchange(bench: Bench) -> None:
    bench.coverage.want(BTC, spans(3, 53))
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger, limit_to_50_entries=True)
        await writer.open_files([BTC])
        await writer.handle(answered(3, 53))
        bench.coverage.want(BTC, spans(0, 53))
        await writer.handle(answered(0, 3))
    assert bench.data == content(rows(3, 53))
    assert bench.coverage.missing(BTC) == ()


@attrs.define
class CountingDisk(Disk):
    """Counts the rows of a file after everything that is done to the disk; the most there ever were."""

    path: Path
    most: int = 0

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        Disk.write(self, file, data, at)
        self._count()

    def rename(self, source: Path, target: Path) -> None:
        Disk.rename(self, source, target)
        self._count()

    def _count(self) -> None:
        rows = self.path.read_bytes().count(b"\n") - 1 if self.path.exists() else 0
        self.most = max(self.most, rows)


def _a_page_and_live() -> list[Event]:
    return [answered(0, 50), (confirmed(50),), (confirmed(51),)]


def _staged_pages() -> list[Event]:
    return [answered(40, 60), answered(20, 40), answered(0, 20), (confirmed(60),)]


def _before_and_after() -> list[Event]:
    return [answered(30, 60), (confirmed(60), confirmed(61)), answered(0, 30)]


@pytest.mark.parametrize(("events", "behind"), [(_a_page_and_live, 52), (_staged_pages, 61), (_before_and_after, 62)])
async def test_under_the_limit_a_file_is_never_longer(
    bench: Bench, events: Callable[[], list[Event]], behind: int
) -> None:
    bench.disk = disk = CountingDisk(bench.directory / "BTCUSDT_1.csv")
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger, limit_to_50_entries=True)
        await writer.open_files([BTC])
        for event in events():
            await writer.handle(event)
    assert bench.data == content(rows(behind - 50, behind))
    assert (disk.most, bench.held) == (50, spans(behind - 50, behind))
    assert [gap.span for gap in bench.coverage.missing(BTC)] == [span(behind, 1000)]


async def test_full_files_take_as_many_candles_as_came_of_each(bench: Bench) -> None:
    for series in (BTC, ETH):
        (bench.directory / series.file_name).write_bytes(content(rows(0, 50)))
    async with opened_writer(bench, ETH, limit_to_50_entries=True) as writer:
        await writer.handle((confirmed(50), confirmed(51), confirmed(50, ETH)))
    assert bench.data == content(rows(2, 52))
    assert (bench.directory / ETH.file_name).read_bytes() == content(rows(1, 51))


@pytest.mark.parametrize("volume", ["23.75", "123.75"])  # of the same size, and of another
async def test_a_full_file_that_somebody_changed_takes_the_candle_all_the_same(bench: Bench, volume: str) -> None:
    path = bench.directory / BTC.file_name
    path.write_bytes(content(rows(0, 50)))
    async with opened_writer(bench, limit_to_50_entries=True) as writer:
        path.write_bytes(content(rows(0, 49), row(49, volume)))
        await writer.handle((confirmed(50),))
    assert bench.data == content(rows(1, 49), row(49, volume), row(50))
    assert bench.held == spans(1, 51)


@pytest.mark.parametrize(("call", "at"), [("write", f"replacing {BTC.file_name}"), ("sync", "syncing candles")])
async def test_it_is_told_where_the_disk_hangs_while_a_full_file_is_replaced(
    tmp_path: Path, call: str, at: str
) -> None:
    bench = Bench(tmp_path / "candles", disk=(disk := FreezingDisk()))
    bench.directory.mkdir()
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 50)))
    async with opened_writer(bench, limit_to_50_entries=True) as writer, trio.open_nursery() as nursery:
        disk.at = call
        nursery.start_soon(write_all, writer, (confirmed(50),))
        await trio.to_thread.run_sync(disk.frozen.wait)
        hangs_at = writer.work.at
        disk.thaw()
    assert hangs_at == at
    assert bench.data == content(rows(1, 51))


class Killed(BaseException):
    """Where a killed process would have stopped."""


@pytest.mark.parametrize("forgotten", [False, True])
async def test_killed_at_any_call_to_the_disk_no_file_is_too_long(tmp_path: Path, forgotten: bool) -> None:
    for calls in range(40):
        killed = Bench(tmp_path / str(calls), disk=BreakingDisk(calls, Killed))
        killed.directory.mkdir()
        killed.coverage.want(BTC, spans(0, 100))
        with (
            suppress(Killed, BaseExceptionGroup),
            open_ledger(THIS_DISK, killed.directory, "bybit", "linear") as ledger,
        ):
            writer = killed.writer(ledger, limit_to_50_entries=True)
            await writer.open_files([BTC])
            for event in _staged_pages():
                await writer.handle(event)
        if forgotten:
            (killed.directory / ".collector" / "ledger.db").unlink()
        store = Store(killed.directory, THIS_DISK)
        assert too_long(store, [BTC], {}) == []
        assert store.open(BTC, None)[0].held == spans(0, 0) or len(store.open(BTC, None)[0].held) == 1


@pytest.mark.parametrize(("length", "is_too_long"), [(50, False), (51, False), (101, True)])
def test_some_rows_more_than_the_ledger_knows_are_trimmed(tmp_path: Path, length: int, is_too_long: bool) -> None:
    store, kept = Store(tmp_path, THIS_DISK), content(rows(0, 50))
    store.path(BTC).write_bytes(content(rows(0, length)))
    checkpoints = {BTC: Checkpoint(len(kept), T0, T0 + 49 * MINUTE_MS, spans(0, 50))}
    assert bool(too_long(store, [BTC], checkpoints)) is is_too_long
    assert bool(too_long(store, [BTC], {})) is (length > 50)


async def test_too_many_staged_rows_are_written_beyond_the_hole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.pipeline.reorder_buffer._MAX_BYTES", 2000)
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        bench.coverage.ask(BTC, spans(0, 100))
        await writer.handle(answered(10, 20))
        assert bench.data == b""
        await writer.handle(answered(20, 60))
        assert bench.data == content(rows(10, 60))
        await writer.handle(answered(0, 10))
        assert bench.data == content(rows(0, 60))


async def test_what_the_stream_brings_does_not_wait_for_ever_for_a_hole_that_nobody_fills(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        bench.coverage.ask(BTC, spans(0, 10))
        await writer.handle((confirmed(10), confirmed(11)))
        assert bench.data == b""
        monkeypatch.setattr("collector.pipeline.reorder_buffer._MAX_WAIT_S", 0)
        await writer.handle((confirmed(12),))
        assert bench.data == content(rows(10, 13))
        await writer.handle(answered(0, 10))
        assert bench.data == content(rows(0, 13))


async def test_a_file_that_somebody_removes_is_begun_anew(bench: Bench) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        bench.coverage.ask(BTC, spans(0, 20))
        await writer.handle(answered(0, 10))
        (bench.directory / "BTCUSDT_1.csv").unlink()
        await writer.handle(answered(10, 20))
    assert bench.data == content(rows(10, 20))
    assert bench.held == spans(10, 20)
    assert bench.coverage.due(BTC, NOW) == spans(0, 10) | spans(20, 1000)


def _copied_aside(path: Path) -> None:
    aside = path.with_name("aside")
    shutil.copyfile(path, aside)
    aside.replace(path)


def _linked_elsewhere(path: Path) -> None:
    place = path.parent / "elsewhere"
    place.mkdir()
    shutil.move(path, place / path.name)
    path.symlink_to(place / path.name)


@pytest.mark.parametrize("change", [_copied_aside, _linked_elsewhere])
async def test_a_candle_goes_into_the_file_that_has_the_name_by_then(
    bench: Bench, change: Callable[[Path], None]
) -> None:
    disk = bench.disk = PatientDisk()
    async with opened_writer(bench) as writer:
        await writer.handle((confirmed(0),))
        for place in (1, 2):
            await writer.handle((confirmed(place),))
        assert disk.opened.count("BTCUSDT_1.csv") == 2  # to make it, and to keep it open
        change(bench.directory / "BTCUSDT_1.csv")
        await writer.handle((confirmed(3),))
    assert bench.data == content(rows(0, 4))


@pytest.mark.parametrize("failure", [None, OSError(errno.EIO, "Input/output error")])
async def test_no_file_stays_open_when_the_writer_ends(bench: Bench, failure: OSError | None) -> None:
    class Failing(PatientDisk):
        def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
            if failure and data == row(2).text:
                raise failure
            super().write(file, data, at)

    bench.disk = Failing()
    async with opened_writer(bench) as writer:
        before = open_descriptors()
        await writer.handle((confirmed(0),))
        await writer.handle((confirmed(1),))
        assert open_descriptors() == before + 1
        with pytest.raises(StorageError) if failure else nullcontext():
            await write_all(writer, (confirmed(2),))
        assert open_descriptors() == before


def _with_stranger(data: bytes) -> bytes:
    return data[:-40] + b"x" * 39 + b"\n"


def _with_spoiled_price(data: bytes) -> bytes:
    at = data.index(b",", data.index(b":00,") + 4)
    return data[: at - 1] + b"\xff" + data[at:]


@pytest.mark.parametrize("spoil", [_with_stranger, _with_spoiled_price, lambda data: b"y" * len(data)])
async def test_a_file_that_somebody_writes_over_in_place_is_noticed_when_rows_go_into_it(
    bench: Bench, spoil: Callable[[bytes], bytes]
) -> None:
    await bench.write(answered(0, 1000))
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        path = bench.directory / "BTCUSDT_1.csv"
        path.write_bytes(spoil(path.read_bytes()))
        await writer.handle(answered(0, 1000))
    assert bench.data == content(rows(0, 1000))
    assert bench.held == spans(0, 1000)


async def test_a_file_that_somebody_changes_again_and_again_ends_the_writer_with_a_sentence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = bench.directory / "BTCUSDT_1.csv", Store.open

    def meddled(store: Store, series: Series, checkpoint: Checkpoint | None) -> tuple[SeriesFile, Finding | None]:
        found = opened(store, series, checkpoint)
        with path.open("ab") as file:
            file.write(b"x")
        return found

    monkeypatch.setattr(Store, "open", meddled)
    with pytest.raises(StorageError, match="again and again"):
        await bench.write(answered(0, 10))


async def test_what_a_killed_process_wrote_is_synced_before_the_ledger_claims_it(bench: Bench) -> None:
    path = bench.directory / "BTCUSDT_1.csv"
    path.write_bytes(content(rows(0, 10)))
    disk = RecordingDisk()
    await Bench(bench.directory, disk=disk).write()
    assert disk.synced == [path, bench.directory]
    again = RecordingDisk()
    await Bench(bench.directory, disk=again).write()
    assert again.synced == []


async def test_what_cannot_have_closed_yet_is_taken_out_of_a_file(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.write(answered(0, 10))
    (bench.directory / "BTCUSDT_1.csv").write_bytes(content(rows(0, 10), row(10), row(12)))
    bench.now_ms = T0 + 10 * 60_000 + 30_000
    await bench.write()
    assert bench.data == content(rows(0, 10))
    assert bench.held == spans(0, 10)
    assert "to its last closed candle" in caplog.text
    bench.now_ms += 60_000
    await bench.write(answered(10, 11))
    assert bench.data == content(rows(0, 11))


async def test_what_the_ledger_vouches_for_had_closed_whatever_the_time_is_said_to_be(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    (bench.directory / "BTCUSDT_1.csv").write_bytes(content(rows(0, 8)))  # the mark does not fit it any more
    bench.now_ms = T0 + 5 * 60_000
    await bench.write()
    assert bench.data == content(rows(0, 8))


async def test_of_what_lies_behind_the_ledger_a_time_that_is_early_takes_the_rest(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    (bench.directory / "BTCUSDT_1.csv").write_bytes(content(rows(0, 12)))
    bench.now_ms = T0 + 5 * 60_000
    await bench.write()
    assert bench.data == content(rows(0, 10))


async def test_a_file_of_candles_that_have_not_closed_is_empty_then(bench: Bench) -> None:
    (bench.directory / "BTCUSDT_1.csv").write_bytes(content(rows(5, 10)))
    bench.now_ms = T0
    await bench.write()
    assert (bench.data, bench.held) == (content(), NOTHING)
    bench.now_ms = NOW
    await bench.write(answered(0, 3))
    assert bench.data == content(rows(0, 3))


async def test_the_next_start_reads_only_what_came_after_the_ledger(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    again = Bench(bench.directory)
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        checkpoints = ledger.load(again.coverage)
    assert checkpoints[BTC].held == spans(0, 10)
    assert checkpoints[BTC].size == len(bench.data)


async def opened(directory: Path, *, forget: bool = False) -> Bench:
    """A bench at its next start, without the ledger if that was lost."""
    if forget:
        shutil.rmtree(directory / OWN)
    again = Bench(directory)
    with open_ledger(THIS_DISK, directory, "bybit", "linear") as ledger:
        await again.writer(ledger).open_files([BTC])
    return again


async def test_what_only_the_stream_confirmed_is_unverified_at_the_next_start(bench: Bench) -> None:
    await bench.write(answered(0, 10), (confirmed(10), confirmed(11)))
    assert (await opened(bench.directory)).coverage[BTC].unverified == spans(10, 12)


async def test_rows_that_left_a_file_between_two_lives_are_not_called_never_fetched(bench: Bench) -> None:
    bench.coverage.want(BTC, spans(0, 10))
    await bench.write(answered(0, 10))
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 4), rows(5, 10)))
    (gap,) = (await opened(bench.directory)).coverage.missing(BTC)
    assert (gap.span, gap.why) == (span(4, 5), "stored before, and in the file no more")


async def test_rows_beyond_a_checkpoint_are_unverified(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 12)))
    assert (await opened(bench.directory)).coverage[BTC].unverified == spans(10, 12)


async def test_the_last_two_days_without_a_checkpoint_are_unverified(bench: Bench) -> None:
    await bench.write(answered(0, 3000))
    assert (await opened(bench.directory, forget=True)).coverage[BTC].unverified == spans(120, 3000)


async def test_rows_of_a_file_that_does_not_fit_its_checkpoint_are_unverified(bench: Bench) -> None:
    await bench.write(answered(0, 10))
    (bench.directory / BTC.file_name).write_bytes(content(rows(2, 9)))
    assert (await opened(bench.directory)).coverage[BTC].unverified == spans(2, 9)


async def test_an_answer_without_a_candle_leaves_it_unverified(bench: Bench) -> None:
    await bench.write((confirmed(0),), (confirmed(1),), answered(0, 2, rows(0, 1)))
    assert bench.coverage[BTC].unverified == spans(1, 2)


async def test_candles_that_wait_are_written_between_slices_of_syncing(tmp_path: Path) -> None:
    disk, every_series = SlowDisk(), [Series(f"A{number}USDT", BTC.timeframe) for number in range(20)]
    for series in every_series:  # left by a process that was killed
        (tmp_path / series.file_name).write_bytes(content(rows(0, 1)))
    slow = Bench(tmp_path, disk=disk, machine=Machine(clock=disk.clock))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        writer = slow.writer(ledger, flush_interval_s=1e-9)
        await writer.open_files(every_series)
        send, receive = trio.open_memory_channel[Event](2)
        with send:
            for place in (1, 2):
                send.send_nowait(tuple(confirmed(place, series) for series in every_series))
        await writer.write(receive)
    assert disk.done[:46] == "w" * 20 + "s" * 6 + "w" * 20  # five milliseconds for files, then the names of new ones
    assert disk.done[46:] == "s" * (20 + 3)  # every file once more, and the names of the other fifteen


async def test_candles_that_wait_put_a_sync_off_by_one_interval_and_no_longer(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    disk = SlowDisk()
    slow = Bench(tmp_path, disk=disk, machine=Machine(clock=disk.clock))
    with open_ledger(THIS_DISK, tmp_path, "bybit", "linear") as ledger:
        writer = slow.writer(ledger, flush_interval_s=1)
        await writer.open_files([BTC])
        await writer.handle((confirmed(0),))
        for seconds, busy, done in [(0.9, False, "w"), (1.0, True, "w"), (0.2, True, "wss")]:  # the file and its name
            mock_clock.jump(seconds)
            await writer._flusher.run_due(busy=busy)
            assert disk.done == done


class CountingQueue(FlushQueue):
    """Counts the series that were looked at for whether they are synced."""

    looked = 0

    def unsynced_among(self, every_series: Iterable[Series]) -> list[Series]:
        every_series = list(every_series)
        self.looked += len(every_series)
        return super().unsynced_among(every_series)


async def test_at_the_end_each_of_many_files_is_looked_at_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.pipeline.writer.FlushQueue", CountingQueue)
    disk, every_series = SlowDisk(), [Series(f"A{number}USDT", BTC.timeframe) for number in range(200)]
    slow = Bench(tmp_path, disk=disk, machine=Machine(clock=disk.clock))
    async with opened_writer(slow, *every_series) as writer:
        await write_all(writer, tuple(confirmed(0, series) for series in every_series))
        queue = writer._flusher._queue
    assert disk.done.count("s") > 200 + 30  # in more than so many slices: each syncs the names of the new ones
    assert isinstance(queue, CountingQueue)
    assert queue.looked <= 10 * 200


class HookedDisk(RecordingDisk):
    """A disk on which something else happens in the middle of a sync."""

    hook: Callable[[], None] = lambda: None

    def sync(self, file: int) -> None:
        super().sync(file)
        if len(self.synced) == 40:
            self.hook()


async def test_at_the_end_what_changes_meanwhile_is_synced_again(tmp_path: Path) -> None:
    disk, every_series = HookedDisk(), [Series(f"A{number}USDT", BTC.timeframe) for number in range(50)]
    bench = Bench(tmp_path, disk=disk, machine=Machine(clock=ClockByHand(), threads=InlineThreads()))
    async with opened_writer(bench, *every_series) as writer:

        def change() -> None:
            writer._files[every_series[0]].append(rows(1, 2))
            writer._files.mark_changed(every_series[0], NOTHING)

        disk.hook = change
        await write_all(writer, tuple(confirmed(0, series) for series in every_series))
    first = tmp_path / every_series[0].file_name
    assert [place for place, path in enumerate(disk.synced) if path == first] == [0, len(disk.synced) - 1]


@pytest.mark.parametrize("limited", [False, True])
async def test_a_file_that_may_not_be_written_costs_no_other_candle_of_its_moment(bench: Bench, limited: bool) -> None:
    for series in (BTC, ETH, SOL):
        (bench.directory / series.file_name).write_bytes(content(rows(0, 50)))
    bench.disk = RefusingDisk(ETH.file_name, errno.EACCES)
    async with opened_writer(bench, ETH, SOL, limit_to_50_entries=limited) as writer:
        moments = [confirmed(place, series) for place in (50, 51, 55) for series in (BTC, ETH, SOL)]
        await writer.handle(tuple(moments))
        await write_all(writer, (confirmed(52), confirmed(52, ETH)), answered(52, 56))
    assert list(bench.coverage.skipped) == [ETH]
    assert f"{ETH.file_name} may not be written" in bench.coverage.skipped[ETH]
    assert (bench.directory / ETH.file_name).read_bytes() == content(rows(0, 50))
    assert bench.data == content(rows(6 if limited else 0, 56))
    assert bench.saved.coverage[SOL].held == spans(3 if limited else 0, 52) | spans(55, 56)
    assert not [path.name for path in bench.directory.glob("*.new")]


@pytest.mark.parametrize(("limited", "beside"), [(False, False), (True, False), (True, True)])
async def test_a_file_that_may_not_be_written_is_left_alone_at_its_first_candle(
    bench: Bench, limited: bool, beside: bool
) -> None:
    for series in (BTC, ETH):
        (bench.directory / series.file_name).write_bytes(content(rows(0, 50)))
    bench.disk = RefusingDisk(ETH.file_name, errno.EACCES, beside=beside)
    async with opened_writer(bench, ETH, limit_to_50_entries=limited) as writer:
        await writer.handle((confirmed(50, ETH), confirmed(50)))
        assert list(bench.coverage.skipped) == [ETH]
    assert bench.data == content(rows(1 if limited else 0, 51))


@pytest.mark.parametrize("event", [answered(10, 20), answered(0, 5), (confirmed(10),)])
async def test_a_series_whose_file_may_not_be_written_is_collected_no_longer(
    bench: Bench, event: Event, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.directory / BTC.file_name).write_bytes(content(rows(5, 10)))
    bench.disk = RefusingDisk(BTC.file_name, errno.EPERM)
    await bench.write(event, answered(30, 40), (confirmed(10), confirmed(11)))
    assert bench.data == content(rows(5, 10))
    assert (bench.coverage.due(BTC, NOW), bench.held) == (NOTHING, NOTHING)
    assert caplog.text.count("file left alone, its series is not collected") == 1


@pytest.mark.parametrize("at", ["opening", "event", "end"])
async def test_a_file_into_which_nothing_may_be_put_back_is_left_alone(bench: Bench, at: str) -> None:
    spoil(bench, rows(5, 10), rows(0, 5).text)
    bench.disk = RefusingDisk(BTC.file_name, errno.EPERM)
    if at == "opening":
        bench.coverage[BTC].set_listing_date(T0, T0 + 5 * MINUTE_MS, NOW)
    async with opened_writer(bench) as writer:
        assert (BTC in bench.coverage.skipped) == (at == "opening")
        bench.coverage[BTC].set_listing_date(T0, T0 + 5 * MINUTE_MS, NOW)
        await write_all(writer, *([Lacking(BTC, ())] if at == "event" else []))
    assert "may not be written" in bench.coverage.skipped[BTC]
    assert bench.data == content(rows(5, 10))


@pytest.mark.parametrize("disk", [FullDisk(1500), FullDisk(1500, errno.EIO)])
async def test_a_disk_that_refuses_ends_the_writer_with_intact_files(bench: Bench, disk: Disk) -> None:
    bench.disk = disk
    with pytest.raises(StorageError):
        await bench.write(answered(0, 10), answered(10, 40))
    assert bench.data == content(rows(0, 10))
    assert bench.held == spans(0, 10)


async def test_what_a_killed_process_left_is_synced_before_it_is_in_the_ledger(tmp_path: Path) -> None:
    bench = Bench(tmp_path, disk=RecordingDisk())
    path = tmp_path / "BTCUSDT_1.csv"
    await bench.write(answered(0, 2))
    path.write_bytes(content(rows(0, 3)))
    bench.disk = left = RecordingDisk()
    await bench.write()
    assert left.synced == [path, tmp_path]
    bench.disk = vouched_for = RecordingDisk()
    await bench.write()
    assert vouched_for.synced == []


async def test_what_could_not_be_synced_is_not_in_the_ledger(bench: Bench) -> None:
    bench.disk = DeafDisk()
    with pytest.raises(StorageError):
        await bench.write(answered(0, 10))
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        assert ledger.load(CoverageIndex()) == {}


async def test_without_a_thread_to_start_all_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", none_left)
    await bench.write(answered(0, 10), answered(10, 20))
    assert bench.data == content(rows(0, 20))


async def test_an_error_of_the_work_itself_is_no_lack_of_threads() -> None:
    def broken() -> None:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        await THIS_MACHINE.threads.run(broken)


async def test_what_hangs_is_named_while_others_wait_for_the_disk(bench: Bench) -> None:
    hung, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        go_on.wait(10)

    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer._files.thread.run, "syncing", bench.directory / "first", hang)
            await trio.to_thread.run_sync(hung.wait)
            before = writer.work
            nursery.start_soon(writer._files.thread.run, "opening", bench.directory / "second", lambda: None)
            await trio.testing.wait_all_tasks_blocked()
            assert (before.waiting, before.at, writer.work) == (1, "syncing first", before)
            go_on.set()
        assert writer.work.at == ""


async def test_what_was_dealt_with_is_counted_by_kind(bench: Bench) -> None:
    await bench.write(answered(0, 10), gave_up(10, 12), (confirmed(12), confirmed(13), confirmed(0, ETH)))
    counters = bench.counters
    assert (counters.landed, counters.taken) == (2, 3)
    assert (counters.rows, counters.staged, counters.rewritten) == (12, 0, 0)
    assert (counters.series, counters.reached_ms) == (BTC, T0 + 14 * MINUTE_MS)
    assert counters.flushes == 1
    assert bench.data == content(rows(0, 10), rows(12, 14))


async def test_rows_that_waited_are_counted_without_the_ones_that_came_last(bench: Bench) -> None:
    await bench.write(answered(20, 30), answered(10, 20), answered(0, 10))
    assert (bench.counters.rows, bench.counters.staged) == (30, 20)
    assert bench.counters.reached_ms == T0 + 30 * MINUTE_MS


async def test_rows_that_only_gathered_until_the_end_did_not_wait_for_others(bench: Bench) -> None:
    await bench.write(answered(0, 10), answered(10, 20), flying=spans(20, 30))
    assert (bench.counters.rows, bench.counters.staged) == (20, 0)


async def test_what_is_left_alone_is_taken_back_when_it_comes(bench: Bench) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        bench.coverage.skip(BTC, "somebody else's")
        bench.coverage.ask(BTC, spans(0, 10))
        await writer.handle(answered(0, 10))
    assert bench.coverage.idle
    assert (bench.data, bench.held, bench.counters.landed) == (b"", NOTHING, 1)


async def test_a_file_that_becomes_no_file_is_left_alone_and_the_others_go_on(bench: Bench) -> None:
    (bench.directory / "BTCUSDT_1.csv").mkdir()
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC, ETH])
        send, receive = trio.open_memory_channel[Event](2)
        with send:
            send.send_nowait((confirmed(0), confirmed(0, ETH)))
            send.send_nowait(answered(0, 10))
        await writer.write(receive)
    assert "is no file" in bench.coverage.skipped[BTC]
    assert (bench.directory / ETH.file_name).read_bytes() == content(rows(0, 1))
    assert bench.counters.taken == 2


async def test_a_candle_that_is_confirmed_twice_is_written_once_and_does_not_wait(bench: Bench) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        for _ in range(2):
            await writer.handle((confirmed(0),))
            assert bench.data == content(rows(0, 1))
            assert not writer._buffer
    assert (bench.counters.rows, bench.counters.rewritten) == (1, 0)


async def test_what_waits_is_counted_until_it_is_done(bench: Bench, mock_clock: MockClock) -> None:
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger, flush_interval_s=2.0)
        assert writer.work.waiting == 0
        await writer.open_files([BTC])
        assert writer.work.waiting == 0
        done = writer.work.done
        assert done > 0
        send, receive = trio.open_memory_channel[Event](5)
        writer._channel = receive
        for place in range(3):
            send.send_nowait((confirmed(place),))
        assert writer.work.waiting == 3
        await writer._take_one(receive)
        assert (writer.work.waiting, writer.work.at) == (2, "")
        assert writer.work.done > done
        mock_clock.jump(2.1)
        assert writer.work.waiting == 3  # it is time to sync
        mock_clock.jump(3)
        assert writer.work.waiting == 4  # and to save
        receive.close()


async def test_what_was_taken_out_of_a_file_is_asked_for_and_what_is_not_had_is_put_back(bench: Bench) -> None:
    path = bench.directory / "BTCUSDT_1.csv"
    path.write_bytes(content(rows(0, 5), rows(8, 12)))
    (bench.directory / "BTCUSDT_1.csv.cut-1.pending").write_bytes(rows(5, 8).text)
    bench.coverage.want(BTC, NOTHING)
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        await writer.open_files([BTC])
        assert bench.coverage[BTC].wanted == spans(5, 8)
        await writer.handle(answered(5, 8, rows(5, 7)))
        assert bench.data == content(rows(0, 7), rows(8, 12))
        await writer.handle(answered(7, 8, Rows()))
        assert bench.data == content(rows(0, 12))
    assert bench.held == spans(0, 12)
    assert {each.name for each in bench.directory.iterdir() if each.is_file()} == {path.name, f"{path.name}.cut-1"}


async def test_under_a_limit_what_was_taken_out_is_not_wanted_besides(bench: Bench) -> None:
    (bench.directory / "BTCUSDT_1.csv").write_bytes(content(rows(0, 5)))
    (bench.directory / "BTCUSDT_1.csv.cut-1.pending").write_bytes(rows(5, 8).text)
    bench.coverage.want(BTC, NOTHING)
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        await bench.writer(ledger, limit_to_50_entries=True).open_files([BTC])
    assert bench.coverage[BTC].wanted == NOTHING


async def test_one_call_to_the_disk_is_made_at_a_time(bench: Bench, autojump_clock: MockClock) -> None:
    bench.machine = Machine(threads=(threads := InlineThreads()))
    async with opened_writer(bench) as writer:
        threads.slow_s, began_s = 1.0, trio.current_time()
        async with trio.open_nursery() as nursery:
            for name in ("first", "second"):
                nursery.start_soon(writer._files.thread.run, "syncing", bench.directory / name, lambda: None)
        assert trio.current_time() - began_s == pytest.approx(2)


# Staging


async def test_answers_behind_several_holes_wait_for_the_first(
    autojump_clock: trio.testing.MockClock, bench: Bench
) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 60))
        for first in (10, 30, 50):
            await writer.handle(answered(first, first + 10))
        for first in (0, 20, 40):
            await trio.sleep(1)
            await writer.handle(answered(first, first + 10))
            assert bench.data == content(rows(0, first + 20))
        assert not writer._buffer
    assert bench.counters.rewritten == 0


async def test_pages_that_follow_one_another_are_written_together(
    autojump_clock: trio.testing.MockClock, bench: Bench
) -> None:
    bench.machine = Machine(threads=(threads := InlineThreads()))
    async with opened_writer(bench, flush_interval_s=60) as writer, trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[Event](10)
        nursery.start_soon(writer.write, receive)
        bench.coverage.ask(BTC, spans(0, 60))
        with send:
            for first in (0, 10, 20):
                await send.send(answered(first, first + 10))
            await trio.sleep(0.9)
            assert bench.data == content(rows(0, 10))
            calls = threads.calls
            await trio.sleep(0.2)
            assert bench.data == content(rows(0, 30))
            assert threads.calls == calls + 1
        assert (bench.counters.rows, bench.counters.staged) == (30, 0)


async def test_the_end_of_a_file_does_not_wait_for_its_history(bench: Bench) -> None:
    await bench.write(answered(500, 600))
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 100) | spans(600, 610))
        await writer.handle(answered(600, 610))
        assert bench.data == content(rows(500, 610))


async def test_a_candle_releases_what_waits_behind_it(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 10))
        await writer.handle(answered(0, 1))
        await writer.handle(answered(2, 10))
        await writer.handle((confirmed(1),))
        assert bench.data == content(rows(0, 10))


async def test_a_failure_releases_what_waits_behind_it(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 20))
        await writer.handle(answered(10, 20))
        await writer.handle(gave_up(0, 10))
        assert bench.data == content(rows(10, 20))


async def test_rows_wait_two_minutes_whatever_comes_meanwhile(bench: Bench, mock_clock: MockClock) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 10))
        for place, seconds in ((10, 0), (11, 100), (12, 30)):
            assert bench.data == b""
            mock_clock.jump(seconds)
            await writer.handle((confirmed(place),))
        assert bench.data == content(rows(10, 13))


async def test_the_rest_goes_in_on_both_sides_of_a_file(bench: Bench) -> None:
    await bench.write(answered(10, 20))
    await bench.write(answered(5, 10), answered(25, 30), flying=spans(0, 5) | spans(20, 25))
    assert bench.data == content(rows(5, 20), rows(25, 30))


async def test_a_queue_of_staged_answers_lets_others_run(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 20))
        send, receive = trio.open_memory_channel[Event](1)
        with send, receive:
            send.send_nowait(answered(10, 20))
            done = writer.work.done
            with trio.testing.assert_checkpoints():
                await writer._take_one(receive)
            assert writer.work.done > done


# What the stream brings


async def test_a_batch_takes_one_call_to_the_disk(bench: Bench) -> None:
    bench.machine = Machine(threads=(threads := InlineThreads()))
    async with opened_writer(bench, ETH) as writer:
        await writer.handle((confirmed(0), confirmed(0, ETH)))
        calls = threads.calls
        for _ in range(2):  # the exchange may confirm twice
            await writer.handle((confirmed(1), confirmed(1, ETH)))
        assert threads.calls - calls == 2
    assert bench.data == content(rows(0, 2))


async def test_a_whole_market_is_written_in_parts(bench: Bench) -> None:
    bench.machine = Machine(threads=(threads := InlineThreads()))
    async with opened_writer(bench) as writer:
        await writer.handle((confirmed(0),))
        calls = threads.calls
        await writer.handle(tuple(map(confirmed, range(1, 600))))
        assert threads.calls - calls == 3
    assert bench.data == content(rows(0, 600))


async def test_appended_candles_are_counted(bench: Bench) -> None:
    await bench.write(answered(0, 10), (confirmed(10),))
    assert (bench.counters.rows, bench.counters.reached_ms) == (11, T0 + 11 * MINUTE_MS)


async def test_candles_of_a_series_without_a_file_are_dropped(bench: Bench) -> None:
    await bench.write((confirmed(0, ETH),))
    assert bench.counters.taken == 1
    assert not (bench.directory / ETH.file_name).exists()


async def test_a_candle_for_a_removed_file_is_kept(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.want(BTC, spans(10, 11))
        await writer.handle((confirmed(9),))
        (bench.directory / BTC.file_name).unlink()
        await writer.handle((confirmed(10),))
    assert bench.data == content(row(10))


async def test_a_candle_that_waited_is_unverified(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 10))
        await writer.handle((confirmed(10),))
        await writer.handle(answered(0, 10))
    assert bench.coverage[BTC].unverified == spans(10, 11)


async def test_a_candle_older_than_the_limit_is_not_unverified(bench: Bench) -> None:
    async with opened_writer(bench, limit_to_50_entries=True) as writer:
        bench.coverage.want(BTC, spans(10, 60))
        bench.coverage.ask(BTC, spans(10, 60))
        await writer.handle(answered(10, 60))
        await writer.handle((confirmed(5),))
    assert bench.data == content(rows(10, 60))
    assert bench.coverage[BTC].unverified == NOTHING


# Syncing and saving


async def pass_s(clock: MockClock, seconds: float) -> None:
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_files_are_synced_then_saved_while_nothing_comes(bench: Bench, mock_clock: MockClock) -> None:
    await bench.write((confirmed(0),))
    bench.disk, bench.machine = (disk := RecordingDisk()), Machine(threads=InlineThreads())
    send, receive = trio.open_memory_channel[Event](1)
    async with opened_writer(bench, flush_interval_s=1) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, receive)
        with send:
            await pass_s(mock_clock, 5)  # what was opened is saved
            send.send_nowait((confirmed(1),))
            await pass_s(mock_clock, 1)
            assert disk.synced == [bench.directory / BTC.file_name]
            assert bench.saved.coverage[BTC].held == spans(0, 1)
            await pass_s(mock_clock, 4)
            assert bench.saved.coverage[BTC].held == spans(0, 2)


async def test_what_others_have_remembered_is_saved_while_nothing_comes(bench: Bench, mock_clock: MockClock) -> None:
    bench.machine = Machine(threads=InlineThreads())
    send, receive = trio.open_memory_channel[Event](1)
    async with opened_writer(bench) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, receive)
        with send:
            await pass_s(mock_clock, 3600)  # everything was done long ago
            bench.coverage.want(BTC, spans(0, 5))
            writer.mark_unsaved([BTC])
            await pass_s(mock_clock, 5)
            assert bench.saved.coverage[BTC].wanted == spans(0, 5)
            assert writer.work.waiting == 0


async def test_a_sync_is_due_after_the_interval(bench: Bench, mock_clock: MockClock) -> None:
    bench.disk = disk = RecordingDisk()
    async with opened_writer(bench, flush_interval_s=1) as writer:
        await writer.handle((confirmed(0),))
        for seconds, synced in ((0.9, 0), (0.2, 2)):  # the file and its name
            mock_clock.jump(seconds)
            await writer._flusher.run_due(busy=False)
            assert len(disk.synced) == synced


async def test_a_file_that_goes_on_is_synced_in_time(bench: Bench, mock_clock: MockClock) -> None:
    bench.machine = Machine(threads=InlineThreads())
    mock_clock.jump(10)
    async with opened_writer(bench, ETH, flush_interval_s=1) as writer:
        await writer.handle((confirmed(0),))
        mock_clock.jump(0.5)
        await writer.handle((confirmed(1), confirmed(0, ETH)))
        mock_clock.jump(0.5)
        await writer._flusher.run_due(busy=False)
        assert writer._flusher._ledger.journal.size  # the rows of both
        assert (bench.counters.flush_s, bench.counters.flush_wait_s) == pytest.approx((0.0, 1.0))


@attrs.define
class LateDisk(RecordingDisk):
    """A disk on which a write takes more than a second, by trio's clock."""

    clock: MockClock
    written: list[int] = attrs.field(factory=list)
    synced: list[Path] = attrs.field(factory=list)

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        super().write(file, data, at)
        self.clock.jump(1.1)
        self.written.append(len(self.synced))


async def test_files_are_synced_after_the_last_in_the_queue(bench: Bench, mock_clock: MockClock) -> None:
    bench.disk, bench.machine = (disk := LateDisk(mock_clock)), Machine(threads=InlineThreads())
    await bench.write((confirmed(0),), (confirmed(1),), (confirmed(2),), flush_interval_s=1)
    assert disk.written == [0, 0, 0]


async def test_each_part_of_a_copy_is_progress(bench: Bench) -> None:
    await bench.write(answered(10, 20))
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 10))
        done = writer.work.done
        await writer.handle(answered(0, 10))
        assert writer.work.done > done


async def test_files_are_synced_before_they_are_saved(bench: Bench, mock_clock: MockClock) -> None:
    bench.disk = disk = RecordingDisk()
    async with opened_writer(bench, flush_interval_s=60) as writer:
        await writer.handle((confirmed(0),))
        mock_clock.jump(5)
        await writer._flusher.run_due(busy=False)
        assert disk.synced == [bench.directory / BTC.file_name, bench.directory]
    assert bench.saved.coverage[BTC].held == spans(0, 1)


@pytest.mark.parametrize("limit", [False, True])
async def test_without_fsync_the_limit_syncs_names_alone(bench: Bench, limit: bool) -> None:
    bench.disk = disk = RecordingDisk()
    await bench.write(answered(0, 10), fsync=False, limit_to_50_entries=limit)
    assert disk.synced == [bench.directory] * limit


async def test_what_waited_to_the_end_is_saved(bench: Bench, mock_clock: MockClock) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 20))
        await writer.handle(answered(10, 20))
        mock_clock.jump(5)
        await writer._flusher.run_due(busy=False)
        await write_all(writer)
    assert bench.saved.coverage[BTC].held == spans(10, 20)


async def test_a_failure_is_saved(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        await write_all(writer)
        bench.coverage.ask(BTC, spans(0, 10))
        await write_all(writer, gave_up(0, 10))
    assert [gap.why for gap in bench.saved.coverage[BTC].gaps] == ["HTTP 502"]


async def test_what_is_to_be_remembered_is_saved(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        await write_all(writer)
        bench.coverage.want(BTC, spans(0, 5))
        writer.mark_unsaved([BTC])
        await write_all(writer)
    assert bench.saved.coverage[BTC].wanted == spans(0, 5)


async def test_another_flush_interval_is_followed(bench: Bench, mock_clock: MockClock) -> None:
    bench.disk = disk = RecordingDisk()
    async with opened_writer(bench, flush_interval_s=60) as writer:
        await writer.handle((confirmed(0),))
        writer.apply(Settings(flush_interval_s=1))
        mock_clock.jump(1)
        await writer._flusher.run_due(busy=False)
        assert disk.synced


class FreezingAt(FreezingDisk):
    """Freezes at calls of one kind for one file or directory."""

    def __init__(self, at: str, path: Path) -> None:
        super().__init__(at)
        self.path = path

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        if self._is_it(file):
            self.reach("write")
        Disk.write(self, file, data, at)

    def sync(self, file: int) -> None:
        if self._is_it(file):
            self.reach("sync")
        Disk.sync(self, file)

    def _is_it(self, file: int) -> bool:
        return Path(f"/proc/self/fd/{file}").readlink() == self.path


@pytest.mark.parametrize(
    ("call", "name", "at", "waiting"),
    [
        ("write", ETH.file_name, f"appending to {ETH.file_name}", 2),
        ("sync", ETH.file_name, f"syncing {ETH.file_name}", 1),
        ("sync", "", "syncing candles", 1),
    ],
)
async def test_the_file_at_which_the_disk_hangs_is_named(
    tmp_path: Path, call: str, name: str, at: str, waiting: int
) -> None:
    directory = tmp_path / "candles"
    directory.mkdir()
    for series in (BTC, ETH):
        (directory / series.file_name).write_bytes(content(row(0)))
    bench = Bench(directory, disk=(disk := FreezingAt(call, directory / name)))
    async with opened_writer(bench, ETH, flush_interval_s=60) as writer, trio.open_nursery() as nursery:
        batches: list[Event] = [(confirmed(place), confirmed(place, ETH)) for place in (1, 2)]
        nursery.start_soon(write_all, writer, *batches)
        await trio.to_thread.run_sync(disk.frozen.wait)
        work = writer.work
        disk.thaw()
    assert (work.at, work.waiting) == (at, waiting)


# Opening


def spoil(bench: Bench, held: Rows, *pieces: bytes) -> None:
    """Leaves a file from which pieces were taken out."""
    path = bench.directory / BTC.file_name
    path.write_bytes(content(held))
    for number, piece in enumerate(pieces, 1):
        path.with_name(f"{path.name}.cut-{number}.pending").write_bytes(piece)


async def test_a_file_is_opened_again_once_the_disk_recovers(bench: Bench) -> None:
    spoil(bench, joined([rows(0, 5), rows(8, 12)]), rows(5, 8).text)
    for _ in range(2):  # the exchange does not have them
        bench.coverage.answer(BTC, span(5, 8), NOTHING, NOW)
    bench.disk = disk = BreakingDisk(0, partial(OSError, errno.EIO, "broken"))
    with open_ledger(THIS_DISK, bench.directory, "bybit", "linear") as ledger:
        writer = bench.writer(ledger)
        with pytest.raises(StorageError):
            await writer.open_files([BTC, ETH])
        assert writer.work.waiting == 0
        await write_all(writer)
        disk.left = 100
        await writer.open_files([BTC, ETH])
    assert bench.data == content(rows(0, 12))


async def test_what_is_open_is_not_opened_again(bench: Bench) -> None:
    bench.machine = Machine(threads=(threads := InlineThreads()))
    async with opened_writer(bench) as writer:
        calls = threads.calls
        await writer.open_files([BTC])
        assert threads.calls == calls


async def test_the_newest_close_of_any_file_has_passed(bench: Bench) -> None:
    bench.machine = Machine(threads=InlineThreads())
    async with opened_writer(bench, ETH) as writer:
        bench.coverage.ask(BTC, spans(0, 3))
        await write_all(writer, answered(0, 3), tuple(confirmed(place, ETH) for place in range(10)))
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 8)))
    bench.now_ms = T0 + 5 * MINUTE_MS
    await bench.write()
    assert bench.data == content(rows(0, 8))


async def test_a_file_that_the_ledger_knows_needs_no_exchange(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.write(answered(0, 10))
    bench.now_ms = 0
    await bench.write()
    assert bench.held == spans(0, 10)
    assert "file mended" not in caplog.text


async def test_a_file_up_to_now_is_not_mended(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 10)))
    bench.now_ms = T0 + 10 * MINUTE_MS
    await bench.write()
    assert "file mended" not in caplog.text


async def test_a_file_that_was_mended_is_reported_and_unverified(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, 3000)) + b"spoiled\n" + rows(10, 20).text)
    await bench.write()
    assert "file mended" in caplog.text
    assert bench.coverage[BTC].unverified == spans(10, 20) | spans(120, 3000)


async def test_a_file_that_changed_is_read_as_a_whole(bench: Bench) -> None:
    await bench.write(answered(0, 1000))
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 1010))
        await writer.handle(answered(1000, 1010))
        (bench.directory / BTC.file_name).write_bytes(bench.data.replace(row(500).text[:13], b"x" * 13))
        await writer.handle(answered(0, 1000))
    assert bench.data == content(rows(0, 1000))


@pytest.mark.parametrize("meanwhile", [(), (confirmed(10),)])
async def test_a_file_that_becomes_foreign_is_left_alone(
    autojump_clock: trio.testing.MockClock, bench: Bench, meanwhile: tuple[Confirmed, ...]
) -> None:
    path = bench.directory / BTC.file_name
    async with opened_writer(bench, ETH) as writer:
        bench.coverage.ask(BTC, spans(0, 40))
        await write_all(writer, answered(0, 10))
        await writer.handle(meanwhile)
        await writer.handle(answered(30, 40))
        path.write_bytes(b"1700006400;1.5;2.5;1.5;2.5\n" * 20)
        await trio.sleep(1)
        await writer.handle(answered(10, 20))
        assert "cannot be read" in bench.coverage.skipped[BTC]
        assert bench.held == NOTHING
        await write_all(writer, (confirmed(20), confirmed(0, ETH)))
    assert path.read_bytes() == b"1700006400;1.5;2.5;1.5;2.5\n" * 20
    assert [*bench.saved.checkpoints] == [ETH]


# Pieces


async def test_each_piece_is_put_back_once_it_is_settled(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    spoil(bench, joined([rows(0, 5), rows(8, 10)]), rows(5, 8).text, rows(10, 12).text)
    async with opened_writer(bench) as writer:
        assert "put back" not in caplog.text
        for _ in range(2):
            bench.coverage.ask(BTC, spans(5, 8))
            await writer.handle(answered(5, 8, Rows()))
        assert bench.data == content(rows(0, 10))


async def test_unsound_rows_of_a_piece_are_wanted(bench: Bench) -> None:
    spoil(bench, rows(0, 5), b"spoiled\n" + rows(7, 9).text)
    bench.coverage.want(BTC, NOTHING)
    async with opened_writer(bench):
        assert bench.coverage[BTC].wanted == spans(5, 9)


async def test_no_more_than_a_piece_held_is_wanted(bench: Bench) -> None:
    spoil(bench, joined([rows(0, 3), rows(4, 5)]), rows(5, 8).text)
    bench.coverage.want(BTC, NOTHING)
    async with opened_writer(bench):
        assert bench.coverage[BTC].wanted == spans(5, 8)


async def test_rows_before_the_listing_are_put_back_at_the_end(bench: Bench) -> None:
    spoil(bench, rows(5, 10), rows(0, 5).text)
    async with opened_writer(bench) as writer:
        await write_all(writer)
        bench.coverage[BTC].set_listing_date(T0, T0 + 5 * MINUTE_MS, NOW)
        await write_all(writer)
    assert bench.data == content(rows(0, 10))
    assert bench.saved.coverage[BTC].held == spans(0, 10)


async def test_nothing_is_put_back_into_a_file_that_changed(bench: Bench) -> None:
    spoil(bench, rows(5, 10), rows(0, 5).text)
    async with opened_writer(bench) as writer:
        (bench.directory / BTC.file_name).write_bytes(content(rows(5, 11)))
        bench.coverage[BTC].set_listing_date(T0, T0 + 5 * MINUTE_MS, NOW)
        await write_all(writer)
    assert bench.data == content(rows(5, 11))


# The limit


@pytest.mark.parametrize(("length", "renamed"), [(50, []), (51, ["candles"])])
async def test_a_file_longer_than_the_limit_is_trimmed(tmp_path: Path, length: int, renamed: list[str]) -> None:
    directory = tmp_path / "candles"
    directory.mkdir()
    bench = Bench(directory, disk=(disk := RecordingDisk()))
    (directory / BTC.file_name).write_bytes(content(rows(0, length)))
    async with opened_writer(bench, limit_to_50_entries=True):
        assert bench.data == content(rows(length - 50, length))
        assert [path.name for path in disk.synced if path == directory] == renamed


@pytest.mark.parametrize(("length", "first"), [(50, 1), (51, 0)])
async def test_a_file_that_is_spared_grows(bench: Bench, length: int, first: int) -> None:
    (bench.directory / BTC.file_name).write_bytes(content(rows(0, length)))
    await bench.write((confirmed(length),), limit_to_50_entries=True, spares_long=True)
    assert bench.data == content(rows(first, length + 1))


async def test_under_the_limit_a_hole_among_the_newest_is_missing(bench: Bench) -> None:
    async with opened_writer(bench, limit_to_50_entries=True) as writer:
        bench.coverage.want(BTC, spans(0, 60))
        bench.coverage.ask(BTC, spans(0, 60))
        await writer.handle(answered(0, 60, joined([rows(0, 20), rows(25, 60)])))
    assert bench.held == spans(5, 20) | spans(25, 60)
    assert bench.coverage[BTC].wanted == spans(5, 60)


async def test_rows_count_by_where_they_came_from_first(bench: Bench) -> None:
    live = tuple(map(confirmed, (3, 4, 9)))
    # 3 and 4 follow the history, 9 waits for what lies before it, and REST contains 4 and 9 once more.
    await bench.write(answered(0, 3), live, answered(4, 9), answered(9, 12))
    assert bench.held == spans(0, 12)
    assert (bench.counters.rows, bench.counters.streamed, bench.counters.history) == (12, 3, 9)


def changed(bench: Bench) -> Spans:
    """What a mirror is told to copy since the last time."""
    due = bench.changes.take(9)
    return due[BTC].spans if BTC in due else NOTHING


async def test_a_mirror_is_told_what_changed_and_nothing_of_what_was_confirmed(bench: Bench) -> None:
    bench.changes.follow((), 0.0)
    await bench.write(answered(0, 10), (confirmed(10),))
    assert changed(bench) == spans(0, 11)
    assert bench.changes.take_unsure() is not None  # the file was opened
    await bench.write(answered(5, 11))
    assert changed(bench) == NOTHING
    await bench.write(answered(4, 5, row(4, volume="9.000")), answered(20, 21))
    assert changed(bench) == spans(4, 5) | spans(20, 21)
    await bench.write(answered(11, 20))
    assert changed(bench) == spans(11, 20)


async def test_a_mirror_is_told_what_has_been_trimmed(bench: Bench) -> None:
    bench.changes.follow((), 0.0)
    await bench.write(answered(0, 48), limit_to_50_entries=True)
    changed(bench)
    await bench.write(answered(48, 53), limit_to_50_entries=True)
    assert changed(bench) == Spans.between(0, T0 + 3 * MINUTE_MS) | spans(48, 53)


async def test_a_mirror_is_told_nothing_that_a_power_loss_would_take(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.changes.follow((), 0.0)
    async with opened_writer(bench, flush_interval_s=60) as writer:
        await writer.handle((confirmed(0),))
        assert changed(bench) == NOTHING
        await writer._flusher.save_all()
    assert changed(bench) == spans(0, 1)


async def test_rows_of_the_shared_table_are_held_and_partly_unverified_and_not_copied_back(bench: Bench) -> None:
    bench.changes.follow((), 0)
    taken = Hydrated(BTC, span(0, 100), rows(0, 100), spans(90, 100))
    await bench.write(answered(110, 120), taken, answered(100, 110), (confirmed(120),))
    assert bench.data == content(rows(0, 121))
    assert bench.coverage.idle
    assert bench.coverage[BTC].unverified == spans(90, 100) | spans(120, 121)
    assert [due.spans for due in bench.changes.take(9).values()] == [spans(100, 121)]
    assert bench.counters.streamed == 1


async def test_a_row_of_the_shared_table_that_the_stream_has_too_is_copied(bench: Bench) -> None:
    bench.changes.follow((), 0)
    taken = Hydrated(BTC, span(0, 10), rows(0, 10), spans(0, 10))
    other = Confirmed(BTC, span(9, 10), row(9, volume="9"), NOW)
    await bench.write((other,), taken, answered(10, 20))
    due = [due.spans for due in bench.changes.take(9).values()]
    assert spans(9, 20) & due[0] == spans(9, 20)


async def test_rows_behind_what_the_exchange_is_known_to_lack_wait_no_longer(
    autojump_clock: trio.testing.MockClock, bench: Bench
) -> None:
    absent = Gap(span(10, 20), State.ABSENT, 3, NOW, "why", NOW - 5)
    async with opened_writer(bench) as writer:
        bench.coverage.want(BTC, spans(0, 40))
        bench.coverage.ask(BTC, spans(0, 40))
        await writer.handle(Hydrated(BTC, span(0, 10), rows(0, 10), NOTHING))
        await writer.handle(Hydrated(BTC, span(20, 30), rows(20, 30), NOTHING))
        await trio.sleep(1)
        assert bench.held == spans(0, 10)
        await writer.handle(Lacking(BTC, (absent,)))
        assert bench.held == spans(0, 10) | spans(20, 30)
        assert bench.coverage[BTC].in_flight == spans(30, 40)
        await writer._flusher.save_all()
    assert bench.saved.coverage[BTC].gaps == (absent,)


async def test_what_the_exchange_lacks_of_a_file_that_is_left_alone_is_in_flight_no_more(bench: Bench) -> None:
    async with opened_writer(bench) as writer:
        bench.coverage.ask(BTC, spans(0, 40))
        bench.coverage.skipped[BTC] = "it is foreign"
        await writer.handle(Lacking(BTC, (Gap(span(10, 20), State.ABSENT, 3, NOW, "why"),)))
        assert bench.coverage.idle
