"""Rows of many files: one sync makes them durable; the files are synced together later, and the ledger waits."""

import errno
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from collector.core.candle import Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import StorageError
from collector.core.events import Answered, Confirmed
from collector.core.spans import NOTHING, Spans
from collector.integrity.repair import OwnedDirectory
from collector.machine import Machine
from collector.machine.disk import Disk
from collector.machine.own_files import OWN
from collector.pipeline.writer import Writer, build_writer
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.journal import FILE
from collector.storage.ledger import open_ledger
from collector.storage.ledger_reading import read_ledger
from tests.simulation.machine import InlineThreads
from tests.support.candles import MINUTE, T0, content, row, rows, span, spans

HALF_AN_HOUR_S = 1800
MANY = [Series(f"A{number}USDT", MINUTE) for number in range(40)]
TWO = MANY[:2]


@attrs.define
class CountingDisk(Disk):
    """Counts syncs and what is written."""

    counts: Counter[str] = attrs.field(factory=Counter)
    written: int = 0
    whole: bool = True
    fails: bool = False
    refuses: int = 0  # so many of the next writes

    def sync(self, file: int) -> None:
        self.counts["sync"] += 1
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync_whole(self, file: int) -> bool:
        if self.whole:
            self.counts["whole"] += 1
            if self.fails:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.whole

    def write(self, file: int, data: bytes | memoryview, at: int | None = None) -> None:
        if self.refuses:
            self.refuses -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.written += len(data)
        super().write(file, data, at)


@attrs.define
class Running:
    """A writer at work, and what it works on."""

    directory: Path
    disk: CountingDisk
    writer: Writer
    coverage: CoverageIndex

    @property
    def journal(self) -> Path:
        return self.directory / OWN / FILE

    async def confirm(self, place: int, every_series: list[Series]) -> None:
        await self.writer.handle(
            tuple(Confirmed(each, span(place, place + 1), row(place), T0) for each in every_series)
        )

    async def pass_s(self, clock: MockClock, seconds: float) -> None:
        """Lets time pass, and the writer do what is due."""
        clock.jump(seconds)
        for _ in range(4 + len(MANY)):
            await self.writer._flusher.run_due(busy=False)

    def held(self, series: Series) -> Spans:
        """What the ledger calls held."""
        checkpoint = read_ledger(self.directory, "linear").checkpoints.get(series)
        return checkpoint.held if checkpoint else NOTHING


@asynccontextmanager
async def running(directory: Path, every_series: list[Series], **changes: object) -> AsyncIterator[Running]:
    """A collector's writer between its start and a kill."""
    disk, coverage = CountingDisk(), CoverageIndex()
    settings = Settings(**{"limit_to_50_entries": False} | changes)

    async def exchange_ms(_: int) -> int:
        await trio.lowlevel.checkpoint()
        return T0 + 10**9

    with open_ledger(disk, directory, "bybit", "linear") as ledger:
        owned = OwnedDirectory(Store(directory, disk), ledger, coverage, ledger.load(coverage))
        writer = build_writer(owned, settings, Machine(disk=disk, threads=InlineThreads()), Counters(), exchange_ms)
        await writer.open_files(every_series)
        disk.counts.clear()
        yield Running(directory, disk, writer, coverage)


async def test_the_end_of_a_minute_takes_one_sync(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)  # new files have names to be synced
        run.disk.counts.clear()
        before = run.disk.written
        await run.confirm(1, MANY)
        await run.pass_s(mock_clock, 10)
        assert run.disk.counts == {"sync": 1}
        assert run.disk.written - before < 3 * len(MANY) * len(row(1).text)
        assert (tmp_path / MANY[0].file_name).read_bytes() == content(rows(0, 2))


async def test_the_end_of_a_minute_takes_two_syncs_under_the_limit(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY, limit_to_50_entries=True) as run:
        await full_of_rows(run, mock_clock)
        run.disk.counts.clear()
        await run.confirm(50, MANY)
        assert {(tmp_path / each.file_name).read_bytes() for each in MANY} == {content(rows(1, 51))}
        await run.pass_s(mock_clock, 10)
        assert run.disk.counts == {"whole": 1, "sync": 1}  # the new files, and the directory with their names


