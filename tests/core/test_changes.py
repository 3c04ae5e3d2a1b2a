"""What is to be copied: written, flushed, taken, put back, and what is unsure instead."""

from collector.core.candle import Series
from collector.core.changes import Changes, Due
from collector.core.spans import NOTHING
from tests.support.candles import BTC, spans

OTHER = Series.named("ETHUSDT_60")


def followed() -> Changes:
    changes = Changes()
    changes.follow((), 0)
    return changes


def test_what_is_written_is_due_once_it_is_flushed() -> None:
    changes = followed()
    changes.wrote(BTC, spans(0, 1))
    changes.wrote(BTC, spans(1, 2))
    assert changes.take(9) == {}
    changes.flushed([BTC, OTHER], 5)
    assert (changes.due, changes.oldest_s) == (1, 5)
    assert changes.take(9) == {BTC: Due(spans(0, 2), 5)}
    assert (changes.due, changes.oldest_s) == (0, None)


def test_changes_of_a_series_join_and_keep_their_first_moment() -> None:
    changes = followed()
    for place in range(3):
        changes.wrote(BTC, spans(place, place + 1))
        changes.flushed([BTC], place)
    assert changes.take(9) == {BTC: Due(spans(0, 3), 0)}


def test_the_oldest_are_taken_first_and_what_is_put_back_is_older_still() -> None:
    changes = followed()
    for moment, series in enumerate((OTHER, BTC)):
        changes.wrote(series, spans(0, 1))
        changes.flushed([series], moment)
    taken = changes.take(1)
    assert [*taken] == [OTHER]
    changes.wrote(OTHER, spans(1, 2))
    changes.flushed([OTHER], 9)
    changes.put_back(taken)
    assert changes.oldest_s == 0
    assert changes.take(1) == {OTHER: Due(spans(0, 2), 0)}


def test_too_many_spans_make_a_series_unsure() -> None:
    changes = followed()
    for place in range(0, 1000, 2):
        changes.wrote(BTC, spans(place, place + 1))
    changes.flushed([BTC], 3)
    assert (changes.due, changes.unsure) == (0, 1)
    assert changes.take_unsure() == (BTC, 3)
    assert changes.take_unsure() is None


def test_whoever_opens_a_file_makes_it_unsure_and_its_gaps_due() -> None:
    changes = followed()
    changes.doubt([BTC, OTHER], 7)
    changes.doubt([BTC], 8)
    assert (changes.unsure, changes.oldest_s) == (2, 7)
    assert (changes.take_gaps(1), changes.take_gaps(9), changes.has_gaps) == ([BTC], [OTHER], False)


def test_without_a_follower_nothing_is_kept() -> None:
    changes = Changes()
    for _ in range(2):
        changes.wrote(BTC, spans(0, 1))
        changes.flushed([BTC], 0)
        changes.doubt([BTC], 0)
        changes.saved([BTC])
        changes.put_back({BTC: Due(spans(0, 1), 0)})
        assert (changes.due, changes.unsure, changes.has_gaps, changes.oldest_s) == (0, 0, False, None)
        changes.follow([BTC], 0)
        changes.wrote(BTC, spans(0, 1))
        changes.unfollow()


def test_no_span_is_no_change() -> None:
    changes = followed()
    changes.wrote(BTC, NOTHING)
    changes.flushed([BTC], 0)
    assert changes.due == 0


def test_news_are_told() -> None:
    told: list[int] = []
    changes = followed()
    changes.report_to(lambda: told.append(1))
    changes.wrote(BTC, spans(0, 1))
    assert told == []
    changes.flushed([BTC], 0)
    changes.saved([BTC])
    changes.doubt([BTC], 0)
    assert len(told) == 3


def test_of_a_series_that_somebody_else_collects_nothing_is_kept() -> None:
    changes = followed()
    for series in (BTC, OTHER):
        changes.wrote(series, spans(0, 1))
        changes.flushed([series], 0)
    taken = changes.take(1)
    changes.doubt([BTC, OTHER], 0)
    changes.wrote(BTC, spans(1, 2))
    changes.leave([BTC])
    changes.flushed([BTC], 1)  # what was on its way still comes
    changes.wrote(BTC, spans(2, 3))
    changes.flushed([BTC], 1)
    changes.saved([BTC])
    changes.doubt([BTC], 1)
    changes.put_back(taken)
    assert ([*changes.take(9)], changes.take_unsure(), changes.take_gaps(9)) == ([OTHER], (OTHER, 0), [OTHER])


def test_a_series_that_comes_back_is_unsure() -> None:
    changes = followed()
    changes.leave([BTC])
    changes.enter([BTC], 3)
    changes.wrote(BTC, spans(0, 1))
    changes.flushed([BTC], 4)
    assert (changes.take_unsure(), changes.take_gaps(9), [*changes.take(9)]) == ((BTC, 3), [BTC], [BTC])


def test_gaps_of_a_shared_copy_are_replaced_once_they_were_read() -> None:
    changes = followed()
    changes.report_to(lambda: None, shared=True)
    changes.doubt([BTC, OTHER], 0)
    changes.saved([BTC])
    assert (changes.unsure, changes.has_gaps) == (2, False)
    changes.gaps_read([BTC])
    changes.saved([BTC, OTHER])
    assert changes.take_gaps(9) == [BTC]
    changes.leave([BTC])
    changes.enter([BTC], 1)
    assert not changes.has_gaps
    changes.gaps_read([BTC])
    assert changes.take_gaps(9) == [BTC]
