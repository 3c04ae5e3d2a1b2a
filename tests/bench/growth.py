"""What one thing costs among few and among many: an answer, a look, a request for holes, a file at the end.

Each row is the larger case beside the smaller one in the same run. A cost that follows the work has a ratio of one.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from collector.bybit.clock import Clock
from collector.core.candle import DAY_MS, MINUTE_MS, TIMEFRAMES, Series
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.events import Confirmed, Event
from collector.core.missing import InvalidRow
from collector.core.request_windows import PAGE, windows
from collector.core.rows import Rows
from collector.core.series_coverage import SeriesCoverage, requests_for
from collector.core.spans import NOTHING, Span, Spans
from collector.integrity.repair import OwnedDirectory
from collector.machine import THIS_MACHINE, Machine
from collector.machine.disk import THIS_DISK, Disk
from collector.pipeline.reconcile import Reconciler
from collector.pipeline.reorder_buffer import ReorderBuffer
from collector.pipeline.writer import Writer, build_writer
from collector.settings.settings import Settings
from collector.storage.csv_store import Store
from collector.storage.ledger import open_ledger
from tests.bench.measure import Case, Work, in_turn
from tests.bench.table import aim, duration, show
from tests.support.market import ClockByHand

_MINUTES = TIMEFRAMES["1"]
_FIRST_MS = 1_700_006_400_000  # 2023-11-15 00:00:00
_FEW, _MARKET = 100, 5_310  # series
_PAGES, _MORE_PAGES = 10, 160
_EVERY = 4  # of the candles is left out, and as many are invalid
_AIMS = {"a candle that waits": 1.5, "two answers to a page of holes": 4.0, "a file left for the end": 1.5}
_STALL_AIM_MS = 20.0


def run(_pages: int, rounds: int) -> None:
    """A good number: many cost what few do, and holes no more requests than the pages they lie in."""
    gc.set_threshold(50_000, 20, 50)  # as the command line does
    counts = dict(zip(_AIMS, [(_FEW, _MARKET), (_PAGES, _MORE_PAGES), (_FEW, _MARKET)], strict=True))
    cases: dict[str, Case] = {}
    with ExitStack() as stack:
        prepared: tuple[Callable[[int], Work], ...] = (_waiting, _answers, partial(_left, stack))
        for name, prepare in zip(_AIMS, prepared, strict=True):
            cases |= {f"{name} {count}": partial(prepare, count) for count in counts[name]}
        taken = in_turn(cases, rounds)
    each = {name: [taken[f"{name} {count}"] / count for count in counts[name]] for name in counts}
    requests, candles, pages = _requests(_MORE_PAGES)
    holes, same_s, changed_s = _later(_MORE_PAGES)
    stall_s, look_s = min(_look(_MARKET) for _ in range(rounds))
    written_stall_s, written_s = min(_written(_MARKET) for _ in range(rounds))
    show(
        "Growth: what one costs among few and among many",
        ["", "few", "each", "many", "each", "many : few"],
        [
            (name, f"{few:,}", duration(one), f"{many:,}", duration(other), f"{other / one:.2f}")
            for name, (few, many) in counts.items()
            for one, other in [each[name]]
        ],
        [
            *(aim(f"{name}, many : few", other / one, at_most=_AIMS[name]) for name, (one, other) in each.items()),
            f"{candles:,} candles in holes among as many invalid rows: {requests:,} requests; floor: {pages:,} pages",
            aim("requests for holes : pages they lie in", requests / pages, at_most=1),
            f"what one series with {holes:,} gaps lacks, after an answer about one of them: {duration(changed_s)}",
            aim("the same a minute and a candle later, in ms", same_s * 1000, at_most=_STALL_AIM_MS),
            f"a look at {_MARKET:,} series that all lack something: {duration(look_s)}",
            aim("the longest while in a look without another task, in ms", stall_s * 1000, at_most=_STALL_AIM_MS),
            aim("that while : the look", stall_s / look_s, at_most=0.1),
            f"a candle of each of {_MARKET:,} series, taken in by the writer behind pages: {duration(written_s)}",
            aim(
                "the longest while in writing without another task, in ms",
                written_stall_s * 1000,
                at_most=_STALL_AIM_MS,
            ),
            aim("that while : all of them", written_stall_s / written_s, at_most=0.2),
        ],
    )


def _waiting(count: int) -> Work:
    """Each of these series gets a candle while a page before it is fetched."""
    coverage, every_series = CoverageIndex(), _series(count)
    for series in every_series:
        coverage.want(series, _span_of(0, PAGE))
        coverage.ask(series, _span_of(0, PAGE - 1))
    buffer, candle = ReorderBuffer(coverage), _span_of(PAGE - 1, PAGE)

    def work() -> None:
        for series in every_series:
            buffer.add(Confirmed(series, candle[0], Rows(b"x" * 90, candle), 0), 0.0)
            assert not buffer.take_ready(series, _FIRST_MS, 0.0)

    return work


def _answers(pages: int) -> Work:
    """So many pages are answered twice; of each some candles are left out."""
    record = SeriesCoverage(_MINUTES)
    record.want(_span_of(0, pages * PAGE))

    def work() -> None:
        for _ in range(2):
            _answer_all(record, pages)

    return work


def _answer_all(record: SeriesCoverage, pages: int) -> None:
    held = record.held
    for window in windows(_MINUTES, record.wanted):
        left_out, invalid = _lacking(window, 0), _lacking(window, _EVERY // 2)
        rows = Spans((window,)) - Spans(left_out) - Spans(invalid)
        held |= rows
        record.hold(held)
        record.answer(Spans((window,)), rows, _now_ms(pages), [InvalidRow(each, "x") for each in invalid])


def _left(stack: ExitStack, count: int) -> Work:
    """So many files wait to be synced and saved when the collector ends; the disk's own time is left out."""
    every_series, disk = _series(count), _PretendDisk()
    writer = stack.enter_context(_writer(CoverageIndex(), disk, Machine(clock=disk.clock)))
    trio.run(writer.open_files, every_series)
    trio.run(writer.handle, _confirmed(every_series, 0))
    send, receive = trio.open_memory_channel[Event](0)
    send.close()
    return partial(trio.run, writer.write, receive)


