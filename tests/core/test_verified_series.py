"""Verification within the coverage of a series: who asks for what the stream confirmed, and how often."""

from itertools import pairwise

import attrs
import pytest

from collector.core.candle import DAY_MS, MINUTE_MS, Series, timeframe
from collector.core.coverage import CoverageIndex
from collector.core.request_windows import windows
from collector.core.series_coverage import requests_for
from collector.core.spans import NOTHING, Spans
from tests.support.coverage import MINUTE, NOW, SECOND, minutes, span, wanting


def test_a_recheck_takes_whole_candles() -> None:
    coverage, five = CoverageIndex(), Series("BTCUSDT", timeframe("5"))
    coverage.want(five, minutes(0, 10))
    for first in (0, 5):
        coverage[five].confirm(minutes(first, first + 5), held=minutes(0, first + 5))
    coverage[five].recheck(NOW + 9 * MINUTE_MS + 7 * SECOND)
    assert coverage.due(five, NOW + 10 * MINUTE_MS) == minutes(5, 10)


@attrs.define
class LaggingRest:
    """A stream that confirms every minute, and a REST side that has a candle only `lag_ms` after its close."""

    lag_ms: int
    coverage: CoverageIndex = attrs.field(factory=CoverageIndex)
    asked_ms: list[int] = attrs.field(factory=list)

    def run(self, minutes_behind: int, lost_every: int) -> None:
        for minute in range(1, minutes_behind + 1):
            self.coverage.want(MINUTE, minutes(0, minute))
            self.coverage[MINUTE].confirm(minutes(minute - 1, minute), held=minutes(0, minute))
            now_ms = NOW + minute * MINUTE_MS + SECOND
            if minute % lost_every == 0:
                self.coverage[MINUTE].recheck(now_ms - 3 * MINUTE_MS)
            self.ask(now_ms)
            self.ask(now_ms + 20 * SECOND)

    def ask(self, now_ms: int) -> None:
        there = Spans.between(0, MINUTE.timeframe.floor(now_ms - self.lag_ms))
        for window in windows(
            MINUTE.timeframe, requests_for(self.coverage[MINUTE], self.coverage.due(MINUTE, now_ms), now_ms)
        ):
            self.asked_ms.append(now_ms)
            self.coverage.answer(MINUTE, window, Spans((window,)) & there, now_ms)


@pytest.mark.parametrize("lag_s", [8, 20, 120, 3600, 5 * 3600])
def test_stream_candles_stay_unverified_until_rest_has_them(lag_s: int) -> None:
    rest = LaggingRest(lag_s * SECOND)
    rest.run(24 * 60, lost_every=7)
    assert not rest.coverage[MINUTE].unverified & minutes(0, 24 * 60 - lag_s // 60 - 80)
    assert len(rest.asked_ms) <= 24 * 60 / 7 * 3


def test_a_rest_side_that_stands_still_costs_two_requests_an_hour() -> None:
    rest = LaggingRest(lag_ms=10 * DAY_MS)
    rest.run(15 * 60, lost_every=10_000)
    assert rest.coverage[MINUTE].unverified == minutes(0, 15 * 60)
    assert len(rest.asked_ms) <= 2 * 15 + 8
    pauses = [after - before for before, after in pairwise(rest.asked_ms)]
    assert pauses[:2] < pauses[2:4] < [20 * MINUTE_MS]
    assert max(pauses) <= 31 * MINUTE_MS


def test_an_answer_verifies_only_what_it_contains() -> None:
    coverage = wanting(0, 3)
    for place in range(3):
        coverage[MINUTE].confirm(minutes(place, place + 1), held=minutes(0, place + 1))
    coverage[MINUTE].recheck(NOW)
    coverage.answer(MINUTE, span(0, 3), minutes(0, 2), NOW + 3 * MINUTE_MS)
    assert coverage[MINUTE].unverified == minutes(2, 3)
    assert coverage.due(MINUTE, NOW + 3 * MINUTE_MS + 14 * SECOND) == NOTHING
    assert coverage.due(MINUTE, NOW + 3 * MINUTE_MS + 15 * SECOND) == minutes(2, 3)
    coverage.fail(MINUTE, span(2, 3), "HTTP 502", NOW + 4 * MINUTE_MS)
    assert coverage.due(MINUTE, NOW + 4 * MINUTE_MS + 29 * SECOND) == NOTHING
    assert coverage.due(MINUTE, NOW + 4 * MINUTE_MS + 30 * SECOND) == minutes(2, 3)
    coverage.answer(MINUTE, span(2, 3), minutes(2, 3), NOW + 5 * MINUTE_MS)
    assert coverage[MINUTE].unverified == NOTHING


def test_unwanted_unverified_candles_are_verified_once() -> None:
    """They were confirmed before, and are in the file still."""
    coverage = CoverageIndex()
    coverage[MINUTE].hold(minutes(-200, -100))
    coverage[MINUTE].mark_unverified(minutes(-200, -100))
    asked = []
    for now in range(50):
        coverage.want(MINUTE, minutes(now - 50, now))
        coverage.answer(MINUTE, span(-50, 0), minutes(-50, 0), NOW)
        coverage[MINUTE].confirm(minutes(now, now + 1), held=coverage[MINUTE].held | minutes(now, now + 1))
        due = coverage.due(MINUTE, NOW + (now + 1) * MINUTE_MS + SECOND)
        asked += [(now, each) for each in due]
        for each in due:
            coverage.answer(MINUTE, each, Spans((each,)), NOW + now * MINUTE_MS + SECOND)
    assert asked == [(0, span(-200, -100)), (0, span(0, 1)), (41, span(1, 42))]


def test_what_is_delisted_is_verified_all_the_same() -> None:
    coverage = wanting(0, 3)
    coverage[MINUTE].confirm(minutes(2, 3), held=minutes(0, 3))
    coverage.delist(["BTCUSDT"])
    assert coverage.due(MINUTE, NOW + 60 * MINUTE_MS) == minutes(2, 3)


def test_a_lost_connection_is_not_a_request_while_rest_lags() -> None:
    coverage = wanting(0, 1)
    coverage[MINUTE].confirm(minutes(0, 1), held=minutes(0, 1))
    coverage[MINUTE].recheck(NOW)
    coverage.answer(MINUTE, span(0, 1), NOTHING, NOW + MINUTE_MS)
    coverage[MINUTE].recheck(NOW)
    assert coverage.due(MINUTE, NOW + MINUTE_MS + SECOND) == NOTHING


@pytest.mark.parametrize(("beyond_ms", "ends"), [(0, False), (1, True)])
def test_a_pause_longer_than_any_is_of_a_clock_that_was_wrong(beyond_ms: int, ends: bool) -> None:
    coverage = wanting(0, 1)
    coverage[MINUTE].verification.paused_until_ms = NOW + 30 * MINUTE_MS + beyond_ms
    coverage[MINUTE].drop_future_timestamps(NOW)
    assert (coverage[MINUTE].verification.paused_until_ms == 0) is ends


def test_what_has_left_the_file_is_not_to_be_verified() -> None:
    coverage = wanting(0, 10)
    coverage.fail(MINUTE, span(0, 10), "HTTP 502", NOW)
    coverage[MINUTE].mark_unverified(minutes(0, 8))
    coverage[MINUTE].hold(minutes(5, 8))
    assert coverage[MINUTE].unverified == minutes(5, 8)
    assert [gap.span for gap in coverage.missing(MINUTE)] == [span(0, 5), span(8, 10)]
