"""The limit that processes share: one file, whatever happens to it, and one ban."""

import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from collector.bybit.address_limit import AddressLimit, open_address_limit
from collector.bybit.clock import Clock
from collector.bybit.limit_file import LimitFile
from collector.bybit.rate_ban import RateBan
from collector.bybit.rest_client import Rest, open_rest
from collector.bybit.throttle import Throttle
from collector.machine import THIS_MACHINE
from collector.sandbox import Limits, open_sandbox
from collector.settings.settings import Settings
from tests.bybit.test_rest_client import BAN, WINDOW, FakeExchange
from tests.support.candles import BTC
from tests.support.market import market
from tests.support.replies import client_answered_by

Clockwork = trio.testing.MockClock
_NAME = "loopback-1"


def shared(place: Path, **changes: Any) -> AddressLimit:
    settings = Settings(**{"rest_url": "http://localhost:1", "ban_wait_s": 60.0, **changes})
    file = LimitFile(THIS_MACHINE.disk, _NAME, (str(place),), THIS_MACHINE.clock)
    return AddressLimit(settings, THIS_MACHINE.chance.name(), file)


def path_in(place: Path) -> Path:
    return place / f"collector-{os.geteuid()}" / _NAME


async def turns(limit: AddressLimit, seconds: float) -> list[float]:
    """When the turns of a process come that wants as many as it can get."""
    at_s: list[float] = []
    end_s = trio.current_time() + seconds
    while trio.current_time() < end_s:
        await limit.turn(20)
        at_s.append(trio.current_time())
    return at_s


async def all_turns(seconds: float, *limits: AddressLimit) -> list[int]:
    """How many turns each of several processes gets."""
    counts = [0] * len(limits)

    async def count(place: int, limit: AddressLimit) -> None:
        counts[place] = len(await turns(limit, seconds))

    async with trio.open_nursery() as nursery:
        for place, limit in enumerate(limits):
            nursery.start_soon(count, place, limit)
    return counts


async def test_processes_share_one_rhythm_over_a_file(autojump_clock: Clockwork, tmp_path: Path) -> None:
    first, second = await all_turns(5, shared(tmp_path), shared(tmp_path))
    assert 540 <= first + second <= 562
    assert abs(first - second) <= 2


async def test_a_modest_process_never_waits_behind_a_greedy_one(autojump_clock: Clockwork, tmp_path: Path) -> None:
    greedy, modest = shared(tmp_path, bulk_batch_size=500), shared(tmp_path, bulk_batch_size=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns, greedy, 10)
        await trio.sleep(5)
        began_s = trio.current_time()
        await modest.turn(1)
        assert trio.current_time() - began_s <= 2 * 5 / 99


async def test_a_share_that_is_reloaded_holds_from_the_next_turn(autojump_clock: Clockwork, tmp_path: Path) -> None:
    limit = shared(tmp_path)
    limit.apply(Settings(rest_url="http://localhost:1", address_share=0.5))
    assert 280 <= len(await turns(limit, 5)) <= 290


def damaged(path: Path) -> None:
    path.write_bytes(b"\0" * 200)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def from_an_earlier_boot(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "another"}))


