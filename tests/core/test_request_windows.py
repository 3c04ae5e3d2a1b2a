"""Planning: windows tile what is missing, and the agenda hands them out series after series."""

from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import DAY_MS, TIMEFRAMES, Series, Timeframe, timeframe
from collector.core.request_windows import NEWEST, PAGE, FetchQueue, Window, halves, joined, wanted, windows
from collector.core.spans import NOTHING, Span, Spans

MINUTE = timeframe("1")
BTC, ETH = Series("BTCUSDT", MINUTE), Series("ETHUSDT", MINUTE)
frames = st.sampled_from(list(TIMEFRAMES.values()))
moments = st.integers(1_500_000_000_000, 1_800_000_000_000)


def minutes(first: int, behind: int) -> Spans:
    return Spans.between(first * 60_000, behind * 60_000)


def on_grid(frame: Timeframe, ms: int, places: list[tuple[int, int]]) -> Spans:
    first = frame.floor(ms)
    return Spans.of(*(Span(frame.shift(first, at), frame.shift(first, at + length)) for at, length in places))


places = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90)), max_size=5)


def test_near_spans_share_a_request_over_what_may_be_asked_again() -> None:
    near, far = minutes(0, 2) | minutes(5, 6) | minutes(8, 9), minutes(50, 51)
    assert joined(MINUTE, near | far, minutes(0, 60), page=10) == minutes(0, 9) | far
    assert joined(MINUTE, near | far, minutes(5, 60), page=10) == minutes(0, 2) | minutes(5, 9) | far
    assert joined(MINUTE, near | far, NOTHING, page=10) == near | far


def test_two_spans_share_a_request_only_if_that_saves_one() -> None:
    assert joined(MINUTE, minutes(0, 2) | minutes(8, 9), page=10) == minutes(0, 9)
    far, full, near = minutes(0, 25), minutes(1000, 1010), minutes(1012, 1014)
    assert joined(MINUTE, far | full | near, page=10) == far | full | near


@given(frames, moments, places, places, st.integers(1, 50))
def test_sharing_asks_for_all_spans_with_fewer_requests(
    frame: Timeframe, ms: int, at: list[tuple[int, int]], held: list[tuple[int, int]], page: int
) -> None:
    spans, between = on_grid(frame, ms, at), on_grid(frame, ms, held)
    shared = joined(frame, spans, between, page)
    assert not spans - shared
    assert not shared - spans - between
    assert len(list(windows(frame, shared, page))) <= len(list(windows(frame, spans, page)))


@given(frames, moments, places, st.integers(1, 50))
def test_windows_tile_their_spans(frame: Timeframe, ms: int, at: list[tuple[int, int]], page: int) -> None:
    spans = on_grid(frame, ms, at)
    cut = list(windows(frame, spans, page))
    assert Spans.of(*cut) == spans
    assert sum(each.end_ms - each.start_ms for each in cut) == sum(each.end_ms - each.start_ms for each in spans)
    assert all(1 <= frame.count(each.start_ms, each.end_ms) <= page for each in cut)
    assert cut == sorted(cut)


def test_a_page_is_the_most_the_exchange_answers() -> None:
    assert [MINUTE.count(each.start_ms, each.end_ms) for each in windows(MINUTE, minutes(0, 2500))] == [1000, 1000, 500]
    assert PAGE == 1000


@given(frames, moments, st.integers(1, 3000))
def test_what_is_wanted_is_closed_and_reaches_far_enough(frame: Timeframe, now_ms: int, days: int) -> None:
    span = wanted(frame, now_ms, days, newest_only=False)
    if span:
        bounds = span.bounds
        assert bounds.end_ms <= now_ms < frame.close(bounds.end_ms)
        assert bounds.start_ms <= max(now_ms - days * DAY_MS, 1_483_228_800_000) < frame.close(bounds.start_ms)


