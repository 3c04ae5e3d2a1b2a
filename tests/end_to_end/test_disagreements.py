"""Coarser files against finer ones, on an exchange whose own history does not add up, and on files that somebody
changed: `repair` tells the one from the other, once, and `check` believes it while the rows are what they were."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from collector import DataIntegrityChecker
from collector.core.candle import DAY_MS, TIMEFRAMES, Series
from collector.core.request_windows import joined
from collector.core.rows import HEADER
from collector.core.spans import Span, Spans
from collector.integrity.recheck import Refetch
from collector.integrity.repair import show_plans
from collector.integrity.repair_plan import Plan
from collector.integrity.sentences import sentences
from collector.machine.disk import Disk
from collector.pipeline.outcome import Outcome
from collector.pipeline.service import repair
from collector.sandbox import Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.support.candles import T0
from tests.support.defects import changed
from tests.support.market import fetch, kline_faults, market, settings_for

FIVES, QUARTERS, HOURS = (Series("BTCUSDT", TIMEFRAMES[name]) for name in ("5", "15", "60"))
NOW_MS = 1_715_774_400_000  # 2024-05-15 12:00:00
OLD = 30  # hours that do not add up
DAYS = 4


def edited(path: Path, place: int, column: int, text: str) -> None:
    """Changes one value of a row, counted from 0."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[place + 1] = changed(lines[place + 1], column, text)
    path.write_bytes(b"".join(lines))


def recorded(directory: Path) -> Path:
    """Files of an exchange whose first hours have turnovers of their own, and two of them volumes."""
    directory.mkdir()
    for name in ("5", "15", "60"):
        truth = market().truth("BTCUSDT", name, NOW_MS - DAYS * DAY_MS, NOW_MS)
        (directory / f"BTCUSDT_{name}.csv").write_bytes(truth)
    for place in range(OLD):
        edited(directory / "BTCUSDT_60.csv", place, 7, f"{place}.5")
    edited(directory / "BTCUSDT_60.csv", 3, 6, "0.001")
    return directory


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with open_sandbox(replay=recorded(tmp_path / "recorded"), start_time=NOW_MS + 30_000, rate=0) as box:
        yield box


@pytest.fixture
async def settings(box: Sandbox, tmp_path: Path) -> Settings:
    """A faithful copy of what the exchange has."""
    settings = settings_for(box.url, tmp_path, timeframes=["5", "15", "60"], days_to_fetch=DAYS)
    assert (await fetch(settings)).complete
    return settings


def checked(settings: Settings) -> dict[str, int]:
    found: Mapping[str, Any] = DataIntegrityChecker(settings).check_all_files()
    keys = ("files_with_issues", "total_disagreements", "total_exchange_disagreements")
    return {key: found[key] for key in keys}


async def mended(settings: Settings, *only: Series) -> tuple[list[Plan | Refetch], Outcome]:
    return await repair(settings, lambda series: not only or series in only)


def path_of(settings: Settings, series: Series) -> Path:
    return settings.data_dir / series.file_name


DOUBTED = {"files_with_issues": 1, "total_disagreements": 2 * (OLD + 1), "total_exchange_disagreements": 0}
SETTLED = {"files_with_issues": 0, "total_disagreements": 0, "total_exchange_disagreements": 2 * (OLD + 1)}


async def test_what_the_exchange_itself_has_is_no_issue_once_repair_confirmed_it(
    settings: Settings, box: Sandbox
) -> None:
    assert checked(settings) == DOUBTED
    asked = box.counts.requests
    _, outcome = await mended(settings)
    assert (outcome.complete, outcome.mended.files, outcome.mended.settled) == (True, 0, 2 * OLD)
    assert box.counts.requests <= asked + 6  # the time, and a page of each timeframe
    assert checked(settings) == SETTLED
    (hours,) = DataIntegrityChecker(settings).check_all_files()["issues"].values()
    assert not hours["has_issues"]
    assert (hours["exchange_confirmed_ms"] or 0) in Span(NOW_MS, NOW_MS + 60_000)
    assert hours["finer"] == ["BTCUSDT_15.csv", "BTCUSDT_5.csv"]


async def test_the_way_to_settle_a_disagreement_is_named(settings: Settings) -> None:
    (found,) = DataIntegrityChecker(settings).check_each([path_of(settings, HOURS)])
    assert "collector repair" in list(sentences(found))[-1]
    await mended(settings)
    (found,) = DataIntegrityChecker(settings).check_each([path_of(settings, HOURS)])
    (told,) = sentences(found)
    assert told.startswith("BTCUSDT_60.csv: 62 disagreements are the exchange's own, confirmed by reading both sides")


async def test_what_was_confirmed_is_read_again_after_a_day_and_then_more_rarely(
    settings: Settings, box: Sandbox
) -> None:
    await mended(settings)
    read_again = []
    for _ in range(5):
        read_again.append(bool((await mended(settings))[0]))
        box.clock.advance(13 * 3_600_000)
    assert read_again == [False, False, True, False, False]  # after a day; the next time after two
    assert checked(settings)["files_with_issues"] == 0