def _requests(pages: int) -> tuple[int, int, int]:
    """What is asked for the second time: requests, candles, and the pages that these lie in."""
    record = SeriesCoverage(_MINUTES)
    record.want(_span_of(0, pages * PAGE))
    _answer_all(record, pages)
    due = record.due(_now_ms(pages))
    return (
        len(
            [*windows(_MINUTES, requests_for(record, due, _now_ms(pages)))],
        ),
        len(due),
        pages,
    )


def _later(pages: int) -> tuple[int, float, float]:
    """The gaps of a series, and what one look costs a minute later, and after one of them changed, in seconds."""
    record, began_ms = SeriesCoverage(_MINUTES), _now_ms(pages) + MINUTE_MS
    record.want(_span_of(0, pages * PAGE))
    for _ in range(2):
        _answer_all(record, pages)
    taken = []
    for minute, answered in enumerate((False, False, True)):
        candle = _span_of(pages * PAGE + minute, pages * PAGE + minute + 1)
        record.want(record.wanted | candle)
        record.hold(record.held | candle)
        if answered:
            record.answer(Spans((record.gaps[0].span,)), NOTHING, began_ms + DAY_MS)
        began_s, now_ms = time.perf_counter(), began_ms + minute * MINUTE_MS
        assert not requests_for(record, record.due(now_ms), now_ms)
        assert record.gap_index.next_due_ms(now_ms)
        assert not record.never_asked
        assert sum(count for count, _ in record.gap_index.counts.values()) == len(record.gaps)
        taken.append(time.perf_counter() - began_s)
    return len(record.gaps), taken[1], taken[2]


