"""The limit of an address: never exceeded, however requests bunch up, and shared fairly."""

from collections.abc import Callable
from math import ceil

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.pacing import WINDOW_REQUESTS, WINDOW_S
from collector.core.rate_limit import Demand, RateLimit

_LASTS_S = 16.0


@attrs.define
class Process:
    """Asks for as much as it may from its start to its end, and then is gone without a word."""

    name: str
    start_s: float
    end_s: float
    demand: Demand
    ready_s: float = 0.0
    granted: int = 1
    arrivals: list[float] = attrs.field(factory=list)

    def busy(self, now_s: float) -> list[float]:
        return [each for each in self.arrivals if each > now_s]


def arrivals(processes: list[Process], arrive: Callable[[float], float]) -> list[float]:
    """When the requests of all processes reach the exchange that depart before the end."""
    limit = RateLimit()
    for each in processes:
        each.ready_s = each.start_s
    while True:
        process = min(processes, key=lambda each: each.ready_s)
        now_s = process.ready_s
        if now_s >= min(_LASTS_S, process.end_s):
            process.ready_s = float("inf")
            if all(each.ready_s == float("inf") for each in processes):
                return sorted(at for each in processes for at in each.arrivals)
            continue
        busy = process.busy(now_s)
        if len(busy) >= process.granted:
            process.ready_s = min(busy)
            continue
        (start_s, process.granted), limit = limit.reserve(now_s, process.name, process.demand, len(busy) + 1)
        process.arrivals.append(arrive(start_s))
        process.ready_s = start_s


def most_in_a_window(at_s: list[float]) -> int:
    first, most = 0, 0
    for last, each in enumerate(at_s):
        while at_s[first] <= each - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def processes(*in_flight: int, share: float = 1.0) -> list[Process]:
    return [Process(str(number), 0.0, _LASTS_S, Demand.of(each, share)) for number, each in enumerate(in_flight)]


spans = st.tuples(st.floats(0, 8), st.floats(8, 16), st.integers(1, 500))


@settings(max_examples=25)
@given(st.lists(spans, min_size=1, max_size=4), st.floats(0.01, 2.0))
def test_the_limit_holds_however_requests_bunch_up(each: list[tuple[float, float, int]], bunch_s: float) -> None:
    some = [Process(str(n), start, end, Demand.of(batch, 1)) for n, (start, end, batch) in enumerate(each)]
    assert most_in_a_window(arrivals(some, lambda at: ceil(at / bunch_s) * bunch_s)) <= WINDOW_REQUESTS


@pytest.mark.parametrize(
    ("in_flight", "share"), [([20, 20], 1), ([20, 20, 20], 1), ([1, 20], 1), ([300, 300], 1), ([20, 20], 0.5)]
)
def test_together_processes_get_nine_tenths_of_what_one_gets(in_flight: list[int], share: float) -> None:
    alone = arrivals(processes(max(in_flight), share=share), lambda at: at)
    together = processes(*in_flight, share=share)
    assert len(arrivals(together, lambda at: at)) >= 0.9 * len(alone)
    shares = [len(each.arrivals) for each in together]
    assert max(shares) - min(shares) <= 0.02 * sum(shares)


def test_what_may_be_in_flight_is_shared_beyond_a_tenth_of_the_limit() -> None:
    some = processes(50, 50, 4)
    arrivals(some, lambda at: at + 1)
    assert [each.granted for each in some] == [28, 28, 4]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5])
def test_a_machine_keeps_to_its_share(share: float) -> None:
    at_s = arrivals(processes(20, 20, share=share), lambda at: ceil(at * 10) / 10)
    assert 0.4 * share * WINDOW_REQUESTS <= most_in_a_window(at_s) <= share * WINDOW_REQUESTS


def test_a_killed_process_counts_until_its_last_request_ended() -> None:
    demand = Demand.of(20, 1)
    _, limit = RateLimit().reserve(0.0, "killed", demand, 1)
    _, limit = limit.reserve(34.9, "other", demand, 1)
    assert [each.name for each in limit.members] == ["killed", "other"]
    _, limit = limit.reserve(35.1, "other", demand, 1)
    assert [each.name for each in limit.members] == ["other"]


