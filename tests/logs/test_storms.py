"""Storms: what is said at once, what is only counted, and when the count is told."""

from collector.logs.storms import INTERVAL_S, Storms

START_S = 1000.0


def test_the_first_line_is_said_and_its_repetitions_are_counted() -> None:
    storms = Storms()
    assert [storms.passes("lost", "lost", START_S) for _ in range(4)] == [True, False, False, False]
    assert storms.told(START_S + INTERVAL_S - 1) == []
    assert storms.told(START_S + INTERVAL_S) == [("lost", 3, INTERVAL_S)]


def test_a_few_lines_of_a_kind_that_differ_are_all_said() -> None:
    storms = Storms()
    said = [storms.passes("lost", f"lost {number}", START_S) for number in range(50)]
    assert 1 < sum(said) < 10
    assert said == sorted(said, reverse=True)


def test_a_storm_that_goes_on_is_told_once_an_interval() -> None:
    storms, said = Storms(), 0
    told = []
    for second in range(600):
        now_s = START_S + second
        told += storms.told(now_s)
        said += storms.passes("lost", "lost", now_s)
    assert said == 1
    assert len(told) == 9
    assert sum(times for _, times, _ in told) + said == 540


def test_when_it_is_over_the_next_line_is_said_again() -> None:
    storms = Storms()
    storms.passes("lost", "lost", START_S)
    storms.passes("lost", "lost", START_S)
    assert storms.told(START_S + INTERVAL_S)
    assert not storms.passes("lost", "lost", START_S + INTERVAL_S + 1)
    assert storms.told(START_S + 2 * INTERVAL_S)
    assert storms.told(START_S + 3 * INTERVAL_S) == []
    assert storms.passes("lost", "lost", START_S + 3 * INTERVAL_S)


def test_kinds_do_not_hide_one_another() -> None:
    storms = Storms()
    assert storms.passes("lost", "x", START_S)
    assert storms.passes("banned", "x", START_S)


def test_at_the_end_everything_counted_is_told() -> None:
    storms = Storms()
    for _ in range(3):
        storms.passes("lost", "lost", START_S)
    assert storms.told(START_S + 5, all_of_them=True) == [("lost", 2, 5.0)]
