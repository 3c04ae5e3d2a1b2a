"""The reorder buffer: when an answer is ready, and that each is handed out once."""

from itertools import pairwise
from math import inf

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.candle import MINUTE_MS, Series
from collector.core.coverage import CoverageIndex
from collector.core.events import Answered, Confirmed
from collector.core.rows import Rows
from collector.core.spans import Spans
from collector.pipeline.reorder_buffer import Answer, Ready, ReorderBuffer
from tests.support.candles import BTC, T0, rows, span, spans
from tests.support.coverage import ETH

MIB = 1024 * 1024


def answer(first: int, behind: int) -> Answered:
    return Answered(BTC, span(first, behind), rows(first, behind), T0)


def end(place: int) -> int:
    """Where a file of so many candles ends."""
    return T0 + place * MINUTE_MS


@attrs.frozen
class Parts:
    buffer: ReorderBuffer
    coverage: CoverageIndex

    def add(self, *answers: Answer, now_s: float = 0) -> None:
        for each in answers:
            self.buffer.add(each, now_s)

    def ready(self, end_ms: int, now_s: float = 0) -> list[Answer]:
        return _answers(self.buffer.take_ready(BTC, end_ms, now_s))


def _answers(ready: Ready | None) -> list[Answer]:
    return ready.answers if ready else []


def fetching(*every_span: Spans) -> Parts:
    """Everything up to candle 100 is wanted, and these spans are in flight."""
    coverage = CoverageIndex()
    coverage.want(BTC, spans(0, 100))
    for each in every_span:
        coverage.ask(BTC, each)
    return Parts(ReorderBuffer(coverage), coverage)


def test_an_answer_that_continues_the_file_is_ready() -> None:
    parts = fetching()
    parts.add(answer(10, 20))
    assert parts.ready(end(10)) == [answer(10, 20)]
    assert BTC not in parts.buffer


def test_an_answer_waits_for_the_hole_before_it() -> None:
    parts = fetching()
    parts.add(answer(20, 30))
    assert parts.ready(end(10)) == []
    assert BTC in parts.buffer
    parts.add(answer(10, 20))
    assert parts.ready(end(10)) == [answer(20, 30), answer(10, 20)]


def test_a_hole_on_record_is_waited_for_no_longer() -> None:
    parts = fetching()
    parts.add(answer(20, 30))
    parts.coverage.fail(BTC, span(10, 20), "no answer", T0)
    assert parts.ready(end(10)) == [answer(20, 30)]


def test_answers_up_to_the_first_hole_are_ready() -> None:
    parts = fetching()
    parts.add(answer(10, 20), answer(40, 50), answer(20, 30))
    assert parts.ready(end(10)) == [answer(10, 20), answer(20, 30)]
    assert parts.ready(end(40)) == [answer(40, 50)]


def test_older_rows_wait_until_nothing_older_is_in_flight() -> None:
    parts = fetching(spans(0, 20))
    parts.add(answer(10, 20))
    assert parts.ready(end(50)) == []
    parts.add(answer(0, 10))
    assert parts.ready(end(50)) == [answer(10, 20), answer(0, 10)]


def test_what_is_in_flight_behind_the_end_holds_no_older_rows_back() -> None:
    parts = fetching(spans(50, 60))
    parts.add(answer(10, 20))
    assert parts.ready(end(50)) == [answer(10, 20)]


@pytest.mark.parametrize(("waited_s", "is_ready"), [(120, False), (120.1, True)])
def test_after_two_minutes_every_answer_is_ready(waited_s: float, *, is_ready: bool) -> None:
    parts = fetching()
    parts.add(answer(20, 30), now_s=7)
    assert bool(parts.ready(end(10), 7 + waited_s)) is is_ready


def test_the_wait_begins_again_when_the_file_gets_on() -> None:
    parts = fetching()
    parts.add(answer(10, 20), answer(40, 50))
    assert parts.ready(end(10), 100) == [answer(10, 20)]
    assert parts.ready(end(20), 200) == []
    assert parts.ready(end(20), 221) == [answer(40, 50)]


