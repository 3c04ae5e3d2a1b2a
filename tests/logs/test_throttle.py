"""The log throttle: what passes at once, what is only counted, and when the count is due."""

from collections.abc import Hashable

from collector.logs.throttle import INTERVAL_S, LogThrottle

START_S = 1000.0


def test_the_first_line_is_said_and_its_repetitions_are_counted() -> None:
    throttle = LogThrottle()
    assert [throttle.passes("lost", "lost", START_S) for _ in range(4)] == [True, False, False, False]
    assert throttle.flush(START_S + INTERVAL_S - 1) == []
    assert throttle.flush(START_S + INTERVAL_S) == [("lost", 3, INTERVAL_S)]


def test_a_few_lines_of_a_kind_that_differ_are_all_said() -> None:
    throttle = LogThrottle()
    said = [throttle.passes("lost", f"lost {number}", START_S) for number in range(50)]
    assert 1 < sum(said) < 10
    assert said == sorted(said, reverse=True)


def test_a_storm_that_goes_on_is_counted_once_an_interval() -> None:
    throttle, said = LogThrottle(), 0
    due: list[tuple[Hashable, int, float]] = []
    for second in range(600):
        now_s = START_S + second
        due += throttle.flush(now_s)
        said += throttle.passes("lost", "lost", now_s)
    assert said == 1
    assert len(due) == 9
    assert sum(times for _, times, _ in due) + said == 540


def test_when_it_is_over_the_next_line_is_said_again() -> None:
    throttle = LogThrottle()
    throttle.passes("lost", "lost", START_S)
    throttle.passes("lost", "lost", START_S)
    assert throttle.flush(START_S + INTERVAL_S)
    assert not throttle.passes("lost", "lost", START_S + INTERVAL_S + 1)
    assert throttle.flush(START_S + 2 * INTERVAL_S)
    assert throttle.flush(START_S + 3 * INTERVAL_S) == []
    assert throttle.passes("lost", "lost", START_S + 3 * INTERVAL_S)


def test_kinds_do_not_hide_one_another() -> None:
    throttle = LogThrottle()
    assert throttle.passes("lost", "x", START_S)
    assert throttle.passes("banned", "x", START_S)


def test_at_the_end_every_count_is_due() -> None:
    throttle = LogThrottle()
    for _ in range(3):
        throttle.passes("lost", "lost", START_S)
    assert throttle.flush(START_S + 5, all_of_them=True) == [("lost", 2, 5.0)]