async def test_several_candles_of_a_full_file_come_one_after_another(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY, limit_to_50_entries=True) as run:
        await full_of_rows(run, mock_clock)
        await run.writer.handle(
            tuple(Confirmed(each, span(at, at + 1), row(at), T0) for at in (50, 51, 52) for each in TWO)
        )
        assert {(tmp_path / each.file_name).read_bytes() for each in TWO} == {content(rows(3, 53))}


@pytest.mark.parametrize("whole", [False, True])
async def test_full_files_stay_as_they_were_where_new_ones_cannot_be_synced(
    tmp_path: Path, mock_clock: MockClock, whole: bool
) -> None:
    async with running(tmp_path, MANY, limit_to_50_entries=True) as run:
        await full_of_rows(run, mock_clock)
        run.disk.whole, run.disk.fails = whole, True
        with pytest.raises(StorageError):
            await run.confirm(50, MANY)
        assert {(tmp_path / each.file_name).read_bytes() for each in MANY} == {content(rows(0, 50))}
        assert set(Disk().names(tmp_path)) == {OWN, *(each.file_name for each in MANY)}
        run.disk.fails = False
        await run.confirm(50, MANY)
        assert {(tmp_path / each.file_name).read_bytes() for each in MANY} == {content(rows(1, 51))}


async def full_of_rows(run: Running, clock: MockClock) -> None:
    """Fills every file up to the limit."""
    for series in MANY:
        await run.writer.handle(Answered(series, span(0, 50), rows(0, 50), T0 + 10**9))
    await run.pass_s(clock, 10)


@pytest.mark.parametrize("deleted", [False, True])
async def test_after_a_power_loss_the_rows_are_there_again(
    tmp_path: Path, mock_clock: MockClock, deleted: bool
) -> None:
    async with running(tmp_path, MANY) as run:
        for place in (0, 1):
            await run.confirm(place, MANY)
            await run.pass_s(mock_clock, 10)
    for series in MANY:
        os.truncate(tmp_path / series.file_name, 30)
    if deleted:
        run.journal.unlink()
    async with running(tmp_path, MANY) as run:
        expected = NOTHING if deleted else spans(0, 2)
        assert {run.coverage[series].held for series in MANY} == {expected}
        assert {run.coverage[series].unverified for series in MANY} == {expected}