@pytest.mark.parametrize(("size", "is_ready"), [(32 * MIB, False), (32 * MIB + 1, True)])
def test_the_bytes_of_every_series_count_together(size: int, *, is_ready: bool) -> None:
    parts = fetching()
    parts.add(
        Answered(ETH, span(20, 30), Rows(bytes(32 * MIB), spans(20, 30)), T0),
        Answered(BTC, span(20, 30), Rows(bytes(size), spans(20, 30)), T0),
    )
    assert bool(parts.ready(end(10))) is is_ready
    assert ETH in parts.buffer


def test_what_goes_on_waiting_counts_and_what_was_handed_out_does_not() -> None:
    parts = fetching()
    parts.add(answer(10, 20), answer(40, 50))
    assert parts.ready(end(10)) == [answer(10, 20)]
    assert parts.buffer.bytes == len(rows(40, 50).text)


def test_a_discarded_series_leaves_the_others_waiting() -> None:
    parts = fetching()
    of_eth = Answered(ETH, span(20, 30), rows(20, 30), T0)
    parts.add(answer(20, 30), of_eth)
    assert len(parts.buffer) == 2
    parts.buffer.discard(BTC)
    assert parts.ready(end(20)) == []
    assert [(series, ready.answers) for series, ready in parts.buffer.drain()] == [(ETH, [of_eth])]
    assert len(parts.buffer) == 0


@given(st.sets(st.integers(1, 59), max_size=8).map(sorted), st.data())
def test_however_answers_arrive_a_file_grows_by_appends(cuts: list[int], data: st.DataObject) -> None:
    windows = list(pairwise([0, *cuts, 60]))
    parts = fetching(spans(0, 60))
    place, written = 0, list[Answer]()
    for second, window in enumerate(data.draw(st.permutations(windows))):
        parts.add(answer(*window))
        ready = sorted(parts.ready(end(place), second), key=lambda each: each.asked)
        written += ready
        place += sum(len(each.rows) for each in ready)
    assert written == [answer(*window) for window in windows]


def test_what_is_ready_right_behind_what_was_handed_out_gathers() -> None:
    parts = fetching(spans(10, 50))
    parts.add(answer(10, 20), now_s=3)
    assert parts.ready(end(10), 3) == [answer(10, 20)]
    parts.add(answer(20, 30), now_s=3.5)
    assert parts.ready(end(20), 3.5) == []
    parts.add(answer(30, 40), now_s=3.9)
    assert (parts.ready(end(20), 3.9), parts.buffer.due_s, parts.buffer.take_due(3.9)) == ([], 4, [])
    assert (parts.buffer.take_due(4), parts.buffer.due_s) == ([BTC], inf)
    assert parts.ready(end(20), 4) == [answer(20, 30), answer(30, 40)]
    assert parts.buffer.due_s == 5


