"""Disagreements of the exchange with itself: when both sides are read again."""

from collector.core.candle import DAY_MS
from collector.core.disagreements import KnownDisagreement, confirmed


def test_what_was_confirmed_more_often_is_read_again_more_rarely() -> None:
    pauses = [
        KnownDisagreement(b"rows", 1_000, times).due_ms - 1_000 for times in (1, 2, 3, 4, 5, 6, 7, 8, 1_000_000_000)
    ]
    assert pauses == [days * DAY_MS for days in (1, 2, 4, 8, 16, 32, 64, 64, 64)]


def test_a_disagreement_is_confirmed_while_both_sides_say_the_same() -> None:
    once = confirmed(None, b"rows", 5)
    again = confirmed(confirmed(once, b"rows", 6), b"rows", 7)
    assert once == KnownDisagreement(b"rows", 5, 1)
    assert again == KnownDisagreement(b"rows", 7, 3)
    assert confirmed(again, b"others", 8) == KnownDisagreement(b"others", 8, 1)