async def test_the_ledger_calls_held_what_is_synced_in_the_file(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        assert run.held(TWO[0]) == NOTHING
        await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        await run.pass_s(mock_clock, 10)
        assert run.held(TWO[0]) == spans(0, 1)


@pytest.mark.parametrize(("count", "calls"), [(2, {"sync": 3}), (40, {"sync": 1, "whole": 1})])
async def test_after_half_an_hour_the_files_are_synced_and_the_journal_emptied(
    tmp_path: Path, mock_clock: MockClock, count: int, calls: dict[str, int]
) -> None:
    async with running(tmp_path, MANY[:count]) as run:
        await run.confirm(0, MANY[:count])
        await run.pass_s(mock_clock, 10)
        assert run.journal.stat().st_size
        run.disk.counts.clear()
        await run.pass_s(mock_clock, HALF_AN_HOUR_S - 20)
        assert not run.disk.counts
        await run.pass_s(mock_clock, 20)
        assert run.disk.counts == calls
        assert not run.journal.stat().st_size


async def test_where_no_file_system_is_synced_whole_each_file_is(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        run.disk.whole = False
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        run.disk.counts.clear()
        await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        assert run.disk.counts == {"sync": len(MANY) + 1}  # and the empty journal
        assert not run.journal.stat().st_size


async def test_a_long_journal_is_emptied_sooner(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.pipeline.flusher._JOURNAL_BYTES", 100)
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        assert not run.journal.stat().st_size


async def test_a_file_by_itself_needs_no_journal(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO[:1])
        await run.pass_s(mock_clock, 10)
        assert not run.journal.exists()
        assert run.held(TWO[0]) == spans(0, 1)


async def test_without_fsync_there_is_no_journal(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO, fsync=False) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        assert not run.journal.exists()
        assert not run.disk.counts
        assert run.held(TWO[0]) == spans(0, 1)


@pytest.mark.parametrize("change", ["deleted", "cut"])
async def test_a_journal_that_somebody_spoils_costs_syncs(tmp_path: Path, mock_clock: MockClock, change: str) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        run.journal.unlink() if change == "deleted" else os.truncate(run.journal, 5)
        await run.confirm(1, TWO)
        for _ in range(2):
            await run.pass_s(mock_clock, 10)
        assert run.held(TWO[0]) == spans(0, 2)
        await run.confirm(2, TWO)
        await run.pass_s(mock_clock, 10)
        assert run.journal.stat().st_size


async def test_a_file_that_changed_is_read_again_after_the_journal_was_emptied(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.confirm(1, TWO)
        await run.pass_s(mock_clock, 10)
        path = tmp_path / TWO[0].file_name
        path.write_bytes(content(rows(0, 1)))  # somebody takes a row out
        await run.confirm(2, TWO[:1])
        assert not run.journal.stat().st_size
    async with running(tmp_path, TWO):
        assert row(1).text not in path.read_bytes()


async def test_at_the_end_nothing_is_left_in_the_journal(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        await run.confirm(1, MANY)
        await run.writer._flusher.save_all()
        assert not run.journal.stat().st_size
        assert {run.held(series) for series in MANY} == {spans(0, 2)}


async def test_at_the_end_the_journal_is_emptied_also_if_nothing_waits(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        await run.writer._flusher.save_all()
        assert not run.journal.stat().st_size
        assert {run.held(series) for series in MANY} == {spans(0, 1)}


@pytest.mark.parametrize("ends", [False, True])
async def test_a_file_of_which_only_the_name_waits_is_not_synced_again(
    tmp_path: Path, mock_clock: MockClock, *, ends: bool
) -> None:
    async with running(tmp_path, TWO[:1], limit_to_50_entries=True) as run:
        await run.writer.handle(Answered(TWO[0], span(0, 50), rows(0, 50), T0 + 10**9))
        await run.pass_s(mock_clock, 10)
        run.disk.counts.clear()
        await run.confirm(50, TWO[:1])  # makes a file with the newest 50, which is synced before it has its name
        before = run.disk.counts.copy()
        await run.writer._flusher.save_all() if ends else await run.pass_s(mock_clock, 10)
        assert run.disk.counts - before == {"sync": 1}  # the directory


async def test_the_journal_is_emptied_after_the_last_slice_of_syncing(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, MANY) as run:
        run.disk.whole = False
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        mock_clock.jump(HALF_AN_HOUR_S)
        for slice_s, synced in ((-1, 1), (60, 1 + 32), (60, len(MANY))):
            assert run.journal.stat().st_size
            monkeypatch.setattr("collector.pipeline.flusher._SLICE_S", slice_s)
            run.writer._flusher._queue.mark_saved(run.writer._flusher._queue.unsaved)
            await run.writer._flusher.run_due(busy=False)
            assert sum(run.writer._files[series].is_synced for series in MANY) == synced
        assert not run.journal.stat().st_size


async def test_the_opening_of_each_file_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path, MANY) as run:
        assert run.writer._counters.files_read == len(MANY)


async def test_what_is_saved_is_news_for_a_copy(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.pass_s(mock_clock, 10)
        changes = run.writer._files.changes
        changes.follow(TWO, 0)
        changes.take_gaps(10)
        run.writer.mark_unsaved(TWO[:1])
        await run.pass_s(mock_clock, 10)
        assert changes.take_gaps(10) == TWO[:1]


async def test_a_busy_writer_empties_the_journal_half_an_hour_later(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        flusher = run.writer._flusher
        for passes_s, is_empty in ((HALF_AN_HOUR_S + 10, False), (HALF_AN_HOUR_S - 20, False), (20, True)):
            mock_clock.jump(passes_s)
            await flusher.run_due(busy=True)
            assert bool(run.journal.stat().st_size) is not is_empty


async def test_nothing_is_due_once_the_journal_is_empty(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        await run.pass_s(mock_clock, 10)
        assert run.writer._flusher.due_s == inf


async def test_each_time_all_files_of_the_journal_are_synced_at_once(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        for place in range(3):
            await run.confirm(place, MANY)
            await run.pass_s(mock_clock, 10)
            run.disk.counts.clear()
            await run.pass_s(mock_clock, HALF_AN_HOUR_S)
            assert run.disk.counts["whole"] == 1


async def test_what_the_journal_has_is_synced_also_when_that_is_switched_off(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        run.writer._flusher.apply(Settings(fsync=False))
        run.disk.counts.clear()
        await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        assert run.disk.counts["whole"] == 1
        assert not run.journal.stat().st_size


async def test_a_file_that_is_left_alone_since_does_not_keep_the_journal_full(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        run.writer._files.skip(MANY[0], "it is somebody else's")
        await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        await run.pass_s(mock_clock, 10)
        assert not run.journal.stat().st_size
        assert run.held(MANY[1]) == spans(0, 1)


async def test_rows_that_a_spoiled_journal_cannot_take_are_synced(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY[:4]) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        run.journal.unlink()
        await run.confirm(0, MANY[2:4])
        await run.pass_s(mock_clock, 10)
        assert {run.held(series) for series in MANY[:4]} == {spans(0, 1)}


async def test_with_a_block_the_newest_eight_are_saved(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
        await run.pass_s(mock_clock, 10)
        for series in MANY:
            run.coverage.want(series, spans(0, 5))
        await run.confirm(1, MANY)
        for _ in range(2):
            await run.pass_s(mock_clock, 10)
        saved = read_ledger(run.directory, "linear").coverage
        assert [series for series in MANY if saved[series].wanted] == MANY[-8:]


async def test_a_slice_counts_what_it_has_synced(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, MANY) as run:
        await run.confirm(0, MANY)
    monkeypatch.setattr("collector.pipeline.flusher._SLICE_S", -1)
    async with running(tmp_path, MANY) as run:  # after a kill nobody knows what is synced
        queue = run.writer._flusher._queue
        mock_clock.jump(10)
        for synced in range(1, 4):
            await run.writer._flusher.run_due(busy=False)
            assert len(queue.unsynced) == len(MANY) - synced
            assert sum(run.writer._files[series].is_synced for series in MANY) == synced


async def test_what_is_durable_is_news_for_a_copy(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        changes = run.writer._files.changes
        changes.follow(TWO, 0)
        await run.confirm(0, TWO)
        assert not changes.take(10)
        await run.pass_s(mock_clock, 10)
        assert {series: due.spans for series, due in changes.take(10).items()} == dict.fromkeys(TWO, spans(0, 1))


async def test_how_long_a_flush_took_and_rows_had_waited_is_counted(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        assert (run.writer._counters.flush_s, run.writer._counters.flush_wait_s) == (0, 10)
        await run.confirm(1, TWO[:1])
        mock_clock.jump(3)
        await run.confirm(1, TWO[1:])
        mock_clock.jump(HALF_AN_HOUR_S)
        await run.writer._flusher.settle()
        assert (run.writer._counters.flush_s, run.writer._counters.flush_wait_s) == (0, HALF_AN_HOUR_S + 3)


async def test_without_a_word_a_long_file_is_cut_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / TWO[0].file_name
    path.write_bytes(content(rows(0, 60)))
    async with running(tmp_path, TWO, limit_to_50_entries=True) as run:
        assert run.coverage[TWO[0]].held == spans(10, 60)


async def test_whoever_waits_for_candles_is_woken(tmp_path: Path) -> None:
    async with running(tmp_path, TWO) as run:
        woken = run.writer.written
        await run.confirm(0, TWO)
        assert woken.is_set()
        assert not run.writer.written.is_set()


async def test_what_a_failed_sync_may_have_lost_is_written_again(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        run.disk.fails, before = True, run.disk.written
        with pytest.raises(StorageError):
            await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        assert run.disk.written - before == 2 * len(content(rows(0, 1)))
        run.disk.fails = False
        assert run.journal.stat().st_size  # it is not emptied


async def test_where_one_file_cannot_be_written_again_the_others_are(tmp_path: Path, mock_clock: MockClock) -> None:
    async with running(tmp_path, TWO) as run:
        await run.confirm(0, TWO)
        await run.pass_s(mock_clock, 10)
        run.disk.fails, run.disk.refuses, before = True, 1, run.disk.written
        with pytest.raises(StorageError):
            await run.pass_s(mock_clock, HALF_AN_HOUR_S)
        assert run.disk.written - before == len(content(rows(0, 1)))