@pytest.mark.parametrize("series", [HOURS, FIVES, QUARTERS])
async def test_a_row_that_changes_ends_the_record_of_its_candle_alone(settings: Settings, series: Series) -> None:
    await mended(settings)
    path, good = path_of(settings, series), path_of(settings, series).read_bytes()
    edited(path, 5, 7, "77")
    found = checked(settings)
    assert found["files_with_issues"]
    assert found["total_exchange_disagreements"] >= 2 * (OLD - 1)
    _, outcome = await mended(settings)
    assert outcome.mended.files == 1
    assert path.read_bytes() == good
    assert checked(settings) == SETTLED


async def test_damage_among_the_exchanges_disagreements_is_mended_by_the_same_repair(settings: Settings) -> None:
    path, good = path_of(settings, HOURS), path_of(settings, HOURS).read_bytes()
    edited(path, 50, 5, good.splitlines()[51].decode().split(",")[4])  # its close is its low
    edited(path, 4, 6, "99999")
    _, outcome = await mended(settings)
    assert outcome.mended.files == 1
    assert path.read_bytes() == good
    assert checked(settings) == SETTLED


async def test_a_lost_ledger_only_loses_the_record(settings: Settings) -> None:
    await mended(settings)
    (settings.data_dir / ".collector" / "ledger.db").write_bytes(b"no database" * 1000)
    assert checked(settings) == DOUBTED
    await mended(settings)
    assert checked(settings) == SETTLED


async def test_what_the_exchange_does_not_answer_for_is_not_confirmed(settings: Settings, box: Sandbox) -> None:
    settings = attrs.evolve(settings, bulk_max_retries=1)
    box.faults = kline_faults({"http_5xx": 1.0})
    await mended(settings)
    assert checked(settings) == DOUBTED


async def test_both_sides_are_read_again_though_only_one_was_chosen(settings: Settings) -> None:
    _, outcome = await mended(settings, HOURS)
    assert outcome.mended.settled == 2 * OLD
    assert checked(settings) == SETTLED


async def test_what_would_be_read_again_is_said_beforehand(settings: Settings) -> None:
    said = [str(plan) for plan in show_plans(settings, lambda _: True)]
    assert said == [
        "BTCUSDT_5.csv: 360 candles are read again, a coarser file and a finer one disagree",
        "BTCUSDT_15.csv: 120 candles are read again, a coarser file and a finer one disagree",
        "BTCUSDT_60.csv: 30 candles are read again, a coarser file and a finer one disagree",
    ]
    assert [str(plan) for plan in (await mended(settings))[0]] == said
    assert list(show_plans(settings, lambda _: True)) == []


def test_a_finer_file_that_covers_little_does_not_hide_another_that_covers_more(tmp_path: Path) -> None:
    start_ms, exchange = NOW_MS - DAYS * DAY_MS, market()
    for name, from_ms in (("1", start_ms), ("5", NOW_MS - DAY_MS), ("60", start_ms)):
        (tmp_path / f"BTCUSDT_{name}.csv").write_bytes(exchange.truth("BTCUSDT", name, from_ms, NOW_MS))
    path = tmp_path / "BTCUSDT_60.csv"
    assert DataIntegrityChecker(Settings(data_dir=tmp_path)).check_all_files()["issues"] == {}
    for place, finer in ((10, ["BTCUSDT_1.csv"]), (90, ["BTCUSDT_5.csv", "BTCUSDT_1.csv"])):
        good = path.read_bytes()
        edited(path, place, 5, good.splitlines()[place + 1].decode().split(",")[4])
        found = DataIntegrityChecker(Settings(data_dir=tmp_path)).check_all_files()["issues"]["BTCUSDT_60.csv"]
        assert [each["finer"] for each in found["disagreements"]] == finer
        path.write_bytes(good)


def test_a_finer_file_is_read_once_for_all_coarser_ones(tmp_path: Path) -> None:
    for name in ("1", "5", "15", "60"):
        (tmp_path / f"BTCUSDT_{name}.csv").write_bytes(market().truth("BTCUSDT", name, NOW_MS - DAY_MS, NOW_MS))
    names: dict[int, str] = {}
    read: list[str] = []

    class Noting(Disk):
        def open(self, path: Path | str, flags: int, mode: int = 0o644, within: int | None = None) -> int:
            file = super().open(path, flags, mode, within)
            names[file] = Path(path).name
            return file

        def read(self, file: int, size: int, at: int = 0) -> bytes:
            if at == len(HEADER):
                read.append(names[file])
            return super().read(file, size, at)

    DataIntegrityChecker(Settings(data_dir=tmp_path), disk=Noting()).check_all_files()
    assert read.count("BTCUSDT_1.csv") == 2  # for its own check, and for the others'
    assert read.count("BTCUSDT_60.csv") == 2  # for its own check, and to be compared


def test_near_spans_are_asked_for_with_one_request() -> None:
    minute = TIMEFRAMES["1"]
    at = [minute.shift(T0, place) for place in (0, 10, 999, 1500, 9000)]
    spans = Spans.of(*(Span(open_ms, minute.close(open_ms)) for open_ms in at))
    assert [minute.count(each.start_ms, each.end_ms) for each in joined(minute, spans)] == [1000, 1, 1]


def test_a_file_of_nothing_agrees_with_everything(tmp_path: Path) -> None:
    (tmp_path / "BTCUSDT_5.csv").write_bytes(HEADER)
    (tmp_path / "BTCUSDT_60.csv").write_bytes(market().truth("BTCUSDT", "60", NOW_MS - DAY_MS, NOW_MS))
    assert DataIntegrityChecker(Settings(data_dir=tmp_path)).check_all_files()["total_disagreements"] == 0
