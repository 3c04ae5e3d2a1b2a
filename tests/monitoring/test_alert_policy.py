"""What is worth an alert: each state once, whatever happens in between."""

from typing import Any

import attrs

from collector.monitoring.alert_policy import AWAY_S, GAPS_AGAIN_S, AlertPolicy, Away, GapCounts, Sight
from collector.monitoring.health import HEALTHY, OUTAGE_AGAIN_S, Health, Problem
from collector.monitoring.lag import MissingCount

LATE, BAN, AWAY = Problem("stale", "a series is late"), Problem("ban", "a rate ban is on"), Problem("unserved", "away")
LOST, FULL = Problem("stream", "no connection"), Problem("disk", "the disk is full")
SEEN = Sight(0.0, 0)


def gaps(failing: int = 0, lacking: int = 0) -> GapCounts:
    return GapCounts(MissingCount(int(failing > 0), failing), MissingCount(int(lacking > 0), lacking))


def told(*sights: Sight) -> list[str]:
    """What follows from looks a second apart, unless they say when they are."""
    policy = AlertPolicy()
    return [
        f"{alert.title}: {alert.text}"
        for number, sight in enumerate(sights)
        for alert in policy.look(sight if sight.now_s else attrs.evolve(sight, now_s=float(number)))
    ]


def well(**seen: Any) -> Sight:
    return attrs.evolve(SEEN, **seen)


def degraded(*problems: Problem, **seen: Any) -> Sight:
    return attrs.evolve(SEEN, health=Health(problems), **seen)


def test_a_healthy_collector_tells_nothing() -> None:
    assert told(well(), well(gaps=gaps()), well()) == []


def test_a_degraded_collector_is_told_once_and_its_recovery_once() -> None:
    assert told(well(), degraded(LATE), degraded(LATE), well(now_s=100.0), well(now_s=101.0)) == [
        "degraded: a series is late",
        "healthy again: it was degraded for 1 min 39 s",
    ]


def test_a_second_problem_is_told_with_all_reasons_and_its_end_is_not() -> None:
    assert told(degraded(LATE), degraded(LATE, FULL), degraded(LATE)) == [
        "degraded: a series is late",
        "degraded: a series is late; the disk is full",
    ]


def test_the_signs_of_one_outage_are_one_alert_and_its_end_another() -> None:
    """The first sign may have passed while others last."""
    signs = [degraded(LOST), degraded(LOST, AWAY), degraded(AWAY), degraded(LATE, AWAY), degraded(LATE)]
    assert told(*signs, well(now_s=90.0), degraded(LOST, now_s=95.0)) == [
        "degraded: no connection",
        "healthy again: it was degraded for 1 min 30 s",
        "degraded: no connection",
    ]


def test_an_outage_that_lasts_is_told_again_with_what_has_joined() -> None:
    joined, later = degraded(LOST, AWAY, now_s=13.0), degraded(LOST, AWAY, now_s=OUTAGE_AGAIN_S)
    assert told(degraded(LOST), joined, attrs.evolve(later, now_s=OUTAGE_AGAIN_S - 1), later, later) == [
        "degraded: no connection",
        "degraded: no connection; away",
    ]


def test_another_problem_during_an_outage_is_told_at_once() -> None:
    assert told(degraded(LOST), degraded(LOST, AWAY), degraded(LOST, AWAY, FULL), degraded(AWAY, FULL)) == [
        "degraded: no connection",
        "degraded: no connection; away; the disk is full",
    ]


def test_changing_numbers_of_one_problem_are_no_news() -> None:
    assert len(told(degraded(LATE), degraded(attrs.evolve(LATE, text="two series are late")))) == 1


def test_a_ban_is_called_by_its_name() -> None:
    assert told(degraded(BAN, bans=1)) == ["rate ban: a rate ban is on"]


def test_a_ban_between_two_looks_is_told_all_the_same() -> None:
    assert told(well(), well(bans=1), well(bans=1)) == [
        "rate ban: the exchange has banned this address 1 time, and the ban has passed"
    ]


def test_gaps_on_record_at_the_start_are_old_news() -> None:
    assert told(well(gaps=gaps(lacking=7)), well(gaps=gaps(lacking=7))) == []


def test_candles_that_the_exchange_turns_out_to_lack_are_told_when_nothing_is_fetched() -> None:
    before, now = well(gaps=gaps(lacking=7)), well(gaps=gaps(lacking=9))
    assert told(before, attrs.evolve(now, idle=False)) == []
    assert told(before, attrs.evolve(now, idle=False), now, now) == [
        "gaps that stay: the exchange does not have 2 candles; `collector gaps` lists them"
    ]


def test_gaps_that_were_filled_are_forgotten() -> None:
    sights = [well(gaps=gaps(lacking=count)) for count in (7, 2, 3)]
    assert told(*sights) == ["gaps that stay: the exchange does not have 1 candle; `collector gaps` lists them"]


def test_candles_whose_requests_keep_failing_are_told_once() -> None:
    assert told(well(gaps=gaps()), well(gaps=gaps(failing=5)), well(gaps=gaps(failing=6), now_s=2 * GAPS_AGAIN_S)) == [
        "gaps that stay: requests for 5 candles in 1 gap have failed for an hour; `collector gaps` lists them"
    ]


def test_gaps_are_told_at_most_once_an_hour() -> None:
    first, second = well(gaps=gaps()), well(gaps=gaps(lacking=1), now_s=10.0)
    third = well(gaps=gaps(lacking=4), now_s=20.0)
    later = attrs.evolve(third, now_s=10.0 + GAPS_AGAIN_S)
    assert [text.split()[8] for text in told(first, second, third, later)] == ["1", "3"]


def test_gaps_that_follow_from_a_known_problem_wait_for_its_end() -> None:
    away = degraded(AWAY, gaps=gaps(failing=5))
    said = told(well(gaps=gaps()), away, well(gaps=gaps(failing=5)))
    assert [text.partition(":")[0] for text in said] == ["degraded", "healthy again", "gaps that stay"]


def test_a_new_receiver_hears_of_what_lasts() -> None:
    policy = AlertPolicy()
    assert len(policy.look(degraded(LATE))) == 1
    policy.forget()
    assert [alert.text for alert in policy.look(degraded(LATE))] == ["a series is late"]
    assert policy.look(attrs.evolve(SEEN, health=HEALTHY))[0].title == "healthy again"


def away(seconds: float) -> Sight:
    return well(away=Away("postgresql://db/x", seconds, "no route"))


def test_a_database_that_is_away_long_is_told_once_and_so_is_its_return() -> None:
    assert told(away(1), away(AWAY_S - 1), away(AWAY_S), away(AWAY_S + 9), well(), well()) == [
        "database away: postgresql://db/x has been away for 10 min 0 s, candles go into the files alone: no route",
        "database back: the database postgresql://db/x is back",
    ]


def test_a_restart_of_a_database_is_told_nobody() -> None:
    assert told(away(1), away(AWAY_S - 1), well(), away(1), well()) == []
