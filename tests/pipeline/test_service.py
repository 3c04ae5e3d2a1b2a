"""The service: how it starts, what it tells the writer of the exchange's time, and what it says of a slow end."""

import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn, cast

import attrs
import pytest
import trio

from collector.bybit.clock import Clock
from collector.bybit.rest_client import Rest
from collector.core.errors import Unreachable
from collector.pipeline import draining
from collector.pipeline.stations import exchange_ms
from collector.sandbox import open_sandbox
from collector.storage.files import Files
from tests.support.market import fetch, market, settings_for

NOW = 1_714_566_645_000


@attrs.define
class Answering:
    """The part of the way to the exchange that tells the time."""

    says_ms: int | None
    asked: int = 0

    async def server_time(self) -> int:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.says_ms is None:
            raise Unreachable("nobody answers")
        return self.says_ms


async def asked_for(by_ms: int, says_ms: int | None, said_ms: int | None = NOW) -> tuple[int, int]:
    clock, rest = Clock(), Answering(says_ms)
    if said_ms is not None:
        clock.observe(said_ms)
    return await exchange_ms(clock, cast(Rest, rest), by_ms) - NOW, rest.asked


async def test_the_exchange_is_asked_again_only_about_an_instant_that_has_not_come(autojump_clock: object) -> None:
    assert await asked_for(NOW - 1, says_ms=NOW + 7) == (0, 0)
    assert await asked_for(NOW + 60_000, says_ms=NOW + 7) == (7, 1)


async def test_without_another_answer_the_first_one_counts(autojump_clock: object) -> None:
    assert await asked_for(NOW + 60_000, says_ms=None) == (0, 1)


async def test_without_any_answer_the_instant_counts_as_come(autojump_clock: object) -> None:
    assert await asked_for(NOW + 60_000, says_ms=None, said_ms=None) == (60_000, 1)


async def test_a_disk_that_is_too_slow_for_the_end_is_told_of_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sandbox(market()) as box:
        settings = settings_for(box.url, tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(draining, "_DRAIN_S", 0.05)
            patched.setattr(Files, "sync", lambda *_: time.sleep(0.2))
            await fetch(settings)
        slow, late = [record.getMessage() for record in caplog.records]
        assert slow.startswith("the end waits for the disk at='syncing BTCUSDT_60.csv")
        assert late.startswith("not all was written in time,")
        assert (await fetch(settings)).complete


async def test_a_checkout_that_was_never_installed_collects_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", _not_installed)
    async with open_sandbox(market()) as box:
        assert (await fetch(settings_for(box.url, tmp_path))).complete


def _not_installed(name: str) -> NoReturn:
    raise PackageNotFoundError(name)
