"""What the live display shows: of each phase its numbers, whatever draws them."""

import attrs
import pytest

from collector.commands.display import display_lines
from collector.core.candle import MINUTE_MS
from collector.monitoring.report import Fetching, Lag, Report, Requests, Streaming
from tests.support.candles import T0
from tests.support.reports import REPORT

FETCHING = Fetching(75_000, 45_000, 5, 6_400.0, 7.2, "BTCUSDT_1", T0 + 365 * MINUTE_MS)
STREAMING = attrs.evolve(REPORT.stream, connections=2, wanted=2, subscribed=2, series=12)
BETWEEN = T0 + 48_000  # twelve seconds before the next close
LIVE = attrs.evolve(REPORT, stream=STREAMING, exchange_ms=BETWEEN, next_close_ms=T0 + MINUTE_MS)


def shown(report: Report) -> list[str]:
    return [f"{line.title}: {line.text}" for line in display_lines(report)]


def stream(**changes: object) -> Streaming:
    return attrs.evolve(STREAMING, **changes)  # type: ignore[arg-type]


def test_history_shows_percent_series_rate_date_and_time_left() -> None:
    report = attrs.evolve(REPORT, doing="catching up", series=12, fetching=FETCHING)
    assert shown(report) == [
        "history: 62 % · 7 of 12 series · 6,400/s · 7 s left",
        ": 75,000 of 120,000 candles · BTCUSDT_1 at 2023-11-15 06:05",
    ]
    assert display_lines(report)[0].share == 0.625


def test_a_whole_market_is_shown_in_millions_and_before_anything_came_nothing_is_promised() -> None:
    begun = Fetching(0, 172_800_000, 12, 0.0, None)
    assert shown(attrs.evolve(REPORT, doing="catching up", series=12, fetching=begun)) == [
        "history: 0 % · 0 of 12 series · 0/s · time left unknown",
        ": 0 of 172.8M candles",
    ]


def test_the_stream_shows_series_connections_lag_and_next_close() -> None:
    what = "live: 12 series over 2 connections · next close 00:01:00 in 12 s"
    assert shown(LIVE) == [what, ": nothing late"]
    punctual = attrs.evolve(LIVE, stream=stream(confirm_lags=10, confirm_lag_s=4.0))
    assert shown(punctual) == [what, ": nothing late, candles come 0.4 s after their close"]
    lags = (Lag("1", 6, "BTCUSDT_1", 65.0), Lag("5", 6, "ETHUSDT_5", 3.0))
    assert shown(attrs.evolve(LIVE, lags=lags)) == [what, ": newest candle late by 1 min 5 s (BTCUSDT_1)"]


def test_a_candle_that_comes_with_the_history_is_late_only_to_an_unwell_collector() -> None:
    lags = (Lag("1", 6, "BTCUSDT_1", 34_000_000.0),)
    catching_up = attrs.evolve(LIVE, doing="catching up", fetching=FETCHING, lags=lags)
    assert shown(catching_up)[-1] == ": the newest candles are being fetched"
    unwell = attrs.evolve(catching_up, reasons=("the newest candle of BTCUSDT_5 is overdue",))
    assert shown(unwell)[-2] == ": newest candle late by 393 d 12 h (BTCUSDT_1)"


def test_a_lost_connection_shows_why_and_the_next_try() -> None:
    lost = stream(subscribed=1, series=6, unconnected="connection refused; tried again in 4 s")
    first, _, why = shown(attrs.evolve(LIVE, stream=lost))
    assert first.startswith("live: 6 series over 1 of 2 connections · ")
    assert why == ": connection refused; tried again in 4 s"
    begun = stream(subscribed=0, series=0)
    assert shown(attrs.evolve(LIVE, stream=begun))[0].startswith("live: connecting · ")
    none = attrs.evolve(lost, subscribed=0, series=0)
    assert shown(attrs.evolve(LIVE, stream=none))[0].startswith("live: no connection · ")


def test_an_exchange_that_is_away_shows_since_when_and_the_next_try() -> None:
    away = "the exchange cannot be asked since 2023-11-15 00:00:00 UTC (48 s): refused; asked again in 3 s"
    reasons = (f"{away} (maintenance announced until 01:00)", "100 MB are left on the disk")
    report = attrs.evolve(LIVE, unserved=away, reasons=reasons)
    assert shown(report)[2:] == [f"waiting: {away}", "degraded: 100 MB are left on the disk"]
    assert all(line.is_trouble for line in display_lines(report)[2:])


def test_a_ban_shows_its_end() -> None:
    banned: Requests = attrs.evolve(REPORT.requests, banned_until_ms=T0 + 10 * MINUTE_MS)
    report = attrs.evolve(REPORT, requests=banned, now_ms=T0, reasons=("a rate ban is on",))
    assert shown(report) == ["waiting: a rate ban or block is on until 2023-11-15 00:10:00 UTC, 10 min 0 s left"]


@pytest.mark.parametrize(
    ("files", "read", "text"),
    [
        (0, 0, "start: asking the exchange what it lists"),
        (5_000, 1_250, "start: 25 % · 1,250 of 5,000 files read"),
        (5_000, 5_000, "start: finding out what is missing"),
    ],
)
def test_the_start_shows_what_it_waits_for(files: int, read: int, text: str) -> None:
    assert shown(attrs.evolve(REPORT, doing="starting", files=files, files_read=read)) == [text]
