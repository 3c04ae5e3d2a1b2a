"""Verification: when the candles that only the stream confirmed are asked for, and when again."""

import pytest

from collector.core.candle import MINUTE_MS
from collector.core.spans import NOTHING, Spans
from collector.core.verification import Verification, unverified_at_opening
from tests.support.candles import MINUTE, T0, spans

MINUTES_40 = 40 * MINUTE_MS


def unverified(*parts: Spans) -> Verification:
    every = NOTHING
    for part in parts:
        every |= part
    return Verification(unverified=every)


def test_all_are_asked_for_once_the_oldest_closed_forty_minutes_ago() -> None:
    known, closed_ms = unverified(spans(0, 1), spans(30, 31)), T0 + MINUTE_MS
    assert known.due(MINUTE, closed_ms + MINUTES_40) == NOTHING
    assert known.due(MINUTE, closed_ms + MINUTES_40 + 1) == spans(0, 1) | spans(30, 31)
    assert unverified().due(MINUTE, closed_ms + MINUTES_40) == NOTHING


def test_a_recheck_is_asked_for_at_once_and_alone() -> None:
    known, now_ms = unverified(spans(0, 10)), T0 + 11 * MINUTE_MS
    known.recheck(T0 + 4 * MINUTE_MS)
    assert known.due(MINUTE, now_ms) == spans(4, 10)
    known.answered(spans(6, 10), spans(6, 10), now_ms)
    assert known.due(MINUTE, now_ms) == spans(4, 6)
    known.answered(spans(4, 6), NOTHING, now_ms)
    known.recheck(T0)
    assert known.due(MINUTE, now_ms) == spans(0, 4)  # what an answer has left out waits


def test_a_rechecked_candle_that_came_is_rechecked_once() -> None:
    known = unverified(spans(0, 2))
    known.recheck(T0)
    known.answered(spans(0, 1), spans(0, 1), T0)
    known.unverified = spans(0, 2)  # the stream confirms it once more
    assert known.due(MINUTE, T0 + MINUTE_MS) == spans(1, 2)


def test_what_is_left_out_is_asked_for_at_pauses_from_a_quarter_to_thirty_minutes() -> None:
    known, now_ms, pauses = unverified(spans(0, 2)), T0 + 5 * MINUTE_MS, []
    for _ in range(12):
        known.answered(spans(0, 2), NOTHING, now_ms)
        assert known.due(MINUTE, known.paused_until_ms - 1) == NOTHING
        assert known.due(MINUTE, known.paused_until_ms) == spans(0, 2)
        pauses.append((known.paused_until_ms - now_ms) / 1000)
        now_ms = known.paused_until_ms
    assert pauses == [15, 30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]


def test_answers_of_one_round_make_one_pause() -> None:
    known, now_ms = unverified(spans(0, 2)), T0 + 5 * MINUTE_MS
    known.answered(spans(0, 1), NOTHING, now_ms)
    known.answered(spans(1, 2), NOTHING, now_ms + 14_999)
    assert (known.paused_until_ms, known.left_out) == (now_ms + 15_000, spans(0, 2))
    known.answered(spans(0, 2), spans(0, 1), now_ms + 15_000)
    assert (known.paused_until_ms, known.left_out) == (now_ms + 45_000, spans(1, 2))


def test_the_pause_is_at_its_shortest_again_once_nothing_is_left_out() -> None:
    known, now_ms = unverified(spans(0, 1)), T0 + 5 * MINUTE_MS
    for _ in range(3):
        known.answered(spans(0, 1), NOTHING, now_ms)
        now_ms = known.paused_until_ms
    known.answered(spans(0, 1), spans(0, 1), now_ms)
    assert (known.tries, known.paused_until_ms) == (0, 0)
    known.unverified = spans(1, 2)
    known.answered(spans(1, 2), NOTHING, now_ms)
    assert known.paused_until_ms == now_ms + 15_000


def test_a_pause_goes_on_while_anything_is_left_out() -> None:
    known, now_ms = unverified(spans(0, 2)), T0 + 5 * MINUTE_MS
    known.answered(spans(0, 1), NOTHING, now_ms)
    known.answered(spans(1, 2), spans(1, 2), now_ms + 1)
    assert known.paused_until_ms == now_ms + 15_000


def test_candles_that_have_left_the_file_are_forgotten() -> None:
    known = unverified(spans(0, 9))
    known.answered(spans(0, 3), NOTHING, T0)
    known.recheck(T0)
    known.keep(spans(2, 4))
    assert (known.unverified, known.left_out, known.recheck_now) == (spans(2, 4), spans(2, 3), spans(3, 4))


@pytest.mark.parametrize(("remembered", "first"), [(spans(0, 7), 7), (NOTHING, 10_000 - 2 * 24 * 60)])
def test_a_file_is_unverified_beyond_its_checkpoint_or_for_two_days(remembered: Spans, first: int) -> None:
    held = spans(0, 10_000)
    assert unverified_at_opening(MINUTE, held, remembered) == spans(first, 10_000)
    assert unverified_at_opening(MINUTE, NOTHING, NOTHING) == NOTHING