@pytest.mark.parametrize(
    ("next_one", "is_ready"),
    [
        (Answered(BTC, span(20, 30), Rows(bytes(MIB // 2), spans(20, 30)), T0), True),
        (Answered(BTC, span(20, 30), Rows(bytes(MIB // 2 - 1), spans(20, 30)), T0), False),
        (answer(20, 50), True),
        (answer(20, 49), False),
        (Confirmed(BTC, span(20, 21), rows(20, 21), T0), True),
        (answer(0, 10), True),
    ],
    ids=["enough", "not enough", "the last", "not the last", "of the stream", "before the file's end"],
)
def test_it_gathers_no_longer_than_it_has_to(next_one: Answer, *, is_ready: bool) -> None:
    parts = fetching(spans(10, 50))
    parts.add(answer(10, 20))
    assert parts.ready(end(10))
    parts.coverage.answer(BTC, span(10, 20), spans(10, 20), T0)
    parts.add(next_one)
    assert parts.ready(end(20)) == ([next_one] if is_ready else [])


def test_a_candle_of_the_stream_takes_the_page_before_it_along() -> None:
    parts = fetching(spans(10, 50))
    parts.add(answer(10, 20))
    assert parts.ready(end(10))
    parts.add(answer(20, 30))
    assert parts.ready(end(20)) == []
    candle = Confirmed(BTC, span(30, 31), rows(30, 31), T0)
    parts.add(candle)
    assert parts.ready(end(20)) == [answer(20, 30), candle]


def test_the_series_written_last_is_due_last() -> None:
    parts = fetching(spans(10, 50))
    parts.coverage.want(ETH, spans(0, 100))
    for series, place, now_s in ((BTC, 10, 0.0), (ETH, 10, 0.5), (BTC, 20, 1.5)):
        parts.add(Answered(series, span(place, place + 10), rows(place, place + 10), T0), now_s=now_s)
        assert parts.buffer.take_ready(series, end(place), now_s)
    assert parts.buffer.due_s == 1.5
    assert parts.buffer.take_due(1.5) == [ETH]
    assert parts.buffer.due_s == 2.5


def test_many_series_that_are_due_are_taken_in_parts() -> None:
    parts = fetching()
    every_series = [Series(f"S{number}USDT", BTC.timeframe) for number in range(100)]
    for series in every_series:
        parts.coverage.want(series, spans(0, 100))
        parts.add(Answered(series, span(0, 10), rows(0, 10), T0))
        assert parts.buffer.take_ready(series, 0, 0)
    assert parts.buffer.take_due(0.5) == []
    assert [*parts.buffer.take_due(1), *parts.buffer.take_due(1), *parts.buffer.take_due(1)] == every_series


def test_those_that_had_to_wait_for_others_are_told() -> None:
    parts = fetching()
    parts.add(answer(20, 30))
    assert parts.ready(end(10)) == []
    parts.add(answer(10, 20))
    ready = parts.buffer.take_ready(BTC, end(10), 0)
    assert ready == Ready([answer(20, 30), answer(10, 20)], [answer(20, 30)])


places = st.integers(0, 30)
candles = places.map(lambda place: Confirmed(BTC, span(place, place + 1), rows(place, place + 1), T0))
pages = st.tuples(places, st.integers(1, 9)).map(lambda page: answer(page[0], page[0] + page[1]))


@given(st.lists(st.tuples(pages | candles, places, st.sampled_from([0.0, 1.0, 130.0])), max_size=8), places)
def test_every_answer_is_handed_out_once_in_order_of_arrival(
    arrivals: list[tuple[Answer, int, float]], in_flight: int
) -> None:
    parts, now_s = fetching(spans(in_flight, in_flight + 5)), 0.0
    handed_out = list[list[Answer]]()
    for each, place, wait_s in arrivals:
        now_s += wait_s
        parts.add(each, now_s=now_s)
        handed_out.append(parts.ready(end(place), now_s))
    handed_out += [rest.answers for _, rest in parts.buffer.drain()]
    arrived = {id(each): number for number, (each, _, _) in enumerate(arrivals)}
    numbers = [[arrived[id(each)] for each in together] for together in handed_out]
    assert sorted(number for together in numbers for number in together) == sorted(arrived.values())
    assert all(together == sorted(together) for together in numbers)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BTC, ETH]), pages | candles, places, st.sampled_from(["take", "take late", "discard"])
        ),
        max_size=12,
    )
)
def test_the_running_total_is_the_sum_of_what_waits(steps: list[tuple[Series, Answer, int, str]]) -> None:
    parts, waiting = fetching(spans(0, 5)), list[Answer]()
    for series, arrival, place, then in steps:
        waiting.append(attrs.evolve(arrival, series=series))
        parts.add(waiting[-1])
        if then == "discard":
            parts.buffer.discard(series)
            waiting = [each for each in waiting if each.series != series]
        else:
            ready = _answers(parts.buffer.take_ready(series, end(place), 130 if then == "take late" else 0))
            waiting = [each for each in waiting if not any(each is taken for taken in ready)]
        assert parts.buffer.bytes == sum(len(each.rows.text) for each in waiting)
    drained = [each for _, rest in parts.buffer.drain() for each in rest.answers]
    assert sorted(map(id, drained)) == sorted(map(id, waiting))
    assert parts.buffer.bytes == 0
