"""Announced maintenance: read leniently, asked for rarely, and of no consequence but for words."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from collector.bybit.exchange_state import RestState
from collector.bybit.rest_protocol import STATUS, parse_status
from collector.core.errors import Banned, Blocked, ExchangeError, Rejected, TryAgain
from collector.core.maintenance import Maintenance
from collector.pipeline.maintenance import Announcements
from collector.sandbox.maintenance import Maintenance as Announced
from collector.sandbox.rest import pages
from tests.bybit.test_rest_client import BAN, BLOCKED, COUNTRY, FakeExchange, Reply, code
from tests.sandbox.asking import asker
from tests.support.candles import T0

HOUR = 3_600_000
SOON = Maintenance("Upgrade", T0 + HOUR, T0 + 2 * HOUR)


def status_body(*rows: Any) -> bytes:
    return json.dumps({"retCode": 0, "retMsg": "", "result": {"list": rows}, "time": T0}).encode()


def row(**changes: Any) -> dict[str, Any]:
    """A row as in the exchange's documentation."""
    usual = {"id": "4d95b2a0", "title": "Upgrade", "state": "scheduled", "href": "", "serviceTypes": [2, 3], "env": 1}
    times = {"begin": str(SOON.begin_ms), "end": str(SOON.end_ms), "product": [1, 2], "uidSuffix": []}
    return usual | times | {"maintainType": 1} | changes


def test_what_the_box_announces_is_read() -> None:
    for now_ms, expected in ((T0, (SOON,)), (SOON.begin_ms, (SOON,)), (SOON.end_ms, ())):
        box = asker(now_ms, maintenance=[Announced(SOON.begin_ms, SOON.end_ms, SOON.title)])
        assert parse_status(200, box.reply(STATUS).body, "linear") == expected


@pytest.mark.parametrize("state", ["completed", "canceled", "unheard of", "", None])
def test_what_is_over_or_in_no_known_state_is_left_out(state: str | None) -> None:
    assert parse_status(200, status_body(row(state=state), row()), "spot") == (SOON,)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        [],
        {},
        row(begin=None),
        row(begin=""),
        row(begin="soon"),
        row(end="0"),
        row(end=str(SOON.begin_ms)),
        row(product=[3]),
    ],
)
def test_an_odd_row_is_left_out_and_the_others_count(odd: Any) -> None:
    assert parse_status(200, status_body(odd, row()), "linear") == (SOON,)


def test_a_row_of_no_product_is_of_all_and_its_other_fields_do_not_matter() -> None:
    bare = {"state": "ongoing", "begin": SOON.begin_ms, "end": SOON.end_ms}
    odd = row(title=None, id=[], serviceTypes=None, product=None)
    untitled = Maintenance("", SOON.begin_ms, SOON.end_ms)
    assert parse_status(200, status_body(row(product=[]), bare, odd), "inverse") == (SOON, untitled, untitled)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.Response(404, content=pages.NOT_FOUND), TryAgain),
        (code(10017), Rejected),
        (httpx.Response(200, text="<html>"), TryAgain),
        (httpx.Response(200, content=b"\xff"), TryAgain),
        (httpx.Response(200, json={"retCode": 0, "retMsg": "", "result": {}, "time": T0}), TryAgain),
        (httpx.Response(200, json={"retCode": 0, "retMsg": "", "result": {"list": 7}, "time": T0}), TryAgain),
        (httpx.ConnectError("refused"), TryAgain),
        (BLOCKED, Blocked),
        (COUNTRY, Blocked),
    ],
)
async def test_an_exchange_without_a_status_changes_nothing(
    autojump_clock: MockClock, reply: Reply, error: type[ExchangeError]
) -> None:
    exchange = FakeExchange([reply])
    async with exchange.rest() as rest:
        with pytest.raises(error):
            await rest.maintenance()
    counters = exchange.counters
    assert len(exchange.asked_at) == counters.requests == sum(counters.outcomes.values()) == 1
    assert (counters.troubles, counters.bans) == ({}, 0)
    assert (exchange.state.ban, exchange.state.unserved_since_s) == (None, None)
    assert exchange.remembered == []


async def test_a_rate_ban_is_kept_also_when_the_status_was_asked_for(autojump_clock: MockClock) -> None:
    exchange = FakeExchange([BAN])
    async with exchange.rest() as rest:
        with pytest.raises(Banned):
            await rest.maintenance()
    assert exchange.counters.bans == 1
    assert len(exchange.remembered) == 1


async def test_a_good_answer_does_not_hide_that_nothing_else_is_served(autojump_clock: MockClock) -> None:
    exchange = FakeExchange([httpx.Response(200, content=status_body(row()))])
    async with exchange.rest() as rest:
        rest.state.failed(0.0, "HTTP 502")
        assert await rest.maintenance() == (SOON,)
    assert exchange.state.unserved_since_s == 0.0


@attrs.define
class Asked:
    """An exchange that notes when it is asked for its announcements."""

    answer: Callable[[], tuple[Maintenance, ...]]
    state: RestState = attrs.field(factory=RestState)
    times: list[float] = attrs.field(factory=list)

    async def ask(self) -> tuple[Maintenance, ...]:
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return self.answer()

    async def follow(self, seconds: float) -> list[int]:
        """When it was asked within so many seconds."""
        began_s = trio.current_time()
        with trio.move_on_after(seconds):
            await Announcements(self.ask, self.state).follow()
        return [round(at_s - began_s) for at_s in self.times]


async def test_announcements_are_asked_for_soon_and_then_hourly(autojump_clock: MockClock) -> None:
    asked = Asked(lambda: (SOON,))
    assert await asked.follow(7500) == [5, 3605, 7205]
    assert asked.state.maintenance == (SOON,)


async def test_announcements_are_asked_for_more_often_while_nothing_is_served(autojump_clock: MockClock) -> None:
    asked = Asked(lambda: ())
    asked.state.failed(0.0, "HTTP 502")
    assert await asked.follow(700) == [5, 305, 605]


async def test_what_was_announced_stays_known_while_nothing_is_answered(autojump_clock: MockClock) -> None:
    def refuse() -> tuple[Maintenance, ...]:
        raise TryAgain("HTTP 404")

    asked = Asked(refuse)
    asked.state.announced((SOON,))
    assert await asked.follow(400) == [5, 305]
    assert asked.state.maintenance == (SOON,)
