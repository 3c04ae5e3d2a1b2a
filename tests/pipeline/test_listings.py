"""Listings: a new symbol is begun with, a gone one is left after a second look, and a broken list changes nothing."""

import pytest
import trio

from collector.bybit.clock import Clock
from collector.core.errors import RequestFailed
from collector.pipeline.listings import Listings


async def nobody() -> list[str]:
    await trio.lowlevel.checkpoint()
    return []


async def nobody_new(_: list[str]) -> None:
    await trio.lowlevel.checkpoint()


def listings(*collected: str, wanted: tuple[str, ...] | None = None) -> Listings:
    return Listings(nobody, Clock(), wanted, set(collected))


def test_a_new_symbol_is_reported_once() -> None:
    followed = listings("A", "B")
    assert followed.compare({"A", "B", "C"}) == (["C"], [])
    assert followed.compare({"A", "B", "C"}) == ([], [])


def test_only_listed_symbols_count_when_some_are_named() -> None:
    assert listings("A", wanted=("A", "B")).compare({"A", "B", "C"}) == (["B"], [])


def test_a_symbol_is_gone_when_it_was_missing_twice_in_a_row() -> None:
    followed = listings("A", "B")
    assert followed.compare({"A"}) == ([], [])
    assert followed.compare({"A", "B"}) == ([], [])
    assert followed.compare({"A"}) == ([], [])
    assert followed.compare({"A"}) == ([], ["B"])
    assert followed.compare({"A", "B"}) == (["B"], [])


def test_half_a_list_is_not_believed() -> None:
    followed = listings(*"ABCDEFGH")
    for _ in range(3):
        assert followed.compare(set("ABC")) == ([], [])


async def test_other_symbols_are_wanted_until_there_is_a_list_to_find_them_in(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    replies: list[list[str] | Exception] = [RequestFailed("HTTP 502"), ["A"], ["A"]]

    async def trading() -> list[str]:
        await trio.lowlevel.checkpoint()
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    clock = Clock()
    clock.observe(1_700_000_000_000)
    followed = Listings(trading, clock, ("A",), {"A"})
    followed.want(("A", "NOSUCH"))
    with trio.move_on_after(1201):
        await followed.follow(nobody_new, lambda _: None)
    assert replies == []
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "the list of symbols did not come",
        "symbol left out",
    ]


async def test_the_list_is_looked_at_every_ten_minutes_whatever_fails_in_between(
    autojump_clock: trio.testing.MockClock,
) -> None:
    replies: list[list[str] | Exception] = [["A"], RequestFailed("HTTP 502"), ["A", "../B", "C"]]
    seen: list[str] = []

    async def trading() -> list[str]:
        await trio.lowlevel.checkpoint()
        reply = replies.pop(0) if replies else ["A", "C"]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def begin(symbols: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        seen.extend(symbols)

    clock = Clock()
    clock.observe(1_700_000_000_000)
    with trio.move_on_after(1801):
        await Listings(trading, clock, None, {"A"}).follow(begin, lambda _: None)
    assert seen == ["C"]
    assert replies == []


async def test_another_part_of_the_list_is_looked_for_at_once(autojump_clock: trio.testing.MockClock) -> None:
    part, begun = {"A"}, list[str]()

    async def trading() -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["A", "B", "C"]

    async def begin(symbols: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        begun.extend(symbols)

    clock = Clock()
    clock.observe(1_700_000_000_000)
    followed = Listings(trading, clock, None, {"A"}, part.__contains__)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(followed.follow, begin, lambda _: None)
        await trio.sleep(1)
        part.add("C")
        followed.look()
        assert followed.is_behind
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert (begun, followed.is_behind) == (["C"], False)


def test_a_symbol_that_was_left_is_new_when_it_comes_back() -> None:
    followed = listings("A", "B")
    followed.leave({"A"})
    assert followed.compare({"A", "B"}) == (["A"], [])
