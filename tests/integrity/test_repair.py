"""Repair: whatever was done to the files, they end as the exchange has them, and nothing that was there is thrown away.

A small market is collected once, in every timeframe; each test damages a copy of it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import DirectoryInUse
from collector.core.spans import NOTHING, Spans
from collector.integrity.checker import DataIntegrityChecker
from collector.integrity.recheck import Refetch
from collector.integrity.repair import show_plans
from collector.integrity.repair_plan import Plan
from collector.machine.disk import THIS_DISK
from collector.machine.own_files import OWN
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import ServeOptions, repair
from collector.sandbox import Faults, Sandbox
from collector.settings.settings import Settings
from collector.storage.ledger import open_ledger
from collector.storage.ledger_reading import read_ledger
from tests.support.defects import FOREIGN, PLANTS, changed
from tests.support.disks import BreakingDisk, store_on
from tests.support.market import fetch, market, served, settings_for

DAYS = {1: ("1", "3", "5", "15", "30"), 12: ("60", "120", "240", "360", "720"), 120: ("D", "W"), 800: ("M",)}
EVERY_SERIES = [Series("BTCUSDT", frame) for frame in TIMEFRAMES.values()]


@attrs.frozen
class Collected:
    """A directory that holds what it should, and the exchange it came from."""

    box: Sandbox
    settings: Settings

    def copy(self, directory: Path) -> Settings:
        shutil.copytree(self.settings.data_dir, directory / "candles")
        return attrs.evolve(self.settings, data_dir=directory / "candles", logs_dir=directory / "logs")

    def good(self, series: Series) -> bytes:
        return (self.settings.data_dir / f"{series.name}.csv").read_bytes()


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collected]:
    directory = tmp_path_factory.mktemp("collected")
    with served(market()) as box:
        for days, frames in DAYS.items():
            settings = settings_for(box.url, directory, timeframes=frames, days_to_fetch=days)
            assert trio.run(fetch, settings).complete
        yield Collected(box, settings)


async def mended(
    settings: Settings, *only: Series, allow_replace: bool = False
) -> tuple[list[Plan | Refetch], Outcome]:
    return await repair(
        settings, lambda series: not only or series in only, options=ServeOptions(allow_replace=allow_replace)
    )


def path_of(settings: Settings, series: Series) -> Path:
    return settings.data_dir / f"{series.name}.csv"


def wrong_files(collected: Collected, settings: Settings) -> list[str]:
    return [series.name for series in EVERY_SERIES if path_of(settings, series).read_bytes() != collected.good(series)]


LAST = ("torn", "zeros at the end")  # after these the file has no whole last row to damage
FIRST = ("moved", "repeated elsewhere", "far future")  # these reach across the file


def damage(settings: Settings, series: Series, names: list[str], random: Random) -> bytes:
    """Does this to a file, each in its own stretch; what the file holds then."""
    path = path_of(settings, series)
    data, frame = path.read_bytes(), series.timeframe
    rows = data.count(b"\n") - 1
    ordered = sorted(names, key=lambda name: (name in LAST) - (name in FIRST))
    for number, name in enumerate(ordered):
        data = PLANTS[name](frame, data, random, rows - 2 - number * (rows // (len(names) + 1)))
    path.write_bytes(data)
    return data


def removed_lines(settings: Settings) -> set[bytes]:
    return {line for path in settings.data_dir.glob("*.removed-*") for line in path.read_bytes().split(b"\n")}


def lines_gone(before: bytes, after: bytes) -> set[bytes]:
    return set(before.replace(b"\r\n", b"\n").split(b"\n")) - set(after.split(b"\n"))


async def check_repair(collected: Collected, directory: Path, plants: dict[Series, list[str]], seed: int) -> None:
    settings, random = collected.copy(directory), Random(seed)
    damaged = {series: damage(settings, series, names, random) for series, names in plants.items()}
    plans, outcome = await mended(settings)
    assert outcome.complete
    assert {plan.series for plan in plans} <= plants.keys()
    assert wrong_files(collected, settings) == []
    for series, data in damaged.items():
        assert lines_gone(data, collected.good(series)) <= removed_lines(settings)
    assert (await mended(settings))[0] == []
    assert not DataIntegrityChecker(settings).check_all_files()["files_with_issues"]


async def test_candles_whose_rows_are_fetched_anew_are_on_record(collected: Collected, tmp_path: Path) -> None:
    settings, series = collected.copy(tmp_path), EVERY_SERIES[0]
    lines = path_of(settings, series).read_bytes().splitlines(keepends=True)
    bad = lines[100].replace(b",", b",oops,", 1)
    path_of(settings, series).write_bytes(b"".join([*lines[:100], bad, *lines[101:200], lines[199], *lines[200:]]))
    await mended(settings)
    assert wrong_files(collected, settings) == []
    open_ms, frame = int(lines[100].partition(b",")[0]), series.timeframe
    found = read_ledger(settings.data_dir, settings.category).coverage[series].corrections
    assert (found.repaired, found.revised) == (Spans.between(open_ms, frame.close(open_ms)), NOTHING)


TURN = 3 * len(EVERY_SERIES)  # three damages of each file; each alone takes three times as long, and is slow


@pytest.mark.parametrize("turn", range(0, len(PLANTS), TURN))
async def test_every_damage_is_mended(collected: Collected, tmp_path: Path, turn: int) -> None:
    names = [*PLANTS, *PLANTS][turn : turn + TURN]
    plants = {series: names[place :: len(EVERY_SERIES)] for place, series in enumerate(EVERY_SERIES)}
    await check_repair(collected, tmp_path, plants, turn)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
async def test_every_damage_is_mended_in_every_timeframe(collected: Collected, tmp_path: Path, name: str) -> None:
    await check_repair(collected, tmp_path, {series: [name] for series in EVERY_SERIES}, 7)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_damages_are_mended_together(collected: Collected, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    await check_repair(collected, tmp_path, {s: random.sample(sorted(PLANTS), 4) for s in EVERY_SERIES}, seed)


async def test_a_file_that_is_not_ours_is_mended_or_set_aside(collected: Collected, tmp_path: Path) -> None:
    settings = collected.copy(tmp_path)
    foreign = dict(zip(EVERY_SERIES, FOREIGN.items(), strict=False))
    for series, (_, change) in foreign.items():
        path_of(settings, series).write_bytes(change(collected.good(series)))
    plans, _ = await mended(settings, allow_replace=True)
    assert [plan.series for plan in plans] == sorted(foreign)
    assert wrong_files(collected, settings) == []
    for series, (name, change) in foreign.items():
        aside = settings.data_dir / f"{series.name}.csv.set-aside-1"
        if name == "byte order mark":
            assert not aside.exists()
        else:
            assert aside.read_bytes() == change(collected.good(series))


async def test_a_repair_leaves_a_file_alone_that_would_lose_rows(collected: Collected, tmp_path: Path) -> None:
    settings, series = collected.copy(tmp_path), EVERY_SERIES[5]
    foreign = FOREIGN["utf-16"](collected.good(series))
    path_of(settings, series).write_bytes(foreign)
    plans, outcome = await mended(settings, series)
    assert "is left alone unless --allow-replace is given" in str(plans[0])
    assert (outcome.complete, len(outcome.left_alone)) == (False, 1)
    assert path_of(settings, series).read_bytes() == foreign


@pytest.mark.parametrize("stand", ["a pipe", "a directory", "a link to a pipe", "a link to nowhere"])
async def test_a_repair_leaves_alone_what_is_no_file(collected: Collected, tmp_path: Path, stand: str) -> None:
    settings, (series, other) = collected.copy(tmp_path), EVERY_SERIES[5:7]
    path, pipe = path_of(settings, series), tmp_path / "pipe"
    path.unlink()
    os.mkfifo(pipe)
    if stand == "a pipe":
        os.mkfifo(path)
    elif stand == "a directory":
        path.mkdir()
    else:
        path.symlink_to(pipe if stand == "a link to a pipe" else tmp_path / "not-mounted" / path.name)
    path_of(settings, other).write_bytes(collected.good(other)[:-300])
    before = path.lstat()[:7]  # without its times: looking at a link is an access
    assert "is left alone" in str(next(iter(show_plans(settings, lambda each: each == series))))
    _, outcome = await mended(settings, series, other)
    assert (outcome.complete, len(outcome.left_alone), path.lstat()[:7]) == (False, 1, before)
    assert pipe.is_fifo()
    assert path_of(settings, other).read_bytes() == collected.good(other)


async def test_a_file_of_which_a_power_loss_left_zeros_is_fetched_again(collected: Collected, tmp_path: Path) -> None:
    settings, hours = collected.copy(tmp_path), Series("BTCUSDT", TIMEFRAMES["60"])
    size = len(collected.good(hours))
    path_of(settings, hours).write_bytes(bytes(size))
    _, outcome = await mended(settings, hours)
    assert outcome.complete
    assert path_of(settings, hours).read_bytes() == collected.good(hours)


async def test_rows_of_another_timeframe_are_set_aside(collected: Collected, tmp_path: Path) -> None:
    settings = collected.copy(tmp_path)
    minutes, hours = Series("BTCUSDT", TIMEFRAMES["1"]), Series("BTCUSDT", TIMEFRAMES["60"])
    path_of(settings, minutes).write_bytes(collected.good(hours))
    await mended(settings, allow_replace=True)
    assert path_of(settings, hours).read_bytes() == collected.good(hours)
    assert (settings.data_dir / "BTCUSDT_1.csv.set-aside-1").read_bytes() == collected.good(hours)
    assert path_of(settings, minutes).read_bytes().endswith(collected.good(minutes)[-200:])


@pytest.mark.parametrize("gone", ["the file", "the ledger"])
async def test_what_is_wanted_is_known_from_the_ledger_or_from_the_file(
    collected: Collected, tmp_path: Path, gone: str
) -> None:
    settings = collected.copy(tmp_path)
    series = EVERY_SERIES[5]
    if gone == "the file":
        path_of(settings, series).unlink()
    else:
        shutil.rmtree(settings.data_dir / OWN)
        for each, place in zip(EVERY_SERIES, (0, -1, 5), strict=False):  # the first row, the last, one in the middle
            data = path_of(settings, each).read_bytes()
            path_of(settings, each).write_bytes(PLANTS["high: word"](each.timeframe, data, Random(1), place))
    assert (await mended(settings))[1].complete
    assert wrong_files(collected, settings) == []


async def test_a_number_that_only_another_file_can_contradict_is_read_again(
    collected: Collected, tmp_path: Path
) -> None:
    settings = collected.copy(tmp_path)
    for name, column in (("BTCUSDT_5", 6), ("BTCUSDT_240", 5)):
        path = settings.data_dir / f"{name}.csv"
        rows = path.read_bytes().splitlines(keepends=True)
        rows[30] = changed(rows[30], column, rows[30].decode().split(",")[4])  # as volume, or as close: its low
        path.write_bytes(b"".join(rows))
    assert DataIntegrityChecker(settings).check_all_files()["files_with_issues"]
    said = [str(plan) for plan in show_plans(settings, lambda _: True)]
    plans, outcome = await mended(settings)
    assert (outcome.complete, [str(plan) for plan in plans]) == (True, said)
    assert wrong_files(collected, settings) == []
    assert not DataIntegrityChecker(settings).check_all_files()["files_with_issues"]


# What a repair must not do.


async def test_a_dry_run_says_what_a_repair_would_do_and_changes_nothing(collected: Collected, tmp_path: Path) -> None:
    settings, series = collected.copy(tmp_path), EVERY_SERIES[5]
    damage(settings, series, ["off grid", "high below low"], Random(1))
    path_of(settings, EVERY_SERIES[6]).write_bytes(b"hello\n")
    before = {path: path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file()}
    plans = [str(plan) for plan in show_plans(settings, lambda _: True)]
    assert plans == [
        "BTCUSDT_60.csv: 2 rows go (1 off-grid, 1 high-low), 2 candles are fetched",
        "BTCUSDT_120.csv: is set aside (its first line is not our header), 144 candles are fetched",
    ]
    assert {path: path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file()} == before
    assert [str(plan) for plan in (await mended(settings))[0]] == plans


async def test_a_repair_is_refused_while_a_collector_runs(collected: Collected, tmp_path: Path) -> None:
    settings = collected.copy(tmp_path)
    damage(settings, EVERY_SERIES[5], ["off grid"], Random(1))
    with open_ledger(THIS_DISK, settings.data_dir, settings.exchange, settings.category):
        with pytest.raises(DirectoryInUse):
            list(show_plans(settings, lambda _: True))
        with pytest.raises(DirectoryInUse):
            await mended(settings)


async def test_one_answer_that_lies_about_the_time_does_not_make_rows_unclosed(
    collected: Collected, tmp_path: Path
) -> None:
    settings = collected.copy(tmp_path)
    for forgotten in (False, True):
        if forgotten:
            (settings.data_dir / OWN / "ledger.db").unlink()
        collected.box.faults = Faults(old_time=1.0, paths=["time"], times=1)
        plans, _ = await mended(settings)
        assert not [plan for plan in plans if isinstance(plan, Plan) and plan.removed]
    collected.box.faults = Faults()
    assert wrong_files(collected, settings) == []


async def test_only_what_was_chosen_is_looked_at(collected: Collected, tmp_path: Path) -> None:
    settings, chosen = collected.copy(tmp_path), EVERY_SERIES[5]
    for series in EVERY_SERIES:
        damage(settings, series, ["off grid"], Random(1))
    await mended(settings, chosen)
    assert chosen.name not in wrong_files(collected, settings)
    assert len(wrong_files(collected, settings)) == len(EVERY_SERIES) - 1


async def test_the_limit_of_rows_does_not_trim_what_is_repaired(collected: Collected, tmp_path: Path) -> None:
    settings = attrs.evolve(collected.copy(tmp_path), limit_to_50_entries=True)
    damage(settings, EVERY_SERIES[5], ["off grid"], Random(1))
    await mended(settings)
    assert wrong_files(collected, settings) == []


class Killed(BaseException):
    """Where a killed process would have stopped."""


async def test_killed_at_any_call_to_the_disk_it_loses_nothing_and_the_next_ends_the_work(
    collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, series = collected.copy(tmp_path), EVERY_SERIES[8]
    for calls in range(100):
        damaged = damage(settings, series, ["off grid", "open: word", "swapped"], Random(calls))
        axe = BreakingDisk(calls, Killed)
        with monkeypatch.context() as falling:
            falling.setattr("collector.pipeline.startup.Store", store_on(axe))
            with suppress(Killed, BaseExceptionGroup):
                await mended(settings, series)
        on_disk = removed_lines(settings) | set(path_of(settings, series).read_bytes().split(b"\n"))
        assert set(damaged.split(b"\n")) <= on_disk
        assert (await mended(settings, series))[1].complete
        assert path_of(settings, series).read_bytes() == collected.good(series)
        if axe.left > 0:
            break
    assert 8 < calls < 99
