"""When a collector is well and when it is not: pure tables, and the law that a value at a threshold makes no noise."""

from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.monitoring.health import HEALTHY, Health, Readings, Thresholds, evaluate

WELL = Readings(disk_free_mb=50_000, memory_mb=300)
TOLERANCE = Thresholds(300, errors_per_minute=10, queue_limit=20_000, low_disk_mb=500, memory_limit_mb=1024)

# What is measured -> the words for it. One number alone is beyond its threshold.
TROUBLES: dict[str, tuple[Readings, str]] = {
    "stale": (
        attrs.evolve(WELL, overdue_s=312, slowest="BTCUSDT_1", stale=3),
        "3 series are stale, BTCUSDT_1 most of all: its newest candle is overdue by 5 min 12 s",
    ),
    "silence": (
        attrs.evolve(WELL, silent_s=7260, now_ms=1_700_000_000_000),
        "the exchange has said nothing since 2023-11-14 20:12:20 UTC (2 h 1 min)",
    ),
    "unserved": (
        attrs.evolve(WELL, unserved_s=31, unserved_why="no route", next_try_s=12.3, now_ms=1_700_000_031_000),
        "the exchange cannot be asked since 2023-11-14 22:13:20 UTC (31 s): no route; asked again in 12 s",
    ),
    "stream": (
        attrs.evolve(
            WELL, disconnected_s=301, disconnect_reason="HTTP 502", next_connect_s=16, now_ms=1_700_000_301_000
        ),
        "no connection to the stream since 2023-11-14 22:13:20 UTC (5 min 1 s): HTTP 502; tried again in 16 s; "
        "candles come late and over REST",
    ),
    "errors": (
        attrs.evolve(WELL, errors=1200, worst_error="no answer"),
        "1,200 errors in the last minute, most of them: no answer",
    ),
    "database": (
        attrs.evolve(WELL, mirror_refused="postgresql://db/x refuses the connection"),
        "the database is not kept up to date: postgresql://db/x refuses the connection",
    ),
    "queue": (
        attrs.evolve(WELL, queued=30_000),
        "30,000 candles wait to be written, the disk is too slow for them",
    ),
    "disk": (
        attrs.evolve(WELL, disk_free_mb=312),
        "the disk has 312 MB left, which is below 500 MB: history stops, live goes on",
    ),
    "memory": (attrs.evolve(WELL, memory_mb=1100), "1,100 MB of memory are in use, more than 1,024 MB"),
    "ban": (
        attrs.evolve(WELL, banned_until_ms=1_700_000_000_000),
        "a rate ban is on, nothing is asked before 2023-11-14 22:13:20 UTC",
    ),
    "stream refused": (
        attrs.evolve(WELL, stream_refused_s=540, disconnected_s=400),
        "the stream refuses this address (HTTP 403), it is tried again in 9 min 0 s; candles come late and over REST",
    ),
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_every_threshold_has_its_words(kind: str) -> None:
    readings, text = TROUBLES[kind]
    health = evaluate(readings, TOLERANCE)
    assert (health.state, health.kinds, health.reasons) == ("degraded", (kind,), (text,))


@pytest.mark.parametrize("kind", TROUBLES)
def test_every_trouble_passes_when_its_number_is_good_again(kind: str) -> None:
    assert evaluate(WELL, TOLERANCE, before=evaluate(TROUBLES[kind][0], TOLERANCE)) == HEALTHY


@pytest.mark.parametrize(
    ("readings", "state"),
    [
        (attrs.evolve(WELL, overdue_s=300.0), "healthy"),
        (attrs.evolve(WELL, overdue_s=300.1), "degraded"),
        (attrs.evolve(WELL, errors=10), "healthy"),
        (attrs.evolve(WELL, errors=11), "degraded"),
        (attrs.evolve(WELL, queued=20_000), "healthy"),
        (attrs.evolve(WELL, queued=20_001), "degraded"),
        (attrs.evolve(WELL, disk_free_mb=500.0), "healthy"),
        (attrs.evolve(WELL, disk_free_mb=499.9), "degraded"),
        (attrs.evolve(WELL, disk_free_mb=0.0), "degraded"),
        (attrs.evolve(WELL, memory_mb=1024.0), "healthy"),
        (attrs.evolve(WELL, memory_mb=1024.1), "degraded"),
    ],
)
def test_a_threshold_itself_is_tolerated(readings: Readings, state: str) -> None:
    assert evaluate(readings, TOLERANCE).state == state


def test_while_a_ban_is_on_it_alone_is_named_for_what_is_late() -> None:
    readings = attrs.evolve(WELL, overdue_s=900, silent_s=900, slowest="BTCUSDT_1", stale=1, banned_until_ms=1)
    assert evaluate(readings, TOLERANCE).kinds == ("ban",)


def test_zero_switches_the_thresholds_of_disk_and_memory_off() -> None:
    off = attrs.evolve(TOLERANCE, low_disk_mb=0, memory_limit_mb=0)
    assert evaluate(attrs.evolve(WELL, disk_free_mb=0, memory_mb=1e9), off) == HEALTHY


def test_history_has_to_stop_for_a_low_disk_and_for_nothing_else() -> None:
    assert [kind for kind, (readings, _) in TROUBLES.items() if evaluate(readings, TOLERANCE).low_disk] == ["disk"]


def test_one_line_has_the_state_and_all_reasons() -> None:
    both = attrs.evolve(WELL, memory_mb=1100, silent_s=312, now_ms=1_700_000_312_000)
    assert HEALTHY.line == "healthy"
    assert evaluate(both, TOLERANCE).line == (
        "degraded: the exchange has said nothing since 2023-11-14 22:13:20 UTC (5 min 12 s); "
        "1,100 MB of memory are in use, more than 1,024 MB"
    )


# A number that hovers at a threshold.

HOVERING: dict[str, st.SearchStrategy[Readings]] = {
    "stale": st.floats(151, 600).map(lambda value: attrs.evolve(WELL, overdue_s=value, slowest="BTCUSDT_1", stale=1)),
    "silence": st.floats(151, 600).map(lambda value: attrs.evolve(WELL, silent_s=value)),
    "stream": st.floats(151, 600).map(lambda value: attrs.evolve(WELL, disconnected_s=value)),
    "errors": st.integers(6, 20).map(lambda value: attrs.evolve(WELL, errors=value)),
    "queue": st.integers(10_001, 40_000).map(lambda value: attrs.evolve(WELL, queued=value)),
    "disk": st.floats(0, 555).map(lambda value: attrs.evolve(WELL, disk_free_mb=value)),
    "memory": st.floats(973, 2000).map(lambda value: attrs.evolve(WELL, memory_mb=value)),
}
ANY = st.builds(
    Readings,
    overdue_s=st.floats(0, 1000),
    silent_s=st.floats(0, 1000),
    errors=st.integers(0, 40),
    queued=st.integers(0, 60_000),
    disk_free_mb=st.floats(0, 2000),
    memory_mb=st.floats(0, 3000),
    banned_until_ms=st.sampled_from([0, 0, 0, 1]),
)


def verdicts(every_reading: list[Readings]) -> list[Health]:
    found = [HEALTHY]
    for readings in every_reading:
        found.append(evaluate(readings, TOLERANCE, found[-1]))
    return found


@pytest.mark.parametrize("kind", HOVERING)
@given(data=st.data())
def test_a_number_that_hovers_at_its_threshold_changes_the_state_at_most_once(kind: str, data: st.DataObject) -> None:
    states = [health.state for health in verdicts(data.draw(st.lists(HOVERING[kind], max_size=30)))]
    assert sum(before != after for before, after in pairwise(states)) <= 1


@given(st.lists(ANY, max_size=20))
def test_what_is_beyond_a_threshold_is_always_called_and_what_is_well_below_never(
    every_reading: list[Readings],
) -> None:
    lax = attrs.evolve(TOLERANCE, stale_after_s=150, errors_per_minute=5, queue_limit=10_000)
    lax = attrs.evolve(lax, low_disk_mb=556, memory_limit_mb=972)
    for readings, health in zip(every_reading, verdicts(every_reading)[1:], strict=True):
        assert set(evaluate(readings, TOLERANCE).kinds) <= set(health.kinds) <= set(evaluate(readings, lax).kinds)


@pytest.mark.parametrize("kind", TROUBLES)
def test_an_announced_maintenance_explains_an_outage_and_nothing_else(kind: str) -> None:
    readings, text = TROUBLES[kind]
    announced = attrs.evolve(readings, maintenance_until_ms=1_700_000_000_000)
    explanation = " (maintenance announced until 2023-11-14 22:13:20 UTC)"
    is_outage = kind in ("unserved", "silence", "stale", "stream")
    assert evaluate(announced, TOLERANCE).reasons == (text + explanation * is_outage,)
    assert evaluate(attrs.evolve(WELL, maintenance_until_ms=1_700_000_000_000), TOLERANCE) == HEALTHY
