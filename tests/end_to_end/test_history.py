"""History end to end: an exchange in a box on a real socket, the whole service, and the files held against the truth.

Every comparison is to the byte and over the whole wanted span.
"""

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from collector.commands.summary import summary_lines
from collector.core import missing, pacing
from collector.core.candle import DAY_MS, MINUTE_MS, Series, timeframe
from collector.core.errors import Refused, StorageError, Unreachable
from collector.core.missing import Gap, State
from collector.core.spans import NOTHING, Span, Spans
from collector.integrity.gaps import find_gaps
from collector.machine import THIS_MACHINE
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, collect, repair, serve
from collector.pipeline.symbols import list_symbols
from collector.sandbox import Clock, Faults, Hole, Limits, Sandbox, open_sandbox
from collector.sandbox.clock import instant_ms
from collector.sandbox.faults import KINDS
from collector.sandbox.messages import Reply, Request
from collector.sandbox.rest.query import Dialect
from collector.settings.settings import Settings
from tests.campaign.counting import Bell, hang_bell
from tests.campaign.truth import (
    asked_spans,
    differences,
    foreign_rows,
    held_spans,
    series_of,
    truth_of,
    wanted_start_ms,
    whole_lines,
)
from tests.support.disks import BreakingDisk, store_on
from tests.support.market import KLINE, NOW, fetch, kline_faults, market, settings_for
from tests.support.replies import with_bad_rows