@given(frames, moments)
def test_only_the_newest_are_wanted_under_a_limit(frame: Timeframe, now_ms: int) -> None:
    bounds = wanted(frame, now_ms, None, newest_only=True).bounds
    assert frame.count(bounds.start_ms, bounds.end_ms) == NEWEST == 50
    assert bounds.end_ms == frame.floor(now_ms)


@given(frames, moments, st.integers(1, 3000))
def test_a_limit_leaves_the_newest_of_the_days_that_are_wanted(frame: Timeframe, now_ms: int, days: int) -> None:
    whole, newest = wanted(frame, now_ms, days, newest_only=False), wanted(frame, now_ms, None, newest_only=True)
    assert wanted(frame, now_ms, days, newest_only=True) == whole & newest


@given(frames, moments, st.integers(1, 1000))
def test_halves_are_halved_down_to_single_candles(frame: Timeframe, ms: int, candles: int) -> None:
    span, halvings = on_grid(frame, ms, [(0, candles)])[0], 0
    while parts := halves(frame, span):
        assert Spans.of(*parts) == Spans((span,))
        counts = [frame.count(part.start_ms, part.end_ms) for part in parts]
        assert counts[0] - counts[1] in (0, 1)
        span, halvings = parts[0], halvings + 1
    assert frame.count(span.start_ms, span.end_ms) == 1
    assert halvings == (candles - 1).bit_length()


def test_the_queue_hands_out_one_series_before_the_next() -> None:
    queue = FetchQueue()
    queue.add(ETH, minutes(0, 1500))
    queue.add(BTC, minutes(0, 1500))
    assert [queue.take() for _ in range(5)] == [
        Window(ETH, minutes(0, 1000)[0]),
        Window(ETH, minutes(1000, 1500)[0]),
        Window(BTC, minutes(0, 1000)[0]),
        Window(BTC, minutes(1000, 1500)[0]),
        None,
    ]


def test_a_series_of_unknown_listing_gives_one_window_until_resumed() -> None:
    queue, coarse = FetchQueue(), Series("BTCUSDT", timeframe("5"))
    queue.add(BTC, minutes(0, 3000), listing_unknown=True)
    queue.add(coarse, minutes(0, 3000), listing_unknown=True)
    queue.add(ETH, minutes(0, 10))
    assert queue.take() == Window(BTC, minutes(0, 1000)[0], probes_listing=True)
    assert queue.take() == Window(coarse, minutes(0, 3000)[0], probes_listing=True)
    assert queue.take() == Window(ETH, minutes(0, 10)[0])
    assert queue.take() is None
    queue.resume(BTC)
    assert queue.take() == Window(BTC, minutes(1000, 2000)[0])
    assert queue.take() == Window(BTC, minutes(2000, 3000)[0])


def test_spans_can_be_taken_back_before_they_are_handed_out() -> None:
    queue = FetchQueue()
    queue.add(BTC, minutes(0, 100))
    assert queue.drop(BTC, minutes(50, 200)) == minutes(50, 100)
    assert queue.drop(BTC) == minutes(0, 50)
    assert queue.take() is None
    assert queue.drop(BTC) == NOTHING


def test_a_series_dropped_as_a_whole_needs_no_probe() -> None:
    queue = FetchQueue()
    queue.add(BTC, minutes(0, 100), listing_unknown=True)
    queue.drop(BTC)
    queue.add(BTC, minutes(0, 100))
    assert queue.take() == Window(BTC, minutes(0, 100)[0], probes_listing=False)


@given(st.lists(st.tuples(st.sampled_from([BTC, ETH]), places), max_size=6))
def test_everything_added_is_handed_out_exactly_once(added: list[tuple[Series, list[tuple[int, int]]]]) -> None:
    queue, asked = FetchQueue(), {BTC: NOTHING, ETH: NOTHING}
    for series, at in added:
        spans = on_grid(MINUTE, 0, at) - asked[series]
        queue.add(series, spans)
        asked[series] |= spans
    taken = {BTC: NOTHING, ETH: NOTHING}
    while (window := queue.take()) is not None:
        span = Spans((window.span,))
        assert not taken[window.series] & span
        taken[window.series] |= span
    assert taken == asked
