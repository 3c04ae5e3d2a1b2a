"""The command `fetch --dry-run`, and the plan that a long fetch announces."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from collector.core.candle import TIMEFRAMES
from collector.sandbox import Faults, Hole, Sandbox
from collector.settings.settings import Settings
from tests.commands.command_line import Command, complaints
from tests.support.market import KLINE, fetch, market, served, settings_for

_FREE = re.compile(r"[\d.,]+ [kMGT]B are free")  # others use the disk, too
FAR = {"low_disk_mb": 10**9}  # what no disk has


def planned(say: Command, settings: Settings, *arguments: str) -> dict[str, Any]:
    status, out, _ = say(settings, "fetch", "--dry-run", "--json", *arguments)
    assert status == 0
    record: dict[str, Any] = json.loads(out)
    return record


def test_a_plan_says_what_the_fetch_then_does(say: Command, tmp_path: Path) -> None:
    with served(market(listed={"ETHUSDT": "2024-05-11T09:30"})) as box:
        settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "ETHUSDT"], timeframes=["1", "60", "D"])
        plan = planned(say, settings)
        assert box.counts.by_path == {"/v5/market/instruments-info": 1, "/v5/market/time": 1, KLINE: 2}
        assert not settings.data_dir.exists()
        box.counts.clear()
        outcome = trio.run(fetch, settings)
    assert (plan["series"], plan["symbols"], plan["unknown"], plan["fits"]) == (6, 2, [], True)
    assert plan["candles"] == outcome.counters.rows
    assert plan["requests"] == box.counts.requests
    stored = sum(path.stat().st_size for path in settings.data_dir.glob("*.csv"))
    assert plan["bytes"] == pytest.approx(stored, rel=0.15)
    assert plan["seconds"] == pytest.approx(plan["requests"] / plan["requests_per_second"], rel=0.05)


def test_a_plan_counts_what_is_missing_and_nothing_else(say: Command, tmp_path: Path) -> None:
    hole = Hole.named("BTCUSDT/60:2024-05-11T06:00..2024-05-11T09:00")
    with served(market(faults=Faults(holes=(hole,)))) as box:
        settings = settings_for(box.url, tmp_path)
        trio.run(fetch, settings)
        path = settings.data_dir / "BTCUSDT_60.csv"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:50], *lines[60:]]))
        assert planned(say, settings)["candles"] == 10
        assert planned(say, settings, "--days", "11")["candles"] == 34
        of_dates = planned(say, settings, "--start", "2024-05-01", "--end", "2024-05-04")
        assert (of_dates["candles"], of_dates["start_ms"]) == (96, 1_714_521_600_000)
        assert planned(say, settings, "--mode", "live")["candles"] == 0
        before = path.read_bytes()
        trio.run(fetch, settings)
    assert len(path.read_bytes()) > len(before)


def test_a_plan_of_the_whole_market_needs_no_list_of_symbols(say: Command, tmp_path: Path) -> None:
    with served(market(symbols=["BTCUSDT", "ETHUSDT", "DOGEUSDT", "1000PEPEUSDT"])) as box:
        settings = settings_for(box.url, tmp_path, fetch_all_symbols=True, timeframes=["60"], days_to_fetch=60)
        plan = planned(say, settings)
        box.counts.clear()
        outcome = trio.run(fetch, settings)
    assert (plan["series"], plan["candles"]) == (outcome.series, outcome.counters.rows)
    assert plan["requests"] == box.counts.requests


def test_a_plan_for_a_person_has_a_line_for_each_number(say: Command, box: Sandbox, tmp_path: Path) -> None:
    status, out, err = say(settings_for(box.url, tmp_path), "fetch", "--dry-run")
    assert (status, err) == (0, "")
    told = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(told) == ["series", "span", "candles", "requests", "time", "disk", "free"]
    assert told["span"] == "2024-05-05 12:00:00 to 2024-05-15 12:00:00 UTC"
    assert told["candles"].startswith("240 to fetch")
    assert re.fullmatch(r"[\d.,]+ [kMGT]B on /\S* .*", told["free"])


def test_what_does_not_fit_is_refused_before_anything_is_fetched(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, **FAR)
    status, out, err = say(settings, "fetch", "--dry-run", "--json")
    assert (status, json.loads(out)["fits"]) == (1, False)
    box.counts.clear()
    again, _, said = say(settings, "fetch")
    (sentence,) = complaints(said)
    planned, refused = (_FREE.sub("some is free", each.partition("(")[0]) for each in (complaints(err)[-1], sentence))
    assert (again, refused) == (1, planned)
    assert "some is free" in refused
    assert "the history does not fit on the disk: 240 candles need about 22.1 kB, and " in sentence
    assert "ask for less (--days or --start, --symbols, --timeframes), or name another place" in sentence
    assert KLINE not in box.counts.by_path


def test_nothing_to_fetch_fits_on_a_full_disk(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path)
    trio.run(fetch, settings)
    assert say(settings_for(box.url, tmp_path, **FAR), "fetch")[0] == 0


def test_a_long_fetch_announces_its_plan(say: Command, tmp_path: Path) -> None:
    names = [f"{coin}USDT" for coin in ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC", "LINK", "BNB", "TRX")]
    with served(market(symbols=names)) as box:
        settings = settings_for(box.url, tmp_path, symbols=names, timeframes=[*TIMEFRAMES], days_to_fetch=1)
        _, out, _ = say(settings, "fetch", "--dry-run")
        _, _, long = say(settings, "fetch")
        _, _, short = say(settings, "fetch", "--days", "2", "--timeframes", "60")
    (line,) = [line for line in long.splitlines() if "to fetch" in line]
    assert "candles of 130 series" in line
    told = dict(each.split(maxsplit=1) for each in out.splitlines())
    assert f", {told['requests']} requests, " in line
    assert "to fetch" not in short


def test_a_symbol_that_is_not_listed_ends_a_plan_with_status_1(say: Command, box: Sandbox, tmp_path: Path) -> None:
    settings = settings_for(box.url, tmp_path, symbols=["BTCUSDT", "NOSUCHUSDT"])
    status, out, err = say(settings, "fetch", "--dry-run", "--json")
    assert (status, json.loads(out)["unknown"]) == (1, ["NOSUCHUSDT"])
    assert "NOSUCHUSDT" in err


def test_json_is_for_a_plan(say: Command, box: Sandbox, tmp_path: Path) -> None:
    assert say(settings_for(box.url, tmp_path), "fetch", "--json")[0] == 2