BTC_60 = Series("BTCUSDT", timeframe("60"))
NOW_MS = instant_ms(NOW)
HOLE = Hole("BTCUSDT", "60", instant_ms("2024-05-11T06:00"), instant_ms("2024-05-11T09:00"))
# These end more than one request, and have tests of their own.
REFUSALS = ("rate_ban", "geo_block", "region_refused", "compliance_refused")


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries as always, but after hundredths of a second; the waits themselves are tested in test_pacing."""
    monkeypatch.setattr(pacing, "_FIRST_WAIT_S", 0.01)


def kline_requests(box: Sandbox) -> int:
    return box.counts.by_path[KLINE]


def states(outcome: Outcome) -> list[tuple[State, Span]]:
    return [(gap.state, gap.span) for _, gap in outcome.missing]


def kept(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.csv")}


# A clean run.


async def test_every_file_of_a_clean_run_equals_the_exchange_over_the_whole_wanted_span(tmp_path: Path) -> None:
    exchange = market(
        symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT", "0GUSDT"],
        listed={"0GUSDT": "2024-05-12T07:13"},
        faults=Faults(holes=(HOLE, Hole.named("ETHUSDT/5:2024-05-07T00:00..2024-05-07T00:35"))),
    )
    async with open_sandbox(exchange) as box:
        symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "0GUSDT"]
        frames = ["1", "5", "60", "240", "D", "W", "M"]
        settings = settings_for(box.url, tmp_path, symbols=symbols, timeframes=frames)
        outcome = await fetch(settings)
        assert differences(box, settings) == []
        assert outcome.complete
        assert {str(series) for series, _ in outcome.absent} == {"BTCUSDT_60", "ETHUSDT_5"}


@pytest.mark.parametrize("category", ["spot", "inverse"])
async def test_other_categories_are_collected_as_well(tmp_path: Path, category: str) -> None:
    symbol = {"spot": "BTCUSDC", "inverse": "BTCUSD"}[category]
    async with open_sandbox(market(symbols=[f"{category}:{symbol}"])) as box:
        settings = settings_for(box.url, tmp_path, category=category, symbols=[symbol], timeframes=["15", "D"])
        outcome = await fetch(settings)
        assert outcome.complete
        assert differences(box, settings) == []


async def test_all_symbols_that_trade_are_collected_and_none_that_does_not(tmp_path: Path) -> None:
    async with open_sandbox(market(symbols=None)) as box:
        settings = settings_for(box.url, tmp_path, fetch_all_symbols=True, timeframes=["D"], days_to_fetch=3)
        await fetch(settings)
        found = {path.stem.removesuffix("_D") for path in settings.data_dir.glob("*.csv")}
        listings = box.source.listings("linear").values()
        trading = {each.symbol for each in listings if each.status(NOW_MS) == "Trading"}
        assert found == {name for name in trading if box.truth(name, "D", NOW_MS - 3 * DAY_MS, NOW_MS).count(b"\n") > 1}


async def test_the_library_collects_what_it_is_asked_for_whatever_the_settings_list(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, enable_websocket=False)
        await collect(settings, symbols=["ETHUSDT"], timeframes=["240"], days=5)
        assert [path.name for path in settings.data_dir.glob("*.csv")] == ["ETHUSDT_240.csv"]


# An exchange that lies, breaks off or refuses.


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in REFUSALS])
async def test_a_fault_of_each_kind_never_becomes_a_row_and_leaves_no_gap(tmp_path: Path, kind: str) -> None:
    faults = kline_faults({kind: 1.0}, times=4, stall_s=0.02, drip_s=0.02)
    async with open_sandbox(market(faults=faults)) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["5", "60", "D"], ban_wait_s=0.05)
        outcome = await fetch(settings)
        assert box.counts.by_outcome[kind] == 4
        assert differences(box, settings) == []
        assert outcome.complete


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("kind", KINDS[KINDS.index("malformed") :])
async def test_an_exchange_that_keeps_lying_is_not_believed_and_the_next_start_heals(tmp_path: Path, kind: str) -> None:
    async with open_sandbox(market(faults=kline_faults({kind: 1.0}))) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["5", "60"], bulk_max_retries=2)
        outcome = await fetch(settings)
        assert foreign_rows(box, settings) == []
        # Candle by candle nothing of `unsorted` is a lie, and a time that every answer tells is the exchange's.
        assert outcome.complete == (kind in ("unsorted", "future_time"))
        box.faults = Faults()
        assert (await fetch(settings)).complete
        assert differences(box, settings) == []


@pytest.mark.usefixtures("quick_retries")
async def test_nothing_is_missing_after_errors_in_every_answer_of_five_and_a_ban(tmp_path: Path) -> None:
    shares = dict.fromkeys(["too_many_visits", "http_5xx", "truncated", "malformed"], 0.05)
    faults = kline_faults(shares, ban_after=15)
    async with open_sandbox(market(faults=faults, limits=Limits(ban_s=0.4))) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "5"], ban_wait_s=0.5, bulk_max_retries=8)
        outcome = await fetch(settings)
        assert outcome.complete
        assert differences(box, settings) == []
        assert outcome.counters.bans == 1


async def test_no_request_is_made_during_a_ban(tmp_path: Path) -> None:
    faults = Faults(ban_after=6)
    async with open_sandbox(market(faults=faults, limits=Limits(ban_s=0.5))) as box:
        # One request at a time: what is on its way when the ban is spoken cannot be called back.
        settings = settings_for(box.url, tmp_path, timeframes=["1"], ban_wait_s=0.5, bulk_batch_size=1)
        assert (await fetch(settings)).complete
        assert box.counts.by_outcome["rate_ban"] == 1
        assert box.counts.during_ban == 0


@pytest.mark.parametrize("kind", ["geo_block", "region_refused", "compliance_refused", "waf_block"])
@pytest.mark.parametrize("record", ["both", "the files", "the identity"])
async def test_a_block_is_waited_out_where_candles_were_served_before(tmp_path: Path, kind: str, record: str) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, ban_wait_s=0.1)
        await fetch(attrs.evolve(settings, days_to_fetch=9))
        if record == "the files":
            shutil.rmtree(settings.data_dir / ".collector")
        if record == "the identity":
            settings.data_dir.joinpath("BTCUSDT_60.csv").unlink()
        box.faults = kline_faults({kind: 1.0}, paths=(), times=2)
        outcome = await fetch(settings)
        assert outcome.complete
        assert outcome.counters.bans == 2
        assert differences(box, settings) == []


async def test_numbers_with_an_exponent_are_the_same_candles(tmp_path: Path) -> None:
    async with open_sandbox(market(symbols=["BTCUSDT", "1000PEPEUSDT"])) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "1000PEPEUSDT"], timeframes=["60", "D"])
        await fetch(attrs.evolve(settings, days_to_fetch=5))
        box.faults = Faults(exponents=True)
        outcome = await fetch(settings)
        assert outcome.complete
        assert outcome.counters.revisions == 0
        assert differences(box, settings) == []


async def test_earlier_candles_in_the_place_of_missing_ones_cost_none(tmp_path: Path) -> None:
    relisted = Hole.named("BTCUSDT/5:2024-05-08T02:10..2024-05-13T09:00")
    faults = Faults(holes=(HOLE, relisted))
    async with open_sandbox(market(faults=faults, dialect=Dialect(missing_candles="padded"))) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["5", "60"])
        outcome = await fetch(settings)
        assert (outcome.complete, differences(box, settings)) == (True, [])
        assert {gap.span for _, gap in outcome.absent} == {
            Span(each.start_ms, each.end_ms) for each in (relisted, HOLE)
        }


async def test_an_odd_list_of_symbols_costs_none_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_sandbox(market(faults=Faults(odd_list=True))) as box:
        settings = settings_for(box.url, tmp_path, fetch_all_symbols=True, symbols=[])
        outcome = await fetch(settings)
        assert (outcome.complete, outcome.series) == (True, 2)
    left_out = [record.getMessage() for record in caplog.records if "names none" in record.getMessage()]
    assert len(left_out) == 4


async def test_a_list_of_many_pages_is_whole_whichever_cursor_the_exchange_understands(tmp_path: Path) -> None:
    box_options = {"count": 1100, "symbols": None, "dialect": Dialect(double_cursor="ignored", last_cursor="filled")}
    async with open_sandbox(market(**box_options)) as box:  # type: ignore[arg-type]
        settings = settings_for(box.url, tmp_path, fetch_all_symbols=True, symbols=[])
        listed = [each.symbol for each in await list_symbols(settings, THIS_MACHINE)]
        every = box.source.listings("linear").items()
        assert listed == sorted(name for name, each in every if each.status(box.clock.now_ms()) == "Trading")
        assert len(listed) > 1000
        assert box.counts.cursors == {"single": 2}


async def test_a_fetch_ends_when_a_block_does_not(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, ban_wait_s=0.05, bulk_max_retries=3)
        await fetch(settings)
        box.faults = Faults(geo_block=1.0)
        with pytest.raises(Unreachable, match=r"turns us away: .*country") as refused:
            await fetch(settings)
        assert refused.value.exit_status == 3


async def test_a_geographic_block_is_final(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(geo_block=1.0))) as box:
        with pytest.raises(Refused, match="country") as refused:
            await fetch(settings_for(box.url, tmp_path))
        assert refused.value.exit_status == 3
        assert box.counts.requests == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_request_that_failed_for_good_is_made_once_more_though_the_clock_runs_on(tmp_path: Path) -> None:
    faults = Faults(paths=("kline",), http_5xx=1.0, times=2)
    async with open_sandbox(market(rate=1, faults=faults)) as box:
        outcome = await fetch(settings_for(box.url, tmp_path, bulk_max_retries=2))
        assert outcome.complete


@pytest.mark.usefixtures("quick_retries")
async def test_a_start_asks_at_once_for_what_failed_before(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(paths=("kline",), http_5xx=1.0))) as box:
        settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
        for _ in range(3):
            assert not (await fetch(settings)).complete
        box.faults = Faults()
        assert (await fetch(settings)).complete


@pytest.mark.usefixtures("quick_retries")
async def test_a_row_that_is_no_candle_costs_its_file_that_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, bad_ms = market(), instant_ms("2024-05-11T06:00")
    bad = {bad_ms}
    monkeypatch.setattr(exchange, "respond", partial(spoiled, exchange.respond, bad))
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, bulk_max_retries=2)
        outcome = await fetch(settings)
        assert outcome.complete
        assert [gap.span for _, gap in outcome.invalid] == [Span(bad_ms, bad_ms + 3_600_000)]
        assert "the exchange's own rows for 1 candle in 1 span are no candles" in "\n".join(summary_lines(outcome))
        true = truth_of(box, settings, BTC_60).splitlines(keepends=True)
        good = b"".join(line for line in true if not line.startswith(b"%d," % bad_ms))
        assert (settings.data_dir / "BTCUSDT_60.csv").read_bytes() == good
        (gap,) = find_gaps(settings.data_dir, settings.category)
        assert gap.missing.state is State.INVALID
        assert "high 0 is below low" in gap.missing.why
        bad.clear()
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert kline_requests(box) == 0
        box.clock.advance(DAY_MS)
        assert (await fetch(settings)).complete
        assert differences(box, attrs.evolve(settings, days_to_fetch=11)) == []


def spoiled(respond: Callable[[Request], Reply], bad: Collection[int], request: Request) -> Reply:
    """The reply of an exchange with rows that are no candles."""
    reply = respond(request)
    return attrs.evolve(reply, body=with_bad_rows(reply.body, bad))


@pytest.mark.usefixtures("quick_retries")
async def test_an_exchange_that_goes_away_leaves_what_has_come_in_the_files_and_the_rest_on_record(
    tmp_path: Path,
) -> None:
    async with open_sandbox(market(faults=kline_faults({"reset": 1.0}, skip=6))) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "5"], bulk_max_retries=2)
        with pytest.raises(Unreachable):
            await fetch(settings)
        missing = dict.fromkeys(series_of(settings), NOTHING)
        for gap in find_gaps(settings.data_dir, settings.category):
            missing[gap.series] |= Spans((gap.missing.span,))
        for series, spans in missing.items():
            start_ms, end_ms = wanted_start_ms(box, settings, series), series.timeframe.floor(NOW_MS)
            assert spans == Spans.between(start_ms, end_ms) - held_spans(settings, series)
        assert held_spans(settings, series_of(settings)[0])


# Starting again.


async def test_after_an_interruption_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    exchange = market(faults=Faults(latency_ms=5))
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], bulk_batch_size=2)
        stopped = await interrupted(settings, bell, after=9)
        (series,) = series_of(settings)
        held = held_spans(settings, series)
        assert stopped.stopped
        assert held
        assert foreign_rows(box, settings) == []
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert differences(box, settings) == []
        assert not asked_spans(box, series) & held


async def interrupted(settings: Settings, bell: Bell, after: int) -> Outcome:
    """The outcome of a collection that is told to stop when so many requests have been made."""
    stop = trio.Event()

    async def stop_in_time() -> None:
        await bell.reached(after)
        stop.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_in_time)
        outcome = await serve(settings, once=True, options=ServeOptions(stop=stop))
        nursery.cancel_scope.cancel()
    return outcome


async def test_a_cancelled_collection_leaves_whole_rows_and_goes_on_where_it_was(tmp_path: Path) -> None:
    exchange = market()
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "5"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, settings)
            await bell.reached(10)
            nursery.cancel_scope.cancel()
        assert foreign_rows(box, settings) == []
        assert (await fetch(settings)).complete
        assert differences(box, settings) == []


async def test_a_deeper_history_leaves_the_text_before_untouched_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        shallow = settings_for(box.url, tmp_path, timeframes=["5", "60", "D"], days_to_fetch=4)
        await fetch(shallow)
        before = {series: held_spans(shallow, series) for series in series_of(shallow)}
        texts = {series: whole_lines(shallow.data_dir / f"{series}.csv")[1:] for series in before}
        box.counts.clear()
        deep = settings_for(box.url, tmp_path, timeframes=["5", "60", "D"], days_to_fetch=12)
        assert (await fetch(deep)).complete
        assert differences(box, deep) == []
        for series, held in before.items():
            assert not asked_spans(box, series) & held
            assert whole_lines(deep.data_dir / f"{series}.csv")[-len(texts[series]) :] == texts[series]


async def test_a_shallower_history_keeps_what_is_held(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        await fetch(settings_for(box.url, tmp_path))
        before = kept(tmp_path / "candles")
        box.counts.clear()
        assert (await fetch(settings_for(box.url, tmp_path, days_to_fetch=2))).complete
        assert kept(tmp_path / "candles") == before
        assert kline_requests(box) == 0


async def test_a_second_run_with_nothing_to_do_asks_for_no_candle(tmp_path: Path) -> None:
    async with open_sandbox(market(listed={"ETHUSDT": "2024-05-12T07:13"})) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"], timeframes=["5", "60", "D", "W"])
        await fetch(settings)
        before = kept(settings.data_dir)
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert kline_requests(box) == 0
        assert kept(settings.data_dir) == before


async def test_after_a_pause_only_what_closed_in_the_meantime_is_asked_for(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        held = held_spans(settings, BTC_60)
        box.counts.clear()
        box.clock.advance(7 * 60 * MINUTE_MS)
        assert (await fetch(settings)).complete
        assert asked_spans(box, BTC_60) == Spans.between(held[-1].end_ms, held[-1].end_ms + 7 * 60 * MINUTE_MS)
        assert kline_requests(box) == 1


@pytest.mark.usefixtures("quick_retries")
async def test_a_ledger_that_is_behind_the_files_reports_nothing_as_missing_that_is_held(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=kline_faults({"http_5xx": 1.0}))) as box:
        settings = settings_for(box.url, tmp_path, bulk_max_retries=1)
        assert not (await fetch(settings)).complete
        shutil.copytree(settings.data_dir / ".collector", tmp_path / "before")
        box.faults = Faults()
        assert (await fetch(settings)).complete
        shutil.rmtree(settings.data_dir / ".collector")
        shutil.move(tmp_path / "before", settings.data_dir / ".collector")
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert asked_spans(box, BTC_60) == last_two_days(settings, BTC_60)


def last_two_days(settings: Settings, series: Series) -> Spans:
    """What is verified anew where no checkpoint is left."""
    held = held_spans(settings, series)
    return held and held.within(series.timeframe.floor(held.bounds.end_ms - 2 * DAY_MS), held.bounds.end_ms)


async def test_a_lost_ledger_costs_no_candle(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["5", "M"])
        await fetch(settings)
        for path in (settings.data_dir / ".collector").glob("ledger.db*"):
            path.write_bytes(b"not a database, though it is long enough to be looked at" * 100)
        box.counts.clear()
        assert (await fetch(settings)).complete
        assert differences(box, settings) == []
        for series in series_of(settings):
            assert asked_spans(box, series) == last_two_days(settings, series)


# The newest only.


@pytest.mark.parametrize("change", [{"mode": "recent"}, {"limit_to_50_entries": True, "days_to_fetch": 3000}])
async def test_the_newest_only_are_the_fifty_newest_closed_candles(tmp_path: Path, change: dict[str, object]) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "60", "W", "M"], **change)
        await fetch(settings)
        for series in series_of(settings):
            lines = whole_lines(settings.data_dir / f"{series}.csv")
            start_ms = series.timeframe.shift(series.timeframe.floor(NOW_MS), -50)
            true = box.truth(series.symbol, series.timeframe.name, start_ms, NOW_MS).splitlines()
            assert lines == true
            assert len(lines) == 51 or series.timeframe.name in ("W", "M")


async def test_the_limit_keeps_the_newest_when_time_goes_on_and_recent_keeps_all(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        limited = settings_for(box.url, tmp_path / "limited", limit_to_50_entries=True)
        recent = settings_for(box.url, tmp_path / "recent", mode="recent")
        for settings in (limited, recent):
            await fetch(settings)
        box.clock.advance(5 * 60 * MINUTE_MS)
        for settings in (limited, recent):
            assert (await fetch(settings)).complete
        lines = whole_lines(recent.data_dir / "BTCUSDT_60.csv")
        assert len(lines) == 56
        assert whole_lines(limited.data_dir / "BTCUSDT_60.csv") == [lines[0], *lines[-50:]]


# What the exchange does not have.


async def test_a_young_symbol_costs_one_question_a_series_for_its_beginning(tmp_path: Path) -> None:
    async with open_sandbox(market(listed={"ETHUSDT": "2024-05-12T07:13"})) as box:
        frames = ["1", "5", "15", "60", "240", "D", "W", "M"]
        settings = settings_for(box.url, tmp_path, symbols=["ETHUSDT"], timeframes=frames, days_to_fetch=60)
        outcome = await fetch(settings)
        assert outcome.complete
        assert differences(box, settings) == []
        rows = [truth_of(box, settings, series).count(b"\n") - 1 for series in series_of(settings)]
        pages = sum(max(1, -(-count // 1000)) for count in rows)
        assert kline_requests(box) <= pages + len(frames) + 1  # one of the symbol, for the plan
        box.counts.clear()
        await fetch(settings_for(box.url, tmp_path, symbols=["ETHUSDT"], timeframes=["3", *frames], days_to_fetch=90))
        # The new timeframe's pages, a deeper question of each, and the plan's one of the symbol.
        assert kline_requests(box) <= 2 + 1 + len(frames) + 1


async def test_old_holes_are_settled_in_one_fetch_and_not_asked_at_the_next(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(holes=(HOLE,)))) as box:
        settings = settings_for(box.url, tmp_path)
        outcome = await fetch(settings)
        assert outcome.complete
        assert [gap.span for _, gap in outcome.absent] == [Span(HOLE.start_ms, HOLE.end_ms)]
        assert "the exchange does not have 3 candles in 1 span" in "\n".join(summary_lines(outcome))
        assert kline_requests(box) == 2
        assert (await fetch(settings)).complete
        assert kline_requests(box) == 2
        assert differences(box, settings) == []


async def test_an_absent_hole_that_the_exchange_fills_after_all_is_found_after_a_day(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(holes=(HOLE,)))) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        box.faults = Faults()
        assert (await fetch(settings)).complete
        assert differences(box, settings) != []
        box.clock.advance(DAY_MS)
        assert (await fetch(settings)).complete
        assert differences(box, attrs.evolve(settings, days_to_fetch=11)) == []


async def test_an_absent_hole_is_asked_for_at_once_by_repair(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(holes=(HOLE,)))) as box:
        settings = settings_for(box.url, tmp_path)
        await fetch(settings)
        box.faults = Faults()
        await repair(settings, lambda _: True)
        assert differences(box, settings) == []


async def test_a_candle_that_the_exchange_shows_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing, "_RETRY_AFTER_MS", (200, 300, 120_000))
    clock = Clock(instant_ms("2024-05-15T12:00:05"))
    async with open_sandbox(market(clock=clock, faults=Faults(rest_lag_ms=5_400))) as box:
        settings = settings_for(box.url, tmp_path)
        assert (await fetch(settings)).complete
        assert held_spans(settings, BTC_60)[-1].end_ms == instant_ms("2024-05-15T12:00")


# Disks that fail.


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, pytest.param(errno.EIO, marks=pytest.mark.slow)], ids=errno.errorcode.get
)
async def test_a_disk_that_fails_at_any_call_costs_no_candle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async with open_sandbox(market()) as box:
        for calls in range(12):
            shallow = settings_for(box.url, tmp_path / str(calls), timeframes=["5"], days_to_fetch=5)
            deep = attrs.evolve(shallow, timeframes=["5", "60"], days_to_fetch=9)
            await fetch(shallow)
            disk = BreakingDisk(calls, lambda: OSError(code, os.strerror(code)))
            with monkeypatch.context() as broken:
                broken.setattr("collector.pipeline.startup.Store", store_on(disk))
                failed = await failure_of(deep)
            assert failed or calls > 8
            assert foreign_rows(box, deep) == []
            assert (await fetch(deep)).complete
            assert differences(box, deep) == []


async def failure_of(settings: Settings) -> StorageError | None:
    try:
        await fetch(settings)
    except StorageError as failure:
        return failure
    return None


# Time.


async def test_the_exchanges_clock_decides_what_is_closed(tmp_path: Path) -> None:
    exchange = market(clock=Clock(instant_ms("2023-03-01T11:59:50"), rate=20))
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1", "60", "D"], days_to_fetch=3)
        before_ms = box.clock.now_ms()
        assert (await fetch(settings)).complete
        after_ms = box.clock.now_ms()
        box.clock.advance(DAY_MS)  # what was open then has other numbers by now
        for series in series_of(settings):
            held = held_spans(settings, series).bounds
            frame = series.timeframe
            assert frame.floor(before_ms) <= held.end_ms <= frame.floor(after_ms)
            assert held.start_ms <= frame.floor(after_ms - 3 * DAY_MS)
            true = box.truth(series.symbol, frame.name, held.start_ms, held.end_ms)
            assert (settings.data_dir / f"{series}.csv").read_bytes() == true


async def test_an_answer_of_an_hour_ago_does_not_hide_the_last_hour(tmp_path: Path) -> None:
    async with open_sandbox(market(faults=Faults(paths=("/time",), old_time=1.0))) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], days_to_fetch=1)
        await fetch(settings)
        assert held_spans(settings, series_of(settings)[0])[-1].end_ms == timeframe("1").floor(NOW_MS)


# What was missed is on record.


async def test_what_was_not_asked_for_is_on_record_as_pending(tmp_path: Path) -> None:
    exchange = market(faults=Faults(latency_ms=5))
    bell = hang_bell(exchange)
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, timeframes=["1"], bulk_batch_size=1)
        outcome = await interrupted(settings, bell, after=6)
        (series,) = series_of(settings)
        missing = Spans.of(*(gap.span for gap in notes_of(outcome)))
        everything = Spans.between(NOW_MS - 10 * DAY_MS - 30_000, NOW_MS - 30_000)
        assert {gap.state for gap in notes_of(outcome)} == {State.PENDING}
        assert missing == everything - held_spans(settings, series)


def notes_of(outcome: Outcome) -> Iterator[Gap]:
    return (gap for _, gap in outcome.missing)