def test_a_process_that_left_counts_for_a_window_more() -> None:
    demand = Demand.of(20, 1)
    _, limit = RateLimit().reserve(0.0, "done", demand, 1)
    _, limit = limit.leave(1.0, "done").reserve(6.1, "other", demand, 1)
    assert [each.name for each in limit.members] == ["other"]


def test_a_reservation_in_the_far_future_is_not_waited_for() -> None:
    (start_s, _), _ = RateLimit(request_due_s=10**9).reserve(5.0, "one", Demand.of(20, 1), 1)
    assert start_s == 5.0
    assert RateLimit(connect_due_s=10**9).reserve_connection(5.0, 1)[0] == 5.0


def test_new_connections_stay_below_the_exchanges_limit() -> None:
    limit, at_s = RateLimit(), []
    for _ in range(800):
        start_s, limit = limit.reserve_connection(0.0, 0.5)
        at_s.append(start_s)
    assert sum(each < 300 for each in at_s) <= 250


def test_a_ban_is_made_longer_and_never_shorter() -> None:
    assert RateLimit().ban(60.0).ban(10.0).banned_until_s == 60.0


def test_a_share_of_the_address_is_one_of_what_may_be_in_flight_and_of_the_limit() -> None:
    assert Demand.of(20, 1) == Demand(20, 600)
    assert Demand.of(21, 0.3) == Demand(7, 180)
    assert Demand.of(1, 0.001) == Demand(1, 0)


@pytest.mark.parametrize(
    ("demands", "granted"),
    [
        ([Demand(550, 600)], 500),  # the rest of the limit is for what arrives bunched
        ([Demand(300, 600)], 300),
        ([Demand(50, 600), Demand(50, 600), Demand(4, 600)], 28),
        ([Demand(4, 600), Demand(50, 600), Demand(50, 600)], 4),
        ([Demand(20, 600), Demand(20, 600), Demand(20, 600)], 20),
        ([Demand(25, 600), Demand(25, 600), Demand(25, 600)], 20),
        ([Demand(100, 600), Demand(2, 600)], 98),
        ([Demand(20, 6), Demand(20, 6)], 2),
        ([Demand(60, 600), Demand(40, 600)], 30),
        ([Demand(20, 6)] * 9, 1),
        ([Demand(20, 600), Demand(20, 6)], 2),  # the most careful decides for all
    ],
)
def test_each_gets_the_same_and_what_others_leave(demands: list[Demand], granted: int) -> None:
    limit = RateLimit()
    for number, demand in enumerate(demands[1:]):
        _, limit = limit.reserve(0.0, f"other {number}", demand, 1)
    (_, given), _ = limit.reserve(0.0, "one", demands[0], 1)
    assert given == granted


def test_a_process_that_leaves_takes_no_other_with_it() -> None:
    demand, limit = Demand.of(20, 1), RateLimit()
    for now_s, name in [(0.0, "gone"), (10.0, "done"), (20.0, "other")]:
        _, limit = limit.reserve(now_s, name, demand, 1)
    limit = limit.leave(35.0, "done")
    assert [(each.name, each.until_s) for each in limit.members] == [("done", 40.0), ("other", 55.0)]


def test_what_is_in_flight_counts_although_less_is_granted_now() -> None:
    demand = Demand(20, 600)
    (first_s, _), limit = RateLimit().reserve(0.0, "one", demand, 40)
    (second_s, _), _ = limit.reserve(0.0, "one", demand, 40)
    assert limit.members[0].in_flight == 40
    assert (first_s, second_s) == (0.0, 5 / (600 - 40 - 1))


def test_a_reservation_as_late_as_all_that_may_wait_is_believed() -> None:
    demand = Demand(20, 600)
    interval_s = 5 / (600 - 20 - 1)
    assert RateLimit(request_due_s=2 * interval_s).reserve(0.0, "one", demand, 1)[0][0] == 2 * interval_s
    assert RateLimit(request_due_s=2.1 * interval_s).reserve(0.0, "one", demand, 1)[0][0] == 0.0


def test_connections_come_at_nine_tenths_of_the_exchanges_limit() -> None:
    limit, at_s = RateLimit(), []
    for _ in range(500):
        start_s, limit = limit.reserve_connection(0.0, 1)
        at_s.append(start_s)
    assert sum(each < 299.9 for each in at_s) == 450
