"""Listing dates: where a series begins, and what tells."""

from collector.core.candle import DAY_MS, MINUTE_MS
from collector.core.listing_dates import ListingProbes, begins_before, claimed_ms
from collector.core.missing import State
from collector.core.spans import NOTHING
from tests.support.coverage import HOUR, MINUTE, NOW, left_out, minutes, span, states, wanting


def test_before_listing_is_a_claim_of_one_series_as_deep_as_was_asked() -> None:
    coverage = wanting(0, 120)
    coverage.want(HOUR, minutes(-60, 120))
    coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW)
    assert coverage.due(MINUTE, NOW) == minutes(90, 120)
    assert coverage.due(HOUR, NOW) == minutes(-60, 120)
    assert states(coverage) == [(minutes(0, 90), State.BEFORE_LISTING), (minutes(90, 120), State.PENDING)]
    assert coverage.due(MINUTE, NOW + DAY_MS) == minutes(0, 120)
    coverage.want(MINUTE, minutes(-500, 120))
    assert coverage.due(MINUTE, NOW) == minutes(-500, 0) | minutes(90, 120)


def test_before_listing_is_asked_for_ever_more_rarely() -> None:
    coverage, at, waits = wanting(0, 1), NOW, []
    for _ in range(8):
        coverage[MINUTE].set_listing_date(NOW, NOW + MINUTE_MS, at)
        due = coverage[MINUTE].gap_index.next_due_ms(at)
        assert due
        waits.append((due - at) // DAY_MS)
        at = due
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64]


def test_an_older_row_contradicts_a_listing_date() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW)
    coverage[MINUTE].hold(minutes(20, 30))
    assert states(coverage)[:2] == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(30, 100), State.PENDING)]


def test_what_the_exchange_dropped_and_is_held_was_listed() -> None:
    """It keeps only some days of a timeframe."""
    coverage = wanting(0, 100)
    coverage[MINUTE].hold(minutes(20, 60))
    assert coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW) == minutes(0, 20)
    assert states(coverage) == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(60, 100), State.PENDING)]


def test_a_listing_date_or_older_rows_need_no_probe() -> None:
    coverage = wanting(-9, 10)
    assert coverage[MINUTE].listing_unknown(NOW)
    coverage[MINUTE].set_listing_date(NOW - 9 * MINUTE_MS, NOW, NOW)
    assert not coverage[MINUTE].listing_unknown(NOW)
    assert coverage[HOUR].listing_unknown(NOW)
    assert coverage[MINUTE].listing_unknown(NOW - MINUTE_MS)
    coverage[MINUTE].hold(minutes(-9, 3))
    assert not coverage[MINUTE].listing_unknown(NOW - 9 * MINUTE_MS)
    assert coverage[MINUTE].listing_unknown(NOW - 10 * MINUTE_MS)


def test_a_listing_date_stands_while_nothing_older_is_held() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].set_listing_date(NOW, NOW + 50 * MINUTE_MS, NOW)
    coverage.fail(MINUTE, span(60, 70), "HTTP 502", NOW)
    coverage.answer(MINUTE, span(70, 80), NOTHING, NOW + 100 * MINUTE_MS)
    assert states(coverage)[0] == (minutes(0, 50), State.BEFORE_LISTING)
    coverage.answer(MINUTE, span(20, 30), minutes(20, 30), NOW + 101 * MINUTE_MS)
    assert states(coverage)[:2] == [(minutes(0, 20), State.BEFORE_LISTING), (minutes(30, 60), State.PENDING)]
    coverage[MINUTE].hold(minutes(10, 30))
    assert states(coverage)[0] == (minutes(0, 10), State.BEFORE_LISTING)


def test_the_oldest_row_and_the_latest_listing_date_are_what_tells() -> None:
    coverage = wanting(0, 100)
    coverage[MINUTE].hold(minutes(30, 40) | minutes(50, 60))
    assert coverage[MINUTE].gap_index.listing_ms is None
    assert not coverage[MINUTE].listing_unknown(NOW + 30 * MINUTE_MS)
    assert coverage[MINUTE].listing_unknown(NOW + 29 * MINUTE_MS)
    assert coverage[MINUTE].set_listing_date(NOW, NOW + 90 * MINUTE_MS, NOW) == minutes(0, 30)
    coverage[MINUTE].set_listing_date(NOW, NOW + 10 * MINUTE_MS, NOW + 9 * DAY_MS)
    left_out(coverage, 80, 81)
    assert coverage[MINUTE].gap_index.listing_ms == NOW + 30 * MINUTE_MS


def test_an_answer_is_older_than_a_later_date_or_none() -> None:
    assert begins_before(NOTHING, None)
    assert not begins_before(NOTHING, NOW)
    assert begins_before(minutes(0, 5), NOW + 1)
    assert not begins_before(minutes(0, 5), NOW)
    assert begins_before(minutes(0, 2) | minutes(4, 5), NOW + 1)


def test_only_a_claim_about_the_beginning_names_a_listing_date() -> None:
    coverage = wanting(0, 10)
    coverage[MINUTE].set_listing_date(NOW, NOW + 3 * MINUTE_MS, NOW)
    for _ in range(2):
        coverage.answer(MINUTE, span(3, 10), minutes(3, 6), NOW + 120 * MINUTE_MS)
    assert states(coverage) == [(minutes(0, 3), State.BEFORE_LISTING), (minutes(6, 10), State.ABSENT)]
    assert claimed_ms(coverage[MINUTE].gaps) == NOW + 3 * MINUTE_MS


def test_the_windows_behind_a_probe_wait_for_it() -> None:
    probes = ListingProbes()
    probes.add(MINUTE)
    assert not probes.waits(MINUTE)
    assert probes.begin(MINUTE)
    assert probes.waits(MINUTE)
    assert not probes.waits(HOUR)
    probes.end(MINUTE)
    assert not probes.waits(MINUTE)
    assert not probes.begin(MINUTE)


def test_a_forgotten_probe_is_a_window_like_any_other() -> None:
    probes = ListingProbes()
    probes.add(MINUTE)
    probes.forget(MINUTE)
    assert not probes.begin(MINUTE)
    assert not probes.waits(MINUTE)
