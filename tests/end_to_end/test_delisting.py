"""Symbols that trade no more, end to end: their last candles are had, they are noted, and no fetch fails for them."""

from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from collector.bybit.exchange_state import RestState
from collector.commands.status_client import fetch_status
from collector.core.candle import MINUTE_MS
from collector.core.counters import Counters
from collector.core.coverage import CoverageIndex
from collector.core.errors import SettingsError
from collector.machine.disk import THIS_DISK
from collector.pipeline.service import ServeOptions, serve
from collector.sandbox import open_sandbox
from collector.sandbox.clock import instant_ms
from collector.settings.reload_request import ReloadRequest
from tests.campaign.truth import differences, whole_lines
from tests.support.market import fetch, market, settings_for, until

HOUR_MS = 60 * MINUTE_MS


async def test_a_symbol_that_trades_no_more_is_noted_as_delisted_and_fails_no_fetch(tmp_path: Path) -> None:
    """Its last candles, missed while nobody collected, are fetched; then it is not asked for again."""
    exchange = market(delisted={"linear:ETHUSDT": instant_ms("2024-05-15T13:00")})
    async with open_sandbox(exchange) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"], timeframes=["1"], days_to_fetch=1)
        assert (await fetch(settings)).complete
        box.clock.advance(HOUR_MS)
        assert (await fetch(settings)).complete
        lines = (settings.data_dir / "ETHUSDT_1.csv").read_bytes().splitlines()
        assert lines[-1].split(b",")[1] == b"2024-05-15 12:59:00"
        box.counts.clear()
        box.clock.advance(HOUR_MS)
        outcome = await fetch(settings)
    assert (outcome.complete, outcome.unknown) == (True, ())
    assert not box.counts.asked("ETHUSDT_1")


async def test_a_symbol_the_exchange_answers_nothing_for_any_more_fails_no_fetch(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"])
        assert (await fetch(settings)).complete
    async with open_sandbox(market(symbols=["BTCUSDT"])) as box:
        box.clock.advance(2 * HOUR_MS)
        outcome = await fetch(attrs.evolve(settings, rest_url=box.url, fetch_all_symbols=True))
    assert outcome.complete
    assert outcome.series == 2


async def test_a_symbol_that_trades_again_is_collected_again(tmp_path: Path) -> None:
    async with open_sandbox(market(delisted={"linear:BTCUSDT": instant_ms("2024-05-15T10:00")})) as box:
        settings = settings_for(box.url, tmp_path)
        file = settings.data_dir / "BTCUSDT_60.csv"
        file.parent.mkdir(parents=True)
        file.write_bytes(box.truth("BTCUSDT", "60", instant_ms("2024-05-14"), instant_ms("2024-05-15")))
        assert (await fetch(settings)).complete
    async with open_sandbox(market()) as box:
        outcome = await fetch(attrs.evolve(settings, rest_url=box.url))
        assert outcome.complete
        assert differences(box, settings) == []


async def test_a_timeframe_that_is_added_while_running_does_not_bring_a_symbol_back(tmp_path: Path) -> None:
    """What there is of it in the new timeframe is fetched, and nothing of it is streamed."""
    exchange = market(delisted={"linear:ETHUSDT": instant_ms("2024-05-15T13:00")})
    async with open_sandbox(exchange) as box, trio.open_nursery() as nursery:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"], days_to_fetch=1)
        assert (await fetch(settings)).complete
        box.clock.advance(HOUR_MS)
        reload_request = ReloadRequest(lambda: attrs.evolve(settings, timeframes=["60", "30"]))
        stop, seen = trio.Event(), []

        async def watch(_: Counters, coverage: CoverageIndex, __: RestState) -> None:
            seen.append(coverage)
            await trio.sleep_forever()

        nursery.start_soon(
            partial(
                serve, settings, once=False, options=ServeOptions(stop=stop, watch=watch, reload_request=reload_request)
            )
        )
        with trio.fail_after(10):
            await until(lambda: box.counts.stream.topics == 1)
            reload_request.request()
            await until(lambda: box.counts.stream.topics == 2)
            await until(
                lambda: b"2024-05-15 12:30:00" in (whole_lines(settings.data_dir / "ETHUSDT_30.csv") or [b""])[-1]
            )
        report, _ = await trio.to_thread.run_sync(fetch_status, THIS_DISK, settings.data_dir)
        stop.set()
    (coverage,) = seen
    assert (coverage.delisted, report.stream.refused_topics) == ({"ETHUSDT"}, ())


async def test_a_symbol_that_was_never_stored_is_a_mistake(tmp_path: Path) -> None:
    async with open_sandbox(market()) as box:
        outcome = await fetch(settings_for(box.url, tmp_path, symbols=["BTCUSDT", "BTCUSTD"]))
        assert (outcome.complete, outcome.unknown) == (False, ("BTCUSTD",))
        with pytest.raises(SettingsError, match="BTCUSTD is not among those that trade"):
            await fetch(settings_for(box.url, tmp_path, symbols=["BTCUSTD"]))