def of_a_new_version(path: Path) -> None:
    path.write_text('{"version": 2}')


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize("harm", [damaged, torn, emptied, gone, from_an_earlier_boot])
async def test_a_file_that_is_lost_is_made_anew(
    autojump_clock: Clockwork, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    limits = shared(tmp_path), shared(tmp_path)
    await all_turns(1, *limits)
    harm(path_in(tmp_path))
    assert 540 <= sum(await all_turns(5, *limits)) <= 562


@pytest.mark.parametrize("harm", [of_a_new_version, a_directory, a_link])
async def test_a_file_that_cannot_be_used_is_named_once(
    autojump_clock: Clockwork, tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    limit = shared(tmp_path)
    await limit.turn(1)
    harm(path_in(tmp_path))
    before = path_in(tmp_path).lstat()
    assert 570 <= len(await turns(limit, 5)) <= 580
    assert path_in(tmp_path).lstat() == before
    assert [record.message.partition(" why")[0] for record in caplog.records] == [
        "the rate limit is not shared with other collectors"
    ]


async def test_a_directory_that_others_can_write_is_not_used(autojump_clock: Clockwork, tmp_path: Path) -> None:
    path_in(tmp_path).parent.mkdir(mode=0o777)
    path_in(tmp_path).parent.chmod(0o777)
    await shared(tmp_path).turn(1)
    assert not path_in(tmp_path).exists()


async def test_nowhere_to_write_is_no_reason_to_stop(autojump_clock: Clockwork, tmp_path: Path) -> None:
    assert 570 <= len(await turns(shared(tmp_path / "nowhere"), 5)) <= 580


async def test_a_stopped_process_with_the_lock_stops_nobody(autojump_clock: Clockwork, tmp_path: Path) -> None:
    limit = shared(tmp_path)
    await limit.turn(1)
    stopped = os.open(path_in(tmp_path), os.O_RDWR)
    fcntl.flock(stopped, fcntl.LOCK_EX)
    began_s = trio.current_time()
    await limit.turn(1)
    assert trio.current_time() - began_s < 1.5
    os.close(stopped)


@asynccontextmanager
async def rest(exchange: FakeExchange, limit: AddressLimit, until_ms: int = 0) -> AsyncIterator[Rest]:
    settings = Settings(rest_url="http://localhost:1", ban_wait_s=60.0, bulk_request_delay_ms=0)
    rate_ban = RateBan(until_ms, exchange.remember, exchange.local.now_ms)
    http = client_answered_by(exchange.answer)
    async with open_rest(
        settings, Throttle(settings, rate_ban, limit), exchange.counters, Clock(), THIS_MACHINE, http
    ) as rest:
        yield rest


async def test_a_ban_met_by_one_process_silences_the_other(autojump_clock: Clockwork, tmp_path: Path) -> None:
    banned, other = FakeExchange([BAN]), FakeExchange()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(rest(banned, shared(tmp_path)))
        second = await stack.enter_async_context(rest(other, shared(tmp_path)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.klines, BTC, WINDOW)
            await trio.sleep(1)
            nursery.start_soon(second.klines, BTC, WINDOW)
    assert other.asked_at[0] >= 60
    assert other.remembered == pytest.approx([exchange_ms(60)], abs=200)  # for its own directory's next start


def exchange_ms(after_s: float) -> int:
    return 1_000_000 + round(after_s * 1000)


async def test_a_ban_survives_a_file_that_is_removed(autojump_clock: Clockwork, tmp_path: Path) -> None:
    banned, other = FakeExchange([BAN]), FakeExchange()
    async with rest(banned, shared(tmp_path)) as first, trio.open_nursery() as nursery:
        nursery.start_soon(first.klines, BTC, WINDOW)
        await trio.sleep(5)
        path_in(tmp_path).unlink()
        await trio.sleep(2)
        async with rest(other, shared(tmp_path)) as second:
            await second.klines(BTC, WINDOW)
    assert other.asked_at[0] >= 60


async def test_a_recorded_ban_is_told_to_the_others(autojump_clock: Clockwork, tmp_path: Path) -> None:
    limit = shared(tmp_path)
    async with rest(FakeExchange(), shared(tmp_path), exchange_ms(30)):
        assert limit.banned_s == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://api.bybit.com", "https://api.bytick.com", True),
        ("https://api.bybit.com", "https://api-testnet.bybit.com", True),
        ("http://127.0.0.1:8890", "http://localhost:8890", True),
        ("http://127.0.0.1:8890", "http://127.0.0.1:8891", False),
        ("http://127.0.0.1:8890", "https://api.bybit.com", False),
    ],
)
def test_the_exchanges_hosts_share_a_limit_and_sandboxes_none(one: str, other: str, same: bool) -> None:
    with (
        open_address_limit(Settings(rest_url=one), THIS_MACHINE) as first,
        open_address_limit(Settings(rest_url=other), THIS_MACHINE) as second,
    ):
        first.ban(60)
        assert (second.banned_s > 0) is same


@pytest.mark.slow  # two processes are started, and share eight requests a second
async def test_two_fetches_with_directories_of_their_own_are_not_banned(tmp_path: Path) -> None:
    options = [
        "--symbols",
        "BTCUSDT,ETHUSDT",
        "--timeframes",
        "5,15,30,60,120,240,D",
        "--days",
        "1",
        "--no-limit",
        "--quiet",
    ]
    given = {"ADDRESS_SHARE": "0.05", "BULK_REQUEST_DELAY_MS": "0", "BAN_WAIT_S": "1"}
    environment = {f"COLLECTOR_{name}": value for name, value in given.items()}
    async with open_sandbox(market(limits=Limits(requests=8, window_s=1.0, ban_s=1.0))) as box:
        async with trio.open_nursery() as nursery:
            for each in ("one", "two"):
                words = [sys.executable, "-m", "collector", "fetch", "--rest-url", box.url, *options]
                words += ["--data-dir", str(tmp_path / each), "--logs-dir", str(tmp_path / each)]
                nursery.start_soon(partial(trio.run_process, words, env=os.environ | environment))
        assert set(box.counts.by_outcome) == {"ok"}
        assert box.counts.requests > 30
