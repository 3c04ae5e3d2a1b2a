"""Corrections: the newest spans of revised and of repaired candles, each kind by itself."""

from collector.core.corrections import MOST, Corrections
from tests.support.candles import spans


def test_candles_that_were_put_right_are_kept_by_kind() -> None:
    kept = Corrections()
    kept.add_revised(spans(4, 5))
    kept.add_revised(spans(5, 6))
    kept.add_repaired(spans(9, 12))
    assert (kept.revised, kept.repaired) == (spans(4, 6), spans(9, 12))


def test_the_oldest_give_way_where_there_are_too_many() -> None:
    kept = Corrections()
    for place in range(2 * MOST + 2, 0, -2):
        kept.add_revised(spans(place, place + 1))
    assert len(kept.revised) == MOST
    assert (kept.revised.bounds.start_ms, kept.revised.bounds.end_ms) == (
        spans(4, 5).bounds.start_ms,
        spans(2 * MOST + 2, 2 * MOST + 3).bounds.end_ms,
    )