def _look(count: int) -> tuple[float, float]:
    """The longest step of a look at so many series, and all of it, in seconds."""
    steps, coverage, clock = _Steps(), CoverageIndex(), Clock()
    now_ms = _FIRST_MS + 30 * DAY_MS

    async def server_time() -> int:
        await trio.lowlevel.checkpoint()
        return now_ms

    def fetch(series: Series, spans: Spans) -> None:
        coverage.ask(series, spans)
        if series == every_series[-1]:
            scope.cancel()

    every_series, scope = _series(count), trio.CancelScope()
    reconciler = Reconciler(Settings(days_to_fetch=1), every_series, coverage, clock, server_time, fetch, 0)

    async def look() -> None:
        clock.observe(now_ms)
        with scope:
            await reconciler.reconcile()

    began_s = time.perf_counter()
    trio.run(look, instruments=[steps])
    return steps.longest_s, time.perf_counter() - began_s


def _written(count: int) -> tuple[float, float]:
    """The longest step and all of taking in candles of as many series that wait for a page, in seconds."""
    steps, coverage, every_series = _Steps(), CoverageIndex(), _series(count)
    batch = _confirmed(every_series, PAGE - 1)

    async def write(writer: Writer) -> float:
        await writer.open_files(every_series)
        for series in every_series:
            coverage.want(series, _span_of(0, PAGE))
            coverage.ask(series, _span_of(0, PAGE - 1))
        await trio.lowlevel.checkpoint()
        steps.longest_s, began_s = 0.0, time.perf_counter()
        await writer.handle(batch)
        seconds = time.perf_counter() - began_s
        await trio.lowlevel.checkpoint()
        return seconds

    with _writer(coverage) as writer:
        seconds = trio.run(write, writer, instruments=[steps])
    return steps.longest_s, seconds


@contextmanager
def _writer(coverage: CoverageIndex, disk: Disk = THIS_DISK, machine: Machine = THIS_MACHINE) -> Iterator[Writer]:
    """A writer into a directory of its own, which is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="collector-bench-") as scratch, ExitStack() as stack:
        settings = Settings(data_dir=Path(scratch), limit_to_50_entries=False)
        ledger = stack.enter_context(open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category))
        owned = OwnedDirectory(Store(settings.data_dir, disk), ledger, coverage, {})
        yield build_writer(owned, settings, machine, Counters(), _passed)


@attrs.define
class _PretendDisk(Disk):
    """A disk to which a sync is nothing, and which calls it a fifth of a millisecond."""

    clock: ClockByHand = attrs.field(factory=ClockByHand)

    def sync(self, file: int) -> None:
        self.clock.at_s += 0.0002


def _confirmed(every_series: Sequence[Series], place: int) -> tuple[Confirmed, ...]:
    """A candle of each of these, as the stream brings it."""
    candle = _span_of(place, place + 1)
    text = b"%d,2023-11-15 00:00:00,1,1,1,1,0,0\n" % candle[0].start_ms
    return tuple(Confirmed(series, candle[0], Rows(text, candle), 0) for series in every_series)


async def _passed(ms: int) -> int:
    await trio.lowlevel.checkpoint()
    return ms


class _Steps(trio.abc.Instrument):
    """How long a task runs before another may."""

    longest_s = 0.0
    _since_s = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._since_s = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest_s = max(self.longest_s, time.perf_counter() - self._since_s)


def _series(count: int) -> list[Series]:
    return [Series(f"C{number}USDT", _MINUTES) for number in range(count)]


def _span_of(first: int, behind: int) -> Spans:
    return Spans.between(_FIRST_MS + first * MINUTE_MS, _FIRST_MS + behind * MINUTE_MS)


def _lacking(window: Span, place: int) -> tuple[Span, ...]:
    """Every fourth candle of a window, from a place on."""
    opens = range(window.start_ms + place * MINUTE_MS, window.end_ms, _EVERY * MINUTE_MS)
    return tuple(Span(open_ms, open_ms + MINUTE_MS) for open_ms in opens)


def _now_ms(pages: int) -> int:
    return _FIRST_MS + pages * PAGE * MINUTE_MS + DAY_MS
